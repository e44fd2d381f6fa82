//! Records of a frame: what each kind holds, and its bytes. The tags are the on-disk format (README.md); they are never given a new meaning.

use super::code::{Fields, Malformed, Reader, ids, number, small, text, words};
use super::envelope_code::{decode_recipient, encode_recipient};
use crate::{Change, ContentId, NewState, Recipient};
use mail::{QueueId, Severity, Status};

pub(crate) const CONTENT: u16 = 1;
pub(crate) const ENVELOPE: u16 = 2;
pub(crate) const CHANGES: u16 = 3;
pub(crate) const EXPANDED: u16 = 4;
pub(crate) const VERB: u16 = 5;
pub(crate) const REMOVED: u16 = 6;
pub(crate) const COUNTER: u16 = 7;
pub(crate) const RETIRED: u16 = 8;

const ID: u16 = 1;
const LIST: u16 = 2;
const REASON: u16 = 3;
const KIND: u16 = 4;
const CHANGE: u16 = 5;
const CHILD: u16 = 6;
const LENGTH: u16 = 7;
const CRC: u16 = 8;
const IN_FILE: u16 = 9;

/// What an operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Hold,
    Release,
    Flush,
}

/// A decoded record. An envelope stays bytes: most readers need only its id.
#[derive(Debug)]
pub(crate) enum Record<'a> {
    Content {
        id: ContentId,
        length: u64,
        crc: u32,
        in_file: bool,
    },
    Envelope {
        id: QueueId,
        fields: &'a [u8],
    },
    Changes {
        id: QueueId,
        changes: Vec<Change>,
    },
    Expanded {
        id: QueueId,
        expanded: Vec<u32>,
        children: Vec<Recipient>,
    },
    Verb {
        verb: Verb,
        ids: Vec<QueueId>,
        reason: String,
    },
    Removed {
        ids: Vec<QueueId>,
    },
    Counter(u64),
    /// The files of these segments go.
    Retired(Vec<u32>),
    /// Of a later version.
    Unknown,
}

/// All records of a frame.
pub(crate) fn records(bytes: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Malformed>> {
    Reader(bytes).map(|field| field.and_then(|(kind, fields)| decode(kind, fields)))
}

fn decode(kind: u16, fields: &[u8]) -> Result<Record<'_>, Malformed> {
    match kind {
        CONTENT => content(fields),
        ENVELOPE => {
            let id = super::envelope_code::id_of(fields)?;
            Ok(Record::Envelope { id, fields })
        }
        CHANGES => changes(fields),
        EXPANDED => expanded(fields),
        VERB => verb(fields),
        REMOVED => {
            let list = find(fields, LIST)?;
            Ok(Record::Removed { ids: ids(list)?.collect() })
        }
        COUNTER => Ok(Record::Counter(number(find(fields, ID)?)?)),
        RETIRED => Ok(Record::Retired(words(find(fields, LIST)?)?)),
        _ => Ok(Record::Unknown),
    }
}

fn find(fields: &[u8], wanted: u16) -> Result<&[u8], Malformed> {
    for field in Reader(fields) {
        let (tag, bytes) = field?;
        if tag == wanted {
            return Ok(bytes);
        }
    }
    Err(Malformed)
}

fn content(fields: &[u8]) -> Result<Record<'_>, Malformed> {
    let (mut id, mut length, mut crc, mut in_file) = (None, 0, 0, false);
    for field in Reader(fields) {
        match field? {
            (ID, bytes) => id = Some(ContentId(number(bytes)?)),
            (LENGTH, bytes) => length = number(bytes)?,
            (CRC, bytes) => crc = small(bytes)?,
            (IN_FILE, bytes) => in_file = number(bytes)? != 0,
            _ => {}
        }
    }
    let id = id.ok_or(Malformed)?;
    Ok(Record::Content { id, length, crc, in_file })
}

fn changes(fields: &[u8]) -> Result<Record<'_>, Malformed> {
    let (mut id, mut changes) = (None, Vec::new());
    for field in Reader(fields) {
        match field? {
            (ID, bytes) => id = Some(QueueId::from_u64(number(bytes)?)),
            (CHANGE, bytes) => changes.push(decode_change(bytes)?),
            _ => {}
        }
    }
    Ok(Record::Changes { id: id.ok_or(Malformed)?, changes })
}

fn expanded(fields: &[u8]) -> Result<Record<'_>, Malformed> {
    let (mut id, mut list, mut children) = (None, Vec::new(), Vec::new());
    for field in Reader(fields) {
        match field? {
            (ID, bytes) => id = Some(QueueId::from_u64(number(bytes)?)),
            (LIST, bytes) => list.extend(words(bytes)?),
            (CHILD, bytes) => children.push(decode_recipient(bytes)?.0),
            _ => {}
        }
    }
    Ok(Record::Expanded { id: id.ok_or(Malformed)?, expanded: list, children })
}

fn verb(fields: &[u8]) -> Result<Record<'_>, Malformed> {
    let (mut verb, mut list, mut reason) = (None, Vec::new(), String::new());
    for field in Reader(fields) {
        match field? {
            (KIND, [0]) => verb = Some(Verb::Hold),
            (KIND, [1]) => verb = Some(Verb::Release),
            (KIND, [2]) => verb = Some(Verb::Flush),
            (LIST, bytes) => list.extend(ids(bytes)?),
            (REASON, bytes) => reason = text(bytes)?,
            _ => {}
        }
    }
    // A verb of a later version is none of ours.
    Ok(verb.map_or(Record::Unknown, |verb| Record::Verb { verb, ids: list, reason }))
}

