//! What a process gives up before it reads anything from outside (DESIGN §2, "who may be sandboxed"). See `README.md`.

mod call;
mod kernel;

pub use kernel::{Kernel, kernel};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, RestrictionStatus, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, make_bitflags, path_beneath_rules,
};
use rustix::thread::{CapabilitySet, CapabilitySets};
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

/// What a process does that only writes files: it needs neither sockets nor other processes, and no links, set-id bits or special files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Appends to one, and makes and removes another beside it: an mbox and its lock.
    Append,
    /// Makes folders and moves files between them: a Maildir.
    Arrange,
}

impl Work {
    /// What it does in the folders where it writes.
    fn rights(self) -> BitFlags<AccessFs> {
        let append = make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile});
        match self {
            Self::Append => append,
            Self::Arrange => append | make_bitflags!(AccessFs::{MakeDir | Refer}),
        }
    }
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
    give_up(allowed, None)
}

/// The same for a process that from now on does nothing but this work: it stays alone, and keeps the sockets that it has.
///
/// # Errors
/// As [`confine`].
pub fn confine_to_files(allowed: &Allowed, work: Work) -> Result<Confined, Error> {
    give_up(allowed, Some(work))
}

const NO_CAPABILITIES: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

fn give_up(allowed: &Allowed, work: Option<Work>) -> Result<Confined, Error> {
    rustix::thread::set_no_new_privs(true)?;
    // A core file would hold mail, keys and passwords (S-55); and nobody of the same user looks into this memory.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)?;
    if work.is_some() {
        // Root's own mailbox is written by root, who needs no more than its owner may.
        rustix::thread::set_capabilities(None, NO_CAPABILITIES)?;
    }
    let files = files(allowed, work)?;
    let mut calls = true;
    for filter in call::filters(work)? {
        match seccompiler::apply_filter(&filter) {
            Ok(()) => {}
            Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error)) if is_unknown(&error) => {
                calls = false;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Confined { files, calls })
}

fn is_unknown(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL))
}

