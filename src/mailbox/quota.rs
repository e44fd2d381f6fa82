//! Maildir++ quota: the file `maildirsize` of a Maildir, shared with the IMAP servers that keep it. Called by `maildir`.
//! Source: the Maildir++ page of Courier. First line `<bytes>S,<messages>C`, then one line of `bytes messages` to add for each
//! change. The sum is advice, not truth: nothing here is synced, and before mail is put off it is counted again.

use crate::mbox::trouble;
use call::agent::Done;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};

const NAME: &str = "maildirsize";
/// A file this large is counted anew, as its page says.
const LARGEST: u64 = 5_120;
/// A sum from one count is believed this long, seconds.
const BELIEVED: i64 = 900;

/// What a Maildir may hold and holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quota {
    /// 0 for none.
    limit: Amount,
    held: Amount,
    /// `held` is the outcome of a count a moment ago.
    counted: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Amount {
    bytes: i64,
    messages: i64,
}

impl Amount {
    fn add(&mut self, bytes: i64, messages: i64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.messages = self.messages.saturating_add(messages);
    }
}

impl Quota {
    /// The quota in the folder's own file; without one `limit` bytes, if that is not 0, which then gets a file.
    pub(crate) fn open(top: &File, limit: u64) -> io::Result<Option<Self>> {
        let file = fs::openat(
            top,
            NAME,
            OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let file = file.ok().map(File::from);
        // What cannot be read, or is no text, says nothing; a link is not followed.
        let mut text = Vec::new();
        let read = file.as_ref().is_none_or(|file| file.take(LARGEST + 1).read_to_end(&mut text).is_ok());
        let whole = read && std::str::from_utf8(&text).is_ok();
        let text = String::from_utf8_lossy(&text);
        let bytes = i64::try_from(limit).unwrap_or(i64::MAX);
        let own = parse(&text).map(|(quota, lines)| (quota, lines, file.as_ref().and_then(age)));
        let mut quota = match own {
            // Believed: it is one count of a moment ago.
            Some((quota, 1, Some(age))) if whole && age < BELIEVED => return Ok(Some(Self { counted: true, ..quota })),
            Some((quota, ..)) if whole && text.len() as u64 <= LARGEST => return Ok(Some(quota)),
            Some((quota, ..)) => quota,
            None if bytes == 0 => return Ok(None),
            None => Self { limit: Amount { bytes, messages: 0 }, ..Self::default() },
        };
        quota.count(top)?;
        Ok(Some(quota))
    }

    /// Whether a message of `size` bytes may come in. It then counts, here.
    pub(crate) fn admit(&mut self, top: &File, size: u64) -> Result<(), Done> {
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        if !self.has_room(size) && !self.counted {
            self.count(top).map_err(|error| trouble("count maildir", &error))?;
        }
        if self.has_room(size) {
            self.held.add(size, 1);
            return Ok(());
        }
        let Self { limit, held, .. } = self;
        let text = format!(
            "mailbox is full: {} of {} bytes, {} of {} messages (0: any number)",
            held.bytes, limit.bytes, held.messages, limit.messages
        );
        Err(Done::Temporary(2, 2, text))
    }

    /// Notes what was delivered. Only the sum suffers if it fails.
    pub(crate) fn add(&self, top: &File, bytes: u64, messages: usize) {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if messages > 0
            && let Ok(file) = fs::openat(top, NAME, flags, Mode::empty())
        {
            let _ = File::from(file).write_all(format!("{bytes} {messages}\n").as_bytes());
        }
    }

    fn has_room(&self, size: i64) -> bool {
        let fits = |limit: i64, held: i64, more: i64| limit <= 0 || held.saturating_add(more) <= limit;
        fits(self.limit.bytes, self.held.bytes, size) && fits(self.limit.messages, self.held.messages, 1)
    }

    /// Counts what is there, and writes it down: if it can, for it is advice.
    fn count(&mut self, top: &File) -> io::Result<()> {
        let mut held = Amount::default();
        held.count_in(top)?;
        for entry in fs::Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            // Maildir++: a folder is a Maildir whose name starts with a dot.
            if name.to_bytes().starts_with(b".") && !matches!(name.to_bytes(), b"." | b"..") {
                match open_folder(top, name) {
                    Ok(folder) => held.count_in(&folder)?,
                    Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        (self.held, self.counted) = (held, true);
        let _ = self.write(top);
        Ok(())
    }

    fn write(&self, top: &File) -> io::Result<()> {
        let mut first = format!("{}S", self.limit.bytes);
        if self.limit.messages > 0 {
            first.push_str(&format!(",{}C", self.limit.messages));
        }
        let name = format!("tmp/{NAME}.{}", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(fs::openat(top, &*name, flags, Mode::RUSR | Mode::WUSR)?);
        let whole = (&file).write_all(format!("{first}\n{} {}\n", self.held.bytes, self.held.messages).as_bytes());
        let moved = whole.and_then(|()| Ok(fs::renameat(top, &*name, top, NAME)?));
        if moved.is_err() {
            let _ = fs::unlinkat(top, &*name, AtFlags::empty());
        }
        moved
    }
}

impl Amount {
    /// The messages in `new` and `cur` of a Maildir.
    fn count_in(&mut self, maildir: &File) -> io::Result<()> {
        for part in [c"new", c"cur"] {
            let folder = match open_folder(maildir, part) {
                Ok(folder) => folder,
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for entry in fs::Dir::read_from(&folder)? {
                let entry = entry?;
                let name = entry.file_name();
                if name.to_bytes().starts_with(b".") {
                    continue;
                }
                let size = match size_in(name.to_bytes()) {
                    Some(size) => size,
                    None => match fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                        Ok(stat) if FileType::from_raw_mode(stat.st_mode).is_file() => stat.st_size,
                        // Moved to another folder, or no message.
                        Ok(_) | Err(Errno::NOENT) => continue,
                        Err(errno) => return Err(errno.into()),
                    },
                };
                self.add(size, 1);
            }
        }
        Ok(())
    }
}

fn open_folder(above: &File, name: &std::ffi::CStr) -> Result<File, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(above, name, flags, Mode::empty()).map(File::from)
}

/// The size that stands in a name: `…,S=1234…`.
fn size_in(name: &[u8]) -> Option<i64> {
    let at = memchr::memmem::find(name, b",S=")? + 3;
    let digits = name.get(at..)?;
    let end = digits.iter().position(|b| !b.is_ascii_digit()).unwrap_or(digits.len());
    std::str::from_utf8(digits.get(..end)?).ok()?.parse().ok()
}

/// Seconds since the file was written.
fn age(file: &File) -> Option<i64> {
    file.metadata().ok()?.modified().ok()?.elapsed().ok().map(|age| age.as_secs().cast_signed())
}

/// The quota with the sum of the lines, and how many those were; nothing if the first line names no limit.
fn parse(text: &str) -> Option<(Quota, usize)> {
    let mut lines = text.lines();
    let mut quota = Quota::default();
    for part in lines.next()?.split(',') {
        if let Some(bytes) = part.strip_suffix('S') {
            quota.limit.bytes = bytes.parse().ok()?;
        } else if let Some(messages) = part.strip_suffix('C') {
            quota.limit.messages = messages.parse().ok()?;
        }
    }
    let mut count = 0;
    for line in lines {
        let mut numbers = line.split_whitespace().map(str::parse::<i64>);
        if let (Some(Ok(bytes)), Some(Ok(messages))) = (numbers.next(), numbers.next()) {
            quota.held.add(bytes, messages);
            count += 1;
        }
    }
    (quota.limit.bytes > 0 || quota.limit.messages > 0).then_some((quota, count))
}

#[cfg(test)]
#[path = "quota_test.rs"]
mod tests;