/// Adds a content record.
pub(crate) fn put_content(out: &mut Fields, id: ContentId, length: u64, crc: u32, in_file: bool) {
    out.nested(CONTENT, |out| {
        out.put(ID, &id.0.to_le_bytes());
        out.number(LENGTH, length);
        out.number(CRC, u64::from(crc));
        out.number(IN_FILE, u64::from(in_file));
    });
}

/// Adds outcomes and deferrals.
pub(crate) fn put_changes(out: &mut Fields, id: QueueId, changes: &[Change]) {
    out.nested(CHANGES, |out| {
        out.put(ID, &id.to_u64().to_le_bytes());
        for change in changes {
            out.nested(CHANGE, |out| put_change(&mut out.0, change));
        }
    });
}

/// Adds an expansion.
pub(crate) fn put_expanded(out: &mut Fields, id: QueueId, expanded: &[u32], children: &[Recipient]) {
    out.nested(EXPANDED, |out| {
        out.put(ID, &id.to_u64().to_le_bytes());
        out.nested(LIST, |out| out.0.extend(expanded.iter().flat_map(|n| n.to_le_bytes())));
        for child in children {
            out.nested(CHILD, |out| encode_recipient(out, child));
        }
    });
}

/// Adds what an operator did.
pub(crate) fn put_verb(out: &mut Fields, verb: Verb, ids: &[QueueId], reason: &str) {
    out.nested(VERB, |out| {
        out.put(KIND, &[verb as u8]);
        put_ids(out, ids);
        out.text(REASON, reason);
    });
}

/// Adds removals.
pub(crate) fn put_removed(out: &mut Fields, ids: &[QueueId]) {
    out.nested(REMOVED, |out| put_ids(out, ids));
}

/// Adds the limit of the id counter.
pub(crate) fn put_counter(out: &mut Fields, limit: u64) {
    out.nested(COUNTER, |out| out.put(ID, &limit.to_le_bytes()));
}

/// Adds the numbers of segments whose files go.
pub(crate) fn put_retired(out: &mut Fields, numbers: &[u32]) {
    out.nested(RETIRED, |out| {
        out.nested(LIST, |out| out.0.extend(numbers.iter().flat_map(|n| n.to_le_bytes())));
    });
}

fn put_ids(out: &mut Fields, ids: &[QueueId]) {
    out.nested(LIST, |out| out.0.extend(ids.iter().flat_map(|id| id.to_u64().to_le_bytes())));
}

/// Severity as a byte; also used by envelopes.
pub(crate) fn put_status(status: Option<Status>) -> [u8; 5] {
    let Some(status) = status else { return [0; 5] };
    let severity = match status.severity {
        Severity::Success => 2,
        Severity::Temporary => 4,
        Severity::Permanent => 5,
    };
    let ([a, b], [c, d]) = (status.subject.to_le_bytes(), status.detail.to_le_bytes());
    [severity, a, b, c, d]
}

/// Back from [`put_status`].
pub(crate) fn status(bytes: &[u8]) -> Result<Option<Status>, Malformed> {
    let [severity, a, b, c, d] = *bytes else {
        return Err(Malformed);
    };
    let severity = match severity {
        0 => return Ok(None),
        2 => Severity::Success,
        4 => Severity::Temporary,
        5 => Severity::Permanent,
        _ => return Err(Malformed),
    };
    let (subject, detail) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
    Ok(Some(Status { severity, subject, detail }))
}

/// recipient 4, state 1, until 8, at 8, flags 1, status 5; the reply is the rest.
fn put_change(out: &mut Vec<u8>, change: &Change) {
    let (state, until) = match change.state {
        NewState::Delivered => (0u8, 0),
        NewState::Bounced => (1, 0),
        NewState::Deferred(until) => (2, until),
    };
    out.extend_from_slice(&change.recipient.to_le_bytes());
    out.push(state);
    out.extend_from_slice(&until.to_le_bytes());
    out.extend_from_slice(&change.at.to_le_bytes());
    out.push(u8::from(change.attempted) | u8::from(change.warned) << 1);
    out.extend_from_slice(&put_status(change.status));
    out.extend_from_slice(change.reply.as_bytes());
}

fn decode_change(bytes: &[u8]) -> Result<Change, Malformed> {
    let (recipient, rest) = bytes.split_first_chunk::<4>().ok_or(Malformed)?;
    let (state, rest) = rest.split_first().ok_or(Malformed)?;
    let (until, rest) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
    let (at, rest) = rest.split_first_chunk::<8>().ok_or(Malformed)?;
    let (flags, rest) = rest.split_first().ok_or(Malformed)?;
    let (code, reply) = rest.split_first_chunk::<5>().ok_or(Malformed)?;
    Ok(Change {
        recipient: u32::from_le_bytes(*recipient),
        state: match state {
            0 => NewState::Delivered,
            1 => NewState::Bounced,
            2 => NewState::Deferred(i64::from_le_bytes(*until)),
            _ => return Err(Malformed),
        },
        at: i64::from_le_bytes(*at),
        status: status(code)?,
        reply: text(reply)?,
        attempted: flags & 1 != 0,
        warned: flags & 2 != 0,
    })
}
