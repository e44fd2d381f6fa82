//! Makes a compiled table (`mail::database::layout`): records are streamed out, the index follows, and the header last, so that a file that
//! was not finished is not one. Called by `makemap`, `newaliases` and `editmap`, which see [`NewFile`](crate::NewFile) for
//! putting it in place.
//!
//! Memory: about 24 bytes for each key.

use mail::database::layout::{BLOCK, HEAD, HEADER, Head, Header, MORE, Origin, SLOTS, VALUE, check, home};
use mail::database::salted::{Salt, hash};
use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasherDefault, Hasher};
use std::io;

/// Written at once.
const BUFFER: usize = 1 << 20;

/// What to do with a key that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicate {
    /// The first one stays (maps).
    Keep,
    /// The new one counts (aliases; `makemap -r`).
    Replace,
    /// The first one stays, and the new one is listed beside it (`makemap -d`).
    Append,
}

/// A compiled table that is being written.
#[derive(Debug)]
pub struct Writer<'f> {
    file: &'f File,
    salt: Salt,
    buffer: Vec<u8>,
    /// Where the buffer's first byte will stand.
    written: u64,
    /// By hash, the record's offset.
    index: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    /// Keys with the hash of another one.
    same_hash: Vec<(u64, u32)>,
}

/// The keys of the index are hashes already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _bytes: &[u8]) {}
    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// From the system's randomness.
pub(crate) fn random_salt() -> Salt {
    let name = durable::random_name();
    Salt(u64::from_str_radix(name.get(..16).unwrap_or_default(), 16).unwrap_or(0))
}

impl<'f> Writer<'f> {
    /// Starts in an empty file that can be read, too.
    #[must_use]
    pub fn new(file: &'f File) -> Self {
        let mut buffer = Vec::with_capacity(BUFFER + 4_096);
        buffer.resize(HEADER, 0);
        Self { file, salt: random_salt(), buffer, written: 0, index: HashMap::default(), same_hash: Vec::new() }
    }

    /// Number of keys so far.
    #[must_use]
    pub fn count(&self) -> usize {
        self.index.len() + self.same_hash.len()
    }

    /// Adds a record. Says whether the key was there before.
    ///
    /// # Errors
    /// `InvalidInput` if the key is longer than 64 KiB, the value than 16 MiB, or the file would pass 4 GiB; the file's own.
    pub fn put(&mut self, key: &[u8], value: &[u8], line: u32, duplicate: Duplicate) -> io::Result<bool> {
        let hash = hash(self.salt, key);
        let before = self.find(hash, key)?;
        if before.is_some() && duplicate == Duplicate::Keep {
            return Ok(true);
        }
        let more = before.is_some() && duplicate == Duplicate::Append;
        let offset = self.append(key, value, line & !MORE | if more { MORE } else { 0 })?;
        match before {
            _ if more => {}
            Some(Before::Index) => {
                self.index.insert(hash, offset);
            }
            Some(Before::Same(at)) => {
                if let Some(entry) = self.same_hash.get_mut(at) {
                    entry.1 = offset;
                }
            }
            None if self.index.contains_key(&hash) => self.same_hash.push((hash, offset)),
            None => {
                self.index.insert(hash, offset);
            }
        }
        Ok(before.is_some())
    }

    fn find(&self, hash: u64, key: &[u8]) -> io::Result<Option<Before>> {
        let Some(&offset) = self.index.get(&hash) else {
            return Ok(None);
        };
        if self.key_is(offset, key)? {
            return Ok(Some(Before::Index));
        }
        for (at, &(other, offset)) in self.same_hash.iter().enumerate() {
            if other == hash && self.key_is(offset, key)? {
                return Ok(Some(Before::Same(at)));
            }
        }
        Ok(None)
    }

