//! Address lists of header fields (RFC 5322 3.4 and 4.4, RFC 2047 words as phrases). `compat/command` takes the recipients
//! of `-t` from it, `header::qualify` finds addresses to complete.
//!
//! One pass over tokens, no recursion: nested comments only count, so a hostile header costs time linear in its length
//! (CVE-2002-1337 was a comment counter without a bound; S-7).

mod token;

use crate::address::Address;
use std::ops::Range;
use token::{Kind, Token, tokens};

/// One address of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The address, or the text as written if it is none.
    pub address: Result<Address, String>,
    /// Where the address (without display name and brackets) stands in the field's body.
    pub span: Range<usize>,
    /// Whether it is a member of a group.
    pub group: bool,
}

/// The addresses of a field's body, in order. Empty elements and empty groups yield nothing.
#[must_use]
pub fn addresses(body: &[u8]) -> Vec<Listed> {
    // As sendmail's OldStyleHeaders: without any list punctuation, blanks separate (`To: bob carol`).
    let old_style = memchr::memchr3(b',', b';', b'<', body).is_none() && memchr::memchr(b'(', body).is_none();
    let mut reader =
        Reader { body, old_style, group: false, element: Vec::new(), angle: Angle::None, found: Vec::new() };
    for token in tokens(body) {
        reader.token(token);
    }
    reader.end_element();
    reader.found
}

/// The elements of a field's body, between the commas, without the blanks around them; comments and display names belong to them.
/// `None` if something in it has no end, so that nobody can tell where it is over.
#[must_use]
pub fn elements(body: &[u8]) -> Option<Vec<Range<usize>>> {
    let (mut found, mut start, mut angle) = (Vec::new(), 0, false);
    for token in tokens(body) {
        match token.kind {
            Kind::Broken => return None,
            Kind::Special(b'<') => angle = true,
            Kind::Special(b'>') => angle = false,
            Kind::Special(b',') if !angle => {
                found.push(start..token.span.start);
                start = token.span.end;
            }
            _ => {}
        }
    }
    found.push(start..body.len());
    let trimmed = |range: Range<usize>| {
        let text = body.get(range.clone()).unwrap_or_default();
        let start = range.start + (text.len() - text.trim_ascii_start().len());
        start..start + text.trim_ascii().len()
    };
    (!angle).then(|| found.into_iter().map(trimmed).filter(|range| !range.is_empty()).collect())
}

/// What sendmail says of a text in which a quote, comment or bracket has no end, or no beginning.
#[must_use]
pub fn unbalanced(text: &str) -> Option<&'static str> {
    let (mut quoted, mut comments, mut angles) = (false, 0u32, 0u32);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            '"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            '(' => comments = comments.saturating_add(1),
            ')' if comments == 0 => return Some("Unbalanced ')'"),
            ')' => comments -= 1,
            _ if comments > 0 => {}
            '<' => angles = angles.saturating_add(1),
            '>' if angles == 0 => return Some("Unbalanced '>'"),
            '>' => angles -= 1,
            _ => {}
        }
    }
    match (quoted, comments, angles) {
        (true, ..) => Some("Unbalanced '\"'"),
        (_, 1.., _) => Some("Unbalanced '('"),
        (.., 1..) => Some("Unbalanced '<'"),
        _ => None,
    }
}

/// How much of a `<…>` was seen in the present element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Angle {
    None,
    /// Inside; whether a source route (`@a,@b:`) is being read.
    Open {
        route: bool,
    },
    Closed,
}

struct Reader<'a> {
    body: &'a [u8],
    old_style: bool,
    group: bool,
    /// Tokens of the present element, or since its `<`.
    element: Vec<Token>,
    angle: Angle,
    found: Vec<Listed>,
}

