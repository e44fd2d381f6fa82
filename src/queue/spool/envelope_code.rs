//! The envelope's bytes. Every field has a tag; a default is left out; an unknown tag is kept, also inside origin and
//! recipients, and written again (DESIGN §3), so that going back to an older program loses nothing.

use super::code::{Fields, Malformed, Reader, number, small, text};
use super::record::{put_status, status};
use crate::{Body, Envelope, Notify, Origin, Protocol, Recipient, Ret, State};
use bytes::Bytes;
use mail::{Address, QueueId};
use std::net::IpAddr;

/// In [`Envelope::unknown`]: an unknown field of the origin (its tag, then its bytes).
const IN_ORIGIN: u16 = 0xfffe;
/// In [`Envelope::unknown`]: an unknown field of a recipient (index, tag, bytes).
const IN_RECIPIENT: u16 = 0xffff;

const ID: u16 = 1;
const CONTENT: u16 = 2;
const SIZE: u16 = 3;
const ARRIVED: u16 = 4;
const ORIGIN: u16 = 5;
const SENDER: u16 = 6;
const SENDER_GIVEN: u16 = 7;
const MESSAGE_ID: u16 = 8;
const RET: u16 = 9;
const ENVID: u16 = 10;
const BODY: u16 = 11;
const SMTPUTF8: u16 = 12;
const REQUIRETLS: u16 = 13;
const BY: u16 = 14;
const PRIORITY: u16 = 15;
const QUEUE_ONLY: u16 = 16;
const PREPEND: u16 = 17;
const HOLD: u16 = 18;
const RECIPIENT: u16 = 19;

/// The id of an encoded envelope, which is its first field.
pub(crate) fn id_of(fields: &[u8]) -> Result<QueueId, Malformed> {
    match Reader(fields).next().ok_or(Malformed)?? {
        (ID, bytes) => Ok(QueueId::from_u64(number(bytes)?)),
        _ => Err(Malformed),
    }
}

/// Adds an envelope.
pub(crate) fn encode(out: &mut Fields, envelope: &Envelope) {
    out.put(ID, &envelope.id.to_u64().to_le_bytes());
    out.number(CONTENT, envelope.content.0);
    out.number(SIZE, envelope.size);
    out.number(ARRIVED, envelope.arrived as u64);
    out.nested(ORIGIN, |out| origin(out, envelope));
    if !envelope.sender.is_null() {
        address(out, SENDER, &envelope.sender);
    }
    out.text(SENDER_GIVEN, &envelope.sender_given);
    out.text(MESSAGE_ID, &envelope.message_id);
    if let Some(ret) = envelope.ret {
        out.put(RET, &[u8::from(ret == Ret::Headers)]);
    }
    out.text(ENVID, &envelope.envid);
    out.number(BODY, u64::from(envelope.body == Body::EightBitMime));
    out.number(SMTPUTF8, u64::from(envelope.smtputf8));
    out.number(REQUIRETLS, u64::from(envelope.requiretls));
    if let Some((until, mode)) = &envelope.by {
        out.nested(BY, |out| {
            out.0.extend_from_slice(&until.to_le_bytes());
            out.0.extend_from_slice(mode.as_bytes());
        });
    }
    out.number(PRIORITY, u64::from(envelope.priority as u8));
    out.number(QUEUE_ONLY, u64::from(envelope.queue_only));
    out.text(PREPEND, &envelope.prepend);
    if let Some(hold) = &envelope.hold {
        out.put(HOLD, hold.as_bytes());
    }
    for (index, recipient) in envelope.recipients.iter().enumerate() {
        out.nested(RECIPIENT, |out| {
            encode_recipient(out, recipient);
            kept_of_recipient(out, envelope, index as u32);
        });
    }
    for (tag, bytes) in &envelope.unknown {
        if *tag < IN_ORIGIN {
            out.put(*tag, bytes);
        }
    }
}

fn kept_of_recipient(out: &mut Fields, envelope: &Envelope, index: u32) {
    for (_, bytes) in envelope.unknown.iter().filter(|(tag, _)| *tag == IN_RECIPIENT) {
        if let Some((at, field)) = bytes.split_first_chunk::<4>()
            && u32::from_le_bytes(*at) == index
            && let Some((tag, field)) = field.split_first_chunk::<2>()
        {
            out.put(u16::from_le_bytes(*tag), field);
        }
    }
}

