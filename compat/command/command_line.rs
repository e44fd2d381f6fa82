//! Reads the command line as sendmail 8.18 does (sendmail.md 1.1 to 1.5): options after recipients, `--`, attached values.
//! Called by `run`. What a flag takes and whether it is built stands in [`crate::flag`] and [`crate::option`].

use crate::exit;
use crate::flag::{self, Arity, Class};
use crate::option::{self, Effect, Found, Setting};
use crate::queue_run::QueueRun;
use call::submit::Mode as Delivery;
use lexopt::{Arg, Parser};
use std::ffi::{OsStr, OsString};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `-bm`, `-ba`.
    Deliver,
    /// `-bs`.
    Smtp,
    /// `-bp`.
    PrintQueue,
    /// `-bd`, `-bD`.
    Server {
        /// `-bD`: stay in the foreground.
        foreground: bool,
    },
    /// `-bi`, `-I`: rebuild the alias database.
    Rebuild,
    /// `-bv`: say where addresses go.
    Verify,
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
    /// `-oe`.
    pub errors: ErrorMode,
    /// `-q`.
    pub queue_run: Option<QueueRun>,
    /// `-Q`: a reason to quarantine, or empty to release.
    pub quarantine: Option<String>,
    /// `-oA`, for `-bi` only.
    pub alias_files: Option<String>,
    /// `-on`, for `-bi` only.
    pub check_aliases: bool,
    /// `-Ac`: meant for the submission program's own queue, which does not exist here.
    pub submission_only: bool,
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
    /// getopt's complaint: on standard error, exit 64.
    #[error("sendmail: {0}")]
    Getopt(String),
    /// A flag, mode or option that is not built yet: exit 70, nothing sent.
    #[error("sendmail: {0} is not built yet; nothing was done")]
    NotBuilt(String),
}

fn usage(text: impl Into<String>) -> Stop {
    Stop::Refused(exit::USAGE, text.into())
}

impl Command {
    fn new() -> Self {
        Self {
            mode: Mode::Deliver,
            recipients: Vec::new(),
            from_header: false,
            ignore_dots: false,
            save_from_line: false,
            verbose: false,
            sender: None,
            full_name: None,
            eight_bit: false,
            hops: 0,
            notify: 0,
            return_headers: None,
            envelope_id: None,
            delivery: Delivery::Background,
            errors: ErrorMode::Print,
            queue_run: None,
            quarantine: None,
            alias_files: None,
            check_aliases: false,
            submission_only: false,
            notices: Vec::new(),
            exit: exit::OK,
        }
    }

    /// Reads a command line; the first argument is the name of the program, which picks a mode.
    ///
    /// # Errors
    /// [`Stop`]: what to print and how to end.
    pub fn read(args: impl Iterator<Item = OsString>) -> Result<Self, Stop> {
        let mut args: Vec<OsString> = args.collect();
        // argc may be 0: then there is no name either.
        let name = if args.is_empty() { OsString::new() } else { args.remove(0) };
        // A line break in an argument would become a header line of its own (-F, -f) or a second address.
        if args.iter().any(|a| a.as_encoded_bytes().iter().any(|b| b"\r\n\0".contains(b))) {
            return Err(usage("Line breaks are not allowed in arguments"));
        }
        let mut command = Self::new();
        command.set_mode(mode_of_name(&name))?;
        let mut parser = Parser::from_args(args);
        parser.set_short_equals(false);
        while let Some(arg) = parser.next().map_err(getopt)? {
            match arg {
                Arg::Value(value) => command.recipients.push(text(value)),
                Arg::Long(_) => return Err(Stop::Getopt("illegal option -- -".into())),
                Arg::Short(letter) => command.flag(letter, &mut parser)?,
            }
        }
        command.check()?;
        Ok(command)
    }

    fn flag(&mut self, letter: char, parser: &mut Parser) -> Result<(), Stop> {
        let Some(flag) = flag::find(letter) else {
            return Err(Stop::Getopt(format!("illegal option -- {letter}")));
        };
        let value = match flag.arity {
            Arity::None => String::new(),
            Arity::Attached => parser.optional_value().map(text).unwrap_or_default(),
            Arity::Value => match parser.value() {
                Ok(value) => text(value),
                Err(_) => return Err(Stop::Getopt(format!("option requires an argument -- {letter}"))),
            },
        };
        match flag.class {
            Class::NotBuilt => Err(Stop::NotBuilt(format!("-{letter}"))),
            Class::Refused(why) => Err(usage(why)),
            Class::Ignored(_) => {
                self.submission_only |= letter == 'A' && value == "c";
                Ok(())
            }
            Class::Done | Class::Partly => self.apply(letter, &value),
        }
    }

