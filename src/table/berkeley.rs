//! Reads Berkeley DB files (hash and btree, as `makemap`, `newaliases` and `postmap` made them with libdb 3.1 to 5.3), for hosts
//! that have nothing else or have not yet made ours. Read-only, with `pread`; every offset is checked against its page and
//! every page against the file. The file has no checksums: a change under us is told by its size and time, and then the
//! answer is [`Unavailable`] until the table is loaded again.
//!
//! Format: the structures of libdb's `db_page.h`, as documented by their names here. Called by [`crate::Database`].

use crate::page::{self, Item, Order, Page};
use crate::{Record, Stamp, Unavailable};
use std::collections::VecDeque;
use std::fs::File;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file changed so recently may change again within the same tick of its clock, unseen.
#[allow(unexpected_cfgs, reason = "testsuite/fuzz/run sets it: a file of that moment is read")]
const STILL: Duration = Duration::from_millis(if cfg!(fuzzing) { 0 } else { 20 });
const HASH: u32 = 0x0006_1561;
const BTREE: u32 = 0x0005_3162;
/// Bytes of the first page that hold the fields we need.
const META: usize = 512;
/// More levels than any real tree has.
const DEPTH: usize = 32;

/// A Berkeley DB file.
#[derive(Debug)]
pub struct Berkeley {
    /// `X.db`: there are no lines to point to in `X`.
    name: Arc<str>,
    file: File,
    stamp: Stamp,
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
type Broken = &'static str;
const NO_VALUE: Broken = "damaged: no duplicate";
const TOO_MUCH: Broken = "damaged: several records in one place";

impl Berkeley {
    /// Whether a file that begins with these 16 bytes is one, of any version.
    #[must_use]
    pub fn is_one(start: &[u8]) -> bool {
        let known =
            |at| [Order::Little, Order::Big].iter().any(|order| matches!(order.u32(start, at), Some(HASH | BTREE)));
        known(12) || known(0)
    }

    /// Opens one. `name` is the path of the text beside it.
    ///
    /// # Errors
    /// If it cannot be read, is of a version we do not know, is damaged, or is being written. One that was written this moment is waited
    /// for, at most 20 ms.
    pub fn new(name: Arc<str>, file: File) -> Result<Self, Unavailable> {
        let table = Self::unsettled(name, file)?;
        let fresh = STILL.saturating_sub(table.stamp.apart_from(SystemTime::now()));
        if !fresh.is_zero() {
            std::thread::sleep(fresh);
            // Not for ever: who writes on will have another version, which is another table.
            table.unchanged().map_err(|_| Unavailable(format!("{}: is being written", table.name)))?;
        }
        Ok(table)
    }

    fn unsettled(name: Arc<str>, file: File) -> Result<Self, Unavailable> {
        let name: Arc<str> = format!("{name}.db").into();
        let failed = |what: &dyn std::fmt::Display| Unavailable(format!("{name}: {what}"));
        let stamp = Stamp::of(&file).map_err(|error| failed(&error))?;
        let mut meta = [0; META];
        let read = durable::read_at_most(&file, &mut meta, 0).map_err(|error| failed(&error))?;
        if read < META {
            return Err(failed(&"cut short"));
        }
        let order = if matches!(Order::Little.u32(&meta, 12), Some(HASH | BTREE)) { Order::Little } else { Order::Big };
        let kind = kind(&meta, order).map_err(|what| failed(&what))?;
        let field = |at| order.u32(&meta, at).unwrap_or(0);
        let (page_size, last_page) = (field(20), field(32));
        let pages = u32::try_from(stamp.size / u64::from(page_size.max(1))).unwrap_or(u32::MAX);
        // libdb writes the last page of a hash even where it leaves holes before it; should one of an old version end before, what
        // lies behind its end is told as cut short: a half copied file must not look like one without the keys.
        if !(512..=65_536).contains(&page_size) || !page_size.is_power_of_two() || pages == 0 {
            return Err(failed(&"its first page is damaged"));
        }
        // The first page is written last: a makemap that was killed leaves one that knows of few pages, or of none.
        if pages - 1 > last_page {
            return Err(failed(&"was not finished: it has pages that its first page does not know; make it again"));
        }
        let table = Self { file, stamp, order, page_size, last_page, pages, kind, name: Arc::clone(&name) };
        Ok(table)
    }

    /// The path that hits name.
    #[must_use]
    pub const fn source(&self) -> &Arc<str> {
        &self.name
    }

    /// The record of a key, stored with or without a NUL at its end.
    ///
    /// # Errors
    /// If the file cannot be read, changed or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Unavailable> {
        let plain = self.find(key)?;
        if plain.is_some() || key.ends_with(&[0]) {
            return Ok(plain);
        }
        let mut terminated = key.to_vec();
        terminated.push(0);
        Ok(self.find(&terminated)?.map(without_nul))
    }

