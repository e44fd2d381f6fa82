//! Locks a mailbox file against every program that may touch it, and appends to it so that it is whole or
//! unchanged. Called by `mailbox` (the agents). Rules: reference/mbox-locking.md §5, whose step numbers
//! stand in the comments; requirements, S-47, S-48.
//!
//! Order: dot-lock, then the kernel's lock without waiting; if that is taken the dot-lock is given back
//! before we sleep, because the readers take the two the other way round.

#[path = "dot_lock.rs"]
mod dot_lock;

use crate::sync_folder;
use dot_lock::DotLock;
pub use dot_lock::Watch;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why a mailbox could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// What stands at the path is not a mailbox we may write: link, foreign owner, not a regular file.
    #[error("{0}")]
    Refused(String),
    /// Somebody else holds a lock.
    #[error("{0}")]
    Busy(String),
    /// A system call failed.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
}

fn failed(step: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure::Io(step, errno.into())
}

/// An open mailbox under both locks. Dropped without [`Mailbox::commit`] it is cut back to its old size.
#[derive(Debug)]
pub struct Mailbox {
    // Declared before `file`: the dot-lock goes first, the kernel's lock by the closing after it (step 7).
    dot: DotLock,
    file: File,
    path: PathBuf,
    /// Its size under the locks; nothing below is ours.
    before: u64,
    /// Its size as far as we know.
    end: u64,
    atime: Timespec,
    appended: bool,
    settled: bool,
}

impl Mailbox {
    /// Opens (creating it if absent) and locks. `pause` sleeps for the given time and says whether to go on.
    ///
    /// # Errors
    /// [`Failure::Busy`] after `patience`, or when `pause` says no; the others at once.
    pub fn lock(
        path: &Path,
        owner: u32,
        patience: Duration,
        pause: &mut dyn FnMut(Duration) -> bool,
    ) -> Result<Self, Failure> {
        let started = Instant::now();
        let mut watch = Watch::default();
        loop {
            let why = match Self::attempt(path, owner, &mut watch) {
                Err(Failure::Busy(why)) => why,
                other => return other,
            };
            if started.elapsed() >= patience || !pause(delay()) {
                return Err(Failure::Busy(why));
            }
        }
    }

