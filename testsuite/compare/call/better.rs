//! Named improvements of which sendmail can do the same when it is called otherwise: it gets that other call, and ours, with the call as it
//! is, must come to the same end. MIGRATION.md names them.

use crate::host;
use crate::model::{Call, Input};
use crate::run::{self, Side};
use std::process::Command;
use std::time::{Duration, Instant};

/// Flags that are accepted here and do nothing. `-E`, `-J`, `-x` and `-U` end sendmail; `-c`, `-oJ` cost an ordinary user its set-gid right, and
/// then it cannot reach its queue. So do `-s` and `-of`, whose effect shows only if the message begins with a From_ line.
const IGNORED: &[&[u8]] = &[b"-E", b"-J", b"-x", b"-U", b"-c", b"-oJ"];
const SAVE_FROM: &[&[u8]] = &[b"-s", b"-of"];
/// A CR inside a line is a blank. sendmail's own daemon refuses the submission program's CR, and the message stays in the client queue.
const BARE_CR: (&[u8], &[u8]) = (b"one\rtwo", b"one two");

/// With the call that sendmail gets, if that is another one.
pub fn call(mut call: Call) -> Call {
    let Input::Bytes(given) = &call.input else { return call };
    let from_line = given.starts_with(b"From ") || given.starts_with(b">From ");
    let end = call.arguments.iter().position(|a| a == b"--").unwrap_or(call.arguments.len());
    let ordinary = call.user != "root";
    let ignored = |a: &[u8]| IGNORED.contains(&a) || (SAVE_FROM.contains(&a) && ordinary && !from_line);
    let mut arguments: Vec<Vec<u8>> = Vec::new();
    for (n, argument) in call.arguments.iter().enumerate() {
        // Without a value sendmail reads one from behind the argument's end, where the next argument lies.
        let argument = if argument == b"IgnoreDots" { b"IgnoreDots=true".to_vec() } else { argument.clone() };
        if n >= end || !ignored(&argument) {
            arguments.push(argument);
        }
    }
    let mut input = replaced(given, BARE_CR);
    // The last line of a header needs no newline; sendmail forgets it.
    if input.ends_with(b"X-Last: line") {
        input.push(b'\n');
    }
    if arguments != call.arguments || input != *given {
        call.instead = Some((arguments, Input::Bytes(input)));
    }
    call
}

fn replaced(text: &[u8], (from, to): (&[u8], &[u8])) -> Vec<u8> {
    match text.windows(from.len()).position(|w| w == from) {
        Some(at) => [&text[..at], to, &text[at + from.len()..]].concat(),
        None => text.to_vec(),
    }
}

/// What sendmail does in no case, asked of ours alone.
pub fn hold(ours: &impl Side) {
    let long = "y".repeat(20_000);
    let calls = [
        Call::new("better: a long line", &["-i", "bob"], format!("Subject: x\n\n@M@\n{long}\n").as_bytes()),
        Call::new("better: nobody named", &["-t"], b"Subject: x\nX-Mark: @M@\n\nkept\n").by("dave"),
        Call::new("better: a header only", &["bob"], b"X-Mark: @M@\nSubject: the last line"),
        Call::new("better: nobody disclosed", &["-t"], b"To: undisclosed-recipients:;\nBcc: bob\nX-Mark: @M@\n\nhi\n"),
    ];
    let in_place = |of: &crate::model::Outcome, place: &str, text: &str| {
        assert_eq!((of.exit, of.messages.len()), (0, 1), "{of:?}");
        assert!(of.messages[0].place == place && of.messages[0].text.contains(text), "{of:?}");
    };
    let run = run::all(ours, &calls);
    in_place(&run.outcomes[0], "mailbox bob", &format!("\n{long}\n"));
    in_place(&run.outcomes[1], "dead.letter of dave", "\nkept");
    in_place(&run.outcomes[2], "mailbox bob", "\nSubject: the last line\n");
    in_place(&run.outcomes[3], "mailbox bob", "\nTo: undisclosed-recipients:;\n");
    let name = |name: &str| assert!(Command::new("hostname").arg(name).status().unwrap().success());
    // sendmail sleeps for a minute.
    name("nodot");
    let begin = Instant::now();
    let run = run::all(ours, &[Call::new("better: a host without a domain", &["bob"], b"X-Mark: @M@\n\nhi\n")]);
    name(host::NAME);
    in_place(&run.outcomes[0], "mailbox bob", "\nhi\n");
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}
