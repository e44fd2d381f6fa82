//! The drop folder: anybody may put a file there, so every entry is judged without trust and never followed. The
//! keeper reads no content; it passes a descriptor and the owner, and unlinks what the engine has done with.

use crate::log;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant, SystemTime};

/// At most so many entries with the engine at a time, and so many of one owner: nobody takes every place.
const OUTSTANDING: usize = 96;
const PER_OWNER: usize = 16;
/// From here on only owners of whom the engine has none get a place: two users whose entries hang do not shut everybody out.
const CROWDED: usize = 32;
/// Names that one scan looks at, and the time between two: a full folder costs little, whatever is in it.
const NAMES: usize = if cfg!(test) { 10 } else { 1_000 };
pub(crate) const PAUSE: Duration = Duration::from_millis(50);
/// Larger than any message that our `sendmail` would put there.
const LARGEST: i64 = 2 << 30;
/// How long an entry that the engine could not take rests: doubles up to the second value.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3_600));
/// When the entries of so many owners in a row could not be taken (disk full), the whole folder rests for so long.
const PUT_OFF: (usize, Duration) = (3, Duration::from_secs(5));
/// How long a refused entry rests, so that it does not fill the log; and most lines in that time.
const REFUSED: (Duration, u32) = (Duration::from_secs(3_600), 1_000);
/// Most names of resting entries that are remembered; others come again with the next pass.
const REMEMBERED: usize = 4_096;
/// `tmp.` names are what crashed writers left after so long.
const STALE: Duration = Duration::from_secs(24 * 3_600);

/// Not an error: without O_TMPFILE an entry has for a moment two names.
const MOVING: &str = "it is just being named";

/// An entry to be passed: name, owner, size, descriptor.
pub(crate) type Entry = (String, u32, u64, OwnedFd);

#[derive(Default)]
pub(crate) struct DropFolder {
    /// Names and their owners.
    with_engine: HashMap<String, u32>,
    /// Not to be offered before this moment; how often it was put off.
    resting: HashMap<String, (Instant, u32)>,
    /// Owners that were put off since an entry was last taken.
    put_off: HashSet<u32>,
    not_before: Option<Instant>,
    /// A pass through the folder; the next scan goes on where the last one stopped.
    pass: Option<Dir>,
    /// There may be entries that this pass has not seen: another one follows.
    pub unseen: bool,
    /// When the first of the entries that were put off may come again.
    wakes: Option<Instant>,
    /// Lines in the log, and since when.
    said: Option<(Instant, u32)>,
}

impl DropFolder {
    /// Whether a scan could find something.
    pub(crate) fn is_due(&self) -> bool {
        (self.unseen || self.pass.is_some()) && self.with_engine.len() < OUTSTANDING
    }

    /// Whether somebody rests who is to be offered again: then the clock matters.
    pub(crate) fn is_waiting(&self) -> bool {
        self.wakes.is_some()
    }

    /// Looks at the clock: a rest that is over asks for another pass.
    pub(crate) fn wake(&mut self) {
        if self.wakes.is_some_and(|moment| moment <= Instant::now()) {
            self.unseen = true;
        }
    }

    /// The next entries for the engine.
    pub(crate) fn scan(&mut self, folder: &File) -> Vec<Entry> {
        let (mut found, now) = (Vec::new(), Instant::now());
        if self.not_before.is_some_and(|moment| moment > now) {
            return found;
        }
        self.not_before = Some(now + PAUSE);
        if self.pass.is_none() {
            self.unseen = false;
            self.resting.retain(|_, (until, _)| *until + REST.1 > now);
            let put_off = self.resting.values().filter(|(until, tries)| *tries > 0 && *until > now);
            self.wakes = put_off.map(|(until, _)| *until).min();
            self.pass = Dir::read_from(folder).ok();
        }
        for _ in 0..NAMES {
            if self.with_engine.len() >= OUTSTANDING {
                break;
            }
            let Some(Ok(entry)) = self.pass.as_mut().and_then(Dir::read) else {
                self.pass = None;
                break;
            };
            found.extend(self.consider(folder, entry.file_name(), now));
        }
        found
    }

