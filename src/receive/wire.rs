//! One session's bytes: command lines in, replies out, both bounded.

use std::io;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

/// Longest command line, with its CRLF, in bytes. RFC 5321 asks for 512, extensions add to it; 2 KiB covers all we
/// announce.
const LINE: usize = 2_048;
/// First size of the input buffer: an idle session should cost little.
const SMALL: usize = 2_048;
/// Size when content begins: most messages are no larger, and the C library's memory can be had and given back cheaply up to here.
const MEDIUM: usize = 16 * 1_024;
/// Size while more content arrives.
const LARGE: usize = 64 * 1_024;
/// Replies waiting to be written; a client that pipelines commands must read them.
const REPLIES: usize = 64 * 1_024;

/// Why a read ended the session.
#[derive(Debug)]
pub(crate) enum Lost {
    /// The client closed or the network failed.
    Closed,
    /// Nothing came for the allowed time.
    TimedOut,
}

/// A command line, without its CRLF.
pub(crate) enum Line {
    /// A whole line.
    Whole(Vec<u8>),
    /// Longer than allowed: thrown away up to its end.
    Overlong,
    /// A line that ends in LF alone or holds a lone CR (S-28).
    Bare,
}

/// Buffered, bounded I/O of one session.
pub(crate) struct Wire<S> {
    stream: S,
    input: Vec<u8>,
    /// How much of `input` is consumed.
    start: usize,
    /// The last piece was a large one: more of them come.
    filled: bool,
    output: Vec<u8>,
    patience: Duration,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, input: Vec::new(), start: 0, filled: false, output: Vec::new(), patience }
    }
    /// The stream back, for STARTTLS.
    pub(crate) fn into_stream(self) -> S {
        self.stream
    }
    /// Whether the client sent more than was consumed: must not be so at STARTTLS (S-23).
    pub(crate) fn has_input(&self) -> bool {
        self.start < self.input.len()
    }
    /// Bytes that have arrived and are not consumed.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.input[self.start..]
    }
    /// Marks `n` pending bytes as consumed.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = (self.start + n).min(self.input.len());
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
    }
    /// Queues a reply.
    pub(crate) fn put(&mut self, reply: &[u8]) {
        self.output.extend_from_slice(reply);
    }
    /// Writes what is queued.
    pub(crate) async fn flush(&mut self) -> Result<(), Lost> {
        if self.output.is_empty() {
            return Ok(());
        }
        let written = timeout(self.patience, self.stream.write_all(&self.output)).await;
        self.output.clear();
        self.output.shrink_to(SMALL);
        match written {
            Err(_) => Err(Lost::TimedOut),
            Ok(Err(_)) => Err(Lost::Closed),
            Ok(Ok(())) => timeout(self.patience, self.stream.flush()).await.map_or(Err(Lost::TimedOut), lost),
        }
    }
    /// Waits for more input; queued replies go out first, since the client may be waiting for them.
    pub(crate) async fn fill(&mut self, large: bool) -> Result<(), Lost> {
        self.flush().await?;
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        let room = match large {
            false => SMALL,
            true if self.filled => LARGE,
            true => MEDIUM,
        };
        if !large && self.input.is_empty() && self.input.capacity() > room {
            self.input = Vec::new();
        }
        self.input.reserve(room);
        match timeout(self.patience, self.stream.read_buf(&mut self.input)).await {
            Err(_) => Err(Lost::TimedOut),
            Ok(Ok(0)) | Ok(Err(_)) => Err(Lost::Closed),
            Ok(Ok(n)) => {
                self.filled = n >= MEDIUM;
                Ok(())
            }
        }
    }
    /// Whether something comes within this time; a client that hangs up says nothing.
    pub(crate) async fn speaks_within(&mut self, pause: Duration) -> bool {
        self.input.reserve(SMALL);
        matches!(timeout(pause, self.stream.read_buf(&mut self.input)).await, Ok(Ok(n)) if n > 0)
    }
    /// The next command line.
    pub(crate) async fn line(&mut self) -> Result<Line, Lost> {
        let mut overlong = false;
        loop {
            let pending = self.pending();
            if let Some(end) = pending.iter().position(|&b| b == b'\n') {
                let line = take_line(&pending[..end], overlong);
                self.consume(end + 1);
                if self.output.len() > REPLIES {
                    self.flush().await?;
                }
                return Ok(line);
            }
            if pending.len() > LINE {
                overlong = true;
                let all = pending.len();
                self.consume(all);
            }
            self.fill(false).await?;
        }
    }
    /// A last reply, best effort.
    pub(crate) async fn close(mut self) {
        let _gone = self.flush().await;
        let _gone = timeout(Duration::from_secs(5), self.stream.shutdown()).await;
    }
}

fn lost(result: io::Result<()>) -> Result<(), Lost> {
    result.map_err(|_| Lost::Closed)
}

fn take_line(line: &[u8], overlong: bool) -> Line {
    if overlong || line.len() > LINE {
        return Line::Overlong;
    }
    match line.strip_suffix(b"\r") {
        Some(line) if !line.contains(&b'\r') => Line::Whole(line.to_vec()),
        _ => Line::Bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::DuplexStream;

    async fn lines(input: &[u8]) -> Vec<String> {
        let (mut client, server) = tokio::io::duplex(16);
        let input = input.to_vec();
        let sending = tokio::spawn(async move {
            let _reader_gone = client.write_all(&input).await;
        });
        let mut wire: Wire<DuplexStream> = Wire::new(server, Duration::from_secs(5));
        let mut seen = Vec::new();
        while let Ok(line) = wire.line().await {
            seen.push(match line {
                Line::Whole(line) => String::from_utf8_lossy(&line).into_owned(),
                Line::Overlong => "<overlong>".into(),
                Line::Bare => "<bare>".into(),
            });
        }
        sending.await.unwrap();
        seen
    }

    #[tokio::test]
    async fn lines_end_in_crlf_only() {
        assert_eq!(lines(b"EHLO a\r\nNOOP\r\n").await, ["EHLO a", "NOOP"]);
        assert_eq!(lines(b"EHLO a\nMAIL\rX\r\nQUIT\r\n").await, ["<bare>", "<bare>", "QUIT"]);
    }

    #[tokio::test]
    async fn an_overlong_line_is_one_error_and_its_tail_is_no_command() {
        let mut input = vec![b'x'; 100_000];
        input.extend_from_slice(b"\r\nQUIT\r\n");
        assert_eq!(lines(&input).await, ["<overlong>", "QUIT"]);
    }

    #[tokio::test]
    async fn an_idle_session_holds_little() {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let mut wire = Wire::new(server, Duration::from_secs(5));
        client.write_all(&[b'a'; 60_000]).await.unwrap();
        client.write_all(b"\r\nNOOP\r\n").await.unwrap();
        assert!(matches!(wire.line().await, Ok(Line::Overlong)));
        assert!(matches!(wire.line().await, Ok(Line::Whole(_))));
        client.write_all(b"NOOP\r\n").await.unwrap();
        assert!(matches!(wire.line().await, Ok(Line::Whole(_))));
        assert!(wire.input.capacity() <= 2 * SMALL, "{}", wire.input.capacity());
    }
}
