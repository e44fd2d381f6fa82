//! Envelope addresses (RFC 5321 4.1.2, RFC 6531 3.3). Everybody uses the type; [`Address::parse`] reads one without
//! brackets, as on a command line or in a table (SMTP paths: `path.rs`, header fields: `list.rs`).

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Longest local part in octets. RFC 5321 4.5.3.1.1 asks for 64; mailing lists with VERP need more.
pub const LOCAL_LIMIT: usize = 255;
/// Longest domain in octets (RFC 5321 4.5.3.1.2).
pub const DOMAIN_LIMIT: usize = 255;
/// Longest path in octets, brackets and source route included (RFC 5321 4.5.3.1.3 asks for 256).
pub const PATH_LIMIT: usize = 1_000;

/// Why a text is not an address. The fault is always the writer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing there, or only a domain.
    #[error("User address required")]
    Empty,
    /// The local part holds what it must not, or a quote does not end.
    #[error("Syntax error in local part")]
    Local,
    /// The domain is no name.
    #[error("Syntax error in domain")]
    Domain,
    /// Square brackets without an IPv4 address or `IPv6:` and an IPv6 address.
    #[error("Invalid address literal")]
    Literal,
    /// `<` without `>`.
    #[error("Unbalanced '<'")]
    Unbalanced,
    /// Something follows the address.
    #[error("Unexpected text after address")]
    Trailing,
    /// RFC 822 list syntax where one address is wanted.
    #[error("List:; syntax illegal for recipient addresses")]
    List,
    /// Over [`LOCAL_LIMIT`], [`DOMAIN_LIMIT`] or [`PATH_LIMIT`].
    #[error("Address too long")]
    TooLong,
    /// A control character, CR, LF, NUL, or a character that reorders text on a terminal.
    #[error("Illegal character in address")]
    Control,
}

/// An envelope address: `local@domain`, a bare `local` of this host, or the null address `<>`.
///
/// The text is kept as it was written (case and quotes); comparing and looking up go through
/// [`Address::user`] and [`Address::domain`].
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Address {
    text: Box<str>,
    /// Byte offset of the `@` that separates the domain; the text's length if there is none.
    at: u32,
}

/// What is on disk or on a local socket; checked, because a wrong offset would panic later.
#[derive(Deserialize)]
#[serde(rename = "Address")]
struct Stored {
    text: Box<str>,
    at: u32,
}

impl TryFrom<Stored> for Address {
    type Error = AddressError;
    fn try_from(stored: Stored) -> Result<Self, AddressError> {
        let at = stored.at as usize;
        let whole = at == stored.text.len();
        if !whole && stored.text.as_bytes().get(at) != Some(&b'@') {
            return Err(AddressError::Local);
        }
        let Stored { text, at } = stored;
        Ok(Self { text, at })
    }
}

