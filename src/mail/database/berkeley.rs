//! Berkeley DB files (hash and btree, as `makemap`, `newaliases` and `postmap` made them with libdb 3.1 to 5.3), for hosts that have
//! nothing else or have not yet made ours. Read-only; every offset is checked against its page, every page against the file, and no chain
//! is followed for longer than there are pages. There are no checksums: whoever reads from a file sees to it that the file does not change.
//!
//! Format: the structures of libdb's `db_page.h`, as documented by their names here. Called by [`Database`](super::Database).

use super::page::{self, Item, Order, Page};
use super::{Broken, Bytes, Record};
use std::collections::VecDeque;

const HASH: u32 = 0x0006_1561;
const BTREE: u32 = 0x0005_3162;
/// Bytes of the first page that hold the fields we need.
const META: usize = 512;
/// More levels than any real tree has.
const DEPTH: usize = 32;

/// A Berkeley DB file.
#[derive(Debug)]
pub struct Berkeley<B> {
    bytes: B,
    size: u64,
    order: Order,
    page_size: u32,
    last_page: u32,
    /// That the file has room for: no chain is longer.
    pages: u32,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Hash { max_bucket: u32, high_mask: u32, low_mask: u32, spares: Vec<u32> },
    Btree { root: u32 },
}

/// What stands for a value that cannot be made out.
const NO_VALUE: &str = "damaged: no duplicate";
const TOO_MUCH: &str = "damaged: several records in one place";

/// Whether a file that begins with these 16 bytes is one, of any version.
#[must_use]
pub fn is_one(start: &[u8]) -> bool {
    let known = |at| [Order::Little, Order::Big].iter().any(|order| matches!(order.u32(start, at), Some(HASH | BTREE)));
    known(12) || known(0)
}

impl<B: Bytes> Berkeley<B> {
    /// Takes one.
    ///
    /// # Errors
    /// If it cannot be read, is of a version we do not know, is damaged, or was not finished.
    pub fn new(bytes: B) -> Result<Self, Broken> {
        let mut meta = [0; META];
        if bytes.read_at(&mut meta, 0)? < META {
            return Err("cut short".into());
        }
        let order = if matches!(Order::Little.u32(&meta, 12), Some(HASH | BTREE)) { Order::Little } else { Order::Big };
        let kind = kind(&meta, order)?;
        let field = |at| order.u32(&meta, at).unwrap_or(0);
        let (size, page_size, last_page) = (bytes.size()?, field(20), field(32));
        let pages = u32::try_from(size / u64::from(page_size.max(1))).unwrap_or(u32::MAX);
        // libdb writes the last page of a hash even where it leaves holes before it; should one of an old version end before, what
        // lies behind its end is told as cut short: a half copied file must not look like one without the keys.
        if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() || pages == 0 {
            return Err("its first page is damaged".into());
        }
        // The first page is written last: a makemap that was killed leaves one that knows of few pages, or of none.
        if pages - 1 > last_page {
            return Err("was not finished: it has pages that its first page does not know; make it again".into());
        }
        Ok(Self { bytes, size, order, page_size, last_page, pages, kind })
    }

