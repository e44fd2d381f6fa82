//! From a finished dialogue to a committed message: the draft of an envelope, the Received field, the commit.

use crate::Receive;
use crate::check::Decision;
use crate::content::Reading;
use crate::policy;
use crate::rewrite::Rewriter;
use crate::smtp::Serving;
use crate::wire::{Lost, Wire};
use mail::log::{Event, FromLine, Outcome};
use mail::reply::Reply;
use mail::server::MailFrom;
use mail::{Address, QueueId, Status, Time};
use queue::{Body, ContentWriter, Envelope, Notify, Origin, Protocol, Recipient, Ret};
use route::{Owner, Target};
use std::collections::{HashMap, HashSet};
use table::Why;
use tokio::io::{AsyncRead, AsyncWrite};

/// An accepted RCPT with what it expanded to.
pub(crate) struct Taken {
    pub(crate) given: String,
    pub(crate) orcpt: String,
    pub(crate) notify: Notify,
    pub(crate) targets: Vec<Target>,
}

/// The envelope as it grows during MAIL and RCPT.
pub(crate) struct Draft {
    sender: Address,
    given: String,
    /// The sender as the client wrote it, for the checks.
    pub(crate) mail_from: Address,
    ret: Option<Ret>,
    envid: String,
    body: Body,
    smtputf8: bool,
    /// Those without an owner first; then one group for each owner.
    groups: Vec<Group>,
    /// Where the group of each owner is.
    owners: HashMap<Owner, usize>,
    /// Recipients as the client counts them.
    taken: Vec<String>,
    seen: HashSet<String>,
    /// Why it is held, if it is.
    hold: Option<String>,
    /// Why it is thrown away, if it is.
    discard: Option<Why>,
}

/// Final recipients that share an envelope.
#[derive(Default)]
struct Group {
    owner: Option<Owner>,
    recipients: Vec<Recipient>,
}

