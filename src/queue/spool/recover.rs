//! Starting: what the log says (README.md "Recovery"). Reads, and changes only names in `spare/`, `bodies/` and `corrupt/`.

use super::corrupt::keep_bytes;
use super::disk::Disk;
use super::frame::{BLOCK, Block, Salt, Seeds, SegmentHeader};
use super::index::{Entry, Index, Place, Segment, Stored, asap};
use super::record::{Record, records};
use super::scan::{Known, Piece, scan};
use super::standing::Standing;
use super::{envelope_code, failed};
use crate::{ContentId, Error, Settings};
use mail::{QueueId, Time};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// No counter is taken to be above this: adding to it must never overflow.
const COUNTER: u64 = 1 << 60;

/// What opening the spool found, for the log.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Lines for an administrator: damage, and what was done.
    pub lines: Vec<String>,
    /// Unfinished messages.
    pub messages: u64,
    /// The last engine closed the spool. Otherwise what was due may have been in flight.
    pub clean: bool,
    /// Bytes of the log that had to be read.
    pub scanned: u64,
}

/// What the spool starts with.
pub(crate) struct Recovered {
    pub index: Index,
    /// The next id's number.
    pub counter: u64,
    /// The next segment's number.
    pub next: u32,
    pub spares: Vec<String>,
    /// Messages that must be set aside, and why.
    pub corrupt: Vec<(QueueId, String)>,
    /// Finished messages whose last word must still be written.
    pub leaving: Vec<(QueueId, Box<Entry>)>,
}

/// What is known about a segment before its frames are read.
#[derive(Clone, Copy)]
pub(crate) struct Told {
    pub salt: Salt,
    pub end: Option<u32>,
    pub voided: bool,
}

/// The state of a recovery.
#[derive(Default)]
pub(crate) struct Replay {
    pub index: Index,
    pub counter: u64,
    pub recovery: Recovery,
    /// Nothing may be changed, not even in `corrupt/`: an operator looks.
    pub look_only: bool,
    /// Frames were read after the checkpoint.
    pub moved_on: bool,
    /// Finished by several frames together; the last word, which does without the others, was not found yet.
    pub leaving: BTreeMap<QueueId, Box<Entry>>,
    /// Messages that were finished before the checkpoint, with the segments that may have their envelopes: a last word that was said again
    /// after it must be known as one.
    pub buried: HashMap<QueueId, Vec<u32>>,
}

/// The size of a segment that the settings ask for, within what the format allows.
pub(crate) fn segment_size(settings: &Settings) -> u32 {
    let size = settings.segment.clamp(32 << 10, 256 << 20).next_multiple_of(4096);
    u32::try_from(size).expect("at most 256 MiB")
}

/// Numbers of the files `NNNNNNNN.seg` in a folder.
pub(crate) fn numbers(disk: &Disk, folder: &str) -> std::io::Result<Vec<u32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(disk.folder(folder))? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        found.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads the log without changing anything.
pub(crate) fn look(disk: &Disk) -> Result<(Replay, BTreeMap<u32, Told>), Error> {
    let mut replay = Replay { look_only: true, ..Replay::default() };
    let (told, _) = replay.headers(disk, &numbers(disk, "segments").map_err(failed)?).map_err(failed)?;
    replay.replay_all(disk, &told).map_err(failed)?;
    Ok((replay, told))
}

/// Brings back what the log says.
pub(crate) fn recover(settings: &Settings, disk: &Disk, now: Time) -> Result<(Recovered, Recovery), Error> {
    let numbers = numbers(disk, "segments").map_err(failed)?;
    let mut replay = Replay::default();
    let (told, empty) = replay.headers(disk, &numbers).map_err(failed)?;
    replay.replay_all(disk, &told).map_err(failed)?;
    if let Some(last) = told.keys().next_back() {
        // A killed engine's last bytes may be in the page cache only, and from now on they count.
        let path = disk.segment(*last);
        let file = File::options().read(true).write(true).open(&path).map_err(failed)?;
        disk.sync(&path, &file).map_err(failed)?;
    }
    let corrupt = replay.check_contents(disk).map_err(failed)?;
    replay.set_due(now);
    let highest = numbers.last().copied().unwrap_or(0);
    let (spares, highest_spare) = spares(disk, &empty, &told, segment_size(settings)).map_err(failed)?;
    let Replay { index, counter, mut recovery, leaving, .. } = replay;
    recovery.messages = index.messages.len() as u64;
    let next = highest.max(highest_spare) + 1;
    let leaving = leaving.into_iter().collect();
    Ok((Recovered { index, counter, next, spares, corrupt, leaving }, recovery))
}

