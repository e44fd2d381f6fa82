//! HELO (RFC 5321 4.1.1.1). EHLO shares the name check and the reset.

use super::{Hello, Session, State, Step};
use crate::Reply;

impl Session {
    pub(super) fn helo_verb(&mut self, name: &str) -> Step {
        match self.greet("HELO", name, false) {
            Ok(reply) => Step::Reply(reply),
            Err(reply) => self.error(reply),
        }
    }
    /// Takes the name and ends any transaction; a bad name leaves everything as it was (RFC 5321 4.1.4).
    pub(super) fn greet(&mut self, verb: &str, name: &str, extended: bool) -> Result<Reply, Reply> {
        if name.is_empty() {
            return Err(Reply::permanent(501, 0, 0, format!("{verb} requires domain address")));
        }
        if !is_name(name) {
            return Err(Reply::permanent(501, 0, 0, "Invalid domain name"));
        }
        self.hello = Hello { name: name.to_owned(), extended };
        self.state = State::Greeted;
        self.asked = None;
        self.refused = false;
        let text = format!("{} Hello {}, pleased to meet you", self.host, self.peer);
        Ok(Reply::bare(250, text))
    }
}

/// As lenient as sendmail: names with underscores and bare literals are common, and the name decides nothing. But it goes
/// into the Received field and the log.
fn is_name(name: &str) -> bool {
    name.len() <= 255 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]#+/".contains(&b))
}
