//! Where an address goes, asked at RCPT and at submission; the answer is committed with the message.
//!
//! Order as in sendmail (sendmail.md 3): canonical form, domain table, virtual users, aliases (plussed forms, recursive), luser relay,
//! mail hub, local relay, the account; for other domains the mailer table, the smart host, MX. The walk is `walk.rs`, what is local
//! `local.rs`, what is not `remote.rs`. Nothing here opens a user's files: what needs a user's rights is expanded after acceptance.

use crate::class::{Domains, Network, fold, fold_user, literal};
use crate::trace::{Explanation, Trace};
use crate::walk::Walk;
use crate::{Key, Settings, Tables};
use mail::{Address, Status};
use serde::Serialize;
use std::collections::HashSet;
use std::net::IpAddr;
use table::Why;

/// One final recipient, with the route the queue will store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Final address; local users are bare names.
    pub address: Address,
    /// The hop.
    pub key: Key,
    /// `file:line: alias` that named it; empty if the address itself was asked for.
    pub controlling: String,
    /// The envelope sender for it, if a list with an `owner-` alias named it.
    pub owner: Option<Owner>,
    /// Why it goes there.
    pub why: Why,
    /// What was asked for: the address as given, or as an alias has it.
    pub asked: String,
    /// For a local user what the name was before detail and backslash were taken off.
    pub written: String,
}

/// A list's owner as envelope sender. `Display` shows the second form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// Who gets what comes back to this host.
    pub given: Address,
    /// How others see it.
    pub shown: Address,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.shown.fmt(f)
    }
}

/// The answer for one address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Accepted; at least one target. Some may have a [`Key::Error`] (a bad member of a list).
    Targets(Vec<Target>),
    /// Refused.
    Refused {
        /// SMTP reply code: 550, or what a table says.
        code: u16,
        /// Its class fits the code; 4.x.y only where a table says so.
        #[serde(serialize_with = "crate::trace::text")]
        status: Status,
        /// sendmail's words: `User unknown`.
        text: String,
        /// Why.
        #[serde(serialize_with = "crate::trace::why")]
        why: Why,
        /// Exit code that a table names.
        #[serde(skip)]
        exit: Option<u8>,
    },
    /// A table or the account database could not be asked: 451, or deferred. Never "user unknown".
    Unavailable {
        /// For the log.
        text: String,
    },
}

/// Answers where addresses go. Cheap to clone behind an `Arc`; a reload makes a new one.
pub struct Router {
    settings: Settings,
    tables: Tables,
    /// Names of this host and its local domains (class w).
    local: HashSet<String>,
    /// Whether there is a domain table, and a generics table.
    pub(crate) renames: bool,
    pub(crate) generalises: bool,
    virtual_domains: Domains,
    virtual_mailboxes: HashSet<String>,
    pub(crate) relay_domains: Domains,
    relay_clients: Vec<Network>,
    pub(crate) masqueraded: Domains,
    pub(crate) exceptions: Domains,
    pub(crate) generic: Domains,
    pub(crate) exposed: HashSet<String>,
    pub(crate) local_users: HashSet<String>,
    pub(crate) smart_host: Option<Key>,
    pub(crate) mail_hub: Option<Key>,
    pub(crate) local_relay: Option<Key>,
    pub(crate) luser_relay: Option<Key>,
}

impl Router {
    /// With tables to ask. Malformed entries of `relay_clients` match nothing (`config` has checked them).
    #[must_use]
    pub fn new(settings: Settings, tables: Tables) -> Self {
        let named = settings.local_domains.iter().filter(|domain| !domain.ends_with('.'));
        let mut local: HashSet<String> = named.map(|domain| fold(domain)).collect();
        local.insert("localhost".into());
        local.insert(fold(&settings.host));
        if let Some((short, _)) = settings.host.split_once('.') {
            local.insert(fold(short));
        }
        let users = |names: &[String]| names.iter().map(|name| fold_user(name)).collect();
        // A hub that is this host means: deliver here. Only a name without `relay:` is meant so, as in sendmail.
        let onward = |text: &Option<String>| {
            let text = text.as_deref()?;
            Key::onward(text).filter(|key| text.starts_with("relay:") || !is_ours(key, &local))
        };
        Self {
            renames: is_something(&*tables.domains),
            generalises: is_something(&*tables.generics),
            virtual_domains: Domains::new(&settings.virtual_domains, settings.virtuser_entire_domain),
            virtual_mailboxes: settings.virtual_mailboxes.iter().map(|domain| fold(domain)).collect(),
            relay_domains: Domains::new(&settings.relay_domains, !settings.relay_hosts_only),
            relay_clients: settings.relay_clients.iter().filter_map(|n| Network::parse(n)).collect(),
            masqueraded: Domains::new(&settings.masquerade_domains, settings.masquerade_entire_domain),
            exceptions: Domains::new(&settings.masquerade_exceptions, true),
            generic: Domains::new(&settings.generics_domains, settings.generics_entire_domain),
            exposed: users(&settings.exposed_users),
            local_users: users(&settings.local_users),
            smart_host: settings.smart_host.as_deref().and_then(Key::smart_host),
            mail_hub: onward(&settings.mail_hub),
            local_relay: onward(&settings.local_relay),
            luser_relay: onward(&settings.luser_relay),
            local,
            settings,
            tables,
        }
    }

