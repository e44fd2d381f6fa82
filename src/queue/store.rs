//! The one door to the queue. A message exists from the moment [`Store::accept`] has answered; every
//! operator verb is here, so that nothing outside this crate may assume files (DESIGN §3).

use crate::envelope::{Change, Envelope, Recipient};
use bytes::Bytes;
use mail::{QueueId, Time};
use std::fs::File;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// The answer of a store, once awaited. The work goes on even if the future is dropped.
pub type Pending<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Names one stored content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ContentId(pub u64);

/// What can go wrong in a store. The texts are for the log, never for the wire.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No room (disk, inodes, reserve): 452 4.3.1.
    #[error("no space: {0}")]
    Full(String),
    /// A write or sync failed; nothing was accepted: 451 4.3.0.
    #[error("store failed: {0}")]
    Failed(String),
    /// The store takes no changes at the moment: 451 4.3.0, and nothing may be tried.
    #[error("store is read-only: {0}")]
    ReadOnly(String),
    /// Another process has the store; which, and where. Only at the opening.
    #[error("{0}")]
    InUse(String),
    /// No such message: it is finished, or never was.
    #[error("no such message")]
    Unknown,
    /// Stored bytes do not fit their checksum; the message is set aside and reported.
    #[error("corrupt: {0}")]
    Corrupt(String),
}

/// Content, for reading.
#[derive(Clone, Debug)]
pub enum Content {
    /// Whole, in memory.
    Memory(Bytes),
    /// In a file of its own, which holds nothing else; read with positioned reads only (the descriptor is shared).
    File {
        /// Open for reading.
        file: Arc<File>,
        /// Length in bytes.
        length: u64,
    },
}

impl Content {
    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Takes content as it arrives: memory up to the threshold (64 KiB, or less when the budget is used up), a nameless
/// file beyond it. Dropping it forgets everything. The calls block for as long as one `write(2)` takes.
pub trait ContentWriter: Send {
    /// Adds bytes.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Failed`]; the writer is useless afterwards.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;
    /// Bytes so far.
    fn len(&self) -> u64;
    /// Whether nothing was written yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Whether it has gone to a file (then [`Store::accept`] syncs that file on a thread that may block).
    fn is_file(&self) -> bool;
    /// For the store that made it.
    fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send>;
}

/// Held while a session is inside a transaction that will probably end in an accept: the writer
/// may wait for it a moment (at most one recent flush, never above 1 ms), so that one sync serves several.
pub trait Transaction: Send {}

/// Which messages; all given conditions must hold.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// Any of these ids.
    pub ids: Vec<QueueId>,
    /// Substring of the sender, any case.
    pub sender: Option<String>,
    /// Substring of a recipient's final address, any case.
    pub recipient: Option<String>,
    /// Domain of a recipient, whole, any case.
    pub domain: Option<String>,
    /// Substring of the hold reason or of a recipient's last reply.
    pub reason: Option<String>,
    /// Only held, or only not held.
    pub held: Option<bool>,
    /// Arrived at or before this wall time, milliseconds.
    pub before: Option<i64>,
    /// sendmail's selectors: of each part that is named one must match.
    pub patterns: Vec<Pattern>,
}

/// A substring that must be there, or must not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Where.
    pub part: Part,
    /// What.
    pub text: String,
    /// It must not be there; for recipients: not in one of them.
    pub negated: bool,
}

/// What a [`Pattern`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The queue id, as it stands.
    Id,
    /// The sender, any case.
    Sender,
    /// The recipients that are not finished, any case.
    Recipient,
    /// The reason of the hold, as it stands.
    Reason,
}

/// One message of a list: its envelope as it stands, and whether it is being tried.
#[derive(Clone, Debug)]
pub struct Summary {
    /// The envelope.
    pub envelope: Envelope,
    /// Handed out and not yet given back.
    pub active: bool,
}

/// Looks at one message of a list after the other.
pub type See = Box<dyn FnMut(Summary) + Send>;

