//! What became of recipients, and what follows: changes for the store, a log line, a bounce or a warning.
//! Called by the workers and by `claim`.

use crate::job::Job;
use crate::line;
use crate::report::{self, Sheaf};
use crate::settings::Settings;
use crate::start::Inner;
use crate::told;
use call::agent::{Done, Said};
use mail::client::Answer;
use mail::{Severity, Status, Time};
use queue::{Change, Envelope, NewState, Recipient};
use std::sync::Arc;

const MINUTE: u64 = 60_000;
/// A mailbox that is locked or full is often free soon: the waits for local retries, milliseconds.
const LOCAL_WAITS: [u64; 6] = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE];
/// Longest reply kept, in characters.
const REPLY: usize = 900;
/// A bounce quotes at most this many lines of a reply, and this many bytes.
const LINES: usize = 20;
const QUOTED: usize = 2_048;

/// What a reply answered, for the transcript of a bounce.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// Nothing: it is the greeting, or there was no reply.
    None,
    /// RCPT: each recipient that shares the fate had a line of its own.
    Rcpt,
    /// `DATA`, `MAIL From:<a@b>`.
    Line(String),
}

impl std::fmt::Display for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "greeting",
            Self::Rcpt => "RCPT",
            Self::Line(line) => line,
        })
    }
}

/// The outcome of an attempt, shared by one or more recipients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Its severity decides what happens.
    pub(crate) status: Status,
    /// As after `stat=` in the log and in `mailq`.
    pub(crate) stat: String,
    /// The first line of the other side's reply, empty if there was none.
    pub(crate) reply: String,
    /// All its lines as they came, for the transcript of a bounce; long ones are cut short.
    pub(crate) lines: Vec<String>,
    /// What that reply answered.
    pub(crate) command: Command,
    /// How a program ended, and what it said.
    pub(crate) program: Option<Box<Said>>,
}

impl Fate {
    /// Delivered; `text` is what the other side said.
    pub(crate) fn sent(text: &str) -> Self {
        let stat = if text.is_empty() { "Sent".to_owned() } else { format!("Sent ({text})") };
        Self::without_reply(Status::success(0, 0), stat)
    }
    /// Decided on this side, or by an agent.
    pub(crate) fn local(status: Status, text: &str) -> Self {
        let text = mail::log::without_numbers(text);
        let stat = match status.severity {
            Severity::Temporary => format!("Deferred: {text}"),
            Severity::Success | Severity::Permanent => text.into_owned(),
        };
        Self::without_reply(status, stat)
    }
    fn without_reply(status: Status, stat: String) -> Self {
        Self { status, stat, reply: String::new(), lines: Vec::new(), command: Command::None, program: None }
    }
    /// What an agent says.
    pub(crate) fn of_agent(done: Done, program: Option<Said>) -> Self {
        let fate = match done {
            Done::Delivered(_) => Self::sent(""),
            Done::Temporary(subject, detail, text) => Self::local(Status::temporary(subject, detail), &text),
            Done::Permanent(subject, detail, text) => Self::local(Status::permanent(subject, detail), &text),
            Done::Forward => Self::local(Status::temporary(3, 0), "there is a .forward now"),
            Done::Gone(text) => Self::local(Status::temporary(3, 5), &text),
        };
        Self { program: program.map(Box::new), ..fate }
    }
    /// A reply of the other side; `stat` in sendmail's words if permanent.
    pub(crate) fn replied(status: Status, answer: &Answer, stat: &str, command: Command) -> Self {
        let reply: String = answer.to_string().chars().take(REPLY).collect();
        let stat = if status.is_temporary() { format!("Deferred: {reply}") } else { stat.to_owned() };
        let mut bytes = 0;
        let fits = |line: &String| {
            bytes += line.len();
            bytes <= QUOTED
        };
        let lines = answer.wire_lines().take(LINES).take_while(fits).collect();
        Self { status, stat, reply, lines, command, program: None }
    }
    /// Whether the other side said the same of another recipient.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.status, &self.reply, &self.lines, &self.program)
            == (other.status, &other.reply, &other.lines, &other.program)
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
    /// The hop is left alone for at least this long, milliseconds.
    pub(crate) rest: u64,
}

impl Trouble {
    /// Without a host that could be named.
    pub(crate) const fn nowhere(fate: Fate) -> Self {
        Self { fate, relay: String::new(), host: String::new(), rest: 0 }
    }
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
    /// None was made: the hop failed for others a moment ago and is left alone until this monotonic time, milliseconds.
    pub(crate) dead_until: Option<u64>,
}

impl Attempt {
    /// Without another host.
    pub(crate) fn here(mailer: &'static str, started: u64) -> Self {
        Self { mailer, relay: String::new(), host: String::new(), started, passes_dsn: false, dead_until: None }
    }
    /// Whether there is something for the log. That a hop is still dead is none, unless the recipient has no reason yet.
    fn is_news(&self, envelope: &Envelope, indices: &[u32], fate: &Fate) -> bool {
        let is_new = |r: &Recipient| r.tries == 0 && r.last_reply.is_empty();
        let mut recipients = indices.iter().filter_map(|&index| envelope.recipients.get(index as usize));
        self.dead_until.is_none() || fate.status.is_permanent() || recipients.any(is_new)
    }
}

