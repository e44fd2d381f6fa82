//! How many batches agents work on at once. Called by `local`.
//!
//! Mail for a hundred users comes one message for each, and a batch of one pays for its lock, its sync and its agent's waking alone. While
//! the processors are what is short, doing many of them at the same time makes none ready sooner; in a short line, more mail for the same
//! mailbox arrives meanwhile and shares what the batch pays. Whoever waits for something else (a lock, a slow disk, a program) leaves
//! his turn to the next at once: nobody is delayed by another's mailbox. (2,000 messages for 100 mboxes on two processors: 0.6 of the CPU and
//! 1.4 times the rate of as many batches as there are mailboxes.)

use std::future::Future;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Who takes longer waits for something else than a processor.
const TURN: Duration = Duration::from_millis(2);

/// Turns.
pub(crate) struct Pace(Semaphore);

impl Pace {
    /// One for each processor.
    pub(crate) fn new() -> Self {
        Self(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from)))
    }

    /// Does the work when its turn has come.
    pub(crate) async fn take<T>(&self, work: impl Future<Output = T>) -> T {
        let turn = self.0.acquire().await;
        tokio::pin!(work);
        match tokio::time::timeout(TURN, &mut work).await {
            Ok(done) => done,
            Err(_) => {
                drop(turn);
                work.await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, sleep};

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_something_else_leaves_his_turn() {
        let (pace, begun) = (Pace(Semaphore::new(1)), Instant::now());
        let slow = pace.take(sleep(Duration::from_secs(60)));
        let quick = pace.take(async { begun.elapsed() });
        let ((), waited) = tokio::join!(slow, quick);
        assert!((TURN..TURN * 2).contains(&waited), "{waited:?}");
        assert_eq!(pace.take(async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn the_quick_come_one_after_the_other() {
        let (pace, at_once) = (Pace(Semaphore::new(2)), std::sync::atomic::AtomicUsize::new(0));
        let work = || async {
            let now = at_once.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            tokio::task::yield_now().await;
            at_once.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            now
        };
        let (a, b, c, d) = tokio::join!(pace.take(work()), pace.take(work()), pace.take(work()), pace.take(work()));
        assert_eq!(a.max(b).max(c).max(d), 1, "two at once");
    }
}
