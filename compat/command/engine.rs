//! The engine over its sockets. Every wait has a bound: connecting, each write that makes no progress, and the answer, 10 s
//! each. An engine that is stopped (SIGSTOP) still lets a client connect, and even connecting blocks once its backlog is full.

use crate::content::{CHUNK, Content};
use call::frame::{Connection, data_header, encode};
use call::submit::{Answer, Request, Submission};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for the engine.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Why the engine did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket failed or a wait was too long.
    #[error("{0}")]
    Call(#[from] call::Error),
    /// It closed without a word.
    #[error("the server closed the connection")]
    Silent,
}

impl Error {
    /// For people: a time-out by name, and no error numbers.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Call(call::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) =>
            {
                format!("no answer within {} s", PATIENCE.as_secs())
            }
            other => crate::output::without_number(&other.to_string()),
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Call(error.into())
    }
}

/// Connects to a socket in the run folder, with time-outs in place.
///
/// # Errors
/// No folder, no socket, nobody there, or no answer in time.
pub fn open(run: &Path, name: &str) -> Result<Connection, Error> {
    let address = SocketAddrUnix::new(run.join(name)).map_err(io::Error::from)?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(io::Error::from)?;
    for direction in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&socket, direction, Some(PATIENCE)).map_err(io::Error::from)?;
    }
    connect(&socket, &address).map_err(io::Error::from)?;
    Ok(Connection::new(UnixStream::from(socket)))
}

/// Tells the engine, for its log, that a header of this caller was too long.
///
/// # Errors
/// It does not listen.
pub fn headers_too_large(run: &Path, user: &str, limit: u64) -> Result<(), Error> {
    let told = Request::HeadersTooLarge { user: user.to_owned(), limit };
    Ok(open(run, "submit")?.send(&told, &[])?)
}

/// Hands a message to the engine over a connection from [`open`] and waits for its answer; more may come if that was asked for
/// ([`call::submit::Mode::Watched`]).
///
/// # Errors
/// Nobody knows then whether it was taken; its id makes another try harmless.
pub fn submit(
    mut connection: Connection,
    submission: &Submission,
    content: &Content<'_>,
) -> Result<(Answer, Connection), Error> {
    let sent = match content.whole() {
        Some(bytes) => send_whole(&connection, submission, bytes),
        None => send_pieces(&mut connection, submission, content),
    };
    match (sent, connection.message::<Answer>()) {
        // It may have refused midway and closed: its answer says more than our broken pipe.
        (_, Ok(Some(answer))) => Ok((answer, connection)),
        (Err(error), _) => Err(error),
        (Ok(()), Ok(None)) => Err(Error::Silent),
        (Ok(()), Err(error)) => Err(error.into()),
    }
}

/// A small message: one system call.
fn send_whole(connection: &Connection, submission: &Submission, content: &[u8]) -> Result<(), Error> {
    let mut bytes = encode(&Request::Submit(submission.clone()))?;
    for piece in content.chunks(CHUNK) {
        bytes.extend_from_slice(&data_header(piece.len()));
        bytes.extend_from_slice(piece);
    }
    bytes.extend_from_slice(&encode(&Request::End { length: content.len() as u64 })?);
    Ok(connection.stream().write_all(&bytes)?)
}

fn send_pieces(connection: &mut Connection, submission: &Submission, content: &Content<'_>) -> Result<(), Error> {
    connection.send(&Request::Submit(submission.clone()), &[])?;
    let mut stream = connection.stream();
    content.read::<Error>(|piece| {
        stream.write_all(&data_header(piece.len()))?;
        Ok(stream.write_all(piece)?)
    })?;
    Ok(connection.send(&Request::End { length: content.len() }, &[])?)
}
