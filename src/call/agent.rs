//! Engine ↔ agent. The engine sends orders to the agent that was started for one identity. A batch is answered by one frame of
//! outcomes, after its sync; a question by one [`Expansion`]. No order carries a command or a path that the agent would take on trust.

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
    /// The recipient's uid with his groups, never group mail; writes his Maildir and files, reads his `.forward`, runs his programs.
    User,
    /// DefaultUser, never group mail; reads the lists, writes the files and runs the programs that aliases name. Serves one order.
    System,
    /// uid and gid of a virtual domain; writes the mailbox of one of its users; executes nothing.
    Virtual,
}

impl Kind {
    /// On the agent's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mailbox => "mailbox",
            Self::User => "user",
            Self::System => "system",
            Self::Virtual => "virtual",
        }
    }
}

/// Engine → agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Into the mailbox, or where [`Batch::into`] says. Answered by [`Outcomes`].
    Deliver(Batch),
    /// Whom does this file name? Answered by [`Expansion`].
    Expand(Question),
}

/// A line in a file that the agent may act on: it opens the file itself and acts only if the entry still stands there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The file.
    pub file: String,
    /// What `mail::alias::AliasEntry::mark` says of the entry.
    pub mark: String,
}

/// Whose mail, and by which file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// What follows the plus in the recipient's name: it may choose the `.forward`.
    pub detail: String,
    /// An alias's `:include:`; `None` asks a user's agent for his `.forward`.
    pub entry: Option<Entry>,
}

/// Agent → engine: whom a file names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expansion {
    /// What it says.
    pub answer: Named,
    /// For the log: which files were not obeyed and why, `FILE: Group writable file`.
    pub notes: Vec<String>,
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Named {
    /// No file that counts, or one that names nobody: the mailbox.
    Mailbox,
    /// These, in the order of the file.
    Members(Vec<Member>),
    /// It cannot be looked at now: enhanced status `4.x.y` as (subject, detail) and why.
    Unavailable(u16, u16, String),
    /// The list's own entry is [`Done::Gone`].
    Gone(String),
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The entry in the canonical form of `mail::alias::AliasEntry`; or why it is refused (`5.7.0 …`).
    pub entry: Result<String, String>,
    /// Where it stands.
    pub file: String,
    /// In which line.
    pub line: u32,
}

/// Engine → agent. The descriptors that carry the contents travel with this frame, in the order of
/// [`Item::source`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The messages, to be appended in this order.
    pub items: Vec<Item>,
    /// Where to: a program or file that this entry names; `None`: the mailbox.
    pub into: Option<Entry>,
    /// Largest size of the mailbox in bytes, mbox or Maildir; 0 for none.
    pub mailbox_size: u64,
}

/// One message for the mailbox.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Repeated in the outcome.
    pub ticket: u64,
    /// Queue id, for unique Maildir names. A clone's is not the one in its content's Received field.
    pub queue_id: String,
    /// Envelope sender; empty for `<>`.
    pub sender: String,
    /// The recipient as he was given.
    pub recipient: String,
    /// What follows the plus in his name.
    pub detail: String,
    /// Not if there may be a `.forward`: then nothing is done and the answer is [`Done::Forward`].
    pub forward: bool,
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
    /// What a program said, cut short, and its exit code.
    pub program: Option<Said>,
}

/// The end of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The first lines of its output.
    pub lines: Vec<String>,
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
    /// Nothing was done: there may be a `.forward`, which a user's agent has to read first.
    Forward,
    /// Nothing was done: the file can be read, or was removed, and the entry stands in it no more. The engine asks anew what the mail's
    /// recipient stands for; until then it is temporary, with this text.
    Gone(String),
}
