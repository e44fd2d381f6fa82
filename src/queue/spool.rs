//! The default store: a segment log with group commit (README.md). [`Spool::open`] is called by the daemon; everything else goes through
//! [`crate::Store`].

mod accept;
mod apply;
mod change;
mod checkpoint;
mod chore;
mod code;
mod compact;
mod content;
mod corrupt;
mod disk;
mod envelope_code;
mod fail;
mod frame;
mod handed;
mod index;
mod job;
mod missing;
mod read;
mod record;
mod recover;
mod roll;
mod scan;
mod select;
mod span;
mod standing;
mod store;
mod writer;

pub mod inspect;

#[cfg(test)]
mod tests;

use crate::{Error, Settings};
use content::Budget;
use disk::Disk;
use index::Index;
use job::Jobs;
use mail::id::COUNTER_LIMIT;
use mail::log::{Event, Log};
use mail::{QueueId, Time};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub use disk::{Call, Hook};
pub use recover::Recovery;

/// How an error of the file system reads in the store's terms.
fn failed(error: std::io::Error) -> Error {
    if durable::is_full(&error) { Error::Full(error.to_string()) } else { Error::Failed(error.to_string()) }
}

/// Whether changes are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Condition {
    Open,
    /// Writing failed twice; probing.
    ReadOnly(String),
    Closed,
}

/// When free space was last looked at, and what was found.
struct SpaceSeen {
    at: Option<Instant>,
    space: durable::Space,
    /// No segment was to be had for mail.
    no_segment: Option<Instant>,
}

/// What the callers, the writer and the chores share.
pub(crate) struct Shared {
    disk: Disk,
    index: Mutex<Index>,
    jobs: Jobs,
    budget: Arc<Budget>,
    /// Bodies from this size on go to files.
    large: u64,
    /// Size of a segment.
    segment: u32,
    /// Spares that new mail must leave alone.
    reserve: usize,
    min_free: u64,
    /// Sessions inside a transaction.
    inside: AtomicUsize,
    /// The next id's number.
    counter: AtomicU64,
    /// Numbers below this are durably reserved.
    limit: AtomicU64,
    reserving: AtomicBool,
    changed: Arc<Notify>,
    log: OnceLock<Arc<dyn Log>>,
    condition: Mutex<Condition>,
    space: Mutex<SpaceSeen>,
    /// Time between probes of a store that failed.
    probe: Duration,
    chores: chore::Sender,
    /// Turns of the writer's loop: a test looks whether it spins.
    #[cfg(test)]
    turns: AtomicU64,
}

