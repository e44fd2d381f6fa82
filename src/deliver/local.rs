//! The worker of a local mailbox: one agent at a time, batches of what waits, one frame of outcomes each.

use crate::agent::Agent;
use crate::batch::{self, Packed};
use crate::hops::Taken;
use crate::job::Job;
use crate::outcome::{Attempt, Fate, Trouble, conclude};
use crate::place::Place;
use call::agent::{Done, Kind, Outcomes};
use mail::Status;
use queue::Content;
use route::Key;
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for the outcomes of one batch, and for an agent to start.
const BATCH_TIMEOUT: Duration = Duration::from_secs(300);
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// After an agent could not be started the mailbox is left alone this long, milliseconds (R-15: no storm of forks).
const NO_AGENT: u64 = 5_000;
/// A message whose content cannot be read comes again after this long, milliseconds.
const UNREADABLE: i64 = 300_000;

/// Serves one mailbox until nothing waits for a while.
pub(crate) async fn work(place: Place) {
    let mut agent = None;
    loop {
        match place.take() {
            Taken::Leave => break,
            Taken::Nothing => {
                let idle = place.inner.parts.settings.get().idle;
                if !place.wait(Duration::from_millis(idle)).await {
                    break;
                }
            }
            Taken::Dead(job, trouble, until) => {
                let mut attempt = Attempt::here("local", place.inner.parts.clock.now().mono);
                attempt.dead_until = Some(until);
                let all = job.recipients.clone();
                conclude(&place.inner, job, &attempt, vec![(trouble.fate.clone(), all)]);
            }
            Taken::Job(job) if place.inner.cannot_record() => place.inner.postpone(job),
            Taken::Job(first) => {
                let jobs = collect(&place, first).await;
                if !jobs.is_empty() {
                    deliver(&place, &mut agent, jobs).await;
                }
            }
        }
    }
}

/// A job with its content at hand.
struct Loaded {
    job: Job,
    content: Content,
}

/// What waits now, up to a batch; nobody waits for more.
async fn collect(place: &Place, first: Job) -> Vec<Loaded> {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    let mut next = Some(first);
    while let Some(job) = next {
        match job.message.content().await {
            Ok(content) => {
                bytes += content.len();
                jobs.push(Loaded { job, content });
            }
            Err(error) => {
                let id = job.message.envelope.id;
                place.inner.note(id, format!("cannot read queue entry: {error}"));
                job.give_back(place.inner.parts.clock.now().wall + UNREADABLE);
            }
        }
        let count = jobs.len();
        next = place.take_if(|job| batch::has_room(count, bytes, job.message.envelope.size));
    }
    jobs
}

async fn deliver(place: &Place, agent: &mut Option<Agent>, jobs: Vec<Loaded>) {
    let clock = &place.inner.parts.clock;
    let attempt = Attempt::here("local", clock.now().mono);
    let mut last = String::new();
    // A second agent gets what the first died over, told that it may be there already. A third attempt comes later.
    for again in [false, true] {
        let packed = match pack(place, &jobs, again) {
            Ok(packed) => packed,
            Err(error) => {
                last = error.to_string();
                break;
            }
        };
        let running = match agent.take() {
            Some(running) => Ok(running),
            None => start(place).await,
        };
        let mut running = match running {
            Ok(running) => running,
            Err(error) => return unstarted(place, jobs, &attempt, error),
        };
        let limit = BATCH_TIMEOUT / place.inner.parts.settings.get().timeout_divisor.max(1);
        match tokio::time::timeout(limit, running.deliver(&packed)).await {
            Ok(Ok(outcomes)) => {
                *agent = Some(running);
                return settle(place, jobs, &attempt, outcomes);
            }
            Ok(Err(error)) => last = format!("agent: {error}"),
            Err(_) => {
                last = "agent timed out".to_owned();
                break;
            }
        }
    }
    let fate = Fate::local(Status::temporary(3, 0), &last);
    for Loaded { job, .. } in jobs {
        let all = job.recipients.clone();
        conclude(&place.inner, job, &attempt, vec![(fate.clone(), all)]);
    }
}

fn pack(place: &Place, jobs: &[Loaded], again: bool) -> std::io::Result<Packed> {
    let messages: Vec<_> = jobs
        .iter()
        .map(|Loaded { job, content }| {
            // After any attempt the agent looks first: one that died or hung, or a dead engine's, may have written all the same.
            let unsure = job.message.is_old;
            (&*job.message.envelope, content.clone(), again || unsure)
        })
        .collect();
    batch::pack(&messages, &*place.inner.parts.clock)
}

async fn start(place: &Place) -> Result<Agent, String> {
    let Key::Local { user } = &*place.key else {
        return Err("not a local route".to_owned());
    };
    let kind = if place.inner.parts.settings.get().maildir { Kind::User } else { Kind::Mailbox };
    let starting = place.inner.parts.agents.start(kind, user);
    let socket =
        tokio::time::timeout(START_TIMEOUT, starting).await.map_err(|_| "no answer from the keeper".to_owned())??;
    Agent::adopt(socket).map_err(|error| error.to_string())
}

fn unstarted(place: &Place, jobs: Vec<Loaded>, attempt: &Attempt, error: String) {
    let fate = Fate::local(Status::temporary(3, 0), &format!("cannot start agent: {error}"));
    let trouble = Arc::new(Trouble::nowhere(fate.clone()));
    place.unreachable(&trouble, NO_AGENT);
    for Loaded { job, .. } in jobs {
        let all = job.recipients.clone();
        conclude(&place.inner, job, attempt, vec![(fate.clone(), all)]);
    }
}

/// Outcomes to fates. A ticket without an outcome is temporary, one that was not asked for is ignored.
fn settle(place: &Place, jobs: Vec<Loaded>, attempt: &Attempt, outcomes: Outcomes) {
    let mut results: Vec<Option<Done>> = jobs.iter().map(|_| None).collect();
    for outcome in outcomes.outcomes {
        let slot = usize::try_from(outcome.ticket).ok().and_then(|ticket| results.get_mut(ticket));
        if let Some(slot) = slot {
            *slot = Some(outcome.result);
        }
    }
    for (Loaded { job, .. }, result) in jobs.into_iter().zip(results) {
        let fate = match result {
            Some(Done::Delivered(_)) => Fate::sent(""),
            Some(Done::Temporary(subject, detail, text)) => Fate::local(Status::temporary(subject, detail), &text),
            Some(Done::Permanent(subject, detail, text)) => Fate::local(Status::permanent(subject, detail), &text),
            None => Fate::local(Status::temporary(3, 0), "agent gave no outcome"),
        };
        let all = job.recipients.clone();
        conclude(&place.inner, job, attempt, vec![(fate, all)]);
        place.success();
    }
}
