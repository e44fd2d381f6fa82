//! Starting the other programs: which file, as whom, with which socket. The keeper has one thread, so forking is safe.

use nix::sys::signal::SigSet;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `postrider plan` reads files; it has this long.
const PLAN_BOUND: Duration = Duration::from_secs(30);
/// Largest plan.
const PLAN_BYTES: u64 = 8 << 20;

/// The command for a role: the sibling program, else the sibling `postrider` or this very program (which then has
/// all roles) with the role's name.
pub(crate) fn role(name: &str) -> Command {
    let this = std::env::current_exe().unwrap_or_default();
    let folder = this.parent().unwrap_or(Path::new("/"));
    let (own, all) = (folder.join(format!("postrider-{name}")), folder.join("postrider"));
    if own.is_file() {
        return Command::new(own);
    }
    // Not by its path: the file may have been replaced since.
    let program = if all.is_file() { all } else { PathBuf::from("/proc/self/exe") };
    let mut command = Command::new(program);
    command.arg(name);
    command
}

/// Starts a role with `socket` as its fd 3, under the given uid and gid without further groups; `None` keeps ours.
/// It gets its own process group, so that a Ctrl-C reaches only the keeper.
#[allow(unsafe_code, reason = "what happens between fork and exec has no safe interface")]
pub(crate) fn start(mut command: Command, socket: &OwnedFd, ids: Option<(u32, u32)>) -> io::Result<Child> {
    let raw = socket.as_fd().as_raw_fd();
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    // SAFETY: only system calls that are async-signal-safe, no allocation; `raw` stays open in the parent until
    // `spawn` returns. It is never 3 itself (`occupy_three`), so dup2 clears close-on-exec.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            if nix::libc::dup2(raw, 3) < 0 {
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

/// A socket pair: our end and the end for the process to be started.
pub(crate) fn pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

/// Marks every inherited descriptor above 2 close-on-exec, and occupies number 3 for as long as we live.
#[allow(unsafe_code, reason = "no safe interface to close_range")]
pub(crate) fn occupy_three() -> io::Result<()> {
    // SAFETY: numbers and a flag; closes nothing that anybody in this process owns.
    unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 4 /* CLOSE_RANGE_CLOEXEC */) };
    let null = std::fs::File::open("/dev/null")?;
    if null.as_raw_fd() == 3 {
        std::mem::forget(null);
    }
    Ok(())
}

/// A running `postrider plan`. Its output is read without waiting, so that a reload holds nothing up.
pub(crate) struct Planning {
    child: Child,
    errors: std::fs::File,
    text: Vec<u8>,
    pub since: Instant,
}

impl Planning {
    pub(crate) fn start(config: &Path) -> io::Result<Self> {
        let errors = std::fs::File::from(rustix::fs::memfd_create("plan", rustix::fs::MemfdFlags::CLOEXEC)?);
        // `plan` is a role of `postrider` itself; there is no program `postrider-plan`.
        let mut command = role("plan");
        command.arg("--config").arg(config).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors.try_clone()?);
        #[allow(unsafe_code, reason = "our blocked signals would be inherited")]
        // SAFETY: one async-signal-safe system call.
        unsafe {
            command.pre_exec(|| Ok(SigSet::empty().thread_set_mask()?));
        }
        let child = command.process_group(0).spawn()?;
        if let Some(out) = &child.stdout {
            rustix::io::ioctl_fionbio(out, true)?;
        }
        Ok(Self {
            child,
            errors,
            text: Vec::new(),
            since: Instant::now(),
        })
    }
    /// For the poll.
    pub(crate) fn output(&self) -> Option<&std::process::ChildStdout> {
        self.child.stdout.as_ref()
    }
    /// The plan's text when it is complete, or why there is none.
    pub(crate) fn step(&mut self) -> Option<Result<String, String>> {
        let left = PLAN_BYTES.saturating_sub(self.text.len() as u64);
        let read = self.child.stdout.as_mut().map(|out| out.take(left).read_to_end(&mut self.text));
        let waiting = matches!(&read, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock);
        if self.since.elapsed() > PLAN_BOUND || self.text.len() as u64 >= PLAN_BYTES {
            let _ = self.child.kill();
            let _ = self.child.wait();
            return Some(Err("the plan takes too long or is too large".to_owned()));
        }
        if waiting {
            return None;
        }
        // It has closed its output; what it does after that has no bound of its own.
        if let (Ok(None), true) = (self.child.try_wait(), self.since.elapsed() < PLAN_BOUND) {
            self.child.stdout = None;
            return None;
        }
        let good = self.child.wait().is_ok_and(|status| status.success());
        Some(match String::from_utf8(std::mem::take(&mut self.text)) {
            Ok(text) if good => Ok(text),
            _ => Err(self.complaint()),
        })
    }
    fn complaint(&mut self) -> String {
        let mut bytes = vec![0; 8_192];
        let got = std::os::unix::fs::FileExt::read_at(&self.errors, &mut bytes, 0).unwrap_or(0);
        let text = String::from_utf8_lossy(bytes.get(..got).unwrap_or_default()).trim().to_owned();
        if text.is_empty() { "postrider plan failed".to_owned() } else { text }
    }
}
