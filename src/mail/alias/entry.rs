//! The right-hand side of an alias, taken apart (sendmail.md 3.1; RFC 5322 3.2.2 for comments, 3.2.4 for quotes).
//! Called by `compat/table` and the agents; `:include:` files and `.forward` use the same lists.
//!
//! One pass over the text: whatever is not closed (quote, comment) reaches to the end, so that no input is read twice.

use crate::alias::AliasEntry as Entry;
use crate::alias::wrapped::{Kind, kind};
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

/// A quoted string with its quotes; without a closing one it reaches to the end.
///
/// # Errors
/// If there is none.
pub fn quoted(input: &str) -> IResult<&str, &str> {
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

/// A comment in parentheses. Counts instead of recursing: a million `(` must not use up the stack.
///
/// # Errors
/// If there is none.
pub fn comment(input: &str) -> IResult<&str, &str> {
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
    /// A blank is waiting for what follows; `true` if it may become a dot.
    blank: Option<bool>,
    /// What was read last ended in an atom: not in a quoted string, not in an operator.
    atom: bool,
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
                self.blank = None;
                unquote(text, &mut self.bare);
                self.atom = false;
            }
            Piece::Escaped(text) | Piece::Plain(text) => {
                self.at |= text.contains('@');
                self.text.push_str(text);
                // BlankSub: an unquoted `|cmd a b` loses its blanks; between two atoms they become a dot (in every m4-made
                // .cf), elsewhere nothing.
                if self.blank.take() == Some(true) && !text.starts_with(OPERATORS) {
                    self.bare.push('.');
                }
                self.bare.push_str(text);
                self.atom = !text.ends_with(OPERATORS);
            }
            Piece::Blank(text) => {
                self.text.push_str(text);
                self.blank = Some(self.atom);
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
        let text = self.text.trim_matches(is_blank);
        // Nothing but white space of any kind is nobody: the canonical form could not hold it.
        let entry = (!text.trim().is_empty()).then(|| classify(text, &self.bare, self.at));
        entry.filter(|entry| !matches!(entry, Entry::Address(text) if text.trim().is_empty()))
    }
}

/// OperatorChars of every m4-made `.cf`.
const OPERATORS: [char; 10] = ['.', ':', '%', '@', '!', '^', '/', '[', ']', '+'];

/// What an entry is. `text` as written, `bare` without quotes, `at`: an `@` outside quotes makes `/C=se/@gateway` an
/// address; `\user@host` is the user's mailbox if the host is this one, which who asks knows.
fn classify(text: &str, bare: &str, at: bool) -> Entry {
    match Entry::parse(bare) {
        Entry::File(_) if at => address(text),
        Entry::Mailbox(user) => match (user.trim(), address(text)) {
            // A lone backslash is nobody's mailbox.
            ("", whole) => whole,
            (_, Entry::Address(whole)) if at && whole.len() > 1 && whole.starts_with('\\') => {
                Entry::Mailbox(whole.strip_prefix('\\').unwrap_or(&whole).to_owned())
            }
            (user, _) => Entry::Mailbox(user.to_owned()),
        },
        Entry::Address(_) => address(text),
        other => other,
    }
}

