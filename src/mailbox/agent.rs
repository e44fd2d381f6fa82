//! The agent's loop: an order in, deliveries, one frame of outcomes back, after the sync; or a question and its answer. Ends when the
//! engine has gone or has nothing more for it.

use crate::arguments::{Arguments, Format, fill, fill_virtual};
use crate::convert::Content;
use crate::entry::{self, AliasFiles};
use crate::identity::{Person, Settled};
use crate::mbox::Message;
use crate::program::Call;
use crate::{Error, command, file, forward, program};
use call::agent::{Batch, Done, Entry, Expansion, Item, Kind, Named, Order, Outcome, Outcomes, Question, Said};
use call::frame::Connection;
use mail::alias::AliasEntry;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::{HashMap, VecDeque};
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
/// A batch that takes longer hangs in the file system (seconds); the kernel ends the process, before the engine has waited for
/// 300, and before a dot-lock that nobody could touch looks stale to others (liblockfile: 300).
const HANG: u32 = 290;

/// Beyond a program's own time.
const MARGIN: u32 = 60;

/// The result of one delivery, and what a program said.
type Told = (Done, Option<Said>);

/// What an agent works with.
pub(crate) struct Desk<'a> {
    pub settled: &'a Settled,
    pub arguments: &'a Arguments,
    pub aliases: &'a AliasFiles,
}

/// Serves until the end.
pub(crate) fn serve(socket: UnixStream, desk: &Desk<'_>) -> Result<(), Error> {
    serve_for(LIFE, socket, desk)
}

