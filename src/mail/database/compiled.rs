//! A compiled table of ours: nothing of it is kept but its header. Called by [`Database`](super::Database), and by `table` to see what
//! one was made from.
//!
//! Whatever is not what the writer wrote (see [`layout`]) is [`Broken`], never "not there".

use super::layout::{self, BLOCK, HEAD, HEADER, Head, Header, MORE, Origin, SLOTS, VALUE, check, home, u32_at};
use super::{Broken, Bytes, Record, salted};

/// Read ahead with a record's head: most records are shorter.
const GUESS: usize = 256;

/// Read at once by [`Compiled::verify`].
const AHEAD: usize = 1 << 18;

const DAMAGED: &str = "a record changed or is damaged";
const DAMAGED_INDEX: &str = "its index changed or is damaged";

/// A compiled table.
#[derive(Debug)]
pub struct Compiled<B> {
    bytes: B,
    header: Header,
}

/// Whether a file that begins with `bytes` is one.
#[must_use]
pub fn is_one(bytes: &[u8]) -> bool {
    bytes.starts_with(&layout::MAGIC)
}

impl<B: Bytes> Compiled<B> {
    /// Takes one.
    ///
    /// # Errors
    /// If it is not of our format and version, or not as long as it says.
    pub fn new(bytes: B) -> Result<Self, Broken> {
        let mut start = vec![0; HEADER];
        let length = bytes.read_at(&mut start, 0)?;
        let header = Header::decode(start.get(..length).unwrap_or_default())?;
        let is = bytes.size()?;
        if is != header.length {
            return Err(Broken::Length { is, wanted: header.length });
        }
        Ok(Self { bytes, header })
    }

