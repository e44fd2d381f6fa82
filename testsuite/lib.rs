//! The harness: a server in a folder of its own, a scripted SMTP sink, a DNS zone, a raw SMTP client, a mailbox reader, an authority for
//! certificates.
//! Used by the `[[test]]` targets of this crate; `testsuite/run` builds the programs and starts them.
//!
//! Nothing here links a crate of the server: the tests see it as the world does.
#![allow(clippy::unwrap_used, reason = "a harness: a panic is a failed test")]

pub mod authority;
pub mod ledger;
pub mod mbox;
pub mod message;
pub mod port;
pub mod process;
pub mod server;
pub mod sink;
pub mod smtp;
pub mod zone;

pub use authority::{Authority, Identity};
pub use ledger::Ledger;
pub use server::{Server, Setup};
pub use sink::Sink;
pub use smtp::Smtp;
pub use zone::Zone;

use std::time::{Duration, Instant};

/// Waits until `ready` says yes; panics with `what` when `limit` has passed. Returns how long it took.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    start.elapsed()
}

/// Whether this test process may do what only root can; prints why a test is skipped if not.
#[must_use]
pub fn root_or_skip(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root() && std::env::var_os("POSTRIDER_HOST").is_some();
    if !root {
        eprintln!("SKIPPED {test}: needs root inside testsuite/host (testsuite/run does that)");
    }
    root
}

/// The full sizes of the "Must show" (`POSTRIDER_FULL=1`), or smaller ones for each commit.
#[must_use]
pub fn scaled(full: usize, small: usize) -> usize {
    if std::env::var_os("POSTRIDER_FULL").is_some() { full } else { small }
}

/// Seconds, for deadlines.
#[must_use]
pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
