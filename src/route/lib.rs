//! Where a recipient goes: local users, aliases, MX, smart host. Every route says why.
//!
//! `Router` answers at RCPT and submission; [`hosts`] finds the hosts of a hop at the time of delivery. The clock
//! and DNS are arguments ([`Resolver`]); the real resolver is in `hickory`.

mod hosts;
mod key;
mod resolver;
mod settings;

pub use hosts::{Failure, Host, Local, hosts};
pub use key::Key;
pub use resolver::{DnsError, Found, Mx, Resolver};
pub use settings::Settings;
