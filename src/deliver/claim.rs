//! The scheduler: claims what is due and cuts messages into jobs, one for each hop.

use crate::hops::{Hops, Pushed};
use crate::job::{Job, Message};
use crate::outcome::{Attempt, Fate, conclude};
use crate::settings::Settings;
use crate::start::Inner;
use call::submit::Witness;
use mail::{QueueId, Status};
use queue::{Accepted, Envelope, State};
use route::Key;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Most messages claimed at once.
const AT_ONCE: usize = 100;
/// The wall clock may jump, so no sleep towards a wall time is longer than this.
const LONGEST_SLEEP: u64 = 5_000;
/// Wait while the store takes no changes, milliseconds.
pub(crate) const READ_ONLY: u64 = 10_000;
/// A message that could not be loaded, or has nothing due, comes again after this long, milliseconds.
const LATER: i64 = 300_000;

/// Runs until stopping.
pub(crate) async fn run(inner: Arc<Inner>) {
    let mut stopping = inner.stopping();
    tokio::select! {
        biased;
        _ = stopping.wait_for(|stop| *stop) => {}
        () = claim_forever(&inner) => {}
    }
}

async fn claim_forever(inner: &Arc<Inner>) {
    let store = &inner.parts.store;
    loop {
        // Asked for before claiming: a flush in between is not missed.
        let changed = store.changed();
        let now = inner.parts.clock.now();
        inner.hops.sweep(now.mono);
        let room = inner.load.room().min(AT_ONCE);
        if room == 0 {
            inner.load.wait_for_room().await;
            continue;
        }
        if inner.cannot_record() {
            tokio::time::sleep(Duration::from_millis(READ_ONLY)).await;
            continue;
        }
        let ids = store.claim(now, room);
        if ids.is_empty() {
            let wait = match store.next_due() {
                Some(due) => u64::try_from(due.saturating_sub(now.wall)).unwrap_or(0).clamp(10, LONGEST_SLEEP),
                None => LONGEST_SLEEP,
            };
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(wait)) => {}
            }
            continue;
        }
        let mut claimed = Claimed { inner, ids: ids.into() };
        while let Some(&id) = claimed.ids.front() {
            let loaded = store.load(id).await;
            claimed.ids.pop_front();
            match loaded {
                Ok(envelope) => dispatch(inner, &Message::claimed(inner, envelope)),
                // Removed between claim and load.
                Err(queue::Error::Unknown) => {}
                Err(error) => {
                    inner.remark(id, format!("cannot read queue entry: {error}"));
                    store.release_claim(id, inner.parts.clock.now().wall + LATER);
                }
            }
        }
        // The workers come first.
        tokio::task::yield_now().await;
    }
}

/// What was claimed and not loaded yet; given back if the scheduler is stopped meanwhile.
struct Claimed<'a> {
    inner: &'a Inner,
    ids: VecDeque<QueueId>,
}

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        for id in self.ids.drain(..) {
            self.inner.parts.store.release_claim(id, self.inner.parts.clock.now().wall);
        }
    }
}

/// Takes over a freshly accepted message.
pub(crate) fn submit(inner: &Arc<Inner>, accepted: Accepted, witness: Option<Arc<dyn Witness>>) {
    if has_room(inner, &accepted) {
        dispatch(inner, &Message::accepted(inner, accepted, witness));
    }
}

/// Takes over an envelope that recipients of `of` have become, in a second expansion if `anew`.
pub(crate) fn submit_clone(of: &Arc<Message>, inner: &Arc<Inner>, accepted: Accepted, anew: bool) {
    if has_room(inner, &accepted) {
        dispatch(inner, &Message::cloned(of, accepted, anew));
    }
}

/// Otherwise it goes back to the store.
fn has_room(inner: &Inner, accepted: &Accepted) -> bool {
    let room = inner.load.room() > 0 && !inner.is_stopping();
    if !room {
        inner.parts.store.release_claim(accepted.envelope.id, inner.parts.clock.now().wall);
    }
    room
}

