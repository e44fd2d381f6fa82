//! What is odd in a `.forward` file (sendmail.md 3.2), for `check`. Its grammar is the engine's (`mail::forward`), for the user's agent obeys it.

pub use mail::forward::{Line, Owner, lines, paths};

use crate::Entry;
use crate::check::Problem;
use crate::entry::entries;
use mail::forward::{is_blank, without_comment};

/// What is odd in a file of this name, each with the line and what was expected.
#[must_use]
pub fn check(name: &str, text: &[u8]) -> Vec<Problem> {
    let file = name.into();
    let mut found = Vec::new();
    let mut tell = |line, text: &str| found.push(Problem::new(&file, line, text));
    let first = text.split(|&b| b == b'\n').next().map(String::from_utf8_lossy).unwrap_or_default();
    let first = first.to_ascii_lowercase();
    if ["# exim filter", "#exim filter", "# sieve filter", "#sieve filter"].iter().any(|mark| first.starts_with(mark)) {
        tell(1, "expected addresses: a filter's rules are read as addresses here");
    }
    for (line, bytes) in (1u32..).zip(text.split(|&b| b == b'\n')) {
        let row = String::from_utf8_lossy(bytes);
        if row.starts_with('#') || row.trim().is_empty() {
            continue;
        }
        let row = without_comment(row.trim_end());
        if !closed(row) {
            tell(line, "expected a closing quote");
        }
        for entry in entries(row) {
            match entry {
                // Blanks have become dots.
                Entry::Address(text) if text.split('.').any(|word| word.starts_with('#')) => {
                    tell(line, "expected an address: \"#\" starts a comment only in column one (or write \" #@# \")");
                }
                Entry::Program(_) if row.contains(is_blank) && !row.contains('"') => {
                    tell(line, "expected quotes around a command with blanks: without them each blank becomes a dot");
                }
                _ => {}
            }
        }
        if row.trim_end().ends_with(',') || row.starts_with(is_blank) {
            tell(line, "expected a list on one line: a line is not continued by the next");
        }
    }
    found
}

/// Whether every quoted string ends.
fn closed(row: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    for c in row.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => inside = !inside,
            _ => {}
        }
    }
    !inside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oddities_are_told() {
        let told = |text: &str| {
            check("/home/al/.forward", text.as_bytes()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told("\\al, \"|/usr/bin/vacation al\"\n# x\nbob #@# x\n"), [""; 0]);
        for (text, line) in
            [("# Exim filter\nif x\n", 1), ("a\nbob # note\n", 2), ("\"|open\n", 1), ("|/bin/p a b\n", 1), ("a,\n", 1)]
        {
            let told = told(text);
            assert!(told[0].starts_with(&format!("/home/al/.forward:{line}: expected ")), "{told:?}");
        }
    }
}