impl Draft {
    pub(crate) fn new(sender: Address, from: &MailFrom) -> Self {
        let body = if from.eight_bit { Body::EightBitMime } else { Body::SevenBit };
        Self {
            given: from.address.to_string(),
            mail_from: from.address.clone(),
            ret: from.ret.map(policy_ret),
            envid: from.envid.clone(),
            smtputf8: from.smtputf8,
            ..Self::empty(sender, body)
        }
    }
    /// A draft without an SMTP dialogue.
    pub(crate) fn local(sender: Address, given: String, envid: String, ret: Option<Ret>, eight_bit: bool) -> Self {
        let body = if eight_bit { Body::EightBitMime } else { Body::SevenBit };
        let smtputf8 = !sender.is_ascii();
        Self { given, ret, envid, smtputf8, ..Self::empty(sender, body) }
    }
    fn empty(sender: Address, body: Body) -> Self {
        Self {
            mail_from: sender.clone(),
            sender,
            given: String::new(),
            ret: None,
            envid: String::new(),
            body,
            smtputf8: false,
            groups: vec![Group::default()],
            owners: HashMap::new(),
            taken: Vec::new(),
            seen: HashSet::new(),
            hold: None,
            discard: None,
        }
    }
    /// How many final recipients there are so far.
    pub(crate) fn expanded(&self) -> usize {
        self.groups.iter().map(|group| group.recipients.len()).sum()
    }
    /// How it came, as the log says it and as the queue keeps it.
    pub(crate) fn protocol(&self, serving: &Serving) -> (&'static str, Protocol) {
        match (serving.encryption.is_on(), serving.session.is_extended()) {
            (true, _) => ("ESMTPS", Protocol::Esmtps),
            (false, true) => ("ESMTP", Protocol::Esmtp),
            (false, false) => ("SMTP", Protocol::Smtp),
        }
    }
    /// Why nothing of it is kept, if so.
    pub(crate) fn discarded(&self) -> Option<String> {
        match &self.discard {
            Some(why) => Some(why.to_string()),
            None => (self.expanded() == 0).then(|| "no recipient left".to_owned()),
        }
    }
    /// Whether a copy leaves this host.
    pub(crate) fn any_remote(&self) -> bool {
        let remote = |recipient: &Recipient| !route::Key::is_here(&recipient.route);
        self.groups.iter().flat_map(|group| &group.recipients).any(remote)
    }
    /// What a check said about the whole message. The first reason stays.
    pub(crate) fn apply(&mut self, said: &Decision) {
        match said {
            Decision::Discard(why) => drop(self.discard.get_or_insert_with(|| why.clone())),
            Decision::Hold(text, _) => drop(self.hold.get_or_insert_with(|| text.clone())),
            Decision::Pass | Decision::Stop(_) | Decision::Refuse(..) => {}
        }
    }
    /// Adds the targets of one RCPT; a person reached twice gets one copy.
    pub(crate) fn add(&mut self, taken: Taken) {
        for target in taken.targets {
            let route = target.key.to_string();
            let person = format!("{route} {}", target.address);
            self.smtputf8 |= !target.address.is_ascii();
            if !self.seen.insert(person) {
                continue;
            }
            let mut recipient = Recipient::new(&taken.given, target.address, &route);
            recipient.orcpt.clone_from(&taken.orcpt);
            recipient.notify = taken.notify;
            recipient.controlling = target.controlling;
            self.group(target.owner, recipient);
        }
        self.taken.push(taken.given);
    }
    /// Puts a recipient into the group of its owner. To the members of a list the sender's wishes for notices do not apply
    /// (RFC 3461 5.2.7.3): failures go to the owner, nothing else does.
    fn group(&mut self, owner: Option<Owner>, mut recipient: Recipient) {
        let owner = owner.filter(|owner| owner.shown != self.sender);
        let at = match &owner {
            None => 0,
            Some(owner) => {
                recipient.orcpt.clear();
                recipient.notify = Notify { failure: true, ..Notify::default() };
                *self.owners.entry(owner.clone()).or_insert(self.groups.len())
            }
        };
        if at == self.groups.len() {
            self.groups.push(Group { owner, recipients: Vec::new() });
        }
        if let Some(group) = self.groups.get_mut(at) {
            group.recipients.push(recipient);
        }
    }
    /// `for` clause of the Received field: only with one recipient, so that none learns of another (RFC 5321 7.2).
    pub(crate) fn only(&self) -> Option<&str> {
        match &self.taken[..] {
            [only] => Some(only),
            _ => None,
        }
    }
    /// The envelopes to commit, in one step: the first has `id`, the clones for lists with owners have new ones.
    pub(crate) fn envelopes(
        mut self,
        id: QueueId,
        mut new_id: impl FnMut() -> QueueId,
        now: Time,
        origin: &Origin,
        message_id: &str,
    ) -> Vec<Envelope> {
        let groups: Vec<Group> = self.groups.drain(..).filter(|group| !group.recipients.is_empty()).collect();
        let ids = std::iter::once(id).chain(std::iter::repeat_with(&mut new_id));
        groups.into_iter().zip(ids).map(|(group, id)| self.envelope(group, id, now, origin, message_id)).collect()
    }
    fn envelope(&self, group: Group, id: QueueId, now: Time, origin: &Origin, message_id: &str) -> Envelope {
        let listed = group.owner.is_some();
        let foreign = group.owner.as_ref().is_some_and(|owner| !owner.shown.is_ascii());
        // What cannot be delivered comes back to the sender as given.
        let given = group.owner.as_ref().map_or_else(|| self.given.clone(), |owner| owner.given.to_string());
        Envelope {
            id,
            content: queue::ContentId::default(),
            size: 0,
            arrived: now.wall,
            origin: origin.clone(),
            sender: group.owner.map_or_else(|| self.sender.clone(), |owner| owner.shown),
            sender_given: given,
            message_id: message_id.to_owned(),
            ret: self.ret.filter(|_| !listed),
            envid: if listed { String::new() } else { self.envid.clone() },
            body: self.body,
            smtputf8: self.smtputf8 || foreign,
            requiretls: false,
            by: None,
            priority: 0,
            queue_only: false,
            prepend: String::new(),
            hold: self.hold.clone(),
            recipients: group.recipients,
            unknown: Vec::new(),
        }
    }
}

fn policy_ret(ret: mail::server::Ret) -> Ret {
    match ret {
        mail::server::Ret::Full => Ret::Full,
        mail::server::Ret::Headers => Ret::Headers,
    }
}

