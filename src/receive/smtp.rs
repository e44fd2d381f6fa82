//! One SMTP session: bytes to `mail::server::Session`, its questions to `policy`, content to `content`.

use crate::accept::{Arrival, Draft};
use crate::check::Decision;
use crate::client::Resolved;
use crate::policy;
use crate::verify::{self, Question};
use crate::wire::{Line, Lost, Wire};
use crate::{Current, Receive};
use mail::log::Event;
use mail::reply::Reply;
use mail::server::{Limits, Session, Step};
use mail::{Encryption, QueueId, Status};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use table::{Features, Found};
use tokio::io::{AsyncRead, AsyncWrite};

/// The client of a session.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Its forward-confirmed name; empty if it has none.
    pub name: String,
    /// How the look-up of the name went.
    pub resolved: Resolved,
    /// The listener's name.
    pub listener: String,
}

impl Peer {
    /// `name [ip]` as in log lines and Received fields.
    #[must_use]
    pub fn text(&self) -> String {
        let ip = in_full(self.ip);
        if self.name.is_empty() { format!("[{ip}]") } else { format!("{} [{ip}]", self.name) }
    }
}

/// An address as sendmail writes it, `192.0.2.1` or `IPv6:2001:db8:0:1:0:0:0:5`: in full, as it is looked up in access.
pub(crate) fn in_full(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => ip.segments().iter().fold("IPv6".to_owned(), |text, part| format!("{text}:{part:x}")),
    }
}

/// Longest TLS handshake (S-69).
const HANDSHAKE: Duration = Duration::from_secs(60);

/// How a pass over the stream ended.
enum End<S> {
    /// The session is over.
    Over,
    /// The client may start the handshake now.
    StartTls(S),
}

/// State of one session.
pub(crate) struct Serving {
    pub(crate) receive: Arc<Receive>,
    pub(crate) current: Arc<Current>,
    pub(crate) peer: Peer,
    pub(crate) session: Session,
    pub(crate) draft: Option<Draft>,
    /// What the client's access entry means for each of its messages.
    pub(crate) standing: Option<Decision>,
    /// How it is encrypted, and what its client's certificate says.
    pub(crate) encryption: Encryption,
    /// What the access table keeps from this client.
    pub(crate) features: Option<Found<Features>>,
    /// In place of the greeting, for a client that talked before it.
    pub(crate) early: Option<Reply>,
    /// Stands before the session's log lines; the next message gets it.
    pub(crate) id: QueueId,
    /// VRFY and EXPN so far, and ETRN.
    pub(crate) questions: u32,
    pub(crate) runs: u32,
    /// There was a MAIL, EXPN, VRFY or ETRN.
    eventful: bool,
    /// The last command, in lower case.
    last: &'static str,
}

/// Commands as log lines name them.
const VERBS: [&str; 14] = [
    "helo", "ehlo", "mail", "rcpt", "data", "rset", "noop", "quit", "help", "vrfy", "expn", "etrn", "verb", "starttls",
];

/// Serves one client until it leaves, through STARTTLS if it asks for it.
pub async fn serve<S>(receive: Arc<Receive>, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut serving = Serving::new(receive, peer);
    let patience = Duration::from_millis(serving.current.settings.command_timeout);
    let mut wire = Wire::new(stream, patience);
    if let Some(last) = policy::client(&mut serving).await {
        wire.put(&last.to_wire());
        wire.close().await;
        return;
    }
    serving.pause(&mut wire).await;
    let greeting = serving.early.take().unwrap_or_else(|| serving.session.greeting(&serving.date()));
    wire.put(&greeting.to_wire());
    let End::StartTls(stream) = serving.run(wire).await else { return serving.over() };
    let current = Arc::clone(&serving.current);
    let Some(tls) = current.tls.as_ref() else { return };
    let silent = serving.features.as_ref().is_some_and(|found| found.value.no_certificate);
    let handshake = tls.accept(stream, !silent);
    match tokio::time::timeout(patience.min(HANDSHAKE), handshake).await {
        Ok(Ok((stream, encryption))) => {
            serving.encrypted(encryption);
            serving.run(Wire::new(Box::new(stream), patience)).await;
        }
        Ok(Err(error)) => serving.no_handshake(&error.to_string()),
        Err(_) => serving.no_handshake("timed out"),
    }
    serving.over();
}

