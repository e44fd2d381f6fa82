//! Getting space back: dead segments go; of mostly dead ones the live rest is copied to the current segment and synced first.
//! In small steps between batches, so that nobody who commits waits for it.

use super::code::Fields;
use super::frame::{BLOCK, FrameHeader, HEADER, align};
use super::index::{Index, Place, Stored};
use super::job::{Effect, Job};
use super::record::{self, Record, records};
use super::writer::Writer;
use super::{envelope_code, lock};
use crate::{ContentId, Error};
use bytes::Bytes;
use mail::QueueId;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Frames looked at and bytes copied in one step.
const STEP_FRAMES: usize = 32;
const STEP_BYTES: usize = 512 << 10;
/// Removals written again in one frame.
const GRAVES: usize = 1024;
/// A segment that still holds something after it was read this often is left alone.
const LOOKS: u32 = 8;

/// What the compactor is at.
#[derive(Default)]
pub(crate) struct Compactor {
    victim: Option<Victim>,
    /// Segments that could not be dealt with; left alone until the next start.
    pub stuck: BTreeSet<u32>,
    /// There may be something to do.
    stirred: bool,
    /// Recycling failed; not before this moment again.
    resting: Option<Instant>,
}

/// How long recycling rests after a failure.
const REST: Duration = Duration::from_secs(5);

struct Victim {
    number: u32,
    /// The next frame to look at.
    offset: u32,
    /// How often it was read to the end.
    looks: u32,
}

impl Compactor {
    pub fn is_busy(&self) -> bool {
        self.resting.is_none() && (self.victim.is_some() || self.stirred)
    }
    /// Leaves recycling alone for a while.
    pub fn rest(&mut self) {
        self.resting = Some(Instant::now() + REST);
    }
    /// Whether it is still to be left alone; afterwards there is something to do.
    fn is_resting(&mut self) -> bool {
        match self.resting {
            Some(until) if Instant::now() < until => true,
            Some(_) => {
                self.resting = None;
                self.stirred = true;
                false
            }
            None => false,
        }
    }
}

/// Something live in the victim.
enum Live {
    Envelope(QueueId),
    Content(ContentId, Stored),
}

impl Writer {
    /// Called after every batch and when there is nothing else: one bounded step.
    pub fn maintain(&mut self) {
        if self.current.is_none() || !self.may_step() || self.compactor.is_resting() {
            return;
        }
        self.want_checkpoint();
        if !self.compactor.is_busy() && self.shared.index().overgrown.is_empty() {
            return;
        }
        self.compactor.stirred = false;
        let dead = self.dead();
        if !dead.is_empty() {
            self.free(&dead);
            self.want_spares();
        }
        self.refresh_overgrown();
        match self.compactor.victim.take() {
            Some(victim) => self.step(victim),
            None => self.compactor.victim = self.choose(),
        }
    }

    /// A copy must be later in the log than every change it contains, and those must have taken effect: so only when all is synced.
    fn may_step(&self) -> bool {
        self.is_settled() && lock(&self.shared.condition).clone() == super::Condition::Open
    }

    /// Segments in which nothing means anything. Graves are written again first, by the step for that victim.
    fn dead(&self) -> Vec<u32> {
        let current = self.current.as_ref().map(|current| current.number);
        let index = self.shared.index();
        let dead = |(&number, segment): (&u32, &super::index::Segment)| {
            let empty = segment.live == 0 && segment.graves.is_empty();
            (empty && Some(number) != current && !self.compactor.stuck.contains(&number)).then_some(number)
        };
        index.segments.iter().filter_map(dead).collect()
    }

    /// The segment worth copying: the emptiest, if the log as a whole holds too much that is dead.
    fn choose(&self) -> Option<Victim> {
        let current = self.current.as_ref()?.number;
        let index = self.shared.index();
        let size = u64::from(self.shared.segment);
        let live: u64 = index.segments.values().map(|segment| segment.live_bytes).sum();
        let wasteful = index.segments.len() as u64 > live / size * 2 + 3;
        let scarce = lock(&self.spares).len() < self.shared.reserve;
        let limit = size / if scarce { 2 } else { 4 };
        let worth = |segment: &super::index::Segment| {
            // The end of a voided segment is known only from other segments' headers; so it should not get old.
            segment.live == 0 || segment.voided || (segment.live_bytes <= limit && (wasteful || scarce))
        };
        let candidates = index.segments.iter().filter(|(number, segment)| {
            **number != current && !self.compactor.stuck.contains(number) && worth(segment)
        });
        let (&number, segment) = candidates.min_by_key(|(_, segment)| segment.live_bytes)?;
        let offset = if segment.live == 0 { segment.end } else { BLOCK };
        Some(Victim { number, offset, looks: 0 })
    }

