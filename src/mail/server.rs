//! The SMTP server as a pure state machine (RFC 5321). `receive` owns the socket, calls [`Session::command`] for each line
//! and does what the [`Step`] asks; decisions come back through [`Session::sender`], [`Session::recipient`] and
//! [`Session::data`].
//!
//! One file per verb. Reply texts are sendmail's where programs read them (sendmail.md 2.11).

mod data;
mod ehlo;
mod etrn;
mod helo;
mod help;
mod mail;
mod noop;
mod privacy;
mod quit;
mod rcpt;
mod rset;
mod starttls;
#[cfg(test)]
mod tests;
mod unknown;
mod vrfy;

pub use crate::command::{Notify, Ret};
pub use mail::MailFrom;
pub use privacy::Privacy;
pub use rcpt::RcptTo;

use crate::Reply;
use crate::command::{Command, Malformed, parse};

/// Limits of a session; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest message in octets, announced with SIZE.
    pub message_size: u64,
    /// Accepted recipients in one transaction; the next gets 452.
    pub recipients: u32,
    /// Permanent errors; the one after them is 421 and the end.
    pub errors: u32,
}

/// Extensions that a client is not offered, over and above what the settings keep from everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Withheld {
    /// STARTTLS.
    pub starttls: bool,
    /// PIPELINING; who pipelines all the same is served.
    pub pipelining: bool,
    /// DSN.
    pub dsn: bool,
    /// ETRN.
    pub etrn: bool,
    /// EXPN.
    pub expn: bool,
    /// VERB.
    pub verb: bool,
}

/// Where a session stands. The greeting name lives beside it, in [`Hello`].
#[derive(Debug)]
enum State {
    /// No HELO or EHLO yet.
    Fresh,
    /// Greeted, no transaction.
    Greeted,
    /// The caller decides on the sender.
    Sender(Box<MailFrom>),
    /// A sender and no recipient.
    Mail(Box<MailFrom>),
    /// A sender and recipients.
    Rcpt { from: Box<MailFrom>, recipients: u32 },
    /// After 354.
    Content { from: Box<MailFrom>, recipients: u32 },
}

/// What the client said in HELO or EHLO.
#[derive(Debug, Default)]
struct Hello {
    name: String,
    extended: bool,
}

/// One SMTP session.
#[derive(Debug)]
pub struct Session {
    host: String,
    version: String,
    peer: String,
    limits: Limits,
    privacy: Privacy,
    tls_offered: bool,
    pipelining: bool,
    tls: Option<String>,
    hello: Hello,
    state: State,
    /// The recipient the caller is deciding on.
    asked: Option<RcptTo>,
    /// A sender or recipient of this transaction was refused. A client that pipelines cannot know yet: what fails only
    /// for that reason is no error of its own.
    refused: bool,
    errors: u32,
    closing: bool,
    /// What every command but the harmless ones is answered with, if the client is not welcome.
    unwelcome: Option<Reply>,
}

/// What to do about a command.
#[derive(Debug)]
pub enum Step {
    /// Send this.
    Reply(Reply),
    /// Send this and close.
    Close(Reply),
    /// Decide on the sender, then call [`Session::sender`].
    Sender(MailFrom),
    /// Decide on the recipient, then call [`Session::recipient`].
    Recipient(RcptTo),
    /// Decide whether to take content, then call [`Session::data`].
    Content,
    /// Answer VRFY for this argument.
    Verify(String),
    /// Answer EXPN for this argument.
    Expand(String),
    /// Start a queue run for this host (ETRN), and answer.
    RunQueue(String),
    /// Send this, make sure that nothing else was read (S-23), do the handshake, call [`Session::tls_started`].
    StartTls(Reply),
}

/// The transaction under way.
#[derive(Clone, Copy, Debug)]
pub struct Transaction<'a> {
    /// The sender and its parameters.
    pub from: &'a MailFrom,
    /// Recipients accepted so far.
    pub recipients: u32,
}

