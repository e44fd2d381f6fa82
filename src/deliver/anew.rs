//! What a recipient becomes when the program or file that it was stands no more in its user's `.forward`: he has edited that while the mail
//! waited. His agent says so and has done nothing. Called by `entry` and `expand`.
//!
//! The user is asked again, as for new mail. Then the entry is replaced, in one commit, by those who are new; they stand beside it, below
//! whoever named it, so that being edited often is no long chain. States: in flight → **expanded** → its successors are in flight; whatever
//! fails before the commit defers the entry.
//!
//! Not so an entry of the aliases, which waits: two aliases that name the same program are one recipient, whose record tells of one of them.

use crate::agent::Agent;
use crate::expand::{Failed, Successors, Who, ask, commit, elder};
use crate::job::Job;
use crate::local::{end, unstarted};
use crate::outcome::{Attempt, Fate};
use crate::place::Place;
use call::agent::{Kind, Named, Question};
use mail::Status;
use route::{Entry, Key};

/// Expands a job's recipients anew, each for itself, for they may stand below different ones; `why` is what the agent said.
pub(crate) async fn again(place: &Place, kept: &mut Option<Agent>, job: Job, attempt: &Attempt, why: &str) {
    if job.message.anew {
        // Somebody edits faster than we read.
        return end(place, job, attempt, later(why));
    }
    for job in job.each() {
        one(place, kept, job, attempt, why).await;
    }
}

/// Kept in the queue: it may be put right.
fn later(why: &str) -> Fate {
    Fate::local(Status::temporary(3, 5), why)
}

async fn one(place: &Place, kept: &mut Option<Agent>, job: Job, attempt: &Attempt, why: &str) {
    let Some((index, recipient)) = job.recipients().next() else { return };
    let Some(Key::Program(entry) | Key::File(entry) | Key::Include(entry)) = Key::parse(&recipient.route) else {
        return end(place, job, attempt, later(why));
    };
    let under = elder(recipient, Some(index));
    if entry.user.is_empty() {
        return end(place, job, attempt, later(why));
    }
    let question = Question { detail: entry.detail.clone(), entry: None };
    let expansion = match ask(place, kept, (Kind::User, &entry.user), &question).await {
        Ok(expansion) => expansion,
        Err(Failed::Start(error)) => return unstarted(place, vec![job], attempt, &error),
        Err(Failed::Answer(error)) => {
            return end(place, job, attempt, Fate::local(Status::temporary(3, 0), &error));
        }
    };
    let id = job.message.envelope.id;
    expansion.notes.into_iter().for_each(|note| place.inner.note(id, note));
    let source = Entry { mark: String::new(), file: String::new(), ..entry.clone() };
    let who = match &expansion.answer {
        Named::Members(members) => Who::Members(members, &source),
        Named::Mailbox => Who::Mailbox(Key::Local { user: entry.user.clone(), detail: entry.detail, plain: true }),
        Named::Unavailable(subject, detail, why) => {
            return end(place, job, attempt, Fate::local(Status::temporary(*subject, *detail), why));
        }
        Named::Gone(_) => return end(place, job, attempt, later(why)),
    };
    replace(place, job, attempt, &entry.user, Successors { under, who, anew: Some(why) }).await;
}

async fn replace(place: &Place, job: Job, attempt: &Attempt, whose: &str, successors: Successors<'_>) {
    let (id, why) = (job.message.envelope.id, successors.anew.unwrap_or_default().to_owned());
    match commit(&place.inner, job, successors).await {
        Ok(count) => place.inner.remark(id, format!("{why}: {whose} was expanded anew, {count} new")),
        Err((job, (status, why))) => end(place, job, attempt, Fate::local(status, &why)),
    }
}
