//! Text as sendmail's rules see it: a row of tokens. The values of access, virtusertable and mailertable go through here, because what
//! they mean depends on it: blanks vanish beside an operator, become a dot between two atoms (BlankSub), and comments are nothing.
//! Called by the modules beside it and by `compat/table`. Source: sendmail.md 3.4, 3.5, and runs of 8.17.1.9.
//!
//! One pass: whatever is not closed (quote, comment) reaches to the end.

use crate::alias::entry::comment;
pub use crate::alias::entry::quoted;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while1};
use nom::character::complete::anychar;
use nom::combinator::{map, opt, recognize};
use nom::multi::many0_count;
use nom::sequence::{pair, terminated};
use nom::{IResult, Parser};

/// A token. `text` is what was written, quotes included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A word.
    Atom(&'a str),
    /// A quoted string with its quotes; the closing one may be missing.
    Quoted(&'a str),
    /// One of OperatorChars or RFC 822's specials.
    Operator(&'a str),
    /// White space.
    Blank,
    /// A comment in parentheses.
    Comment,
}

impl Token<'_> {
    /// Whether this is the operator `text`.
    #[must_use]
    pub fn is(&self, text: &str) -> bool {
        matches!(self, Token::Operator(operator) if *operator == text)
    }
}

/// OperatorChars of every m4-made `.cf`, and the specials that are never part of a word.
const fn is_operator(c: char) -> bool {
    matches!(c, '.' | ':' | '%' | '@' | '!' | '^' | '/' | '[' | ']' | '+' | '<' | '>' | ',' | ';' | ')')
}

const fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

const fn is_word(c: char) -> bool {
    !is_operator(c) && !is_blank(c) && !matches!(c, '"' | '(' | '\\')
}

fn token(input: &str) -> IResult<&str, Token<'_>> {
    alt((
        map(word, Token::Atom),
        map(take_while1(is_blank), |_| Token::Blank),
        map(quoted, Token::Quoted),
        map(comment, |_| Token::Comment),
        map(recognize(anychar), Token::Operator),
    ))
    .parse(input)
}

/// Ordinary characters and any one that a backslash protects; a backslash at the end stands for itself.
///
/// # Errors
/// If there is none.
pub fn word(input: &str) -> IResult<&str, &str> {
    let escaped = recognize(pair(tag("\\"), opt(anychar)));
    let piece = alt((take_while1(is_word), escaped));
    let (rest, count) = many0_count(piece).parse(input)?;
    if count == 0 {
        return Err(nom::Err::Error(nom::error::Error::new(input, nom::error::ErrorKind::Many1Count)));
    }
    let (taken, rest) = input.split_at_checked(input.len() - rest.len()).unwrap_or((input, ""));
    Ok((rest, taken))
}

/// One token that stands alone, with the blanks behind it: `$-` of a rule.
///
/// # Errors
/// If there is none.
pub fn single(input: &str) -> IResult<&str, &str> {
    terminated(alt((word, quoted)), opt(take_while1(is_blank))).parse(input)
}

/// All tokens of a text.
#[must_use]
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Ok((next, token)) = token(rest) {
        rest = next;
        found.push(token);
    }
    found
}

/// The text of tokens as sendmail puts them together again: a dot for blanks between two words, nothing elsewhere.
#[must_use]
pub fn joined(tokens: &[Token<'_>]) -> String {
    let (mut out, mut word, mut blank) = (String::new(), false, false);
    for token in tokens {
        match token {
            Token::Blank => blank = true,
            Token::Comment => {}
            Token::Atom(text) => {
                if blank && word {
                    out.push('.');
                }
                out.push_str(text);
                (word, blank) = (true, false);
            }
            Token::Quoted(text) | Token::Operator(text) => {
                out.push_str(text);
                (word, blank) = (false, false);
            }
        }
    }
    out
}

/// The meaning of a quoted string: quotes off, quoting backslashes off.
/// What a text with quoted strings means: quotes off, quoting backslashes off.
#[must_use]
pub fn unquoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '"' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_go_as_in_sendmail() {
        let cases = [
            ("alice  # note", "alice.#.note"),
            ("alice (note)", "alice"),
            ("alice bob@x . example", "alice.bob@x.example"),
            ("\"a b\" c", "\"a b\"c"),
            ("esmtp : [ a ] # b c", "esmtp:[a]#.b.c"),
            ("a (b (c) d) e", "a.e"),
            (r"\alice", r"\alice"),
            ("a\\", "a\\"),
            ("(open", ""),
            ("\"open", "\"open"),
        ];
        for (text, expected) in cases {
            assert_eq!(joined(&tokens(text)), expected, "{text}");
        }
        assert_eq!(unquoted(r#""a \"b\" \\""#), r#"a "b" \"#);
    }

    #[test]
    fn long_hostile_values_take_linear_time() {
        for piece in ["(", "\"", "<", ")", "\\", "a<", "(\"", ",", ": ", "\"\\", "a "] {
            let value = piece.repeat(200_000 / piece.len());
            let start = std::time::Instant::now();
            let _ = joined(&tokens(&value));
            assert!(start.elapsed().as_secs() < 5, "{piece}");
        }
    }
}
