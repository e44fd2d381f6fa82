//! The access table (sendmail.md 3.3): which keys are tried for a question, in which order, and what is done with what they say.
//! `daemon` wraps a raw table in an [`AccessTable`] for `route` and `receive`. The values are read in [`crate::judgement`].
//!
//! sendmail has one rule for domains (D), one for addresses of hosts (A), one for whole addresses (F) and one for users (U); so has this
//! file, under the same letters. A key is tried with its tag and then without one, or with the tag alone, before the next key's turn:
//! a child's untagged entry wins against a parent's tagged one.

use crate::auth_info;
use crate::demand::{demand, features};
use crate::judgement::{CONNECT, SPAM, judge};
use crate::value::{ADDRESS, ask, domain, plussed};
use mail::Certificate;
use std::net::IpAddr;
use std::sync::Arc;
use table::{
    Access, Answer, Client, Credentials, Demand, Features, Found, Hit, Judgement, Mailbox, Table, Unavailable,
};

/// More labels than this above the name itself are not looked at: a hostile name of 127 labels is no reason for 500 look-ups.
const LABELS: usize = 40;

/// No address has as many octets or groups: `[1.1.1.1` and so on is no reason for 250 look-ups either.
const PARTS: usize = 16;

/// How the table was called in the `.mc`: `FEATURE(access_db, map, skip, lookupdotdomain)` and the like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The word `SKIP` stops a search for a domain, network or recipient (Debian calls the feature so). Otherwise, and for a sender's key
    /// with an `@`, it is a text like any other.
    pub skip: bool,
    /// `lookupdotdomain`: `.b.example` is tried for `a.b.example` before `b.example`.
    pub look_up_dot_domain: bool,
    /// `relaytofulladdress`: `To:user@domain RELAY` opens relaying to that address.
    pub relay_to_full_address: bool,
    /// `O UseCompressedIPv6Addresses`: addresses are tried as `IPv6:2001:db8::1`, not as `IPv6:2001:db8:0:0:0:0:0:1`.
    pub compressed_ipv6: bool,
}

/// `access` over a raw table.
#[derive(Clone)]
pub struct AccessTable {
    raw: Arc<dyn Table>,
    options: Options,
    auth_info: Option<Arc<dyn Table>>,
}

impl std::fmt::Debug for AccessTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AccessTable({:?}, auth_info: {})", self.options, self.auth_info.is_some())
    }
}

/// With the tag and without, or with the tag alone: `+` and `!` of sendmail's rules.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Both,
    Tagged,
}

/// One search: what it has found ends it.
struct Search<'a> {
    table: &'a AccessTable,
    tag: &'a str,
    reach: Reach,
}

type Step = Result<Option<Hit>, Unavailable>;

impl AccessTable {
    /// Wraps a table.
    #[must_use]
    pub fn new(raw: Arc<dyn Table>, options: Options) -> Self {
        Self { raw, options, auth_info: None }
    }

    /// With a separate table for `AuthInfo:` (`FEATURE(authinfo)`): then access is not asked for it.
    #[must_use]
    pub fn with_auth_info(self, raw: Arc<dyn Table>) -> Self {
        Self { auth_info: Some(raw), ..self }
    }

    const fn search<'a>(&'a self, tag: &'a str, reach: Reach) -> Search<'a> {
        Search { table: self, tag, reach }
    }

    fn found(tag: &str, hit: Option<Hit>) -> Option<Found<Judgement>> {
        hit.map(|hit| Found { value: judge(&hit.value, tag), why: hit.why })
    }

    fn is_skip(&self, hit: &Hit) -> bool {
        self.options.skip && hit.value.trim().eq_ignore_ascii_case("skip")
    }
}

