//! The right-hand side of an alias, taken apart (sendmail.md 3.1; RFC 5322 3.2.2 for comments, 3.2.4 for quotes).
//! Called by [`crate::aliases`]; `:include:` files and `.forward` use the same lists.
//!
//! One pass over the text: whatever is not closed (quote, comment) reaches to the end, so that no input is read twice.

use crate::Entry;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::anychar;
use nom::combinator::{map, recognize};
use nom::sequence::pair;
use nom::{IResult, Parser};

/// A piece of a right-hand side.
enum Piece<'a> {
    /// With its quotes; the closing one is missing if the text ended first.
    Quoted(&'a str),
    /// In parentheses, which nest.
    Comment,
    /// A backslash and the character it protects.
    Escaped(&'a str),
    /// Blanks outside quotes.
    Blank(&'a str),
    Comma,
    Open,
    Close,
    Plain(&'a str),
}

fn piece(input: &str) -> IResult<&str, Piece<'_>> {
    alt((
        map(take_while1(|c| !is_special(c)), Piece::Plain),
        map(take_while1(is_blank), Piece::Blank),
        map(tag(","), |_| Piece::Comma),
        map(quoted, Piece::Quoted),
        map(comment, |_| Piece::Comment),
        map(recognize(pair(tag("\\"), anychar)), Piece::Escaped),
        map(tag("<"), |_| Piece::Open),
        map(tag(">"), |_| Piece::Close),
        // A closing parenthesis with no opening one, or a backslash at the end.
        map(recognize(anychar), Piece::Plain),
    ))
    .parse(input)
}

const fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace()
}

const fn is_special(c: char) -> bool {
    matches!(c, '"' | '(' | ')' | '<' | '>' | ',' | '\\') || is_blank(c)
}

fn quoted(input: &str) -> IResult<&str, &str> {
    tag("\"").parse(input)?;
    let mut escaped = false;
    for (at, c) in input.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Ok(split(input, at + 1)),
            _ => {}
        }
    }
    Ok(("", input))
}

/// Counts instead of recursing: a million `(` must not use up the stack.
fn comment(input: &str) -> IResult<&str, &str> {
    tag("(").parse(input)?;
    let (mut depth, mut escaped) = (0u32, false);
    for (at, c) in input.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '(' => depth = depth.saturating_add(1),
            ')' if depth == 1 => return Ok(split(input, at + 1)),
            ')' => depth -= 1,
            _ => {}
        }
    }
    Ok(("", input))
}

/// `(rest, taken)`, as nom has it; `at` is a character boundary.
fn split(input: &str, at: usize) -> (&str, &str) {
    let (taken, rest) = input.split_at_checked(at).unwrap_or((input, ""));
    (rest, taken)
}

/// One entry while it is read.
#[derive(Default)]
struct Draft {
    /// As written, without comments; blanks at the ends still there.
    text: String,
    /// Quotes taken off and blanks outside them as sendmail leaves them; for programs, files and includes.
    bare: String,
    /// Something that is not blank stood outside quotes.
    outside: bool,
    /// An `@` stood outside quotes.
    at: bool,
    /// Inside `<…>`.
    angle: bool,
    /// What was inside the last closed `<…>`.
    inside: Option<Box<Draft>>,
}

impl Draft {
    fn add(&mut self, piece: &Piece<'_>) {
        match piece {
            Piece::Quoted(text) => {
                self.text.push_str(text);
                unquote(text, &mut self.bare);
            }
            Piece::Escaped(text) | Piece::Plain(text) => {
                self.outside = true;
                self.at |= text.contains('@');
                self.text.push_str(text);
                self.bare.push_str(text);
            }
            Piece::Blank(text) => {
                self.text.push_str(text);
                if !self.bare.is_empty() {
                    // BlankSub: an unquoted `|cmd a b` loses its blanks, they become dots (in every m4-made .cf).
                    self.bare.push('.');
                }
            }
            Piece::Comma => self.text.push(','),
            Piece::Open => self.text.push('<'),
            Piece::Close => self.text.push('>'),
            Piece::Comment => {}
        }
    }

    fn finish(self) -> Option<Entry> {
        if let Some(inside) = self.inside {
            return inside.finish();
        }
        let text = self.text.trim();
        if text.is_empty() {
            return None;
        }
        let bare = self.bare.trim_end_matches('.');
        let bare = if self.outside && text.ends_with('.') {
            &self.bare[..]
        } else {
            bare
        };
        Some(classify(text, if self.outside { bare } else { &self.bare }, self.at))
    }
}

/// What an entry is. `text` as written, `bare` without quotes, `at`: an `@` outside quotes makes `/C=se/@gateway` an
/// address and `\user@host` an ordinary one.
fn classify(text: &str, bare: &str, at: bool) -> Entry {
    match Entry::parse(bare) {
        Entry::File(_) if at => Entry::Address(text.to_owned()),
        Entry::Mailbox(user) => {
            let marks = |c: char| c == '\\' || c.is_whitespace();
            match user.trim_start_matches(marks) {
                // A lone backslash is nobody's mailbox.
                "" => Entry::Address(text.to_owned()),
                _ if at => Entry::Address(text.trim_start_matches(marks).to_owned()),
                user => Entry::Mailbox(user.to_owned()),
            }
        }
        Entry::Address(_) => Entry::Address(text.to_owned()),
        other => other,
    }
}

