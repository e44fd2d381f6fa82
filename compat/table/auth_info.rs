//! Credentials for servers: `AuthInfo:` entries (sendmail.md 3.8) and the older file of five lines (`DefaultAuthInfo`).
//! Called by [`crate::access`]; a password is never shown in a message.

use crate::token::unquoted;
use crate::value::{ask, domain};
use nom::branch::alt;
use nom::bytes::complete::take_while1;
use nom::character::complete::multispace0;
use nom::multi::many0;
use nom::sequence::preceded;
use nom::{IResult, Parser};
use std::net::IpAddr;
use table::{Client, Credentials, Found, Hit, Table, Unavailable};

/// The tag in the access table.
pub(crate) const TAG: &str = "AuthInfo";

/// Reads a value: `"U:user" "I:user" "P:password" "R:realm" "M:PLAIN LOGIN"`, `:` before plain text and `=` before base64. Tokens
/// without quotes are taken too, up to the next blank. A missing one of `U` and `I` is the other.
///
/// # Errors
/// What was expected.
pub fn parse(value: &str) -> Result<Credentials, String> {
    let (rest, tokens) = many0(preceded(multispace0, token)).parse(value.trim()).unwrap_or((value, Vec::new()));
    if !rest.trim().is_empty() || tokens.is_empty() {
        return Err("expected tokens such as \"U:user\" \"P:password\"".to_owned());
    }
    let mut parts: [Option<Vec<u8>>; 5] = Default::default();
    for token in tokens {
        let (letter, content) = part(&token)?;
        let slot = match letter {
            'U' => 0,
            'I' => 1,
            'P' => 2,
            'R' => 3,
            'M' => 4,
            _ => return Err("expected one of the letters U I P R M before \":\" or \"=\"".to_owned()),
        };
        if let Some(slot) = parts.get_mut(slot) {
            *slot = Some(content);
        }
    }
    assemble(parts)
}

fn assemble([user, identity, password, realm, mechanisms]: [Option<Vec<u8>>; 5]) -> Result<Credentials, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| "expected UTF-8 in U, I, R and M".to_owned());
    let user = user.map(text).transpose()?;
    let identity = identity.map(text).transpose()?;
    let (user, identity) = match (user, identity) {
        (Some(user), Some(identity)) => (user, identity),
        (Some(name), None) | (None, Some(name)) => (name.clone(), name),
        (None, None) => return Err("expected \"U:user\" or \"I:user\"".to_owned()),
    };
    let mechanisms = mechanisms.map(text).transpose()?.unwrap_or_default();
    let mechanisms: Vec<String> = mechanisms.split_whitespace().map(str::to_ascii_uppercase).collect();
    let password = match password {
        Some(password) => password,
        None if mechanisms.iter().all(|name| name == "EXTERNAL") && !mechanisms.is_empty() => Vec::new(),
        None => return Err("expected \"P:password\"".to_owned()),
    };
    let realm = realm.map(text).transpose()?.filter(|realm| !realm.is_empty());
    if [&user, &identity].iter().any(|name| name.contains('\0')) || password.contains(&0) {
        return Err("expected no NUL in names and passwords".to_owned());
    }
    Ok(Credentials { user, identity, password, realm, mechanisms })
}

/// A quoted token, or everything up to a blank.
fn token(input: &str) -> IResult<&str, String> {
    let plain = take_while1(|c: char| !c.is_ascii_whitespace());
    alt((crate::token::quoted.map(unquoted), plain.map(str::to_owned))).parse(input)
}

/// `U:text` or `U=base64`.
fn part(token: &str) -> Result<(char, Vec<u8>), String> {
    let mut chars = token.chars();
    let (letter, mark, content) = (chars.next(), chars.next(), chars.as_str());
    let letter = letter.unwrap_or('?').to_ascii_uppercase();
    match mark {
        Some(':') => Ok((letter, content.as_bytes().to_vec())),
        Some('=') => {
            base64(content).map(|bytes| (letter, bytes)).ok_or_else(|| format!("expected base64 behind \"{letter}=\""))
        }
        _ => Err("expected a letter, then \":\" or \"=\"".to_owned()),
    }
}

