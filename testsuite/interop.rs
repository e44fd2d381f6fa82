//! Mail readers, movers and deliverers of Debian 12 rewrite a mailbox in a loop, under their own locks, while we deliver into it.
//! "Must show" 1 of the issue of local delivery; what each program locks is in mbox-locking.md. Needs the private host and the
//! packages of `testsuite/fetch-clients`. 40 messages each; `POSTRIDER_FULL=1`: 500.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cases/interop.rs"]
mod interop;
#[path = "cases/interop_dovecot.rs"]
mod interop_dovecot;
#[path = "cases/interop_handoff.rs"]
mod interop_handoff;
#[path = "cases/interop_kill.rs"]
mod interop_kill;
#[path = "cases/interop_lmtp.rs"]
mod interop_lmtp;
#[path = "cases/interop_mix.rs"]
mod interop_mix;
#[path = "cases/interop_movemail.rs"]
mod interop_movemail;
#[path = "cases/interop_postfix.rs"]
mod interop_postfix;
#[path = "cases/interop_reader.rs"]
mod interop_reader;
#[path = "cases/interop_refusal.rs"]
mod interop_refusal;
