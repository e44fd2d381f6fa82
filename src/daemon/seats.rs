//! How many SMTP sessions there may be at once. Called by `engine`.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// The seats of all listeners; a reload may change their number.
pub(crate) struct Seats {
    semaphore: Arc<Semaphore>,
    size: u32,
}

impl Seats {
    pub(crate) fn new(size: u32) -> Self {
        let size = size.max(1);
        Self { semaphore: Arc::new(Semaphore::new(size as usize)), size }
    }

    /// For a listener.
    pub(crate) fn shared(&self) -> Arc<Semaphore> {
        Arc::clone(&self.semaphore)
    }

    /// Another number from now on. If there are fewer, nobody new is served before enough sessions have ended; none is cut off.
    pub(crate) fn resize(&mut self, size: u32) {
        let size = size.max(1);
        if size > self.size {
            self.semaphore.add_permits((size - self.size) as usize);
        } else if size < self.size {
            let (semaphore, fewer) = (self.shared(), self.size - size);
            tokio::spawn(async move {
                if let Ok(taken) = semaphore.acquire_many(fewer).await {
                    taken.forget();
                }
            });
        }
        self.size = size;
    }

    /// Sessions, with the seat that each listener holds ready.
    pub(crate) fn taken(&self) -> usize {
        (self.size as usize).saturating_sub(self.semaphore.available_permits())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn seats_grow_at_once_and_shrink_when_they_are_free() {
        let mut seats = Seats::new(2);
        let (first, second) =
            (seats.shared().try_acquire_owned().unwrap(), seats.shared().try_acquire_owned().unwrap());
        assert!(seats.shared().try_acquire().is_err());
        seats.resize(3);
        assert!(seats.shared().try_acquire().is_ok());
        seats.resize(1);
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(seats.shared().try_acquire().is_err(), "the last of two seats is still taken");
        drop(second);
        let only = seats.shared().acquire_owned().await.unwrap();
        assert!(seats.shared().try_acquire().is_err());
        assert_eq!(seats.taken(), 1);
        drop(only);
    }
}
