//! What does not fit its checksum: set aside in `corrupt/` with the reason, reported, never deleted.

use super::Shared;
use super::disk::Disk;
use crate::Error;
use mail::QueueId;
use std::fmt::Write as _;

/// Longest reason shown of each.
const SHOWN: usize = 2_000;

impl Shared {
    /// Sets a message aside: what is known about it is written to `corrupt/`, and it leaves the queue.
    pub fn set_aside(&self, id: QueueId, why: &str) {
        let mut text = format!("{id}: {why}\n");
        let snapshot = self.snapshot(&mut self.index(), id);
        if let Ok(Ok(envelope)) = snapshot.as_ref().map(super::read::Snapshot::read) {
            let _strings_do_not_fail = writeln!(text, "{envelope:#?}");
        }
        let path = self.disk.folder("corrupt").join(format!("{id}.txt"));
        if self.disk.write_whole(&path, text.as_bytes()).is_err() {
            // Not written down means not removed either: it is found again at the next read.
            self.note(format!("{id}: corrupt ({why}), and corrupt/ cannot be written"));
            return;
        }
        self.keep_content(id);
        self.note(format!("{id}: corrupt ({why}), set aside in corrupt/"));
        drop(self.remove(&[id]));
    }

    /// Copies what can be read of its content, whether it fits or not: a person may make more of it.
    fn keep_content(&self, id: QueueId) {
        let stored = {
            let index = self.index();
            let content = index.messages.get(&id).map(|entry| entry.content);
            content.and_then(|content| Some((content, *index.contents.get(&content)?)))
        };
        let Some((content, stored)) = stored else { return };
        let target = self.disk.folder("corrupt").join(format!("{id}.eml"));
        if stored.segment == 0 {
            // A second name for the same file; the first goes with the message.
            let _best_effort = std::fs::hard_link(self.disk.body(content.0), target);
            return;
        }
        let mut bytes = vec![0; usize::try_from(stored.size).unwrap_or(0)];
        let read = std::fs::File::open(self.disk.segment(stored.segment))
            .and_then(|file| durable::read_at_most(&file, &mut bytes, u64::from(stored.offset)));
        if let Ok(length) = read {
            bytes.truncate(length);
            let _best_effort = self.disk.write_whole(&target, &bytes);
        }
    }
}

/// Bytes of a segment that no frame explains: copied once, under a name made of their place.
pub(crate) fn keep_bytes(disk: &Disk, number: u32, offset: u32, bytes: &[u8], why: &str) -> std::io::Result<bool> {
    let path = disk.folder("corrupt").join(format!("segment-{number:08}-{offset}"));
    let text = path.with_extension("txt");
    if text.exists() {
        return Ok(false);
    }
    disk.write_whole(&path.with_extension("bin"), bytes)?;
    disk.write_whole(&text, format!("segment {number}, offset {offset}, {} bytes: {why}\n", bytes.len()).as_bytes())?;
    Ok(true)
}

/// What lies in `corrupt/`.
pub(crate) fn list(disk: &Disk) -> Result<Vec<String>, Error> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(disk.folder("corrupt")).map_err(super::failed)? {
        let path = entry.map_err(super::failed)?.path();
        if path.extension().is_some_and(|extension| extension == "txt")
            && let Ok(text) = std::fs::read(&path)
        {
            let text = String::from_utf8_lossy(text.get(..SHOWN).unwrap_or(&text)).into_owned();
            all.push(format!("{}: {}", path.display(), text.trim_end()));
        }
    }
    all.sort();
    Ok(all)
}
