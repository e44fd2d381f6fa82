//! One SMTP session as client: writing, replies, time limits, EHLO, STARTTLS (RFC 5321 4.1, 4.5.3.2; RFC 3207). Generic over
//! the stream, so that tests stage faults in memory. `connect` opens it, `transaction` uses it.

use crate::auth::Anonymous;
use crate::stream::Stream;
use crate::told::Told;
use mail::Encryption;
use mail::client::{Answer, Capabilities, Exchange, ReplyDecoder};
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes read at once; a whole group of replies fits.
const INPUT: usize = 4_096;
/// Longest wait for the answer to QUIT.
const QUIT: Duration = Duration::from_secs(2);

/// Why a session cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The other side closed or reset, or the network failed.
    Lost(io::Error),
    /// A time limit passed.
    Timeout,
    /// What came is not SMTP (S-67).
    Protocol(String),
}

impl Broken {
    /// For `stat=`, in sendmail's words; `host` as in the log.
    pub(crate) fn text(&self, host: &str) -> String {
        match self {
            Self::Lost(error) => reason(error, host),
            Self::Timeout => format!("Connection timed out with {host}"),
            Self::Protocol(what) => format!("{what} from {host}"),
        }
    }
}

/// A network error in sendmail's words.
pub(crate) fn reason(error: &io::Error, host: &str) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("Connection refused by {host}"),
        io::ErrorKind::TimedOut => format!("Connection timed out with {host}"),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => format!("Connection reset by {host}"),
        io::ErrorKind::HostUnreachable => format!("No route to host {host}"),
        io::ErrorKind::NetworkUnreachable => format!("Network is unreachable: {host}"),
        _ => format!("{error}: {host}"),
    }
}

/// The time limits of RFC 5321 4.5.3.2, divided in tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits(pub(crate) u32);

impl Limits {
    fn seconds(self, seconds: u64) -> Duration {
        Duration::from_secs(seconds) / self.0.max(1)
    }
    pub(crate) fn greeting(self) -> Duration {
        self.seconds(300)
    }
    pub(crate) fn mail(self) -> Duration {
        self.seconds(300)
    }
    pub(crate) fn rcpt(self) -> Duration {
        self.seconds(300)
    }
    pub(crate) fn data(self) -> Duration {
        self.seconds(120)
    }
    pub(crate) fn block(self) -> Duration {
        self.seconds(180)
    }
    pub(crate) fn dot(self) -> Duration {
        self.seconds(600)
    }
}

/// One timer for all waits of a session. It is only touched when a read or write has to wait, and only set anew when it
/// would ring too late: in a busy session practically never.
#[derive(Debug)]
struct Timer(Pin<Box<Sleep>>);

impl Timer {
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Instant) -> Poll<()> {
        if self.0.deadline() > deadline {
            self.0.as_mut().reset(deadline);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if Instant::now() >= deadline {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(deadline);
        }
    }
}

