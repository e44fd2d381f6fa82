//! Whoever is shown the attempts at a message: the caller of `sendmail -v` (sendmail.md 1.10; `call::submit` says who owns what). A message has
//! its witness from acceptance to the end of its first attempts; jobs and sessions have it while they are at this message.
//!
//! Nothing secret is told: a session leaves out what it says in AUTH, and content. Nobody waits for a witness.

use crate::job::Job;
use crate::line;
use crate::outcome::Fate;
use call::submit::Witness;
use mail::client::Answer;
use std::sync::Arc;

/// Somebody who is shown what happens, or nobody, which is usual and costs nothing.
#[derive(Clone, Default)]
pub(crate) struct Told(Option<Arc<Somebody>>);

struct Somebody {
    witness: Arc<dyn Witness>,
    /// The recipients of the attempt, as sendmail lists them before `...`.
    whom: String,
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.is_somebody() { "somebody" } else { "nobody" })
    }
}

impl Told {
    /// Whoever watches a job's message.
    pub(crate) fn of(job: &Job) -> Self {
        let Some(witness) = job.message.witness() else { return Self::default() };
        let envelope = &job.message.envelope;
        let whom: Vec<String> = job.recipients().map(|(_, recipient)| line::shown(envelope, recipient)).collect();
        Self(Some(Arc::new(Somebody { witness: Arc::clone(witness), whom: whom.join(",") })))
    }
    /// Whether anybody watches.
    pub(crate) const fn is_somebody(&self) -> bool {
        self.0.is_some()
    }
    /// A line that is made only if somebody watches.
    pub(crate) fn line(&self, make: impl FnOnce() -> String) {
        if let Some(somebody) = &self.0 {
            somebody.witness.tell(make());
        }
    }
    /// An attempt begins: `how` is `Connecting to`, or `Using cached ESMTP connection to`; `host` is empty for what is done here.
    pub(crate) fn begins(&self, how: &str, host: &str, mailer: &str) {
        let Some(Somebody { witness, whom }) = self.0.as_deref() else { return };
        let via = if host.is_empty() { "" } else { " via " };
        witness.tell(format!("{whom}... {how} {host}{via}{mailer}..."));
    }
    /// Commands that we say.
    pub(crate) fn said(&self, commands: &[u8]) {
        if let Some(somebody) = &self.0 {
            String::from_utf8_lossy(commands).lines().for_each(|line| somebody.witness.tell(format!(">>> {line}")));
        }
    }
    /// What the other side answers.
    pub(crate) fn heard(&self, answer: &Answer) {
        if let Some(somebody) = &self.0 {
            answer.wire_lines().for_each(|line| somebody.witness.tell(line));
        }
    }
}

/// The recipients of a job have become those that a `.forward` or list names, whom not everybody may see.
pub(crate) fn expanded(job: &Job) {
    let Some(witness) = job.message.witness().filter(|witness| !witness.may_see_members()) else { return };
    job.recipients()
        .for_each(|(_, recipient)| witness.tell(format!("{}... Sent", line::shown(&job.message.envelope, recipient))));
}

/// What became of recipients of a job: a line for each.
pub(crate) fn conclude(job: &Job, fates: &[(Fate, Vec<u32>)]) {
    let Some(witness) = job.message.witness() else { return };
    let envelope = &job.message.envelope;
    for (fate, indices) in fates {
        for recipient in indices.iter().filter_map(|&index| envelope.recipients.get(index as usize)) {
            witness.tell(format!("{}... {}", line::shown(envelope, recipient), fate.stat));
        }
    }
}
