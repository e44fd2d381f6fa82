//! Looks for a message in an mbox, or in a file kept as one, that an earlier agent may have written, whole or in part (R-17, mbox-locking.md
//! §5). Called by `mbox` and `file` under their locks.

use crate::convert::{Content, Converter, CopyError, copy};
use crate::mbox::head;
use call::agent::Item;
use durable::mailbox_lock::Mailbox;
use memchr::{memchr, memmem};
use std::io;
use std::os::unix::fs::FileExt;

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
/// Read at once while looking for the end of a header.
const STEP: usize = 16 << 10;
/// The content's first field ends within this.
const FIELD: usize = 8 << 10;

/// Where a message begins.
const MARK: &[u8] = b"\nFrom ";

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

/// Whether this very message stands whole in the mailbox already: the lines that we put before it, our Received line with its queue id, and
/// after that header the same body. A torn copy does not count. Readers change headers (Status), not bodies.
pub(crate) fn has(mailbox: &dyn Stored, item: &Item, content: Content<'_>) -> io::Result<bool> {
    let needle = format!(" id {}", stated_id(content).as_deref().unwrap_or(&item.queue_id));
    let finder = memmem::Finder::new(needle.as_bytes());
    let head = head(item);
    let before = memchr(b'\n', &head).and_then(|end| head.get(end + 1..)).unwrap_or_default();
    let mut at = mailbox.size().saturating_sub(LOOK_BACK.saturating_add(content.length));
    let mut window = vec![0; WINDOW];
    // Once for each header: somebody may have filled one with ids.
    let mut looked = 0;
    loop {
        let got = mailbox.read_at(&mut window, at)?;
        let seen = window.get(..got).unwrap_or_default();
        for hit in finder.find_iter(seen) {
            let (start, after) = (at + hit as u64, hit + needle.len());
            if start < looked || seen.get(after).is_some_and(u8::is_ascii_alphanumeric) {
                continue;
            }
            let Some(body) = header_end(mailbox, at + after as u64)? else {
                return Ok(false);
            };
            looked = body;
            if stands_before(mailbox, start, before)? && is_whole(mailbox, body, content)? {
                return Ok(true);
            }
        }
        if got < window.len() {
            return Ok(false);
        }
        at += (window.len() - needle.len()) as u64;
    }
}

/// The queue id in the content's first field, our Received. In a list's clone it is that of the message which the clone was made of.
fn stated_id(content: Content<'_>) -> Option<String> {
    let mut piece = vec![0; usize::try_from(content.length).map_or(FIELD, |length| length.min(FIELD))];
    // What cannot be read will be told when it is copied.
    let got = content.source.read_at(&mut piece, content.offset).ok()?;
    let mut lines = piece.get(..got)?.split_inclusive(|&b| b == b'\n');
    let first =
        lines.next().filter(|line| line.get(..9).is_some_and(|name| name.eq_ignore_ascii_case(b"Received:")))?;
    let folded = lines.take_while(|line| matches!(line.first(), Some(b' ' | b'\t')));
    let id = std::iter::once(first).chain(folded).find_map(|line| line.get(memmem::find(line, b" id ")? + 4..))?;
    let id: String = id.iter().take_while(|b| b.is_ascii_alphanumeric()).map(|&b| char::from(b)).collect();
    (!id.is_empty()).then_some(id)
}

/// Whether these lines (sender, recipient: whose copy it is) stand in the same message a little before `at`.
fn stands_before(mailbox: &dyn Stored, at: u64, lines: &[u8]) -> io::Result<bool> {
    let from = at.saturating_sub((lines.len() + FIELD) as u64);
    let mut piece = vec![0; usize::try_from(at - from).unwrap_or(0)];
    let got = mailbox.read_at(&mut piece, from)?;
    let piece = piece.get(..got).unwrap_or_default();
    let begin = memmem::rfind(piece, MARK).unwrap_or(0);
    Ok(memmem::find(piece.get(begin..).unwrap_or_default(), lines).is_some())
}

fn is_whole(mailbox: &dyn Stored, body: u64, content: Content<'_>) -> io::Result<bool> {
    let Stands::Whole(end) = compare(mailbox, body, Vec::new(), content, Converter::new(true).body_only())? else {
        return Ok(false);
    };
    // Behind the body comes the separating line, or the file ends where it would begin.
    let mut next = [0];
    Ok(mailbox.read_at(&mut next, end)? == 0 || next == *b"\n")
}

