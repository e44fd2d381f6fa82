//! The privileged process: binds ports, opens inputs, starts and ends the engine, `postrider-users` and agents.
//! It parses no mail, no network data and no KDL (`postrider plan` does), calls no NSS, and can be read in one sitting.
//!
//! Start with [`run`]; the loop is in `keeper.rs`. Design: DESIGN §2.

mod agents;
mod drop_folder;
mod keeper;
mod log;
mod open;
mod start;
mod title;

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::Stdio;

/// Why the keeper ends with an error, and its exit code (sysexits).
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Error {
    exit: u8,
    text: String,
}

/// 64 the command line, 70 the engine, 71 the system, 78 the configuration or what it names.
fn failed<E: std::fmt::Display>(exit: u8, what: &'static str) -> impl Fn(E) -> Error {
    move |error| Error { exit, text: format!("{what}: {error}") }
}

const USAGE: &str = "usage: postrider-keeper [--config FILE] [--detach]";

#[derive(Default)]
struct Arguments {
    config: PathBuf,
    detach: bool,
    /// We are the child of `--detach`: stdout says "ready" to the parent.
    detached: bool,
}

/// `postrider-keeper [--config FILE] [--detach]`; the arguments come without the program's name. Returns when the
/// server has been stopped, or could not start, with the exit code.
#[must_use]
pub fn run(args: Vec<OsString>) -> u8 {
    let outcome = parse(args).and_then(|arguments| {
        start::reset_inherited().map_err(failed(71, "inherited state"))?;
        if arguments.detach {
            detach(&arguments)
        } else {
            prepare(&arguments)?;
            keeper::Keeper::start(arguments.config, arguments.detached)?.serve()
        }
    });
    outcome.unwrap_or_else(|error| {
        log::error(&error.to_string());
        error.exit
    })
}

fn parse(args: Vec<OsString>) -> Result<Arguments, Error> {
    let mut arguments = Arguments { config: PathBuf::from("/etc/mail/postrider.kdl"), ..Arguments::default() };
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--config") => arguments.config = args.next().ok_or("no file").map_err(failed(64, USAGE))?.into(),
            Some("--detach") => arguments.detach = true,
            Some("--detached") => arguments.detached = true,
            _ => return Err(failed(64, USAGE)("unknown argument")),
        }
    }
    arguments.config = std::path::absolute(&arguments.config).map_err(failed(71, "configuration path"))?;
    Ok(arguments)
}

/// Starts ourselves anew in the background and waits for its word; no fork of a running process.
fn detach(arguments: &Arguments) -> Result<u8, Error> {
    let mut command = start::role("keeper");
    command.arg("--detached").arg("--config").arg(&arguments.config);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed(71, "start in the background"))?;
    let word = child.stdout.as_mut().map(|out| out.read(&mut [0]));
    if matches!(word, Some(Ok(1))) {
        return Ok(0);
    }
    let status = child.wait().map_err(failed(71, "wait for the background process"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(70))
}

/// A known state, whoever started us. std has opened 0 to 2 on /dev/null if they were closed.
fn prepare(arguments: &Arguments) -> Result<(), Error> {
    start::occupy_three().map_err(failed(71, "/dev/null"))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::env::set_current_dir("/").map_err(failed(71, "/"))?;
    if arguments.detached {
        rustix::process::setsid().map_err(failed(71, "setsid"))?;
    }
    Ok(())
}
