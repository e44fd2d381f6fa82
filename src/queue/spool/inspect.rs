//! An operator's view of a spool whose engine does not start: takes no lock and changes nothing. Beside a running engine it may
//! miss what happens meanwhile. Called by the operator's `list` and `export`.

use super::disk::Disk;
use super::frame::Seeds;
use super::index::{Entry, Place};
use super::read::{Snapshot, Source, fetch_inline, open_body};
use super::recover::{Replay, Told, look};
use crate::{Content, Envelope, Error};
use mail::QueueId;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// A message that was found.
#[derive(Debug)]
pub struct Found {
    /// Its id.
    pub id: QueueId,
    /// Its envelope as the log has it.
    pub envelope: Result<Envelope, Error>,
    /// Its content.
    pub content: Result<Content, Error>,
}

/// Calls `each` with every unfinished message of the spool in `path`, in the order of their ids, and returns lines about damage. Blocks.
///
/// # Errors
/// [`Error::Failed`] if the folder cannot be read.
pub fn inspect(path: &Path, mut each: impl FnMut(Found)) -> Result<Vec<String>, Error> {
    let disk = Disk::new(path, None);
    let (replay, told) = look(&disk)?;
    for (&id, entry) in &replay.index.messages {
        let source = |place: Place| source(&disk, &told, place);
        let envelope = Snapshot::of(id, entry, source).and_then(|snapshot| snapshot.read());
        each(Found { id, envelope, content: content(&disk, &replay, entry) });
    }
    Ok(replay.recovery.lines)
}

fn source(disk: &Disk, told: &BTreeMap<u32, Told>, place: Place) -> Result<Source, Error> {
    let gone = || Error::Corrupt(format!("segment {} is gone", place.segment));
    let seeds = Seeds::new(&told.get(&place.segment).ok_or_else(gone)?.salt);
    let file = Arc::new(File::open(disk.segment(place.segment)).map_err(super::failed)?);
    Ok(Source { place, file, seeds })
}

fn content(disk: &Disk, replay: &Replay, entry: &Entry) -> Result<Content, Error> {
    let stored = replay.index.contents.get(&entry.content);
    let stored = stored.ok_or_else(|| Error::Corrupt("its content is missing".into()))?;
    if stored.segment == 0 {
        let file = open_body(disk, entry.content, stored)?;
        return Ok(Content::File { file: Arc::new(file), length: stored.size });
    }
    let file = File::open(disk.segment(stored.segment)).map_err(super::failed)?;
    fetch_inline(&file, stored).map(Content::Memory)
}

/// Reads arbitrary bytes in every way in which the spool reads its files: for the fuzz target. Panics if an envelope that can be read does not
/// come back from what it is written as.
pub fn exercise(bytes: &[u8]) {
    use super::code::Fields;
    use super::envelope_code::{decode, encode};
    use super::frame::{FrameHeader, HEADER, SegmentHeader, align};
    use super::record::{Record, records};
    use super::scan::{Known, Piece, scan};

    let _block = SegmentHeader::decode(bytes);
    super::checkpoint::exercise(bytes);
    // As records of a frame whose checksums fit, and as a segment that has this frame, and then these bytes.
    let seeds = Seeds::new(&[7; 16]);
    let mut log = vec![0; 4096];
    let header =
        FrameHeader { records: bytes.len() as u32, content: 0, crc: seeds.records_crc(bytes), synced: u32::MAX };
    log.extend_from_slice(&header.encode(seeds, 4096));
    log.extend_from_slice(bytes);
    log.resize(align(log.len() as u64) as usize, 0);
    log.extend_from_slice(bytes);
    for (end, last) in [(None, true), (None, false), (Some(log.len() as u32), true)] {
        let mut frames = 0;
        let ended = scan(&log, 0, Known { seeds, end, last }, |piece| {
            frames += u32::from(matches!(piece, Piece::Frame { .. }));
        });
        assert!(frames >= 1 && ended.end >= 4096 + HEADER, "the frame that fits is found");
    }
    for record in records(bytes) {
        let Ok(record) = record else { break };
        if let Record::Envelope { fields, .. } = record
            && let Ok(mut envelope) = decode(fields)
        {
            let mut out = Fields::default();
            encode(&mut out, &envelope);
            let mut again = decode(&out.0).expect("what we write we read");
            // Fields of a later version stand behind ours when they are written again.
            again.unknown.sort();
            envelope.unknown.sort();
            assert_eq!(again, envelope, "an envelope comes back");
            let _malformed = super::read::patch_with(&mut envelope, bytes);
        }
    }
}
