//! `mailq`, `sendmail -bp`: the queue in sendmail's layout, byte for byte (sendmail.md 2.1, and seen on the real program), always as
//! `/var/spool/mqueue` because monitors look for it; `-bP`: how many there are. Entries are printed as they come, through one buffer.
//!
//! Without an engine root reads the spool (`postrider queue answer` speaks the engine's language) and the drop folder.

use crate::command_line::Command;
use crate::hand_over::Verb;
use crate::output::{Output, plain, push_plain, without_number};
use crate::place::Places;
use crate::queue_run::QueueRun;
use crate::zone::Zone;
use crate::{dropped, engine, exit};
use call::frame::{self, Connection, Frame};
use call::operator::{Entry, EntryWith, RecipientWith, Reply, ReplyWith, Request, Select};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::Stdio;

const DIRECTORY: &str = "/var/spool/mqueue";
/// What the engine says to somebody who may not look, and sendmail too.
const REFUSED: &str = "You are not permitted to see the queue";

/// Prints the queue; returns the exit code.
pub fn run(command: &Command, places: &Places, output: &mut Output) -> u8 {
    if command.restrict_queue_print && !nix::unistd::getuid().is_root() {
        return refused(REFUSED, output);
    }
    if command.submission_only {
        // A script that adds up both queues must not count ours twice.
        output.line("/var/spool/mqueue-client is empty\n\t\tTotal requests: 0");
        return exit::OK;
    }
    if let Some(folder) = command.queue_directory.as_deref().filter(|folder| !is_ours(folder)) {
        return other_folder(folder, output);
    }
    let run = command.queue_run.clone().unwrap_or_default();
    let mut printer = Printer::new(command.verbose);
    if run.lost {
        printer.begin(0, None, output);
        printer.end(0, output);
        return exit::OK;
    }
    printer.group = run.group.is_some();
    printer.at_most = command.print_at_most;
    match replies(&run, places) {
        Ok((connection, first)) => printer.all(connection, first, &[], output),
        Err(error) => without_engine(printer, &run, &error.reason(), places, output),
    }
}

/// `-bP`; returns the exit code.
pub fn count(places: &Places, output: &mut Output) -> u8 {
    let asked = engine::open(&places.run, "control").and_then(|mut connection| {
        connection.send(&Request::Count(Select::default()), &[])?;
        Ok(connection.message::<Reply>()?)
    });
    output.line(&match asked {
        Ok(Some(Reply::End(count))) => format!("{DIRECTORY}: entries={count}"),
        _ => format!("{DIRECTORY}: unknown number of entries"),
    });
    exit::OK
}

/// The connection on which the engine, or whoever stands in for it, answers, and its first two answers: the number of entries, and
/// the list's first.
type Replies = (Connection, (Reply, Reply));

/// Asks the engine. Its first answers are waited for before the first byte of output: after that there is no going back.
fn replies(run: &QueueRun, places: &Places) -> Result<Replies, engine::Error> {
    ask(engine::open(&places.run, "control")?, run)
}

fn ask(mut connection: Connection, run: &QueueRun) -> Result<Replies, engine::Error> {
    connection.send(&Request::Count(run.select()), &[])?;
    connection.send(&Request::List(run.select()), &[])?;
    let count = connection.message::<Reply>()?.ok_or(engine::Error::Silent)?;
    let first = match count {
        Reply::Refused(_) => Reply::End(0),
        _ => connection.message::<Reply>()?.ok_or(engine::Error::Silent)?,
    };
    Ok((connection, (count, first)))
}

/// sendmail's text and its exit code 0. Monitors take it for an empty queue; the administrator has chosen so.
fn refused(text: &str, output: &mut Output) -> u8 {
    output.line(&plain(text, 400));
    output.line("\t\tTotal requests: 0");
    exit::OK
}

/// Names of the queue: the server's, and those of a submission program, whose queue is the same here.
fn is_ours(folder: &str) -> bool {
    ["/var/spool/mqueue", "/var/spool/mqueue/", "/var/spool/mqueue/*"].contains(&folder)
}

/// Another folder: nothing of ours is there, and what sendmail left there must not be called empty.
fn other_folder(folder: &str, output: &mut Output) -> u8 {
    let names = match std::fs::read_dir(folder) {
        Ok(names) => names,
        Err(error) => {
            output.line(&format!("can not chdir({folder}/): {}", without_number(&error.to_string())));
            return exit::CONFIG;
        }
    };
    let theirs = |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"qf");
    if names.flatten().any(|entry| theirs(entry.file_name())) {
        output.line(&format!("{folder} holds sendmail's own queue, which this program does not read"));
        return exit::CONFIG;
    }
    output.line(&format!("{folder} is empty\n\t\tTotal requests: 0"));
    exit::OK
}

