//! The real resolver: hickory, asked in a task of its own, so that a panic inside a DNS library is a temporary
//! failure of one look-up (crates.md §3: a debug assertion could be tripped from the network).

use crate::{DnsError, Found, Mx, Resolver};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// DNS through hickory-resolver, with its cache.
#[derive(Clone)]
pub struct Hickory {
    resolver: TokioResolver,
}

/// No look-up takes longer than this, retries included.
const PATIENCE: Duration = Duration::from_secs(20);

impl Hickory {
    /// With the given name servers, or those of `/etc/resolv.conf` if there are none.
    ///
    /// # Errors
    /// If `/etc/resolv.conf` cannot be used; the text says why.
    pub fn new(servers: &[SocketAddr]) -> Result<Self, String> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|e| format!("/etc/resolv.conf: {e}"))?
        } else {
            let named = servers.iter().map(|server| {
                let (mut udp, mut tcp) = (ConnectionConfig::udp(), ConnectionConfig::tcp());
                (udp.port, tcp.port) = (server.port(), server.port());
                NameServerConfig::new(server.ip(), true, vec![udp, tcp])
            });
            let config = ResolverConfig::from_name_servers(named.collect());
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        let options = builder.options_mut();
        options.timeout = Duration::from_secs(3);
        options.attempts = 2;
        options.cache_size = 8_192;
        let resolver = builder.build().map_err(|e| e.to_string())?;
        Ok(Self { resolver })
    }

    async fn ask(&self, name: String, kind: RecordType) -> Result<Vec<RData>, DnsError> {
        let resolver = self.resolver.clone();
        let task = tokio::spawn(async move {
            match tokio::time::timeout(PATIENCE, resolver.lookup(name, kind)).await {
                Err(_) => Err(DnsError::Temporary("timed out".into())),
                Ok(Ok(found)) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
                Ok(Err(e)) if e.is_nx_domain() => Err(DnsError::NoName),
                Ok(Err(e)) if e.is_no_records_found() => Err(DnsError::NoRecord),
                Ok(Err(e)) => Err(DnsError::Temporary(e.to_string())),
            }
        });
        task.await.unwrap_or_else(|_| Err(DnsError::Temporary("resolver failed".into())))
    }
}

/// Absolute: search domains never apply to mail.
fn absolute(name: &str) -> String {
    format!("{}.", name.trim_end_matches('.'))
}

impl Resolver for Hickory {
    fn mx<'a>(&'a self, domain: &'a str) -> Found<'a, Vec<Mx>> {
        Box::pin(async move {
            let found = self.ask(absolute(domain), RecordType::MX).await?;
            let records: Vec<Mx> = found
                .into_iter()
                .filter_map(|data| match data {
                    RData::MX(mx) => {
                        let host = mx.exchange.to_ascii();
                        Some(Mx { preference: mx.preference, host: host.trim_end_matches('.').to_owned() })
                    }
                    _ => None,
                })
                .collect();
            if records.is_empty() { Err(DnsError::NoRecord) } else { Ok(records) }
        })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Found<'a, Vec<IpAddr>> {
        Box::pin(async move {
            let (four, six) =
                tokio::join!(self.ask(absolute(host), RecordType::A), self.ask(absolute(host), RecordType::AAAA));
            let ip = |data: RData| match data {
                RData::A(a) => Some(IpAddr::V4(a.0)),
                RData::AAAA(a) => Some(IpAddr::V6(a.0)),
                _ => None,
            };
            let mut ips: Vec<IpAddr> = Vec::new();
            let mut trouble = None;
            for answer in [six, four] {
                match answer {
                    Ok(found) => ips.extend(found.into_iter().filter_map(ip)),
                    Err(e @ DnsError::Temporary(_)) => trouble = Some(e),
                    Err(e) => trouble = trouble.or(Some(e)),
                }
            }
            match (ips.is_empty(), trouble) {
                (false, _) => Ok(ips),
                (true, Some(trouble)) => Err(trouble),
                (true, None) => Err(DnsError::NoRecord),
            }
        })
    }

    fn names(&self, address: IpAddr) -> Found<'_, Vec<String>> {
        Box::pin(async move {
            let found = self.ask(reverse(address), RecordType::PTR).await?;
            let name = |data: RData| match data {
                RData::PTR(name) => Some(name.0.to_ascii().trim_end_matches('.').to_ascii_lowercase()),
                _ => None,
            };
            Ok(found.into_iter().filter_map(name).collect())
        })
    }
}

/// `1.2.0.192.in-addr.arpa.` (RFC 1035 3.5), nibbles in `ip6.arpa.` (RFC 3596 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(v6) => {
            let mut name = String::with_capacity(73);
            for octet in v6.octets().iter().rev() {
                name.push_str(&format!("{:x}.{:x}.", octet & 15, octet >> 4));
            }
            name + "ip6.arpa."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names() {
        assert_eq!(reverse("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa.");
        assert!(reverse("2001:db8::1".parse().unwrap()).starts_with("1.0.0.0."));
        assert!(reverse("2001:db8::1".parse().unwrap()).ends_with("8.b.d.0.1.0.0.2.ip6.arpa."));
    }
}
