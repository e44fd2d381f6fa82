//! Changes of unfinished messages: outcomes, expansion, and the operator's verbs. Memory changes at once and under the same lock
//! the job is queued, so the log has the changes in the order in which they happened.

use super::accept::{closed, new_entry, no_number, refused};
use super::code::Fields;
use super::handed::Handed;
use super::index::{Entry, Index};
use super::job::{Changes, Effect, Expansion, Job};
use super::record::{ENVELOPE, Verb, put_changes, put_content, put_expanded, put_removed, put_verb};
use super::standing::Standing;
use super::{Shared, envelope_code, job};
use crate::{Accepted, Change, Envelope, Error, Expanded, Notice, Pending};
use bytes::Bytes;
use mail::QueueId;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Ids in one frame of a verb: whoever reads one message's changes reads the whole list.
const VERB_IDS: usize = 64;

fn waiting<T: Send + 'static>(receiver: oneshot::Receiver<Result<T, Error>>) -> Pending<T> {
    Box::pin(async move { receiver.await.unwrap_or_else(|_| Err(closed())) })
}

impl Shared {
    pub fn record(self: &Arc<Self>, id: QueueId, changes: &[Change]) -> Pending<()> {
        let mut records = Fields::default();
        put_changes(&mut records, id, changes);
        if records.0.len() > self.segment as usize / 4 && changes.len() > 1 {
            // A frame larger than a segment could never be written.
            let (first, second) = changes.split_at(changes.len() / 2);
            let (first, second) = (self.record(id, first), self.record(id, second));
            return Box::pin(async move {
                first.await?;
                second.await
            });
        }
        let (answer, receiver) = oneshot::channel();
        let mut index = self.index();
        if self.jobs.is_stopped() {
            return refused(closed());
        }
        if !index.messages.contains_key(&id) {
            return refused(Error::Unknown);
        }
        index.alter(id, |entry| {
            entry.change(changes);
            entry.settle();
        });
        let mut job = Changes { answer: Some(answer), ..Changes::default() };
        let records = index.depart(id, &mut job, records);
        let waits = index.due.first().is_some_and(|(_, first)| *first == id);
        self.jobs.push(Job { records, content: Bytes::new(), effect: Effect::Changes(job) });
        drop(index);
        if waits {
            self.changed.notify_one();
        }
        waiting(receiver)
    }

    pub fn record_with(self: &Arc<Self>, id: QueueId, changes: Vec<Change>, notice: Notice) -> Pending<Accepted> {
        if !self.index().messages.contains_key(&id) {
            return refused(Error::Unknown);
        }
        let accepted = self.accept_notice(notice.content, notice.envelope, (id, changes));
        Box::pin(async move {
            let first = accepted.await?.into_iter().next();
            first.ok_or_else(|| Error::Failed("no envelope".into()))
        })
    }

    pub fn expand(self: &Arc<Self>, id: QueueId, expansion: crate::Expansion) -> Pending<Expanded> {
        let receiver = match self.queue_expansion(id, expansion) {
            Ok(receiver) => receiver,
            Err(error) => return refused(error),
        };
        let shared = Arc::clone(self);
        Box::pin(async move {
            let clones = receiver.await.unwrap_or_else(|_| Err(closed()))?;
            let read = shared.blocking(move |shared| shared.read_envelope(id));
            let envelope = match read.await {
                Ok((envelope, _)) => Some(Arc::new(envelope)),
                Err(Error::Unknown) => None,
                Err(error) => return Err(error),
            };
            Ok(Expanded { envelope, clones: clones.take() })
        })
    }

    fn queue_expansion(
        self: &Arc<Self>,
        id: QueueId,
        expansion: crate::Expansion,
    ) -> Result<oneshot::Receiver<Result<Handed, Error>>, Error> {
        self.writable()?;
        let crate::Expansion { parents, children, mut clones } = expansion;
        let mut records = Fields::default();
        put_expanded(&mut records, id, &parents, &children);
        let entries = self.put_clones(&mut records, id, &mut clones)?;
        let clones = clones.into_iter().map(|clone| Accepted { envelope: Arc::new(clone), content: None }).collect();
        let (answer, receiver) = oneshot::channel();
        let mut index = self.index();
        can_expand(&mut index, id, &parents, &entries)?;
        let effect = Effect::Expand(Expansion {
            id,
            expanded: parents,
            children: job::standings(&children),
            entries,
            clones: Handed::new(clones, Arc::clone(self)),
            answer,
        });
        // Under the lock: once the message has left the index, nothing may refer to its content.
        self.jobs.push(Job { records: records.0.into(), content: Bytes::new(), effect });
        Ok(receiver)
    }

    /// Clones have the content of message `id`. What is known of a body with a file of its own travels with its envelopes.
    fn put_clones(
        &self,
        records: &mut Fields,
        id: QueueId,
        clones: &mut [Envelope],
    ) -> Result<Vec<(QueueId, Box<Entry>)>, Error> {
        if clones.is_empty() {
            return Ok(Vec::new());
        }
        if !clones.iter().all(|clone| self.is_reserved(clone.id)) {
            return Err(no_number());
        }
        let (content, stored) = {
            let index = self.index();
            let content = index.messages.get(&id).ok_or(Error::Unknown)?.content;
            let stored = index.contents.get(&content).copied();
            (content, stored.ok_or_else(|| Error::Corrupt("its content is missing".into()))?)
        };
        if stored.segment == 0 {
            put_content(records, content, stored.size, stored.crc, true);
        }
        let mut put = |clone: &mut Envelope| {
            (clone.content, clone.size) = (content, stored.size);
            records.nested(ENVELOPE, |out| envelope_code::encode(out, clone));
            (clone.id, Box::new(new_entry(clone)))
        };
        Ok(clones.iter_mut().map(&mut put).collect())
    }

