//! `mail.local [-7] [-b] [-d] [-l] [-f from|-r from] [-h filename] USER…`: a message on standard input into mailboxes, or LMTP on standard
//! input and output (sendmail.md 2.8; texts and exit codes measured on 8.17's). For hosts whose procmail recipes, fetchmail or other
//! mail server call it; Postrider itself has its agents, and it is one of those that writes here too.
//!
//! Different from the original, on purpose: every `From ` line is quoted, not only one after an empty line; no Content-Length, which is wrong as
//! soon as somebody edits; a message without a final newline gets one (8.17 writes bytes of its memory).

use super::lmtp;
use super::mailbox::{Agents, Fate, Found, Mailboxes, Stored};
use crate::caller::Caller;
use crate::exit;
use crate::output::{Output, complain, plain, without_number};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::io::BufRead;

const USAGE: &str = "usage: mail.local [-7] [-b] [-d] [-l] [-f from|-r from] [-h filename] user ...";

/// The command line.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    /// Not `-7`.
    eight_bit: bool,
    /// `-b`: a full mailbox is a permanent error.
    full_is_final: bool,
    lmtp: bool,
    sender: Option<String>,
    file: Option<String>,
    users: Vec<String>,
}

/// What is wrong with a command line.
#[derive(Debug, PartialEq, Eq)]
enum Wrong {
    /// getopt says so; then how it is called.
    Option(String),
    /// Only how it is called.
    Usage,
    /// This, then how it is called.
    Use(&'static str),
    /// This alone.
    Value(String),
}

impl Wrong {
    fn complain(&self, program: &str) {
        match self {
            Self::Option(why) => complain(&format!("{program}: {why}")),
            Self::Usage => {}
            Self::Use(why) => complain(&format!("mail.local: {why}")),
            Self::Value(why) => return complain(&format!("mail.local: {why}")),
        }
        complain(&format!("mail.local: {USAGE}"));
    }
}

/// Runs it.
pub(super) fn run(program: &str, arguments: &[OsString], input: impl BufRead, output: &mut Output) -> u8 {
    crate::deliver::private_files();
    let call = match Call::read(arguments) {
        Ok(call) => call,
        Err(wrong) => {
            wrong.complain(program);
            return exit::UNAVAILABLE;
        }
    };
    let mailboxes = Agents { file: call.file.clone() };
    if call.lmtp {
        if !call.users.is_empty() {
            output.text("421 Users should not be specified in command line if LMTP required\r\n");
            return output.checked(exit::TEMPORARY);
        }
        lmtp::serve(input, output, &mailboxes, call.eight_bit, call.full_is_final);
        return exit::OK;
    }
    call.deliver(input, &mailboxes)
}

impl Call {
    fn read(arguments: &[OsString]) -> Result<Self, Wrong> {
        let mut call =
            Self { eight_bit: true, full_is_final: false, lmtp: false, sender: None, file: None, users: Vec::new() };
        let mut parser = Parser::from_args(arguments);
        parser.set_short_equals(false);
        while let Some(arg) = parser.next().map_err(|error| Wrong::Option(error.to_string()))? {
            match arg {
                Arg::Short('7') => call.eight_bit = false,
                Arg::Short('b') => call.full_is_final = true,
                Arg::Short('d') => {}
                Arg::Short('l') => call.lmtp = true,
                Arg::Short('D') => {
                    let name = value(&mut parser, 'D')?;
                    if name != "pw" {
                        return Err(Wrong::Value(format!("Can not open mailbox database {name}: Service unavailable")));
                    }
                }
                Arg::Short(letter @ ('f' | 'r')) => {
                    if call.sender.replace(value(&mut parser, letter)?).is_some() {
                        return Err(Wrong::Use("Multiple -f options"));
                    }
                }
                Arg::Short('h') => call.file = Some(value(&mut parser, 'h')?),
                Arg::Short(letter) => return Err(Wrong::Option(format!("invalid option -- '{letter}'"))),
                Arg::Long(_) => return Err(Wrong::Option("invalid option -- '-'".to_owned())),
                Arg::Value(user) => call.users.push(user.into_string().map_err(|_| Wrong::Usage)?),
            }
        }
        // One file of the home folder, not a way out of it or the agent's template.
        if call.file.as_ref().is_some_and(|f| f.is_empty() || f.contains(['{', '}']) || f.split('/').any(|p| p == ".."))
        {
            return Err(Wrong::Value("Invalid mailbox path".to_owned()));
        }
        if call.users.is_empty() && !call.lmtp { Err(Wrong::Usage) } else { Ok(call) }
    }

