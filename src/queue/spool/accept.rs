//! Accepting: content and envelopes become one job. Encoding and checksums are done here, in the caller's thread.

use super::chore::Chore;
use super::code::Fields;
use super::content::{Collected, SpoolWriter};
use super::handed::Handed;
use super::index::{Entry, Place, asap};
use super::job::{Acceptance, Effect, Job};
use super::standing::{Standing, Standings};
use super::{Shared, envelope_code, record};
use crate::{Accepted, Change, Content, ContentId, ContentWriter, Envelope, Error, Pending, State};
use bytes::Bytes;
use mail::QueueId;
use std::sync::Arc;
use tokio::sync::oneshot;

/// Content that is durable (in a file) or in memory, ready for a frame.
struct Ready {
    id: ContentId,
    content: Content,
    crc: u32,
}

/// Outcomes that go into the frame of a notification.
type Outcomes = Option<(QueueId, Vec<Change>)>;

impl Shared {
    /// Runs something that may block where it may.
    pub fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        run: impl FnOnce(&Arc<Self>) -> Result<T, Error> + Send + 'static,
    ) -> Pending<T> {
        let shared = Arc::clone(self);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let task = runtime.spawn_blocking(move || run(&shared));
                Box::pin(async move { task.await.unwrap_or_else(|_| Err(Error::Failed("the task ended".into()))) })
            }
            Err(_) => {
                let result = run(&shared);
                Box::pin(async move { result })
            }
        }
    }

    pub fn accept(
        self: &Arc<Self>,
        content: Box<dyn ContentWriter>,
        envelopes: Vec<Envelope>,
    ) -> Pending<Vec<Accepted>> {
        let Ok(writer) = content.into_any().downcast::<SpoolWriter>() else {
            return refused(Error::Failed("content of another store".into()));
        };
        match writer.finish() {
            Err(error) => refused(error),
            Ok((Collected::Memory(bytes), _, crc)) => {
                let ready = self.new_content().map(|id| Ready { id, content: Content::Memory(bytes), crc });
                answered(ready.and_then(|ready| self.submit(ready, envelopes, None)))
            }
            Ok((Collected::File(body), length, crc)) => self.accept_file(body, length, crc, envelopes),
        }
    }

    /// Syncs and names the body on a thread that may block; then as any other.
    fn accept_file(
        self: &Arc<Self>,
        body: durable::Nameless,
        length: u64,
        crc: u32,
        envelopes: Vec<Envelope>,
    ) -> Pending<Vec<Accepted>> {
        let submitted = self.blocking(move |shared| {
            let id = shared.new_content()?;
            let file = shared.disk.publish_body(&body, id.0).map_err(super::failed)?;
            let content = Content::File { file: Arc::new(file), length };
            // After a failed write nobody knows whether the frame that names the body is on the disk: it then stays as an orphan until the next
            // start. Refused before that, it goes at once.
            let submitted = shared.submit(Ready { id, content, crc }, envelopes, None);
            submitted.inspect_err(|_| shared.chores.send(Chore::RemoveBody(id)))
        });
        Box::pin(async move { wait(submitted.await?).await })
    }

    pub fn accept_notice(
        self: &Arc<Self>,
        bytes: Bytes,
        envelope: Envelope,
        outcomes: (QueueId, Vec<Change>),
    ) -> Pending<Vec<Accepted>> {
        let crc = crc32fast::hash(&bytes);
        let id = match self.new_content() {
            Ok(id) => id,
            Err(error) => return refused(error),
        };
        let large = bytes.len() as u64 >= self.large;
        if !large {
            let ready = Ready { id, content: Content::Memory(bytes), crc };
            return answered(self.submit(ready, vec![envelope], Some(outcomes)));
        }
        let submitted = self.blocking(move |shared| {
            let content = match shared.write_notice(id, &bytes) {
                Ok(file) => Content::File { file: Arc::new(file), length: bytes.len() as u64 },
                // On a full disk there is still the reserve of segments. A frame that does not fit there is refused by the writer.
                Err(error) if durable::is_full(&error) => Content::Memory(bytes),
                Err(error) => return Err(super::failed(error)),
            };
            let in_file = matches!(content, Content::File { .. });
            let submitted = shared.submit(Ready { id, content, crc }, vec![envelope], Some(outcomes));
            submitted.inspect_err(|_| {
                if in_file {
                    shared.chores.send(Chore::RemoveBody(id));
                }
            })
        });
        Box::pin(async move { wait(submitted.await?).await })
    }

    fn write_notice(&self, id: ContentId, bytes: &[u8]) -> std::io::Result<std::fs::File> {
        let body = self.disk.start_body()?;
        self.disk.write_body(&body, bytes, 0)?;
        self.disk.publish_body(&body, id.0)
    }

    fn new_content(&self) -> Result<ContentId, Error> {
        let number = self.next_number().ok_or_else(no_number)?;
        // Never 0, which in a frame would read as "none given".
        Ok(ContentId(number + 1))
    }

    fn submit(
        self: &Arc<Self>,
        ready: Ready,
        mut envelopes: Vec<Envelope>,
        outcomes: Outcomes,
    ) -> Result<oneshot::Receiver<Result<Handed, Error>>, Error> {
        self.writable()?;
        if envelopes.is_empty() || envelopes.iter().any(|envelope| envelope.recipients.is_empty()) {
            return Err(Error::Failed("an envelope without recipients".into()));
        }
        if !envelopes.iter().all(|envelope| self.is_reserved(envelope.id)) {
            return Err(no_number());
        }
        let size = ready.content.len();
        let (memory, in_file) = match &ready.content {
            Content::Memory(bytes) => (bytes.clone(), false),
            Content::File { .. } => (Bytes::new(), true),
        };
        let mut records = Fields(Vec::with_capacity(512));
        record::put_content(&mut records, ready.id, size, ready.crc, in_file);
        let mut entries = Vec::with_capacity(envelopes.len());
        for envelope in &mut envelopes {
            envelope.content = ready.id;
            envelope.size = size;
            records.nested(record::ENVELOPE, |out| envelope_code::encode(out, envelope));
            entries.push((envelope.id, Box::new(new_entry(envelope))));
        }
        if let Some((id, changes)) = &outcomes {
            record::put_changes(&mut records, *id, changes);
        }
        let submission = envelopes.first().map(|first| (first.origin.submission, first.arrived));
        let content = Some(ready.content);
        let accepted = |envelope| Accepted { envelope: Arc::new(envelope), content: content.clone() };
        let handed = Handed::new(envelopes.into_iter().map(accepted).collect(), Arc::clone(self));
        let (answer, receiver) = oneshot::channel();
        let acceptance = Acceptance {
            content: ready.id,
            size,
            crc: ready.crc,
            in_file,
            entries,
            submission: submission.unwrap_or_default(),
            outcomes,
            handed,
            answer,
        };
        self.jobs.push(Job {
            records: records.0.into(),
            content: memory,
            effect: Effect::Accept(Box::new(acceptance)),
        });
        Ok(receiver)
    }
}

