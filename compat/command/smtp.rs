//! The last resort: SMTP to a server on loopback, from a chroot that sees neither sockets nor drop folder. One blocking
//! connection, RFC 5321 without extensions but SIZE and 8BITMIME where offered. Unlike the engine this way knows nothing of
//! generated fields, so they and a Message-Id are sent as part of the content.

use crate::content::Content;
use crate::exit;
use crate::host;
use call::submit::{Refused, Submission};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// Longest wait for one reply or one write.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for the connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest reply line.
const LINE: u64 = 4_096;
/// Most lines of one reply.
const LINES: usize = 100;

/// What came of it.
#[derive(Debug)]
pub enum Outcome {
    /// The server has the message for every recipient but these.
    Taken(Vec<Refused>),
    /// It refused the message for good: exit code and its text.
    Never(u8, String),
}

/// Why the message was not handed over; try again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server said 4xx, or nonsense.
    #[error("{0}")]
    Reply(String),
}

struct Session {
    reader: BufReader<TcpStream>,
}

/// Hands a message to the server at `address`.
///
/// # Errors
/// As [`Error`]; the server does not have the message.
pub fn send(address: &str, submission: &Submission, content: &Content<'_>) -> Result<Outcome, Error> {
    let mut session = Session::connect(address)?;
    let name = host::full_name();
    let (code, text) = session.reply()?;
    if code != 220 {
        return Err(Error::Reply(text));
    }
    let (code, features) = session.command(&format!("EHLO {name}"))?;
    if code != 250 && session.command(&format!("HELO {name}"))?.0 != 250 {
        return Err(Error::Reply(features));
    }
    let eight_bit = submission.eight_bit && features.to_ascii_uppercase().contains("8BITMIME");
    let body = if eight_bit { " BODY=8BITMIME" } else { "" };
    let sender = qualified(&submission.sender, &name);
    match session.command(&format!("MAIL FROM:<{sender}>{body}"))? {
        (250, _) => {}
        (500..=599, text) => return Ok(Outcome::Never(exit::UNAVAILABLE, text)),
        (_, text) => return Err(Error::Reply(text)),
    }
    let refused = recipients(&mut session, submission, &name)?;
    if refused.len() == submission.recipients.len() {
        let _nothing_to_send = session.command("QUIT");
        return Ok(Outcome::Taken(refused));
    }
    match session.command("DATA")? {
        (354, _) => {}
        (_, text) => return Err(Error::Reply(text)),
    }
    match data(&mut session, submission, content, &name)? {
        (250, _) => {}
        (500..=599, text) => return Ok(Outcome::Never(exit::UNAVAILABLE, text)),
        (_, text) => return Err(Error::Reply(text)),
    }
    let _it_has_the_message = session.command("QUIT");
    Ok(Outcome::Taken(refused))
}

fn recipients(session: &mut Session, submission: &Submission, name: &str) -> Result<Vec<Refused>, Error> {
    let mut refused = Vec::new();
    for recipient in &submission.recipients {
        let address = qualified(&recipient.address, name);
        match session.command(&format!("RCPT TO:<{address}>"))? {
            (250 | 251, _) => {}
            // All or none for now: a recipient put off by one server must not be dropped by this program.
            (400..=499, text) => return Err(Error::Reply(text)),
            (code, text) => refused.push(Refused {
                address: recipient.address.clone(),
                exit: if code == 550 { 67 } else { exit::UNAVAILABLE },
                text,
            }),
        }
    }
    Ok(refused)
}

fn data(
    session: &mut Session,
    submission: &Submission,
    content: &Content<'_>,
    name: &str,
) -> Result<(u16, String), Error> {
    let mut head = submission.generated.clone();
    if submission.message_id {
        let id: String = submission.id.iter().map(|byte| format!("{byte:02x}")).collect();
        head.push_str(&format!("Message-Id: <{}.{id}@{name}>\r\n", mail::date::compact(crate::zone::now())));
    }
    head.push_str(&submission.warnings.replace("{host}", name));
    let mut encoder = mail::content::Encoder::new();
    let mut out = Vec::new();
    encoder.feed(head.as_bytes(), &mut out);
    let mut stream = session.reader.get_ref();
    content.read::<io::Error>(|piece| {
        encoder.feed(piece, &mut out);
        stream.write_all(&out)?;
        out.clear();
        Ok(())
    })?;
    encoder.finish(&mut out);
    stream.write_all(&out)?;
    session.reply()
}

fn qualified(address: &str, host: &str) -> String {
    // Addresses were parsed by `mail::list`; what slipped through unparsed must not end the command line.
    let address: String = address.chars().filter(|c| !c.is_control()).collect();
    if address.is_empty() || address.contains('@') {
        return address;
    }
    format!("{address}@{host}")
}

impl Session {
    fn connect(address: &str) -> Result<Self, Error> {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in address.to_socket_addrs()?.filter(|a: &SocketAddr| a.port() != 0) {
            match TcpStream::connect_timeout(&address, CONNECT) {
                Ok(stream) => {
                    stream.set_read_timeout(Some(PATIENCE))?;
                    stream.set_write_timeout(Some(PATIENCE))?;
                    return Ok(Self { reader: BufReader::new(stream) });
                }
                Err(error) => failure = error,
            }
        }
        Err(failure.into())
    }
    fn command(&mut self, line: &str) -> Result<(u16, String), Error> {
        self.reader.get_ref().write_all(format!("{line}\r\n").as_bytes())?;
        self.reply()
    }
    /// One reply: its code, and its lines joined by blanks.
    fn reply(&mut self) -> Result<(u16, String), Error> {
        use std::io::Read;
        let mut text = String::new();
        for _ in 0..LINES {
            let mut line = Vec::new();
            (&mut self.reader).take(LINE).read_until(b'\n', &mut line)?;
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code else {
                return Err(Error::Reply(if line.is_empty() { "connection closed".into() } else { line }));
            };
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, text));
            }
        }
        Err(Error::Reply("endless reply".into()))
    }
}
