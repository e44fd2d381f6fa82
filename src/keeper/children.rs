//! The processes that the engine asked for. It decides which are needed and which must go (`daemon/outward.rs`); here
//! they are counted, reaped, and killed when too old: a stopped agent, say, never sees its socket close.

use crate::log;
use crate::start::end;
use std::process::Child;
use std::time::{Duration, Instant};

/// More at a time are refused; the engine defers.
pub(crate) const LIMIT: usize = if cfg!(test) { 8 } else { 256 };

pub(crate) struct Known {
    /// The engine's.
    pub ticket: u32,
    /// When it is too old.
    pub dies: Option<Instant>,
    child: Child,
    killed: bool,
}

#[derive(Default)]
pub(crate) struct Children(Vec<Known>);

impl Children {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, ticket: u32, child: Child, life: Option<Duration>) {
        self.0.push(Known { ticket, dies: life.map(|life| Instant::now() + life), child, killed: false });
    }

    /// Takes out those that have ended: ticket and how.
    pub(crate) fn reap(&mut self) -> Vec<(u32, String)> {
        let mut ended = Vec::new();
        self.0.retain_mut(|known| end(&mut known.child).map(|how| ended.push((known.ticket, how))).is_none());
        ended
    }

    pub(crate) fn kill(&mut self, why: &str, which: impl Fn(&Known) -> bool) {
        for known in self.0.iter_mut().filter(|known| !known.killed && which(known)) {
            log::error(&format!("process {} killed: {why}", known.child.id()));
            known.killed = true;
            let _ = known.child.kill();
        }
    }
}