    /// Delivers to all; the worst result is the exit code, "later" above "never": whoever calls again loses nothing.
    fn deliver(&self, mut input: impl BufRead, mailboxes: &impl Mailboxes) -> u8 {
        let stored = Stored::new().and_then(|mut stored| std::io::copy(&mut input, &mut stored).map(|_| stored));
        let stored = match stored {
            Ok(stored) => stored,
            Err(error) => {
                complain(&without_number(&format!("mail.local: Temporary file write error: {error}")));
                return exit::TEMPORARY;
            }
        };
        let sender = self.sender.clone().unwrap_or_else(|| Caller::current().name);
        let sender = sender.trim_start_matches('<').trim_end_matches('>');
        let mut code = exit::OK;
        for user in &self.users {
            let fate = match mailboxes.find(user) {
                Found::Yes => mailboxes.deliver(user, sender, &stored),
                Found::No => Fate::Never((1, 1), "User unknown".to_owned()),
                Found::Unavailable => Fate::Later((3, 0), "User database failure; retry later".to_owned()),
            };
            let (now, why) = match fate {
                Fate::Delivered => continue,
                Fate::Later((2, 2), why) if self.full_is_final => (exit::UNAVAILABLE, why),
                Fate::Later(_, why) => (exit::TEMPORARY, why),
                Fate::Never(_, why) => (exit::UNAVAILABLE, why),
            };
            complain(&format!("mail.local: {}: {}", plain(user, 200), plain(&why, 400)));
            code = code.max(now);
        }
        code
    }
}

fn value(parser: &mut Parser, letter: char) -> Result<String, Wrong> {
    let missing = |_| Wrong::Option(format!("option requires an argument -- '{letter}'"));
    parser.value().map_err(missing)?.into_string().map_err(|_| Wrong::Usage)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Users "alice" and "bob"; "full" has no room, "gone" cannot be looked up.
    #[derive(Default)]
    pub(in crate::small) struct Fake(pub(in crate::small) RefCell<Vec<String>>);

    impl Mailboxes for Fake {
        fn find(&self, user: &str) -> Found {
            match user {
                "alice" | "bob" | "full" => Found::Yes,
                "gone" => Found::Unavailable,
                _ => Found::No,
            }
        }
        fn deliver(&self, user: &str, sender: &str, message: &Stored) -> Fate {
            if user == "full" {
                return Fate::Later((2, 2), "mailbox full".into());
            }
            self.0.borrow_mut().push(format!("{user} from {sender}: {}", message.text()));
            Fate::Delivered
        }
    }

    fn call(line: &str) -> Result<Call, Wrong> {
        Call::read(&line.split(' ').filter(|w| !w.is_empty()).map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line() {
        let read = call("-7 -b -d -D pw -r <a@b> -h mbox alice bob").unwrap();
        assert!(!read.eight_bit && read.full_is_final && !read.lmtp);
        assert_eq!((read.sender.as_deref(), read.file.as_deref(), read.users.len()), (Some("<a@b>"), Some("mbox"), 2));
        assert!(call("-l").unwrap().lmtp);
        let option = |why: &str| Wrong::Option(why.to_owned());
        let value = |why: &str| Wrong::Value(why.to_owned());
        for (line, wrong) in [
            ("", Wrong::Usage),
            ("-x", option("invalid option -- 'x'")),
            ("-f", option("option requires an argument -- 'f'")),
            ("-f a -r b alice", Wrong::Use("Multiple -f options")),
            ("-D xx alice", value("Can not open mailbox database xx: Service unavailable")),
            ("-h ../x alice", value("Invalid mailbox path")),
            ("-h {user} alice", value("Invalid mailbox path")),
        ] {
            assert_eq!(call(line), Err(wrong), "{line}");
        }
    }

    #[test]
    fn the_worst_result_counts() {
        for (line, code, delivered) in [
            ("-f <> alice alice", 0, 2),
            ("-f x alice nobody bob", 69, 2),
            ("nobody gone", 75, 0),
            ("full", 75, 0),
            ("-b full", 69, 0),
        ] {
            let fake = Fake::default();
            assert_eq!(call(line).unwrap().deliver(&b"Subject: s\n\nx"[..], &fake), code, "{line}");
            assert_eq!(fake.0.borrow().len(), delivered, "{line}");
        }
        let fake = Fake::default();
        call("-f <a@b> bob").unwrap().deliver(&b"Subject: s\n\nx"[..], &fake);
        assert_eq!(*fake.0.borrow(), ["bob from a@b: Subject: s\n\nx"]);
    }
}
