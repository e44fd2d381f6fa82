//! Imports LMDB files (Postfix's `lmdb:` maps: one file without a folder, as `postmap` makes it) into memory, each time the file has
//! changed. Never mapped and without LMDB's lock file: pages are read with `pread`, each once, and what was read counts only if nobody
//! wrote meanwhile. Called through [`crate::Registry`].
//!
//! Format: `MDB_meta`, `MDB_page` and `MDB_node` of LMDB 0.9, of 64-bit little-endian machines. Pages 0 and 1 are meta pages; the one
//! with the newer transaction names the root of the tree. A writer copies what it changes and takes pages again only after one more
//! transaction: while the meta pages are the same, so is the tree.

use crate::{Answer, Hit, Record, Source, Stamp, Table, Unavailable, Why};
use mail::database::layout::{u32_at, u64_at};
use std::fs::File;
use std::future::ready;
use std::sync::Arc;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;
/// Bytes before a page's entries.
const HEAD: usize = 16;
/// Bytes of a meta page that hold the fields we need.
const META: usize = 152;
/// Levels that LMDB itself goes down.
const DEPTH: usize = 32;
/// Keys and values together: what an import may take of the engine's memory.
const BYTES: usize = 512 << 20;

const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;
const OVERFLOW: u16 = 0x04;
/// Of a node: its value is on overflow pages.
const BIG: u16 = 0x01;

/// What stands for a file that cannot be made out.
type Broken = &'static str;
const BROKEN: Broken = "damaged: an entry outside its page";
const MISCOUNTED: Broken = "damaged: it has another number of entries than it says";

/// Where a row's bytes are.
#[derive(Clone, Copy, Debug)]
struct Row {
    offset: u32,
    key: u16,
    /// The key was stored with a NUL at its end.
    terminated: bool,
    value: u32,
}

/// The rows of an LMDB file, in memory.
pub struct Lmdb {
    name: Arc<str>,
    bytes: Vec<u8>,
    /// By key.
    rows: Vec<Row>,
}

impl std::fmt::Debug for Lmdb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lmdb({}, {} rows)", self.name, self.rows.len())
    }
}

/// Loads an LMDB file, which is the source's text; a [`crate::Load`], of kind `"lmdb"`.
///
/// # Errors
/// If there is no file, it cannot be read, is of another format, damaged, larger than 512 MiB in keys and values, or changes meanwhile.
pub fn load(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    let file = source.text.as_ref().ok_or_else(|| Unavailable(format!("{}: no file", source.name)))?;
    Ok(Arc::new(Lmdb::new(&source.name, file)?))
}

impl Lmdb {
    /// Imports one. `name` is its path, for provenance.
    ///
    /// # Errors
    /// As [`load`].
    pub fn new(name: &str, file: &File) -> Result<Self, Unavailable> {
        Self::import(name, file, || ())
    }

    /// `meanwhile` is for tests.
    fn import(name: &str, file: &File, meanwhile: impl FnOnce()) -> Result<Self, Unavailable> {
        let failed = |what: &dyn std::fmt::Display| Unavailable(format!("{name}: {what}"));
        let before = Stamp::of(file).map_err(|error| failed(&error))?;
        let metas = metas(file).map_err(|what| failed(&what))?;
        let imported = Import::start(file, before.size, &metas).and_then(Import::all);
        meanwhile();
        if self::metas(file).map_err(|what| failed(&what))? != metas
            || Stamp::of(file).map_err(|error| failed(&error))? != before
        {
            return Err(failed(&"changed while it was read"));
        }
        let (bytes, mut rows) = imported.map_err(|what| failed(&what))?;
        // The file is in this order but for NULs at the end, and unless it is damaged.
        rows.sort_by(|a, b| (key(&bytes, *a), a.terminated).cmp(&(key(&bytes, *b), b.terminated)));
        rows.dedup_by(|again, first| key(&bytes, *again) == key(&bytes, *first));
        Ok(Self { name: name.into(), bytes, rows })
    }

    /// The record of a key, stored with or without a NUL at its end.
    #[must_use]
    pub fn get(&self, wanted: &[u8]) -> Option<Record> {
        let found = self.rows.binary_search_by(|row| key(&self.bytes, *row).cmp(wanted)).ok()?;
        self.rows.get(found).map(|row| self.record(*row))
    }