    /// What it was made from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.header.origin
    }

    /// Number of keys.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.header.count
    }

    /// The record of a key, byte by byte as given.
    ///
    /// # Errors
    /// If the file cannot be read or is not what was written.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Broken> {
        Ok(self.place(key)?.map(|(_, record)| record))
    }

    /// The offset too.
    fn place(&self, key: &[u8]) -> Result<Option<(u64, Record)>, Broken> {
        let blocks = self.header.blocks;
        let (start, tag) = home(salted::hash(self.header.salt, key), blocks);
        for number in (start..blocks).chain(0..start) {
            let block = self.block(number)?;
            for entry in block.chunks_exact(8).take(SLOTS) {
                let offset = u32_at(entry, 4).unwrap_or(0);
                if offset == 0 {
                    return Ok(None);
                }
                if u32_at(entry, 0) == Some(tag) {
                    let record = self.record(offset.into())?;
                    if record.key == key {
                        return Ok(Some((offset.into(), record)));
                    }
                }
            }
        }
        // The writer leaves room in some block.
        Err("its index has no end".into())
    }

    /// Goes through the whole file once: every checksum must fit. For those who take a new version into use; a look-up checks what it
    /// reads anyway.
    ///
    /// # Errors
    /// If anything cannot be read or is not what was written.
    pub fn verify(&self) -> Result<(), Broken> {
        let Header { index, blocks, salt, .. } = self.header;
        let (mut offset, mut buffer, mut start) = (HEADER as u64, Vec::new(), HEADER as u64);
        while offset < index {
            let at = usize::try_from(offset - start).unwrap_or(usize::MAX);
            let ready = buffer.get(at..).unwrap_or_default();
            let length = Head::decode(ready).map_or(HEAD, |head| head.length());
            if ready.len() < length {
                // The head may be damaged: no more is asked for than a record can have, or the file holds.
                let room = usize::try_from(index - offset).unwrap_or(usize::MAX);
                if length > room || length > HEAD + usize::from(u16::MAX) + VALUE {
                    return Err(DAMAGED.into());
                }
                buffer.resize(length.max(AHEAD).min(room), 0);
                self.read(&mut buffer, offset)?;
                start = offset;
                continue;
            }
            let fits = Head::decode(ready)
                .zip(ready.get(4..length))
                .is_some_and(|(head, body)| head.check == check(salt, offset, &[body]));
            if !fits {
                return Err(DAMAGED.into());
            }
            offset += length as u64;
        }
        let mut done = 0;
        while done < blocks {
            let count = (blocks - done).min((AHEAD / BLOCK) as u64);
            buffer.resize(usize::try_from(count).unwrap_or(0) * BLOCK, 0);
            let offset = index + done * BLOCK as u64;
            self.read(&mut buffer, offset)?;
            for (block, n) in buffer.chunks_exact(BLOCK).zip(0u64..) {
                let (body, sum) = block.split_at(BLOCK - 4);
                if u32_at(sum, 0) != Some(check(salt, offset + n * BLOCK as u64, &[body])) {
                    return Err(DAMAGED_INDEX.into());
                }
            }
            done += count;
        }
        Ok(())
    }

    fn block(&self, number: u64) -> Result<[u8; BLOCK], Broken> {
        let offset = self.header.index + number * BLOCK as u64;
        let mut block = [0; BLOCK];
        self.read(&mut block, offset)?;
        let (body, sum) = block.split_at(BLOCK - 4);
        if u32_at(sum, 0) != Some(check(self.header.salt, offset, &[body])) {
            return Err(DAMAGED_INDEX.into());
        }
        Ok(block)
    }

    fn record(&self, offset: u64) -> Result<Record, Broken> {
        let room = self.header.index.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(GUESS).min(GUESS)];
        self.read(&mut bytes, offset)?;
        let fits = |head: &Head| head.length() as u64 <= room && head.value <= VALUE;
        let head = Head::decode(&bytes).filter(fits).ok_or(DAMAGED)?;
        let read = bytes.len();
        bytes.resize(head.length(), 0);
        if let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            self.read(rest, offset + read as u64)?;
        }
        record(&bytes, self.header.salt, offset).ok_or_else(|| DAMAGED.into())
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Broken> {
        let read = self.bytes.read_at(buffer, offset)?;
        if read == buffer.len() { Ok(()) } else { Err("it was cut short".into()) }
    }

    /// All records that can be found, and the other values of their keys, in the order they were written.
    #[must_use]
    pub fn records(&self) -> Records<'_, B> {
        Records { table: self, offset: HEADER as u64 }
    }
}

/// A whole record, if its checksum fits.
pub(crate) fn record(bytes: &[u8], salt: salted::Salt, offset: u64) -> Option<Record> {
    let head = Head::decode(bytes)?;
    let body = bytes.get(4..head.length())?;
    let (key, value) = bytes.get(HEAD..head.length())?.split_at_checked(head.key)?;
    let fits = check(salt, offset, &[body]) == head.check;
    fits.then(|| Record { key: key.to_vec(), value: value.to_vec(), line: head.line })
}

/// Iterator of [`Compiled::records`]; ends after the first error.
#[derive(Debug)]
pub struct Records<'a, B> {
    table: &'a Compiled<B>,
    offset: u64,
}

impl<B: Bytes> Iterator for Records<'_, B> {
    type Item = Result<Record, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.offset < self.table.header.index {
            let at = self.offset;
            let found = self.table.record(at).and_then(|record| {
                self.offset = at + (HEAD + record.key.len() + record.value.len()) as u64;
                // A record that a later one of the same key replaced is still there, but not in the index.
                let (more, line) = (record.line & MORE != 0, record.line & !MORE);
                let live = more || self.table.place(&record.key)?.is_some_and(|(offset, _)| offset == at);
                Ok(live.then_some(Record { line, ..record }))
            });
            match found {
                Ok(None) => {}
                Ok(Some(record)) => return Some(Ok(record)),
                Err(error) => {
                    self.offset = self.table.header.index;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "compiled_test.rs"]
mod tests;
