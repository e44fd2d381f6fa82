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
    /// Unfinished recipients.
    pub recipients: Vec<EntryRecipient>,
}

/// One unfinished recipient of a list entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRecipient {
    /// Final address.
    pub address: String,
    /// Last reply or reason, as it stands in the log after `stat=`; empty if not tried yet.
    pub status: String,
    /// Attempts so far.
    pub tries: u32,
    /// Next attempt, Unix seconds; 0 while active or held.
    pub next: i64,
}
