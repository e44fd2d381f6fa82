//! Operator's commands → engine, over the control socket; also what `mailq` asks.
//! The engine checks the caller's credentials (`SO_PEERCRED`) for each verb.

use crate::frame::{self, Error};
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

/// An answer that owns its texts.
pub type Reply = ReplyWith<String>;
/// An entry that owns its texts.
pub type Entry = EntryWith<String>;
/// A recipient that owns its texts.
pub type EntryRecipient = RecipientWith<String>;

/// Answers. `T` keeps the texts of a list, which may be long: as `String`, or, while it is written or read, as a `Cow` or a `&str` of somebody
/// else's; the bytes are the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyWith<T> {
    /// Some more entries of a list.
    Entries(Vec<EntryWith<T>>),
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
pub struct EntryWith<T> {
    /// Queue id, 14 characters.
    pub id: T,
    /// Content size in bytes.
    pub size: u64,
    /// Arrival, Unix seconds.
    pub arrived: i64,
    /// Sender as sendmail's mailq shows it: bare for local submissions, `<a@b>` when it came by SMTP.
    pub sender: T,
    /// `8BITMIME` or empty.
    pub body: T,
    /// Whether an attempt is being made at this moment.
    pub active: bool,
    /// Why it is held.
    pub hold: Option<T>,
    /// A delay warning was sent.
    pub warned: bool,
    /// Unfinished recipients.
    pub recipients: Vec<RecipientWith<T>>,
}

/// One unfinished recipient of a list entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipientWith<T> {
    /// Final address.
    pub address: T,
    /// Controlling user, whose file named this address; empty if it was given directly.
    pub controlling: T,
    /// Last reply or reason, as it stands in the log after `stat=`; empty if not tried yet.
    pub status: T,
    /// Attempts so far.
    pub tries: u32,
    /// Next attempt, Unix seconds; 0 while active or held.
    pub next: i64,
}

/// Makes the frame of a [`ReplyWith::Entries`] from one entry after the other.
#[derive(Debug, Default)]
pub struct Page {
    entries: Vec<u8>,
    count: u64,
}

impl Page {
    /// Adds an entry.
    ///
    /// # Errors
    /// It cannot be encoded; nor can the page then.
    pub fn push<T: Serialize>(&mut self, entry: &EntryWith<T>) -> Result<(), Error> {
        let entries = std::mem::take(&mut self.entries);
        self.entries = postcard::to_extend(entry, entries).map_err(|_| Error::Malformed)?;
        self.count += 1;
        Ok(())
    }
    /// Bytes so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    /// Whether there is no entry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
    /// The whole frame; the page begins anew.
    ///
    /// # Errors
    /// [`Error::TooLong`] above [`frame::LIMIT`].
    pub fn take(&mut self) -> Result<Vec<u8>, Error> {
        let Self { entries, count } = std::mem::take(self);
        // As postcard writes it: number of the variant, length, entries.
        let mut bytes = frame::encode(&(0u32, count))?;
        bytes.extend_from_slice(&entries);
        frame::set_length(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_reads_the_same_whoever_owns_its_texts() {
        let recipient = |text| RecipientWith { address: text, controlling: "", status: "450 later", tries: 1, next: 5 };
        let entry = EntryWith {
            id: "6ALKqsdF007851",
            size: 1_224,
            arrived: 1_795_292_520,
            sender: "<a@b.example>",
            body: "8BITMIME",
            active: true,
            hold: Some("why"),
            warned: false,
            recipients: vec![recipient("u@far.example"), recipient("v@far.example")],
        };
        let bytes = frame::encode(&ReplyWith::Entries(vec![entry.clone()])).unwrap();
        let Ok(Reply::Entries(owned)) = frame::decode(&bytes[5..]) else { panic!("an owned list") };
        assert_eq!((owned[0].id.as_str(), owned[0].recipients[1].address.as_str()), (entry.id, "v@far.example"));
        assert_eq!(frame::encode(&Reply::Entries(owned)).unwrap(), bytes);
        let mut page = Page::default();
        page.push(&entry).unwrap();
        assert_eq!(page.take().unwrap(), bytes);
        for _ in 0..300 {
            page.push(&entry).unwrap();
        }
        assert_eq!(page.take().unwrap(), frame::encode(&ReplyWith::Entries(vec![entry.clone(); 300])).unwrap());
        assert!(page.is_empty());
        assert_eq!(frame::decode::<ReplyWith<&str>>(&bytes[5..]).unwrap(), ReplyWith::Entries(vec![entry]));
    }
}