    /// Copies what is live in the next frames of the victim.
    fn step(&mut self, mut victim: Victim) {
        let jobs = match self.survivors(&mut victim) {
            Ok(Some(jobs)) => jobs,
            Ok(None) => return self.rewrite_graves(&victim),
            Err(error) => {
                self.shared.note(format!("spool: segment {} cannot be read: {error}", victim.number));
                self.compactor.stuck.insert(victim.number);
                return;
            }
        };
        if self.copy(jobs) {
            self.compactor.victim = Some(victim);
        }
    }

    /// Frames with what is live in the next part of the victim; `None` at its end.
    fn survivors(&self, victim: &mut Victim) -> Result<Option<Vec<Copy>>, Error> {
        let (file, seeds, end) = {
            let index = self.shared.index();
            let Some(segment) = index.segments.get(&victim.number) else {
                return Ok(None);
            };
            let path = self.shared.disk.segment(victim.number);
            (std::fs::File::open(path).map_err(super::failed)?, segment.seeds, segment.end)
        };
        let mut copies = Vec::new();
        let mut bytes = 0;
        for _ in 0..STEP_FRAMES {
            if victim.offset >= end || bytes >= STEP_BYTES {
                break;
            }
            let mut head = [0; HEADER as usize];
            durable::read_at_most(&file, &mut head, u64::from(victim.offset)).map_err(super::failed)?;
            let Some(header) = FrameHeader::decode(&head, seeds, victim.offset, u64::from(end)) else {
                // Damage: recovery has set the bytes aside; go on at the next place a frame could start.
                victim.offset += super::frame::ALIGN;
                continue;
            };
            let mut frame = vec![0; header.records as usize];
            let at = u64::from(victim.offset + HEADER);
            durable::read_at_most(&file, &mut frame, at).map_err(super::failed)?;
            let place = Place { segment: victim.number, offset: victim.offset, length: header.records };
            victim.offset += align(header.length()) as u32;
            if seeds.records_crc(&frame) == header.crc {
                let live = live_in(&self.shared.index(), &frame, place);
                for live in live {
                    let copy = self.copy_of(live);
                    bytes += copy.as_ref().map_or(0, |copy| copy.job.length() as usize);
                    copies.extend(copy);
                }
            }
        }
        let at_end = victim.offset >= end && copies.is_empty();
        Ok((!at_end).then_some(copies))
    }

    /// A frame with a fresh copy; `None` if it cannot be read (it was set aside) or is gone.
    fn copy_of(&self, live: Live) -> Option<Copy> {
        match live {
            Live::Envelope(id) => {
                let (snapshot, stored) = {
                    let mut index = self.shared.index();
                    let snapshot = self.shared.snapshot(&mut index, id).ok()?;
                    (snapshot, index.contents.get(&index.messages.get(&id)?.content).copied())
                };
                // Changes on their way follow this copy in the log and must not be in it.
                match snapshot.read_settled() {
                    Ok(envelope) => {
                        let mut out = Fields::default();
                        // What is known of a body with a file of its own travels with its envelopes.
                        if let Some(Stored { segment: 0, size, crc, .. }) = stored {
                            record::put_content(&mut out, envelope.content, size, crc, true);
                        }
                        out.nested(record::ENVELOPE, |out| envelope_code::encode(out, &envelope));
                        Some(Copy::new(out, Bytes::new(), Moved::Envelope(id)))
                    }
                    Err(error) => {
                        self.shared.set_aside(id, &error.to_string());
                        None
                    }
                }
            }
            Live::Content(id, stored) => {
                let bytes = match self.shared.inline_bytes(&stored) {
                    Ok(bytes) => bytes,
                    Err(error) => {
                        self.set_aside_content(id, &error.to_string());
                        return None;
                    }
                };
                let mut out = Fields::default();
                record::put_content(&mut out, id, stored.size, stored.crc, false);
                Some(Copy::new(out, bytes, Moved::Content(id, stored)))
            }
        }
    }

    fn set_aside_content(&self, content: ContentId, why: &str) {
        let users: Vec<QueueId> = {
            let index = self.shared.index();
            let users = index.messages.iter().filter(|(_, entry)| entry.content == content);
            users.map(|(id, _)| *id).collect()
        };
        for id in users {
            let _logged = self.shared.set_aside(id, why);
        }
    }

    /// Writes copies, syncs, and moves the index over. False if the store failed.
    fn copy(&mut self, copies: Vec<Copy>) -> bool {
        let mut moved = Vec::with_capacity(copies.len());
        for copy in copies {
            // What is in one segment is moved before the next one begins: if that fails, these copies count all the same.
            if !self.fits(&copy.job) && !self.land(&mut moved) {
                return false;
            }
            let Some(place) = self.put_copy(copy.job) else {
                return false;
            };
            moved.push((copy.moved, place));
        }
        self.land(&mut moved)
    }