/// Ids are reserved in blocks of this size.
const ID_BLOCK: u64 = 65_536;
/// Fewer free inodes than this, and new mail is refused.
const MIN_INODES: u64 = 64;
/// Last words in one frame.
const LAST_WORDS: usize = 1_024;
/// How long a look at the free space is good for.
const SPACE_AGE: Duration = Duration::from_millis(250);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding it is a bug that must not stop the queue as well.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn index(&self) -> MutexGuard<'_, Index> {
        lock(&self.index)
    }

    /// Refused while nothing can be recorded.
    fn writable(&self) -> Result<(), Error> {
        match &*lock(&self.condition) {
            Condition::Open => Ok(()),
            Condition::ReadOnly(why) => Err(Error::ReadOnly(why.clone())),
            Condition::Closed => Err(Error::ReadOnly("closed".into())),
        }
    }

    /// Whether new mail of `size` bytes is taken.
    fn room(&self, size: u64) -> Result<(), Error> {
        self.writable()?;
        let mut seen = lock(&self.space);
        if seen.at.is_none_or(|at| at.elapsed() >= SPACE_AGE)
            && let Ok(space) = self.disk.space()
        {
            seen.at = Some(Instant::now());
            seen.space = space;
        }
        if seen.no_segment.is_some_and(|at| at.elapsed() < self.probe.min(SPACE_AGE * 4)) {
            return Err(Error::Full("no segment left for new mail".into()));
        }
        let durable::Space { bytes, inodes } = seen.space;
        if bytes < self.min_free.saturating_add(size) {
            return Err(Error::Full(format!("{bytes} bytes free, reserve is {}", self.min_free)));
        }
        if inodes < MIN_INODES {
            return Err(Error::Full(format!("{inodes} inodes free")));
        }
        Ok(())
    }

    /// The next number of the counter, if it is durably reserved; a new block is reserved long before the old one ends.
    fn next_number(&self) -> Option<u64> {
        let limit = self.limit.load(Ordering::Relaxed);
        let next = |number| (number < limit).then_some(number + 1);
        let number = self.counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok();
        let left = limit.saturating_sub(number.unwrap_or(limit));
        if left < ID_BLOCK / 2 && !self.reserving.swap(true, Ordering::Relaxed) {
            self.jobs.push(job::counter(limit + ID_BLOCK));
        }
        number
    }

    /// While no number can be reserved, the ids are random ones far ahead of the counter, for the log; [`Shared::is_reserved`] refuses them.
    fn new_id(&self, now: Time) -> QueueId {
        let number = self.next_number().unwrap_or_else(|| {
            let random = u64::from_str_radix(durable::random_name().get(..8).unwrap_or_default(), 16);
            self.limit.load(Ordering::Relaxed) + COUNTER_LIMIT / 4 + random.unwrap_or_default() % (COUNTER_LIMIT / 4)
        });
        QueueId::new(now.seconds(), number)
    }

    /// Whether an id's number cannot be given again after a crash. The counter goes round.
    fn is_reserved(&self, id: QueueId) -> bool {
        let limit = self.limit.load(Ordering::Relaxed) % COUNTER_LIMIT;
        (COUNTER_LIMIT + limit - 1 - id.counter() % COUNTER_LIMIT) % COUNTER_LIMIT < COUNTER_LIMIT / 2
    }

    /// Gives a handed-out message back, due at `at`, or as soon as its turn comes.
    fn give_back(&self, id: QueueId, at: Option<i64>) {
        let mut index = self.index();
        let asap = index.asap(id);
        let Some(entry) = index.messages.get_mut(&id).filter(|entry| entry.active) else {
            return;
        };
        entry.active = false;
        entry.standings.as_mut_slice().iter_mut().for_each(standing::Standing::land);
        let at = at.unwrap_or(asap);
        entry.due = entry.standings.earliest(at).unwrap_or(i64::MAX);
        index.wait(id);
        drop(index);
        self.changed.notify_one();
    }

    /// Takes no more jobs. Under the lock under which changes are made: what has changed memory is queued.
    fn stop(&self) {
        let _no_change_meanwhile = self.index();
        self.jobs.stop();
    }

    fn note(&self, text: String) {
        if let Some(log) = self.log.get() {
            log.write(&Event::Server { text });
        }
    }
}

/// The spool.
pub struct Spool {
    shared: Arc<Shared>,
    writer: Option<JoinHandle<()>>,
    chores: Option<JoinHandle<()>>,
    _lock: durable::LockFile,
}

/// What the spool has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sync calls (files and folders).
    pub syncs: u64,
    /// Write calls to segments.
    pub writes: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of all content.
    pub bytes: u64,
    /// Unfinished messages.
    pub messages: u64,
}

impl Spool {
    /// Takes the spool in `settings.path` and brings it back to what its log says. The folder must exist. Blocks for as long as reading the
    /// log takes.
    ///
    /// # Errors
    /// [`Error::Failed`]: another engine has it (with its pid), or the file system's error.
    pub fn open(settings: &Settings, now: Time) -> Result<(Arc<Self>, Recovery), Error> {
        Self::open_with(settings, now, None, Duration::from_secs(10))
    }

