//! STARTTLS (RFC 3207).

use super::{Hello, Session, State, Step};
use crate::Reply;

impl Session {
    pub(super) fn starttls_verb(&mut self, argument: &str) -> Step {
        if !argument.is_empty() {
            return self.error(Reply::permanent(501, 5, 2, "Syntax error (no parameters allowed)"));
        }
        if self.tls.is_some() {
            return self.error(Reply::permanent(503, 5, 0, "TLS already active"));
        }
        if !self.tls_offered {
            return Step::Reply(Reply::temporary(454, 3, 3, "TLS not available after start"));
        }
        Step::StartTls(Reply::success(220, 0, 0, "Ready to start TLS"))
    }
    /// The handshake is done: everything that was said before it is forgotten (RFC 3207 4.2, S-23). `cipher_text`
    /// describes it for the Received field.
    pub fn tls_started(&mut self, cipher_text: String) {
        self.tls = Some(cipher_text);
        self.hello = Hello::default();
        self.state = State::Fresh;
        self.asked = None;
        self.refused = false;
    }
}