    /// Syncs copies that are in the current segment and lets the index point to them.
    fn land(&mut self, moved: &mut Vec<(Moved, Place)>) -> bool {
        let Some(&(_, last)) = moved.last() else { return true };
        if !self.settle_through(last) {
            return false;
        }
        let mut index = self.shared.index();
        for (moved, place) in moved.drain(..) {
            relocate(&mut index, moved, place);
        }
        true
    }

    /// At the end of a victim: last words about messages that still lie elsewhere are said again; then it is dead.
    fn rewrite_graves(&mut self, victim: &Victim) {
        let graves: Vec<(u32, Vec<QueueId>)> = {
            let index = self.shared.index();
            let Some(segment) = index.segments.get(&victim.number) else {
                return;
            };
            if segment.live > 0 {
                drop(index);
                return self.look_again(victim);
            }
            segment.graves.iter().map(|(home, ids)| (*home, ids.clone())).collect()
        };
        let mut copies = Vec::new();
        for (home, ids) in graves {
            for ids in ids.chunks(GRAVES) {
                let mut out = Fields::default();
                record::put_removed(&mut out, ids);
                copies.push(Copy::new(out, Bytes::new(), Moved::Graves(home, ids.to_vec())));
            }
        }
        if self.copy(copies)
            && let Some(segment) = self.shared.index().segments.get_mut(&victim.number)
        {
            segment.graves.clear();
            self.compactor.stirred = true;
        }
    }

    /// Something still counts: a message whose last word is on its way, or one whose frame cannot be read.
    fn look_again(&mut self, victim: &Victim) {
        if victim.looks < LOOKS {
            self.compactor.victim = Some(Victim { number: victim.number, offset: BLOCK, looks: victim.looks + 1 });
        } else {
            self.shared.note(format!("spool: segment {} keeps something unreadable", victim.number));
            self.compactor.stuck.insert(victim.number);
        }
    }

    /// Messages with many changes get a fresh copy of their envelope.
    fn refresh_overgrown(&mut self) {
        let ids = std::mem::take(&mut self.shared.index().overgrown);
        if !ids.is_empty() {
            let copies = ids.into_iter().filter_map(|id| self.copy_of(Live::Envelope(id))).collect();
            self.copy(copies);
        }
    }

    /// Looks again after the current batch.
    pub fn stir(&mut self) {
        self.compactor.stirred = true;
    }
}

/// A frame to be written, and what it moves.
pub(crate) struct Copy {
    job: Job,
    moved: Moved,
}

enum Moved {
    Envelope(QueueId),
    Content(ContentId, Stored),
    Graves(u32, Vec<QueueId>),
}

impl Copy {
    fn new(records: Fields, content: Bytes, moved: Moved) -> Self {
        Self { job: Job { records: records.0.into(), content, effect: Effect::Copy }, moved }
    }
}

fn relocate(index: &mut Index, moved: Moved, place: Place) {
    match moved {
        Moved::Envelope(id) if index.messages.contains_key(&id) => index.rebase(id, place),
        // It was finished while it was copied: the copy is one more place that its last word, which comes after it, must outlive.
        Moved::Envelope(id) => index.ghosts.push((id, place.segment)),
        Moved::Content(id, old) => {
            if index.contents.contains_key(&id) {
                let offset = place.offset + HEADER + place.length;
                index.store(id, Stored { segment: place.segment, offset, refs: 0, ..old });
            }
        }
        Moved::Graves(home, ids) => ids.into_iter().for_each(|id| index.dig(id, home, place.segment)),
    }
}

/// What in a frame is the latest copy of something.
fn live_in(index: &Index, bytes: &[u8], place: Place) -> Vec<Live> {
    let mut live = Vec::new();
    let mut seen = BTreeSet::new();
    let mut envelope = |id: QueueId, live: &mut Vec<Live>| {
        let uses = index.messages.get(&id).is_some_and(|e| e.base == place || e.patches.contains(&place));
        if uses && seen.insert(id) {
            live.push(Live::Envelope(id));
        }
    };
    for record in records(bytes).flatten() {
        match record {
            Record::Content { id, in_file: false, .. } => {
                let offset = place.offset + HEADER + place.length;
                let here = |stored: &&Stored| stored.segment == place.segment && stored.offset == offset;
                live.extend(index.contents.get(&id).filter(here).map(|stored| Live::Content(id, *stored)));
            }
            Record::Envelope { id, .. } | Record::Changes { id, .. } | Record::Expanded { id, .. } => {
                envelope(id, &mut live);
            }
            Record::Verb { ids, .. } => ids.into_iter().for_each(|id| envelope(id, &mut live)),
            _ => {}
        }
    }
    live
}
