//! The left-hand side of an alias: where it ends and which key it is. Called by [`crate::aliases`].

use crate::Entry;
use crate::entry::entries;
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while1};
use nom::combinator::recognize;
use nom::multi::many0_count;
use nom::sequence::pair;
use nom::{IResult, Parser};

/// Offset of the first `:` outside quotes: the end of the name.
pub(crate) fn name_end(bytes: &[u8]) -> Option<usize> {
    let (rest, _) = many0_count(name_piece).parse(bytes).ok()?;
    (rest.first() == Some(&b':')).then(|| bytes.len() - rest.len())
}

/// A quoted string, an escaped byte or a run of anything else but `:` and the line's end.
fn name_piece(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let inside = alt((recognize(take_while1(|b| !matches!(b, b'"' | b'\\'))), escaped));
    alt((
        take_while1(|b| !matches!(b, b'"' | b'\\' | b':' | b'\n')),
        recognize((tag(&b"\""[..]), many0_count(inside), tag(&b"\""[..]))),
        escaped,
    ))
    .parse(input)
}

fn escaped(input: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize(pair(tag(&b"\\"[..]), take(1usize))).parse(input)
}

/// The key for a name as written: comments, quotes and backslashes off, letters folded. What is wrong comes in sendmail's words.
pub(crate) fn name(written: &str, is_local: Option<&dyn Fn(&str) -> bool>) -> Result<String, Vec<String>> {
    let not_local = || format!("{written}... cannot alias non-local names");
    let bad = |what: &str| vec![format!("{written}... {what}"), not_local()];
    let text = match entries(written).as_slice() {
        [Entry::Address(text) | Entry::Mailbox(text)] => text.clone(),
        [] => return Err(bad("User address required")),
        [_] => return Err(vec![not_local()]),
        _ => return Err(bad("Invalid route address")),
    };
    if text.contains(|c: char| c.is_control() || matches!(c, '<' | '>')) {
        return Err(bad("Illegal character in address"));
    }
    let at = text.rfind('@').filter(|&at| !text.get(at..).unwrap_or_default().contains('"'));
    let (local, domain) = match at.and_then(|at| text.split_at_checked(at)) {
        Some((local, domain)) => (local, domain.strip_prefix('@')),
        None => (&text[..], None),
    };
    // Blanks outside quotes become BlankSub, as in any address.
    let local = if local.starts_with('"') {
        local.to_owned()
    } else {
        local.split_ascii_whitespace().collect::<Vec<_>>().join(".")
    };
    let user = mail::Address::from_parts(&local, None).user().to_ascii_lowercase();
    match (domain, is_local) {
        // `"": x` is quoted nothing.
        _ if user.is_empty() => Err(bad("User address required")),
        (None, _) => Ok(user),
        (Some(domain), None) => Ok(format!("{user}@{}", domain.to_ascii_lowercase())),
        (Some(domain), Some(is_local)) if is_local(domain) => Ok(user),
        (Some(_), Some(_)) => Err(vec![not_local()]),
    }
}
