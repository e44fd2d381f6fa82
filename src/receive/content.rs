//! Reads the content of DATA: un-stuffs, measures, scans the header, and hands it to the store's writer as it comes.
//! Whatever is wrong with it is only said after its true end (S-21).

use crate::policy;
use crate::rewrite::Rewriter;
use crate::settings::Settings;
use crate::wire::{Lost, Wire};
use mail::Status;
use mail::content::DataDecoder;
use mail::header::{Known, Scan};
use mail::reply::Reply;
use queue::{ContentWriter, Store};
use std::borrow::Cow;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Fields that are not passed on as they came.
const TAKEN_OFF: [Known; 5] = [Known::Bcc, Known::ResentBcc, Known::ReturnPath, Known::ContentLength, Known::FullName];

/// Content that was read whole.
pub(crate) struct Whole {
    pub(crate) writer: Box<dyn ContentWriter>,
    /// Bytes as received, without our Received field.
    pub(crate) size: u64,
    pub(crate) message_id: String,
    /// There was a byte over 127.
    pub(crate) eight_bit: bool,
}

/// Why content was not taken.
pub(crate) struct Refusal {
    pub(crate) reply: Reply,
    /// For the log.
    pub(crate) logged: String,
    /// Whether that is a line of ours.
    pub(crate) ours: bool,
}

/// Content on its way in.
pub(crate) struct Reading {
    writer: Option<Box<dyn ContentWriter>>,
    trouble: Option<queue::Error>,
    decoder: DataDecoder,
    scan: Scan,
    size: u64,
    eight_bit: bool,
    limit: u64,
    header_limit: u64,
    patience: Duration,
    /// The header so far: a To behind a Bcc decides what becomes of it.
    held: Option<Vec<u8>>,
    rewriter: Option<Rewriter>,
}

impl Reading {
    /// Begins with our own Received field. The header is held until it is whole.
    pub(crate) fn new(store: &dyn Store, received: &[u8], settings: &Settings, rewriter: Option<Rewriter>) -> Self {
        let mut reading = Self {
            writer: None,
            trouble: None,
            decoder: DataDecoder::default(),
            scan: Scan::default(),
            size: 0,
            eight_bit: false,
            limit: settings.message_size,
            header_limit: settings.header_size,
            patience: Duration::from_millis(settings.data_timeout),
            held: None,
            rewriter,
        };
        match store.write(0) {
            Ok(writer) => reading.writer = Some(writer),
            Err(error) => reading.trouble = Some(error),
        }
        reading.keep(received);
        reading.held = Some(Vec::new());
        reading
    }

    /// Reads up to the end of the content.
    pub(crate) async fn read<S: AsyncRead + AsyncWrite + Unpin>(&mut self, wire: &mut Wire<S>) -> Result<(), Lost> {
        let began = tokio::time::Instant::now();
        let mut chunk = Vec::new();
        loop {
            let pending = wire.pending();
            if !pending.is_empty() {
                chunk.clear();
                chunk.reserve(pending.len());
                let (used, done) = self.decoder.feed(pending, &mut chunk);
                wire.consume(used);
                self.take(&chunk);
                if done || self.scan.ended() {
                    self.release_header().await;
                }
                if done {
                    return Ok(());
                }
            }
            wire.fill(true).await?;
            // S-60: a client that drips bytes is cut off: below 100 bytes a second over the whole of a long transfer.
            let allowed = self.patience * 2 + Duration::from_secs(self.size / 100);
            if began.elapsed() > allowed {
                return Err(Lost::TimedOut);
            }
        }
    }

    fn take(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        self.eight_bit |= !chunk.is_ascii();
        if !self.scan.ended() {
            self.scan.feed(chunk);
        }
        if self.size > self.limit || self.header_too_large() {
            // Nothing will be accepted: give the space back now.
            self.writer = None;
            self.held = None;
        }
        match self.held.as_mut() {
            Some(held) => held.extend_from_slice(chunk),
            None => self.keep(chunk),
        }
    }

    /// The header is whole: it goes on, rewritten and without what is nobody else's business.
    async fn release_header(&mut self) {
        let Some(held) = self.held.take() else { return };
        let taken_off = TAKEN_OFF.iter().any(|known| self.scan.has(*known));
        if !taken_off && self.rewriter.is_none() {
            return self.keep(&held);
        }
        let (header, body) = held.split_at(mail::header::split(&held).header.min(held.len()));
        let mut header = Cow::Borrowed(header);
        if taken_off {
            header = mail::header::passed_on(&header).into();
        }
        if let Some(rewriter) = &self.rewriter {
            match rewriter.header(&header).await {
                Ok(rewritten) => header = rewritten.into(),
                Err(error) => {
                    self.writer = None;
                    self.trouble = Some(queue::Error::Failed(error.to_string()));
                    return;
                }
            }
        }
        self.keep(&header);
        self.keep(body);
    }

    fn header_too_large(&self) -> bool {
        let header = if self.scan.ended() { self.scan.size() } else { self.size };
        header > self.header_limit
    }

    fn keep(&mut self, bytes: &[u8]) {
        let Some(writer) = self.writer.as_mut() else { return };
        if let Err(error) = writer.write(bytes) {
            self.writer = None;
            self.trouble = Some(error);
        }
    }

    /// What became of it; it came from `peer`.
    pub(crate) fn finish(self, settings: &Settings, peer: &str) -> Result<Whole, Refusal> {
        let own = |why: &str| format!("refused content from {peer}: {why}");
        let refuse = |code, status, text: &str, logged: Option<String>| {
            let ours = logged.is_none();
            let logged = logged.unwrap_or_else(|| own(text));
            Err(Refusal { reply: Reply::new(code, Some(status), text), logged, ours })
        };
        if self.decoder.bare() {
            return refuse(550, Status::permanent(6, 0), "Bare CR or LF in message not allowed", None);
        }
        if self.decoder.nul() {
            return refuse(550, Status::permanent(6, 0), "NUL byte in message not allowed", None);
        }
        if self.size > self.limit {
            let text = format!("Message exceeds maximum fixed size ({})", self.limit);
            let logged = format!("message size ({}) exceeds maximum value ({}), relay={peer}", self.size, self.limit);
            return refuse(552, Status::permanent(2, 3), &text, Some(logged));
        }
        if self.header_too_large() {
            let text = format!("Headers too large ({} max)", self.header_limit);
            let logged = crate::prepare::headers_too_large(self.header_limit, peer);
            return refuse(552, Status::permanent(3, 4), &text, Some(logged));
        }
        let hops = self.scan.received_count();
        if hops > settings.hops {
            let text = format!("Too many hops {hops} ({} max)", settings.hops);
            let logged = format!("{text}: relay={peer}");
            return refuse(554, Status::permanent(4, 6), &text, Some(logged));
        }
        match (self.writer, self.trouble) {
            (Some(writer), None) => {
                Ok(Whole { writer, size: self.size, message_id: self.scan.message_id(), eight_bit: self.eight_bit })
            }
            (_, trouble) => {
                let error = trouble.unwrap_or_else(|| queue::Error::Failed("no writer".into()));
                Err(Refusal { reply: policy::store_refusal(&error), logged: own(&error.to_string()), ours: true })
            }
        }
    }
}