fn files(allowed: &Allowed, work: Option<Work>) -> Result<Enforced, Error> {
    let mut rules =
        Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(AccessFs::from_all(NEWEST))?;
    if work.is_some() {
        // No port is named, so there is none.
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    let write = work.map_or(AccessFs::from_all(NEWEST) & !AccessFs::Execute, Work::rights);
    let status: RestrictionStatus = rules
        .create()?
        .add_rules(path_beneath_rules(&allowed.read, AccessFs::from_read(NEWEST) & !AccessFs::Execute))?
        .add_rules(path_beneath_rules(&allowed.write, write))?
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
            assert_eq!(refused(libc::SYS_clone, libc::CLONE_NEWUSER, 0), libc::EPERM);
            assert_eq!(refused(libc::SYS_clone, libc::CLONE_NEWNET | libc::CLONE_NEWUSER, 0), libc::EPERM);
            assert_eq!(refused(libc::SYS_clone3, 0, 0), libc::ENOSYS);
            // What every server does goes on.
            std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            std::thread::spawn(|| ()).join().unwrap();
        });
    }

    /// The error of a call that must not happen.
    #[allow(unsafe_code, reason = "no safe interface to such calls")]
    fn refused(call: libc::c_long, first: i32, second: i32) -> i32 {
        // SAFETY: numbers only; as fork: a child, if there is one after all, ends at once.
        let child = unsafe { libc::syscall(call, libc::c_long::from(first), libc::c_long::from(second), 0, 0, 0) };
        if child == 0 {
            std::process::exit(0);
        }
        if child > 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }

    /// Everything a taken-over mailbox agent would like to do.
    #[test]
    fn a_writer_of_files_does_nothing_else() {
        use rustix::io::Errno;
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("other"), "x").unwrap();
        apart(move || {
            let confined =
                confine_to_files(&Allowed { read: vec![], write: vec![path.clone()] }, Work::Append).unwrap();
            assert!(confined.calls, "{confined}");
            let at = |name: &str| path.join(name);
            // Its own work.
            fs::write(at("box"), "mail").unwrap();
            fs::File::open(at("box")).unwrap().set_permissions(PermissionsExt::from_mode(0o644)).unwrap();
            assert_eq!(rustix::thread::capabilities(None).unwrap(), NO_CAPABILITIES);
            fs::File::create_new(at("box.lock")).unwrap();
            fs::remove_file(at("box.lock")).unwrap();
            let me = rustix::process::getpid();
            rustix::process::test_kill_process(rustix::process::getppid().unwrap()).unwrap();
            rustix::process::kill_process(me, rustix::process::Signal::WINCH).unwrap();
            // Nothing else.
            for mode in [0o4644, 0o2644, 0o666] {
                let error = fs::set_permissions(at("box"), PermissionsExt::from_mode(mode)).unwrap_err();
                assert_eq!(error.kind(), PermissionDenied, "{mode:o}");
                let opened = fs::File::open(at("box")).unwrap();
                let error = opened.set_permissions(PermissionsExt::from_mode(mode)).unwrap_err();
                assert_eq!(error.kind(), PermissionDenied, "{mode:o}");
                if mode > 0o777 {
                    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
                    let made = rustix::fs::open(at("set-id"), flags, rustix::fs::Mode::from_raw_mode(mode));
                    assert_eq!(made.unwrap_err(), Errno::PERM, "{mode:o}");
                }
            }
            let denied = |what: &str, outcome: std::io::Result<()>| {
                assert_eq!(outcome.map_err(|error| error.kind()), Err(PermissionDenied), "{what}");
            };
            denied("link", fs::hard_link(at("other"), at("mine")));
            denied("symlink", std::os::unix::fs::symlink("/etc/passwd", at("link")));
            denied("rename", fs::rename(at("other"), at("stolen")));
            denied("folder", fs::create_dir(at("folder")));
            denied("owner", std::os::unix::fs::chown(at("box"), Some(1), None));
            let fifo = rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RUSR);
            denied("fifo", fifo.map_err(Into::into));
            denied("listening", std::os::unix::net::UnixListener::bind(at("socket")).map(drop));
            denied("connecting", std::os::unix::net::UnixStream::connect(at("socket")).map(drop));
            denied("TCP", std::net::TcpStream::connect("127.0.0.1:25").map(drop));
            denied("UDP", std::net::UdpSocket::bind("127.0.0.1:0").map(drop));
            denied("thread", std::thread::Builder::new().spawn(|| ()).map(drop));
            assert_eq!(refused(libc::SYS_clone, libc::SIGCHLD, 0), libc::EPERM);
            let signal =
                rustix::process::kill_process(rustix::process::getppid().unwrap(), rustix::process::Signal::WINCH);
            assert_eq!(signal.unwrap_err(), Errno::PERM);
            denied("socketpair", std::os::unix::net::UnixDatagram::pair().map(drop));
            assert_eq!(refused(libc::SYS_fcntl, 0, 8), libc::EPERM, "signals for others");
            assert_eq!(refused(libc::SYS_ioctl, 0, 0x8901), libc::EPERM, "signals for others");
            // setxattrat, open_tree_attr: newer than the list.
            assert_eq!([463, 467].map(|number| refused(number, 0, 0)), [libc::ENOSYS; 2]);
        });
    }

    #[test]
    fn a_maildir_has_folders_and_moves_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        apart(move || {
            confine_to_files(&Allowed { read: vec![], write: vec![path.clone()] }, Work::Arrange).unwrap();
            for part in ["tmp", "new"] {
                fs::create_dir(path.join(part)).unwrap();
            }
            fs::write(path.join("tmp/a"), "mail").unwrap();
            fs::rename(path.join("tmp/a"), path.join("new/a")).unwrap();
            assert!(std::os::unix::fs::symlink("/", path.join("new/b")).is_err());
            assert!(fs::hard_link(path.join("new/a"), path.join("new/b")).is_err());
        });
    }
}
