//! What the delivering side asks of the engine: routes, passwords for other servers, agents. Called by `engine`.

use crate::link::Link;
use call::agent::Kind;
use call::keep::FromEngine;
use mail::Address;
use queue::Recipient;
use route::{Key, Router, Verdict};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// Routes for mail that is made here.
pub(crate) struct Routes {
    router: RwLock<Arc<Router>>,
}

impl Routes {
    /// With this router.
    pub(crate) fn new(router: Router) -> Self {
        Self { router: RwLock::new(Arc::new(router)) }
    }
    /// The router in force.
    pub(crate) fn current(&self) -> Arc<Router> {
        Arc::clone(&self.router.read().unwrap_or_else(PoisonError::into_inner))
    }
    /// Puts another one in force.
    pub(crate) fn swap(&self, router: Router) {
        *self.router.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
    }
}

impl deliver::Routes for Routes {
    fn route<'a>(&'a self, address: &'a Address) -> Pin<Box<dyn Future<Output = Vec<Recipient>> + Send + 'a>> {
        Box::pin(async move {
            let targets = match self.current().expand(address).await {
                Verdict::Targets(targets) => targets,
                Verdict::Refused { status, text, .. } => {
                    return vec![Recipient::new(
                        address.as_str(),
                        address.clone(),
                        &Key::Error { status, text }.to_string(),
                    )];
                }
                Verdict::Unavailable { text } => {
                    let key = Key::Error { status: mail::Status::temporary(3, 0), text };
                    return vec![Recipient::new(address.as_str(), address.clone(), &key.to_string())];
                }
            };
            let recipient = |target: route::Target| {
                let mut recipient = Recipient::new(address.as_str(), target.address, &target.key.to_string());
                recipient.controlling = target.controlling;
                recipient
            };
            targets.into_iter().map(recipient).collect()
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

/// Agents, started by the keeper.
pub(crate) struct KeeperAgents {
    link: Link,
    next: AtomicU32,
}

impl KeeperAgents {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link, next: AtomicU32::new(1) }
    }
}

impl deliver::Agents for KeeperAgents {
    fn start<'a>(&'a self, kind: Kind, user: &'a str) -> deliver::Started<'a> {
        let pair = std::os::unix::net::UnixStream::pair();
        let ticket = self.next.fetch_add(1, Ordering::Relaxed);
        let started = pair.map_err(|e| e.to_string()).map(|(ours, theirs)| {
            let user = user.to_owned();
            self.link.send(&FromEngine::StartAgent { ticket, kind, user }, Some(theirs.into()));
            ours
        });
        Box::pin(std::future::ready(started))
    }
}
