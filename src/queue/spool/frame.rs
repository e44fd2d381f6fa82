//! Frames and segment headers: the bytes on disk (README.md). Pure; the writer, recovery, readers and the fuzz target use it.

use crc32fast::Hasher;

/// Size of a segment's header block; the first frame starts here.
pub(crate) const BLOCK: u32 = 4096;
/// Frames start at multiples of this.
pub(crate) const ALIGN: u32 = 16;
/// Size of a frame's header.
pub(crate) const HEADER: u32 = 24;
const MAGIC: [u8; 4] = *b"PRf1";
const SEGMENT_MAGIC: [u8; 8] = *b"PRseg\0\0\x01";

/// A segment's random bits.
pub(crate) type Salt = [u8; 16];

/// Where the two checksums of a frame start: different words of the salt, so that guessing one says nothing about the other (CRC is linear;
/// two checksums of one seed would be one checksum).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seeds {
    header: u32,
    records: u32,
}

impl Seeds {
    pub fn new(salt: &Salt) -> Self {
        let word = |at: usize| u32::from_le_bytes([salt[at], salt[at + 1], salt[at + 2], salt[at + 3]]);
        Self { header: word(0) ^ word(8).rotate_left(7), records: word(4) ^ word(12).rotate_left(7) }
    }

    fn header_crc(self, rest: &[u8], offset: u32) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.header);
        hasher.update(rest);
        hasher.update(&offset.to_le_bytes());
        hasher.finalize()
    }

    /// Checksum of a frame's records.
    pub fn records_crc(self, records: &[u8]) -> u32 {
        let mut hasher = Hasher::new_with_initial(self.records);
        hasher.update(records);
        hasher.finalize()
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Length of the records.
    pub records: u32,
    /// Length of the content behind them.
    pub content: u32,
    /// Checksum of the records.
    pub crc: u32,
    /// The segment was durable up to here when the frame was written.
    pub synced: u32,
}

/// `n` rounded up to the start of the next frame.
pub(crate) const fn align(n: u64) -> u64 {
    n.next_multiple_of(ALIGN as u64)
}

impl FrameHeader {
    /// The header's bytes for a frame at `offset`.
    pub fn encode(&self, seeds: Seeds, offset: u32) -> [u8; HEADER as usize] {
        let mut out = [0u8; HEADER as usize];
        out[..4].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.records.to_le_bytes());
        out[12..16].copy_from_slice(&self.content.to_le_bytes());
        out[16..20].copy_from_slice(&self.crc.to_le_bytes());
        out[20..24].copy_from_slice(&self.synced.to_le_bytes());
        let crc = seeds.header_crc(&out[8..], offset);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header that lies at `offset` of a segment of `length` bytes; `None` if it does not fit in any way.
    pub fn decode(bytes: &[u8], seeds: Seeds, offset: u32, length: u64) -> Option<Self> {
        let bytes: &[u8; HEADER as usize] = bytes.first_chunk()?;
        if bytes[..4] != MAGIC {
            return None;
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if word(4) != seeds.header_crc(&bytes[8..], offset) {
            return None;
        }
        let header = Self { records: word(8), content: word(12), crc: word(16), synced: word(20) };
        (u64::from(offset) + header.length() <= length).then_some(header)
    }

    /// Bytes of the whole frame, without padding.
    pub fn length(&self) -> u64 {
        u64::from(HEADER) + u64::from(self.records) + u64::from(self.content)
    }
}

/// What is known about an earlier segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past {
    pub number: u32,
    /// Nothing counts from here on.
    pub end: u32,
    /// There may be bytes after the end that look like frames.
    pub voided: bool,
    /// The log says that its file goes.
    pub retired: bool,
    pub salt: Salt,
}

/// A segment's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub number: u32,
    pub salt: Salt,
    /// Ids below this may have been given.
    pub counter_limit: u64,
    pub history: Vec<Past>,
}

/// How many earlier segments a header can hold.
pub(crate) const HISTORY: usize = (BLOCK as usize - 48) / 28;

/// What a header block turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// A segment with this header.
    Header(SegmentHeader),
    /// Zeros: never used.
    Fresh,
    /// Neither.
    Damaged,
}

impl SegmentHeader {
    /// The header block.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK as usize);
        out.extend_from_slice(&SEGMENT_MAGIC);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.counter_limit.to_le_bytes());
        let history = &self.history[self.history.len().saturating_sub(HISTORY)..];
        out.extend_from_slice(&(history.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        for past in history {
            out.extend_from_slice(&past.number.to_le_bytes());
            out.extend_from_slice(&past.end.to_le_bytes());
            out.extend_from_slice(&(u32::from(past.voided) | u32::from(past.retired) << 1).to_le_bytes());
            out.extend_from_slice(&past.salt);
        }
        out.resize(BLOCK as usize, 0);
        let crc = crc32fast::hash(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header block.
    pub fn decode(bytes: &[u8]) -> Block {
        if bytes.iter().all(|&b| b == 0) {
            return Block::Fresh;
        }
        Self::decode_used(bytes).map_or(Block::Damaged, Block::Header)
    }

    fn decode_used(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BLOCK as usize] = bytes.first_chunk()?;
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        if bytes[..8] != SEGMENT_MAGIC || word(8)? != crc32fast::hash(&bytes[12..]) {
            return None;
        }
        let count = word(40)? as usize;
        let past = |at: usize| {
            Some(Past {
                number: word(at)?,
                end: word(at + 4)?,
                voided: word(at + 8)? & 1 != 0,
                retired: word(at + 8)? & 2 != 0,
                salt: *bytes.get(at + 12..)?.first_chunk()?,
            })
        };
        Some(Self {
            number: word(12)?,
            salt: *bytes[16..].first_chunk()?,
            counter_limit: u64::from(word(32)?) | u64::from(word(36)?) << 32,
            history: (0..count.min(HISTORY)).map_while(|n| past(48 + n * 28)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_fits_only_its_salt_and_its_place() {
        let (a, b) = (Seeds::new(&[1; 16]), Seeds::new(&[2; 16]));
        let header = FrameHeader { records: 5, content: 6, crc: 7, synced: 8 };
        let bytes = header.encode(a, 4096);
        assert_eq!(FrameHeader::decode(&bytes, a, 4096, 8192), Some(header));
        assert_eq!(FrameHeader::decode(&bytes, a, 4112, 8192), None, "another place");
        assert_eq!(FrameHeader::decode(&bytes, b, 4096, 8192), None, "another salt");
        assert_eq!(FrameHeader::decode(&bytes, a, 4096, 4096 + 34), None, "longer than the segment");
    }

    #[test]
    fn a_block_comes_back_or_is_called_damaged() {
        let past = Past { number: 3, end: 77, voided: true, retired: true, salt: [9; 16] };
        let header = SegmentHeader { number: 4, salt: [5; 16], counter_limit: 1 << 40, history: vec![past; HISTORY] };
        let mut block = header.encode();
        assert_eq!(block.len(), BLOCK as usize);
        assert_eq!(SegmentHeader::decode(&block), Block::Header(header));
        block[700] ^= 1;
        assert_eq!(SegmentHeader::decode(&block), Block::Damaged);
        assert_eq!(SegmentHeader::decode(&[0; BLOCK as usize]), Block::Fresh);
    }
}
