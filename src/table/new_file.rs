//! A compiled form on its way to its name `X.db`: written without one, synced, and put in place in one step, so that a reader
//! never sees half a map. Called by `makemap`, `newaliases` and `editmap`.
//!
//! Like sendmail's tools it refuses links and devices under that name, and it keeps owner and mode of the file it replaces. A
//! file there that is not ours, sendmail's own, is first kept as `X.db.sendmail`: the way back.

use crate::Stamp;
use mail::database::compiled;
use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// Mode of a file that replaces none, as sendmail makes them.
const MODE: u32 = 0o640;

/// The file while it has no name.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    new: durable::Nameless,
    /// What it replaces, locked: two who edit one map take turns.
    old: Option<File>,
}

impl NewFile {
    /// Starts one that will be called `path`. Waits until nobody else is making the same one.
    ///
    /// # Errors
    /// The system's, or in sendmail's words why the old file may not be replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        let old = lock_old(path)?;
        let new = durable::Nameless::create(folder(path), MODE)?;
        Ok(Self { path: path.to_owned(), new, old })
    }

    /// The file to write to.
    #[must_use]
    pub fn file(&self) -> &File {
        self.new.file()
    }

    /// The file it will replace; it cannot change meanwhile but by somebody who ignores the lock.
    #[must_use]
    pub fn old(&self) -> Option<&File> {
        self.old.as_ref()
    }

    /// Syncs it and gives it its name. Says where an old file of sendmail was kept.
    ///
    /// # Errors
    /// The system's; the old file is then still in place.
    pub fn put_in_place(self) -> io::Result<Option<PathBuf>> {
        let mut kept = None;
        if let Some(old) = &self.old {
            let data = old.metadata()?;
            self.file().set_permissions(std::fs::Permissions::from_mode(data.mode() & 0o777))?;
            // Only root may give files away; anybody else replaces it by his own.
            let _as_far_as_allowed = fchown(self.file(), Some(data.uid()), Some(data.gid()));
            kept = keep(&self.path, old)?;
        }
        let name = self.path.file_name().ok_or(ErrorKind::InvalidInput)?;
        self.new.replace(name)?;
        Ok(kept)
    }
}

/// Opens a file for reading. A FIFO does not make us wait for its writer.
///
/// # Errors
/// The system's.
pub fn open_at_once(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The name under which sendmail's own file is kept.
fn kept_name(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".sendmail");
    PathBuf::from(name)
}

fn lock_old(path: &Path) -> io::Result<Option<File>> {
    loop {
        let data = match path.symlink_metadata() {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        may_replace(path, &data)?;
        let flags = (rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK).bits();
        let file = File::options().read(true).custom_flags(flags.cast_signed()).open(path)?;
        durable::wait_for_lock(&file)?;
        // Whoever had the lock may have put another file in place.
        let same = |other: &Metadata| (other.dev(), other.ino()) == (data.dev(), data.ino());
        if path.symlink_metadata().is_ok_and(|now| same(&now)) && same(&file.metadata()?) {
            return Ok(Some(file));
        }
    }
}

fn may_replace(path: &Path, data: &Metadata) -> io::Result<()> {
    let refused = |what: &str| Err(io::Error::other(what.to_owned()));
    if data.is_symlink() {
        return refused("Symbolic links not allowed");
    }
    if !data.is_file() {
        return refused("Regular files only");
    }
    // Ours: the second name that keeps sendmail's file, if a crash came before the rename.
    let ours =
        || kept_name(path).symlink_metadata().is_ok_and(|kept| (kept.dev(), kept.ino()) == (data.dev(), data.ino()));
    if data.nlink() > 1 && !(data.nlink() == 2 && ours()) {
        return refused("Hard links not allowed");
    }
    Ok(())
}

/// Keeps a file that is not ours by a second name; the first name goes to the new file in one step, so a reader never misses it.
fn keep(path: &Path, old: &File) -> io::Result<Option<PathBuf>> {
    let mut start = [0; 16];
    let read = durable::read_at_most(old, &mut start, 0)?;
    let to = kept_name(path);
    if read == 0 || compiled::is_one(&start) || to.symlink_metadata().is_ok() {
        return Ok(None);
    }
    match durable::link(path, &to) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
        // A file system without links.
        Err(_) => copy(old, &to)?,
    }
    durable::sync_folder(folder(path))?;
    Ok(Some(to))
}

