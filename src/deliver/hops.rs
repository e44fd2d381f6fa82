//! The table of all hops: their queues, their workers, and the two pools of slots (network and agents, S-68: local
//! delivery has its own). `claim` pushes, a worker takes through its `Place`; all of it under one short lock.

use crate::hop::Window;
use crate::job::{Job, MESSAGES};
use crate::lmtp;
use crate::outcome::Trouble;
use crate::place::Place;
use crate::settings::Settings;
use crate::start::Inner;
use route::Key;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Jobs of an overfull hop come back within these bounds, milliseconds.
const COME_BACK: (u64, u64) = (1_000, 600_000);

/// Agents at once for one user's programs and files; with those for his mailbox the keeper allows four.
const OF_A_USER: u32 = 2;
/// Agents at once for one program that an alias names.
const OF_AN_ALIAS: u32 = 5;

/// One hop.
#[derive(Debug)]
pub(crate) struct Hop {
    pub(crate) key: Arc<Key>,
    pub(crate) queue: VecDeque<Job>,
    pub(crate) window: Window,
    pub(crate) workers: u32,
    /// Workers that have a working connection.
    pub(crate) connected: u32,
    /// Workers that wait for a job.
    pub(crate) idle: u32,
    pub(crate) wake: Arc<Notify>,
    /// Until when (monotonic ms) no host is tried, and what to tell the jobs.
    pub(crate) dead: Option<(u64, Arc<Trouble>)>,
    /// It stands in its pool's queue.
    pub(crate) waiting: bool,
    /// Smoothed milliseconds between two ends of jobs, and when the last one ended.
    pub(crate) pace: f64,
    pub(crate) last_end: u64,
}

/// Slots of one kind of worker.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    pub(crate) active: u32,
    pub(crate) waiting: VecDeque<Arc<str>>,
    /// Wakes an idle worker, so that it gives its slot to a hop that waits.
    pub(crate) pressure: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) hops: HashMap<Arc<str>, Hop>,
    pub(crate) network: Pool,
    pub(crate) local: Pool,
    pub(crate) program: Pool,
    pub(crate) stopping: bool,
}

/// The table.
#[derive(Debug, Default)]
pub(crate) struct Hops {
    state: Mutex<State>,
}

/// What to do after a push.
pub(crate) enum Pushed {
    /// A worker will come by.
    Queued,
    /// A new worker is to be started.
    Start(Place),
    /// No hop: the key is an error, means to throw away, or cannot be read.
    NoHop(Job, Option<Key>),
    /// The hop has more than its share; the job may come again in this many milliseconds.
    Full(Job, u64),
}

/// What a worker gets.
pub(crate) enum Taken {
    /// A job to attempt.
    Job(Job),
    /// A job that is to be deferred without an attempt: the hop is dead until this monotonic time, milliseconds.
    Dead(Job, Arc<Trouble>, u64),
    /// Nothing waits.
    Nothing,
    /// The worker is to end.
    Leave,
}

/// Which slots a hop's workers take (S-68): a program that hangs holds up no mailbox, a mailbox no other host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slots {
    Network,
    Mailbox,
    /// Programs, files and lists.
    Program,
}

impl Slots {
    pub(crate) fn of(key: &Key) -> Self {
        match key {
            Key::Local { .. } | Key::Virtual { .. } => Self::Mailbox,
            Key::Program(_) | Key::File(_) | Key::Include(_) => Self::Program,
            _ => Self::Network,
        }
    }
}

impl State {
    pub(crate) fn pool(&mut self, slots: Slots) -> &mut Pool {
        match slots {
            Slots::Network => &mut self.network,
            Slots::Mailbox => &mut self.local,
            Slots::Program => &mut self.program,
        }
    }
    /// Gives a slot to the hop if it needs and may have one; otherwise it stands in line.
    pub(crate) fn grant(
        &mut self,
        name: &Arc<str>,
        settings: &Settings,
    ) -> Option<(Arc<Key>, Arc<Notify>, Arc<Notify>)> {
        let hop = self.hops.get(name)?;
        if self.stopping || hop.queue.is_empty() || hop.workers >= hop.window.limit() {
            return None;
        }
        let (slots, waiting) = (Slots::of(&hop.key), hop.waiting);
        let limit = match slots {
            Slots::Network => settings.limit,
            Slots::Mailbox => settings.agents,
            Slots::Program => settings.programs,
        };
        let pool = self.pool(slots);
        let pressure = pool.pressure.clone();
        let granted = pool.active < limit.max(1);
        if granted {
            pool.active += 1;
        } else if !waiting {
            pool.waiting.push_back(name.clone());
            pressure.notify_one();
        }
        let hop = self.hops.get_mut(name)?;
        if granted {
            hop.workers += 1;
            Some((hop.key.clone(), hop.wake.clone(), pressure))
        } else {
            hop.waiting = true;
            None
        }
    }
    pub(crate) fn forget_if_quiet(&mut self, name: &str, now: u64) {
        if let Some(hop) = self.hops.get(name)
            && hop.workers == 0
            && hop.queue.is_empty()
            && !hop.waiting
            && hop.dead.as_ref().is_none_or(|(until, _)| *until <= now)
        {
            self.hops.remove(name);
        }
    }
}

