//! The accounts of this host as a table: the key is a name, the value the name as the database spells it. Called by `daemon`.

use crate::{Accounts, Answer, Hit, Table, Why};
use std::sync::Arc;

/// A table of accounts.
pub struct Service {
    accounts: Arc<dyn Accounts>,
    name: Arc<str>,
}

impl Service {
    /// Asks `accounts`.
    #[must_use]
    pub fn new(accounts: Arc<dyn Accounts>) -> Self {
        Self { accounts, name: "passwd".into() }
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Service")
    }
}

impl Table for Service {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            let account = self.accounts.find(key).await?;
            Ok(account.map(|account| Hit {
                value: account.name,
                why: Why { source: Arc::clone(&self.name), line: 0, key: key.to_owned() },
            }))
        })
    }
}
