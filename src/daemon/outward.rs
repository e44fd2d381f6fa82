//! Agents for the delivering side, started by the keeper. Called by `engine`.

use crate::link::Link;
use call::agent::Kind;
use call::keep::FromEngine;
use std::sync::atomic::{AtomicU32, Ordering};

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