fn origin(out: &mut Fields, envelope: &Envelope) {
    let origin = &envelope.origin;
    let protocol = match origin.protocol {
        Protocol::Esmtp => 0,
        Protocol::Smtp => 1,
        Protocol::Esmtps => 2,
        Protocol::Local => 3,
        Protocol::Internal => 4,
    };
    out.number(1, protocol);
    if let Some(uid) = origin.uid {
        out.put(2, &uid.to_le_bytes());
    }
    out.text(3, &origin.user);
    match origin.peer {
        Some(IpAddr::V4(peer)) => out.put(4, &peer.octets()),
        Some(IpAddr::V6(peer)) => out.put(4, &peer.octets()),
        None => {}
    }
    out.text(5, &origin.peer_name);
    out.text(6, &origin.helo);
    out.text(7, &origin.auth);
    out.text(8, &origin.listener);
    if origin.submission != [0; 16] {
        out.put(9, &origin.submission);
    }
    for (_, bytes) in envelope.unknown.iter().filter(|(tag, _)| *tag == IN_ORIGIN) {
        if let Some((tag, field)) = bytes.split_first_chunk::<2>() {
            out.put(u16::from_le_bytes(*tag), field);
        }
    }
}

/// The offset of the `@`, then the text.
fn address(out: &mut Fields, tag: u16, address: &Address) {
    out.nested(tag, |out| {
        out.0.extend_from_slice(&(address.local().len() as u32).to_le_bytes());
        out.0.extend_from_slice(address.as_str().as_bytes());
    });
}

fn decode_address(bytes: &[u8]) -> Result<Address, Malformed> {
    let (at, text) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    let text = std::str::from_utf8(text).map_err(|_| Malformed)?;
    let (local, rest) = text.split_at_checked(u32::from_le_bytes(*at) as usize).ok_or(Malformed)?;
    match rest.strip_prefix('@') {
        Some(domain) => Ok(Address::from_parts(local, Some(domain))),
        None if rest.is_empty() => Ok(Address::from_parts(local, None)),
        None => Err(Malformed),
    }
}

/// Adds a recipient's fields.
pub(crate) fn encode_recipient(out: &mut Fields, recipient: &Recipient) {
    let Notify { never, success, failure, delay } = recipient.notify;
    let bits = u8::from(never) | u8::from(success) << 1 | u8::from(failure) << 2 | u8::from(delay) << 3;
    out.text(1, &recipient.given);
    out.text(2, &recipient.orcpt);
    out.number(3, u64::from(bits));
    if let Some(parent) = recipient.parent {
        out.put(4, &parent.to_le_bytes());
    }
    out.text(5, &recipient.controlling);
    address(out, 6, &recipient.address);
    out.text(7, &recipient.route);
    let (state, until) = match recipient.state {
        State::Due { perhaps_delivered: false } | State::InFlight => (0u8, 0),
        State::Due { perhaps_delivered: true } => (1, 0),
        State::Deferred(until) => (2, until),
        State::Expanded => (3, 0),
        State::Delivered => (4, 0),
        State::Bounced => (5, 0),
    };
    if state != 0 {
        out.nested(8, |out| {
            out.0.push(state);
            out.0.extend_from_slice(&until.to_le_bytes());
        });
    }
    out.number(9, u64::from(recipient.tries));
    out.number(10, recipient.first_attempt as u64);
    out.number(11, recipient.last_attempt as u64);
    if recipient.last_status.is_some() {
        out.put(12, &put_status(recipient.last_status));
    }
    out.text(13, &recipient.last_reply);
    out.number(14, u64::from(recipient.warned));
}

/// Fields of a later version.
type Unknown<'a> = Vec<(u16, &'a [u8])>;

/// A recipient and its unknown fields.
pub(crate) fn decode_recipient(fields: &[u8]) -> Result<(Recipient, Unknown<'_>), Malformed> {
    let mut recipient = Recipient::new("", Address::null(), "");
    let mut unknown = Vec::new();
    for field in Reader(fields) {
        let (tag, bytes) = field?;
        match tag {
            1 => recipient.given = text(bytes)?,
            2 => recipient.orcpt = text(bytes)?,
            3 => {
                let bits = number(bytes)?;
                recipient.notify = Notify {
                    never: bits & 1 != 0,
                    success: bits & 2 != 0,
                    failure: bits & 4 != 0,
                    delay: bits & 8 != 0,
                };
            }
            4 => recipient.parent = Some(small(bytes)?),
            5 => recipient.controlling = text(bytes)?,
            6 => recipient.address = decode_address(bytes)?,
            7 => recipient.route = text(bytes)?,
            8 => recipient.state = decode_state(bytes)?,
            9 => recipient.tries = small(bytes)?,
            10 => recipient.first_attempt = number(bytes)? as i64,
            11 => recipient.last_attempt = number(bytes)? as i64,
            12 => recipient.last_status = status(bytes)?,
            13 => recipient.last_reply = text(bytes)?,
            14 => recipient.warned = number(bytes)? != 0,
            _ => unknown.push((tag, bytes)),
        }
    }
    Ok((recipient, unknown))
}

