//! `postrider check [--config FILE] [--json]`: what the kernel enforces on this host, and whether folders, sockets, accounts and secrets are as
//! the server needs them. One line each: `ok`, `warning` or `failed`, with what to do. Changes nothing. Called by `role`.

mod account;
mod folder;
mod input;
mod mailbox;
mod program;
mod server;

use crate::output::{Output, complain};
use crate::plan::configuration;
use config::Config;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One line: what was looked at, how it is, and what to do about it.
struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

/// All lines so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        self.0.push(Finding { what, state, text: text.into() });
    }

    fn ok(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Ok, text);
    }

    fn warn(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Warning, text);
    }

    fn fail(&mut self, what: &'static str, text: impl Into<String>) {
        self.add(what, State::Failed, text);
    }

    /// How many failed so far.
    fn failed(&self) -> usize {
        self.0.iter().filter(|finding| finding.state == State::Failed).count()
    }

    /// Prints them; returns the exit code: 1 if anything failed.
    fn print(&self, json: bool) -> u8 {
        let mut out = Output::standard();
        for Finding { what, state, text } in &self.0 {
            let _kept = if json {
                writeln!(out, "{}", serde_json::json!({ "check": what, "state": state.name(), "text": text }))
            } else {
                writeln!(out, "{:<8} {what}: {text}", state.name())
            };
        }
        out.finish(u8::from(self.failed() > 0))
    }
}

/// Runs it; returns the exit code: 0 nothing failed, 1 something did, 64 usage.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let (mut config, mut json, mut rest) = (configuration(), false, arguments.iter());
    while let Some(argument) = rest.next() {
        match (argument.to_str(), argument == "--config") {
            (Some("--json"), _) => json = true,
            (_, true) if rest.len() > 0 => config = rest.next().map_or(config, PathBuf::from),
            _ => {
                complain!("usage: postrider check [--config FILE] [--json]");
                return 64;
            }
        }
    }
    let mut found = Findings::default();
    kernel(&mut found);
    program::programs(&mut found);
    match Config::load(&config, &crate::system::ask()) {
        Ok((config, _)) => host(&config, &mut found),
        Err(errors) => {
            let first = errors.to_string();
            let first = first.lines().next().unwrap_or_default();
            found.fail("configuration", format!("{first}; see postrider config check {}", config.display()));
        }
    }
    found.print(json)
}

fn host(config: &Config, found: &mut Findings) {
    let root = rustix::process::geteuid().is_root();
    if !root {
        found.warn("user", "not run by root: what only root can see is not judged");
    }
    for refusal in crate::way::refusals(config) {
        found.fail("configuration", refusal);
    }
    account::accounts(config, found);
    let whose = folder::Whose::of(config);
    folder::folders(config, whose, found);
    mailbox::mailboxes(config, whose, found);
    input::tables(config, found);
    input::secrets(config, found);
    server::sockets(config, found);
    server::processes(config, found);
}

fn kernel(found: &mut Findings) {
    let kernel = confine::kernel();
    match kernel.landlock {
        Ok(1 | 2) => found.warn("landlock", format!("{kernel}; a newer kernel (6.2) also covers truncation")),
        Ok(_) => found.ok("landlock", kernel.to_string()),
        Err(_) => found.warn(
            "landlock",
            format!("{kernel}; the engine can reach every file its user can: boot a kernel of 5.13 or later with lsm=landlock,..."),
        ),
    }
    match kernel.seccomp {
        true => found
            .ok("seccomp", "filters are there; programs, identities and other processes are out of the engine's reach"),
        false => found.warn(
            "seccomp",
            "this kernel has no filters (CONFIG_SECCOMP_FILTER): the engine may use every system call",
        ),
    }
    match kernel.no_new_privs {
        Some(false) => found.ok("no_new_privs", "known, and not set here"),
        Some(true) => found.warn(
            "no_new_privs",
            "set for this session: a server started from here could not run set-id programs of users (procmail, dotlockfile); remove NoNewPrivileges from its unit",
        ),
        None => found.warn("no_new_privs", "not known to this kernel"),
    }
    for (name, why) in [("hardlinks", "hard links to others' files"), ("symlinks", "links in shared folders")] {
        let path = format!("/proc/sys/fs/protected_{name}");
        match std::fs::read_to_string(&path).map(|text| text.trim() != "0") {
            Ok(true) => found.ok("links", format!("protected_{name} is on")),
            Ok(false) => found.warn("links", format!("{why} are not held back: sysctl fs.protected_{name}=1")),
            Err(error) => found.warn("links", format!("{path} cannot be read: {}", config::plain(&error))),
        }
    }
}
