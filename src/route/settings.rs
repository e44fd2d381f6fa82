//! What the router must be told; filled by `config`, carried to the engine as JSON.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Settings of the router. Flags have the names of sendmail's FEATURE()s (sendmail.md 4.3 and 4.4) and its defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Fully qualified host name in lower case.
    pub host: String,
    /// Domains whose users are local, lower case, without the host's own names, which always are.
    pub local_domains: Vec<String>,
    /// Addresses of the host's interfaces: `user@[address]` is local, and an MX that points here is cut.
    pub interfaces: Vec<IpAddr>,
    /// Domains to which anyone may relay; a domain covers its subdomains (unless `relay_hosts_only`).
    pub relay_domains: Vec<String>,
    /// Client networks that may relay anywhere, as `address/bits`; loopback always may.
    pub relay_clients: Vec<String>,
    /// All mail that is not local goes here: a [`crate::Key::smart_host`] text.
    pub smart_host: Option<String>,
    /// All mail, local users' as well, goes to the smart host (null client).
    pub null_client: bool,
    /// Addresses of name servers as `address:port`; empty: `/etc/resolv.conf`.
    pub name_servers: Vec<String>,
    /// Most hops of aliasing (sendmail's MaxAliasRecursion).
    pub alias_depth: u32,
    /// Most recipients that one address may expand to.
    pub alias_limit: u32,

    /// The engine's own account, which never gets mail, if agents become other users at all.
    pub engine_uid: Option<u32>,
    /// Accounts below it, but for root, never get mail.
    pub min_uid: u32,

    /// Domains that exist in the virtual user table only (class `{VirtHost}`); anyone may send to them.
    pub virtual_domains: Vec<String>,
    /// Domains whose users have mailboxes without accounts; anyone may send to them.
    pub virtual_mailboxes: Vec<String>,
    /// Virtual domains cover what is below them.
    pub virtuser_entire_domain: bool,

    /// Mail for local users goes here (MAIL_HUB): a text for [`crate::Key::onward`].
    pub mail_hub: Option<String>,
    /// Mail for names without a domain goes here (LOCAL_RELAY).
    pub local_relay: Option<String>,
    /// Mail for unknown local users goes here (LUSER_RELAY).
    pub luser_relay: Option<String>,
    /// Users that none of the three takes (class L, LOCAL_USER).
    pub local_users: Vec<String>,
    /// `user@here` goes to the mail hub before aliases, and never to the local relay.
    pub stickyhost: bool,
    /// `user@new.REDIRECT` as an alias's value: 551 with the new address.
    pub redirect: bool,
    /// `host!user` has no meaning.
    pub nouucp: bool,
    /// `user%host` has no meaning.
    pub nopercenthack: bool,

    /// Entries of `relay_domains` do not cover what is below them, not even `.example.com`.
    pub relay_hosts_only: bool,
    /// The host's own domain and all below it may be relayed to, and its clients may relay.
    pub relay_entire_domain: bool,
    /// A sender `From:… RELAY` may relay. Senders are easily forged.
    pub relay_mail_from: bool,
    /// With `relay_mail_from`: also by the sender's domain.
    pub relay_mail_from_domain: bool,
    /// A sender in a local domain may relay. Senders are easily forged.
    pub relay_local_from: bool,
    /// Everybody may relay.
    pub promiscuous_relay: bool,
    /// `user%host@relayed` is judged by `relayed` alone.
    pub loose_relay_check: bool,

    /// The domain that senders show instead of the host's (MASQUERADE_AS); empty: none.
    pub masquerade_as: String,
    /// Further domains that are masqueraded (class M).
    pub masquerade_domains: Vec<String>,
    /// Domains that never are (class N); they cover what is below them.
    pub masquerade_exceptions: Vec<String>,
    /// Users that keep their host name (class E).
    pub exposed_users: Vec<String>,
    /// sendmail's class `t`, beside root: local users whose other senders are not noted in the header.
    pub trusted_users: Vec<String>,
    /// The envelope sender as well.
    pub masquerade_envelope: bool,
    /// `masquerade_domains` cover what is below them.
    pub masquerade_entire_domain: bool,
    /// Only `masquerade_domains`, not the local domains.
    pub limited_masquerade: bool,
    /// Recipients in the header as well.
    pub allmasquerade: bool,
    /// Mail to local users is not masqueraded.
    pub local_no_masquerade: bool,
    /// Names without a domain get one also in mail to local users.
    pub always_add_domain: bool,
    /// Domains whose senders are looked up in the generics table (class G).
    pub generics_domains: Vec<String>,
    /// `generics_domains` cover what is below them.
    pub generics_entire_domain: bool,
}
