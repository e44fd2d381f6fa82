//! The lines of an aliases file (sendmail.md 3.1): which of them belong together, where a name ends, what its value is as one line.
//! Called by `compat/table`, which makes a table of them, and by the agents.

use crate::alias::{AliasEntry, entries};
use nom::branch::alt;
use nom::bytes::complete::{tag, take, take_while1};
use nom::combinator::recognize;
use nom::multi::many0_count;
use nom::sequence::pair;
use nom::{IResult, Parser};
use std::ops::Range;

/// Offset of the first `:` outside quotes: the end of the name.
#[must_use]
pub fn name_end(bytes: &[u8]) -> Option<usize> {
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

/// Lines joined, blanks in front taken off: a backslash before an LF goes away with it; before a continuation line only the LF does. A CR
/// is a blank like any other.
#[must_use]
pub fn one_line(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    for line in raw.trim_ascii_start().split(|&b| b == b'\n') {
        // A backslash at the very end of the file protects nothing; elsewhere `\` ends only lines that go on.
        out.extend_from_slice(line.strip_suffix(b"\\").unwrap_or(line));
    }
    let blanks = out.len() - out.trim_ascii_start().len();
    out.drain(..blanks);
    out
}

/// A comment, an entry with its continuation lines, or a stray continuation line.
#[derive(Clone, Debug)]
pub struct Raw {
    /// Bytes in the file.
    pub range: Range<usize>,
    /// First line, from 1.
    pub line: u32,
    /// Last line: the one that sendmail names in its messages.
    pub last: u32,
}

/// Groups physical lines.
#[derive(Debug)]
pub struct Logical<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

impl<'a> Logical<'a> {
    /// Over a whole file.
    #[must_use]
    pub const fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 0 }
    }

    /// Moves over one line, and those joined to it by a backslash as last character.
    fn physical(&mut self) {
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let end = rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            let body = rest.get(..end).unwrap_or_default();
            self.at = (self.at + end + 1).min(self.text.len());
            self.line = self.line.saturating_add(1);
            if !body.ends_with(b"\\") || self.at >= self.text.len() {
                return;
            }
        }
    }

    fn next_byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

impl Iterator for Logical<'_> {
    type Item = Raw;

    fn next(&mut self) -> Option<Raw> {
        let first = self.next_byte()?;
        let (start, line) = (self.at, self.line + 1);
        self.physical();
        // A comment goes on like an entry, as in sendmail; only an empty line does not.
        if first != b'\n' {
            while matches!(self.next_byte(), Some(b' ' | b'\t')) {
                self.physical();
            }
        }
        Some(Raw { range: start..self.at, line, last: self.line })
    }
}

/// All entries of all aliases in the file, each with the first line of its alias, in the order of the file.
pub fn all_entries(text: &[u8]) -> impl Iterator<Item = (u32, AliasEntry)> {
    let usable = |raw: &Raw| !matches!(text.get(raw.range.start), None | Some(b'\n' | b'#' | b' ' | b'\t'));
    Logical::new(text).filter(usable).flat_map(|raw| {
        let bytes = text.get(raw.range.clone()).unwrap_or_default();
        let value = name_end(bytes).and_then(|colon| bytes.get(colon + 1..)).map(one_line).unwrap_or_default();
        entries(&String::from_utf8_lossy(&value)).into_iter().map(move |entry| (raw.line, entry))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_with_the_line_of_its_alias() {
        let text = b"# |/no\na: b,\n  \"|/bin/cat x\"\n |/not/this\n\"q:u\": /file\nnone\nl: :include:/list";
        let found: Vec<(u32, String)> = all_entries(text).map(|(line, entry)| (line, entry.to_string())).collect();
        let expected = [(2, "b"), (2, "|/bin/cat x|/not/this"), (5, "/file"), (7, ":include:/list")];
        assert_eq!(found, expected.map(|(line, text)| (line, text.to_owned())));
    }
}