impl Search<'_> {
    /// E: one key. Nobody's `"To:x"@y` reads another tag's entry `To:x@y`: a key with a colon is tried without tag only if it is `IPv6:…`.
    async fn exact(&self, key: &str) -> Step {
        let raw = &*self.table.raw;
        let tagged = format!("{}:{key}", self.tag);
        let hit = ask(raw, &tagged).await?;
        let bare = key.strip_prefix('[').unwrap_or(key);
        let ipv6 = bare.get(..5).is_some_and(|mark| mark.eq_ignore_ascii_case("ipv6:")) && !key.contains('@');
        if hit.is_some() || self.reach == Reach::Tagged || key.is_empty() || (key.contains(':') && !ipv6) {
            return Ok(hit);
        }
        ask(raw, key).await
    }

    /// D: a host's name, then what is above it; of a literal `[10.1.2.3]`, `[10.1.2]` and so on. `SKIP` ends the search.
    async fn host(&self, name: &str) -> Step {
        let Some(name) = domain(name) else { return Ok(None) };
        if let Some(literal) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            return self.literal(literal).await;
        }
        let mut key = name;
        loop {
            let mut hit = self.exact(key).await?;
            let above = parent(key);
            if hit.is_none() && self.table.options.look_up_dot_domain && !above.is_empty() {
                hit = self.exact(&format!(".{above}")).await?;
            }
            if let Some(hit) = hit {
                return Ok(Some(hit).filter(|hit| !self.table.is_skip(hit)));
            }
            key = last_labels(above);
            if key.is_empty() {
                return Ok(None);
            }
        }
    }

    async fn literal(&self, inside: &str) -> Step {
        let mut key = inside;
        while !key.is_empty() {
            if let Some(hit) = self.exact(&format!("[{key}]")).await? {
                return Ok(Some(hit).filter(|hit| !self.table.is_skip(hit)));
            }
            key = first_parts(shorter(key));
        }
        Ok(None)
    }

    /// A: a host's address, then its networks by octets or groups. `SKIP` ends the search.
    async fn address(&self, ip: IpAddr) -> Step {
        let whole = address_key(ip, self.table.options.compressed_ipv6);
        let mut key = &whole[..];
        while !key.is_empty() {
            if let Some(hit) = self.exact(key).await? {
                return Ok(Some(hit).filter(|hit| !self.table.is_skip(hit)));
            }
            key = shorter(key);
        }
        Ok(None)
    }

    /// F with a domain, U with none: `user+detail@domain`, `user+*@domain`, `user@domain`. sendmail's rules
    /// know `SKIP` in D and A only, so here it is found like any other text, and refuses a sender.
    async fn user(&self, user: &str, domain: &str) -> Step {
        if user.len() + domain.len() >= ADDRESS {
            return Ok(None);
        }
        let mut hit = self.exact(&format!("{user}@{domain}")).await?;
        if let (None, Some((plain, _))) = (&hit, plussed(user)) {
            hit = self.exact(&format!("{plain}+*@{domain}")).await?;
            if hit.is_none() {
                hit = self.exact(&format!("{plain}@{domain}")).await?;
            }
        }
        Ok(hit)
    }

    /// The domain of a client or server, then its address. A client without a confirmed name has its address in brackets for a name.
    async fn peer(&self, peer: Client<'_>) -> Step {
        let hit = match (peer.name, peer.ip) {
            (Some(name), _) => self.host(name).await?,
            (None, Some(ip)) => self.literal(&address_key(ip, self.table.options.compressed_ipv6)).await?,
            (None, None) => None,
        };
        match (hit, peer.ip) {
            (None, Some(ip)) => self.address(ip).await,
            (hit, _) => Ok(hit),
        }
    }

    /// F, U where `users`, D: sendmail's list for senders and recipients; with `last`, U comes after D.
    async fn mailbox(&self, address: Mailbox<'_>, users: bool, last: bool) -> Step {
        let at = address.domain.map(|name| domain(name).unwrap_or_default());
        if address.user.is_empty() || at == Some("") {
            return Ok(None);
        }
        if let Some(at) = at
            && let hit @ Some(_) = self.user(address.user, at).await?
        {
            return Ok(hit);
        }
        let early = users && !last;
        for turn in [early, !early] {
            let hit = match (turn, at) {
                (true, _) if users => self.user(address.user, "").await?,
                (false, Some(at)) => self.host(at).await?,
                _ => None,
            };
            if hit.is_some() {
                return Ok(hit);
            }
        }
        Ok(None)
    }
}

fn demanded(Hit { value, why }: Hit) -> Option<Found<Demand>> {
    demand(&value).map(|(value, _)| Found { value, why })
}

/// What is above a name; empty at the top.
fn parent(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, above)| above)
}

/// A name, or its last [`LABELS`] labels.
fn last_labels(name: &str) -> &str {
    match name.rmatch_indices('.').nth(LABELS - 1) {
        Some((at, _)) => name.get(at + 1..).unwrap_or_default(),
        None => name,
    }
}

/// What is in brackets, or its first [`PARTS`] octets or groups.
fn first_parts(inside: &str) -> &str {
    match inside.match_indices(['.', ':']).nth(PARTS - 1) {
        Some((at, _)) => inside.get(..at).unwrap_or_default(),
        None => inside,
    }
}

/// A network one octet or group shorter; empty at the end. `2001:db8::` loses both colons.
fn shorter(key: &str) -> &str {
    let end = key.rfind(['.', ':']).unwrap_or(0);
    key.get(..end).unwrap_or_default().trim_end_matches(':')
}

/// As sendmail writes addresses: `10.1.2.3`, `IPv6:2001:db8:0:0:0:0:0:1`.
fn address_key(ip: IpAddr, compressed: bool) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) if compressed => format!("ipv6:{ip}"),
        IpAddr::V6(ip) => ip.segments().iter().fold("ipv6".to_owned(), |key, part| format!("{key}:{part:x}")),
    }
}

