//! One batch into a Maildir: each message written to `tmp`, synced, moved into `new`; `new` itself is synced once,
//! which is the commit point.

use crate::convert::{Converter, CopyError, copy};
use crate::mbox::{Message, trouble};
use call::agent::{Done, Item};
use durable::mailbox_lock::sync_and_move;
use durable::sync_folder;
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Written at once.
const BUFFER: usize = 256 << 10;

/// Delivers in order; one result for each message.
pub(crate) fn deliver(messages: &[Message<'_>], path: &Path) -> Vec<Done> {
    let folder = match Maildir::open(path) {
        Ok(folder) => folder,
        Err(error) => return vec![trouble("open maildir", &error); messages.len()],
    };
    let mut moved = Vec::new();
    let mut results = Vec::with_capacity(messages.len());
    for message in messages {
        results.push(match folder.message(message) {
            Ok(name) => {
                moved.extend(name);
                Done::Delivered(format!("maildir {}", path.display()))
            }
            Err(CopyError::Source(error)) => trouble("read message", &error),
            Err(CopyError::Target(error)) => trouble("write to maildir", &error),
        });
    }
    if let Err(error) = folder.new.sync_all() {
        for name in moved {
            let _ = fs::unlinkat(&folder.new, name, AtFlags::empty());
        }
        return vec![trouble("sync maildir", &error); messages.len()];
    }
    results
}

struct Maildir {
    tmp: File,
    new: File,
    cur: File,
}

impl Maildir {
    /// Opens the three folders, making (0700) what is missing; the folder above must exist: a home that is not
    /// mounted must not be made up.
    fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let made = make(path)?;
        let top = File::from(fs::open(path, flags, Mode::empty())?);
        let mut fresh = false;
        let mut part = |name: &str| -> io::Result<File> {
            fresh |= make_at(&top, name)?;
            Ok(fs::openat(&top, name, flags, Mode::empty())?.into())
        };
        let folder = Self { tmp: part("tmp")?, new: part("new")?, cur: part("cur")? };
        if fresh {
            top.sync_all()?;
        }
        if let (true, Some(parent)) = (made, path.parent()) {
            sync_folder(parent)?;
        }
        Ok(folder)
    }

    /// The name in `new`; none if it was there already.
    fn message(&self, (item, content): &Message<'_>) -> Result<Option<String>, CopyError> {
        if item.perhaps_delivered && self.has(item).map_err(CopyError::Target)? {
            return Ok(None);
        }
        let name = unique_name(&item.queue_id);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = fs::openat(&self.tmp, &*name, flags, Mode::RUSR | Mode::WUSR);
        let file = File::from(file.map_err(|errno| CopyError::Target(errno.into()))?);
        let mut head = Vec::new();
        Converter::new(false).feed(item.prepend.as_bytes(), true, &mut head);
        let mut spill = |out: &mut Vec<u8>| {
            if out.len() < BUFFER {
                return Ok(());
            }
            (&file).write_all(out)?;
            out.clear();
            Ok(())
        };
        let outcome = copy(*content, Converter::new(false), &mut Vec::new(), &mut head, &mut spill).and_then(|()| {
            let whole = (&file).write_all(&head);
            let moved = whole.and_then(|()| sync_and_move(&file, &self.tmp, &name, &self.new, &name));
            moved.map_err(CopyError::Target)
        });
        if outcome.is_err() {
            let _ = fs::unlinkat(&self.tmp, &*name, AtFlags::empty());
        }
        outcome.map(|()| Some(name))
    }

    /// A name made from this queue id: it is in `new` or `cur` only whole.
    fn has(&self, item: &Item) -> io::Result<bool> {
        let mark = mark(&item.queue_id);
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

fn make(path: &Path) -> io::Result<bool> {
    made(fs::mkdirat(CWD, path, Mode::RWXU))
}

fn make_at(top: &File, name: &str) -> io::Result<bool> {
    made(fs::mkdirat(top, name, Mode::RWXU))
}

fn made(outcome: Result<(), Errno>) -> io::Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// The part of a name that tells the queue id; only letters and digits of it can get there.
fn mark(queue_id: &str) -> String {
    let id: String = queue_id.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    format!("I{id}.")
}

/// `seconds.M<microseconds>P<pid>Q<count>I<queue id>.host`, as the Maildir page asks.
fn unique_name(queue_id: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let host: String = host.chars().filter(|c| !matches!(c, '/' | ':') && !c.is_control()).take(64).collect();
    let (seconds, micros) = (now.as_secs(), now.subsec_micros());
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{seconds}.M{micros}P{}Q{count}{}{host}", std::process::id(), mark(queue_id))
}
