//! The dot-lock `MAILBOX.lock`: making it, knowing a stale one, giving it back. Only for `mailbox_lock`.
//! Rules: reference/mbox-locking.md §5 steps 2, 8, 10, 11; R-30.

use super::{Failure, failed, same};
use rustix::fs::{self, AtFlags, CWD, FlockOperation, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_NOW};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// liblockfile's rule: a lock of unknown holder this old (seconds) is stale.
const STALE: i64 = 300;
/// procmail's rule, for a holder that seems to live.
const STALE_ALIVE: i64 = 1_024;
/// For a foreign lock whose pid is dead here: the pid may be another machine's.
const STALE_DEAD: i64 = 60;
/// Whoever holds a lock longer than this touches it (step 11).
const TOUCH: Duration = Duration::from_secs(60);
/// Of a lock of ours that is still empty or has just got its content, which nobody can read yet: nobody else makes such. Who is killed in
/// this moment must not hold up mail for minutes.
const UNFINISHED: u32 = 0o200;
/// No lock holds more than a pid and a few names, bytes.
const LARGEST: u64 = 512;
/// A lock must have stood unchanged at least this long under our eyes before its age counts.
const WATCHED: Duration = Duration::from_secs(2);

/// `MAILBOX.lock`, ours.
#[derive(Debug)]
pub(super) struct DotLock {
    file: File,
    path: PathBuf,
    stat: Stat,
    touched: Instant,
}

impl DotLock {
    pub(super) fn take(mailbox: &Path, watch: &mut Watch) -> Result<Self, Failure> {
        let mut path = mailbox.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        // Twice: once more after a stale lock was removed or another holder has just let go.
        for _ in 0..2 {
            match create(&path) {
                Ok(file) => return Self::new(file, path),
                Err(Errno::EXIST) => watch.look(&path)?,
                Err(errno) => return Err(failed("create dot-lock")(errno)),
            }
        }
        Err(Failure::Busy(format!("{} is there", path.display())))
    }

    /// None where the folder takes no new files from us, or where what has the lock's name is none.
    pub(super) fn take_if_allowed(file: &Path, watch: &mut Watch) -> Result<Option<Self>, Failure> {
        const FORBIDDEN: [Errno; 4] = [Errno::ACCESS, Errno::PERM, Errno::ROFS, Errno::NAMETOOLONG];
        match Self::take(file, watch) {
            Ok(lock) => Ok(Some(lock)),
            Err(Failure::Refused(_)) => Ok(None),
            Err(Failure::Io(_, error)) if Errno::from_io_error(&error).is_some_and(|e| FORBIDDEN.contains(&e)) => {
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn new(file: File, path: PathBuf) -> Result<Self, Failure> {
        let stat = fs::fstat(&file).map_err(|errno| {
            let _ = fs::unlink(&path);
            failed("stat dot-lock")(errno)
        })?;
        if stat.st_nlink == 0 {
            // We were so slow that somebody took it for unfinished.
            return Err(Failure::Busy(format!("{} was taken away", path.display())));
        }
        let touched = Instant::now();
        Ok(Self { file, path, stat, touched })
    }

    pub(super) fn touch_if_due(&mut self) {
        if self.touched.elapsed() >= TOUCH {
            let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
            let times = Timestamps { last_access: now, last_modification: now };
            let _ = fs::futimens(&self.file, &times);
            self.touched = Instant::now();
        }
    }
}

impl Drop for DotLock {
    fn drop(&mut self) {
        // Step 8: somebody may have taken it for stale and made his own.
        if let Ok(now) = fs::statat(CWD, &self.path, AtFlags::SYMLINK_NOFOLLOW)
            && same(&now, &self.stat)
        {
            let _ = fs::unlink(&self.path);
        }
    }
}

/// Made by `O_EXCL`, which is one step on every file system there is today, NFS from version 3 on (step 2); a file made before and linked
/// costs twice the time. Until it has its content it has the mode [`UNFINISHED`].
fn create(path: &Path) -> Result<File, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(fs::open(path, flags, Mode::from_raw_mode(UNFINISHED))?);
    let whole = (&file).write_all(signature().as_bytes());
    let whole = whole.and_then(|()| Ok(fs::fchmod(&file, Mode::from_raw_mode(0o644))?));
    whole.map_err(|error| {
        let _ = fs::unlink(path);
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    })?;
    Ok(file)
}

/// The file system's own clock, for NFS servers have another: the time of a file made beside `path`, without a name where that is possible.
fn now_beside(path: &Path) -> Option<i64> {
    let folder = path.parent()?;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = match fs::open(folder, flags, Mode::RUSR) {
        Ok(file) => file.into(),
        Err(_) => {
            let name = folder.join(format!(".lk{}", std::process::id()));
            let file = create(&name);
            let _ = fs::unlink(&name);
            file.ok()?
        }
    };
    fs::fstat(&file).ok().map(|stat| stat.st_mtime)
}

/// What stands in our locks: the pid for everybody, then what lets us know our own again.
fn signature() -> &'static str {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let pid = std::process::id();
        format!("{pid}\npostrider {} {}\n", Machine::here().text(), start_time(pid).unwrap_or(0))
    })
}

/// Where a pid means something.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Machine {
    host: String,
    boot: String,
    namespace: String,
}

impl Machine {
    fn here() -> &'static Self {
        static HERE: OnceLock<Machine> = OnceLock::new();
        HERE.get_or_init(|| {
            let word = |text: Option<String>| text.unwrap_or_default().split_whitespace().collect::<String>();
            let host = rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
            let link = std::fs::read_link("/proc/self/ns/pid").ok();
            Machine {
                host: word(host),
                boot: word(std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()),
                namespace: word(link.map(|link| link.to_string_lossy().into_owned())),
            }
        })
    }
    fn text(&self) -> String {
        format!("{} {} {}", self.host, self.boot, self.namespace)
    }
}