/// Adds the meaning of a quoted string: quotes off, backslashes off.
fn unquote(text: &str, out: &mut String) {
    let inner = text.strip_prefix('"').unwrap_or(text);
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '"' => {}
            c => out.push(c),
        }
    }
}

/// The entries of a right-hand side, in order. Empty members (`a,,b`) are left out. Malformed ones come as
/// [`Entry::Address`] with their text, which whoever parses the address refuses.
#[must_use]
pub fn entries(value: &str) -> Vec<Entry> {
    let (mut found, mut draft, mut rest) = (Vec::new(), Draft::default(), value);
    while let Ok((next, piece)) = piece(rest) {
        rest = next;
        match piece {
            Piece::Comma if !draft.angle => found.extend(std::mem::take(&mut draft).finish()),
            Piece::Open if !draft.angle => {
                draft.add(&Piece::Open);
                draft.angle = true;
                draft.inside = Some(Box::default());
            }
            Piece::Close if draft.angle => {
                draft.add(&Piece::Close);
                draft.angle = false;
            }
            piece => {
                if draft.angle
                    && let Some(inside) = &mut draft.inside
                {
                    inside.add(&piece);
                }
                draft.add(&piece);
            }
        }
    }
    if draft.angle {
        // `<alice` without `>`: unbalanced, so the whole text is the (malformed) address.
        draft.inside = None;
    }
    found.extend(draft.finish());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Entry {
        Entry::Address(text.into())
    }

    #[test]
    fn every_kind_of_value() {
        let value =
            r#"bob, \carol, "|/usr/bin/prog a b", /var/mail/archive, :include:/etc/mail/list, dave@example.org"#;
        let expected = [
            address("bob"),
            Entry::Mailbox("carol".into()),
            Entry::Program("/usr/bin/prog a b".into()),
            Entry::File("/var/mail/archive".into()),
            Entry::Include("/etc/mail/list".into()),
            address("dave@example.org"),
        ];
        assert_eq!(entries(value), expected);
    }

    #[test]
    fn quotes_comments_and_full_names() {
        assert_eq!(
            entries("alice (Alice, the (big) boss), bob"),
            [address("alice"), address("bob")]
        );
        assert_eq!(
            entries(r#""Last, First" <al@x.example>, B <b>"#),
            [address("al@x.example"), address("b")]
        );
        assert_eq!(
            entries(r#""quoted user", "a b"@x.example"#),
            [address("\"quoted user\""), address("\"a b\"@x.example")]
        );
        assert_eq!(
            entries(r#""|exec \"prog\" \\x""#),
            [Entry::Program(r#"exec "prog" \x"#.into())]
        );
        assert_eq!(
            entries(r#"|"/usr/bin/vacation joe""#),
            [Entry::Program("/usr/bin/vacation joe".into())]
        );
        assert_eq!(
            entries(r#"":include:/a b", "/file with blank""#),
            [Entry::Include("/a b".into()), Entry::File("/file with blank".into())]
        );
        assert_eq!(entries("<\"|/bin/prog x\">"), [Entry::Program("/bin/prog x".into())]);
    }

    #[test]
    fn traps() {
        // The number sign starts no comment here.
        assert_eq!(entries("alice # note"), [address("alice # note")]);
        // Unquoted programs lose their blanks.
        assert_eq!(
            entries("|cmd a  b , x"),
            [Entry::Program("cmd.a.b".into()), address("x")]
        );
        assert_eq!(entries("error:nouser 550 x"), [address("error:nouser 550 x")]);
        assert_eq!(entries("/C=se/O=x/@gw.example"), [address("/C=se/O=x/@gw.example")]);
        assert_eq!(entries(r"\joe@far.example"), [address("joe@far.example")]);
        assert_eq!(entries(r"a\,b, c"), [address(r"a\,b"), address("c")]);
        assert_eq!(entries(" , ,a,, "), [address("a")]);
        assert_eq!(entries("<alice, bob"), [address("<alice, bob")]);
        assert_eq!(entries("alice>, bob"), [address("alice>"), address("bob")]);
        assert_eq!(entries("\"open, bob"), [address("\"open, bob")]);
        assert_eq!(entries("a (open, bob"), [address("a")]);
        assert_eq!(entries("a\\"), [address("a\\")]);
        assert_eq!(entries("<>"), []);
    }

    #[test]
    fn long_hostile_values_take_linear_time() {
        for piece in ["(", "\"", "<", ")", "\\", "a<", "(\"", ",", "<\""] {
            let value = piece.repeat(200_000 / piece.len());
            let start = std::time::Instant::now();
            let _ = entries(&value);
            assert!(start.elapsed().as_secs() < 5, "{piece}");
        }
    }
}
