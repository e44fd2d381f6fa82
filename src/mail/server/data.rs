//! DATA (RFC 5321 4.1.1.4): the command only; the content goes through `content::DataDecoder`.

use super::{Session, State, Step};
use crate::Reply;

impl Session {
    pub(super) fn data_verb(&mut self, argument: &str) -> Step {
        if !argument.is_empty() {
            return self.error(Reply::permanent(501, 5, 4, "DATA accepts no parameters"));
        }
        match &self.state {
            State::Rcpt { .. } => Step::Content,
            State::Mail(_) => self.out_of_order("Need RCPT (recipient)"),
            _ => self.out_of_order("Need MAIL command"),
        }
    }
    /// The caller's decision on [`Step::Content`]: `Ok(354…)`, then the content follows and [`Session::finish`] ends the
    /// transaction; or the refusal to send, and the transaction stays.
    ///
    /// # Errors
    /// The refusal.
    pub fn data(&mut self, decision: Result<(), Reply>) -> Result<Reply, Reply> {
        decision?;
        match std::mem::replace(&mut self.state, State::Greeted) {
            State::Rcpt { from, recipients } => {
                self.state = State::Content { from, recipients };
                Ok(Reply::bare(354, "End data with <CR><LF>.<CR><LF>"))
            }
            other => {
                self.state = other;
                Err(Reply::permanent(503, 0, 0, "Need MAIL command"))
            }
        }
    }
}
