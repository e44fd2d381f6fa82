//! Becoming `postrider`: what needs the configuration or a table is its work (`-bd`, `-bv`, `-bi`, and the names `newaliases`,
//! `makemap`, `editmap`, `praliases`). This program stays small. Called by `run` and `server`.

use crate::exit;
use crate::output::Output;
use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names of programs that are verbs of `postrider`.
const NAMES: &[&str] = &["makemap", "editmap", "praliases"];

/// The verb that goes with the program's name, if it is `postrider`'s whole business.
#[must_use]
pub fn verb(name: &OsStr) -> Option<&'static str> {
    let name = Path::new(name).file_name()?;
    NAMES.iter().copied().find(|known| name == *known)
}

/// Becomes `postrider VERB ARGUMENTS`; returns the exit code if that fails.
pub fn run(verb: &str, arguments: &[OsString], output: &mut Output) -> u8 {
    output.flush();
    for program in candidates() {
        let error = Command::new(&program).arg(verb).args(arguments).exec();
        if error.kind() != std::io::ErrorKind::NotFound {
            output.line(&format!("sendmail: cannot start {}: {error}", program.display()));
            return exit::OS_ERROR;
        }
    }
    output.line("sendmail: the program postrider is not installed");
    exit::OS_ERROR
}

/// Beside this program (the real one, behind any link called sendmail), then where packages put it.
fn candidates() -> Vec<PathBuf> {
    let mut found = Vec::new();
    if let Ok(own) = std::env::current_exe() {
        // `postrider sendmail …` is this code, too: then we are the program.
        if own.file_name().is_some_and(|name| name == "postrider") {
            found.push(own.clone());
        }
        found.push(own.with_file_name("postrider"));
    }
    found.push(PathBuf::from("/usr/sbin/postrider"));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_programs() {
        assert_eq!(verb(OsStr::new("/usr/sbin/makemap")), Some("makemap"));
        assert_eq!(verb(OsStr::new("praliases")), Some("praliases"));
        for other in ["", "/", "sendmail", "newaliases", "makemap2"] {
            assert_eq!(verb(OsStr::new(other)), None, "{other}");
        }
    }
}
