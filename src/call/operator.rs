//! Operator's commands → engine, over the control socket; also what `mailq` asks.
//! The engine checks the caller's credentials (`SO_PEERCRED`) for each verb.

use serde::{Deserialize, Serialize};

/// One request on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// List messages; the answer is any number of [`Reply::Entries`] frames and one [`Reply::End`].
    List(Select),
    /// Try matching messages now.
    Flush(Select),
    /// Keep matching messages from delivery, with this reason (sendmail: quarantine).
    Hold(Select, String),
    /// End a hold.
    Release(Select),
    /// Remove matching messages without a bounce.
    Delete(Select),
    /// Count matching messages.
    Count(Select),
    /// Counters per mailer; the answer is [`Reply::Statistics`]. With `true` they begin anew.
    Statistics(bool),
    /// What is known of other hosts; the answer is [`Reply::Hosts`].
    Hosts,
    /// Forgets it.
    PurgeHosts,
}

/// Which messages; all given conditions must hold, an empty value means everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Select {
    /// Queue ids.
    pub ids: Vec<String>,
    /// Substring of the sender, any case.
    pub sender: Option<String>,
    /// Substring of a recipient, any case.
    pub recipient: Option<String>,
    /// Domain of a recipient, whole, any case.
    pub domain: Option<String>,
    /// Substring of the hold reason or of a recipient's last reply.
    pub reason: Option<String>,
    /// Only held (`Some(true)`) or only not held (`Some(false)`).
    pub held: Option<bool>,
    /// Arrived at least this many seconds ago.
    pub older: Option<u64>,
    /// sendmail's `-q` selectors (sendmail.md 1.5): one of each part must match.
    pub patterns: Vec<Pattern>,
}

/// One of sendmail's selectors, `-q[!]Rtext`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// Where to look.
    pub part: Part,
    /// What for: a substring.
    pub text: String,
    /// Only where it is not found; for recipients: with one that does not have it.
    pub negated: bool,
}

/// What a [`Pattern`] looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// The queue id, as it stands.
    Id,
    /// The sender, any case.
    Sender,
    /// The recipients, any case.
    Recipient,
    /// The reason of the hold, as it stands.
    Reason,
}

/// Answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Some more entries of a list.
    Entries(Vec<Entry>),
    /// The list or the verb is complete: how many messages it concerned.
    End(u64),
    /// Not allowed, or failed.
    Refused(String),
    /// Counters.
    Statistics(Statistics),
    /// Hosts, the last tried one first.
    Hosts(Vec<Host>),
}

/// What sendmail keeps in its statistics file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statistics {
    /// Counted since then, Unix seconds.
    pub since: i64,
    /// Each mailer that did something, by number.
    pub mailers: Vec<MailerCount>,
    /// Connections in, out, and refused.
    pub connections: [u64; 3],
}

/// One line of the statistics. Sizes in KiB, each message rounded up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailerCount {
    /// sendmail's number of it.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Messages that came from senders of this mailer, and their size.
    pub from: [u64; 2],
    /// Messages that went to its recipients, one for each, and their size.
    pub to: [u64; 2],
    /// Refused.
    pub rejected: u64,
    /// Thrown away.
    pub discarded: u64,
    /// Held.
    pub quarantined: u64,
}

/// How the last attempt at another host went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name, or its address.
    pub name: String,
    /// When, Unix seconds.
    pub at: i64,
    /// The last reply, `Deferred: Connection refused`, `OK`.
    pub result: String,
}

/// One message of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Queue id, 14 characters.
    pub id: String,
    /// Content size in bytes.
    pub size: u64,
    /// Arrival, Unix seconds.
    pub arrived: i64,
    /// Sender as sendmail's mailq shows it: bare for local submissions, `<a@b>` when it came by SMTP.
    pub sender: String,
    /// `8BITMIME` or empty.
    pub body: String,
    /// Whether an attempt is being made at this moment.
    pub active: bool,
    /// Why it is held.
    pub hold: Option<String>,
    /// A delay warning was sent.
    pub warned: bool,
    /// Unfinished recipients.
    pub recipients: Vec<EntryRecipient>,
}

/// One unfinished recipient of a list entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecipient {
    /// Final address.
    pub address: String,
    /// Controlling user, whose file named this address; empty if it was given directly.
    pub controlling: String,
    /// Last reply or reason, as it stands in the log after `stat=`; empty if not tried yet.
    pub status: String,
    /// Attempts so far.
    pub tries: u32,
    /// Next attempt, Unix seconds; 0 while active or held.
    pub next: i64,
}
