//! The one thread that writes the log: takes what is waiting, writes once, syncs once, answers all (group commit decides the
//! speed of a queue: crates.md §6). A failed write or sync ends the segment and is never tried again on it.

use super::chore::{Chore, Spares};
use super::compact::Compactor;
use super::frame::{FrameHeader, Seeds, align};
use super::index::{Index, Place, Stored};
use super::job::{Acceptance, Answer, Changes, Effect, Expansion, Job, Taken};
use super::standing::Standing;
use super::{Condition, Shared, lock};
use crate::{ContentId, Error};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// An outcome is synced this long after it was written, if no commit came before (R-8 says 50 ms; the flush takes its time too).
const OUTCOME_DELAY: Duration = Duration::from_millis(40);
/// The writer never waits longer than this for other sessions.
const LINGER: Duration = Duration::from_millis(1);
/// Writes end at page boundaries: a partly overwritten page of a recycled file would have to be read first.
const PAGE: usize = 4096;
/// Dead segments are looked for after so many batches.
const TIDY: u32 = 64;
/// One log line at most in this time while nothing can be written.
const COMPLAINT: Duration = Duration::from_secs(60);

/// The segment being written.
pub(crate) struct Current {
    pub number: u32,
    pub path: PathBuf,
    pub file: Arc<File>,
    pub seeds: Seeds,
    /// Where the next frame goes.
    pub pos: u32,
    /// Durable up to here.
    pub synced: u32,
    /// Taken from the reserve: not for new mail.
    pub reserved: bool,
    /// Not written yet; it goes out with the first frames.
    pub header: Option<Vec<u8>>,
}

/// A job whose frame has its place.
pub(crate) struct Laid {
    job: Job,
    place: Place,
}

/// A store that cannot write.
struct Broken {
    why: String,
    probe: Instant,
    complained: Instant,
}

/// The writer's state.
pub(crate) struct Writer {
    pub shared: Arc<Shared>,
    pub current: Option<Current>,
    /// Number of the next segment.
    pub next: u32,
    pub spares: Spares,
    pub compactor: Compactor,
    /// Bytes to write next, and where they start.
    buffer: Vec<u8>,
    start: u32,
    /// Frames in the buffer.
    laid: Vec<Laid>,
    /// Frames written and not synced.
    written: Vec<Laid>,
    written_at: Option<Instant>,
    /// Changes that could not be written yet.
    parked: Vec<Job>,
    broken: Option<Broken>,
    failures: u32,
    flush: Duration,
    /// Waits that brought nothing, and how many to leave out.
    fruitless: u32,
    skip: u32,
    pub checkpointed: u32,
}

impl Writer {
    pub fn new(shared: Arc<Shared>, next: u32, spares: Vec<String>) -> Self {
        Self {
            shared,
            current: None,
            next,
            spares: Arc::new(std::sync::Mutex::new(spares)),
            compactor: Compactor::default(),
            buffer: Vec::new(),
            start: 0,
            laid: Vec::new(),
            written: Vec::new(),
            written_at: None,
            parked: Vec::new(),
            broken: None,
            failures: 0,
            flush: Duration::ZERO,
            fruitless: 0,
            skip: 0,
            checkpointed: next,
        }
    }

    /// Reserves ids in a new segment; a store that cannot do that starts read-only and probes.
    pub fn start(&mut self) {
        let limit = self.shared.limit.load(Ordering::Relaxed) + super::ID_BLOCK;
        self.shared.reserving.store(true, Ordering::Relaxed);
        self.commit(vec![super::job::counter(limit)]);
        self.settle();
    }

