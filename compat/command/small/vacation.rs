//! `vacation`: tells whoever writes to a user that he is away, from `\alice, "|/usr/bin/vacation alice"` in his `.forward` (sendmail.md 2.8, and
//! measured on 8.17's). The message on standard input begins with a From_ line; the reply is `~/.vacation.msg`, header included.
//!
//! Different from the original, on purpose: the reply's envelope sender is `<>` unless `-R` says otherwise, so that two of these cannot talk
//! to each other (8.17 does that with `-z` only); what no program should answer is not answered (`vacation_judge`); who is called
//! differently in case is the same sender; it does not work as root in another user's folder, where names may be traps.

use super::seen::{self, Seen};
use super::vacation_judge::{is_program, judge};
use super::{drain, send, syslog};
use crate::caller::full_name_of;
use crate::exit;
use crate::heading::Heading;
use crate::input::Input;
use crate::output::{Output, complain, plain, without_number};
use crate::prepare::with_name;
use crate::zone::{Zone, now};
use lexopt::{Arg, Parser};
use nix::unistd::{Uid, User};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// No input: no such folder or reply file.
const NO_INPUT: u8 = 66;
const NO_USER: u8 = 67;
/// A reply is a letter.
const REPLY: u64 = 1 << 20;
const USAGE: &str = "usage: vacation [-a alias] [-C cfpath] [-d] [-f db] [-i] [-j] [-l] [-m msg] [-R returnaddr] [-r interval] [-s sender] [-t time] [-U] [-x] [-z] login";

/// What is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Task {
    #[default]
    Reply,
    /// `-i`, `-I`.
    Begin,
    /// `-l`.
    List,
    /// `-x`.
    Exclude,
}

/// The command line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Call {
    task: Task,
    login: String,
    aliases: Vec<String>,
    /// `-d`: complaints to standard error.
    debug: bool,
    /// `-f` and `-m`.
    data_base: Option<PathBuf>,
    message: Option<PathBuf>,
    /// `-j`: also if the user is not named in To or Cc.
    any_recipient: bool,
    /// `-R`.
    return_address: Option<String>,
    /// `-r`, in seconds; 0 for never twice.
    interval: Option<i64>,
    /// `-s`.
    sender: Option<String>,
    /// `-U`: the login needs no account.
    no_account: bool,
}

/// Why it ends: exit code and complaint.
#[derive(Debug, PartialEq, Eq)]
struct Stop(u8, String);

/// Runs it.
pub(super) fn run(arguments: &[OsString], mut input: impl BufRead, output: &mut Output) -> u8 {
    crate::deliver::private_files();
    let Some(call) = Call::read(arguments) else {
        let text = format!("uid {}: {USAGE}", Uid::current());
        // It may stand anywhere among what could not be read.
        if arguments.iter().any(|a| a == "-d") {
            complain(&text)
        } else {
            syslog::log("vacation", &text)
        }
        return exit::USAGE;
    };
    let outcome = call.run(&mut input, output);
    if call.task == Task::Reply {
        drain(input);
    }
    outcome.unwrap_or_else(|Stop(code, text)| {
        call.complain(&text);
        code
    })
}

impl Call {
    fn read(arguments: &[OsString]) -> Option<Self> {
        let mut call = Self::default();
        let mut logins = Vec::new();
        let mut parser = Parser::from_args(arguments);
        parser.set_short_equals(false);
        while let Some(arg) = parser.next().ok()? {
            match arg {
                Arg::Short('a') => call.aliases.push(text(&mut parser)?),
                // What sendmail.cf says of safe files does not matter here, and -t and -z are what they are for Sun and RFC 3834.
                Arg::Short('C' | 't') => drop(parser.value().ok()?),
                Arg::Short('z') => call.return_address = None,
                Arg::Short('d') => call.debug = true,
                Arg::Short('f') => call.data_base = Some(parser.value().ok()?.into()),
                Arg::Short('i' | 'I') => call.task = Task::Begin,
                Arg::Short('j') => call.any_recipient = true,
                Arg::Short('l') => call.task = Task::List,
                Arg::Short('m') => call.message = Some(parser.value().ok()?.into()),
                Arg::Short('R') => call.return_address = Some(text(&mut parser)?),
                Arg::Short('r') => call.interval = Some(seconds(&text(&mut parser)?)),
                Arg::Short('s') => call.sender = Some(text(&mut parser)?),
                Arg::Short('U') => call.no_account = true,
                Arg::Short('x') => call.task = Task::Exclude,
                Arg::Value(login) => logins.push(login.into_string().ok()?),
                Arg::Short(_) | Arg::Long(_) => return None,
            }
        }
        call.login = match logins.as_slice() {
            [login] => login.clone(),
            // Without one, he himself when he looks after his own files.
            [] if call.task != Task::Reply => User::from_uid(Uid::current()).ok().flatten()?.name,
            _ => return None,
        };
        Some(call)
    }

    fn complain(&self, text: &str) {
        if self.debug {
            complain(&format!("vacation: {text}"));
        } else {
            syslog::log("vacation", text);
        }
    }

