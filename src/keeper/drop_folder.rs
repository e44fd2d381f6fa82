//! The drop folder: anybody may put a file there, so every entry is judged without trust and never followed. The
//! keeper reads no content; it passes a descriptor and the owner, and unlinks what the engine has done with.

use crate::log;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fstat, openat, unlinkat};
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// At most so many entries with the engine at a time.
const OUTSTANDING: usize = 16;
/// Larger than any message that our `sendmail` would put there.
const LARGEST: i64 = 2 << 30;
/// How long an entry that the engine could not take rests.
const REST: Duration = Duration::from_secs(60);
/// The engine could not take an entry (disk full): nothing is offered for so long.
const BREATH: Duration = Duration::from_secs(5);
/// Names of refused entries, so that each is logged once an hour.
const REMEMBERED: usize = 4_096;

/// An entry to be passed: name, owner, size, descriptor.
pub(crate) type Entry = (String, u32, u64, OwnedFd);

#[derive(Default)]
pub(crate) struct DropFolder {
    with_engine: HashSet<String>,
    /// Not to be offered before this moment.
    resting: HashMap<String, Instant>,
    not_before: Option<Instant>,
    /// There may be entries that we have not seen.
    pub unseen: bool,
}

impl DropFolder {
    /// A new engine has nothing in hand.
    pub(crate) fn start_over(&mut self) {
        *self = Self {
            unseen: true,
            ..Self::default()
        };
    }

    /// The next entries for the engine.
    pub(crate) fn scan(&mut self, folder: &File) -> Vec<Entry> {
        let mut found = Vec::new();
        let now = Instant::now();
        if self.not_before.is_some_and(|moment| moment > now) {
            return found;
        }
        self.resting.retain(|_, until| *until > now);
        self.unseen = false;
        let Ok(entries) = Dir::read_from(folder) else {
            log::error("cannot read the drop folder");
            return found;
        };
        for entry in entries.flatten() {
            let raw = entry.file_name();
            let Ok(name) = raw.to_str() else {
                self.unlink_odd(folder, raw, "its name is not text");
                continue;
            };
            let known = self.with_engine.contains(name) || self.resting.contains_key(name);
            if known || name == "." || name == ".." {
                continue;
            }
            if self.with_engine.len() >= OUTSTANDING {
                self.unseen = true;
                break;
            }
            if let Some(entry) = self.judge(folder, raw, name) {
                self.with_engine.insert(name.to_owned());
                found.push(entry);
            }
        }
        found
    }

    fn judge(&mut self, folder: &File, raw: &CStr, name: &str) -> Option<Entry> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(folder, name, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok(opened) => opened,
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::NXIO) => {
                self.unlink_odd(folder, raw, "it is a link or a socket");
                return None;
            }
            Err(errno) => {
                if errno != rustix::io::Errno::NOENT {
                    self.leave(name, &errno.to_string());
                }
                return None;
            }
        };
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            self.unlink_odd(folder, raw, "it is not a regular file");
        } else if stat.st_nlink != 1 {
            // Perhaps another entry's content, so unlinking could lose that.
            self.leave(name, "it has more than one link");
        } else if stat.st_size > LARGEST {
            self.leave(name, "it is too large");
        } else {
            return Some((name.to_owned(), stat.st_uid, stat.st_size.cast_unsigned(), file));
        }
        None
    }

    /// Removes what certainly is no submission: those are regular files under plain names.
    fn unlink_odd(&mut self, folder: &File, name: &CStr, why: &str) {
        let gone = unlinkat(folder, name, AtFlags::empty()).or_else(|_| unlinkat(folder, name, AtFlags::REMOVEDIR));
        let name = name.to_string_lossy();
        match gone {
            Ok(()) => log::error(&format!("drop folder: removed {name}: {why}")),
            Err(_) => self.leave(&name, why),
        }
    }

    fn leave(&mut self, name: &str, why: &str) {
        if self.resting.len() < REMEMBERED {
            log::error(&format!("drop folder: {name} is left alone: {why}"));
            self.resting.insert(name.to_owned(), Instant::now() + 60 * REST);
        }
    }

    /// The engine has done with an entry.
    pub(crate) fn done(&mut self, folder: &File, name: &str) {
        if self.with_engine.remove(name)
            && let Err(errno) = unlinkat(folder, name, AtFlags::empty())
        {
            self.leave(name, &format!("cannot unlink it: {errno}"));
        }
    }

    /// The engine could not take an entry now.
    pub(crate) fn later(&mut self, name: String) {
        if self.with_engine.remove(&name) {
            self.resting.insert(name, Instant::now() + REST);
            self.not_before = Some(Instant::now() + BREATH);
            self.unseen = true;
        }
    }
}
