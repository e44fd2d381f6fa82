//! Everything that is not offered: unknown and unimplemented verbs, AUTH without mechanisms, and HTTP.

use super::{Session, Step};
use crate::Reply;

/// How much of an unknown command is echoed, in characters.
const ECHO: usize = 80;

impl Session {
    pub(super) fn unknown(&mut self, text: &str) -> Step {
        let echo: String = text.chars().take(ECHO).collect();
        self.error(Reply::permanent(500, 5, 1, format!("Command unrecognized: \"{echo}\"")))
    }
    pub(super) fn not_implemented(&mut self, verb: &str) -> Step {
        let text = format!("Command not implemented: \"{}\"", verb.to_ascii_uppercase());
        self.error(Reply::permanent(502, 5, 1, text))
    }
    pub(super) fn auth_verb(&mut self) -> Step {
        self.error(Reply::permanent(503, 3, 3, "AUTH not available"))
    }
    /// A browser that was made to post to us must not get any of its lines executed (ALPACA, CVE-2021-3618; S-76).
    pub(super) fn http_verb() -> Step {
        Step::Close(Reply::permanent(554, 5, 1, "HTTP is not spoken here"))
    }
}
