//! When writing fails (README.md rule 4): the segment ends, what must not be lost goes into the next one, and if that fails too the store is
//! read-only until a probe succeeds.

use super::chore::Chore;
use super::job::{Effect, Job};
use super::writer::{Broken, Writer};
use super::{Condition, lock};
use crate::Error;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// One log line at most in this time while nothing can be written.
const COMPLAINT: Duration = Duration::from_secs(60);

impl Writer {
    /// Changes are never given up: they wait for the store to come back. Everything else is refused.
    pub fn decline(&mut self, mut job: Job, error: &Error) {
        match &mut job.effect {
            Effect::Changes(changes) => {
                if let Some(answer) = changes.answer.take() {
                    let _nobody_waits = answer.send(Err(error.clone()));
                }
                self.parked.push(job);
            }
            Effect::Counter(_) => self.parked.push(job),
            Effect::Accept(accept) => {
                // Its frame was never written, so the body that it would have named can go.
                if accept.in_file {
                    self.shared.chores.send(Chore::RemoveBody(accept.content));
                }
                job.refuse(error);
            }
            _ => job.refuse(error),
        }
    }

    /// The segment is over: nothing after its last good offset counts. Senders hear of it; changes go into a new segment.
    pub fn end_segment(&mut self, error: &std::io::Error) {
        let Some(current) = self.current.take() else { return };
        self.failures += 1;
        let text = format!("spool: segment {} ended at {}: {error}", current.number, current.synced);
        self.complain(text);
        if let Some(segment) = self.shared.index().segments.get_mut(&current.number) {
            segment.end = current.synced.max(super::frame::BLOCK);
            segment.voided = true;
        }
        self.buffer.clear();
        self.written_at = None;
        // A voided segment is mostly empty: what it holds is moved soon, or a burst of errors would fill the disk.
        self.stir();
        let why = error.to_string();
        let refused = if durable::is_full(error) { Error::Full(why) } else { Error::Failed(why) };
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

    /// Segments in which nothing was ever durable go, or each probe would cost two more until the disk is full and the headers' history
    /// has no place for those that count. One that cannot be removed durably stays, and stays voided.
    fn drop_failed(&mut self) {
        let numbers: Vec<u32> = {
            let index = self.shared.index();
            let failed = index
                .segments
                .iter()
                .filter(|(_, s)| s.voided && s.end <= super::frame::BLOCK && s.live == 0 && s.graves.is_empty());
            failed.map(|(number, _)| *number).collect()
        };
        let disk = &self.shared.disk;
        let gone: Vec<u32> = numbers.into_iter().filter(|n| disk.unlink(&disk.segment(*n)).is_ok()).collect();
        if !gone.is_empty() && disk.sync_folder("segments").is_ok() {
            let mut index = self.shared.index();
            gone.into_iter().for_each(|number| index.forget_segment(number));
        }
    }

    /// Read-only from now on.
    pub fn break_down(&mut self, why: &str) {
        if self.broken.is_none() {
            self.complain(format!("spool: read-only, nothing is accepted or delivered: {why}"));
            self.quiet = self.quiet.or_else(|| Some(Instant::now() + COMPLAINT));
            *lock(&self.shared.condition) = Condition::ReadOnly(why.to_owned());
            self.broken = Some(Broken { why: why.to_owned(), probe: Instant::now() + self.shared.probe });
        }
    }

    /// Says what is wrong, but not again and again: a log that fills the disk would be the next failure.
    fn complain(&mut self, text: String) {
        if self.quiet.is_none_or(|until| until <= Instant::now()) {
            self.quiet = None;
            self.shared.note(text);
        }
    }

    /// Tries whether a new segment can be written; then what waited is written first.
    pub fn probe(&mut self) {
        if self.broken.take().is_none() {
            return;
        }
        self.failures = 0;
        self.drop_failed();
        let mut jobs = std::mem::take(&mut self.parked);
        if jobs.is_empty() {
            jobs.push(super::job::counter(self.shared.limit.load(Ordering::Relaxed)));
        }
        self.commit(jobs);
        self.settle();
        if self.broken.is_none() {
            *lock(&self.shared.condition) = Condition::Open;
            self.quiet = None;
            self.shared.note("spool: can be written again".into());
            self.shared.changed.notify_one();
        }
    }
}
