//! Who has had `vacation`'s reply, and when; who never gets one. Sendmail keeps this in a Berkeley data base `~/.vacation.db`; here it is a
//! text file of the same name, small and bounded, replaced as a whole under a lock (`.lock` beside it). One that Berkeley DB wrote is
//! set aside as `.old`: a sender may get one more reply, and exclusions (`-x`) must be given again.
//!
//! Lines: `postrider-vacation 1`, then `interval SECONDS` (0: never twice), `replied UNIXTIME ADDRESS`, `excluded ADDRESS`.

use durable::{LockError, LockFile};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MARK: &str = "postrider-vacation 1";
/// Senders remembered; beyond it the oldest are forgotten.
const REPLIED: usize = 10_000;
/// Exclusions kept.
const EXCLUDED: usize = 10_000;
/// Larger than such a file can become.
const FILE: u64 = 16 << 20;
/// Longest wait for another `vacation` of the same user.
const PATIENCE: Duration = Duration::from_secs(10);
/// A week: what an interval is when nobody said so.
const WEEK: i64 = 7 * 86_400;

/// Why it cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Another process keeps it locked.
    #[error("{0}")]
    Busy(String),
    /// The system's.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The file, locked and in memory.
#[derive(Debug)]
pub(super) struct Seen {
    path: PathBuf,
    interval: i64,
    replied: BTreeMap<String, i64>,
    excluded: BTreeSet<String>,
    /// Whether a file of another kind was set aside.
    pub set_aside: bool,
    _lock: LockFile,
}

impl Seen {
    /// Locks and reads; no file is an empty one.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let mut seen = Self::locked(path)?;
        let text = match File::open(path) {
            Ok(file) => {
                let mut bytes = Vec::new();
                file.take(FILE).read_to_end(&mut bytes)?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(seen),
            Err(error) => return Err(error.into()),
        };
        if let Some(lines) = text.strip_prefix(MARK) {
            lines.lines().for_each(|line| seen.take(line));
        } else if !text.is_empty() {
            durable::rename(path, &beside(path, ".old"))?;
            seen.set_aside = true;
        }
        Ok(seen)
    }

    /// `-i`: an empty file with this interval in seconds, 0 for never twice.
    pub(super) fn begin(path: &Path, interval: Option<i64>) -> Result<(), Error> {
        let mut seen = Self::locked(path)?;
        seen.interval = interval.unwrap_or(WEEK);
        Ok(seen.write(i64::MIN)?)
    }

    fn locked(path: &Path) -> Result<Self, Error> {
        let (lock, give_up) = (beside(path, ".lock"), Instant::now() + PATIENCE);
        let lock = loop {
            match LockFile::take(&lock) {
                Ok(lock) => break lock,
                Err(LockError::Io(error)) => return Err(error.into()),
                Err(held @ LockError::Held(_)) if Instant::now() >= give_up => {
                    return Err(Error::Busy(held.to_string()));
                }
                Err(LockError::Held(_)) => std::thread::sleep(Duration::from_millis(50)),
            }
        };
        let (replied, excluded) = (BTreeMap::new(), BTreeSet::new());
        Ok(Self { path: path.to_owned(), interval: WEEK, replied, excluded, set_aside: false, _lock: lock })
    }

