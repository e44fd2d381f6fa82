//! What the delivering side asks of the tables in force: where its own mail goes, passwords for other servers, and what is demanded of
//! encryption. Made by `engine`, which swaps the router at a reload.

use deliver::{Routed, Routing};
use mail::Address;
use queue::Recipient;
use route::{Key, Router, Verdict};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use table::{Client, Found, Mailbox};

/// The tables in force, through the router.
pub(crate) struct Routes {
    router: RwLock<Arc<Router>>,
}

impl Routes {
    pub(crate) fn new(router: impl Into<Arc<Router>>) -> Self {
        Self { router: RwLock::new(router.into()) }
    }
    pub(crate) fn current(&self) -> Arc<Router> {
        Arc::clone(&self.router.read().unwrap_or_else(PoisonError::into_inner))
    }
    pub(crate) fn swap(&self, router: Router) {
        *self.router.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
    }
}

impl deliver::Routes for Routes {
    fn route<'a>(&'a self, address: &'a Address) -> Routing<'a> {
        let nowhere = |status, text| {
            let key = Key::Error { status, text }.to_string();
            vec![Routed { recipient: Recipient::new(address.as_str(), address.clone(), &key), owner: None }]
        };
        let one = |target: route::Target| {
            let mut recipient = Recipient::new(address.as_str(), target.address, &target.key.to_string());
            recipient.controlling = target.controlling;
            Routed { recipient, owner: target.owner }
        };
        Box::pin(async move {
            match self.current().expand(address).await {
                Verdict::Targets(targets) => targets.into_iter().map(one).collect(),
                Verdict::Refused { status, text, .. } => nowhere(status, text),
                Verdict::Unavailable { text } => nowhere(mail::Status::temporary(3, 0), text),
            }
        })
    }
}

/// Passwords for other servers, out of the tables in force.
impl deliver::Secrets for Routes {
    fn credentials<'a>(&'a self, host: Option<&'a str>, ip: Option<std::net::IpAddr>) -> deliver::Known<'a> {
        Box::pin(async move {
            let router = self.current();
            let found = router.tables().access.credentials(table::Client { ip, name: host }).await;
            let secret = |found: table::Found<_>| deliver::Secret {
                credentials: found.value,
                source: found.why.to_string(),
                key: found.why.key,
            };
            found.map(|found| found.map(secret)).map_err(|error| error.to_string())
        })
    }
}

/// What the access table says of encryption.
impl deliver::Demands for Routes {
    fn of_server<'a>(&'a self, host: Option<&'a str>, ip: IpAddr) -> deliver::Asked<'a, deliver::ForServer> {
        Box::pin(async move {
            let router = self.current();
            let (access, server) = (&router.tables().access, Client { ip: Some(ip), name: host });
            let tried = access.peer("Try_TLS", server).await.map_err(|error| error.to_string())?;
            let demanded = access.encryption(true, server).await.map_err(|error| error.to_string())?;
            let in_clear = tried.is_some_and(|hit| hit.value.trim().eq_ignore_ascii_case("no"));
            Ok(deliver::ForServer { in_clear, demanded: demanded.map(sourced) })
        })
    }
    fn for_recipient<'a>(&'a self, address: &'a Address) -> deliver::Asked<'a, Option<deliver::Demanded>> {
        Box::pin(async move {
            let router = self.current();
            let user = address.user();
            let domain = address.domain().map(|domain| domain.strip_suffix('.').unwrap_or(domain));
            let found = router.tables().access.encryption_for(Mailbox { user: &user, domain }).await;
            found.map(|found| found.map(sourced)).map_err(|error| error.to_string())
        })
    }
}

fn sourced(found: Found<route::Demand>) -> deliver::Demanded {
    deliver::Demanded { demand: found.value, source: found.why.to_string() }
}
