//! Content as it arrives: memory while it is small and the budget lasts, a nameless file otherwise.

use super::Shared;
use crate::{ContentWriter, Error};
use bytes::Bytes;
use durable::Nameless;
use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The memory that all content in sessions, writer and deliveries may use together.
#[derive(Debug)]
pub(crate) struct Budget {
    left: AtomicU64,
}

impl Budget {
    pub fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }
    fn take(&self, bytes: u64) -> bool {
        let take = |left: u64| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
    #[cfg(test)]
    pub fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }
}

/// Memory with its share of the budget, given back when the last reference goes.
#[derive(Debug)]
struct Leased {
    bytes: Vec<u8>,
    leased: u64,
    budget: Arc<Budget>,
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Leased {
    fn drop(&mut self) {
        self.budget.left.fetch_add(self.leased, Ordering::Relaxed);
    }
}

impl Leased {
    fn new(budget: &Arc<Budget>) -> Self {
        Self { bytes: Vec::new(), leased: 0, budget: Arc::clone(budget) }
    }
    /// Adds bytes if the budget has them.
    fn push(&mut self, more: &[u8]) -> bool {
        let needed = self.bytes.len() + more.len();
        if needed > self.bytes.capacity() {
            // At least doubling, so that many small writes copy each byte about once.
            let capacity = needed.max(self.bytes.capacity() * 2).max(2048);
            if !self.budget.take((capacity - self.bytes.capacity()) as u64) {
                return false;
            }
            self.leased += (capacity - self.bytes.capacity()) as u64;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(more);
        true
    }
}

/// What a writer has collected.
pub(crate) enum Collected {
    Memory(Bytes),
    File(Nameless),
}

enum Place {
    Memory(Leased),
    File(Nameless),
    Failed(Error),
}

/// The spool's [`ContentWriter`].
pub(crate) struct SpoolWriter {
    shared: Arc<Shared>,
    place: Place,
    length: u64,
    crc: crc32fast::Hasher,
}

/// Free space is looked at again after this much of a body.
const LOOK: u64 = 1 << 20;

impl SpoolWriter {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { place: Place::Memory(Leased::new(&shared.budget)), shared, length: 0, crc: crc32fast::Hasher::new() }
    }

    /// What there is, its length and checksum.
    pub fn finish(self) -> Result<(Collected, u64, u32), Error> {
        let collected = match self.place {
            Place::Memory(leased) => Collected::Memory(Bytes::from_owner(leased)),
            Place::File(file) => Collected::File(file),
            Place::Failed(error) => return Err(error),
        };
        Ok((collected, self.length, self.crc.finalize()))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let disk = &self.shared.disk;
        if let Place::Memory(leased) = &mut self.place {
            let fits = self.length + (bytes.len() as u64) < self.shared.large;
            if fits && leased.push(bytes) {
                return Ok(());
            }
            let body = disk.start_body().map_err(super::failed)?;
            disk.write_body(&body, &leased.bytes, 0).map_err(super::failed)?;
            self.place = Place::File(body);
        }
        match &self.place {
            Place::File(body) => {
                if self.length / LOOK != (self.length + bytes.len() as u64) / LOOK {
                    self.shared.room(0)?;
                }
                disk.write_body(body, bytes, self.length).map_err(super::failed)
            }
            Place::Failed(error) => Err(error.clone()),
            Place::Memory(_) => Ok(()),
        }
    }
}

impl ContentWriter for SpoolWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if let Err(error) = self.append(bytes) {
            self.place = Place::Failed(error.clone());
            return Err(error);
        }
        self.crc.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }
    fn len(&self) -> u64 {
        self.length
    }
    fn is_file(&self) -> bool {
        matches!(self.place, Place::File(_))
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_leased_until_the_last_reference_goes() {
        let budget = Budget::new(10_000);
        let mut leased = Leased::new(&budget);
        assert!(leased.push(&[1; 100]));
        assert!(!leased.push(&[1; 20_000]));
        let bytes = Bytes::from_owner(leased);
        let clone = bytes.clone();
        drop(bytes);
        assert_eq!(budget.left(), 10_000 - 2048);
        drop(clone);
        assert_eq!(budget.left(), 10_000);
    }
}