/// Concludes recipients of a job: logs, records, and reports what must be reported. Recipients without a fate stay in
/// the job, which is given back when it is dropped here.
pub(crate) fn conclude(inner: &Arc<Inner>, mut job: Job, attempt: &Attempt, fates: Vec<(Fate, Vec<u32>)>) {
    told::conclude(&job, &fates);
    let settings = inner.parts.settings.get();
    let now = inner.parts.clock.now();
    let envelope = job.message.envelope.clone();
    let age = u64::try_from(now.wall.saturating_sub(envelope.arrived)).unwrap_or(0);
    let (mut changes, mut sheaf) = (Vec::with_capacity(job.recipients.len()), Sheaf::default());
    // One wait for all, so that they go together again.
    let delayed = fates.iter().any(|(fate, _)| fate.status.is_temporary());
    let random = if delayed { rand::random::<f64>() } else { 0.0 };
    for (fate, indices) in &fates {
        // An attempt was just made, for this message or for another one of its hop, so a clock that jumped forward ends
        // nothing untried.
        let expired = fate.status.is_temporary() && age > settings.policy.expire;
        if expired || attempt.is_news(&envelope, indices, fate) {
            inner.parts.log.write(&line::to(&envelope, indices, fate, attempt, now));
        }
        for &index in indices {
            let Some(recipient) = envelope.recipients.get(index as usize) else {
                continue;
            };
            let state = match fate.status.severity {
                Severity::Success => NewState::Delivered,
                Severity::Temporary if !expired => {
                    let wait = wait(&settings, recipient, attempt, random, now);
                    NewState::Deferred(now.wall.saturating_add_unsigned(wait))
                }
                Severity::Temporary | Severity::Permanent => NewState::Bounced,
            };
            report::sort(&mut sheaf, &settings, &envelope, (index, fate), attempt, (state, expired, age));
            changes.push(change(index, state, fate, attempt, now.wall));
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

fn change(recipient: u32, state: NewState, fate: &Fate, attempt: &Attempt, at: i64) -> Change {
    let attempted = attempt.dead_until.is_none() || fate.status.is_permanent();
    Change { recipient, state, at, status: Some(fate.status), reply: fate.stat.clone(), attempted, warned: false }
}

/// Wait before the next try, milliseconds. Without an attempt the tries stand where they stood; a message never comes back sooner
/// than they say, or a dead hop with a long queue would be all that the scheduler looks at.
fn wait(settings: &Settings, recipient: &Recipient, attempt: &Attempt, random: f64, now: Time) -> u64 {
    let policy = &settings.policy;
    let failed = recipient.tries.saturating_add(u32::from(attempt.dead_until.is_none())).max(1);
    let own = policy.backoff(failed, random);
    let own = if matches!(attempt.mailer, "local" | "virtual") {
        let step = LOCAL_WAITS.get(failed as usize - 1).copied().unwrap_or(30 * MINUTE);
        // A test's short policy shortens these too.
        step.min(own)
    } else {
        own
    };
    let Some(until) = attempt.dead_until else {
        return own;
    };
    // Spread, so that they do not all come at the moment at which the hop may be tried again.
    let spread = (random * policy.min_backoff as f64 / 4.0) as u64;
    own.max(until.saturating_sub(now.mono).saturating_add(spread))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_in_words() {
        let fate = Fate::local(Status::temporary(3, 0), &std::io::Error::from_raw_os_error(13).to_string());
        assert_eq!(fate.stat, "Deferred: Permission denied");
    }

    #[test]
    fn a_quoted_reply_has_an_end() {
        let quoted = |line: &str, count: usize| {
            let answer = Answer { code: 550, status: None, lines: vec![line.to_owned(); count] };
            Fate::replied(Status::permanent(1, 1), &answer, "", Command::Rcpt).lines
        };
        assert_eq!(quoted("no", 2), ["550-no", "550 no"]);
        assert_eq!(quoted("no", 100).len(), LINES);
        assert_eq!(quoted(&"x".repeat(512), 100).len(), 3);
    }

    #[test]
    fn a_dead_hop_puts_off_by_its_own_time_or_the_messages_back_off() {
        let address = mail::Address::from_parts("u", Some("x"));
        let mut recipient = Recipient::new("u@x", address, "smtp:x");
        let mut settings = Settings::default();
        let now = Time { wall: 0, mono: 1_000 };
        let attempt = Attempt { dead_until: Some(31_000), ..Attempt::here("esmtp", 0) };
        let made = Attempt::here("esmtp", 0);
        assert_eq!(wait(&settings, &recipient, &attempt, 0.5, now), 5 * MINUTE);
        recipient.tries = 5;
        assert_eq!(wait(&settings, &recipient, &attempt, 0.5, now), 80 * MINUTE, "not as if it had been tried");
        assert_eq!(wait(&settings, &recipient, &made, 0.5, now), 160 * MINUTE);
        (settings.policy.min_backoff, settings.policy.max_backoff) = (1_000, 1_000);
        assert_eq!(wait(&settings, &recipient, &attempt, 0.0, now), 30_000);
        assert_eq!(wait(&settings, &recipient, &attempt, 1.0, now), 30_250, "not all at once");
    }
}
