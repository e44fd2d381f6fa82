//! Tokens of structured field bodies (RFC 5322 3.2). White space and comments separate and are dropped.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::recognize;
use nom::multi::many1_count;
use nom::sequence::preceded;
use nom::{IResult, Parser};
use std::ops::Range;

/// Deepest nesting of comments (S-7). What is deeper makes the rest of the body one broken token.
const DEPTH: u32 = 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An atom, an RFC 2047 word, a quoted string or a domain literal.
    Word,
    /// One of `<>@,;:.`
    Special(u8),
    /// A quote, comment or bracket without end, or a character that may not stand here.
    Broken,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub span: Range<usize>,
}

/// The tokens of `body`.
pub(super) fn tokens(body: &[u8]) -> impl Iterator<Item = Token> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = body.get(at..)?;
            let (kind, length) = match *rest.first()? {
                b' ' | b'\t' | b'\r' | b'\n' => {
                    at += 1;
                    continue;
                }
                b'(' => match comment(rest) {
                    Some(length) => {
                        at += length;
                        continue;
                    }
                    None => (Kind::Broken, rest.len()),
                },
                b'"' => enclosed(rest, b'"'),
                b'[' => enclosed(rest, b']'),
                special @ (b'<' | b'>' | b'@' | b',' | b';' | b':' | b'.') => (Kind::Special(special), 1),
                b')' | b']' => (Kind::Broken, 1),
                _ => match word(rest) {
                    0 => (Kind::Broken, 1),
                    length => (Kind::Word, length),
                },
            };
            let span = at..at + length;
            at = span.end;
            return Some(Token { kind, span });
        }
    })
}

/// Length of the comment at the start of `rest`; none if it does not end or nests too deep.
fn comment(rest: &[u8]) -> Option<usize> {
    let mut depth = 0u32;
    let mut at = 0;
    loop {
        let found = at + rest.get(at..)?.iter().position(|b| matches!(b, b'(' | b')' | b'\\'))?;
        at = found + 1;
        match rest.get(found)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
        if depth > DEPTH {
            return None;
        }
    }
}

/// A quoted string or domain literal that ends in `close`.
fn enclosed(rest: &[u8], close: u8) -> (Kind, usize) {
    let mut at = 1;
    while let Some(found) = rest.get(at..).and_then(|tail| memchr::memchr2(b'\\', close, tail)).map(|found| at + found)
    {
        if rest.get(found) == Some(&close) {
            return (Kind::Word, found + 1);
        }
        at = found + 2;
    }
    (Kind::Broken, rest.len())
}

/// Length of an atom or encoded word; 0 if there is none.
fn word(rest: &[u8]) -> usize {
    let whole = encoded_word(rest).or_else(|_| atom(rest));
    whole.map_or(0, |(_, word)| word.len())
}

/// An atom, in which a backslash may stand before any of its characters: `\bob` is what people write for "the mailbox, no alias".
fn atom(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let plain = |b: u8| !b.is_ascii_whitespace() && !b"()<>[]:;@\\,.\"".contains(&b);
    let escaped = recognize(preceded(tag("\\"), take_while1(plain)));
    recognize(many1_count(alt((take_while1(plain), escaped)))).parse(input)
}

/// `=?charset?encoding?text?=` with anything but blanks and `?` inside: some writers leave commas and dots in it.
fn encoded_word(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let part = || take_while1(|b: u8| b != b'?' && b.is_ascii_graphic());
    let text = take_while(|b: u8| b != b'?' && b.is_ascii_graphic());
    recognize((tag("=?"), part(), tag("?"), part(), tag("?"), text, tag("?="))).parse(input)
}
