//! Where a recipient goes: local users, aliases, MX, smart host. Every route says why.
//!
//! [`Router`] answers at RCPT and submission; [`hosts`] finds the hosts of a hop at the time of delivery. The clock
//! and DNS are arguments ([`Resolver`]); [`Hickory`] is the real resolver.

mod hickory;
mod hosts;
mod key;
mod resolver;
mod router;
mod settings;

pub use hickory::Hickory;
pub use hosts::{Failure, Host, Local, hosts};
pub use key::Key;
pub use resolver::{DnsError, Found, Mx, Resolver};
pub use router::{Router, Target, Verdict};
pub use settings::Settings;
