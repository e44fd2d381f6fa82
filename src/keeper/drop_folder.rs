//! The drop folder: anybody may put a file there, so every entry is judged without trust and never followed. The
//! keeper reads no content; it passes a descriptor and the owner, and unlinks what the engine has done with.

use crate::log;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

/// At most so many entries with the engine at a time.
const OUTSTANDING: usize = 16;
/// Larger than any message that our `sendmail` would put there.
const LARGEST: i64 = 2 << 30;
/// How long an entry that the engine could not take (disk full) rests, and the whole folder.
const REST: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(5));
/// How long a refused entry rests, so that it does not fill the log.
const REFUSED: Duration = Duration::from_secs(3_600);
/// Most names of refused entries that are remembered.
const REMEMBERED: usize = 4_096;

/// Not an error: without O_TMPFILE an entry has for a moment two names.
const MOVING: &str = "it is just being named";

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
    /// The next entries for the engine.
    pub(crate) fn scan(&mut self, folder: &File) -> Vec<Entry> {
        let (mut found, now) = (Vec::new(), Instant::now());
        if self.not_before.is_some_and(|moment| moment > now) {
            return found;
        }
        self.resting.retain(|_, until| *until > now);
        self.unseen = false;
        for entry in Dir::read_from(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let text = name.to_string_lossy();
            // `tmp.`: being written, on a file system without O_TMPFILE.
            let known = self.with_engine.contains(&*text) || self.resting.contains_key(&*text);
            if known || text == "." || text == ".." || text.starts_with("tmp.") {
                continue;
            }
            if self.with_engine.len() >= OUTSTANDING {
                self.unseen = true;
                break;
            }
            match judge(folder, name) {
                Ok(Some(_)) if name.to_str().is_err() => self.remove(folder, name, "its name is not text"),
                Ok(Some((uid, size, file))) => {
                    self.with_engine.insert(text.clone().into_owned());
                    found.push((text.into_owned(), uid, size, file));
                }
                Ok(None) => self.remove(folder, name, "it is not a regular file"),
                Err(why) if why == MOVING => self.unseen = true,
                Err(why) => self.leave(&text, &why),
            }
        }
        found
    }

    /// Removes what certainly is no submission: those are regular files under plain names.
    fn remove(&mut self, folder: &File, name: &CStr, why: &str) {
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
            self.resting.insert(name.to_owned(), Instant::now() + REFUSED);
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
            self.resting.insert(name, Instant::now() + REST.0);
            self.not_before = Some(Instant::now() + REST.1);
            self.unseen = true;
        }
    }
}

/// Owner, size and descriptor of an entry; `None` if it is not a regular file; an error if it must stay.
fn judge(folder: &File, name: &CStr) -> Result<Option<(u32, u64, OwnedFd)>, String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = openat(folder, name, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
    let (stat, file) = match opened {
        Ok(opened) => opened,
        Err(Errno::NOENT) => return Err(MOVING.to_owned()),
        // A symbolic link; a socket.
        Err(Errno::LOOP | Errno::NXIO) => return Ok(None),
        Err(errno) => return Err(errno.to_string()),
    };
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        Ok(None)
    } else if stat.st_nlink == 2 && SystemTime::UNIX_EPOCH.elapsed().is_ok_and(|now| now < changed(&stat)) {
        Err(MOVING.to_owned())
    } else if stat.st_nlink != 1 {
        // Perhaps somebody else's entry, which unlinking could lose.
        Err("it has more than one link".to_owned())
    } else if stat.st_size > LARGEST {
        Err("it is too large".to_owned())
    } else {
        Ok(Some((stat.st_uid, stat.st_size.cast_unsigned(), file)))
    }
}

/// When an entry with two names is no longer just being named, since 1970.
fn changed(stat: &Stat) -> Duration {
    Duration::from_secs(stat.st_ctime.cast_unsigned() + 5)
}
