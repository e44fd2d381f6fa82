//! The agent's loop: a batch in, deliveries, one frame of outcomes back, after the sync. Ends when the engine
//! has gone or has nothing more for it.

use crate::Error;
use crate::arguments::{Arguments, Format, fill};
use crate::convert::Content;
use crate::identity::Settled;
use crate::mbox::Message;
use call::agent::{Batch, Done, Outcome, Outcomes};
use call::frame::Connection;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Without a batch for so long the agent ends.
const IDLE: Duration = Duration::from_secs(5);
/// After so long an agent ends when its batch is done: the keeper kills those that are much older.
const LIFE: Duration = Duration::from_secs(600);
/// An engine that does not take an answer in this time hangs.
const ANSWER: Duration = Duration::from_secs(30);
/// A batch that takes longer hangs in the file system (seconds); the kernel ends the process. The engine waits
/// for 300.
const HANG: u32 = 330;

/// Serves until the end.
pub(crate) fn serve(socket: UnixStream, settled: &Settled, arguments: &Arguments) -> Result<(), Error> {
    serve_for(LIFE, socket, settled, arguments)
}

fn serve_for(life: Duration, socket: UnixStream, settled: &Settled, arguments: &Arguments) -> Result<(), Error> {
    let born = Instant::now();
    socket.set_read_timeout(Some(IDLE))?;
    socket.set_write_timeout(Some(ANSWER))?;
    let mut connection = Connection::new(socket);
    let mut descriptors = VecDeque::new();
    let mut closing = false;
    loop {
        let batch: Batch = match connection.message() {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(()),
            Err(call::Error::Io(error)) if !closing && is_timeout(&error) => {
                closing = close(&connection)?;
                continue;
            }
            Err(call::Error::Closed) if closing => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        descriptors.extend(connection.take_descriptors());
        let sources = take_sources(&batch, &mut descriptors)?;
        nix::unistd::alarm::set(HANG);
        let outcomes = deliver(&batch, &sources, settled, arguments, connection.stream());
        nix::unistd::alarm::cancel();
        if !closing && born.elapsed() >= life {
            closing = close(&connection)?;
        }
        connection.send(&Outcomes { outcomes }, &[])?;
    }
}

/// The engine may be sending at this moment. Now its next send fails (nothing of it is read), while what came before
/// is still read and answered.
fn close(connection: &Connection) -> io::Result<bool> {
    connection.stream().shutdown(Shutdown::Read)?;
    Ok(true)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// The batch's own descriptors: those of a next frame may have arrived with it.
fn take_sources(batch: &Batch, descriptors: &mut VecDeque<OwnedFd>) -> Result<Vec<File>, Error> {
    let count = batch.items.iter().map(|item| usize::from(item.source) + 1).max().unwrap_or(0);
    if count > descriptors.len() {
        return Err(call::Error::Malformed.into());
    }
    Ok(descriptors.drain(..count).map(File::from).collect())
}

fn deliver(
    batch: &Batch,
    sources: &[File],
    settled: &Settled,
    arguments: &Arguments,
    engine: &UnixStream,
) -> Vec<Outcome> {
    let messages: Vec<Message<'_>> = batch.items.iter().filter_map(|item| message(item, sources)).collect();
    let results = match settled {
        Settled::Refused(done) => vec![done.clone(); messages.len()],
        Settled::Recipient { name, home, uid } => match fill(&arguments.path, name, &home.to_string_lossy()) {
            Some(path) => into(&messages, arguments.format, &path, *uid, engine),
            None => {
                let why = format!("no path for this mailbox from {}", arguments.path);
                vec![Done::Temporary(3, 5, why); messages.len()]
            }
        },
    };
    let outcome = |((item, _), result): (&Message<'_>, Done)| Outcome { ticket: item.ticket, result };
    messages.iter().zip(results).map(outcome).collect()
}

/// `take_sources` made sure that every item has its descriptor.
fn message<'a>(item: &'a call::agent::Item, sources: &'a [File]) -> Option<Message<'a>> {
    let content = Content { source: sources.get(usize::from(item.source))?, offset: item.offset, length: item.length };
    Some((item, content))
}

fn into(messages: &[Message<'_>], format: Format, path: &Path, uid: u32, engine: &UnixStream) -> Vec<Done> {
    match format {
        Format::Maildir => crate::maildir::deliver(messages, path),
        Format::Mbox => crate::mbox::deliver(messages, path, uid, &mut |time| wait(engine, time)),
    }
}

/// Sleeps; false as soon as the engine is gone, for then nobody waits for this delivery.
fn wait(engine: &UnixStream, time: Duration) -> bool {
    let mut sockets = [PollFd::new(engine, PollFlags::empty())];
    let time = Timespec { tv_sec: time.as_secs().cast_signed(), tv_nsec: time.subsec_nanos().into() };
    !matches!(poll(&mut sockets, Some(&time)), Ok(1..))
}

#[cfg(test)]
#[path = "agent_test.rs"]
mod tests;
