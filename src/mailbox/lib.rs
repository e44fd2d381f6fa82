//! What an agent runs: delivery into one user's mbox or Maildir, as that user. Started by the keeper on the
//! engine's request (DESIGN §2); speaks `call::agent` over the given descriptor.
//!
//! While still root it reads nothing from outside: arguments, NSS, new identity, a check that there is no way back. Only then
//! does it take the first frame.

mod agent;
mod arguments;
mod convert;
mod identity;
mod maildir;
mod mbox;

use arguments::Arguments;
use identity::Identity;
use std::ffi::OsString;
use std::os::unix::net::UnixStream;

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

/// `postrider-agent (mailbox|user) USER --format mbox|maildir --path TEMPLATE --group GID --min-uid N
/// --engine-uid UID --socket-fd N`; the arguments come without the program's name. Returns the exit code.
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

fn serve(args: &[OsString], identity: Identity) -> Result<(), Error> {
    let arguments = Arguments::parse(args)?;
    let socket = UnixStream::from(identity::take_descriptor(arguments.socket)?);
    // NSS may hang: the engine hears of it as "killed by signal 14" (S-46, DESIGN §2).
    nix::unistd::alarm::set(60);
    let settled = identity::settle(&arguments, identity)?;
    nix::unistd::alarm::cancel();
    agent::serve(socket, &settled, &arguments)
}
