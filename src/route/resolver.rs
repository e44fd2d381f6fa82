//! DNS as the router and the client see it. Three outcomes: an answer, "there is none", "could not ask".

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

/// What a DNS look-up returns, once awaited.
pub type Found<'a, T> = Pin<Box<dyn Future<Output = Result<T, DnsError>> + Send + 'a>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// The name does not exist (NXDOMAIN).
    #[error("host not found")]
    NoName,
    /// The name exists, but not with this type (NODATA).
    #[error("no such record")]
    NoRecord,
    /// Time-out, SERVFAIL, refused: ask again later.
    #[error("{0}")]
    Temporary(String),
}

/// One MX record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mx {
    /// Lower is tried first.
    pub preference: u16,
    /// Host name without trailing dot; empty for the null MX (RFC 7505).
    pub host: String,
}

/// Whoever answers DNS questions.
pub trait Resolver: Send + Sync {
    /// MX records of a domain.
    fn mx<'a>(&'a self, domain: &'a str) -> Found<'a, Vec<Mx>>;
    /// A and AAAA records of a host.
    fn addresses<'a>(&'a self, host: &'a str) -> Found<'a, Vec<IpAddr>>;
    /// Names of an address (PTR).
    fn names(&self, address: IpAddr) -> Found<'_, Vec<String>>;
}
