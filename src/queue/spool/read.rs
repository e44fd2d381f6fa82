//! Reading back: an envelope as it stands now, and content. A reader works without locks on the files: what it reads is checked against the
//! segment's salt, and if it does not fit and the index has moved on meanwhile (compaction, recycling), it looks again.

use super::disk::Disk;
use super::frame::{FrameHeader, HEADER, Seeds};
use super::index::{Index, Place, Stored};
use super::record::{Record, Verb, records};
use super::span::Spans;
use super::standing::Standings;
use super::{Shared, envelope_code};
use crate::{Content, ContentId, Envelope, Error, NewState, State};
use bytes::Bytes;
use mail::QueueId;
use std::borrow::Cow;
use std::fs::File;
use std::sync::Arc;

/// Most segments kept open for reading.
const OPEN: usize = 64;
/// Looks again at most this often; each time the index must have moved.
const LOOKS: usize = 8;

/// A place, and all that is needed to read it.
#[derive(Clone)]
pub(crate) struct Source {
    pub place: Place,
    pub file: Arc<File>,
    pub seeds: Seeds,
}

/// A message as the index had it at one moment.
pub(crate) struct Snapshot {
    id: QueueId,
    base: Source,
    patches: Vec<Source>,
    floating: Vec<Bytes>,
    pub standings: Standings,
    pub active: bool,
}

