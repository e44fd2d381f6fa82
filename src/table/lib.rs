//! Look-ups. Every hit carries its provenance; "could not look" is never "not there".
//!
//! This crate has the traits and the engine's own kinds; sendmail's file formats are in `compat/table`.
//! `daemon` fills a [`Registry`] with both, so that a table kind named in the configuration is found.

mod accounts;
mod choose;
pub mod cidr;
mod database;
mod demand;
mod inline;
#[cfg(test)]
mod linear_test;
mod lined;
mod lmdb;
mod new_file;
pub mod pattern;
mod question;
mod registry;
mod several;
pub mod socketmap;
mod stamp;
mod stored;
pub mod text;
mod words;
mod writer;

pub use accounts::{Account, Accounts};
pub use choose::{Chosen, Form, choose, load_map, made_from, text_instead};
pub use database::Database;
pub use demand::{Demand, Features, Requirement, Unmet};
pub use inline::Inline;
pub use lined::Lined;
pub use lmdb::{Lmdb, load as load_lmdb};
pub use mail::alias::{AliasEntry, alias_entries, alias_value};
pub use mail::database::Record;
pub use mail::database::layout::Origin;
pub use new_file::{NewFile, open_at_once, origin};
pub use question::{
    Access, Client, Credentials, Found, Generics, Hop, Host, Judgement, Mailbox, Mailers, Nothing, Redirect, Refusal,
    Renames, VirtualUsers,
};
pub use registry::{Load, Registry, Source};
pub use several::{FallThrough, Named, Union};
pub use stamp::Stamp;
pub use words::{Word, Words, words};
pub use writer::{Duplicate, Writer};

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Where an answer came from; printed as `file:line: key` by every part that reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Why {
    /// File, setting or service, e.g. `/etc/aliases`.
    pub source: Arc<str>,
    /// Line in it, from 1; 0 where lines make no sense.
    pub line: u32,
    /// The key that was tried and hit, or the rule's name.
    pub key: String,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.source, self.key)
        } else {
            write!(f, "{}:{}: {}", self.source, self.line, self.key)
        }
    }
}

/// A value and its provenance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The value as the table has it.
    pub value: String,
    /// Where it stands.
    pub why: Why,
}

/// What one table of several says of a key, and the name that this table has in the configuration: where an agent looks for a program, a
/// file or a list (`Why::source` may be a compiled form of it, or the text that was made from).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The hit.
    pub hit: Hit,
    /// The table's name; of a table that was given none, where the hit stands.
    pub table: Arc<str>,
}

/// The table or service could not be asked: a temporary failure, with a text for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub String);

/// What a look-up returns, once awaited.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<Option<T>, Unavailable>> + Send + 'a>>;

/// Something that maps keys to values.
pub trait Table: Send + Sync {
    /// Looks `key` up, exactly as given (callers fold case where their table's rules say so).
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit>;
    /// The same, told apart by the tables that it is made of. Never an empty list.
    fn parts<'a>(&'a self, key: &'a str) -> Answer<'a, Vec<Part>> {
        Box::pin(async move {
            let hit = self.look_up(key).await?;
            Ok(hit.map(|hit| vec![Part { table: Arc::clone(&hit.why.source), hit }]))
        })
    }
    /// Problems found while loading, each `file:line: text`.
    fn warnings(&self) -> &[String] {
        &[]
    }
}

/// A table of no entries.
#[derive(Debug, Default)]
pub struct Empty;

impl Table for Empty {
    fn look_up<'a>(&'a self, _key: &'a str) -> Answer<'a, Hit> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
