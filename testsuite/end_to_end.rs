//! The whole way of a message, with the real programs: in by `sendmail` and SMTP, to mbox, Maildir, smart host, MX and back as a bounce.
//! Each server runs in a folder of its own as an ordinary user; the cases of `cases/host.rs` need the private host
//! (`testsuite/host`): roles under their own uids, ports 25 and 587, MX, chroot.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cases/access.rs"]
mod access;
#[path = "cases/alias_database.rs"]
mod alias_database;
#[path = "cases/auth.rs"]
mod auth;
#[path = "cases/borrowed.rs"]
mod borrowed;
#[path = "cases/bounce.rs"]
mod bounce;
#[path = "cases/caller.rs"]
mod caller;
#[path = "cases/certificate.rs"]
mod certificate;
#[path = "cases/command.rs"]
mod command;
#[path = "cases/host.rs"]
mod host;
#[path = "cases/keeper.rs"]
mod keeper;
#[path = "cases/local.rs"]
mod local;
#[path = "cases/local_alias.rs"]
mod local_alias;
#[path = "cases/local_command.rs"]
mod local_command;
#[path = "cases/local_death.rs"]
mod local_death;
#[path = "cases/local_forward.rs"]
mod local_forward;
#[path = "cases/local_hostile.rs"]
mod local_hostile;
#[path = "cases/local_refusal.rs"]
mod local_refusal;
#[path = "cases/local_setting.rs"]
mod local_setting;
#[path = "cases/local_virtual.rs"]
mod local_virtual;
#[path = "cases/manner.rs"]
mod manner;
#[path = "cases/modes.rs"]
mod modes;
#[path = "cases/operate.rs"]
mod operate;
#[path = "cases/own_words.rs"]
mod own_words;
#[path = "cases/reader.rs"]
mod reader;
#[path = "cases/relay.rs"]
mod relay;
#[path = "cases/table.rs"]
mod table;
#[path = "cases/table_kind.rs"]
mod table_kind;