    /// Until the spool is dropped.
    pub fn run(mut self) {
        let mut batches = 0u32;
        loop {
            let deadline = match &self.broken {
                Some(broken) => Some(broken.probe),
                None if self.compactor.is_busy() && self.written.is_empty() => Some(Instant::now()),
                None => self.written_at.map(|at| at + self.delay()),
            };
            let linger = |accepts| self.linger(accepts);
            let (taken, lingered) = self.shared.jobs.take(deadline, linger);
            match taken {
                Taken::Stop => return,
                Taken::Nothing => {
                    if self.idle() {
                        self.stir();
                    }
                }
                Taken::Jobs(jobs) => {
                    self.learn(lingered, &jobs);
                    self.commit(jobs);
                    batches = batches.wrapping_add(1);
                    if batches.is_multiple_of(TIDY) {
                        self.stir();
                    }
                }
            }
            self.maintain();
        }
    }

    /// How long outcomes stay unsynced; tests that probe fast do this fast, too.
    fn delay(&self) -> Duration {
        OUTCOME_DELAY.min(self.shared.probe)
    }

    /// How long to wait for sessions that are about to commit: a recent flush at most, and only if there are any.
    fn linger(&self, accepts: usize) -> Option<Duration> {
        let inside = self.shared.inside.load(Ordering::Relaxed);
        (inside > accepts && self.skip == 0).then(|| self.flush.min(LINGER))
    }

    /// Sessions may sit in a transaction for minutes; after waits that brought nobody, more and more are left out.
    fn learn(&mut self, lingered: bool, jobs: &[Job]) {
        if !lingered {
            self.skip = self.skip.saturating_sub(1);
        } else if jobs.iter().filter(|job| job.is_mail()).count() > 1 {
            self.fruitless = 0;
        } else {
            self.fruitless = (self.fruitless + 1).min(6);
            self.skip = (1 << self.fruitless) - 1;
        }
    }

    /// Nothing came: what is due by now? True if outcomes were synced.
    fn idle(&mut self) -> bool {
        if let Some(broken) = &self.broken {
            if broken.probe <= Instant::now() {
                self.probe();
            }
            return false;
        }
        let due = self.written_at.is_some_and(|at| at.elapsed() >= self.delay());
        if due {
            self.settle();
        }
        due
    }

    /// Writes a batch; syncs it if somebody waits for that.
    pub fn commit(&mut self, jobs: Vec<Job>) {
        let mut urgent = false;
        let mut closing = Vec::new();
        for job in jobs {
            if let Effect::Close(answer) = job.effect {
                closing.push(answer);
                continue;
            }
            urgent |= job.is_urgent();
            self.put(job);
        }
        if let Err(error) = self.write() {
            self.end_segment(&error);
        }
        if urgent {
            self.settle();
        }
        if !closing.is_empty() {
            self.close(closing);
        }
    }

    /// Finds a place for one job.
    fn put(&mut self, job: Job) {
        if let Some(broken) = &self.broken {
            let error = Error::ReadOnly(broken.why.clone());
            return self.decline(job, &error);
        }
        match self.make_room(&job) {
            Ok(()) => self.lay(job),
            Err(error @ Error::Full(_)) if job.is_mail() => {
                lock(&self.shared.space).no_segment = Some(Instant::now());
                self.decline(job, &error);
            }
            Err(error) => {
                if self.broken.is_none() && job.length() + u64::from(PAGE as u32) <= u64::from(self.shared.segment) {
                    self.break_down(&error.to_string());
                }
                self.decline(job, &error);
            }
        }
    }

    /// Changes are never given up: they wait for the store to come back. Everything else is refused.
    fn decline(&mut self, mut job: Job, error: &Error) {
        match &mut job.effect {
            Effect::Changes(changes) => {
                if let Some(answer) = changes.answer.take() {
                    let _nobody_waits = answer.send(Err(error.clone()));
                }
                self.parked.push(job);
            }
            Effect::Counter(_) => self.parked.push(job),
            _ => job.refuse(error),
        }
    }

    /// Nothing is on its way to the disk.
    pub fn is_settled(&self) -> bool {
        self.written.is_empty() && self.laid.is_empty() && self.broken.is_none()
    }

