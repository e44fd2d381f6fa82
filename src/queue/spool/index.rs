//! The index: what is where. In memory only, rebuilt at start; at most 400 bytes for a message with one recipient. Pure: no
//! file is touched here. The writer changes it after a sync; callers change standings at once (README.md rule 2).

use super::frame::{Past, Salt, Seeds};
use super::record::Verb;
use super::standing::{Standing, Standings};
use crate::{Change, ContentId};
use bytes::Bytes;
use mail::QueueId;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::Arc;

/// Where a frame's records lie: the frame's offset and the records' length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Place {
    pub segment: u32,
    pub offset: u32,
    pub length: u32,
}

/// One unfinished message.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The frame with the latest copy of the envelope.
    pub base: Place,
    pub content: ContentId,
    pub standings: Standings,
    /// Frames with changes after `base`, in log order.
    pub patches: Vec<Place>,
    /// Segments that may hold older copies of the envelope; almost always none.
    pub homes: Option<Box<[u32]>>,
    /// Wall milliseconds at which it may be claimed.
    pub due: i64,
    /// Handed out.
    pub active: bool,
    pub held: bool,
    pub queue_only: bool,
}

/// One stored content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// 0: in a file of its own.
    pub segment: u32,
    /// Offset of the first byte.
    pub offset: u32,
    pub size: u64,
    pub crc: u32,
    /// Envelopes that have it.
    pub refs: u32,
    /// Its checksum held when it was last read, or it was written by this process.
    pub verified: bool,
}

/// One segment of the log.
#[derive(Debug)]
pub(crate) struct Segment {
    pub salt: Salt,
    pub seeds: Seeds,
    /// Nothing counts from here on.
    pub end: u32,
    pub voided: bool,
    /// The log says that its file goes.
    pub retired: bool,
    /// References from entries and contents into it.
    pub live: u64,
    pub live_bytes: u64,
    /// Last words in this segment about finished messages, by the other segment that has their envelope.
    pub graves: BTreeMap<u32, Vec<QueueId>>,
    /// Open for reading.
    pub file: Option<Arc<File>>,
}

impl Segment {
    pub fn new(salt: Salt) -> Self {
        Self {
            salt,
            seeds: Seeds::new(&salt),
            end: super::frame::BLOCK,
            voided: false,
            retired: false,
            live: 0,
            live_bytes: 0,
            graves: BTreeMap::new(),
            file: None,
        }
    }
}

/// Everything that is known.
#[derive(Default)]
pub(crate) struct Index {
    pub messages: BTreeMap<QueueId, Box<Entry>>,
    pub contents: HashMap<ContentId, Stored, foldhash::fast::RandomState>,
    pub due: BTreeSet<(i64, QueueId)>,
    pub segments: BTreeMap<u32, Segment>,
    /// Records of a message that are not synced yet, in log order.
    pub floating: HashMap<QueueId, Vec<Bytes>, foldhash::fast::RandomState>,
    pub submissions: Submissions,
    /// Messages with so many patches that a fresh copy of the envelope is due.
    pub overgrown: Vec<QueueId>,
    /// Copies of envelopes, by segment, whose message was finished while they were made; gone with its last word.
    pub ghosts: Vec<(QueueId, u32)>,
    /// Messages with an expansion that is on its way, or was: their last word must speak against it.
    pub expanding: HashSet<QueueId, foldhash::fast::RandomState>,
    /// While the log is replayed an envelope may come before (a copy of) its content, so references are counted at the end.
    pub replaying: bool,
    /// Total size of all contents, in bytes.
    pub bytes: u64,
    /// The clocks when something was last claimed.
    pub clocks: Option<mail::Time>,
}

/// When a message with something due may be claimed: in order of arrival.
pub(crate) fn asap(id: QueueId) -> i64 {
    id.unix() * 1000
}

impl Entry {
    /// Patches beyond this make a fresh copy of the envelope worth its bytes.
    fn patch_limit(&self) -> usize {
        16 + self.standings.as_slice().len() / 4
    }

    /// Applies outcomes. Finished recipients never change again.
    pub fn change(&mut self, changes: &[Change]) {
        let standings = self.standings.as_mut_slice();
        for change in changes {
            if let Some(standing) = standings.get_mut(change.recipient as usize)
                && !standing.is_finished()
            {
                *standing = Standing::after(change);
            }
        }
    }

    pub fn expand(&mut self, expanded: &[u32], children: impl Iterator<Item = Standing>) {
        let standings = self.standings.as_mut_slice();
        for &index in expanded {
            if let Some(standing) = standings.get_mut(index as usize)
                && !standing.is_finished()
            {
                *standing = Standing::new(crate::State::Expanded);
            }
        }
        self.standings.extend(children);
    }

    pub fn verb(&mut self, verb: Verb) {
        match verb {
            Verb::Hold => self.held = true,
            Verb::Release => self.held = false,
            Verb::Flush => {
                self.queue_only = false;
                self.standings.as_mut_slice().iter_mut().for_each(Standing::flush);
            }
        }
    }

    fn waits(&self) -> bool {
        !self.active && !self.held && !self.queue_only
    }
}

