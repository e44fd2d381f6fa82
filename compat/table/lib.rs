//! sendmail's table formats as the engine's tables. `daemon` puts [`aliases::load`] into the `table::Registry` and wraps raw tables in
//! the types here; the engine never depends on this crate.

pub mod access;
pub mod aliases;
pub mod auth_info;
pub mod check;
mod check_access;
pub mod class;
#[cfg(test)]
mod collection_test;
mod demand;
pub mod domains;
pub mod forward;
pub mod generics;
mod judgement;
#[cfg(test)]
mod linear_test;
pub mod mailers;
pub mod members;
mod name;
pub mod program;
mod right_side;
#[cfg(test)]
mod scratch;
pub mod user_database;
mod value;
pub mod virtual_users;

pub use aliases::{Aliases, Counts, Problem, Severity};
pub use mail::alias::entries;
pub(crate) use mail::alias::{entry, token, wrapped as address};
pub use table::AliasEntry as Entry;