    /// Whether the job's frame has room in the current segment.
    pub fn fits(&self, job: &Job) -> bool {
        let end = |current| self.position(current) + job.length();
        self.current.as_ref().is_some_and(|current| end(current) <= u64::from(self.shared.segment))
    }

    /// Lays a copy; `None` if the store failed.
    pub fn put_copy(&mut self, job: Job) -> Option<Place> {
        self.make_room(&job).ok()?;
        self.lay(job);
        self.laid.last().map(|laid| laid.place)
    }

    /// Writes and syncs; whether the frame at `last` is durable where it was put.
    pub fn settle_through(&mut self, last: Place) -> bool {
        if let Err(error) = self.write() {
            self.end_segment(&error);
        }
        self.settle();
        let here = |current: &Current| current.number == last.segment && current.synced > last.offset;
        self.broken.is_none() && self.current.as_ref().is_some_and(here)
    }

    fn position(&self, current: &Current) -> u64 {
        if self.buffer.is_empty() { u64::from(current.pos) } else { u64::from(self.start) + self.buffer.len() as u64 }
    }

    /// Makes sure that there is a segment with room for the job's frame.
    fn make_room(&mut self, job: &Job) -> Result<(), Error> {
        let mail = job.is_mail();
        if job.length() + PAGE as u64 > u64::from(self.shared.segment) {
            return Err(Error::Failed("larger than a segment".into()));
        }
        if let Some(current) = &self.current {
            let allowed = !(mail && current.reserved);
            if allowed && self.fits(job) {
                return Ok(());
            }
            if !allowed {
                // Back to ordinary segments as soon as there is one again.
                self.shared.room(0)?;
            }
        }
        let next = self.pick(mail)?;
        self.write().map_err(|error| self.end_segment(&error)).ok();
        self.settle();
        if self.broken.is_some() {
            return Err(Error::ReadOnly("the segment failed".into()));
        }
        self.begin(next)
    }

    /// Puts a job's frame into the buffer.
    fn lay(&mut self, job: Job) {
        let Some(current) = &mut self.current else { return };
        if self.buffer.is_empty() {
            match current.header.take() {
                Some(header) => {
                    self.start = 0;
                    self.buffer = header;
                }
                None => self.start = current.pos,
            }
        }
        let offset = self.start + self.buffer.len() as u32;
        let header = FrameHeader {
            records: job.records.len() as u32,
            content: job.content.len() as u32,
            crc: current.seeds.records_crc(&job.records),
            synced: current.synced,
        };
        self.buffer.extend_from_slice(&header.encode(current.seeds, offset));
        self.buffer.extend_from_slice(&job.records);
        self.buffer.extend_from_slice(&job.content);
        self.buffer.resize(align(self.buffer.len() as u64) as usize, 0);
        let place = Place { segment: current.number, offset, length: header.records };
        self.laid.push(Laid { job, place });
    }

