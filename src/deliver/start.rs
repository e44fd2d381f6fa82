//! The entry: what the daemon brings along, and the handle it keeps.

use crate::auth::Secrets;
use crate::demand::Demands;
use crate::hops::Hops;
use crate::job::{Job, Load};
use crate::place::Place;
use crate::settings::Current;
use call::agent::Kind;
use call::submit::Witness;
use mail::Address;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::{Accepted, Store};
use route::{Key, Resolver};
use std::cell::RefCell;
use std::future::Future;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// A new agent, once awaited: its number and the engine's end of its socket; or why there is none, for the log.
pub type Started<'a> = Pin<Box<dyn Future<Output = Result<(u32, UnixStream), String>> + Send + 'a>>;

/// Whoever starts agents: the daemon, through the keeper.
pub trait Agents: Send + Sync {
    /// Starts an agent for one user (for nobody in particular: a system agent); its end of the socket pair is its standard input.
    fn start<'a>(&'a self, kind: Kind, user: &'a str) -> Started<'a>;
    /// Kills one that does not answer: a stopped one never sees its socket close, and keeps its mailbox locked.
    fn kill(&self, number: u32);
}

/// A recipient that an address stands for.
#[derive(Clone, Debug)]
pub struct Routed {
    /// With its route key.
    pub recipient: queue::Recipient,
    /// Under whose name mail goes to him, if a list with an owner named him.
    pub owner: Option<route::Owner>,
}

/// What [`Routes`] answers, once awaited.
pub type Routing<'a> = Pin<Box<dyn Future<Output = Vec<Routed>> + Send + 'a>>;

/// Whoever routes what a file names, and the recipient of a bounce or warning.
pub trait Routes: Send + Sync {
    /// The recipients that `address` stands for; empty if it can be routed nowhere.
    fn route<'a>(&'a self, address: &'a Address) -> Routing<'a>;
}

/// What the delivering side works with.
#[derive(Clone)]
pub struct Parts {
    /// Settings in force.
    pub settings: Arc<Current>,
    /// The queue.
    pub store: Arc<dyn Store>,
    /// DNS.
    pub resolver: Arc<dyn Resolver>,
    /// Starts agents.
    pub agents: Arc<dyn Agents>,
    /// Routes what files name, and bounces.
    pub routes: Arc<dyn Routes>,
    /// Knows passwords for other servers.
    pub secrets: Arc<dyn Secrets>,
    /// Knows what is demanded of encryption.
    pub demands: Arc<dyn Demands>,
    /// The log.
    pub log: Arc<dyn Log>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

thread_local! {
    /// While a task is being started: what was to be started within. That happens only in a runtime that is ending, which drops the task and with
    /// it a place, whose slot would go to the next worker. Nothing starts any more then, and nothing may take the lock that we have.
    static UNSTARTED: RefCell<Option<Vec<Task>>> = const { RefCell::new(None) };
}

/// Everything that the tasks share.
pub(crate) struct Inner {
    pub(crate) parts: Parts,
    pub(crate) hops: Hops,
    pub(crate) load: Load,
    pub(crate) pace: crate::pace::Pace,
    pub(crate) tls: crate::tls::Client,
    tasks: Mutex<JoinSet<()>>,
    handle: Handle,
    stopping: watch::Sender<bool>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

impl Inner {
    /// Starts a task that `stop` waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let task: Task = Box::pin(task);
        let Some(task) = UNSTARTED.with_borrow_mut(|unstarted| match unstarted {
            Some(unstarted) => {
                unstarted.push(task);
                None
            }
            None => {
                *unstarted = Some(Vec::new());
                Some(task)
            }
        }) else {
            return self.hops.stop();
        };
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn_on(task, &self.handle);
        drop(tasks);
        drop(UNSTARTED.take());
    }
    /// Starts the worker of a place.
    pub(crate) fn start_worker(&self, place: Place) {
        match &*place.key {
            Key::Local { .. } | Key::Virtual { .. } => self.spawn(crate::local::work(place)),
            Key::Program(_) | Key::File(_) | Key::Include(_) => self.spawn(crate::entry::work(place)),
            _ => self.spawn(crate::relay::work(place)),
        }
    }
    /// Changes to true when stopping begins.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }
    /// Whether stopping has begun.
    pub(crate) fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }
    /// The store takes no changes: nothing may be tried whose outcome could not be recorded.
    pub(crate) fn cannot_record(&self) -> bool {
        matches!(self.parts.store.room(0), Err(queue::Error::ReadOnly(_)))
    }
    /// Gives a job back until the store may be well again.
    pub(crate) fn postpone(&self, job: Job) {
        job.give_back(self.parts.clock.now().wall + crate::claim::READ_ONLY as i64);
    }
    /// Writes a line about a message that sendmail's log has, too.
    pub(crate) fn note(&self, id: mail::QueueId, text: String) {
        self.parts.log.write(&Event::Note { id: Some(id), text, ours: false });
    }
    /// Writes one that is ours.
    pub(crate) fn remark(&self, id: mail::QueueId, text: String) {
        self.parts.log.write(&Event::Note { id: Some(id), text, ours: true });
    }
}

/// Handle of the delivering side.
#[derive(Clone, Debug)]
pub struct Deliver {
    inner: Arc<Inner>,
}

impl Deliver {
    /// Starts on the current tokio runtime (which needs time and I/O).
    ///
    /// # Errors
    /// If the TLS provider cannot be set up.
    pub fn start(parts: Parts) -> Result<Self, crate::Error> {
        let inner = Arc::new(Inner {
            parts,
            hops: Hops::default(),
            pace: crate::pace::Pace::new(),
            load: Load::default(),
            tls: crate::tls::Client::new()?,
            tasks: Mutex::default(),
            handle: Handle::current(),
            stopping: watch::Sender::new(false),
        });
        inner.spawn(crate::claim::run(inner.clone()));
        Ok(Self { inner })
    }
    /// Hands over a message that was just accepted. Never blocks; what is too much goes back to the store and is
    /// claimed later.
    pub fn submit(&self, accepted: Accepted) {
        crate::claim::submit(&self.inner, accepted, None);
    }
    /// The same, and `witness` is told of the first attempts.
    pub fn submit_watched(&self, accepted: Accepted, witness: Arc<dyn Witness>) {
        crate::claim::submit(&self.inner, accepted, Some(witness));
    }
    /// Jobs that wait for a worker.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.hops.waiting()
    }
    /// Takes nothing more, gives back what waits, and gives what is in progress until `deadline` from now to finish;
    /// the rest is cut off and stays handed out: closing the store, which must still be open, marks it as perhaps delivered.
    pub async fn stop(&self, deadline: Duration) {
        self.inner.stopping.send_replace(true);
        self.inner.hops.stop();
        let limit = tokio::time::sleep(deadline);
        tokio::pin!(limit);
        loop {
            // Tasks may start others (a bounce) while we wait, so the set is looked at again each time.
            let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
            if tasks.is_empty() {
                return;
            }
            tokio::select! {
                () = async { while tasks.join_next().await.is_some() {} } => {}
                () = &mut limit => {
                    tasks.shutdown().await;
                    return;
                }
            }
        }
    }
}
