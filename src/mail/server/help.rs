//! HELP (RFC 5321 4.1.1.8), without a version (S-31).

use super::{Session, Step};
use crate::Reply;

/// Each command and its shape.
const TOPICS: [(&str, &str); 14] = [
    ("HELO", "HELO domain"),
    ("EHLO", "EHLO domain: the extensions are in the reply"),
    ("MAIL", "MAIL FROM:<sender> [SIZE=n] [BODY=7BIT or 8BITMIME] [RET=FULL or HDRS] [ENVID=id] [SMTPUTF8]"),
    ("RCPT", "RCPT TO:<recipient> [NOTIFY=NEVER or SUCCESS,FAILURE,DELAY] [ORCPT=type;address]"),
    ("DATA", "DATA: the message follows; a line with a dot alone ends it"),
    ("RSET", "RSET: forget the sender and the recipients"),
    ("NOOP", "NOOP: do nothing"),
    ("QUIT", "QUIT: end the session"),
    ("HELP", "HELP [command]"),
    ("VRFY", "VRFY recipient: whether mail for it is taken"),
    ("EXPN", "EXPN recipient: what it stands for"),
    ("VERB", "VERB: accepted, without effect"),
    ("ETRN", "ETRN host or @domain: try the mail that waits for it"),
    ("STARTTLS", "STARTTLS: go on encrypted"),
];

impl Session {
    pub(super) fn help_verb(&mut self, topic: &str) -> Step {
        let lines = if topic.is_empty() {
            let names: Vec<&str> = TOPICS.iter().map(|(name, _)| *name).collect();
            vec!["This is Postrider".to_owned(), format!("Commands: {}", names.join(" "))]
        } else {
            match TOPICS.iter().find(|(name, _)| name.eq_ignore_ascii_case(topic)) {
                Some((_, shape)) => vec![(*shape).to_owned()],
                None => {
                    let topic: String = topic.chars().take(80).collect();
                    return self.error(Reply::permanent(504, 3, 0, format!("HELP topic \"{topic}\" unknown")));
                }
            }
        };
        let mut reply = Reply::success(214, 0, 0, "");
        reply.lines = lines;
        reply.lines.push("End of HELP info".to_owned());
        Step::Reply(reply)
    }
}