    /// All records, by key.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        self.rows.iter().map(|row| self.record(*row))
    }

    fn record(&self, row: Row) -> Record {
        let start = row.offset as usize + usize::from(row.key);
        let value = self.bytes.get(start..start + row.value as usize).unwrap_or_default();
        Record { key: key(&self.bytes, row).to_vec(), value: value.to_vec(), line: 0 }
    }
}

fn key(bytes: &[u8], row: Row) -> &[u8] {
    let start = row.offset as usize;
    bytes.get(start..start + usize::from(row.key)).unwrap_or_default()
}

impl Table for Lmdb {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let hit = self.get(key.as_bytes()).map(|record| Hit {
            value: String::from_utf8_lossy(&record.value).into_owned(),
            why: Why { source: Arc::clone(&self.name), line: 0, key: key.to_owned() },
        });
        Box::pin(ready(Ok(hit)))
    }
}

/// An import under way.
struct Import<'a> {
    file: &'a File,
    page_size: usize,
    last_page: u64,
    root: u64,
    entries: u64,
    /// Pages that may still be read: each belongs to one place in the tree.
    left: u64,
    bytes: Vec<u8>,
    rows: Vec<Row>,
}

impl<'a> Import<'a> {
    fn start(file: &'a File, size: u64, (page_size, first, second): &(u32, Meta, Meta)) -> Result<Self, Broken> {
        let transaction = |meta: &[u8]| u64_at(meta, HEAD + 128).unwrap_or(0);
        let (meta, page_size) = (if transaction(first) < transaction(second) { second } else { first }, *page_size);
        let last_page = u64_at(meta, HEAD + 120).unwrap_or(0);
        if last_page.checked_add(1).and_then(|pages| pages.checked_mul(page_size.into())).is_none_or(|end| end > size) {
            return Err("cut short");
        }
        // Keys in another order, or several values: `postmap` makes neither.
        if u16_at(meta, HEAD + 76) != Some(0) {
            return Err("an LMDB file of a kind that is not read here");
        }
        let (entries, root) = (u64_at(meta, HEAD + 104).unwrap_or(0), u64_at(meta, HEAD + 112).unwrap_or(0));
        let page_size = page_size as usize;
        Ok(Self { file, page_size, last_page, root, entries, left: last_page, bytes: Vec::new(), rows: Vec::new() })
    }

    fn all(mut self) -> Result<(Vec<u8>, Vec<Row>), Broken> {
        if self.root != u64::MAX {
            self.tree()?;
        }
        let right = self.rows.len() as u64 == self.entries;
        right.then_some((self.bytes, self.rows)).ok_or(MISCOUNTED)
    }

    /// The pages of the tree from left to right; a stack of those that are still to be read.
    fn tree(&mut self) -> Result<(), Broken> {
        let mut stack = vec![(self.root, 1)];
        while let Some((number, depth)) = stack.pop() {
            let page = self.page(number, 1)?;
            match u16_at(&page, 10) {
                Some(LEAF) => self.leaf(&page)?,
                Some(BRANCH) if depth < DEPTH => {
                    let children: Result<Vec<u64>, Broken> = nodes(&page)?.map(|node| child(node?)).collect();
                    stack.extend(children?.into_iter().rev().map(|child| (child, depth + 1)));
                }
                Some(BRANCH) => return Err("damaged: too deep"),
                _ => return Err("damaged: not a page of a tree"),
            }
        }
        Ok(())
    }