    fn find(&self, key: &[u8]) -> Result<Option<Record>, Unavailable> {
        let found = match &self.kind {
            Kind::Hash { max_bucket, high_mask, low_mask, spares } => {
                let hash = hash(key);
                let bucket = if hash & high_mask > *max_bucket { hash & low_mask } else { hash & high_mask };
                bucket_page(bucket, spares).and_then(|page| self.find_in_bucket(page, key))
            }
            Kind::Btree { root } => self.find_in_tree(*root, key),
        };
        // After reading: what was read counts only if nobody had written until now.
        self.unchanged()?;
        let found = found.map_err(|what| Unavailable(format!("{}: {what}", self.name)))?;
        Ok(found.map(|value| Record { key: key.to_vec(), value, line: 0 }))
    }

    fn unchanged(&self) -> Result<(), Unavailable> {
        let now = Stamp::of(&self.file).map_err(|error| Unavailable(format!("{}: {error}", self.name)))?;
        // Not the time of the inode's change: it moves when another file takes this one's name, which harms nobody.
        let same = (now.size, now.modified) == (self.stamp.size, self.stamp.modified);
        if same { Ok(()) } else { Err(Unavailable(format!("{} changed", self.name))) }
    }

    fn page(&self, number: u32) -> Result<Page, Broken> {
        Page::new(self.page_bytes(number)?, self.order, number)
    }

    /// The first page of a bucket; `None`: an empty one.
    fn bucket(&self, number: u32) -> Result<Option<Page>, Broken> {
        Page::first_of_bucket(self.page_bytes(number)?, self.order, number)
    }

    fn page_bytes(&self, number: u32) -> Result<Vec<u8>, Broken> {
        if number == 0 || number > self.last_page {
            return Err("damaged: it names a page that it does not have");
        }
        let offset = u64::from(number) * u64::from(self.page_size);
        let mut bytes = vec![0; self.page_size as usize];
        let read = durable::read_at_most(&self.file, &mut bytes, offset).map_err(|_| "cannot be read")?;
        if read < bytes.len() {
            return Err("cut short");
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
        Err("damaged: a bucket has no end")
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
        Err("damaged: its leaves have no end")
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
        Err("damaged: too deep")
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
            Item::Several(set) => self.order.values(set)?.first().map(|value| value.to_vec()).ok_or(NO_VALUE),
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
            Item::Duplicates(_) | Item::Several(_) => Err("damaged: a key with duplicates"),
            Item::Elsewhere { page, length } => {
                let length = u64::from(length);
                if length > self.stamp.size {
                    return Err("damaged: an item longer than the file");
                }
                let (mut out, mut next) = (Vec::new(), page);
                while (out.len() as u64) < length && out.len() < most {
                    let page = self.page(next)?;
                    let content = page.overflow()?;
                    // libdb fills them: a chain of others would have no end.
                    if page.next() != 0 && content.len() < page::overflow_room(self.page_size as usize) {
                        return Err("damaged: an overflow page that is not full");
                    }
                    out.extend_from_slice(content);
                    next = page.next();
                }
                let whole = out.len() as u64 == length || (out.len() >= most && (out.len() as u64) < length);
                if whole { Ok(out) } else { Err("damaged: an item of another length") }
            }
        }
    }

    /// All records, NULs at the end of key and value taken off; ends after the first error.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
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

fn kind(meta: &[u8; META], order: Order) -> Result<Kind, Broken> {
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
fn bucket_page(bucket: u32, spares: &[u32]) -> Result<u32, Broken> {
    let doubling = u32::BITS - bucket.leading_zeros();
    let spare = spares.get(doubling as usize).ok_or("damaged: a bucket that cannot be")?;
    bucket.checked_add(*spare).ok_or("damaged: a bucket that cannot be")
}

/// Iterator of [`Berkeley::records`].
#[derive(Debug)]
pub struct Records<'a> {
    table: &'a Berkeley,
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

impl Records<'_> {
    fn step(&mut self) -> Result<(), Broken> {
        self.steps += 1;
        if self.steps > self.table.pages { Err("damaged: its pages have no end") } else { Ok(()) }
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
        if self.bytes > self.table.stamp.size { Err(TOO_MUCH) } else { Ok(()) }
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

impl Iterator for Records<'_> {
    type Item = Result<Record, Unavailable>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !matches!(self.at, At::End) {
            let filled = self.fill().map_err(|what| Unavailable(format!("{}: {what}", self.table.name)));
            if let Err(error) = filled.and_then(|()| self.table.unchanged()) {
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