impl Index {
    fn enliven(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live += 1;
            segment.live_bytes = segment.live_bytes.saturating_add(u64::from(place.length));
        }
    }

    fn deaden(&mut self, place: Place) {
        if let Some(segment) = self.segments.get_mut(&place.segment) {
            segment.live = segment.live.saturating_sub(1);
            segment.live_bytes = segment.live_bytes.saturating_sub(u64::from(place.length));
        }
    }

    fn content_place(stored: &Stored) -> Place {
        Place { segment: stored.segment, offset: stored.offset, length: u32::try_from(stored.size).unwrap_or(u32::MAX) }
    }

    /// Adds a content, or moves it to where its latest copy lies.
    pub fn store(&mut self, id: ContentId, stored: Stored) {
        self.enliven(Self::content_place(&stored));
        self.bytes = self.bytes.saturating_add(stored.size);
        if let Some(old) = self.contents.insert(id, stored) {
            self.bytes = self.bytes.saturating_sub(old.size);
            self.deaden(Self::content_place(&old));
            if let Some(new) = self.contents.get_mut(&id) {
                new.refs = new.refs.saturating_add(old.refs);
            }
        }
    }

    /// Takes a reference off a content; the last one removes it, and says whether a file of its own must go.
    pub fn release_content(&mut self, id: ContentId) -> bool {
        let Some(stored) = self.contents.get_mut(&id) else {
            return false;
        };
        stored.refs = stored.refs.saturating_sub(1);
        if stored.refs > 0 || self.replaying {
            return false;
        }
        let stored = *stored;
        self.contents.remove(&id);
        self.bytes = self.bytes.saturating_sub(stored.size);
        self.deaden(Self::content_place(&stored));
        stored.segment == 0
    }

    /// The end of a replay: counts references (`leaving` still has its own), and drops contents that nobody has.
    pub fn end_replay(&mut self, leaving: &BTreeMap<QueueId, Box<Entry>>) {
        self.replaying = false;
        self.overgrown.clear();
        self.contents.values_mut().for_each(|stored| stored.refs = 0);
        for entry in self.messages.values().chain(leaving.values()) {
            if let Some(stored) = self.contents.get_mut(&entry.content) {
                stored.refs += 1;
            }
        }
        let orphans = self.contents.iter().filter(|(_, stored)| stored.refs == 0);
        let orphans: Vec<ContentId> = orphans.map(|(id, _)| *id).collect();
        for id in orphans {
            self.release_content(id);
        }
    }

    /// Adds a message, or gives it a fresh copy of its envelope, which replaces the old one and its patches.
    pub fn place(&mut self, id: QueueId, mut entry: Box<Entry>) {
        self.enliven(entry.base);
        if let Some(stored) = self.contents.get_mut(&entry.content) {
            stored.refs += 1;
        }
        if let Some(old) = self.messages.remove(&id) {
            self.unwait(id, &old);
            self.bury(&mut entry, &old);
            self.release_content(old.content);
        }
        self.messages.insert(id, entry);
        self.wait(id);
    }

    /// Moves an entry's envelope to a fresh copy that contains all its changes.
    pub fn rebase(&mut self, id: QueueId, base: Place) {
        let Some(mut entry) = self.messages.remove(&id) else {
            return;
        };
        self.enliven(base);
        let old = Entry { patches: std::mem::take(&mut entry.patches), ..(*entry).clone() };
        self.bury(&mut entry, &old);
        entry.base = base;
        self.messages.insert(id, entry);
    }

    /// Whatever is left of an older copy: its bytes are dead, its segment is remembered.
    fn bury(&mut self, entry: &mut Entry, old: &Entry) {
        self.deaden(old.base);
        old.patches.iter().for_each(|&patch| self.deaden(patch));
        let mut homes = old.homes.as_deref().unwrap_or_default().to_vec();
        if !homes.contains(&old.base.segment) {
            homes.push(old.base.segment);
        }
        entry.homes = Some(homes.into());
    }

    /// A frame with changes of a message was synced.
    pub fn patch(&mut self, id: QueueId, place: Place) {
        let Some(entry) = self.messages.get_mut(&id) else {
            return;
        };
        entry.patches.push(place);
        // Again and again, for a copy may fail, and a start forgets which were due for one.
        if entry.patches.len().is_multiple_of(entry.patch_limit()) {
            self.overgrown.push(id);
        }
        self.enliven(place);
    }

    /// Forgets a finished message whose last word lies in segment `last`. Returns its content if a file must go.
    pub fn finish(&mut self, id: QueueId, entry: &Entry, last: u32) -> Option<ContentId> {
        self.deaden(entry.base);
        entry.patches.iter().for_each(|&patch| self.deaden(patch));
        let homes = entry.homes.iter().flat_map(|homes| homes.iter().copied());
        for home in homes.chain([entry.base.segment]) {
            self.dig(id, home, last);
        }
        let (own, rest) = std::mem::take(&mut self.ghosts).into_iter().partition(|(ghost, _)| *ghost == id);
        self.ghosts = rest;
        let own: Vec<(QueueId, u32)> = own;
        own.into_iter().for_each(|(id, home)| self.dig(id, home, last));
        self.release_content(entry.content).then_some(entry.content)
    }

    /// Remembers that segment `last` has the last word about a message with an envelope in `home`.
    pub fn dig(&mut self, id: QueueId, home: u32, last: u32) {
        if home != last
            && self.segments.contains_key(&home)
            && let Some(segment) = self.segments.get_mut(&last)
        {
            let graves = segment.graves.entry(home).or_default();
            if graves.last() != Some(&id) {
                graves.push(id);
            }
        }
    }

    /// A segment is gone, durably: nothing in it can come back, so nobody needs to speak against it.
    pub fn forget_segment(&mut self, number: u32) {
        self.segments.remove(&number);
        for segment in self.segments.values_mut() {
            segment.graves.remove(&number);
        }
    }

    /// Puts a message that waits into the order of claims.
    pub fn wait(&mut self, id: QueueId) {
        if let Some(entry) = self.messages.get(&id)
            && entry.waits()
        {
            self.due.insert((entry.due, id));
        }
    }

    /// As [`asap`], but never later than now: its id may be of a time when the clock was ahead.
    pub fn asap(&self, id: QueueId) -> i64 {
        self.clocks.map_or(i64::MAX, |now| now.wall).min(asap(id))
    }

    /// The wall clock went back: what waits, waits as long as the monotonic clock says.
    pub fn look_at_clocks(&mut self, now: mail::Time) {
        const NOTABLE: i64 = 60_000;
        let Some(last) = self.clocks.replace(now) else { return };
        let passed = i64::try_from(now.mono.saturating_sub(last.mono)).unwrap_or(i64::MAX);
        let jump = now.wall.saturating_sub(last.wall).saturating_sub(passed);
        if jump > -NOTABLE {
            return;
        }
        let ids: Vec<QueueId> = self.messages.keys().copied().collect();
        for id in ids {
            let Some(entry) = self.messages.get_mut(&id) else { continue };
            self.due.remove(&(entry.due, id));
            entry.standings.as_mut_slice().iter_mut().for_each(|standing| standing.shift(jump));
            if !entry.active {
                entry.due = entry.standings.earliest(asap(id).min(now.wall)).unwrap_or(i64::MAX);
            }
            self.wait(id);
        }
    }

    /// Takes a message out of the order of claims.
    pub fn unwait(&mut self, id: QueueId, entry: &Entry) {
        self.due.remove(&(entry.due, id));
    }

    /// Changes an entry while keeping the order of claims right. `None` if there is no such message.
    pub fn alter<T>(&mut self, id: QueueId, change: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        let asap = self.asap(id);
        let entry = self.messages.get_mut(&id)?;
        self.due.remove(&(entry.due, id));
        let result = change(entry);
        if !entry.active {
            entry.due = entry.standings.earliest(asap).unwrap_or(i64::MAX);
        }
        self.wait(id);
        Some(result)
    }

    /// What a header or checkpoint says about the segments that exist, `current` excepted.
    pub fn history(&self, current: u32) -> Vec<Past> {
        let past = |(&number, segment): (&u32, &Segment)| Past {
            number,
            end: segment.end,
            voided: segment.voided,
            retired: segment.retired,
            salt: segment.salt,
        };
        let mut all: Vec<Past> = self.segments.iter().filter(|(n, _)| **n != current).map(past).collect();
        // Voided segments first, for their ends cannot be found again by reading them, and among them those with something that
        // counts, for the others go at the next probe; then the newest.
        let empty = |past: &Past| past.end <= super::frame::BLOCK;
        all.sort_by_key(|past| (!past.voided, past.voided && empty(past), std::cmp::Reverse(past.number)));
        all.truncate(super::frame::HISTORY);
        all.sort_by_key(|past| past.number);
        all
    }
}

/// Ids of local submissions taken in the last day, so that each is taken once however it travelled.
#[derive(Default)]
pub(crate) struct Submissions {
    taken: HashMap<[u8; 16], QueueId>,
    order: VecDeque<(i64, [u8; 16])>,
}

/// Most submission ids remembered.
const SUBMISSIONS: usize = 100_000;
const DAY: i64 = 86_400_000;

impl Submissions {
    pub fn insert(&mut self, submission: [u8; 16], id: QueueId, arrived: i64) {
        if submission == [0; 16] || self.taken.contains_key(&submission) {
            return;
        }
        self.taken.insert(submission, id);
        self.order.push_back((arrived, submission));
        while let Some(&(oldest, key)) = self.order.front()
            && (self.order.len() > SUBMISSIONS || oldest < arrived.saturating_sub(DAY))
        {
            self.order.pop_front();
            self.taken.remove(&key);
        }
    }
    pub fn get(&self, submission: &[u8; 16]) -> Option<QueueId> {
        self.taken.get(submission).copied()
    }
    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (i64, [u8; 16], QueueId)> + '_ {
        self.order.iter().filter_map(|&(arrived, key)| Some((arrived, key, *self.taken.get(&key)?)))
    }
}