/// Logs the `from=` lines, and for a list with an owner what its clone is.
pub(crate) fn log_all(receive: &Receive, envelopes: &[Envelope], size: u64, relay: &str) {
    let original = envelopes.first().map(|envelope| envelope.id);
    for envelope in envelopes {
        log_from(receive, envelope, size, relay.to_owned());
        if Some(envelope.id) != original {
            receive.note(original, format!("{}: clone: owner={}", envelope.id, envelope.sender));
        }
        if let Some(reason) = &envelope.hold {
            receive.note(Some(envelope.id), format!("quarantine={reason}"));
        }
    }
}

/// Logs the `from=` line.
fn log_from(receive: &Receive, envelope: &Envelope, size: u64, relay: String) {
    let origin = &envelope.origin;
    let (proto, from) = match origin.protocol {
        Protocol::Smtp => ("SMTP", format!("<{}>", envelope.sender)),
        Protocol::Esmtp => ("ESMTP", format!("<{}>", envelope.sender)),
        Protocol::Esmtps => ("ESMTPS", format!("<{}>", envelope.sender)),
        Protocol::Local | Protocol::Internal => ("", envelope.sender_given.clone()),
    };
    let bodytype = if envelope.body == Body::EightBitMime { "8BITMIME" } else { "" };
    receive.log.write(&Event::From(FromLine {
        id: envelope.id,
        from,
        size,
        nrcpts: envelope.recipients.len(),
        msgid: envelope.message_id.clone(),
        bodytype: bodytype.into(),
        proto: proto.into(),
        daemon: origin.listener.clone(),
        relay,
    }));
}

/// Text of the client's choosing as it may stand in a header field of ours.
pub(crate) fn header_safe(text: &str) -> String {
    let fit = |c: char| {
        if (' '..='~').contains(&c) && !"()<>\\".contains(c) { c } else { '?' }
    };
    text.chars().take(255).map(fit).collect()
}

/// Content that is about to arrive.
pub(crate) struct Arrival {
    id: QueueId,
    now: Time,
    received: String,
    rewriter: Option<Rewriter>,
}

/// Content that has arrived whole.
pub(crate) struct Arrived {
    id: QueueId,
    now: Time,
    writer: Box<dyn ContentWriter>,
    size: u64,
    message_id: String,
    eight_bit: bool,
}

impl Arrival {
    /// Takes a queue id and writes the Received field.
    pub(crate) fn begin(serving: &Serving, draft: &Draft) -> Self {
        let now = serving.receive.clock.now();
        let id = serving.id;
        let received = received(serving, draft, id);
        let rewriter = Rewriter::new(&serving.current.router, draft.any_remote());
        Self { id, now, received, rewriter }
    }

    /// Reads the content up to its true end; a refusal is decided only then.
    pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        serving: &Serving,
        wire: &mut Wire<S>,
    ) -> Result<Result<Arrived, Reply>, Lost> {
        let settings = &serving.current.settings;
        let mut reading = Reading::new(&*serving.receive.store, self.received.as_bytes(), settings, self.rewriter);
        reading.read(wire).await?;
        let peer = serving.peer.text();
        Ok(match reading.finish(settings, &peer) {
            Ok(whole) => Ok(Arrived {
                id: self.id,
                now: self.now,
                writer: whole.writer,
                size: whole.size,
                message_id: whole.message_id,
                eight_bit: whole.eight_bit,
            }),
            Err(refusal) => {
                let log = if refusal.ours { Receive::remark } else { Receive::note };
                log(&serving.receive, Some(self.id), refusal.logged);
                Err(refusal.reply)
            }
        })
    }
}

