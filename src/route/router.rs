//! Where an address goes, asked at RCPT and at submission; the answer is committed with the message.
//!
//! Order as in sendmail: is the domain ours? then aliases (plussed forms, recursive), then the account; everything
//! else goes to the smart host or by MX. Nothing here opens a user's files: what needs a user's rights is expanded after acceptance.

use crate::{Key, Settings};
use mail::{Address, Status};
use std::collections::HashSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use table::{Accounts, AliasEntry, Hit, Table, Unavailable, Why, alias_entries};

/// One final recipient, with the route the queue will store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Final address; local users are bare names.
    pub address: Address,
    /// The hop.
    pub key: Key,
    /// `file:line: alias` that named it; empty if the address itself was asked for.
    pub controlling: String,
    /// Why it goes there.
    pub why: Why,
}

/// The answer for one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Accepted; at least one target. Some may have a [`Key::Error`] (a bad member of a list).
    Targets(Vec<Target>),
    /// Refused for good.
    Refused {
        /// 5.x.y
        status: Status,
        /// sendmail's words: `User unknown`.
        text: String,
        /// Why.
        why: Why,
    },
    /// A table or the account database could not be asked: 451, or deferred. Never "user unknown".
    Unavailable {
        /// For the log.
        text: String,
    },
}

/// A client network that may relay.
#[derive(Clone, Debug)]
struct Network {
    address: IpAddr,
    bits: u8,
}

/// Answers where addresses go. Cheap to clone behind an `Arc`; a reload makes a new one.
pub struct Router {
    settings: Settings,
    /// Lower-case names of this host and its local domains.
    local: HashSet<String>,
    relay_clients: Vec<Network>,
    smart_host: Option<Key>,
    aliases: Arc<dyn Table>,
    accounts: Arc<dyn Accounts>,
}

/// State of one expansion.
#[derive(Default)]
struct Expansion {
    targets: Vec<Target>,
    /// Names being expanded, to cut loops.
    path: Vec<String>,
    /// Final keys already reached: a person reached twice gets one copy.
    seen: HashSet<String>,
    /// Aliases whose members have all been added: ten levels of six lists that name each other are sixty look-ups, not 6^10.
    done: HashSet<String>,
    /// Addresses so far.
    looked: u32,
}

type Step<'a> = Pin<Box<dyn Future<Output = Result<(), Unavailable>> + Send + 'a>>;

impl Router {
    /// With tables and accounts to ask. Malformed entries of `relay_clients` match nothing (`config` has checked them).
    #[must_use]
    pub fn new(settings: Settings, aliases: Arc<dyn Table>, accounts: Arc<dyn Accounts>) -> Self {
        let mut local: HashSet<String> = settings.local_domains.iter().map(|d| fold(d)).collect();
        local.insert("localhost".into());
        local.insert(fold(&settings.host));
        if let Some((short, _)) = settings.host.split_once('.') {
            local.insert(fold(short));
        }
        let relay_clients = settings.relay_clients.iter().filter_map(|n| Network::parse(n)).collect();
        let smart_host = settings.smart_host.as_deref().and_then(Key::smart_host);
        Self { settings, local, relay_clients, smart_host, aliases, accounts }
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
        let domain = fold(domain);
        if self.local.contains(&domain) {
            return Some(setting("local-domains", &domain));
        }
        let ip = literal(&domain)?;
        let ours = ip.is_loopback() || self.settings.interfaces.contains(&ip);
        ours.then(|| setting("interface", &domain))
    }

    /// Why a client may relay to any domain, if it may: loopback, one of our own addresses, or `relay-clients`.
    #[must_use]
    pub fn trusted_client(&self, client: IpAddr) -> Option<Why> {
        let client = client.to_canonical();
        if client.is_loopback() || self.settings.interfaces.contains(&client) {
            return Some(setting("client", "this host"));
        }
        let hit = self.relay_clients.iter().find(|n| n.contains(client))?;
        Some(setting("relay-clients", &format!("{}/{}", hit.address, hit.bits)))
    }

