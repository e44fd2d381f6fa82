//! The small SMTP server that plays "the rest of the world" in `postrider try`: takes mail for anyone, knows no `unknown@`, and
//! asks `later@` to come back. Only for the tour, only on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of one message; the tour's are small.
const LIMIT: usize = 1 << 20;

/// Messages received so far.
#[derive(Clone, Default)]
pub(crate) struct Inbox {
    messages: Arc<Mutex<Vec<String>>>,
}

impl Inbox {
    /// The first message that contains `text`.
    pub(crate) fn find(&self, text: &str) -> Option<String> {
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.iter().find(|message| message.contains(text)).cloned()
    }
}

/// Starts the sink on a free port of loopback.
pub(crate) fn start() -> std::io::Result<(SocketAddr, Inbox)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let inbox = Inbox::default();
    let shared = inbox.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let inbox = shared.clone();
            // A client that breaks off is part of the game.
            std::thread::spawn(move || drop(session(&stream, &inbox)));
        }
    });
    Ok((address, inbox))
}

fn session(stream: &TcpStream, inbox: &Inbox) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut out = stream;
    let mut lines = BufReader::new(stream);
    out.write_all(b"220 world.example ESMTP\r\n")?;
    let mut line = String::new();
    loop {
        line.clear();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let upper = line.to_ascii_uppercase();
        let reply = match upper.get(..4).unwrap_or_default() {
            "EHLO" => "250-world.example\r\n250 PIPELINING\r\n",
            "RCPT" if upper.contains("UNKNOWN@") => "550 5.1.1 no such user here\r\n",
            "RCPT" if upper.contains("LATER@") => "451 4.7.1 greylisted, try later\r\n",
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let message = content(&mut lines)?;
                inbox.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
                "250 2.0.0 taken\r\n"
            }
            "QUIT" => {
                return out.write_all(b"221 2.0.0 bye\r\n");
            }
            _ => "250 2.0.0 ok\r\n",
        };
        out.write_all(reply.as_bytes())?;
    }
}

fn content(lines: &mut impl BufRead) -> std::io::Result<String> {
    let mut message = String::new();
    loop {
        let mut line = Vec::new();
        if lines.read_until(b'\n', &mut line)? == 0 || line == b".\r\n" || message.len() > LIMIT {
            return Ok(message);
        }
        message.push_str(&String::from_utf8_lossy(&line));
    }
}
