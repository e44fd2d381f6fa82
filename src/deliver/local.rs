//! The worker of a local mailbox: one agent at a time, batches of what waits, one frame of outcomes each.

use crate::agent::{Agent, Broken};
use crate::batch::{self, Packed, Parcel};
use crate::expand;
use crate::hops::Taken;
use crate::job::Job;
use crate::outcome::{Attempt, Fate, Trouble, conclude};
use crate::place::Place;
use crate::told::Told;
use call::agent::{Done, Kind, Outcome, Outcomes};
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
    let (mut agent, mut reader) = (None, None);
    while let Some(first) = next(&place).await {
        let lmtp = place.inner.parts.settings.get().lmtp.is_some();
        if is_account(&place) && (lmtp || first.has_twin(&first.message.envelope)) {
            // No agent has the mailbox, or another recipient is the mailbox: whoever comes here is to be asked for his `.forward`.
            expand::forwards(&place, &mut reader, vec![first]).await;
            continue;
        }
        let delivering = async {
            let jobs = collect(&place, first).await;
            if jobs.is_empty() { Vec::new() } else { deliver(&place, &mut agent, jobs).await }
        };
        let forwarded = place.inner.pace.take(delivering).await;
        expand::forwards(&place, &mut reader, forwarded).await;
    }
}

/// Whether it is an account's mailbox, for which there are `.forward`, LMTP and the administrator's command.
fn is_account(place: &Place) -> bool {
    matches!(&*place.key, Key::Local { .. })
}

/// The next job for an agent; waits for one for a while.
pub(crate) async fn next(place: &Place) -> Option<Job> {
    loop {
        match place.take() {
            Taken::Leave => return None,
            Taken::Nothing => {
                let idle = place.inner.parts.settings.get().idle;
                if !place.wait(Duration::from_millis(idle)).await {
                    return None;
                }
            }
            Taken::Dead(job, trouble, until) => {
                let mut attempt = Attempt::here(place.key.mailer(), place.inner.parts.clock.now().mono);
                attempt.dead_until = Some(until);
                end(place, job, &attempt, trouble.fate.clone());
            }
            Taken::Job(job) if place.inner.cannot_record() => place.inner.postpone(job),
            Taken::Job(job) => return Some(job),
        }
    }
}

/// All recipients of a job share a fate.
pub(crate) fn end(place: &Place, job: Job, attempt: &Attempt, fate: Fate) {
    let all = job.recipients.clone();
    conclude(&place.inner, job, attempt, vec![(fate, all)]);
}

/// A job with its content at hand.
pub(crate) struct Loaded {
    pub(crate) job: Job,
    pub(crate) content: Content,
}

/// Reads a job's content; without it the job comes again later.
pub(crate) async fn load(place: &Place, job: Job) -> Option<Loaded> {
    match job.message.content().await {
        Ok(content) => Some(Loaded { job, content }),
        Err(error) => {
            let id = job.message.envelope.id;
            place.inner.remark(id, format!("cannot read queue entry: {error}"));
            job.give_back(place.inner.parts.clock.now().wall + UNREADABLE);
            None
        }
    }
}

/// What waits now, up to a batch; nobody waits for more.
async fn collect(place: &Place, first: Job) -> Vec<Loaded> {
    let (mut jobs, mut bytes) = (Vec::new(), 0);
    // A command takes as long as it takes.
    let single = is_account(place) && place.inner.parts.settings.get().command;
    let mut next = Some(first);
    while let Some(job) = next {
        if let Some(loaded) = load(place, job).await {
            match circle(place, &loaded) {
                Some(fate) => end(place, loaded.job, &Attempt::here(place.key.mailer(), now(place)), fate),
                None => {
                    bytes += loaded.content.len();
                    jobs.push(loaded);
                }
            }
        }
        let count = jobs.len();
        next = place.take_if(|job| {
            !single && batch::has_room(count, bytes, job.message.envelope.size) && !job.has_twin(&job.message.envelope)
        });
    }
    jobs
}

/// Why a message must not be delivered here again.
pub(crate) fn circle(place: &Place, Loaded { job, content }: &Loaded) -> Option<Fate> {
    let settings = place.inner.parts.settings.get();
    let (_, recipient) = job.recipients().next()?;
    settings.fields.loops(content, recipient, &settings.host)
}

fn now(place: &Place) -> u64 {
    place.inner.parts.clock.now().mono
}

