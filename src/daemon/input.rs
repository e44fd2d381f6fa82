//! One input: a file that the engine reads through a descriptor, because it names no path. The keeper is asked, by number, whether there is
//! another file than the one it passed last. Called by `live` and `lists`.

use crate::link::Link;
use call::keep::{FromEngine, InputState, Seen};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant, SystemTime};
use table::Stamp;

/// Largest file that is taken into memory whole.
const LIMIT: u64 = 512 << 20;
/// A changed file is used once it has been still for this long.
const STILL: Duration = if cfg!(test) { Duration::from_millis(120) } else { Duration::from_secs(1) };
/// Somebody may forget to close a file; this long after the first change that was not used it is used all the same, once it is still.
const FORGOTTEN: Duration = if cfg!(test) { Duration::from_millis(400) } else { Duration::from_secs(60) };

/// The whole content of an input.
pub(crate) fn read(file: &File) -> std::io::Result<Vec<u8>> {
    let before = Stamp::of(file)?;
    if before.size > LIMIT {
        return Err(std::io::Error::other("larger than 512 MiB"));
    }
    let mut text = vec![0; usize::try_from(before.size).unwrap_or(0)];
    // Not from where the descriptor stands: it is read again when other lists have changed.
    let length = durable::read_at_most(file, &mut text, 0)?;
    if length != text.len() || Stamp::of(file)? != before {
        return Err(std::io::Error::other("changed while it was read"));
    }
    Ok(text)
}

/// Which file it was, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    device: u64,
    inode: u64,
    pub(crate) stamp: Stamp,
}

impl Version {
    /// Whether it is the same file, however it has changed.
    pub(crate) fn same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// As the keeper compares it.
    fn seen(&self) -> Seen {
        let parts = |nanos: i128| {
            let part = |nanos: i128| i64::try_from(nanos).unwrap_or(i64::MAX);
            (part(nanos.div_euclid(1_000_000_000)), part(nanos.rem_euclid(1_000_000_000)))
        };
        let Stamp { size, modified, changed } = self.stamp;
        Seen { device: self.device, inode: self.inode, size, modified: parts(modified), changed: parts(changed) }
    }

    pub(crate) fn of(file: &File) -> std::io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self { device: about.dev(), inode: about.ino(), stamp: Stamp::of(file)? })
    }
}

/// What was there when it was looked at last.
#[derive(Debug)]
pub(crate) enum Now {
    /// No such file.
    Absent,
    /// It cannot be read, or is not trusted.
    Refused(String),
    /// An open file.
    There {
        /// Its own descriptor.
        file: File,
        /// As it was.
        version: Version,
        /// Whether somebody has it open for writing.
        busy: bool,
    },
}

/// An input and since when it is as it is.
#[derive(Debug)]
pub(crate) struct Input {
    number: u16,
    pub(crate) now: Now,
    since: Instant,
    /// Since when there are versions that were not used.
    unused: Option<Instant>,
    /// Whether it was renamed into the place of another file after it was written: whole, however fresh.
    replaced: bool,
}

impl Input {
    /// With what the keeper brought at the start.
    pub(crate) fn new(number: u16, (state, descriptor): (InputState, Option<OwnedFd>)) -> Self {
        let mut input = Self { number, now: Now::Absent, since: Instant::now(), unused: None, replaced: false };
        input.take(state, descriptor);
        input
    }

    /// Asks the keeper and keeps the answer.
    pub(crate) async fn refresh(&mut self, link: &Link) {
        let known = match &self.now {
            // What is busy may be as it was and closed.
            Now::There { version, busy: false, .. } => Some(version.seen()),
            _ => None,
        };
        if let Some((state, descriptor)) = link.ask(&FromEngine::Check { number: self.number, known }).await {
            self.take(state, descriptor);
        }
    }

