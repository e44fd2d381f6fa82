//! Accounts of this host, as the name service knows them (asked in a process of their own, `src/users`).

use crate::Answer;

/// A local account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The name as the database spells it.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Home directory.
    pub home: String,
    /// Full name field, unparsed.
    pub gecos: String,
}

/// Whoever knows the accounts. Three answers: found, not found, unavailable.
pub trait Accounts: Send + Sync {
    /// The account called `name` (already folded to the case it should be asked in).
    fn find<'a>(&'a self, name: &'a str) -> Answer<'a, Account>;
}
