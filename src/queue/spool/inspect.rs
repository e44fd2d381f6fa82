//! An operator's view of a spool whose engine does not start: takes no lock and changes nothing. Beside a running engine it may
//! miss what happens meanwhile. Called by the operator's `list` and `export`.

use super::disk::Disk;
use super::frame::Seeds;
use super::index::{Entry, Place};
use super::read::{Snapshot, Source, fetch_inline};
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
        let file = File::open(disk.body(entry.content.0)).map_err(super::failed)?;
        return Ok(Content::File { file: Arc::new(file), length: stored.size });
    }
    let file = File::open(disk.segment(stored.segment)).map_err(super::failed)?;
    fetch_inline(&file, stored).map(Content::Memory)
}
