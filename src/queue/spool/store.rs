//! [`crate::Store`] for the spool: each verb's way to the place where it is done.

use super::content::SpoolWriter;
use super::job::{Effect, Job};
use super::record::Verb;
use super::{Shared, Spool};
use crate::{
    Accepted, Change, Content, ContentWriter, Envelope, Error, Expanded, Expansion, Notice, Pending, See, Select,
    Store, Summary, Transaction,
};
use bytes::Bytes;
use mail::{QueueId, Time};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

struct Inside(Arc<Shared>);

impl Transaction for Inside {}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Spool {
    fn select_then(
        &self,
        select: Select,
        then: impl FnOnce(&Arc<Shared>, Vec<QueueId>) -> Pending<u64> + Send + 'static,
    ) -> Pending<u64> {
        if let Err(error) = self.shared.writable() {
            return super::accept::refused(error);
        }
        let started = self.shared.blocking(move |shared| {
            let ids = shared.select(&select)?;
            Ok(then(shared, ids))
        });
        Box::pin(async move { started.await?.await })
    }
}

impl Store for Spool {
    fn write(&self, expected: u64) -> Result<Box<dyn ContentWriter>, Error> {
        self.shared.room(expected)?;
        Ok(Box::new(SpoolWriter::new(Arc::clone(&self.shared))))
    }

    fn room(&self, size: u64) -> Result<(), Error> {
        self.shared.room(size)
    }

    fn transaction(&self) -> Box<dyn Transaction> {
        self.shared.inside.fetch_add(1, Ordering::Relaxed);
        Box::new(Inside(Arc::clone(&self.shared)))
    }

    fn new_id(&self, now: Time) -> QueueId {
        self.shared.new_id(now)
    }

    fn accept(&self, content: Box<dyn ContentWriter>, envelopes: Vec<Envelope>) -> Pending<Vec<Accepted>> {
        self.shared.accept(content, envelopes)
    }

    fn submitted(&self, submission: [u8; 16]) -> Option<QueueId> {
        self.shared.index().submissions.get(&submission)
    }

    fn claim(&self, now: Time, limit: usize) -> Vec<QueueId> {
        // What cannot be recorded must not be tried: it would be delivered again after a restart.
        if self.shared.writable().is_err() {
            return Vec::new();
        }
        let mut index = self.shared.index();
        index.look_at_clocks(now);
        let mut ids = Vec::new();
        while ids.len() < limit
            && let Some(&(due, id)) = index.due.first()
            && due <= now.wall
        {
            index.due.pop_first();
            if let Some(entry) = index.messages.get_mut(&id) {
                entry.active = true;
                entry.standings.as_mut_slice().iter_mut().for_each(|standing| standing.take_off(now.wall));
                ids.push(id);
            }
        }
        ids
    }

    fn next_due(&self) -> Option<i64> {
        self.shared.index().due.first().map(|(due, _)| *due)
    }

    fn changed(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let changed = Arc::clone(&self.shared.changed);
        Box::pin(async move { changed.notified().await })
    }

    fn load(&self, id: QueueId) -> Pending<Arc<Envelope>> {
        self.shared.blocking(move |shared| shared.read_envelope(id).map(|(envelope, _)| Arc::new(envelope)))
    }

    fn content(&self, id: QueueId) -> Pending<Content> {
        self.shared.blocking(move |shared| shared.read_content(id))
    }

    fn release_claim(&self, id: QueueId, at: i64) {
        self.shared.give_back(id, Some(at));
    }

    fn record(&self, id: QueueId, changes: Vec<Change>) -> Pending<()> {
        self.shared.record(id, &changes)
    }

    fn record_with(&self, id: QueueId, changes: Vec<Change>, notice: Notice) -> Pending<Accepted> {
        self.shared.record_with(id, changes, notice)
    }

    fn expand(&self, id: QueueId, expansion: Expansion) -> Pending<Expanded> {
        self.shared.expand(id, expansion)
    }

    fn list(&self, select: Select, after: Option<QueueId>, limit: usize) -> Pending<Vec<Summary>> {
        self.shared.blocking(move |shared| {
            let mut all = Vec::new();
            shared.show(&select, after, limit, &mut |summary| all.push(summary));
            Ok(all)
        })
    }

    fn show(&self, select: Select, after: Option<QueueId>, limit: usize, mut see: See) -> Pending<Option<QueueId>> {
        self.shared.blocking(move |shared| Ok(shared.show(&select, after, limit, &mut see)))
    }

    fn count(&self, select: Select) -> Pending<u64> {
        self.shared.blocking(move |shared| shared.count(&select))
    }

    fn hold(&self, select: Select, reason: String) -> Pending<u64> {
        self.select_then(select, move |shared, ids| shared.apply_verb(Verb::Hold, &ids, &reason))
    }

    fn release(&self, select: Select) -> Pending<u64> {
        self.select_then(select, move |shared, ids| shared.apply_verb(Verb::Release, &ids, ""))
    }

    fn delete(&self, select: Select) -> Pending<u64> {
        self.select_then(select, move |shared, ids| shared.remove(&ids))
    }

    fn flush(&self, select: Select) -> Pending<u64> {
        self.select_then(select, move |shared, ids| shared.apply_verb(Verb::Flush, &ids, ""))
    }

    fn corrupt(&self) -> Pending<Vec<String>> {
        self.shared.blocking(|shared| super::corrupt::list(&shared.disk))
    }

    fn close(&self) -> Pending<()> {
        let (answer, receiver) = tokio::sync::oneshot::channel();
        self.shared.jobs.push(Job { records: Bytes::new(), content: Bytes::new(), effect: Effect::Close(answer) });
        Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(super::accept::closed())) })
    }
}
