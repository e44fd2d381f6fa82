//! `postrider config check|show|reference`. `check` also reads every table that is named, as the engine would.

use crate::output::{complain, print};
use crate::plan::configuration;
use crate::snapshot::Snapshot;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Runs one of them; returns the exit code: 0 fine, 78 mistakes, 64 usage.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let verb = arguments.first().and_then(|a| a.to_str()).unwrap_or_default();
    let path = arguments.get(1).map_or_else(configuration, PathBuf::from);
    match (verb, arguments.len()) {
        ("reference", 1) => print(&config::reference()),
        ("show", 1 | 2) => match config::Config::load(&path, &crate::system::ask()) {
            Ok((config, warnings)) => {
                warnings.iter().for_each(|warning| complain!("{warning}"));
                print(&config.show())
            }
            Err(errors) => mistakes(&errors.to_string()),
        },
        // `sendmail -bC`: silent when all is well.
        ("check", 2) if path == Path::new("--quiet") => match Snapshot::read(&configuration(), true) {
            Ok(read) => verdict(&read.config),
            Err(errors) => mistakes(&errors),
        },
        ("check", 1 | 2) => match Snapshot::read(&path, true) {
            Ok(read) => check(&path, read),
            Err(errors) => mistakes(&errors),
        },
        _ => {
            complain!("usage: postrider config check|show [FILE], postrider config reference");
            64
        }
    }
}

fn check(path: &Path, read: Snapshot) -> u8 {
    let Snapshot { config, warnings, mut problems, .. } = read;
    match crate::trust::check(&config) {
        Ok(more) => problems.extend(more),
        Err(why) => return mistakes(&why),
    }
    problems.extend(crate::log_file::trouble(&config));
    problems.extend(crate::stranger::strangers(&config));
    warnings.iter().for_each(|warning| complain!("{warning}"));
    problems.iter().for_each(|problem| complain!("{problem}"));
    match verdict(&config) {
        0 => {
            let fine = warnings.is_empty() && problems.is_empty();
            print(&format!("{}: fine{}\n", path.display(), if fine { "" } else { ", with warnings" }))
        }
        code => code,
    }
}

/// Whether root may run a server by it.
fn verdict(config: &config::Config) -> u8 {
    let refusals = crate::way::refusals(config);
    if refusals.is_empty() { 0 } else { mistakes(&refusals.join("\n")) }
}

fn mistakes(errors: &str) -> u8 {
    complain!("{errors}");
    78
}
