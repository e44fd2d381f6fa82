//! Local submissions: puts the header together in sendmail's order (sendmail.md 1.9), since only the engine knows
//! the queue id and the host's name. Streams: only the header is held in memory.

use crate::accept::{Draft, header_safe};
use crate::settings::Settings;
use call::submit::Submission;
use mail::QueueId;
use mail::header::{self, Scan};
use queue::ContentWriter;

/// A submission's content on its way to the store.
pub(crate) struct Preparing {
    /// The user's header so far; `None` once it is written.
    header: Option<Vec<u8>>,
    scan: Scan,
    lead: String,
    host: String,
    header_limit: u64,
    limit: u64,
    size: u64,
}

/// Why a submission's content is not taken: sysexits code and text.
pub(crate) enum Trouble {
    /// Never.
    Never(u8, String),
    /// The store's.
    Store(queue::Error),
}

/// EX_DATAERR of sysexits(3).
const DATAERR: u8 = 65;
/// EX_UNAVAILABLE of sysexits(3).
const UNAVAILABLE: u8 = 69;

impl Preparing {
    pub(crate) fn new(
        submission: &Submission,
        draft: &Draft,
        id: QueueId,
        date: &str,
        unix: i64,
        settings: &Settings,
    ) -> Self {
        Self {
            header: Some(Vec::new()),
            scan: Scan::default(),
            lead: lead(submission, draft, id, date, unix, settings),
            host: settings.host.clone(),
            header_limit: settings.header_size,
            limit: settings.message_size,
            size: 0,
        }
    }

    /// Takes the next piece of content.
    pub(crate) fn feed(&mut self, writer: &mut dyn ContentWriter, bytes: &[u8]) -> Result<(), Trouble> {
        self.size += bytes.len() as u64;
        if self.size > self.limit {
            let text = format!("552 5.2.3 Message size exceeds fixed maximum message size ({})", self.limit);
            return Err(Trouble::Never(UNAVAILABLE, text));
        }
        if memchr::memchr(0, bytes).is_some() {
            return Err(Trouble::Never(DATAERR, "554 5.6.0 NUL byte not allowed".into()));
        }
        let Some(header) = self.header.as_mut() else {
            return writer.write(bytes).map_err(Trouble::Store);
        };
        header.extend_from_slice(bytes);
        self.scan.feed(bytes);
        if header.len() as u64 > self.header_limit && !self.scan.ended() {
            let text = format!("552 5.3.4 Headers too large ({} max)", self.header_limit);
            return Err(Trouble::Never(DATAERR, text));
        }
        if self.scan.ended() { self.write_header(writer) } else { Ok(()) }
    }

    /// The content is complete.
    pub(crate) fn finish(&mut self, writer: &mut dyn ContentWriter, hops: u32) -> Result<(), Trouble> {
        self.write_header(writer)?;
        let seen = self.scan.received_count();
        if seen > hops {
            let text = format!("554 5.4.6 Too many hops {seen} ({hops} max)");
            return Err(Trouble::Never(UNAVAILABLE, text));
        }
        Ok(())
    }

    /// Bytes the user sent.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The Message-Id of the message, the user's or ours.
    pub(crate) fn message_id(&self) -> String {
        let own = self.lead.lines().find_map(|line| line.strip_prefix("Message-Id: ")).unwrap_or_default();
        let given = self.scan.message_id();
        if given.is_empty() { own.to_owned() } else { given }
    }

    fn write_header(&mut self, writer: &mut dyn ContentWriter) -> Result<(), Trouble> {
        let Some(all) = self.header.take() else { return Ok(()) };
        let split = header::split(&all);
        let (fields, body) = all.split_at(split.body.min(all.len()));
        let mut out = header::qualify(self.lead.as_bytes(), &self.host);
        out.extend_from_slice(&header::qualify(fields.get(..split.header).unwrap_or(fields), &self.host));
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        writer.write(&out).map_err(Trouble::Store)
    }
}

/// Received, then the generated fields in sendmail's order.
fn lead(submission: &Submission, draft: &Draft, id: QueueId, date: &str, unix: i64, settings: &Settings) -> String {
    let (user, host, version) = (header_safe(&submission.user), &settings.host, &settings.version);
    let mut text = format!("Received: (from {user}@localhost)\r\n\tby {host} ({version}/Submit) id {id}");
    match draft.only() {
        Some(only) if only.is_ascii() => text.push_str(&format!("\r\n\tfor {}; {date}\r\n", header_safe(only))),
        _ => text.push_str(&format!(";\r\n\t{date}\r\n")),
    }
    text.push_str(&submission.generated);
    let stamp = mail::date::compact(unix);
    if submission.resent_message_id {
        text.push_str(&format!("Resent-Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    if submission.message_id {
        text.push_str(&format!("Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    // Only the first in each line is ours: the rest of it is text of the user's.
    submission.warnings.split_inclusive('\n').for_each(|line| text.push_str(&line.replacen("{host}", host, 1)));
    text
}
