//! HELP (RFC 5321 4.1.1.8), without a version (S-31).

use super::{Session, Step};
use crate::Reply;

impl Session {
    pub(super) fn help_verb() -> Step {
        let mut reply = Reply::success(214, 0, 0, "This is Postrider");
        for line in ["Commands: HELO EHLO MAIL RCPT DATA RSET NOOP QUIT VRFY HELP STARTTLS", "End of HELP info"] {
            reply.lines.push(line.to_owned());
        }
        Step::Reply(reply)
    }
}
