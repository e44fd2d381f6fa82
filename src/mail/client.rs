//! The SMTP and LMTP client's side of the protocol, pure: replies in, commands out. `deliver` owns the socket; the
//! `sendmail` program uses it for its fall-back to `[127.0.0.1]:25`.

mod auth;
mod capabilities;
mod reply;

pub use auth::{Exchange, Login, LoginError, Mechanism};
pub use capabilities::{Capabilities, Chunking};
pub use reply::{Answer, ReplyDecoder, ReplyError};

use crate::Address;
use crate::command::{Notify, Ret, encode_xtext};

/// What goes with MAIL. Leave out what the server did not offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailOptions<'a> {
    /// SIZE in octets.
    pub size: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET, only with DSN.
    pub ret: Option<Ret>,
    /// ENVID in plain text, only with DSN; empty for none.
    pub envid: &'a str,
}

/// `MAIL From:<…>` with its parameters, ending in CRLF; mixed case as sendmail sends it (sendmail.md 5.2).
#[must_use]
pub fn mail_from(sender: &Address, options: &MailOptions<'_>) -> String {
    let mut line = format!("MAIL From:<{sender}>");
    if let Some(size) = options.size {
        line.push_str(&format!(" SIZE={size}"));
    }
    if options.eight_bit {
        line.push_str(" BODY=8BITMIME");
    }
    if options.smtputf8 {
        line.push_str(" SMTPUTF8");
    }
    if !options.envid.is_empty() {
        line.push_str(&format!(" ENVID={}", encode_xtext(options.envid)));
    }
    match options.ret {
        Some(Ret::Full) => line.push_str(" RET=FULL"),
        Some(Ret::Headers) => line.push_str(" RET=HDRS"),
        None => {}
    }
    end(line)
}

/// `RCPT To:<…>`, ending in CRLF. `notify` and `orcpt` (`type;address` in plain text) only if the server offers DSN.
#[must_use]
pub fn rcpt_to(recipient: &Address, notify: Notify, orcpt: &str) -> String {
    let mut line = format!("RCPT To:<{recipient}>");
    let words =
        [(notify.never, "NEVER"), (notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let given: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
    if !given.is_empty() {
        line.push_str(&format!(" NOTIFY={}", given.join(",")));
    }
    if let Some((kind, address)) = orcpt.split_once(';') {
        line.push_str(&format!(" ORCPT={kind};{}", encode_xtext(address)));
    }
    end(line)
}

/// A command is one line whatever the envelope holds (S-42): addresses are parsed before they get there, this is the
/// second lock.
fn end(mut line: String) -> String {
    line.retain(|c| !c.is_control());
    line.push_str("\r\n");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_sendmail_sends_them() {
        let options =
            MailOptions { size: Some(1247), eight_bit: true, smtputf8: false, ret: Some(Ret::Headers), envid: "env 1" };
        let sender = Address::parse("alice@mx.example").unwrap();
        assert_eq!(
            mail_from(&sender, &options),
            "MAIL From:<alice@mx.example> SIZE=1247 BODY=8BITMIME ENVID=env+201 RET=HDRS\r\n"
        );
        assert_eq!(mail_from(&Address::null(), &MailOptions::default()), "MAIL From:<>\r\n");
        let notify = Notify::parse("SUCCESS,DELAY").unwrap();
        assert_eq!(
            rcpt_to(&sender, notify, "rfc822;a+b@c"),
            "RCPT To:<alice@mx.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+2Bb@c\r\n"
        );
        assert_eq!(rcpt_to(&sender, Notify::default(), ""), "RCPT To:<alice@mx.example>\r\n");
    }

    #[test]
    fn a_command_is_one_line() {
        let sender = Address::from_parts("a\r\nRCPT TO:<x@y>", Some("b"));
        assert_eq!(mail_from(&sender, &MailOptions::default()), "MAIL From:<aRCPT TO:<x@y>@b>\r\n");
    }
}
