//! All kinds of tables, the engine's and sendmail's, and raw tables wrapped in sendmail's look-up orders: here alone `table`, `route` and
//! `compat` meet.

use crate::renaming::Renaming;
use compat_table::access::{AccessTable, Options};
use compat_table::generics::GenericsTable;
use compat_table::mailers::MailerTable;
use compat_table::members::Members;
use compat_table::user_database::UserDatabase;
use compat_table::virtual_users::VirtualUserTable;
use config::{AccessOptions, TableFiles};
use mail::Address;
use route::Router;
use std::sync::Arc;
use std::time::Duration;
use table::socketmap::Socketmap;
use table::{Accounts, FallThrough, Inline, Named, Registry, Table, Union};

/// Longest wait for a socketmap's answer: a client at RCPT is waiting too.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kinds that a configuration may name. The router settings say which domains are this host's: an alias `user@thishost` is one for
/// `user`.
pub(crate) fn registry(settings: &route::Settings) -> Registry {
    let mut kinds = Registry::default();
    let host = Router::new(settings.clone(), route::Tables::default());
    kinds.add("aliases", move |source| {
        let is_local = |domain: &str| host.local(&Address::from_parts("x", Some(domain))).is_some();
        compat_table::aliases::load_for(source, Some(&is_local))
    });
    kinds.add("hash", table::load_map);
    kinds.add("text", table::text::load);
    kinds.add("lmdb", table::load_lmdb);
    kinds.add("cidr", table::cidr::load);
    kinds.add("regexp", table::pattern::load);
    kinds.add("pcre", table::pattern::load);
    kinds
}

/// A table as aliases: one of a kind that does not read aliases has lists as they are written in one.
pub(crate) fn as_aliases(files: &TableFiles, table: Arc<dyn Table>) -> Arc<dyn Table> {
    if files.kind == "aliases" { table } else { Arc::new(Members::new(table)) }
}

/// A table with everything that it was named with: entries in the configuration, then the file (`file`) or the server.
pub(crate) fn complete(files: &TableFiles, file: Option<Arc<dyn Table>>) -> Arc<dyn Table> {
    let entries = files
        .entries
        .as_ref()
        .map(|entries| -> Arc<dyn Table> { Arc::new(Inline::new(&entries.at, entries.rows.iter().cloned())) });
    let server = || -> Option<Arc<dyn Table>> {
        let (server, map) = config::socketmap(&files.name).ok().filter(|_| files.text.is_none())?;
        Some(Arc::new(Socketmap::new(server, &map, PATIENCE)))
    };
    let file = file.map(|file| -> Arc<dyn Table> { Arc::new(Named::new(&files.name, file)) });
    let mut all: Vec<Arc<dyn Table>> = entries.into_iter().chain(file.or_else(server)).collect();
    match all.len() {
        1 => all.remove(0),
        _ => Arc::new(FallThrough::new(all)),
    }
}

/// The raw tables of a configuration, live or read once; what is not named is `None`.
pub(crate) struct Raw {
    pub(crate) aliases: Vec<Arc<dyn Table>>,
    /// See [`config::Tables::union`].
    pub(crate) union: bool,
    pub(crate) virtual_users: Option<Arc<dyn Table>>,
    pub(crate) virtual_mailboxes: Option<Arc<dyn Table>>,
    pub(crate) mailers: Option<Arc<dyn Table>>,
    pub(crate) access: Option<Arc<dyn Table>>,
    pub(crate) auth_info: Option<Arc<dyn Table>>,
    pub(crate) domains: Option<Arc<dyn Table>>,
    pub(crate) bitdomain: Option<Arc<dyn Table>>,
    pub(crate) uucpdomain: Option<Arc<dyn Table>>,
    pub(crate) user_database: Option<Arc<dyn Table>>,
    pub(crate) generics: Option<Arc<dyn Table>>,
}

impl Raw {
    /// The tables by the names that sendmail's maps have, as `sendmail -bt` asks them.
    pub(crate) fn named(&self) -> Vec<(String, Arc<dyn Table>)> {
        let single = [
            ("virtuser", &self.virtual_users),
            ("mailertable", &self.mailers),
            ("access", &self.access),
            ("authinfo", &self.auth_info),
            ("domaintable", &self.domains),
            ("bitdomain", &self.bitdomain),
            ("uudomain", &self.uucpdomain),
            ("generics", &self.generics),
        ];
        let named = single.into_iter().filter_map(|(name, table)| Some((name.to_owned(), Arc::clone(table.as_ref()?))));
        let aliases: Arc<dyn Table> = Arc::new(FallThrough::new(self.aliases.clone()));
        let each = self.aliases.iter().enumerate().map(|(n, table)| (format!("alias{n}"), Arc::clone(table)));
        named.chain([("aliases".to_owned(), aliases)]).chain(each).collect()
    }

