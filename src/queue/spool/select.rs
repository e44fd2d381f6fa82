//! Finding messages for the operator. Envelopes are read a few hundred at a time, in the order in which they lie on the disk, so
//! that memory stays bounded and a long list neither blocks the writer nor seeks.

use super::Shared;
use super::read::Snapshot;
use super::span::Spans;
use crate::{Envelope, Error, Part, Pattern, Select, Summary};
use mail::QueueId;
use std::ops::Bound;

/// Most messages looked at under one lock.
const CHUNK: usize = 256;
/// Recipients read under one look, and after which a page ends: mailing lists with ten thousands of members are large.
const RECIPIENTS: usize = 20_000;

/// Whether the conditions need nothing but the index.
fn is_plain(select: &Select) -> bool {
    select.sender.is_none()
        && select.recipient.is_none()
        && select.domain.is_none()
        && select.reason.is_none()
        && select.before.is_none()
        && select.patterns.is_empty()
}

fn contains(text: &str, part: &str) -> bool {
    // ASCII case only, as domains compare; part is lower case already.
    text.to_ascii_lowercase().contains(part)
}

fn fits(envelope: &Envelope, select: &Select) -> bool {
    let lower = |part: &Option<String>| part.as_ref().map(|part| part.to_ascii_lowercase());
    let any = |test: &dyn Fn(&crate::Recipient) -> bool| envelope.recipients.iter().any(test);
    lower(&select.sender).is_none_or(|part| contains(envelope.sender.as_str(), &part))
        && lower(&select.recipient).is_none_or(|part| any(&|r| contains(r.address.as_str(), &part)))
        && select
            .domain
            .as_ref()
            .is_none_or(|domain| any(&|r| r.address.domain().is_some_and(|own| own.eq_ignore_ascii_case(domain))))
        && lower(&select.reason).is_none_or(|part| {
            envelope.hold.as_ref().is_some_and(|hold| contains(hold, &part)) || any(&|r| contains(&r.last_reply, &part))
        })
        && select.before.is_none_or(|before| envelope.arrived <= before)
        && [Part::Id, Part::Sender, Part::Recipient, Part::Reason].iter().all(|part| {
            let mut of_part = select.patterns.iter().filter(|pattern| pattern.part == *part).peekable();
            of_part.peek().is_none() || of_part.any(|pattern| matches(envelope, pattern))
        })
}

/// Whether one of sendmail's selectors fits (sendmail.md 1.5).
fn matches(envelope: &Envelope, pattern: &Pattern) -> bool {
    let any_case = pattern.text.to_ascii_lowercase();
    match pattern.part {
        Part::Id => envelope.id.to_string().contains(&pattern.text) != pattern.negated,
        Part::Sender => contains(envelope.sender.as_str(), &any_case) != pattern.negated,
        Part::Recipient => {
            let mut waiting = envelope.recipients.iter().filter(|r| !r.state.is_finished());
            waiting.any(|r| contains(r.address.as_str(), &any_case) != pattern.negated)
        }
        Part::Reason => envelope.hold.as_ref().is_some_and(|hold| hold.contains(&pattern.text) != pattern.negated),
    }
}

impl Select {
    /// Whether an envelope is meant.
    #[must_use]
    pub fn fits(&self, envelope: &Envelope) -> bool {
        (self.ids.is_empty() || self.ids.contains(&envelope.id))
            && self.held.is_none_or(|held| held == envelope.hold.is_some())
            && fits(envelope, self)
    }
}

impl Shared {
    /// Ids after `after` that fit what the index knows, at most `limit` and at most a chunk.
    fn candidates(&self, select: &Select, after: Option<QueueId>, limit: usize) -> Vec<QueueId> {
        let limit = limit.min(CHUNK);
        let index = self.index();
        let held = |id: &QueueId| {
            let entry = index.messages.get(id);
            entry.is_some_and(|entry| select.held.is_none_or(|held| held == entry.held))
        };
        if !select.ids.is_empty() {
            let later = |id: &QueueId| after.is_none_or(|after| *id > after);
            let mut ids: Vec<_> = select.ids.iter().copied().filter(later).filter(held).collect();
            ids.sort_unstable();
            ids.dedup();
            ids.truncate(limit);
            return ids;
        }
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = index.messages.range((start, Bound::Unbounded));
        let wanted = range.filter(|(_, entry)| select.held.is_none_or(|held| held == entry.held));
        let mut recipients = 0;
        let fitting = wanted.take(limit).take_while(|(_, entry)| {
            let first = recipients == 0;
            recipients += entry.standings.as_slice().len();
            first || recipients <= RECIPIENTS
        });
        fitting.map(|(id, _)| *id).collect()
    }

    /// Shows the envelopes of `ids`, which are in order; finished and corrupt ones are left out.
    fn read_each(&self, ids: &[QueueId], mut see: impl FnMut(Summary)) {
        let snapshots: Vec<_> = {
            let mut index = self.index();
            ids.iter().filter_map(|&id| self.snapshot(&mut index, id).ok()).collect()
        };
        let spans = Spans::read(snapshots.iter().flat_map(Snapshot::sources));
        for snapshot in snapshots {
            let read = match snapshot.read_in(&spans) {
                Ok(envelope) => Ok((envelope, snapshot.active)),
                // It moved meanwhile, or is damaged: the careful way finds out.
                Err(_) => self.read_envelope(snapshot.id()),
            };
            if let Ok((envelope, active)) = read {
                see(Summary { envelope, active });
            }
        }
    }

    /// Shows every matching message after `after`, at most `limit`; the id of the last one. Blocks.
    pub fn show(
        &self,
        select: &Select,
        after: Option<QueueId>,
        limit: usize,
        see: &mut dyn FnMut(Summary),
    ) -> Option<QueueId> {
        let (mut last, mut found, mut recipients) = (None, 0, 0);
        let mut after = after;
        // Fewer than `limit` do not mean the end: nothing does.
        while found < limit && (found == 0 || recipients < RECIPIENTS) {
            let ids = self.candidates(select, after, limit - found);
            let Some(&looked_at) = ids.last() else { break };
            after = Some(looked_at);
            self.read_each(&ids, |summary| {
                if fits(&summary.envelope, select) {
                    last = Some(summary.envelope.id);
                    found += 1;
                    recipients += summary.envelope.recipients.len();
                    see(summary);
                }
            });
        }
        last
    }

    /// Ids of every matching message. Blocks.
    pub fn select(&self, select: &Select) -> Result<Vec<QueueId>, Error> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let ids = self.candidates(select, after, CHUNK);
            let Some(&last) = ids.last() else { return Ok(found) };
            after = Some(last);
            if is_plain(select) {
                found.extend(ids);
            } else {
                self.read_each(&ids, |summary| {
                    found.extend(fits(&summary.envelope, select).then_some(summary.envelope.id));
                });
            }
        }
    }

    /// How many match.
    pub fn count(&self, select: &Select) -> Result<u64, Error> {
        if is_plain(select) && select.ids.is_empty() && select.held.is_none() {
            return Ok(self.index().messages.len() as u64);
        }
        Ok(self.select(select)?.len() as u64)
    }
}
