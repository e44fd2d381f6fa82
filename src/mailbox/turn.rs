//! Taking turns at a mailbox that others use at the same time. Called by `mbox`.
//!
//! Readers poll for the locks: mutt and neomutt five times, once a second, s-nail for two seconds (mbox-locking.md §3). While mail streams
//! in we hold them most of the time, for each batch ends with a sync, and whoever polls would give up. So, once somebody else was seen at
//! the mailbox, we rest after each batch, four times as long as we held the locks; more messages come together meanwhile.

use std::time::{Duration, Instant};

/// In company we hold the locks for at most a fifth of the time.
const SHARE: u32 = 4;
const LONGEST: Duration = Duration::from_millis(500);
/// Somebody else's visit counts for so long.
const COMPANY: Duration = Duration::from_secs(60);
/// Whoever waited longer for the locks did not get them at the first attempt.
const CONTENDED: Duration = Duration::from_millis(500);

/// What an agent knows of its mailbox from the last batch.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    /// When the locks were let go, how long they were held, and the size then.
    last: Option<(Instant, Duration, u64)>,
    company: Option<Instant>,
}

impl Turn {
    /// How long to rest before the locks are taken again.
    pub(crate) fn rest(&self, now: Instant) -> Option<Duration> {
        let (since, held, _) = self.last?;
        self.company.filter(|seen| now.saturating_duration_since(*seen) < COMPANY)?;
        (held * SHARE).min(LONGEST).checked_sub(now.saturating_duration_since(since)).filter(|rest| !rest.is_zero())
    }

    /// The locks are ours, after waiting so long, and this is the size.
    pub(crate) fn begin(&mut self, waited: Duration, size: u64, now: Instant) {
        if waited > CONTENDED || self.last.is_some_and(|(_, _, left)| left != size) {
            self.company = Some(now);
        }
    }

    /// The locks are let go.
    pub(crate) fn end(&mut self, held: Duration, size: u64, now: Instant) {
        self.last = Some((now, held, size));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn whoever_is_alone_never_rests() {
        let (mut turn, start) = (Turn::default(), Instant::now());
        assert_eq!(turn.rest(start), None, "the first batch");
        turn.begin(MS(0), 100, start);
        turn.end(MS(20), 200, start);
        turn.begin(MS(0), 200, start);
        assert_eq!(turn.rest(start), None);
    }

    #[test]
    fn in_company_we_rest_four_times_as_long_as_we_held_the_locks() {
        for (waited, size) in [(MS(0), 0), (MS(900), 200)] {
            let (mut turn, start) = (Turn::default(), Instant::now());
            turn.end(MS(20), 200, start);
            turn.begin(waited, size, start);
            turn.end(MS(20), 200, start);
            assert_eq!(turn.rest(start + MS(30)), Some(MS(50)));
            assert_eq!(turn.rest(start + MS(80)), None, "the rest is over");
            turn.end(Duration::from_secs(9), 200, start);
            assert_eq!(turn.rest(start), Some(LONGEST));
            turn.end(MS(20), 200, start + COMPANY);
            assert_eq!(turn.rest(start + COMPANY), None, "a minute later the other one is gone");
        }
    }
}
