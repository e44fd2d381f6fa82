//! Starting the other programs: which file, as whom, with which socket. The keeper has one thread, so forking is safe.

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// What a child sees of our environment, besides `POSTRIDER_*` (S-46). LD_PRELOAD stays because the fault tests preload
/// a shim into every role; no program here is set-id, so whoever set it for us is root already.
const ENVIRONMENT: [&str; 5] = ["PATH", "TZ", "LANG", "LD_PRELOAD", "RUST_BACKTRACE"];

/// The command for a role: the sibling program, else the sibling `postrider` or this very program (which then has
/// all roles) with the role's name.
pub(crate) fn command(name: &str) -> Command {
    let beside = |name: &str| {
        Some(std::env::current_exe().unwrap_or_default().with_file_name(name)).filter(|path| path.is_file())
    };
    let own = beside(&format!("postrider-{name}"));
    // Ourselves not by path: the file may have been replaced since.
    let all = beside("postrider").unwrap_or_else(|| "/proc/self/exe".into());
    let mut command = Command::new(own.as_ref().unwrap_or(&all));
    if own.is_none() {
        command.arg(name);
    }
    let wanted = |name: &str| ENVIRONMENT.contains(&name) || name.starts_with("POSTRIDER_");
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(wanted)));
    // A Ctrl-C reaches only the keeper.
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    if std::env::var_os("POSTRIDER_DETACHED").is_some() {
        // Ours is for whoever started us, and nobody reads it any more when we serve.
        command.stderr(Stdio::null());
    }
    command
}

/// Starts a role with `socket` as its fd 3, under the given uid and gid without further groups; `None` keeps ours.
#[allow(unsafe_code, reason = "what happens between fork and exec has no safe interface")]
pub(crate) fn start(mut command: Command, socket: &OwnedFd, ids: Option<(u32, u32)>) -> io::Result<Child> {
    let socket = socket.as_raw_fd();
    // SAFETY: only async-signal-safe system calls, no allocation; the socket stays open in the parent until
    // `spawn` returns. It is never number 3 itself (`occupy_three`), so dup2 clears close-on-exec.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            if nix::libc::dup2(socket, 3) < 0 {
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

/// How a child has ended, if it has: `exit status: 0`, `signal: 9 (SIGKILL)`.
pub(crate) fn end(child: &mut Child) -> Option<String> {
    child.try_wait().ok()?.map(|status| status.to_string())
}

/// A known state, whoever started us (S-46): std has opened 0 to 2 on /dev/null if they were closed. What else may be
/// inherited, `postrider keeper` puts right before it becomes us.
pub(crate) fn prepare() -> io::Result<()> {
    occupy_three()?;
    reset_signals()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    std::env::set_current_dir("/")
}

/// Marks every inherited descriptor above 2 close-on-exec, and occupies number 3 for as long as we live.
#[allow(unsafe_code, reason = "no safe interface to close_range")]
fn occupy_three() -> io::Result<()> {
    // SAFETY: numbers and a flag (4 is CLOSE_RANGE_CLOEXEC); closes nothing that anybody in this process owns.
    unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 4) };
    let null = File::open("/dev/null")?;
    if null.as_raw_fd() == 3 {
        std::mem::forget(null);
    }
    Ok(())
}

/// An ignored SIGCHLD would reap our children, and what is blocked or ignored here would be so in every child.
#[allow(unsafe_code, reason = "no safe interface to signal dispositions")]
fn reset_signals() -> io::Result<()> {
    for number in Signal::iterator() {
        let handler = match number {
            // Cannot be changed; or std's, which tells of a stack overflow.
            Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGSEGV | Signal::SIGBUS => continue,
            // EPIPE and EFBIG instead, here and in every child; SIGIO comes when a lease is in somebody's way.
            Signal::SIGPIPE | Signal::SIGXFSZ | Signal::SIGIO => SigHandler::SigIgn,
            _ => SigHandler::SigDfl,
        };
        // SAFETY: no handler of ours is installed or replaced.
        unsafe { signal(number, handler)? };
    }
    Ok(SigSet::empty().thread_set_mask()?)
}
