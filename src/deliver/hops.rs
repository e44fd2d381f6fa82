//! The table of all hops: their queues, their workers, and the two pools of slots (network and agents, S-68: local
//! delivery has its own). `claim` pushes, the workers in `relay` and `local` take; all of it under one short lock.

use crate::hop::Window;
use crate::job::{Job, MESSAGES};
use crate::outcome::Trouble;
use crate::settings::Settings;
use crate::start::Inner;
use route::Key;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Jobs of an overfull hop come back within these bounds, milliseconds.
const COME_BACK: (u64, u64) = (1_000, 600_000);

/// One hop.
#[derive(Debug)]
struct Hop {
    key: Arc<Key>,
    queue: VecDeque<Job>,
    window: Window,
    workers: u32,
    /// Workers that have a working connection.
    connected: u32,
    /// Workers that wait for a job.
    idle: u32,
    wake: Arc<Notify>,
    /// Until when (monotonic ms) no host is tried, and what to tell the jobs.
    dead: Option<(u64, Arc<Trouble>)>,
    /// It stands in its pool's queue.
    waiting: bool,
    /// Smoothed milliseconds between two ends of jobs, and when the last one ended.
    pace: f64,
    last_end: u64,
}

/// Slots of one kind of worker.
#[derive(Debug, Default)]
struct Pool {
    active: u32,
    waiting: VecDeque<Arc<str>>,
    /// Wakes an idle worker, so that it gives its slot to a hop that waits.
    pressure: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    hops: HashMap<Arc<str>, Hop>,
    network: Pool,
    local: Pool,
    stopping: bool,
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
    /// No hop: the key is an error or cannot be read.
    NoHop(Job, Option<Key>),
    /// The hop has more than its share; the job may come again in this many milliseconds.
    Full(Job, u64),
}

/// What a worker gets.
pub(crate) enum Taken {
    /// A job to attempt.
    Job(Job),
    /// A job that is to be deferred without an attempt: the hop is dead.
    Dead(Job, Arc<Trouble>),
    /// Nothing waits.
    Nothing,
    /// The worker is to end.
    Leave,
}

fn is_local(key: &Key) -> bool {
    matches!(key, Key::Local { .. })
}