    fn consider(&mut self, folder: &File, name: &CStr, now: Instant) -> Option<Entry> {
        let text = name.to_string_lossy();
        let rests = self.resting.get(&*text).is_some_and(|(until, _)| *until > now);
        if rests || text == "." || text == ".." || self.with_engine.contains_key(&*text) {
            return None;
        }
        if text.starts_with("tmp.") {
            // Being written, on a file system without O_TMPFILE.
            if statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| age(&stat) > STALE) {
                self.remove(folder, name, "nobody has finished it for a day");
            }
            return None;
        }
        match judge(folder, name) {
            Ok(Some(_)) if name.to_str().is_err() => self.remove(folder, name, "its name is not text"),
            Ok(Some((uid, ..))) if self.places(uid) >= self.most() => self.unseen = true,
            Ok(Some((uid, size, file))) => {
                self.with_engine.insert(text.clone().into_owned(), uid);
                return Some((text.into_owned(), uid, size, file));
            }
            Ok(None) => self.remove(folder, name, "it is not a regular file"),
            Err(why) if why == MOVING => self.unseen = true,
            Err(why) => self.leave(&text, &why),
        }
        None
    }

    /// How many entries of one owner the engine may have now.
    fn most(&self) -> usize {
        if self.with_engine.len() >= CROWDED { 1 } else { PER_OWNER }
    }

    /// How many entries of one owner the engine has.
    fn places(&self, uid: u32) -> usize {
        self.with_engine.values().filter(|owner| **owner == uid).count()
    }

    /// Removes what certainly is no submission: those are regular files under plain names.
    fn remove(&mut self, folder: &File, name: &CStr, why: &str) {
        let gone = unlinkat(folder, name, AtFlags::empty()).or_else(|_| unlinkat(folder, name, AtFlags::REMOVEDIR));
        let name = name.to_string_lossy();
        match gone {
            Ok(()) => self.say(&format!("removed {name}: {why}")),
            Err(_) => self.leave(&name, why),
        }
    }

    fn leave(&mut self, name: &str, why: &str) {
        if self.rest(name, REFUSED.0, 0) {
            self.say(&format!("{name} is left alone: {why}"));
        }
    }

    /// Whether that could be remembered.
    fn rest(&mut self, name: &str, time: Duration, tries: u32) -> bool {
        let room = self.resting.len() < REMEMBERED || self.resting.contains_key(name);
        if room {
            self.resting.insert(name.to_owned(), (Instant::now() + time, tries));
        }
        room
    }

    /// Into the log, which anybody who makes names here could fill.
    fn say(&mut self, text: &str) {
        let (since, count) = self.said.filter(|said| said.0.elapsed() < REFUSED.0).unwrap_or((Instant::now(), 0));
        self.said = Some((since, count.saturating_add(1)));
        if count < REFUSED.1 {
            log::error(&format!("drop folder: {text}"));
        } else if count == REFUSED.1 {
            log::error("drop folder: no more lines about it for a while");
        }
    }

    /// The engine has done with an entry.
    pub(crate) fn done(&mut self, folder: &File, name: &str) {
        if self.with_engine.remove(name).is_none() {
            return;
        }
        self.put_off.clear();
        match unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) => drop(self.resting.remove(name)),
            Err(errno) => self.leave(name, &format!("cannot unlink it: {errno}")),
        }
    }

    /// The engine could not take an entry now.
    pub(crate) fn later(&mut self, name: &str) {
        let Some(uid) = self.with_engine.remove(name) else {
            return;
        };
        let tries = self.resting.get(name).map_or(0, |(_, tries)| *tries);
        // 5 s, 10 s, 20 s ... 1 h: what only waits for the disk comes again soon.
        self.rest(name, (REST.0 * (1 << tries)).min(REST.1), (tries + 1).min(10));
        let again = self.resting.get(name).map(|(until, _)| *until);
        self.wakes = [self.wakes, again].into_iter().flatten().min();
        self.put_off.insert(uid);
        if self.put_off.len() >= PUT_OFF.0 {
            self.put_off.clear();
            self.not_before = Some(Instant::now() + PUT_OFF.1);
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
    } else if stat.st_nlink == 2 && age(&stat) < Duration::from_secs(5) {
        Err(MOVING.to_owned())
    } else if stat.st_nlink != 1 {
        // Perhaps somebody else's entry, which unlinking could lose.
        Err("it has more than one link".to_owned())
    } else if stat.st_mode & 0o077 != 0 {
        // Ours are 0600. A file that others may write, moved here from a shared folder, would be their mail in its
        // owner's name.
        Err(format!("its mode is {:o}, not 600", stat.st_mode & 0o7777))
    } else if stat.st_size > LARGEST {
        Err("it is too large".to_owned())
    } else {
        Ok(Some((stat.st_uid, stat.st_size.cast_unsigned(), file)))
    }
}

/// Since its last change, that of its names included. Unlike other times nobody can set that one.
fn age(stat: &Stat) -> Duration {
    let changed = Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(changed)
}

#[cfg(test)]
#[path = "drop_folder_test.rs"]
mod tests;
