//! sendmail's user data base (sendmail.md 3.6, `confUSERDB_SPEC`): `user:maildrop address, …` says where a user's mail goes when no alias
//! does. Wraps the raw table for `route`, which asks by user. Other fields rewrite senders for mailers with the flag `i`, which no
//! mailer has that `cf/` makes: not read, and told by [`crate::check`].

use crate::entry::entries;
use std::sync::Arc;
use table::{Answer, Hit, Table, alias_value};

/// The field that is read.
pub(crate) const MAILDROP: &str = "maildrop";

/// A user data base over its raw table; values in the form of `table::alias_entries`.
pub struct UserDatabase {
    raw: Arc<dyn Table>,
}

impl std::fmt::Debug for UserDatabase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserDatabase")
    }
}

impl UserDatabase {
    /// Over `raw`, whose keys are `user:field`.
    #[must_use]
    pub fn new(raw: Arc<dyn Table>) -> Self {
        Self { raw }
    }
}

impl Table for UserDatabase {
    fn look_up<'a>(&'a self, user: &'a str) -> Answer<'a, Hit> {
        Box::pin(async move {
            let found = self.raw.look_up(&format!("{user}:{MAILDROP}")).await?;
            Ok(found.map(|hit| Hit { value: alias_value(&entries(&hit.value)), why: hit.why }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{raw, wait};
    use table::{AliasEntry, alias_entries};

    #[test]
    fn a_maildrop_is_a_list_of_members() {
        let users =
            UserDatabase::new(raw("bob:maildrop\t\\bob, Bob <bob@far.example>\neve:mailname\teve@far.example\n"));
        let hit = wait(users.look_up("bob")).unwrap().unwrap();
        let members = [AliasEntry::Mailbox("bob".into()), AliasEntry::Address("bob@far.example".into())];
        assert_eq!(alias_entries(&hit.value), members);
        assert_eq!(hit.why.key, "bob:maildrop");
        assert!(wait(users.look_up("eve")).unwrap().is_none());
    }
}