impl Replay {
    /// Reads all headers. Returns what is known of each segment, and the files that are no segments yet.
    fn headers(&mut self, disk: &Disk, numbers: &[u32]) -> std::io::Result<(BTreeMap<u32, Told>, Vec<u32>)> {
        let mut blocks = Vec::new();
        let mut told: BTreeMap<u32, Told> = BTreeMap::new();
        for &number in numbers {
            let mut bytes = vec![0; BLOCK as usize];
            durable::read_at_most(&File::open(disk.segment(number))?, &mut bytes, 0)?;
            let block = SegmentHeader::decode(&bytes);
            if let Block::Header(header) = &block
                && header.number == number
            {
                self.counter = self.counter.max(header.counter_limit);
                for past in &header.history {
                    // Later headers come later and know better.
                    let known = Told { salt: past.salt, end: Some(past.end), voided: past.voided };
                    told.insert(past.number, known);
                }
            }
            blocks.push((number, block));
        }
        let mut all = BTreeMap::new();
        let mut empty = Vec::new();
        for (number, block) in blocks {
            match (block, told.get(&number)) {
                (Block::Header(header), known) if header.number == number => {
                    let (end, voided) = known.map_or((None, false), |known| (known.end, known.voided));
                    all.insert(number, Told { salt: header.salt, end, voided });
                }
                (_, Some(known)) => {
                    self.line(format!("spool: the header of segment {number} is damaged; a later one has its salt"));
                    all.insert(number, *known);
                }
                (Block::Damaged, None) => self.set_segment_aside(disk, number)?,
                _ => empty.push(number),
            }
        }
        Ok((all, empty))
    }

    fn line(&mut self, line: String) {
        self.recovery.lines.push(line);
    }

    /// Without its salt nothing in it can be read.
    fn set_segment_aside(&mut self, disk: &Disk, number: u32) -> std::io::Result<()> {
        if self.look_only {
            self.line(format!("spool: segment {number} has no readable header"));
            return Ok(());
        }
        let target = disk.folder("corrupt").join(format!("segment-{number:08}.seg"));
        disk.rename(&disk.segment(number), &target)?;
        disk.sync_folder("corrupt")?;
        disk.sync_folder("segments")?;
        let line = format!("spool: segment {number} has no readable header; set aside as {}", target.display());
        disk.write_whole(&target.with_extension("txt"), line.as_bytes())?;
        self.line(line);
        Ok(())
    }

    fn replay_all(&mut self, disk: &Disk, told: &BTreeMap<u32, Told>) -> std::io::Result<()> {
        if self.start_at_checkpoint(disk, told)? {
            return Ok(());
        }
        for (&number, told) in told {
            self.index.segments.insert(number, Segment::new(told.salt));
        }
        self.replay_from(disk, told, 0, BLOCK)
    }

    /// Replays every segment from `first`, that one from `offset`.
    pub fn replay_from(
        &mut self,
        disk: &Disk,
        told: &BTreeMap<u32, Told>,
        first: u32,
        offset: u32,
    ) -> std::io::Result<()> {
        self.index.replaying = true;
        let last = told.keys().next_back().copied();
        for (&number, known) in told.range(first..) {
            let start = if number == first { offset } else { BLOCK };
            self.replay_segment(disk, number, *known, start, Some(number) == last)?;
        }
        self.index.end_replay(&self.leaving);
        Ok(())
    }

