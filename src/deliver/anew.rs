//! What a recipient becomes when the program, file or list that it was stands no more in its file: somebody has edited his `.forward`, or
//! the aliases, while the mail waited. Its agent says so and has done nothing. Called by `entry` and `expand`.
//!
//! An entry of a `.forward`: its user is asked again, as for new mail. An entry of the aliases: the alias is routed again, by its name.
//! Then the entry is replaced, in one commit, by those who are new; they stand beside it, below whoever named it, so that being edited often
//! is no long chain. States: in flight → **expanded** → its successors are in flight; whatever fails before the commit defers the entry.

use crate::agent::Agent;
use crate::expand::{Failed, Successors, Who, ask, commit, elder};
use crate::job::Job;
use crate::local::{end, unstarted};
use crate::outcome::{Attempt, Fate};
use crate::place::Place;
use call::agent::{Kind, Named, Question};
use mail::{Address, Status};
use queue::Recipient;
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
        return match alias(recipient, &entry).map(str::to_owned) {
            Some(name) => {
                let who = Who::Alias(Address::from_parts(&route::quoted(&name), None));
                replace(place, job, attempt, &name, Successors { under, who, anew: Some(why) }).await;
            }
            None => end(place, job, attempt, later(why)),
        };
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

/// The name of the alias that named an entry: it stands in `FILE:LINE: NAME`, where FILE may be a compiled form of the entry's, or another
/// path to it that a compiled form was made by. What could be read in two ways is not read.
fn alias<'a>(recipient: &'a Recipient, entry: &Entry) -> Option<&'a str> {
    let said = &*recipient.controlling;
    let by_file = said.strip_prefix(&*entry.file).and_then(|rest| rest.split_once(": "));
    let by_file = by_file.filter(|(rest, _)| !rest.contains('/')).map(|(_, name)| name);
    let name = by_file.or_else(|| said.split_once(": ").map(|(_, name)| name).filter(|name| !name.contains(": ")))?;
    // The rule of a table of patterns is no name.
    (!name.is_empty() && !name.starts_with('/') && !name.contains(char::is_control)).then_some(name)
}

async fn replace(place: &Place, job: Job, attempt: &Attempt, whose: &str, successors: Successors<'_>) {
    let (id, why) = (job.message.envelope.id, successors.anew.unwrap_or_default().to_owned());
    match commit(&place.inner, job, successors).await {
        Ok(count) => place.inner.remark(id, format!("{why}: {whose} was expanded anew, {count} new")),
        Err((job, (status, why))) => end(place, job, attempt, Fate::local(status, &why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_known_by_where_it_stood() {
        let entry = Entry { user: String::new(), detail: String::new(), mark: "1".into(), file: "/m/a: b".into() };
        let named = |controlling: &str| {
            let mut recipient = Recipient::new("x", Address::from_parts("x", None), "prog:::");
            recipient.controlling = controlling.into();
            alias(&recipient, &entry).map(str::to_owned)
        };
        for (text, name) in [
            ("/m/a: b:3: staff", "staff"),
            ("/m/a: b.db: it: s", "it: s"),
            ("/m/a: b: l+*", "l+*"),
            ("made/from:3: staff", "staff"),
        ] {
            assert_eq!(named(text).as_deref(), Some(name));
        }
        for text in ["", "/m/other: c:3: staff", "/m/a: b/c:3: staff", "/m/a: b:3: /^list-/", "/m/a: b:3: ", "staff"] {
            assert_eq!(named(text), None, "{text}");
        }
    }
}
