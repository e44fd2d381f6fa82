//! The index as of one position of the log, so that a start need not read everything before it. Only a shortcut: it may be missing or
//! stale, and whenever it does not fit the log is read whole.
//!
//! An entry whose segment is gone and which no later frame names is finished: a segment goes only after what lives in it was
//! copied, and the last copy lies after the checkpoint, in a segment that exists.

use super::chore::Chore;
use super::code::{Fields, Malformed, Reader, number, small, words};
use super::disk::Disk;
use super::frame::{BLOCK, Seeds};
use super::index::{Entry, Index, Place, Segment, Stored};
use super::read::{Source, envelope_in, patch_with};
use super::recover::{Replay, Told};
use super::standing::{Standing, Standings};
use super::writer::Writer;
use crate::ContentId;
use mail::QueueId;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MAGIC: [u8; 8] = *b"PRchk\0\0\x01";
/// A checkpoint is written after so many new segments: a start reads at most about twice that.
const EVERY: u32 = if cfg!(test) { 2 } else { 8 };

const CLEAN: u16 = 1;
const POSITION: u16 = 2;
const COUNTER: u16 = 3;
const SEGMENT: u16 = 4;
const CONTENT: u16 = 5;
const MESSAGE: u16 = 6;
const SUBMISSION: u16 = 7;

impl Writer {
    /// The present index; everything written must have taken effect. `clean`: nothing will follow.
    pub fn checkpoint_bytes(&self, clean: bool) -> Vec<u8> {
        let mut out = Fields::default();
        let index = self.shared.index();
        out.put(CLEAN, &[u8::from(clean)]);
        let (segment, offset) = self.current.as_ref().map_or((0, 0), |current| (current.number, current.pos));
        put_words(&mut out, POSITION, &[segment, offset]);
        // Ids may be given even after the spool was closed, so not the counter itself.
        out.put(COUNTER, &self.shared.limit.load(Ordering::Relaxed).to_le_bytes());
        index.segments.iter().for_each(|(number, segment)| put_segment(&mut out, *number, segment));
        index.contents.iter().for_each(|(id, stored)| put_content(&mut out, *id, stored));
        for (id, entry) in &index.messages {
            put_message(&mut out, *id, entry, index.floating.contains_key(id));
        }
        // Finished in memory, but the last word is still to be written: for the log they live.
        self.shared.jobs.with_leaving(|id, entry| {
            let ghosts = index.ghosts.iter().filter(|(ghost, _)| *ghost == id).map(|(_, segment)| *segment);
            let homes: Vec<u32> = entry.homes.iter().flatten().copied().chain(ghosts).collect();
            let homes = (!homes.is_empty()).then(|| homes.into());
            put_message(&mut out, id, &Entry { homes, ..entry.clone() }, true);
        });
        for (arrived, submission, id) in index.submissions.iter() {
            out.nested(SUBMISSION, |out| {
                out.0.extend_from_slice(&arrived.to_le_bytes());
                out.0.extend_from_slice(&id.to_u64().to_le_bytes());
                out.0.extend_from_slice(&submission);
            });
        }
        drop(index);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&crc32fast::hash(&out.0).to_le_bytes());
        bytes.extend_from_slice(&out.0);
        bytes
    }

    /// The last checkpoint, before the spool is closed.
    pub fn last_checkpoint(&self) -> Result<(), crate::Error> {
        let (answer, written) = std::sync::mpsc::sync_channel(1);
        self.shared.chores.send(Chore::Checkpoint(self.checkpoint_bytes(true), Some(answer)));
        let written = written.recv().unwrap_or_else(|_| Err(io::Error::other("the spool was dropped")));
        written.map_err(super::failed)
    }

    /// Now and then. Between batches only: a job in hand is neither in the index nor in the queue.
    pub fn want_checkpoint(&mut self) {
        if self.next >= self.checkpointed + EVERY {
            self.checkpointed = self.next;
            let bytes = self.checkpoint_bytes(false);
            self.shared.chores.send(Chore::Checkpoint(bytes, None));
        }
    }
}

fn put_words(out: &mut Fields, tag: u16, words: &[u32]) {
    out.nested(tag, |out| words.iter().for_each(|word| out.0.extend_from_slice(&word.to_le_bytes())));
}

