//! One batch into an mbox: one lock, one sync, everything or nothing (mbox-locking.md §5, R-17, R-31).
//! Commit point: [`Mailbox::commit`]. Before it any end leaves the file as it was or with a torn tail that the
//! next delivery separates from what follows.

use crate::convert::{Content, Converter, CopyError, copy};
use crate::turn::Turn;
use call::agent::{Done, Item};
use durable::mailbox_lock::{Failure, Mailbox};
use std::cell::RefCell;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// bsd-mailx may hold the kernel's lock for 30 s while it waits for our dot-lock.
const PATIENCE: Duration = Duration::from_secs(60);
/// Written at once; the memory of an agent is this and one piece of input.
const BUFFER: usize = 1 << 20;

/// One message and where its content is.
pub(crate) type Message<'a> = (&'a Item, Content<'a>);

thread_local! {
    /// An agent has one mailbox, and one thread that delivers.
    static TURN: RefCell<Turn> = RefCell::default();
}

/// Delivers in order; one result for each message. `limit` is the mailbox's largest size in bytes, 0 for none. `written` hears where each
/// message begins, once all are safe.
pub(crate) fn deliver(
    messages: &[Message<'_>],
    path: &Path,
    owner: u32,
    limit: u64,
    pause: &mut dyn FnMut(Duration) -> bool,
    written: &dyn Fn(&[u64]),
) -> Vec<Done> {
    let all = |done: Done| vec![done; messages.len()];
    if let Some(rest) = TURN.with_borrow(|turn| turn.rest(Instant::now()))
        && !pause(rest)
    {
        return all(Done::Temporary(2, 0, "the engine has gone".to_owned()));
    }
    let asked = Instant::now();
    let mut mailbox = match Mailbox::lock(path, owner, PATIENCE, pause) {
        Ok(mailbox) => mailbox,
        Err(failure) => return all(refusal(failure)),
    };
    let locked = Instant::now();
    TURN.with_borrow_mut(|turn| turn.begin(locked - asked, mailbox.size(), locked));
    let mut writer = match drop_torn(&mut mailbox, messages).and_then(|()| Writer::new(mailbox, limit)) {
        Ok(writer) => writer,
        Err(error) => return all(trouble("read mailbox", &error)),
    };
    let mut results = Vec::with_capacity(messages.len());
    let mut begun = Vec::new();
    for message in messages {
        match writer.message(message) {
            Ok(at) => {
                begun.extend(at);
                results.push(Done::Delivered(format!("mbox {}", path.display())));
            }
            Err(Miss::Message(done)) => results.push(done),
            // The file is as before, and that goes for every message.
            Err(Miss::Mailbox(error)) => return all(trouble("write mailbox", &writer.mailbox.give_up(error))),
        }
    }
    match writer.commit() {
        Ok(size) => {
            TURN.with_borrow_mut(|turn| turn.end(locked.elapsed(), size, Instant::now()));
            written(&begun);
            results
        }
        Err(error) => all(trouble("sync mailbox", &error)),
    }
}

/// An agent that was killed while it wrote has left a piece of what comes again now. Nobody misses it.
fn drop_torn(mailbox: &mut Mailbox, messages: &[Message<'_>]) -> io::Result<()> {
    for (item, content) in messages.iter().filter(|(item, _)| item.perhaps_delivered) {
        if let Some(start) = crate::found::torn(mailbox, &head(item), *content)? {
            return mailbox.drop_tail(start);
        }
    }
    Ok(())
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

/// What went wrong with a message.
enum Miss {
    /// It concerns this message alone.
    Message(Done),
    /// Nothing more can be written.
    Mailbox(io::Error),
}

impl From<CopyError> for Miss {
    fn from(error: CopyError) -> Self {
        match error {
            CopyError::Source(error) => Self::Message(trouble("read message", &error)),
            CopyError::Target(error) => Self::Mailbox(error),
        }
    }
}

struct Writer {
    mailbox: Mailbox,
    limit: u64,
    /// Not yet written.
    buffer: Vec<u8>,
    /// Bytes of this batch already in the file.
    written: u64,
    piece: Vec<u8>,
    /// Newlines that the end of the file lacks.
    repair: &'static [u8],
}

impl Writer {
    fn new(mailbox: Mailbox, limit: u64) -> io::Result<Self> {
        let repair = crate::found::gap(&mailbox)?;
        Ok(Self { mailbox, limit, buffer: Vec::new(), written: 0, piece: Vec::new(), repair })
    }

    /// Where it begins in the file; `None` if it stood there already.
    fn message(&mut self, (item, content): &Message<'_>) -> Result<Option<u64>, Miss> {
        if item.perhaps_delivered && crate::found::has(&self.mailbox, item, *content).map_err(Miss::Mailbox)? {
            return Ok(None);
        }
        let head = head(item);
        self.room(head.len() as u64 + content.length)?;
        let start = self.written + self.buffer.len() as u64;
        let repair = std::mem::take(&mut self.repair);
        self.buffer.extend_from_slice(repair);
        self.buffer.extend_from_slice(&head);
        match self.copy(*content) {
            Ok(()) => self.buffer.push(b'\n'),
            Err(error) => {
                if matches!(error, CopyError::Source(_)) {
                    self.repair = repair;
                    self.cut(start).map_err(Miss::Mailbox)?;
                }
                return Err(error.into());
            }
        }
        Ok(Some(self.mailbox.size() + start + repair.len() as u64))
    }

    /// What is stored is a little smaller (one byte for a line's end) or, quoted, a little larger: that much is not counted.
    fn room(&self, length: u64) -> Result<(), Miss> {
        let (size, limit) = (self.mailbox.size() + self.written + self.buffer.len() as u64, self.limit);
        if limit == 0 || size.saturating_add(length) <= limit {
            return Ok(());
        }
        let text = format!("mailbox is full: {size} of {limit} bytes, {length} more do not fit");
        Err(Miss::Message(Done::Temporary(2, 2, text)))
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

    /// Also syncs when nothing was written: what was found may not have reached the disk yet. Returns the new size.
    fn commit(mut self) -> io::Result<u64> {
        match flush(&mut self.mailbox, &mut self.buffer, &mut self.written) {
            Ok(()) => {
                let size = self.mailbox.size() + self.written;
                self.mailbox.commit().map(|()| size)
            }
            Err(error) => Err(self.mailbox.give_up(error)),
        }
    }
}

/// The From_ line (two spaces, as /var/mail has them) and the lines before the content.
pub(crate) fn head(item: &Item) -> Vec<u8> {
    let mut head = b"From ".to_vec();
    if item.sender.is_empty() {
        head.extend_from_slice(b"MAILER-DAEMON");
    }
    // A line break in the sender would begin a line of the sender's choice.
    let plain = |b: u8| if b.is_ascii_control() { b'?' } else { b };
    head.extend(item.sender.bytes().map(plain));
    head.extend_from_slice(b"  ");
    head.extend(item.from_date.bytes().map(plain));
    head.push(b'\n');
    Converter::new(true).feed(item.prepend.as_bytes(), true, &mut head);
    if !matches!(head.last(), Some(b'\n')) {
        head.push(b'\n');
    }
    head
}

fn flush(mailbox: &mut Mailbox, buffer: &mut Vec<u8>, written: &mut u64) -> io::Result<()> {
    if !buffer.is_empty() {
        mailbox.append(buffer)?;
        *written += buffer.len() as u64;
        buffer.clear();
    }
    Ok(())
}
