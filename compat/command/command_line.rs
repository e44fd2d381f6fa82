//! Understands the command line as sendmail 8.18 does (sendmail.md 1.1 to 1.5). Called by `run`. [`crate::argument`] takes it apart, what a flag
//! takes and what becomes of it stands in [`crate::flag`] and [`crate::option`], and [`crate::setting`] applies options.

use crate::argument::{Arguments, Given};
use crate::flag_value::{debug_category_0, envelope_id, hops, notify, with_notify};
use crate::option::Setting;
use crate::output::plain;
use crate::queue_run::QueueRun;
use crate::setting::{NoRecipient, macro_name};
use crate::{debug, exit};
use call::submit::Mode as Delivery;
use std::ffi::OsString;
use std::path::PathBuf;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`, `-ba`.
    Deliver,
    /// `-bs`.
    Smtp,
    /// `-bp`.
    PrintQueue,
    /// `-bP`.
    CountQueue,
    /// `-bd`, `-bD`.
    Server {
        /// `-bD`: stay in the foreground.
        foreground: bool,
    },
    /// `-bi`, `-I`: rebuild the alias database.
    Rebuild,
    /// `-bv`: say where addresses go.
    Verify,
    /// `-bC`: check the configuration.
    CheckConfiguration,
    /// `-bO`: names of the options.
    Options,
    /// `-bh`: what is known of remote hosts.
    HostStatus,
    /// `-bH`: forget what is known of remote hosts.
    PurgeHostStatus,
    /// `-bt`.
    Test,
}

impl Mode {
    /// The letter behind `-b`.
    #[must_use]
    pub fn letter(self) -> char {
        match self {
            Self::Deliver => 'm',
            Self::Smtp => 's',
            Self::PrintQueue => 'p',
            Self::CountQueue => 'P',
            Self::Server { foreground: false } => 'd',
            Self::Server { foreground: true } => 'D',
            Self::Rebuild => 'i',
            Self::Verify => 'v',
            Self::CheckConfiguration => 'C',
            Self::Options => 'O',
            Self::HostStatus => 'h',
            Self::PurgeHostStatus => 'H',
            Self::Test => 't',
        }
    }
}

/// `-oe`: who hears of errors (sendmail.md 1.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorMode {
    /// `p`: printed, and the message saved in dead.letter.
    Print,
    /// `q`: only the exit code.
    Quiet,
    /// `m`, `w`: mailed.
    Mail,
    /// `e`: mailed, and exit 0.
    Berknet,
}

/// A command line, understood.
#[derive(Clone, Debug)]
pub struct Command {
    /// What is to be done.
    pub mode: Mode,
    /// `-ba`: complaints look like SMTP replies.
    pub arpanet: bool,
    /// Arguments that are no options: recipients, several in one separated by commas.
    pub recipients: Vec<String>,
    /// `-t`.
    pub from_header: bool,
    /// `-i`.
    pub ignore_dots: bool,
    /// `-s`, `-of`.
    pub save_from_line: bool,
    /// `-v`.
    pub verbose: bool,
    /// `-f`, `-r`.
    pub sender: Option<String>,
    /// The flag that gave it.
    pub sender_flag: char,
    /// `-p`: protocol and, after a colon, host.
    pub protocol: String,
    /// `-F`.
    pub full_name: Option<String>,
    /// `-B8BITMIME`.
    pub eight_bit: bool,
    /// `-h`.
    pub hops: u32,
    /// `-N`, as in [`call::submit::Recipient::notify`].
    pub notify: u8,
    /// `-R`.
    pub return_headers: Option<bool>,
    /// `-V`, decoded from xtext.
    pub envelope_id: Option<String>,
    /// `-od`.
    pub delivery: Delivery,
    /// `-odb`: the caller does not want to wait for anything but safety.
    pub in_background: bool,
    /// `-oe`.
    pub errors: ErrorMode,
    /// `-q`.
    pub queue_run: Option<QueueRun>,
    /// `-Q`: a reason to quarantine, or empty to release.
    pub quarantine: Option<String>,
    /// `-on`, for `-bi` only.
    pub check_aliases: bool,
    /// `-Ac`: meant for the submission program's own queue, which does not exist here.
    pub submission_only: bool,
    /// `-Am`: meant for the server itself.
    pub direct: bool,
    /// `-C`.
    pub configuration: Option<String>,
    /// `-d0.1` or above.
    pub debug: bool,
    /// `-D`.
    pub debug_file: Option<PathBuf>,
    /// `-D` came after `-d`.
    pub debug_file_late: bool,
    /// `-X`.
    pub traffic_file: Option<PathBuf>,
    /// Option AliasFile.
    pub alias_file: Option<String>,
    /// Option QueueDirectory.
    pub queue_directory: Option<String>,
    /// Option MaxQueueRunSize.
    pub print_at_most: Option<u64>,
    /// Option DaemonPortOptions was given.
    pub daemon_ports: bool,
    /// Option PrivacyOptions: restrictmailq.
    pub restrict_queue_print: bool,
    /// Option PrivacyOptions: restrictqrun.
    pub restrict_queue_run: bool,
    /// Option NoRecipientAction.
    pub no_recipient: NoRecipient,
    /// Option SevenBitInput.
    pub seven_bit: bool,
    /// Options that were given and have no effect on a message.
    pub ignored: Vec<&'static Setting>,
    /// `-B`, as given.
    body: Option<String>,
    /// A mistake after which nothing else is looked at.
    pub(crate) ended: bool,
    /// Texts to print before anything else, each a line.
    pub notices: Vec<String>,
    /// Exit code if all else goes well: `-Bfoo` delivers and still ends with 64.
    pub exit: u8,
}

/// Why a call ends before anything was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The caller's mistake: text on standard output, exit code.
    #[error("{1}")]
    Refused(u8, String),
    /// getopt's complaint, with the program's name as called before it: on standard error, exit 64.
    #[error("{0}")]
    Getopt(String),
}

pub(crate) fn usage(text: impl Into<String>) -> Stop {
    Stop::Refused(exit::USAGE, text.into())
}

impl Default for Command {
    fn default() -> Self {
        Self {
            mode: Mode::Deliver,
            arpanet: false,
            recipients: Vec::new(),
            from_header: false,
            ignore_dots: false,
            save_from_line: false,
            verbose: false,
            sender: None,
            sender_flag: 'f',
            protocol: String::new(),
            full_name: None,
            eight_bit: false,
            hops: 0,
            notify: 0,
            return_headers: None,
            envelope_id: None,
            delivery: Delivery::Background,
            in_background: false,
            errors: ErrorMode::Print,
            queue_run: None,
            quarantine: None,
            check_aliases: false,
            submission_only: false,
            direct: false,
            configuration: None,
            debug: false,
            debug_file: None,
            debug_file_late: false,
            traffic_file: None,
            alias_file: None,
            queue_directory: None,
            print_at_most: None,
            daemon_ports: false,
            restrict_queue_print: false,
            restrict_queue_run: false,
            no_recipient: NoRecipient::None,
            seven_bit: false,
            ignored: Vec::new(),
            body: None,
            ended: false,
            notices: Vec::new(),
            exit: exit::OK,
        }
    }
}

impl Command {
    /// `-odb`, `-odq`: the original exits as soon as the message is safe, before it knows of errors.
    #[must_use]
    pub fn leaves_at_once(&self) -> bool {
        self.in_background || self.delivery == Delivery::Queue
    }
    /// Reads a command line; the first argument is the name of the program, which picks a mode.
    ///
    /// # Errors
    /// [`Stop`]: what to print and how to end.
    pub fn read(args: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let mut args: Vec<OsString> = args.collect();
        // argc may be 0: then there is no name either.
        let name = if args.is_empty() { OsString::new() } else { args.remove(0) };
        let arguments = Arguments::read(&name.to_string_lossy(), args)?;
        let mut command = Self { recipients: arguments.rest, ..Self::default() };
        command.set_mode(crate::program::mode(&name));
        command.apply_all(arguments.flags).map_err(|stop| command.after_version(stop))?;
        Ok(command)
    }

    /// Mode and debugging come first, as in sendmail, so that what the others say comes after it.
    fn apply_all(&mut self, flags: Vec<Given>) -> Result<(), Stop> {
        let (first, second): (Vec<Given>, Vec<Given>) =
            flags.into_iter().partition(|given| matches!(given.flag.letter, 'b' | 'I' | 'D' | 'd'));
        for Given { flag, value } in first {
            self.apply(flag.letter, value)?;
        }
        if self.mode == Mode::Options {
            return Ok(());
        }
        let mut refused = Vec::new();
        for Given { flag, value } in second {
            // All mistakes are told, not only the first.
            if let Err(Stop::Refused(code, text)) = self.apply(flag.letter, value) {
                self.notices.push(self.worded(code, &text));
                refused.push(code);
            }
            if self.ended {
                break;
            }
        }
        if let Some(code) = refused.iter().find(|code| **code == exit::USAGE).or(refused.first()) {
            // `-oee` says success whatever happens, even that.
            let code = if self.errors == ErrorMode::Berknet && !self.ended { exit::OK } else { *code };
            return Err(Stop::Refused(code, self.notices.join("\n")));
        }
        self.check().map_err(|stop| self.in_its_words(stop))
    }

    /// What can be seen only when all is known.
    fn check(&mut self) -> Result<(), Stop> {
        if let Some(group) = self.queue_run.as_ref().and_then(QueueRun::unknown_group) {
            return Err(Stop::Refused(exit::OK, format!("Queue group {} unknown", plain(group, 100))));
        }
        if self.submission_only && matches!(self.mode, Mode::Server { .. }) {
            return Err(usage("Mail submission program cannot be used as daemon"));
        }
        // A wrong body type is reported and the message goes out all the same, with exit 64 (sendmail.md 1.3).
        if let Some(body) = self.body.take() {
            self.eight_bit = body.eq_ignore_ascii_case("8BITMIME");
            if !self.eight_bit && !body.eq_ignore_ascii_case("7BIT") {
                self.notices.push(format!("Illegal body type {body}"));
                self.exit = exit::USAGE;
            }
        }
        Ok(())
    }

    /// Queue runs and quarantining go with some modes only.
    fn check_combination(&self, flag: char) -> Result<(), Stop> {
        match self.mode {
            Mode::Deliver | Mode::Options => Ok(()),
            Mode::PrintQueue | Mode::CountQueue | Mode::Server { .. } if flag == 'q' => Ok(()),
            other => Err(usage(format!("Can not use -{flag} with -b{}", other.letter()))),
        }
    }

    /// `-d0.1` prints the version before anything is refused.
    fn after_version(&self, stop: Stop) -> Stop {
        match stop {
            Stop::Refused(code, text) if self.debug && self.debug_file.is_none() => {
                Stop::Refused(code, debug::version() + &text)
            }
            other => other,
        }
    }

    /// A refusal; what was to be said before it goes before it.
    pub(crate) fn in_its_words(&self, stop: Stop) -> Stop {
        let Stop::Refused(code, text) = stop else { return stop };
        let lines = self.notices.iter().cloned().chain([self.worded(code, &text)]);
        let code = if self.errors == ErrorMode::Berknet { exit::OK } else { code };
        Stop::Refused(code, lines.collect::<Vec<_>>().join("\n"))
    }

    /// Where SMTP is spoken, a refusal looks like a reply.
    fn worded(&self, code: u8, text: &str) -> String {
        let reply = match code {
            exit::SOFTWARE => "554 5.0.0",
            exit::OS_FILE | exit::CANNOT_CREATE => "451 4.0.0",
            _ => "550",
        };
        match self.mode {
            Mode::Smtp | Mode::Server { foreground: false } => format!("{reply} {text}\r"),
            _ if self.arpanet => format!("{reply} {text}\r"),
            _ => text.to_owned(),
        }
    }

    fn apply(&mut self, letter: char, value: String) -> Result<(), Stop> {
        match letter {
            'A' => (self.submission_only, self.direct) = (value.starts_with('c'), value.starts_with('m')),
            'B' => self.body = Some(value),
            'b' => {
                self.arpanet = value.starts_with('a');
                self.set_mode(value.chars().next().unwrap_or('m'));
            }
            'C' => self.configuration = Some(if value.is_empty() { "sendmail.cf".into() } else { value }),
            'D' => self.debug_file(value),
            'd' => self.debug |= debug_category_0(&value),
            'e' => self.error_mode(&value),
            'F' => self.full_name = Some(value),
            'f' | 'r' => {
                self.sender_flag = letter;
                if self.sender.replace(value).is_some() {
                    return Err(usage("More than one \"from\" person"));
                }
            }
            'h' => self.hops = hops(&value).ok_or_else(|| usage(format!("Bad hop count ({value})")))?,
            'I' => self.set_mode('i'),
            'i' => self.ignore_dots = true,
            'M' => self.set_macro(&value)?,
            'N' => self.notify = with_notify(self.notify, notify(&value)?),
            'O' => self.long_option(&value)?,
            'o' => self.letter_option(&value)?,
            'p' => self.set_protocol(value),
            'Q' if value.starts_with('.') => {
                self.ended = true;
                return Err(usage("Can not use -Q."));
            }
            'Q' => {
                self.check_combination('Q')?;
                self.quarantine = Some(value);
            }
            'q' => {
                self.check_combination('q')?;
                self.queue_run.get_or_insert_default().add(&value)?;
            }
            'R' => self.returned(&value)?,
            's' => self.save_from_line = true,
            'T' => self.time(if value.is_empty() { "T" } else { &value }, 2),
            't' => self.from_header = true,
            'V' => self.envelope_id = envelope_id(&value)?,
            'v' => self.verbose = true,
            'X' => self.traffic_file = Some(value.into()),
            // The others are ignored: `flag` has the reasons.
            _ => {}
        }
        Ok(())
    }

    /// `Arguments::read` has refused other letters.
    fn set_mode(&mut self, letter: char) {
        self.mode = match letter {
            's' => Mode::Smtp,
            'p' => Mode::PrintQueue,
            'P' => Mode::CountQueue,
            'd' => Mode::Server { foreground: false },
            'D' => Mode::Server { foreground: true },
            'i' => Mode::Rebuild,
            'v' => Mode::Verify,
            'C' => Mode::CheckConfiguration,
            'O' => Mode::Options,
            'h' => Mode::HostStatus,
            'H' => Mode::PurgeHostStatus,
            't' => Mode::Test,
            _ => Mode::Deliver,
        };
    }

    fn debug_file(&mut self, value: String) {
        if self.debug {
            self.debug_file_late = true;
        } else {
            self.debug_file = Some(value.into());
        }
    }

    /// A protocol without a host leaves the host that an earlier one gave.
    fn set_protocol(&mut self, value: String) {
        match self.protocol.split_once(':') {
            Some((_, host)) if !value.contains(':') => self.protocol = format!("{value}:{host}"),
            _ => self.protocol = value,
        }
    }

    /// `-Mr` and `-Ms` are the two halves of `-p`; the other macros are for rulesets.
    pub(crate) fn set_macro(&mut self, value: &str) -> Result<(), Stop> {
        macro_name(value)?;
        if let Some(protocol) = value.strip_prefix('r') {
            self.set_protocol(protocol.replace(':', " "));
        } else if let Some(host) = value.strip_prefix('s') {
            let protocol = self.protocol.split(':').next().unwrap_or_default();
            self.protocol = format!("{protocol}:{host}");
        }
        Ok(())
    }

    fn returned(&mut self, value: &str) -> Result<(), Stop> {
        // A wrong value is one, too.
        let again = self.return_headers.replace(value.eq_ignore_ascii_case("hdrs")).is_some();
        match value.to_ascii_lowercase().as_str() {
            _ if again => Err(usage("Duplicate -R flag")),
            "full" | "hdrs" => Ok(()),
            _ => Err(usage("Invalid -R value")),
        }
    }
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