fn put_segment(out: &mut Fields, number: u32, segment: &Segment) {
    out.nested(SEGMENT, |out| {
        out.put(1, &number.to_le_bytes());
        out.put(2, &segment.salt);
        out.number(3, u64::from(segment.end));
        out.number(4, u64::from(segment.voided) | u64::from(segment.retired) << 1);
        for (home, ids) in &segment.graves {
            out.nested(5, |out| {
                out.0.extend_from_slice(&home.to_le_bytes());
                out.0.extend(ids.iter().flat_map(|id| id.to_u64().to_le_bytes()));
            });
        }
    });
}

fn put_content(out: &mut Fields, id: ContentId, stored: &Stored) {
    out.nested(CONTENT, |out| {
        out.0.extend_from_slice(&id.0.to_le_bytes());
        out.0.extend_from_slice(&stored.size.to_le_bytes());
        for word in [stored.segment, stored.offset, stored.crc] {
            out.0.extend_from_slice(&word.to_le_bytes());
        }
    });
}

/// `ahead`: memory knows more of it than the log; a reader takes its states from the log.
fn put_message(out: &mut Fields, id: QueueId, entry: &Entry, ahead: bool) {
    out.nested(MESSAGE, |out| {
        out.put(1, &id.to_u64().to_le_bytes());
        out.put(2, &entry.content.0.to_le_bytes());
        let places = [entry.base].into_iter().chain(entry.patches.iter().copied());
        let words: Vec<u32> = places.flat_map(|place| [place.segment, place.offset, place.length]).collect();
        put_words(out, 3, &words);
        out.nested(4, |out| {
            let found = entry.standings.as_slice().iter().map(|standing| standing.cut_off().raw());
            out.0.extend(found.flat_map(i64::to_le_bytes));
        });
        if let Some(homes) = &entry.homes {
            put_words(out, 5, homes);
        }
        out.number(6, u64::from(entry.held) | u64::from(entry.queue_only) << 1 | u64::from(ahead) << 2);
    });
}

/// A checkpoint that was read.
#[derive(Default)]
struct Checkpoint {
    clean: bool,
    segment: u32,
    offset: u32,
    counter: u64,
    index: Index,
    /// The segments that existed, with their salts.
    segments: BTreeMap<u32, super::frame::Salt>,
    /// Messages whose states must be read from the log.
    ahead: Vec<QueueId>,
}

/// What a checkpoint says about the log as it was then.
#[derive(Default)]
pub(crate) struct Remembered {
    /// The segment that was being written.
    pub current: u32,
    /// The segments that existed.
    pub segments: Vec<(u32, Told)>,
    /// Those of them that should still be there: something in them was durable, and they were not about to go.
    pub expected: Vec<u32>,
    /// Messages, and the segment of each one's envelope.
    pub messages: Vec<(QueueId, u32)>,
}

/// What the checkpoint, if it can be read, says.
pub(crate) fn remembered(disk: &Disk) -> Remembered {
    let Some(checkpoint) = bytes(disk).ok().and_then(|bytes| Checkpoint::decode(&bytes)) else {
        return Remembered::default();
    };
    let current = checkpoint.segment;
    let told = |(number, segment): (u32, Segment)| {
        // The one that was written then may have grown.
        let end = (number != current).then_some(segment.end);
        (number, Told { salt: segment.salt, end, voided: segment.voided })
    };
    let used = checkpoint.index.segments.iter().filter(|(_, segment)| segment.end > BLOCK && !segment.retired);
    let expected = used.map(|(number, _)| *number).collect();
    let messages = checkpoint.index.messages.iter().map(|(id, entry)| (*id, entry.base.segment)).collect();
    Remembered { current, expected, segments: checkpoint.index.segments.into_iter().map(told).collect(), messages }
}

