//! One page of a Berkeley DB file taken apart; only for `berkeley`. All offsets come from the file and are checked here.
//!
//! Header of 26 bytes: log position, own number at 8, next page at 16, entries at 20, length of an overflow page's content
//! at 22, type at 25; then a table of 16-bit offsets to items, which fill the page from its end.

const PAGE_HEADER: usize = 26;

/// Page types.
pub(crate) const HASH_META: u8 = 8;
pub(crate) const BTREE_META: u8 = 9;
const HASH_UNSORTED: u8 = 2;
const TREE_INTERNAL: u8 = 3;
const NUMBER_INTERNAL: u8 = 4;
const TREE_LEAF: u8 = 5;
const NUMBER_LEAF: u8 = 6;
const OVERFLOW: u8 = 7;
const DUPLICATE_LEAF: u8 = 12;
const HASH_SORTED: u8 = 13;

/// Bytes of content that an overflow page has room for.
pub(crate) const fn overflow_room(page_size: usize) -> usize {
    page_size.saturating_sub(PAGE_HEADER)
}

/// What is wrong.
type Damage = &'static str;
const OUTSIDE: Damage = "damaged: an item outside its page";

/// The byte order of the machine that made the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u32(self, bytes: &[u8], at: usize) -> Option<u32> {
        let four = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u32::from_le_bytes(four),
            Self::Big => u32::from_be_bytes(four),
        })
    }
    /// The values of an item that has several: each between its length and its length.
    pub(crate) fn values(self, mut set: &[u8]) -> Result<Vec<&[u8]>, Damage> {
        let mut all = Vec::new();
        while !set.is_empty() {
            let length = usize::from(self.u16(set, 0).ok_or(OUTSIDE)?);
            all.push(set.get(2..2 + length).ok_or(OUTSIDE)?);
            set = set.get(4 + length..).ok_or(OUTSIDE)?;
        }
        Ok(all)
    }
    fn u16(self, bytes: &[u8], at: usize) -> Option<u16> {
        let two = *bytes.get(at..)?.first_chunk()?;
        Some(match self {
            Self::Little => u16::from_le_bytes(two),
            Self::Big => u16::from_be_bytes(two),
        })
    }
}