impl Arrived {
    /// Commits; only its reply may be a 250.
    pub(crate) async fn commit(self, serving: &Serving, draft: Draft) -> Reply {
        let session = &serving.session;
        let origin = Origin {
            protocol: draft.protocol(serving).1,
            peer: Some(serving.peer.ip.to_canonical()),
            peer_name: serving.peer.name.clone(),
            helo: session.helo().to_owned(),
            listener: serving.peer.listener.clone(),
            ..Origin::default()
        };
        let receive = &serving.receive;
        let text = format!("{} Message accepted for delivery", self.id);
        let taken = Reply::new(250, Some(Status::success(0, 0)), &text);
        if let Some(why) = draft.discarded() {
            receive.decided(Some(self.id), Outcome::Discarded, "discarded".into(), &why);
            return taken;
        }
        let new_id = || receive.store.new_id(self.now);
        let mut envelopes = draft.envelopes(self.id, new_id, self.now, &origin, &self.message_id);
        for envelope in &mut envelopes {
            if self.eight_bit {
                // What the content is decides, not what the client forgot to say (P-31).
                envelope.body = Body::EightBitMime;
            }
        }
        log_all(receive, &envelopes, self.size, &serving.peer.text());
        match receive.store.accept(self.writer, envelopes).await {
            Ok(accepted) => {
                receive.hand_on(accepted, None);
                taken
            }
            Err(error) => {
                receive.remark(Some(self.id), format!("not accepted: {error}"));
                policy::store_refusal(&error)
            }
        }
    }
}

/// The Received field of an SMTP session (RFC 5321 4.4, in sendmail's shape).
fn received(serving: &Serving, draft: &Draft, id: QueueId) -> String {
    let settings = &serving.current.settings;
    let with = match (serving.encryption.is_on(), serving.session.is_extended(), draft.smtputf8) {
        (true, _, true) => "UTF8SMTPS",
        (false, _, true) => "UTF8SMTP",
        (true, _, false) => "ESMTPS",
        (false, true, false) => "ESMTP",
        (false, false, false) => "SMTP",
    };
    let helo = match serving.session.helo() {
        "" if serving.peer.name.is_empty() => serving.peer.text(),
        "" => serving.peer.name.clone(),
        helo => helo.to_owned(),
    };
    let mut text = format!(
        "Received: from {} ({})\r\n\tby {} ({}) with {with} id {id}",
        header_safe(&helo),
        header_safe(&serving.peer.text()),
        settings.host,
        settings.version,
    );
    if serving.encryption.is_on() {
        text.push_str(&format!("\r\n\t({})", serving.encryption.received()));
    }
    match draft.only() {
        Some(only) if only.is_ascii() => text.push_str(&format!("\r\n\tfor <{}>; ", header_safe(only))),
        _ => text.push_str(";\r\n\t"),
    }
    text.push_str(&serving.date());
    text.push_str("\r\n");
    if serving.session.helo().is_empty() && settings.auth_warnings {
        let (host, peer) = (&settings.host, header_safe(&serving.peer.text()));
        text.push_str(&format!("X-Authentication-Warning: {host}: {peer} didn't use HELO protocol\r\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list's envelope shows its owner as others see him; what comes back to this host goes to him as the alias has him.
    #[test]
    fn an_owner_is_shown_and_gets_the_bounces() {
        let sender = Address::parse("a@b.example").unwrap();
        let mut draft = Draft::local(sender, "a@b.example".into(), String::new(), None, false);
        let owner = Owner {
            given: Address::parse("bob@mx.example").unwrap(),
            shown: Address::parse("bob@masq.example").unwrap(),
        };
        let target = Target {
            address: Address::parse("u@far.example").unwrap(),
            key: route::Key::parse("smtp:far.example").unwrap(),
            controlling: String::new(),
            owner: Some(owner),
            why: Why { source: "aliases".into(), line: 1, key: "list".into() },
            asked: "u@far.example".into(),
            written: String::new(),
        };
        let (given, notify) = ("list".to_owned(), Notify::default());
        draft.add(Taken { given, orcpt: String::new(), notify, targets: vec![target] });
        let (now, id) = (Time { wall: 0, mono: 0 }, QueueId::new(0, 1));
        let envelopes = draft.envelopes(id, || id, now, &Origin::default(), "");
        let [envelope] = &envelopes[..] else { panic!("{envelopes:?}") };
        assert_eq!((envelope.sender.as_str(), &envelope.sender_given[..]), ("bob@masq.example", "bob@mx.example"));
    }

    #[test]
    fn what_a_client_says_cannot_break_a_header_field() {
        assert_eq!(header_safe("a\r\nX: y (z) <w>"), "a??X: y ?z? ?w?");
        assert_eq!(header_safe(&"é".repeat(300)).len(), 255);
    }
}
