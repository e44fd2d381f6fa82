//! Reading a segment's bytes frame by frame: what is whole, what is damage, and where an unfinished tail begins. Pure; recovery,
//! `inspect` and the fuzz target use it.

use super::frame::{ALIGN, BLOCK, FrameHeader, HEADER, Seeds, align};
use super::record::{Record, records};

/// What is known about the segment before it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub seeds: Seeds,
    /// Where a later segment or a checkpoint says that it ends.
    pub end: Option<u32>,
    /// The last segment of the log may have a tail that was never answered.
    pub last: bool,
}

/// A piece of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole frame: its offset and its records.
    Frame { offset: u32, records: &'a [u8] },
    /// Bytes that were durable and fit no more.
    Damage { from: u32, to: u32 },
}

/// The end of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    /// Nothing counts from here.
    pub end: u32,
    /// Something after the end looks like a frame.
    pub voided: bool,
    /// Up to here there is something that was begun after the end: an unfinished write, or one that has rotted. Otherwise the end itself.
    pub tail: u32,
}

/// Goes through a segment from `start`.
pub(crate) fn scan<'a>(bytes: &'a [u8], start: u32, known: Known, mut each: impl FnMut(Piece<'a>)) -> Ended {
    // Where an end is known, everything before it was durable.
    let last = known.last && known.end.is_none();
    let limit = known.end.unwrap_or(u32::MAX).min(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let bytes = bytes.get(..limit as usize).unwrap_or(bytes);
    let mut pos = start.max(BLOCK);
    // Found out at the first damage only.
    let mut durable = None;
    while pos < limit {
        let frame = frame_at(bytes, pos, known.seeds);
        if let Some(frame) = frame.filter(|frame| !last || content_fits(frame)) {
            each(Piece::Frame { offset: pos, records: frame.records });
            pos += align(frame.header.length()) as u32;
            continue;
        }
        let Some((next, _)) = find_next(bytes, pos, known.seeds) else {
            // No frame from here on: zeros, a former life, or a torn write. Only a known end makes it damage.
            if known.end.is_some_and(|end| pos < end) && frame.is_none() {
                each(Piece::Damage { from: pos, to: limit });
                return Ended { end: limit, voided: false, tail: limit };
            }
            return Ended { end: pos, voided: frame.is_some(), tail: begun(bytes, pos, known.seeds) };
        };
        // The next frame may be of the same batch; a later one may know better, so all of them are asked.
        let was_durable = !last || *durable.get_or_insert_with(|| durable_to(bytes, next, known.seeds)) > pos;
        if !was_durable {
            return Ended { end: pos, voided: true, tail: begun(bytes, pos, known.seeds) };
        }
        match frame {
            // Only its content is bad: its readers find out and set the message aside, with its envelope.
            Some(frame) => each(Piece::Frame { offset: pos, records: frame.records }),
            None => each(Piece::Damage { from: pos, to: next }),
        }
        pos = next;
    }
    if let Some(end) = known.end.filter(|end| *end > limit.max(BLOCK)) {
        // The file is shorter than what was written to it.
        each(Piece::Damage { from: limit.max(BLOCK), to: end });
    }
    Ended { end: limit.max(BLOCK), voided: false, tail: limit.max(BLOCK) }
}

/// The end of the last frame from `at` on whose header fits, whatever became of the rest of it; `at` if there is none.
fn begun(bytes: &[u8], mut at: u32, seeds: Seeds) -> u32 {
    let mut end = at;
    loop {
        let here = bytes.get(at as usize..).unwrap_or_default();
        at = match FrameHeader::decode(here, seeds, at, bytes.len() as u64) {
            Some(header) => {
                end = at + align(header.length()) as u32;
                end
            }
            None => match find_next(bytes, at, seeds) {
                Some((next, _)) => next,
                None => return end,
            },
        }
    }
}

/// Up to where the frames from `at` on say that the segment was durable when they were written.
pub(crate) fn durable_to(bytes: &[u8], mut at: u32, seeds: Seeds) -> u32 {
    let mut durable = 0;
    loop {
        match frame_at(bytes, at, seeds) {
            Some(frame) => {
                durable = durable.max(frame.header.synced);
                at += align(frame.header.length()) as u32;
            }
            None => match find_next(bytes, at, seeds) {
                Some((next, _)) => at = next,
                None => return durable,
            },
        }
    }
}

#[derive(Clone, Copy)]
struct Frame<'a> {
    header: FrameHeader,
    records: &'a [u8],
    content: &'a [u8],
}