impl Serving {
    fn new(receive: Arc<Receive>, peer: Peer) -> Self {
        let current = receive.current();
        let settings = &current.settings;
        let limits =
            Limits { message_size: settings.message_size, recipients: settings.recipients, errors: settings.errors };
        let (host, version) = (&settings.host, &settings.version);
        let mut session = Session::new(host, version, &peer.text(), limits, current.tls.is_some());
        session.set_privacy(settings.privacy);
        let id = receive.store.new_id(receive.clock.now());
        Self {
            receive,
            current,
            peer,
            session,
            draft: None,
            standing: None,
            encryption: Encryption::default(),
            features: None,
            early: None,
            id,
            questions: 0,
            runs: 0,
            eventful: false,
            last: "startup",
        }
    }

    /// A log line of this session.
    pub(crate) fn note(&self, text: String) {
        self.receive.note(Some(self.id), text);
    }
    /// A line of ours.
    pub(crate) fn remark(&self, text: String) {
        self.receive.remark(Some(self.id), text);
    }

    /// Everything that was said in clear is forgotten (RFC 3207 4.2).
    fn encrypted(&mut self, encryption: Encryption) {
        self.receive.log.write(&Event::encrypted(false, &self.peer.text(), &encryption));
        self.session.tls_started(encryption.received());
        self.encryption = encryption;
        self.draft = None;
    }

    /// As sendmail says it, with OpenSSL's numbers left out.
    fn no_handshake(&self, reason: &str) {
        let (reason, relay) = (reason.replace(',', ";"), self.peer.text());
        let text = format!(
            "STARTTLS=server, error: accept failed=-1, reason={reason}, SSL_error=1, errno=0, retry=-1, relay={relay}"
        );
        self.receive.log.write(&Event::Server { text });
    }

    pub(crate) fn date(&self) -> String {
        let unix = self.receive.clock.now().seconds();
        let (offset, zone) = self.receive.clock.zone(unix);
        mail::date::rfc5322(unix, offset, &zone)
    }

