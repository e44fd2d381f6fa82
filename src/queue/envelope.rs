//! The envelope: who sent it, to whom, and what became of each recipient (DESIGN §3).

use bytes::Bytes;
use mail::{Address, QueueId, Status};
use std::net::IpAddr;

/// One message's envelope. Content is separate and may be shared by several envelopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Queue id; set by the store when it accepts.
    pub id: QueueId,
    /// Its content; set by the store when it accepts.
    pub content: crate::ContentId,
    /// Length of the content in bytes, CRLF line ends.
    pub size: u64,
    /// Acceptance, wall clock, milliseconds since 1970.
    pub arrived: i64,
    /// Who brought it, and how.
    pub origin: Origin,
    /// Envelope sender as it will be used.
    pub sender: Address,
    /// Envelope sender as given.
    pub sender_given: String,
    /// Message-Id field's value, for the log.
    pub message_id: String,
    /// RET (RFC 3461 4.3).
    pub ret: Option<Ret>,
    /// ENVID (RFC 3461 4.4), decoded from xtext.
    pub envid: String,
    /// BODY (RFC 6152).
    pub body: Body,
    /// SMTPUTF8 was asked for (RFC 6531).
    pub smtputf8: bool,
    /// REQUIRETLS (RFC 8689).
    pub requiretls: bool,
    /// BY (RFC 2852): deadline in wall milliseconds, and its mode letters.
    pub by: Option<(i64, String)>,
    /// Higher goes first; 0 is normal.
    pub priority: i8,
    /// Only queued; waits for a queue run (`-odq`).
    pub queue_only: bool,
    /// Header fields to put before the content on delivery, each ending in CRLF.
    pub prepend: String,
    /// Why it is held (quarantine); nothing is tried while it is.
    pub hold: Option<String>,
    /// The recipients; a recipient's index never changes.
    pub recipients: Vec<Recipient>,
    /// Tags of a later version, kept as they were read.
    pub unknown: Vec<(u16, Bytes)>,
}

/// Who brought a message.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// By which protocol.
    pub protocol: Protocol,
    /// Uid of a local submitter.
    pub uid: Option<u32>,
    /// Login name of a local submitter.
    pub user: String,
    /// Address of an SMTP client.
    pub peer: Option<IpAddr>,
    /// Its name, from DNS; empty if unknown.
    pub peer_name: String,
    /// What it said in HELO or EHLO.
    pub helo: String,
    /// Authenticated identity.
    pub auth: String,
    /// The listener that took it, as configured.
    pub listener: String,
    /// The random id of a local submission; all zero otherwise.
    pub submission: [u8; 16],
}

/// How a message came in; the word after `with` and after `proto=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Protocol {
    /// HELO.
    Smtp,
    /// EHLO.
    #[default]
    Esmtp,
    /// EHLO inside TLS.
    Esmtps,
    /// Local submission.
    Local,
    /// Made here: a bounce or warning.
    Internal,
}

/// What a bounce returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// The whole message.
    Full,
    /// Its header.
    Headers,
}

/// BODY parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Body {
    /// Not given or 7BIT.
    #[default]
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// NOTIFY (RFC 3461 4.1) as given; all false means the parameter was absent (failure and delay are reported).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Notify {
    /// NEVER.
    pub never: bool,
    /// SUCCESS.
    pub success: bool,
    /// FAILURE.
    pub failure: bool,
    /// DELAY.
    pub delay: bool,
}

impl Notify {
    /// Whether the parameter was given.
    #[must_use]
    pub const fn given(self) -> bool {
        self.never || self.success || self.failure || self.delay
    }
    /// Whether a failure is to be reported.
    #[must_use]
    pub const fn wants_failure(self) -> bool {
        self.failure || !self.given()
    }
    /// Whether a delay is to be reported.
    #[must_use]
    pub const fn wants_delay(self) -> bool {
        self.delay || !self.given()
    }
}

/// One recipient and all that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Address as given at RCPT or submission.
    pub given: String,
    /// ORCPT (RFC 3461 4.2) as `type;address`, decoded; empty if not given.
    pub orcpt: String,
    /// NOTIFY.
    pub notify: Notify,
    /// Index of the recipient it was expanded from.
    pub parent: Option<u32>,
    /// Controlling user with the file and line that named this address; empty if the address was given directly.
    pub controlling: String,
    /// Final address.
    pub address: Address,
    /// The route: a key that groups recipients of one hop (`smtp:example.org`, `local:alice`), opaque here.
    pub route: String,
    /// Where it stands.
    pub state: State,
    /// Attempts so far.
    pub tries: u32,
    /// First attempt, wall milliseconds; 0 if none.
    pub first_attempt: i64,
    /// Last attempt, wall milliseconds; 0 if none.
    pub last_attempt: i64,
    /// Last status code.
    pub last_status: Option<Status>,
    /// Last reply or reason, as in the log after `stat=`.
    pub last_reply: String,
    /// A delay warning was sent.
    pub warned: bool,
}

/// Before the route of a recipient that another envelope of the same message has. It stands here finished, so that whoever else leads to it
/// is no reason to send it again (sendmail's QS_CLONED).
pub const ELSEWHERE: &str = "clone:";

impl Recipient {
    /// The same, as an envelope remembers whom another one has.
    #[must_use]
    pub fn elsewhere(&self) -> Self {
        Self { route: format!("{ELSEWHERE}{}", self.route), state: State::Expanded, ..self.clone() }
    }
    /// A new recipient, due at once.
    #[must_use]
    pub fn new(given: &str, address: Address, route: &str) -> Self {
        Self {
            given: given.to_owned(),
            orcpt: String::new(),
            notify: Notify::default(),
            parent: None,
            controlling: String::new(),
            address,
            route: route.to_owned(),
            state: State::Due { perhaps_delivered: false },
            tries: 0,
            first_attempt: 0,
            last_attempt: 0,
            last_status: None,
            last_reply: String::new(),
            warned: false,
        }
    }
}

/// State of one recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// To be tried now. `perhaps_delivered`: it was in flight when the engine died.
    Due {
        /// The last attempt's outcome is unknown.
        perhaps_delivered: bool,
    },
    /// Being tried (on disk it is still due or deferred).
    InFlight,
    /// Not before this wall time, in milliseconds.
    Deferred(i64),
    /// Replaced by its children.
    Expanded,
    /// Done.
    Delivered,
    /// Failed for good; whoever had to hear of it has been told, or the bounce is in the queue.
    Bounced,
}

impl State {
    /// Whether nothing more will happen to the recipient.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Expanded | Self::Delivered | Self::Bounced)
    }
}

/// The result of one attempt for one recipient, or another change of its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Index of the recipient.
    pub recipient: u32,
    /// What it becomes.
    pub state: NewState,
    /// When, wall milliseconds.
    pub at: i64,
    /// Status code of the attempt.
    pub status: Option<Status>,
    /// Reply or reason.
    pub reply: String,
    /// Whether an attempt was made (counts as a try).
    pub attempted: bool,
    /// A delay warning was sent with this change.
    pub warned: bool,
}

/// The states a [`Change`] can lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewState {
    /// Delivered.
    Delivered,
    /// Failed for good.
    Bounced,
    /// Due again at this wall time, milliseconds.
    Deferred(i64),
}