    /// The record of a key, stored with or without a NUL at its end.
    ///
    /// # Errors
    /// If the bytes cannot be had or are damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Broken> {
        let plain = self.find(key)?;
        if plain.is_some() || key.ends_with(&[0]) {
            return Ok(plain);
        }
        let mut terminated = key.to_vec();
        terminated.push(0);
        Ok(self.find(&terminated)?.map(without_nul))
    }

    fn find(&self, key: &[u8]) -> Result<Option<Record>, Broken> {
        let found = match &self.kind {
            Kind::Hash { max_bucket, high_mask, low_mask, spares } => {
                let hash = hash(key);
                let bucket = if hash & high_mask > *max_bucket { hash & low_mask } else { hash & high_mask };
                self.find_in_bucket(bucket_page(bucket, spares)?, key)
            }
            Kind::Btree { root } => self.find_in_tree(*root, key),
        };
        Ok(found?.map(|value| Record { key: key.to_vec(), value, line: 0 }))
    }

    fn page(&self, number: u32) -> Result<Page, Broken> {
        Ok(Page::new(self.page_bytes(number)?, self.order, number)?)
    }

    /// The first page of a bucket; `None`: an empty one.
    fn bucket(&self, number: u32) -> Result<Option<Page>, Broken> {
        Ok(Page::first_of_bucket(self.page_bytes(number)?, self.order, number)?)
    }

    fn page_bytes(&self, number: u32) -> Result<Vec<u8>, Broken> {
        if number == 0 || number > self.last_page {
            return Err("damaged: it names a page that it does not have".into());
        }
        let offset = u64::from(number) * u64::from(self.page_size);
        let mut bytes = vec![0; self.page_size as usize];
        if self.bytes.read_at(&mut bytes, offset)? < bytes.len() {
            return Err("cut short".into());
        }
        Ok(bytes)
    }

    fn find_in_bucket(&self, first: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        let Some(mut page) = self.bucket(first)? else { return Ok(None) };
        for _ in 0..=self.pages {
            for pair in page.hash_pairs()? {
                let (stored, value) = pair?;
                if self.is_key(&stored, key)? {
                    return self.value(value).map(Some);
                }
            }
            match page.next() {
                0 => return Ok(None),
                next => page = self.page(next)?,
            }
        }
        Err("damaged: a bucket has no end".into())
    }

    fn find_in_tree(&self, root: u32, key: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
        // More of a stored key than decides is not read: a damaged one may be as long as the file.
        let most = key.len() + 1;
        let mut leaf = self.descend(root, &mut |item| Ok(self.start(item, most)?.as_slice() < key))?;
        for _ in 0..=self.pages {
            for pair in leaf.tree_pairs()? {
                let (stored, value) = pair?;
                let stored = self.start(stored, most)?;
                if stored == key {
                    return self.value(value).map(Some);
                }
                if stored.as_slice() > key {
                    return Ok(None);
                }
            }
            // The key may be the first of the next leaf: the way down went left of equal ones.
            match leaf.next() {
                0 => return Ok(None),
                next => leaf = self.page(next)?,
            }
        }
        Err("damaged: its leaves have no end".into())
    }

    /// Down to a leaf: on each level to the last child whose key is `before` what is looked for, or the first.
    fn descend(&self, root: u32, before: &mut dyn FnMut(Item<'_>) -> Result<bool, Broken>) -> Result<Page, Broken> {
        let mut page = self.page(root)?;
        for _ in 0..DEPTH {
            if page.is_leaf() {
                return Ok(page);
            }
            let mut child = None;
            for (n, entry) in page.tree_children()?.enumerate() {
                let (number, item) = entry?;
                // The first key stands for everything smaller.
                if n > 0 && !before(item)? {
                    break;
                }
                child = Some(number);
            }
            page = self.page(child.ok_or("damaged: a page without children")?)?;
        }
        Err("damaged: too deep".into())
    }

    fn is_key(&self, item: &Item<'_>, key: &[u8]) -> Result<bool, Broken> {
        match *item {
            Item::Here(bytes) => Ok(bytes == key),
            Item::Elsewhere { length, .. } if length as usize != key.len() => Ok(false),
            ref other => Ok(self.bytes(*other)? == key),
        }
    }

    /// A value; of several the first.
    fn value(&self, item: Item<'_>) -> Result<Vec<u8>, Broken> {
        match item {
            Item::Duplicates(root) => {
                let leaf = self.descend(root, &mut |_| Ok(false))?;
                self.bytes(leaf.duplicates()?.next().unwrap_or(Err(NO_VALUE))?)
            }
            Item::Several(set) => {
                self.order.values(set)?.first().map(|value| value.to_vec()).ok_or_else(|| NO_VALUE.into())
            }
            item => self.bytes(item),
        }
    }

    fn bytes(&self, item: Item<'_>) -> Result<Vec<u8>, Broken> {
        self.start(item, usize::MAX)
    }

    /// An item, or as many of its bytes as are wanted, or some more.
    fn start(&self, item: Item<'_>, most: usize) -> Result<Vec<u8>, Broken> {
        match item {
            Item::Here(bytes) => Ok(bytes.to_vec()),
            Item::Duplicates(_) | Item::Several(_) => Err("damaged: a key with duplicates".into()),
            Item::Elsewhere { page, length } => {
                let length = u64::from(length);
                if length > self.size {
                    return Err("damaged: an item longer than the file".into());
                }
                let (mut out, mut next) = (Vec::new(), page);
                while (out.len() as u64) < length && out.len() < most {
                    let page = self.page(next)?;
                    let content = page.overflow()?;
                    // libdb fills them: a chain of others would have no end.
                    if page.next() != 0 && content.len() < page::overflow_room(self.page_size as usize) {
                        return Err("damaged: an overflow page that is not full".into());
                    }
                    out.extend_from_slice(content);
                    next = page.next();
                }
                let whole = out.len() as u64 == length || (out.len() >= most && (out.len() as u64) < length);
                if whole { Ok(out) } else { Err("damaged: an item of another length".into()) }
            }
        }
    }

    /// All records, NULs at the end of key and value taken off; ends after the first error.
    #[must_use]
    pub fn records(&self) -> Records<'_, B> {
        Records { table: self, at: At::Bucket(0), steps: 0, bytes: 0, ready: VecDeque::new() }
    }
}

fn without_nul(mut record: Record) -> Record {
    if record.key.last() == Some(&0) {
        record.key.pop();
        if record.value.last() == Some(&0) {
            record.value.pop();
        }
    }
    record
}

