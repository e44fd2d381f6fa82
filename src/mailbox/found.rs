//! Looks for a message in an mbox, or in a file kept as one, that an earlier agent may have written, whole or in part (R-17, mbox-locking.md
//! §5). Called by `mbox` and `file` under their locks.

use crate::convert::{Content, Converter, CopyError, copy};
use durable::mailbox_lock::Mailbox;
use memchr::memmem;
use std::io;

/// A file of messages under its lock.
pub(crate) trait Stored {
    /// Bytes.
    fn size(&self) -> u64;
    /// Reads at `offset`; fewer bytes only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Stored for Mailbox {
    fn size(&self) -> u64 {
        self.size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }
}

/// How much of the mailbox's end is looked at, besides the message's own length.
const LOOK_BACK: u64 = 4 << 20;
/// Read at once while looking.
const WINDOW: usize = 256 << 10;

/// The newlines that the end of the file lacks: a torn tail, or a last line that somebody left open, must not swallow what comes next.
pub(crate) fn gap(mailbox: &dyn Stored) -> io::Result<&'static [u8]> {
    let mut tail = [0; 2];
    let got = mailbox.read_at(&mut tail, mailbox.size().saturating_sub(2))?;
    Ok(match tail.get(..got).unwrap_or_default() {
        [] | [b'\n', b'\n'] => b"",
        [b'\n'] | [_, b'\n'] => b"\n",
        _ => b"\n\n",
    })
}

/// Whether this very message stands whole in the mailbox already: our Received line with its queue id, and after
/// that header the same body. A torn copy does not count. Readers change headers (Status), not bodies.
pub(crate) fn has(mailbox: &dyn Stored, queue_id: &str, content: Content<'_>) -> io::Result<bool> {
    let needle = format!(" id {queue_id}");
    let finder = memmem::Finder::new(needle.as_bytes());
    let mut at = mailbox.size().saturating_sub(LOOK_BACK.saturating_add(content.length));
    let mut window = vec![0; WINDOW];
    loop {
        let got = mailbox.read_at(&mut window, at)?;
        let seen = window.get(..got).unwrap_or_default();
        for hit in finder.find_iter(seen) {
            let after = seen.get(hit + needle.len());
            if !after.is_some_and(u8::is_ascii_alphanumeric)
                && is_whole(mailbox, at + (hit + needle.len()) as u64, content)?
            {
                return Ok(true);
            }
        }
        if got < window.len() {
            return Ok(false);
        }
        at += (window.len() - needle.len()) as u64;
    }
}

fn is_whole(mailbox: &dyn Stored, from: u64, content: Content<'_>) -> io::Result<bool> {
    let Some(at) = header_end(mailbox, from)? else {
        return Ok(false);
    };
    let Stands::Whole(end) = compare(mailbox, at, Vec::new(), content, Converter::new(true).body_only())? else {
        return Ok(false);
    };
    // Behind the body comes the separating line, or the file ends where it would begin.
    let mut next = [0];
    Ok(mailbox.read_at(&mut next, end)? == 0 || next == *b"\n")
}

/// Where the header that `from` lies in has ended.
fn header_end(mailbox: &dyn Stored, from: u64) -> io::Result<Option<u64>> {
    let mut window = vec![0; WINDOW];
    let got = mailbox.read_at(&mut window, from)?;
    let end = memmem::find(window.get(..got).unwrap_or_default(), b"\n\n");
    Ok(end.map(|end| from + end as u64 + 2))
}

/// Where the mailbox's last entry begins, if it is the beginning of this message (`head`, then the content) and no more: it
/// ends with the file, before the message does.
pub(crate) fn torn(mailbox: &dyn Stored, head: &[u8], content: Content<'_>) -> io::Result<Option<u64>> {
    let reach = (head.len() as u64).saturating_add(content.length).saturating_add(LOOK_BACK);
    let Some(start) = last_entry(mailbox, mailbox.size().saturating_sub(reach))? else {
        return Ok(None);
    };
    let stands = compare(mailbox, start, head.to_vec(), content, Converter::new(true))?;
    Ok(matches!(stands, Stands::Begun).then_some(start))
}

/// The last line from `limit` on that starts with `From `.
fn last_entry(mailbox: &dyn Stored, limit: u64) -> io::Result<Option<u64>> {
    const MARK: &[u8] = b"\nFrom ";
    let mut window = vec![0; WINDOW];
    let mut end = mailbox.size();
    while end > limit {
        let at = end.saturating_sub(WINDOW as u64);
        let got = mailbox.read_at(&mut window, at)?;
        let seen = window.get(..got).unwrap_or_default();
        if let Some(hit) = memmem::rfind(seen, MARK) {
            return Ok(Some(at + hit as u64 + 1));
        }
        if at == 0 {
            return Ok(seen.starts_with(&MARK[1..]).then_some(0));
        }
        // A mark may lie across the border.
        end = at + MARK.len() as u64;
    }
    Ok(None)
}

/// What stands at a place of the mailbox, measured by a message.
enum Stands {
    /// All of it; it ends here.
    Whole(u64),
    /// Its beginning, up to the end of the file.
    Begun,
    /// Something else.
    Other,
}

fn compare(
    mailbox: &dyn Stored,
    mut at: u64,
    mut head: Vec<u8>,
    content: Content<'_>,
    converter: Converter,
) -> io::Result<Stands> {
    let (mut there, mut begun) = (Vec::new(), false);
    let mut look = |message: &mut Vec<u8>| {
        there.resize(message.len(), 0);
        let got = mailbox.read_at(&mut there, at)?;
        begun = got < message.len() && there.get(..got) == message.get(..got);
        if there.get(..got) != Some(message.as_slice()) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        at += got as u64;
        message.clear();
        Ok(())
    };
    let outcome = copy(content, converter, &mut Vec::new(), &mut head, &mut look);
    match outcome {
        Ok(()) => Ok(Stands::Whole(at)),
        Err(CopyError::Target(_)) if begun => Ok(Stands::Begun),
        Err(CopyError::Target(error)) if error.kind() != io::ErrorKind::InvalidData => Err(error),
        Err(_) => Ok(Stands::Other),
    }
}
