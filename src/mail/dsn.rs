//! Delivery status notifications in sendmail's layout (sendmail.md 5.2): bounces, delay warnings, success reports and
//! postmaster notices. RFC 3464, 6522, 3834; 6533 for addresses beyond ASCII. `deliver` fills in a [`Report`] and queues
//! what [`build`] makes of it, with the null sender.
//!
//! Nearly every text in a report came from a stranger: each becomes one line without control characters before it is
//! written (CVE-2020-8794 was a reply of several lines).

mod status;
#[cfg(test)]
mod tests;
mod text;

use crate::Status;

/// What is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Delivery failed for good.
    Failure,
    /// Not delivered yet.
    Delay {
        /// For how long, in words: `4 hours`.
        past: String,
        /// How long it will be tried in all: `5 days`.
        until: String,
    },
    /// Delivered, and NOTIFY=SUCCESS asked to say so.
    Success,
    /// A bounce that could not be delivered, for the postmaster.
    Postmaster,
}

/// What became of a recipient (RFC 3464 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `failed`
    Failed,
    /// `delayed`
    Delayed,
    /// `delivered (to mailbox)`
    Delivered,
    /// `relayed (to non-DSN-aware mailer)`
    Relayed,
    /// `expanded (to multi-recipient alias)`
    Expanded,
}

/// One recipient of a report. Empty texts are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The address that is named to the reader: where delivery was tried, as written.
    pub shown: String,
    /// The alias or list it came from.
    pub expanded_from: String,
    /// The address we were given, with its domain: Final-Recipient.
    pub final_recipient: String,
    /// Where it really went, if that is another address: X-Actual-Recipient.
    pub actual: String,
    /// ORCPT as `type;address`.
    pub orcpt: String,
    /// Action.
    pub action: Action,
    /// Status.
    pub status: Status,
    /// Name of the host that answered.
    pub remote_mta: String,
    /// What is said after `reason: `, usually the remote's reply.
    pub reason: String,
    /// Diagnostic-Code with its type: `SMTP; 550 5.1.1 no such user here`, `X-Unix; 67`.
    pub diagnostic: String,
    /// Lines of the dialogue (`... while talking to far.example.:`, `>>> RCPT To:<…>`, `<<< 550 …`, `550 5.1.1 …`).
    pub transcript: Vec<String>,
    /// Date of the last attempt.
    pub last_attempt: String,
    /// Date at which it will be given up; for delays.
    pub will_retry_until: String,
}

/// Everything a report says. Dates are formatted already (`date::rfc5322`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// What is reported.
    pub kind: Kind,
    /// Our host name.
    pub host: String,
    /// Queue id of the message reported on; shown to the postmaster.
    pub id: String,
    /// Queue id of the report.
    pub new_id: String,
    /// Our version, for the report's Received field.
    pub version: String,
    /// Address in From: `MAILER-DAEMON`, with our domain if it leaves the host.
    pub from: String,
    /// Address in To: the sender of the message reported on.
    pub to: String,
    /// Date of the report.
    pub date: String,
    /// Message-Id of the report, without angle brackets.
    pub message_id: String,
    /// Boundary; sendmail's is `QUEUEID.UNIXTIME/host`. It is made longer if the original contains it.
    pub boundary: String,
    /// When the message arrived.
    pub arrival_date: String,
    /// From whom: `root@localhost`, `client.example [192.0.2.1]`.
    pub received_from: String,
    /// Name of the host it came from by SMTP: Received-From-MTA; empty for local submissions.
    pub received_from_mta: String,
    /// ENVID.
    pub envid: String,
    /// The recipients.
    pub recipients: Vec<Recipient>,
    /// Lines at the end of the transcript (`Message could not be delivered for 5 days`).
    pub notes: Vec<String>,
    /// Envelope sender of the message, for the Return-Path of the returned part.
    pub sender: String,
    /// The message has 8-bit content, whether it is returned or not.
    pub eight_bit: bool,
    /// Header of the message.
    pub header: &'a [u8],
    /// The whole content, if it is to be returned; header included.
    pub content: Option<&'a [u8]>,
}

/// Longest text from outside in one line, in octets: the whole line stays under 998 (RFC 5322 2.1.1).
const TEXT: usize = 800;