/// Where the header that `from` lies in has ended.
fn header_end(mailbox: &dyn Stored, from: u64) -> io::Result<Option<u64>> {
    let (mut piece, mut at) = (vec![0; STEP], from);
    loop {
        let got = mailbox.read_at(&mut piece, at)?;
        if let Some(end) = memmem::find(piece.get(..got).unwrap_or_default(), b"\n\n") {
            return Ok(Some(at + end as u64 + 2));
        }
        if got < piece.len() {
            return Ok(None);
        }
        // The two may lie across the border.
        at += got as u64 - 1;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    impl Stored for Vec<u8> {
        fn size(&self) -> u64 {
            self.len() as u64
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = self.get(offset as usize..).unwrap_or_default();
            let got = rest.len().min(buffer.len());
            buffer[..got].copy_from_slice(&rest[..got]);
            Ok(got)
        }
    }

    fn item(queue_id: &str, sender: &str) -> Item {
        let prepend = format!("Return-Path: <{sender}>\r\n");
        Item { queue_id: queue_id.into(), sender: sender.into(), prepend, from_date: "date".into(), ..Item::default() }
    }

    /// As `mbox` writes it.
    fn stored(item: &Item, text: &str) -> Vec<u8> {
        [&head(item)[..], text.replace("\r\n", "\n").as_bytes(), b"\n"].concat()
    }

    fn is_there(mailbox: &Vec<u8>, item: &Item, text: &str) -> bool {
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(text.as_bytes()).unwrap();
        has(mailbox, item, Content { source: &source, offset: 0, length: text.len() as u64 }).unwrap()
    }

    const TEXT: &str = "Received: from a\r\n\tby x (y) with ESMTP id Q1\r\n\tfor <b>; now\r\nA: b\r\n\r\nbody\r\n";

    #[test]
    fn a_clone_is_known_by_the_id_in_its_content_and_is_not_the_message_it_was_made_of() {
        let (first, clone) = (item("Q1", "s@x"), item("Q2", "owner-l@x"));
        let mut mailbox = stored(&first, TEXT);
        assert!(is_there(&mailbox, &first, TEXT) && !is_there(&mailbox, &clone, TEXT));
        mailbox.extend(stored(&clone, TEXT));
        assert!(is_there(&mailbox, &first, TEXT) && is_there(&mailbox, &clone, TEXT));
        assert!(is_there(&stored(&clone, TEXT), &clone, TEXT));
        assert!(!is_there(&stored(&clone, TEXT), &first, TEXT));
    }

    #[test]
    fn another_id_another_body_and_a_torn_copy_do_not_count() {
        let one = item("Q1", "s@x");
        let mailbox = stored(&one, TEXT);
        assert!(
            !is_there(&mailbox, &one, &TEXT.replace("Q1", "Q"))
                && !is_there(&mailbox, &one, &TEXT.replace("Q1", "Q11"))
        );
        assert!(!is_there(&mailbox, &one, &TEXT.replace("body", "bode")));
        let torn = mailbox[..mailbox.len() - 4].to_vec();
        assert!(!is_there(&torn, &one, TEXT));
        // Torn, with the next behind it, and whole after all.
        let both = [&torn[..], b"\n\n", &mailbox].concat();
        assert!(is_there(&both, &one, TEXT));
        let without = "Received: by x; now\r\nA: id Q1\r\n\r\nbody\r\n";
        assert!(is_there(&stored(&one, without), &one, without), "its own id, if the content tells none");
    }

    #[test]
    fn a_header_of_any_length_has_its_end() {
        let one = item("Q1", "s@x");
        for fill in [WINDOW - 300, WINDOW, 3 * WINDOW] {
            // Wherever the border of a piece falls.
            for more in 0..3 {
                let line = format!("X: {}\r\n", "y".repeat(fill / 4 - 6));
                let long = TEXT.replace("A: b", &format!("{}A: {}", line.repeat(4), "b".repeat(more)));
                let mailbox = [stored(&item("Q0", "t@x"), TEXT), stored(&one, &long), stored(&one, "A: b\r\n\r\n")];
                assert!(is_there(&mailbox.concat(), &one, &long), "{fill} {more}");
            }
        }
        for length in STEP - 2..STEP + 2 {
            let mailbox = [&b"x".repeat(length)[..], b"\n\nbody"].concat();
            assert_eq!(header_end(&mailbox, 0).unwrap(), Some(length as u64 + 2));
            assert_eq!(header_end(&mailbox, length as u64 + 1).unwrap(), None);
        }
    }

    /// Whoever knows an id may fill a header with it: each header is looked at once.
    #[test]
    fn a_header_full_of_ids_costs_no_more_than_another() {
        let one = item("Q1", "s@x");
        let full = format!("From x  date\nX:{}\n\nbody\n\n", " id Q1\n".repeat(500_000)).into_bytes();
        let counted = Counted(std::cell::Cell::new(0), [full, stored(&one, TEXT)].concat());
        let mut source = tempfile::tempfile().unwrap();
        source.write_all(TEXT.as_bytes()).unwrap();
        assert!(has(&counted, &one, Content { source: &source, offset: 0, length: TEXT.len() as u64 }).unwrap());
        assert!(counted.0.get() < 3 * counted.size(), "{} of {}", counted.0.get(), counted.size());
    }

    struct Counted(std::cell::Cell<u64>, Vec<u8>);

    impl Stored for Counted {
        fn size(&self) -> u64 {
            self.1.len() as u64
        }
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let got = self.1.read_at(buffer, offset)?;
            self.0.set(self.0.get() + got as u64);
            Ok(got)
        }
    }
}
