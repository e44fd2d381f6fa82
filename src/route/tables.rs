//! The administrator's tables as the router asks them; `daemon` fills them in, tests use fakes.

use std::sync::Arc;
use table::{Access, Account, Accounts, Answer, Empty, Generics, Mailers, Nothing, Renames, Table, VirtualUsers};

/// All tables of one configuration. The default has none.
#[derive(Clone)]
pub struct Tables {
    /// Aliases; values in the canonical form of `table::alias_entries`.
    pub aliases: Arc<dyn Table>,
    /// `virtusertable`.
    pub virtual_users: Arc<dyn VirtualUsers>,
    /// `mailertable`.
    pub mailers: Arc<dyn Mailers>,
    /// `genericstable`.
    pub generics: Arc<dyn Generics>,
    /// `domaintable` and its like: domain to domain, exact.
    pub domains: Arc<dyn Renames>,
    /// Users who are elsewhere, asked when no alias matches; values as those of `aliases` (`userdb`).
    pub user_database: Arc<dyn Table>,
    /// Who has a mailbox without an account: `user@domain` and anything.
    pub virtual_mailboxes: Arc<dyn Table>,
    /// `access`.
    pub access: Arc<dyn Access>,
    /// The host's accounts.
    pub accounts: Arc<dyn Accounts>,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            aliases: Arc::new(Empty),
            virtual_users: Arc::new(Nothing),
            mailers: Arc::new(Nothing),
            generics: Arc::new(Nothing),
            domains: Arc::new(Empty),
            user_database: Arc::new(Empty),
            virtual_mailboxes: Arc::new(Empty),
            access: Arc::new(Nothing),
            accounts: Arc::new(Nobody),
        }
    }
}

/// A host without accounts.
struct Nobody;

impl Accounts for Nobody {
    fn find<'a>(&'a self, _name: &'a str) -> Answer<'a, Account> {
        Box::pin(std::future::ready(Ok(None)))
    }
}