    fn leaf(&mut self, page: &[u8]) -> Result<(), Broken> {
        for node in nodes(page)? {
            let node = node?;
            let (flags, key_size) = (u16_at(node, 4).ok_or(BROKEN)?, u16_at(node, 6).ok_or(BROKEN)?);
            let (key, rest) = node.get(8..).and_then(|rest| rest.split_at_checked(key_size.into())).ok_or(BROKEN)?;
            let size = u32_at(node, 0).ok_or(BROKEN)? as usize;
            match flags {
                0 => self.row(key, rest.get(..size).ok_or(BROKEN)?)?,
                BIG => {
                    let (number, pages) = (u64_at(rest, 0).ok_or(BROKEN)?, (HEAD + size).div_ceil(self.page_size));
                    let run = self.page(number, pages as u64)?;
                    if u16_at(&run, 10) != Some(OVERFLOW) || u32_at(&run, 12) != u32::try_from(pages).ok() {
                        return Err("damaged: not an overflow page");
                    }
                    self.row(key, run.get(HEAD..HEAD + size).ok_or(BROKEN)?)?;
                }
                _ => return Err("an LMDB file with other data bases or several values in it"),
            }
        }
        Ok(())
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Broken> {
        let plain = key.strip_suffix(b"\0");
        let value = plain.and_then(|_| value.strip_suffix(b"\0")).unwrap_or(value);
        let (terminated, key) = (plain.is_some(), plain.unwrap_or(key));
        if self.rows.len() as u64 >= self.entries {
            return Err(MISCOUNTED);
        }
        if key.len() + value.len() > BYTES - self.bytes.len() {
            return Err("larger than 512 MiB");
        }
        let (offset, value_size) = (u32::try_from(self.bytes.len()), u32::try_from(value.len()));
        let (offset, value_size) = (offset.map_err(|_| BROKEN)?, value_size.map_err(|_| BROKEN)?);
        let key_size = u16::try_from(key.len()).map_err(|_| BROKEN)?;
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.rows.push(Row { offset, key: key_size, terminated, value: value_size });
        Ok(())
    }

    /// A run of pages that should begin with this number.
    fn page(&mut self, number: u64, pages: u64) -> Result<Vec<u8>, Broken> {
        let end = number.checked_add(pages).ok_or("damaged: it names a page that it does not have")?;
        if number < 2 || end > self.last_page + 1 {
            return Err("damaged: it names a page that it does not have");
        }
        self.left = self.left.checked_sub(pages).ok_or("damaged: its pages have no end")?;
        let size = usize::try_from(pages).ok().and_then(|pages| pages.checked_mul(self.page_size));
        let mut bytes = vec![0; size.filter(|size| *size <= BYTES + self.page_size).ok_or("larger than 512 MiB")?];
        let read = durable::read_at_most(self.file, &mut bytes, number * self.page_size as u64);
        if read.map_err(|_| "cannot be read")? < bytes.len() {
            return Err("cut short");
        }
        let right = u64_at(&bytes, 0) == Some(number);
        right.then_some(bytes).ok_or("damaged: not the page it should be")
    }
}

type Meta = [u8; META];

/// Page size and the two meta pages.
fn metas(file: &File) -> Result<(u32, Meta, Meta), Broken> {
    let first = meta(file, 0)?;
    let page_size = u32_at(&first, HEAD + 24).unwrap_or(0);
    if !(256..=65_536).contains(&page_size) || !page_size.is_power_of_two() {
        return Err("damaged: pages of a size that cannot be");
    }
    Ok((page_size, first, meta(file, page_size.into())?))
}

fn meta(file: &File, offset: u64) -> Result<Meta, Broken> {
    let mut bytes = [0; META];
    let read = durable::read_at_most(file, &mut bytes, offset).map_err(|_| "cannot be read")?;
    match (u32_at(&bytes, HEAD), u32_at(&bytes, HEAD + 4)) {
        _ if read < META => Err("cut short"),
        (Some(MAGIC), Some(VERSION)) => Ok(bytes),
        (Some(MAGIC), _) => Err("an LMDB file of a version that is not read here"),
        _ if offset > 0 => Err("damaged: not a meta page"),
        _ => Err("not an LMDB file of a 64-bit little-endian machine"),
    }
}

/// The nodes of a page, each from its start to the end of the page.
fn nodes(page: &[u8]) -> Result<impl Iterator<Item = Result<&[u8], Broken>>, Broken> {
    let lower = usize::from(u16_at(page, 12).ok_or(BROKEN)?);
    let pointers = page.get(HEAD..lower).ok_or(BROKEN)?;
    Ok(pointers.chunks_exact(2).map(move |pointer| {
        let at = usize::from(u16_at(pointer, 0).ok_or(BROKEN)?);
        page.get(at..).filter(|_| at >= lower).ok_or(BROKEN)
    }))
}

/// The page that a node of a branch leads to.
fn child(node: &[u8]) -> Result<u64, Broken> {
    let (low, high) = (u32_at(node, 0).ok_or(BROKEN)?, u16_at(node, 4).ok_or(BROKEN)?);
    Ok(u64::from(low) | u64::from(high) << 32)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|two| u16::from_le_bytes(*two))
}

#[cfg(test)]
#[path = "lmdb_test.rs"]
mod tests;