    fn run(&self, input: &mut impl BufRead, output: &mut Output) -> Result<u8, Stop> {
        let home = self.home()?;
        let path = |given: Option<&Path>, own: &str| home.join(given.unwrap_or(Path::new(own)));
        let mut data_base = path(self.data_base.as_deref(), ".vacation");
        if data_base.extension().is_none_or(|ending| ending != "db") {
            data_base =
                PathBuf::from(OsString::from_vec([data_base.into_os_string().into_vec(), b".db".to_vec()].concat()));
        }
        let trouble = |error: seen::Error| match error {
            seen::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Stop(exit::DATA, ".vacation: Permission denied".to_owned())
            }
            other => Stop(exit::TEMPORARY, format!("{}: {other}", data_base.display())),
        };
        match self.task {
            Task::Begin => Seen::begin(&data_base, self.interval).map_err(trouble)?,
            Task::List => list(&Seen::open(&data_base).map_err(trouble)?, output),
            Task::Exclude => {
                let mut seen = Seen::open(&data_base).map_err(trouble)?;
                let lines = input.lines().map_while(Result::ok);
                seen.exclude(lines).map_err(|error| trouble(error.into()))?;
            }
            Task::Reply => {
                let message = self.letter(&path(self.message.as_deref(), ".vacation.msg"))?;
                let Some(to) = self.whom(input)? else { return Ok(exit::OK) };
                let mut seen = Seen::open(&data_base).map_err(trouble)?;
                if seen.set_aside {
                    self.complain(&format!("{} was not ours: begun anew, it is kept as .old", data_base.display()));
                }
                return self.reply(&to, &message, &mut seen, output).map_err(|error| trouble(error.into()));
            }
        }
        Ok(exit::OK)
    }

    /// The folder that file names are relative to.
    fn home(&self) -> Result<PathBuf, Stop> {
        if self.no_account {
            if self.data_base.is_none() || self.message.is_none() {
                return Err(Stop(NO_INPUT, "-U requires setting both -f and -m".to_owned()));
            }
            return Ok(std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")));
        }
        let user = match User::from_name(&self.login) {
            Ok(Some(user)) => user,
            Ok(None) => return Err(Stop(NO_USER, format!("no such user {}.", self.login))),
            Err(error) => return Err(Stop(exit::TEMPORARY, format!("looking up {}: {}", self.login, error.desc()))),
        };
        if Uid::effective().is_root() && !user.uid.is_root() {
            return Err(Stop(exit::DATA, ".vacation: Permission denied".to_owned()));
        }
        if !user.dir.is_dir() {
            return Err(Stop(NO_INPUT, format!("no such directory {}.", user.dir.display())));
        }
        Ok(user.dir)
    }

    /// What is sent.
    fn letter(&self, path: &Path) -> Result<Vec<u8>, Stop> {
        let mut letter = Vec::new();
        match File::open(path).and_then(|file| file.take(REPLY).read_to_end(&mut letter)) {
            Ok(_) => Ok(letter),
            Err(_) if self.no_account => Err(Stop(NO_INPUT, format!("no {} file.", path.display()))),
            Err(_) => {
                let name = self.message.as_deref().unwrap_or(Path::new(".vacation.msg"));
                Err(Stop(NO_INPUT, format!("no ~{}/{} file.", self.login, name.display())))
            }
        }
    }

    /// Who gets the reply, if anybody may.
    fn whom(&self, input: &mut impl BufRead) -> Result<Option<String>, Stop> {
        let names: Vec<&str> = std::iter::once(&self.login).chain(&self.aliases).map(String::as_str).collect();
        let judged = judge(input, &names)
            .map_err(|error| Stop(exit::TEMPORARY, without_number(&format!("standard input: {error}"))))?;
        let known = self.sender.clone().or(judged.sender);
        if known.is_none() && judged.unwanted.is_none() && (judged.addressed || self.any_recipient) {
            return Err(Stop(exit::DATA, "no initial \"From \" line.".to_owned()));
        }
        let whom = known.unwrap_or_default();
        let why_not = if let Some(field) = judged.unwanted {
            field
        } else if is_program(&whom) || mail::Address::parse(&whom).is_err() {
            format!("sender <{whom}>")
        } else if names.iter().any(|name| whom.eq_ignore_ascii_case(name)) {
            "he wrote to himself".to_owned()
        } else if !judged.addressed && !self.any_recipient {
            format!("{} is not in To or Cc", self.login)
        } else {
            return Ok(Some(whom));
        };
        if self.debug {
            complain(&format!("vacation: no reply: {}", plain(&why_not, 200)));
        }
        Ok(None)
    }

    /// Sends it if it is due. What was noted first is taken back if nobody took the reply.
    fn reply(&self, to: &str, letter: &[u8], seen: &mut Seen, output: &mut Output) -> io::Result<u8> {
        let now = now();
        if !seen.is_due(to, now, self.interval) {
            return Ok(exit::OK);
        }
        seen.record(to, now)?;
        let from = self.return_address.as_deref().filter(|from| !from.is_empty()).unwrap_or("<>");
        let arguments = ["-oi", "-f", from, "--", to].map(OsString::from).to_vec();
        let mut head = format!("To: {to}\nAuto-Submitted: auto-replied\n");
        // It is from the user, although a bounce of it would be nobody's.
        if from == "<>" && !has_from(letter) {
            head.push_str(&format!("From: {}\n", with_name(&full_name_of(&self.login), &self.login)));
        }
        let code = send(arguments, head.as_bytes().chain(letter), output);
        if code == exit::TEMPORARY {
            seen.forget(to)?;
            return Ok(code);
        }
        // That a sender cannot be reached is no fault of the message that came.
        Ok(exit::OK)
    }
}

