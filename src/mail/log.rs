//! What is logged, as values. One event has one text in sendmail's shape (sendmail.md 5.7), which log readers
//! parse, and one JSON form; both are made from the same fields. Control characters never reach a log (S-54).

use crate::{Encryption, QueueId, Status, Verify};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::{self, Write as _};

/// One log line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A message was accepted.
    From(FromLine),
    /// An attempt for one or more recipients of one transaction.
    To(ToLine),
    /// Anything else; `id` is printed before it, `NOQUEUE` if there is none.
    Note {
        /// The message concerned.
        #[serde(serialize_with = "id_text")]
        id: Option<QueueId>,
        /// The text, in sendmail's words where it has some.
        text: String,
        /// Whether they are ours, so that sendmail's log has no such line.
        #[serde(skip)]
        ours: bool,
    },
    /// A check or a table has decided about a client, a sender or a recipient.
    Decision {
        /// The message or session concerned.
        #[serde(serialize_with = "id_text")]
        id: Option<QueueId>,
        /// What it means.
        outcome: Outcome,
        /// In sendmail's words. Log readers match it up to its end.
        text: String,
        /// The file and line, or the setting, that decided: a line of its own from level 10 on.
        why: String,
        /// Whether sendmail's log has no such line.
        #[serde(skip)]
        ours: bool,
    },
    /// A connection was made, in or out: counted, and a line from level 11 on.
    Connected {
        /// By this host to another.
        outgoing: bool,
        /// `name [ip]`.
        relay: String,
    },
    /// A session was encrypted.
    Encrypted {
        /// `STARTTLS=server, relay=name [ip], version=TLSv1.3, verify=NO, cipher=…, bits=256/256`.
        text: String,
        /// Whom the other side's certificate names, as tables have it: a line of its own from level 12 on.
        certificate: Option<String>,
    },
    /// About the server itself, with no id before it.
    Server {
        /// The text.
        text: String,
    },
}

/// What a decision means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The client was sent away before it could say anything.
    Disconnected,
    /// Refused.
    Rejected,
    /// Accepted and thrown away.
    Discarded,
    /// Accepted and held.
    Quarantined,
}

/// The level of the lines that sendmail always writes (its LogLevel).
pub const USUAL: u8 = 9;
const REASONS: u8 = 10;
const CONNECTIONS: u8 = 11;
const CERTIFICATES: u8 = 12;

/// One line as it is written down, without tag and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its text.
    pub text: String,
    /// Whether sendmail writes such lines. The others get a tag of their own: readers of sendmail's log report what they do not know.
    pub known: bool,
}

/// How the lines about the server begin that sendmail has too.
const KNOWN: [&str; 6] = ["starting daemon", "restarting ", "stopping daemon", "STARTTLS=", "AUTH=", "alias database "];

impl Event {
    /// Of a session with `relay`, which this host began if it is `outgoing`.
    #[must_use]
    pub fn encrypted(outgoing: bool, relay: &str, encryption: &Encryption) -> Self {
        let side = if outgoing { "client" } else { "server" };
        let certificate = encryption.certificate.as_ref().map(|shown| {
            let trust = if encryption.verify == Verify::Ok { "ok" } else { "not trusted" };
            format!("STARTTLS={side}, cert-subject={}, cert-issuer={}, verifymsg={trust}", shown.subject, shown.issuer)
        });
        Self::Encrypted { text: format!("STARTTLS={side}, relay={relay}, {encryption}"), certificate }
    }
    /// The lines of this event at a log level, in sendmail's shape.
    #[must_use]
    pub fn lines(&self, level: u8) -> Vec<Line> {
        let line = |text, known| Line { text, known };
        let whole = || {
            // Most lines fit: it need not grow.
            let mut text = String::with_capacity(256);
            let _ = write!(text, "{self}");
            text
        };
        match self {
            Self::Connected { .. } if level < CONNECTIONS => Vec::new(),
            Self::Decision { id, why, ours, .. } if level >= REASONS && !why.is_empty() => {
                let reason = format!("{}: reason={}", Named(*id), safe_line(why));
                vec![line(whole(), !ours), line(reason, false)]
            }
            Self::Note { ours, .. } | Self::Decision { ours, .. } => vec![line(whole(), !ours)],
            Self::Encrypted { certificate: Some(certificate), .. } if level >= CERTIFICATES => {
                vec![line(whole(), true), line(safe_line(certificate), true)]
            }
            Self::Server { text } => {
                let known = KNOWN.iter().any(|known| text.starts_with(known)) || text.contains(" aliases, longest ");
                vec![line(whole(), known)]
            }
            _ => vec![line(whole(), true)],
        }
    }
}

