//! `sendmail` → engine over the submission socket, and the drop file, which carries the same in one piece.
//!
//! Dialogue: the client sends [`Request::Submit`], data frames with the content, [`Request::End`]; the engine answers one
//! [`Answer`] after its commit. The engine knows the caller from the kernel (`SO_PEERCRED`); nothing in the frames is
//! trusted for that.
//!
//! `sendmail -v` ([`Mode::Watched`]): after [`Answer::Accepted`] any number of [`Told`], then [`Told::End`], and nothing more on this
//! connection. They are about the first attempts at this submission and no other mail. The delivering side tells a [`Witness`] and never waits:
//! what finds no room is left out and counted. The receiving side owns the queue of lines and the socket, and ends both when all recipients
//! were tried, after [`WATCHED_FOR`], or when the caller is gone or reads too slowly. Delivery goes on without it in any case.
//!
//! Drop file: [`MAGIC`], u32 length and postcard bytes of a [`Submission`], the content, then u64 content
//! length and u32 CRC-32 (crc32fast) of everything before it. All numbers little endian. A file that does not
//! end so is unfinished and is never taken for a message.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// First bytes of a drop file; the last one is the version.
pub const MAGIC: &[u8; 8] = b"PRDROP\0\x02";
/// Version of the socket dialogue.
pub const VERSION: u16 = 2;
/// At most this many recipients in one submission.
pub const RECIPIENT_LIMIT: usize = 100_000;

/// Client → engine.
#[allow(clippy::large_enum_variant, reason = "one at a time: made, encoded, gone")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// A submission begins; data frames follow.
    Submit(Submission),
    /// The content is complete.
    End {
        /// Its length in bytes, as a check.
        length: u64,
    },
    /// Instead of a submission, for the log: the caller's program refused a message by itself. No answer.
    HeadersTooLarge {
        /// As in [`Submission::user`].
        user: String,
        /// Bytes that a header may have.
        limit: u64,
    },
}

/// Everything about a submission except the rest of its content.
///
/// The content is the message as the user wrote it, prepared as sendmail.md 1.7 to 1.9 say, with CRLF line
/// ends, WITHOUT `Received`, and without the generated fields that stand in `generated` and `message_id`.
/// The engine puts before it: Received, `generated` lines, Message-Id if asked, `warnings`; and it qualifies
/// unqualified addresses in header fields, since only it knows the host's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submission {
    /// [`VERSION`].
    pub version: u16,
    /// Random; the engine accepts each submission once, whichever way it travels.
    pub id: [u8; 16],
    /// Login name of the caller, from its uid ("alice"), for Received and the log.
    pub user: String,
    /// Envelope sender; empty for `<>`; may be unqualified.
    pub sender: String,
    /// Recipients as given; may be unqualified. More than [`RECIPIENT_LIMIT`] do not decode.
    #[serde(deserialize_with = "bounded")]
    pub recipients: Vec<Recipient>,
    /// A lone dot ended the content and more followed, which is lost (no `-i`): to be logged.
    pub cut: bool,
    /// What the Received field says of the way here.
    pub received: Received,
    /// Generated header lines that go before the Message-Id (Date, From …), each ending in CRLF.
    pub generated: String,
    /// A Message-Id has to be made.
    pub message_id: bool,
    /// The message is resent: the made field is Resent-Message-Id as well.
    pub resent_message_id: bool,
    /// Generated lines that go after the Message-Id (X-Authentication-Warning), each ending in CRLF;
    /// the text `{host}` stands for the host's name.
    pub warnings: String,
    /// Content has 8-bit bytes or `-B8BITMIME` was given.
    pub eight_bit: bool,
    /// `-R`: return only headers in a bounce.
    pub return_headers: Option<bool>,
    /// `-V`: envelope id.
    pub envelope_id: String,
    /// `-h`: hops so far.
    pub hops: u32,
    /// `-od`.
    pub mode: Mode,
    /// Who hears of recipients that are refused at once. From a drop file, whose caller has gone, they are mailed in any case.
    pub errors: Errors,
}

/// Parts of the Received field that only the caller knows (sendmail.md 1.9).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Where it came from: the host of `-p`, the HELO name of `-bs`; empty for `(from USER@localhost)`.
    pub host: String,
    /// The protocol, from the same; may be empty.
    pub protocol: String,
    /// What stands behind `for`: the only recipient given as an argument; empty for none.
    pub recipient: String,
}