    /// A line that is none of ours is left out: a reply too many is better than none ever again.
    fn take(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("interval", seconds)) => self.interval = seconds.parse().unwrap_or(WEEK),
            Some(("excluded", address)) if self.excluded.len() < EXCLUDED => {
                self.excluded.insert(address.to_owned());
            }
            Some(("replied", rest)) => {
                if let Some((time, address)) = rest.split_once(' ')
                    && let Ok(time) = time.parse()
                {
                    self.replied.insert(address.to_owned(), time);
                }
            }
            _ => {}
        }
    }

    /// Whether a reply is due. `interval` in seconds, if the command line gave one.
    pub(super) fn is_due(&self, address: &str, now: i64, interval: Option<i64>) -> bool {
        let key = key(address);
        let domain = key.rfind('@').and_then(|at| key.get(at..));
        if self.excluded.contains(&key) || domain.is_some_and(|domain| self.excluded.contains(domain)) {
            return false;
        }
        let interval = interval.unwrap_or(self.interval);
        // A clock that was once in the future silences nobody for ever.
        let age = |then: &i64| if *then > now { i64::MAX } else { now - then };
        self.replied.get(&key).is_none_or(|then| interval > 0 && age(then) >= interval)
    }

    /// Notes a reply, durably.
    pub(super) fn record(&mut self, address: &str, now: i64) -> io::Result<()> {
        self.replied.insert(key(address), now);
        let oldest_wanted = if self.interval > 0 { now.saturating_sub(self.interval) } else { i64::MIN };
        self.write(oldest_wanted)
    }

    /// The reply could not be sent.
    pub(super) fn forget(&mut self, address: &str) -> io::Result<()> {
        self.replied.remove(&key(address));
        self.write(i64::MIN)
    }

    /// `-x`: adds addresses, or domains with an `@` before them.
    pub(super) fn exclude(&mut self, addresses: impl Iterator<Item = String>) -> io::Result<()> {
        let room = EXCLUDED.saturating_sub(self.excluded.len());
        self.excluded.extend(addresses.map(|a| key(a.trim())).filter(|a| !a.is_empty()).take(room));
        self.write(i64::MIN)
    }

    /// What `-l` shows: addresses with the time of the last reply, `None` for an exclusion.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Option<i64>)> {
        let replied = self.replied.iter().map(|(address, time)| (address.as_str(), Some(*time)));
        replied.chain(self.excluded.iter().map(|address| (address.as_str(), None)))
    }

    /// Replaces the file, without replies from before `oldest_wanted`.
    fn write(&mut self, oldest_wanted: i64) -> io::Result<()> {
        self.replied.retain(|_, time| *time >= oldest_wanted);
        if self.replied.len() > REPLIED {
            let mut times: Vec<i64> = self.replied.values().copied().collect();
            times.sort_unstable();
            let limit = times.get(times.len() - REPLIED).copied().unwrap_or(i64::MIN);
            self.replied.retain(|_, time| *time >= limit);
        }
        let mut text = format!("{MARK}\ninterval {}\n", self.interval);
        for (address, time) in &self.replied {
            let _infallible = writeln!(text, "replied {time} {address}");
        }
        for address in &self.excluded {
            let _infallible = writeln!(text, "excluded {address}");
        }
        durable::write_whole(&self.path, text.as_bytes())
    }
}

/// One person, however he spells himself; nothing that could end a line.
fn key(address: &str) -> String {
    address.chars().filter(|c| !c.is_control()).take(320).collect::<String>().to_lowercase()
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_in_an_interval_and_never_to_the_excluded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".vacation.db");
        let mut seen = Seen::open(&path).unwrap();
        assert!(seen.is_due("Bob@x", 1_000, None));
        seen.record("Bob@x", 1_000).unwrap();
        seen.exclude(["No@x\n", "  ", "@Ex.dom"].map(str::to_owned).into_iter()).unwrap();
        drop(seen);
        let mut seen = Seen::open(&path).unwrap();
        assert!(!seen.is_due("bob@X", 1_000 + WEEK - 1, None) && seen.is_due("bob@x", 1_000 + WEEK, None));
        assert!(seen.is_due("bob@x", 1_100, Some(50)) && !seen.is_due("bob@x", i64::MAX, Some(0)));
        assert!(seen.is_due("bob@x", 999, None), "the clock went back");
        assert!(
            !seen.is_due("no@X", 0, None) && !seen.is_due("a@ex.dom", 0, None) && seen.is_due("a@b.ex.dom", 0, None)
        );
        seen.forget("bob@x").unwrap();
        assert!(seen.is_due("bob@x", 1_001, None));
        seen.record("late@x", 1_001 + WEEK * 2).unwrap();
        let left: Vec<_> = seen.entries().collect();
        assert_eq!(left, [("late@x", Some(1_001 + WEEK * 2)), ("@ex.dom", None), ("no@x", None)]);
    }

    #[test]
    fn begins_anew_and_sets_a_foreign_file_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        std::fs::write(&path, b"\0\0\0\0\x61\x15\x06\0").unwrap();
        assert!(Seen::open(&path).unwrap().set_aside);
        assert!(folder.path().join("db.old").exists() && !path.exists());
        Seen::begin(&path, Some(0)).unwrap();
        let mut seen = Seen::open(&path).unwrap();
        seen.record("a@b", 5).unwrap();
        assert!(!seen.set_aside && !seen.is_due("a@b", i64::MAX, None));
    }

    #[test]
    fn it_stays_small() {
        let folder = tempfile::tempdir().unwrap();
        let mut seen = Seen::open(&folder.path().join("db")).unwrap();
        seen.interval = 0;
        seen.replied = (0..20_000).map(|n| (format!("u{n}@x"), n)).collect();
        seen.record("new@x", 30_000).unwrap();
        assert_eq!(seen.replied.len(), REPLIED);
        assert!(seen.replied.contains_key("new@x") && !seen.replied.contains_key("u10000@x"));
    }
}
