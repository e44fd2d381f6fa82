//! The text of a report, in the terms of `mail::dsn`, and its envelope. Used by `report`.

use crate::job::Job;
use crate::line;
use crate::outcome::{Attempt, Command, Fate};
use crate::report::{Item, kind};
use crate::settings::Settings;
use bytes::Bytes;
use mail::dsn::{self, Action, Report};
use mail::time::Clock;
use mail::{Address, QueueId, Status, Time, date, header};
use queue::{Body, Content, ContentId, Envelope, Origin, Protocol, Recipient, Ret};
use route::Key;
use std::os::unix::fs::FileExt;

/// What a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Failure,
    Postmaster,
    Delay,
    Receipt,
}

/// As in the Received fields that `receive` writes.
const VERSION: &str = concat!("Postrider-", env!("CARGO_PKG_VERSION"));
/// At most this much of the header is looked at and returned, bytes.
const HEADER: u64 = 256 << 10;

/// What is known of the message reported on.
#[derive(Debug, Default)]
pub(crate) struct Original {
    /// Its beginning: all of it if it may be returned whole, else at least the header.
    head: Bytes,
    header: usize,
    whole: bool,
    /// Precedence bulk, junk or list: no warnings, no body (sendmail.md 5.1).
    pub(crate) is_bulk: bool,
}

impl Original {
    /// Reads what is needed; an unreadable message is reported on without its text.
    pub(crate) async fn read(job: &Job, limit: u64) -> Self {
        let Ok(content) = job.message.content().await else {
            return Self::default();
        };
        let whole = content.len() <= limit;
        let head = match content {
            Content::Memory(bytes) => bytes,
            Content::File { file, length } => {
                let want = if whole { length } else { length.min(HEADER) };
                let read = tokio::task::spawn_blocking(move || {
                    let mut head = vec![0; want as usize];
                    file.read_exact_at(&mut head, 0).map(|()| Bytes::from(head))
                });
                match read.await {
                    Ok(Ok(head)) => head,
                    _ => return Self::default(),
                }
            }
        };
        let fields = header::fields(&head);
        let is_bulk = fields.filter(|f| f.is("Precedence")).any(|f| {
            let value = header::unfold(head.get(f.body.clone()).unwrap_or_default(), 100);
            ["bulk", "junk", "list"].iter().any(|word| value.eq_ignore_ascii_case(word))
        });
        let header = header::split(&head).header;
        Self { head, header, whole, is_bulk }
    }
    /// Whether it has 8-bit content; what was declared counts only if not all of it is here.
    fn is_eight_bit(&self, declared: Body) -> bool {
        if self.whole { !self.head.is_ascii() } else { declared == Body::EightBitMime }
    }
}

/// Everything a report is made of.
pub(crate) struct Page<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) now: Time,
    pub(crate) id: QueueId,
    pub(crate) envelope: &'a Envelope,
    pub(crate) attempt: &'a Attempt,
    pub(crate) original: &'a Original,
    pub(crate) to: &'a Address,
    /// The report stays on this host.
    pub(crate) is_local: bool,
}

