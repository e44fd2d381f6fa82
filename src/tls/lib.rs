//! Whom a certificate belongs to and who vouches for it, for both sides of SMTP: `receive` asks about clients, `deliver` about servers.
//! Sockets and handshakes are theirs.

#![forbid(unsafe_code)]

mod any;
mod authorities;
mod name;

pub use any::AnyCertificate;
pub use authorities::{Authorities, Side};

/// What can be wrong with a file of authorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no certificate in it that can be used.
    NoAuthorities,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAuthorities => f.write_str("no certificate in it that can be used"),
        }
    }
}

impl std::error::Error for Error {}
