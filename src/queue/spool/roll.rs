//! From one segment to the next: recycled files first, then new ones, the reserve last and never for new mail.

use super::chore::Chore;
use super::code::Fields;
use super::frame::{BLOCK, Salt, Seeds, SegmentHeader};
use super::index::Segment;
use super::job::{Effect, Job};
use super::writer::{Current, Writer};
use super::{failed, lock, record};
use crate::Error;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Spares kept beyond the reserve.
const EXTRA: usize = 2;

/// Where the next segment comes from.
pub(crate) enum Next {
    /// A file in `spare/`; the last ones are the reserve.
    Spare { name: String, reserved: bool },
    /// A new file.
    New,
}

/// 128 random bits.
fn new_salt() -> Salt {
    let mut salt = Salt::default();
    let name = durable::random_name();
    for (byte, pair) in salt.iter_mut().zip(name.as_bytes().as_chunks::<2>().0) {
        let digit = |c: u8| (c as char).to_digit(16).unwrap_or(0) as u8;
        *byte = digit(pair[0]) << 4 | digit(pair[1]);
    }
    salt
}

impl Writer {
    /// Chooses the next segment, or says that there is no room.
    pub fn pick(&mut self, mail: bool) -> Result<Next, Error> {
        let mut spares = lock(&self.spares);
        if spares.len() > self.shared.reserve
            && let Some(name) = spares.pop()
        {
            return Ok(Next::Spare { name, reserved: false });
        }
        let space = self.shared.disk.space().map_err(failed)?;
        let needed = u64::from(self.shared.segment) + self.shared.min_free;
        if space.bytes >= needed && space.inodes >= super::MIN_INODES {
            return Ok(Next::New);
        }
        if mail {
            return Err(Error::Full(format!("{} bytes free", space.bytes)));
        }
        match spares.pop() {
            Some(name) => Ok(Next::Spare { name, reserved: true }),
            // The last bytes of the disk, if there are any: better than not recording an outcome.
            None => Ok(Next::New),
        }
    }

    /// Makes the chosen file the segment that is written. Everything before must be settled.
    pub fn begin(&mut self, next: Next) -> Result<(), Error> {
        let number = self.next;
        self.next += 1;
        let (file, reserved) = self.bring(number, next).map_err(failed)?;
        let salt = new_salt();
        let mut index = self.shared.index();
        let header = SegmentHeader {
            number,
            salt,
            counter_limit: self.shared.limit.load(Ordering::Relaxed),
            history: index.history(number),
        };
        index.segments.insert(number, Segment::new(salt));
        drop(index);
        self.current = Some(Current {
            number,
            path: self.shared.disk.segment(number),
            file: Arc::new(file),
            seeds: Seeds::new(&salt),
            pos: BLOCK,
            synced: 0,
            reserved,
            header: Some(header.encode()),
        });
        self.want_spares();
        Ok(())
    }

    fn bring(&self, number: u32, next: Next) -> io::Result<(File, bool)> {
        let disk = &self.shared.disk;
        let path = disk.segment(number);
        match next {
            Next::New => {
                let file = disk.create(&path, u64::from(self.shared.segment), false)?;
                if let Err(error) = disk.sync_folder("segments") {
                    // Otherwise each try would leave one.
                    let _removed_at_next_start = disk.unlink(&path);
                    return Err(error);
                }
                Ok((file, false))
            }
            Next::Spare { name, reserved } => {
                let spare = disk.folder("spare").join(&name);
                // Otherwise the old name could come back beside the new one after a power cut.
                let moved = disk
                    .rename(&spare, &path)
                    .and_then(|()| disk.sync_folder("segments"))
                    .and_then(|()| disk.sync_folder("spare"))
                    .and_then(|()| File::options().read(true).write(true).open(&path));
                if moved.is_err() && (spare.exists() || disk.rename(&path, &spare).is_ok()) {
                    // It is still a spare: the reserve must not melt away while the disk fails.
                    lock(&self.spares).push(name);
                }
                Ok((moved?, reserved))
            }
        }
    }

    /// Asks for spare segments if there are too few and the disk has room.
    pub fn want_spares(&mut self) {
        let have = lock(&self.spares).len();
        let Ok(space) = self.shared.disk.space() else { return };
        let wanted = (self.shared.reserve + 1).saturating_sub(have + self.asked_spares());
        let affordable = space.bytes.saturating_sub(self.shared.min_free) / u64::from(self.shared.segment);
        for _ in 0..wanted.min(usize::try_from(affordable).unwrap_or(usize::MAX)) {
            self.shared.chores.send(Chore::Spare(Arc::clone(&self.spares)));
        }
    }

    /// Spares that are being made. The list is shared with each request, so the number of its owners tells.
    fn asked_spares(&self) -> usize {
        Arc::strong_count(&self.spares) - 1
    }

    /// Takes dead segments out of the log, durably, and keeps some as spares.
    pub fn free(&mut self, numbers: &[u32]) {
        let Some(said) = self.say_retired(numbers) else { return };
        let mut kept = lock(&self.spares).len();
        for &number in numbers {
            match self.retire(number, !said || kept < self.shared.reserve + EXTRA) {
                Ok(()) => kept += 1,
                // Moved by an earlier try whose sync failed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.shared.note(format!("spool: segment {number} cannot be recycled: {error}"));
                    return self.compactor.rest();
                }
            }
        }
        let disk = &self.shared.disk;
        // What is not durably gone may come back, with messages that are finished; so nothing is forgotten before the sync.
        // In this order a power cut leaves both names rather than none.
        let synced = disk.sync_folder("spare").and_then(|()| disk.sync_folder("segments"));
        if let Err(error) = synced {
            // Unlike a file's pages, a folder's changes are not forgotten by a failed sync: they stay in the file system's journal, which
            // either commits them with the next sync or stops taking any. So this may be tried again; until then nothing is forgotten.
            self.shared.note(format!("spool: folder sync failed: {error}"));
            return self.compactor.rest();
        }
        let mut index = self.shared.index();
        let mut spares = lock(&self.spares);
        for &number in numbers {
            index.forget_segment(number);
            let name = format!("{number:08}.seg");
            if disk.folder("spare").join(&name).exists() {
                spares.push(name);
            }
        }
    }

    /// Says in the log that the files of these segments go; one that is missing without this was lost. False if there is no room even
    /// for this: then they can only become spares, whose names say enough. `None` if the store failed.
    fn say_retired(&mut self, numbers: &[u32]) -> Option<bool> {
        let mut out = Fields::default();
        record::put_retired(&mut out, numbers);
        match self.put_copy(Job { records: out.0.into(), content: Bytes::new(), effect: Effect::Copy }) {
            Some(place) if self.settle_through(place) => {
                let mut index = self.shared.index();
                for number in numbers {
                    if let Some(segment) = index.segments.get_mut(number) {
                        segment.retired = true;
                    }
                }
                Some(true)
            }
            Some(_) => None,
            None => (self.is_settled() && self.current.is_some()).then_some(false),
        }
    }

    fn retire(&self, number: u32, keep: bool) -> io::Result<()> {
        let disk = &self.shared.disk;
        let path = disk.segment(number);
        if keep {
            disk.rename(&path, &disk.folder("spare").join(format!("{number:08}.seg")))
        } else {
            disk.unlink(&path)
        }
    }
}
