//! DNS for receiving and delivering, with name servers that a reload may change. Look-ups in progress end at the old ones. Called by `engine`.

use route::{Found, Hickory, Mx, Resolver};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

/// The resolver in force.
pub(crate) struct Names(RwLock<Arc<Hickory>>);

impl Names {
    /// With these servers (`address:port`), or those of `/etc/resolv.conf` as it is now.
    pub(crate) fn new(servers: &[String]) -> anyhow::Result<Self> {
        Ok(Self(RwLock::new(Self::ask(servers)?)))
    }

    /// A resolver that is not in force yet.
    pub(crate) fn ask(servers: &[String]) -> anyhow::Result<Arc<Hickory>> {
        let servers: Result<Vec<_>, _> = servers.iter().map(|server| server.parse()).collect();
        let resolver = Hickory::new(&servers?).map_err(|text| anyhow::anyhow!("DNS: {text}"))?;
        Ok(Arc::new(resolver))
    }

    /// Puts it in force.
    pub(crate) fn swap(&self, resolver: Arc<Hickory>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = resolver;
    }

    fn current(&self) -> Arc<Hickory> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Resolver for Names {
    fn mx<'a>(&'a self, domain: &'a str) -> Found<'a, Vec<Mx>> {
        Box::pin(async move { self.current().mx(domain).await })
    }
    fn addresses<'a>(&'a self, host: &'a str) -> Found<'a, Vec<IpAddr>> {
        Box::pin(async move { self.current().addresses(host).await })
    }
    fn names(&self, address: IpAddr) -> Found<'_, Vec<String>> {
        Box::pin(async move { self.current().names(address).await })
    }
}
