//! What a user's `.forward` and an alias's `:include:` stand for (DESIGN §3: by an agent, after acceptance, committed in one frame before any
//! child is tried). Called by the workers of mailboxes and entries.
//!
//! States of a recipient: in flight → asked (an agent reads) → routed → **expanded** (commit point) → its children are in flight. Whatever
//! fails before the commit defers it, and the file will be asked again; after it nothing asks again, unless an entry stands no more (`anew`).
//! Members of a list with an owner become recipients of another envelope (`listed`), in the same commit.

use crate::agent::{Agent, Broken};
use crate::anew;
use crate::claim::dispatch_children;
use crate::crowd::Crowd;
use crate::entry::{agent_for, kept_or_new};
use crate::job::{Job, Message};
use crate::listed;
use crate::local::{end, unstarted};
use crate::outcome::{Attempt, Fate};
use crate::place::Place;
use crate::start::{Inner, Routed};
use crate::told;
use call::agent::{Expansion, Kind, Member, Named, Question};
use mail::alias::{AliasEntry, alias_entries};
use mail::{Address, Status};
use queue::{Envelope, Recipient};
use route::{Entry, Key};
use std::sync::Arc;
use std::time::Duration;

/// Longest wait for an answer: a home may lie on a slow server.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Longest chain of recipients that became each other (sendmail's MaxAliasRecursion).
const DEEP: usize = 10;
/// Most recipients that one message may get (as at RCPT).
const MOST: usize = 10_000;

/// Asks for the `.forward` of the place's user, for jobs that a mailbox agent left alone because there may be one.
pub(crate) async fn forwards(place: &Place, reader: &mut Option<Agent>, jobs: Vec<Job>) {
    let Key::Local { user, .. } = &*place.key else { return };
    let mut jobs = jobs.into_iter().peekable();
    while let Some(first) = jobs.next() {
        let detail = detail(&first);
        let mut same = vec![first];
        while let Some(job) = jobs.next_if(|job| self::detail(job) == detail) {
            same.push(job);
        }
        let attempt = Attempt::here("local", place.inner.parts.clock.now().mono);
        let source = Entry { user: user.clone(), detail: detail.clone(), mark: String::new(), file: String::new() };
        let question = Question { detail, entry: None };
        match ask(place, reader, (Kind::User, user), &question).await {
            Ok(expansion) => {
                for job in same {
                    obey(place, job, &attempt, &expansion, &source).await;
                }
            }
            Err(Failed::Start(error)) => unstarted(place, same, &attempt, &error),
            Err(Failed::Answer(error)) => {
                let fate = Fate::local(Status::temporary(3, 0), &error);
                same.into_iter().for_each(|job| end(place, job, &attempt, fate.clone()));
            }
        }
    }
}

/// What follows the plus in the name that a job is for.
fn detail(job: &Job) -> String {
    match job.recipients().next().and_then(|(_, recipient)| Key::parse(&recipient.route)) {
        Some(Key::Local { detail, .. }) => detail,
        _ => String::new(),
    }
}

/// Asks for the members of an alias's list.
pub(crate) async fn list(place: &Place, job: Job, entry: &Entry) {
    let attempt = Attempt::here("*include*", place.inner.parts.clock.now().mono);
    let named = call::agent::Entry { file: entry.file.clone(), mark: entry.mark.clone() };
    let question = Question { detail: String::new(), entry: Some(named) };
    match ask(place, &mut None, agent_for(entry), &question).await {
        Ok(expansion) => obey(place, job, &attempt, &expansion, entry).await,
        Err(Failed::Start(error)) => unstarted(place, vec![job], &attempt, &error),
        Err(Failed::Answer(error)) => end(place, job, &attempt, Fate::local(Status::temporary(3, 0), &error)),
    }
}

/// Why recipients stay what they are, and whether for good.
pub(crate) type Refused = (Status, String);

pub(crate) enum Failed {
    Start(String),
    Answer(String),
}