    /// As [`Spool::open`], with a hook before every call that changes a file, and another time between probes: for tests.
    ///
    /// # Errors
    /// As [`Spool::open`].
    pub fn open_with(
        settings: &Settings,
        now: Time,
        hook: Option<Arc<dyn Hook>>,
        probe: Duration,
    ) -> Result<(Arc<Self>, Recovery), Error> {
        let root = Path::new(&settings.path);
        let disk = Disk::new(root, hook);
        let lock = durable::LockFile::take(&root.join("lock")).map_err(|error| {
            let text = format!("spool {}: {error}", settings.path);
            if matches!(error, durable::LockError::Held(_)) { Error::InUse(text) } else { Error::Failed(text) }
        })?;
        disk.make_folders().map_err(failed)?;
        let (recovered, mut recovery) = recover::recover(settings, &disk, now)?;
        let (chores, chore_list) = chore::channel();
        let shared = Arc::new(Shared::new(settings, disk, recovered.index, recovered.counter, probe, chores));
        let mut writer = writer::Writer::new(Arc::clone(&shared), recovered.next, recovered.spares);
        writer.start();
        let chores = Some(chore::start(Arc::clone(&shared), chore_list).map_err(failed)?);
        let thread = std::thread::Builder::new().name("spool".into());
        let watched = Arc::clone(&shared);
        let thread = thread.spawn(move || {
            let _if_it_dies = Watch(watched);
            writer.run();
        });
        let thread = Some(thread.map_err(failed)?);
        let mut leaving = recovered.leaving;
        while !leaving.is_empty() {
            let rest = leaving.split_off(leaving.len().min(LAST_WORDS));
            shared.jobs.push(job::removal(std::mem::replace(&mut leaving, rest)));
        }
        for (id, why) in recovered.corrupt {
            recovery.lines.push(shared.set_aside(id, &why));
        }
        Ok((Arc::new(Self { shared, writer: thread, chores, _lock: lock }), recovery))
    }

    /// Where the spool reports what an administrator must know. At most once.
    pub fn log_to(&self, log: Arc<dyn Log>) {
        let _only_the_first_counts = self.shared.log.set(log);
    }

    /// Counters, for metrics and tests.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let index = self.shared.index();
        Statistics {
            syncs: self.shared.disk.syncs.load(Ordering::Relaxed),
            writes: self.shared.disk.writes.load(Ordering::Relaxed),
            segments: index.segments.len() as u64,
            bytes: index.bytes,
            messages: index.messages.len() as u64,
        }
    }
}

/// A writer that died of a bug records nothing any more: then nothing may be tried, and nobody may wait for it.
struct Watch(Arc<Shared>);

impl Drop for Watch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            *lock(&self.0.condition) = Condition::ReadOnly("the writer has died".into());
            self.0.note("spool: the writer has died; nothing is accepted or delivered until a restart".into());
            self.0.stop();
            self.0.jobs.refuse_all(&Error::ReadOnly("the writer has died".into()));
        }
    }
}

impl Shared {
    fn new(
        settings: &Settings,
        disk: Disk,
        index: Index,
        counter: u64,
        probe: Duration,
        chores: chore::Sender,
    ) -> Self {
        let segment = recover::segment_size(settings);
        Self {
            disk,
            index: Mutex::new(index),
            jobs: Jobs::default(),
            budget: Budget::new(settings.memory),
            // A frame must fit in a segment with room to spare.
            large: settings.large.min(u64::from(segment) / 4).max(1),
            segment,
            reserve: settings.reserve as usize,
            min_free: settings.min_free,
            inside: AtomicUsize::new(0),
            counter: AtomicU64::new(counter),
            limit: AtomicU64::new(counter),
            reserving: AtomicBool::new(false),
            changed: Arc::new(Notify::new()),
            log: OnceLock::new(),
            condition: Mutex::new(Condition::Open),
            space: Mutex::new(SpaceSeen {
                at: None,
                space: durable::Space { bytes: u64::MAX, inodes: u64::MAX },
                no_segment: None,
            }),
            probe,
            chores,
            #[cfg(test)]
            turns: AtomicU64::new(0),
        }
    }
}

impl Drop for Spool {
    /// Ends the threads. Without [`crate::Store::close`] before, the next start is after an unclean stop.
    fn drop(&mut self) {
        self.shared.stop();
        // A panic there was reported; there is nothing more to do about it here.
        let _panicked = self.writer.take().map(JoinHandle::join);
        self.shared.chores.stop();
        let _panicked = self.chores.take().map(JoinHandle::join);
    }
}
