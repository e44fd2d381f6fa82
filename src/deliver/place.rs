//! A worker's place at its hop: how it gets jobs, waits, and says how it goes. The workers in `relay` and `local` hold one.

use crate::hops::{Slots, Taken};
use crate::job::Job;
use crate::outcome::Trouble;
use crate::start::Inner;
use route::Key;
use std::sync::Arc;
use tokio::sync::Notify;

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
    /// For a worker whose slot was granted.
    pub(crate) fn new(
        inner: &Arc<Inner>,
        name: Arc<str>,
        key: Arc<Key>,
        wake: Arc<Notify>,
        pressure: Arc<Notify>,
    ) -> Self {
        Self { inner: inner.clone(), key, name, wake, pressure, connected: false }
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
                return hop.queue.pop_front().map_or(Taken::Leave, |job| Taken::Dead(job, trouble, until));
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
                job.give_back_now();
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
        !state.pool(Slots::of(&self.key)).waiting.is_empty()
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
        let (slots, now) = (Slots::of(&self.key), self.now());
        let mut starts = Vec::new();
        let mut state = self.inner.hops.lock();
        state.pool(slots).active -= 1;
        if let Some(hop) = state.hops.get_mut(&self.name) {
            hop.workers -= 1;
            if self.connected {
                hop.connected = hop.connected.saturating_sub(1);
            }
            if !hop.queue.is_empty() && !hop.waiting {
                hop.waiting = true;
                let name = self.name.clone();
                state.pool(slots).waiting.push_back(name);
            }
        }
        state.forget_if_quiet(&self.name, now);
        // Whoever waited longest gets the slot; a hop that cannot use it leaves the line.
        let mut line = std::mem::take(&mut state.pool(slots).waiting);
        while let Some(name) = line.pop_front() {
            if let Some(hop) = state.hops.get_mut(&name) {
                hop.waiting = false;
            }
            match state.grant(&name, &settings) {
                Some((key, wake, pressure)) => starts.push((name, key, wake, pressure)),
                None if state.pool(slots).waiting.is_empty() => state.forget_if_quiet(&name, now),
                None => {
                    // No slot: it stands in line again, before those who came later.
                    line.push_front(name);
                    state.pool(slots).waiting.clear();
                    break;
                }
            }
        }
        state.pool(slots).waiting = line;
        drop(state);
        for (name, key, wake, pressure) in starts {
            self.inner.start_worker(Self::new(&self.inner, name, key, wake, pressure));
        }
    }
}
