//! Data bases that the map tools leave beside a text, `X.db`: ours ([`Compiled`]) and Berkeley DB's ([`Berkeley`]), taken apart. Called by
//! `table`, which answers from them, and by the agents, which look there for what an alias says when a host has lost the text.
//!
//! Pure: the bytes come through [`Bytes`], a piece at a time from a file or all at once. Whatever they are, every question has an answer
//! or a reason, and an end.

pub mod berkeley;
pub mod compiled;
pub mod layout;
mod page;
pub mod salted;

pub use berkeley::Berkeley;
pub use compiled::Compiled;

use std::io;

/// Bytes of a data base, wherever they are.
pub trait Bytes {
    /// How many there are.
    ///
    /// # Errors
    /// If that cannot be told.
    fn size(&self) -> io::Result<u64>;
    /// Fills `buffer` with those from `offset` on, as far as there are any; says how many that were.
    ///
    /// # Errors
    /// If they cannot be read, or are no longer those of the same version.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl Bytes for &[u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = there.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), there.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// Why a data base gives no answer; what is to be told behind its name.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The bytes cannot be had.
    #[error(transparent)]
    Read(#[from] io::Error),
    /// They are not what anybody wrote.
    #[error("{0}")]
    Damaged(&'static str),
    /// There are more or fewer than the header says.
    #[error("{is} bytes instead of {wanted}")]
    Length {
        /// So many there are.
        is: u64,
        /// So many there should be.
        wanted: u64,
    },
}

impl From<&'static str> for Broken {
    fn from(what: &'static str) -> Self {
        Self::Damaged(what)
    }
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Key, folded when the table was made.
    pub key: Vec<u8>,
    /// Value.
    pub value: Vec<u8>,
    /// Line in the text it was made from; 0 if it came from elsewhere, or nobody knows.
    pub line: u32,
}

/// A data base of either kind.
#[derive(Debug)]
pub enum Database<B> {
    /// Made by us.
    Ours(Compiled<B>),
    /// Made by sendmail's or Postfix's tools.
    Berkeley(Berkeley<B>),
}

impl<B: Bytes> Database<B> {
    /// Takes one, whichever it is: they are told apart by their first bytes.
    ///
    /// # Errors
    /// If it is of neither kind, of a version that is not read, or its first page is damaged.
    pub fn new(bytes: B) -> Result<Self, Broken> {
        let mut start = [0; 16];
        if bytes.read_at(&mut start, 0)? == 0 {
            Err("is empty".into())
        } else if compiled::is_one(&start) {
            Compiled::new(bytes).map(Self::Ours)
        } else if berkeley::is_one(&start) {
            Berkeley::new(bytes).map(Self::Berkeley)
        } else {
            Err("of no known format; make it again with makemap or newaliases".into())
        }
    }

    /// The record of a key, byte by byte as given; of several the first.
    ///
    /// # Errors
    /// If the bytes cannot be had or are damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Broken> {
        match self {
            Self::Ours(table) => table.get(key),
            Self::Berkeley(table) => table.get(key),
        }
    }

    /// All records; ends after the first error.
    #[must_use]
    pub fn records(&self) -> Box<dyn Iterator<Item = Result<Record, Broken>> + '_> {
        match self {
            Self::Ours(table) => Box::new(table.records()),
            Self::Berkeley(table) => Box::new(table.records()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_data_base_is_told() {
        let told = |bytes: &[u8]| Database::new(bytes).map(drop).unwrap_err().to_string();
        assert_eq!(told(b""), "is empty");
        assert_eq!(told(b"a: b\n"), "of no known format; make it again with makemap or newaliases");
        assert_eq!(told(&layout::MAGIC), "its header is damaged");
    }

    #[test]
    fn bytes_end_where_they_end() {
        let mut buffer = [0; 4];
        for (offset, read) in [(0, 3), (2, 1), (3, 0), (u64::MAX, 0)] {
            assert_eq!((&b"abc"[..]).read_at(&mut buffer, offset).unwrap(), read, "{offset}");
        }
    }
}
