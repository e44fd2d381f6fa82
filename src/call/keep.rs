//! Keeper ↔ engine, over fd 3 of the engine. The engine asks by number and by name of an account, never by path.

use crate::agent::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Keeper → engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEngine {
    /// First frame, and again after a reload. Descriptors: the listeners in order, then the inputs in order
    /// (absent ones are left out, see [`InputState`]), then the users socket, then the submission socket and the control socket.
    Start {
        /// The settings as `postrider plan` printed them (JSON); the keeper does not look inside.
        settings: String,
        /// Which listener each descriptor is.
        listeners: Vec<String>,
        /// State of each input, by number.
        inputs: Vec<InputState>,
    },
    /// Answer to [`FromEngine::CheckInput`]; one descriptor if `state` is [`InputState::Open`].
    Input {
        /// Input number.
        number: u16,
        /// What is there now.
        state: InputState,
    },
    /// `postrider-users` was started anew; one descriptor.
    Users,
    /// An agent has ended or could not be started.
    AgentEnded {
        /// The engine's ticket.
        ticket: u32,
        /// Why, for the log: "exit 0", "killed by signal 14", "fork: Resource temporarily unavailable".
        how: String,
    },
    /// An entry of the drop folder; one descriptor, read only.
    Dropped {
        /// Its name, to be repeated in [`FromEngine::DropDone`].
        name: String,
        /// Owner of the file: the submitter, as the kernel says.
        uid: u32,
        /// Size in bytes.
        size: u64,
    },
    /// Finish within the bound and exit.
    Stop,
    /// Write the state to the log (SIGUSR1).
    Dump,
}

/// State of one input file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputState {
    /// A descriptor comes along.
    Open,
    /// As it was when last passed.
    Unchanged,
    /// No such file.
    Absent,
    /// There, but cannot be read: errno.
    Unreadable(i32),
    /// There, but somebody else could have written it: refused (sendmail's DontBlameSendmail defaults).
    Unsafe(Unsafe),
    /// Another than was last passed, and open for writing somewhere: perhaps half written. A descriptor comes along, and it will
    /// be passed again.
    Busy,
}

impl InputState {
    /// Whether a descriptor comes with it.
    #[must_use]
    pub const fn has_descriptor(self) -> bool {
        matches!(self, Self::Open | Self::Busy)
    }
}

/// Why an input is not trusted; prints as sendmail says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unsafe {
    /// A group other than root's may write the file.
    GroupFile,
    /// Everybody may write the file.
    WorldFile,
    /// A group other than root's may write a folder on the way to it.
    GroupFolder,
    /// Everybody may write a folder on the way to it, and it is not sticky.
    WorldFolder,
}

impl Unsafe {
    /// What is wrong with the mode of a file or of a folder, looking only at the bits in `refused` (`0o022`). Root's group is as good as root,
    /// and in a sticky folder only the owner replaces a file.
    #[must_use]
    pub const fn of(folder: bool, mode: u32, gid: u32, refused: u32) -> Option<Self> {
        let bits = mode & refused;
        if folder && mode & 0o1000 != 0 {
            return None;
        }
        match (bits & 0o002 != 0, bits & 0o020 != 0 && gid != 0, folder) {
            (true, _, false) => Some(Self::WorldFile),
            (true, _, true) => Some(Self::WorldFolder),
            (false, true, false) => Some(Self::GroupFile),
            (false, true, true) => Some(Self::GroupFolder),
            (false, false, _) => None,
        }
    }
}

impl fmt::Display for Unsafe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GroupFile => "Group writable file",
            Self::WorldFile => "World writable file",
            Self::GroupFolder => "Group writable directory",
            Self::WorldFolder => "World writable directory",
        })
    }
}

/// Engine → keeper.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The engine has adopted what [`ToEngine::Start`] brought and serves.
    Ready,
    /// The settings cannot be used; the text says why. At first start the keeper gives up.
    Refused(String),
    /// Start an agent; one descriptor: its end of a socket pair, which becomes the agent's fd 3.
    StartAgent {
        /// Chosen by the engine, never reused while the agent lives.
        ticket: u32,
        /// Which identity.
        kind: Kind,
        /// Login name.
        user: String,
    },
    /// Has this input changed since it was last passed?
    CheckInput {
        /// Input number.
        number: u16,
    },
    /// The entry is durable in the queue (or was refused for good and logged): unlink it.
    DropDone {
        /// The entry's name.
        name: String,
    },
    /// The entry cannot be taken now (disk full): leave it, offer it again later.
    DropLater {
        /// The entry's name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_may_write() {
        for (folder, mode, gid, refused, wrong) in [
            (false, 0o644, 8, 0o022, None),
            (false, 0o664, 8, 0o022, Some(Unsafe::GroupFile)),
            (false, 0o664, 0, 0o022, None),
            (false, 0o664, 8, 0o002, None),
            (false, 0o1666, 0, 0o022, Some(Unsafe::WorldFile)),
            (true, 0o775, 8, 0o022, Some(Unsafe::GroupFolder)),
            (true, 0o777, 0, 0o022, Some(Unsafe::WorldFolder)),
            (true, 0o1777, 0, 0o022, None),
            (true, 0o777, 0, 0, None),
        ] {
            assert_eq!(Unsafe::of(folder, mode, gid, refused), wrong, "{folder} {mode:o} {gid} {refused:o}");
        }
    }
}
