//! Appending messages to a file that an alias or a `.forward` names (sendmail.md 3.1, `*file*` mailer): as mbox, under its locks,
//! synced, cut back on any failure. Commit point: the sync.
//!
//! Refused: links, devices (but /dev/null), FIFOs, further names, set-id and executable files, somebody else's, and what others may write.

use crate::convert::{Converter, CopyError, copy};
use crate::found::{self, Stored};
use crate::mbox::{Message, head, trouble};
use crate::trusted::{self, Refusal, Trust};
use call::agent::Done;
use durable::mailbox_lock::{self, FileLock, Watch};
use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for the lock.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);
/// Written at once.
const BUFFER: usize = 256 << 10;

/// Delivers in order; one result for each message. `pause` sleeps and says whether to go on.
pub(crate) fn deliver(
    messages: &[Message<'_>],
    path: &Path,
    owner: u32,
    pause: &mut dyn FnMut(Duration) -> bool,
) -> Vec<Done> {
    let all = |done: Done| vec![done; messages.len()];
    let name = path.display();
    if path == Path::new("/dev/null") {
        return all(Done::Delivered("file /dev/null".to_owned()));
    }
    let Locked { file, read, mut lock } = match lock(path, owner, pause) {
        Ok(locked) => locked,
        Err(Failure::Refused(why)) => return all(Done::Temporary(2, 0, format!("file {name} refused: {why}"))),
        Err(Failure::Busy(why)) => return all(Done::Temporary(2, 0, format!("file {name} is locked: {why}"))),
        Err(Failure::Io(error)) => return all(trouble(&format!("open {name}"), &error)),
    };
    let begun = drop_torn(&file, messages.iter().filter(|_| read));
    let (before, mut gap) = match begun.and_then(|size| Ok((size, gap(&file, size, read)?))) {
        Ok(begun) => begun,
        Err(error) => return all(trouble(&format!("read {name}"), &error)),
    };
    let mut results = Vec::with_capacity(messages.len());
    let mut size = before;
    for message in messages {
        match is_there(&file, size, message, read) {
            Ok(false) => {}
            Ok(true) => {
                results.push(Done::Delivered(format!("file {name}")));
                continue;
            }
            Err(error) => return all(undo(&file, before, &name.to_string(), &error)),
        }
        match append(&file, &mut lock, gap, message) {
            Ok(count) => {
                size += count;
                gap = b"";
                results.push(Done::Delivered(format!("file {name}")));
            }
            Err(CopyError::Source(error)) if mailbox_lock::shrink(&file, size).is_ok() => {
                results.push(trouble("read message", &error))
            }
            Err(CopyError::Source(error) | CopyError::Target(error)) => {
                return all(undo(&file, before, &name.to_string(), &error));
            }
        }
    }
    let folder = if before == 0 { path.parent().map_or(Ok(()), durable::sync_folder) } else { Ok(()) };
    match durable::sync(&file).and(folder) {
        Ok(()) => results,
        Err(error) => all(undo(&file, before, &name.to_string(), &error)),
    }
}

/// The file up to a size.
struct Opened<'a>(&'a File, u64);

impl Stored for Opened<'_> {
    fn size(&self) -> u64 {
        self.1
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut got = 0;
        while let Some(rest) = buffer.get_mut(got..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + got as u64) {
                Ok(0) => break,
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(got)
    }
}

/// Takes away what an agent that was killed while it wrote has left of one of these messages; the size then.
fn drop_torn<'a>(file: &File, messages: impl Iterator<Item = &'a Message<'a>>) -> io::Result<u64> {
    let size = file.metadata()?.len();
    for (item, content) in messages.filter(|(item, _)| item.perhaps_delivered) {
        if let Some(start) = found::torn(&Opened(file, size), &head(item), *content)? {
            mailbox_lock::shrink(file, start)?;
            return Ok(start);
        }
    }
    Ok(size)
}

/// What must stand before the next message begins. What may not be read may end anywhere.
fn gap(file: &File, size: u64, read: bool) -> io::Result<&'static [u8]> {
    match (size, read) {
        (0, _) => Ok(b""),
        (_, true) => found::gap(&Opened(file, size)),
        (_, false) => Ok(b"\n"),
    }
}

/// Whether a message that may have been written before stands there. One cannot know where reading is not allowed: it is written again.
fn is_there(file: &File, size: u64, (item, content): &Message<'_>, read: bool) -> io::Result<bool> {
    Ok(read && item.perhaps_delivered && found::has(&Opened(file, size), item, *content)?)
}

fn undo(file: &File, before: u64, name: &str, error: &io::Error) -> Done {
    match mailbox_lock::shrink(file, before) {
        Ok(()) => trouble(&format!("write {name}"), error),
        Err(second) => Done::Temporary(2, 0, format!("cannot write {name}: {error}; cutting it back: {second}")),
    }
}

enum Failure {
    Refused(String),
    Busy(String),
    Io(io::Error),
}

/// The file under its locks.
struct Locked {
    // Before `file`: the dot-lock goes first, the kernel's locks with the closing.
    lock: FileLock,
    file: File,
    /// It may be read.
    read: bool,
}

