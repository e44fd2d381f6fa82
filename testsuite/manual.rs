//! The manual pages in `packaging/man`: clean under `mandoc -T lint` and `man -l`, no reference leads nowhere, and the settings in
//! postrider.kdl(5) are those of `postrider config reference`; with `POSTRIDER_WRITE=1` in the environment they are written there instead.
//! `POSTRIDER_MANDOC` names mandoc if it is not installed; nothing is installed for these tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testsuite::server;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/man")
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

/// What a program says; `None`, with a word about it, if it is not there.
fn said(mut command: Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            eprintln!("SKIPPED: {}: {error}", command.get_program().to_string_lossy());
            None
        }
    }
}

#[test]
fn mandoc_finds_nothing() {
    let mandoc = std::env::var_os("POSTRIDER_MANDOC").unwrap_or_else(|| "mandoc".into());
    for page in pages() {
        let mut command = Command::new(&mandoc);
        command.args(["-T", "lint"]).arg(&page);
        let Some(output) = said(command) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        // Our own pages are not installed where this runs; `references_lead_somewhere` looks at them.
        let found: Vec<&str> = text.lines().filter(|line| !line.contains("referenced manual not found")).collect();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn man_shows_them() {
    for page in pages() {
        let mut command = Command::new("man");
        command.args(["--warnings", "-P", "cat", "-l"]).arg(&page).env("MANWIDTH", "80").env("LC_ALL", "C.UTF-8");
        let Some(output) = said(command) else { return };
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.trim().is_empty(), "{}: {warnings}", page.display());
        assert!(output.stdout.len() > 300, "{}", page.display());
    }
}

#[test]
fn references_lead_somewhere() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for line in text.lines().filter_map(|line| line.strip_prefix(".Xr ")) {
            let mut words = line.split(' ');
            let name = format!("{}.{}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
            assert!(folder().join(&name).is_file(), "{}: {name}", page.display());
        }
    }
}

/// The reference as mdoc(7).
fn settings(markdown: &str) -> String {
    let mut out = String::new();
    let mut open = false;
    let escape = |text: &str| text.replace('\\', "\\e").replace('-', "\\-").replace('`', "");
    for line in markdown.lines().skip_while(|line| !line.starts_with("## ")) {
        if let Some(name) = line.strip_prefix("## ") {
            out.push_str(if std::mem::take(&mut open) { ".El\n" } else { "" });
            let _ = writeln!(out, ".Ss {}", escape(name));
        } else if line.starts_with("| setting") || line.starts_with("|---") {
            out.push_str(if std::mem::replace(&mut open, true) { "" } else { ".Bl -tag -width Ds\n" });
        } else if let Some(row) = line.strip_prefix("| ") {
            let cells: Vec<&str> = row.trim_end_matches(" |").split(" | ").collect();
            let [name, value, default, text] = cells[..] else { panic!("{line}") };
            let _ = writeln!(out, ".It Cm {}\n{}", escape(name), wrapped(&escape(text)));
            let default =
                if default.trim().is_empty() { String::new() } else { format!("; otherwise {}", default.trim()) };
            let _ = writeln!(out, "{}", wrapped(&escape(&format!("Value: {}{default}.", value.trim()))));
        } else if !line.trim().is_empty() {
            out.push_str(if std::mem::take(&mut open) { ".El\n.Pp\n" } else { "" });
            let _ = writeln!(out, "{}", wrapped(&escape(line)));
        }
    }
    out + if open { ".El\n" } else { "" }
}

/// A line for each sentence, none longer than 76 characters.
fn wrapped(text: &str) -> String {
    let mut lines = Vec::new();
    for sentence in text.split_inclusive(". ") {
        let mut line = String::new();
        for word in sentence.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > 76 {
                lines.push(std::mem::take(&mut line));
            }
            line.push_str(if line.is_empty() { if word.starts_with(['.', '\'']) { "\\&" } else { "" } } else { " " });
            line.push_str(word);
        }
        lines.push(line);
    }
    lines.join("\n")
}

#[test]
fn the_settings_are_those_of_the_program() {
    let mut command = Command::new(server::programs().join("postrider"));
    command.args(["config", "reference"]);
    let Some(output) = said(command) else { return };
    let generated = settings(&String::from_utf8(output.stdout).unwrap());
    let path = folder().join("postrider.kdl.5");
    let page = fs::read_to_string(&path).unwrap();
    let begin = page.find("BEGIN SETTINGS").unwrap();
    let begin = begin + page[begin..].find('\n').unwrap() + 1;
    let end = begin + page[begin..].find(".\\\" END SETTINGS").unwrap();
    let right = format!("{}{generated}{}", &page[..begin], &page[end..]);
    if std::env::var_os("POSTRIDER_WRITE").is_some() {
        fs::write(&path, right).unwrap();
    } else {
        assert!(page == right, "postrider.kdl.5 is not what the program says; POSTRIDER_WRITE=1 writes it");
    }
}
