//! What tells that an open file changed: an administrator may `cp` onto it in place.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

/// Size and times of a file. Two equal stamps of one descriptor mean that nobody wrote between them, but for writes within one
/// tick of the file system's clock (a few milliseconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Modification, nanoseconds since 1970.
    pub modified: i128,
    /// Change of the inode, nanoseconds since 1970: also moves when `cp -p` or `touch` set the other back.
    pub changed: i128,
}

impl Stamp {
    /// The stamp of an open file.
    ///
    /// # Errors
    /// The system's.
    pub fn of(file: &File) -> std::io::Result<Self> {
        let data = file.metadata()?;
        let nanos = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Ok(Self {
            size: data.len(),
            modified: nanos(data.mtime(), data.mtime_nsec()),
            changed: nanos(data.ctime(), data.ctime_nsec()),
        })
    }

    /// How long the file had stood still at `now`.
    #[must_use]
    pub fn still_for(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let last = u128::try_from(self.modified.max(self.changed)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(now.saturating_sub(last)).unwrap_or(u64::MAX))
    }

    /// How far from `now` it was changed last, by clocks that need not agree: a file may have a time to come, for hours.
    #[must_use]
    pub fn apart_from(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let last = u128::try_from(self.modified.max(self.changed)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(now.abs_diff(last)).unwrap_or(u64::MAX))
    }
}
