//! Binds and makes what a plan names and the keeper does not hold yet. Called by `plan`, which runs as root, for the keeper, and ends.

use crate::output::complain;
use call::plan::{Listen, Plan};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::fs::{CWD, Mode, OFlags, fchmod, fstat, mkdirat, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

const BACKLOG: i32 = 1_024;

/// What was bound and opened: the drop folder, sockets in the order of the plan; and the plan without those addresses that this
/// machine does not have.
pub(crate) struct Bound {
    pub(crate) plan: Plan,
    pub(crate) descriptors: Vec<OwnedFd>,
}

/// What could not be made, for the log.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Somebody else has it.
    pub(crate) taken: bool,
    pub(crate) text: String,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { taken: false, text }
    }
}

/// Binds everything that is not in `held`.
pub(crate) fn make(mut plan: Plan, held: &[&str]) -> Result<Bound, Failure> {
    let told = |path: &Path, error: io::Error| {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        let holder = if taken { holder(&plan.pid_file) } else { String::new() };
        Failure { taken, text: format!("cannot create {}: {}{holder}", path.display(), config::plain(&error)) }
    };
    let (mut sockets, mut listeners) = (Vec::new(), Vec::new());
    for wanted in &plan.listen {
        if !held.contains(&wanted.address.to_string().as_str()) {
            match bind_tcp(wanted, &plan.pid_file)? {
                Some(socket) => sockets.push(socket),
                None => continue,
            }
        }
        listeners.push(wanted.clone());
    }
    let engine = rustix::process::geteuid().is_root().then_some(plan.engine);
    folder(&plan.spool, 0o700, engine).map_err(|error| told(&plan.spool, error))?;
    let drop = folder(&plan.drop, 0o1733, None).map_err(|error| told(&plan.drop, error))?;
    for (path, mode) in &plan.sockets {
        let done = match held.contains(&path.to_string_lossy().as_ref()) {
            true => std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)),
            false => bind_unix(path, *mode).map(|socket| sockets.push(socket)),
        };
        done.map_err(|error| told(path, error))?;
    }
    plan.listen = listeners;
    Ok(Bound { plan, descriptors: std::iter::once(drop.into()).chain(sockets).collect() })
}

/// `None` if the machine does not have the address and the plan can do without.
fn bind_tcp(wanted: &Listen, pid_file: &Path) -> Result<Option<OwnedFd>, Failure> {
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
            complain!("not listening on {}: {errno}", wanted.address);
            Ok(None)
        }
        Err(errno) => {
            let taken = errno == Errno::ADDRINUSE;
            let holder = if taken { holder(pid_file) } else { String::new() };
            Err(Failure { taken, text: format!("cannot listen on {}: {errno}{holder}", wanted.address) })
        }
    }
}

/// Who probably has what is in use: the server that wrote this pid file, if it lives. Nobody as far as we know: empty.
fn holder(pid_file: &Path) -> String {
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 0);
    // The keeper that has us run holds nothing that it asks for.
    match pid.map(Pid::from_raw).filter(|pid| *pid != Pid::parent()) {
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
            let Failure { taken: true, text } = bind_tcp(&wanted, &pid_file).unwrap_err() else { panic!() };
            text.strip_prefix(&format!("cannot listen on {}: ", wanted.address)).unwrap().to_owned()
        };
        let own = std::process::id().to_string();
        let named = format!("; is the server already running? pid {own} from {}", pid_file.display());
        assert!(told(&own).ends_with(&named), "{}", told(&own));
        // Above what the kernel gives, the keeper at a reload, everybody, nothing.
        for nobody in ["2147483647", &std::os::unix::process::parent_id().to_string(), "-1", "0", "x", ""] {
            assert!(!told(nobody).contains("running"), "{nobody}");
        }
    }

    #[test]
    fn what_is_held_is_not_bound_again() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let listen = |address| Listen { name: "MTA".into(), address, required: false };
        let plan = Plan {
            // Nobody has that address.
            listen: vec![listen(held), listen("192.0.2.1:25".parse().unwrap())],
            sockets: [(at("run/submit"), 0o666), (at("run/control"), 0o600)],
            spool: at("spool"),
            drop: at("drop"),
            pid_file: at("pid"),
            engine: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            ..Plan::default()
        };
        let first = make(plan.clone(), &[&held.to_string()]).unwrap();
        assert_eq!((first.plan.listen.len(), first.descriptors.len()), (1, 3), "folder and two sockets");
        let mode = |name: &str| at(name).metadata().unwrap().permissions().mode() & 0o7777;
        assert_eq!(
            [mode("spool"), mode("drop"), mode("run/submit"), mode("run/control")],
            [0o700, 0o1733, 0o666, 0o600]
        );
        let places: Vec<String> = first.plan.places();
        let again = make(plan.clone(), &places.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(again.descriptors.len(), 1);
        assert!(
            make(plan, &[&held.to_string()]).is_err_and(|why| why.taken && why.text.contains("submit")),
            "somebody answers there"
        );
    }
}
