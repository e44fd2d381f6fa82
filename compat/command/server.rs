//! `-bd`, `-bD`, `-q30m`: hands over to `postrider keeper`. This program stays small and parses no configuration.

use crate::exit;
use crate::output::Output;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

/// Becomes the server; returns the exit code if that fails.
pub fn run(foreground: bool, output: &mut Output) -> u8 {
    if !nix::unistd::geteuid().is_root() {
        output.line("Permission denied (real uid not trusted)");
        return exit::USAGE;
    }
    output.flush();
    for program in candidates() {
        let mut command = Command::new(&program);
        command.arg("keeper");
        if !foreground {
            command.arg("--detach");
        }
        let error = command.exec();
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
