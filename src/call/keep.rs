//! Keeper ↔ engine, over fd 3 of the engine. The engine asks by number, by name of an account and by name of an entry, never by path.

use crate::agent::Kind;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Keeper → engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToEngine {
    /// First frame, and again after a reload. Descriptors: the inputs in order (absent ones are left out, see [`InputState`]), the drop
    /// folder, to be listed, the listeners in order, the submission socket, the control socket.
    Start {
        /// The settings as `postrider plan` printed them (JSON); the keeper does not look inside.
        settings: String,
        /// Which listener each descriptor is.
        listeners: Vec<String>,
        /// State of each input, by number.
        inputs: Vec<InputState>,
    },
    /// To the oldest question that has no answer yet; one descriptor if [`InputState::has_descriptor`].
    Answer(InputState),
    /// A process has ended or could not be started.
    Ended {
        /// The engine's ticket.
        ticket: u32,
        /// Why, for the log: "exit 0", "killed by signal 14", "fork: Resource temporarily unavailable".
        how: String,
    },
    /// Finish within the bound and exit.
    Stop,
    /// Write the state to the log (SIGUSR1).
    Dump,
}

/// How many descriptors of [`ToEngine::Start`] belong neither to inputs nor to listeners.
pub const OTHERS: usize = 3;

/// Which file it was, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Last change of the content: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// Last change of content or inode.
    pub changed: (i64, i64),
}

impl Seen {
    /// A file as it is now.
    #[must_use]
    pub fn of(about: &Metadata) -> Self {
        Self {
            device: about.dev(),
            inode: about.ino(),
            size: about.len(),
            modified: (about.mtime(), about.mtime_nsec()),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}

/// State of a file: of an input, or of an entry of the drop folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum InputState {
    /// A descriptor comes along.
    Open,
    /// As the engine said that it knows it.
    Unchanged,
    /// No such file; an entry is gone.
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

/// The sticky bit of a folder; among refused bits: it does not help.
pub const STICKY: u32 = 0o1000;

/// Why an input is not trusted; prints as sendmail says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unsafe {
    /// A group other than root's may write the file.
    GroupFile,
    /// Everybody may write the file.
    WorldFile,
    /// A group other than root's may write a folder on the way to it.
    GroupFolder,
    /// Everybody may write a folder on the way to it, and that it is sticky is not trusted.
    WorldFolder,
}

impl Unsafe {
    /// What is wrong with the mode of a file or of a folder, looking only at the bits in `refused` (`0o022`). Root's group is as good as root.
    /// In a sticky folder only the owner replaces a file, but anybody puts one where there is none (`X.db` beside `X`): [`STICKY`] in
    /// `refused` says that it is as bad as another.
    #[must_use]
    pub const fn of(folder: bool, mode: u32, gid: u32, refused: u32) -> Option<Self> {
        let bits = mode & refused;
        if folder && mode & STICKY != 0 && refused & STICKY == 0 {
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

/// As what a process is started, at the engine's request: it decides program and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// `postrider-agent`.
    Agent(Kind),
    /// `postrider-users`.
    Users,
}

/// Engine → keeper. Questions ([`FromEngine::Check`], [`FromEngine::Open`], [`FromEngine::Remove`]) are answered in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The engine has adopted what [`ToEngine::Start`] brought and serves.
    Ready,
    /// The settings cannot be used; the text says why. At first start the keeper gives up, with this exit code (sysexits).
    Refused(u8, String),
    /// Start a process; one descriptor: its end of a socket pair, which becomes its fd 3.
    Begin {
        /// Chosen by the engine, never reused while the process lives.
        ticket: u32,
        /// Which program, as whom.
        role: Role,
        /// Login name; without meaning for [`Role::Users`] and [`Kind::System`].
        user: String,
    },
    /// End a process (SIGKILL): one that does not see that its socket is closed.
    End {
        /// The engine's ticket.
        ticket: u32,
    },
    /// Question: is this input another than the one that the engine knows?
    Check {
        /// Input number.
        number: u16,
        /// What the engine has.
        known: Option<Seen>,
    },
    /// Question: the entry of this name in the drop folder, opened. [`InputState::Open`] only for a regular file with one link that
    /// nobody but its owner may read or write.
    Open(Vec<u8>),
    /// Question: remove the entry of this name from the drop folder; [`InputState::Absent`] when it is gone.
    Remove(Vec<u8>),
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
            (true, 0o1777, 0, 0o1022, Some(Unsafe::WorldFolder)),
            (true, 0o1775, 8, 0o1022, Some(Unsafe::GroupFolder)),
            (true, 0o1755, 8, 0o1022, None),
            (true, 0o1777, 0, 0o1000, None),
            (false, 0o1644, 8, 0o1022, None),
            (true, 0o777, 0, 0, None),
        ] {
            assert_eq!(Unsafe::of(folder, mode, gid, refused), wrong, "{folder} {mode:o} {gid} {refused:o}");
        }
    }
}
