//! One message into one user's mailbox, for `mail.local`: a `postrider-agent` of our own does it (src/mailbox), so that identity, both locks,
//! quoting and sync are the same as for the engine's deliveries. As root the agent becomes the user; started by him it is him.

use call::agent::{Batch, Done, Item, Order, Outcomes};
use call::frame::Connection;
use nix::unistd::{Group, User};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than the agent itself waits for anything (330 s).
const PATIENCE: Duration = Duration::from_secs(360);
/// Largest message.
const LIMIT: u64 = 1 << 30;
const NOBODY: u32 = 65_534;

/// A whole message, in a file without a name.
#[derive(Debug)]
pub(super) struct Stored {
    file: File,
    length: u64,
}

impl Stored {
    /// Empty, in a temporary folder or in the kernel's memory.
    pub(super) fn new() -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let opened =
            ["/var/tmp", "/tmp"].iter().find_map(|f| rustix::fs::open(*f, flags, Mode::RUSR | Mode::WUSR).ok());
        let file = match opened {
            Some(file) => file,
            None => rustix::fs::memfd_create("message", MemfdFlags::CLOEXEC)?,
        };
        Ok(Self { file: file.into(), length: 0 })
    }
    /// What it holds.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        let mut bytes = vec![0; self.length as usize];
        std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut bytes, 0).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

impl Write for Stored {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.length + bytes.len() as u64 > LIMIT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let written = self.file.write(bytes)?;
        self.length += written as u64;
        Ok(written)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the accounts say about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Yes,
    No,
    /// They could not be asked.
    Unavailable,
}

/// What became of a delivery; the numbers are the enhanced status' (subject, detail).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Durable.
    Delivered,
    /// Not now.
    Later((u16, u16), String),
    /// Never.
    Never((u16, u16), String),
}

/// Where mailboxes are.
pub(super) trait Mailboxes {
    /// Whether there is such a user.
    fn find(&self, user: &str) -> Found;
    /// Delivers; durable if it says so.
    fn deliver(&self, user: &str, sender: &str, message: &Stored) -> Fate;
}

/// This host's.
#[derive(Debug)]
pub(super) struct Agents {
    /// A file of the user's home folder instead of his mailbox (`-h`).
    pub file: Option<String>,
}

impl Mailboxes for Agents {
    fn find(&self, user: &str) -> Found {
        match User::from_name(user) {
            Ok(Some(_)) => Found::Yes,
            Ok(None) => Found::No,
            Err(_) => Found::Unavailable,
        }
    }
    fn deliver(&self, user: &str, sender: &str, message: &Stored) -> Fate {
        let later = |error: &dyn std::fmt::Display| {
            Fate::Later((3, 0), crate::output::without_number(&format!("mailbox agent: {error}")))
        };
        let (mut child, mut connection) = match self.start(user) {
            Ok(started) => started,
            Err(error) => return later(&error),
        };
        let order = Order::Deliver(Batch { items: vec![item(user, sender, message)], into: None, mailbox_size: 0 });
        let answer = connection.send(&order, &[message.file.as_fd()]).and_then(|()| connection.message::<Outcomes>());
        drop(connection);
        if answer.is_err() {
            // It hangs: what it had not synced by now it will not.
            let _may_be_gone = child.kill();
        }
        let ended = child.wait();
        match (answer, ended) {
            (Ok(Some(outcomes)), _) => match outcomes.outcomes.into_iter().next().map(|outcome| outcome.result) {
                Some(Done::Delivered(_)) => Fate::Delivered,
                Some(Done::Temporary(subject, detail, why)) => Fate::Later((subject, detail), why),
                Some(Done::Permanent(subject, detail, why)) => Fate::Never((subject, detail), why),
                _ => later(&"no answer"),
            },
            (Ok(None), Ok(status)) => later(&status),
            (Err(error), _) => later(&error),
            (_, Err(error)) => later(&error),
        }
    }
}

impl Agents {
    fn start(&self, user: &str) -> io::Result<(Child, Connection)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(PATIENCE))?;
        ours.set_write_timeout(Some(PATIENCE))?;
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty())?;
        let (kind, path) = match &self.file {
            None => ("mailbox", "/var/mail/{user}".to_owned()),
            Some(file) => ("user", format!("{{home}}/{file}")),
        };
        let group = Group::from_name("mail").ok().flatten().map_or(NOBODY, |group| group.gid.as_raw());
        let engine = User::from_name("postrider").ok().flatten().map_or(u32::MAX - 1, |user| user.uid.as_raw());
        let mut arguments: Vec<OsString> =
            [kind, user, "--format", "mbox", "--path", &path].map(OsString::from).to_vec();
        // No .forward is asked for and no program is run, whatever the agent could do.
        let unused =
            ["--forward", "", "--unsafe-file", "022", "--unsafe-folder", "022", "--host", "", "--shell", "/bin/false"];
        arguments.extend(unused.map(OsString::from));
        for (name, number) in [("--group", group), ("--min-uid", 1), ("--engine-uid", engine), ("--program-time", 1)] {
            arguments.extend([name.into(), number.to_string().into()]);
        }
        arguments.extend(["--socket-fd".into(), theirs.as_raw_fd().to_string().into()]);
        let mut failed = io::ErrorKind::NotFound.into();
        for (program, role) in programs() {
            let mut command = Command::new(&program);
            command.args(role).args(&arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::null());
            match command.spawn() {
                Ok(child) => return Ok((child, Connection::new(ours))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }
}

/// Beside this program, then where packages put it; `postrider` is every role.
fn programs() -> Vec<(PathBuf, Option<&'static str>)> {
    let own = std::env::current_exe().unwrap_or_default();
    let folders = own.parent().into_iter().chain([Path::new("/usr/sbin")]);
    folders.flat_map(|f| [(f.join("postrider-agent"), None), (f.join("postrider"), Some("agent"))]).collect()
}

fn item(user: &str, sender: &str, message: &Stored) -> Item {
    let now = crate::zone::now();
    Item {
        queue_id: "mail.local".to_owned(),
        sender: sender.to_owned(),
        recipient: user.to_owned(),
        from_date: mail::date::ctime(now, crate::zone::Zone::local().at(now).0),
        length: message.length,
        ..Item::default()
    }
}