/// Who holds a lock, as far as its content says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// One of ours that is certainly gone.
    Gone,
    /// One of ours that should have finished it at once.
    Unfinished,
    /// A process that lives here.
    Alive,
    /// Not ours, and there is no such process here.
    Dead,
    /// Nothing is known.
    Unknown,
}

fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is in brackets and may itself hold brackets and spaces; field 22 is the start.
    stat.get(stat.rfind(')')? + 1..)?.split_whitespace().nth(19)?.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(Errno::SRCH))
}

fn holder(content: &str, here: &Machine) -> Holder {
    let mut lines = content.lines();
    let first = lines.next().unwrap_or_default().trim();
    // Dovecot writes `PID:HOST`.
    let (pid, at) = first.split_once(':').map_or((first, None), |(pid, host)| (pid, Some(host)));
    let pid = pid.parse::<u32>().ok().filter(|pid| *pid > 0);
    let (Some(pid), true) = (pid, at.is_none_or(|host| host == here.host)) else {
        return Holder::Unknown;
    };
    let alive = is_alive(pid);
    let words: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
    let &["postrider", host, boot, namespace, start] = words.as_slice() else {
        return if alive { Holder::Alive } else { Holder::Dead };
    };
    if host != here.host || boot.is_empty() {
        return Holder::Unknown;
    }
    if boot != here.boot {
        return Holder::Gone;
    }
    if namespace != here.namespace {
        return Holder::Unknown;
    }
    match (alive, start_time(pid), start.parse::<u64>()) {
        (false, ..) => Holder::Gone,
        // The pid was given to another process.
        (true, Some(now), Ok(then)) if now != then && then != 0 => Holder::Gone,
        _ => Holder::Alive,
    }
}

/// Step 10, on values: is a lock of this age, unchanged for so long before our eyes, stale?
fn is_stale(holder: Holder, age: i64, watched: Duration) -> bool {
    match holder {
        Holder::Gone => true,
        Holder::Unfinished => watched >= WATCHED,
        Holder::Dead => age > STALE_DEAD,
        Holder::Unknown => age > STALE && watched >= WATCHED,
        Holder::Alive => age > STALE_ALIVE && watched >= WATCHED,
    }
}

/// Somebody may have a mailbox of that name: it is never taken away, however old. So is somebody's file that we may not read.
fn is_no_lock(stat: &Stat, content: Option<&[u8]>) -> bool {
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    let is_mail = match content {
        Some(content) => content.starts_with(b"From "),
        None => size > 0 && stat.st_uid != rustix::process::geteuid().as_raw(),
    };
    fs::FileType::from_raw_mode(stat.st_mode).is_file() && (size > LARGEST || is_mail)
}

/// What we saw of somebody else's lock while waiting.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Option<(Stat, Instant)>,
}

impl Watch {
    /// Removes the lock if it is stale; otherwise busy.
    fn look(&mut self, path: &Path) -> Result<(), Failure> {
        let stat = match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("stat dot-lock")(errno)),
        };
        let unchanged = |old: &Stat| same(old, &stat) && old.st_mtime == stat.st_mtime;
        let since = match &self.seen {
            Some((old, since)) if unchanged(old) => *since,
            _ => Instant::now(),
        };
        self.seen = Some((stat, since));
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let open = |how| fs::open(path, flags | how, Mode::empty());
        // Ours, unfinished, can only be written.
        let file = open(OFlags::RDONLY).or_else(|_| open(OFlags::WRONLY)).ok().map(File::from);
        let file = file.filter(|file| fs::fstat(file).is_ok_and(|now| same(&now, &stat)));
        let read = |file: &File| {
            let mut content = Vec::new();
            file.take(LARGEST).read_to_end(&mut content).ok().map(|_| content)
        };
        let content = file.as_ref().and_then(read);
        if is_no_lock(&stat, content.as_deref()) {
            return Err(Failure::Refused(format!("{} is there and is no lock", path.display())));
        }
        let holder = match stat {
            Stat { st_mode, st_uid, .. }
                if st_mode & 0o7777 == UNFINISHED && st_uid == rustix::process::geteuid().as_raw() =>
            {
                Holder::Unfinished
            }
            _ => holder(&String::from_utf8_lossy(&content.unwrap_or_default()), Machine::here()),
        };
        let age = now_beside(path).map_or(0, |now| now - stat.st_mtime);
        if !is_stale(holder, age, since.elapsed()) {
            return Err(Failure::Busy(format!("{} is held", path.display())));
        }
        remove_stale(path, &stat, file.as_ref())
    }
}

/// Two of ours may find the same lock stale: the second must not remove the first one's new lock. So the
/// stale file itself is locked while it is compared and removed.
fn remove_stale(path: &Path, stale: &Stat, file: Option<&File>) -> Result<(), Failure> {
    let busy = || Failure::Busy(format!("{} is stale and being removed", path.display()));
    // Any other error is a file system's own (NFS locks only what may be written): then nothing is held up by it.
    if let Some(file) = file
        && fs::flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
    {
        return Err(busy());
    }
    match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        // Nobody has written into it since it was judged.
        Ok(now) if same(&now, stale) && now.st_size == stale.st_size => {
            fs::unlink(path).map_err(failed("remove stale dot-lock"))
        }
        Ok(_) => Err(busy()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
#[path = "dot_lock_test.rs"]
mod tests;