impl Address {
    /// Reads an address without brackets: `bob`, `bob@dom`, `"q s"@dom`, `u@[192.0.2.1]`, `u@[IPv6:::1]`. UTF-8 is
    /// allowed; routing characters (`%`, `!`, a quoted `@`) are opaque parts of the local part (S-30).
    ///
    /// # Errors
    /// What is wrong with it; nothing is trimmed or repaired.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match crate::grammar::mailbox(text)? {
            (address, "") => Ok(address),
            (_, rest) if rest.starts_with(':') => Err(AddressError::List),
            _ => Err(AddressError::Trailing),
        }
    }
    /// The domain for comparing and looking up: ASCII letters in lower case, without a trailing dot.
    #[must_use]
    pub fn domain_key(&self) -> Option<String> {
        let domain = self.domain()?;
        Some(domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase())
    }
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
            Some(domain) => Self { text: format!("{local}@{domain}").into(), at },
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
    /// Whether a backslash stands in the local part: sendmail asks no alias about such a name.
    #[must_use]
    pub fn is_escaped(&self) -> bool {
        self.local().contains('\\')
    }
    /// The local part's meaning: quotes and quoting backslashes taken off (RFC 5321 4.1.2).
    #[must_use]
    pub fn user(&self) -> Cow<'_, str> {
        let local = self.local();
        let quoted = local.strip_prefix('"').and_then(|l| l.strip_suffix('"'));
        let Some(inner) = quoted.or_else(|| self.is_escaped().then_some(local)) else {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        for good in [
            "bob",
            "bob@example.org",
            "bob@Example.ORG.",
            "\"q s\"@example.org",
            "\"a\\\"b@c\"@example.org",
            "u@[192.0.2.1]",
            "u@[IPv6:2001:db8::1]",
            "u@[ipv6:::1]",
            "müller@exämple.org",
            "a..b.@example.org",
            "user%far.example@near.example",
            "a!b!c",
            "bob+tag@localhost",
            "-f@example.org",
            "/etc/passwd",
            "x@under_score.example",
            "\\bob",
            "\\bob@example.org",
        ] {
            let address = Address::parse(good).unwrap_or_else(|e| panic!("{good}: {e}"));
            assert_eq!(address.as_str(), good);
        }
        let address = Address::parse("\"a\\\"b@c\"@Example.ORG.").unwrap();
        assert_eq!(address.user(), "a\"b@c");
        assert_eq!(address.domain(), Some("Example.ORG."));
        assert_eq!(address.domain_key().as_deref(), Some("example.org"));
        let bob = Address::parse("bob").unwrap();
        assert!(bob.domain_key().is_none() && !bob.is_escaped());
        let address = Address::parse("\\b.o\\b@example.org").unwrap();
        assert!(address.is_escaped() && address.user() == "b.ob" && address.local() == "\\b.o\\b");
    }

    #[test]
    fn refuses_the_rest_with_its_reason() {
        use AddressError as E;
        for (bad, why) in [
            ("", E::Empty),
            ("@example.org", E::Empty),
            ("\"\"@example.org", E::Empty),
            ("bob@", E::Domain),
            ("bob@.example.org", E::Domain),
            ("bob@a..b", E::Domain),
            ("bob@-", E::Domain),
            ("bob@a b", E::Trailing),
            ("bob smith@a", E::Trailing),
            ("bob@a@b", E::Trailing),
            ("<bob@a>", E::Local),
            ("\"bob@a", E::Local),
            ("\\", E::Local),
            ("bob\\@a", E::Trailing),
            ("bob\\ smith@a", E::Trailing),
            ("a\\>b@c", E::Trailing),
            ("\"a\".b@c", E::Trailing),
            ("bob@[300.0.0.1]", E::Literal),
            ("bob@[IPv6:zz]", E::Literal),
            ("bob@[192.0.2.1", E::Literal),
            ("bob\0@a", E::Control),
            ("bob@a\r\nRCPT", E::Control),
            ("\"bob\n\"@a", E::Control),
            ("b\u{202e}ob@a", E::Control),
            ("b\u{85}ob@a", E::Control),
            ("list:;", E::List),
        ] {
            assert_eq!(Address::parse(bad), Err(why), "{bad:?}");
        }
        assert_eq!(Address::parse(&format!("{}@a", "x".repeat(256))), Err(E::TooLong));
        assert!(Address::parse(&format!("{}@a", "x".repeat(255))).is_ok());
        assert_eq!(Address::parse(&format!("a@{}", "x.".repeat(128))), Err(E::TooLong));
        assert_eq!(Address::parse(&format!("a@{}.org", "x".repeat(64))), Err(E::Domain));
    }

    #[test]
    fn a_stored_address_is_checked() {
        let address = Address::parse("bob@example.org").unwrap();
        let bytes = postcard::to_allocvec(&address).unwrap();
        assert_eq!(postcard::from_bytes::<Address>(&bytes).unwrap(), address);
        let mut wrong = bytes.clone();
        *wrong.last_mut().unwrap() = 99;
        assert!(postcard::from_bytes::<Address>(&wrong).is_err());
        let null = postcard::to_allocvec(&Address::null()).unwrap();
        assert!(postcard::from_bytes::<Address>(&null).unwrap().is_null());
    }
}