    async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, mut wire: Wire<S>) -> End<S> {
        loop {
            if self.session.is_closing() {
                wire.close().await;
                return End::Over;
            }
            let step = match wire.line().await {
                Ok(Line::Whole(line)) => self.command(&line),
                Ok(Line::Overlong) => self.session.overlong(),
                Ok(Line::Bare) => {
                    let text = "Bare CR or LF in a command line";
                    Step::Close(Reply::new(500, Some(Status::permanent(5, 2)), text))
                }
                Err(lost) => return self.lost(wire, lost, false).await,
            };
            match step {
                Step::Close(reply) => {
                    wire.put(&reply.to_wire());
                    wire.close().await;
                    return End::Over;
                }
                Step::Content => {
                    if let Err(lost) = self.content(&mut wire).await {
                        return self.lost(wire, lost, true).await;
                    }
                }
                Step::StartTls(reply) => {
                    if wire.has_input() {
                        // S-23: commands sent in clear before the handshake would be executed inside it.
                        self.no_handshake("commands before the handshake");
                        return End::Over;
                    }
                    wire.put(&reply.to_wire());
                    if wire.flush().await.is_err() {
                        return End::Over;
                    }
                    return End::StartTls(wire.into_stream());
                }
                other => wire.put(&self.answer(other).await.to_wire()),
            }
            if self.session.envelope().is_none() {
                self.abandon();
            }
        }
    }

    /// The reply to a step that is answered without the stream.
    async fn answer(&mut self, step: Step) -> Reply {
        match step {
            Step::Sender(from) => {
                let decision = policy::sender(self, &from).await;
                self.session.sender(decision)
            }
            Step::Recipient(to) => {
                let decision = policy::recipient(self, to).await;
                self.session.recipient(decision)
            }
            Step::Verify(about) => verify::answer(self, Question::Verify, &about).await,
            Step::Expand(about) => verify::answer(self, Question::Expand, &about).await,
            Step::RunQueue(host) => verify::run_queue(self, &host).await,
            Step::Reply(reply) | Step::Close(reply) | Step::StartTls(reply) => reply,
            Step::Content => Reply::permanent(503, 0, 0, "Need MAIL command"),
        }
    }

    /// One command line, with what a log reader wants to know of it.
    fn command(&mut self, line: &[u8]) -> Step {
        let end = line.iter().position(|b| !b.is_ascii_alphabetic()).unwrap_or(line.len());
        let word = line.get(..end).unwrap_or_default();
        let known = VERBS.iter().find(|verb| verb.as_bytes().eq_ignore_ascii_case(word));
        self.last = known.copied().unwrap_or("startup");
        self.eventful |= matches!(self.last, "mail" | "expn" | "vrfy" | "etrn");
        if self.last == "mail" && self.draft.is_none() {
            self.id = self.receive.store.new_id(self.receive.clock.now());
        }
        let step = self.session.command(line);
        if let (Step::Reply(Reply { code: 252 | 502, .. }), "vrfy" | "expn") = (&step, self.last) {
            self.note(format!("{}: {} [rejected]", self.peer.text(), String::from_utf8_lossy(line)));
        }
        step
    }

    /// A transaction that was begun and never came to its content.
    fn abandon(&mut self) {
        if let Some(draft) = self.draft.take() {
            let proto = draft.protocol(self).0;
            let (daemon, relay) = (&self.peer.listener, self.peer.text());
            self.note(format!(
                "from=<{}>, size=0, class=0, nrcpts={}, proto={proto}, daemon={daemon}, relay={relay}",
                draft.mail_from,
                draft.expanded()
            ));
        }
    }

    /// The last words about a session.
    fn over(&mut self) {
        self.abandon();
        if !self.eventful {
            let (peer, name) = (self.peer.text(), &self.peer.listener);
            self.note(format!("{peer} did not issue MAIL/EXPN/VRFY/ETRN during connection to {name}"));
        }
    }

    /// DATA: asks for the content, reads it, commits it, answers.
    async fn content<S: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, wire: &mut Wire<S>) -> Result<(), Lost> {
        let Some(draft) = self.draft.take() else {
            wire.put(&Reply::new(503, Some(Status::permanent(0, 0)), "Need MAIL command").to_wire());
            return Ok(());
        };
        let go = self.receive.store.room(0).map_err(|e| policy::store_refusal(&e));
        match self.session.data(go) {
            Err(refusal) => {
                wire.put(&refusal.to_wire());
                self.draft = Some(draft);
                return Ok(());
            }
            Ok(reply) => wire.put(&reply.to_wire()),
        }
        let waiting = self.receive.store.transaction();
        let arrival = Arrival::begin(self, &draft);
        let reply = match arrival.read(self, wire).await? {
            Ok(received) => received.commit(self, draft).await,
            Err(refusal) => refusal,
        };
        drop(waiting);
        self.session.finish();
        wire.put(&reply.to_wire());
        Ok(())
    }

    async fn lost<S: AsyncRead + AsyncWrite + Unpin>(&self, mut wire: Wire<S>, lost: Lost, collecting: bool) -> End<S> {
        let (name, peer) = (&self.peer.listener, self.peer.text());
        if matches!(lost, Lost::TimedOut) {
            let host = &self.current.settings.host;
            let text = format!("{host} Timeout waiting for input from {peer}");
            wire.put(&Reply::new(421, Some(Status::temporary(4, 1)), &text).to_wire());
            let during = if collecting { "message collect" } else { "server cmd read" };
            self.note(format!("timeout waiting for input from {peer} during {during}"));
            wire.close().await;
        } else if collecting {
            self.note(format!("collect: premature EOM: Connection reset by {peer}"));
        }
        if collecting || self.draft.is_some() {
            self.note(format!("lost input channel from {peer} to {name} after {}", self.last));
        }
        End::Over
    }
}

#[cfg(test)]
mod tests;
