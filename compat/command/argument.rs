//! Takes the argument vector apart as sendmail 8.18 does (sendmail.md 1.1): its own getopt, which ends at the first argument that is no option
//! (seen on the real program: `sendmail bob -oi` has a recipient `-oi`), at `--` and at anything that begins with two dashes. Called by
//! `command_line`.
//!
//! The values of -q, -Q and -C are taken from the next argument unless that begins with a dash, that of -d only if it is attached.

use crate::command_line::Stop;
use crate::exit;
use crate::flag::{self, Arity, Flag};
use lexopt::{Arg, Parser};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// A flag as given.
#[derive(Debug)]
pub struct Given {
    /// Its entry.
    pub flag: &'static Flag,
    /// Its value; empty without one.
    pub value: String,
}

/// An argument vector in pieces.
#[derive(Debug)]
pub struct Arguments {
    /// Flags in their order.
    pub flags: Vec<Given>,
    /// What is no flag: recipients.
    pub rest: Vec<String>,
}

impl Arguments {
    /// Takes the arguments behind the program's name apart.
    ///
    /// # Errors
    /// [`Stop::Getopt`], with the name before it as getopt does; a wrong mode, which sendmail finds before anything else is read.
    pub fn read(name: &str, args: Vec<OsString>) -> Result<Self, Stop> {
        let getopt = |text: String| Stop::Getopt(format!("{name}: {text}"));
        let mut parser = Parser::from_args(args.into_iter().map(one_line));
        parser.set_short_equals(false);
        let mut read = Self { flags: Vec::new(), rest: Vec::new() };
        // A wrong mode counts before getopt's complaints, and `-Q.` before that.
        let (mut wrong, mut wrong_mode) = (None, None);
        while let Some(arg) = parser.next().map_err(|error| getopt(error.to_string()))? {
            match arg {
                Arg::Short(letter) => {
                    let Some(flag) = flag::find(letter) else {
                        wrong = wrong.or_else(|| Some(getopt(format!("illegal option -- {letter}"))));
                        continue;
                    };
                    let value = match value(flag, &mut parser) {
                        Some(value) => value,
                        // sendmail looks at the mode before getopt complains.
                        None if letter == 'b' => " ".to_owned(),
                        None => return Err(getopt(format!("option requires an argument -- {letter}"))),
                    };
                    match letter {
                        'b' if lists_options(&read.flags) => continue,
                        'b' => wrong_mode = wrong_mode.or_else(|| check_mode(&value).err()),
                        'Q' if value.starts_with('.') => {
                            return Err(Stop::Refused(exit::USAGE, "Can not use -Q.".into()));
                        }
                        _ => {}
                    }
                    read.flags.push(Given { flag, value });
                }
                // Here it ends: at the first recipient, at `--`, at anything that begins so.
                Arg::Value(first) => read.rest.push(text(first)),
                Arg::Long(_) => {
                    let _goes_with_it = parser.optional_value();
                    read.drain(&mut parser);
                }
            }
            if !read.rest.is_empty() {
                read.drain(&mut parser);
            }
        }
        wrong_mode.or(wrong).map_or(Ok(read), Err)
    }

    /// Takes everything that is left for recipients.
    fn drain(&mut self, parser: &mut Parser) {
        if let Some(left) = parser.try_raw_args() {
            self.rest.extend(left.map(text));
        }
    }
}

/// A line break in an argument would become a header line of its own (-F, -f); it is a blank, as in sendmail.
fn one_line(argument: OsString) -> OsString {
    let mut bytes = argument.into_vec();
    bytes.iter_mut().filter(|b| matches!(b, b'\r' | b'\n')).for_each(|b| *b = b' ');
    OsString::from_vec(bytes)
}

fn value(flag: &Flag, parser: &mut Parser) -> Option<String> {
    match flag.arity {
        Arity::None => Some(String::new()),
        Arity::Attached => Some(parser.optional_value().map(text).unwrap_or_default()),
        Arity::Value => parser.value().ok().map(text),
        Arity::Optional => {
            if let Some(attached) = parser.optional_value() {
                return Some(text(attached));
            }
            let mut next = parser.try_raw_args()?;
            let free = next.peek().is_some_and(|next| !next.as_encoded_bytes().starts_with(b"-"));
            Some(if free { next.next().map(text).unwrap_or_default() } else { String::new() })
        }
    }
}

/// `-bO` has printed them by the time another mode comes.
fn lists_options(flags: &[Given]) -> bool {
    flags.iter().any(|given| given.flag.letter == 'b' && given.value.starts_with('O'))
}

fn check_mode(value: &str) -> Result<(), Stop> {
    let letter = value.chars().next().unwrap_or('\0');
    let refused = |text: String| Err(Stop::Refused(exit::USAGE, text));
    match flag::find_mode(letter).map(|mode| mode.class) {
        None => refused(format!("Invalid operation mode {letter}")),
        Some(flag::Class::Refused(why)) => refused(why.to_owned()),
        Some(_) => Ok(()),
    }
}

/// An argument as text. What is no UTF-8 is taken for Latin-1, which is what it is on the hosts that still have it.
fn text(value: OsString) -> String {
    value.into_string().unwrap_or_else(|raw| raw.as_encoded_bytes().iter().map(|&b| char::from(b)).collect())
}
