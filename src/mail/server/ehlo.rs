//! EHLO (RFC 5321 4.1.1.1): the greeting and what is offered, in sendmail's order.

use super::{Session, Step};

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
        let tls = self.tls_offered && self.tls.is_none();
        let offers = ["ENHANCEDSTATUSCODES", "PIPELINING", "8BITMIME", &size, "DSN", "SMTPUTF8"];
        reply.lines.extend(offers.map(str::to_owned));
        reply.lines.extend(tls.then(|| "STARTTLS".to_owned()));
        reply.lines.push("HELP".to_owned());
        Step::Reply(reply)
    }
}