    fn apply(&mut self, letter: char, value: &str) -> Result<(), Stop> {
        match letter {
            'B' => self.body(value),
            'b' => self.set_mode(value)?,
            'e' => self.error_mode(value),
            'F' => self.full_name = Some(value.to_owned()),
            'f' | 'r' => {
                if self.sender.replace(value.to_owned()).is_some() {
                    return Err(usage("More than one \"from\" person"));
                }
            }
            'h' => self.hops = value.parse().map_err(|_| usage(format!("Bad hop count ({value})")))?,
            'I' => self.set_mode("i")?,
            'i' => self.ignore_dots = true,
            'M' if value.starts_with(['r', 's']) => {}
            'M' => return Err(Stop::NotBuilt(format!("-M{value}"))),
            'N' => self.notify = notify(value)?,
            'O' => self.long_option(value)?,
            'o' => self.letter_option(value)?,
            'Q' if value == "." => return Err(usage("Can not use -Q.")),
            'Q' => self.quarantine = Some(value.to_owned()),
            'q' => self.queue_run.get_or_insert_default().add(value)?,
            'R' => self.returned(value)?,
            's' => self.save_from_line = true,
            't' => self.from_header = true,
            'V' => self.envelope_id = Some(xtext(value).ok_or_else(|| usage("Invalid syntax in -V flag"))?),
            'v' => self.verbose = true,
            other => return Err(Stop::NotBuilt(format!("-{other}"))),
        }
        Ok(())
    }

    fn set_mode(&mut self, value: &str) -> Result<(), Stop> {
        let letter = value.chars().next().unwrap_or(' ');
        let Some(mode) = flag::find_mode(letter) else {
            return Err(usage(format!("Invalid operation mode {letter}")));
        };
        self.mode = match (mode.class, letter) {
            (Class::Refused(why), _) => return Err(usage(why)),
            (Class::Done, 'm' | 'a') => Mode::Deliver,
            (Class::Done, 's') => Mode::Smtp,
            (Class::Done, 'p') => Mode::PrintQueue,
            (Class::Done, 'd') => Mode::Server { foreground: false },
            (Class::Done, 'D') => Mode::Server { foreground: true },
            (Class::Done, 'i') => Mode::Rebuild,
            (Class::Done, 'v') => Mode::Verify,
            _ => return Err(Stop::NotBuilt(format!("-b{letter}"))),
        };
        Ok(())
    }

    /// A wrong body type is reported and the message goes out all the same, with exit 64 (sendmail.md 1.3).
    fn body(&mut self, value: &str) {
        if value.eq_ignore_ascii_case("8BITMIME") {
            self.eight_bit = true;
        } else if !value.eq_ignore_ascii_case("7BIT") {
            self.notices.push(format!("Illegal body type {value}"));
            self.exit = exit::USAGE;
        }
    }

    fn error_mode(&mut self, value: &str) {
        match value.chars().next() {
            Some('p') => self.errors = ErrorMode::Print,
            Some('q') => self.errors = ErrorMode::Quiet,
            // w writes to the user's terminal if he has one; mail is never missed.
            Some('m' | 'w') => self.errors = ErrorMode::Mail,
            Some('e') => self.errors = ErrorMode::Berknet,
            _ => {} // as sendmail: the mode stays
        }
    }

    fn returned(&mut self, value: &str) -> Result<(), Stop> {
        let headers = match value.to_ascii_lowercase().as_str() {
            "full" => false,
            "hdrs" => true,
            _ => return Err(usage("Invalid -R value")),
        };
        if self.return_headers.replace(headers).is_some() {
            return Err(usage("Duplicate -R flag"));
        }
        Ok(())
    }

    fn letter_option(&mut self, value: &str) -> Result<(), Stop> {
        let mut rest = value.chars();
        let letter = rest.next().unwrap_or(' ');
        match option::by_letter(letter) {
            Some(setting) => self.option(setting, rest.as_str(), &format!("-o{letter}")),
            None => Err(Stop::Refused(exit::SOFTWARE, format!("readcf: unknown option name {letter}"))),
        }
    }

