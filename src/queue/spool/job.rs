//! What the writer is asked to do. A job is complete when it is queued: the work goes on even if whoever asked has gone.

use super::index::Entry;
use super::standing::Standing;
use crate::{Change, ContentId, Error, Recipient};
use bytes::Bytes;
use mail::QueueId;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Where an answer goes; `Ok(())` after the sync.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;

/// One frame to write, and what its sync means.
pub(crate) struct Job {
    /// Encoded records.
    pub records: Bytes,
    /// Content that stands behind them in the frame.
    pub content: Bytes,
    pub effect: Effect,
}

pub(crate) enum Effect {
    /// A new message, or outcomes with the notification that reports them.
    Accept(Box<Acceptance>),
    /// Changes that are in the index already.
    Changes(Changes),
    /// Recipients become others.
    Expand(Expansion),
    /// A fresh copy of something, made by the compactor.
    Copy,
    /// Ids below this may be given.
    Counter(u64),
    /// Write everything, write a checkpoint, take nothing more.
    Close(Answer<()>),
}

pub(crate) struct Acceptance {
    pub content: ContentId,
    pub size: u64,
    pub crc: u32,
    pub in_file: bool,
    pub entries: Vec<(QueueId, Box<Entry>)>,
    pub submission: ([u8; 16], i64),
    /// Outcomes in the same frame: this is a notification, which may use the reserve.
    pub outcomes: Option<(QueueId, Vec<Change>)>,
    pub handed: super::handed::Handed,
    pub answer: Answer<super::handed::Handed>,
}

#[derive(Default)]
pub(crate) struct Changes {
    pub ids: Vec<QueueId>,
    /// Messages that end with this frame.
    pub leaving: Vec<(QueueId, Box<Entry>)>,
    /// Somebody waits for the sync: it is not put off.
    pub urgent: bool,
    pub answer: Option<Answer<()>>,
}

pub(crate) struct Expansion {
    pub id: QueueId,
    pub expanded: Vec<u32>,
    pub children: Vec<Standing>,
    /// Of the clones.
    pub entries: Vec<(QueueId, Box<Entry>)>,
    pub clones: super::handed::Handed,
    pub answer: Answer<super::handed::Handed>,
}

impl Job {
    /// New mail: must not use the reserve, and may be refused.
    pub fn is_mail(&self) -> bool {
        matches!(&self.effect, Effect::Accept(accept) if accept.outcomes.is_none())
    }
    /// Somebody waits for the sync.
    pub fn is_urgent(&self) -> bool {
        match &self.effect {
            Effect::Changes(changes) => changes.urgent,
            _ => true,
        }
    }
    /// Bytes in the log.
    pub fn length(&self) -> u64 {
        super::frame::align(u64::from(super::frame::HEADER) + self.records.len() as u64 + self.content.len() as u64)
    }
    /// Ends it without effect. Changes must not come here: they are never given up.
    pub fn refuse(self, error: &Error) {
        match self.effect {
            Effect::Accept(accept) => {
                accept.handed.disarm();
                let _nobody_waits = accept.answer.send(Err(error.clone()));
            }
            Effect::Expand(expand) => {
                expand.clones.disarm();
                let _nobody_waits = expand.answer.send(Err(error.clone()));
            }
            Effect::Close(answer) => {
                let _nobody_waits = answer.send(Err(error.clone()));
            }
            Effect::Changes(_) | Effect::Counter(_) | Effect::Copy => {}
        }
    }
}

/// Queue of jobs for the writer. Bounded by its users: sessions have one accept each, changes belong to messages in hand.
#[derive(Default)]
pub(crate) struct Jobs {
    inner: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    list: VecDeque<Job>,
    accepts: usize,
    stop: bool,
    nudged: bool,
    /// The writer sleeps: only then is waking it worth a system call.
    asleep: bool,
}

/// What the writer got.
pub(crate) enum Taken {
    Jobs(Vec<Job>),
    /// Nothing came before the deadline.
    Nothing,
    /// The spool was dropped.
    Stop,
}

/// Most jobs and bytes of one batch.
const BATCH: usize = 512;
const BATCH_BYTES: u64 = 4 << 20;