fn frame_at(bytes: &[u8], pos: u32, seeds: Seeds) -> Option<Frame<'_>> {
    let here = bytes.get(pos as usize..)?;
    let header = FrameHeader::decode(here, seeds, pos, bytes.len() as u64)?;
    let rest = here.get(HEADER as usize..)?;
    let (records, rest) = rest.split_at_checked(header.records as usize)?;
    let content = rest.get(..header.content as usize)?;
    (seeds.records_crc(records) == header.crc).then_some(Frame { header, records, content })
}

/// Whether the content in the frame has the checksum its record says.
fn content_fits(frame: &Frame<'_>) -> bool {
    if frame.content.is_empty() {
        return true;
    }
    let fits = |record: Record<'_>| match record {
        Record::Content { crc, in_file: false, .. } => Some(crc == crc32fast::hash(frame.content)),
        _ => None,
    };
    records(frame.records).flatten().find_map(fits).unwrap_or(false)
}

/// The next place after `pos` where a frame fits.
fn find_next(bytes: &[u8], pos: u32, seeds: Seeds) -> Option<(u32, FrameHeader)> {
    let mut at = pos.checked_add(ALIGN)?.next_multiple_of(ALIGN);
    while (at as usize) < bytes.len() {
        if let Some(frame) = frame_at(bytes, at, seeds) {
            return Some((at, frame.header));
        }
        at = at.checked_add(ALIGN)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::code::Fields;
    use crate::spool::record::put_counter;

    fn log(frames: &[(u32, u64)], seeds: Seeds) -> (Vec<u8>, Vec<u32>) {
        let mut bytes = vec![0; BLOCK as usize];
        let mut places = Vec::new();
        for &(synced, n) in frames {
            let mut out = Fields::default();
            put_counter(&mut out, n);
            let offset = bytes.len() as u32;
            let crc = seeds.records_crc(&out.0);
            let header = FrameHeader { records: out.0.len() as u32, content: 0, crc, synced };
            bytes.extend_from_slice(&header.encode(seeds, offset));
            bytes.extend_from_slice(&out.0);
            bytes.resize(align(bytes.len() as u64) as usize, 0);
            places.push(offset);
        }
        bytes.resize(64 << 10, 0);
        (bytes, places)
    }

    fn run(bytes: &[u8], known: Known) -> (Vec<u32>, usize, Ended) {
        let (mut frames, mut damages) = (Vec::new(), 0);
        let ended = scan(bytes, 0, known, |piece| match piece {
            Piece::Frame { offset, .. } => frames.push(offset),
            Piece::Damage { .. } => damages += 1,
        });
        (frames, damages, ended)
    }

    #[test]
    fn tells_damage_from_an_unfinished_tail() {
        let seeds = Seeds::new(&[3; 16]);
        let known = Known { seeds, end: None, last: true };
        let (mut bytes, places) = log(&[(0, 1), (0, 2), (0, 3)], seeds);
        assert_eq!(run(&bytes, known).0, places);
        bytes[places[1] as usize + 30] ^= 1;
        let (frames, damages, ended) = run(&bytes, known);
        // Nobody says that the second was durable: cut there, although the third is whole.
        assert_eq!((frames.len(), damages), (1, 0));
        assert_eq!(ended, Ended { end: places[1], voided: true, tail: places[2] + 48 });
        // The same in a sealed segment, or with a later frame that knows better, is damage.
        assert_eq!(run(&bytes, Known { last: false, ..known }).1, 1);
        let (mut bytes, places) = log(&[(0, 1), (0, 2), (5_000, 3)], seeds);
        bytes[places[1] as usize + 30] ^= 1;
        let (frames, damages, _) = run(&bytes, known);
        assert_eq!((frames, damages), (vec![places[0], places[2]], 1));
    }

    #[test]
    fn a_former_life_is_no_frame() {
        let (old, new) = (Seeds::new(&[3; 16]), Seeds::new(&[4; 16]));
        let (bytes, _) = log(&[(0, 1), (0, 2)], old);
        let known = Known { seeds: new, end: None, last: true };
        assert_eq!(run(&bytes, known), (vec![], 0, Ended { end: BLOCK, voided: false, tail: BLOCK }));
    }
}