fn bytes(disk: &Disk) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    durable::open_plain(&disk.root.join("checkpoint"))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Replay {
    /// Starts from the checkpoint and replays what came after it; false if everything must be read.
    pub fn start_at_checkpoint(&mut self, disk: &Disk, told: &BTreeMap<u32, Told>) -> io::Result<bool> {
        let Ok(bytes) = bytes(disk) else { return Ok(false) };
        let Some(mut checkpoint) = Checkpoint::decode(&bytes) else {
            self.recovery.lines.push("spool: the checkpoint cannot be read; reading the whole log".into());
            return Ok(false);
        };
        let buried = checkpoint.buried();
        if !checkpoint.fits(told) {
            return Ok(false);
        }
        self.buried = buried;
        let counter = self.counter;
        let (segment, offset) = (checkpoint.segment, checkpoint.offset);
        self.counter = counter.max(checkpoint.counter);
        self.index = checkpoint.index;
        for (&number, told) in told {
            let known = self.index.segments.entry(number).or_insert_with(|| Segment::new(told.salt));
            known.voided |= told.voided;
        }
        for id in checkpoint.ahead {
            self.reread(disk, told, id)?;
        }
        self.replay_from(disk, told, segment, offset.max(BLOCK))?;
        self.recovery.clean = checkpoint.clean && !self.moved_on;
        if self.is_consistent() {
            return Ok(true);
        }
        self.recovery.lines.push("spool: the checkpoint does not fit the log; reading the whole log".into());
        self.index = Index::default();
        self.leaving.clear();
        self.buried.clear();
        self.recovery.clean = false;
        Ok(false)
    }

    /// Takes a message's states from its frames.
    fn reread(&mut self, disk: &Disk, told: &BTreeMap<u32, Told>, id: QueueId) -> io::Result<()> {
        let Some(entry) = self.index.messages.get_mut(&id) else { return Ok(()) };
        let mut envelope = None;
        for place in [entry.base].into_iter().chain(entry.patches.iter().copied()) {
            // A segment that is gone: it was copied or finished later, and the replay finds out.
            let Some(told) = told.get(&place.segment) else { return Ok(()) };
            let file = Arc::new(File::open(disk.segment(place.segment))?);
            let Ok(bytes) = (Source { place, file, seeds: Seeds::new(&told.salt) }).read() else { return Ok(()) };
            match &mut envelope {
                None => envelope = envelope_in(&bytes, id),
                Some(envelope) => drop(patch_with(envelope, &bytes)),
            }
        }
        if let Some(envelope) = envelope {
            entry.standings = envelope.recipients.iter().map(|recipient| Standing::new(recipient.state)).collect();
            (entry.held, entry.queue_only) = (envelope.hold.is_some(), envelope.queue_only);
        }
        Ok(())
    }

    /// Drops what was finished after the checkpoint and whose segments are gone; what is left must be whole.
    fn is_consistent(&mut self) -> bool {
        let index = &mut self.index;
        let gone = |place: &Place| !index.segments.contains_key(&place.segment);
        let finished: Vec<QueueId> =
            index.messages.iter().filter(|(_, entry)| gone(&entry.base)).map(|(id, _)| *id).collect();
        for id in finished {
            if let Some(entry) = index.leave(id) {
                let _orphan = index.finish(id, &entry, 0);
            }
        }
        self.leaving.retain(|_, entry| index.segments.contains_key(&entry.base.segment));
        index.messages.values().all(|entry| {
            let place = index.contents.get(&entry.content);
            let content =
                place.is_some_and(|stored| stored.segment == 0 || index.segments.contains_key(&stored.segment));
            content && entry.patches.iter().all(|patch| index.segments.contains_key(&patch.segment))
        })
    }
}

impl Checkpoint {
    fn decode(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (crc, fields) = rest.split_first_chunk::<4>()?;
        if *magic != MAGIC || u32::from_le_bytes(*crc) != crc32fast::hash(fields) {
            return None;
        }
        let mut checkpoint = Self::default();
        checkpoint.index.replaying = true;
        checkpoint.read(fields).ok()?;
        Some(checkpoint)
    }

    fn read(&mut self, fields: &[u8]) -> Result<(), Malformed> {
        for field in Reader(fields) {
            match field? {
                (CLEAN, bytes) => self.clean = number(bytes)? != 0,
                (POSITION, bytes) => {
                    let [segment, offset] = words(bytes)?[..] else { return Err(Malformed) };
                    (self.segment, self.offset) = (segment, offset);
                }
                (COUNTER, bytes) => self.counter = number(bytes)?,
                (SEGMENT, bytes) => self.segment(bytes)?,
                (CONTENT, bytes) => self.content(bytes)?,
                (MESSAGE, bytes) => self.message(bytes)?,
                (SUBMISSION, bytes) => self.submission(bytes)?,
                _ => return Err(Malformed),
            }
        }
        Ok(())
    }

    /// Finished messages, and where their envelopes may be.
    fn buried(&self) -> HashMap<QueueId, Vec<u32>> {
        let mut buried: HashMap<QueueId, Vec<u32>> = HashMap::new();
        for (home, ids) in self.index.segments.values().flat_map(|segment| &segment.graves) {
            ids.iter().for_each(|id| buried.entry(*id).or_default().push(*home));
        }
        buried
    }

