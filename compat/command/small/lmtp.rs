//! `mail.local -l`: LMTP (RFC 2033) on standard input and output, with the replies of sendmail's own (sendmail.md 2.8; measured). Speaks
//! with the mail server that started it. Unlike the original it does not take a bare line feed for a line's end once the client has
//! used CRLF: a message could otherwise end in its middle and go on as commands.

use super::mailbox::{Fate, Found, Mailboxes, Stored};
use crate::output::{Output, plain, without_number};
use std::io::{self, BufRead, Read, Write};

/// Longest command.
const COMMAND: usize = 2048;
/// Most recipients of a message.
const RECIPIENTS: usize = 10_000;
/// Read at once of a message's line.
const PIECE: u64 = 1 << 16;
const SYNTAX: &str = "500 5.5.2 Syntax error";
const PARAMETERS: &str = "501 5.5.4 Syntax error in parameters";

/// Serves until QUIT or the end.
pub(super) fn serve(
    input: impl BufRead,
    output: &mut Output,
    mailboxes: &impl Mailboxes,
    eight_bit: bool,
    full_is_final: bool,
) {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let (sender, recipients) = (None, Vec::new());
    let mut session = Session {
        input,
        output,
        mailboxes,
        eight_bit,
        full_is_final,
        name,
        greeted: false,
        bare_ends: None,
        sender,
        recipients,
    };
    session.say(&format!("220 {} LMTP ready", session.name));
    while let Ok(Some(command)) = session.command() {
        if !session.obey(&command) {
            break;
        }
    }
}

struct Session<'a, R, M> {
    input: R,
    output: &'a mut Output,
    mailboxes: &'a M,
    eight_bit: bool,
    full_is_final: bool,
    name: String,
    greeted: bool,
    /// Whether the first line ended in a bare LF; then all do.
    bare_ends: Option<bool>,
    sender: Option<String>,
    recipients: Vec<String>,
}

