//! `-bs`: SMTP on standard input and output, as alpine, nmh and swaks use it (RFC 5321; sendmail.md 1.2, 2.11). The protocol is
//! [`mail::server::Session`]; each message is prepared and submitted as one from the command line.
//!
//! A client that talks before the greeting is served: its input is a pipe from a local program, there is nobody to find out.

use crate::caller::Caller;
use crate::command_line::Command;
use crate::content::Content;
use crate::deliver::{Error, Fate, collect, offer, private_files};
use crate::input::Input;
use crate::output::Output;
use crate::place::Places;
use crate::wire::{Data, DataReader, Line, Wire};
use crate::zone::Zone;
use crate::{exit, host, zone};
use call::submit::{Errors, RECIPIENT_LIMIT, Received, Recipient};
use mail::Reply;
use mail::server::{Limits, MailFrom, Notify, RcptTo, Ret, Session, Step};
use std::io::Read;

/// Errors after which the client is sent away.
const ERRORS: u32 = 20;

/// Serves one session; returns the exit code: that of the last message that could not be taken.
pub fn run(command: &Command, places: &Places, source: impl Read, output: &mut Output) -> u8 {
    private_files();
    let caller = Caller::current();
    let limits =
        Limits { message_size: 0, recipients: u32::try_from(RECIPIENT_LIMIT).unwrap_or(u32::MAX), errors: ERRORS };
    let peer = format!("{}@localhost", caller.name);
    let mut dialogue = Dialogue {
        command,
        places,
        caller: &caller,
        session: Session::new(&host::full_name(), "", &peer, limits, false),
        wire: Wire::new(source),
        output,
        from: None,
        recipients: Vec::new(),
        exit: exit::OK,
    };
    dialogue.serve();
    dialogue.exit
}

struct Dialogue<'a, R> {
    command: &'a Command,
    places: &'a Places,
    caller: &'a Caller,
    session: Session,
    wire: Wire<R>,
    output: &'a mut Output,
    /// The transaction, beside the session's own view of it.
    from: Option<MailFrom>,
    recipients: Vec<RcptTo>,
    exit: u8,
}