    /// The tables it asks.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Why the address is this host's own, if it is: no domain, one of our names, or an address literal of ours.
    #[must_use]
    pub fn local(&self, address: &Address) -> Option<Why> {
        if self.settings.null_client {
            return None;
        }
        let Some(domain) = address.domain() else {
            return Some(setting("host", &self.settings.host));
        };
        self.local_domain(&fold(domain))
    }

    /// Why a folded domain is local, if it is.
    pub(crate) fn local_domain(&self, domain: &str) -> Option<Why> {
        if self.local.contains(domain) {
            return Some(setting("local-domains", domain));
        }
        let ip = literal(domain)?;
        let ours = ip.is_loopback() || self.settings.interfaces.contains(&ip);
        ours.then(|| setting("interface", domain))
    }

    /// Whether a folded name is in class w.
    pub(crate) fn is_local_name(&self, name: &str) -> bool {
        self.local.contains(name)
    }

    /// Why a folded domain is one of virtual users only, if it is.
    pub(crate) fn virtual_domain(&self, domain: &str) -> Option<Why> {
        self.virtual_domains.find(domain).map(|entry| setting("virtual-domains", entry))
    }

    /// Why a folded domain's users have mailboxes without accounts, if they do.
    pub(crate) fn mailbox_domain(&self, domain: &str) -> Option<Why> {
        let there = !self.settings.null_client && self.virtual_mailboxes.contains(domain);
        there.then(|| setting("virtual-mailboxes", domain))
    }

    /// Why a client may relay to any domain, if it may: loopback, one of our own addresses, or `relay-clients`.
    #[must_use]
    pub fn trusted_client(&self, client: IpAddr) -> Option<Why> {
        let client = client.to_canonical();
        if self.is_this_host(client) {
            return Some(setting("client", "this host"));
        }
        let hit = self.relay_clients.iter().find(|n| n.contains(client))?;
        Some(setting("relay-clients", &format!("{}/{}", hit.address, hit.bits)))
    }

    /// Whether a client is this host itself: loopback, or one of its own addresses.
    #[must_use]
    pub fn is_this_host(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        client.is_loopback() || self.settings.interfaces.contains(&client)
    }
    /// Whether a local user may give any sender without a note in the header (class `t`).
    #[must_use]
    pub fn trusts_user(&self, name: &str) -> bool {
        self.settings.trusted_users.iter().any(|user| user == name)
    }

    /// The address with this host's name if it has no domain. The null address stays null.
    #[must_use]
    pub fn qualify(&self, address: &Address) -> Address {
        match address.domain() {
            None if !address.is_null() => address.at_domain(&self.settings.host),
            _ => address.clone(),
        }
    }

    /// Where mail for `address` goes.
    pub async fn expand(&self, address: &Address) -> Verdict {
        self.walk(&mut Walk::new(Trace::default()), address).await
    }

    /// The same, with every step.
    pub async fn explain(&self, address: &Address) -> Explanation {
        let mut walk = Walk::new(Trace::kept());
        let verdict = self.walk(&mut walk, address).await;
        Explanation { steps: walk.trace.into_steps(), verdict }
    }
}

/// Whether a table can hold anything: the engine's empty ones are types without a field.
fn is_something<T: ?Sized>(table: &T) -> bool {
    size_of_val(table) > 0
}

fn is_ours(key: &Key, local: &HashSet<String>) -> bool {
    matches!(key, Key::Relay { host, .. } if local.contains(host))
}

pub(crate) fn setting(name: &str, key: &str) -> Why {
    Why { source: name.into(), line: 0, key: key.to_owned() }
}

#[cfg(test)]
mod table_tests;
#[cfg(test)]
mod tests;
