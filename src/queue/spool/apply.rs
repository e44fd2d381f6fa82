//! What a sync means: the frames that are durable now take effect in the index, in the order of the log, and then everybody hears of it. Called by the writer.

use super::Shared;
use super::chore::Chore;
use super::handed::Handed;
use super::index::{Index, Place, Stored};
use super::job::{Acceptance, Answer, Changes, Effect, Expansion};
use super::standing::Standing;
use super::writer::Laid;
use crate::ContentId;
use std::sync::atomic::Ordering;

/// What callers hear after a sync.
enum Told {
    Handed(Handed, Answer<Handed>),
    Done(Answer<()>),
}

/// Lets synced frames take effect in the index, in their order, then answers.
pub(crate) fn apply(shared: &Shared, written: Vec<Laid>, number: u32, end: u32) {
    let mut told = Vec::with_capacity(written.len());
    let mut bodies = Vec::new();
    {
        let mut index = shared.index();
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.end = end;
        }
        for Laid { job, place } in written {
            match job.effect {
                Effect::Accept(accept) => told.push(accepted(&mut index, *accept, place, shared)),
                Effect::Changes(changes) => told.extend(changed(&mut index, changes, place, &mut bodies)),
                Effect::Expand(expand) => told.push(expanded(&mut index, expand, place, shared)),
                Effect::Counter(limit) => {
                    shared.limit.fetch_max(limit, Ordering::Relaxed);
                    shared.reserving.store(false, Ordering::Relaxed);
                }
                Effect::Close(_) | Effect::Copy => {}
            }
        }
    }
    for told in told {
        match told {
            Told::Handed(messages, answer) => {
                // If nobody waits, the value is dropped, which gives the messages back.
                drop(answer.send(Ok(messages)));
            }
            Told::Done(answer) => {
                let _nobody_waits = answer.send(Ok(()));
            }
        }
    }
    bodies.into_iter().for_each(|content| shared.chores.send(Chore::RemoveBody(content)));
}

fn accepted(index: &mut Index, mut accept: Acceptance, place: Place, shared: &Shared) -> Told {
    let inline = place.offset + super::frame::HEADER + place.length;
    let stored = Stored {
        segment: if accept.in_file { 0 } else { place.segment },
        offset: if accept.in_file { 0 } else { inline },
        size: accept.size,
        crc: accept.crc,
        refs: 0,
        verified: true,
    };
    index.store(accept.content, stored);
    let (submission, arrived) = accept.submission;
    if let Some((first, _)) = accept.entries.first() {
        index.submissions.insert(submission, *first, arrived);
    }
    for (id, mut entry) in std::mem::take(&mut accept.entries) {
        entry.base = place;
        index.place(id, entry);
    }
    if let Some((id, changes)) = accept.outcomes.take() {
        index.alter(id, |entry| {
            entry.change(&changes);
            entry.settle();
        });
        patched_or_finished(index, id, place, shared);
    }
    let Acceptance { handed, answer, .. } = accept;
    Told::Handed(handed, answer)
}

fn changed(index: &mut Index, changes: Changes, place: Place, bodies: &mut Vec<ContentId>) -> Option<Told> {
    for id in changes.ids {
        if let Some(floating) = index.floating.get_mut(&id) {
            // Jobs take effect in the order in which they were queued, so the first is this one.
            floating.remove(0);
            if floating.is_empty() {
                index.floating.remove(&id);
            }
        }
        index.patch(id, place);
    }
    for (id, entry) in changes.leaving {
        bodies.extend(index.finish(id, &entry, place.segment));
    }
    changes.answer.map(Told::Done)
}

fn expanded(index: &mut Index, expand: Expansion, place: Place, shared: &Shared) -> Told {
    let Expansion { id, expanded, children, entries, clones, answer } = expand;
    for (id, mut entry) in entries {
        entry.base = place;
        index.place(id, entry);
    }
    index.alter(id, |entry| {
        let active = entry.active;
        let child = |mut standing: Standing| {
            if active {
                standing.take_off(i64::MIN);
            }
            standing
        };
        entry.expand(&expanded, children.into_iter().map(child));
        // All of it may have gone to clones, or to people who have it already.
        entry.settle();
    });
    patched_or_finished(index, id, place, shared);
    Told::Handed(clones, answer)
}

/// A change that took effect only now: the message has one patch more, or is finished. Its last word, which must do without the
/// earlier changes, is said by a job of its own; until that is synced all its frames stay.
fn patched_or_finished(index: &mut Index, id: mail::QueueId, place: Place, shared: &Shared) {
    index.patch(id, place);
    if index.messages.get(&id).is_some_and(|entry| entry.standings.all_finished())
        && let Some(entry) = index.leave(id)
    {
        shared.jobs.push_own(super::job::removal(vec![(id, entry)]));
    }
}