impl Reader<'_> {
    fn token(&mut self, token: Token) {
        match (token.kind, self.angle) {
            (Kind::Special(b'<'), Angle::None) => {
                self.element.clear();
                self.angle = Angle::Open { route: false };
            }
            (Kind::Special(b'>'), Angle::Open { .. }) => {
                self.add_angle(token.span.end);
                self.angle = Angle::Closed;
            }
            (Kind::Special(b'@'), Angle::Open { .. }) if self.element.is_empty() => {
                self.angle = Angle::Open { route: true };
                self.element.push(token);
            }
            (Kind::Special(b','), Angle::Open { route: true }) => {}
            (Kind::Special(b':'), Angle::Open { route: true }) => {
                self.element.clear();
                self.angle = Angle::Open { route: false };
            }
            (Kind::Special(b','), _) => self.end_element(),
            // Only at the end of a group, or of an element, is it one: `bob;carol` is somebody whom nobody knows.
            (Kind::Special(b';'), Angle::None) if !self.group && !self.element.is_empty() => self.element.push(token),
            (Kind::Special(b';'), Angle::None | Angle::Closed) => {
                self.end_element();
                self.group = false;
            }
            // `@relay:user@host`, a source route without brackets.
            (Kind::Special(b':'), Angle::None) if self.is_route() => self.element.clear(),
            (Kind::Special(b':'), Angle::None) if !self.has_at() => {
                self.element.clear();
                self.group = true;
            }
            (_, Angle::Closed) => {}
            _ => self.element.push(token),
        }
    }
    fn has_at(&self) -> bool {
        self.element.iter().any(|t| t.kind == Kind::Special(b'@'))
    }
    fn is_route(&self) -> bool {
        self.element.first().is_some_and(|t| t.kind == Kind::Special(b'@'))
    }
    /// The element is over, by `,` or `;` or the end of the body.
    fn end_element(&mut self) {
        let mut element = std::mem::take(&mut self.element);
        while element.last().is_some_and(|t| t.kind == Kind::Special(b';')) {
            element.pop();
        }
        match self.angle {
            Angle::Closed => {}
            Angle::None if self.old_style => self.add_old_style(&element),
            Angle::None => self.add(&element),
            // `<` without `>`.
            Angle::Open { .. } => {
                if let (Some(first), Some(last)) = (element.first(), element.last()) {
                    self.add_bad(first.span.start..last.span.end);
                }
            }
        }
        self.angle = Angle::None;
    }
    fn add_angle(&mut self, end: usize) {
        let element = std::mem::take(&mut self.element);
        if element.is_empty() || self.angle == (Angle::Open { route: true }) {
            // `<>` names nobody: no recipient, and nothing to complete.
            let start = element.first().map_or(end.saturating_sub(1), |t| t.span.start);
            self.add_bad(start..end.saturating_sub(1).max(start));
        } else {
            self.add(&element);
        }
    }
    /// Splits where two words follow each other without `@` or `.` between them.
    fn add_old_style(&mut self, element: &[Token]) {
        let glue = |token: &Token| matches!(token.kind, Kind::Special(_));
        let mut start = 0;
        for (n, pair) in element.windows(2).enumerate() {
            if let [a, b] = pair
                && !glue(a)
                && !glue(b)
            {
                self.add(element.get(start..=n).unwrap_or_default());
                start = n + 1;
            }
        }
        self.add(element.get(start..).unwrap_or_default());
    }
    /// One addr-spec: its tokens written together must be an address.
    fn add(&mut self, element: &[Token]) {
        let (Some(first), Some(last)) = (element.first(), element.last()) else {
            return;
        };
        let span = first.span.start..last.span.end;
        let joined = element.windows(2).all(|pair| pair.iter().any(|t| matches!(t.kind, Kind::Special(_))));
        let text = joined.then(|| self.text(element)).flatten();
        match text.and_then(|text| Address::parse(&text).ok()) {
            Some(address) => self.found.push(Listed { address: Ok(address), span, group: self.group }),
            None => self.add_bad(span),
        }
    }
    fn text(&self, element: &[Token]) -> Option<String> {
        let mut text = Vec::new();
        for token in element {
            let written = self.body.get(token.span.clone())?;
            // Quoted strings and literals may be folded (RFC 5322 3.2.2).
            text.extend(written.iter().filter(|&&b| b != b'\r' && b != b'\n'));
        }
        String::from_utf8(text).ok()
    }
    fn add_bad(&mut self, span: Range<usize>) {
        let written = self.body.get(span.clone()).unwrap_or_default();
        let written = if written.is_empty() { &b"<>"[..] } else { written };
        self.found.push(Listed { address: Err(super::header::unfold(written, 1_000)), span, group: self.group });
    }
}

#[cfg(test)]
mod tests;