    fn attempt(path: &Path, owner: u32, watch: &mut Watch) -> Result<Self, Failure> {
        judge_folder(path)?;
        let dot = DotLock::take(path, watch)?;
        let file = open(path, owner)?;
        let stat = judge_file(path, &file, owner)?;
        if !kernel_lock(&file)? {
            return Err(Failure::Busy(format!("{} is locked by another program", path.display())));
        }
        // Step 4: a script may have renamed the file while we waited.
        match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(now) if same(&now, &stat) => {}
            Ok(_) | Err(Errno::NOENT) => {
                return Err(Failure::Busy(format!("{} was replaced meanwhile", path.display())));
            }
            Err(errno) => return Err(failed("stat mailbox")(errno)),
        }
        // The size counts only now, under both locks.
        let stat = judge_file(path, &file, owner)?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Self {
            dot,
            file,
            path: path.to_owned(),
            before: size,
            end: size,
            atime: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
            appended: false,
            settled: false,
        })
    }

    /// Size in bytes when the locks were taken.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.before
    }

    /// Reads at `offset`; fewer bytes only at the end.
    ///
    /// # Errors
    /// The system call's.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, offset + got as u64) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }

    /// Appends; touches the dot-lock when a minute has passed.
    ///
    /// # Errors
    /// The system call's, or a program without our locks has cut the file (movemail, mbox-locking.md §6); the caller lets go, which
    /// cuts the file back.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.dot.touch_if_due();
        self.appended = true;
        (&self.file).write_all(bytes)?;
        let end = (&self.file).stream_position()?;
        let begin = end.saturating_sub(bytes.len() as u64);
        if begin < self.end {
            self.before = self.before.min(begin);
            return Err(self.cut_by_another());
        }
        self.end = end;
        Ok(())
    }

    fn cut_by_another(&self) -> io::Error {
        io::Error::other(format!("another program cut {} short while we had its locks", self.path.display()))
    }

    /// Takes away the end of the old content, from `size` on: a piece of the very message that is delivered now, left by an
    /// agent that died. It does not come back if this delivery fails.
    ///
    /// # Errors
    /// The system call's; nothing has changed.
    pub fn drop_tail(&mut self, size: u64) -> io::Result<()> {
        let size = size.min(self.before);
        shrink(&self.file, size)?;
        (self.before, self.end) = (size, size);
        Ok(())
    }

    /// Cuts off everything from `size` on (an item that failed in the middle), never below the old size.
    ///
    /// # Errors
    /// The system call's.
    pub fn cut(&mut self, size: u64) -> io::Result<()> {
        self.end = size.max(self.before);
        shrink(&self.file, self.end)
    }

    /// Sets atime before mtime (step 6), syncs, and lets go of the locks.
    ///
    /// # Errors
    /// The sync's, or what we wrote is there no more; the file is then cut back.
    pub fn commit(mut self) -> io::Result<()> {
        self.settle_atime();
        if let Err(error) = self.sync().and_then(|()| self.still_there()) {
            return Err(self.give_up(error));
        }
        self.settled = true;
        Ok(())
    }

    /// Cuts the file back to its old size and lets go. Returns `error`, and with it that this failed too: a longer file holds
    /// a message that will come again.
    #[must_use]
    pub fn give_up(mut self, error: io::Error) -> io::Error {
        self.settled = true;
        let outcome = shrink(&self.file, self.before);
        self.settle_atime();
        match outcome {
            Ok(()) => error,
            Err(second) => io::Error::other(format!("{error}; cutting it back: {second}")),
        }
    }

    fn sync(&self) -> io::Result<()> {
        if self.before > 0 {
            return self.file.sync_data();
        }
        // It may have been made a moment ago, also by an attempt that then failed: its name must last as well.
        self.file.sync_all()?;
        sync_folder(self.path.parent().unwrap_or(Path::new("/")))
    }

    /// Whether the file is as long as we made it. Between this look and the locks' end nobody can help.
    fn still_there(&self) -> io::Result<()> {
        if self.file.metadata()?.len() < self.end { Err(self.cut_by_another()) } else { Ok(()) }
    }

    /// Lets go without a sync: nothing was appended.
    pub fn release(mut self) {
        self.settled = true;
    }

    /// "New mail" is mtime > atime, for most programs in whole seconds; reading the tail has changed atime.
    fn settle_atime(&self) {
        let Ok(stat) = fs::fstat(&self.file) else { return };
        let mut atime = self.atime;
        if self.appended && atime.tv_sec >= stat.st_mtime {
            atime.tv_sec = stat.st_mtime - 1;
        }
        let times = Timestamps { last_access: atime, last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT } };
        // Only comfort depends on it; some file systems refuse.
        let _ = fs::futimens(&self.file, &times);
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if !self.settled {
            // Nothing better is possible here.
            let _ = shrink(&self.file, self.before);
            self.settle_atime();
        }
    }
}

/// Cuts a file back to `size`. A shorter one stays as it is: zeros would fill what another program has cut off.
///
/// # Errors
/// The system call's.
pub fn shrink(file: &File, size: u64) -> io::Result<()> {
    if file.metadata()?.len() > size { file.set_len(size) } else { Ok(()) }
}

/// The locks of an open file that is kept as an mbox in a place of somebody's choice: a mailbox's two, and the `flock` that sendmail takes.
/// The kernel's end with the file, so this is to be dropped before it (step 7).
#[derive(Debug)]
pub struct FileLock(Option<DotLock>);

impl FileLock {
    /// Takes them without waiting; no dot-lock without `dot`, the file's path, or where the folder forbids one.
    ///
    /// # Errors
    /// [`Failure::Busy`] if somebody holds one of them.
    pub fn take(file: &File, dot: Option<&Path>, watch: &mut Watch) -> Result<Self, Failure> {
        let dot = dot.map(|path| DotLock::take_if_allowed(path, watch)).transpose()?.flatten();
        let flocked = crate::lock::try_lock(file).map_err(|error| Failure::Io("lock", error))?;
        if flocked && kernel_lock(file)? { Ok(Self(dot)) } else { Err(Failure::Busy("by another program".to_owned())) }
    }

    /// To be called now and then while one writes (step 11).
    pub fn touch_if_due(&mut self) {
        self.0.iter_mut().for_each(DotLock::touch_if_due);
    }
}

