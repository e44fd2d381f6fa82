//! `-bd`, `-bD`, `-q30m`: hands over to `postrider keeper`. This program stays small and parses no configuration.

use crate::output::Output;
use crate::{exit, hand_over};
use std::ffi::OsString;

/// Becomes the server; returns the exit code if that fails.
pub fn run(foreground: bool, output: &mut Output) -> u8 {
    if !nix::unistd::geteuid().is_root() {
        output.line("Permission denied (real uid not trusted)");
        return exit::USAGE;
    }
    let detach = [OsString::from("--detach")];
    hand_over::run("keeper", if foreground { &[] } else { &detach }, output)
}
