//! Binding and opening what the plan names, for the engine, which names no path. A reload keeps what did not change.

use crate::log;
use crate::plan::{Listen, Plan};
use call::keep::{InputState, ToEngine};
use rustix::fs::{self as rfs, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;

const BACKLOG: i32 = 1_024;

/// How a file was when its descriptor was passed.
type Stamp = (u64, u64, i64, u64, i64, u64, i64);

/// A plan with everything it names open.
pub(crate) struct Opened {
    pub plan: Plan,
    tcp: Vec<(String, SocketAddr, Rc<OwnedFd>)>,
    unix: Vec<(PathBuf, Rc<UnixListener>)>,
    inputs: Vec<Option<Stamp>>,
    pub drop: File,
}

impl Opened {
    /// # Errors
    /// What could not be opened, for the log. Nothing of `old` has changed then.
    pub(crate) fn open(plan: Plan, old: Option<&Self>, root: bool) -> Result<Self, String> {
        let mut tcp = Vec::new();
        for wanted in &plan.listen {
            let known = old.and_then(|old| old.tcp.iter().find(|(_, address, _)| *address == wanted.address));
            let socket = match known {
                Some((.., socket)) => Some(Rc::clone(socket)),
                None => bind_tcp(wanted)?.map(Rc::new),
            };
            tcp.extend(socket.map(|socket| (wanted.name.clone(), wanted.address, socket)));
        }
        folder(&plan.spool, 0o700, root.then_some(plan.engine))?;
        let drop = folder(&plan.drop, 0o1733, None)?;
        let mut unix = Vec::new();
        for (path, mode) in &plan.sockets {
            let known = old.and_then(|old| old.unix.iter().find(|(known, _)| known == path));
            let socket = match known {
                Some((_, socket)) => std::fs::set_permissions(path, PermissionsExt::from_mode(*mode))
                    .map(|()| Rc::clone(socket)),
                None => bind_unix(path, *mode).map(Rc::new),
            };
            unix.push((path.clone(), socket.map_err(|e| format!("cannot create {}: {e}", path.display()))?));
        }
        let inputs = vec![None; plan.inputs.len()];
        Ok(Self {
            plan,
            tcp,
            unix,
            inputs,
            drop,
        })
    }

    /// The first frame for an engine, with `users`, its socket to `postrider-users`.
    pub(crate) fn start_frame(&mut self, users: OwnedFd) -> io::Result<(ToEngine, Vec<OwnedFd>)> {
        let mut descriptors = Vec::new();
        for (.., socket) in &self.tcp {
            descriptors.push(socket.try_clone()?);
        }
        let mut inputs = Vec::new();
        for number in 0..self.inputs.len() {
            if let Some(stamp) = self.inputs.get_mut(number) {
                *stamp = None;
            }
            let (state, file) = self.input(number);
            inputs.push(state);
            descriptors.extend(file);
        }
        descriptors.push(users);
        for (.., socket) in &self.unix {
            descriptors.push(socket.try_clone()?.into());
        }
        let start = ToEngine::Start {
            settings: self.plan.settings.clone(),
            listeners: self.tcp.iter().map(|(name, ..)| name.clone()).collect(),
            inputs,
        };
        Ok((start, descriptors))
    }

    /// The state of an input now, and its descriptor if it is another than the one last passed.
    pub(crate) fn input(&mut self, number: usize) -> (InputState, Option<OwnedFd>) {
        let (Some(path), Some(known)) = (self.plan.inputs.get(number), self.inputs.get_mut(number)) else {
            return (InputState::Absent, None);
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = rfs::open(path, flags, Mode::empty()).and_then(|file| Ok((rfs::fstat(&file)?, file)));
        match opened {
            Err(Errno::NOENT | Errno::NOTDIR) => {
                *known = None;
                (InputState::Absent, None)
            }
            Err(errno) => (InputState::Unreadable(errno.raw_os_error()), None),
            Ok((stat, _)) if *known == Some(stamp(&stat)) => (InputState::Unchanged, None),
            Ok((stat, _)) if !rfs::FileType::from_raw_mode(stat.st_mode).is_file() => {
                (InputState::Unreadable(Errno::INVAL.raw_os_error()), None)
            }
            Ok((stat, file)) => {
                *known = Some(stamp(&stat));
                (InputState::Open, Some(file))
            }
        }
    }

    /// Removes the socket files (all, or those that `next` no longer has).
    pub(crate) fn remove_sockets(&self, next: Option<&Self>) {
        for (path, ..) in &self.unix {
            if !next.is_some_and(|next| next.unix.iter().any(|(kept, ..)| kept == path)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

fn stamp(stat: &Stat) -> Stamp {
    let (seconds, nanos) = (stat.st_mtime, stat.st_mtime_nsec);
    (stat.st_dev, stat.st_ino, seconds, nanos, stat.st_ctime, stat.st_ctime_nsec, stat.st_size)
}

/// `None` if the machine does not have the address and the plan can do without.
fn bind_tcp(wanted: &Listen) -> Result<Option<OwnedFd>, String> {
    let tried = || -> Result<OwnedFd, Errno> {
        let v6 = wanted.address.is_ipv6();
        let family = if v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        if v6 {
            sockopt::set_ipv6_v6only(&socket, true)?;
        }
        bind(&socket, &wanted.address)?;
        listen(&socket, BACKLOG)?;
        Ok(socket)
    };
    match tried() {
        Ok(socket) => Ok(Some(socket)),
        Err(errno @ (Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT)) if !wanted.required => {
            log::notice(&format!("not listening on {}: {errno}", wanted.address));
            Ok(None)
        }
        Err(errno) => Err(format!("cannot listen on {}: {errno}", wanted.address)),
    }
}

/// A stale socket file is replaced, one that answers is not.
fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if let Ok(there) = std::fs::symlink_metadata(path) {
        if !there.file_type().is_socket() || UnixStream::connect(path).is_ok() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        std::fs::remove_file(path)?;
    }
    // The mode must hold from the first moment that the name is visible.
    let before = rustix::process::umask(Mode::from_raw_mode(0o777 & !mode));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let socket = bound?;
    listen(&socket, BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Opens a folder, making it with this mode and owner if absent.
fn folder(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<File, String> {
    let tried = || -> io::Result<File> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let fresh = rfs::mkdirat(CWD, path, Mode::RWXU);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rfs::open(path, flags, Mode::empty())?;
        match fresh {
            // An administrator's own owner and mode are left as they are.
            Err(Errno::EXIST) if owner.is_some() && rfs::fstat(&file)?.st_uid != 0 => return Ok(file.into()),
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let Some((uid, gid)) = owner {
            nix::unistd::fchown(&file, Some(uid.into()), Some(gid.into()))?;
        }
        rfs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(file.into())
    };
    tried().map_err(|error| format!("cannot make folder {}: {error}", path.display()))
}
