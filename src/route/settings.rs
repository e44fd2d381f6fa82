//! What the router must be told; filled by `config`, carried to the engine as JSON.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Settings of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Fully qualified host name in lower case.
    pub host: String,
    /// Domains whose users are local, lower case, without the host's own names, which always are.
    pub local_domains: Vec<String>,
    /// Addresses of the host's interfaces: `user@[address]` is local, and an MX that points here is cut.
    pub interfaces: Vec<IpAddr>,
    /// Domains to which anyone may relay; a domain covers its subdomains.
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
}
