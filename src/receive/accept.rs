//! From a finished dialogue to a committed message: the draft of an envelope, the Received field, the commit.

use crate::Receive;
use crate::content::Reading;
use crate::policy;
use crate::smtp::Serving;
use crate::wire::{Lost, Wire};
use mail::log::{Event, FromLine};
use mail::reply::Reply;
use mail::server::MailFrom;
use mail::{Address, QueueId, Status, Time};
use queue::{Body, ContentWriter, Envelope, Notify, Origin, Protocol, Recipient, Ret};
use route::Target;
use std::collections::HashSet;
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
    ret: Option<Ret>,
    envid: String,
    body: Body,
    smtputf8: bool,
    recipients: Vec<Recipient>,
    /// Recipients as the client counts them.
    taken: Vec<String>,
    seen: HashSet<String>,
}

impl Draft {
    pub(crate) fn new(sender: Address, from: &MailFrom) -> Self {
        Self {
            sender,
            given: from.address.to_string(),
            ret: from.ret.map(policy_ret),
            envid: from.envid.clone(),
            body: if from.eight_bit { Body::EightBitMime } else { Body::SevenBit },
            smtputf8: from.smtputf8,
            recipients: Vec::new(),
            taken: Vec::new(),
            seen: HashSet::new(),
        }
    }
    /// A draft without an SMTP dialogue.
    pub(crate) fn local(sender: Address, given: String, envid: String, ret: Option<Ret>, eight_bit: bool) -> Self {
        let body = if eight_bit { Body::EightBitMime } else { Body::SevenBit };
        let smtputf8 = !sender.is_ascii();
        Self {
            sender,
            given,
            ret,
            envid,
            body,
            smtputf8,
            recipients: Vec::new(),
            taken: Vec::new(),
            seen: HashSet::new(),
        }
    }
    /// How many final recipients there are so far.
    pub(crate) fn expanded(&self) -> usize {
        self.recipients.len()
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
            self.recipients.push(recipient);
        }
        self.taken.push(taken.given);
    }
    /// `for` clause of the Received field: only with one recipient, so that none learns of another (RFC 5321 7.2).
    pub(crate) fn only(&self) -> Option<&str> {
        match &self.taken[..] {
            [only] => Some(only),
            _ => None,
        }
    }
    /// The envelope to commit.
    pub(crate) fn envelope(self, id: QueueId, now: Time, origin: Origin, message_id: String) -> Envelope {
        Envelope {
            id,
            content: queue::ContentId::default(),
            size: 0,
            arrived: now.wall,
            origin,
            sender: self.sender,
            sender_given: self.given,
            message_id,
            ret: self.ret,
            envid: self.envid,
            body: self.body,
            smtputf8: self.smtputf8,
            requiretls: false,
            by: None,
            priority: 0,
            queue_only: false,
            prepend: String::new(),
            hold: None,
            recipients: self.recipients,
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

/// Logs the `from=` line.
pub(crate) fn log_from(receive: &Receive, envelope: &Envelope, size: u64, relay: String) {
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
        let id = serving.receive.store.new_id(now);
        let received = received(serving, draft, id);
        Self { id, now, received }
    }

    /// Reads the content up to its true end; a refusal is decided only then.
    pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        serving: &Serving,
        wire: &mut Wire<S>,
    ) -> Result<Result<Arrived, Reply>, Lost> {
        let settings = &serving.current.settings;
        let mut reading = Reading::new(&*serving.receive.store, self.received.as_bytes(), settings);
        reading.read(wire).await?;
        let peer = serving.peer.text();
        Ok(match reading.finish(settings) {
            Ok(whole) => Ok(Arrived {
                id: self.id,
                now: self.now,
                writer: whole.writer,
                size: whole.size,
                message_id: whole.message_id,
                eight_bit: whole.eight_bit,
            }),
            Err(refusal) => {
                serving.receive.note(Some(self.id), format!("refused content from {peer}: {}", refusal.why));
                Err(refusal.reply)
            }
        })
    }
}

impl Arrived {
    /// Commits; only its reply may be a 250.
    pub(crate) async fn commit(self, serving: &Serving, draft: Draft) -> Reply {
        let session = &serving.session;
        let protocol = match (&serving.tls, session.is_extended()) {
            (Some(_), _) => Protocol::Esmtps,
            (None, true) => Protocol::Esmtp,
            (None, false) => Protocol::Smtp,
        };
        let origin = Origin {
            protocol,
            peer: Some(serving.peer.ip.to_canonical()),
            peer_name: serving.peer.name.clone(),
            helo: session.helo().to_owned(),
            listener: serving.peer.listener.clone(),
            ..Origin::default()
        };
        let mut envelope = draft.envelope(self.id, self.now, origin, self.message_id);
        if self.eight_bit {
            // What the content is decides, not what the client forgot to say (P-31).
            envelope.body = Body::EightBitMime;
        }
        log_from(&serving.receive, &envelope, self.size, serving.peer.text());
        match serving.receive.store.accept(self.writer, vec![envelope]).await {
            Ok(accepted) => {
                for message in accepted {
                    serving.receive.next.accepted(message);
                }
                let text = format!("{} Message accepted for delivery", self.id);
                Reply::new(250, Some(Status::success(0, 0)), &text)
            }
            Err(error) => {
                serving.receive.note(Some(self.id), format!("not accepted: {error}"));
                policy::store_refusal(&error)
            }
        }
    }
}

/// The Received field of an SMTP session (RFC 5321 4.4, in sendmail's shape).
fn received(serving: &Serving, draft: &Draft, id: QueueId) -> String {
    let settings = &serving.current.settings;
    let with = match (&serving.tls, serving.session.is_extended(), draft.smtputf8) {
        (Some(_), _, true) => "UTF8SMTPS",
        (None, _, true) => "UTF8SMTP",
        (Some(_), _, false) => "ESMTPS",
        (None, true, false) => "ESMTP",
        (None, false, false) => "SMTP",
    };
    let mut text = format!(
        "Received: from {} ({})\r\n\tby {} ({}) with {with} id {id}",
        header_safe(serving.session.helo()),
        header_safe(&serving.peer.text()),
        settings.host,
        settings.version,
    );
    if let Some(tls) = &serving.tls {
        text.push_str(&format!("\r\n\t({} verify=NO)", tls.replace(',', "")));
    }
    match draft.only() {
        Some(only) if only.is_ascii() => text.push_str(&format!("\r\n\tfor <{}>; ", header_safe(only))),
        _ => text.push_str(";\r\n\t"),
    }
    text.push_str(&serving.date());
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_says_cannot_break_a_header_field() {
        assert_eq!(header_safe("a\r\nX: y (z) <w>"), "a??X: y ?z? ?w?");
        assert_eq!(header_safe(&"é".repeat(300)).len(), 255);
    }
}
