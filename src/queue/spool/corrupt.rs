//! What does not fit its checksum: set aside in `corrupt/` with the reason, reported, never deleted.

use super::Shared;
use super::disk::Disk;
use crate::Error;
use mail::QueueId;
use std::fmt::Write as _;
use std::path::Path;

/// Longest reason shown of each.
const SHOWN: usize = 2_000;

impl Shared {
    /// Sets a message aside: what is known about it, and its content, are written to `corrupt/`, and it leaves the queue. What cannot be written
    /// there stays in the queue, and is found again at the next read. Returns the line for the log.
    pub fn set_aside(&self, id: QueueId, why: &str) -> String {
        let mut text = format!("{id}: {why}\n");
        let snapshot = self.snapshot(&mut self.index(), id);
        if let Ok(Ok(envelope)) = snapshot.as_ref().map(super::read::Snapshot::read) {
            let _strings_do_not_fail = writeln!(text, "{envelope:#?}");
        }
        let path = self.disk.folder("corrupt").join(format!("{id}.txt"));
        let kept = self.keep_content(id).and_then(|()| self.disk.write_whole(&path, text.as_bytes()));
        let line = match kept {
            Ok(()) => {
                drop(self.remove(&[id]));
                format!("{id}: corrupt ({why}), set aside in corrupt/")
            }
            Err(error) => format!("{id}: corrupt ({why}), and stays: corrupt/ cannot be written: {error}"),
        };
        self.note(line.clone());
        line
    }

    /// Copies what can be read of its content, whether it fits or not: a person may make more of it.
    fn keep_content(&self, id: QueueId) -> std::io::Result<()> {
        let stored = {
            let index = self.index();
            let content = index.messages.get(&id).map(|entry| entry.content);
            content.and_then(|content| Some((content, *index.contents.get(&content)?)))
        };
        let Some((content, stored)) = stored else { return Ok(()) };
        let target = self.disk.folder("corrupt").join(format!("{id}.eml"));
        if stored.segment == 0 {
            return self.keep_body(&self.disk.body(content.0), &target);
        }
        let file = match durable::open_plain(&self.disk.segment(stored.segment)) {
            // There is nothing to keep.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound || durable::is_damage(&error) => return Ok(()),
            file => file?,
        };
        let length = file.metadata()?.len().min(stored.size);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let (length, _zeros) = durable::read_around_damage(&file, &mut bytes, u64::from(stored.offset))?;
        bytes.truncate(length);
        self.disk.write_whole(&target, &bytes)
    }

    /// A second name for the same file, durably: the first goes with the message.
    fn keep_body(&self, body: &Path, target: &Path) -> std::io::Result<()> {
        let metadata = std::fs::symlink_metadata(body);
        // There is nothing to keep, or a folder, which can have no second name and stays where it is.
        let gone = metadata.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if gone || metadata?.is_dir() {
            return Ok(());
        }
        match self.disk.link(body, target) {
            // By an earlier try.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            linked => linked?,
        }
        self.disk.sync_folder("corrupt")
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