impl Jobs {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, job: Job) {
        let mut waiting = self.lock();
        if waiting.stop {
            drop(waiting);
            job.refuse(&Error::ReadOnly("closed".into()));
            return;
        }
        waiting.accepts += usize::from(matches!(job.effect, Effect::Accept(_)));
        waiting.list.push_back(job);
        let wake = std::mem::take(&mut waiting.asleep);
        drop(waiting);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// A job of the writer itself: taken also while the last ones are written.
    pub fn push_own(&self, job: Job) {
        self.lock().list.push_back(job);
    }

    /// Whether jobs are refused.
    pub fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Lets the writer look for other work.
    pub fn nudge(&self) {
        let mut waiting = self.lock();
        waiting.nudged = true;
        waiting.asleep = false;
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Nobody will write them.
    pub fn refuse_all(&self, error: &Error) {
        let list = std::mem::take(&mut self.lock().list);
        list.into_iter().for_each(|job| job.refuse(error));
    }

    /// The writer ends after what is waiting; later jobs are refused.
    pub fn stop(&self) {
        let mut waiting = self.lock();
        waiting.stop = true;
        drop(waiting);
        self.arrived.notify_one();
    }

    /// For the checkpoint: messages that left the index but whose last word is not written yet.
    pub fn with_leaving(&self, mut each: impl FnMut(QueueId, &Entry)) {
        for job in &self.lock().list {
            if let Effect::Changes(changes) = &job.effect {
                changes.leaving.iter().for_each(|(id, entry)| each(*id, entry));
            }
        }
    }

    /// Waits for jobs until `deadline` (forever if none), then takes a batch. `linger` says how long it may wait for more, given the accepts
    /// that are there; it is asked again whenever one comes.
    pub fn take(&self, deadline: Option<Instant>, linger: impl Fn(usize) -> Option<Duration>) -> (Taken, bool) {
        let mut waiting = self.lock();
        while waiting.list.is_empty() {
            if waiting.stop {
                return (Taken::Stop, false);
            }
            if std::mem::take(&mut waiting.nudged) {
                return (Taken::Nothing, false);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return (Taken::Nothing, false);
            }
            waiting = self.sleep(waiting, left);
        }
        let started = Instant::now();
        let mut lingered = false;
        while waiting.accepts > 0
            && waiting.list.len() < BATCH
            && let Some(limit) = linger(waiting.accepts)
            && let Some(left) = limit.checked_sub(started.elapsed()).filter(|left| !left.is_zero())
        {
            lingered = true;
            waiting = self.sleep(waiting, Some(left));
        }
        (Taken::Jobs(waiting.drain()), lingered)
    }

    fn sleep<'a>(&self, mut waiting: MutexGuard<'a, Waiting>, left: Option<Duration>) -> MutexGuard<'a, Waiting> {
        waiting.asleep = true;
        let mut waiting = match left {
            Some(left) => {
                let result = self.arrived.wait_timeout(waiting, left);
                result.unwrap_or_else(PoisonError::into_inner).0
            }
            None => self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner),
        };
        waiting.asleep = false;
        waiting
    }
}

impl Waiting {
    fn drain(&mut self) -> Vec<Job> {
        let (mut count, mut bytes) = (0, 0);
        for job in self.list.iter().take(BATCH) {
            bytes += job.length();
            if count > 0 && bytes > BATCH_BYTES {
                break;
            }
            count += 1;
        }
        let batch: Vec<Job> = self.list.drain(..count).collect();
        let accepts = batch.iter().filter(|job| matches!(job.effect, Effect::Accept(_)));
        self.accepts -= accepts.count();
        batch
    }
}

/// Standings of new recipients.
pub(crate) fn standings(recipients: &[Recipient]) -> Vec<Standing> {
    recipients.iter().map(|recipient| Standing::new(recipient.state)).collect()
}

/// A job that reserves ids.
pub(crate) fn counter(limit: u64) -> Job {
    let mut records = super::code::Fields::default();
    super::record::put_counter(&mut records, limit);
    Job { records: records.0.into(), content: Bytes::new(), effect: Effect::Counter(limit) }
}

/// A job that says the last word about messages that have left the index.
pub(crate) fn removal(leaving: Vec<(QueueId, Box<Entry>)>) -> Job {
    let ids: Vec<QueueId> = leaving.iter().map(|(id, _)| *id).collect();
    let mut records = super::code::Fields::default();
    super::record::put_removed(&mut records, &ids);
    Job {
        records: records.0.into(),
        content: Bytes::new(),
        effect: Effect::Changes(Changes { leaving, ..Changes::default() }),
    }
}