/// RFC 4648 4, with or without padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut bits, mut have) = (0u32, 0u32);
    for byte in text.bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        (bits, have) = ((bits << 6 | u32::from(six)) & 0xffff, have + 6);
        if have >= 8 {
            have -= 8;
            out.push(u8::try_from(bits >> have & 0xff).unwrap_or_default());
        }
    }
    // One letter alone is not even a byte.
    (have != 6).then_some(out)
}

/// The older form (`DefaultAuthInfo`): a file whose lines are authorization id, authentication id, password, realm, mechanisms.
///
/// # Errors
/// What was expected.
pub fn parse_default(text: &[u8]) -> Result<Credentials, String> {
    let mut lines = text.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec());
    let mut next = || lines.next().filter(|line| !line.is_empty());
    let parts = [next(), next(), next(), next(), next()];
    assemble(parts)
}

/// The look-up in a separate table (`FEATURE(authinfo)`): the server's name, its address, the empty key; nothing above the name.
pub(crate) async fn look_up(raw: &dyn Table, server: Client<'_>) -> Result<Option<Hit>, Unavailable> {
    let name = server.name.and_then(domain).map(|name| format!("{TAG}:{name}"));
    let address = server.ip.map(|ip| match ip.to_canonical() {
        IpAddr::V4(ip) => format!("{TAG}:{ip}"),
        IpAddr::V6(ip) => ip.segments().iter().fold(format!("{TAG}:IPv6"), |key, part| format!("{key}:{part:x}")),
    });
    for key in [name, address, Some(format!("{TAG}:"))].into_iter().flatten() {
        if let Some(hit) = ask(raw, &key).await? {
            return Ok(Some(hit));
        }
    }
    Ok(None)
}

/// Reads what was found. An entry that cannot be read is no "no credentials": mail would go out without them and be refused for good.
pub(crate) fn found(hit: Hit) -> Result<Found<Credentials>, Unavailable> {
    match parse(&hit.value) {
        Ok(value) => Ok(Found { value, why: hit.why }),
        Err(expected) => Err(Unavailable(format!("{}: {expected}", hit.why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<(String, String, String, Option<String>, String), String> {
        let c = parse(text)?;
        Ok((c.user, c.identity, String::from_utf8(c.password).unwrap(), c.realm, c.mechanisms.join(",")))
    }

    #[test]
    fn tokens() {
        let all = r#""U:smmsp" "I:joe" "P:se\"c ret" "R:example.com" "M:plain LOGIN""#;
        let expected = ("smmsp", "joe", "se\"c ret", Some("example.com".to_owned()), "PLAIN,LOGIN");
        let own = |(u, i, p, r, m): (&str, &str, &str, Option<String>, &str)| {
            (u.to_owned(), i.to_owned(), p.to_owned(), r, m.to_owned())
        };
        assert_eq!(shown(all), Ok(own(expected)));
        assert_eq!(shown(r#""U=am9l" "P=c2VjcmV0""#), Ok(own(("joe", "joe", "secret", None, ""))));
        assert_eq!(shown("I:joe  P:x:y=z\r"), Ok(own(("joe", "joe", "x:y=z", None, ""))));
        assert_eq!(shown(r#""I:joe" "M:EXTERNAL""#), Ok(own(("joe", "joe", "", None, "EXTERNAL"))));
    }

    #[test]
    fn what_cannot_be_read_is_told_without_the_password() {
        for bad in [
            "",
            "joe:secret",
            "\"U:joe\"",
            "\"P:secret\"",
            "\"U:joe\" \"P=se*cret\"",
            "\"X:joe\" \"P:secret\"",
            "\"U=/w==\" \"P:secret\"",
        ] {
            let expected = parse(bad).unwrap_err();
            assert!(expected.starts_with("expected") && !expected.contains("secret"), "{bad}: {expected}");
        }
    }

    #[test]
    fn five_lines() {
        let read = parse_default(b"smmsp\njoe\nse cret\nexample.com\nPLAIN\n").unwrap();
        assert_eq!((read.identity.as_str(), read.password.as_slice()), ("joe", &b"se cret"[..]));
        assert!(parse_default(b"").is_err());
    }

    #[test]
    fn base64_of_all_lengths() {
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg", "foob")] {
            assert_eq!(base64(text).unwrap(), plain.as_bytes());
        }
        assert_eq!(base64("A").or(base64("Zm=9")), None);
    }
}
