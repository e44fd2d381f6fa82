//! A compiled table, read with `pread`: nothing of it is in memory but its header, and it is never mapped (an administrator's
//! `cp` onto a mapped file would end the engine). Called through [`crate::Registry`], by `makemap -u`, `editmap` and `praliases`.
//!
//! Whatever is not what the writer wrote (see `layout`) makes the answer [`Unavailable`], never "not there".

use crate::layout::{self, BLOCK, HEAD, HEADER, Head, Header, MORE, SLOTS, VALUE, check, home, u32_at};
use crate::{Origin, Unavailable};
use std::fs::File;
use std::sync::Arc;

/// Read ahead with a record's head: most records are shorter.
const GUESS: usize = 256;

/// Read at once by [`Compiled::verify`].
const AHEAD: usize = 1 << 18;

/// A compiled table.
#[derive(Debug)]
pub struct Compiled {
    name: Arc<str>,
    /// What hits name: the text if it was a file, else `X.db`.
    source: Arc<str>,
    file: File,
    header: Header,
}

/// A record of a compiled table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Key, folded when the table was made.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Line in the text it was made from; 0 if it came from elsewhere.
    pub line: u32,
}

impl Compiled {
    /// Opens one. `name` is its path without `.db`.
    ///
    /// # Errors
    /// If it is not of our format and version, or not as long as it says.
    pub fn new(name: Arc<str>, file: File) -> Result<Self, Unavailable> {
        let mut bytes = vec![0; HEADER];
        let failed = |what: &dyn std::fmt::Display| Unavailable(format!("{name}.db: {what}"));
        let length = durable::read_at_most(&file, &mut bytes, 0).map_err(|error| failed(&error))?;
        let header = Header::decode(bytes.get(..length).unwrap_or_default()).map_err(|what| failed(&what))?;
        let size = file.metadata().map_err(|error| failed(&error))?.len();
        if size != header.length {
            return Err(failed(&format_args!("{size} bytes instead of {}", header.length)));
        }
        let text = &header.origin.name;
        let source = if text.is_empty() { format!("{name}.db").into() } else { text.as_str().into() };
        Ok(Self { name, source, file, header })
    }

    /// Whether a file that begins with `bytes` is one.
    #[must_use]
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.starts_with(&layout::MAGIC)
    }

    /// What it was made from.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.header.origin
    }

    /// The path that hits name.
    #[must_use]
    pub const fn source(&self) -> &Arc<str> {
        &self.source
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
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Unavailable> {
        Ok(self.place(key)?.map(|(_, record)| record))
    }

    /// The offset too.
    fn place(&self, key: &[u8]) -> Result<Option<(u64, Record)>, Unavailable> {
        let blocks = self.header.blocks;
        let (start, tag) = home(crate::hash::hash(self.header.salt, key), blocks);
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
        Err(self.changed("its index has no end"))
    }

    /// Goes through the whole file once: every checksum must fit. For those who take a new version into use; a look-up checks what it
    /// reads anyway.
    ///
    /// # Errors
    /// If anything cannot be read or is not what was written.
    pub fn verify(&self) -> Result<(), Unavailable> {
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
                    return Err(self.changed("a record changed or is damaged"));
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
                return Err(self.changed("a record changed or is damaged"));
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
                    return Err(self.changed("its index changed or is damaged"));
                }
            }
            done += count;
        }
        Ok(())
    }

    fn block(&self, number: u64) -> Result<[u8; BLOCK], Unavailable> {
        let offset = self.header.index + number * BLOCK as u64;
        let mut block = [0; BLOCK];
        self.read(&mut block, offset)?;
        let (body, sum) = block.split_at(BLOCK - 4);
        if u32_at(sum, 0) != Some(check(self.header.salt, offset, &[body])) {
            return Err(self.changed("its index changed or is damaged"));
        }
        Ok(block)
    }

    fn record(&self, offset: u64) -> Result<Record, Unavailable> {
        let room = self.header.index.saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(room).unwrap_or(GUESS).min(GUESS)];
        self.read(&mut bytes, offset)?;
        let damaged = || self.changed("a record changed or is damaged");
        let fits = |head: &Head| head.length() as u64 <= room && head.value <= VALUE;
        let head = Head::decode(&bytes).filter(fits).ok_or_else(damaged)?;
        let read = bytes.len();
        bytes.resize(head.length(), 0);
        if let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            self.read(rest, offset + read as u64)?;
        }
        record(&bytes, self.header.salt, offset).ok_or_else(damaged)
    }

    fn read(&self, buffer: &mut [u8], offset: u64) -> Result<(), Unavailable> {
        let read =
            durable::read_at_most(&self.file, buffer, offset).map_err(|error| self.changed(&error.to_string()))?;
        if read == buffer.len() { Ok(()) } else { Err(self.changed("it was cut short")) }
    }

    fn changed(&self, what: &str) -> Unavailable {
        Unavailable(format!("{}.db: {what}", self.name))
    }

    /// All records that can be found, and the other values of their keys, in the order they were written.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { table: self, offset: HEADER as u64 }
    }
}

/// A whole record, if its checksum fits.
pub(crate) fn record(bytes: &[u8], salt: crate::hash::Salt, offset: u64) -> Option<Record> {
    let head = Head::decode(bytes)?;
    let body = bytes.get(4..head.length())?;
    let (key, value) = bytes.get(HEAD..head.length())?.split_at_checked(head.key)?;
    let fits = check(salt, offset, &[body]) == head.check;
    fits.then(|| Record { key: key.to_vec(), value: value.to_vec(), line: head.line })
}

/// Iterator of [`Compiled::records`]; ends after the first error.
#[derive(Debug)]
pub struct Records<'a> {
    table: &'a Compiled,
    offset: u64,
}

impl Iterator for Records<'_> {
    type Item = Result<Record, Unavailable>;

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
