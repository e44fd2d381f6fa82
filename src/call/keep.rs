//! Keeper ↔ engine, over fd 3 of the engine. The engine asks by number and by name of an account, never by path.

use crate::agent::Kind;
use serde::{Deserialize, Serialize};

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
