//! Tests of the whole crate with everything around it made up: a store and agents in memory, a clock that follows tokio's.

mod anew;
mod auth;
mod bounces;
mod fake;
mod forward;
mod lmtp;
mod local;
mod relay;
mod schedule;
mod session;
