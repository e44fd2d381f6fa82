//! Tables and lists as the engine is told of them: files by input number. Filled by `finish.rs`; the daemon makes live tables of them,
//! and adds the members of lists again whenever one of their files has changed.

use crate::draft::FileWords;
use crate::text::{list_user, listed_domain, listed_relay_domain, prefix_network};
use serde::{Deserialize, Serialize};

/// Where a table is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFiles {
    /// Its kind in the registry: `aliases`, `table` and others.
    pub kind: String,
    /// Path of the text, for provenance.
    pub name: String,
    /// Input number of the text; `None` for a table that is in no file: kind `socketmap` (see [`crate::socketmap`]), or `inline`, entries
    /// alone.
    pub text: Option<u16>,
    /// Input number of the compiled form beside it; `None` for kinds that have none.
    pub compiled: Option<u16>,
    /// Whether a host without the file has an empty table. Otherwise questions to it fail for the time being, and mail waits.
    pub optional: bool,
    /// Entries in the configuration itself, asked first.
    pub entries: Option<Entries>,
}

/// Entries of a table that stand in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entries {
    /// `file:line` of the first, for provenance.
    pub at: String,
    /// Keys and values.
    pub rows: Vec<(String, String)>,
}

/// The tables of a configuration; those that are not named are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tables {
    /// Asked in this order.
    pub aliases: Vec<TableFiles>,
    /// All aliases tables are asked and what they have is joined; otherwise the first that has the name decides.
    pub union: bool,
    /// `virtual-users`.
    pub virtual_users: Option<TableFiles>,
    /// `virtual-mailboxes`.
    pub virtual_mailboxes: Option<TableFiles>,
    /// `mailers`.
    pub mailers: Option<TableFiles>,
    /// `access`.
    pub access: Option<TableFiles>,
    /// `auth-info`.
    pub auth_info: Option<TableFiles>,
    /// `domains`.
    pub domains: Option<TableFiles>,
    /// `bitdomain`.
    pub bitdomain: Option<TableFiles>,
    /// `uucpdomain`.
    pub uucpdomain: Option<TableFiles>,
    /// `user-database`.
    pub user_database: Option<TableFiles>,
    /// `generics`.
    pub generics: Option<TableFiles>,
}

impl Tables {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &TableFiles> {
        let single = [
            &self.virtual_users,
            &self.virtual_mailboxes,
            &self.mailers,
            &self.access,
            &self.auth_info,
            &self.domains,
            &self.bitdomain,
            &self.uucpdomain,
            &self.user_database,
            &self.generics,
        ];
        self.aliases.iter().chain(single.into_iter().flatten())
    }
}

/// Which list of the engine's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListName {
    /// Class w.
    LocalDomains,
    /// Class R; networks in its files are relay clients.
    RelayDomains,
    /// `relay-clients`.
    RelayClients,
    /// Class VirtHost.
    VirtualDomains,
    /// Class G.
    GenericsDomains,
    /// Class M.
    MasqueradeDomains,
    /// Class N.
    MasqueradeExceptions,
    /// Class E.
    ExposedUsers,
    /// Class t.
    TrustedUsers,
}

/// A file that lists members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListFile {
    /// Input number.
    pub input: u16,
    /// Which words of a line count.
    pub words: FileWords,
    /// Whether a host without the file has none of its members: it may be missing, and was when this was planned. Otherwise what it had is
    /// not known without it.
    pub optional: bool,
}

/// A list: what was written in the configuration, and files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Which.
    pub name: ListName,
    /// Members from the configuration.
    pub members: Vec<String>,
    /// Files that list more.
    pub files: Vec<ListFile>,
}

impl ListName {
    /// Every list.
    const ALL: [Self; 9] = [
        Self::LocalDomains,
        Self::RelayDomains,
        Self::RelayClients,
        Self::VirtualDomains,
        Self::GenericsDomains,
        Self::MasqueradeDomains,
        Self::MasqueradeExceptions,
        Self::ExposedUsers,
        Self::TrustedUsers,
    ];

    /// Checks a word of a list file and says in which list it belongs.
    fn member(self, word: &str) -> Result<(Self, String), String> {
        let checked = match self {
            // sendmail's class R has networks as well.
            Self::RelayDomains | Self::RelayClients => match prefix_network(word) {
                Some(network) => return Ok((Self::RelayClients, network)),
                None => undotted(word).and_then(listed_relay_domain),
            },
            Self::ExposedUsers | Self::TrustedUsers => list_user(word),
            _ => undotted(word).and_then(listed_domain),
        };
        checked.map(|member| (self, member))
    }

    /// Where the router's settings keep its members.
    fn slot(self, route: &mut route::Settings) -> &mut Vec<String> {
        match self {
            Self::LocalDomains => &mut route.local_domains,
            Self::RelayDomains => &mut route.relay_domains,
            Self::RelayClients => &mut route.relay_clients,
            Self::VirtualDomains => &mut route.virtual_domains,
            Self::GenericsDomains => &mut route.generics_domains,
            Self::MasqueradeDomains => &mut route.masquerade_domains,
            Self::MasqueradeExceptions => &mut route.masquerade_exceptions,
            Self::ExposedUsers => &mut route.exposed_users,
            Self::TrustedUsers => &mut route.trusted_users,
        }
    }
}

/// sendmail compares a class's members as text with names that have no dot at their end.
fn undotted(word: &str) -> Result<&str, String> {
    if word.ends_with('.') { Err(format!("\"{word}\" ends in a dot and would match nothing")) } else { Ok(word) }
}

/// Something wrong in a list file: input number, line, text. The word is left out.
pub type ListProblem = (u16, u32, String);

/// Puts the members of all lists into the router's settings, instead of those that are there. `read` has the content of list files by input
/// number; one that is not there has no members.
pub fn fill(
    route: &mut route::Settings,
    lists: &[List],
    mut read: impl FnMut(u16) -> Option<Vec<u8>>,
) -> Vec<ListProblem> {
    let mut problems = Vec::new();
    for name in ListName::ALL {
        name.slot(route).clear();
    }
    let mut add = |name: ListName, member: String| {
        name.slot(route).push(member);
    };
    for list in lists {
        list.members.iter().for_each(|member| add(list.name, member.clone()));
        for file in &list.files {
            let text = read(file.input).unwrap_or_default();
            problems.extend(::table::text::encoding(&text).map(|told| (file.input, 1, told.to_owned())));
            for word in ::table::words(&text, file.words()) {
                match list.name.member(&word.text) {
                    Ok((name, member)) => add(name, member),
                    Err(text) => problems.push((file.input, word.line, text)),
                }
            }
        }
    }
    for name in ListName::ALL {
        let slot = name.slot(route);
        slot.sort_unstable();
        slot.dedup();
    }
    problems
}

impl ListFile {
    /// How the file is read.
    const fn words(&self) -> ::table::Words {
        match self.words {
            FileWords::All => ::table::Words::All,
            FileWords::First => ::table::Words::First,
        }
    }
}