impl Shared {
    fn source(&self, index: &mut Index, place: Place) -> Result<Source, Error> {
        let segment = index
            .segments
            .get(&place.segment)
            .ok_or_else(|| Error::Corrupt(format!("segment {} is gone", place.segment)))?;
        let seeds = segment.seeds;
        let file = match &segment.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = File::open(self.disk.segment(place.segment)).map_err(super::failed)?;
                let open = index.segments.values().filter(|segment| segment.file.is_some()).count();
                if open >= OPEN {
                    index.segments.values_mut().for_each(|segment| segment.file = None);
                }
                let file = Arc::new(file);
                if let Some(segment) = index.segments.get_mut(&place.segment) {
                    segment.file = Some(Arc::clone(&file));
                }
                file
            }
        };
        Ok(Source { place, file, seeds })
    }

    /// Takes a message's places under the lock.
    pub fn snapshot(&self, index: &mut Index, id: QueueId) -> Result<Snapshot, Error> {
        let entry = index.messages.get(&id).ok_or(Error::Unknown)?;
        let (base, patches) = (entry.base, entry.patches.clone());
        let (standings, active) = (entry.standings.clone(), entry.active);
        Ok(Snapshot {
            id,
            base: self.source(index, base)?,
            patches: patches.into_iter().map(|place| self.source(index, place)).collect::<Result<_, _>>()?,
            floating: index.floating.get(&id).cloned().unwrap_or_default(),
            standings,
            active,
        })
    }

    /// The envelope as it stands now, and whether it is handed out. Blocks for the read.
    pub fn read_envelope(&self, id: QueueId) -> Result<(Envelope, bool), Error> {
        let mut seen = None;
        for _ in 0..LOOKS {
            let snapshot = self.snapshot(&mut self.index(), id)?;
            match snapshot.read() {
                Err(Error::Corrupt(why)) => {
                    let places: Vec<Place> = snapshot.sources().map(|source| source.place).collect();
                    if seen.as_ref() == Some(&places) {
                        self.set_aside(id, &why);
                        return Err(Error::Corrupt(why));
                    }
                    seen = Some(places);
                }
                result => return Ok((result?, snapshot.active)),
            }
        }
        Err(Error::Failed("the message kept moving".into()))
    }

    /// A message's content, verified when it is first read. Blocks.
    pub fn read_content(&self, id: QueueId) -> Result<Content, Error> {
        let mut seen = None;
        for _ in 0..LOOKS {
            let (content, stored, source) = {
                let mut index = self.index();
                let content = index.messages.get(&id).ok_or(Error::Unknown)?.content;
                let stored = index.contents.get(&content).copied();
                let stored = stored.ok_or_else(|| Error::Corrupt("its content is missing".into()))?;
                (content, stored, self.content_source(&mut index, &stored)?)
            };
            match self.fetch(content, &stored, source) {
                Err(Error::Corrupt(why)) => {
                    if seen == Some((stored.segment, stored.offset)) {
                        self.set_aside(id, &why);
                        return Err(Error::Corrupt(why));
                    }
                    seen = Some((stored.segment, stored.offset));
                }
                Ok(read) => {
                    if let Some(stored) = self.index().contents.get_mut(&content) {
                        stored.verified = true;
                    }
                    return Ok(read);
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Failed("the content kept moving".into()))
    }

    /// Segment that holds a content; `None` if it has a file of its own.
    fn content_source(&self, index: &mut Index, stored: &Stored) -> Result<Option<Arc<File>>, Error> {
        if stored.segment == 0 {
            return Ok(None);
        }
        let place = Place { segment: stored.segment, ..Place::default() };
        Ok(Some(self.source(index, place)?.file))
    }

    fn fetch(&self, id: ContentId, stored: &Stored, segment: Option<Arc<File>>) -> Result<Content, Error> {
        match segment {
            Some(file) => fetch_inline(&file, stored).map(Content::Memory),
            None => {
                let file = open_body(&self.disk, id, stored)?;
                if !stored.verified {
                    verify_file(&file, stored)?;
                }
                Ok(Content::File { file: Arc::new(file), length: stored.size })
            }
        }
    }

    /// A content's bytes for the compactor.
    pub fn inline_bytes(&self, stored: &Stored) -> Result<Bytes, Error> {
        let source = self.content_source(&mut self.index(), stored)?;
        let file = source.ok_or_else(|| Error::Corrupt("not in a segment".into()))?;
        fetch_inline(&file, stored)
    }
}

/// Opens a body's file, which must be one, and as long as it was.
pub(crate) fn open_body(disk: &Disk, id: ContentId, stored: &Stored) -> Result<File, Error> {
    let corrupt = |why: &str| Error::Corrupt(format!("body {:016x} {why}", id.0));
    let file = match durable::open_plain(&disk.body(id.0)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(corrupt("is missing")),
        Err(error) if error.kind() == std::io::ErrorKind::InvalidData => return Err(corrupt("is no ordinary file")),
        file => file.map_err(super::failed)?,
    };
    let length = file.metadata().map_err(super::failed)?.len();
    if length == stored.size { Ok(file) } else { Err(corrupt(&format!("has {length} bytes, not {}", stored.size))) }
}

pub(crate) fn fetch_inline(file: &File, stored: &Stored) -> Result<Bytes, Error> {
    let length = usize::try_from(stored.size).map_err(|_| Error::Corrupt("impossible length".into()))?;
    let mut bytes = vec![0; length];
    let read = durable::read_at_most(file, &mut bytes, u64::from(stored.offset)).map_err(super::failed)?;
    if read < length || crc32fast::hash(&bytes) != stored.crc {
        return Err(Error::Corrupt("the content does not fit its checksum".into()));
    }
    Ok(bytes.into())
}

fn verify_file(file: &File, stored: &Stored) -> Result<(), Error> {
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    let mut offset = 0;
    loop {
        let n = durable::read_at_most(file, &mut buffer, offset).map_err(super::failed)?;
        hasher.update(buffer.get(..n).unwrap_or_default());
        offset += n as u64;
        if n < buffer.len() {
            break;
        }
    }
    if offset != stored.size || hasher.finalize() != stored.crc {
        return Err(Error::Corrupt("the body's file does not fit its checksum".into()));
    }
    Ok(())
}

impl Source {
    /// The frame's records, checked.
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = vec![0; HEADER as usize + self.place.length as usize];
        let read = durable::read_at_most(&self.file, &mut bytes, u64::from(self.place.offset));
        bytes.truncate(read.map_err(super::failed)?);
        self.check(&bytes)?;
        bytes.drain(..HEADER as usize);
        Ok(bytes)
    }

    /// The same, from `spans` if they have it.
    fn read_in<'a>(&self, spans: &'a Spans) -> Result<Cow<'a, [u8]>, Error> {
        match spans.frame(self.place) {
            Some(bytes) => self.check(bytes).map(Cow::Borrowed),
            None => self.read().map(Cow::Owned),
        }
    }

    /// The records of the frame with these bytes.
    fn check<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], Error> {
        let Place { segment, offset, length } = self.place;
        let header = FrameHeader::decode(bytes, self.seeds, offset, u64::from(u32::MAX));
        let records = bytes.get(HEADER as usize..).filter(|records| records.len() == length as usize);
        match (header, records) {
            (Some(header), Some(records))
                if header.records == length && self.seeds.records_crc(records) == header.crc =>
            {
                Ok(records)
            }
            _ => Err(Error::Corrupt(format!("the frame at {offset} of segment {segment} does not fit its checksum"))),
        }
    }
}

impl Snapshot {
    /// Of a message in a spool that nobody runs; `source` opens a place.
    pub fn of(
        id: QueueId,
        entry: &super::index::Entry,
        source: impl Fn(Place) -> Result<Source, Error>,
    ) -> Result<Self, Error> {
        Ok(Self {
            id,
            base: source(entry.base)?,
            patches: entry.patches.iter().copied().map(&source).collect::<Result<_, _>>()?,
            floating: Vec::new(),
            standings: entry.standings.clone(),
            active: false,
        })
    }