/// The id, or what stands for none.
struct Named(Option<QueueId>);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => id.fmt(f),
            None => f.write_str("NOQUEUE"),
        }
    }
}

/// Fields of a `from=` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FromLine {
    /// Queue id.
    #[serde(serialize_with = "one_id")]
    pub id: QueueId,
    /// `<a@b>` as it came by SMTP, or bare for a local submission.
    pub from: String,
    /// Bytes as received.
    pub size: u64,
    /// Recipients of the envelope.
    pub nrcpts: usize,
    /// Message-Id field.
    pub msgid: String,
    /// `8BITMIME`, or empty.
    pub bodytype: String,
    /// `ESMTP`, `SMTP`, `ESMTPS`; empty for local submissions.
    pub proto: String,
    /// Listener's name; empty for local submissions.
    pub daemon: String,
    /// `name [ip]`, or `root@localhost`.
    pub relay: String,
}

/// Fields of a `to=` line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToLine {
    /// Queue id.
    #[serde(serialize_with = "one_id")]
    pub id: QueueId,
    /// Recipients that share the outcome.
    pub to: Vec<String>,
    /// Controlling address, `root (0/0)`; empty if none.
    pub ctladdr: String,
    /// Seconds since arrival.
    pub delay: u64,
    /// Seconds of this attempt.
    pub xdelay: u64,
    /// `local`, `esmtp`, `relay`.
    pub mailer: String,
    /// Priority number (sendmail's: 30000 for each recipient, plus size).
    pub pri: u64,
    /// `host. [ip]`; empty for local.
    pub relay: String,
    /// Status.
    #[serde(serialize_with = "status_text")]
    pub dsn: Option<Status>,
    /// Content size in bytes; not in the line.
    pub size: u64,
    /// The remote's reply, if it was not a success.
    pub reply: String,
    /// `Sent`, `Sent (text)`, `Deferred: text`, `User unknown`, …
    pub stat: String,
}

fn one_id<S: Serializer>(id: &QueueId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

fn id_text<S: Serializer>(id: &Option<QueueId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

fn status_text<S: Serializer>(status: &Option<Status>, serializer: S) -> Result<S::Ok, S::Error> {
    match status {
        Some(status) => serializer.collect_str(status),
        None => serializer.serialize_none(),
    }
}

/// Longest field value in a log line, in characters.
const FIELD: usize = 400;

/// Untrusted text as it may stand in a log line: control characters, DEL, C1, line separators and bidi controls as `\xNN` or
/// `\u{N}`, cut to 400 characters.
#[must_use]
pub fn safe(text: &str) -> String {
    Safe(text).to_string()
}

/// The text of [`safe`], written where it goes.
struct Safe<'a>(&'a str);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0;
        if text.len() <= FIELD && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
            return f.write_str(text);
        }
        for (n, c) in text.chars().enumerate() {
            if n == FIELD {
                return f.write_str("...");
            }
            match c {
                c if (c as u32) < 0x20 || c == '\u{7f}' => write!(f, "\\x{:02x}", c as u32)?,
                '\u{80}'..='\u{9f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}' => write!(f, "\\u{{{:x}}}", c as u32)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// A length of time as sendmail logs it: `00:00:07`, `6+00:00:00` from a day on.
#[must_use]
pub fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3_600, rest / 60 % 60, rest % 60);
    if days == 0 { clock } else { format!("{days}+{clock}") }
}