/// A session.
#[derive(Debug)]
pub(crate) struct Session<S> {
    stream: Stream<S>,
    replies: ReplyDecoder,
    input: Box<[u8]>,
    /// Which part of `input` was read and not looked at.
    unread: std::ops::Range<usize>,
    /// Commands that were not written yet.
    pub(crate) out: Vec<u8>,
    timer: Timer,
    /// The limits in force.
    pub(crate) limits: Limits,
    /// What EHLO offered.
    pub(crate) capabilities: Capabilities,
    /// The name the other side gave in its answer to EHLO.
    pub(crate) name: String,
    /// A transaction was left open: RSET comes before the next MAIL.
    pub(crate) needs_reset: bool,
    /// It speaks LMTP.
    pub(crate) lmtp: bool,
    /// What was agreed on in STARTTLS.
    pub(crate) encryption: Encryption,
    /// Transactions that got a final answer.
    pub(crate) transactions: u32,
    /// There are credentials for this server, but it was not told them.
    pub(crate) anonymous: Option<Anonymous>,
    /// Whoever is shown what is said.
    pub(crate) told: Told,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    /// Over a fresh stream.
    pub(crate) fn new(stream: Stream<S>, limits: Limits) -> Self {
        Self {
            stream,
            replies: ReplyDecoder::default(),
            input: vec![0; INPUT].into(),
            unread: 0..0,
            out: Vec::with_capacity(512),
            timer: Timer(Box::pin(tokio::time::sleep(limits.mail()))),
            limits,
            capabilities: Capabilities::default(),
            name: String::new(),
            needs_reset: false,
            lmtp: false,
            encryption: Encryption::default(),
            transactions: 0,
            anonymous: None,
            told: Told::default(),
        }
    }
    /// The next reply.
    pub(crate) async fn answer(&mut self, limit: Duration) -> Result<Answer, Broken> {
        // No clock is read while replies of one packet are taken apart.
        let mut deadline = None;
        loop {
            let unread = self.input.get(self.unread.clone()).unwrap_or_default();
            let (used, answer) = self.replies.feed(unread).map_err(|error| Broken::Protocol(error.to_string()))?;
            self.unread.start += used;
            if let Some(answer) = answer {
                self.told.heard(&answer);
                return Ok(answer);
            }
            let deadline = *deadline.get_or_insert_with(|| Instant::now() + limit);
            let got = self.read(deadline).await?;
            self.unread = 0..got;
        }
    }
    async fn read(&mut self, deadline: Instant) -> Result<usize, Broken> {
        let (stream, input, timer) = (&mut self.stream, &mut self.input, &mut self.timer);
        poll_fn(|cx| {
            let mut buffer = ReadBuf::new(input);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    Poll::Ready(Err(Broken::Lost(io::ErrorKind::UnexpectedEof.into())))
                }
                Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Lost(error))),
                Poll::Pending => timer.poll(cx, deadline).map(|()| Err(Broken::Timeout)),
            }
        })
        .await
    }
    /// Writes the waiting commands.
    pub(crate) async fn send(&mut self, limit: Duration) -> Result<(), Broken> {
        self.write(&[], limit).await
    }
    /// Writes `parts`, then the waiting commands, in as few system calls as the socket takes.
    pub(crate) async fn write(&mut self, parts: &[&[u8]], limit: Duration) -> Result<(), Broken> {
        self.told.said(&self.out);
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        slices.push(IoSlice::new(&self.out));
        slices.retain(|slice| !slice.is_empty());
        let mut rest = &mut slices[..];
        let (stream, timer) = (&mut self.stream, &mut self.timer);
        // The limit is for each block: progress starts it again (RFC 5321 4.5.3.2.5).
        while !rest.is_empty() {
            let deadline = Instant::now() + limit;
            let written = poll_fn(|cx| match Pin::new(&mut *stream).poll_write_vectored(cx, rest) {
                Poll::Ready(Ok(0)) => Poll::Ready(Err(Broken::Lost(io::ErrorKind::WriteZero.into()))),
                Poll::Ready(done) => Poll::Ready(done.map_err(Broken::Lost)),
                Poll::Pending => timer.poll(cx, deadline).map(|()| Err(Broken::Timeout)),
            })
            .await?;
            IoSlice::advance_slices(&mut rest, written);
        }
        if stream.is_tls() {
            let deadline = Instant::now() + limit;
            poll_fn(|cx| match Pin::new(&mut *stream).poll_flush(cx) {
                Poll::Ready(done) => Poll::Ready(done.map_err(Broken::Lost)),
                Poll::Pending => timer.poll(cx, deadline).map(|()| Err(Broken::Timeout)),
            })
            .await?;
        }
        self.out.clear();
        Ok(())
    }
    /// One command, one answer.
    pub(crate) async fn command(&mut self, line: &str, limit: Duration) -> Result<Answer, Broken> {
        self.out.extend_from_slice(line.as_bytes());
        self.out.extend_from_slice(b"\r\n");
        self.send(limit).await?;
        self.answer(limit).await
    }
    /// EHLO, or HELO if that is refused; LHLO for LMTP. The answer that decided.
    pub(crate) async fn hello(&mut self, host: &str) -> Result<Answer, Broken> {
        let verb = if self.lmtp { "LHLO" } else { "EHLO" };
        let answer = self.command(&format!("{verb} {host}"), self.limits.mail()).await?;
        self.capabilities = Capabilities::default();
        if answer.is_success() {
            self.capabilities = Capabilities::from_ehlo(&answer);
            self.name = answer.text().split(' ').next().unwrap_or("").to_owned();
            return Ok(answer);
        }
        if answer.code == 421 || self.lmtp {
            return Ok(answer);
        }
        self.command(&format!("HELO {host}"), self.limits.mail()).await
    }
    /// Whether it is inside TLS.
    pub(crate) const fn is_encrypted(&self) -> bool {
        self.stream.is_tls()
    }
    /// AUTH; the answer that decided. What is said never gets into `out`: that would outlive a broken session, and be shown by `Debug`.
    pub(crate) async fn authenticate(&mut self, exchange: &mut Exchange) -> Result<Answer, Broken> {
        // The caller has looked; this is the second lock.
        if !self.is_encrypted() {
            return Err(Broken::Protocol("no TLS for AUTH".to_owned()));
        }
        // Nor is it shown to anybody.
        let told = std::mem::take(&mut self.told);
        let answer = self.converse(exchange).await;
        self.told = told;
        self.told.said(b"AUTH *");
        answer.inspect(|answer| self.told.line(|| exchange.shown(answer)))
    }
    async fn converse(&mut self, exchange: &mut Exchange) -> Result<Answer, Broken> {
        let limit = self.limits.mail();
        loop {
            let Some(line) = exchange.line() else {
                return Err(Broken::Protocol("unexpected challenge in AUTH".to_owned()));
            };
            self.write(&[&line], limit).await?;
            let answer = self.answer(limit).await?;
            if answer.code != 334 {
                return Ok(answer);
            }
        }
    }
    /// Gives up the session for its stream, before a handshake. `None` if anything came that was not asked for: it would be
    /// read as if it had come inside TLS (S-24, CVE-2021-38371).
    pub(crate) fn into_clear(self) -> Option<S> {
        match self.stream {
            Stream::Plain(stream) if self.unread.is_empty() && !self.replies.is_partial() => Some(stream),
            _ => None,
        }
    }
    /// Says good-bye.
    pub(crate) async fn quit(mut self) {
        let limit = QUIT / self.limits.0.max(1);
        // Whatever happens here, everything has its answer already.
        if self.command("QUIT", limit).await.is_ok() {
            let _closed = tokio::time::timeout(limit, self.stream.shutdown()).await;
        }
    }
}
