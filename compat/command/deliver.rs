//! `-bm`: one message from standard input to whoever takes it. The engine first; without it the drop folder; without that SMTP on
//! loopback; then exit 75. Exit 0 means that somebody has the message durably. Called by `run`.

use crate::caller::Caller;
use crate::command_line::{Command, ErrorMode};
use crate::content::{self, Content};
use crate::heading::{self, Heading};
use crate::input::{self, Input};
use crate::output::{Output, plain, without_number};
use crate::place::Places;
use crate::prepare::{Origin, Prepared, prepare};
use crate::smtp::Outcome;
use crate::zone::Zone;
use crate::{dead_letter, drop_file, engine, exit, host, live, smtp, zone};
use call::frame::Connection;
use call::submit::{Answer, Errors, Mode, RECIPIENT_LIMIT, Recipient, Refused, Submission};
use mail::content::LineEnds;
use std::collections::HashSet;
use std::io::Read;

/// Why a message is not even tried.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its header.
    #[error(transparent)]
    Heading(#[from] heading::Error),
    /// What was read.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// Where it is kept meanwhile.
    #[error(transparent)]
    Content(#[from] content::Error),
}

impl Error {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Heading(heading::Error::Input(input::Error::Io(_))) | Self::Input(input::Error::Io(_)) => exit::IO,
            Self::Content(content::Error::Io(_) | content::Error::Full) => exit::TEMPORARY,
            Self::Heading(_) | Self::Input(_) | Self::Content(content::Error::TooLarge(_)) => exit::DATA,
        }
    }
}

impl Error {
    /// Whether it is for want of room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Content(content::Error::Io(error)) => content::is_full(error),
            Self::Content(content::Error::Full) => true,
            _ => false,
        }
    }
}

/// Reads a message and sees it through; returns the exit code.
pub fn run(command: &Command, places: &Places, source: impl Read, output: &mut Output) -> u8 {
    private_files();
    let mut input = Input::new(source, command.ignore_dots);
    if !command.from_header && command.recipients.is_empty() {
        output.line("Recipient names must be specified");
        drain(&mut input);
        return exit::USAGE;
    }
    let caller = Caller::current();
    let mut content = Content::new(&places.drop);
    let mut prepared = match collect(command, &caller, &mut input, &mut content) {
        Ok(prepared) => prepared,
        Err(error) => {
            output.line(&without_number(&error.to_string()));
            if let Error::Heading(heading::Error::TooLarge(heading)) = &error {
                log_header(places, &caller);
                if keep(&heading.raw(), &mut input, &mut content).is_ok() {
                    let prepared = prepare(command, heading, &origin(&caller));
                    let delivery =
                        Delivery { command, places, caller: &caller, content: &content, prepared: &prepared };
                    delivery.bury(&prepared.submission, "", &prepared.submission.recipients, output);
                }
            }
            return error.exit();
        }
    };
    drop(input); // its buffer, before the next one is made
    if command.verbose && !command.leaves_at_once() {
        prepared.submission.mode = Mode::Watched;
    }
    let delivery = Delivery { command, places, caller: &caller, content: &content, prepared: &prepared };
    delivery.run(output)
}

/// The server, which logs what it refuses, never sees such a message.
fn log_header(places: &Places, caller: &Caller) {
    let limit = heading::LIMIT as u64;
    if engine::headers_too_large(&places.run, &caller.name, limit).is_err() {
        let from = format!("{}@localhost", caller.name);
        let text = format!("NOQUEUE: headers too large ({limit} max) from {from} during message collect");
        crate::small::syslog::log("sendmail", &text);
    }
}

/// The caller's umask may be anything: 0777 would make a drop file that not even its owner can open.
pub fn private_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// Takes what is on standard input and throws it away, so that its writer sees no broken pipe; within reason.
fn drain<R: Read>(input: &mut Input<R>) {
    let mut left = 64u64 << 20;
    while let Ok(Some(piece)) = input.bulk() {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            return;
        }
    }
}

