//! Binding and opening what the plan names, for the engine, which names no path. A reload keeps what did not change.

use crate::log;
use call::keep::{InputState, ToEngine};
use call::plan::{Listen, Plan};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat, fchmod, fstat, mkdirat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
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
    unix: Vec<(PathBuf, Rc<OwnedFd>)>,
    inputs: Vec<Option<Stamp>>,
    pub drop: File,
}

impl Opened {
    /// # Errors
    /// What could not be opened, for the log. Nothing of `old` has changed then.
    pub(crate) fn open(plan: Plan, old: Option<&Self>, root: bool) -> Result<Self, String> {
        if root && (plan.engine.0 == 0 || plan.users.0 == 0) {
            return Err("the engine and postrider-users never run as root: name other users".to_owned());
        }
        let mut tcp = Vec::new();
        for wanted in &plan.listen {
            let known = old.and_then(|old| old.tcp.iter().find(|(_, address, _)| *address == wanted.address));
            let socket = match known {
                Some((.., socket)) => Some(Rc::clone(socket)),
                None => bind_tcp(wanted, &plan.pid_file)?.map(Rc::new),
            };
            tcp.extend(socket.map(|socket| (wanted.name.clone(), wanted.address, socket)));
        }
        let told = |path: &Path, error: io::Error| {
            let taken = error.kind() == io::ErrorKind::AddrInUse;
            let holder = if taken { holder(&plan.pid_file) } else { String::new() };
            format!("cannot create {}: {error}{holder}", path.display())
        };
        folder(&plan.spool, 0o700, root.then_some(plan.engine)).map_err(|error| told(&plan.spool, error))?;
        let drop = folder(&plan.drop, 0o1733, None).map_err(|error| told(&plan.drop, error))?;
        let mut unix = Vec::new();
        for (path, mode) in &plan.sockets {
            let known = old.and_then(|old| old.unix.iter().find(|(known, _)| known == path));
            let socket = match known {
                Some((_, socket)) => {
                    std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)).map(|()| Rc::clone(socket))
                }
                None => bind_unix(path, *mode).map(Rc::new),
            };
            unix.push((path.clone(), socket.map_err(|error| told(path, error))?));
        }
        let inputs = vec![None; plan.inputs.len()];
        Ok(Self { plan, tcp, unix, inputs, drop })
    }

    /// The first frame for an engine, with `users`, its socket to `postrider-users`.
    pub(crate) fn start_frame(&mut self, users: OwnedFd) -> io::Result<(ToEngine, Vec<OwnedFd>)> {
        let (mut listeners, mut inputs, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
        for (name, _, socket) in &self.tcp {
            listeners.push(name.clone());
            descriptors.push(socket.try_clone()?);
        }
        self.inputs.fill(None);
        for number in 0..self.inputs.len() {
            let (state, file) = self.input(number);
            inputs.push(state);
            descriptors.extend(file);
        }
        descriptors.push(users);
        for (_, socket) in &self.unix {
            descriptors.push(socket.try_clone()?);
        }
        let settings = self.plan.settings.clone();
        Ok((ToEngine::Start { settings, listeners, inputs }, descriptors))
    }

    /// The state of an input now, and its descriptor if it is another than the one last passed.
    pub(crate) fn input(&mut self, number: usize) -> (InputState, Option<OwnedFd>) {
        let (Some(input), Some(known)) = (self.plan.inputs.get(number), self.inputs.get_mut(number)) else {
            return (InputState::Absent, None);
        };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = open(&input.path, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, file)));
        let (stat, file) = match opened {
            Ok((stat, _)) if !FileType::from_raw_mode(stat.st_mode).is_file() => {
                return (InputState::Unreadable(Errno::INVAL.raw_os_error()), None);
            }
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::NOTDIR) => {
                *known = None;
                return (InputState::Absent, None);
            }
            Err(errno) => return (InputState::Unreadable(errno.raw_os_error()), None),
        };
        if *known == Some(stamp(&stat)) {
            return (InputState::Unchanged, None);
        }
        if let Some(why) = input.distrust(stat.st_mode, stat.st_gid) {
            *known = None;
            return (InputState::Unsafe(why), None);
        }
        if is_being_written(&file) {
            return (InputState::Busy, Some(file));
        }
        *known = Some(stamp(&stat));
        (InputState::Open, Some(file))
    }

    /// Removes the socket files: all, or those that `next` does not have.
    pub(crate) fn remove_sockets(&self, next: Option<&Self>) {
        for (path, _) in &self.unix {
            if !next.is_some_and(|next| next.unix.iter().any(|(kept, _)| kept == path)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[rustfmt::skip]
fn stamp(s: &Stat) -> Stamp {
    (s.st_dev, s.st_ino, s.st_mtime, s.st_mtime_nsec, s.st_ctime, s.st_ctime_nsec, s.st_size)
}

/// Whether anybody has the file open for writing: the kernel grants a read lease only if nobody has. Where it cannot be
/// asked for (NFS, another's file) the answer is no, and the engine waits until the file is still.
#[allow(unsafe_code, reason = "no safe interface to leases")]
fn is_being_written(file: &OwnedFd) -> bool {
    use nix::libc::{EAGAIN, F_RDLCK, F_SETLEASE, F_UNLCK, fcntl};
    let lease = |kind: i32| {
        // SAFETY: a flag on our own descriptor. A writer that opens the file just now waits until the lease is given back below;
        // the signal that tells us so is ignored.
        unsafe { fcntl(file.as_raw_fd(), F_SETLEASE, kind) }
    };
    let granted = lease(F_RDLCK) == 0;
    if granted {
        lease(F_UNLCK);
    }
    !granted && io::Error::last_os_error().raw_os_error() == Some(EAGAIN)
}

/// `None` if the machine does not have the address and the plan can do without.
fn bind_tcp(wanted: &Listen, pid_file: &Path) -> Result<Option<OwnedFd>, String> {
    let v6 = wanted.address.is_ipv6();
    let tried = || -> Result<OwnedFd, Errno> {
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
        Err(errno) => {
            let holder = if errno == Errno::ADDRINUSE { holder(pid_file) } else { String::new() };
            Err(format!("cannot listen on {}: {errno}{holder}", wanted.address))
        }
    }
}

/// Who probably has what is in use: the server that wrote this pid file, if it lives. Nobody as far as we know: empty.
fn holder(pid_file: &Path) -> String {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 0);
    match pid.map(Pid::from_raw).filter(|pid| *pid != Pid::this()) {
        // EPERM: it lives, as somebody else.
        Some(pid) if kill(pid, None) != Err(nix::errno::Errno::ESRCH) => {
            format!("; is the server already running? pid {pid} from {}", pid_file.display())
        }
        _ => String::new(),
    }
}

/// A stale socket file is replaced, one that answers is not.
fn bind_unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
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
    Ok(socket.into())
}

/// Opens a folder, making it with this mode if absent. With `owner` it is given to him if it is root's; without, it
/// must be ours: the owner of the drop folder could remove others' mail.
fn folder(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> io::Result<File> {
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    match mkdirat(CWD, path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let ours = fstat(&file)?.st_uid == rustix::process::geteuid().as_raw();
    if ours {
        if let Some((uid, gid)) = owner {
            // Giving away `/etc` because of a slip in the configuration would be the end of the host.
            let foreign = rustix::fs::Dir::read_from(&file)?.any(|entry| {
                entry.is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".." | b"lost+found"))
            });
            if foreign && uid != rustix::process::geteuid().as_raw() {
                return Err(io::Error::other("it is there, belongs to root and is not empty"));
            }
            nix::unistd::fchown(&file, Some(uid.into()), Some(gid.into()))?;
        }
        fchmod(&file, Mode::from_raw_mode(mode))?;
    } else if owner.is_none() {
        return Err(io::Error::other("it is there and belongs to another user"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_an_address_is_named_while_it_lives() {
        let pid_file = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = Listen { name: "MTA".into(), address: taken.local_addr().unwrap(), required: true };
        let told = |pid: &str| {
            std::fs::write(&pid_file, format!("{pid}\n/usr/sbin/sendmail -bd\n")).unwrap();
            let text = bind_tcp(&wanted, &pid_file).unwrap_err();
            text.strip_prefix(&format!("cannot listen on {}: ", wanted.address)).unwrap().to_owned()
        };
        let parent = std::os::unix::process::parent_id().to_string();
        let named = format!("; is the server already running? pid {parent} from {}", pid_file.display());
        assert!(told(&parent).ends_with(&named), "{}", told(&parent));
        // Above what the kernel gives, ourselves at a reload, everybody, nothing.
        for nobody in ["2147483647", &std::process::id().to_string(), "-1", "0", "x", ""] {
            assert!(!told(nobody).contains("running"), "{nobody}");
        }
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_being_written() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let reader = || OwnedFd::from(File::open(&path).unwrap());
        let (first, second) = (reader(), reader());
        // Other readers, the engine among them, do not count.
        assert!(!is_being_written(&first) && !is_being_written(&second));
        let writer = File::options().append(true).open(&path).unwrap();
        assert!(is_being_written(&first));
        drop(writer);
        assert!(!is_being_written(&first));
        // Nothing is left behind that would hold up a writer.
        File::options().write(true).open(&path).unwrap();
    }
}
