//! Starting: what the log says (README.md "Recovery"). Reads, and changes only names in `spare/`, `bodies/` and `corrupt/`.

use super::corrupt::keep_bytes;
use super::disk::Disk;
use super::frame::{BLOCK, Block, Salt, Seeds, SegmentHeader};
use super::index::{Entry, Index, Place, Segment, Stored, asap};
use super::record::{Record, records};
use super::scan::{Ended, Known, Piece, scan};
use super::standing::Standing;
use super::{envelope_code, failed};
use crate::{ContentId, Error, Settings};
use mail::{QueueId, Time};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::os::unix::fs::MetadataExt;

/// No segment is larger.
const LARGEST: u64 = 256 << 20;
/// No counter is taken to be above this: adding to it must never overflow.
const COUNTER: u64 = 1 << 60;

/// No wait is longer than this, milliseconds (the longest back-off is 4 h by default); a longer one means that the clock was wrong.
const LONGEST: i64 = 86_400_000;

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
    /// Something that was durable could not be read: what nothing names may belong to it.
    pub damaged: bool,
    /// Frames were read after the checkpoint.
    pub moved_on: bool,
    /// Up to where the last segment's frames say that it is durable.
    pub durable: u32,
    /// Segments that the log and the checkpoint know.
    pub expected: super::missing::Expected,
    /// Segments whose files went with a word, or are not missing although they cannot be read.
    pub retired: HashSet<u32>,
    /// Finished by several frames together; the last word, which does without the others, was not found yet.
    pub leaving: BTreeMap<QueueId, Box<Entry>>,
    /// Messages that were finished before the checkpoint, with the segments that may have their envelopes: a last word that was said again
    /// after it must be known as one.
    pub buried: HashMap<QueueId, Vec<u32>>,
}

/// The size of a segment that the settings ask for, within what the format allows.
pub(crate) fn segment_size(settings: &Settings) -> u32 {
    let size = settings.segment.clamp(32 << 10, LARGEST).next_multiple_of(4096);
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
    let numbers = numbers(disk, "segments").map_err(failed)?;
    let (told, _) = replay.headers(disk, &numbers).map_err(failed)?;
    replay.replay_all(disk, &told).map_err(failed)?;
    replay.report_missing(disk, &numbers).map_err(failed)?;
    Ok((replay, told))
}

