//! Runs calls against one side and finds their messages again by their marks.

use crate::host;
use crate::model::{Call, Input, Message, Outcome};
use crate::normal;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use testsuite::sink::{Act, At};
use testsuite::{Sink, server};

/// How many calls run at once.
const AT_ONCE: usize = 4;

/// One of the two.
pub trait Side: Sync {
    /// A program of it, run by this user.
    fn command(&self, user: &str, program: &str) -> Command;
    /// Delivers everything.
    fn settle(&self);
    /// All messages that are anywhere.
    fn messages(&self) -> Vec<Message>;
}

/// What became of some calls.
pub struct Run {
    /// One for each call.
    pub outcomes: Vec<Outcome>,
    /// Messages without a mark.
    pub stray: Vec<Message>,
}

/// Number of marks given out, for both sides in the same order.
pub fn mark(call: &Call) -> String {
    // Any text that is the same for both sides and in no other call; letters only, so that no normal form touches it.
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for byte in call.name.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    }
    let letters: String = (0..12).map(|n| char::from(b'a' + ((hash >> (n * 5)) % 26) as u8)).collect();
    format!("mark-{letters}-")
}

/// Runs all of them, waits until everything is delivered, and looks.
pub fn all(side: &impl Side, calls: &[Call]) -> Run {
    let before = side.messages();
    let (next, said) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(calls.len()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::SeqCst);
                    let Some(call) = calls.get(n) else { return };
                    let output = one(side, call);
                    said.lock().unwrap().insert(n, output);
                }
            });
        }
    });
    side.settle();
    let mut outcomes: Vec<Outcome> = said.into_inner().unwrap().into_values().map(outcome).collect();
    let marks: BTreeMap<String, usize> = calls.iter().enumerate().map(|(n, call)| (mark(call), n)).collect();
    let (mut stray, mut known) = (Vec::new(), BTreeMap::new());
    before.into_iter().for_each(|message| *known.entry(message).or_insert(0usize) += 1);
    for message in side.messages() {
        if let Some(seen) = known.get_mut(&message).filter(|n| **n > 0) {
            *seen -= 1;
            continue;
        }
        let of = message.text.match_indices("mark-").find_map(|(at, _)| marks.get(message.text.get(at..at + 18)?));
        match of {
            Some(&n) => outcomes[n].messages.push(message),
            None => stray.push(message),
        }
    }
    outcomes.iter_mut().for_each(|outcome| outcome.messages.sort());
    Run { outcomes, stray }
}

fn outcome(output: Output) -> Outcome {
    Outcome {
        exit: output.status.code().unwrap_or(-output.status.signal().unwrap_or(1)),
        stdout: normal::text(&output.stdout),
        stderr: normal::text(&output.stderr),
        messages: Vec::new(),
    }
}

fn one(side: &impl Side, call: &Call) -> Output {
    let mut command = side.command(call.user, call.program);
    let home = format!("/home/{}", call.user);
    command.env("HOME", home).env("USER", call.user).env("LOGNAME", call.user).current_dir("/");
    command.envs(call.environment.iter().copied());
    let mark = mark(call);
    command.args(call.arguments.iter().map(|a| std::ffi::OsStr::from_bytes(a)));
    match &call.input {
        Input::Bytes(bytes) => server::run(command, &marked(bytes, &mark)),
        Input::Dialogue(pieces) => talk(command, pieces.iter().map(|p| marked(p, &mark))),
    }
}

/// With the mark in its place.
fn marked(bytes: &[u8], mark: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(3).position(|w| w == b"@M@") {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(mark.as_bytes());
        rest = &rest[at + 3..];
    }
    out.extend_from_slice(rest);
    out
}

/// An SMTP client on the program's standard input and output.
fn talk(mut command: Command, pieces: impl Iterator<Item = Vec<u8>>) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    let mut heard = Vec::new();
    reply(&mut from, &mut heard);
    for piece in pieces {
        if to.write_all(&piece).is_err() {
            break;
        }
        reply(&mut from, &mut heard);
    }
    drop(to);
    while from.read_until(b'\n', &mut heard).is_ok_and(|n| n > 0) {}
    let mut output = child.wait_with_output().unwrap();
    output.stdout = heard;
    output
}

fn reply(from: &mut impl BufRead, heard: &mut Vec<u8>) {
    loop {
        let start = heard.len();
        if from.read_until(b'\n', heard).unwrap_or(0) == 0 || heard.get(start + 3) != Some(&b'-') {
            return;
        }
    }
}

/// The smart hosts of both offer DSN.
pub fn dsn(at: At) -> Act {
    match at {
        At::Ehlo => {
            Act::Say("250-sink.test\n250-PIPELINING\n250-8BITMIME\n250-SIZE 0\n250-DSN\n250 ENHANCEDSTATUSCODES".into())
        }
        _ => Act::Go,
    }
}

/// What a smart host took, one message for each recipient.
pub fn sunk(sink: &Sink) -> Vec<Message> {
    let mut messages = Vec::new();
    for taken in sink.taken() {
        // The size is that of another Received field, BODY is of one hop only, the order of the parameters means nothing.
        let sorted = |line: &str| {
            let mut words: Vec<&str> =
                line.split(' ').filter(|w| !w.starts_with("SIZE=") && !w.starts_with("BODY=")).collect();
            words.get_mut(2..).into_iter().for_each(<[&str]>::sort_unstable);
            normal::text(words.join(" ").as_bytes())
        };
        for rcpt in &taken.rcpt {
            let place = format!("sink {} {}", sorted(&taken.mail), sorted(rcpt));
            messages.push(Message { place, text: normal::text(&taken.text) });
        }
    }
    messages
}

/// The messages in the users' dead.letter files. Each begins with a From_ line; sendmail writes no empty line before it if the message
/// before has no body.
pub fn dead_letters(homes: &Path) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for user in host::USERS.iter().map(|u| u.0).chain(["root"]) {
        let place = format!("dead.letter of {user}");
        let bytes = std::fs::read(homes.join(user).join("dead.letter")).unwrap_or_default();
        let mut one: Vec<u8> = Vec::new();
        let mut end = |one: &mut Vec<u8>| {
            if !one.is_empty() {
                let text = std::mem::take(one);
                messages.push(Message { place: place.clone(), text: normal::text(text.trim_ascii_end()) });
            }
        };
        for line in bytes.split_inclusive(|&b| b == b'\n') {
            if line.starts_with(b"From ") {
                end(&mut one);
            }
            one.extend_from_slice(line);
        }
        end(&mut one);
    }
    messages
}