impl Access for AccessTable {
    fn connect<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move { Ok(Self::found(CONNECT, self.search(CONNECT, Reach::Both).peer(client).await?)) })
    }

    fn relay_from<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move {
            let search = self.search(CONNECT, Reach::Both);
            let relays =
                |found: &Option<Found<Judgement>>| found.as_ref().is_some_and(|found| found.value == Judgement::Relay);
            let address = match client.ip {
                Some(ip) => Self::found(CONNECT, search.address(ip).await?),
                None => None,
            };
            let (false, Some(name)) = (relays(&address), client.name) else { return Ok(address) };
            // Whatever else the address is said to be, its name may relay.
            let name = Self::found(CONNECT, search.host(name).await?);
            Ok(if relays(&name) { name } else { address.or(name) })
        })
    }

    fn sender<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move {
            Ok(Self::found("From", self.search("From", Reach::Both).mailbox(address, true, false).await?))
        })
    }

    fn recipient<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move {
            let users = local || address.domain.is_none();
            let hit = self.search("To", Reach::Both).mailbox(address, users, false).await?;
            // The check of recipients knows the word whatever the key was.
            Ok(Self::found("To", hit.filter(|hit| !self.is_skip(hit))))
        })
    }

    fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move { Ok(Self::found("To", self.search("To", Reach::Both).host(domain).await?)) })
    }

    fn relay_to_address<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move {
            let Some(at) = address.domain else { return Ok(None) };
            if !self.options.relay_to_full_address {
                return self.relay_to(at).await;
            }
            let search = self.search("To", Reach::Both);
            let hit = search.mailbox(address, false, false).await?;
            let hit = match hit {
                None if address.user.len() < ADDRESS => search.exact(&format!("{}@", address.user)).await?,
                hit => hit,
            };
            Ok(Self::found("To", hit))
        })
    }

    fn spam<'a>(&'a self, address: Mailbox<'a>, local: bool) -> Answer<'a, Found<Judgement>> {
        Box::pin(async move {
            let users = local || address.domain.is_none();
            Ok(Self::found(SPAM, self.search(SPAM, Reach::Tagged).mailbox(address, users, true).await?))
        })
    }

    fn peer<'a>(&'a self, tag: &'a str, peer: Client<'a>) -> Answer<'a, Hit> {
        Box::pin(async move {
            let search = self.search(tag, Reach::Tagged);
            match search.peer(peer).await? {
                None => search.exact("").await,
                hit => Ok(hit),
            }
        })
    }

    fn encryption<'a>(&'a self, server: bool, peer: Client<'a>) -> Answer<'a, Found<Demand>> {
        Box::pin(async move {
            let hit = self.peer(if server { "TLS_Srv" } else { "TLS_Clt" }, peer).await?;
            Ok(hit.and_then(demanded))
        })
    }

    fn encryption_for<'a>(&'a self, recipient: Mailbox<'a>) -> Answer<'a, Found<Demand>> {
        Box::pin(async move {
            let search = self.search("TLS_Rcpt", Reach::Tagged);
            let hit = match search.mailbox(recipient, true, true).await? {
                None => search.exact("").await?,
                hit => hit,
            };
            Ok(hit.and_then(demanded))
        })
    }

    fn features<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Features>> {
        Box::pin(async move {
            let hit = self.peer("Srv_Features", client).await?;
            Ok(hit.map(|Hit { value, why }| Found { value: features(&value), why }))
        })
    }

    fn relay_by<'a>(&'a self, certificate: &'a Certificate) -> Answer<'a, Hit> {
        Box::pin(async move {
            let says = |hit: &Hit, word: &str| hit.value.trim().eq_ignore_ascii_case(word);
            // Never the key with nothing behind its tag, nor one that no name can be.
            let asked = [("CERTISSUER", &certificate.issuer), ("CERTSUBJECT", &certificate.subject)];
            for (tag, name) in asked.into_iter().filter(|(_, name)| name.starts_with('/')) {
                let Some(hit) = self.search(tag, Reach::Tagged).exact(name).await? else { break };
                match tag {
                    _ if says(&hit, "RELAY") => return Ok(Some(hit)),
                    "CERTISSUER" if says(&hit, "SUBJECT") => {}
                    _ => break,
                }
            }
            Ok(None)
        })
    }

    fn credentials<'a>(&'a self, server: Client<'a>) -> Answer<'a, Found<Credentials>> {
        Box::pin(async move {
            let hit = match &self.auth_info {
                None => self.peer(auth_info::TAG, server).await?,
                Some(raw) => auth_info::look_up(&**raw, server).await?,
            };
            hit.map(auth_info::found).transpose()
        })
    }
}

#[cfg(test)]
#[path = "access_test.rs"]
mod tests;