/// Brings back what the log says.
pub(crate) fn recover(settings: &Settings, disk: &Disk, now: Time) -> Result<(Recovered, Recovery), Error> {
    let numbers = numbers(disk, "segments").map_err(failed)?;
    let mut replay = Replay::default();
    let (told, empty) = replay.headers(disk, &numbers).map_err(failed)?;
    replay.replay_all(disk, &told).map_err(failed)?;
    replay.report_missing(disk, &numbers).map_err(failed)?;
    if let Some(last) = told.keys().next_back() {
        replay.make_durable(disk, *last).map_err(failed)?;
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
        let mut newest = None;
        for &number in numbers {
            let Some(block) = read_block(disk, number)? else {
                self.set_segment_aside(disk, number, "is no ordinary file")?;
                continue;
            };
            if let Block::Header(header) = &block
                && header.number != number
            {
                // It was recycled, and is about to be used again.
                self.retired.insert(header.number);
            }
            if let Block::Header(header) = &block
                && header.number == number
            {
                self.counter = self.counter.max(header.counter_limit);
                for past in &header.history {
                    // Later headers come later and know better.
                    let known = Told { salt: past.salt, end: Some(past.end), voided: past.voided };
                    told.insert(past.number, known);
                }
                newest = Some(header.clone());
            }
            blocks.push((number, block));
        }
        let checkpoint = super::checkpoint::remembered(disk);
        for (number, past) in &checkpoint.segments {
            // Only where no header tells: a header knows better.
            told.entry(*number).or_insert(*past);
        }
        self.expected = super::missing::Expected::new(newest.as_ref(), checkpoint);
        let mut all = BTreeMap::new();
        let mut empty = Vec::new();
        for (number, block) in blocks {
            match (block, told.get(&number)) {
                (Block::Header(header), known) if header.number == number => {
                    let (end, voided) = known.map_or((None, false), |known| (known.end, known.voided));
                    all.insert(number, Told { salt: header.salt, end, voided });
                }
                (_, Some(known)) => {
                    self.line(format!("spool: the header of segment {number} is damaged; its salt is known elsewhere"));
                    all.insert(number, *known);
                }
                (Block::Damaged, None) => self.set_segment_aside(disk, number, "has no readable header")?,
                _ => empty.push(number),
            }
        }
        Ok((all, empty))
    }

    fn line(&mut self, line: String) {
        self.recovery.lines.push(line);
    }

    /// Without its salt nothing in it can be read.
    fn set_segment_aside(&mut self, disk: &Disk, number: u32, why: &str) -> std::io::Result<()> {
        self.damaged = true;
        if self.look_only {
            self.line(format!("spool: segment {number} {why}"));
            return Ok(());
        }
        let target = disk.folder("corrupt").join(format!("segment-{number:08}.seg"));
        disk.rename(&disk.segment(number), &target)?;
        disk.sync_folder("corrupt")?;
        disk.sync_folder("segments")?;
        let line = format!("spool: segment {number} {why}; set aside as {}", target.display());
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
        let bytes = self.read_segment(disk, number)?;
        let seeds = Seeds::new(&told.salt);
        let known = Known { seeds, end: told.end, last };
        let mut damages = Vec::new();
        if last {
            self.durable = super::scan::durable_to(&bytes, BLOCK, seeds);
        }
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
            self.damaged = true;
            if part.iter().all(|&b| b == 0) {
                self.line(format!("spool: segment {number} has nothing from {from} to {to}, where frames were"));
            } else if self.look_only || keep_bytes(disk, number, from, part, "no frame fits here")? {
                let text = format!("spool: segment {number} is damaged from {from} to {to}; set aside in corrupt/");
                self.line(text);
            }
        }
        if ended.tail > ended.end {
            self.keep_tail(disk, number, ended, &bytes);
        }
        if let Some(segment) = self.index.segments.get_mut(&number) {
            segment.end = ended.end;
            segment.voided = ended.voided || told.voided;
        }
        Ok(())
    }

    /// All bytes of a segment; zeros where the disk cannot read them.
    fn read_segment(&mut self, disk: &Disk, number: u32) -> std::io::Result<Vec<u8>> {
        let file = durable::open_plain(&disk.segment(number))?;
        let length = file.metadata()?.len().min(LARGEST);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let (length, bad) = durable::read_around_damage(&file, &mut bytes, 0)?;
        bytes.truncate(length);
        for range in bad {
            self.damaged = true;
            self.line(format!("spool: segment {number} cannot be read from {} to {}", range.start, range.end));
        }
        Ok(bytes)
    }

    /// What was written last and is not whole was never confirmed, unless it has rotted since: a person may find out.
    fn keep_tail(&mut self, disk: &Disk, number: u32, ended: Ended, bytes: &[u8]) {
        let Ended { end: from, tail: to, .. } = ended;
        let part = bytes.get(from as usize..bytes.len().min(to as usize)).unwrap_or_default();
        let why = "unfinished when the engine died, or damaged since; not taken into the queue";
        let kept = if self.look_only { Ok(true) } else { keep_bytes(disk, number, from, part, why) };
        let line = format!("spool: the end of segment {number}, from {from} to {to}, is {why}");
        match kept {
            Ok(true) => self.line(line),
            // At an earlier start.
            Ok(false) => {}
            Err(error) => self.line(format!("{line}, and cannot be kept: {error}")),
        }
    }

    /// A killed engine's last bytes may be in the page cache only, and from now on they count. If its last sync failed, the kernel may believe
    /// that they are on the disk, and another sync would say so: so what no later frame calls durable is written once more.
    fn make_durable(&self, disk: &Disk, number: u32) -> std::io::Result<()> {
        let path = disk.segment(number);
        let file = File::options().read(true).write(true).open(&path)?;
        let end = self.index.segments.get(&number).map_or(0, |segment| segment.end).next_multiple_of(BLOCK);
        // Whole pages, and the header with them if nothing at all is known.
        let from = if self.durable <= BLOCK { 0 } else { self.durable.min(end) / BLOCK * BLOCK };
        if !self.recovery.clean && from < end {
            let mut bytes = vec![0; (end - from) as usize];
            match durable::read_at_most(&file, &mut bytes, u64::from(from)) {
                Ok(length) => disk.write(&path, &file, bytes.get(..length).unwrap_or_default(), u64::from(from))?,
                // Zeros must not be written where bytes cannot be read.
                Err(error) if durable::is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        disk.sync(&path, &file)
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
                Record::Retired(numbers) => self.retired.extend(numbers),
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
        let (mut removed, mut kept) = (0u32, 0u32);
        for entry in std::fs::read_dir(disk.folder("bodies"))? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let id = u64::from_str_radix(name, 16).ok().map(ContentId);
            let wanted = |id: &ContentId| self.index.contents.get(id).is_some_and(|stored| stored.segment == 0);
            match id.filter(wanted) {
                // Under a body's name there may be something else, which nobody should open.
                Some(id) => {
                    let plain = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file());
                    present.extend(plain.then_some(id));
                }
                // The frame that names it may be among the damaged ones: then it is all that is left of an accepted message.
                None if path.is_dir() => self.recovery.lines.push(format!("spool: {} is a folder", path.display())),
                None if self.damaged && u64::from_str_radix(name, 16).is_ok() => {
                    disk.rename(&path, &disk.folder("corrupt").join(format!("body-{name}.eml")))?;
                    kept += 1;
                }
                None => {
                    disk.unlink(&path)?;
                    removed += 1;
                }
            }
        }
        if kept > 0 {
            disk.sync_folder("corrupt")?;
            disk.sync_folder("bodies")?;
            self.line(format!("spool: {kept} bodies that no message has, beside damage: set aside in corrupt/"));
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
                // The clock may have been put back since: nothing waits longer than a wait can be, counted from now.
                entry.standings.as_mut_slice().iter_mut().for_each(|s| s.not_after(now.wall.saturating_add(LONGEST)));
                entry.due = entry.standings.earliest(asap(id).min(now.wall)).unwrap_or(i64::MAX);
            }
            self.index.wait(id);
        }
    }
}

/// The header block of a segment; `None` if that is no file.
fn read_block(disk: &Disk, number: u32) -> std::io::Result<Option<Block>> {
    let file = match durable::open_plain(&disk.segment(number)) {
        Err(error) if durable::is_damage(&error) => return Ok(None),
        file => file?,
    };
    let mut bytes = vec![0; BLOCK as usize];
    let (_, bad) = durable::read_around_damage(&file, &mut bytes, 0)?;
    Ok(Some(if bad.is_empty() { SegmentHeader::decode(&bytes) } else { Block::Damaged }))
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
        if metadata.is_dir() {
            continue;
        }
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.strip_suffix(".seg").and_then(|number| number.parse().ok());
        highest = highest.max(number.unwrap_or(0));
        // After a power cut a segment may have its old name as well; writing through that would destroy it.
        // And two names of one file are one spare.
        if metadata.len() == u64::from(size) && name.ends_with(".seg") && in_use.insert(metadata.ino()) {
            names.push(name);
        } else {
            disk.unlink(&entry.path())?;
        }
    }
    names.sort();
    Ok((names, highest))
}
