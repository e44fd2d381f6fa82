//! The one address that a value of virtusertable or genericstable holds, as sendmail's canonify rules take it out of its wrapping: full
//! name and comments off, the innermost `<…>`, no source route, no group. Called by `compat/table`.
//! Source: sendmail.md 3.4 and runs of 8.17.1.9.

use crate::alias::token::{Token, joined, tokens, unquoted};

/// What one address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address or a local name, `\user@host` with its backslash; it may be malformed.
    Address(String),
    /// `\user`.
    Mailbox(String),
    /// `|program`
    Program,
    /// `/file`
    File,
    /// `:include:`
    Include,
    /// More than one.
    List,
    /// None at all.
    Nobody,
}

/// Reads a value.
#[must_use]
pub fn kind(value: &str) -> Kind {
    let all = tokens(value);
    let (inside, angle) = innermost(&all);
    let bare = unquoted(&joined(inside));
    if bare.starts_with('|') {
        return Kind::Program;
    }
    if bare.get(..9).is_some_and(|tag| tag.eq_ignore_ascii_case(":include:")) {
        return Kind::Include;
    }
    let inside = if angle { inside } else { without_group(inside) };
    let inside = without_route(inside);
    let at = inside.iter().any(|token| token.is("@"));
    if bare.starts_with('/') && !at {
        return Kind::File;
    }
    if inside.iter().any(|token| token.is(",")) {
        return Kind::List;
    }
    let text = joined(inside);
    match text.strip_prefix('\\') {
        _ if text.is_empty() || text == "\"\"" => Kind::Nobody,
        Some(_) if at => Kind::Address(text),
        Some("") => Kind::Nobody,
        Some(user) => Kind::Mailbox(user.to_owned()),
        None => Kind::Address(text),
    }
}

/// What stands in the first `<…>` that has nothing nested in it; everything, if there is none.
fn innermost<'a, 'b>(all: &'a [Token<'b>]) -> (&'a [Token<'b>], bool) {
    let close = all.iter().position(|token| token.is(">"));
    let open = close.and_then(|close| all.get(..close)?.iter().rposition(|token| token.is("<")));
    match (open, close) {
        (Some(open), Some(close)) => (all.get(open + 1..close).unwrap_or_default(), true),
        _ => (all, false),
    }
}

/// `name: address;` without name and semicolon; the colons of `node::user` and `[IPv6:…]` stay.
fn without_group<'a, 'b>(all: &'a [Token<'b>]) -> &'a [Token<'b>] {
    let end = all.iter().rposition(|token| !matches!(token, Token::Blank | Token::Comment)).map_or(0, |last| last + 1);
    let mut all = all.get(..end).unwrap_or_default();
    while let Some((last, rest)) = all.split_last()
        && last.is(";")
    {
        all = rest;
    }
    if all.first().is_some_and(|token| token.is("@")) {
        return all;
    }
    let colon = all.iter().position(|token| token.is(":"));
    let literal = all.iter().position(|token| token.is("["));
    match colon {
        Some(at) if literal.is_none_or(|literal| at < literal) && !all.get(at + 1).is_some_and(|next| next.is(":")) => {
            all.get(at + 1..).unwrap_or_default()
        }
        _ => all,
    }
}

/// `@relay,@other:user@host` without its route (RFC 5321 F.2: ignored).
fn without_route<'a, 'b>(all: &'a [Token<'b>]) -> &'a [Token<'b>] {
    let start = all.iter().position(|token| !matches!(token, Token::Blank | Token::Comment)).unwrap_or(0);
    let all = all.get(start..).unwrap_or_default();
    if !all.first().is_some_and(|token| token.is("@")) {
        return all;
    }
    let mut literal = false;
    for (at, token) in all.iter().enumerate() {
        literal = (literal || token.is("[")) && !token.is("]");
        if token.is(":") && !literal {
            return all.get(at + 1..).unwrap_or_default();
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_out_of_their_wrapping() {
        let cases = [
            ("alice", "alice"),
            ("Alice X <alice>", "alice"),
            ("\"X, Y\" <al@far.example>", "al@far.example"),
            ("X, Y <al@far.example>", "al@far.example"),
            ("alice (note)", "alice"),
            ("alice # note", "alice.#.note"),
            ("alice bob", "alice.bob"),
            ("alice;", "alice"),
            ("a:b@far.example", "b@far.example"),
            ("local:alice", "alice"),
            ("@relay.example:user@far.example", "user@far.example"),
            ("<@a.example,@b.example:user@far.example>", "user@far.example"),
            ("@[IPv6:::1]:user@far.example", "user@far.example"),
            ("user@[IPv6:2001:db8::1]", "user@[IPv6:2001:db8::1]"),
            ("node::user", "node::user"),
            ("host!user", "host!user"),
            ("u%r@v", "u%r@v"),
            (r"\alice@far.example", r"\alice@far.example"),
            ("a <b <c@d.example>>", "c@d.example"),
            ("<alice", "<alice"),
            ("/C=se/@gateway.example", "/C=se/@gateway.example"),
            ("\"q u\"@far.example", "\"q u\"@far.example"),
        ];
        for (value, expected) in cases {
            assert_eq!(kind(value), Kind::Address(expected.into()), "{value}");
        }
    }

    #[test]
    fn what_is_no_address() {
        let cases = [
            ("|/bin/cat", Kind::Program),
            ("\"|/bin/cat x\"", Kind::Program),
            ("|\"/bin/cat x\"", Kind::Program),
            ("<\"|cat\">", Kind::Program),
            ("/tmp/f", Kind::File),
            ("\"/tmp/a b\"", Kind::File),
            (":include:/tmp/f", Kind::Include),
            (":Include:/tmp/f", Kind::Include),
            ("alice,bob", Kind::List),
            ("alice , bob@x.example", Kind::List),
            (",alice", Kind::List),
            ("", Kind::Nobody),
            ("\"\"", Kind::Nobody),
            ("(note)", Kind::Nobody),
            ("\\", Kind::Nobody),
            (r"\alice", Kind::Mailbox("alice".into())),
            (r"\\alice", Kind::Mailbox(r"\alice".into())),
        ];
        for (value, expected) in cases {
            assert_eq!(kind(value), expected, "{value}");
        }
    }
}
