//! Sets of domain names (sendmail's classes) and client networks. Used by the router; a question costs one look-up per label.

use std::collections::HashSet;
use std::net::IpAddr;

/// A class of domains. Where entries cover what is below them, `.example.com` covers only that; where they are exact it holds
/// nothing, since no domain is called so (as in sendmail: with relay_hosts_only such an entry opens nothing).
#[derive(Clone, Debug, Default)]
pub(crate) struct Domains {
    names: HashSet<String>,
    below: HashSet<String>,
    covers: bool,
}

impl Domains {
    /// `covers`: an entry also holds what is below it. One with a dot at its end matches nothing, as in sendmail, which compares text
    /// with names that have none.
    pub(crate) fn new<S: AsRef<str>>(entries: impl IntoIterator<Item = S>, covers: bool) -> Self {
        let mut class = Self { covers, ..Self::default() };
        for entry in entries.into_iter().filter(|entry| !entry.as_ref().ends_with('.')) {
            let entry = fold(entry.as_ref());
            match entry.strip_prefix('.') {
                Some(above) if covers && !above.is_empty() => drop(class.below.insert(above.to_owned())),
                Some(_) => {}
                None if entry.is_empty() => {}
                None => drop(class.names.insert(entry)),
            }
        }
        class
    }
    /// The entry that holds `domain`, which is in lower case.
    pub(crate) fn find(&self, domain: &str) -> Option<&str> {
        if let Some(own) = self.names.get(domain) {
            return Some(own);
        }
        let mut rest = domain;
        while let Some((_, above)) = rest.split_once('.') {
            let covering = self.names.get(above).filter(|_| self.covers);
            if let Some(entry) = covering.or_else(|| self.below.get(above)) {
                return Some(entry);
            }
            rest = above;
        }
        None
    }
    pub(crate) fn contains(&self, domain: &str) -> bool {
        self.find(domain).is_some()
    }
}

/// A client network that may relay.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) address: IpAddr,
    pub(crate) bits: u8,
}

impl Network {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, bits.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }
    pub(crate) fn contains(&self, client: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, client) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits);
        ours.checked_shr(shift).unwrap_or(0) == theirs.checked_shr(shift).unwrap_or(0)
    }
}

/// A domain for comparing: lower case, no trailing dot. Only ASCII letters are folded, as in every table: the name that access is asked
/// about must be the one that is routed.
pub(crate) fn fold(domain: &str) -> String {
    domain.strip_suffix('.').unwrap_or(domain).to_ascii_lowercase()
}

/// A user's name for comparing: lower case and nothing else. `alice.` is not `alice`, or it would get past what access says of her.
pub(crate) fn fold_user(user: &str) -> String {
    user.to_ascii_lowercase()
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`, folded.
pub(crate) fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("ipv6:").unwrap_or(inner).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_cover_what_they_say() {
        let class = Domains::new(["Example.org", ".below.example", ""], true);
        assert!(
            class.contains("example.org") && class.contains("a.b.example.org") && class.contains("x.below.example")
        );
        assert!(!class.contains("below.example") && !class.contains("notexample.org") && !class.contains("org"));
        let exact = Domains::new(["example.org", ".below.example"], false);
        assert!(exact.contains("example.org") && !exact.contains("a.example.org"));
        assert!(!exact.contains("a.below.example") && !exact.contains("below.example"));
        let dotted = Domains::new(["partner.example.", ".sub.example."], true);
        assert!(!dotted.contains("partner.example") && !dotted.contains("a.sub.example") && !dotted.contains(""));
    }

    #[test]
    fn only_domains_lose_their_last_dot() {
        assert_eq!((fold("MX.Test."), fold("mx.test..")), ("mx.test".into(), "mx.test.".into()));
        assert_eq!(
            (fold_user("Alice."), fold_user("\u{c9}va"), fold_user("mi\u{212a}e")),
            ("alice.".into(), "\u{c9}va".into(), "mi\u{212a}e".into())
        );
        assert_eq!(fold("\u{212a}.test"), "\u{212a}.test");
    }
}
