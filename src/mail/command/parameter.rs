//! ESMTP parameters of MAIL and RCPT. What is wrong is said in sendmail's words, as the reply itself.

use super::xtext;
use crate::Reply;
use nom::bytes::complete::{take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::opt;
use nom::sequence::preceded;
use nom::{IResult, Parser};

/// What a bounce is to return (RFC 3461 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// NOTIFY (RFC 3461 4.1); all false if it was not given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the word of that name")]
pub struct Notify {
    pub never: bool,
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
}

impl Notify {
    /// Whether the parameter was given.
    #[must_use]
    pub const fn given(self) -> bool {
        self.never || self.success || self.failure || self.delay
    }
    /// Reads `NEVER` or a comma list of `SUCCESS`, `FAILURE`, `DELAY`, any case; the words of `sendmail -N` too.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut notify = Self::default();
        for word in value.split(',') {
            let flag = match word {
                w if w.eq_ignore_ascii_case("NEVER") => &mut notify.never,
                w if w.eq_ignore_ascii_case("SUCCESS") => &mut notify.success,
                w if w.eq_ignore_ascii_case("FAILURE") => &mut notify.failure,
                w if w.eq_ignore_ascii_case("DELAY") => &mut notify.delay,
                _ => return None,
            };
            *flag = true;
        }
        let others = notify.success || notify.failure || notify.delay;
        (!(notify.never && others)).then_some(notify)
    }
}

/// Parameters of MAIL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// SIZE in octets; larger than fits is `u64::MAX`.
    pub size: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded; empty if not given.
    pub envid: String,
    /// AUTH (RFC 4954 5), decoded; `<>` as it is.
    pub auth: Option<String>,
}

/// Parameters of RCPT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rcpt {
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT as `type;address`, the address decoded; empty if not given.
    pub orcpt: String,
}

/// Longest ENVID (RFC 3461 4.4) and ORCPT (4.2: 500) in octets.
const ENVID_LIMIT: usize = 100;
const ORCPT_LIMIT: usize = 500;

/// Reads what follows the path of MAIL.
///
/// # Errors
/// The reply that says what is wrong.
pub fn mail_parameters(input: &str) -> Result<Mail, Reply> {
    let mut mail = Mail::default();
    let mut seen = Vec::new();
    for parameter in Parameters(input) {
        let (name, value) = parameter?;
        once(&mut seen, &name)?;
        match name.as_str() {
            "SIZE" => mail.size = Some(size(required(&name, value)?)?),
            "BODY" => mail.eight_bit = body(required(&name, value)?)?,
            "SMTPUTF8" if value.is_none() => mail.smtputf8 = true,
            "SMTPUTF8" => return Err(syntax("SMTPUTF8 accepts no value")),
            "RET" => mail.ret = Some(ret(required(&name, value)?)?),
            "ENVID" => mail.envid = envid(required(&name, value)?)?,
            "AUTH" => mail.auth = Some(auth(required(&name, value)?)?),
            _ => return Err(unrecognized(&name)),
        }
    }
    Ok(mail)
}

/// Reads what follows the path of RCPT.
///
/// # Errors
/// The reply that says what is wrong.
pub fn rcpt_parameters(input: &str) -> Result<Rcpt, Reply> {
    let mut rcpt = Rcpt::default();
    let mut seen = Vec::new();
    for parameter in Parameters(input) {
        let (name, value) = parameter?;
        once(&mut seen, &name)?;
        match name.as_str() {
            "NOTIFY" => {
                let value = required(&name, value)?;
                rcpt.notify =
                    Notify::parse(value).ok_or_else(|| syntax(&format!("Bad argument \"{value}\" to NOTIFY")))?;
            }
            "ORCPT" => rcpt.orcpt = orcpt(required(&name, value)?)?,
            _ => return Err(unrecognized(&name)),
        }
    }
    Ok(rcpt)
}

