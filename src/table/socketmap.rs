//! Asks a server for values (sendmail's and Postfix's socketmap protocol): a netstring `NAME KEY` there, `OK value`, `NOTFOUND `,
//! `TEMP reason`, `TIMEOUT reason` or `PERM reason` back. Called by `daemon`, which says where the server is.
//!
//! Everything but `OK` and `NOTFOUND` is [`Unavailable`]: also `PERM`, for a server that is set up wrongly knows nothing of the key.

use crate::{Answer, Hit, Table, Unavailable, Why};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// Longest reply, bytes.
const REPLY: usize = 100_000;
/// Longest key.
const KEY: usize = 4_096;
/// Connections kept for the next question.
const SPARE: usize = 8;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A Unix socket.
    Unix(PathBuf),
    /// An address.
    Tcp(SocketAddr),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A table behind a socket.
pub struct Socketmap {
    server: Server,
    /// The map's name there.
    map: String,
    timeout: Duration,
    name: Arc<str>,
    spare: Mutex<Vec<Box<dyn Stream>>>,
}

impl std::fmt::Debug for Socketmap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Socketmap({})", self.name)
    }
}

impl Socketmap {
    /// `timeout` is for a whole question, connecting included.
    #[must_use]
    pub fn new(server: Server, map: &str, timeout: Duration) -> Self {
        let name = match &server {
            Server::Unix(path) => format!("socketmap:unix:{}:{map}", path.display()),
            Server::Tcp(address) => format!("socketmap:inet:{address}:{map}"),
        };
        Self { server, map: map.to_owned(), timeout, name: name.into(), spare: Mutex::default() }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        Ok(match &self.server {
            Server::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Server::Tcp(address) => Box::new(TcpStream::connect(address).await?),
        })
    }

    fn take_spare(&self) -> Option<Box<dyn Stream>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, stream: Box<dyn Stream>) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE {
            spare.push(stream);
        }
    }

    async fn ask(&self, key: &str) -> std::io::Result<Vec<u8>> {
        // A kept connection may have been closed by the server: then once more with a new one.
        if let Some(mut stream) = self.take_spare()
            && let Ok(reply) = exchange(&mut stream, &self.map, key).await
        {
            self.keep(stream);
            return Ok(reply);
        }
        let mut stream = self.connect().await?;
        let reply = exchange(&mut stream, &self.map, key).await?;
        self.keep(stream);
        Ok(reply)
    }

    async fn find(&self, key: &str) -> Result<Option<Hit>, Unavailable> {
        let failed = |what: &str| Unavailable(format!("{}: {}", self.name, mail::log::safe(what)));
        // No address is as long.
        if key.len() > KEY {
            return Ok(None);
        }
        let answer = tokio::time::timeout(self.timeout, self.ask(key)).await;
        let reply = answer.map_err(|_| failed("no answer"))?.map_err(|error| failed(&error.to_string()))?;
        let value = meaning(&reply).map_err(|reply| failed(&reply))?;
        Ok(value.map(|value| Hit { value, why: Why { source: Arc::clone(&self.name), line: 0, key: key.to_owned() } }))
    }
}

/// What a reply says: a value, or that there is none.
///
/// # Errors
/// The reply, if it says that the server could not look, or nothing that we know.
pub fn meaning(reply: &[u8]) -> Result<Option<String>, String> {
    let reply = String::from_utf8_lossy(reply);
    match reply.split_once(' ').unwrap_or((&reply, "")) {
        ("OK", value) => Ok(Some(value.to_owned())),
        ("NOTFOUND", _) => Ok(None),
        _ => Err(reply.into_owned()),
    }
}

async fn exchange(stream: &mut Box<dyn Stream>, map: &str, key: &str) -> std::io::Result<Vec<u8>> {
    let request = format!("{}:{map} {key},", map.len() + 1 + key.len());
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    reply(stream).await
}

/// Reads a reply: a netstring of at most 100,000 bytes.
///
/// # Errors
/// The stream's, or that it is no netstring.
pub async fn reply(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut length = 0usize;
    for count in 0.. {
        match stream.read_u8().await? {
            b':' if count > 0 => break,
            byte @ b'0'..=b'9' => length = length * 10 + usize::from(byte - b'0'),
            _ => return Err(broken("a reply that is no netstring")),
        }
        // Zeros in front would have no end.
        if length > REPLY || count > 20 {
            return Err(broken("a reply that is too long"));
        }
    }
    let mut reply = vec![0; length + 1];
    stream.read_exact(&mut reply).await?;
    if reply.pop() == Some(b',') { Ok(reply) } else { Err(broken("a reply without its comma")) }
}

fn broken(what: &'static str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

impl Table for Socketmap {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(self.find(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers one question after the other over a stream in memory, and says what it was asked.
    async fn dialogue(replies: &[&str], key: &str) -> (Result<Option<String>, String>, String) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 18);
        let map = Socketmap::new(Server::Unix("/nowhere".into()), "virt", Duration::from_secs(1));
        map.keep(Box::new(ours));
        let replies = replies.concat();
        let server = async {
            let mut request = vec![0; 1_000];
            let read = theirs.read(&mut request).await.unwrap();
            theirs.write_all(replies.as_bytes()).await.unwrap();
            request.truncate(read);
            drop(theirs);
            String::from_utf8(request).unwrap()
        };
        let (answer, request) = tokio::join!(map.find(key), server);
        (answer.map(|hit| hit.map(|hit| hit.value)).map_err(|error| error.0), request)
    }

    #[tokio::test]
    async fn answers() {
        let (answer, request) = dialogue(&["14:OK a@b.example,"], "x@y").await;
        assert_eq!((answer.unwrap().as_deref(), &request[..]), (Some("a@b.example"), "8:virt x@y,"));
        assert_eq!(dialogue(&["9:NOTFOUND ,"], "k").await.0, Ok(None));
        assert_eq!(dialogue(&["3:OK ,"], "k").await.0, Ok(Some(String::new())));
        for reply in ["TEMP no", "PERM no", "TIMEOUT no", "nonsense"] {
            let text = format!("{}:{reply},", reply.len());
            let error = dialogue(&[&text], "k").await.0.unwrap_err();
            assert_eq!(error, format!("socketmap:unix:/nowhere:virt: {reply}"));
        }
    }

    #[tokio::test]
    async fn broken_replies_are_unavailable() {
        for reply in [
            "",
            "5:OK a",
            "4:OK a;",
            "x",
            ":OK,",
            "999999:OK",
            "99999999999999999999999:",
            "1",
            "000000000000000000000000",
        ] {
            // The kept connection fails, and there is nobody to connect to.
            assert!(dialogue(&[reply], "k").await.0.is_err(), "{reply}");
        }
    }
}
