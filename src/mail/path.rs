//! SMTP paths: the `<…>` of MAIL and RCPT (RFC 5321 4.1.2). The command parser calls this; nothing else should.
//!
//! Lenient as sendmail: blanks after the colon, and an address without brackets. A source route is dropped.

use crate::address::{Address, AddressError, PATH_LIMIT};
use crate::grammar;

/// A path and where it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Path<'a> {
    /// The address; null for `<>`.
    pub address: Address,
    /// As written, with its brackets if there were some.
    pub given: &'a str,
    /// What follows, from the blank on.
    pub rest: &'a str,
}

/// The path after `FROM:`; `<>` is allowed.
///
/// # Errors
/// What is wrong with the address.
pub fn reverse_path(input: &str) -> Result<Path<'_>, AddressError> {
    let input = input.trim_start_matches([' ', '\t']);
    if let Some(rest) = input.strip_prefix("<>") {
        return end(input, rest, Address::null());
    }
    forward_path(input)
}

/// The path after `TO:`.
///
/// # Errors
/// What is wrong with the address.
pub fn forward_path(input: &str) -> Result<Path<'_>, AddressError> {
    let input = input.trim_start_matches([' ', '\t']);
    let written = written(input);
    if written.len() > PATH_LIMIT {
        return Err(AddressError::TooLong);
    }
    let Some(inside) = input.strip_prefix('<') else {
        let (address, rest) = mailbox(input)?;
        return end(input, rest, address);
    };
    let (address, rest) = mailbox(inside)?;
    match rest.strip_prefix('>') {
        Some(rest) => end(input, rest, address),
        None if rest.starts_with(':') => Err(AddressError::List),
        None if written.ends_with('>') => Err(AddressError::Trailing),
        None => Err(AddressError::Unbalanced),
    }
}

fn mailbox(input: &str) -> Result<(Address, &str), AddressError> {
    // The whole argument may be longer than a path: parameters follow.
    let input = grammar::without_route(input)?;
    let cut = input.floor_char_boundary(PATH_LIMIT);
    let head = input.get(..cut).unwrap_or(input);
    let (address, rest) = grammar::mailbox(head)?;
    let used = head.len() - rest.len();
    Ok((address, input.get(used..).unwrap_or("")))
}

fn end<'a>(input: &'a str, rest: &'a str, address: Address) -> Result<Path<'a>, AddressError> {
    if !(rest.is_empty() || rest.starts_with([' ', '\t'])) {
        let list = rest.starts_with(':');
        return Err(if list { AddressError::List } else { AddressError::Trailing });
    }
    let given = input.get(..input.len() - rest.len()).unwrap_or(input);
    Ok(Path { address, given, rest })
}

/// What was probably meant as the path, for a reply that refuses it: up to the first `>` or blank.
#[must_use]
pub fn written(input: &str) -> &str {
    let input = input.trim_start_matches([' ', '\t']);
    let end = match input.find(['>', ' ', '\t']) {
        Some(at) if input.as_bytes().get(at) == Some(&b'>') => at + 1,
        Some(at) => at,
        None => input.len(),
    };
    input.get(..end).unwrap_or(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> (String, String, String) {
        let path = reverse_path(input).unwrap_or_else(|e| panic!("{input}: {e}"));
        (path.address.to_string(), path.given.to_owned(), path.rest.to_owned())
    }

    #[test]
    fn paths_in_all_their_forms() {
        for (input, address, given, rest) in [
            ("<>", "", "<>", ""),
            (" <> SIZE=1", "", "<>", " SIZE=1"),
            ("<a@b>", "a@b", "<a@b>", ""),
            (" \t<a@b> BODY=8BITMIME", "a@b", "<a@b>", " BODY=8BITMIME"),
            ("a@b SIZE=2", "a@b", "a@b", " SIZE=2"),
            ("<@a,@b:u@d>", "u@d", "<@a,@b:u@d>", ""),
            ("<@[IPv6:2001:db8::1],@b:u@d>", "u@d", "<@[IPv6:2001:db8::1],@b:u@d>", ""),
            ("<@a:\"x:y>\"@d>", "\"x:y>\"@d", "<@a:\"x:y>\"@d>", ""),
            ("<\"a:b\"@[IPv6:::1]>", "\"a:b\"@[IPv6:::1]", "<\"a:b\"@[IPv6:::1]>", ""),
            ("<\"q s\"@d> X=1", "\"q s\"@d", "<\"q s\"@d>", " X=1"),
            ("<PostMaster>", "PostMaster", "<PostMaster>", ""),
        ] {
            assert_eq!(read(input), (address.to_owned(), given.to_owned(), rest.to_owned()), "{input}");
        }
    }

    #[test]
    fn broken_paths_are_refused() {
        use AddressError as E;
        for (input, why) in [
            ("", E::Empty),
            ("<a@b", E::Unbalanced),
            ("<a@b>x", E::Trailing),
            ("<a@b c@d>", E::Unbalanced),
            ("<a@b)>", E::Trailing),
            ("<list:;>", E::List),
            ("list:;", E::List),
            ("<@a,b:u@d>", E::Domain),
            ("<@a u@d>", E::Domain),
            ("<@a>", E::Domain),
            ("<@a:>", E::Local),
            ("<a\0b@c>", E::Control),
            ("<a@b\r>", E::Control),
        ] {
            assert_eq!(reverse_path(input).map(|p| p.address), Err(why), "{input:?}");
        }
        assert_eq!(forward_path("<>"), Err(E::Local));
        let long = format!("<@{}:u@d>", "a.".repeat(125) + "b");
        assert!(forward_path(&long).is_ok());
        let route = format!("<{}:u@d>", vec!["@aaaaaaaaaaaaaaaaaaaa"; 60].join(","));
        assert_eq!(forward_path(&route), Err(E::TooLong));
        // Parameters after the path are no part of its length.
        let params = format!("<a@b> {}", "X=y ".repeat(400));
        assert!(forward_path(&params).is_ok());
    }
}
