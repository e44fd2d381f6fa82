//! ETRN (RFC 1985) and VERB, in sendmail's words. Whether and how a queue is run is the caller's business.

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn etrn_verb(&mut self, argument: &str) -> Step {
        if self.privacy.no_etrn {
            return self.error(Reply::permanent(502, 7, 0, "Sorry, we do not allow this operation"));
        }
        if argument.is_empty() {
            return self.error(Reply::permanent(500, 5, 2, "Parameter required"));
        }
        Step::RunQueue(argument.to_owned())
    }
    /// Accepted for the scripts that say it; there is nothing to be verbose about, since delivery begins after the reply.
    pub(super) fn verb_verb(&mut self) -> Step {
        if self.privacy.no_verb || self.privacy.no_expn {
            return self.error(Reply::permanent(502, 7, 0, "Verbose unavailable"));
        }
        Step::Reply(Reply::success(250, 0, 0, "Verbose mode"))
    }
}
