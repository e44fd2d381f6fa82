//! sendmail's table formats as the engine's tables. `daemon` puts [`aliases::load`] into the `table::Registry`; the engine
//! never depends on this crate.

pub mod aliases;
pub mod class;
mod entry;
mod name;

pub use aliases::{Aliases, Counts, Problem, Severity};
pub use entry::entries;
pub use table::AliasEntry as Entry;