impl Session {
    /// A session that has just been opened. `host` is our name, `peer_text` what we say the client is
    /// (`localhost [127.0.0.1]`).
    #[must_use]
    pub fn new(host: &str, version: &str, peer_text: &str, limits: Limits, tls_offered: bool) -> Self {
        Self {
            host: host.to_owned(),
            version: version.to_owned(),
            peer: peer_text.to_owned(),
            limits,
            privacy: Privacy::default(),
            tls_offered,
            pipelining: true,
            tls: None,
            hello: Hello::default(),
            state: State::Fresh,
            asked: None,
            refused: false,
            errors: 0,
            closing: false,
            unwelcome: None,
        }
    }
    /// What the client has to say first, and what it is not told; [`Privacy::default`] until then.
    pub fn set_privacy(&mut self, privacy: Privacy) {
        self.privacy = privacy;
    }
    /// Does not offer this to the client.
    pub fn withhold(&mut self, withheld: Withheld) {
        let Withheld { starttls, pipelining, dsn, etrn, expn, verb } = withheld;
        self.tls_offered &= !starttls;
        self.pipelining &= !pipelining;
        self.privacy.no_receipts |= dsn;
        self.privacy.no_etrn |= etrn;
        self.privacy.no_expn |= expn;
        self.privacy.no_verb |= verb;
    }
    /// The client is not welcome: every command that could lead to mail is answered with `reply`.
    pub fn refuse_all(&mut self, reply: Reply) {
        self.unwelcome = Some(reply);
    }
    /// The greeting; without a version (S-31). A client that is not welcome gets it as well and hears why at MAIL, as from sendmail.
    #[must_use]
    pub fn greeting(&self, date: &str) -> Reply {
        Reply::bare(220, format!("{} ESMTP Postrider; {date}", self.host))
    }
    /// One command line, without its CRLF.
    pub fn command(&mut self, line: &[u8]) -> Step {
        if self.closing {
            return Step::Close(self.too_many_errors());
        }
        let command = match parse(line) {
            Ok(command) => command,
            Err(Malformed::Control) => return self.error(Reply::permanent(500, 5, 2, "Illegal character in command")),
            Err(Malformed::Encoding) => return self.error(Reply::permanent(501, 5, 2, "Command is not valid UTF-8")),
        };
        if let Some(reply) = self.unwelcome.clone().filter(|_| !is_harmless(&command)) {
            return self.error(reply);
        }
        match command {
            Command::Helo(name) => self.helo_verb(name),
            Command::Ehlo(name) => self.ehlo_verb(name),
            Command::Mail(argument) => self.mail_verb(argument),
            Command::Rcpt(argument) => self.rcpt_verb(argument),
            Command::Incomplete(word) => self.incomplete(word),
            Command::Data(argument) => self.data_verb(argument),
            Command::Rset => self.rset_verb(),
            Command::Noop => Self::noop_verb(),
            Command::Quit => self.quit_verb(),
            Command::Vrfy(argument) => self.vrfy_verb(argument),
            Command::Expn(argument) => self.expn_verb(argument),
            Command::Etrn(argument) => self.etrn_verb(argument),
            Command::Verb => self.verb_verb(),
            Command::Help(topic) => self.help_verb(topic),
            Command::StartTls(argument) => self.starttls_verb(argument),
            Command::Auth => self.auth_verb(),
            Command::Http => Self::http_verb(),
            Command::NotImplemented(verb) => self.not_implemented(verb),
            Command::Unknown(text) => self.unknown(text),
        }
    }
    /// A command line was over the limit; its rest was thrown away (S-28).
    pub fn overlong(&mut self) -> Step {
        if self.closing {
            return Step::Close(self.too_many_errors());
        }
        self.error(Reply::permanent(500, 5, 2, "Line too long"))
    }
    /// The transaction is over: the content was read and answered, or given up.
    pub fn finish(&mut self) {
        if !matches!(self.state, State::Fresh) {
            self.state = State::Greeted;
        }
        self.asked = None;
        self.refused = false;
    }
    /// The transaction under way, from the accepted sender on.
    #[must_use]
    pub fn envelope(&self) -> Option<Transaction<'_>> {
        match &self.state {
            State::Fresh | State::Greeted | State::Sender(_) => None,
            State::Mail(from) => Some(Transaction { from, recipients: 0 }),
            State::Rcpt { from, recipients } | State::Content { from, recipients } => {
                Some(Transaction { from, recipients: *recipients })
            }
        }
    }
    /// What the client called itself; empty before HELO.
    #[must_use]
    pub fn helo(&self) -> &str {
        &self.hello.name
    }
    /// Whether it said EHLO.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        self.hello.extended
    }
    /// Whether TLS is on.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }
    /// The text given to [`Session::tls_started`]; empty without TLS.
    #[must_use]
    pub fn cipher(&self) -> &str {
        self.tls.as_deref().unwrap_or("")
    }
    /// The version given to [`Session::new`], for Received fields; no reply shows it.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
    /// Whether the last reply was the 421 for too many errors: send it and close.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing
    }
    /// A reply that is the client's fault, as a step. What it echoes is cut down to ASCII: SMTPUTF8 was not accepted for
    /// this line (RFC 6531 3.7.4).
    fn error(&mut self, mut reply: Reply) -> Step {
        for line in &mut reply.lines {
            *line = line.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
        }
        let reply = self.count(reply);
        if self.closing { Step::Close(reply) } else { Step::Reply(reply) }
    }
    /// Counts a permanent refusal; over the limit it becomes 421.
    fn count(&mut self, reply: Reply) -> Reply {
        if !reply.is_permanent() {
            return reply;
        }
        self.errors = self.errors.saturating_add(1);
        if self.limits.errors == 0 || self.errors <= self.limits.errors {
            return reply;
        }
        self.closing = true;
        self.too_many_errors()
    }
    fn too_many_errors(&self) -> Reply {
        Reply::temporary(421, 7, 0, format!("{} Too many errors, closing connection", self.host))
    }
}

/// Whether a command is answered as usual even if the client is not welcome.
fn is_harmless(command: &Command<'_>) -> bool {
    use Command::{Ehlo, Helo, Http, Noop, Quit, Rset};
    matches!(command, Helo(_) | Ehlo(_) | Noop | Rset | Quit | Http)
}
