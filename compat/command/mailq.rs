//! `mailq`, `sendmail -bp`: the queue in sendmail's layout, byte for byte (sendmail.md 2.1), always as `/var/spool/mqueue` because
//! monitors look for it. Entries are printed as they come, through one buffer: 20,000 within 0.2 s.

use crate::command_line::Command;
use crate::output::{Output, plain};
use crate::place::Places;
use crate::queue_run::QueueRun;
use crate::zone::Zone;
use crate::{dropped, engine, exit};
use call::operator::{Entry, Reply, Request, Select};
use std::fmt::Write as _;

const DIRECTORY: &str = "/var/spool/mqueue";

/// Prints the queue; returns the exit code.
pub fn run(command: &Command, places: &Places, output: &mut Output) -> u8 {
    let select = command.queue_run.as_ref().map_or_else(Select::default, |run: &QueueRun| run.select.clone());
    match list(&select, command.verbose, places, output) {
        Ok(code) => code,
        Err(error) => without_engine(command, &error.reason(), places, output),
    }
}

fn list(select: &Select, verbose: bool, places: &Places, output: &mut Output) -> Result<u8, engine::Error> {
    // Both connections before the first byte of output: after that there is no going back to `without_engine`.
    let mut counting = engine::open(&places.run, "control")?;
    counting.send(&Request::Count(select.clone()), &[])?;
    let count = match counting.message::<Reply>()?.ok_or(engine::Error::Silent)? {
        Reply::End(count) => count,
        Reply::Refused(text) => return Ok(refused(&text, output)),
        Reply::Entries(_) => return Err(call::Error::Malformed.into()),
    };
    drop(counting);
    let mut listing = engine::open(&places.run, "control")?;
    listing.send(&Request::List(select.clone()), &[])?;
    let mut next = listing.message::<Reply>()?.ok_or(engine::Error::Silent)?;
    let mut printer = Printer::new(verbose);
    printer.begin(count, output);
    loop {
        match next {
            Reply::Entries(entries) => entries.iter().for_each(|entry| printer.entry(entry, output)),
            Reply::End(_) => break,
            Reply::Refused(text) => return Ok(refused(&text, output)),
        }
        match listing.message::<Reply>() {
            Ok(Some(reply)) => next = reply,
            Ok(None) | Err(_) => {
                output.line("(the mail server stopped answering; the list is not complete)");
                return Ok(exit::TEMPORARY);
            }
        }
    }
    printer.end(output);
    Ok(exit::OK)
}

/// sendmail's text and its exit code 0, but without its `Total requests: 0`, which monitors take for an empty queue.
fn refused(text: &str, output: &mut Output) -> u8 {
    output.line(&plain(text, 400));
    exit::OK
}

/// The server does not answer: what stands in the drop folder is all that can be known, and only root may read it.
fn without_engine(command: &Command, why: &str, places: &Places, output: &mut Output) -> u8 {
    output.line(&format!("The mail server does not answer ({}).", plain(why, 200)));
    let Some(entries) = dropped::entries(&places.drop) else {
        output.line("Its queue cannot be listed.");
        return exit::TEMPORARY;
    };
    if entries.is_empty() {
        // "is empty" would be a lie: what the server has is not known.
        output.line("Nothing waits to be taken by it; its queue cannot be listed.");
        return exit::TEMPORARY;
    }
    output.line("Messages waiting to be taken by it:");
    let mut printer = Printer::new(command.verbose);
    printer.begin(entries.len() as u64, output);
    entries.iter().for_each(|entry| printer.entry(entry, output));
    printer.end(output);
    exit::OK
}

/// Prints entries; keeps one line buffer and the zone.
pub struct Printer {
    verbose: bool,
    zone: Zone,
    printed: u64,
    line: String,
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
        Self { verbose, zone, printed: 0, line: String::new() }
    }
    /// The lines above the entries.
    pub fn begin(&mut self, count: u64, output: &mut Output) {
        if count == 0 {
            output.line(&format!("{DIRECTORY} is empty"));
            return;
        }
        let plural = if count == 1 { "" } else { "s" };
        output.line(&format!("\t\t{DIRECTORY} ({count} request{plural})"));
        output.line(if self.verbose {
            "-----Q-ID----- --Size-- -Priority- ---Q-Time--- --------Sender/Recipient--------"
        } else {
            "-----Q-ID----- --Size-- -----Q-Time----- ------------Sender/Recipient-----------"
        });
    }
    /// One entry.
    pub fn entry(&mut self, entry: &Entry, output: &mut Output) {
        self.printed += 1;
        self.line.clear();
        // Writing to a String cannot fail.
        let _ = self.format(entry);
        output.text(&self.line);
    }
    /// The line below.
    pub fn end(&mut self, output: &mut Output) {
        output.line(&format!("\t\tTotal requests: {}", self.printed));
    }

    fn format(&mut self, entry: &Entry) -> std::fmt::Result {
        let (sender, status) = if self.verbose { (78, 100) } else { (39, 60) };
        let line = &mut self.line;
        write!(line, "{:>13}{}", plain(&entry.id, 20), if entry.active { '*' } else { ' ' })?;
        let (offset, _) = self.zone.at(entry.arrived);
        let time = mail::date::ctime_short(entry.arrived, offset);
        if self.verbose {
            // Without the weekday.
            let time = time.get(4..).unwrap_or_default();
            write!(line, "{:>8} {:>10} {time:.12} ", entry.size, priority(entry))?;
        } else {
            write!(line, "{:>8} {time:.16} ", entry.size)?;
        }
        line.push_str(&plain(&entry.sender, sender));
        if let Some(reason) = &entry.hold {
            write!(line, "\n     QUARANTINE: {}", plain(reason, 60))?;
        }
        let message = entry.recipients.iter().map(|r| r.status.as_str()).find(|s| !s.is_empty()).unwrap_or_default();
        if !entry.body.is_empty() || !message.is_empty() {
            write!(line, "\n    {:>10}", plain(&entry.body, 10))?;
            if !message.is_empty() {
                write!(line, "   ({})", plain(message, status))?;
            }
        }
        for recipient in &entry.recipients {
            if self.verbose {
                write!(line, "\n\t\t\t\t\t\t {}", plain(&recipient.address, 71))?;
                if !recipient.status.is_empty() {
                    write!(line, "\n\t\t ({})", plain(&recipient.status, 100))?;
                }
            } else {
                write!(line, "\n\t\t\t\t\t {}", plain(&recipient.address, 38))?;
            }
        }
        line.push('\n');
        Ok(())
    }
}

/// sendmail's priority of a message: its size, 30,000 for each recipient and 90,000 for each attempt (sendmail.md 5.7).
fn priority(entry: &Entry) -> u64 {
    let tries = entry.recipients.iter().map(|r| u64::from(r.tries)).max().unwrap_or(0);
    entry.size + 30_000 * entry.recipients.len() as u64 + 90_000 * tries
}

#[cfg(test)]
#[path = "mailq_tests.rs"]
mod tests;