impl Hop {
    fn new(key: Key, settings: &Settings) -> Self {
        let window = match &key {
            // One agent for a mailbox or file at a time: two would only wait for each other's lock.
            Key::Local { .. } | Key::Virtual { .. } | Key::Include(_) => Window::new(1, 1),
            Key::File(entry) if entry.user.is_empty() => Window::new(1, 1),
            // All programs and files of one user: what he can take of the slots.
            Key::Program(entry) if !entry.user.is_empty() => Window::new(OF_A_USER, OF_A_USER),
            // One entry of the aliases.
            Key::Program(_) | Key::File(_) => Window::new(OF_AN_ALIAS, OF_AN_ALIAS),
            _ => Window::new(settings.hop_initial, settings.hop_limit),
        };
        Self {
            key: Arc::new(key),
            queue: VecDeque::new(),
            window,
            workers: 0,
            connected: 0,
            idle: 0,
            wake: Arc::default(),
            dead: None,
            waiting: false,
            pace: 1_000.0,
            last_end: 0,
        }
    }
    /// How long the present queue will take, milliseconds.
    fn drain(&self) -> u64 {
        ((self.queue.len() as f64 * self.pace) as u64).clamp(COME_BACK.0, COME_BACK.1)
    }
}

impl Hops {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Puts a job into its hop's queue. A hop may hold at most as much as the whole table still has room for, so a slow
    /// hop never takes the room of the others.
    pub(crate) fn push(inner: &Arc<Inner>, name: &str, job: Job, settings: &Settings) -> Pushed {
        let mut state = inner.hops.lock();
        if state.stopping {
            return Pushed::Full(job, 0);
        }
        let name = match &settings.lmtp {
            // What the user's `.forward` says comes first.
            Some(lmtp) if lmtp::is_settled(name, &job) => lmtp.into(),
            _ => Key::hop(name),
        };
        let name = &*name;
        let name: Arc<str> = match state.hops.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => match Key::parse(name) {
                None => return Pushed::NoHop(job, None),
                Some(key @ (Key::Error { .. } | Key::Discard)) => return Pushed::NoHop(job, Some(key)),
                Some(key) => {
                    let name: Arc<str> = name.into();
                    state.hops.insert(name.clone(), Hop::new(key, settings));
                    name
                }
            },
        };
        let room = inner.load.room().min(MESSAGES);
        let Some(hop) = state.hops.get_mut(&name) else {
            return Pushed::NoHop(job, None);
        };
        if hop.queue.len() > room {
            return Pushed::Full(job, hop.drain());
        }
        hop.queue.push_back(job);
        if hop.queue.len() <= hop.idle as usize {
            // The worker that idles the shortest has the warmest connection.
            hop.wake.notify_last();
            return Pushed::Queued;
        }
        match state.grant(&name, settings) {
            Some((key, wake, pressure)) => Pushed::Start(Place::new(inner, name, key, wake, pressure)),
            None => Pushed::Queued,
        }
    }
    /// No worker gets a job any more; what waited is given back.
    pub(crate) fn stop(&self) {
        let mut jobs = Vec::new();
        let mut state = self.lock();
        state.stopping = true;
        for hop in state.hops.values_mut() {
            jobs.extend(hop.queue.drain(..));
            hop.wake.notify_waiters();
        }
        drop(state);
        jobs.into_iter().for_each(Job::give_back_now);
    }
    /// Forgets quiet hops (dead ones whose time is over).
    pub(crate) fn sweep(&self, now: u64) {
        self.lock().hops.retain(|_, hop| {
            let dead = hop.dead.as_ref().is_some_and(|(until, _)| *until > now);
            hop.workers > 0 || !hop.queue.is_empty() || hop.waiting || dead
        });
    }
    /// Jobs that wait, for metrics and tests.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().hops.values().map(|hop| hop.queue.len()).sum()
    }
}