fn kind(meta: &[u8; META], order: Order) -> Result<Kind, &'static str> {
    let field = |at| order.u32(meta, at).unwrap_or(0);
    let byte = |at: usize| meta.get(at).copied().unwrap_or(0);
    match (field(12), field(16)) {
        (HASH, 7..=10) | (BTREE, 8..=10) => {}
        _ => {
            return Err(
                "a Berkeley DB file of a version that is not read here; make it again with makemap or newaliases",
            );
        }
    }
    // Encrypted, with checksums, or in partitions: none of which the mail tools make.
    if byte(24) != 0 || byte(26) != 0 {
        return Err("a Berkeley DB file with encryption, checksums or partitions");
    }
    match (field(12), byte(25)) {
        (HASH, page::HASH_META) => {
            if field(92) != hash(b"%$sniglet^&\0") {
                return Err("a Berkeley DB file with another hash function");
            }
            let spares = (0..32).map(|n| field(96 + n * 4)).collect();
            Ok(Kind::Hash { max_bucket: field(72), high_mask: field(76), low_mask: field(80), spares })
        }
        (BTREE, page::BTREE_META) => Ok(Kind::Btree { root: field(88) }),
        _ => Err("its first page is damaged"),
    }
}

/// libdb's hash of a key.
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(0u32, |hash, &byte| hash.wrapping_mul(16_777_619) ^ u32::from(byte))
}

/// The page a bucket begins on: buckets were allocated in doublings, each after the overflow pages of those before.
fn bucket_page(bucket: u32, spares: &[u32]) -> Result<u32, &'static str> {
    let doubling = u32::BITS - bucket.leading_zeros();
    let spare = spares.get(doubling as usize).ok_or("damaged: a bucket that cannot be")?;
    bucket.checked_add(*spare).ok_or("damaged: a bucket that cannot be")
}

/// Iterator of [`Berkeley::records`].
#[derive(Debug)]
pub struct Records<'a, B> {
    table: &'a Berkeley<B>,
    at: At,
    /// Pages read; never more than there are.
    steps: u32,
    /// Of all records so far; never more than the file has.
    bytes: u64,
    ready: VecDeque<Record>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Bucket(u32),
    /// The next page, and the bucket after it.
    Page(u32, u32),
    End,
}

impl<B: Bytes> Records<'_, B> {
    fn step(&mut self) -> Result<(), Broken> {
        self.steps += 1;
        if self.steps > self.table.pages { Err("damaged: its pages have no end".into()) } else { Ok(()) }
    }

    fn fill(&mut self) -> Result<(), Broken> {
        let (page, bucket) = match (self.at, &self.table.kind) {
            (At::Bucket(bucket), Kind::Hash { max_bucket, spares, .. }) if bucket <= *max_bucket => {
                let Some(page) = self.table.bucket(bucket_page(bucket, spares)?)? else {
                    self.at = At::Bucket(bucket + 1);
                    return self.step();
                };
                (page, bucket + 1)
            }
            (At::Bucket(0), Kind::Btree { root }) => (self.table.descend(*root, &mut |_| Ok(false))?, u32::MAX),
            (At::Bucket(_) | At::End, _) => {
                self.at = At::End;
                return Ok(());
            }
            (At::Page(page, bucket), _) => (self.table.page(page)?, bucket),
        };
        self.step()?;
        self.at = match page.next() {
            0 => At::Bucket(bucket),
            next => At::Page(next, bucket),
        };
        let pairs = match self.table.kind {
            Kind::Hash { .. } => page.hash_pairs()?,
            Kind::Btree { .. } => page.tree_pairs()?,
        };
        for pair in pairs {
            let (key, value) = pair?;
            let key = self.table.bytes(key)?;
            self.count(&key)?;
            for value in self.values(value)? {
                self.ready.push_back(without_nul(Record { key: key.clone(), value, line: 0 }));
            }
        }
        Ok(())
    }

    /// No more than the file has.
    fn count(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.bytes += bytes.len() as u64;
        if self.bytes > self.table.size { Err(TOO_MUCH.into()) } else { Ok(()) }
    }

    /// All values of a key.
    fn values(&mut self, item: Item<'_>) -> Result<Vec<Vec<u8>>, Broken> {
        let table = self.table;
        let mut all = Vec::new();
        match item {
            Item::Several(set) => all.extend(table.order.values(set)?.into_iter().map(<[u8]>::to_vec)),
            Item::Duplicates(root) => {
                let mut leaf = Some(table.descend(root, &mut |_| Ok(false))?);
                while let Some(page) = leaf {
                    self.step()?;
                    for value in page.duplicates()? {
                        all.push(table.bytes(value?)?);
                        // Here as well: what is collected has an end.
                        self.count(all.last().map_or(&[], Vec::as_slice))?;
                    }
                    leaf = if page.next() == 0 { None } else { Some(table.page(page.next())?) };
                }
                return Ok(all);
            }
            item => all.push(table.bytes(item)?),
        }
        all.iter().try_for_each(|value| self.count(value))?;
        Ok(all)
    }
}

impl<B: Bytes> Iterator for Records<'_, B> {
    type Item = Result<Record, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !matches!(self.at, At::End) {
            if let Err(error) = self.fill() {
                self.at = At::End;
                self.ready.clear();
                return Some(Err(error));
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

#[cfg(test)]
#[path = "berkeley_test.rs"]
mod tests;