/// The queue. Object safe; calls return at once and do their work behind the returned future.
pub trait Store: Send + Sync + 'static {
    /// A writer for new content. `expected` is the declared size, if any, in bytes: only a hint, nothing is
    /// allocated from it.
    ///
    /// # Errors
    /// [`Error::Full`] when new mail is not taken (low space), [`Error::ReadOnly`].
    fn write(&self, expected: u64) -> Result<Box<dyn ContentWriter>, Error>;
    /// Whether new mail of `size` bytes would be taken now: for the early refusal at MAIL.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::ReadOnly`].
    fn room(&self, size: u64) -> Result<(), Error>;
    /// Marks a session as being inside a transaction, until the guard is dropped.
    fn transaction(&self) -> Box<dyn Transaction>;
    /// A fresh queue id. Nothing is accepted under one that could be given again after a crash: a store that cannot write gives ids that
    /// [`Store::accept`] refuses.
    fn new_id(&self, now: Time) -> QueueId;

    /// Commits content with its envelopes (whose `id`s come from [`Store::new_id`]) in one synced frame. The
    /// returned envelopes have content id and size set; they are handed out as in flight: the caller tries them
    /// or gives them back with [`Store::release_claim`]. Envelopes with `queue_only` or `hold` are not handed out.
    fn accept(&self, content: Box<dyn ContentWriter>, envelopes: Vec<Envelope>) -> Pending<Vec<Accepted>>;
    /// Whether this submission id was accepted already (within the last day, and after restarts while its message is in
    /// the spool): the queue id it got.
    fn submitted(&self, submission: [u8; 16]) -> Option<QueueId>;

    /// Ids that are due at `now`, at most `limit`, oldest due first, and marks them handed out (all their
    /// due recipients are in flight).
    fn claim(&self, now: Time, limit: usize) -> Vec<QueueId>;
    /// When the next message becomes due (wall milliseconds), if any waits.
    fn next_due(&self) -> Option<i64>;
    /// Resolves when [`Store::claim`] may have something new before [`Store::next_due`] said so (a flush, a release).
    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
    /// The envelope as it stands now.
    fn load(&self, id: QueueId) -> Pending<Arc<Envelope>>;
    /// Its content. Checksums are verified.
    fn content(&self, id: QueueId) -> Pending<Content>;
    /// Gives a handed-out message back unchanged, due again at `at` (wall milliseconds), without counting a try.
    fn release_claim(&self, id: QueueId, at: i64);

    /// Appends outcomes. Written at once, synced within 50 ms; the future resolves after the sync, but need not be awaited.
    /// When every recipient is finished the message is finished and its space is reclaimed.
    /// When no recipient is in flight any more the message is given back (due or deferred until the earliest time).
    fn record(&self, id: QueueId, changes: Vec<Change>) -> Pending<()>;
    /// Outcomes together with the notification that reports them, in one frame: both or neither.
    fn record_with(&self, id: QueueId, changes: Vec<Change>, notice: Notice) -> Pending<Accepted>;
    /// Replaces recipients by what they stand for, in one synced frame: all of it or nothing. A message on hold takes no clones, for a hold
    /// keeps everything that became of it.
    fn expand(&self, id: QueueId, expansion: Expansion) -> Pending<Expanded>;

    /// Every matching message, a page at a time: those after `after` in id order, at most `limit`.
    fn list(&self, select: Select, after: Option<QueueId>, limit: usize) -> Pending<Vec<Summary>>;
    /// The same, but each message is shown to `see`, on a thread that may block, and not kept; the id of the last one.
    fn show(&self, select: Select, after: Option<QueueId>, limit: usize, mut see: See) -> Pending<Option<QueueId>> {
        let list = self.list(select, after, limit);
        Box::pin(async move {
            let list = list.await?;
            let last = list.last().map(|summary| summary.envelope.id);
            list.into_iter().for_each(&mut see);
            Ok(last)
        })
    }
    /// How many messages match.
    fn count(&self, select: Select) -> Pending<u64>;
    /// Keeps matching messages from delivery.
    fn hold(&self, select: Select, reason: String) -> Pending<u64>;
    /// Ends a hold.
    fn release(&self, select: Select) -> Pending<u64>;
    /// Removes matching messages without a word to anyone.
    fn delete(&self, select: Select) -> Pending<u64>;
    /// Makes matching messages due now.
    fn flush(&self, select: Select) -> Pending<u64>;
    /// Messages set aside as corrupt: where, and what is known about each.
    fn corrupt(&self) -> Pending<Vec<String>>;
    /// Writes and syncs what is waiting, and a checkpoint; afterwards nothing is taken. What is still handed out was cut off, and is perhaps
    /// delivered at the next start.
    fn close(&self) -> Pending<()>;
}

/// An accepted envelope, handed to the delivery side without reading it back.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// The envelope.
    pub envelope: Arc<Envelope>,
    /// Its content, while the memory budget lasts; otherwise ask [`Store::content`].
    pub content: Option<Content>,
}

/// What recipients of a message stand for.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// Indices of those recipients; they become [`crate::State::Expanded`].
    pub parents: Vec<u32>,
    /// What the message gets in their place; finished ones are only remembered.
    pub children: Vec<Recipient>,
    /// What goes under another sender (the members of a list with an owner): envelopes of their own for the same content, with ids from
    /// [`Store::new_id`]. Content and size are filled in.
    pub clones: Vec<Envelope>,
}

/// What an expansion has made.
#[derive(Clone, Debug)]
pub struct Expanded {
    /// The message with its children, which are in flight as the message is; `None` if nothing of it was left: it is finished.
    pub envelope: Option<Arc<Envelope>>,
    /// The clones, handed out as after [`Store::accept`].
    pub clones: Vec<Accepted>,
}

/// A notification to be committed with the outcomes it reports.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Its envelope, with an id from [`Store::new_id`].
    pub envelope: Envelope,
    /// Its whole content, CRLF line ends.
    pub content: Bytes,
}