/// Iterates over `KEYWORD[=value]`; names in upper case.
struct Parameters<'a>(&'a str);

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<(String, Option<&'a str>), Reply>;
    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.0.trim_start_matches([' ', '\t']);
        if rest.is_empty() {
            return None;
        }
        let Ok((after, (name, value))) = parameter(rest) else {
            self.0 = "";
            return Some(Err(syntax("Syntax error in parameters")));
        };
        if !(after.is_empty() || after.starts_with([' ', '\t'])) {
            self.0 = "";
            return Some(Err(syntax("Syntax error in parameters")));
        }
        self.0 = after;
        Some(Ok((name.to_ascii_uppercase(), value)))
    }
}

fn parameter(input: &str) -> IResult<&str, (&str, Option<&str>)> {
    let name = take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-');
    let value = take_while(|c: char| c != ' ' && !crate::grammar::is_forbidden(c));
    (name, opt(preceded(char('='), value))).parse(input)
}

fn syntax(text: &str) -> Reply {
    Reply::permanent(501, 5, 4, text)
}

fn unrecognized(name: &str) -> Reply {
    Reply::permanent(555, 5, 4, format!("{name} parameter unrecognized"))
}

fn once(seen: &mut Vec<String>, name: &str) -> Result<(), Reply> {
    // At most one of each known parameter gets past, so the list stays short.
    if seen.iter().any(|known| known == name) {
        return Err(Reply::permanent(501, 5, 0, format!("Duplicate {name} parameter")));
    }
    seen.push(name.to_owned());
    Ok(())
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Reply> {
    value
        .filter(|value| !value.is_empty())
        .ok_or_else(|| Reply::permanent(501, 5, 2, format!("{name} requires a value")))
}

/// 1 to 20 digits (RFC 1870 3, S-6); a number over `u64` is only too big, not wrong.
fn size(value: &str) -> Result<u64, Reply> {
    if value.len() > 20 || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(syntax("Syntax error in SIZE parameter value"));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn body(value: &str) -> Result<bool, Reply> {
    if value.eq_ignore_ascii_case("8BITMIME") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("7BIT") {
        Ok(false)
    } else {
        Err(syntax(&format!("Unknown BODY type {value}")))
    }
}

fn ret(value: &str) -> Result<Ret, Reply> {
    if value.eq_ignore_ascii_case("FULL") {
        Ok(Ret::Full)
    } else if value.eq_ignore_ascii_case("HDRS") {
        Ok(Ret::Headers)
    } else {
        Err(syntax(&format!("Bad argument \"{value}\" to RET")))
    }
}

fn envid(value: &str) -> Result<String, Reply> {
    let decoded = (value.len() <= ENVID_LIMIT).then(|| xtext::decode(value)).flatten();
    decoded.ok_or_else(|| syntax("Syntax error in ENVID parameter value"))
}

fn auth(value: &str) -> Result<String, Reply> {
    let decoded = (value.len() <= ORCPT_LIMIT).then(|| xtext::decode(value)).flatten();
    decoded.ok_or_else(|| syntax("Syntax error in AUTH parameter value"))
}

fn orcpt(value: &str) -> Result<String, Reply> {
    let bad = || syntax("Syntax error in ORCPT parameter value");
    let (kind, address) = value.split_once(';').filter(|_| value.len() <= ORCPT_LIMIT).ok_or_else(bad)?;
    let kind_is_atom = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let address = if kind.eq_ignore_ascii_case("utf-8") { unitext(address) } else { xtext::decode(address) };
    match address {
        Some(address) if kind_is_atom && !address.is_empty() => Ok(format!("{kind};{address}")),
        _ => Err(bad()),
    }
}

/// The address of `ORCPT=utf-8;…` (RFC 6533 3): UTF-8 as it is, or `\x{HEX}` for a character.
fn unitext(text: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        let (digits, after) = after.split_once('}')?;
        let sound = (1..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = sound.then(|| u32::from_str_radix(digits, 16).ok()).flatten()?;
        plain.push_str(before);
        plain.push(char::from_u32(code)?);
        rest = after;
    }
    plain.push_str(rest);
    (!plain.chars().any(crate::grammar::is_forbidden)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_takes_what_is_offered() {
        let mail = mail_parameters(" size=99999999999999999999 Body=8BitMime SMTPUTF8 RET=hdrs  ENVID=a+20b AUTH=<> ")
            .unwrap();
        assert_eq!(
            mail,
            Mail {
                size: Some(u64::MAX),
                eight_bit: true,
                smtputf8: true,
                ret: Some(Ret::Headers),
                envid: "a b".into(),
                auth: Some("<>".into()),
            }
        );
        assert_eq!(mail_parameters("").unwrap(), Mail::default());
        assert_eq!(mail_parameters(" SIZE=0012 BODY=7BIT").unwrap().size, Some(12));
    }

    #[test]
    fn mail_says_what_is_wrong() {
        for (input, reply) in [
            (" FOO", "555 5.5.4 FOO parameter unrecognized"),
            (" foo=1", "555 5.5.4 FOO parameter unrecognized"),
            (" SIZE", "501 5.5.2 SIZE requires a value"),
            (" SIZE=", "501 5.5.2 SIZE requires a value"),
            (" SIZE=1 SIZE=2", "501 5.5.0 Duplicate SIZE parameter"),
            (" SIZE=100000000000000000000", "501 5.5.4 Syntax error in SIZE parameter value"),
            (" SIZE=-1", "501 5.5.4 Syntax error in SIZE parameter value"),
            (" SIZE=+1", "501 5.5.4 Syntax error in SIZE parameter value"),
            (" SIZE=٣", "501 5.5.4 Syntax error in SIZE parameter value"),
            (" BODY=9BIT", "501 5.5.4 Unknown BODY type 9BIT"),
            (" SMTPUTF8=1", "501 5.5.4 SMTPUTF8 accepts no value"),
            (" RET=ALL", "501 5.5.4 Bad argument \"ALL\" to RET"),
            (" ENVID=+1", "501 5.5.4 Syntax error in ENVID parameter value"),
            (" ENVID=+0D+0A", "501 5.5.4 Syntax error in ENVID parameter value"),
            (" =1", "501 5.5.4 Syntax error in parameters"),
            (" SIZE=1;X", "501 5.5.4 Syntax error in SIZE parameter value"),
            (" <x>", "501 5.5.4 Syntax error in parameters"),
            (" NOTIFY=NEVER", "555 5.5.4 NOTIFY parameter unrecognized"),
        ] {
            assert_eq!(mail_parameters(input).unwrap_err().to_string(), reply, "{input}");
        }
        assert!(mail_parameters(&format!(" ENVID={}", "x".repeat(101))).is_err());
    }

    #[test]
    fn rcpt_takes_notify_and_orcpt() {
        let rcpt = rcpt_parameters(" NOTIFY=success,DELAY ORCPT=rfc822;bob+2Bx@y").unwrap();
        assert!(rcpt.notify.success && rcpt.notify.delay && !rcpt.notify.failure && rcpt.notify.given());
        assert_eq!(rcpt.orcpt, "rfc822;bob+x@y");
        assert_eq!(rcpt_parameters(" ORCPT=utf-8;m\\x{fc}@y").unwrap().orcpt, "utf-8;mü@y");
        for bad in [
            " NOTIFY=NEVER,DELAY",
            " NOTIFY=",
            " NOTIFY=a",
            " NOTIFY=DELAY,",
            " ORCPT=bob@y",
            " ORCPT=;bob",
            " ORCPT=rfc822;",
            " ORCPT=rfc822;a+0Ab",
            " ORCPT=utf-8;\\x{d800}",
            " ORCPT=r c;a",
            " SIZE=1",
            " NOTIFY=DELAY NOTIFY=DELAY",
        ] {
            assert!(rcpt_parameters(bad).unwrap_err().is_permanent(), "{bad}");
        }
    }
}