/// The file, open.
struct Found {
    file: File,
    /// It may be read.
    read: bool,
    /// Nobody else can make files beside it: a dot-lock cannot be used to hold up mail.
    private: bool,
}

fn open(path: &Path, owner: u32) -> Result<Found, Failure> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::Refused("no path of a file".to_owned()));
    };
    // The folder is held open: whatever is put in its place meanwhile is not written to.
    let trust = Trust { owner, file: 0, folders: 0o022, size: 0 };
    let folder = trusted::open_folder(folder, &trust).map_err(|refusal| match refusal {
        Refusal::Unsafe(why) => Failure::Refused(why),
        Refusal::Absent => Failure::Io(Errno::NOENT.into()),
        Refusal::Unavailable(why) => Failure::Io(io::Error::other(why)),
    })?;
    let flags = OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let (both, write) = (flags | OFlags::RDWR, flags | OFlags::WRONLY);
    let mut read = true;
    let file = match fs::openat(&folder, name, both, Mode::empty()) {
        Err(Errno::NOENT) => fs::openat(&folder, name, both | OFlags::CREATE | OFlags::EXCL, Mode::RUSR | Mode::WUSR),
        // A FIFO opens so, as it would not for writing alone; its kind is judged below.
        Err(Errno::ACCESS) => {
            read = false;
            fs::openat(&folder, name, write, Mode::empty())
        }
        other => other,
    };
    let file = File::from(file.map_err(|errno| match errno {
        Errno::LOOP => Failure::Refused("symbolic link".to_owned()),
        Errno::ISDIR | Errno::NXIO => Failure::Refused("not a regular file".to_owned()),
        other => Failure::Io(other.into()),
    })?);
    let stat = |file: &dyn AsFd| fs::fstat(file.as_fd()).map_err(|errno| Failure::Io(errno.into()));
    match fault(&stat(&file)?, owner) {
        Some(why) => Err(Failure::Refused(why.to_owned())),
        None => Ok(Found { private: stat(&folder)?.st_mode & 0o022 == 0, file, read }),
    }
}

fn fault(stat: &Stat, owner: u32) -> Option<&'static str> {
    let mode = stat.st_mode;
    if !FileType::from_raw_mode(mode).is_file() {
        Some("not a regular file")
    } else if stat.st_nlink > 1 {
        Some("more than one link")
    } else if mode & 0o6000 != 0 {
        Some("set-id file")
    } else if mode & 0o111 != 0 {
        Some("executable file")
    } else if stat.st_uid != owner && stat.st_uid != 0 {
        Some("owned by another user")
    } else if mode & 0o002 != 0 {
        Some("world writable file")
    } else {
        None
    }
}

/// Opens it anew for each try: somebody may put another in its place while we wait.
fn lock(path: &Path, owner: u32, pause: &mut dyn FnMut(Duration) -> bool) -> Result<Locked, Failure> {
    let (since, mut watch) = (Instant::now(), Watch::default());
    loop {
        let Found { file, read, private } = open(path, owner)?;
        let why = match FileLock::take(&file, private.then_some(path), &mut watch) {
            Ok(lock) if is_at(path, &file) => return Ok(Locked { lock, file, read }),
            Ok(_) => "it was replaced meanwhile".to_owned(),
            Err(mailbox_lock::Failure::Busy(why)) => why,
            Err(mailbox_lock::Failure::Refused(why)) => return Err(Failure::Refused(why)),
            Err(mailbox_lock::Failure::Io(_, error)) => return Err(Failure::Io(error)),
        };
        // Whatever was taken is given back before we sleep.
        drop(file);
        if since.elapsed() >= PATIENCE || !pause(PAUSE) {
            return Err(Failure::Busy(why));
        }
    }
}

/// Whether it is still the one of that name.
fn is_at(path: &Path, file: &File) -> bool {
    let place = |stat: Stat| (stat.st_dev, stat.st_ino);
    let now = fs::lstat(path).map(place);
    now.is_ok() && now == fs::fstat(file).map(place)
}