impl fmt::Display for Event {
    /// The line in sendmail's shape, without tag and time.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(line) => from_line(line, f),
            Self::To(line) => to_line(line, f),
            Self::Note { id, text, .. } | Self::Decision { id, text, .. } => {
                write!(f, "{}: {}", Named(*id), safe_line(text))
            }
            Self::Connected { outgoing: false, relay } => write!(f, "NOQUEUE: connect from {}", safe_line(relay)),
            Self::Connected { outgoing: true, relay } => write!(f, "NOQUEUE: connected to {}", safe_line(relay)),
            Self::Encrypted { text, .. } | Self::Server { text } => f.write_str(&safe_line(text)),
        }
    }
}

/// A text without the ` (os error 2)` that Rust's errors end in: what the administrator reads says it in words.
#[must_use]
pub fn without_numbers(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = " (os error ";
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split(BEGIN);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => kept.push_str(rest),
            _ => kept.extend([BEGIN, part]),
        }
    }
    Cow::Owned(kept)
}

/// Like [`safe`] for a line that was put together of several fields: up to 900 bytes (syslog's 1,024 with its prefix).
fn safe_line(text: &str) -> String {
    let text = &*without_numbers(text);
    let mut end = text.len().min(900);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].split_inclusive(|_: char| true).map(safe).collect()
}

fn from_line(line: &FromLine, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: from={}, size={}, class=0, nrcpts={}", line.id, Safe(&line.from), line.size, line.nrcpts)?;
    for (name, value) in [
        ("msgid", &line.msgid),
        ("bodytype", &line.bodytype),
        ("proto", &line.proto),
        ("daemon", &line.daemon),
        ("relay", &line.relay),
    ] {
        if !value.is_empty() {
            write!(f, ", {name}={}", Safe(value))?;
        }
    }
    Ok(())
}

fn to_line(line: &ToLine, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{}: to={}", line.id, Safe(&line.to.join(",")))?;
    if !line.ctladdr.is_empty() {
        write!(f, ", ctladdr={}", Safe(&line.ctladdr))?;
    }
    write!(f, ", delay={}, xdelay={}", duration(line.delay), duration(line.xdelay))?;
    write!(f, ", mailer={}, pri={}", Safe(&line.mailer), line.pri)?;
    if !line.relay.is_empty() {
        write!(f, ", relay={}", Safe(&line.relay))?;
    }
    if let Some(dsn) = line.dsn {
        write!(f, ", dsn={dsn}")?;
    }
    if !line.reply.is_empty() {
        write!(f, ", reply={}", Safe(&line.reply))?;
    }
    write!(f, ", stat={}", Safe(&line.stat))
}

/// Whoever writes events down: syslog, a file, a test.
pub trait Log: Send + Sync {
    /// Writes one event; must not block for long and cannot fail.
    fn write(&self, event: &Event);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_no_numbers() {
        let error = std::io::Error::from_raw_os_error(2);
        for (text, plain) in [
            (format!("a: {error}, b: {error}"), "a: No such file or directory, b: No such file or directory"),
            ("said (os error x) and (os error".into(), "said (os error x) and (os error"),
            (" (os error 1".into(), " (os error 1"),
        ] {
            assert_eq!(without_numbers(&text), plain);
        }
        let note = Event::Server { text: format!("queue: {error}") };
        assert_eq!(note.to_string(), "queue: No such file or directory");
    }