impl Page<'_> {
    /// Whether an address in it needs SMTPUTF8.
    pub(crate) fn is_foreign(&self, items: &[Item]) -> bool {
        let concerned = items.iter().filter_map(|item| self.envelope.recipients.get(item.index as usize));
        let plain = |r: &Recipient| r.address.is_ascii() && r.given.is_ascii() && r.orcpt.is_ascii();
        !(self.to.is_ascii() && self.envelope.sender.is_ascii() && concerned.into_iter().all(plain))
    }
    /// The content, and the words for the log.
    pub(crate) fn write(&self, about: About, items: &[Item]) -> (Bytes, String) {
        let policy = &self.settings.policy;
        let age = words(policy.warn);
        let life = words(policy.expire);
        let host = &self.settings.host;
        let seconds = self.now.seconds();
        let full = self.original.whole && self.envelope.ret != Some(Ret::Headers) && !self.original.is_bulk;
        let returns_body = full && matches!(about, About::Failure | About::Postmaster);
        let expired = items.iter().any(|item| item.expired);
        let note = |text: String| if expired { text } else { String::new() };
        let mut notes = vec![
            note(format!("Message could not be delivered for {life}")),
            note("Message will be deleted from queue".to_owned()),
        ];
        notes.retain(|line| !line.is_empty());
        // sendmail's submission program tells of what it could not hand in, and hands that in as any other message.
        let at_once = items.iter().any(|item| self.is_refused_at_once(item));
        let report = Report {
            kind: kind(about, &age, &life),
            host: host.clone(),
            id: self.envelope.id.to_string(),
            new_id: self.id.to_string(),
            version: if at_once { format!("{VERSION}/Submit") } else { VERSION.to_owned() },
            from: if self.is_local && !at_once { "MAILER-DAEMON".into() } else { format!("MAILER-DAEMON@{host}") },
            to: match (about, at_once) {
                (About::Postmaster, true) => with_domain(self.to.as_str(), host),
                (About::Postmaster, false) | (_, true) => self.to.as_str().to_owned(),
                (_, false) => format!("<{}>", self.to),
            },
            date: self.date(self.now.wall),
            message_id: format!("{}.{}@{host}", date::compact(seconds), self.id),
            boundary: format!("{}.{seconds}/{host}", self.id),
            arrival_date: self.date(self.envelope.arrived),
            received_from: received_from(&self.envelope.origin),
            received_from_mta: peer(&self.envelope.origin),
            envid: self.envelope.envid.clone(),
            recipients: items.iter().filter_map(|item| self.recipient(about, item)).collect(),
            notes,
            sender: self.envelope.sender.as_str().to_owned(),
            eight_bit: self.original.is_eight_bit(self.envelope.body),
            header: self.original.head.get(..self.original.header).unwrap_or_default(),
            content: returns_body.then_some(&self.original.head[..]),
        };
        let stat = items.first().map_or("", |item| item.fate.stat.as_str());
        let line = match about {
            About::Failure if expired => format!("sender notify: Cannot send message for {life}"),
            About::Failure => format!("DSN: {stat}"),
            About::Postmaster => format!("postmaster notify: {stat}"),
            About::Delay => format!("sender notify: Warning: could not send message for past {age}"),
            About::Receipt => "DSN: Return receipt".to_owned(),
        };
        (dsn::build(&report).into(), line)
    }
    fn date(&self, wall: i64) -> String {
        let unix = wall.div_euclid(1_000);
        let (offset, name) = self.clock.zone(unix);
        date::rfc5322(unix, offset, &name)
    }
    /// Whether a submitter's own word for a recipient was refused as soon as it was heard; an alias may fail later.
    fn is_refused_at_once(&self, item: &Item) -> bool {
        self.envelope.origin.protocol == Protocol::Local
            && matches!(item.fate.status.subject, 1 | 7)
            && self.envelope.recipients.get(item.index as usize).is_some_and(|recipient| {
                !line::is_aliased(recipient) && matches!(Key::parse(&recipient.route), Some(Key::Error { .. }))
            })
    }
    fn recipient(&self, about: About, item: &Item) -> Option<dsn::Recipient> {
        let recipient = self.envelope.recipients.get(item.index as usize)?;
        let (fate, remote) = (&item.fate, self.attempt.host.trim_end_matches('.'));
        let names = self.names(item, recipient);
        let reason = reason(about, fate, &names);
        let action = match about {
            About::Failure | About::Postmaster => Action::Failed,
            About::Delay => Action::Delayed,
            About::Receipt if self.attempt.mailer == "local" => Action::Delivered,
            About::Receipt => Action::Relayed,
        };
        let status = match about {
            // sendmail says 4.4.7, not 5.4.7, of a message that became too old.
            About::Failure | About::Postmaster if item.expired => Status::temporary(4, 7),
            About::Receipt => Status::success(1, 5),
            _ => fate.status,
        };
        let expire = self.envelope.arrived.saturating_add_unsigned(self.settings.policy.expire);
        Some(dsn::Recipient {
            diagnostic: diagnostic(fate, &reason, &names),
            transcript: transcript(about, action, item, (recipient, &names), &self.attempt.host),
            shown: names.shown,
            expanded_from: names.expanded_from,
            final_recipient: with_domain(line::bare(&recipient.given), &self.settings.host),
            actual: names.actual,
            orcpt: recipient.orcpt.clone(),
            action,
            status,
            remote_mta: remote.to_owned(),
            reason,
            last_attempt: self.date(self.now.wall),
            will_retry_until: if about == About::Delay { self.date(expire) } else { String::new() },
        })
    }
    /// As sendmail names them: as given, if refused at once; what an alias stands for bare; else as it came by SMTP, in brackets.
    fn names(&self, item: &Item, recipient: &Recipient) -> Names {
        let host = &self.settings.host;
        let (given, status) = (line::bare(&recipient.given), item.fate.status);
        let full = with_domain(given, host);
        let actual = with_domain(recipient.address.as_str(), host);
        let none = String::new;
        if self.is_refused_at_once(item) && given.is_empty() {
            let reply = Some(format!("550 {status} {}", item.fate.stat));
            let submitted = Submitted::Refused(reply);
            return Names { shown: "<>".to_owned(), expanded_from: none(), actual: none(), submitted };
        }
        if self.is_refused_at_once(item) {
            // What is no address was never asked about.
            let answered = status.subject == 7 || is_unknown(status);
            let reply = answered.then(|| format!("550 {status} <{full}>... {}", item.fate.stat));
            let (expanded_from, actual) = if answered { (given.to_owned(), full) } else { (none(), none()) };
            return Names { shown: given.to_owned(), expanded_from, actual, submitted: Submitted::Refused(reply) };
        }
        if line::is_aliased(recipient) {
            let shown = recipient.address.as_str().to_owned();
            return Names { shown, expanded_from: format!("<{full}>"), actual, submitted: Submitted::Taken };
        }
        let here = self.attempt.mailer == "local" || self.attempt.relay.is_empty();
        let actual = if here { actual } else { none() };
        Names { shown: format!("<{full}>"), expanded_from: none(), actual, submitted: Submitted::Taken }
    }
}