fn copy(old: &File, to: &Path) -> io::Result<()> {
    let data = old.metadata()?;
    let new = durable::Nameless::create(folder(to), data.mode() & 0o777)?;
    let (mut offset, mut buffer) = (0, vec![0; 1 << 16]);
    loop {
        let read = durable::read_at_most(old, &mut buffer, offset)?;
        let Some(part) = buffer.get(..read).filter(|part| !part.is_empty()) else {
            break;
        };
        durable::write_all_at(new.file(), part, offset)?;
        offset += read as u64;
    }
    let _as_far_as_allowed = fchown(new.file(), Some(data.uid()), Some(data.gid()));
    new.file().set_modified(data.modified()?)?;
    new.replace(to.file_name().ok_or(ErrorKind::InvalidInput)?)
}

/// What a compiled table is made from, for an open text: its name only if it is a file that still has one, for lines and times mean
/// nothing elsewhere. `path` is the name if the caller knows it; otherwise the kernel is asked (`makemap hash x <x`).
///
/// # Errors
/// The system's.
pub fn origin(text: &File, path: Option<&Path>) -> io::Result<crate::Origin> {
    let data = text.metadata()?;
    let descriptor = format!("/proc/self/fd/{}", text.as_raw_fd());
    let path = path.map(Path::to_owned).or_else(|| std::fs::read_link(descriptor).ok());
    let same = |other: Metadata| (other.dev(), other.ino()) == (data.dev(), data.ino());
    let path = path.filter(|path| data.is_file() && path.metadata().is_ok_and(same));
    let Some(name) = path.as_deref().and_then(Path::to_str).filter(|name| name.len() <= mail::database::layout::NAME)
    else {
        return Ok(crate::Origin::default());
    };
    let stamp = Stamp::of(text)?;
    let modified = i64::try_from(stamp.modified).unwrap_or(0);
    Ok(crate::Origin { name: name.to_owned(), size: stamp.size, modified })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Duplicate, Origin, Writer};

    fn make(path: &Path, value: &[u8]) -> io::Result<Option<PathBuf>> {
        let new = NewFile::create(path)?;
        let mut writer = Writer::new(new.file());
        writer.put(b"k", value, 1, Duplicate::Keep)?;
        writer.finish(Origin::default())?;
        new.put_in_place()
    }

    fn value(path: &Path) -> Vec<u8> {
        let table = crate::Database::new("x".into(), File::open(path).unwrap()).unwrap();
        table.get(b"k").unwrap().unwrap().value
    }

    #[test]
    fn replaces_in_one_step_and_keeps_sendmails_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        assert_eq!(make(&path, b"one").unwrap(), None);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640 & !umask());
        std::fs::write(&path, b"old berkeley file").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        let kept = make(&path, b"two").unwrap().unwrap();
        assert_eq!(kept, folder.path().join("x.db.sendmail"));
        assert_eq!(std::fs::read(&kept).unwrap(), b"old berkeley file");
        assert_eq!((value(&path), path.metadata().unwrap().mode() & 0o777), (b"two".to_vec(), 0o604));
        // A second one is not kept: the first is the way back.
        std::fs::write(&path, b"another").unwrap();
        assert_eq!(make(&path, b"three").unwrap(), None);
        assert_eq!(std::fs::read(&kept).unwrap(), b"old berkeley file");
        assert_eq!(value(&path), b"three");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    fn umask() -> u32 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
        u32::from_str_radix(line.trim(), 8).unwrap()
    }

    #[test]
    fn links_are_refused_but_for_our_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.db");
        std::fs::write(&path, b"old").unwrap();
        std::fs::hard_link(&path, folder.path().join("other")).unwrap();
        assert_eq!(make(&path, b"v").unwrap_err().to_string(), "Hard links not allowed");
        std::fs::remove_file(folder.path().join("other")).unwrap();
        // As after a crash between keeping and renaming.
        std::fs::hard_link(&path, folder.path().join("x.db.sendmail")).unwrap();
        assert_eq!(make(&path, b"v").unwrap(), None);
        assert_eq!(value(&path), b"v");
        let link = folder.path().join("l.db");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(make(&link, b"v").unwrap_err().to_string(), "Symbolic links not allowed");
        assert_eq!(make(folder.path(), b"v").unwrap_err().to_string(), "Regular files only");
    }

    #[test]
    fn a_file_system_without_links_gets_a_copy() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        std::fs::write(&from, vec![7; 200_000]).unwrap();
        copy(&File::open(&from).unwrap(), &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), vec![7; 200_000]);
        assert_eq!(to.metadata().unwrap().mtime(), from.metadata().unwrap().mtime());
    }
}