/// A key or a value, or where it is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item<'a> {
    Here(&'a [u8]),
    /// On overflow pages.
    Elsewhere {
        page: u32,
        length: u32,
    },
    /// Several values in one item, see [`Order::values`].
    Several(&'a [u8]),
    /// Several values in a tree of their own with this root.
    Duplicates(u32),
}

/// Key and value.
pub(crate) type Pair<'a> = Result<(Item<'a>, Item<'a>), Damage>;

/// A whole page.
#[derive(Debug)]
pub(crate) struct Page {
    bytes: Vec<u8>,
    order: Order,
}

impl Page {
    /// Takes a page that should have this number.
    pub(crate) fn new(bytes: Vec<u8>, order: Order, number: u32) -> Result<Self, Damage> {
        let page = Self { bytes, order };
        let right = page.u32(8) == Some(number) && PAGE_HEADER + page.entries() * 2 <= page.bytes.len();
        // Overflow pages count references where others count entries.
        if right || (page.u32(8) == Some(number) && page.kind() == OVERFLOW) {
            Ok(page)
        } else {
            Err("damaged: not the page it should be")
        }
    }

    /// The first page of a hash bucket. `None`: it was set aside for the bucket and never written, as libdb does for the empty ones.
    pub(crate) fn first_of_bucket(bytes: Vec<u8>, order: Order, number: u32) -> Result<Option<Self>, Damage> {
        if bytes.iter().all(|&byte| byte == 0) { Ok(None) } else { Self::new(bytes, order, number).map(Some) }
    }

    fn u32(&self, at: usize) -> Option<u32> {
        self.order.u32(&self.bytes, at)
    }
    fn u16(&self, at: usize) -> usize {
        self.order.u16(&self.bytes, at).unwrap_or(0).into()
    }
    fn kind(&self) -> u8 {
        self.bytes.get(25).copied().unwrap_or(0)
    }
    fn entries(&self) -> usize {
        self.u16(20)
    }

    /// The next page of the chain; 0 at its end.
    pub(crate) fn next(&self) -> u32 {
        self.u32(16).unwrap_or(0)
    }

    pub(crate) fn is_leaf(&self) -> bool {
        !matches!(self.kind(), TREE_INTERNAL | NUMBER_INTERNAL)
    }

    fn offset(&self, entry: usize) -> usize {
        self.u16(PAGE_HEADER + entry * 2)
    }

    /// The pairs of a hash page.
    pub(crate) fn hash_pairs(&self) -> Result<Box<dyn Iterator<Item = Pair<'_>> + '_>, Damage> {
        if !matches!(self.kind(), HASH_UNSORTED | HASH_SORTED) {
            return Err("damaged: not a page of a hash");
        }
        Ok(Box::new((0..self.entries() / 2).map(|n| Ok((self.hash_item(n * 2)?, self.hash_item(n * 2 + 1)?)))))
    }

    fn hash_item(&self, entry: usize) -> Result<Item<'_>, Damage> {
        // Items lie in the order of their entries from the end of the page, each up to the one before.
        let end = if entry == 0 { self.bytes.len() } else { self.offset(entry - 1) };
        let start = self.offset(entry);
        let table_end = PAGE_HEADER + self.entries() * 2;
        let item = self.bytes.get(start..end).filter(|item| start >= table_end && !item.is_empty()).ok_or(OUTSIDE)?;
        let number = |at| self.order.u32(item, at).ok_or(OUTSIDE);
        match item.first() {
            Some(1) => Ok(Item::Here(item.get(1..).unwrap_or_default())),
            Some(2) => Ok(Item::Several(item.get(1..).unwrap_or_default())),
            Some(3) => Ok(Item::Elsewhere { page: number(4)?, length: number(8)? }),
            Some(4) => Ok(Item::Duplicates(number(4)?)),
            _ => Err(OUTSIDE),
        }
    }

    /// The pairs of a leaf that are not deleted.
    pub(crate) fn tree_pairs(&self) -> Result<Box<dyn Iterator<Item = Pair<'_>> + '_>, Damage> {
        if self.kind() != TREE_LEAF {
            return Err("damaged: not a leaf of a tree");
        }
        let pair = |n: usize| -> Option<Pair<'_>> {
            match (self.tree_item(n * 2), self.tree_item(n * 2 + 1)) {
                (Ok(Some(key)), Ok(Some(value))) => Some(Ok((key, value))),
                (Err(what), _) | (_, Err(what)) => Some(Err(what)),
                _ => None,
            }
        };
        Ok(Box::new((0..self.entries() / 2).filter_map(pair)))
    }

    /// The values of a leaf of duplicates: sorted ones lie in leaves of duplicates, those in the order they came in numbered ones.
    pub(crate) fn duplicates(&self) -> Result<impl Iterator<Item = Result<Item<'_>, Damage>>, Damage> {
        if !matches!(self.kind(), DUPLICATE_LEAF | NUMBER_LEAF | TREE_LEAF) {
            return Err("damaged: not a leaf of duplicates");
        }
        Ok((0..self.entries()).map(|n| self.tree_item(n)).filter_map(Result::transpose))
    }

    /// `None`: deleted.
    fn tree_item(&self, entry: usize) -> Result<Option<Item<'_>>, Damage> {
        let start = self.offset(entry);
        let item = self.bytes.get(start..).filter(|_| start >= PAGE_HEADER + self.entries() * 2).ok_or(OUTSIDE)?;
        let kind = *item.get(2).ok_or(OUTSIDE)?;
        if kind & 0x80 != 0 {
            return Ok(None);
        }
        self.typed(kind, item, 3).map(Some)
    }

    /// An item of a tree: length at 0, type at 2, content at `at`, or page at 4 and length at 8.
    fn typed<'a>(&self, kind: u8, item: &'a [u8], at: usize) -> Result<Item<'a>, Damage> {
        let number = |bytes: &[u8], at| self.order.u32(bytes, at).ok_or(OUTSIDE);
        match kind & 0x7f {
            1 => {
                let length = self.order.u16(item, 0).ok_or(OUTSIDE)?;
                Ok(Item::Here(item.get(at..at + usize::from(length)).ok_or(OUTSIDE)?))
            }
            2 => Ok(Item::Duplicates(number(item, 4)?)),
            3 => Ok(Item::Elsewhere { page: number(item, 4)?, length: number(item, 8)? }),
            _ => Err(OUTSIDE),
        }
    }

    /// Children of an inner page, each with its smallest key.
    pub(crate) fn tree_children(&self) -> Result<impl Iterator<Item = Result<(u32, Item<'_>), Damage>>, Damage> {
        let numbered = self.kind() == NUMBER_INTERNAL;
        Ok((0..self.entries()).map(move |n| {
            let start = self.offset(n);
            let item = self.bytes.get(start..).filter(|_| start >= PAGE_HEADER + self.entries() * 2).ok_or(OUTSIDE)?;
            if numbered {
                return Ok((self.order.u32(item, 0).ok_or(OUTSIDE)?, Item::Here(&[])));
            }
            let child = self.order.u32(item, 4).ok_or(OUTSIDE)?;
            let kind = *item.get(2).ok_or(OUTSIDE)?;
            // A long key is on overflow pages; its place stands where the key would.
            let key = if kind & 0x7f == 1 {
                self.typed(kind, item, 12)?
            } else {
                self.typed(kind, item.get(12..).ok_or(OUTSIDE)?, 0)?
            };
            Ok((child, key))
        }))
    }

    /// The content of an overflow page; never empty.
    pub(crate) fn overflow(&self) -> Result<&[u8], Damage> {
        let content = self.bytes.get(PAGE_HEADER..PAGE_HEADER + self.u16(22));
        content.filter(|content| self.kind() == OVERFLOW && !content.is_empty()).ok_or("damaged: not an overflow page")
    }
}
