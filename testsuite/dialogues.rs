//! Runs `dialogues/*.smtp`: what a client says and what the server must answer, one server per file.
//! `cargo test -p testsuite --test dialogues -- smuggling` runs the files whose names contain that word.
//!
//! ```text
//! # comment
//! KDL limits { recipients 3 }     a node added to the configuration (before the first line of dialogue)
//! AT 198.51.100.1                 listens here instead of 127.0.0.1 (only inside testsuite/host)
//! FROM 198.51.100.9               connects from here (only inside testsuite/host)
//! C: EHLO client.test             sent with CRLF
//! C> a\nb\0\x80\r\n               sent as escaped, nothing added
//! C* 300 x\r\n                    the escaped text 300 times
//! S: 250                          one reply with this code; `.` stands for any digit
//! S: 250 2.1.0 *Sender ok         … and a line that matches (`*` is anything), code and all but `-`
//! S+ PIPELINING                   the same reply also has a line whose text matches
//! S- STARTTLS                     … and none that matches
//! TLS                             handshake and EHLO
//! NEW                             another connection
//! CLOSED                          the server has closed, or closes
//! MAIL nobody 1                   the user's mailbox gets this many messages, not more
//! BODY nobody a\nb\n              one of them has this in its text
//! SINK 1                          so many messages reach the smart host
//! ```
#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use testsuite::smtp::Reply;
use testsuite::{Server, Setup, Sink, Smtp, Zone, mbox};

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("dialogues");
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|p| p.extension().is_some_and(|e| e == "smtp"));
    names.retain(|p| wanted.is_empty() || wanted.iter().any(|w| p.to_string_lossy().contains(w.as_str())));
    names.sort();
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for path in names {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if text.lines().any(|l| l.starts_with("AT ")) && std::env::var_os("POSTRIDER_HOST").is_none() {
            println!("test dialogues::{name} ... ignored, SKIPPED: needs testsuite/host");
            skipped += 1;
            continue;
        }
        match std::panic::catch_unwind(|| dialogue(&text)) {
            Ok(Ok(())) => {
                println!("test dialogues::{name} ... ok");
                passed += 1;
            }
            Ok(Err(e)) => {
                println!("{}:{e}\ntest dialogues::{name} ... FAILED", path.display());
                failed += 1;
            }
            Err(_) => {
                println!("test dialogues::{name} ... FAILED");
                failed += 1;
            }
        }
    }
    println!("test result: dialogues. {passed} passed; {failed} failed; {skipped} ignored");
    ExitCode::from(u8::from(failed > 0))
}

struct Run {
    server: Server,
    sink: Sink,
    from: Option<IpAddr>,
    session: Smtp,
    last: Reply,
}

/// Runs one file; the error names line and reason.
fn dialogue(text: &str) -> Result<(), String> {
    let sink = Sink::start();
    // Senders who are strangers must have a domain that exists.
    let zone = Zone::start("far.test A 192.0.2.1\n");
    let mut setup = Setup::default().relay_to(sink.address);
    setup.dns = Some(zone.address);
    let (mut at, mut from) = (IpAddr::from([127, 0, 0, 1]), None);
    for line in text.lines() {
        match line.split_once(' ') {
            Some(("KDL", node)) => setup = setup.with(node),
            Some(("AT", address)) => at = address.trim().parse().unwrap(),
            Some(("FROM", address)) => from = Some(address.trim().parse().unwrap()),
            _ => {}
        }
    }
    setup.listen = format!("listen \"{at}:@PORT@\"");
    if text.lines().any(|l| l == "TLS" || l.starts_with("S+ STARTTLS")) {
        setup = setup.with("tls { certificate \"@F@/cert.pem\" key=\"@F@/key.pem\" }");
    }
    let mut server = Server::make(setup);
    server.address = SocketAddr::new(at, server.address.port());
    let (cert, key) = testsuite::sink::certificate();
    for (name, pem) in [("cert.pem", cert), ("key.pem", key)] {
        fs::write(server.path(name), pem).unwrap();
    }
    server.start();
    let session = connect(&server, from).map_err(|e| format!("0: connect: {e}"))?;
    let mut run = Run { server, sink, from, session, last: Reply::default() };
    for (n, line) in text.lines().enumerate() {
        run.line(line).map_err(|e| format!("{}: {line}\n    {e}", n + 1))?;
    }
    Ok(())
}