/// The names of a recipient in a report.
struct Names {
    shown: String,
    expanded_from: String,
    /// Empty if it is no other than the final recipient's.
    actual: String,
    submitted: Submitted,
}

/// What a local submitter heard of a recipient.
enum Submitted {
    /// Nothing bad, or it is no local submission.
    Taken,
    /// Refused at once, with this reply; without one for what is no address.
    Refused(Option<String>),
}

fn diagnostic(fate: &Fate, reason: &str, names: &Names) -> String {
    match (fate.program.as_ref().and_then(|said| said.code), &names.submitted) {
        (Some(code), _) => format!("X-Unix; {code}"),
        (None, Submitted::Refused(Some(reply))) => format!("SMTP; {reply}"),
        (None, _) if !fate.reply.is_empty() => format!("SMTP; {}", fate.reply),
        (None, _) if is_unknown(fate.status) && !reason.is_empty() => format!("X-Unix; {reason}"),
        (None, _) => String::new(),
    }
}

fn is_unknown(status: Status) -> bool {
    (status.subject, status.detail) == (1, 1)
}

fn reason(about: About, fate: &Fate, names: &Names) -> String {
    if !matches!(about, About::Failure | About::Postmaster) {
        return String::new();
    }
    if let Some(code) = fate.program.as_ref().and_then(|said| said.code) {
        return code.to_string();
    }
    if !fate.reply.is_empty() {
        return fate.reply.clone();
    }
    match (&names.submitted, fate.status.subject, fate.status.detail) {
        (Submitted::Refused(reply), ..) => reply.clone().unwrap_or_default(),
        (Submitted::Taken, 1, 2) => "550 Host unknown".to_owned(),
        (Submitted::Taken, 1, 1) => format!("550 5.1.1 {}", fate.stat),
        _ => String::new(),
    }
}

