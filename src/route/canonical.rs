//! The canonical form of an address as sendmail's rulesets 3 and 0 make it (sendmail.md 3, 4): `localhost` and literals of our own
//! become the host's name, the domain table renames, and at a local domain `%`, `!` and a quoted `@` route on.
//!
//! A domain with a trailing dot is taken as it is: neither `localhost.` nor the domain table changes it (measured on 8.17.1.9).
//!
//! Routing on never opens a relay: whether a client may relay is asked about the address that comes out (`relay.rs`).

use crate::Router;
use crate::class::{fold, literal};
use crate::trace::Trace;
use crate::walk::Refused;
use mail::{Address, Status};
use table::{Unavailable, Why};

/// Most rounds, as sendmail's limit of nested rulesets.
const ROUNDS: usize = 50;

/// The address or why it is none.
pub(crate) type Canonical = Result<Address, Refused>;

impl Router {
    /// The canonical form, if it is an address: for whoever asks a table about it.
    ///
    /// # Errors
    /// If the domain table cannot be asked.
    pub async fn canonical_form(&self, address: &Address) -> Result<Option<Address>, Unavailable> {
        Ok(self.canonical(&mut Trace::default(), address).await?.ok())
    }

    /// The canonical form.
    pub(crate) async fn canonical(&self, trace: &mut Trace, address: &Address) -> Result<Canonical, Unavailable> {
        let mut address = address.clone();
        for _ in 0..ROUNDS {
            address = match self.named(trace, address).await? {
                Ok(address) => address,
                Err(refused) => return Ok(Err(refused)),
            };
            if self.settings().null_client || self.local(&address).is_none() {
                return Ok(Ok(address));
            }
            match self.onward_route(&address) {
                None => return Ok(Ok(address)),
                Some(Ok(next)) => {
                    trace.step("routed", &address, &next, || crate::router::setting("canonical form", address.local()));
                    address = next;
                }
                Some(Err(refused)) => return Ok(Err(refused)),
            }
        }
        Ok(Err(bad(Status::permanent(4, 6), 554, "rewrite: excessive recursion (max 50)")))
    }

    /// With the name its domain has here: the host's own, which the domain table does not change any more, or the table's.
    pub(crate) async fn named(&self, trace: &mut Trace, address: Address) -> Result<Canonical, Unavailable> {
        match self.own_name(trace, &address) {
            Some(own) => Ok(Ok(own)),
            None => self.renamed(trace, address).await,
        }
    }

    /// For others to see: `user@mx` is `user@mx.example.org` on that host. sendmail asks the resolver for every domain and writes what it says;
    /// this is the one answer that we give, without asking: nobody elsewhere can reach `alice@mx`, and `$j` came by the same question. Other
    /// names, those in class w too, stay as they are, as they do there unless they are a CNAME (measured on 8.17.1.9: by its submission program,
    /// and by SMTP unless `nocanonify`). Tables are asked for the name as it was written: under `nocanonify` they have it so.
    pub(crate) fn completed(&self, address: Address) -> Address {
        let settings = self.settings();
        let short = settings.host.split_once('.').map(|(short, _)| fold(short)).filter(|_| !settings.null_client);
        let is_short = unfinished(&address).is_some_and(|domain| Some(domain) == short);
        if is_short { address.at_domain(&settings.host) } else { address }
    }

    /// `user@localhost` and `user@[our address]` are `user@host`.
    fn own_name(&self, trace: &mut Trace, address: &Address) -> Option<Address> {
        let domain = unfinished(address)?;
        let own = match domain.strip_prefix("localhost") {
            Some("" | ".uucp") => true,
            Some(rest) => {
                self.settings().host.split_once('.').is_some_and(|(_, own)| rest.strip_prefix('.') == Some(own))
            }
            None => literal(&domain).is_some() && self.local(address).is_some(),
        };
        if !own || self.settings().null_client {
            return None;
        }
        let named = address.at_domain(&self.settings().host);
        trace.step("canonical", address, &named, || crate::router::setting("host", &domain));
        Some(named)
    }

    async fn renamed(&self, trace: &mut Trace, address: Address) -> Result<Canonical, Unavailable> {
        let named = unfinished(&address).filter(|domain| self.renames && !domain.starts_with('['));
        let Some(domain) = named else { return Ok(Ok(address)) };
        let Some((table, hit)) = self.tables().domains.rename(&domain).await? else { return Ok(Ok(address)) };
        let written = format!("{}@{}", address.local(), fold(hit.value.trim()));
        match Address::parse(&written) {
            Ok(renamed) => {
                trace.step(table, &address, &renamed, || hit.why.clone());
                Ok(Ok(renamed))
            }
            Err(_) => {
                Ok(Err(Refused { why: hit.why, ..bad(Status::temporary(3, 5), 451, "bad value in domain table") }))
            }
        }
    }

    /// Where the local part of an address of ours points, if it routes on.
    pub(crate) fn onward_route(&self, address: &Address) -> Option<Canonical> {
        let settings = self.settings();
        let user = address.user();
        let (mark, user, host) = split(&user, !settings.nouucp, !settings.nopercenthack)?;
        if user.is_empty() {
            return Some(Err(bad(Status::permanent(1, 3), 553, "User address required")));
        }
        if host.is_empty() {
            return Some(Err(bad(Status::permanent(1, 3), 553, "Hostname required")));
        }
        let text = match (mark, host) {
            // A name without a dot was a UUCP neighbour, unless it is ours.
            (Mark::Bang, host) if !host.contains('.') && !self.is_local_name(&fold(host)) => {
                format!("{user}@{host}.uucp")
            }
            (_, host) => format!("{user}@{host}"),
        };
        Some(Address::parse(&text).map_err(|_| bad(Status::permanent(1, 3), 553, "Invalid route address")))
    }
}

/// The domain, folded, if it has no trailing dot.
fn unfinished(address: &Address) -> Option<String> {
    address.domain().filter(|domain| !domain.ends_with('.')).map(fold)
}

/// What separates user and host.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    At,
    Bang,
    Percent,
}

/// Mark, user and host: split at the last `@`, else the first `!`, else the last `%`.
fn split(user: &str, bang: bool, percent: bool) -> Option<(Mark, &str, &str)> {
    // Text that only quotes held together (blanks, brackets) is a name, whatever else is in it.
    if is_held_by_quotes(user) {
        return None;
    }
    if let Some((user, host)) = user.rsplit_once('@') {
        return Some((Mark::At, user, host));
    }
    if let Some((host, user)) = user.split_once('!').filter(|(host, user)| bang && !host.is_empty() && !user.is_empty())
    {
        return Some((Mark::Bang, user, host));
    }
    user.rsplit_once('%').filter(|_| percent).map(|(user, host)| (Mark::Percent, user, host))
}

/// Whether only quotes hold the text together.
fn is_held_by_quotes(user: &str) -> bool {
    user.chars().any(|c| c.is_whitespace() || "()<>,;:\\\"".contains(c))
}

/// Whether it is a name here and could be a route to somebody who reads it otherwise: strangers may not send to it.
pub(crate) fn is_ambiguous(user: &str) -> bool {
    is_held_by_quotes(user) && user.contains(['@', '!', '%'])
}

fn bad(status: Status, code: u16, text: &str) -> Refused {
    let why = Why { source: "canonical form".into(), line: 0, key: text.to_owned() };
    Refused { code, status, text: text.to_owned(), why, exit: None }
}
