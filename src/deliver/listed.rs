//! Members of a list with an owner get mail under his name, in an envelope of their own, and he gets what comes back (sendmail's clone;
//! sendmail.md 3.1). `receive` does so with lists that the client or the aliases name; this with those that a `.forward` or a list's file
//! names. Where `delivered-to` is configured, what a `.forward` sends to another host is such a clone as well, with that field: two hosts that
//! forward to each other end it when it comes back, not by the number of hops alone. Called by `expand`, which commits the clones with the
//! expansion.

use crate::claim::submit_clone;
use crate::expand::elder;
use crate::job::Message;
use crate::start::{Inner, Routed};
use mail::QueueId;
use queue::{Accepted, Envelope, Notify, Origin, Recipient, State};
use route::{Key, Owner};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Why a member is in an envelope of its own: whose list named it, and whether it is to have what `Fields::forwarded` says.
type Apart = (Option<Owner>, bool);

/// Most envelopes that are made of one message: lists with owners whose members forward to each other's lists could go on for long.
/// What is beyond keeps the sender that it has.
const MOST: usize = 100;

/// What stands below `parent` now: recipients of his own envelope, and other envelopes: one for each owner who is not its sender already.
pub(crate) fn split(
    inner: &Inner,
    message: &Message,
    envelope: &Envelope,
    parent: Option<u32>,
    found: Vec<Routed>,
) -> (Vec<Recipient>, Vec<Envelope>) {
    let settings = inner.parts.settings.get();
    let from = parent.and_then(|at| envelope.recipients.get(at as usize));
    let field = from.and_then(|from| settings.fields.forwarded(from, &settings.host));
    let room = MOST.saturating_sub(message.clones.load(Ordering::Relaxed));
    let (own, apart) = sort(envelope, field.is_some(), room, found);
    message.clones.fetch_add(apart.len(), Ordering::Relaxed);
    let line = if apart.is_empty() { Vec::new() } else { line(envelope, parent) };
    let clones = apart.into_iter().map(|((owner, forwarded), members)| {
        let id = inner.parts.store.new_id(inner.parts.clock.now());
        let mut clone = clone(envelope, id, &line, members);
        if let Some(owner) = owner {
            list(&mut clone, &owner, line.len());
        }
        if forwarded && let Some(field) = &field {
            clone.prepend.insert_str(0, field);
        }
        clone
    });
    (own, clones.collect())
}

/// Those of this envelope, and those of at most `room` others.
fn sort(
    envelope: &Envelope,
    forwards: bool,
    room: usize,
    found: Vec<Routed>,
) -> (Vec<Recipient>, Vec<(Apart, Vec<Recipient>)>) {
    let (mut own, mut apart, mut places) = (Vec::new(), Vec::<(Apart, Vec<Recipient>)>::new(), HashMap::new());
    for Routed { recipient, owner } in found {
        let why = (owner.filter(|owner| owner.shown != envelope.sender), forwards && leaves(&recipient));
        if why == (None, false) || (apart.len() >= room && !places.contains_key(&why)) {
            own.push(recipient);
            continue;
        }
        own.push(recipient.elsewhere());
        let at = *places.entry(why.clone()).or_insert(apart.len());
        if at == apart.len() {
            apart.push((why, Vec::new()));
        }
        if let Some((_, members)) = apart.get_mut(at) {
            members.push(recipient);
        }
    }
    (own, apart)
}

/// Whether it goes to another host, or store.
fn leaves(recipient: &Recipient) -> bool {
    !Key::is_here(&recipient.route) && !matches!(Key::parse(&recipient.route), Some(Key::Error { .. } | Key::Discard))
}

/// How the parent came to be, the eldest first. They stand in the new envelope as well, so that a circle through several lists is seen there
/// and a chain has its end.
fn line(envelope: &Envelope, parent: Option<u32>) -> Vec<Recipient> {
    let (mut line, mut at) = (Vec::new(), parent);
    while let Some(recipient) = at.and_then(|at| envelope.recipients.get(at as usize)) {
        line.push(Recipient { state: State::Expanded, ..recipient.clone() });
        at = elder(recipient, at);
    }
    line.reverse();
    for (elder, recipient) in (0..).zip(line.iter_mut().skip(1)) {
        recipient.parent = Some(elder);
    }
    line
}

/// The same content for these members, with those who became them.
fn clone(of: &Envelope, id: QueueId, line: &[Recipient], members: Vec<Recipient>) -> Envelope {
    let parent = u32::try_from(line.len()).ok().and_then(|length| length.checked_sub(1));
    let member = |member: Recipient| Recipient { parent, ..member };
    Envelope {
        id,
        origin: Origin { submission: [0; 16], ..of.origin.clone() },
        queue_only: false,
        recipients: line.iter().cloned().chain(members.into_iter().map(member)).collect(),
        ..of.clone()
    }
}

/// Makes it the list's. The sender's wishes for notices do not apply to members (RFC 3461 5.2.7.3): failures go to the owner, nothing else does.
fn list(clone: &mut Envelope, owner: &Owner, members: usize) {
    (clone.sender, clone.sender_given) = (owner.shown.clone(), owner.given.to_string());
    (clone.ret, clone.envid) = (None, String::new());
    clone.smtputf8 |= !owner.shown.is_ascii();
    for member in clone.recipients.iter_mut().skip(members) {
        (member.notify, member.orcpt) = (Notify { failure: true, ..Notify::default() }, String::new());
    }
}

/// Hands out the clones of `message`.
pub(crate) fn hand_out(inner: &Arc<Inner>, message: &Arc<Message>, clones: Vec<Accepted>, anew: bool) {
    for clone in clones {
        let (id, sender) = (clone.envelope.id, &clone.envelope.sender);
        let why = if *sender == message.envelope.sender { "forwarded".into() } else { format!("owner={sender}") };
        inner.note(message.envelope.id, format!("{id}: clone: {why}"));
        submit_clone(message, inner, clone, anew);
    }
}