impl<R: Read> Dialogue<'_, R> {
    fn serve(&mut self) {
        let greeting = self.session.greeting(&Zone::local().date(zone::now()));
        self.reply(&greeting);
        loop {
            let step = match self.wire.line(self.output) {
                Ok(Line::Whole(line)) => self.session.command(&line),
                Ok(Line::TooLong) => self.session.overlong(),
                Ok(Line::End) | Err(_) => return,
            };
            if !self.step(step) {
                return;
            }
        }
    }

    /// Does what the session asks; whether to go on.
    fn step(&mut self, step: Step) -> bool {
        let reply = match step {
            Step::Reply(reply) => reply,
            Step::Close(reply) => {
                self.reply(&reply);
                return false;
            }
            Step::Sender(from) => {
                self.recipients.clear();
                self.from = Some(from);
                self.session.sender(Ok(()))
            }
            Step::Recipient(to) => self.recipient(to),
            Step::Content => return self.content(),
            Step::Verify(_) => {
                Reply::success(252, 5, 2, "Cannot VRFY user; try RCPT to attempt delivery (or try finger)")
            }
            // Refused by the session's default privacy.
            Step::Expand(_) | Step::RunQueue(_) => Reply::permanent(502, 7, 0, "Sorry, we do not allow this operation"),
            Step::StartTls(_) => Reply::temporary(454, 3, 3, "TLS not available"),
        };
        self.reply(&reply);
        !self.session.is_closing()
    }

    fn recipient(&mut self, to: RcptTo) -> Reply {
        if to.address.domain().is_none() && to.address.user().starts_with(['|', '/']) {
            let text = format!("{}... Cannot mail directly to programs or files", to.given);
            return self.session.recipient(Err(Reply::permanent(550, 7, 1, text)));
        }
        // RSET and a new HELO empty the session's list, not ours; the first recipient after them does.
        if self.session.envelope().is_some_and(|t| t.recipients == 0) {
            self.recipients.clear();
        }
        let reply = self.session.recipient(Ok(()));
        if reply.is_success() {
            self.recipients.push(to);
        }
        reply
    }

    /// DATA; whether to go on.
    fn content(&mut self) -> bool {
        match self.session.data(Ok(())) {
            Ok(reply) => self.reply(&reply),
            Err(reply) => {
                self.reply(&reply);
                return true;
            }
        }
        let mut data = Data::default();
        let reply = self.message(&mut data);
        // Whatever went wrong, the rest of the data are no commands.
        if data.skip(&mut self.wire, self.output).is_err() {
            return false;
        }
        let reply = if data.is_bare() {
            self.exit = exit::DATA;
            Reply::permanent(554, 6, 0, "Bare carriage return or linefeed not allowed")
        } else {
            self.judge(reply)
        };
        self.session.finish();
        self.reply(&reply);
        true
    }

    fn message(&mut self, data: &mut Data) -> Result<Fate, Error> {
        let command = self.as_command();
        let mut content = Content::new(&self.places.drop);
        let mut input = Input::new(DataReader::new(data, &mut self.wire, self.output), true);
        let mut prepared = collect(&command, self.caller, &mut input, &mut content)?;
        drop(input);
        if data.is_bare() {
            return Ok(Fate::Never(exit::DATA, String::new()));
        }
        let submission = &mut prepared.submission;
        submission.received = self.received();
        submission.recipients = self.recipients.iter().map(recipient).collect();
        // Somebody else is given as the sender: the original has other words for it here.
        if !submission.warnings.is_empty() {
            let name = &self.caller.name;
            submission.warnings = format!("X-Authentication-Warning: {{host}}: {name} owned process doing -bs\r\n");
        }
        // With one recipient the reply says it all; with more, one reply cannot, and a bounce has to.
        submission.errors = if self.recipients.len() > 1 { Errors::Mail } else { Errors::Report };
        if let Some(from) = &self.from {
            submission.sender = from.address.as_str().to_owned();
            submission.envelope_id.clone_from(&from.envid);
            submission.eight_bit |= from.eight_bit;
            submission.return_headers = from.ret.map(|ret| ret == Ret::Headers);
        }
        Ok(offer(self.places, submission, &content))
    }

    /// What the Received field says, as for a message by SMTP.
    fn received(&self) -> Received {
        Received {
            host: self.session.helo().to_owned(),
            protocol: if self.session.is_extended() { "ESMTP" } else { "SMTP" }.to_owned(),
            recipient: match self.recipients.as_slice() {
                [only] => format!("<{}>", only.address.as_str()),
                _ => String::new(),
            },
        }
    }

    /// The transaction as a command line would give it, for what is the same: the generated fields.
    fn as_command(&self) -> Command {
        let mut command = self.command.clone();
        command.recipients.clear();
        command.from_header = false;
        command.sender = self.from.as_ref().map(|from| from.address.as_str().to_owned());
        command
    }

    fn judge(&mut self, result: Result<Fate, Error>) -> Reply {
        if let Ok(Fate::Taken { refused, .. }) = &result {
            self.exit = refused.first().map_or(self.exit, |first| first.exit);
        }
        match result {
            Ok(Fate::Taken { id, refused, .. }) => match refused.first() {
                Some(first) if refused.len() >= self.recipients.len() => {
                    Reply::permanent(550, 1, 1, format!("<{}>... {}", first.address, first.text))
                }
                _ if id.is_empty() => Reply::success(250, 0, 0, "Message accepted for delivery"),
                _ => Reply::success(250, 0, 0, format!("{id} Message accepted for delivery")),
            },
            Ok(Fate::Never(code, text)) => {
                self.exit = code;
                Reply::permanent(554, 0, 0, text)
            }
            Ok(Fate::Nobody(_)) => {
                self.exit = exit::TEMPORARY;
                Reply::temporary(451, 3, 0, "Message not accepted, please try again later")
            }
            Err(error) => {
                self.exit = error.exit();
                if self.exit == exit::DATA {
                    Reply::permanent(554, 6, 0, error.to_string())
                } else if error.is_full() {
                    Reply::temporary(452, 3, 1, "Insufficient disk space; try again later")
                } else {
                    Reply::temporary(451, 3, 0, "Cannot keep the message, please try again later")
                }
            }
        }
    }

    fn reply(&mut self, reply: &Reply) {
        self.output.text(&String::from_utf8_lossy(&reply.to_wire()));
    }
}

fn recipient(to: &RcptTo) -> Recipient {
    let Notify { never, success, failure, delay } = to.notify;
    Recipient {
        address: to.address.as_str().to_owned(),
        orcpt: to.orcpt.clone(),
        notify: u8::from(never) | u8::from(success) << 1 | u8::from(failure) << 2 | u8::from(delay) << 3,
    }
}
