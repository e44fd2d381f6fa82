//! One batch into a Maildir: each message written to `tmp`, synced, moved into `new`; `new` itself is synced once,
//! which is the commit point.

use crate::convert::{Content, Converter, CopyError, copy};
use crate::mbox::{Message, trouble};
use crate::quota::Quota;
use call::agent::{Done, Item};
use durable::mailbox_lock::sync_and_move;
use durable::sync_folder;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Written at once.
const BUFFER: usize = 256 << 10;

/// Delivers in order; one result for each message. `user` is part of the names: two may share a folder. `limit` in bytes is
/// for a folder that has no quota of its own, 0 for none.
pub(crate) fn deliver(messages: &[Message<'_>], path: &Path, user: &str, limit: u64) -> Vec<Done> {
    let opened = Maildir::open(path).and_then(|folder| Ok((Quota::open(&folder.top, limit)?, folder)));
    let (mut quota, folder) = match opened {
        Ok(opened) => opened,
        Err(error) => return vec![trouble("open maildir", &error); messages.len()],
    };
    let mut moved = Vec::new();
    let mut results = Vec::with_capacity(messages.len());
    for message in messages {
        results.push(match folder.message(message, user, &mut quota) {
            Ok(name) => {
                moved.extend(name);
                Done::Delivered(format!("maildir {}", path.display()))
            }
            Err(done) => done,
        });
    }
    if let Err(error) = folder.new.sync_all() {
        for (name, _) in moved {
            let _ = fs::unlinkat(&folder.new, name, AtFlags::empty());
        }
        return vec![trouble("sync maildir", &error); messages.len()];
    }
    if let Some(quota) = quota {
        quota.add(&folder.top, moved.iter().map(|(_, size)| *size).sum(), moved.len());
    }
    results
}

/// Makes (0700) the folders between `fixed`, which must be there, and the last part of `path`: those of a virtual domain and its user. What is
/// not mounted is not made up.
pub(crate) fn make_folders(fixed: &Path, path: &Path) -> io::Result<()> {
    std::fs::metadata(fixed)?;
    let parents: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| *folder != fixed).collect();
    for folder in parents.into_iter().rev() {
        // What is there need not lie in what this agent may write.
        if !folder.is_dir() && make(CWD, folder)? {
            sync_folder(folder.parent().unwrap_or(fixed))?;
        }
    }
    Ok(())
}

struct Maildir {
    top: File,
    tmp: File,
    new: File,
    cur: File,
}

impl Maildir {
    /// Opens the three folders, making (0700) what is missing; the folder above must exist: a home that is not
    /// mounted must not be made up.
    fn open(path: &Path) -> io::Result<Self> {
        let (top, made) = open_or_make(CWD, path)?;
        let owner = fs::fstat(&top)?.st_uid;
        if owner != 0 && owner != rustix::process::geteuid().as_raw() {
            // In a folder of theirs others read and take away what we write.
            return Err(io::Error::other(format!("it is owned by uid {owner}")));
        }
        let part = |name: &str| open_or_make(&top, Path::new(name));
        let ((tmp, a), (new, b), (cur, c)) = (part("tmp")?, part("new")?, part("cur")?);
        if a || b || c {
            top.sync_all()?;
        }
        if let (true, Some(parent)) = (made, path.parent()) {
            sync_folder(parent)?;
        }
        Ok(Self { top, tmp, new, cur })
    }

    /// The name in `new` and the size; none if it was there already.
    fn message(
        &self,
        (item, content): &Message<'_>,
        user: &str,
        quota: &mut Option<Quota>,
    ) -> Result<Option<(String, u64)>, Done> {
        let unwritten = |error: io::Error| trouble("write to maildir", &error);
        let mark = mark(&item.queue_id, user);
        if item.perhaps_delivered && self.has(&mark).map_err(unwritten)? {
            return Ok(None);
        }
        if let Some(quota) = quota {
            quota.admit(&self.top, item.prepend.len() as u64 + content.length)?;
        }
        let name = unique_name(&mark);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(&self.tmp, &*name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|errno| unwritten(errno.into()))?);
        let outcome = write(&file, item, *content).and_then(|size| {
            // Courier and Dovecot read the size there, and save a look at the file.
            let target = format!("{name},S={size}");
            sync_and_move(&file, &self.tmp, &name, &self.new, &target).map_err(CopyError::Target)?;
            Ok(Some((target, size)))
        });
        outcome.map_err(|error| {
            let _ = fs::unlinkat(&self.tmp, &*name, AtFlags::empty());
            match error {
                CopyError::Source(error) => trouble("read message", &error),
                CopyError::Target(error) => unwritten(error),
            }
        })
    }

    /// A name with this mark: it is in `new` or `cur` only whole.
    fn has(&self, mark: &str) -> io::Result<bool> {
        for folder in [&self.new, &self.cur] {
            for entry in fs::Dir::read_from(folder)? {
                if memchr::memmem::find(entry?.file_name().to_bytes(), mark.as_bytes()).is_some() {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

/// Writes a message; its size in the file.
fn write(file: &File, item: &Item, content: Content<'_>) -> Result<u64, CopyError> {
    let mut file = file;
    let (mut out, mut size) = (Vec::new(), 0);
    Converter::new(false).feed(item.prepend.as_bytes(), true, &mut out);
    let mut spill = |out: &mut Vec<u8>, least: usize| {
        if out.len() >= least {
            file.write_all(out)?;
            size += out.len() as u64;
            out.clear();
        }
        Ok(())
    };
    copy(content, Converter::new(false), &mut Vec::new(), &mut out, &mut |out| spill(out, BUFFER))?;
    spill(&mut out, 0).map_err(CopyError::Target)?;
    Ok(size)
}

/// The folder, and whether it had to be made.
fn open_or_make(within: impl AsFd, path: &Path) -> io::Result<(File, bool)> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (folder, made) = match fs::openat(&within, path, flags, Mode::empty()) {
        // Mostly it is there: asked first, for making one that is there takes the lock of the folder above.
        Err(Errno::NOENT) => {
            let made = make(&within, path)?;
            (fs::openat(&within, path, flags, Mode::empty())?, made)
        }
        folder => (folder?, false),
    };
    Ok((folder.into(), made))
}

/// False if it was there.
fn make(within: impl AsFd, path: &Path) -> io::Result<bool> {
    match fs::mkdirat(within, path, Mode::RWXU) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The part of a name that tells the queue id and the recipient; only letters and digits get there.
fn mark(queue_id: &str, user: &str) -> String {
    let id: String = queue_id.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    // FNV-1a: it must be the same after an upgrade, and nobody gains by a collision.
    let fold = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    format!("I{id}U{:08x}.", user.bytes().fold(0x811c_9dc5, fold))
}

/// `seconds.M<microseconds>P<pid>Q<count>I<queue id>U<recipient>.host`, as the Maildir page asks.
fn unique_name(mark: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    // A comma begins the size, a colon the flags.
    let host: String = host.chars().filter(|c| !matches!(c, '/' | ':' | ',') && !c.is_control()).take(64).collect();
    let (seconds, micros) = (now.as_secs(), now.subsec_micros());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{seconds}.M{micros}P{}Q{count}{mark}{host}", std::process::id())
}
