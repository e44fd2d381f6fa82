//! The content while it is collected: up to 64 KiB in memory, beyond that in a nameless file in the drop folder (or, where there is
//! none, a temporary folder, or memory of the kernel). It is complete before anybody is asked to take it, for three reasons: standard
//! input can be read only once and the drop folder may be needed after the engine failed midway; a NUL byte in the
//! last line must still stop everything; and a slow writer must not hold a transaction open.

use durable::nameless::Nameless;
use std::fs::File;
use std::io;
use std::path::Path;

/// Bytes held in memory, and bytes of one data frame.
pub const CHUNK: usize = 1 << 16;
/// No message is larger, whatever the server would take: `yes | sendmail x` must end before the disk does.
const LIMIT: u64 = 1 << 30;
/// Largest content when only the kernel's memory is left.
const MEMORY_LIMIT: u64 = 64 << 20;

/// Why content cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Writing or reading failed.
    #[error("cannot keep the message: {0}")]
    Io(#[from] io::Error),
    /// More than the limit.
    #[error("Message too large ({0} bytes are the limit here)")]
    TooLarge(u64),
    /// More than half of what is free, wherever it could lie.
    #[error("no room to keep the message")]
    Full,
}

enum Spill {
    Nameless(Nameless),
    Memory(File),
}

impl Spill {
    fn file(&self) -> &File {
        match self {
            Self::Nameless(nameless) => nameless.file(),
            Self::Memory(file) => file,
        }
    }
}

/// Content on its way.
pub struct Content<'a> {
    folder: &'a Path,
    memory: Vec<u8>,
    /// What is beyond memory's reach, all of it, and how large it may become.
    spill: Option<(Spill, u64)>,
    /// So many places were tried.
    tried: usize,
    length: u64,
    eight_bit: bool,
}

impl<'a> Content<'a> {
    /// Empty; files go to `folder` (the drop folder).
    #[must_use]
    pub fn new(folder: &'a Path) -> Self {
        Self { folder, memory: Vec::new(), spill: None, tried: 0, length: 0, eight_bit: false }
    }
    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.length
    }
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
    /// Whether a byte above 127 was seen.
    #[must_use]
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit
    }
    /// Everything, if it is in memory.
    #[must_use]
    pub fn whole(&self) -> Option<&[u8]> {
        self.spill.is_none().then_some(&self.memory)
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// As [`Error`]; the content is useless afterwards.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.eight_bit |= !bytes.is_ascii();
        self.memory.extend_from_slice(bytes);
        self.length += bytes.len() as u64;
        if self.memory.len() > CHUNK {
            self.flush()?;
        }
        Ok(())
    }

    /// The content is complete.
    ///
    /// # Errors
    /// As [`Content::write`].
    pub fn finish(&mut self) -> Result<(), Error> {
        if self.spill.is_some() { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let at = self.length - self.memory.len() as u64;
        loop {
            if let Some((spill, limit)) = &self.spill
                && self.length <= *limit
            {
                match durable::write_all_at(spill.file(), &self.memory, at) {
                    Err(error) if is_full(&error) => {}
                    written => {
                        self.memory.clear();
                        return Ok(written?);
                    }
                }
            }
            self.move_on(at)?;
        }
    }

    /// To the next place that has room, with the bytes up to `end`.
    fn move_on(&mut self, end: u64) -> Result<(), Error> {
        if self.length > LIMIT {
            return Err(Error::TooLarge(LIMIT));
        }
        let (spill, limit) = loop {
            let place = place(self.folder, self.tried)?;
            self.tried += 1;
            if let Some(roomy) = place.filter(|(_, limit)| self.length <= *limit) {
                break roomy;
            }
        };
        if let Some((old, _)) = &self.spill
            && let Err(error) = copy(old.file(), spill.file(), end)
        {
            // What is here stays here for the next try.
            return if is_full(&error) { self.move_on(end) } else { Err(error.into()) };
        }
        self.spill = Some((spill, limit));
        Ok(())
    }

    /// Hands all of it to `sink`, at most [`CHUNK`] bytes at a time.
    ///
    /// # Errors
    /// The sink's, or what reading back meets.
    pub fn read<E: From<io::Error>>(&self, mut sink: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let Some((spill, _)) = &self.spill else {
            return self.memory.chunks(CHUNK).try_for_each(sink);
        };
        let mut buffer = vec![0; CHUNK];
        let mut at = 0;
        while at < self.length {
            let n = durable::read_at_most(spill.file(), &mut buffer, at)?;
            if n == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            sink(buffer.get(..n).unwrap_or_default())?;
            at += n as u64;
        }
        Ok(())
    }
}

