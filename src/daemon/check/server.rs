//! The running server: whether it answers, and whether its processes are confined.

use super::Findings;
use call::frame::Connection;
use call::operator::{Reply, Request, Select};
use config::Config;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// An engine that answers at all does so at once.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn sockets(config: &Config, found: &mut Findings) {
    for (name, what) in
        [("submit", "sendmail leaves mail in the drop folder"), ("control", "mailq reads the queue itself")]
    {
        let path = Path::new(&config.run.folder).join(name);
        let told = path.display();
        let answer = connect(&path).and_then(|stream| if name == "submit" { hang_up(stream) } else { count(stream) });
        match answer {
            Ok(()) => found.ok("sockets", format!("{told} answers")),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                found.fail(
                    "sockets",
                    format!("{told} does not answer: the engine hangs or is stopped; meanwhile {what}"),
                );
            }
            Err(error) => {
                let why = config::plain(&error);
                found.fail("sockets", format!("{told}: {why}; until the server runs, {what}"));
            }
        }
    }
}

/// Connects without waiting: behind an engine that is stopped the queue of callers fills up.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    let stream = UnixStream::from(socket);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Says that nothing comes, and waits for the engine to hang up: the kernel connects to a stopped one as well.
fn hang_up(mut stream: UnixStream) -> io::Result<()> {
    rustix::net::shutdown(&stream, Shutdown::Write)?;
    match stream.read(&mut [0; 64]) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::CONNRESET) => Ok(()),
        other => other.map(drop),
    }
}

/// Counts messages of an id that there is not. A refusal is an answer, too.
fn count(stream: UnixStream) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    let select = Select { ids: vec!["none".to_owned()], ..Select::default() };
    let answer = connection.send(&Request::Count(select), &[]).and_then(|()| connection.message::<Reply>());
    match answer {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(io::Error::other("hung up without an answer")),
        Err(call::Error::Io(error)) => Err(error),
        Err(other) => Err(io::Error::other(other.to_string())),
    }
}

/// The keeper by its pid file, the engine as its child: whether each thread is confined.
pub(super) fn processes(config: &Config, found: &mut Findings) {
    let pid_file = config.run.pid_file.as_deref().unwrap_or_default();
    let text = std::fs::read_to_string(pid_file).unwrap_or_default();
    let Some(keeper) = text.lines().next().and_then(|line| line.parse::<u32>().ok()) else {
        return found.fail("processes", format!("no server is running ({pid_file}): sendmail -bd"));
    };
    let status = |at: String| std::fs::read_to_string(format!("/proc/{at}/status")).ok();
    let Some(about) = status(keeper.to_string()) else {
        return found.fail("processes", format!("{pid_file} names {keeper}, which is gone: sendmail -bd"));
    };
    match field(&about, "NoNewPrivs") {
        Some("0") => found.ok("processes", format!("keeper {keeper}: users' set-id programs work")),
        _ => found.warn("processes", format!("keeper {keeper} has no_new_privs: users' set-id programs do not work")),
    }
    let children = std::fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap_or_default();
    let is_engine = |pid: &&str| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|&byte| byte == 0).nth(1) == Some(b"engine")
    };
    let Some(engine) = children.split_whitespace().find(is_engine) else {
        return found
            .warn("processes", "the engine cannot be seen: it is not running, or /proc hides it from this user");
    };
    let threads = std::fs::read_dir(format!("/proc/{engine}/task")).map(|all| all.flatten().collect::<Vec<_>>());
    let threads: Vec<String> =
        threads.unwrap_or_default().iter().map(|thread| thread.file_name().to_string_lossy().into_owned()).collect();
    let confined = |thread: &&String| {
        let about = status(format!("{engine}/task/{thread}")).unwrap_or_default();
        // One that has just ended is no worse.
        about.is_empty() || (field(&about, "NoNewPrivs"), field(&about, "Seccomp")) == (Some("1"), Some("2"))
    };
    let count = threads.iter().filter(confined).count();
    match count == threads.len() {
        true => found.ok("processes", format!("engine {engine}: all {count} threads have seccomp and no_new_privs")),
        false => found.fail(
            "processes",
            format!("engine {engine}: {} threads are not confined; restart it", threads.len() - count),
        ),
    }
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_whole_names() {
        let status = "Seccomp_filters:\t1\nNoNewPrivs:\t1\nSeccomp:\t2\n";
        assert_eq!(
            (field(status, "Seccomp"), field(status, "NoNewPrivs"), field(status, "Secc")),
            (Some("2"), Some("1"), None)
        );
    }
}
