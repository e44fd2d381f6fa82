//! VRFY and EXPN (RFC 5321 4.1.1.6 and 4.1.1.7). Whether VRFY tells anything is the caller's decision; EXPN never does
//! (S-31).

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn vrfy_verb(&mut self, argument: &str) -> Step {
        if argument.is_empty() {
            return self.error(Reply::permanent(501, 5, 2, "Argument required"));
        }
        Step::Verify(argument.to_owned())
    }
    pub(super) fn expn_verb(&mut self) -> Step {
        self.error(Reply::permanent(502, 7, 0, "Sorry, we do not allow this operation"))
    }
}
