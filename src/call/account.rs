//! Engine ↔ `postrider-users`: account look-ups with three answers.

use serde::{Deserialize, Serialize};

/// One question; answers may come in any order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// Chosen by the asker, repeated in the answer.
    pub ticket: u32,
    /// Login name, exactly as it will be asked of NSS.
    pub name: String,
}

/// The answer to one question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The question's.
    pub ticket: u32,
    /// What NSS said.
    pub outcome: Outcome,
}

/// What NSS said. "I could not ask" is never "no such user".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The account exists.
    Found(Account),
    /// NSS answered that there is none.
    NotFound,
    /// NSS failed; the text is for the log.
    Unavailable(String),
}

/// A passwd entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The name as the database spells it.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Full name field, unparsed.
    pub gecos: String,
    /// Home directory.
    pub home: String,
    /// Login shell.
    pub shell: String,
}
