//! The queue: what was accepted and is not finished. Knows no DNS and no routes.
//!
//! [`Store`] is the only door; [`spool`] is the default store (a segment log, see `README.md`), and any other must
//! pass [`contract`], the same tests. [`schedule`] says when to try again; time is an argument.

pub mod contract;
pub mod envelope;
pub mod schedule;
pub mod settings;
pub mod spool;
pub mod store;

pub use envelope::{Body, Change, ELSEWHERE, Envelope, NewState, Notify, Origin, Protocol, Recipient, Ret, State};
pub use settings::Settings;
pub use store::{
    Accepted, Content, ContentId, ContentWriter, Error, Expanded, Expansion, Notice, Part, Pattern, Pending, See,
    Select, Store, Summary, Transaction,
};