    fn segment(&mut self, fields: &[u8]) -> Result<(), Malformed> {
        let (mut own, mut segment) = (0, Segment::new([0; 16]));
        for field in Reader(fields) {
            match field? {
                (1, bytes) => own = small(bytes)?,
                (2, bytes) => segment = Segment::new(bytes.try_into().map_err(|_| Malformed)?),
                (3, bytes) => segment.end = small(bytes)?,
                (4, bytes) => {
                    let flags = number(bytes)?;
                    (segment.voided, segment.retired) = (flags & 1 != 0, flags & 2 != 0);
                }
                (5, bytes) => {
                    let (home, ids) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
                    let ids = super::code::ids(ids)?.collect();
                    segment.graves.insert(u32::from_le_bytes(*home), ids);
                }
                _ => return Err(Malformed),
            }
        }
        self.segments.insert(own, segment.salt);
        self.index.segments.insert(own, segment);
        Ok(())
    }

    fn content(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (id, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
        let (size, rest) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
        let [segment, offset, crc] = words(rest)?[..] else { return Err(Malformed) };
        let size = u64::from_le_bytes(*size);
        let stored = Stored { segment, offset, size, crc, refs: 0, verified: false };
        self.index.store(ContentId(u64::from_le_bytes(*id)), stored);
        Ok(())
    }

    fn message(&mut self, fields: &[u8]) -> Result<(), Malformed> {
        let (mut id, mut content, mut places, mut homes, mut flags) = (0, 0, Vec::new(), None, 0);
        let mut standings = None;
        for field in Reader(fields) {
            match field? {
                (1, bytes) => id = number(bytes)?,
                (2, bytes) => content = number(bytes)?,
                (3, bytes) => places = words(bytes)?,
                (4, bytes) => standings = Some(decode_standings(bytes)?),
                (5, bytes) => homes = Some(words(bytes)?.into()),
                (6, bytes) => flags = number(bytes)?,
                _ => return Err(Malformed),
            }
        }
        let (places, rest) = places.as_chunks::<3>();
        let place =
            |[segment, offset, length]: &[u32; 3]| Place { segment: *segment, offset: *offset, length: *length };
        let (Some((base, patches)), [], Some(standings)) = (places.split_first(), rest, standings) else {
            return Err(Malformed);
        };
        let id = QueueId::from_u64(id);
        let entry = Entry {
            base: place(base),
            content: ContentId(content),
            standings,
            patches: Vec::new(),
            homes,
            due: 0,
            active: true,
            held: flags & 1 != 0,
            queue_only: flags & 2 != 0,
        };
        if flags & 4 != 0 {
            self.ahead.push(id);
        }
        self.index.place(id, Box::new(entry));
        patches.iter().for_each(|patch| self.index.patch(id, place(patch)));
        Ok(())
    }

    fn submission(&mut self, bytes: &[u8]) -> Result<(), Malformed> {
        let (arrived, rest) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
        let (id, rest) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
        let submission = rest.try_into().map_err(|_| Malformed)?;
        let id = QueueId::from_u64(u64::from_le_bytes(*id));
        self.index.submissions.insert(submission, id, i64::from_le_bytes(*arrived));
        Ok(())
    }

    /// Whether it is about this log: the same segments, as far as they still exist, and its position in one of them.
    fn fits(&mut self, told: &BTreeMap<u32, Told>) -> bool {
        let same = |(number, salt): (&u32, &super::frame::Salt)| told.get(number).is_none_or(|told| told.salt == *salt);
        if !self.segments.iter().all(same) || !told.contains_key(&self.segment) {
            return false;
        }
        // Segments that are gone: nothing in them can come back, so nobody needs to speak against it.
        let gone: Vec<u32> = self.segments.keys().filter(|number| !told.contains_key(number)).copied().collect();
        gone.iter().for_each(|number| self.index.forget_segment(*number));
        // One that existed then and is not among them now and not known: the log is another.
        told.keys().filter(|number| **number <= self.segment).all(|number| self.segments.contains_key(number))
    }
}

fn decode_standings(bytes: &[u8]) -> Result<Standings, Malformed> {
    let (chunks, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(Malformed);
    }
    Ok(chunks.iter().map(|chunk| Standing::from_raw(i64::from_le_bytes(*chunk))).collect())
}

/// Reads arbitrary bytes as a checkpoint: for the fuzz target.
pub(crate) fn exercise(bytes: &[u8]) {
    let mut checkpoint = Checkpoint::default();
    let _malformed = checkpoint.read(bytes);
    let _misfit = checkpoint.fits(&BTreeMap::new());
}
