//! Engine ↔ agent. The engine sends batches for the one recipient the agent was started for; the agent
//! answers each batch with one frame of outcomes, after its sync.

use serde::{Deserialize, Serialize};

/// At most this many messages in one batch (R-8: what one agent has in hand).
pub const BATCH_MESSAGES: usize = 32;
/// At most this many bytes of content in one batch, unless a single message is larger.
pub const BATCH_BYTES: u64 = 1 << 20;

/// Which kind of agent: it decides the identity (DESIGN §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The recipient's uid with group mail; locks and appends one mbox; executes nothing.
    Mailbox,
    /// The recipient's uid with his groups, never group mail; writes his Maildir.
    User,
}

/// Engine → agent. The descriptors that carry the contents travel with this frame, in the order of
/// [`Item::source`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The messages, to be appended in this order.
    pub items: Vec<Item>,
}

/// One message for the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Repeated in the outcome.
    pub ticket: u64,
    /// Queue id, for unique Maildir names and for recognising our own Received line after a crash.
    pub queue_id: String,
    /// Envelope sender; empty for `<>`.
    pub sender: String,
    /// Header lines to put before the content, each ending in CRLF (Return-Path, Delivered-To …).
    pub prepend: String,
    /// Arrival time for the From_ line: local time as `Sat Nov 21 20:22:16 2026`.
    pub from_date: String,
    /// Which of the frame's descriptors holds the content.
    pub source: u16,
    /// Where in that descriptor the content begins, in bytes.
    pub offset: u64,
    /// Length of the content in bytes; line ends are CRLF.
    pub length: u64,
    /// The last attempt may have succeeded (a crash fell between delivery and record).
    pub perhaps_delivered: bool,
}

/// Agent → engine: one frame for each batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// One for each item of the batch.
    pub outcomes: Vec<Outcome>,
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The item's ticket.
    pub ticket: u64,
    /// The result.
    pub result: Done,
}

/// The result of one local delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Written and synced; the text is for the log (`mbox /var/mail/alice`).
    Delivered(String),
    /// Not now: enhanced status `4.x.y` as (subject, detail) and a text for log and mailq.
    Temporary(u16, u16, String),
    /// Never: enhanced status `5.x.y` as (subject, detail) and a text for log and bounce.
    Permanent(u16, u16, String),
}
