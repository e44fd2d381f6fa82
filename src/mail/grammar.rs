//! The grammar of addresses (RFC 5321 4.1.2 and 4.1.3, RFC 6531 3.3), as nom parsers. `address.rs` and `path.rs` use it.
//!
//! Lenient where sendmail is: dots anywhere in a local part, underscores in domains, a trailing dot. A local part is
//! either plain or one quoted string, never a mixture, so that [`Address::user`] has one meaning. In a plain one a backslash may
//! stand before a character that needs none (RFC 821): `\bob` is what sendmail's users write for "the mailbox, no alias".

use crate::address::{Address, AddressError, DOMAIN_LIMIT, LOCAL_LIMIT};
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::{char, satisfy};
use nom::combinator::{opt, recognize};
use nom::multi::{many0_count, many1_count, separated_list1};
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Never part of an address: controls (C0, DEL, C1) and what breaks lines or reorders text on a terminal (S-32).
pub(crate) fn is_forbidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn is_foreign(c: char) -> bool {
    !c.is_ascii() && !is_forbidden(c) && !c.is_whitespace()
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || is_foreign(c)
}

fn quoted(input: &str) -> IResult<&str, &str> {
    let plain = take_while1(|c: char| c != '"' && c != '\\' && !is_forbidden(c));
    let pair = recognize(preceded(char('\\'), satisfy(|c| !is_forbidden(c))));
    recognize(delimited(char('"'), many0_count(alt((plain, pair))), char('"'))).parse(input)
}

fn local(input: &str) -> IResult<&str, &str> {
    let is_plain = |c: char| is_atext(c) || c == '.';
    let escaped = recognize(preceded(char('\\'), satisfy(is_plain)));
    alt((quoted, recognize(many1_count(alt((take_while1(is_plain), escaped)))))).parse(input)
}

fn label(input: &str) -> IResult<&str, &str> {
    take_while1(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || is_foreign(c)).parse(input)
}

fn name(input: &str) -> IResult<&str, &str> {
    recognize(terminated(separated_list1(char('.'), label), opt(char('.')))).parse(input)
}

fn literal(input: &str) -> IResult<&str, &str> {
    delimited(tag("["), take_while1(|c: char| c != ']' && c.is_ascii_graphic()), tag("]")).parse(input)
}

/// Whether the inside of square brackets is an IP address as RFC 5321 4.1.3 writes it.
fn is_literal(inside: &str) -> bool {
    match inside.get(..5) {
        Some(prefix) if prefix.eq_ignore_ascii_case("IPv6:") => {
            inside.get(5..).is_some_and(|rest| rest.parse::<Ipv6Addr>().is_ok())
        }
        _ => inside.parse::<Ipv4Addr>().is_ok(),
    }
}

/// A domain at the start of `input`, and what follows it.
pub(crate) fn domain(input: &str) -> Result<(&str, &str), AddressError> {
    if input.starts_with('[') {
        let (rest, inside) = literal(input).map_err(|_| AddressError::Literal)?;
        let whole = input.len() - rest.len();
        if !is_literal(inside) {
            return Err(AddressError::Literal);
        }
        return input.split_at_checked(whole).ok_or(AddressError::Literal);
    }
    let (rest, name) = name(input).map_err(|_| AddressError::Domain)?;
    if name.len() > DOMAIN_LIMIT {
        return Err(AddressError::TooLong);
    }
    // Over 63 octets no name server could be asked (RFC 1035 2.3.4); `a..b` leaves its second dot behind.
    let sound = name.split('.').all(|l| l.len() <= 63 && l != "-") && !rest.starts_with('.');
    if sound { Ok((name, rest)) } else { Err(AddressError::Domain) }
}

/// A mailbox or bare local part at the start of `input`, and what follows it.
pub(crate) fn mailbox(input: &str) -> Result<(Address, &str), AddressError> {
    if input.len() > crate::address::PATH_LIMIT {
        return Err(AddressError::TooLong);
    }
    if input.is_empty() || input.starts_with('@') {
        return Err(AddressError::Empty);
    }
    let Ok((rest, local)) = local(input) else {
        let control = input.chars().any(is_forbidden);
        return Err(if control { AddressError::Control } else { AddressError::Local });
    };
    if local == "\"\"" {
        return Err(AddressError::Empty);
    }
    if local.len() > LOCAL_LIMIT {
        return Err(AddressError::TooLong);
    }
    let (domain, rest) = match rest.strip_prefix('@') {
        Some(after) => domain(after).map(|(domain, rest)| (Some(domain), rest))?,
        None => (None, rest),
    };
    if rest.starts_with(is_forbidden) {
        return Err(AddressError::Control);
    }
    Ok((Address::from_parts(local, domain), rest))
}

/// Drops a source route `@a,@b:` at the start of `input` (RFC 5321 appendix C: accepted and ignored).
pub(crate) fn without_route(input: &str) -> Result<&str, AddressError> {
    let mut rest = input;
    while let Some(after) = rest.strip_prefix('@') {
        let (_, after) = domain(after)?;
        if let Some(mailbox) = after.strip_prefix(':') {
            return Ok(mailbox);
        }
        rest = after.strip_prefix(',').unwrap_or(after);
        if !rest.starts_with('@') {
            return Err(AddressError::Domain);
        }
    }
    Ok(rest)
}

#[cfg(test)]
mod tests {
    use crate::client::{MailOptions, ReplyDecoder, mail_from};
    use crate::{Address, command, path};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_reader_of_addresses_panics(text in "([a@.<>:,\"\\\\\\[\\] ]|IPv6:|\\PC|.){0,30}") {
            if let Ok(read) = path::reverse_path(&text) {
                let line = mail_from(&read.address, &MailOptions::default());
                let again = path::reverse_path(line["MAIL From:".len()..].trim_end()).unwrap();
                prop_assert_eq!(again.address, read.address);
            }
            let _ = (Address::parse(&text), path::forward_path(&text), path::written(&text));
            let _ = (command::mail_parameters(&text), command::rcpt_parameters(&text), command::decode_xtext(&text));
        }

        #[test]
        fn no_reader_of_bytes_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (command::parse(&bytes), ReplyDecoder::new().feed(&bytes));
            let reply = [b"250-", &bytes[..], b"\r\n"].concat();
            let _ = ReplyDecoder::new().feed(&reply);
        }
    }
}