pub(crate) async fn ask(
    place: &Place,
    reader: &mut Option<Agent>,
    (kind, user): (Kind, &str),
    question: &Question,
) -> Result<Expansion, Failed> {
    let limit = TIMEOUT / place.inner.parts.settings.get().timeout_divisor.max(1);
    loop {
        let (mut agent, used) = kept_or_new(place, reader, kind, user).await.map_err(Failed::Start)?;
        match agent.expand(question.clone(), limit).await {
            Ok(expansion) => {
                *reader = Some(agent);
                return Ok(expansion);
            }
            // A kept one has ended. To ask twice does no harm.
            Err(Broken::Before(_) | Broken::Amid(_)) if used => {}
            Err(broken) => return Err(Failed::Answer(broken.to_string())),
        }
    }
}

/// Does what the file says with one job.
async fn obey(place: &Place, mut job: Job, attempt: &Attempt, expansion: &Expansion, source: &Entry) {
    let id = job.message.envelope.id;
    expansion.notes.iter().for_each(|note| place.inner.note(id, note.clone()));
    match &expansion.answer {
        Named::Mailbox if job.has_twin(&*Message::root(&job.message).latest.lock().await) => {
            end(place, job, attempt, Fate::local(Status::success(0, 0), "Sent (one copy for the mailbox)"));
        }
        Named::Mailbox => {
            job.looked = true;
            let settings = place.inner.parts.settings.get();
            let route = job.recipients().next().map(|(_, recipient)| recipient.route.clone());
            if let (Some(_), Some(route)) = (&settings.lmtp, route) {
                crate::claim::push(&place.inner, &route, job, &settings);
            } else {
                place.put_back(job);
            }
        }
        Named::Unavailable(subject, detail, why) => {
            end(place, job, attempt, Fate::local(Status::temporary(*subject, *detail), why));
        }
        Named::Gone(why) => anew::again(place, &mut None, job, attempt, why).await,
        // Never accepted and forgotten, as for an alias without members.
        Named::Members(members) if members.is_empty() => {
            let text = "aliasing/forwarding loop broken (a list without members)";
            end(place, job, attempt, Fate::local(Status::permanent(4, 6), text));
        }
        Named::Members(members) => {
            let under = job.recipients.first().copied();
            let successors = Successors { under, who: Who::Members(members, source), anew: None };
            if let Err((job, (status, why))) = commit(&place.inner, job, successors).await {
                end(place, job, attempt, Fate::local(status, &why));
            }
        }
    }
}

/// What takes the place of recipients.
pub(crate) struct Successors<'a> {
    /// Below whom it stands: the recipients themselves; or whoever named what stands no more in his file.
    pub(crate) under: Option<u32>,
    /// Who they are.
    pub(crate) who: Who<'a>,
    /// It is not the first time, and why.
    pub(crate) anew: Option<&'a str>,
}

/// Who that is.
pub(crate) enum Who<'a> {
    /// Members of a file, and whose it is.
    Members(&'a [Member], &'a Entry),
    /// A mailbox.
    Mailbox(Key),
}

/// Replaces the job's recipients by what they have become, and hands that out; how many there are.
pub(crate) async fn commit(
    inner: &Arc<Inner>,
    mut job: Job,
    successors: Successors<'_>,
) -> Result<usize, (Job, Refused)> {
    let message = job.message.clone();
    let root = Message::root(&message);
    // Nobody else adds recipients meanwhile, so that each person is seen.
    let mut latest = root.latest.lock().await;
    let children = match children(inner, &latest, &job.recipients, &successors).await {
        Ok(children) => children,
        Err(why) => {
            drop(latest);
            return Err((job, why));
        }
    };
    let (first, count, id) = (latest.recipients.len(), children.len(), message.envelope.id);
    let (under, anew) = (successors.under, successors.anew.is_some());
    let (children, clones) = listed::split(inner, &message, &latest, under, children);
    let expansion = queue::Expansion { parents: job.recipients.clone(), children, clones };
    let expanded = match inner.parts.store.expand(id, expansion).await {
        Ok(expanded) => expanded,
        Err(error) => {
            drop(latest);
            return Err((job, (Status::temporary(3, 0), format!("cannot record the expansion: {error}"))));
        }
    };
    told::expanded(&job);
    job.recipients.clear();
    if let Some(envelope) = expanded.envelope {
        latest.clone_from(&envelope);
        drop(latest);
        dispatch_children(inner, &Message::expanded(&message, envelope, anew), first, under);
    }
    listed::hand_out(inner, &message, expanded.clones, anew);
    Ok(count)
}