/// The server does not answer. Whoever can read its spool (root) is shown what lies there and in the drop folder.
fn without_engine(mut printer: Printer, run: &QueueRun, why: &str, places: &Places, output: &mut Output) -> u8 {
    let mut dropped = dropped::entries(&places.drop);
    let all = dropped.as_ref().map_or(0, Vec::len);
    if let Some(entries) = &mut dropped {
        entries.retain(|entry| run.takes(entry));
    }
    if let Ok((connection, first)) = stand_in(None).and_then(|connection| ask(connection, run)) {
        return printer.all(connection, first, &dropped.unwrap_or_default(), output);
    }
    output.line(&format!("The mail server does not answer ({}).", plain(why, 200)));
    let Some(entries) = dropped else {
        output.line("Its queue cannot be listed.");
        return exit::TEMPORARY;
    };
    if all == 0 {
        // "is empty" would be a lie: what the server has is not known.
        output.line("Nothing waits to be taken by it; its queue cannot be listed.");
        return exit::TEMPORARY;
    }
    output.line("Messages waiting to be taken by it:");
    let count = entries.len() as u64;
    printer.begin(count, None, output);
    entries.iter().for_each(|entry| printer.entry(entry, output));
    printer.end(count, output);
    exit::OK
}

/// A connection to `postrider queue answer`, which reads the spool (of another configuration than the usual one, if that is given). It ends
/// when we close the connection.
pub(crate) fn stand_in(configuration: Option<&str>) -> Result<Connection, engine::Error> {
    let (ours, theirs) = UnixStream::pair()?;
    let theirs = OwnedFd::from(theirs);
    Verb { configuration, ..Verb::new("queue", ["answer"]) }.spawn(|command| {
        let socket = theirs.try_clone().map_or_else(|_| Stdio::null(), Stdio::from);
        command.stdin(socket).stdout(Stdio::null()).stderr(Stdio::null());
    })?;
    drop(theirs);
    ours.set_read_timeout(Some(engine::PATIENCE * 6))?;
    Ok(Connection::new(ours))
}

/// Prints entries; keeps one line buffer and the zone.
pub struct Printer {
    verbose: bool,
    zone: Zone,
    /// A queue group was named: then sendmail prints no total.
    group: bool,
    at_most: Option<u64>,
    printed: u64,
    /// How many more may be printed.
    left: u64,
    line: String,
    /// A moment and its text.
    time: (i64, String),
}

impl Printer {
    /// For `mailq` or `mailq -v`.
    #[must_use]
    pub fn new(verbose: bool) -> Self {
        Self::with_zone(verbose, Zone::local())
    }
    /// With a zone of one's own: tests.
    #[must_use]
    pub fn with_zone(verbose: bool, zone: Zone) -> Self {
        let (line, time) = (String::new(), (0, String::new()));
        Self { verbose, zone, group: false, at_most: None, printed: 0, left: u64::MAX, line, time }
    }

    /// Prints what comes over the connection, and then `more`; returns the exit code.
    fn all(&mut self, mut connection: Connection, first: (Reply, Reply), more: &[Entry], output: &mut Output) -> u8 {
        let count = match first.0 {
            Reply::End(count) => count + more.len() as u64,
            Reply::Refused(text) => return refused(&text, output),
            _ => 0,
        };
        let limit = self.at_most.filter(|most| *most < count);
        self.begin(count, limit, output);
        self.left = limit.unwrap_or(u64::MAX);
        let mut step = self.take(&first.1, output);
        while step.is_continue() {
            step = match connection.next() {
                Ok(Some(Frame::Message(bytes))) => match frame::decode::<ReplyWith<&str>>(&bytes) {
                    Ok(reply) => self.take(&reply, output),
                    Err(_) => broken(output),
                },
                _ => broken(output),
            };
        }
        if let ControlFlow::Break(Some(code)) = step {
            return code;
        }
        self.entries(more, output);
        self.end(if limit.is_some() { count } else { self.printed }, output);
        exit::OK
    }

    /// Prints an answer; ends when no more is expected, with the exit code if it ends badly.
    fn take<T: AsRef<str>>(&mut self, reply: &ReplyWith<T>, output: &mut Output) -> ControlFlow<Option<u8>> {
        match reply {
            ReplyWith::Entries(entries) => self.entries(entries, output),
            ReplyWith::Refused(text) => return ControlFlow::Break(Some(refused(text, output))),
            _ => return ControlFlow::Break(None),
        }
        if self.left == 0 { ControlFlow::Break(None) } else { ControlFlow::Continue(()) }
    }

