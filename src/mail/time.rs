//! Time as an argument. Nobody below `daemon` reads a clock; a test's clock is a value it makes up.

/// One moment on two clocks: the wall (what people read, may jump) and the monotonic one (what timers use).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Wall clock, milliseconds since 1970-01-01 UTC.
    pub wall: i64,
    /// Monotonic clock, milliseconds since an arbitrary start that lasts at least as long as the process.
    pub mono: u64,
}

impl Time {
    /// Wall clock in whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.wall.div_euclid(1000)
    }

    /// The same moment later by `ms` milliseconds on both clocks.
    #[must_use]
    pub const fn plus(self, ms: u64) -> Self {
        Self { wall: self.wall.saturating_add(ms as i64), mono: self.mono.saturating_add(ms) }
    }
}

/// Where the clocks come from: the daemon has the real ones, the tests a hand-wound one.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Time;
    /// Local time zone at `unix` seconds: offset east of UTC in seconds, and its name (`"GMT"`, `"CET"`).
    fn zone(&self, unix: i64) -> (i32, String);
}