fn decode_state(bytes: &[u8]) -> Result<State, Malformed> {
    let (state, until) = bytes.split_first().ok_or(Malformed)?;
    let until = i64::from_le_bytes(until.try_into().map_err(|_| Malformed)?);
    Ok(match state {
        0 => State::Due { perhaps_delivered: false },
        1 => State::Due { perhaps_delivered: true },
        2 => State::Deferred(until),
        3 => State::Expanded,
        4 => State::Delivered,
        5 => State::Bounced,
        _ => return Err(Malformed),
    })
}

fn empty() -> Envelope {
    Envelope {
        id: QueueId::from_u64(0),
        content: crate::ContentId(0),
        size: 0,
        arrived: 0,
        origin: Origin::default(),
        sender: Address::null(),
        sender_given: String::new(),
        message_id: String::new(),
        ret: None,
        envid: String::new(),
        body: Body::SevenBit,
        smtputf8: false,
        requiretls: false,
        by: None,
        priority: 0,
        queue_only: false,
        prepend: String::new(),
        hold: None,
        recipients: Vec::new(),
        unknown: Vec::new(),
    }
}

/// An envelope from its fields.
pub(crate) fn decode(fields: &[u8]) -> Result<Envelope, Malformed> {
    let mut envelope = empty();
    for field in Reader(fields) {
        let (tag, bytes) = field?;
        match tag {
            ID => envelope.id = QueueId::from_u64(number(bytes)?),
            CONTENT => envelope.content = crate::ContentId(number(bytes)?),
            SIZE => envelope.size = number(bytes)?,
            ARRIVED => envelope.arrived = number(bytes)? as i64,
            ORIGIN => decode_origin(&mut envelope, bytes)?,
            SENDER => envelope.sender = decode_address(bytes)?,
            SENDER_GIVEN => envelope.sender_given = text(bytes)?,
            MESSAGE_ID => envelope.message_id = text(bytes)?,
            RET => envelope.ret = Some(if bytes == [1] { Ret::Headers } else { Ret::Full }),
            ENVID => envelope.envid = text(bytes)?,
            BODY => envelope.body = if number(bytes)? == 1 { Body::EightBitMime } else { Body::SevenBit },
            SMTPUTF8 => envelope.smtputf8 = number(bytes)? != 0,
            REQUIRETLS => envelope.requiretls = number(bytes)? != 0,
            BY => {
                let (until, mode) = bytes.split_first_chunk::<8>().ok_or(Malformed)?;
                envelope.by = Some((i64::from_le_bytes(*until), text(mode)?));
            }
            PRIORITY => envelope.priority = number(bytes)? as u8 as i8,
            QUEUE_ONLY => envelope.queue_only = number(bytes)? != 0,
            PREPEND => envelope.prepend = text(bytes)?,
            HOLD => envelope.hold = Some(text(bytes)?),
            RECIPIENT => add_recipient(&mut envelope, bytes)?,
            // The two highest tags mean something in memory only; no version writes them.
            IN_ORIGIN.. => {}
            _ => envelope.unknown.push((tag, Bytes::copy_from_slice(bytes))),
        }
    }
    Ok(envelope)
}

fn add_recipient(envelope: &mut Envelope, fields: &[u8]) -> Result<(), Malformed> {
    let index = envelope.recipients.len() as u32;
    let (recipient, unknown) = decode_recipient(fields)?;
    envelope.recipients.push(recipient);
    for (tag, bytes) in unknown {
        let mut kept = index.to_le_bytes().to_vec();
        kept.extend_from_slice(&tag.to_le_bytes());
        kept.extend_from_slice(bytes);
        envelope.unknown.push((IN_RECIPIENT, kept.into()));
    }
    Ok(())
}

