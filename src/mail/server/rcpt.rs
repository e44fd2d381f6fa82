//! RCPT (RFC 5321 4.1.1.3) and the decision on a recipient.

use super::mail::no_receipts;
use super::{Notify, Session, State, Step};
use crate::command::rcpt_parameters;
use crate::path;
use crate::{Address, Reply};

/// A recipient and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcptTo {
    /// The address; without a domain it is a user of this host (bare `postmaster`, RFC 5321 4.5.1).
    pub address: Address,
    /// As written, with its brackets.
    pub given: String,
    /// NOTIFY.
    pub notify: Notify,
    /// ORCPT as `type;address`, decoded; empty if not given.
    pub orcpt: String,
}

impl Session {
    pub(super) fn rcpt_verb(&mut self, argument: &str) -> Step {
        let (recipients, smtputf8) = match &self.state {
            State::Mail(from) => (0, from.smtputf8),
            State::Rcpt { from, recipients } => (*recipients, from.smtputf8),
            _ => return self.out_of_order("Need MAIL before RCPT"),
        };
        let limit = self.limits.recipients;
        if limit != 0 && recipients >= limit {
            return Step::Reply(Reply::temporary(452, 5, 3, "Too many recipients"));
        }
        match read_rcpt(argument, smtputf8).and_then(|rcpt| self.without_receipts(rcpt)) {
            Ok(rcpt) => {
                self.asked = Some(rcpt.clone());
                Step::Recipient(rcpt)
            }
            Err(reply) => {
                self.refused = true;
                self.error(reply)
            }
        }
    }
    /// The caller's decision on [`Step::Recipient`]; the reply to send. A refusal may come back as 421: then
    /// [`Session::is_closing`].
    pub fn recipient(&mut self, decision: Result<(), Reply>) -> Reply {
        let Some(rcpt) = self.asked.take() else {
            return Reply::permanent(503, 0, 0, "Need MAIL before RCPT");
        };
        if let Err(reply) = decision {
            self.refused = true;
            return self.count(reply);
        }
        self.state = match std::mem::replace(&mut self.state, State::Greeted) {
            State::Mail(from) => State::Rcpt { from, recipients: 1 },
            State::Rcpt { from, recipients } => State::Rcpt { from, recipients: recipients.saturating_add(1) },
            other => other,
        };
        Reply::success(250, 1, 5, format!("{}... Recipient ok", rcpt.given))
    }
    fn without_receipts(&self, rcpt: RcptTo) -> Result<RcptTo, Reply> {
        match (self.privacy.no_receipts, rcpt.notify.given(), rcpt.orcpt.is_empty()) {
            (false, ..) | (true, false, true) => Ok(rcpt),
            (true, true, _) => Err(no_receipts("NOTIFY")),
            (true, false, false) => Err(no_receipts("ORCPT")),
        }
    }
    /// 503; not counted if it only follows from a refusal in the same pipeline.
    pub(super) fn out_of_order(&mut self, text: &str) -> Step {
        let reply = Reply::permanent(503, 0, 0, text);
        if self.refused { Step::Reply(reply) } else { self.error(reply) }
    }
}

fn read_rcpt(argument: &str, smtputf8: bool) -> Result<RcptTo, Reply> {
    let path = path::forward_path(argument)
        .map_err(|why| Reply::permanent(553, 1, 3, format!("{}... {why}", path::written(argument))))?;
    let parameters = rcpt_parameters(path.rest)?;
    if !smtputf8 && !path.address.is_ascii() {
        return Err(Reply::permanent(553, 6, 7, "Non-ASCII address requires SMTPUTF8"));
    }
    Ok(RcptTo {
        given: path.given.to_owned(),
        address: path.address,
        notify: parameters.notify,
        orcpt: parameters.orcpt,
    })
}
