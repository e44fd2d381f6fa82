//! RSET (RFC 5321 4.1.1.5).

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn rset_verb(&mut self) -> Step {
        self.finish();
        Step::Reply(Reply::success(250, 0, 0, "Reset state"))
    }
}
