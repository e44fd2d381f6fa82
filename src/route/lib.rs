//! Where a recipient goes: local users, aliases, MX, smart host. Every route says why.
//!
//! [`Router`] answers at RCPT and submission; [`hosts`] finds the hosts of a hop at the time of delivery. The clock
//! and DNS are arguments ([`Resolver`]); [`Hickory`] is the real resolver.

mod canonical;
mod class;
mod hickory;
mod hosts;
mod key;
mod local;
mod masquerade;
mod relay;
mod remote;
mod resolver;
mod router;
mod settings;
mod tables;
mod trace;
mod virtual_mailbox;
mod walk;

pub use hickory::Hickory;
pub use hosts::{Failure, Host, Local, hosts};
pub use key::{Entry, Key, Relay};
pub use local::quoted;
pub use masquerade::Place;
pub use resolver::{DnsError, Found, Mx, Resolver};
pub use router::{Owner, Router, Target, Verdict};
pub use settings::Settings;
pub use table::{Credentials, Demand};
pub use tables::Tables;
pub use trace::{Explanation, Step};
