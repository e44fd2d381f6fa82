//! Entries of the drop folder, for the engine, by name: anybody may put anything there, and only root may open it. The
//! engine decides what is wanted when (`daemon/drop_folder.rs`); whatever it asks, nothing else is opened or removed.

use call::keep::InputState;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, unlinkat};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Nothing that leads elsewhere.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && name.len() <= 255 && !name.iter().any(|byte| matches!(byte, b'/' | 0))
}

/// An entry, for reading: a regular file, not behind a link, with one name, that nobody but its owner may touch (ours
/// are 0600): one that others may write, moved here from a shared folder, would be their mail in its owner's name.
pub(crate) fn open(folder: &OwnedFd, name: &[u8]) -> (InputState, Option<OwnedFd>) {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = if is_name(name) { openat(folder, name, flags, Mode::empty()) } else { Err(Errno::INVAL) };
    let is_plain = |stat: Stat| FileType::from_raw_mode(stat.st_mode).is_file() && stat.st_nlink == 1;
    match opened {
        Ok(file) if fstat(&file).is_ok_and(|stat| is_plain(stat) && stat.st_mode & 0o077 == 0) => {
            (InputState::Open, Some(file))
        }
        Ok(_) => (refused(Errno::PERM), None),
        Err(errno) => (refused(errno), None),
    }
}

/// Removes an entry, or an empty folder. A link is removed, not what it leads to.
pub(crate) fn remove(folder: &OwnedFd, name: &[u8]) -> InputState {
    if !is_name(name) {
        return refused(Errno::INVAL);
    }
    let gone = unlinkat(folder, name, AtFlags::empty()).or_else(|errno| match errno {
        Errno::ISDIR | Errno::PERM => unlinkat(folder, name, AtFlags::REMOVEDIR),
        other => Err(other),
    });
    gone.map_or_else(refused, |()| InputState::Absent)
}

fn refused(errno: Errno) -> InputState {
    match errno {
        Errno::NOENT => InputState::Absent,
        other => InputState::Unreadable(other.raw_os_error()),
    }
}

#[cfg(test)]
#[path = "drop_folder_test.rs"]
mod tests;
