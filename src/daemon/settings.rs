//! `postrider config check|show|reference`.

use crate::plan::DEFAULT;
use std::ffi::OsString;
use std::path::PathBuf;

/// Runs one of them; returns the exit code: 0 fine, 78 mistakes, 64 usage.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let verb = arguments.first().and_then(|a| a.to_str()).unwrap_or_default();
    let path = arguments.get(1).map_or_else(|| PathBuf::from(DEFAULT), PathBuf::from);
    match (verb, arguments.len()) {
        ("reference", 1) => {
            print!("{}", config::reference());
            0
        }
        ("check" | "show", 1 | 2) => match config::Config::load(&path, &crate::system::ask()) {
            Ok((config, warnings)) => {
                for warning in &warnings {
                    eprintln!("{warning}");
                }
                if verb == "show" {
                    print!("{}", config.show());
                } else {
                    println!("{}: fine{}", path.display(), if warnings.is_empty() { "" } else { ", with warnings" });
                }
                0
            }
            Err(errors) => {
                eprintln!("{errors}");
                78
            }
        },
        _ => {
            eprintln!("usage: postrider config check|show [FILE], postrider config reference");
            64
        }
    }
}
