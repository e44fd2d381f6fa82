//! Envelope addresses (RFC 5321 4.1.2, RFC 6531 3.3).

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;

/// An envelope address: `local@domain`, a bare `local` of this host, or the null address `<>`.
///
/// The text is kept as it was written (case and quotes); comparing and looking up go through
/// [`Address::user`] and [`Address::domain`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Address {
    text: Box<str>,
    /// Byte offset of the `@` that separates the domain; the text's length if there is none.
    at: u32,
}

impl Address {
    /// The null address of notifications, `<>`.
    #[must_use]
    pub fn null() -> Self {
        Self { text: "".into(), at: 0 }
    }
    /// From parts that a parser has checked. `local` is in its written form (quotes included).
    #[must_use]
    pub fn from_parts(local: &str, domain: Option<&str>) -> Self {
        let at = u32::try_from(local.len()).expect("local parts are capped far below 4 GiB");
        match domain {
            Some(domain) => Self {
                text: format!("{local}@{domain}").into(),
                at,
            },
            None => Self { text: local.into(), at },
        }
    }
    /// Whether this is `<>`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.text.is_empty()
    }
    /// The whole address, without angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
    /// The local part as written, quotes included.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..self.at as usize]
    }
    /// The domain as written: a name, or a literal in square brackets.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        self.text.get(self.at as usize + 1..)
    }
    /// The local part's meaning: quotes and quoting backslashes taken off (RFC 5321 4.1.2).
    #[must_use]
    pub fn user(&self) -> Cow<'_, str> {
        let local = self.local();
        let Some(inner) = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) else {
            return Cow::Borrowed(local);
        };
        let mut plain = String::with_capacity(inner.len());
        let mut chars = inner.chars();
        while let Some(c) = chars.next() {
            plain.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
        }
        Cow::Owned(plain)
    }
    /// The same local part at another domain.
    #[must_use]
    pub fn at_domain(&self, domain: &str) -> Self {
        Self::from_parts(self.local(), Some(domain))
    }
    /// Whether the local part needs SMTPUTF8 on the wire.
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.text.is_ascii()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.text)
    }
}