    fn replay_segment(&mut self, disk: &Disk, number: u32, told: Told, start: u32, last: bool) -> std::io::Result<()> {
        let bytes = std::fs::read(disk.segment(number))?;
        let seeds = Seeds::new(&told.salt);
        let known = Known { seeds, end: told.end, last };
        let mut damages = Vec::new();
        let mut scanned = u64::from(BLOCK);
        let ended = scan(&bytes, start, known, |piece| match piece {
            Piece::Frame { offset, records } => {
                self.moved_on = true;
                scanned += records.len() as u64;
                let place = Place { segment: number, offset, length: records.len() as u32 };
                if !self.frame(place, records) {
                    damages.push((offset, offset + super::frame::HEADER + records.len() as u32));
                }
            }
            Piece::Damage { from, to } => damages.push((from, to)),
        });
        self.recovery.scanned += scanned.max(u64::from(ended.end.saturating_sub(start)));
        for (from, to) in damages {
            let part = bytes.get(from as usize..to as usize).unwrap_or_default();
            let damaged = part.iter().any(|&b| b != 0);
            if damaged && (self.look_only || keep_bytes(disk, number, from, part, "no frame fits here")?) {
                let text = format!("spool: segment {number} is damaged from {from} to {to}; set aside in corrupt/");
                self.line(text);
            }
        }
        if let Some(segment) = self.index.segments.get_mut(&number) {
            segment.end = ended.end;
            segment.voided = ended.voided || told.voided;
        }
        Ok(())
    }

    /// Applies a frame; false if its records make no sense.
    fn frame(&mut self, place: Place, bytes: &[u8]) -> bool {
        for record in records(bytes) {
            let Ok(record) = record else { return false };
            match record {
                Record::Content { id, length, crc, in_file } => self.content(place, id, length, crc, in_file),
                Record::Envelope { fields, .. } => {
                    if !self.envelope(place, fields) {
                        return false;
                    }
                }
                Record::Changes { id, changes } => {
                    self.counter = self.counter.max(id.counter() + 1);
                    self.patch(id, place, |entry| entry.change(&changes));
                }
                Record::Expanded { id, expanded, children } => {
                    let children = super::job::standings(&children);
                    self.patch(id, place, |entry| entry.expand(&expanded, children.into_iter()));
                }
                Record::Verb { verb, ids, .. } => {
                    ids.into_iter().for_each(|id| self.patch(id, place, |entry| entry.verb(verb)));
                }
                Record::Removed { ids } => ids.into_iter().for_each(|id| self.finish(id, place)),
                Record::Counter(limit) => self.counter = self.counter.max(limit.min(COUNTER)),
                Record::Unknown => self.line(format!(
                    "spool: segment {} has a record of a later version at {}",
                    place.segment, place.offset
                )),
            }
        }
        true
    }

    fn content(&mut self, place: Place, id: ContentId, size: u64, crc: u32, in_file: bool) {
        self.counter = self.counter.max(id.0.min(COUNTER));
        let offset = place.offset + super::frame::HEADER + place.length;
        let (segment, offset) = if in_file { (0, 0) } else { (place.segment, offset) };
        self.index.store(id, Stored { segment, offset, size, crc, refs: 0, verified: false });
    }

    fn envelope(&mut self, place: Place, fields: &[u8]) -> bool {
        let Ok(envelope) = envelope_code::decode(fields) else {
            return false;
        };
        let id = envelope.id;
        self.counter = self.counter.max(id.counter() + 1);
        self.index.submissions.insert(envelope.origin.submission, id, envelope.arrived);
        let entry = Entry {
            base: place,
            content: envelope.content,
            standings: envelope.recipients.iter().map(|r| Standing::new(r.state)).collect(),
            patches: Vec::new(),
            homes: None,
            due: 0,
            // Keeps it out of the order of claims until the end of the replay.
            active: true,
            held: envelope.hold.is_some(),
            queue_only: envelope.queue_only,
        };
        self.index.place(id, Box::new(entry));
        true
    }

