//! From a hop to the hosts that may be tried, in order (RFC 5321 5.1, RFC 7505).

use crate::key::Relay;
use crate::{DnsError, Key, Resolver};
use mail::Status;
use rand::seq::SliceRandom;
use std::net::{IpAddr, SocketAddr};

/// At most this many MX hosts are tried (S-66).
const HOST_LIMIT: usize = 50;
/// At most this many addresses are tried over all hosts (S-66).
const ADDRESS_LIMIT: usize = 20;

/// A host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, without trailing dot, or the address as text.
    pub name: String,
    /// Where it listens.
    pub addresses: Vec<SocketAddr>,
}

/// Why there is no host to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Temporary or permanent.
    pub status: Status,
    /// Text for log, mailq and bounce, in sendmail's words.
    pub text: String,
}

/// What this host calls itself, for cutting mail loops.
#[derive(Clone, Debug, Default)]
pub struct Local {
    /// Its names in lower case.
    pub names: Vec<String>,
    /// The addresses of its interfaces on which it listens on port 25.
    pub addresses: Vec<IpAddr>,
}

/// The hosts of a hop in the order in which they are to be tried.
///
/// # Errors
/// [`Failure`]: unknown host (5.1.2), null MX (5.1.10), loop (5.3.5), or a temporary DNS failure (4.4.3).
pub async fn hosts(key: &Key, resolver: &dyn Resolver, local: &Local) -> Result<Vec<Host>, Failure> {
    match key {
        Key::Mx { domain } => match domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
            Some(literal) => literal_host(literal),
            None => by_mx(domain, 25, resolver, local).await,
        },
        Key::Relay { host, mx, port } => of_relay(host, *mx, *port, resolver, local).await,
        Key::Relays { hosts, .. } => of_relays(hosts, resolver, local).await,
        _ => Err(Failure { status: Status::permanent(3, 5), text: "not a network route".into() }),
    }
}

async fn of_relay(
    host: &str,
    mx: bool,
    port: u16,
    resolver: &dyn Resolver,
    local: &Local,
) -> Result<Vec<Host>, Failure> {
    if mx { by_mx(host, port, resolver, local).await } else { Ok(vec![direct(host, port, resolver).await?]) }
}

/// All hosts of a list, in its order; one that is not found does not hide the others, and a temporary trouble is told
/// rather than a lasting one.
async fn of_relays(relays: &[Relay], resolver: &dyn Resolver, local: &Local) -> Result<Vec<Host>, Failure> {
    let (mut found, mut trouble): (Vec<Host>, Option<Failure>) = (Vec::new(), None);
    for relay in relays.iter().take(HOST_LIMIT) {
        match of_relay(&relay.host, relay.mx, relay.port, resolver, local).await {
            Ok(hosts) => found.extend(hosts),
            Err(failure) => {
                if trouble.as_ref().is_none_or(|known| known.status.is_permanent()) {
                    trouble = Some(failure);
                }
            }
        }
    }
    found.truncate(HOST_LIMIT);
    match (found.is_empty(), trouble) {
        (false, _) => Ok(found),
        (true, Some(trouble)) => Err(trouble),
        (true, None) => Err(Failure { status: Status::permanent(3, 5), text: "no hosts in route".into() }),
    }
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 4.1.3).
fn literal_host(literal: &str) -> Result<Vec<Host>, Failure> {
    let bare = literal.get(..5).filter(|p| p.eq_ignore_ascii_case("ipv6:")).map_or(literal, |_| &literal[5..]);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Ok(vec![Host { name: format!("[{literal}]"), addresses: vec![SocketAddr::new(ip, 25)] }]),
        Err(_) => Err(unknown(literal)),
    }
}

async fn direct(host: &str, port: u16, resolver: &dyn Resolver) -> Result<Host, Failure> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(Host { name: format!("[{host}]"), addresses: vec![SocketAddr::new(ip, port)] });
    }
    match resolver.addresses(host).await {
        Ok(ips) => {
            Ok(Host { name: host.to_owned(), addresses: ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect() })
        }
        Err(DnsError::Temporary(text)) => Err(temporary(host, &text)),
        Err(_) => Err(unknown(host)),
    }
}