/// Returns the jobs for which there may be a `.forward`: nothing was done with them.
async fn deliver(place: &Place, agent: &mut Option<Agent>, jobs: Vec<Loaded>) -> Vec<Job> {
    let clock = &place.inner.parts.clock;
    let attempt = Attempt::here(place.key.mailer(), clock.now().mono);
    let command = is_account(place) && place.inner.parts.settings.get().command;
    jobs.iter().for_each(|loaded| Told::of(&loaded.job).begins("Connecting to", "", place.key.mailer()));
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
            None => start_for(place).await,
        };
        let mut running = match running {
            Ok(running) => running,
            Err(error) => {
                unstarted(place, jobs.into_iter().map(|loaded| loaded.job).collect(), &attempt, &error);
                return Vec::new();
            }
        };
        let settings = place.inner.parts.settings.get();
        let own = if command { Duration::from_millis(settings.program_time) } else { Duration::ZERO };
        let limit = own + BATCH_TIMEOUT / settings.timeout_divisor.max(1);
        match running.deliver(&packed, limit).await {
            Ok(outcomes) => {
                *agent = Some(running);
                return settle(place, jobs, &attempt, outcomes);
            }
            Err(broken) => {
                last = broken.to_string();
                // A command that may have run is not run again at once: it cannot be asked.
                if matches!(broken, Broken::Late) || (command && matches!(broken, Broken::Amid(_))) {
                    break;
                }
            }
        }
    }
    let fate = Fate::local(Status::temporary(3, 0), &last);
    jobs.into_iter().for_each(|loaded| end(place, loaded.job, &attempt, fate.clone()));
    Vec::new()
}

fn pack(place: &Place, jobs: &[Loaded], again: bool) -> std::io::Result<Packed> {
    let settings = place.inner.parts.settings.get();
    let messages: Vec<_> = jobs
        .iter()
        .filter_map(|Loaded { job, content }| {
            let (_, recipient) = job.recipients().next()?;
            let (detail, plain) = match Key::parse(&recipient.route) {
                Some(Key::Local { detail, plain, .. }) => (detail, plain),
                _ => (String::new(), true),
            };
            // After any attempt the agent looks first: one that died or hung, or a dead engine's, may have written all the same.
            let unsure = again || job.message.is_old;
            let (envelope, content, forward) = (&*job.message.envelope, content.clone(), !plain && !job.looked);
            Some(Parcel {
                envelope,
                recipient,
                content,
                unsure,
                detail,
                forward,
                fields: settings.fields,
                host: &settings.host,
            })
        })
        .collect();
    batch::pack(&messages, settings.mailbox_size, None, &*place.inner.parts.clock)
}

async fn start_for(place: &Place) -> Result<Agent, String> {
    let user = match &*place.key {
        Key::Local { user, .. } => user,
        Key::Virtual { user, domain } => return start(place, Kind::Virtual, &format!("{user}@{domain}")).await,
        _ => return Err("not a local route".to_owned()),
    };
    let settings = place.inner.parts.settings.get();
    // Nothing runs as root: he has his mailbox. His agent judges by the uid; this saves it the look.
    let own = (settings.maildir || settings.command) && user != "root";
    let kind = if own { Kind::User } else { Kind::Mailbox };
    start(place, kind, user).await
}

/// Starts an agent.
pub(crate) async fn start(place: &Place, kind: Kind, user: &str) -> Result<Agent, String> {
    let agents = &place.inner.parts.agents;
    let starting = tokio::time::timeout(START_TIMEOUT, agents.start(kind, user));
    let started = starting.await.map_err(|_| "no answer from the keeper".to_owned())??;
    Agent::adopt(started, agents.clone()).map_err(|error| error.to_string())
}

/// No agent could be started: the hop is left alone for a while.
pub(crate) fn unstarted(place: &Place, jobs: Vec<Job>, attempt: &Attempt, error: &str) {
    let fate = Fate::local(Status::temporary(3, 0), &format!("cannot start agent: {error}"));
    let trouble = Arc::new(Trouble::nowhere(fate.clone()));
    place.unreachable(&trouble, NO_AGENT);
    jobs.into_iter().for_each(|job| end(place, job, attempt, fate.clone()));
}

/// Outcomes to fates. A ticket without an outcome is temporary, one that was not asked for is ignored. Returns what a `.forward` may
/// be about.
fn settle(place: &Place, jobs: Vec<Loaded>, attempt: &Attempt, outcomes: Outcomes) -> Vec<Job> {
    let mut results: Vec<Option<Outcome>> = jobs.iter().map(|_| None).collect();
    for outcome in outcomes.outcomes {
        let slot = usize::try_from(outcome.ticket).ok().and_then(|ticket| results.get_mut(ticket));
        if let Some(slot) = slot {
            *slot = Some(outcome);
        }
    }
    let mut forwarded = Vec::new();
    for (Loaded { job, .. }, result) in jobs.into_iter().zip(results) {
        let fate = match result {
            // Not for one that was told not to look: it would go round for ever.
            Some(Outcome { result: Done::Forward, .. }) if !job.looked && is_account(place) => {
                forwarded.push(job);
                continue;
            }
            Some(Outcome { result, program, .. }) => Fate::of_agent(result, program),
            None => Fate::local(Status::temporary(3, 0), "agent gave no outcome"),
        };
        end(place, job, attempt, fate);
        place.success();
    }
    forwarded
}
