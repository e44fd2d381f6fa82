//! QUIT (RFC 5321 4.1.1.10), allowed at any time.

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn quit_verb(&mut self) -> Step {
        self.finish();
        Step::Close(Reply::success(221, 0, 0, format!("{} closing connection", self.host)))
    }
}
