//! What a process gives up before it reads anything from outside (DESIGN §2, "who may be sandboxed"). See `README.md`.

mod call;
mod kernel;

pub use kernel::{Kernel, kernel};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, path_beneath_rules,
};
use std::fmt;
use std::path::PathBuf;

/// The newest Landlock that was tested; older kernels enforce what they know.
const NEWEST: ABI = ABI::V5;

/// What stays reachable. Folders stand for all below them; what does not exist is left out.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// May be read.
    pub read: Vec<PathBuf>,
    /// May be read, written, made and removed.
    pub write: Vec<PathBuf>,
}

/// Why a process could not be confined; a kernel that cannot do it is no reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// no_new_privs, or to leave no core file, was refused.
    #[error("no_new_privs: {0}")]
    Privileges(#[from] rustix::io::Errno),
    /// Landlock.
    #[error("landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// seccomp.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
}

/// How far the kernel enforces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confined {
    /// Landlock.
    pub files: Enforced,
    /// seccomp.
    pub calls: bool,
}

/// How far Landlock is enforced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforced {
    /// All of it.
    Fully,
    /// What this kernel knows.
    Partly,
    /// This kernel has none, or it is switched off.
    Not,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = match self.files {
            Enforced::Fully => "fully",
            Enforced::Partly => "partly",
            Enforced::Not => "not",
        };
        write!(f, "no_new_privs, landlock {files} enforced, seccomp {}", if self.calls { "on" } else { "not there" })
    }
}

/// Gives everything up that is not in `allowed`; for good, for this thread and what it starts.
///
/// # Errors
/// If the kernel can do it and refused to. Nothing may be read from outside after that.
pub fn confine(allowed: &Allowed) -> Result<Confined, Error> {
    rustix::thread::set_no_new_privs(true)?;
    // A core file would hold mail, keys and passwords (S-55); and nobody of the same user looks into this memory.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    let files = files(allowed)?;
    let calls = match seccompiler::apply_filter(&call::filter()?) {
        Ok(()) => true,
        Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error)) if is_unknown(&error) => false,
        Err(error) => return Err(error.into()),
    };
    Ok(Confined { files, calls })
}

fn is_unknown(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

fn files(allowed: &Allowed) -> Result<Enforced, Error> {
    let status: RestrictionStatus = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?
        .add_rules(path_beneath_rules(&allowed.read, AccessFs::from_read(NEWEST) & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(&allowed.write, AccessFs::from_all(NEWEST) & !AccessFs::Execute))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => Enforced::Fully,
        RulesetStatus::PartiallyEnforced => Enforced::Partly,
        RulesetStatus::NotEnforced => Enforced::Not,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::ErrorKind::PermissionDenied;

    /// On a thread of its own, for there is no way back.
    fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        std::thread::spawn(work).join().unwrap()
    }

    #[test]
    fn only_what_is_allowed_can_be_reached() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["read", "write", "secret"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("file"), name).unwrap();
        }
        let (read, write, secret) = (at("read"), at("write"), at("secret"));
        apart(move || {
            let allowed = Allowed { read: vec![read.clone(), "/does/not/exist".into()], write: vec![write.clone()] };
            let confined = confine(&allowed).unwrap();
            if confined.files == Enforced::Not {
                eprintln!("this kernel has no Landlock: only system calls are tested");
                return;
            }
            assert_eq!(fs::read_to_string(read.join("file")).unwrap(), "read");
            assert_eq!(fs::write(read.join("new"), "x").unwrap_err().kind(), PermissionDenied);
            fs::write(write.join("new"), "x").unwrap();
            fs::rename(write.join("new"), write.join("newer")).unwrap();
            fs::remove_file(write.join("newer")).unwrap();
            assert_eq!(fs::read(secret.join("file")).unwrap_err().kind(), PermissionDenied);
            assert_eq!(fs::read(write.join("../secret/file")).unwrap_err().kind(), PermissionDenied);
        });
    }

    #[test]
    fn no_program_and_no_other_identity() {
        apart(|| {
            let confined = confine(&Allowed { read: vec!["/".into()], write: vec!["/".into()] }).unwrap();
            assert!(confined.calls, "{confined}");
            let run = std::process::Command::new("/bin/true").status();
            assert_eq!(run.unwrap_err().kind(), PermissionDenied);
            let uid = rustix::process::getuid();
            assert_eq!(rustix::thread::set_thread_uid(uid).unwrap_err(), rustix::io::Errno::PERM);
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
            assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
            // What every server does goes on.
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::thread::spawn(|| ()).join().unwrap();
        });
    }
}