async fn by_mx(domain: &str, port: u16, resolver: &dyn Resolver, local: &Local) -> Result<Vec<Host>, Failure> {
    let mut records = match resolver.mx(domain).await {
        Ok(records) if !records.is_empty() => records,
        // No MX record: the domain's own addresses (implicit MX, RFC 5321 5.1).
        Ok(_) | Err(DnsError::NoRecord) => return Ok(vec![direct(domain, port, resolver).await?]),
        Err(DnsError::NoName) => return Err(unknown(domain)),
        Err(DnsError::Temporary(text)) => return Err(temporary(domain, &text)),
    };
    if let [only] = &records[..]
        && only.host.is_empty()
    {
        let text = format!("Domain {domain} does not accept mail (null MX)");
        return Err(Failure { status: Status::permanent(1, 10), text });
    }
    records.retain(|mx| !mx.host.is_empty());
    records.shuffle(&mut rand::rng());
    records.sort_by_key(|mx| mx.preference);
    records.truncate(HOST_LIMIT);
    resolve_all(domain, port, records, resolver, local).await
}

async fn resolve_all(
    domain: &str,
    port: u16,
    records: Vec<crate::Mx>,
    resolver: &dyn Resolver,
    local: &Local,
) -> Result<Vec<Host>, Failure> {
    let (mut found, mut trouble, mut addresses) = (Vec::new(), None, 0);
    // Our own preference cuts off everything that is not better than us.
    let mut cut = u16::MAX;
    let mut looped = false;
    for mx in records {
        if looped && mx.preference >= cut {
            break;
        }
        let name = mx.host.to_ascii_lowercase();
        // Our own name counts even when it does not resolve.
        let named_us = local.names.contains(&name);
        let ips = match resolver.addresses(&name).await {
            _ if named_us => Vec::new(),
            Ok(ips) => ips,
            Err(DnsError::Temporary(text)) => {
                trouble.get_or_insert_with(|| temporary(&name, &text));
                continue;
            }
            Err(_) => continue,
        };
        if named_us || ips.iter().any(|ip| local.addresses.contains(ip)) {
            (looped, cut) = (true, mx.preference);
            found.retain(|(preference, _): &(u16, Host)| *preference < cut);
            continue;
        }
        let room = ADDRESS_LIMIT.saturating_sub(addresses);
        let targets: Vec<SocketAddr> = ips.into_iter().take(room).map(|ip| SocketAddr::new(ip, port)).collect();
        addresses += targets.len();
        if !targets.is_empty() {
            found.push((mx.preference, Host { name, addresses: targets }));
        }
    }
    match (found.is_empty(), looped, trouble) {
        (false, ..) => Ok(found.into_iter().map(|(_, host)| host).collect()),
        (true, _, Some(trouble)) => Err(trouble),
        (true, true, None) => {
            let text = format!("config error: mail loops back to me (MX problem?) for {domain}");
            Err(Failure { status: Status::permanent(3, 5), text })
        }
        (true, false, None) => Err(unknown(domain)),
    }
}

fn unknown(host: &str) -> Failure {
    Failure { status: Status::permanent(1, 2), text: format!("Host unknown (Name server: {host}: host not found)") }
}