/// The recipients that those at `replaced` have become, without those who get the message anyway.
async fn children(
    inner: &Inner,
    envelope: &Envelope,
    replaced: &[u32],
    successors: &Successors<'_>,
) -> Result<Vec<Routed>, Refused> {
    let at = |index: u32| envelope.recipients.get(index as usize);
    let Some(of) = replaced.first().and_then(|&first| at(first)) else { return Ok(Vec::new()) };
    let above = successors.under.and_then(at).unwrap_or(of);
    let mut brood = Brood {
        of,
        under: successors.under,
        anew: successors.anew,
        ancestors: successors.under.map_or_else(Vec::new, |under| ancestors(envelope, under)),
        crowd: Crowd::of(envelope, replaced, successors.anew.is_some()),
        room: MOST.saturating_sub(envelope.recipients.len()),
        found: Vec::new(),
    };
    match &successors.who {
        Who::Members(members, source) => {
            for member in *members {
                let named = || format!("{}:{}: {}", member.file, member.line, above.address);
                for routed in recipients_of(inner, member, source).await? {
                    brood.add(routed, named)?;
                }
            }
        }
        Who::Mailbox(key) if brood.crowd.has_mailbox(key) => {}
        Who::Mailbox(key) => {
            let recipient = Recipient::new("", of_mailbox(key), &key.to_string());
            brood.add(Routed { recipient, owner: None }, || above.controlling.clone())?;
        }
    }
    Ok(brood.found)
}

/// The address of a mailbox, as `route` makes it.
fn of_mailbox(key: &Key) -> Address {
    let name = match key {
        Key::Local { user, detail, .. } if !detail.is_empty() => format!("{user}+{detail}"),
        Key::Local { user, .. } => user.clone(),
        other => other.to_string(),
    };
    Address::from_parts(&route::quoted(&name), None)
}

/// Children as they are found.
struct Brood<'a> {
    /// The recipient that they replace.
    of: &'a Recipient,
    under: Option<u32>,
    anew: Option<&'a str>,
    ancestors: Vec<String>,
    crowd: Crowd,
    room: usize,
    found: Vec<Routed>,
}

impl Brood<'_> {
    /// Takes one more, if nobody has it already; `named` says who named it if its route does not.
    fn add(&mut self, routed: Routed, named: impl Fn() -> String) -> Result<(), Refused> {
        let Routed { recipient: mut child, owner } = routed;
        if let Some(why) = self.anew.filter(|_| child.route == self.of.route) {
            // The tables are behind the file, or somebody is writing it just now.
            return Err((Status::temporary(3, 5), format!("{why}, but what is in force names it still")));
        }
        if self.ancestors.len() > DEEP {
            let text = format!("aliasing/forwarding loop broken ({} aliases deep; {DEEP} max)", self.ancestors.len());
            child.route = Key::Error { status: Status::permanent(4, 6), text }.to_string();
        }
        // Who comes back to himself stays at home: his own name, or a circle of forwarders.
        if let Some(Key::Local { user, detail, plain: false }) = Key::parse(&child.route)
            && self.ancestors.contains(&user)
        {
            child.route = Key::Local { user, detail, plain: true }.to_string();
        }
        if !self.crowd.admits(&child, owner.is_some()) {
            return Ok(());
        }
        child.given.clone_from(&self.of.given);
        child.orcpt.clone_from(&self.of.orcpt);
        child.notify = self.of.notify;
        child.parent = self.under;
        if child.controlling.is_empty() {
            child.controlling = named();
        }
        self.found.push(Routed { recipient: child, owner });
        if self.found.len() > self.room {
            return Err((Status::permanent(4, 6), format!("more than {MOST} recipients after forwarding")));
        }
        Ok(())
    }
}