/// Where anybody may rename and remove files, nobody's mailbox stays his (S-47).
fn judge_folder(mailbox: &Path) -> Result<(), Failure> {
    let folder = mailbox.parent().unwrap_or(Path::new("/"));
    let mode = fs::stat(folder).map_err(failed("stat mailbox's folder"))?.st_mode;
    if mode & 0o1002 == 0o002 {
        return Err(Failure::Refused(format!("everybody may write in {}, which has no sticky bit", folder.display())));
    }
    Ok(())
}

fn open(path: &Path, owner: u32) -> Result<File, Failure> {
    let flags = OFlags::RDWR | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    match fs::open(path, flags, Mode::empty()) {
        Ok(file) => return Ok(file.into()),
        Err(Errno::NOENT) => {}
        Err(Errno::LOOP) => return Err(Failure::Refused(format!("{} is a symbolic link", path.display()))),
        Err(Errno::ISDIR | Errno::NXIO) => {
            return Err(Failure::Refused(format!("{} is not a regular file", path.display())));
        }
        Err(Errno::ACCESS) => {
            let foreign = fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok().filter(|stat| stat.st_uid != owner);
            return Err(foreign.map_or_else(
                || failed("open mailbox")(Errno::ACCESS),
                |stat| Failure::Refused(owned_by(path, stat.st_uid, owner)),
            ));
        }
        Err(errno) => return Err(failed("open mailbox")(errno)),
    }
    // 0600: with group access every mailbox agent (group mail) could write everybody's box.
    match fs::open(path, flags | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(file.into()),
        Err(Errno::EXIST) => Err(Failure::Busy(format!("{} has just been created", path.display()))),
        Err(errno) => Err(failed("create mailbox")(errno)),
    }
}

fn judge_file(path: &Path, file: &File, owner: u32) -> Result<Stat, Failure> {
    let stat = fs::fstat(file).map_err(failed("stat mailbox"))?;
    let name = path.display();
    if !fs::FileType::from_raw_mode(stat.st_mode).is_file() {
        Err(Failure::Refused(format!("{name} is not a regular file")))
    } else if stat.st_uid != owner {
        Err(Failure::Refused(owned_by(path, stat.st_uid, owner)))
    } else if stat.st_nlink > 1 {
        Err(Failure::Refused(format!("{name} has more than one link")))
    } else {
        Ok(stat)
    }
}

fn owned_by(path: &Path, other: u32, owner: u32) -> String {
    format!("{} is owned by uid {other}, not {owner}", path.display())
}

fn same(a: &Stat, b: &Stat) -> bool {
    a.st_dev == b.st_dev && a.st_ino == b.st_ino
}

/// The kernel's lock on the whole file, without waiting. Open-file locks, because closing any other
/// descriptor of the file would drop a process's ordinary ones; old file systems know only those.
fn kernel_lock(file: &File) -> Result<bool, Failure> {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    let whole = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    let mut outcome = fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&whole));
    if outcome == Err(nix::Error::EINVAL) {
        outcome = fcntl(file.as_fd(), FcntlArg::F_SETLK(&whole));
    }
    match outcome {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(errno) => Err(Failure::Io("lock mailbox", errno.into())),
    }
}

/// Syncs a finished file and moves it from `name` in `from` to `target` in `to`, replacing nothing (Maildir's
/// tmp → new). The caller syncs `to` once for all of a batch.
///
/// # Errors
/// The system call's; the file is then still at `name`.
pub fn sync_and_move(file: &File, from: impl AsFd, name: &str, to: impl AsFd, target: &str) -> io::Result<()> {
    use nix::fcntl::{RenameFlags, renameat, renameat2};
    file.sync_all()?;
    match renameat2(&from, name, &to, target, RenameFlags::RENAME_NOREPLACE) {
        // Not every file system knows the flag; names are unique anyhow.
        Err(nix::Error::EINVAL | nix::Error::ENOSYS) => Ok(renameat(&from, name, &to, target)?),
        other => Ok(other?),
    }
}

/// A second with a random part, so that two waiting programs do not stay in step.
fn delay() -> Duration {
    let nanos = std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |t| t.subsec_nanos());
    Duration::from_millis(750 + u64::from((nanos ^ std::process::id()) % 500))
}

#[cfg(test)]
#[path = "mailbox_lock_test.rs"]
mod tests;
