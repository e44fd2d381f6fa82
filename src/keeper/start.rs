//! Starting the other programs: which file, as whom, with which socket. The keeper has one thread, so forking is safe.

use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `postrider plan` reads files; it has this long.
const PLAN_BOUND: Duration = Duration::from_secs(30);
/// Largest plan.
const PLAN_BYTES: usize = 8 << 20;

/// What a child sees of our environment, besides `POSTRIDER_*` (S-46). LD_PRELOAD stays because the fault tests preload a
/// shim into every role; no program here is set-id, so whoever set it for us is root already.
const ENVIRONMENT: [&str; 5] = ["PATH", "TZ", "LANG", "LD_PRELOAD", "RUST_BACKTRACE"];

/// The command for a role: the sibling program, else the sibling `postrider` or this very program (which then has
/// all roles) with the role's name.
pub(crate) fn role(name: &str) -> Command {
    let this = std::env::current_exe().unwrap_or_default();
    let folder = this.parent().unwrap_or(Path::new("/"));
    let (own, all) = (folder.join(format!("postrider-{name}")), folder.join("postrider"));
    let mut command = if own.is_file() {
        Command::new(own)
    } else {
        // Ourselves not by path: the file may have been replaced since.
        let program = if all.is_file() { all } else { PathBuf::from("/proc/self/exe") };
        let mut command = Command::new(program);
        command.arg(name);
        command
    };
    let wanted = |name: &str| ENVIRONMENT.contains(&name) || name.starts_with("POSTRIDER_");
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)));
    command.stdin(Stdio::null());
    command
}

/// Starts a command with `socket` as its fd 3, under the given uid and gid without further groups; `None` keeps ours.
#[allow(unsafe_code, reason = "what happens between fork and exec has no safe interface")]
pub(crate) fn start(mut command: Command, socket: Option<&OwnedFd>, ids: Option<(u32, u32)>) -> io::Result<Child> {
    let socket = socket.map(|socket| socket.as_fd().as_raw_fd());
    // A Ctrl-C reaches only the keeper.
    command.process_group(0);
    // SAFETY: only async-signal-safe system calls, no allocation; the socket stays open in the parent until
    // `spawn` returns. It is never number 3 itself (`occupy_three`), so dup2 clears close-on-exec.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            if socket.is_some_and(|socket| nix::libc::dup2(socket, 3) < 0) {
                return Err(io::Error::last_os_error());
            }
            if let Some((uid, gid)) = ids {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                setgroups(&[])?;
                setresgid(gid, gid, gid)?;
                setresuid(uid, uid, uid)?;
            }
            Ok(())
        });
    }
    command.spawn()
}

/// How a child has ended, if it has.
pub(crate) fn end(child: &mut Child) -> Option<String> {
    let status = child.try_wait().ok()??;
    Some(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, signal) => format!("killed by signal {}", signal.unwrap_or(0)),
    })
}

/// Marks every inherited descriptor above 2 close-on-exec, and occupies number 3 for as long as we live.
#[allow(unsafe_code, reason = "no safe interface to close_range")]
pub(crate) fn occupy_three() -> io::Result<()> {
    // SAFETY: numbers and a flag (4 is CLOSE_RANGE_CLOEXEC); closes nothing that anybody in this process owns.
    unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 4) };
    let null = File::open("/dev/null")?;
    if null.as_raw_fd() == 3 {
        std::mem::forget(null);
    }
    Ok(())
}

/// Signals, timers and limits of whoever started us would stop us later, or every child (S-46): an ignored SIGCHLD
/// reaps our children, an alarm or a CPU limit kills, a file size limit fills the queue early.
#[allow(unsafe_code, reason = "no safe interface to signal dispositions and interval timers")]
pub(crate) fn reset_inherited() -> io::Result<()> {
    use nix::libc::{ITIMER_PROF, ITIMER_REAL, ITIMER_VIRTUAL, itimerval, setitimer};
    use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
    use nix::sys::signal::{SigHandler, Signal, signal};
    for timer in [ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF] {
        // SAFETY: all zeros is a timer that never expires; the old one is not asked for.
        unsafe { setitimer(timer, &std::mem::zeroed::<itimerval>(), std::ptr::null_mut()) };
    }
    for number in Signal::iterator() {
        let handler = match number {
            // Cannot be changed; or std's, which tells of a stack overflow.
            Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGSEGV | Signal::SIGBUS => continue,
            // EPIPE and EFBIG instead, here and in every child; SIGIO comes when a lease (`open.rs`) is in somebody's way.
            Signal::SIGPIPE | Signal::SIGXFSZ | Signal::SIGIO => SigHandler::SigIgn,
            _ => SigHandler::SigDfl,
        };
        // SAFETY: no handler of ours is installed or replaced.
        unsafe { signal(number, handler)? };
    }
    SigSet::empty().thread_set_mask()?;
    // Open files: thousands of sessions, and the engine inherits it.
    for limit in [Resource::RLIMIT_NOFILE, Resource::RLIMIT_FSIZE, Resource::RLIMIT_CPU] {
        let (_, hard) = getrlimit(limit)?;
        let raised = setrlimit(limit, hard, hard);
        if raised.is_err() || (limit != Resource::RLIMIT_NOFILE && hard != RLIM_INFINITY) {
            crate::log::error(&format!("started under a limit: {limit:?} {hard}"));
        }
    }
    Ok(())
}

/// A running `postrider plan`. It writes into memory, so that a reload holds nothing up.
pub(crate) struct Planning {
    child: Child,
    text: File,
    errors: File,
    since: Instant,
}

impl Planning {
    pub(crate) fn start(config: &Path) -> io::Result<Self> {
        let memory =
            || Ok::<_, io::Error>(File::from(rustix::fs::memfd_create("plan", rustix::fs::MemfdFlags::CLOEXEC)?));
        let (text, errors, since) = (memory()?, memory()?, Instant::now());
        let mut command = role("plan");
        command.arg("--config").arg(config).stdout(text.try_clone()?).stderr(errors.try_clone()?);
        let child = start(command, None, None)?;
        Ok(Self { child, text, errors, since })
    }
    /// The plan's text when it is complete, or why there is none.
    pub(crate) fn step(&mut self) -> Option<Result<String, String>> {
        let good = match self.child.try_wait() {
            Ok(None) if self.since.elapsed() > PLAN_BOUND => {
                let _ = self.child.kill().and_then(|()| self.child.wait());
                return Some(Err("postrider plan takes too long".to_owned()));
            }
            Ok(None) => return None,
            Ok(Some(status)) => status.success(),
            Err(_) => false,
        };
        Some(match (good, read(&self.text), read(&self.errors)) {
            (true, Some(text), _) => Ok(text),
            (false, _, Some(errors)) if !errors.trim().is_empty() => Err(errors.trim().to_owned()),
            _ => Err("postrider plan failed".to_owned()),
        })
    }
}

fn read(file: &File) -> Option<String> {
    let length = usize::try_from(file.metadata().ok()?.len()).ok().filter(|length| *length <= PLAN_BYTES)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0).ok()?;
    String::from_utf8(bytes).ok()
}