/// Appends `gap`, then one message with its From_ line and an empty line behind it; how many bytes that was.
fn append(file: &File, lock: &mut FileLock, gap: &[u8], (item, content): &Message<'_>) -> Result<u64, CopyError> {
    let mut head = [gap, &head(item)].concat();
    let mut written = 0;
    let mut put = |bytes: &mut Vec<u8>| {
        lock.touch_if_due();
        (&mut &*file).write_all(bytes)?;
        written += bytes.len() as u64;
        bytes.clear();
        Ok(())
    };
    copy(*content, Converter::new(true), &mut Vec::new(), &mut head, &mut |out| {
        if out.len() < BUFFER { Ok(()) } else { put(out) }
    })?;
    head.push(b'\n');
    put(&mut head).map_err(CopyError::Target)?;
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::Content;
    use call::agent::Item;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn append_to(path: &Path) -> Vec<Done> {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(b"A: b\r\n\r\nFrom x\r\n").unwrap();
        let item =
            Item { sender: "s@x".into(), from_date: "date".into(), prepend: "R: <s@x>\r\n".into(), ..Item::default() };
        let content = Content { source: &source, offset: 0, length: 16 };
        deliver(&[(&item, content), (&item, content)], path, nix::unistd::geteuid().as_raw(), &mut |_| false)
    }

    #[test]
    fn messages_as_in_an_mbox() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        let done = Done::Delivered(format!("file {}", path.display()));
        assert_eq!(append_to(&path), [done.clone(), done]);
        let one = "From s@x  date\nR: <s@x>\nA: b\n\n>From x\n\n";
        assert_eq!(std::fs::read_to_string(&path).unwrap(), one.repeat(2));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(append_to(Path::new("/dev/null"))[0], Done::Delivered("file /dev/null".into()));
    }

    #[test]
    fn what_an_agent_wrote_before_it_died_is_not_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        let text = b"Received: by x id Q1; now\r\nA: b\r\n\r\nbody\r\n";
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(text).unwrap();
        let content = Content { source: &source, offset: 0, length: text.len() as u64 };
        let item = |perhaps_delivered| Item {
            queue_id: "Q1".into(),
            from_date: "date".into(),
            perhaps_delivered,
            ..Item::default()
        };
        let send = |again| {
            let done = deliver(&[(&item(again), content)], &path, nix::unistd::geteuid().as_raw(), &mut |_| false);
            assert!(matches!(done[..], [Done::Delivered(_)]), "{done:?}");
            std::fs::read_to_string(&path).unwrap()
        };
        let one = "From MAILER-DAEMON  date\nReceived: by x id Q1; now\nA: b\n\nbody\n\n";
        assert_eq!(send(false), one);
        assert_eq!(send(true), one);
        for torn in ["From MAILER-DAEMON  date\nReceived: by x id Q1; now\nA: b\n\nbo", "From MAILER-DAEMON  da"] {
            std::fs::write(&path, format!("old\n\n{torn}")).unwrap();
            assert_eq!(send(true), format!("old\n\n{one}"), "{torn}");
        }
        assert_eq!(send(false), format!("old\n\n{one}{one}"));
        // It comes again later: what comes first stands by itself.
        std::fs::write(&path, "From MAILER-DAEMON  date\nReceived: by x id Q2; now\nA: b\n\nbo").unwrap();
        assert!(send(false).ends_with(&format!("\n\nbo\n\n{one}")));
        std::fs::write(&path, "note").unwrap();
        assert_eq!(send(false), format!("note\n\n{one}"));
        assert_eq!(send(false), format!("note\n\n{one}{one}"));
    }

    #[test]
    fn what_may_not_be_read_may_end_anywhere() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!((gap(&file, 0, false).unwrap(), gap(&file, 5, false).unwrap()), (&b""[..], &b"\n"[..]));
    }

    #[test]
    fn a_reader_with_any_lock_is_waited_for_and_a_folder_that_is_not_there_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive");
        let dot = folder.path().join("archive.lock");
        std::fs::write(&dot, "").unwrap();
        let told = |done: &[Done]| format!("{done:?}");
        assert!(told(&append_to(&path)).contains("archive is locked: "), "dot-lock");
        assert_eq!(path.metadata().unwrap().len(), 0);
        std::fs::remove_file(&dot).unwrap();
        assert!(matches!(append_to(&path)[..], [Done::Delivered(_), Done::Delivered(_)]) && !dot.exists());
        // A folder that others may write, and cannot spoil: whoever makes a lock there holds up nothing.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o1777)).unwrap();
        std::fs::write(&dot, "").unwrap();
        assert!(matches!(append_to(&path)[..], [Done::Delivered(_), Done::Delivered(_)]));
        let nowhere = folder.path().join("none/archive");
        assert!(told(&append_to(&nowhere)).contains("none/archive: No such file or directory"));
    }

    #[test]
    fn what_is_refused_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, mode) in
            [("world", 0o646), ("set-uid", 0o4600), ("set-gid", 0o2600), ("program", 0o700), ("a", 0o600)]
        {
            std::fs::write(path(name), "old").unwrap();
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::fs::hard_link(path("a"), path("b")).unwrap();
        symlink(path("world"), path("link")).unwrap();
        std::fs::create_dir(path("folder")).unwrap();
        fs::mkfifoat(fs::CWD, path("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        std::fs::create_dir(path("open")).unwrap();
        std::fs::set_permissions(path("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
        for (name, why) in [
            ("open/new", "World writable directory"),
            ("world", "world writable file"),
            ("set-uid", "set-id file"),
            ("set-gid", "set-id file"),
            ("program", "executable file"),
            ("b", "more than one link"),
            ("link", "symbolic link"),
            ("folder", "not a regular file"),
            ("fifo", "not a regular file"),
        ] {
            let told = Done::Temporary(2, 0, format!("file {} refused: {why}", path(name).display()));
            assert_eq!(append_to(&path(name))[0], told);
        }
        assert_eq!(std::fs::read_to_string(path("world")).unwrap(), "old");
        let full = append_to(Path::new("/dev/full"));
        assert!(matches!(&full[0], Done::Temporary(2, 0, why) if why.contains("not a regular file")), "{full:?}");
    }
}
