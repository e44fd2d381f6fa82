//! EHLO (RFC 5321 4.1.1.1): the greeting and what is offered, in sendmail's order.

use super::{Privacy, Session, Step};

impl Session {
    pub(super) fn ehlo_verb(&mut self, name: &str) -> Step {
        let mut reply = match self.greet("EHLO", name, true) {
            Ok(reply) => reply,
            Err(reply) => return self.error(reply),
        };
        let size = match self.limits.message_size {
            0 => "SIZE".to_owned(),
            limit => format!("SIZE {limit}"),
        };
        let Privacy { no_expn, no_verb, no_etrn, no_receipts, .. } = self.privacy;
        let tls = self.tls_offered && self.tls.is_none();
        let offers = [
            ("ENHANCEDSTATUSCODES", true),
            ("PIPELINING", self.pipelining),
            ("EXPN", !no_expn),
            ("VERB", !no_expn && !no_verb),
            ("8BITMIME", true),
            (&size, true),
            ("DSN", !no_receipts),
            ("ETRN", !no_etrn),
            ("SMTPUTF8", true),
            ("STARTTLS", tls),
            ("HELP", true),
        ];
        reply.lines.extend(offers.iter().filter(|(_, offered)| *offered).map(|(name, _)| (*name).to_owned()));
        Step::Reply(reply)
    }
}
