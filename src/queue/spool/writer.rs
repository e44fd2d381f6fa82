//! The one thread that writes the log: takes what is waiting, writes once, syncs once, answers all (group commit decides the
//! speed of a queue: crates.md §6). A failed write or sync ends the segment and is never tried again on it.

use super::apply::apply;
use super::chore::Spares;
use super::compact::Compactor;
use super::frame::{FrameHeader, Seeds, align};
use super::index::Place;
use super::job::{Answer, Effect, Job, Taken};
use super::{Condition, Shared, lock};
use crate::Error;
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
    pub job: Job,
    pub place: Place,
}

/// A store that cannot write.
pub(crate) struct Broken {
    pub why: String,
    pub probe: Instant,
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
    pub buffer: Vec<u8>,
    start: u32,
    /// Frames in the buffer.
    pub laid: Vec<Laid>,
    /// Frames written and not synced.
    pub written: Vec<Laid>,
    pub written_at: Option<Instant>,
    /// Changes that could not be written yet.
    pub parked: Vec<Job>,
    pub broken: Option<Broken>,
    /// No line about failures before this.
    pub quiet: Option<Instant>,
    pub failures: u32,
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
            quiet: None,
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
            #[cfg(test)]
            self.shared.turns.fetch_add(1, Ordering::Relaxed);
            let deadline = match &self.broken {
                Some(broken) => Some(broken.probe),
                // Without a segment the compactor does nothing: waiting for it would be spinning.
                None if self.current.is_some() && self.compactor.is_busy() && self.written.is_empty() => {
                    Some(Instant::now())
                }
                None => self.written_at.map(|at| at + self.delay()),
            };
            let linger = |accepts| self.linger(accepts);
            let (taken, lingered) = self.shared.jobs.take(deadline, linger);
            match taken {
                Taken::Stop => return,
                Taken::Nothing => {}
                Taken::Jobs(jobs) => {
                    self.learn(lingered, &jobs);
                    self.commit(jobs);
                    batches = batches.wrapping_add(1);
                    if batches.is_multiple_of(TIDY) {
                        self.stir();
                    }
                }
            }
            // After jobs as well: outcomes may come so fast that there is never nothing to do.
            if self.what_is_due() {
                self.stir();
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

    /// Does what the clock asks for. True if outcomes were synced.
    fn what_is_due(&mut self) -> bool {
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
    pub fn put(&mut self, job: Job) {
        if let Some(broken) = &self.broken {
            let error = Error::ReadOnly(broken.why.clone());
            return self.decline(job, &error);
        }
        match self.make_room(&job) {
            Ok(()) => self.lay(job),
            Err(error @ Error::Full(_)) if job.is_mail() => {
                lock(&self.shared.space).no_segment = Some(Instant::now());
                self.stir();
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

    /// Nothing more is taken; what is waiting is written, and a checkpoint.
    fn close(&mut self, answers: Vec<Answer<()>>) {
        self.shared.stop();
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