fn temporary(host: &str, text: &str) -> Failure {
    Failure { status: Status::temporary(4, 3), text: format!("host map: lookup ({host}): deferred: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Found, Mx};
    use std::future::ready;

    /// `none` has no MX, `gone` does not exist, `slow` cannot be asked.
    struct Zone(Vec<(u16, &'static str)>);

    impl Resolver for Zone {
        fn mx<'a>(&'a self, domain: &'a str) -> Found<'a, Vec<Mx>> {
            let records = self.0.iter().map(|(preference, host)| Mx { preference: *preference, host: (*host).into() });
            let answer = match domain {
                "gone.example" => Err(DnsError::NoName),
                "slow.example" => Err(DnsError::Temporary("SERVFAIL".into())),
                "none.example" => Err(DnsError::NoRecord),
                _ => Ok(records.collect()),
            };
            Box::pin(ready(answer))
        }
        fn addresses<'a>(&'a self, host: &'a str) -> Found<'a, Vec<IpAddr>> {
            let answer = match host.split('.').next() {
                Some("slow") => Err(DnsError::Temporary("SERVFAIL".into())),
                Some("gone") => Err(DnsError::NoName),
                Some("own") => Ok(vec!["192.0.2.1".parse().unwrap()]),
                _ => Ok(vec!["198.51.100.7".parse().unwrap()]),
            };
            Box::pin(ready(answer))
        }
        fn names(&self, _: IpAddr) -> Found<'_, Vec<String>> {
            Box::pin(ready(Err(DnsError::NoName)))
        }
    }

    async fn ask(domain: &str, zone: &[(u16, &'static str)]) -> Result<Vec<String>, String> {
        let local = Local { names: vec!["mx.own.example".into()], addresses: vec!["192.0.2.1".parse().unwrap()] };
        let key = Key::Mx { domain: domain.into() };
        match hosts(&key, &Zone(zone.to_vec()), &local).await {
            Ok(hosts) => Ok(hosts.into_iter().map(|h| h.name).collect()),
            Err(failure) => Err(format!("{} {}", failure.status, failure.text)),
        }
    }

    #[tokio::test]
    async fn lower_preference_first_and_equals_in_random_order() {
        let zone = [(20, "b.example"), (10, "a.example"), (20, "c.example")];
        let mut firsts = std::collections::BTreeSet::new();
        for _ in 0..64 {
            let names = ask("x.example", &zone).await.unwrap();
            assert_eq!(names[0], "a.example");
            firsts.insert(names[1].clone());
        }
        assert_eq!(firsts.len(), 2);
    }

    #[tokio::test]
    async fn our_own_mx_cuts_itself_and_what_is_not_better() {
        let zone = [(10, "a.example"), (20, "own.example"), (20, "b.example"), (30, "c.example")];
        for _ in 0..16 {
            assert_eq!(ask("x.example", &zone).await.unwrap(), ["a.example"]);
        }
        let looped = ask("x.example", &[(10, "MX.own.example"), (20, "b.example")]).await.unwrap_err();
        assert!(looped.starts_with("5.3.5 config error: mail loops back to me"), "{looped}");
    }

    #[tokio::test]
    async fn no_mx_null_mx_and_trouble() {
        assert_eq!(ask("none.example", &[]).await.unwrap(), ["none.example"]);
        assert!(ask("x.example", &[(0, "")]).await.unwrap_err().starts_with("5.1.10"));
        assert!(ask("gone.example", &[]).await.unwrap_err().starts_with("5.1.2 Host unknown"));
        assert!(ask("slow.example", &[]).await.unwrap_err().starts_with("4.4.3"));
        assert!(ask("x.example", &[(10, "slow.example")]).await.unwrap_err().starts_with("4.4.3"));
        assert_eq!(ask("x.example", &[(10, "slow.example"), (20, "b.example")]).await.unwrap(), ["b.example"]);
        assert!(ask("x.example", &[(10, "gone.example")]).await.unwrap_err().starts_with("5.1.2"));
    }

    #[tokio::test]
    async fn several_hosts_in_their_order() {
        let ask = async |key: &str| match hosts(&Key::parse(key).unwrap(), &Zone(Vec::new()), &Local::default()).await {
            Ok(hosts) => hosts.into_iter().map(|h| h.name).collect::<Vec<_>>().join(" "),
            Err(failure) => failure.status.to_string(),
        };
        assert_eq!(ask("via:esmtp:[b.example]:25,[a.example]:25").await, "b.example a.example");
        assert_eq!(ask("via:esmtp:[gone.example]:25,none.example:25,[192.0.2.3]:25").await, "none.example [192.0.2.3]");
        // Somebody may answer later: that is no reason to give up.
        assert_eq!(ask("via:esmtp:[slow.example]:25,[gone.example]:25").await, "4.4.3");
        assert_eq!(ask("via:esmtp:[gone.example]:25").await, "5.1.2");
        assert_eq!(ask("discard:").await, "5.3.5");
    }
}