/// Whether a disk, or somebody's share of it, is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn copy(from: &File, to: &File, end: u64) -> io::Result<()> {
    let (mut buffer, mut at) = (vec![0; CHUNK], 0);
    while at < end {
        let read = durable::read_at_most(from, &mut buffer, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        durable::write_all_at(to, buffer.get(..read).unwrap_or_default(), at)?;
        at += read as u64;
    }
    Ok(())
}

/// One of the places for content beyond memory, if it can be used, and how much it may hold; an error behind the last.
fn place(folder: &Path, number: usize) -> Result<Option<(Spill, u64)>, Error> {
    let temporary = crate::privilege::variable("TMPDIR").unwrap_or_default();
    let folders = [folder, Path::new(&temporary), Path::new("/var/tmp"), Path::new("/tmp")];
    if let Some(folder) = folders.get(number) {
        let created = if folder.is_absolute() { Nameless::create(folder, 0o600).ok() } else { None };
        let space = durable::folder::space(folder).ok();
        return Ok(created.zip(space).map(|(nameless, space)| (Spill::Nameless(nameless), LIMIT.min(space.bytes / 2))));
    }
    if number > folders.len() {
        return Err(Error::Full);
    }
    let memory = rustix::fs::memfd_create("message", rustix::fs::MemfdFlags::CLOEXEC).map_err(io::Error::from)?;
    Ok(Some((Spill::Memory(File::from(memory)), MEMORY_LIMIT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(length: usize) {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::new(folder.path());
        let given: Vec<u8> = (0..length).map(|n| (n % 120) as u8).collect();
        for piece in given.chunks(1_000) {
            content.write(piece).unwrap();
        }
        content.finish().unwrap();
        let mut back = Vec::new();
        content
            .read::<io::Error>(|chunk| {
                assert!(chunk.len() <= CHUNK);
                back.extend_from_slice(chunk);
                Ok(())
            })
            .unwrap();
        assert!(back == given);
        assert_eq!(content.len(), length as u64);
        assert_eq!(content.whole().is_some(), length <= CHUNK);
        assert!(content.memory.len() <= CHUNK);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "it has no name");
    }

    #[test]
    fn what_goes_in_comes_out() {
        for length in [0, 1, CHUNK, CHUNK + 1, 5 * CHUNK + 7] {
            round_trip(length);
        }
    }

    #[test]
    fn what_a_place_cannot_hold_moves_to_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::new(folder.path());
        content.write(&vec![b'a'; 2 * CHUNK]).unwrap();
        content.spill.as_mut().unwrap().1 = 0;
        content.write(&vec![b'b'; 2 * CHUNK]).unwrap();
        assert!(content.tried > 1 && content.spill.as_ref().unwrap().1 > 0);
        let mut back = Vec::new();
        let gather = |chunk: &[u8]| {
            back.extend_from_slice(chunk);
            Ok(())
        };
        content.read::<io::Error>(gather).unwrap();
        assert!(back == [[b'a'; 2 * CHUNK], [b'b'; 2 * CHUNK]].concat());
        content.tried = 5;
        content.spill.as_mut().unwrap().1 = 0;
        assert!(matches!(content.write(&vec![b'c'; 2 * CHUNK]), Err(Error::Full)), "nowhere is room");
    }

    #[test]
    fn a_missing_folder_is_no_obstacle() {
        let mut content = Content::new(Path::new("/nonexistent"));
        content.write(&vec![b'x'; 3 * CHUNK]).unwrap();
        assert!(content.whole().is_none());
    }
}
