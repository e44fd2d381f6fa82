//! Segments whose files are gone although nobody took them away: what the log and the checkpoint know of them is compared with the folder, for
//! otherwise all that was unfinished in them would look finished. Called by recovery.

use super::checkpoint::Remembered;
use super::disk::Disk;
use super::frame::{BLOCK, SegmentHeader};
use super::recover::Replay;
use mail::QueueId;
use std::fmt::Write as _;

/// What should be there at a start.
#[derive(Default)]
pub(crate) struct Expected {
    segments: Vec<u32>,
    /// Where the checkpoint knows envelopes: message and segment.
    messages: Vec<(QueueId, u32)>,
}

impl Expected {
    /// The later of the newest header and the checkpoint counts: what goes after it, goes with a `retired` record behind it. A segment in which
    /// nothing was ever durable goes without a word.
    pub fn new(newest: Option<&SegmentHeader>, checkpoint: Remembered) -> Self {
        let Remembered { current, expected, messages, .. } = checkpoint;
        let segments = match newest {
            Some(header) if header.number > current => {
                let used = header.history.iter().filter(|past| past.end > BLOCK && !past.retired);
                used.map(|past| past.number).collect()
            }
            _ => expected,
        };
        Self { segments, messages }
    }
}

impl Replay {
    /// Reports segments that are neither in `present` nor known to have gone. After the replay.
    pub fn report_missing(&mut self, disk: &Disk, present: &[u32]) -> std::io::Result<()> {
        let expected = std::mem::take(&mut self.expected);
        // Recycled.
        self.retired.extend(super::recover::numbers(disk, "spare")?);
        for number in expected.segments {
            if present.contains(&number) || self.retired.contains(&number) {
                continue;
            }
            self.damaged = true;
            self.recovery.clean = false;
            let line = format!("spool: segment {number} is missing; what was unfinished in it is lost; see corrupt/");
            let mut text = format!("{line}\n");
            for (id, _) in expected.messages.iter().filter(|(_, segment)| *segment == number) {
                if !self.index.messages.contains_key(id) {
                    let _strings_do_not_fail = writeln!(text, "{id}: lost, unless it was finished lately");
                }
            }
            if !self.look_only {
                let path = disk.folder("corrupt").join(format!("segment-{number:08}-missing.txt"));
                disk.write_whole(&path, text.as_bytes())?;
            }
            self.recovery.lines.push(line);
        }
        Ok(())
    }
}