/// The entry of a new envelope, and its recipients' states as they are handed out.
pub(crate) fn new_entry(envelope: &mut Envelope) -> Entry {
    let held = envelope.hold.is_some();
    let active = !held && !envelope.queue_only;
    if active {
        for recipient in &mut envelope.recipients {
            if matches!(recipient.state, State::Due { .. }) {
                recipient.state = State::InFlight;
            }
        }
    }
    let standings: Standings = envelope.recipients.iter().map(|r| Standing::new(r.state)).collect();
    let due = standings.earliest(asap(envelope.id)).unwrap_or_else(|| asap(envelope.id));
    Entry {
        base: Place::default(),
        content: envelope.content,
        standings,
        patches: Vec::new(),
        homes: None,
        due,
        active,
        held,
        queue_only: envelope.queue_only,
    }
}

async fn wait(receiver: oneshot::Receiver<Result<Handed, Error>>) -> Result<Vec<Accepted>, Error> {
    receiver.await.unwrap_or_else(|_| Err(closed())).map(Handed::take)
}

fn answered(submitted: Result<oneshot::Receiver<Result<Handed, Error>>, Error>) -> Pending<Vec<Accepted>> {
    Box::pin(async move { wait(submitted?).await })
}

/// The answer of a spool that has been dropped.
pub(crate) fn closed() -> Error {
    Error::ReadOnly("closed".into())
}

/// Nothing is accepted under a number that could be given again.
pub(crate) fn no_number() -> Error {
    Error::ReadOnly("no ids can be reserved".into())
}

/// An answer that is known at once.
pub(crate) fn refused<T: Send + 'static>(error: Error) -> Pending<T> {
    Box::pin(async move { Err(error) })
}