fn connect(server: &Server, from: Option<IpAddr>) -> io::Result<Smtp> {
    match from {
        Some(from) => Smtp::connect_from(from, server.address),
        None => Smtp::connect(server.address),
    }
}

impl Run {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "C:" => self.send(format!("{rest}\r\n").as_bytes()),
            "C>" => self.send(&unescape(rest)),
            "C*" => {
                let (n, text) = rest.split_once(' ').ok_or("C* wants a number and a text")?;
                let n: usize = n.parse().map_err(|_| "not a number")?;
                self.send(&unescape(text).repeat(n))
            }
            "S:" => self.reply(rest),
            "S+" if !self.last.lines.iter().any(|l| matches(rest, text_of(l))) => {
                Err(format!("no such line in: {}", self.last.text()))
            }
            "S-" if self.last.lines.iter().any(|l| matches(rest, text_of(l))) => {
                Err(format!("there is such a line in: {}", self.last.text()))
            }
            "TLS" => self.session.starttls().map(|r| self.last = r).map_err(|e| format!("TLS: {e}")),
            "NEW" => {
                self.session = connect(&self.server, self.from).map_err(|e| e.to_string())?;
                Ok(())
            }
            "CLOSED" => match self.session.reply() {
                Err(e) if e.kind() != ErrorKind::WouldBlock => Ok(()),
                Err(_) => Err("still open after 30 s".into()),
                Ok(reply) => Err(format!("not closed, but: {}", reply.text())),
            },
            "MAIL" | "BODY" => self.mail(word, rest),
            "SINK" => {
                let n: usize = rest.parse().map_err(|_| "not a number")?;
                settle(n, || self.sink.len())
            }
            _ => Ok(()),
        }
    }
    /// A server that has closed already is no error here: the reply that follows tells.
    fn send(&mut self, data: &[u8]) -> Result<(), String> {
        match self.session.send(data) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err("the server does not read any more".into()),
            _ => Ok(()),
        }
    }
    fn reply(&mut self, wanted: &str) -> Result<(), String> {
        self.last = self.session.reply().map_err(|e| format!("no reply: {e}"))?;
        let (code, text) = wanted.split_once(' ').unwrap_or((wanted, "*"));
        let got = format!("{:03}", self.last.code);
        let codes = code.len() == 3 && code.chars().zip(got.chars()).all(|(w, g)| w == '.' || w == g);
        if codes && self.last.lines.iter().any(|l| matches(text, text_of(l))) {
            Ok(())
        } else {
            Err(format!("got {}", self.last.text()))
        }
    }
    fn mail(&self, word: &str, rest: &str) -> Result<(), String> {
        let (user, rest) = rest.split_once(' ').ok_or("wants a user and more")?;
        let path = self.server.mailbox(user);
        if word == "MAIL" {
            let n: usize = rest.parse().map_err(|_| "not a number")?;
            return settle(n, || mbox::read(&path).map_or(0, |m| m.len()));
        }
        let wanted = unescape(rest);
        let entries = mbox::read(&path)?;
        if entries.iter().any(|e| e.text.windows(wanted.len()).any(|w| w == wanted)) {
            return Ok(());
        }
        let all: Vec<_> = entries.iter().map(|e| String::from_utf8_lossy(&e.text).into_owned()).collect();
        Err(format!("not in {all:?}"))
    }
}

/// Waits for `n`, and a moment longer if something more might come.
fn settle(n: usize, count: impl Fn() -> usize) -> Result<(), String> {
    for _ in 0..1000 {
        if count() >= n {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(if n == 0 { 500 } else { 100 }));
    if count() == n { Ok(()) } else { Err(format!("{} messages", count())) }
}

/// A reply line without its code.
fn text_of(line: &str) -> &str {
    line.get(4..).unwrap_or_default()
}

/// Glob: `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, rest)) => text
            .strip_prefix(head)
            .is_some_and(|text| (0..=text.len()).filter_map(|at| text.get(at..)).any(|t| matches(rest, t))),
    }
}

/// `\r \n \t \0 \\ \xNN`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        if b != b'\\' {
            out.push(b);
            continue;
        }
        let Some((&code, after)) = rest.split_first() else {
            break;
        };
        rest = after;
        match code {
            b'r' => out.push(b'\r'),
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'0' => out.push(0),
            b'x' => {
                let hex = std::str::from_utf8(&rest[..2]).unwrap();
                out.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &rest[2..];
            }
            other => out.push(other),
        }
    }
    out
}