    /// Writes the buffer. On an error the frames in it are still in `laid`.
    pub fn write(&mut self) -> std::io::Result<()> {
        let Some(current) = &mut self.current else {
            return Ok(());
        };
        if self.buffer.is_empty() {
            return Ok(());
        }
        let used = self.buffer.len();
        let end = (self.start as usize + used).next_multiple_of(PAGE).min(self.shared.segment as usize);
        self.buffer.resize(end - self.start as usize, 0);
        self.shared.disk.write(&current.path, &current.file, &self.buffer, u64::from(self.start))?;
        current.pos = self.start + used as u32;
        self.buffer.clear();
        if self.buffer.capacity() > 1 << 20 {
            self.buffer = Vec::new();
        }
        self.written.append(&mut self.laid);
        self.written_at.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Syncs what is written, if anything is, and lets it take effect.
    pub fn settle(&mut self) {
        let Some(current) = &mut self.current else { return };
        if self.written.is_empty() {
            return;
        }
        let started = Instant::now();
        if let Err(error) = self.shared.disk.sync(&current.path, &current.file) {
            return self.end_segment(&error);
        }
        self.flush = (self.flush * 3 + started.elapsed()) / 4;
        current.synced = current.pos;
        self.failures = 0;
        self.written_at = None;
        let written = std::mem::take(&mut self.written);
        let (number, end) = (current.number, current.pos);
        apply(&self.shared, written, number, end);
    }

    /// The segment is over: nothing after its last good offset counts. Senders hear of it; changes go into a new segment.
    pub fn end_segment(&mut self, error: &std::io::Error) {
        let Some(current) = self.current.take() else { return };
        self.failures += 1;
        let text = format!("spool: segment {} ended at {}: {error}", current.number, current.synced);
        self.shared.note(text);
        if let Some(segment) = self.shared.index().segments.get_mut(&current.number) {
            segment.end = current.synced.max(super::frame::BLOCK);
            segment.voided = true;
        }
        self.buffer.clear();
        self.written_at = None;
        let refused = super::failed(std::io::Error::from(error.kind()));
        let refused = if durable::is_full(error) { Error::Full(error.to_string()) } else { refused };
        let mut again = Vec::new();
        for laid in self.written.drain(..).chain(self.laid.drain(..)) {
            match &laid.job.effect {
                Effect::Changes(_) | Effect::Counter(_) => again.push(laid.job),
                _ => laid.job.refuse(&refused),
            }
        }
        if self.failures > 1 {
            self.break_down(&error.to_string());
            again.into_iter().for_each(|job| self.decline(job, &refused));
            return;
        }
        // Once, and on another segment; a second failure comes back here and breaks down.
        again.into_iter().for_each(|job| self.put(job));
        if let Err(error) = self.write() {
            self.end_segment(&error);
        }
        self.settle();
    }

    /// Read-only from now on.
    fn break_down(&mut self, why: &str) {
        if self.broken.is_none() {
            self.shared.note(format!("spool: read-only, nothing is accepted or delivered: {why}"));
            *lock(&self.shared.condition) = Condition::ReadOnly(why.to_owned());
            let now = Instant::now();
            self.broken = Some(Broken { why: why.to_owned(), probe: now + self.shared.probe, complained: now });
        }
    }

    /// Tries whether a new segment can be written; then what waited is written first.
    fn probe(&mut self) {
        let Some(broken) = self.broken.take() else { return };
        self.failures = 0;
        let mut jobs = std::mem::take(&mut self.parked);
        if jobs.is_empty() {
            jobs.push(super::job::counter(self.shared.limit.load(Ordering::Relaxed)));
        }
        self.commit(jobs);
        self.settle();
        match &mut self.broken {
            None => {
                *lock(&self.shared.condition) = Condition::Open;
                self.shared.note("spool: can be written again".into());
                self.shared.changed.notify_one();
            }
            Some(again) if broken.complained.elapsed() < COMPLAINT => again.complained = broken.complained,
            Some(_) => {}
        }
    }

    /// Nothing more is taken; what is waiting is written, and a checkpoint.
    fn close(&mut self, answers: Vec<Answer<()>>) {
        self.shared.jobs.stop();
        while let (Taken::Jobs(jobs), _) = self.shared.jobs.take(None, |_| None) {
            self.commit(jobs);
        }
        self.settle();
        let result = match &self.broken {
            Some(broken) => Err(Error::ReadOnly(broken.why.clone())),
            None => {
                *lock(&self.shared.condition) = Condition::Closed;
                self.last_checkpoint()
            }
        };
        for answer in answers {
            let _nobody_waits = answer.send(result.clone());
        }
    }
}

/// What callers hear after a sync.
enum Told {
    Accepted(Box<Acceptance>),
    Done(Answer<()>),
}

/// Lets synced frames take effect in the index, in their order, then answers.
fn apply(shared: &Shared, written: Vec<Laid>, number: u32, end: u32) {
    let mut told = Vec::with_capacity(written.len());
    let mut bodies = Vec::new();
    {
        let mut index = shared.index();
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.end = end;
        }
        for Laid { job, place } in written {
            match job.effect {
                Effect::Accept(accept) => told.push(accepted(&mut index, accept, place, shared)),
                Effect::Changes(changes) => told.extend(changed(&mut index, changes, place, &mut bodies)),
                Effect::Expand(expand) => told.push(expanded(&mut index, expand, place, shared)),
                Effect::Counter(limit) => {
                    shared.limit.fetch_max(limit, Ordering::Relaxed);
                    shared.reserving.store(false, Ordering::Relaxed);
                }
                Effect::Close(_) | Effect::Copy => {}
            }
        }
    }
    for told in told {
        match told {
            Told::Accepted(accept) => {
                // If nobody waits, the value is dropped, which gives the messages back.
                drop(accept.answer.send(Ok(accept.handed)));
            }
            Told::Done(answer) => {
                let _nobody_waits = answer.send(Ok(()));
            }
        }
    }
    bodies.into_iter().for_each(|content| shared.chores.send(Chore::RemoveBody(content)));
}

