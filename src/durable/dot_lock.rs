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
/// Of a lock of ours that is still empty: nobody else makes such. Who is killed in this moment must not hold up mail for minutes.
const UNFINISHED: u32 = 0o200;
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

    fn new(file: File, path: PathBuf) -> Result<Self, Failure> {
        let stat = fs::fstat(&file).map_err(failed("stat dot-lock"))?;
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
    /// One of ours that should have written into it at once.
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

/// What we saw of somebody else's lock while waiting.
#[derive(Default)]
pub(super) struct Watch {
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
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = fs::open(path, flags, Mode::empty()).ok().map(File::from);
        let file = file.filter(|file| fs::fstat(file).is_ok_and(|now| same(&now, &stat)));
        let mut content = Vec::new();
        if let Some(file) = &file {
            let _ = file.take(512).read_to_end(&mut content);
        }
        let holder = match stat {
            Stat { st_size: 0, st_mode, st_uid, .. }
                if st_mode & 0o7777 == UNFINISHED && st_uid == rustix::process::geteuid().as_raw() =>
            {
                Holder::Unfinished
            }
            _ => holder(&String::from_utf8_lossy(&content), Machine::here()),
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
    if let Some(file) = file
        && fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_err()
    {
        return Err(busy());
    }
    match fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) if same(&now, stale) => fs::unlink(path).map_err(failed("remove stale dot-lock")),
        Ok(_) => Err(busy()),
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_lock_is_known_and_a_dead_holder_is_gone_at_once() {
        let here = Machine::here();
        assert_eq!(holder(signature(), here), Holder::Alive);
        let pid = std::process::id();
        let text = |pid: u32, machine: &str, start: u64| format!("{pid}\npostrider {machine} {start}\n");
        // The pid lives, but it is not the process that made the lock.
        assert_eq!(holder(&text(pid, &here.text(), 1), here), Holder::Gone);
        assert_eq!(holder(&text(0x3fff_fff0, &here.text(), 5), here), Holder::Gone);
        let mut other = here.clone();
        other.boot = "another-boot".into();
        assert_eq!(holder(&text(pid, &other.text(), 5), here), Holder::Gone);
        other.host = "elsewhere".into();
        assert_eq!(holder(&text(0x3fff_fff0, &other.text(), 5), here), Holder::Unknown);
        let mut other = here.clone();
        other.namespace = "pid:[1]".into();
        assert_eq!(holder(&text(0x3fff_fff0, &other.text(), 5), here), Holder::Unknown);
    }

    #[test]
    fn foreign_locks_are_judged_by_pid_and_age() {
        let here = Machine::here();
        assert_eq!(holder("", here), Holder::Unknown);
        assert_eq!(holder("not a pid", here), Holder::Unknown);
        assert_eq!(holder("0\n", here), Holder::Unknown);
        assert_eq!(holder(&format!("{}\n", std::process::id()), here), Holder::Alive);
        assert_eq!(holder("1073741808\n", here), Holder::Dead);
        assert_eq!(holder(&format!("1073741808:{}\n", here.host), here), Holder::Dead);
        assert_eq!(holder("1073741808:elsewhere.example\n", here), Holder::Unknown);
        let long = Duration::from_secs(60);
        assert!(is_stale(Holder::Gone, 0, Duration::ZERO));
        assert!(!is_stale(Holder::Unfinished, 0, Duration::ZERO) && is_stale(Holder::Unfinished, 0, WATCHED));
        assert!(!is_stale(Holder::Dead, 30, long) && is_stale(Holder::Dead, 61, Duration::ZERO));
        assert!(!is_stale(Holder::Unknown, 299, long) && is_stale(Holder::Unknown, 301, long));
        assert!(!is_stale(Holder::Unknown, 301, Duration::ZERO));
        assert!(!is_stale(Holder::Alive, 1_000, long) && is_stale(Holder::Alive, 1_025, long));
    }

    #[test]
    fn a_lock_has_its_content_and_leaves_nothing_behind() {
        let folder = std::env::temp_dir().join(format!("postrider-fresh-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("alice.lock");
        let lock = DotLock::take(&folder.join("alice"), &mut Watch::default()).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), signature());
        assert_eq!(create(&path).unwrap_err(), Errno::EXIST);
        assert!(now_beside(&path).is_some_and(|now| (0..5).contains(&(now - lock.stat.st_mtime))));
        drop(lock);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "no litter");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn an_old_foreign_lock_goes_when_it_stood_unchanged_before_our_eyes_a_touched_one_stays() {
        let folder = std::env::temp_dir().join(format!("postrider-stale-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (mailbox, path) = (folder.join("alice"), folder.join("alice.lock"));
        let old = |seconds: i64| {
            let file = File::create(&path).unwrap();
            let then = std::time::SystemTime::now() - Duration::from_secs(seconds.unsigned_abs());
            file.set_modified(then).unwrap();
        };
        let mut watch = Watch::default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        drop(fs::open(&path, flags, Mode::from_raw_mode(UNFINISHED)).unwrap());
        assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "it may be written this moment");
        watch.seen.as_mut().unwrap().1 -= Duration::from_secs(3);
        drop(DotLock::take(&mailbox, &mut watch).unwrap());
        let mut watch = Watch::default();
        let seen_long_ago = |watch: &mut Watch| {
            let (_, since) = watch.seen.as_mut().unwrap();
            *since -= Duration::from_secs(3);
        };
        old(400);
        assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "at first sight");
        seen_long_ago(&mut watch);
        old(360);
        assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "its holder touched it");
        seen_long_ago(&mut watch);
        let lock = DotLock::take(&mailbox, &mut watch).unwrap();
        // Somebody takes ours for stale and makes his own: his is not removed.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(lock);
        assert_eq!(std::fs::read(&path).unwrap(), b"1\n");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no litter");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