/// An address as sendmail's rules leave it: blanks outside quotes go or become dots, `group: user` is the user. What is malformed stays
/// as it is.
fn address(text: &str) -> Entry {
    Entry::Address(match kind(text) {
        Kind::Address(address) => address,
        _ => text.to_owned(),
    })
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

/// The entries of a right-hand side, in order. Empty members (`a,,b`) are left out. An unbalanced `<` or `>` is ignored, as
/// sendmail does; what is malformed otherwise comes as [`Entry::Address`] with its text, for the parser of addresses to refuse.
#[must_use]
pub fn entries(value: &str) -> Vec<Entry> {
    let (mut found, mut draft, mut rest) = (Vec::new(), Draft::default(), value);
    let last_close = value.rfind('>').unwrap_or(0);
    while let Ok((next, piece)) = piece(rest) {
        let at = value.len() - rest.len();
        rest = next;
        match piece {
            Piece::Comma if !draft.angle => found.extend(std::mem::take(&mut draft).finish()),
            Piece::Open if !draft.angle && at < last_close => {
                draft.add(&Piece::Open);
                draft.angle = true;
                draft.inside = Some(Box::default());
            }
            Piece::Close if draft.angle => {
                draft.add(&Piece::Close);
                draft.angle = false;
            }
            Piece::Open | Piece::Close => {}
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
        // The `>` was in quotes or a comment: the whole text is the (malformed) address.
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
    fn white_space_of_any_kind_is_nobody() {
        assert_eq!(entries("\u{b} , \u{b}\u{b},bob"), [address("bob")]);
    }

    #[test]
    fn quotes_comments_and_full_names() {
        assert_eq!(entries("alice (Alice, the (big) boss), bob"), [address("alice"), address("bob")]);
        assert_eq!(entries(r#""Last, First" <al@x.example>, B <b>"#), [address("al@x.example"), address("b")]);
        assert_eq!(
            entries(r#""quoted user", "a b"@x.example"#),
            [address("\"quoted user\""), address("\"a b\"@x.example")]
        );
        assert_eq!(entries(r#""|exec \"prog\" \\x""#), [Entry::Program(r#"exec "prog" \x"#.into())]);
        assert_eq!(entries(r#"|"/usr/bin/vacation joe""#), [Entry::Program("/usr/bin/vacation joe".into())]);
        assert_eq!(
            entries(r#"":include:/a b", "/file with blank""#),
            [Entry::Include("/a b".into()), Entry::File("/file with blank".into())]
        );
        assert_eq!(entries("<\"|/bin/prog x\">"), [Entry::Program("/bin/prog x".into())]);
    }

    #[test]
    fn traps() {
        // The number sign starts no comment here.
        assert_eq!(entries("alice # note"), [address("alice.#.note")]);
        assert_eq!(entries("alice, : bob, grp: carol;"), [address("alice"), address("bob"), address("carol")]);
        // Unquoted programs lose their blanks.
        assert_eq!(entries("|cmd a  b , x"), [Entry::Program("cmd.a.b".into()), address("x")]);
        assert_eq!(entries("error:nouser 550 x"), [address("nouser.550.x")]);
        assert_eq!(entries("/C=se/O=x/@gw.example"), [address("/C=se/O=x/@gw.example")]);
        assert_eq!(entries(r"\joe@far.example"), [Entry::Mailbox("joe@far.example".into())]);
        assert_eq!(entries(r"a\,b, c"), [address(r"a\,b"), address("c")]);
        assert_eq!(entries(" , ,a,, "), [address("a")]);
        assert_eq!(entries("<alice, bob"), [address("alice"), address("bob")]);
        assert_eq!(entries("alice>, bob"), [address("alice"), address("bob")]);
        assert_eq!(entries("<alice, \"a>\""), [address("<alice, \"a>\"")]);
        assert_eq!(entries("\"open, bob"), [address("\"open, bob")]);
        assert_eq!(entries("a (open, bob"), [address("a")]);
        assert_eq!(entries("a\\"), [address("a\\")]);
        assert_eq!(entries("<>"), []);
    }

    /// What `sendmail -bv` 8.17.1.9 (Debian 12) said of the same right-hand sides, run in a scratch folder.
    #[test]
    fn as_the_real_sendmail() {
        let program = |text: &str| Entry::Program(text.into());
        let file = |text: &str| Entry::File(text.into());
        let cases = [
            ("|cmd a  b , root", vec![program("cmd.a.b"), address("root")]),
            (r#"|"/usr/bin/vacation joe" x"#, vec![program("/usr/bin/vacation joex")]),
            ("|/usr/bin/prog a b (comment)", vec![program("/usr/bin/prog.a.b")]),
            ("/tmp/file name", vec![file("/tmp/file.name")]),
            ("\"/tmp/file name\"", vec![file("/tmp/file name")]),
            (r#"<"|cmd in angle">"#, vec![program("cmd in angle")]),
            (r"\\root", vec![Entry::Mailbox(r"\root".into())]),
            ("root daemon", vec![address("root.daemon")]),
            ("root (open, daemon", vec![address("root")]),
        ];
        for (value, expected) in cases {
            assert_eq!(entries(value), expected, "{value}");
        }
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