    fn patch(&mut self, id: QueueId, place: Place, change: impl FnOnce(&mut Entry)) {
        let Some(entry) = self.index.messages.get_mut(&id) else {
            return;
        };
        change(entry);
        let (finished, several) = (entry.standings.all_finished(), entry.standings.as_slice().len() > 1);
        if finished && !several {
            return self.finish(id, place);
        }
        self.index.patch(id, place);
        if finished && let Some(entry) = self.index.leave(id) {
            self.leaving.insert(id, entry);
        }
    }

    fn finish(&mut self, id: QueueId, place: Place) {
        if let Some(entry) = self.index.leave(id).or_else(|| self.leaving.remove(&id)) {
            // A body's file is removed with the other files that nothing names.
            let _orphan = self.index.finish(id, &entry, place.segment);
        } else if let Some(homes) = self.buried.get(&id) {
            homes.iter().for_each(|home| self.index.dig(id, *home, place.segment));
        }
    }

    /// Removes bodies that nothing names; finds messages whose content is missing.
    fn check_contents(&mut self, disk: &Disk) -> std::io::Result<Vec<(QueueId, String)>> {
        let mut present = std::collections::HashSet::new();
        let mut removed = 0u32;
        for entry in std::fs::read_dir(disk.folder("bodies"))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = u64::from_str_radix(name, 16).ok().map(ContentId);
            let wanted = |id: &ContentId| self.index.contents.get(id).is_some_and(|stored| stored.segment == 0);
            match id.filter(wanted) {
                Some(id) => {
                    present.insert(id);
                }
                None => {
                    disk.unlink(&path)?;
                    removed += 1;
                }
            }
        }
        if removed > 0 {
            self.line(format!("spool: removed {removed} bodies that no message has"));
        }
        let here = |entry: &Entry| {
            let stored = self.index.contents.get(&entry.content);
            stored.is_some_and(|stored| stored.segment != 0 || present.contains(&entry.content))
        };
        let lost = self.index.messages.iter().filter(|(_, entry)| !here(entry));
        Ok(lost.map(|(id, _)| (*id, "its content is missing".to_owned())).collect())
    }

    /// Puts every message into the order of claims. After an unclean stop what was due may have been delivered.
    fn set_due(&mut self, now: Time) {
        let clean = self.recovery.clean;
        let ids: Vec<QueueId> = self.index.messages.keys().copied().collect();
        for id in ids {
            if let Some(entry) = self.index.messages.get_mut(&id) {
                entry.active = false;
                if !clean && !entry.held && !entry.queue_only {
                    entry.standings.as_mut_slice().iter_mut().for_each(|standing| standing.doubt(now.wall));
                }
                entry.due = entry.standings.earliest(asap(id)).unwrap_or(i64::MAX);
            }
            self.index.wait(id);
        }
    }
}

/// Files that can become segments. Empty segments go back to them.
fn spares(disk: &Disk, empty: &[u32], told: &BTreeMap<u32, Told>, size: u32) -> std::io::Result<(Vec<String>, u32)> {
    let mut in_use = std::collections::HashSet::new();
    for &number in told.keys() {
        in_use.insert(std::fs::metadata(disk.segment(number))?.ino());
    }
    for &number in empty {
        disk.rename(&disk.segment(number), &disk.folder("spare").join(format!("{number:08}.seg")))?;
    }
    if !empty.is_empty() {
        disk.sync_folder("spare")?;
        disk.sync_folder("segments")?;
    }
    let (mut names, mut highest) = (Vec::new(), 0);
    for entry in std::fs::read_dir(disk.folder("spare"))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".seg").and_then(|number| number.parse().ok());
        highest = highest.max(number.unwrap_or(0));
        // After a power cut a segment may have its old name as well; writing through that would destroy it.
        if metadata.len() == u64::from(size) && name.ends_with(".seg") && !in_use.contains(&metadata.ino()) {
            names.push(name);
        } else {
            disk.unlink(&entry.path())?;
        }
    }
    names.sort();
    Ok((names, highest))
}