    /// Whether the record at `offset`, on disk or still in the buffer, has this key.
    fn key_is(&self, offset: u32, key: &[u8]) -> io::Result<bool> {
        let offset = u64::from(offset);
        let mut stored = vec![0; HEAD + key.len()];
        match offset.checked_sub(self.written).and_then(|at| usize::try_from(at).ok()) {
            Some(at) => {
                let there = self.buffer.get(at..).unwrap_or_default();
                let there = there.get(..stored.len()).unwrap_or(there);
                stored.truncate(there.len());
                stored.copy_from_slice(there);
            }
            None => {
                let read = durable::read_at_most(self.file, &mut stored, offset)?;
                stored.truncate(read);
            }
        }
        let same_length = Head::decode(&stored).is_some_and(|head| head.key == key.len());
        Ok(same_length && stored.get(HEAD..) == Some(key))
    }

    fn append(&mut self, key: &[u8], value: &[u8], line: u32) -> io::Result<u32> {
        let refused = |what| io::Error::new(io::ErrorKind::InvalidInput, what);
        let key_length = u16::try_from(key.len()).map_err(|_| refused("key longer than 65535 bytes"))?;
        let too_large = |_| refused("compiled table larger than 4 GiB");
        if value.len() > VALUE {
            return Err(refused("value longer than 16 MiB"));
        }
        let value_length = u32::try_from(value.len()).map_err(too_large)?;
        let offset = u32::try_from(self.written + self.buffer.len() as u64).map_err(too_large)?;
        let mut body = [0; HEAD - 4];
        body[..4].copy_from_slice(&line.to_le_bytes());
        body[4..8].copy_from_slice(&value_length.to_le_bytes());
        body[8..].copy_from_slice(&key_length.to_le_bytes());
        let check = check(self.salt, offset.into(), &[&body, key, value]);
        for part in [&check.to_le_bytes()[..], &body, key, value] {
            self.buffer.extend_from_slice(part);
        }
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(offset)
    }

    fn flush(&mut self) -> io::Result<()> {
        durable::write_all_at(self.file, &self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Writes the index and the header. The file is whole then, but not synced.
    ///
    /// # Errors
    /// The file's.
    pub fn finish(mut self, origin: Origin) -> io::Result<()> {
        self.flush()?;
        let count = self.count() as u64;
        // Five of seven places on average; one more, so that some block is not full.
        let blocks = count / 5 + 1;
        let index = self.written;
        for block in self.blocks(blocks) {
            let offset = self.written + self.buffer.len() as u64;
            let sum = check(self.salt, offset, &[&block]);
            self.buffer.extend_from_slice(&block);
            self.buffer.extend_from_slice(&sum.to_le_bytes());
            if self.buffer.len() >= BUFFER {
                self.flush()?;
            }
        }
        self.flush()?;
        let header = Header { salt: self.salt, length: self.written, count, index, blocks, origin };
        durable::write_all_at(self.file, &header.encode(), 0)
    }

    /// The blocks of the index, without their checksums.
    fn blocks(&mut self, blocks: u64) -> Vec<[u8; BLOCK - 4]> {
        let count = usize::try_from(blocks).unwrap_or(1);
        let mut filled = vec![[0; BLOCK - 4]; count];
        let mut used = vec![0u8; count];
        let entries = std::mem::take(&mut self.index);
        for (hash, offset) in entries.into_iter().chain(std::mem::take(&mut self.same_hash)) {
            let (start, tag) = home(hash, blocks);
            let start = usize::try_from(start).unwrap_or(0);
            let at = (start..count).chain(0..start).find(|&at| used.get(at).is_some_and(|&n| usize::from(n) < SLOTS));
            let Some((block, n)) = at.and_then(|at| Some((filled.get_mut(at)?, used.get_mut(at)?))) else {
                continue; // cannot be: there are more places than keys
            };
            if let Some(entry) = block.get_mut(usize::from(*n) * 8..).and_then(|rest| rest.first_chunk_mut::<8>()) {
                entry[..4].copy_from_slice(&tag.to_le_bytes());
                entry[4..].copy_from_slice(&offset.to_le_bytes());
                *n += 1;
            }
        }
        filled
    }
}

#[derive(Clone, Copy)]
enum Before {
    Index,
    Same(usize),
}

#[cfg(test)]
#[path = "writer_test.rs"]
mod tests;