    /// Keeps an answer.
    pub(crate) fn take(&mut self, state: InputState, descriptor: Option<OwnedFd>) {
        let now = match (state, descriptor) {
            (InputState::Unchanged, _) => return,
            (InputState::Open | InputState::Busy, Some(descriptor)) => {
                let (file, busy) = (File::from(descriptor), state == InputState::Busy);
                match Version::of(&file) {
                    Ok(version) => Now::There { file, version, busy },
                    Err(error) => Now::Refused(config::plain(&error)),
                }
            }
            (InputState::Unreadable(errno), _) => {
                Now::Refused(config::plain(&std::io::Error::from_raw_os_error(errno)))
            }
            (InputState::Unsafe(why), _) => Now::Refused(why.to_string()),
            (InputState::Absent | InputState::Open | InputState::Busy, _) => Now::Absent,
        };
        let same = match (&self.now, &now) {
            (Now::Absent, Now::Absent) => true,
            (Now::Refused(old), Now::Refused(new)) => old == new,
            (Now::There { version: old, .. }, Now::There { version: new, .. }) => old == new,
            _ => false,
        };
        if !same {
            self.since = Instant::now();
            // What is not there waits for nothing.
            let since = self.unused.unwrap_or(self.since);
            self.unused = matches!(now, Now::There { .. }).then_some(since);
            // A rename moves the time of the inode's change alone.
            self.replaced = match (&self.now, &now) {
                (Now::There { version: old, .. }, Now::There { version: new, .. }) => {
                    !old.same_file(new) && new.stamp.changed > new.stamp.modified
                }
                _ => false,
            };
        }
        self.now = now;
    }

    /// It was used, or found to be of no use.
    pub(crate) const fn settle(&mut self) {
        self.unused = None;
    }

    /// For how long it has been as it is, as far as was seen.
    pub(crate) fn seen_for(&self) -> Duration {
        self.since.elapsed()
    }

    /// Its version, if there is a file.
    pub(crate) fn version(&self) -> Option<Version> {
        match &self.now {
            Now::There { version, .. } => Some(*version),
            _ => None,
        }
    }

    /// A descriptor for a loader.
    pub(crate) fn file(&self) -> Option<File> {
        match &self.now {
            Now::There { file, .. } => file.try_clone().ok(),
            _ => None,
        }
    }

    /// Whether the file is still the version that was looked at: nobody wrote to it since.
    pub(crate) fn is_unchanged(&self) -> bool {
        match &self.now {
            // Not the time of the inode's change alone: it moves when another file takes this one's name, which harms nobody.
            Now::There { file, version, .. } => Version::of(file).is_ok_and(|now| {
                let same = (now.stamp.size, now.stamp.modified) == (version.stamp.size, version.stamp.modified);
                now == *version || (same && file.metadata().is_ok_and(|about| about.nlink() == 0))
            }),
            _ => true,
        }
    }

    /// How long to wait before the file is used; nothing if it is still. At the start of the engine there is nothing that could
    /// serve meanwhile, so a file need not have been still then, only closed.
    pub(crate) fn unrest(&self, at_start: bool) -> Option<Duration> {
        let Now::There { version, busy, .. } = &self.now else { return None };
        let unused = self.unused.map_or(Duration::ZERO, |first| first.elapsed());
        if *busy && unused < FORGOTTEN {
            return Some(STILL);
        }
        // By its own times, or, where the clocks of file server and host differ, by ours.
        let still = version.stamp.still_for(SystemTime::now()).max(self.seen_for());
        // Replaced again and again, it is never still.
        let whole = self.replaced && !*busy && unused >= STILL;
        if at_start || still >= STILL || whole { None } else { Some(STILL - still) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keeper_sees_what_the_engine_has() {
        let file = tempfile::tempfile().unwrap();
        let version = Version::of(&file).unwrap();
        assert_eq!(version.seen(), Seen::of(&file.metadata().unwrap()));
        file.set_len(3).unwrap();
        assert_ne!(version.seen(), Seen::of(&file.metadata().unwrap()));
    }
}
