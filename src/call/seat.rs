//! Seats of a local socket: one caller must not keep the others out. Used by the submission and the control socket.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts connections, in all and by uid.
#[derive(Debug)]
pub struct Seats {
    taken: Mutex<Taken>,
    all: u32,
    each: u32,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_uid: HashMap<u32, u32>,
}

/// A taken seat; free again when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    uid: u32,
}

impl Seats {
    /// At most `all` connections, and at most `each` of one uid; root has no limit of its own.
    #[must_use]
    pub fn new(all: u32, each: u32) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), all, each })
    }
    /// A seat for a caller, unless there is none for it.
    #[must_use]
    pub fn take(self: &Arc<Self>, uid: u32) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = taken.by_uid.get(&uid).copied().unwrap_or(0);
        if taken.all >= self.all || (uid != 0 && mine >= self.each) {
            return None;
        }
        taken.all += 1;
        taken.by_uid.insert(uid, mine + 1);
        Some(Seat { seats: Arc::clone(self), uid })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all = taken.all.saturating_sub(1);
        if let Some(mine) = taken.by_uid.get_mut(&self.uid) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                taken.by_uid.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_uid_cannot_take_every_seat() {
        let seats = Seats::new(4, 2);
        let mine: Vec<_> = (0..3).filter_map(|_| seats.take(1_000)).collect();
        assert_eq!(mine.len(), 2);
        let other = seats.take(1_001);
        assert!(other.is_some() && seats.take(0).is_some());
        drop(mine);
        assert!(seats.take(1_000).is_some());
    }
}
