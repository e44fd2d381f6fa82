//! `-bv`: `postrider verify` reads configuration and tables, and prints sendmail's texts (sendmail.md 2.4). With `-t` the addresses come from
//! the header on standard input, too. Called by `run`.

use crate::command_line::Command;
use crate::exit;
use crate::hand_over::Verb;
use crate::heading::{Field, Heading};
use crate::input::Input;
use crate::output::Output;
use std::ffi::OsString;
use std::io::Read;

/// Verifies; returns the exit code.
pub fn run(command: &Command, configuration: Option<&str>, source: impl Read, output: &mut Output) -> u8 {
    let mut addresses = command.recipients.clone();
    if command.from_header {
        let mut input = Input::new(source, command.ignore_dots);
        match Heading::read(&mut input, command.save_from_line) {
            Ok(heading) => addresses.extend(listed(&heading)),
            Err(error) => {
                output.line(&error.to_string());
                return exit::DATA;
            }
        }
        if addresses.is_empty() {
            output.line("No recipient addresses found in header");
            return exit::OK;
        }
    }
    if addresses.is_empty() {
        output.line("Recipient names must be specified");
        return exit::USAGE;
    }
    let arguments = std::iter::once("--".to_owned()).chain(addresses).map(OsString::from);
    Verb { configuration, ..Verb::new("verify", arguments) }.exec(output)
}

/// The address lists of a header: those of Resent- fields if there are any (sendmail.md 1.7).
fn listed(heading: &Heading) -> Vec<String> {
    let resent = heading.fields.iter().any(|f| f.name().get(..7).is_some_and(|n| n.eq_ignore_ascii_case(b"resent-")));
    let names: &[&str] =
        if resent { &["resent-to", "resent-cc", "resent-bcc"] } else { &["to", "cc", "bcc", "apparently-to"] };
    let wanted = heading.fields.iter().filter(|field| names.iter().any(|name| field.is(name)));
    let text = |field: &Field| String::from_utf8_lossy(field.body()).split_whitespace().collect::<Vec<_>>().join(" ");
    wanted.map(text).filter(|list| !list.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resent_fields_win() {
        let read = |text: &str| listed(&Heading::read(&mut Input::new(text.as_bytes(), true), false).unwrap());
        assert_eq!(read("To: a,\n b\nSubject: x\nBcc: c\nCc:\n\nTo: no\n"), ["a, b", "c"]);
        assert_eq!(read("To: a\nResent-Cc: d\n"), ["d"]);
    }
}
