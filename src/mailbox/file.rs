//! Appending messages to a file that an alias or a `.forward` names (sendmail.md 3.1, `*file*` mailer): as mbox, under the kernel's lock,
//! synced, cut back on any failure. Commit point: the sync.
//!
//! Refused: links, devices (but /dev/null), FIFOs, further names, set-id and executable files, somebody else's, and what others may write.

use crate::convert::{Content, Converter, CopyError, copy};
use crate::found::{self, Stored};
use crate::mbox::{Message, head, trouble};
use crate::trusted::{self, Refusal, Trust};
use call::agent::{Done, Item};
use rustix::fs::{self, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
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
    let locked = open(path, owner).and_then(|(file, read)| Ok((lock(file, pause)?, read)));
    let ((file, before), read) = match locked {
        Ok(locked) => locked,
        Err(Failure::Refused(why)) => return all(Done::Temporary(2, 0, format!("file {name} refused: {why}"))),
        Err(Failure::Io(error)) => return all(trouble(&format!("open {name}"), &error)),
    };
    let before = match drop_torn(&file, before, messages.iter().filter(|_| read)) {
        Ok(before) => before,
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
        match append(&file, message) {
            Ok(count) => {
                size += count;
                results.push(Done::Delivered(format!("file {name}")));
            }
            Err(CopyError::Source(error)) if file.set_len(size).is_ok() => {
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
fn drop_torn<'a>(file: &File, size: u64, messages: impl Iterator<Item = &'a Message<'a>>) -> io::Result<u64> {
    for (item, content) in messages.filter(|(item, _)| item.perhaps_delivered) {
        if let Some(start) = found::torn(&Opened(file, size), &head(item), *content)? {
            file.set_len(start)?;
            return Ok(start);
        }
    }
    Ok(size)
}

/// Whether a message that may have been written before stands there. One cannot know where reading is not allowed: it is written again.
fn is_there(file: &File, size: u64, (item, content): &Message<'_>, read: bool) -> io::Result<bool> {
    Ok(read && item.perhaps_delivered && found::has(&Opened(file, size), &item.queue_id, *content)?)
}

fn undo(file: &File, before: u64, name: &str, error: &io::Error) -> Done {
    match file.set_len(before) {
        Ok(()) => trouble(&format!("write {name}"), error),
        Err(second) => Done::Temporary(2, 0, format!("cannot write {name}: {error}; cutting it back: {second}")),
    }
}

enum Failure {
    Refused(String),
    Io(io::Error),
}

/// The file, and whether it may be read.
fn open(path: &Path, owner: u32) -> Result<(File, bool), Failure> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::Refused("no path of a file".to_owned()));
    };
    // The folder is held open: whatever is put in its place meanwhile is not written to.
    let trust = Trust { owner, file: 0, folders: 0o022, size: 0 };
    let folder = trusted::open_folder(folder, &trust).map_err(|refusal| match refusal {
        Refusal::Unsafe(why) => Failure::Refused(why),
        Refusal::Absent => Failure::Io(io::ErrorKind::NotFound.into()),
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
    let stat = fs::fstat(&file).map_err(|errno| Failure::Io(errno.into()))?;
    match fault(&stat, owner) {
        Some(why) => Err(Failure::Refused(why.to_owned())),
        None => Ok((file, read)),
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

/// The lock, and the size under it.
fn lock(file: File, pause: &mut dyn FnMut(Duration) -> bool) -> Result<(File, u64), Failure> {
    let since = Instant::now();
    while !durable::lock::try_lock(&file).map_err(Failure::Io)? {
        if since.elapsed() >= PATIENCE || !pause(PAUSE) {
            return Err(Failure::Refused("locked by another program".to_owned()));
        }
    }
    let size = file.metadata().map_err(Failure::Io)?.len();
    Ok((file, size))
}

/// Appends one message with its From_ line and an empty line behind it; how many bytes that was.
fn append(file: &File, (item, content): &(&Item, Content<'_>)) -> Result<u64, CopyError> {
    let mut head = head(item);
    let mut written = 0;
    let mut put = |bytes: &mut Vec<u8>| {
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
            std::fs::write(&path, format!("old\n{torn}")).unwrap();
            assert_eq!(send(true), format!("old\n{one}"), "{torn}");
        }
        assert_eq!(send(false), format!("old\n{one}{one}"));
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