/// Reads a message, prepares it, and keeps its content. The last byte is in before anybody is asked to take it.
///
/// # Errors
/// As [`Error`]; nothing was sent.
pub fn collect<R: Read>(
    command: &Command,
    caller: &Caller,
    input: &mut Input<R>,
    content: &mut Content<'_>,
) -> Result<Prepared, Error> {
    let heading = Heading::read(input, command.save_from_line)?;
    let mut prepared = prepare(command, &heading, &origin(caller));
    content.write(&prepared.header)?;
    content.write(b"\r\n")?;
    keep(&heading.body_start, input, content)?;
    prepared.submission.eight_bit |= content.is_eight_bit();
    prepared.submission.cut = input.is_cut();
    Ok(prepared)
}

fn origin(caller: &Caller) -> Origin<'_> {
    Origin {
        caller,
        name: std::env::var("NAME").ok().filter(|name| !name.is_empty()),
        now: zone::now(),
        zone: Zone::local,
        hosts: host::names,
        id: new_id(),
    }
}

/// Keeps these bytes and all that is still to be read.
fn keep<R: Read>(start: &[u8], input: &mut Input<R>, content: &mut Content<'_>) -> Result<(), Error> {
    let mut ends = LineEnds::new();
    let mut lines = Vec::new();
    ends.feed(start, &mut lines);
    content.write(&lines)?;
    while let Some(piece) = input.bulk()? {
        lines.clear();
        ends.feed(piece, &mut lines);
        content.write(&lines)?;
    }
    lines.clear();
    ends.finish(&mut lines);
    content.write(&lines)?;
    content.finish()?;
    Ok(())
}

/// 128 random bits.
pub(crate) fn new_id() -> [u8; 16] {
    let mut id = [0; 16];
    let mut have = 0;
    while let Some(rest) = id.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => have += n,
            // Only before the kernel's pool is ready; it will be.
            Err(_) => std::thread::yield_now(),
        }
    }
    id
}

/// What became of a submission, whoever took it.
#[derive(Debug)]
pub enum Fate {
    /// Durable.
    Taken {
        /// Queue id; empty if only the engine will know it.
        id: String,
        /// The text for `-v`.
        how: String,
        /// Recipients that were not taken.
        refused: Vec<Refused>,
        /// Whether whoever took it bounces for those when asked to ([`call::submit::Errors::Mail`]).
        bounces: bool,
        /// For `-v`: on which the engine tells of the first attempts.
        live: Option<Connection>,
    },
    /// Refused for good.
    Never(u8, String),
    /// Nobody took it.
    Nobody(String),
}

/// Offers a submission to all who might take it, in order. SMTP, which knows no submission ids, comes last and only if the engine
/// cannot have the message: it was not reached at all.
pub fn offer(places: &Places, submission: &Submission, content: &Content<'_>) -> Fate {
    let opened = engine::open(&places.run, "submit");
    let reached = opened.is_ok();
    let reason = match opened.and_then(|connection| engine::submit(connection, submission, content)) {
        Ok((Answer::Accepted { id, refused }, connection)) => {
            let how = match submission.mode {
                Mode::Queue => "queued".to_owned(),
                Mode::Background | Mode::Watched => format!("Sent ({id} Message accepted for delivery)"),
            };
            let live = (submission.mode == Mode::Watched).then_some(connection);
            return Fate::Taken { id, how, refused, bounces: true, live };
        }
        Ok((Answer::Never(code, text), _)) => return Fate::Never(code, text),
        Ok((Answer::Later(text), _)) => text,
        Err(error) => error.reason(),
    };
    let second = match drop_file::save(&places.drop, submission, content) {
        Ok(()) => {
            return Fate::Taken {
                id: String::new(),
                how: format!("queued until the server takes it ({reason})"),
                refused: Vec::new(),
                bounces: true,
                live: None,
            };
        }
        Err(error) => without_number(&error.to_string()),
    };
    if reached {
        return Fate::Nobody(format!("the mail server did not take it ({reason}), nor the drop folder ({second})"));
    }
    match smtp::send(&places.smtp, submission, content) {
        Ok(Outcome::Taken(refused)) => Fate::Taken {
            id: String::new(),
            how: format!("Sent (by SMTP to {})", places.smtp),
            refused,
            bounces: false,
            live: None,
        },
        Ok(Outcome::Never(code, text)) => Fate::Never(code, text),
        Err(third) => Fate::Nobody(format!(
            "the mail server did not take it ({reason}), nor the drop folder ({second}), nor {} ({})",
            places.smtp,
            without_number(&third.to_string())
        )),
    }
}