fn transcript(
    about: About,
    action: Action,
    item: &Item,
    (recipient, names): (&Recipient, &Names),
    host: &str,
) -> Vec<String> {
    let (fate, shown) = (&item.fate, &names.shown);
    if about == About::Receipt {
        let what = match action {
            Action::Relayed => "relayed; expect no further notifications",
            _ => "Successfully delivered",
        };
        return vec![format!("{shown}... {what}")];
    }
    let mut lines = Vec::new();
    if !fate.reply.is_empty() {
        lines.push(format!("... while talking to {host}:"));
        match &fate.command {
            Command::None => {}
            Command::Rcpt => lines.push(format!(">>> RCPT To:<{}>", recipient.address)),
            Command::Line(line) => lines.push(format!(">>> {line}")),
        }
        lines.extend(fate.lines.iter().map(|line| format!("<<< {line}")));
    }
    lines.extend(fate.program.iter().flat_map(|said| said.lines.iter().cloned()));
    lines.push(match (&names.submitted, fate.status.is_temporary(), fate.status) {
        // sendmail's word for a 550, whatever its text.
        (Submitted::Refused(Some(_)), ..) => format!("550 5.1.1 {shown}... User unknown"),
        (Submitted::Refused(None), _, status) => format!("553 {status} {shown}... {}", fate.stat),
        (_, true, _) => format!("{shown}... {}", fate.stat),
        // A loop has no single address.
        (_, _, status) if (status.subject, status.detail) == (4, 6) => format!("554 {status} {}", fate.stat),
        (_, _, status) => format!("{} {status} {shown}... {}", code(status), fate.stat),
    });
    lines
}

/// The reply code that sendmail pairs with a status of its own.
fn code(status: Status) -> u16 {
    match (status.subject, status.detail) {
        (1, 1 | 2 | 6 | 10) => 550,
        (1, 3) => 553,
        (2, 2) | (3, 4) => 552,
        _ => 554,
    }
}

fn with_domain(address: &str, host: &str) -> String {
    if address.contains('@') { address.trim_end_matches('.').to_owned() } else { format!("{address}@{host}") }
}

fn peer(origin: &Origin) -> String {
    match origin.peer {
        Some(_) if !origin.peer_name.is_empty() => origin.peer_name.clone(),
        Some(ip) => format!("[{ip}]"),
        None => String::new(),
    }
}

fn received_from(origin: &Origin) -> String {
    match (origin.peer, origin.protocol) {
        (Some(ip), _) if origin.peer_name.is_empty() => format!("[{ip}]"),
        (Some(ip), _) => format!("{} [{ip}]", origin.peer_name),
        (None, Protocol::Internal) => "localhost".to_owned(),
        (None, _) => format!("{}@localhost", origin.user),
    }
}

/// A length of time in words: `5 days`, `4 hours`, `1 day 12 hours`.
pub(crate) fn words(ms: u64) -> String {
    let seconds = ms / 1_000;
    let units = [
        (seconds / 86_400, "day"),
        (seconds / 3_600 % 24, "hour"),
        (seconds / 60 % 60, "minute"),
        (seconds % 60, "second"),
    ];
    let said: Vec<String> = units
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n} {unit}{}", if *n == 1 { "" } else { "s" }))
        .collect();
    if said.is_empty() { "0 seconds".to_owned() } else { said.join(" ") }
}

/// The envelope of a report with this content: from nobody, so that nobody is told of its failure but the postmaster.
pub(crate) fn envelope(
    id: QueueId,
    now: Time,
    host: &str,
    recipients: Vec<Recipient>,
    content: &[u8],
    smtputf8: bool,
) -> Envelope {
    Envelope {
        id,
        content: ContentId::default(),
        size: 0,
        arrived: now.wall,
        origin: Origin { protocol: Protocol::Internal, ..Origin::default() },
        sender: Address::null(),
        sender_given: "<>".to_owned(),
        message_id: format!("<{}.{id}@{host}>", date::compact(now.seconds())),
        ret: None,
        envid: String::new(),
        body: if content.is_ascii() { Body::SevenBit } else { Body::EightBitMime },
        smtputf8,
        requiretls: false,
        by: None,
        priority: 0,
        queue_only: false,
        prepend: String::new(),
        hold: None,
        recipients,
        unknown: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn lengths_of_time_in_words() {
        assert_eq!(words(4 * 3_600_000), "4 hours");
        assert_eq!(words(5 * 86_400_000), "5 days");
        assert_eq!(words(129_600_000), "1 day 12 hours");
        assert_eq!(words(61_000), "1 minute 1 second");
        assert_eq!(words(0), "0 seconds");
    }
}