    fn long_option(&mut self, value: &str) -> Result<(), Stop> {
        let (name, value) = value.split_once('=').unwrap_or((value, ""));
        let (name, value) = (name.trim(), value.trim());
        // `Timeout.queuereturn`, `Milter.LogLevel`: the part before the dot is the option.
        let name = name.split('.').next().unwrap_or(name);
        let setting = match option::by_name(name) {
            Found::Exact(setting) => setting,
            Found::Abbreviated(setting) => {
                self.notices.push(format!("Option {name} used as abbreviation for {}", setting.name));
                setting
            }
            Found::Ambiguous(one, two) => {
                let text = format!("readcf: ambiguous option name {name} (matches {one} and {two})");
                return Err(Stop::Refused(exit::SOFTWARE, text));
            }
            Found::Unknown => {
                return Err(Stop::Refused(exit::SOFTWARE, format!("readcf: unknown option name {name}")));
            }
        };
        self.option(setting, value, &format!("-O{}", setting.name))
    }

    fn option(&mut self, setting: &Setting, value: &str, as_given: &str) -> Result<(), Stop> {
        let first = value.chars().next();
        // sendmail's atobool: no value, t, T, y, Y are true.
        let on = matches!(first, None | Some('t' | 'T' | 'y' | 'Y' | '1'));
        match setting.class {
            option::Class::Ignored => {}
            option::Class::IgnoredIf(values) if first.is_some_and(|c| values.contains(c.to_ascii_lowercase())) => {}
            option::Class::NotBuilt | option::Class::IgnoredIf(_) => return Err(Stop::NotBuilt(as_given.to_owned())),
            option::Class::Done(Effect::IgnoreDots) => self.ignore_dots = on,
            option::Class::Done(Effect::SaveFromLine) => self.save_from_line = on,
            option::Class::Done(Effect::Verbose) => self.verbose = on,
            option::Class::Done(Effect::ErrorMode) => self.error_mode(value),
            option::Class::Done(Effect::CheckAliases) => self.check_aliases = on,
            option::Class::Done(Effect::AliasFile) => self.alias_files = Some(value.to_owned()),
            option::Class::Done(Effect::DeliveryMode) => match first {
                None | Some('i' | 'b') => self.delivery = Delivery::Background,
                Some('q' | 'd') => self.delivery = Delivery::Queue,
                Some(other) => return Err(usage(format!("Unknown delivery mode {other}"))),
            },
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Stop> {
        // Only newaliases takes other files than the configuration's.
        if self.alias_files.is_some() && self.mode != Mode::Rebuild {
            return Err(Stop::NotBuilt("-oA".to_owned()));
        }
        if self.submission_only && matches!(self.mode, Mode::Server { .. }) {
            return Err(usage("550 Mail submission program cannot be used as daemon"));
        }
        if self.quarantine.is_some() && self.queue_run.is_none() {
            return Err(usage("Can not use -Q without -q"));
        }
        Ok(())
    }
}

/// The mode that goes with the program's name (sendmail.md 1.1).
fn mode_of_name(name: &OsStr) -> &'static str {
    let bytes = name.as_encoded_bytes();
    match bytes.rsplit(|&b| b == b'/').next().unwrap_or(bytes) {
        b"mailq" => "p",
        b"newaliases" => "i",
        b"smtpd" => "d",
        b"hoststat" => "h",
        b"purgestat" => "H",
        _ => "m",
    }
}

fn getopt(error: lexopt::Error) -> Stop {
    match error {
        lexopt::Error::UnexpectedValue { .. } => Stop::Getopt("illegal option -- -".into()),
        other => Stop::Getopt(other.to_string()),
    }
}

/// An argument as text. What is no UTF-8 is taken for Latin-1, which is what it is on the hosts that still have it.
fn text(value: OsString) -> String {
    value.into_string().unwrap_or_else(|raw| raw.as_encoded_bytes().iter().map(|&b| char::from(b)).collect())
}

fn notify(value: &str) -> Result<u8, Stop> {
    let wrong = || usage("Invalid -N argument");
    if value.eq_ignore_ascii_case("never") {
        return Ok(1);
    }
    value.split(',').try_fold(0, |bits, word| match word.trim().to_ascii_lowercase().as_str() {
        "success" => Ok(bits | 2),
        "failure" => Ok(bits | 4),
        "delay" => Ok(bits | 8),
        _ => Err(wrong()),
    })
}

/// Decodes xtext (RFC 3461 4): `+` starts two upper-case hex digits, `=` is not allowed. Control characters stay out.
fn xtext(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => {
                let digit = |b: u8| char::from(b).to_digit(16).filter(|_| !b.is_ascii_lowercase());
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'=' => return None,
            b'!'..=b'~' => byte,
            _ => return None,
        };
        if !(b' '..=b'~').contains(&decoded) {
            return None;
        }
        out.push(char::from(decoded));
    }
    (!out.is_empty()).then_some(out)
}

#[cfg(test)]
#[path = "command_line_tests.rs"]
mod tests;
