//! Mail itself: addresses, messages, the SMTP grammar and its state machines, delivery status notifications.
//!
//! Pure: no sockets, no files, no clock. Everything that can be decided about mail without asking the
//! world is decided here, so it can be tested with plain values and fuzzed (`testsuite/fuzz`).

pub mod address;
pub mod id;
pub mod log;
pub mod status;
pub mod time;
pub mod time_of_day;

pub use address::Address;
pub use id::QueueId;
pub use status::{Severity, Status};
pub use time::Time;
