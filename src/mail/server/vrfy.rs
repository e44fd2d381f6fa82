//! VRFY and EXPN (RFC 5321 4.1.1.6 and 4.1.1.7). What they tell is the caller's decision; strangers are told nothing by default (S-31).

use super::{Session, State, Step};
use crate::Reply;

impl Session {
    pub(super) fn vrfy_verb(&mut self, argument: &str) -> Step {
        if self.privacy.no_vrfy && !argument.is_empty() {
            let text = "Cannot VRFY user; try RCPT to attempt delivery (or try finger)";
            return Step::Reply(Reply::success(252, 5, 2, text));
        }
        self.asked_about(argument, self.privacy.vrfy_needs_hello, Step::Verify)
    }
    pub(super) fn expn_verb(&mut self, argument: &str) -> Step {
        if self.privacy.no_expn {
            return self.error(Reply::permanent(502, 7, 0, "Sorry, we do not allow this operation"));
        }
        self.asked_about(argument, self.privacy.expn_needs_hello, Step::Expand)
    }
    fn asked_about(&mut self, argument: &str, needs_hello: bool, step: fn(String) -> Step) -> Step {
        if needs_hello && matches!(self.state, State::Fresh) {
            return self.error(Reply::permanent(503, 0, 0, "I demand that you introduce yourself first"));
        }
        if argument.is_empty() {
            return self.error(Reply::permanent(501, 5, 2, "Argument required"));
        }
        step(argument.to_owned())
    }
}
