//! `postrider keeper [--config FILE] [--detach] [--started-by COMMAND]`: becomes `postrider-keeper`, in a known state and under the name that monitors look for
//! (sendmail.md 2.9); or starts it in the background and waits until it serves. Called by `role`.

use crate::output::complain;
use config::Config;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What `ps` shows: a script that looks for a running server finds it by this.
const TITLE: &str = "sendmail: MTA: accepting connections";
/// How often a server that starts in the background is looked at.
const TICK: Duration = Duration::from_millis(10);

/// Runs the server; returns the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    // Not what the environment says: whoever became root with somebody else's must not start his server.
    let (mut config, mut detach, mut rest) = (PathBuf::from(crate::plan::DEFAULT), false, arguments.iter());
    let mut started_by = None;
    while let Some(argument) = rest.next() {
        match (argument.to_str(), rest.as_slice().first()) {
            // We are it, where no small program lies beside us.
            (Some("--here"), None) => return keeper::run(),
            (Some("--config"), Some(file)) => config = PathBuf::from(file),
            (Some("--started-by"), Some(command)) => started_by = Some(command.clone()),
            (Some("--detach"), _) => detach = true,
            _ => {
                complain!("usage: postrider keeper [--config FILE] [--detach]");
                return 64;
            }
        }
        if argument == "--config" || argument == "--started-by" {
            rest.next();
        }
    }
    let config = std::path::absolute(&config).unwrap_or(config);
    let started_by = started_by.unwrap_or_else(|| usual_start(&config));
    reset_inherited();
    if let Err(why) = raise_limits() {
        complain!("postrider: {why}");
        return 71;
    }
    let mut command = command(&config);
    command.env("POSTRIDER_STARTED_BY", started_by);
    let outcome = if detach { start(command, &config) } else { Err(command.exec()) };
    outcome.unwrap_or_else(|error| {
        complain!("postrider: cannot start postrider-keeper: {}", config::plain(&error));
        71
    })
}

/// What starts such a server again, for the pid file.
fn usual_start(config: &Path) -> OsString {
    let mut line = OsString::from(config::COMMAND_LINE);
    if config != Path::new(crate::plan::DEFAULT) {
        line.push(" -C");
        line.push(config);
    }
    line
}

/// The small program beside this one, else this one.
fn command(config: &Path) -> Command {
    let beside = std::env::current_exe().unwrap_or_default().with_file_name("postrider-keeper");
    let mut command = if beside.is_file() {
        Command::new(beside)
    } else {
        let mut command = Command::new("/proc/self/exe");
        command.args(["keeper", "--here"]);
        command
    };
    command.arg0(TITLE).env("POSTRIDER_CONFIG", config).env_remove("POSTRIDER_DETACHED");
    command
}

/// Starts it in a session of its own, passes on what it complains about, and returns when it serves (its pid file is there) or has ended.
fn start(mut command: Command, config: &Path) -> std::io::Result<u8> {
    let pid_file = Config::load(config, &crate::system::ask()).ok().and_then(|(config, _)| config.run.pid_file);
    command.env("POSTRIDER_DETACHED", "1").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    #[allow(unsafe_code, reason = "a session of its own has no safe interface before exec")]
    // SAFETY: one async-signal-safe system call, no allocation.
    unsafe {
        command.pre_exec(|| Ok(rustix::process::setsid().map(drop)?));
    }
    let mut child = command.spawn()?;
    if let Some(said) = &child.stderr {
        rustix::io::ioctl_fionbio(said, true)?;
    }
    loop {
        let ended = child.try_wait()?;
        pass_on(&mut child);
        if let Some(status) = ended {
            return Ok(status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(70));
        }
        let written = pid_file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        if written.lines().next().is_some_and(|pid| pid == child.id().to_string()) {
            return Ok(0);
        }
        std::thread::sleep(TICK);
    }
}

fn pass_on(child: &mut Child) {
    let (mut text, mut err) = (Vec::new(), std::io::stderr());
    // Ends with "would block" while it lives.
    let _as_far_as = child.stderr.as_mut().map(|said| said.read_to_end(&mut text));
    let _nobody_listens = err.write_all(&text);
}

/// Signals and timers of whoever started us would stop us later, or every child (S-46): an ignored SIGCHLD reaps our children, an alarm kills.
#[allow(unsafe_code, reason = "no safe interface to signal dispositions and interval timers")]
fn reset_inherited() {
    use nix::libc::{CLOSE_RANGE_CLOEXEC, ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, SYS_close_range, itimerval};
    use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
    for timer in [ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF] {
        // SAFETY: all zeros is a timer that never expires; the old one is not asked for.
        unsafe { nix::libc::setitimer(timer, &std::mem::zeroed::<itimerval>(), std::ptr::null_mut()) };
    }
    for number in [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGALRM] {
        // SAFETY: no handler of ours is installed or replaced. What cannot be changed stays; the keeper tries again.
        let _stays = unsafe { signal(number, SigHandler::SigDfl) };
    }
    let _stays = SigSet::empty().thread_set_mask();
    // SAFETY: numbers and a flag; closes nothing before exec.
    unsafe { nix::libc::syscall(SYS_close_range, 3, u32::MAX, CLOSE_RANGE_CLOEXEC) };
}

/// Takes off the limits that everything we start would inherit (S-46). Root may do so even where they are hard (`ulimit -f`, `LimitFSIZE=`), unless a
/// container took CAP_SYS_RESOURCE from it.
///
/// # Errors
/// Where files could not grow, every message would be answered with 451 and every mailbox end somewhere: better no server, and a reason.
fn raise_limits() -> Result<(), String> {
    for limit in [Resource::Nofile, Resource::Fsize, Resource::Cpu] {
        let none = Rlimit { current: None, maximum: None };
        // Open files have a maximum of the kernel's.
        if limit != Resource::Nofile && setrlimit(limit, none).is_ok() {
            continue;
        }
        let maximum = getrlimit(limit).maximum;
        let raised = setrlimit(limit, Rlimit { current: maximum, maximum });
        match (limit, maximum) {
            (Resource::Fsize, Some(bytes)) => {
                return Err(format!(
                    "files may not grow over {bytes} bytes here, and this limit cannot be taken off: start it without (ulimit -f unlimited)"
                ));
            }
            (Resource::Nofile, _) if raised.is_ok() => {}
            _ => complain!("started under a limit: {limit:?} {maximum:?}"),
        }
    }
    Ok(())
}