fn decode_origin(envelope: &mut Envelope, fields: &[u8]) -> Result<(), Malformed> {
    for field in Reader(fields) {
        let (tag, bytes) = field?;
        let origin = &mut envelope.origin;
        match tag {
            1 => {
                origin.protocol = match number(bytes)? {
                    1 => Protocol::Smtp,
                    2 => Protocol::Esmtps,
                    3 => Protocol::Local,
                    4 => Protocol::Internal,
                    _ => Protocol::Esmtp,
                }
            }
            2 => origin.uid = Some(small(bytes)?),
            3 => origin.user = text(bytes)?,
            4 => {
                origin.peer = match bytes.len() {
                    4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
                    _ => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).map_err(|_| Malformed)?)),
                }
            }
            5 => origin.peer_name = text(bytes)?,
            6 => origin.helo = text(bytes)?,
            7 => origin.auth = text(bytes)?,
            8 => origin.listener = text(bytes)?,
            9 => origin.submission = bytes.try_into().map_err(|_| Malformed)?,
            _ => {
                let mut kept = tag.to_le_bytes().to_vec();
                kept.extend_from_slice(bytes);
                envelope.unknown.push((IN_ORIGIN, kept.into()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mail::Status;

    /// An envelope with something in every field.
    pub(crate) fn full() -> Envelope {
        let mut recipient = Recipient::new("list@x", Address::from_parts("a", Some("b.example")), "smtp:b.example");
        recipient.orcpt = "rfc822;x@y".into();
        recipient.notify = Notify { never: false, success: true, failure: true, delay: false };
        recipient.parent = Some(0);
        recipient.controlling = "alice /home/alice/.forward:3".into();
        recipient.state = State::Deferred(-5);
        recipient.tries = 7;
        recipient.first_attempt = 1;
        recipient.last_attempt = 2;
        recipient.last_status = Some(Status::temporary(4, 1));
        recipient.last_reply = "451 later".into();
        recipient.warned = true;
        Envelope {
            id: QueueId::new(1_795_292_466, 42),
            content: crate::ContentId(9),
            size: 1 << 33,
            arrived: 1_795_292_466_123,
            origin: Origin {
                protocol: Protocol::Esmtps,
                uid: Some(0),
                user: "root".into(),
                peer: Some("2001:db8::1".parse().unwrap()),
                peer_name: "h".into(),
                helo: "hé".into(),
                auth: "me".into(),
                listener: "MTA".into(),
                submission: [7; 16],
            },
            sender: Address::from_parts("\"a@b\"", Some("c")),
            sender_given: "<\"a@b\"@c>".into(),
            message_id: "<m>".into(),
            ret: Some(Ret::Headers),
            envid: "e".into(),
            body: Body::EightBitMime,
            smtputf8: true,
            requiretls: true,
            by: Some((-1, "RT".into())),
            priority: -3,
            queue_only: true,
            prepend: "A: b\r\n".into(),
            hold: Some(String::new()),
            recipients: vec![Recipient::new("r", Address::from_parts("r", None), "local:r"), recipient],
            unknown: vec![(99, Bytes::from_static(b"later"))],
        }
    }

    #[test]
    fn every_field_comes_back() {
        let mut out = Fields::default();
        encode(&mut out, &full());
        assert_eq!(decode(&out.0).unwrap(), full());
        for end in 0..out.0.len() {
            let _no_panic = decode(&out.0[..end]);
        }
        let mut null = full();
        null.sender = Address::null();
        let mut out = Fields::default();
        encode(&mut out, &null);
        assert_eq!(decode(&out.0).unwrap(), null);
    }

    /// Lengths tell where a text ends, not what stands in it (S-42): nothing that a stranger wrote makes a field or a record.
    #[test]
    fn texts_of_any_bytes_come_back_and_are_nothing_else() {
        use crate::spool::record::{ENVELOPE, Record, records};
        let mut inner = Fields::default();
        inner.nested(ENVELOPE, |out| encode(out, &full()));
        let forged = format!("\n\0\u{ff}\r\n.\r\n{}", String::from_utf8_lossy(&inner.0));
        let mut envelope = full();
        let text = || forged.clone();
        (envelope.sender_given, envelope.message_id, envelope.envid, envelope.prepend) =
            (text(), text(), text(), text());
        (envelope.origin.helo, envelope.origin.user, envelope.hold) = (text(), text(), Some(text()));
        let one = &mut envelope.recipients[0];
        (one.given, one.orcpt, one.controlling, one.route, one.last_reply) = (text(), text(), text(), text(), text());
        let mut out = Fields::default();
        out.nested(ENVELOPE, |out| encode(out, &envelope));
        let all: Vec<_> = records(&out.0).map(Result::unwrap).collect();
        let [Record::Envelope { id, fields }] = &all[..] else { panic!("{} records", all.len()) };
        assert_eq!((*id, decode(fields).unwrap()), (envelope.id, envelope));
    }

    #[test]
    fn unknown_fields_of_a_later_version_are_written_again() {
        let mut later = Fields::default();
        later.put(ID, &[1, 2, 3, 4]);
        later.nested(ORIGIN, |out| out.put(77, b"origin"));
        later.nested(RECIPIENT, |out| {
            address(out, 6, &Address::from_parts("r", None));
            out.put(78, b"recipient");
        });
        later.put(79, b"envelope");
        let read = decode(&later.0).unwrap();
        assert_eq!(read.unknown.len(), 3);
        let mut again = Fields::default();
        encode(&mut again, &read);
        assert_eq!(decode(&again.0).unwrap(), read);
    }
}
