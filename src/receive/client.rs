//! Who a client is: its forward-confirmed name, asked before the greeting and bounded in time. Called by `listener`.

use route::{DnsError, Resolver};
use std::net::IpAddr;
use std::time::Duration;

/// Longest wait for the names of a client; it stands before the greeting.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most names of one address that are confirmed.
const NAMES: usize = 3;

/// How the look-up of a client's name went (sendmail's `${client_resolve}`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolved {
    /// Name and address lead to each other.
    #[default]
    Ok,
    /// There is no name.
    Failed,
    /// The name does not lead back.
    Forged,
    /// DNS did not answer.
    Temporary,
}

/// The client's name, empty unless it is confirmed.
pub(crate) async fn name(resolver: &dyn Resolver, ip: IpAddr) -> (String, Resolved) {
    if ip.is_loopback() {
        return ("localhost".into(), Resolved::Ok);
    }
    let asked = tokio::time::timeout(PATIENCE, confirmed(resolver, ip)).await;
    match asked.unwrap_or(Err(Resolved::Temporary)) {
        Ok(name) => (name, Resolved::Ok),
        Err(how) => (String::new(), how),
    }
}

async fn confirmed(resolver: &dyn Resolver, ip: IpAddr) -> Result<String, Resolved> {
    let names = match resolver.names(ip).await {
        Ok(names) if !names.is_empty() => names,
        Err(DnsError::Temporary(_)) => return Err(Resolved::Temporary),
        Ok(_) | Err(_) => return Err(Resolved::Failed),
    };
    let mut how = Resolved::Forged;
    for name in names.into_iter().take(NAMES) {
        match resolver.addresses(&name).await {
            Ok(ips) if ips.contains(&ip) => return Ok(name),
            Err(DnsError::Temporary(_)) => how = Resolved::Temporary,
            Ok(_) | Err(_) => {}
        }
    }
    Err(how)
}