    /// Why anyone may send to the address's domain, if so: it is local, or in `relay-domains` (subdomains included).
    #[must_use]
    pub fn relay_domain(&self, address: &Address) -> Option<Why> {
        if let Some(why) = self.local(address) {
            return Some(why);
        }
        let domain = fold(address.domain()?);
        let covers = |relay: &&String| {
            let relay = fold(relay);
            // sendmail.md 3.9: `.example.com` covers only what is below it.
            if let Some(above) = relay.strip_prefix('.') {
                return domain.strip_suffix(above).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'));
            }
            domain.strip_suffix(relay.as_str()).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        self.settings.relay_domains.iter().find(covers).map(|d| setting("relay-domains", d))
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
        let mut work = Expansion::default();
        if let Err(Unavailable(text)) = self.add(&mut work, address.clone(), None).await {
            return Verdict::Unavailable { text };
        }
        let refusal = |target: &Target| match &target.key {
            Key::Error { status, text } if status.is_permanent() => Some((*status, text.clone(), target.why.clone())),
            _ => None,
        };
        // Nothing good in it: say so now, while the client listens, instead of bouncing to a stranger later.
        match work.targets.iter().map(refusal).collect::<Option<Vec<_>>>() {
            Some(refusals) => {
                let (status, text, why) = refusals.into_iter().next().unwrap_or_else(|| {
                    (Status::permanent(1, 1), "User unknown".into(), setting("aliases", "no recipient left"))
                });
                Verdict::Refused { status, text, why }
            }
            None => Verdict::Targets(work.targets),
        }
    }

    /// Adds the targets of one address; `named` is where the address was found, if it is an alias's.
    fn add<'a>(&'a self, work: &'a mut Expansion, address: Address, named: Option<Why>) -> Step<'a> {
        Box::pin(async move {
            work.looked += 1;
            if work.looked.is_multiple_of(64) {
                // Tables answer from memory: without this a large list would hold the thread while others wait.
                tokio::task::yield_now().await;
            }
            if work.targets.len() >= self.settings.alias_limit.max(1) as usize {
                let text = format!("alias expands to more than {} recipients", self.settings.alias_limit);
                return Err(Unavailable(text));
            }
            match self.local(&address) {
                None => {
                    let key = self.remote(&address);
                    let why = match &self.smart_host {
                        Some(_) => setting("smart-host", &key.to_string()),
                        None => setting("mx", &key.to_string()),
                    };
                    work.push(self.qualify(&address), key, named, why);
                    Ok(())
                }
                Some(_) => self.add_local(work, &address, named).await,
            }
        })
    }

    async fn add_local(&self, work: &mut Expansion, address: &Address, named: Option<Why>) -> Result<(), Unavailable> {
        let name = fold(&address.user());
        if work.path.contains(&name) {
            // `bob: bob` ends at the user; a longer circle is a loop that sendmail would drop in silence.
            if work.path.last() == Some(&name) {
                return self.add_user(work, address, &name, named).await;
            }
            self.looped(work, address, named);
            return Ok(());
        }
        if work.path.len() > self.settings.alias_depth.max(1) as usize {
            self.looped(work, address, named);
            return Ok(());
        }
        if work.done.contains(&name) {
            return Ok(());
        }
        match self.alias(&name).await? {
            Some(hit) => {
                work.path.push(name);
                for entry in alias_entries(&hit.value) {
                    self.add_entry(work, address, entry, &hit.why).await?;
                }
                work.done.extend(work.path.pop());
                Ok(())
            }
            None => self.add_user(work, address, &name, named).await,
        }
    }

    async fn add_entry(
        &self,
        work: &mut Expansion,
        parent: &Address,
        entry: AliasEntry,
        why: &Why,
    ) -> Result<(), Unavailable> {
        match entry {
            AliasEntry::Address(text) => match Address::parse(&text) {
                Ok(address) if !address.is_null() => self.add(work, address, Some(why.clone())).await,
                _ => {
                    let text = format!("{text}... bad address in alias");
                    let key = Key::Error { status: Status::permanent(1, 3), text };
                    work.push(parent.clone(), key, Some(why.clone()), why.clone());
                    Ok(())
                }
            },
            AliasEntry::Mailbox(user) => {
                let name = fold(&user);
                self.add_user(work, &Address::from_parts(&user, None), &name, Some(why.clone())).await
            }
            AliasEntry::Program(_) => {
                work.later(parent, "mailing to programs", why);
                Ok(())
            }
            AliasEntry::File(_) => {
                work.later(parent, "mailing to files", why);
                Ok(())
            }
            AliasEntry::Include(_) => {
                work.later(parent, "mailing to :include:s", why);
                Ok(())
            }
        }
    }

    /// The alias for a local name: `user+detail`, then `user+*`, then `user` (sendmail.md 3.1).
    async fn alias(&self, name: &str) -> Result<Option<Hit>, Unavailable> {
        if let Some(hit) = self.aliases.look_up(name).await? {
            return Ok(Some(hit));
        }
        if let Some((user, _)) = name.split_once('+') {
            if let Some(hit) = self.aliases.look_up(&format!("{user}+*")).await? {
                return Ok(Some(hit));
            }
            return self.aliases.look_up(user).await;
        }
        Ok(None)
    }

    /// The account itself, or one of the two names that always work.
    async fn add_user(
        &self,
        work: &mut Expansion,
        address: &Address,
        name: &str,
        named: Option<Why>,
    ) -> Result<(), Unavailable> {
        let user = name.split_once('+').map_or(name, |(user, _)| user);
        let mut found = self.accounts.find(user).await?;
        if found.is_none() && (user == "postmaster" || user == "mailer-daemon") {
            // RFC 5321 4.5.1: postmaster is always deliverable; without an alias it is root.
            if let Some(hit) = self.aliases.look_up("root").await?
                && work.path.iter().all(|n| n != "root")
            {
                work.path.push("root".into());
                for entry in alias_entries(&hit.value) {
                    Box::pin(self.add_entry(work, address, entry, &hit.why)).await?;
                }
                work.path.pop();
                return Ok(());
            }
            found = self.accounts.find("root").await?;
        }
        match found {
            Some(account) => {
                let why = setting("account", &format!("{} (uid {})", account.name, account.uid));
                let local = Address::from_parts(&quoted(&account.name), None);
                work.push(local, Key::Local { user: account.name }, named, why);
            }
            None => {
                let key = Key::Error { status: Status::permanent(1, 1), text: "User unknown".into() };
                work.push(address.clone(), key, named, setting("accounts", user));
            }
        }
        Ok(())
    }

    fn looped(&self, work: &mut Expansion, address: &Address, named: Option<Why>) {
        let (deep, most) = (work.path.len(), self.settings.alias_depth);
        let text = format!("aliasing/forwarding loop broken ({deep} aliases deep; {most} max)");
        let why = named.clone().unwrap_or_else(|| setting("aliases", address.as_str()));
        work.push(address.clone(), Key::Error { status: Status::permanent(4, 6), text }, named, why);
    }

    fn remote(&self, address: &Address) -> Key {
        match (&self.smart_host, address.domain()) {
            (Some(host), _) => host.clone(),
            (None, Some(domain)) => Key::Mx { domain: fold(domain) },
            (None, None) => Key::Mx { domain: fold(&self.settings.host) },
        }
    }
}

impl Expansion {
    fn push(&mut self, address: Address, key: Key, named: Option<Why>, why: Why) {
        let person = match &key {
            Key::Local { user } => format!("local:{user}"),
            _ => format!("{key} {}@{}", address.local(), address.domain().map(fold).unwrap_or_default()),
        };
        if self.seen.insert(person) {
            let controlling = named.map(|w| w.to_string()).unwrap_or_default();
            self.targets.push(Target { address, key, controlling, why });
        }
    }
    /// Something that a later issue builds: kept in the queue, never dropped.
    fn later(&mut self, parent: &Address, what: &str, why: &Why) {
        let key = Key::Error { status: Status::temporary(3, 5), text: format!("{what} is not built yet ({why})") };
        self.push(parent.clone(), key, Some(why.clone()), why.clone());
    }
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address.parse().ok()?, bits.parse().ok()?),
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, bits })
    }
    fn contains(&self, client: IpAddr) -> bool {
        let (ours, theirs, width) = match (self.address, client) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let shift = width - u32::from(self.bits);
        ours.checked_shr(shift).unwrap_or(0) == theirs.checked_shr(shift).unwrap_or(0)
    }
}

fn fold(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix('.').map(str::to_owned).unwrap_or(name)
}

/// `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
fn literal(domain: &str) -> Option<IpAddr> {
    let inner = domain.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("ipv6:").unwrap_or(inner).parse().ok()
}

/// A login name as a local part: quoted if it holds anything but atom characters.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

fn setting(name: &str, key: &str) -> Why {
    Why { source: name.into(), line: 0, key: key.to_owned() }
}

#[cfg(test)]
mod tests;
