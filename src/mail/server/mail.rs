//! MAIL (RFC 5321 4.1.1.2) and the decision on the sender.

use super::{Ret, Session, State, Step};
use crate::command::mail_parameters;
use crate::path;
use crate::{Address, Reply};

/// A sender and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailFrom {
    /// The address; null for `<>`.
    pub address: Address,
    /// As written, with its brackets.
    pub given: String,
    /// Whether it is null or has a domain. Only local clients may leave it out: the caller decides.
    pub qualified: bool,
    /// SIZE.
    pub size: Option<u64>,
    /// BODY=8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded; empty if not given.
    pub envid: String,
    /// AUTH=, decoded; to be trusted from trusted clients only.
    pub auth: Option<String>,
}

impl Session {
    pub(super) fn mail_verb(&mut self, argument: &str) -> Step {
        match &self.state {
            State::Fresh if self.privacy.mail_needs_hello => {
                return self.error(Reply::permanent(503, 0, 0, "Polite people say HELO first"));
            }
            State::Fresh | State::Greeted => {}
            _ => return self.error(Reply::permanent(503, 5, 0, "Sender already specified")),
        }
        // Whatever follows a refused MAIL in the same pipeline fails only because of it.
        self.refused = true;
        match self.read_mail(argument) {
            Ok(from) => {
                self.refused = false;
                self.state = State::Sender(Box::new(from.clone()));
                Step::Sender(from)
            }
            Err(reply) => self.error(reply),
        }
    }
    fn read_mail(&self, argument: &str) -> Result<MailFrom, Reply> {
        let path = path::reverse_path(argument)
            .map_err(|why| Reply::permanent(553, 1, 7, format!("{}... {why}", path::written(argument))))?;
        let parameters = mail_parameters(path.rest)?;
        if !parameters.smtputf8 && !path.address.is_ascii() {
            return Err(Reply::permanent(553, 6, 7, "Non-ASCII address requires SMTPUTF8"));
        }
        if self.privacy.no_receipts && (parameters.ret.is_some() || !parameters.envid.is_empty()) {
            return Err(no_receipts(if parameters.ret.is_some() { "RET" } else { "ENVID" }));
        }
        let limit = self.limits.message_size;
        if limit != 0 && parameters.size.is_some_and(|size| size > limit) {
            let text = format!("Message size exceeds fixed maximum message size ({limit})");
            return Err(Reply::permanent(552, 2, 3, text));
        }
        Ok(MailFrom {
            qualified: path.address.is_null() || path.address.domain().is_some(),
            given: path.given.to_owned(),
            address: path.address,
            size: parameters.size,
            eight_bit: parameters.eight_bit,
            smtputf8: parameters.smtputf8,
            ret: parameters.ret,
            envid: parameters.envid,
            auth: parameters.auth,
        })
    }
    /// The caller's decision on [`Step::Sender`]; the reply to send. A refusal may come back as 421: then
    /// [`Session::is_closing`].
    pub fn sender(&mut self, decision: Result<(), Reply>) -> Reply {
        let from = match std::mem::replace(&mut self.state, State::Greeted) {
            State::Sender(from) => from,
            other => {
                // Nothing was asked.
                self.state = other;
                return Reply::permanent(503, 5, 0, "Sender already specified");
            }
        };
        match decision {
            Ok(()) => {
                let reply = Reply::success(250, 1, 0, format!("{}... Sender ok", from.given));
                self.state = State::Mail(from);
                reply
            }
            Err(reply) => {
                self.refused = true;
                self.count(reply)
            }
        }
    }
    /// MAIL without FROM: or RCPT without TO:.
    pub(super) fn incomplete(&mut self, word: &str) -> Step {
        let text = format!("Syntax error in parameters scanning \"{word}\"");
        self.error(Reply::permanent(501, 5, 2, text))
    }
}

/// A parameter of DSN, which is not offered.
pub(super) fn no_receipts(parameter: &str) -> Reply {
    Reply::permanent(504, 7, 0, format!("Sorry, {parameter} not supported, we do not allow DSN"))
}