fn serve_for(life: Duration, socket: UnixStream, desk: &Desk<'_>) -> Result<(), Error> {
    let born = Instant::now();
    socket.set_read_timeout(Some(IDLE))?;
    socket.set_write_timeout(Some(ANSWER))?;
    let mut connection = Connection::new(socket);
    let mut descriptors = VecDeque::new();
    let mut closing = false;
    loop {
        let order: Order = match connection.message() {
            Ok(Some(order)) => order,
            Ok(None) => return Ok(()),
            Err(call::Error::Io(error)) if !closing && is_timeout(&error) => {
                closing = close(&connection)?;
                continue;
            }
            Err(call::Error::Closed) if closing => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        descriptors.extend(connection.take_descriptors());
        let last = desk.arguments.kind == Kind::System || born.elapsed() >= life;
        match order {
            Order::Deliver(batch) => {
                let sources = take_sources(&batch, &mut descriptors)?;
                nix::unistd::alarm::set(desk.patience(&batch));
                let outcomes = desk.deliver(&batch, &sources, connection.stream());
                closing = closing || (last && close(&connection)?);
                connection.send(&Outcomes { outcomes }, &[])?;
            }
            Order::Expand(question) => {
                nix::unistd::alarm::set(HANG);
                let expansion = desk.expand(&question);
                closing = closing || (last && close(&connection)?);
                connection.send(&expansion, &[])?;
            }
        }
        // The alarm stays: the next order sets it anew, and without one the agent is gone long before it comes.
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

impl Desk<'_> {
    /// When an order hangs, in seconds.
    fn patience(&self, batch: &Batch) -> u32 {
        let runs = batch.into.is_some() || self.arguments.format == Format::Command;
        let programs = if runs { u32::try_from(batch.items.len()).unwrap_or(u32::MAX) } else { 0 };
        let time = u32::try_from(self.arguments.program_time.as_secs()).unwrap_or(u32::MAX);
        programs.saturating_mul(time).saturating_add(MARGIN).max(HANG)
    }

    fn expand(&self, question: &Question) -> Expansion {
        let not_now = |why: Done| match why {
            Done::Temporary(subject, detail, why) | Done::Permanent(subject, detail, why) => {
                Expansion { answer: Named::Unavailable(subject, detail, why), notes: Vec::new() }
            }
            Done::Gone(why) => Expansion { answer: Named::Gone(why), notes: Vec::new() },
            Done::Delivered(_) | Done::Forward => Expansion { answer: Named::Mailbox, notes: Vec::new() },
        };
        let person = match self.settled {
            Settled::Refused(done) => return not_now(done.clone()),
            Settled::Recipient(person) => person,
        };
        match (self.arguments.kind, &question.entry) {
            (Kind::User, None) => forward::of_user(person, self.arguments, &question.detail),
            (Kind::System, Some(entry)) => match self.aliases.find(entry) {
                Ok(AliasEntry::Include(path)) => forward::of_list(&path),
                Ok(_) => not_now(wrong_kind(person)),
                Err(why) => not_now(why),
            },
            _ => not_now(wrong_kind(person)),
        }
    }

    fn deliver(&self, batch: &Batch, sources: &[File], engine: &UnixStream) -> Vec<Outcome> {
        let messages: Vec<Message<'_>> = batch.items.iter().filter_map(|item| message(item, sources)).collect();
        let all = |done: Done| vec![(done, None); messages.len()];
        let results = match (self.settled, &batch.into) {
            (Settled::Refused(done), _) => all(done.clone()),
            (Settled::Recipient(person), None) => self.to_mailbox(&messages, person, batch.mailbox_size, engine),
            (Settled::Recipient(person), Some(entry)) => self.to_entry(&messages, person, entry, engine),
        };
        let outcome =
            |((item, _), (result, program)): (&Message<'_>, Told)| Outcome { ticket: item.ticket, result, program };
        messages.iter().zip(results).map(outcome).collect()
    }

    /// Messages for whom there may be a `.forward` are not touched; the others are delivered together.
    fn to_mailbox(&self, messages: &[Message<'_>], person: &Person, limit: u64, engine: &UnixStream) -> Vec<Told> {
        let mut asked: HashMap<String, bool> = HashMap::new();
        // Who has no account has no `.forward`.
        let has_home = self.arguments.kind != Kind::Virtual;
        let mut forwards = |item: &Item| {
            let look = || has_home && forward::may_exist(&forward::candidates(person, self.arguments, &item.detail));
            item.forward && *asked.entry(item.detail.clone()).or_insert_with(look)
        };
        let forwards: Vec<bool> = messages.iter().map(|(item, _)| forwards(item)).collect();
        let here = messages.iter().zip(&forwards).filter(|(_, forward)| !**forward);
        let here: Vec<Message<'_>> = here.map(|(message, _)| *message).collect();
        let mut told = match (&here[..], self.arguments.format, self.arguments.kind) {
            ([], ..) => Vec::new(),
            (here, Format::Command, Kind::User) => self.to_command(here, person, engine),
            (here, ..) => self.to_place(here, person, limit, engine).into_iter().map(|done| (done, None)).collect(),
        }
        .into_iter();
        let lost = || (Done::Temporary(3, 0, "no result".to_owned()), None);
        let told = |&forward: &bool| if forward { (Done::Forward, None) } else { told.next().unwrap_or_else(lost) };
        forwards.iter().map(told).collect()
    }

    /// Into his mbox or Maildir.
    fn to_place(&self, messages: &[Message<'_>], person: &Person, limit: u64, engine: &UnixStream) -> Vec<Done> {
        let path = match self.arguments.kind {
            Kind::Virtual => match fill_virtual(&self.arguments.path, &person.name) {
                Some((path, fixed)) => match crate::maildir::make_folders(&fixed, &path) {
                    Ok(()) => Some(path),
                    Err(error) => return vec![crate::mbox::trouble("make folders", &error); messages.len()],
                },
                None => None,
            },
            _ => fill(&self.arguments.path, &person.name, &person.home.to_string_lossy()),
        };
        let Some(path) = path else {
            let why = format!("no path for a mailbox of {} from {}", person.name, self.arguments.path);
            return vec![Done::Temporary(3, 5, why); messages.len()];
        };
        match self.arguments.format {
            Format::Maildir => crate::maildir::deliver(messages, &path, &person.name, limit),
            Format::Mbox | Format::Command => {
                let written = |begun: &[u64]| {
                    if self.arguments.biff {
                        crate::biff::tell(&person.name, &path, begun);
                    }
                };
                crate::mbox::deliver(messages, &path, person.uid, limit, &mut |time| wait(engine, time), &written)
            }
        }
    }

    /// By the administrator's command, one message after the other.
    fn to_command(&self, messages: &[Message<'_>], person: &Person, engine: &UnixStream) -> Vec<Told> {
        let run = |message: &Message<'_>| match command::call(&self.arguments.command, message.0, person) {
            Some(call) => program::run(&call, *message, person, self.arguments, engine),
            None => (Done::Temporary(3, 5, "no command for mailboxes".to_owned()), None),
        };
        messages.iter().map(run).collect()
    }

    /// Into the program or file that stands at `entry` now.
    fn to_entry(&self, messages: &[Message<'_>], person: &Person, entry: &Entry, engine: &UnixStream) -> Vec<Told> {
        let detail = messages.first().map_or("", |(item, _)| item.detail.as_str());
        let found = match self.arguments.kind {
            Kind::Mailbox | Kind::Virtual => Err(wrong_kind(person)),
            Kind::User => entry::of_user(entry, person, self.arguments, detail),
            Kind::System => self.aliases.find(entry),
        };
        match found {
            Ok(AliasEntry::Program(line)) => {
                let call = Call::line(&line, &self.arguments.shell);
                let run = |message: &Message<'_>| program::run(&call, *message, person, self.arguments, engine);
                messages.iter().map(run).collect()
            }
            Ok(AliasEntry::File(path)) => {
                let results = file::deliver(messages, Path::new(&path), person.uid, &mut |time| wait(engine, time));
                results.into_iter().map(|done| (done, None)).collect()
            }
            Ok(_) => vec![(wrong_kind(person), None); messages.len()],
            Err(done) => vec![(done, None); messages.len()],
        }
    }
}

/// The engine asks for what this agent is not for: its mistake, or worse. Mail for what root's `.forward` names waits until root has an alias, in
/// sight of `mailq`: his own bounces would go the same way.
fn wrong_kind(person: &Person) -> Done {
    if person.uid == 0 {
        return Done::Temporary(3, 5, "root has a mailbox and nothing else: give root an alias".to_owned());
    }
    Done::Temporary(3, 5, "refused: not for an agent of this kind".to_owned())
}

/// `take_sources` made sure that every item has its descriptor.
fn message<'a>(item: &'a call::agent::Item, sources: &'a [File]) -> Option<Message<'a>> {
    let content = Content { source: sources.get(usize::from(item.source))?, offset: item.offset, length: item.length };
    Some((item, content))
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
