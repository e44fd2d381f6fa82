//! Mail itself: addresses, messages, the SMTP grammar and its state machines, delivery status notifications, and what alias files say.
//!
//! Pure: no sockets, no files, no clock. Everything that can be decided about mail without asking the
//! world is decided here, so it can be tested with plain values and fuzzed (`testsuite/fuzz`).

#![forbid(unsafe_code)]

pub mod address;
pub mod alias;
pub mod client;
pub mod command;
pub mod content;
pub mod database;
pub mod date;
pub mod dsn;
pub mod encryption;
pub mod forward;
mod grammar;
pub mod header;
pub mod id;
pub mod list;
pub mod log;
pub mod path;
pub mod reply;
pub mod server;
pub mod status;
pub mod time;
pub mod time_of_day;

pub use address::{Address, AddressError};
pub use encryption::{Certificate, Encryption, Verify};
pub use id::QueueId;
pub use reply::Reply;
pub use status::{Severity, Status};
pub use time::Time;