    /// As the router asks them.
    pub(crate) fn wrap(self, host: &str, options: AccessOptions, accounts: Arc<dyn Accounts>) -> route::Tables {
        let aliases: Arc<dyn Table> =
            if self.union { Arc::new(Union::new(self.aliases)) } else { Arc::new(FallThrough::new(self.aliases)) };
        let mut tables = route::Tables { accounts, aliases, ..route::Tables::default() };
        if let Some(raw) = self.virtual_users {
            tables.virtual_users = Arc::new(VirtualUserTable::new(raw));
        }
        if let Some(raw) = self.virtual_mailboxes {
            tables.virtual_mailboxes = raw;
        }
        if let Some(raw) = self.mailers {
            tables.mailers = Arc::new(MailerTable::new(raw));
        }
        if let Some(raw) = self.generics {
            tables.generics = Arc::new(GenericsTable::new(raw, host));
        }
        if let Some(raw) = self.user_database {
            tables.user_database = Arc::new(UserDatabase::new(raw));
        }
        let (domains, bitdomain, uucpdomain) = (self.domains, self.bitdomain, self.uucpdomain);
        if domains.is_some() || bitdomain.is_some() || uucpdomain.is_some() {
            tables.domains = Arc::new(Renaming { domains, bitdomain, uucpdomain });
        }
        if self.access.is_some() || self.auth_info.is_some() {
            let access = self.access.unwrap_or_else(|| Arc::new(table::Empty));
            let access = AccessTable::new(access, access_options(options));
            tables.access = Arc::new(match self.auth_info {
                Some(raw) => access.with_auth_info(raw),
                None => access,
            });
        }
        tables
    }
}

pub(crate) const fn access_options(options: AccessOptions) -> Options {
    Options {
        skip: options.skip,
        look_up_dot_domain: options.dot_domains,
        relay_to_full_address: options.full_addresses,
        compressed_ipv6: options.short_ipv6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use table::Answer;

    struct Nobody;

    impl Accounts for Nobody {
        fn find<'a>(&'a self, _name: &'a str) -> Answer<'a, table::Account> {
            Box::pin(std::future::ready(Ok(None)))
        }
    }

    fn files(kind: &str) -> TableFiles {
        TableFiles { kind: kind.into(), name: "/t".into(), text: None, compiled: None, optional: true, entries: None }
    }

    /// What two aliases tables have together: one as the aliases reader makes it, one of another kind.
    async fn members(union: bool, name: &str) -> Option<String> {
        let table = |at: &str, rows: &[(&str, &str)]| -> Arc<dyn Table> {
            Arc::new(Inline::new(at, rows.iter().map(|(key, value)| ((*key).into(), (*value).into()))))
        };
        let aliases = vec![
            as_aliases(&files("aliases"), table("a", &[("list", "bob\n|prog a, b"), ("a", "x")])),
            as_aliases(&files("lmdb"), table("l", &[("list", "carol, \\dave"), ("l", "y")])),
        ];
        let raw = Raw {
            aliases,
            union,
            virtual_users: None,
            virtual_mailboxes: None,
            mailers: None,
            access: None,
            auth_info: None,
            domains: None,
            bitdomain: None,
            uucpdomain: None,
            user_database: None,
            generics: None,
        };
        let tables = raw.wrap("mx.example", AccessOptions::default(), Arc::new(Nobody));
        tables.aliases.look_up(name).await.unwrap().map(|hit| format!("{}: {}", hit.why, hit.value))
    }

    #[tokio::test]
    async fn aliases_fall_through_or_are_joined() {
        assert_eq!(members(false, "list").await.as_deref(), Some("a: list: bob\n|prog a, b"));
        assert_eq!(members(true, "list").await.as_deref(), Some("a: list: bob\n|prog a, b\ncarol\n\\dave"));
        for union in [false, true] {
            assert_eq!(members(union, "a").await.as_deref(), Some("a: a: x"));
            assert_eq!(members(union, "l").await.as_deref(), Some("l: l: y"));
            assert_eq!(members(union, "none").await, None);
        }
    }
}
