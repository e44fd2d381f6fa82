//! `-d0.1` and `-D` (sendmail.md 2.12): what scripts ask to learn which sendmail this is and what it can do. The names after `Compiled with` are
//! sendmail's names of what is really there. Called by `run`.

use crate::command_line::Command;
use crate::output::{Output, without_number};
use crate::{exit, host};
use std::io::Write as _;

/// The version of sendmail whose behaviour this is, as scripts compare it; ours stands behind it.
const VERSION: &str = concat!("8.18.1 (Postrider ", env!("CARGO_PKG_VERSION"), ")");

/// sendmail's names of what is built in.
#[rustfmt::skip]
const BUILT_IN: &[&str] = &[
    "IPV6_FULL", "LOG", "NAMED_BIND", "NETINET", "NETINET6", "NETUNIX", "NEWDB", "PIPELINING", "SASLv2", "SOCKETMAP", "STARTTLS", "TLS_EC",
];

/// Prints what was asked for, to the file of `-D` or to standard output.
///
/// # Errors
/// The file cannot be written, or was named after `-d`: then the version is printed nevertheless, and nothing else is done.
pub fn print(command: &Command, output: &mut Output) -> Result<(), u8> {
    let stop = |text: &str, code: u8, output: &mut Output| {
        output.line(text);
        output.text(&version());
        Err(code)
    };
    if command.debug_file_late {
        return stop("-D file must be before -d", exit::USAGE, output);
    }
    let text =
        if command.debug { version() + &identity(&host::full_name(), &host::node_name()) } else { String::new() };
    let Some(path) = &command.debug_file else {
        output.text(&text);
        return Ok(());
    };
    let file = std::fs::File::options().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).or_else(|error| {
        let why = format!("cannot open {}: {}", path.display(), without_number(&error.to_string()));
        stop(&why, exit::CANNOT_CREATE, output)
    })
}

/// The first part.
pub(crate) fn version() -> String {
    let mut text = format!("Version {VERSION}\n Compiled with:");
    let mut width = 16;
    for name in BUILT_IN {
        if width + name.len() + 1 > 70 {
            text.push_str("\n\t\t");
            width = 16;
        } else {
            text.push(' ');
        }
        text.push_str(name);
        width += name.len() + 1;
    }
    text.push_str("\n\n");
    text
}

fn identity(full: &str, node: &str) -> String {
    let (short, domain) = full.split_once('.').unwrap_or((full, ""));
    format!(
        "============ SYSTEM IDENTITY (after readcf) ============\n      \
         (short domain name) $w = {short}\n  (canonical domain name) $j = {full}\n         \
         (subdomain name) $m = {domain}\n              (node name) $k = {node}\n\
         ========================================================\n\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_of_the_original() {
        let text = version() + &identity("mx.example.test", "mx");
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("Version 8.18.1 "), "{text}");
        assert!(lines[1].starts_with(" Compiled with: IPV6_FULL "));
        assert!(lines[2].starts_with("\t\t") && !lines[2].starts_with("\t\t "));
        assert!(lines.iter().all(|line| line.len() <= 72), "{text}");
        for name in ["STARTTLS", "SASLv2", "PIPELINING"] {
            assert!(text.split_whitespace().any(|word| word == name), "{name}");
        }
        let identity = "============ SYSTEM IDENTITY (after readcf) ============
      (short domain name) $w = mx
  (canonical domain name) $j = mx.example.test
         (subdomain name) $m = example.test
              (node name) $k = mx
========================================================

";
        assert!(text.ends_with(identity), "{text}");
    }
}