/// The recipients that are to be tried now, by route: those that the claim took and no others. One that became due since
/// (its time came, or a flush) is still the store's, which will hand it out once the others are decided; tried now as well
/// it would be delivered twice.
fn groups(envelope: &Envelope, wanted: impl Fn(u32) -> bool) -> BTreeMap<&str, Vec<u32>> {
    let mut groups: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for (index, recipient) in (0..).zip(&envelope.recipients) {
        if recipient.state == State::InFlight && wanted(index) {
            groups.entry(&recipient.route).or_default().push(index);
        }
    }
    groups
}

fn dispatch(inner: &Arc<Inner>, message: &Arc<Message>) {
    let groups = groups(&message.envelope, |_| true);
    if groups.is_empty() {
        message.give_back(inner.parts.clock.now().wall + LATER);
    }
    hand_out(inner, message, groups);
}

/// Hands out what recipients have become: those of `message` from `first` on with this parent.
pub(crate) fn dispatch_children(inner: &Arc<Inner>, message: &Arc<Message>, first: usize, parent: Option<u32>) {
    let is_child = |index: u32| {
        let recipient = message.envelope.recipients.get(index as usize);
        index as usize >= first && recipient.is_some_and(|recipient| recipient.parent == parent)
    };
    hand_out(inner, message, groups(&message.envelope, is_child));
}

fn hand_out(inner: &Arc<Inner>, message: &Arc<Message>, groups: BTreeMap<&str, Vec<u32>>) {
    let settings = inner.parts.settings.get();
    let most = settings.recipients.max(1) as usize;
    let (errors, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(route, _)| route.starts_with("error:"));
    let mut errors: Vec<u32> = errors.into_iter().flat_map(|(_, recipients)| recipients).collect();
    errors.sort_unstable();
    // One job, whatever is wrong with each: one bounce tells of all.
    for part in errors.chunks(most) {
        refuse(inner, Job::new(message.clone(), part.to_vec()));
    }
    for (route, recipients) in groups {
        for part in recipients.chunks(most) {
            push(inner, route, Job::new(message.clone(), part.to_vec()), &settings);
        }
    }
}

/// Hands a job to its hop.
pub(crate) fn push(inner: &Arc<Inner>, route: &str, job: Job, settings: &Settings) {
    match Hops::push(inner, route, job, settings) {
        Pushed::Queued => {}
        Pushed::Start(place) => inner.start_worker(place),
        Pushed::Full(job, wait) => job.give_back(inner.parts.clock.now().wall + wait as i64),
        Pushed::NoHop(job, Some(Key::Discard)) => discard(inner, job),
        Pushed::NoHop(job, _) => refuse(inner, job),
    }
}

/// Recipients to be thrown away. Nobody is told: no receipt either.
fn discard(inner: &Arc<Inner>, job: Job) {
    let attempt = Attempt { passes_dsn: true, ..Attempt::here("discard", inner.parts.clock.now().mono) };
    let all = job.recipients.clone();
    conclude(inner, job, &attempt, vec![(Fate::local(Status::success(0, 0), "discarded"), all)]);
}

/// Recipients whose routes are errors, or make no sense to this version.
fn refuse(inner: &Arc<Inner>, job: Job) {
    let mut fates: Vec<(Fate, Vec<u32>)> = Vec::new();
    for (index, recipient) in job.recipients() {
        let fate = match Key::parse(&recipient.route) {
            Some(Key::Error { status, text }) => Fate::local(status, &text),
            _ => Fate::local(Status::temporary(3, 5), "unknown route"),
        };
        match fates.last_mut().filter(|(last, _)| *last == fate) {
            Some((_, indices)) => indices.push(index),
            None => fates.push((fate, vec![index])),
        }
    }
    let attempt = Attempt::here("error", inner.parts.clock.now().mono);
    conclude(inner, job, &attempt, fates);
}
