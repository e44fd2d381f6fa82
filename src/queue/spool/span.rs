//! Many frames with few reads, for `select`: what a page of a list needs lies close together on the disk, and a system call costs more than
//! some kilobytes between two frames. A frame in no span is read by itself.

use super::frame::HEADER;
use super::index::Place;
use super::read::Source;

/// Most bytes in memory, gaps included.
const WHOLE: usize = 4 << 20;
/// Longest read.
const LENGTH: u32 = 256 << 10;
/// Bytes nobody asked for that are read over.
const GAP: u32 = 4 << 10;

/// A part of a segment in memory.
struct Span {
    segment: u32,
    start: u32,
    /// Where it is in [`Spans::bytes`].
    at: usize,
    length: u32,
}

/// Parts of segments in memory, in the order of the disk.
#[derive(Default)]
pub(crate) struct Spans {
    bytes: Vec<u8>,
    all: Vec<Span>,
}

impl Spans {
    /// Reads what lies at these places. What cannot be read, and what is beyond [`WHOLE`], is left out.
    pub fn read<'a>(sources: impl Iterator<Item = &'a Source>) -> Self {
        let mut sources: Vec<&Source> = sources.collect();
        sources.sort_unstable_by_key(|source| (source.place.segment, source.place.offset));
        let mut spans = Self::default();
        let mut rest = sources.as_slice();
        while let Some((first, more)) = rest.split_first() {
            let start = first.place.offset;
            let mut end = end(first.place);
            let fits = |place: Place, end: u32| {
                place.segment == first.place.segment
                    && place.offset.saturating_sub(end) <= GAP
                    && self::end(place).saturating_sub(start) <= LENGTH
            };
            let together = more.iter().take_while(|source| {
                let fits = fits(source.place, end);
                end = if fits { end.max(self::end(source.place)) } else { end };
                fits
            });
            let together = together.count();
            // A lone frame is read when its turn comes.
            if together > 0 && !spans.add(first, end - start) {
                break;
            }
            rest = more.get(together..).unwrap_or_default();
        }
        spans
    }

    /// Reads `length` bytes from where `first` begins; whether there is room for more.
    fn add(&mut self, first: &Source, length: u32) -> bool {
        let at = self.bytes.len();
        if at + length as usize > WHOLE {
            return false;
        }
        self.bytes.resize(at + length as usize, 0);
        let room = self.bytes.get_mut(at..).unwrap_or_default();
        match durable::read_at_most(&first.file, room, u64::from(first.place.offset)) {
            Ok(read) if read == length as usize => {
                self.all.push(Span { segment: first.place.segment, start: first.place.offset, at, length });
            }
            _ => self.bytes.truncate(at),
        }
        true
    }

    /// A frame's header and records, if they are here.
    pub fn frame(&self, place: Place) -> Option<&[u8]> {
        let wanted = (place.segment, place.offset);
        let after = self.all.partition_point(|span| (span.segment, span.start) <= wanted);
        let span = self.all.get(after.checked_sub(1)?).filter(|span| span.segment == place.segment)?;
        let from = (place.offset - span.start) as usize;
        let bytes = self.bytes.get(span.at..)?.get(..span.length as usize)?;
        bytes.get(from..)?.get(..(HEADER as usize).checked_add(place.length as usize)?)
    }
}

/// Where a place's records end.
fn end(place: Place) -> u32 {
    place.offset.saturating_add(HEADER).saturating_add(place.length)
}

#[cfg(test)]
mod tests {
    use super::super::frame::Seeds;
    use super::super::tests::Folder;
    use super::*;
    use std::sync::Arc;

    #[test]
    fn what_lies_together_is_read_together() {
        let folder = Folder::new();
        let path = folder.0.join("segment");
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = Arc::new(std::fs::File::open(&path).unwrap());
        let source = |segment, offset, length| Source {
            place: Place { segment, offset, length },
            file: Arc::clone(&file),
            seeds: Seeds::new(&[0; 16]),
        };
        // Out of order, one twice, one inside another, one far away, one in another segment, one that is not all there.
        let all = [
            source(1, 8_000, 100),
            source(1, 4_096, 976),
            source(1, 4_096, 976),
            source(1, 4_112, 16),
            source(1, 50_000, 10),
            source(2, 5_000, 10),
            source(2, 99_000, 2_000),
            source(2, 98_000, 10),
        ];
        let spans = Spans::read(all.iter());
        assert_eq!(spans.all.len(), 1, "the first three places and what is inside");
        for (source, here) in all.iter().zip([true, true, true, true, false, false, false, false]) {
            let from = source.place.offset as usize;
            let wanted = here.then(|| &bytes[from..from + 24 + source.place.length as usize]);
            assert_eq!(spans.frame(source.place), wanted, "{:?}", source.place);
        }
    }
}