    /// Applies a verb to messages that were selected; resolves to how many it changed, after the sync.
    pub fn apply_verb(&self, verb: Verb, ids: &[QueueId], reason: &str) -> Pending<u64> {
        let mut answers = Vec::new();
        let mut changed = 0;
        for ids in ids.chunks(VERB_IDS) {
            let mut index = self.index();
            if self.jobs.is_stopped() {
                return refused(closed());
            }
            let ids: Vec<QueueId> = ids.iter().copied().filter(|id| index.messages.contains_key(id)).collect();
            let mut records = Fields::default();
            put_verb(&mut records, verb, &ids, reason);
            let records = Bytes::from(records.0);
            for &id in &ids {
                index.alter(id, |entry| entry.verb(verb));
                index.floating.entry(id).or_default().push(records.clone());
            }
            changed += ids.len() as u64;
            answers.push(self.push_urgent(ids, Vec::new(), records));
        }
        self.changed.notify_one();
        all(answers, changed)
    }

    /// Removes messages that were selected; resolves to how many, after the sync.
    pub fn remove(&self, ids: &[QueueId]) -> Pending<u64> {
        let mut answers = Vec::new();
        let mut removed = 0;
        for ids in ids.chunks(VERB_IDS) {
            let mut index = self.index();
            if self.jobs.is_stopped() {
                return refused(closed());
            }
            let leaving: Vec<_> = ids.iter().filter_map(|&id| Some((id, index.leave(id)?))).collect();
            let gone: Vec<QueueId> = leaving.iter().map(|(id, _)| *id).collect();
            let mut records = Fields::default();
            put_removed(&mut records, &gone);
            removed += gone.len() as u64;
            answers.push(self.push_urgent(Vec::new(), leaving, records.0.into()));
        }
        all(answers, removed)
    }

    fn push_urgent(
        &self,
        ids: Vec<QueueId>,
        leaving: Vec<(QueueId, Box<Entry>)>,
        records: Bytes,
    ) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, receiver) = oneshot::channel();
        let changes = Changes { ids, leaving, urgent: true, answer: Some(answer) };
        self.jobs.push(Job { records, content: Bytes::new(), effect: Effect::Changes(changes) });
        receiver
    }
}

/// Notes that `parents` are about to become others, if they may.
fn can_expand(index: &mut Index, id: QueueId, parents: &[u32], clones: &[(QueueId, Box<Entry>)]) -> Result<(), Error> {
    let entry = index.messages.get(&id).ok_or(Error::Unknown)?;
    let standings = entry.standings.as_slice();
    let open = |n: &u32| standings.get(*n as usize).is_some_and(|s| !s.is_finished());
    if parents.is_empty() || !parents.iter().all(open) {
        return Err(Error::Failed("no such recipient to expand, or it is finished".into()));
    }
    if entry.held && !clones.is_empty() {
        return Err(Error::Failed("on hold since".into()));
    }
    index.expanding.insert(id);
    Ok(())
}

/// Waits for all answers.
fn all(answers: Vec<oneshot::Receiver<Result<(), Error>>>, count: u64) -> Pending<u64> {
    Box::pin(async move {
        for answer in answers {
            answer.await.unwrap_or_else(|_| Err(closed()))?;
        }
        Ok(count)
    })
}

impl Entry {
    /// After outcomes: nothing in flight means that it is given back. What became due meanwhile (a flush) is for the next claim.
    pub fn settle(&mut self) {
        if self.active && !self.standings.as_slice().iter().any(|s: &Standing| s.is_flying()) {
            self.active = false;
        }
    }
}

impl Index {
    /// Takes a message out of the index; its last word is about to be queued.
    pub fn leave(&mut self, id: QueueId) -> Option<Box<Entry>> {
        let entry = self.messages.remove(&id)?;
        self.unwait(id, &entry);
        self.floating.remove(&id);
        self.expanding.remove(&id);
        Some(entry)
    }

    /// After outcomes: a finished message leaves with the job, another keeps the records in memory until their sync.
    fn depart(&mut self, id: QueueId, job: &mut Changes, mut records: Fields) -> Bytes {
        let standings = self.messages.get(&id).map(|entry| &entry.standings);
        if !standings.is_some_and(super::standing::Standings::all_finished) {
            let records = Bytes::from(records.0);
            job.ids.push(id);
            self.floating.entry(id).or_default().push(records.clone());
            return records;
        }
        let expands = self.expanding.contains(&id);
        if let Some(entry) = self.leave(id) {
            // The last word must do without the earlier changes, whose segments may go before the envelope's, and speak against children that
            // an expansion before it brings.
            if expands || entry.standings.as_slice().len() > 1 {
                put_removed(&mut records, &[id]);
            }
            job.leaving.push((id, entry));
        }
        records.0.into()
    }
}
