//! Sessions in: SMTP, the submission socket, the drop folder. See `README.md`.

mod accept;
mod check;
mod client;
mod content;
mod dropped;
mod envelope;
mod explain;
mod listener;
mod policy;
mod prepare;
mod rewrite;
mod settings;
mod smtp;
mod submission;
mod tls;
mod verify;
mod visit;
mod watched;
mod wire;

pub use self::tls::Tls;
pub use client::Resolved;
pub use dropped::{Taken, take_dropped};
pub use explain::{Checked, explain};
pub use listener::listen;
pub use settings::{DelayChecks, Settings};
pub use smtp::{Peer, serve};
pub use submission::listen_local;

use call::submit::Witness;
use mail::log::{Event, Log, Outcome};
use mail::time::Clock;
use queue::{Accepted, Store};
use route::{Resolver, Router};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, RwLock};
use table::Accounts;

/// Where accepted messages go next.
pub trait Next: Send + Sync {
    /// Takes over a message that is safe in the queue; returns at once.
    fn accepted(&self, message: Accepted);
    /// The same; `witness` is told of the first attempts.
    fn accepted_watched(&self, message: Accepted, witness: Arc<dyn Witness>);
}

/// What a reload swaps as a whole; a session keeps what it began with.
pub struct Current {
    /// Settings.
    pub settings: Settings,
    /// Answers where addresses go.
    pub router: Arc<Router>,
    /// For STARTTLS, if configured.
    pub tls: Option<Tls>,
}

/// What the sessions work with.
pub struct Parts {
    /// The queue.
    pub store: Arc<dyn Store>,
    /// Where accepted messages go.
    pub next: Arc<dyn Next>,
    /// For the names of clients.
    pub resolver: Arc<dyn Resolver>,
    /// For the names of local submitters.
    pub accounts: Arc<dyn Accounts>,
    /// Log.
    pub log: Arc<dyn Log>,
    /// Clock.
    pub clock: Arc<dyn Clock>,
}

/// What all sessions share.
pub struct Receive {
    current: RwLock<Arc<Current>>,
    parts: Parts,
    clients: Mutex<HashMap<IpAddr, u32>>,
    rates: visit::Rates,
    in_progress: Mutex<HashSet<[u8; 16]>>,
    settled: tokio::sync::Notify,
}

impl std::ops::Deref for Receive {
    type Target = Parts;
    fn deref(&self) -> &Parts {
        &self.parts
    }
}

impl Receive {
    /// With everything it needs.
    #[must_use]
    pub fn new(current: Current, parts: Parts) -> Arc<Self> {
        let current = RwLock::new(Arc::new(current));
        Arc::new(Self {
            current,
            parts,
            clients: Mutex::default(),
            rates: visit::Rates::default(),
            in_progress: Mutex::default(),
            settled: tokio::sync::Notify::new(),
        })
    }
    /// What is in force now.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
    /// Puts new settings in force; sessions in progress finish under the old ones.
    pub fn swap(&self, current: Current) {
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(current);
    }
    /// Writes a line that sendmail's log has, too.
    fn note(&self, id: Option<mail::QueueId>, text: String) {
        self.log.write(&Event::Note { id, text, ours: false });
    }
    /// Writes one that is ours: readers of sendmail's log report what they do not know.
    fn remark(&self, id: Option<mail::QueueId>, text: String) {
        self.log.write(&Event::Note { id, text, ours: true });
    }
    /// Writes down what was decided, and why.
    fn decided(&self, id: Option<mail::QueueId>, outcome: Outcome, text: String, why: &dyn std::fmt::Display) {
        self.log.write(&Event::Decision { id, outcome, text, why: why.to_string(), ours: false });
    }
    /// Hands accepted messages on; what is held or only queued stays with the store.
    fn hand_on(&self, accepted: Vec<Accepted>, witness: Option<Arc<dyn Witness>>) {
        let is_tried = |message: &Accepted| message.envelope.hold.is_none() && !message.envelope.queue_only;
        for message in accepted.into_iter().filter(is_tried) {
            match &witness {
                Some(witness) => self.next.accepted_watched(message, Arc::clone(witness)),
                None => self.next.accepted(message),
            }
        }
    }
    /// Counts a client in; `None` when it has too many sessions.
    fn enter(self: &Arc<Self>, client: IpAddr) -> Option<Seat> {
        let limit = self.current().settings.sessions_per_client;
        let mut clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = clients.entry(client).or_default();
        if limit != 0 && *count >= limit {
            return None;
        }
        *count += 1;
        Some(Seat { receive: Arc::clone(self), client })
    }
    /// How many sessions a client has.
    fn sessions_of(&self, client: IpAddr) -> u32 {
        let clients = self.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        clients.get(&client).copied().unwrap_or_default()
    }
    /// Waits until no other connection is at this submission: it may be in the socket and in the drop folder at once.
    async fn alone_with(&self, submission: [u8; 16]) {
        loop {
            let settled = self.settled.notified();
            let busy = self.in_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner).contains(&submission);
            if !busy {
                return;
            }
            settled.await;
        }
    }
    /// Marks a submission as being accepted; `None` if another connection is at it.
    fn begin(self: &Arc<Self>, submission: [u8; 16]) -> Option<Progress> {
        let mut busy = self.in_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        busy.insert(submission).then(|| Progress { receive: Arc::clone(self), submission })
    }
}

/// A counted session of a client.
struct Seat {
    receive: Arc<Receive>,
    client: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut clients = self.receive.clients.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(count) = clients.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                clients.remove(&self.client);
            }
        }
    }
}

/// A submission that is being accepted.
struct Progress {
    receive: Arc<Receive>,
    submission: [u8; 16],
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut busy = self.receive.in_progress.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        busy.remove(&self.submission);
        drop(busy);
        self.receive.settled.notify_waiters();
    }
}
