//! Reads the drop folder for `mailq` when no engine runs. Only root can list it; anyone may have put anything there, so entries
//! are opened without following links, must be plain files, and only their start is read.

use call::operator::{Entry, EntryRecipient};
use call::submit::{MAGIC, Submission, TRAILER};
use rustix::fs::{Mode, OFlags, open};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most bytes of a submission that are read for the list.
const LIMIT: u32 = 16 << 20;
/// Most entries listed.
const ENTRIES: usize = 100_000;

/// The messages in the drop folder, oldest first; `None` if it cannot be read.
#[must_use]
pub fn entries(folder: &Path) -> Option<Vec<Entry>> {
    let names = std::fs::read_dir(folder).ok()?;
    let mut entries: Vec<Entry> = names.flatten().filter_map(|name| entry(&name.path())).take(ENTRIES).collect();
    entries.sort_by_key(|entry| entry.arrived);
    Some(entries)
}

fn entry(path: &Path) -> Option<Entry> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(open(path, flags, Mode::empty()).ok()?);
    let metadata = file.metadata().ok()?;
    let mut head = [0; 12];
    file.read_exact(&mut head).ok()?;
    let (magic, length) = head.split_first_chunk::<8>()?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    if !metadata.is_file() || magic != MAGIC || length > LIMIT {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(u64::from(length)).read_to_end(&mut bytes).ok()?;
    let submission: Submission = call::frame::decode(&bytes).ok()?;
    let id: String = submission.id.iter().take(7).map(|byte| format!("{byte:02x}")).collect();
    Some(Entry {
        id,
        size: metadata.len().saturating_sub(12 + u64::from(length) + TRAILER),
        arrived: metadata.mtime(),
        sender: submission.sender,
        body: if submission.eight_bit { "8BITMIME".to_owned() } else { String::new() },
        active: false,
        hold: None,
        warned: false,
        recipients: submission.recipients.into_iter().map(recipient).collect(),
    })
}

fn recipient(recipient: call::submit::Recipient) -> EntryRecipient {
    let (controlling, status) = (String::new(), String::new());
    EntryRecipient { address: recipient.address, controlling, status, tries: 0, next: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Content;

    #[test]
    fn lists_what_was_dropped_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::new(folder.path());
        content.write(b"\r\nhi\r\n").unwrap();
        crate::drop_file::save(folder.path(), &crate::tests::submission(), &content).unwrap();
        std::fs::write(folder.path().join("junk"), b"PRDROP junk of some kind").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let entries = entries(folder.path()).unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!((entries[0].size, entries[0].sender.as_str()), (6, "alice"));
        assert_eq!(entries[0].id.len(), 14);
        assert!(super::entries(Path::new("/nonexistent")).is_none());
    }
}