/// Whether a letter says from whom it is.
fn has_from(letter: &[u8]) -> bool {
    Heading::read(&mut Input::new(letter, true), false).is_ok_and(|heading| heading.has("from"))
}

/// An option's value.
fn text(parser: &mut Parser) -> Option<String> {
    parser.value().ok()?.into_string().ok()
}

/// `-r`: days; 0 or no number for never twice.
fn seconds(text: &str) -> i64 {
    let digits: String = text.chars().take_while(char::is_ascii_digit).take(6).collect();
    digits.parse::<i64>().unwrap_or(0) * 86_400
}

fn list(seen: &Seen, output: &mut Output) {
    let zone = Zone::local();
    for (address, time) in seen.entries() {
        let when = time.map_or("(exclusion)".to_owned(), |time| mail::date::ctime(time, zone.at(time).0));
        output.line(&format!("{:<40} {when}", plain(address, 320)));
    }
    output.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Option<Call> {
        Call::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line() {
        let read = call("-a al -a al2 -C /x -d -f db -j -m msg -R r@x -r 3 -s s@x -t 1d -U alice").unwrap();
        let expected = Call {
            login: "alice".into(),
            aliases: vec!["al".into(), "al2".into()],
            debug: true,
            data_base: Some("db".into()),
            message: Some("msg".into()),
            any_recipient: true,
            return_address: Some("r@x".into()),
            interval: Some(3 * 86_400),
            sender: Some("s@x".into()),
            no_account: true,
            ..Call::default()
        };
        assert_eq!(read, expected);
        for (flag, task) in [("-i", Task::Begin), ("-I", Task::Begin), ("-l", Task::List), ("-x", Task::Exclude)] {
            assert_eq!(call(&format!("{flag} alice")).map(|c| c.task), Some(task));
        }
        assert_eq!(["0", "infinite", "7"].map(seconds), [0, 0, 7 * 86_400]);
        for bad in ["", "-Z alice", "alice bob", "-r", "--help"] {
            assert_eq!(call(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn who_gets_a_reply() {
        let whom = |line: &str, header: &str| {
            let text = format!("From Bob@x.dom Sat\n{header}\n");
            call(line).unwrap().whom(&mut text.as_bytes()).unwrap()
        };
        assert_eq!(whom("alice", "To: alice@x\n").as_deref(), Some("Bob@x.dom"));
        assert_eq!(whom("-s other@y alice", "To: alice@x\n").as_deref(), Some("other@y"));
        assert_eq!(whom("-a al alice", "Cc: al\n").as_deref(), Some("Bob@x.dom"));
        assert_eq!(whom("alice", "To: list@x\n"), None);
        assert_eq!(whom("-j alice", "To: list@x\n").as_deref(), Some("Bob@x.dom"));
        assert_eq!(whom("-j alice", "To: alice\nList-Id: x\n"), None);
        assert_eq!(whom("-s list-request@y alice", "To: alice\n"), None);
        assert_eq!(whom("-a Bob@x.dom alice", "To: alice\n"), None, "himself");
        let without = |text: &str| call("alice").unwrap().whom(&mut text.as_bytes());
        assert_eq!(without("To: alice\n\n"), Err(Stop(exit::DATA, "no initial \"From \" line.".into())));
        assert_eq!((without("To: bob\n\n"), without("")), (Ok(None), Ok(None)));
    }

    #[test]
    fn a_letter_says_from_whom_it_is_or_does_not() {
        for (letter, from) in
            [("Subject: x\nfrom: a\n\nhi\n", true), ("From: \n\nhi\n", false), ("\nFrom: a\n", false), ("hi", false)]
        {
            assert_eq!(has_from(letter.as_bytes()), from, "{letter:?}");
        }
    }

    #[test]
    fn what_is_missing_is_said_in_sendmails_words() {
        let run = |line: &str| call(line).unwrap().run(&mut &b""[..], &mut Output::to(Box::new(io::sink())));
        assert_eq!(run("no-such-user-here"), Err(Stop(NO_USER, "no such user no-such-user-here.".into())));
        assert_eq!(run("-U alice"), Err(Stop(NO_INPUT, "-U requires setting both -f and -m".into())));
        let missing = run("-U -f /nonexistent/db -m /nonexistent/msg alice");
        assert_eq!(missing, Err(Stop(NO_INPUT, "no /nonexistent/msg file.".into())));
    }
}