    /// As many of these as are wanted.
    fn entries<T: AsRef<str>>(&mut self, entries: &[EntryWith<T>], output: &mut Output) {
        for entry in entries {
            if self.left > 0 {
                self.left -= 1;
                self.entry(entry, output);
            }
        }
    }

    /// The lines above the entries; `limit` if fewer than `count` will be printed.
    pub fn begin(&mut self, count: u64, limit: Option<u64>, output: &mut Output) {
        if count == 0 {
            output.line(&format!("{DIRECTORY} is empty"));
            return;
        }
        let plural = if count == 1 { "" } else { "s" };
        let only = limit.map(|most| format!(", only {most} printed")).unwrap_or_default();
        output.line(&format!("\t\t{DIRECTORY} ({count} request{plural}{only})"));
        output.line(if self.verbose {
            "-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------"
        } else {
            "-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------"
        });
    }
    /// One entry.
    pub fn entry<T: AsRef<str>>(&mut self, entry: &EntryWith<T>, output: &mut Output) {
        self.printed += 1;
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = self.format(entry);
        output.text(&self.line);
    }
    /// The line below.
    pub fn end(&mut self, total: u64, output: &mut Output) {
        if !self.group {
            output.line(&format!("\t\tTotal requests: {total}"));
        }
    }

    fn format<T: AsRef<str>>(&mut self, entry: &EntryWith<T>) -> std::fmt::Result {
        let (sender, status) = if self.verbose { (78, 100) } else { (39, 60) };
        self.know_time(entry.arrived);
        let (line, time) = (&mut self.line, &self.time.1);
        write!(line, "{:>13}{}", plain(entry.id.as_ref(), 20), if entry.active { '*' } else { ' ' })?;
        if self.verbose {
            // Without the weekday.
            let time = time.get(4..).unwrap_or_default();
            let warned = if entry.warned { '+' } else { ' ' };
            write!(line, "{:>8} {:>10}{warned}{time:.12} ", entry.size, priority(entry))?;
        } else {
            write!(line, "{:>8} {time:.16} ", entry.size)?;
        }
        push_plain(line, entry.sender.as_ref(), sender);
        if let Some(reason) = &entry.hold {
            line.push_str("\n     QUARANTINE: ");
            push_plain(line, reason.as_ref(), 60);
        }
        let message = entry.recipients.iter().map(|r| r.status.as_ref()).find(|s| !s.is_empty()).unwrap_or_default();
        if !entry.body.as_ref().is_empty() || !message.is_empty() {
            write!(line, "\n    {:>10}", plain(entry.body.as_ref(), 10))?;
            if !message.is_empty() {
                enclosed(line, "   (", message, status);
            }
        }
        for recipient in &entry.recipients {
            if self.verbose {
                verbose_recipient(line, recipient);
            } else {
                line.push_str("\n\t\t\t\t\t ");
                push_plain(line, recipient.address.as_ref(), 38);
            }
        }
        line.push('\n');
        Ok(())
    }

    /// Many messages come in the same second, and the list is in that order.
    fn know_time(&mut self, arrived: i64) {
        if self.time.0 != arrived || self.time.1.is_empty() {
            let (offset, _) = self.zone.at(arrived);
            self.time = (arrived, mail::date::ctime_short(arrived, offset));
        }
    }
}

fn verbose_recipient<T: AsRef<str>>(line: &mut String, recipient: &RecipientWith<T>) {
    const MARGIN: &str = "\n\t\t\t\t\t\t";
    if let Some(user) = recipient.controlling.as_ref().split_whitespace().next() {
        line.push_str(MARGIN);
        line.push_str("(---");
        push_plain(line, user, 64);
        line.push_str("---)");
    }
    line.push_str(MARGIN);
    push_plain(line, recipient.address.as_ref(), 71);
    if !recipient.status.as_ref().is_empty() {
        enclosed(line, "\n\t\t (", recipient.status.as_ref(), 100);
    }
}

fn enclosed(line: &mut String, before: &str, text: &str, limit: usize) {
    line.push_str(before);
    push_plain(line, text, limit);
    line.push(')');
}

/// The list ends where it should not.
fn broken(output: &mut Output) -> ControlFlow<Option<u8>> {
    output.line("(the mail server stopped answering; the list is not complete)");
    ControlFlow::Break(Some(exit::TEMPORARY))
}

/// sendmail's priority of a message: its size, 30,000 for each recipient and 90,000 for each attempt (sendmail.md 5.7).
fn priority<T>(entry: &EntryWith<T>) -> u64 {
    let tries = entry.recipients.iter().map(|r| u64::from(r.tries)).max().unwrap_or(0);
    entry.size + 30_000 * entry.recipients.len() as u64 + 90_000 * tries
}

#[cfg(test)]
#[path = "mailq_tests.rs"]
mod tests;