impl<R: BufRead, M: Mailboxes> Session<'_, R, M> {
    fn say(&mut self, line: &str) {
        self.output.text(line);
        self.output.text("\r\n");
        self.output.flush();
    }

    fn command(&mut self) -> io::Result<Option<String>> {
        let Some(line) = super::line(&mut self.input, COMMAND)? else { return Ok(None) };
        self.bare_ends.get_or_insert(!line.ends_with(b"\r"));
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        Ok(Some(String::from_utf8_lossy(line).into_owned()))
    }

    /// False at the end.
    fn obey(&mut self, command: &str) -> bool {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match (verb.to_ascii_lowercase().as_str(), rest) {
            ("lhlo", _) if !rest.is_empty() => self.hello(),
            ("mail", _) if !rest.is_empty() => self.mail(rest),
            ("rcpt", _) if !rest.is_empty() => self.recipient(rest),
            ("data", "") => return self.data().is_ok(),
            ("rset", "") => {
                self.forget();
                self.say("250 2.0.0 Ok");
            }
            ("noop", _) => self.say("250 2.0.0 Ok"),
            ("vrfy", _) if !rest.is_empty() => self.say("252 2.3.3 Try RCPT to attempt delivery"),
            ("quit", "") => {
                self.say("221 2.0.0 Bye");
                return false;
            }
            _ => self.say(SYNTAX),
        }
        true
    }

    fn forget(&mut self) {
        self.sender = None;
        self.recipients.clear();
    }

    fn hello(&mut self) {
        if std::mem::replace(&mut self.greeted, true) {
            return self.say(&format!("503 {} Duplicate LHLO", self.name));
        }
        self.say(&format!("250-{}", self.name));
        if self.eight_bit {
            self.say("250-8BITMIME");
        }
        self.say("250-ENHANCEDSTATUSCODES");
        self.say("250 PIPELINING");
    }

    fn mail(&mut self, rest: &str) {
        if self.sender.is_some() {
            return self.say("503 5.5.1 Nested MAIL command");
        }
        match path(rest, "from:") {
            Some(sender) => {
                self.sender = Some(plain(sender, 1_000));
                self.say("250 2.5.0 Ok");
            }
            None => self.say(PARAMETERS),
        }
    }

    fn recipient(&mut self, rest: &str) {
        if self.sender.is_none() {
            return self.say("503 5.5.1 Need MAIL command");
        }
        let Some(user) = path(rest, "to:").map(user) else {
            return self.say(PARAMETERS);
        };
        if self.recipients.len() >= RECIPIENTS {
            return self.say("452 4.5.3 Too many recipients");
        }
        match self.mailboxes.find(&user) {
            Found::Yes => {
                self.recipients.push(user);
                self.say("250 2.1.5 Ok");
            }
            Found::No => self.say("550 5.1.1 User unknown"),
            Found::Unavailable => self.say("451 4.3.0 User database failure; retry later"),
        }
    }

    /// An error ends the session: the client has gone in the middle of its message.
    fn data(&mut self) -> io::Result<()> {
        if self.recipients.is_empty() {
            self.say("503 5.5.1 No recipients");
            return Ok(());
        }
        self.say("354 Go ahead");
        let mut stored = Stored::new();
        self.message(&mut stored)?;
        let sender = self.sender.take().unwrap_or_default();
        for user in std::mem::take(&mut self.recipients) {
            let fate = match &stored {
                Ok(message) => self.mailboxes.deliver(&user, &sender, message),
                Err(error) => Fate::Later((3, 0), without_number(&format!("Temporary file write error: {error}"))),
            };
            let reply = self.reply(&user, fate);
            self.say(&reply);
        }
        Ok(())
    }

    fn reply(&self, user: &str, fate: Fate) -> String {
        match fate {
            Fate::Delivered => format!("250 2.1.5 {} Ok", plain(user, 200)),
            Fate::Later((2, 2), why) if self.full_is_final => format!("552 5.2.2 {}", plain(&why, 400)),
            Fate::Later((subject, detail), why) => format!("451 4.{subject}.{detail} {}", plain(&why, 400)),
            Fate::Never((subject, detail), why) => format!("550 5.{subject}.{detail} {}", plain(&why, 400)),
        }
    }

    /// Reads up to the lone dot into `stored`, which becomes the error that writing met; the rest is read all the same.
    fn message(&mut self, stored: &mut io::Result<Stored>) -> io::Result<()> {
        let end: &[u8] = if self.bare_ends == Some(true) { b"\n" } else { b"\r\n" };
        let (mut line_start, mut piece) = (true, Vec::new());
        loop {
            piece.clear();
            if self.input.by_ref().take(PIECE).read_until(b'\n', &mut piece)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // A CR at the end of a piece may belong to the LF that comes next.
            if piece.last() == Some(&b'\r') && self.input.fill_buf()?.first() == Some(&b'\n') {
                self.input.consume(1);
                piece.push(b'\n');
            }
            let mut text = piece.as_slice();
            if line_start && let Some(rest) = text.strip_prefix(b".") {
                if rest == end || rest == b"\r\n" {
                    return Ok(());
                }
                text = rest;
            }
            line_start = text.ends_with(end);
            let written = stored.as_mut().map_or(Ok(()), |stored| stored.write_all(text));
            if let Err(error) = written {
                *stored = Err(error);
            }
        }
    }
}

/// The address of `FROM:<address> …`, whatever follows it.
fn path<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let (word, rest) = text.split_at_checked(keyword.len())?;
    if !word.eq_ignore_ascii_case(keyword) {
        return None;
    }
    rest.strip_prefix('<')?.rsplit_once('>').map(|(address, _)| address)
}