    #[test]
    fn lines_have_sendmails_shape() {
        let id = QueueId::new(1_795_292_466, 25);
        let from = Event::From(FromLine {
            id,
            from: "<a@b.example>".into(),
            size: 17,
            nrcpts: 1,
            msgid: "<x@y>".into(),
            bodytype: String::new(),
            proto: "ESMTP".into(),
            daemon: "MTA".into(),
            relay: "localhost [127.0.0.1]".into(),
        });
        assert_eq!(
            from.to_string(),
            "6ALKL600000025: from=<a@b.example>, size=17, class=0, nrcpts=1, msgid=<x@y>, proto=ESMTP, daemon=MTA, relay=localhost [127.0.0.1]"
        );
        let to = Event::To(ToLine {
            id,
            to: vec!["u@far.example".into(), "v@far.example".into()],
            ctladdr: "root (0/0)".into(),
            delay: 518_400,
            xdelay: 7,
            mailer: "relay".into(),
            pri: 121_247,
            relay: "[127.0.0.1] [127.0.0.1]".into(),
            size: 1_247,
            dsn: Some(Status::success(0, 0)),
            reply: String::new(),
            stat: "Sent (ok queued as XYZ)".into(),
        });
        assert_eq!(
            to.to_string(),
            "6ALKL600000025: to=u@far.example,v@far.example, ctladdr=root (0/0), delay=6+00:00:00, xdelay=00:00:07, mailer=relay, pri=121247, relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (ok queued as XYZ)"
        );
    }

    #[test]
    fn reasons_and_connections_are_for_higher_levels() {
        let text = "ruleset=check_rcpt, arg1=<u@x>, relay=[192.0.2.1], reject=550 5.7.1 <u@x>... Relaying denied";
        let (id, why) = (Some(QueueId::new(1_795_292_466, 25)), "access:3: Connect:192.0.2".to_owned());
        let event = Event::Decision { id, outcome: Outcome::Rejected, text: text.into(), why, ours: false };
        let line = |text: &str, known| Line { text: text.into(), known };
        assert_eq!(event.lines(USUAL), [line(&format!("6ALKL600000025: {text}"), true)]);
        assert_eq!(event.lines(10)[1], line("6ALKL600000025: reason=access:3: Connect:192.0.2", false));
        let event = Event::Connected { outgoing: false, relay: "localhost [127.0.0.1]".into() };
        assert!(event.lines(10).is_empty());
        assert_eq!(event.lines(11), [line("NOQUEUE: connect from localhost [127.0.0.1]", true)]);
        let server = |text: &str| Event::Server { text: text.into() }.lines(USUAL);
        assert!(server("starting daemon (x): SMTP")[0].known && !server("changed list in use")[0].known);
    }

    #[test]
    fn a_certificate_is_shown_as_tables_have_it() {
        let shown = crate::Certificate { subject: "/CN=x".into(), issuer: "/CN=ca".into(), ..Default::default() };
        let encryption =
            Encryption { version: "TLSv1.3", bits: 256, certificate: Some(shown), ..Encryption::default() };
        let event = Event::encrypted(false, "h [192.0.2.1]", &encryption);
        let first = "STARTTLS=server, relay=h [192.0.2.1], version=TLSv1.3, verify=, cipher=, bits=256/256";
        assert_eq!(event.lines(USUAL), [Line { text: first.into(), known: true }]);
        let text = "STARTTLS=server, cert-subject=/CN=x, cert-issuer=/CN=ca, verifymsg=not trusted".to_owned();
        assert_eq!(event.lines(12)[1], Line { text, known: true });
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(safe("a\r\nb\x1b[2J\u{9b}\u{202e}"), "a\\x0d\\x0ab\\x1b[2J\\u{9b}\\u{202e}");
        let note = Event::Note { id: None, text: format!("x\n{}", "é".repeat(2_000)), ours: true };
        assert!(!note.lines(USUAL)[0].known);
        assert!(note.to_string().len() < 1_000 && !note.to_string().contains('\n'));
    }
}
