//! Sessions out: SMTP, hand-over to agents; results, bounces, warnings. See README.md for states and commit points.
//!
//! The daemon calls [`Deliver::start`] with its [`Parts`], and `receive` hands accepted messages to [`Deliver::submit`].

mod agent;
mod anew;
mod auth;
mod batch;
mod claim;
mod connect;
mod crowd;
mod demand;
mod entry;
mod expand;
mod field;
mod hop;
mod hops;
mod job;
mod line;
mod listed;
mod lmtp;
mod local;
mod notice;
mod outcome;
mod pace;
mod place;
mod relay;
mod report;
mod session;
mod settings;
mod start;
mod stream;
mod tls;
mod told;
mod transaction;

#[cfg(test)]
mod tests;

pub use auth::{Known, Secret, Secrets};
pub use demand::{Asked, Demanded, Demands, ForServer};
pub use field::Fields;
pub use settings::{Current, Settings, Tls};
pub use start::{Agents, Deliver, Parts, Routed, Routes, Routing, Started};

/// What can go wrong at the start. Later troubles are outcomes of recipients, never errors of this crate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The TLS provider cannot be set up: a fault of the build.
    #[error("TLS: {0}")]
    Tls(String),
}