/// The login name of an address: no route, no domain, no detail, no quotes.
fn user(address: &str) -> String {
    let address = if address.starts_with('@') { address.split_once(':').map_or("", |x| x.1) } else { address };
    let local = address.rsplit_once('@').map_or(address, |(local, _)| local);
    let local = local.strip_prefix('"').and_then(|l| l.strip_suffix('"')).unwrap_or(local);
    local.split('+').next().unwrap_or(local).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::small::mail_local::tests::Fake;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Codes heard, and what was delivered.
    fn talk(said: &str) -> (String, Vec<String>) {
        let (heard, fake) = (Heard::default(), Fake::default());
        let mut output = Output::to(Box::new(heard.clone()));
        serve(said.as_bytes(), &mut output, &fake, true, false);
        let text = String::from_utf8(heard.0.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("220 ") && text.lines().all(|l| l.len() > 3), "{text}");
        let last: Vec<&str> = text.split("\r\n").filter(|l| l.get(3..4) == Some(" ")).skip(1).collect();
        (last.join("\n"), fake.0.take())
    }

    #[test]
    fn replies_are_those_of_the_original() {
        let (heard, delivered) = talk(
            "MAIL FROM:<a@b> SIZE=3\r\nMAIL FROM:<c>\r\nRCPT TO:<alice>\r\nRCPT TO:<@r,@s:bob+d@mx.test> NOTIFY=NEVER\r\nRCPT TO:<no>\r\n\
             RCPT TO:<gone>\r\nRCPT TO:<full>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.x\r\nFrom a\r\n.\r\nDATA\r\nQUIT\r\nNOOP\r\n",
        );
        let expected = "250 2.5.0 Ok\n503 5.5.1 Nested MAIL command\n250 2.1.5 Ok\n250 2.1.5 Ok\n550 5.1.1 User unknown\n\
                        451 4.3.0 User database failure; retry later\n250 2.1.5 Ok\n354 Go ahead\n250 2.1.5 alice Ok\n250 2.1.5 bob Ok\n\
                        451 4.2.2 mailbox full\n503 5.5.1 No recipients\n221 2.0.0 Bye";
        assert_eq!(heard, expected);
        let body = "Subject: x\r\n\r\n.\r\nx\r\nFrom a\r\n";
        assert_eq!(delivered, [format!("alice from a@b: {body}"), format!("bob from a@b: {body}")]);
        let (heard, _) = talk(
            "LHLO\r\nLHLO x\r\nEHLO x\r\nNOOP\r\nVRFY alice\r\nRSET\r\nMAIL\r\nMAIL FROM:a\r\nmail from: <a>\r\nRCPT TO:<alice>\r\n\
             MAIL FROM:<>\r\nRCPT TO:alice\r\nQUIT now\r\n\r\nquit\r\n",
        );
        let codes: Vec<&str> = heard.lines().filter_map(|l| l.get(..3)).collect();
        assert_eq!(codes.join(" "), "500 250 500 250 252 250 500 501 501 503 250 501 500 500 221");
    }

    #[test]
    fn a_bare_line_feed_ends_nothing_for_who_speaks_crlf() {
        let head = "MAIL FROM:<a>\r\nRCPT TO:<alice>\r\nDATA\r\n";
        let (_, delivered) = talk(&format!("{head}a\n.\nMAIL FROM:<evil>\r\n\n.\r\nb\r\n.\r\nQUIT\r\n"));
        assert_eq!(delivered, ["alice from a: a\n.\nMAIL FROM:<evil>\r\n\n.\r\nb\r\n"]);
        let (_, delivered) = talk(&format!("{}a\n..\n.\nQUIT\n", head.replace('\r', "")));
        assert_eq!(delivered, ["alice from a: a\n.\n"]);
    }

    #[test]
    fn an_unfinished_message_is_nobodys() {
        for size in [1usize, 65_535, 65_536, 65_537, 200_000] {
            let body = "y".repeat(size);
            let head = "MAIL FROM:<a>\r\nRCPT TO:<alice>\r\nDATA\r\n";
            assert!(talk(&format!("{head}{body}\r\n")).1.is_empty());
            let (_, delivered) = talk(&format!("{head}{body}\r\n.\r\n"));
            assert_eq!(delivered, [format!("alice from a: {body}\r\n")], "{size}");
        }
    }
}