fn recipient(address: String) -> Recipient {
    Recipient { address, notify: 0, orcpt: String::new() }
}

struct Delivery<'a> {
    command: &'a Command,
    places: &'a Places,
    caller: &'a Caller,
    content: &'a Content<'a>,
    prepared: &'a Prepared,
}

impl Delivery<'_> {
    fn run(&self, output: &mut Output) -> u8 {
        let (prepared, submission) = (self.prepared, &self.prepared.submission);
        for wrong in prepared.noted.iter().filter(|_| self.command.errors == ErrorMode::Print) {
            output.line(&format!("{}... {}", plain(&wrong.address, 400), plain(&wrong.text, 1_000)));
        }
        if submission.recipients.len() > RECIPIENT_LIMIT {
            output.line(&format!("Too many recipients ({RECIPIENT_LIMIT} max)"));
            self.bury(submission, "", &[], output);
            return exit::UNAVAILABLE;
        }
        if submission.recipients.is_empty() && prepared.refused.is_empty() {
            return self.nobody_named(submission, output);
        }
        let mut refused = prepared.refused.clone();
        let (mut bounced, mut taken) = (true, String::new());
        if !submission.recipients.is_empty() {
            match offer(self.places, submission, self.content) {
                Fate::Taken { id, how, refused: late, bounces, live } => {
                    (bounced, taken) = (bounces, id);
                    let shown = live.map(|live| live::show(live, output)).is_some();
                    // The server's own last word is nothing to whoever asks for the server itself (-Am).
                    if !(shown && self.command.direct) {
                        self.tell(submission, &how, &late, output);
                    }
                    // The engine refuses once more what it was sent although it is no address.
                    let known: HashSet<&str> = prepared.refused.iter().map(|one| one.address.as_str()).collect();
                    refused.extend(late.into_iter().filter(|one| !known.contains(one.address.as_str())));
                }
                Fate::Never(code, text) => {
                    output.line(&plain(&text, 1_000));
                    self.bury(submission, "", &submission.recipients, output);
                    return match (code, self.command.errors) {
                        // That it has gone in a circle outweighs what else was wrong.
                        (exit::UNAVAILABLE, ErrorMode::Print | ErrorMode::Mail | ErrorMode::Quiet) => code,
                        (code, _) => self.finish(code),
                    };
                }
                Fate::Nobody(text) => {
                    output.line(&format!("sendmail: message not sent: {}", plain(&text, 1_000)));
                    return exit::TEMPORARY;
                }
            }
        }
        self.report(&refused, bounced, &taken, output)
    }

    /// `-v`: a line for each recipient.
    fn tell(&self, submission: &Submission, how: &str, refused: &[Refused], output: &mut Output) {
        if !self.command.verbose {
            return;
        }
        for recipient in &submission.recipients {
            if !refused.iter().any(|r| r.address == recipient.address) {
                output.line(&format!("{}... {}", plain(&recipient.address, 400), plain(how, 400)));
            }
        }
    }

    /// Refused recipients, as the error mode wants it (sendmail.md 1.6). The first error's code is the exit code. When errors
    /// are mailed, those that nobody mails (refused here, or by a server that knows nothing of it) are told as in mode p.
    fn report(&self, refused: &[Refused], bounced: bool, id: &str, output: &mut Output) -> u8 {
        let (prepared, submission) = (self.prepared, &self.prepared.submission);
        let Some(first) = refused.first() else {
            return self.finish(exit::OK);
        };
        let by_mail = bounced && crate::prepare::errors(prepared.errors) == Errors::Mail;
        let mailed = |one: &Refused| by_mail && submission.recipients.iter().any(|r| r.address == one.address);
        let saved = match prepared.errors {
            ErrorMode::Quiet => false,
            ErrorMode::Print => true,
            ErrorMode::Mail | ErrorMode::Berknet => refused.iter().any(|one| !mailed(one)),
        };
        for (n, one) in refused.iter().enumerate() {
            let told = match prepared.errors {
                ErrorMode::Quiet => false,
                ErrorMode::Print => true,
                ErrorMode::Mail | ErrorMode::Berknet => !mailed(one),
            };
            // What is no address in a field is printed in every mode, an argument that is none in mode p.
            let of_field = n >= prepared.of_arguments;
            let in_text = n < prepared.refused.len() && (of_field || self.command.errors == ErrorMode::Print);
            if told || in_text {
                output.line(&format!("{}... {}", plain(&one.address, 400), plain(&one.text, 1_000)));
            }
        }
        if saved {
            let address = |one: &Refused| (!mailed(one)).then(|| one.address.clone());
            self.bury(submission, id, &refused.iter().filter_map(address).map(recipient).collect::<Vec<_>>(), output);
        }
        // Whoever does not wait has gone before the original knows of errors, but for those in the text.
        let gone = self.command.leaves_at_once() && prepared.refused.is_empty();
        self.finish(if gone { exit::OK } else { first.exit })
    }

    /// Saves the message in dead.letter, under its queue id if it has one, and says so. Where that cannot be, it goes back to its sender by
    /// mail for those who did not get it, as in the original.
    fn bury(&self, submission: &Submission, id: &str, without: &[Recipient], output: &mut Output) {
        let Some(home) = &self.caller.home else {
            let _nothing_more_can_be_done = self.give_back(submission, without);
            return;
        };
        let path = home.join("dead.letter");
        let path = plain(&path.to_string_lossy(), 400);
        match dead_letter::save(home, submission, id, self.content) {
            Ok(_) => output.line(&format!("{path}... Saved message in {path}")),
            Err(_) if self.give_back(submission, without) => {}
            Err(error) => {
                let why = without_number(&error.to_string());
                output.line(&format!("{path}... Cannot save message: {why}"));
            }
        }
    }

    /// The drop folder's messages are refused by mail, whatever is wrong with them. Under an id of its own, because the engine has seen the other.
    fn give_back(&self, submission: &Submission, recipients: &[Recipient]) -> bool {
        let again = Submission { id: new_id(), recipients: recipients.to_vec(), ..submission.clone() };
        !recipients.is_empty() && drop_file::save(&self.places.drop, &again, self.content).is_ok()
    }

    /// No recipient at all. The original drops the message and exits 0; the exit code stays, the message is saved.
    fn nobody_named(&self, submission: &Submission, output: &mut Output) -> u8 {
        if !self.command.from_header {
            output.line("Recipient names must be specified");
            return exit::USAGE;
        }
        output.line("No recipient addresses found in header");
        // Something longer than the empty line after no header at all.
        if self.content.len() > 2 {
            self.bury(submission, "", &[], output);
        }
        self.finish(exit::OK)
    }

    fn finish(&self, code: u8) -> u8 {
        match (self.command.errors, code) {
            (ErrorMode::Berknet, _) => exit::OK,
            // The first error of a call is its code.
            _ if self.command.exit != exit::OK => self.command.exit,
            (_, code) => self.prepared.noted.first().map_or(code, |wrong| wrong.exit),
        }
    }
}