/// The local users that became `recipient`, itself included; empty names for what else did.
fn ancestors(envelope: &Envelope, recipient: u32) -> Vec<String> {
    let mut users = Vec::new();
    let mut at = Some(recipient);
    while let Some(recipient) = at.and_then(|at| envelope.recipients.get(at as usize)) {
        users.push(match Key::parse(&recipient.route) {
            Some(Key::Local { user, .. }) => user,
            _ => String::new(),
        });
        at = elder(recipient, at);
    }
    users
}

/// The parent, which stands before its children: going up ends.
pub(crate) fn elder(recipient: &Recipient, at: Option<u32>) -> Option<u32> {
    recipient.parent.filter(|parent| at.is_some_and(|at| *parent < at))
}

/// What one member is. An error is for all: a table cannot be asked now, and nothing routes a committed child again.
async fn recipients_of(inner: &Inner, member: &Member, source: &Entry) -> Result<Vec<Routed>, Refused> {
    let one = |given: &str, address: Address, key: Key| {
        Ok(vec![Routed { recipient: Recipient::new(given, address, &key.to_string()), owner: None }])
    };
    let refused = |status, text: &str, shown: &str| {
        one(shown, Address::from_parts(shown, None), Key::Error { status, text: text.to_owned() })
    };
    let text = match &member.entry {
        Ok(text) => text,
        Err(why) => {
            let (status, text) = Status::split(why).unwrap_or((Status::permanent(2, 4), why));
            return refused(status, text, &source.user);
        }
    };
    let Some(entry) = alias_entries(text).into_iter().next() else { return Ok(Vec::new()) };
    let address = match &entry {
        AliasEntry::Program(_) | AliasEntry::File(_) | AliasEntry::Include(_) => {
            let named = Entry { mark: entry.mark(), file: member.file.clone(), ..source.clone() };
            let key = if matches!(entry, AliasEntry::Program(_)) { Key::Program(named) } else { Key::File(named) };
            let shown = Address::from_parts(&route::quoted(&entry.to_string()), None);
            return one(text, shown, key);
        }
        AliasEntry::Mailbox(user) | AliasEntry::Address(user) if !source.user.is_empty() && *user == source.user => {
            let key = Key::Local { user: user.clone(), detail: String::new(), plain: true };
            return one(user, Address::from_parts(&route::quoted(user), None), key);
        }
        AliasEntry::Mailbox(user) => Address::parse(&format!("\\{user}")).ok(),
        AliasEntry::Address(text) => Address::parse(text).ok().or_else(|| {
            let path = mail::path::forward_path(text).ok()?;
            path.rest.trim().is_empty().then_some(path.address)
        }),
    };
    let Some(address) = address.filter(|address| !address.is_null()) else {
        return refused(Status::permanent(1, 3), &format!("{text}... bad address in {}", member.file), &source.user);
    };
    routed(inner, &address).await
}

/// What an address stands for, as the tables are now.
async fn routed(inner: &Inner, address: &Address) -> Result<Vec<Routed>, Refused> {
    let found = inner.parts.routes.route(address).await;
    for routed in &found {
        if let Some(Key::Error { status, text }) = Key::parse(&routed.recipient.route)
            && status.is_temporary()
        {
            return Err((Status::temporary(3, 0), format!("no route for {address} now: {text}")));
        }
    }
    Ok(found)
}
