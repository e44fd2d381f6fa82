//! When to try again. Pure: time and randomness are arguments.

use serde::{Deserialize, Serialize};

/// Retry policy of the queue; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Wait after the first failure.
    pub min_backoff: u64,
    /// Longest wait.
    pub max_backoff: u64,
    /// A message older than this is returned (sendmail's Timeout.queuereturn).
    pub expire: u64,
    /// A warning is sent once a message is older than this (Timeout.queuewarn); 0 = never.
    pub warn: u64,
}

impl Default for Policy {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Self { min_backoff: 5 * MINUTE, max_backoff: 240 * MINUTE, expire: 5 * 1_440 * MINUTE, warn: 240 * MINUTE }
    }
}

impl Policy {
    /// Wait in milliseconds after try number `tries` (1 = the first) failed. Doubles each time; `random` (0 to 1)
    /// spreads it over three quarters to five quarters, so that a returning host is not flooded.
    #[must_use]
    pub fn backoff(&self, tries: u32, random: f64) -> u64 {
        let doubled = self.min_backoff.saturating_mul(1 << tries.saturating_sub(1).min(20));
        let base = doubled.clamp(self.min_backoff, self.max_backoff.max(self.min_backoff));
        let spread = base as f64 * (0.75 + 0.5 * random.clamp(0.0, 1.0));
        (spread as u64).clamp(self.min_backoff.min(base) * 3 / 4, self.max_backoff.max(self.min_backoff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_from_five_minutes_to_four_hours_and_stays() {
        let policy = Policy::default();
        let minutes: Vec<u64> = (1..=9).map(|t| policy.backoff(t, 0.5) / 60_000).collect();
        assert_eq!(minutes, [5, 10, 20, 40, 80, 160, 240, 240, 240]);
        assert!(policy.backoff(1, 0.0) < policy.backoff(1, 1.0));
        assert_eq!(policy.backoff(u32::MAX, 1.0), policy.max_backoff);
    }
}
