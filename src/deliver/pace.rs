//! How many batches agents work on at once. Called by `local`.
//!
//! Mail for a hundred users comes one message for each, and a batch of one pays for its lock, its sync and its agent's waking alone. While
//! the processors are what is short, doing many of them at the same time makes none ready sooner; in a short line, more mail for the same
//! mailbox arrives meanwhile and shares what the batch pays. Whoever waits for something else (a lock, a slow disk, a program) leaves
//! his turn to the next at once: nobody is delayed by another's mailbox.

use std::future::Future;
use std::time::Duration;
use tokio::sync::Semaphore;

/// Turns for each processor.
const EACH: usize = 2;
/// Who takes longer waits for something else than a processor.
const TURN: Duration = Duration::from_millis(2);

/// Turns.
pub(crate) struct Pace(Semaphore);

impl Pace {
    pub(crate) fn new() -> Self {
        let each = std::env::var("PACE").ok().and_then(|s| s.parse().ok()).unwrap_or(EACH);
        Self(Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from) * each))
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
