//! SMTP command lines and their ESMTP parameters (RFC 5321 4.1, 1870, 3461, 6152, 6531, 4954 section 5). `server/` calls
//! it; a line comes without its CRLF and already limited in length.

mod parameter;
mod xtext;

pub use parameter::{Mail, Notify, Rcpt, Ret, mail_parameters, rcpt_parameters};
pub use xtext::{decode as decode_xtext, encode as encode_xtext};

use nom::bytes::complete::{tag_no_case, take_while1};
use nom::character::complete::{char, space0};
use nom::{IResult, Parser};

/// One command. Arguments are as written, blanks around them trimmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the verb of that name")]
pub enum Command<'a> {
    Helo(&'a str),
    Ehlo(&'a str),
    /// What follows `MAIL FROM:`.
    Mail(&'a str),
    /// What follows `RCPT TO:`.
    Rcpt(&'a str),
    /// `MAIL` or `RCPT` without its `FROM:` or `TO:`; which of the two words is missing.
    Incomplete(&'static str),
    Data(&'a str),
    Rset,
    Noop,
    Quit,
    Vrfy(&'a str),
    Expn(&'a str),
    /// Queue run for a host (RFC 1985).
    Etrn(&'a str),
    Verb,
    Help(&'a str),
    StartTls(&'a str),
    Auth,
    /// A verb of HTTP: a browser was tricked into talking to us (S-76).
    Http,
    /// A verb that exists and is not offered.
    NotImplemented(&'a str),
    Unknown(&'a str),
}

/// Why a line is no command at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// A CR, NUL or other control character (S-28).
    Control,
    /// Not UTF-8 (S-32).
    Encoding,
}

const NOT_IMPLEMENTED: [&str; 10] =
    ["TURN", "ATRN", "SEND", "SOML", "SAML", "ONEX", "BDAT", "XCLIENT", "XFORWARD", "LHLO"];
const HTTP: [&str; 10] = ["GET", "POST", "HEAD", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

/// Reads one line.
///
/// # Errors
/// If it holds a control character other than TAB, or is not UTF-8.
pub fn parse(line: &[u8]) -> Result<Command<'_>, Malformed> {
    if line.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err(Malformed::Control);
    }
    let text = std::str::from_utf8(line).map_err(|_| Malformed::Encoding)?;
    let text = text.trim_matches([' ', '\t']);
    let (rest, verb) = word(text).unwrap_or((text, ""));
    // `MAIL:` and `QUIT;` are no verbs: nothing but a blank ends one.
    let verb = if rest.is_empty() || rest.starts_with([' ', '\t']) { verb } else { "" };
    let argument = rest.trim_start_matches([' ', '\t']);
    let is = |name: &str| verb.eq_ignore_ascii_case(name);
    Ok(match () {
        () if is("HELO") => Command::Helo(argument),
        () if is("EHLO") => Command::Ehlo(argument),
        () if is("MAIL") => {
            keyword("FROM", argument).map_or(Command::Incomplete("FROM"), |(path, ())| Command::Mail(path))
        }
        () if is("RCPT") => keyword("TO", argument).map_or(Command::Incomplete("TO"), |(path, ())| Command::Rcpt(path)),
        () if is("DATA") => Command::Data(argument),
        () if is("RSET") => Command::Rset,
        () if is("NOOP") => Command::Noop,
        () if is("QUIT") => Command::Quit,
        () if is("VRFY") => Command::Vrfy(argument),
        () if is("EXPN") => Command::Expn(argument),
        () if is("ETRN") => Command::Etrn(argument),
        () if is("VERB") => Command::Verb,
        () if is("HELP") => Command::Help(argument),
        () if is("STARTTLS") => Command::StartTls(argument),
        () if is("AUTH") => Command::Auth,
        () if HTTP.iter().any(|name| is(name)) => Command::Http,
        () if NOT_IMPLEMENTED.iter().any(|name| is(name)) => Command::NotImplemented(verb),
        () => Command::Unknown(text),
    })
}

fn word(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric()).parse(input)
}

/// `FROM:` or `TO:`, any case, blanks before the colon allowed.
fn keyword<'a>(name: &'static str, input: &'a str) -> Result<(&'a str, ()), nom::Err<nom::error::Error<&'a str>>> {
    (tag_no_case(name), space0, char(':')).map(|_| ()).parse(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_in_any_case_with_their_arguments() {
        for (line, command) in [
            ("ehlo  me ", Command::Ehlo("me")),
            ("HELO", Command::Helo("")),
            ("mail from:<a@b> SIZE=1", Command::Mail("<a@b> SIZE=1")),
            ("MAIL FROM : <>", Command::Mail(" <>")),
            ("Rcpt To:bob", Command::Rcpt("bob")),
            ("MAIL", Command::Incomplete("FROM")),
            ("RCPT FROM:<a>", Command::Incomplete("TO")),
            ("DATA", Command::Data("")),
            ("NOOP anything é", Command::Noop),
            ("HEAD / HTTP/1.1", Command::Http),
            ("BDAT 5 LAST", Command::NotImplemented("BDAT")),
            ("MAIL:<a@b>", Command::Unknown("MAIL:<a@b>")),
            ("DEBUG", Command::Unknown("DEBUG")),
            ("", Command::Unknown("")),
            ("\u{2028}", Command::Unknown("\u{2028}")),
        ] {
            assert_eq!(parse(line.as_bytes()), Ok(command), "{line}");
        }
    }

    #[test]
    fn control_characters_and_other_encodings_are_refused() {
        for line in [&b"NOOP\0"[..], b"NOOP\rQUIT", b"DATA\x0b", b"QUIT\n", b"RSET\x7f"] {
            assert_eq!(parse(line), Err(Malformed::Control));
        }
        assert_eq!(parse(b"MAIL FROM:<\xff@b>"), Err(Malformed::Encoding));
        assert_eq!(parse(b"MAIL FROM:<\xc0\xae@b>"), Err(Malformed::Encoding));
    }
}
