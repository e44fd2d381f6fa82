//! One batch into an mbox: one lock, one sync, everything or nothing (mbox-locking.md §5, R-17, R-31).
//! Commit point: [`Mailbox::commit`]. Before it any end leaves the file as it was or with a torn tail that the
//! next delivery separates from what follows.

use crate::convert::{Content, Converter, CopyError, copy};
use call::agent::{Done, Item};
use durable::mailbox_lock::{Failure, Mailbox};
use memchr::memmem;
use std::io;
use std::path::Path;
use std::time::Duration;

/// bsd-mailx may hold the kernel's lock for 30 s while it waits for our dot-lock.
const PATIENCE: Duration = Duration::from_secs(60);
/// Written at once; the memory of an agent is this and one piece of input.
const BUFFER: usize = 1 << 20;
/// Another message's worth of mailbox in which a perhaps delivered one is looked for.
const LOOK_BACK: u64 = 4 << 20;
/// Read at once while looking.
const WINDOW: usize = 256 << 10;

/// One message and where its content is.
pub(crate) type Message<'a> = (&'a Item, Content<'a>);

/// Delivers in order; one result for each message.
pub(crate) fn deliver(
    messages: &[Message<'_>],
    path: &Path,
    owner: u32,
    pause: &mut dyn FnMut(Duration) -> bool,
) -> Vec<Done> {
    let all = |done: Done| vec![done; messages.len()];
    let mailbox = match Mailbox::lock(path, owner, PATIENCE, pause) {
        Ok(mailbox) => mailbox,
        Err(failure) => return all(refusal(failure)),
    };
    let mut writer = match Writer::new(mailbox) {
        Ok(writer) => writer,
        Err(error) => return all(trouble("read mailbox", &error)),
    };
    let mut results = Vec::with_capacity(messages.len());
    for message in messages {
        match writer.message(message) {
            Ok(()) => results.push(Done::Delivered(format!("mbox {}", path.display()))),
            Err(CopyError::Source(error)) => results.push(trouble("read message", &error)),
            // The writer falls here: the file is as before, and that goes for every message.
            Err(CopyError::Target(error)) => return all(trouble("write mailbox", &error)),
        }
    }
    match writer.commit() {
        Ok(()) => results,
        Err(error) => all(trouble("sync mailbox", &error)),
    }
}

fn refusal(failure: Failure) -> Done {
    match failure {
        // An administrator can put it right within the life of the message, so not permanent.
        Failure::Refused(why) => Done::Temporary(2, 0, format!("mailbox refused: {why}")),
        Failure::Busy(why) => Done::Temporary(2, 0, format!("mailbox is locked: {why}")),
        Failure::Io(step, error) => trouble(step, &error),
    }
}

/// What an error of the file system means for mail. Never permanent.
pub(crate) fn trouble(step: &str, error: &io::Error) -> Done {
    use rustix::io::Errno;
    let (subject, detail) = match Errno::from_io_error(error) {
        Some(Errno::DQUOT | Errno::FBIG) => (2, 2),
        Some(Errno::NOSPC) => (3, 1),
        Some(Errno::IO | Errno::ROFS | Errno::NFILE | Errno::MFILE | Errno::NOMEM) => (3, 0),
        _ => (2, 0),
    };
    Done::Temporary(subject, detail, format!("cannot {step}: {error}"))
}

struct Writer {
    mailbox: Mailbox,
    /// Not yet written.
    buffer: Vec<u8>,
    /// Bytes of this batch already in the file.
    written: u64,
    piece: Vec<u8>,
    /// Newlines that the end of the file lacks.
    repair: &'static [u8],
}

impl Writer {
    fn new(mailbox: Mailbox) -> io::Result<Self> {
        let mut tail = [0; 2];
        let from = mailbox.size().saturating_sub(2);
        let got = mailbox.read_at(&mut tail, from)?;
        let repair: &[u8] = match tail.get(..got).unwrap_or_default() {
            [] | [b'\n', b'\n'] => b"",
            [b'\n'] | [_, b'\n'] => b"\n",
            _ => b"\n\n",
        };
        Ok(Self { mailbox, buffer: Vec::new(), written: 0, piece: Vec::new(), repair })
    }

    fn message(&mut self, (item, content): &Message<'_>) -> Result<(), CopyError> {
        if item.perhaps_delivered && self.has(item, *content).map_err(CopyError::Target)? {
            return Ok(());
        }
        let start = self.written + self.buffer.len() as u64;
        let repair = std::mem::take(&mut self.repair);
        self.buffer.extend_from_slice(repair);
        self.head(item);
        let outcome = self.copy(*content);
        match outcome {
            Ok(()) => self.buffer.push(b'\n'),
            Err(CopyError::Source(_)) => {
                self.repair = repair;
                self.cut(start).map_err(CopyError::Target)?;
            }
            Err(CopyError::Target(_)) => {}
        }
        outcome
    }

    /// The From_ line (two spaces, as /var/mail has them) and the lines before the content.
    fn head(&mut self, item: &Item) {
        self.buffer.extend_from_slice(b"From ");
        if item.sender.is_empty() {
            self.buffer.extend_from_slice(b"MAILER-DAEMON");
        }
        // A line break in the sender would begin a line of the sender's choice.
        let plain = |b: u8| if b.is_ascii_control() { b'?' } else { b };
        self.buffer.extend(item.sender.bytes().map(plain));
        self.buffer.extend_from_slice(b"  ");
        self.buffer.extend(item.from_date.bytes().map(plain));
        self.buffer.push(b'\n');
        Converter::new(true).feed(item.prepend.as_bytes(), true, &mut self.buffer);
        if !matches!(self.buffer.last(), Some(b'\n')) {
            self.buffer.push(b'\n');
        }
    }

    fn copy(&mut self, content: Content<'_>) -> Result<(), CopyError> {
        let Self { mailbox, buffer, written, piece, .. } = self;
        copy(content, Converter::new(true), piece, buffer, &mut |buffer| {
            if buffer.len() < BUFFER {
                return Ok(());
            }
            flush(mailbox, buffer, written)
        })
    }

    /// Takes back everything from `start` (counted from the size under the lock) on.
    fn cut(&mut self, start: u64) -> io::Result<()> {
        if let Some(keep) = start.checked_sub(self.written) {
            self.buffer.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
        } else {
            self.mailbox.cut(self.mailbox.size() + start)?;
            self.written = start;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Also syncs when nothing was written: what was found may not have reached the disk yet.
    fn commit(mut self) -> io::Result<()> {
        flush(&mut self.mailbox, &mut self.buffer, &mut self.written)?;
        self.mailbox.commit()
    }

    /// Whether this very message stands whole in the mailbox already: our Received line with its queue id, and after
    /// that header the same body. A torn copy does not count. Readers change headers (Status), not bodies.
    fn has(&self, item: &Item, content: Content<'_>) -> io::Result<bool> {
        let needle = format!(" id {}", item.queue_id);
        let finder = memmem::Finder::new(needle.as_bytes());
        let mut at = self.mailbox.size().saturating_sub(LOOK_BACK.saturating_add(content.length));
        let mut window = vec![0; WINDOW];
        loop {
            let got = self.mailbox.read_at(&mut window, at)?;
            let seen = window.get(..got).unwrap_or_default();
            for hit in finder.find_iter(seen) {
                let after = seen.get(hit + needle.len());
                if !after.is_some_and(u8::is_ascii_alphanumeric)
                    && self.is_whole(at + (hit + needle.len()) as u64, content)?
                {
                    return Ok(true);
                }
            }
            if got < window.len() {
                return Ok(false);
            }
            at += (window.len() - needle.len()) as u64;
        }
    }

    fn is_whole(&self, from: u64, content: Content<'_>) -> io::Result<bool> {
        let Some(mut at) = self.header_end(from)? else {
            return Ok(false);
        };
        let (mut body, mut there) = (Vec::new(), Vec::new());
        let mut compare = |body: &mut Vec<u8>| {
            there.resize(body.len(), 0);
            let got = self.mailbox.read_at(&mut there, at)?;
            if there.get(..got) != Some(body.as_slice()) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            at += body.len() as u64;
            body.clear();
            Ok(())
        };
        let outcome = copy(content, Converter::new(true).body_only(), &mut Vec::new(), &mut body, &mut compare);
        match outcome {
            // Behind the body comes the separating line, or the file ends where it would begin.
            Ok(()) => {
                let mut next = [0];
                Ok(self.mailbox.read_at(&mut next, at)? == 0 || next == *b"\n")
            }
            Err(CopyError::Target(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Where the header that `from` lies in has ended.
    fn header_end(&self, from: u64) -> io::Result<Option<u64>> {
        let mut window = vec![0; WINDOW];
        let got = self.mailbox.read_at(&mut window, from)?;
        let end = memmem::find(window.get(..got).unwrap_or_default(), b"\n\n");
        Ok(end.map(|end| from + end as u64 + 2))
    }
}

fn flush(mailbox: &mut Mailbox, buffer: &mut Vec<u8>, written: &mut u64) -> io::Result<()> {
    if !buffer.is_empty() {
        mailbox.append(buffer)?;
        *written += buffer.len() as u64;
        buffer.clear();
    }
    Ok(())
}