impl State {
    fn pool(&mut self, local: bool) -> &mut Pool {
        if local { &mut self.local } else { &mut self.network }
    }
    /// Gives a slot to the hop if it needs and may have one; otherwise it stands in line.
    fn grant(&mut self, name: &Arc<str>, settings: &Settings) -> Option<(Arc<Key>, Arc<Notify>, Arc<Notify>)> {
        let hop = self.hops.get(name)?;
        if self.stopping || hop.queue.is_empty() || hop.workers >= hop.window.limit() {
            return None;
        }
        let (local, waiting) = (is_local(&hop.key), hop.waiting);
        let limit = if local { settings.agents } else { settings.limit };
        let pool = self.pool(local);
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
    fn forget_if_quiet(&mut self, name: &str, now: u64) {
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
        // One agent for a mailbox at a time: two would only wait for each other's lock.
        let window = if is_local(&key) {
            Window::new(1, 1)
        } else {
            Window::new(settings.hop_initial, settings.hop_limit)
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
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Puts a job into its hop's queue. A hop may hold at most as much as the whole table still has room for, so a slow
    /// hop never takes the room of the others.
    pub(crate) fn push(inner: &Arc<Inner>, name: &str, job: Job, settings: &Settings) -> Pushed {
        let mut state = inner.hops.lock();
        if state.stopping {
            return Pushed::Full(job, 0);
        }
        let name: Arc<str> = match state.hops.get_key_value(name) {
            Some((name, _)) => name.clone(),
            None => match Key::parse(name) {
                None => return Pushed::NoHop(job, None),
                Some(key @ Key::Error { .. }) => return Pushed::NoHop(job, Some(key)),
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
    /// No worker gets a job any more; what waited gives itself back.
    pub(crate) fn stop(&self) {
        let mut jobs = Vec::new();
        let mut state = self.lock();
        state.stopping = true;
        for hop in state.hops.values_mut() {
            jobs.extend(hop.queue.drain(..));
            hop.wake.notify_waiters();
        }
        drop(state);
        drop(jobs);
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

/// A worker's place at its hop. Dropping it frees the slot, also when the worker panics.
pub(crate) struct Place {
    /// Everything.
    pub(crate) inner: Arc<Inner>,
    /// The hop.
    pub(crate) key: Arc<Key>,
    name: Arc<str>,
    wake: Arc<Notify>,
    pressure: Arc<Notify>,
    connected: bool,
}

impl Place {
    fn new(inner: &Arc<Inner>, name: Arc<str>, key: Arc<Key>, wake: Arc<Notify>, pressure: Arc<Notify>) -> Self {
        Self {
            inner: inner.clone(),
            key,
            name,
            wake,
            pressure,
            connected: false,
        }
    }
    fn now(&self) -> u64 {
        self.inner.parts.clock.now().mono
    }
    /// The next job, if any.
    pub(crate) fn take(&self) -> Taken {
        let mut state = self.inner.hops.lock();
        let stopping = state.stopping;
        let Some(hop) = state.hops.get_mut(&self.name).filter(|_| !stopping) else {
            return Taken::Leave;
        };
        if let Some((until, trouble)) = hop.dead.clone() {
            if until > self.now() {
                return hop.queue.pop_front().map_or(Taken::Leave, |job| Taken::Dead(job, trouble));
            }
            hop.dead = None;
        }
        if hop.workers > hop.window.limit() {
            return Taken::Leave;
        }
        hop.queue.pop_front().map_or(Taken::Nothing, Taken::Job)
    }
    /// Another job that fits, without waiting; for batches and for sending the next envelope ahead.
    pub(crate) fn take_if(&self, fits: impl FnOnce(&Job) -> bool) -> Option<Job> {
        let mut state = self.inner.hops.lock();
        if state.stopping {
            return None;
        }
        let hop = state.hops.get_mut(&self.name)?;
        if hop.dead.is_some() || hop.workers > hop.window.limit() || !hop.queue.front().is_some_and(fits) {
            return None;
        }
        hop.queue.pop_front()
    }
    /// Puts a job back where it was.
    pub(crate) fn put_back(&self, job: Job) {
        let mut state = self.inner.hops.lock();
        let stopping = state.stopping;
        match state.hops.get_mut(&self.name).filter(|_| !stopping) {
            Some(hop) => hop.queue.push_front(job),
            None => {
                drop(state);
                drop(job);
            }
        }
    }
    /// Waits for a job for at most `idle`; false: the time is over, or another hop needs the slot.
    pub(crate) async fn wait(&self, idle: std::time::Duration) -> bool {
        let woken = self.wake.notified();
        tokio::pin!(woken);
        // Registered before the queue is looked at: a push in between is not missed.
        woken.as_mut().enable();
        if !self.enter_idle() {
            return true;
        }
        let _idle = IdleGuard(self);
        tokio::select! {
            () = &mut woken => true,
            () = self.pressure.notified() => !self.is_pressed(),
            () = tokio::time::sleep(idle) => false,
        }
    }
    fn enter_idle(&self) -> bool {
        let mut state = self.inner.hops.lock();
        let stopping = state.stopping;
        match state.hops.get_mut(&self.name) {
            Some(hop) if hop.queue.is_empty() && !stopping => {
                hop.idle += 1;
                true
            }
            _ => false,
        }
    }
    fn is_pressed(&self) -> bool {
        let mut state = self.inner.hops.lock();
        !state.pool(is_local(&self.key)).waiting.is_empty()
    }
    /// The worker has (or has no longer) a working connection.
    pub(crate) fn set_connected(&mut self, connected: bool) {
        if self.connected == connected {
            return;
        }
        self.connected = connected;
        if let Some(hop) = self.inner.hops.lock().hops.get_mut(&self.name) {
            hop.connected = if connected { hop.connected + 1 } else { hop.connected.saturating_sub(1) };
        }
    }
    /// A job ended well. If more waits and the window allows it, another worker is started.
    pub(crate) fn success(&self) {
        let now = self.now();
        let mut state = self.inner.hops.lock();
        let Some(hop) = state.hops.get_mut(&self.name) else {
            return;
        };
        hop.window.success(hop.queue.len() > hop.workers as usize);
        if hop.last_end != 0 {
            let gap = now.saturating_sub(hop.last_end).min(60_000) as f64;
            hop.pace = hop.pace * 0.9 + gap * 0.1;
        }
        hop.last_end = now;
        if hop.queue.len() > hop.workers as usize && hop.workers < hop.window.limit() && !hop.waiting {
            let settings = self.inner.parts.settings.get();
            let granted = state.grant(&self.name, &settings);
            drop(state);
            if let Some((key, wake, pressure)) = granted {
                let place = Self::new(&self.inner, self.name.clone(), key, wake, pressure);
                self.inner.start_worker(place);
            }
        }
    }
    /// A connection was lost or ended by the other side.
    pub(crate) fn trouble(&self) {
        if let Some(hop) = self.inner.hops.lock().hops.get_mut(&self.name) {
            hop.window.trouble();
        }
    }
    /// No host could be reached. If other workers have connections, only the window narrows (many servers allow few
    /// connections from one client); otherwise the hop is dead for `ms`. Returns whether it is.
    pub(crate) fn unreachable(&self, trouble: &Arc<Trouble>, ms: u64) -> bool {
        let until = self.now() + ms;
        let mut state = self.inner.hops.lock();
        let Some(hop) = state.hops.get_mut(&self.name) else {
            return true;
        };
        hop.window.trouble();
        let dead = hop.connected == 0;
        if dead {
            hop.dead = Some((until, trouble.clone()));
        }
        dead
    }
}

/// Counts an idle worker out again, however its wait ends.
struct IdleGuard<'a>(&'a Place);

impl Drop for IdleGuard<'_> {
    fn drop(&mut self) {
        if let Some(hop) = self.0.inner.hops.lock().hops.get_mut(&self.0.name) {
            hop.idle = hop.idle.saturating_sub(1);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let settings = self.inner.parts.settings.get();
        let (local, now) = (is_local(&self.key), self.now());
        let mut starts = Vec::new();
        let mut state = self.inner.hops.lock();
        state.pool(local).active -= 1;
        if let Some(hop) = state.hops.get_mut(&self.name) {
            hop.workers -= 1;
            if self.connected {
                hop.connected = hop.connected.saturating_sub(1);
            }
            if !hop.queue.is_empty() && !hop.waiting {
                hop.waiting = true;
                let name = self.name.clone();
                state.pool(local).waiting.push_back(name);
            }
        }
        state.forget_if_quiet(&self.name, now);
        // Whoever waited longest gets the slot; a hop that cannot use it leaves the line.
        let mut line = std::mem::take(&mut state.pool(local).waiting);
        while let Some(name) = line.pop_front() {
            if let Some(hop) = state.hops.get_mut(&name) {
                hop.waiting = false;
            }
            match state.grant(&name, &settings) {
                Some((key, wake, pressure)) => starts.push((name, key, wake, pressure)),
                None if state.pool(local).waiting.is_empty() => state.forget_if_quiet(&name, now),
                None => {
                    // No slot: it stands in line again, before those who came later.
                    line.push_front(name);
                    state.pool(local).waiting.clear();
                    break;
                }
            }
        }
        state.pool(local).waiting = line;
        drop(state);
        for (name, key, wake, pressure) in starts {
            self.inner.start_worker(Self::new(&self.inner, name, key, wake, pressure));
        }
    }
}
