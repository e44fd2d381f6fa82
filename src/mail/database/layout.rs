//! The layout of a compiled table, shared by its reader ([`compiled`](super::compiled)) and its writer (`table`). A constant data base: records,
//! then one hash table over them. Integers are little-endian.
//!
//! | at | what |
//! |---|---|
//! | 0 | header, 512 bytes: magic, version, zeros, salt, lengths, what it was made from, checksum |
//! | 512 | records: checksum `u32`, line `u32`, length of value `u32`, length of key `u16`, key, value; the line's highest bit: not in the index |
//! | `index` | blocks of 64 bytes: seven entries of tag `u32` and offset `u32` (0: none), four bytes unused, checksum `u32` |
//!
//! Where Berkeley DB's first page says that it is encrypted or has a checksum (bytes 24 and 26) are zeros: otherwise sendmail's
//! own makemap and newaliases, which shall be the way back, try a hundred times to decrypt this and end with `Invalid argument`.
//!
//! A key's block is chosen by its hash; a full block goes on in the next one. Every part carries a checksum over the file's
//! random salt and its own place. So bytes of another file that an administrator copies over this one while we read, zeros
//! of a truncated one, and damage are all told from "not there", which plain cdb (an empty slot is a zero) cannot do.

use super::salted::Salt;

/// The first bytes of a compiled table.
pub const MAGIC: [u8; 8] = *b"\x89PRtable";
/// A reader takes this version only; another one means "make it again".
const VERSION: u32 = 2;
/// Bytes of the header: where the first record stands.
pub const HEADER: usize = 512;
/// Bytes before a record's key.
pub const HEAD: usize = 14;
/// The longest value: what a damaged length may make a reader ask memory for.
pub const VALUE: usize = 16 << 20;
/// In a record's line: one more value of a key that stands before (`makemap -d`). Only a listing shows it; the index has the first.
pub const MORE: u32 = 1 << 31;
/// Bytes of a block of the index.
pub const BLOCK: usize = 64;
/// Entries of a block.
pub const SLOTS: usize = 7;
/// The longest name that the header holds.
pub const NAME: usize = 384;
const CHECK: usize = HEADER - 4;
/// Where the salt and the other numbers of eight bytes stand.
const NUMBERS: usize = 32;

/// What a compiled table was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Path of the text, at most 384 bytes; empty if it was no file, and then lines mean nothing.
    pub name: String,
    /// Bytes of the text; 0 if it was no file.
    pub size: u64,
    /// Modification of the text, nanoseconds since 1970; 0 if it was no file.
    pub modified: i64,
}

/// The header's fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Of every hash and checksum in the file.
    pub salt: Salt,
    /// Of the whole file.
    pub length: u64,
    /// Keys that can be found.
    pub count: u64,
    /// Where the records end and the index begins.
    pub index: u64,
    /// Blocks of the index.
    pub blocks: u64,
    /// What it was made from.
    pub origin: Origin,
}

impl Header {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let name = self.origin.name.as_bytes();
        let name = name.get(..name.len().min(NAME)).unwrap_or_default();
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(name.len() as u32).to_le_bytes());
        out.resize(NUMBERS, 0);
        for number in [self.salt.0, self.length, self.count, self.index, self.blocks, self.origin.size] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.origin.modified.to_le_bytes());
        out.extend_from_slice(name);
        out.resize(CHECK, 0);
        let check = crc32fast::hash(&out);
        out.extend_from_slice(&check.to_le_bytes());
        out
    }

    /// Reads a header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        if !bytes.starts_with(&MAGIC) {
            return Err("not a compiled table of ours");
        }
        let sum = bytes.get(..CHECK).map(crc32fast::hash);
        if sum.is_none() || sum != u32_at(bytes, CHECK) {
            return Err("its header is damaged");
        }
        if u32_at(bytes, 8) != Some(VERSION) {
            return Err("made by another release; make it again with makemap or newaliases");
        }
        let number = |n: usize| u64_at(bytes, NUMBERS + n * 8).unwrap_or(0);
        let name =
            bytes.get(NUMBERS + 7 * 8..).and_then(|rest| rest.get(..u32_at(bytes, 12)? as usize)).unwrap_or_default();
        let header = Self {
            salt: Salt(number(0)),
            length: number(1),
            count: number(2),
            index: number(3),
            blocks: number(4),
            origin: Origin {
                name: String::from_utf8_lossy(name).into_owned(),
                size: number(5),
                modified: number(6).cast_signed(),
            },
        };
        let end = header.blocks.checked_mul(BLOCK as u64).and_then(|size| size.checked_add(header.index));
        let fits = header.index >= HEADER as u64 && header.blocks > 0 && end == Some(header.length);
        fits.then_some(header).ok_or("its header is damaged")
    }
}

/// The number at a place, if the bytes are there.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_le_bytes(*four))
}

/// The number at a place, if the bytes are there.
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_le_bytes(*eight))
}

/// The checksum of a part that stands at `offset`.
#[must_use]
pub fn check(salt: Salt, offset: u64, parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.0.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Block and tag of a key's hash.
#[must_use]
pub fn home(hash: u64, blocks: u64) -> (u64, u32) {
    // The high half by multiplication: even for any number of blocks, and without a division.
    let block = (u128::from(hash) * u128::from(blocks)) >> 64;
    (u64::try_from(block).unwrap_or(0), hash as u32)
}

/// What stands before a record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Checksum of the rest of the record.
    pub check: u32,
    /// Line in the text, and [`MORE`].
    pub line: u32,
    /// Bytes of the value.
    pub value: usize,
    /// Bytes of the key.
    pub key: usize,
}

impl Head {
    /// Reads one; `None` if there are too few bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let key = u16::from_le_bytes(*bytes.get(12..)?.first_chunk()?);
        Some(Self {
            check: u32_at(bytes, 0)?,
            line: u32_at(bytes, 4)?,
            value: u32_at(bytes, 8)? as usize,
            key: usize::from(key),
        })
    }

    /// Bytes of the whole record.
    #[must_use]
    pub const fn length(&self) -> usize {
        HEAD + self.key + self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_back_and_no_flipped_byte_passes() {
        let origin = Origin { name: "/etc/mail/x".into(), size: 7, modified: -5 };
        let header = Header { salt: Salt(9), length: 512 + 64 * 3 + 40, count: 2, index: 552, blocks: 3, origin };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        assert_eq!(bytes[16..32], [0; 16], "sendmail's makemap looks there");
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x10;
            assert!(Header::decode(&bad).is_err(), "{at}");
            assert!(Header::decode(&bytes[..at]).is_err(), "{at}");
        }
    }
}