fn accepted(index: &mut Index, mut accept: Box<Acceptance>, place: Place, shared: &Shared) -> Told {
    let inline = place.offset + super::frame::HEADER + place.length;
    let stored = Stored {
        segment: if accept.in_file { 0 } else { place.segment },
        offset: if accept.in_file { 0 } else { inline },
        size: accept.size,
        crc: accept.crc,
        refs: 0,
        verified: true,
    };
    index.store(accept.content, stored);
    let (submission, arrived) = accept.submission;
    if let Some((first, _)) = accept.entries.first() {
        index.submissions.insert(submission, *first, arrived);
    }
    for (id, mut entry) in std::mem::take(&mut accept.entries) {
        entry.base = place;
        index.place(id, entry);
    }
    if let Some((id, changes)) = accept.outcomes.take() {
        index.alter(id, |entry| {
            entry.change(&changes);
            entry.settle();
        });
        patched_or_finished(index, id, place, shared);
    }
    Told::Accepted(accept)
}

fn changed(index: &mut Index, changes: Changes, place: Place, bodies: &mut Vec<ContentId>) -> Option<Told> {
    for id in changes.ids {
        if let Some(floating) = index.floating.get_mut(&id) {
            // Jobs take effect in the order in which they were queued, so the first is this one.
            floating.remove(0);
            if floating.is_empty() {
                index.floating.remove(&id);
            }
        }
        index.patch(id, place);
    }
    for (id, entry) in changes.leaving {
        bodies.extend(index.finish(id, &entry, place.segment));
    }
    changes.answer.map(Told::Done)
}

fn expanded(index: &mut Index, expand: Expansion, place: Place, shared: &Shared) -> Told {
    let Expansion { id, expanded, children, answer } = expand;
    index.alter(id, |entry| {
        let active = entry.active;
        let child = |mut standing: Standing| {
            if active {
                standing.take_off(i64::MIN);
            }
            standing
        };
        entry.expand(&expanded, children.into_iter().map(child));
    });
    patched_or_finished(index, id, place, shared);
    Told::Done(answer)
}

/// A change that took effect only now: the message has one patch more, or is finished. Its last word, which must do without the
/// earlier changes, is said by a job of its own; until that is synced all its frames stay.
fn patched_or_finished(index: &mut Index, id: mail::QueueId, place: Place, shared: &Shared) {
    index.patch(id, place);
    if index.messages.get(&id).is_some_and(|entry| entry.standings.all_finished())
        && let Some(entry) = index.leave(id)
    {
        shared.jobs.push(super::job::removal(vec![(id, entry)]));
    }
}
