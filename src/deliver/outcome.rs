//! What became of recipients, and what follows: changes for the store, a log line, a bounce or a warning.
//! Called by the workers and by `claim`.

use crate::job::Job;
use crate::line;
use crate::report::{self, Sheaf};
use crate::settings::Settings;
use crate::start::Inner;
use mail::{Severity, Status};
use queue::{Change, NewState, Recipient};
use std::sync::Arc;

const MINUTE: u64 = 60_000;
/// A mailbox that is locked or full is often free soon: the waits for local retries, milliseconds.
const LOCAL_WAITS: [u64; 6] = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE];
/// Longest reply kept, in characters.
const REPLY: usize = 900;

/// The outcome of an attempt, shared by one or more recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Its severity decides what happens.
    pub(crate) status: Status,
    /// As after `stat=` in the log and in `mailq`.
    pub(crate) stat: String,
    /// The other side's reply, one line, empty if there was none.
    pub(crate) reply: String,
    /// What that reply answered, for the transcript of a bounce: `RCPT To:<a@b>`, `DATA`.
    pub(crate) command: String,
}

impl Fate {
    /// Delivered; `text` is what the other side said.
    pub(crate) fn sent(text: &str) -> Self {
        let stat = if text.is_empty() { "Sent".to_owned() } else { format!("Sent ({text})") };
        Self { status: Status::success(0, 0), stat, reply: String::new(), command: String::new() }
    }
    /// Decided on this side, or by an agent.
    pub(crate) fn local(status: Status, text: &str) -> Self {
        let stat = match status.severity {
            Severity::Temporary => format!("Deferred: {text}"),
            Severity::Success | Severity::Permanent => text.to_owned(),
        };
        Self { status, stat, reply: String::new(), command: String::new() }
    }
    /// A reply of the other side, whole (`550 5.1.1 no such user here`); `stat` in sendmail's words if permanent.
    pub(crate) fn replied(status: Status, reply: &str, stat: &str, command: &str) -> Self {
        let reply: String = reply.chars().take(REPLY).collect();
        let stat = if status.is_temporary() { format!("Deferred: {reply}") } else { stat.to_owned() };
        Self { status, stat, reply, command: command.to_owned() }
    }
}

/// A hop that cannot be used at the moment, or for good.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// What its recipients are told.
    pub(crate) fate: Fate,
    /// For `relay=`; empty if no host was found.
    pub(crate) relay: String,
    /// The host's name, for bounces; may be empty.
    pub(crate) host: String,
}

/// One attempt, for log and bounce.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// `local`, `esmtp`, `relay`.
    pub(crate) mailer: &'static str,
    /// `host. [ip]`, empty for local.
    pub(crate) relay: String,
    /// Host name as bounces show it, empty for local.
    pub(crate) host: String,
    /// When it began, monotonic milliseconds.
    pub(crate) started: u64,
    /// The other side was told what is to be notified (DSN), and will do so.
    pub(crate) passes_dsn: bool,
}

impl Attempt {
    /// Without another host.
    pub(crate) fn here(mailer: &'static str, started: u64) -> Self {
        Self { mailer, relay: String::new(), host: String::new(), started, passes_dsn: false }
    }
}

/// Concludes recipients of a job: logs, records, and reports what must be reported. Recipients without a fate stay in
/// the job, which is given back when it is dropped here.
pub(crate) fn conclude(inner: &Arc<Inner>, mut job: Job, attempt: &Attempt, fates: Vec<(Fate, Vec<u32>)>) {
    let settings = inner.parts.settings.get();
    let now = inner.parts.clock.now();
    let envelope = job.message.envelope.clone();
    let age = u64::try_from(now.wall.saturating_sub(envelope.arrived)).unwrap_or(0);
    let (mut changes, mut sheaf) = (Vec::with_capacity(job.recipients.len()), Sheaf::default());
    // One wait for all, so that they go together again.
    let delayed = fates.iter().any(|(fate, _)| fate.status.is_temporary());
    let random = if delayed { rand::random::<f64>() } else { 0.0 };
    for (fate, indices) in &fates {
        inner.parts.log.write(&line::to(&envelope, indices, fate, attempt, now));
        // An attempt was just made, so a clock that jumped forward ends nothing untried.
        let expired = fate.status.is_temporary() && age > settings.policy.expire;
        for &index in indices {
            let Some(recipient) = envelope.recipients.get(index as usize) else {
                continue;
            };
            let state = match fate.status.severity {
                Severity::Success => NewState::Delivered,
                Severity::Temporary if !expired => {
                    let wait = wait(&settings, recipient, attempt, random);
                    NewState::Deferred(now.wall.saturating_add_unsigned(wait))
                }
                Severity::Temporary | Severity::Permanent => NewState::Bounced,
            };
            report::sort(&mut sheaf, &settings, &envelope, (index, fate), attempt, (state, expired, age));
            changes.push(change(index, state, fate, now.wall));
        }
    }
    if sheaf.is_empty() {
        job.recipients.retain(|r| !changes.iter().any(|c| c.recipient == *r));
        // Written without delay; the store logs its own failures, and what is lost with it is tried again.
        drop(inner.parts.store.record(envelope.id, changes));
        return;
    }
    inner.spawn(report::finish(inner.clone(), job, attempt.clone(), changes, sheaf));
}

fn change(recipient: u32, state: NewState, fate: &Fate, at: i64) -> Change {
    Change { recipient, state, at, status: Some(fate.status), reply: fate.stat.clone(), attempted: true, warned: false }
}

/// Wait before the next try, milliseconds.
fn wait(settings: &Settings, recipient: &Recipient, attempt: &Attempt, random: f64) -> u64 {
    let policy = &settings.policy;
    if attempt.mailer == "local" {
        let step = LOCAL_WAITS.get(recipient.tries as usize).copied().unwrap_or(30 * MINUTE);
        // A test's short policy shortens these too.
        return step.min(policy.backoff(recipient.tries.saturating_add(1), random));
    }
    policy.backoff(recipient.tries.saturating_add(1), random)
}
