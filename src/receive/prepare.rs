//! Local submissions: puts the header together in sendmail's order (sendmail.md 1.9), since only the engine knows
//! the queue id and the host's name. Streams: only the header is held in memory.

use crate::accept::{Draft, header_safe};
use crate::rewrite::Rewriter;
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
    /// Who sends it, for the log.
    user: String,
    host: String,
    header_limit: u64,
    limit: u64,
    size: u64,
    eight_bit: bool,
    rewriter: Option<Rewriter>,
}

/// Why a submission's content is not taken.
pub(crate) enum Trouble {
    /// Never.
    Never {
        /// sysexits code.
        exit: u8,
        /// What the caller is told.
        text: String,
        /// The line that sendmail's log has for it, if it has one.
        logged: Option<String>,
    },
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
        rewriter: Option<Rewriter>,
    ) -> Self {
        Self {
            header: Some(Vec::new()),
            scan: Scan::default(),
            lead: lead(submission, draft, id, date, unix, settings),
            user: header_safe(&submission.user),
            host: settings.host.clone(),
            header_limit: settings.header_size,
            limit: settings.message_size,
            size: 0,
            eight_bit: false,
            rewriter,
        }
    }

    /// Takes the next piece of content.
    pub(crate) async fn feed(&mut self, writer: &mut dyn ContentWriter, bytes: &[u8]) -> Result<(), Trouble> {
        self.size += bytes.len() as u64;
        self.eight_bit |= !bytes.is_ascii();
        if self.size > self.limit {
            let text = format!("552 5.2.3 Message size exceeds fixed maximum message size ({})", self.limit);
            let (size, limit, user) = (self.size, self.limit, &self.user);
            let logged = format!("message size ({size}) exceeds maximum value ({limit}), relay={user}@localhost");
            return Err(Trouble::Never { exit: UNAVAILABLE, text, logged: Some(logged) });
        }
        if memchr::memchr(0, bytes).is_some() {
            let text = "554 5.6.0 NUL byte not allowed".into();
            return Err(Trouble::Never { exit: DATAERR, text, logged: None });
        }
        let Some(header) = self.header.as_mut() else {
            return writer.write(bytes).map_err(Trouble::Store);
        };
        header.extend_from_slice(bytes);
        self.scan.feed(bytes);
        let size = if self.scan.ended() { self.scan.size() } else { header.len() as u64 };
        if size > self.header_limit {
            let text = format!("552 5.3.4 Headers too large ({} max)", self.header_limit);
            let logged = headers_too_large(self.header_limit, &format!("{}@localhost", self.user));
            return Err(Trouble::Never { exit: DATAERR, text, logged: Some(logged) });
        }
        if self.scan.ended() { self.write_header(writer).await } else { Ok(()) }
    }

    /// The content is complete. `hops` is what the caller says it has seen (`-h`), `most` the limit.
    pub(crate) async fn finish(&mut self, writer: &mut dyn ContentWriter, hops: u32, most: u32) -> Result<(), Trouble> {
        self.write_header(writer).await?;
        let seen = self.scan.received_count().saturating_add(hops);
        if seen > most {
            let text = format!("554 5.4.6 Too many hops {seen} ({most} max)");
            let logged = format!("{}: Too many hops {seen} ({most} max)", self.user);
            return Err(Trouble::Never { exit: UNAVAILABLE, text, logged: Some(logged) });
        }
        Ok(())
    }

    /// Whether there was a byte over 127.
    pub(crate) fn eight_bit(&self) -> bool {
        self.eight_bit
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

    async fn write_header(&mut self, writer: &mut dyn ContentWriter) -> Result<(), Trouble> {
        let Some(all) = self.header.take() else { return Ok(()) };
        let split = header::split(&all);
        let (fields, body) = all.split_at(split.body.min(all.len()));
        let mut out = header::qualify(self.lead.as_bytes(), &self.host);
        out.extend_from_slice(&header::qualify(fields.get(..split.header).unwrap_or(fields), &self.host));
        if let Some(rewriter) = &self.rewriter {
            let rewritten = rewriter.header(&out).await;
            out = rewritten.map_err(|error| Trouble::Store(queue::Error::Failed(error.to_string())))?;
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        writer.write(&out).map_err(Trouble::Store)
    }
}

/// sendmail's line about a header that is longer than it may be; logwatch counts them by `from`.
pub(crate) fn headers_too_large(limit: u64, from: &str) -> String {
    format!("headers too large ({limit} max) from {from} during message collect")
}

/// The Received field. Only a single recipient is named, so that none learns of another (RFC 5321 7.2), and only if it
/// was an argument.
fn received(submission: &Submission, draft: &Draft, id: QueueId, date: &str, settings: &Settings) -> String {
    let (user, host, version) = (header_safe(&submission.user), &settings.host, &settings.version);
    let given = &submission.received;
    let from = match &*header_safe(&given.host) {
        "" => format!("(from {user}@localhost)"),
        host => format!("from {host} ({user}@localhost)"),
    };
    let with = match &*header_safe(&given.protocol) {
        "" => String::new(),
        protocol => format!(" with {protocol}"),
    };
    let text = format!("Received: {from}\r\n\tby {host} ({version}/Submit){with} id {id}");
    let only = given.recipient.as_str();
    let fit = !only.is_empty() && only.len() <= 255 && only.bytes().all(|b| matches!(b, b' '..=b'~'));
    if fit && draft.only().is_some() {
        format!("{text}\r\n\tfor {only}; {date}\r\n")
    } else {
        format!("{text};\r\n\t{date}\r\n")
    }
}

/// Received, then the generated fields in sendmail's order.
fn lead(submission: &Submission, draft: &Draft, id: QueueId, date: &str, unix: i64, settings: &Settings) -> String {
    let host = &settings.host;
    let mut text = received(submission, draft, id, date, settings);
    text.push_str(&submission.generated);
    let stamp = mail::date::compact(unix);
    if submission.resent_message_id {
        text.push_str(&format!("Resent-Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    if submission.message_id {
        text.push_str(&format!("Message-Id: <{stamp}.{id}@{host}>\r\n"));
    }
    // Only the first in each line is ours: the rest of it is text of the user's.
    let warnings = if settings.auth_warnings { &*submission.warnings } else { "" };
    warnings.split_inclusive('\n').for_each(|line| text.push_str(&line.replacen("{host}", host, 1)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use call::submit::{Errors, Mode, Recipient};
    use mail::Address;

    struct Memory(Vec<u8>);

    impl ContentWriter for Memory {
        fn write(&mut self, bytes: &[u8]) -> Result<(), queue::Error> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn is_file(&self) -> bool {
            false
        }
        fn into_any(self: Box<Self>) -> Box<dyn std::any::Any + Send> {
            self
        }
    }

    fn submission() -> Submission {
        Submission {
            version: call::submit::VERSION,
            id: [7; 16],
            user: "alice".into(),
            sender: "alice".into(),
            recipients: vec![Recipient { address: "bob".into(), notify: 0, orcpt: String::new() }],
            cut: false,
            received: call::submit::Received { recipient: "bob".into(), ..call::submit::Received::default() },
            generated: "Date: Sat, 21 Nov 2026 20:21:06 GMT\r\nFrom: Alice <alice>\r\n".into(),
            message_id: true,
            resent_message_id: false,
            warnings: "X-Authentication-Warning: {host}: alice set sender to {host} using -f\r\n".into(),
            eight_bit: false,
            return_headers: None,
            envelope_id: String::new(),
            hops: 0,
            mode: Mode::Background,
            errors: Errors::Report,
        }
    }

    async fn prepare(content: &[u8], settings: &Settings, piece: usize) -> Result<String, Trouble> {
        let draft = Draft::local(Address::null(), String::new(), String::new(), None, false);
        let id = QueueId::new(1_795_292_466, 42);
        let mut preparing = Preparing::new(&submission(), &draft, id, "DATE", 1_795_292_466, settings, None);
        let mut memory = Memory(Vec::new());
        for piece in content.chunks(piece) {
            preparing.feed(&mut memory, piece).await?;
        }
        preparing.finish(&mut memory, 0, settings.hops).await?;
        Ok(String::from_utf8(memory.0).unwrap())
    }

    #[tokio::test]
    async fn the_header_is_put_together_in_sendmails_order() {
        let settings = Settings { host: "mx.example".into(), version: "V".into(), ..Settings::default() };
        for piece in [1, 7, 1_000] {
            let Ok(text) = prepare(b"To: bob\r\nSubject: x\r\n\r\nTo: not me\r\n", &settings, piece).await else {
                panic!()
            };
            assert_eq!(
                text,
                "Received: (from alice@localhost)\r\n\tby mx.example (V/Submit) id 6ALKL600000042;\r\n\tDATE\r\n\
                 Date: Sat, 21 Nov 2026 20:21:06 GMT\r\nFrom: Alice <alice@mx.example>\r\n\
                 Message-Id: <202611212021.6ALKL600000042@mx.example>\r\n\
                 X-Authentication-Warning: mx.example: alice set sender to {host} using -f\r\n\
                 To: bob@mx.example\r\nSubject: x\r\n\r\nTo: not me\r\n"
            );
        }
    }

    #[tokio::test]
    async fn limits_hold_while_it_streams() {
        let settings = Settings { header_size: 1_000, message_size: 5_000, ..Settings::default() };
        let header = [b"X: ".as_slice(), &[b'a'; 2_000]].concat();
        for piece in [100, 1_000, 10_000] {
            let whole = [&header, b"\r\n\r\nx\r\n".as_slice()].concat();
            assert!(matches!(prepare(&header, &settings, piece).await, Err(Trouble::Never { exit: 65, .. })));
            let Err(Trouble::Never { exit: 65, logged: Some(line), .. }) = prepare(&whole, &settings, piece).await
            else {
                panic!("in pieces of {piece}")
            };
            assert_eq!(line, "headers too large (1000 max) from alice@localhost during message collect");
        }
        let long = [b"X: y\r\n\r\n".as_slice(), &[b'a'; 6_000]].concat();
        assert!(matches!(prepare(&long, &settings, 100).await, Err(Trouble::Never { exit: 69, .. })));
        assert!(matches!(prepare(b"X: y\r\n\r\n\0", &settings, 100).await, Err(Trouble::Never { exit: 65, .. })));
        let loops = "Received: x\r\n".repeat(60);
        let few = Settings { hops: 50, ..Settings::default() };
        assert!(matches!(prepare(loops.as_bytes(), &few, 100).await, Err(Trouble::Never { exit: 69, .. })));
    }
}
