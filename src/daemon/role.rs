//! Which program this is. `postrider` links every role, so that `cargo run --bin postrider -- try` needs no second
//! build; an installed host has the small programs beside it, and those are preferred.

use crate::output::{complain, print};
use crate::{background, check, engine, explain, operate, plan, program, settings, status, test_mode, tour, verify};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

const HELP: &str = "\
postrider: a mail server in the place of sendmail

Usage: postrider COMMAND [ARGUMENT ...]

  try [--once]                 start a complete server in a scratch folder and show it at work
  check [--json] [--config FILE]      what the kernel enforces here; folders, sockets, accounts, secrets
  config check [FILE]          check a configuration; every mistake with file, line and column
  config show [FILE]           the settings in force, defaults included
  config reference             every setting, with type, default and meaning (Markdown)
  queue list [--json]          what is in the queue, with the reason for each delay
  queue count|flush|release    ... [SELECTION]
  queue hold REASON            ... [SELECTION]
  queue delete                 ... SELECTION
  explain ADDRESS ... | -      where mail for an address goes and why, file and line of each step
                               [--from ADDRESS] [--client IP] [--server NAME[=IP]] [--json] [--config FILE]
  test-mode [--config FILE]    sendmail -bt: what the administrator asks about addresses, tables and hosts
  hoststat, purgestat, mailstats [ARGUMENT ...]             as the programs of these names
  makemap, newaliases, editmap, praliases [ARGUMENT ...]    as the programs of these names
  keeper [--config FILE] [--detach]   run the server
  sendmail|mailq [ARGUMENT ...]       as the programs of these names

SELECTION: any of --id ID, --sender TEXT, --recipient TEXT, --domain NAME, --reason TEXT, --older SECONDS, --all
Configuration: /etc/mail/postrider.kdl, or POSTRIDER_CONFIG. Commands find the running server by POSTRIDER_RUN (default /run/postrider).
";

/// Runs the role that name and arguments ask for; returns the exit code.
#[must_use]
pub fn main(arguments: Vec<OsString>) -> u8 {
    let name = arguments.first().map(PathBuf::from).unwrap_or_default();
    let name = name.file_name().and_then(OsStr::to_str).unwrap_or("postrider").to_owned();
    if compat_command::program::is_ours(OsStr::new(&name)) {
        return compat_command::run(arguments.into_iter());
    }
    if name == "mailstats" {
        return status::run(&name, arguments.get(1..).unwrap_or_default());
    }
    if matches!(name.as_str(), "makemap" | "editmap" | "praliases") {
        return program::run(&name, arguments.get(1..).unwrap_or_default());
    }
    let mut rest = arguments.into_iter().skip(1);
    let Some(command) = rest.next() else {
        complain!("{}", HELP.trim_end());
        return 64;
    };
    let rest: Vec<OsString> = rest.collect();
    match command.to_str().unwrap_or_default() {
        "engine" => engine::run(),
        "keeper" => background::run(&rest),
        "check" => check::run(&rest),
        "users" => users::run(),
        "agent" => mailbox::run(rest),
        "plan" => plan::run(&rest),
        "try" => tour::run(&rest),
        "config" => settings::run(&rest),
        "queue" => operate::run(&rest),
        "explain" => explain::run(&rest),
        "verify" => verify::run(&rest),
        "test-mode" => test_mode::run(&rest),
        name @ ("hoststat" | "purgestat" | "mailstats") => status::run(name, &rest),
        name @ ("makemap" | "newaliases" | "editmap" | "praliases") => program::run(name, &rest),
        role if compat_command::program::is_ours(OsStr::new(role)) => {
            compat_command::run(std::iter::once(OsString::from(role)).chain(rest))
        }
        "--help" | "-h" | "help" => print(HELP),
        "--version" | "-V" | "version" => print(concat!("postrider ", env!("CARGO_PKG_VERSION"), "\n")),
        other => {
            complain!("postrider: unknown command \"{other}\"\n\n{HELP}");
            64
        }
    }
}

/// How to start another role: the program beside this one if it is there, else this one with the role's name.
#[must_use]
pub fn command(program: &str, role: &str) -> Command {
    let own = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/proc/self/exe"));
    let sibling = own.parent().unwrap_or(Path::new("/usr/sbin")).join(program);
    if rustix::fs::access(&sibling, rustix::fs::Access::EXEC_OK).is_ok() {
        return Command::new(sibling);
    }
    let mut command = Command::new("/proc/self/exe");
    command.arg(role);
    command
}
