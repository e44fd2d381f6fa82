//! NOOP (RFC 5321 4.1.1.9); an argument is ignored.

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn noop_verb() -> Step {
        Step::Reply(Reply::success(250, 0, 0, "OK"))
    }
}