/// Stops at the limit instead of building what a few megabytes of empty recipients would become.
fn bounded<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Recipient>, D::Error> {
    struct Bounded;
    impl<'de> serde::de::Visitor<'de> for Bounded {
        type Value = Vec<Recipient>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "at most {RECIPIENT_LIMIT} recipients")
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut recipients = Vec::new();
            while let Some(recipient) = list.next_element()? {
                if recipients.len() == RECIPIENT_LIMIT {
                    return Err(serde::de::Error::custom("too many recipients"));
                }
                recipients.push(recipient);
            }
            Ok(recipients)
        }
    }
    deserializer.deserialize_seq(Bounded)
}

/// One recipient of a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    /// As given.
    pub address: String,
    /// `-N`: NOTIFY as bits 1 never, 2 success, 4 failure, 8 delay; 0 if not given.
    pub notify: u8,
    /// ORCPT (RFC 3461), decoded; empty if not given.
    pub orcpt: String,
}

/// Delivery mode, `-od`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// `i`, `b`: an attempt starts at once (the message is durable before the caller exits in either case).
    Background,
    /// `q`, `d`: only queued, until a queue run.
    Queue,
    /// `i` with `-v`: as [`Mode::Background`], and the caller is shown what happens. Without a socket there is nobody to show it to.
    Watched,
}

/// Longest time for which a caller is shown what happens.
pub const WATCHED_FOR: Duration = Duration::from_secs(300);
/// Longest line that it is shown, in bytes.
pub const TOLD: usize = 512;

/// Engine → client, about the attempts at a submission ([`Mode::Watched`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// A line as sendmail prints it: `bob... Connecting to local...`, `>>> QUIT`, `221 bye`.
    Line(String),
    /// Nothing more is told. `left_out`: lines for which there was no room.
    End {
        /// How many.
        left_out: u64,
    },
}

/// Whoever is shown the attempts at one submission. Dropped when they are over.
pub trait Witness: Send + Sync {
    /// Takes a line, or leaves it out; returns at once. No line holds a secret.
    fn tell(&self, line: String);
    /// Whether it may be shown whom a `.forward` or list names: these may be private files of others.
    fn may_see_members(&self) -> bool;
}

/// What to do about recipients that the engine refuses while the caller waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Errors {
    /// `-oep`, `-oeq`: tell the caller; no bounce.
    Report,
    /// `-oem`, `-oew`, `-oee`, and whatever comes through the drop folder: send a bounce, and tell the caller.
    Mail,
}

/// Engine → client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Durable. `refused` names recipients that were not taken.
    Accepted {
        /// The queue id (the first one, should the message have been split); empty if every recipient was refused.
        id: String,
        /// Not taken.
        refused: Vec<Refused>,
    },
    /// Nothing was taken; try again later (the client then uses the drop folder).
    Later(String),
    /// Nothing was taken and never will be: sysexits code and text, e.g. `69`, `Message too large …`.
    Never(u8, String),
}

/// A refused recipient.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// As given in the submission.
    pub address: String,
    /// sysexits code (67 user unknown, 68 host unknown …).
    pub exit: u8,
    /// The text behind `address... `, e.g. `User unknown`.
    pub text: String,
}

/// The bytes before the content of a drop file.
///
/// # Errors
/// If the submission cannot be encoded (more than 4 GiB).
pub fn drop_header(submission: &Submission) -> Result<Vec<u8>, crate::Error> {
    let body = postcard::to_stdvec(submission).map_err(|_| crate::Error::Malformed)?;
    let length = u32::try_from(body.len()).map_err(|_| crate::Error::TooLong)?;
    let mut out = Vec::with_capacity(body.len() + 12);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(out)
}

/// Bytes of [`drop_trailer`].
pub const TRAILER: u64 = 12;

/// The bytes after the content of a drop file: its length, and the CRC of all bytes before (`crc` is the
/// hasher fed with header and content).
#[must_use]
pub fn drop_trailer(content_length: u64, mut crc: crc32fast::Hasher) -> [u8; TRAILER as usize] {
    let mut out = [0; TRAILER as usize];
    out[..8].copy_from_slice(&content_length.to_le_bytes());
    crc.update(&content_length.to_le_bytes());
    out[8..].copy_from_slice(&crc.finalize().to_le_bytes());
    out
}

/// Decodes the submission record of a drop file; also returns what is left over.
///
/// # Errors
/// [`crate::Error::Malformed`].
pub fn decode_submission(bytes: &[u8]) -> Result<(Submission, &[u8]), crate::Error> {
    postcard::take_from_bytes(bytes).map_err(|_| crate::Error::Malformed)
}