    /// All that has to be read.
    pub fn sources(&self) -> impl Iterator<Item = &Source> {
        [&self.base].into_iter().chain(&self.patches)
    }

    /// The envelope as it stands now.
    pub fn read(&self) -> Result<Envelope, Error> {
        self.read_in(&Spans::default())
    }

    /// The same, from `spans` as far as they have it.
    pub fn read_in(&self, spans: &Spans) -> Result<Envelope, Error> {
        let mut envelope = self.settled(spans)?;
        for bytes in &self.floating {
            patch_with(&mut envelope, bytes).map_err(|_| Error::Corrupt("malformed change".into()))?;
        }
        let standings = self.standings.as_slice();
        if standings.len() != envelope.recipients.len() {
            return Err(Error::Corrupt("number of recipients differs from the index".into()));
        }
        for (recipient, standing) in envelope.recipients.iter_mut().zip(standings) {
            recipient.state = standing.state();
        }
        Ok(envelope)
    }

    /// The envelope as the log has it, for a fresh copy: without changes on their way, which follow the copy.
    pub fn read_settled(&self) -> Result<Envelope, Error> {
        let mut envelope = self.settled(&Spans::default())?;
        for (recipient, standing) in envelope.recipients.iter_mut().zip(self.standings.as_slice()) {
            if let State::Due { perhaps_delivered } = &mut recipient.state {
                // Known in memory only since an unclean stop.
                *perhaps_delivered |= standing.is_doubtful();
            }
        }
        Ok(envelope)
    }

    fn settled(&self, spans: &Spans) -> Result<Envelope, Error> {
        let malformed = |_| Error::Corrupt("malformed record".into());
        let envelope = envelope_in(&self.base.read_in(spans)?, self.id);
        let mut envelope = envelope.ok_or_else(|| Error::Corrupt("no envelope where one should be".into()))?;
        for patch in &self.patches {
            patch_with(&mut envelope, &patch.read_in(spans)?).map_err(malformed)?;
        }
        Ok(envelope)
    }

    pub fn id(&self) -> QueueId {
        self.id
    }
}

/// The envelope with this id among a frame's records.
pub(crate) fn envelope_in(bytes: &[u8], wanted: QueueId) -> Option<Envelope> {
    let fields = records(bytes).flatten().find_map(|record| match record {
        Record::Envelope { id, fields } if id == wanted => Some(fields),
        _ => None,
    });
    envelope_code::decode(fields?).ok()
}

/// Applies the records of a frame to an envelope.
pub(crate) fn patch_with(envelope: &mut Envelope, bytes: &[u8]) -> Result<(), super::code::Malformed> {
    for record in records(bytes) {
        match record? {
            Record::Changes { id, changes } if id == envelope.id => {
                for change in changes {
                    patch_recipient(envelope, change);
                }
            }
            Record::Expanded { id, expanded, children } if id == envelope.id => {
                for index in expanded {
                    if let Some(recipient) = envelope.recipients.get_mut(index as usize)
                        && !recipient.state.is_finished()
                    {
                        recipient.state = State::Expanded;
                    }
                }
                envelope.recipients.extend(children);
            }
            Record::Verb { verb, ids, reason } if ids.contains(&envelope.id) => match verb {
                Verb::Hold => envelope.hold = Some(reason),
                Verb::Release => envelope.hold = None,
                Verb::Flush => {
                    envelope.queue_only = false;
                    for recipient in &mut envelope.recipients {
                        if matches!(recipient.state, State::Deferred(_)) {
                            recipient.state = State::Due { perhaps_delivered: false };
                        }
                    }
                }
            },
            _ => {}
        }
    }
    Ok(())
}

fn patch_recipient(envelope: &mut Envelope, change: crate::Change) {
    let Some(recipient) = envelope.recipients.get_mut(change.recipient as usize) else {
        return;
    };
    if recipient.state.is_finished() {
        return;
    }
    recipient.state = match change.state {
        NewState::Delivered => State::Delivered,
        NewState::Bounced => State::Bounced,
        NewState::Deferred(until) => State::Deferred(until),
    };
    if change.attempted {
        recipient.tries = recipient.tries.saturating_add(1);
        recipient.last_attempt = change.at;
        if recipient.first_attempt == 0 {
            recipient.first_attempt = change.at;
        }
    }
    if change.status.is_some() {
        recipient.last_status = change.status;
    }
    if !change.reply.is_empty() {
        recipient.last_reply = change.reply;
    }
    recipient.warned |= change.warned;
}
