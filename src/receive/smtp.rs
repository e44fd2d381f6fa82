//! One SMTP session: bytes to `mail::server::Session`, its questions to `policy`, content to `content`.

use crate::accept::{Arrival, Draft};
use crate::check::{Decision, Visitor};
use crate::client::Resolved;
use crate::policy;
use crate::wire::{Line, Lost, Wire};
use crate::{Current, Receive};
use mail::Status;
use mail::reply::Reply;
use mail::server::{Limits, Session, Step};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
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
        let ip = match self.ip.to_canonical() {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("IPv6:{v6}"),
        };
        if self.name.is_empty() { format!("[{ip}]") } else { format!("{} [{ip}]", self.name) }
    }
    pub(crate) fn visitor(&self) -> Visitor<'_> {
        Visitor { ip: self.ip.to_canonical(), name: &self.name, resolved: self.resolved }
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
    /// `version=TLSv1.3 cipher=… bits=256`, once encrypted.
    pub(crate) tls: Option<String>,
    /// Length of the key of its encryption; 0 in clear.
    pub(crate) bits: u32,
    /// In place of the greeting, for a client that talked before it.
    pub(crate) early: Option<Reply>,
}

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
    let End::StartTls(stream) = serving.run(wire).await else { return };
    let current = Arc::clone(&serving.current);
    let Some(acceptor) = current.tls.as_ref() else { return };
    let handshake = tokio::time::timeout(patience.min(HANDSHAKE), acceptor.accept(stream));
    match handshake.await {
        Ok(Ok(stream)) => {
            serving.bits = crate::tls::bits(stream.get_ref().1);
            serving.encrypted(crate::tls::describe(stream.get_ref().1));
            serving.run(Wire::new(Box::new(stream), patience)).await;
        }
        Ok(Err(error)) => serving.tls_note(&format!("error: accept failed: {error}")),
        Err(_) => serving.tls_note("error: handshake timed out"),
    }
}

impl Serving {
    fn new(receive: Arc<Receive>, peer: Peer) -> Self {
        let current = receive.current();
        let settings = &current.settings;
        let limits =
            Limits { message_size: settings.message_size, recipients: settings.recipients, errors: settings.errors };
        let (host, version) = (&settings.host, &settings.version);
        let session = Session::new(host, version, &peer.text(), limits, current.tls.is_some());
        Self { receive, current, peer, session, draft: None, standing: None, tls: None, bits: 0, early: None }
    }

    /// Everything that was said in clear is forgotten (RFC 3207 4.2).
    fn encrypted(&mut self, text: String) {
        self.tls_note(&text);
        self.session.tls_started(text.clone());
        self.tls = Some(text);
        self.draft = None;
    }

    fn tls_note(&self, text: &str) {
        let peer = self.peer.text();
        self.receive.note(None, format!("STARTTLS=server, relay={peer}, {text}"));
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
                Ok(Line::Whole(line)) => self.session.command(&line),
                Ok(Line::Overlong) => self.session.overlong(),
                Ok(Line::Bare) => {
                    let text = "Bare CR or LF in a command line";
                    Step::Close(Reply::new(500, Some(Status::permanent(5, 2)), text))
                }
                Err(lost) => return self.lost(wire, lost).await,
            };
            match step {
                Step::Reply(reply) => wire.put(&reply.to_wire()),
                Step::Close(reply) => {
                    wire.put(&reply.to_wire());
                    wire.close().await;
                    return End::Over;
                }
                Step::Sender(from) => {
                    let decision = policy::sender(self, &from).await;
                    let reply = self.session.sender(decision);
                    wire.put(&reply.to_wire());
                }
                Step::Recipient(to) => {
                    let decision = policy::recipient(self, to).await;
                    let reply = self.session.recipient(decision);
                    wire.put(&reply.to_wire());
                }
                Step::Content => {
                    if let Err(lost) = self.content(&mut wire).await {
                        return self.lost(wire, lost).await;
                    }
                }
                Step::Verify(_) => {
                    let text = "Cannot VRFY user; try RCPT to attempt delivery (or try finger)";
                    wire.put(&Reply::new(252, Some(Status::success(5, 2)), text).to_wire());
                }
                Step::StartTls(reply) => {
                    if wire.has_input() {
                        // S-23: commands sent in clear before the handshake would be executed inside it.
                        self.tls_note("error: pipelined input");
                        return End::Over;
                    }
                    wire.put(&reply.to_wire());
                    if wire.flush().await.is_err() {
                        return End::Over;
                    }
                    return End::StartTls(wire.into_stream());
                }
            }
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

    async fn lost<S: AsyncRead + AsyncWrite + Unpin + Send>(&mut self, mut wire: Wire<S>, lost: Lost) -> End<S> {
        let (name, peer) = (&self.peer.listener, self.peer.text());
        match lost {
            Lost::TimedOut => {
                let host = &self.current.settings.host;
                let text = format!("{host} Timeout waiting for input from {peer}");
                wire.put(&Reply::new(421, Some(Status::temporary(4, 1)), &text).to_wire());
                self.receive.note(None, format!("timeout waiting for input from {peer} during connection to {name}"));
                wire.close().await;
            }
            Lost::Closed if self.draft.is_some() => {
                self.receive.note(None, format!("lost input channel from {peer} to {name} after rcpt"));
            }
            Lost::Closed => {}
        }
        End::Over
    }
}

#[cfg(test)]
mod tests;