/// `text` as a part of a line: control characters become `?`, line breaks blanks, and it is cut at 800 octets.
fn one_line(text: &str) -> String {
    let mut line: String = text
        .chars()
        .map(|c| match c {
            '\r' | '\n' | '\t' => ' ',
            c if crate::grammar::is_forbidden(c) => '?',
            c => c,
        })
        .collect();
    line.truncate(line.floor_char_boundary(TEXT));
    line
}

/// Lines of the report, put together.
#[derive(Default)]
struct Page(Vec<u8>);

impl Page {
    fn line(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
        self.0.extend_from_slice(b"\r\n");
    }
    /// `Name: value`, unless the value is empty.
    fn field(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.line(&format!("{name}: {}", one_line(value)));
        }
    }
}

/// Makes the report: header and body, CRLF line ends.
#[must_use]
pub fn build(report: &Report<'_>) -> Vec<u8> {
    let original = report.content.unwrap_or(report.header);
    let mut boundary = one_line(&report.boundary).replace('"', "");
    while memchr::memmem::find(original, boundary.as_bytes()).is_some() && boundary.len() < 200 {
        boundary.push('x');
    }
    let text = text::part(report);
    let (status, international) = status::part(report);
    let returned = returned_part(report, international || !report.sender.is_ascii());
    let eight_bit =
        report.eight_bit || !(text.is_ascii() && status.is_ascii() && returned.iter().all(|part| part.is_ascii()));

    let mut page = Page::default();
    heading(report, &boundary, eight_bit, &mut page);
    page.line("This is a MIME-encapsulated message");
    for part in [&[&text[..]][..], &[&status], &returned.each_ref().map(|p| &p[..])] {
        page.line("");
        page.line(&format!("--{boundary}"));
        part.iter().for_each(|piece| page.0.extend_from_slice(piece));
    }
    page.line("");
    page.line(&format!("--{boundary}--"));
    page.line("");
    page.0
}

fn heading(report: &Report<'_>, boundary: &str, eight_bit: bool, page: &mut Page) {
    page.line("Received: from localhost (localhost)");
    page.line(&format!("\tby {} ({}) id {};", one_line(&report.host), one_line(&report.version), report.new_id));
    page.line(&format!("\t{}", one_line(&report.date)));
    page.field("Date", &report.date);
    page.line(&format!("From: Mail Delivery Subsystem <{}>", one_line(&report.from)));
    page.line(&format!("Message-Id: <{}>", one_line(&report.message_id)));
    page.field("To", &report.to);
    page.line("MIME-Version: 1.0");
    page.line("Content-Type: multipart/report; report-type=delivery-status;");
    page.line(&format!("\tboundary=\"{boundary}\""));
    if eight_bit {
        page.line("Content-Transfer-Encoding: 8bit");
    }
    let (subject, kind) = match &report.kind {
        Kind::Failure => ("Returned mail: see transcript for details".to_owned(), "failure"),
        Kind::Delay { past, .. } => {
            (format!("Warning: could not send message for past {}", one_line(past)), "warning-timeout")
        }
        Kind::Success => ("Return receipt".to_owned(), "return-receipt"),
        Kind::Postmaster => ("Postmaster notify: see transcript for details".to_owned(), "postmaster-notification"),
    };
    page.field("Subject", &subject);
    page.line(&format!("Auto-Submitted: auto-generated ({kind})"));
    page.line("");
}

/// The third part: its own header, and the original as it is, which may be large and is not copied here.
fn returned_part<'a>(report: &Report<'a>, international: bool) -> [std::borrow::Cow<'a, [u8]>; 3] {
    let original = report.content.unwrap_or(report.header);
    let kind = match (report.content.is_some(), international) {
        (true, false) => "message/rfc822",
        (true, true) => "message/global",
        (false, false) => "text/rfc822-headers",
        (false, true) => "message/global-headers",
    };
    let mut head = Page::default();
    let sender = one_line(&report.sender);
    head.line(&format!("Content-Type: {kind}"));
    if report.eight_bit || !original.is_ascii() || !sender.is_ascii() {
        head.line("Content-Transfer-Encoding: 8bit");
    }
    head.line("");
    // As at local delivery (sendmail.md 1.9).
    head.line(&format!("Return-Path: <{}>", if sender.is_empty() { "MAILER-DAEMON" } else { &sender }));
    let end: &[u8] = if original.is_empty() || original.ends_with(b"\n") { b"" } else { b"\r\n" };
    [head.0.into(), original.into(), end.into()]
}
