//! What an agent runs: delivery into one user's mailbox, his files and programs, and what his `.forward` says, as that user; the same for
//! aliases as DefaultUser. Started by the keeper on the engine's request (DESIGN §2); speaks `call::agent` over the given descriptor.
//!
//! While still root it reads nothing: arguments, alias files opened, NSS, new identity, a check that there is no way back. Only then does
//! it take the first frame.

mod agent;
mod arguments;
mod biff;
mod command;
mod convert;
mod entry;
mod file;
mod forward;
mod found;
mod identity;
mod maildir;
mod mbox;
mod program;
mod quota;
mod trusted;
mod turn;

use agent::Desk;
use arguments::{Arguments, Format};
use call::agent::Kind;
use entry::AliasFiles;
use identity::{Identity, Person, Settled};
use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Why an agent cannot work.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The keeper's fault: arguments.
    #[error("postrider-agent: {0}")]
    Usage(String),
    /// The identity could not be taken on; nothing was read.
    #[error("postrider-agent: {0}")]
    Identity(String),
    /// The engine's socket failed or it sent nonsense.
    #[error("postrider-agent: {0}")]
    Socket(#[from] call::Error),
    /// A system call failed.
    #[error("postrider-agent: {0}")]
    Io(#[from] std::io::Error),
}

impl Error {
    /// sysexits.
    fn exit(&self) -> u8 {
        match self {
            Error::Usage(_) => 64,
            Error::Identity(_) => 77,
            Error::Socket(_) => 76,
            Error::Io(_) => 71,
        }
    }
}

/// `postrider-agent (mailbox|user|system|virtual) USER --format mbox|maildir --path TEMPLATE --group GID --min-uid N …` (`arguments.rs`); the arguments come without the program's name. Returns the exit code.
#[must_use]
pub fn run(args: Vec<OsString>) -> u8 {
    let identity = if nix::unistd::geteuid().is_root() { Identity::Change } else { Identity::Keep };
    match serve(&args, identity) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            error.exit()
        }
    }
}

/// A mailbox agent runs no programs, speaks to nobody and writes nothing but its mailbox (DESIGN §2). One for a user's programs is never confined so.
fn confine(person: &Person, arguments: &Arguments) -> Result<(), Error> {
    let mailbox = match arguments.kind {
        Kind::Virtual => arguments::fill_virtual(&arguments.path, &person.name).map(|(path, _)| path),
        _ => arguments::fill(&arguments.path, &person.name, &person.home.to_string_lossy()),
    };
    // A Maildir is a folder of its own; an mbox lies in one, with its lock. What is to be made is made in what is there.
    let own = usize::from(arguments.format != Format::Maildir);
    let folder = mailbox.as_deref().and_then(|path| path.ancestors().skip(own).find(|folder| folder.is_dir()));
    let allowed = confine::Allowed {
        // Tells whether the holder of a lock still lives.
        read: vec!["/proc".into()],
        write: folder.into_iter().map(Path::to_owned).collect(),
    };
    let makes_folders = arguments.format == Format::Maildir || arguments.kind == Kind::Virtual;
    let work = if makes_folders { confine::Work::Arrange } else { confine::Work::Append };
    if arguments.biff {
        biff::prepare();
    }
    confine::confine_to_files(&allowed, work).map_err(|error| Error::Identity(error.to_string()))?;
    Ok(())
}

fn serve(args: &[OsString], identity: Identity) -> Result<(), Error> {
    let mut arguments = Arguments::parse(args)?;
    let socket = UnixStream::from(identity::take_descriptor(arguments.socket)?);
    // NSS may hang: the engine hears of it as "killed by signal 14" (S-46, DESIGN §2).
    nix::unistd::alarm::set(60);
    let aliases = AliasFiles::open(&arguments);
    let settled = identity::settle(&mut arguments, identity)?;
    nix::unistd::alarm::cancel();
    if let (Settled::Recipient(person), Kind::Mailbox | Kind::Virtual, Identity::Change) =
        (&settled, arguments.kind, identity)
    {
        confine(person, &arguments)?;
    }
    agent::serve(socket, &Desk { settled: &settled, arguments: &arguments, aliases: &aliases })
}
