//! sendmail's small programs by the name they are called with: `rmail`, `smrsh`, `vacation`, `mail.local` (sendmail.md 2.7, 2.8;
//! each file says what was measured and what is better here). They stand alone: what they need of the mail system
//! they hand to [`crate::deliver`] or to a mailbox agent, as any other program would. Called by [`crate::run`], which knows the names (`program`).

mod lmtp;
mod mail_local;
mod mailbox;
mod rmail;
mod seen;
mod smrsh;
pub(crate) mod syslog;
mod vacation;
mod vacation_judge;

use crate::command_line::Command;
use crate::deliver;
use crate::input::Patient;
use crate::output::Output;
use crate::place::Places;
use crate::program::Small;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};

/// Runs one with its arguments, its own name first, and returns its exit code.
pub(crate) fn run(which: Small, name: &str, args: &[OsString], output: &mut Output) -> u8 {
    let (program, arguments) = args.split_first().map_or(("", args), |(p, a)| (p.to_str().unwrap_or(name), a));
    let stdin = BufReader::new(Patient(std::io::stdin()));
    match which {
        Small::Rmail => rmail::run(program, arguments, stdin, output),
        Small::Smrsh => smrsh::run(program, arguments),
        Small::Vacation => vacation::run(arguments, stdin, output),
        Small::MailLocal => mail_local::run(program, arguments, stdin, output),
    }
}

/// What `sendmail ARGUMENTS` would do with this message; its exit code.
fn send(arguments: Vec<OsString>, message: impl Read, output: &mut Output) -> u8 {
    let args = std::iter::once(OsString::from("sendmail")).chain(arguments);
    match Command::read(args) {
        Ok(command) => deliver::run(&command, &Places::from_environment(), message, output),
        Err(stop) => crate::refuse(&stop, output),
    }
}

/// The next line without its end, or `None` at the end of the input. A longer line than `limit` is cut there and its rest skipped.
fn line(input: &mut impl BufRead, limit: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let room = u64::try_from(limit).unwrap_or(u64::MAX);
    if input.by_ref().take(room).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.pop_if(|last| *last == b'\n').is_none() && line.len() >= limit {
        input.skip_until(b'\n')?;
    }
    Ok(Some(line))
}

/// Reads what nobody wants, so that its writer sees no broken pipe; within reason.
fn drain(input: impl Read) {
    let _whatever_it_was = std::io::copy(&mut input.take(64 << 20), &mut std::io::sink());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_a_limit() {
        let mut input = &b"one\n\nlonger than ten\nlast"[..];
        let mut next = || line(&mut input, 10).unwrap().map(|l| String::from_utf8(l).unwrap());
        assert_eq!(next().as_deref(), Some("one"));
        assert_eq!(next().as_deref(), Some(""));
        assert_eq!(next().as_deref(), Some("longer tha"));
        assert_eq!(next().as_deref(), Some("last"));
        assert_eq!(next(), None);
    }
}
