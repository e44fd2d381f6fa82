//! Callers of the submission socket, good and bad: a thousand at once, one that stops in the middle; and what `-v` shows them.

use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use testsuite::sink::{Act, At};
use testsuite::{Server, Setup, Sink, mbox, message, process, scaled, seconds, wait_for};

/// Output of `sendmail -v`, in lines.
fn shown(server: &Server, arguments: &[&str]) -> Vec<String> {
    let out = server.sendmail(&[&["-v", "-i"], arguments].concat(), b"Subject: x\n\nthe body\n");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect()
}

/// All of `wanted` begin lines, in this order.
#[track_caller]
fn in_order(lines: &[String], wanted: &[&str]) {
    let mut rest = lines.iter();
    for wanted in wanted {
        assert!(
            rest.any(|line| line.starts_with(wanted)),
            "{wanted:?} is not there, or not in order:\n{}",
            lines.join("\n")
        );
    }
}

fn start(server: &Server, arguments: &[&str], text: &[u8]) -> Child {
    let mut command = server.command("sendmail");
    let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text).unwrap();
    child
}

fn end(child: &mut Child, within: Duration) -> i32 {
    let mut status = None;
    wait_for("the end of sendmail", within, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.and_then(|status| status.code()).unwrap()
}

#[test]
fn verbose_shows_the_dialogue() {
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let lines = shown(&server, &["u@far.test"]);
    let relay = format!("Connecting to [127.0.0.1] port {} via relay...", sink.address.port());
    let wanted = [
        &format!("u@far.test... {relay}"),
        "220 ",
        ">>> EHLO mx.test",
        "250-",
        ">>> MAIL From:<",
        ">>> RCPT To:<u@far.test>",
        ">>> DATA",
        "354 ",
        ">>> .",
        "250 ",
        "u@far.test... Sent (",
        "Closing connection to [127.0.0.1]",
        ">>> QUIT",
        "221 ",
        "u@far.test... Sent (",
    ];
    in_order(&lines, &wanted);
    assert!(lines.last().unwrap().ends_with(" Message accepted for delivery)"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("the body")), "{lines:?}");
    // Here, and nothing of it to somebody else: two recipients, two hops.
    let lines = shown(&server, &["daemon@local.test", "v@far.test"]);
    in_order(&lines, &["daemon@local.test... Connecting to local...", "daemon@local.test... Sent"]);
    in_order(&lines, &[&format!("v@far.test... {relay}"), "v@far.test... Sent ("]);
    assert!(!lines.iter().any(|line| line.contains("u@far.test")), "{lines:?}");
    assert_eq!(shown(&server, &["-odq", "daemon@local.test"]), ["daemon@local.test... queued"]);
    // Whoever asks for the server itself is not told that it took the message.
    let lines = shown(&server, &["-Am", "w@far.test"]);
    in_order(&lines, &["w@far.test... Sent (", "221 "]);
    assert!(lines.last().unwrap().starts_with("221 "), "{lines:?}");
}

#[test]
fn verbose_shows_what_went_wrong() {
    let sink = Sink::scripted(|step| match step.at {
        At::Rcpt if step.line.windows(4).any(|part| part == b"nobo") => Act::Say("550 5.1.1 who is that".into()),
        At::Rcpt if step.line.windows(5).any(|part| part == b"later") => Act::Say("451 4.7.1 not now".into()),
        _ => Act::Go,
    });
    let mut server = Setup::default().relay_to(sink.address).start();
    let lines = shown(&server, &["nobody@far.test"]);
    in_order(&lines, &[">>> RCPT To:<nobody@far.test>", "550 5.1.1 who is that", "nobody@far.test... User unknown"]);
    let lines = shown(&server, &["later@far.test"]);
    in_order(&lines, &["451 4.7.1 not now", "later@far.test... Deferred: 451 4.7.1 not now"]);
    drop(sink);
    let lines = shown(&server, &["x@far.test"]);
    in_order(&lines, &["x@far.test... Deferred: Connection refused by [127.0.0.1]"]);
    // Without an engine nothing is shown, and nothing is waited for.
    server.stop();
    let lines = shown(&server, &["daemon@local.test"]);
    assert!(
        lines.len() == 1 && lines[0].starts_with("daemon@local.test... queued until the server takes it"),
        "{lines:?}"
    );
}

/// Whoever watches and does not read, or is gone, holds nothing up.
#[test]
fn delivery_does_not_wait_for_who_watches() {
    let sink = Sink::scripted(|step| match step.at {
        At::Dot => Act::Wait(Duration::from_millis(300)),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    let mut stopped: Vec<Child> =
        (0..12).map(|n| start(&server, &["-v", "-i", &format!("s{n}@far.test")], b"Subject: x\n\nx\n")).collect();
    wait_for("the first message", seconds(10), || !sink.is_empty());
    stopped.iter().for_each(|child| process::signal(child.id() as i32, Signal::STOP));
    wait_for("all messages", seconds(30), || sink.len() == 12);
    let began = Instant::now();
    let out = server.sendmail(&["-i", "after@far.test"], b"Subject: x\n\nx\n");
    assert!(out.status.success() && began.elapsed() < seconds(10), "{out:?} after {:?}", began.elapsed());
    wait_for("the one after them", seconds(10), || sink.len() == 13);
    for child in &mut stopped {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    server.wait_empty(seconds(10));
    // They had seats, which are free again.
    in_order(&shown(&server, &["u@far.test"]), &["u@far.test... Sent ("]);
}

#[test]
fn a_caller_that_stops_in_mid_message_holds_up_nobody() {
    let server = Setup::default().start();
    let engine = server.engine();
    // With the engine stopped, a message larger than any socket's buffer stays in the middle.
    process::signal(engine, Signal::STOP);
    let text = message::text("stopped", "daemon@local.test", 100_000);
    let mut callers: Vec<Child> = (0..3).map(|_| start(&server, &["-t", "-i"], text.as_bytes())).collect();
    // Asleep in write, sendto or sendmsg (x86-64, then others), with all of its input read.
    for child in &callers {
        let call = || std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap_or_default();
        let is_writing =
            || ["1", "44", "46", "64", "206", "211"].contains(&call().split(' ').next().unwrap_or_default());
        wait_for("a write", seconds(8), is_writing);
        process::signal(child.id() as i32, Signal::STOP);
    }
    process::signal(engine, Signal::CONT);
    let began = Instant::now();
    for n in 0..20 {
        let out = server.sendmail(&["-i", "games@local.test"], message::text(&format!("n{n}"), "x", 3).as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    }
    assert!(began.elapsed() < seconds(20), "{:?}", began.elapsed());
    server.wait_mail("games", 20);
    assert!(!server.mailbox("daemon").exists(), "nothing of what is not whole");
    for child in &mut callers {
        process::signal(child.id() as i32, Signal::CONT);
        assert_eq!(end(child, seconds(30)), 0);
    }
    assert!(server.wait_mail("daemon", 3).len() == 3);
    server.wait_empty(seconds(20));
    let (ids, wrong) = mbox::count([server.mailbox("daemon")]);
    assert!(wrong.is_empty() && ids["stopped"] == 3, "{ids:?} {wrong:?}");
}

#[test]
fn a_thousand_callers_at_once() {
    let count = scaled(1_000, 150);
    let server = Setup::default().start();
    let before = server.processes().len();
    let text = |n: usize| message::text(&format!("c{n}"), "daemon@local.test", 3);
    let mut callers: Vec<Child> = (0..count).map(|n| start(&server, &["-t", "-i"], text(n).as_bytes())).collect();
    for child in &mut callers {
        assert_eq!(end(child, seconds(120)), 0);
    }
    let mut last = 0;
    wait_for("all in the mailbox", seconds(120), || {
        last = mbox::count([server.mailbox("daemon")]).0.len();
        last == count
    });
    server.wait_empty(seconds(30));
    let (ids, wrong) = mbox::count([server.mailbox("daemon")]);
    assert!(wrong.is_empty() && ids.len() == count && ids.values().all(|&n| n == 1), "{wrong:?}");
    assert!(server.processes().len() <= before + 8, "no process for each: {:?}", server.processes());
}

/// As many that only connect: one uid's do not keep others, or it itself, from sending.
#[test]
fn a_thousand_idle_callers() {
    let server = Setup::default().start();
    let socket = server.path("run/submit");
    let idle: Vec<_> = (0..1_000).filter_map(|_| std::os::unix::net::UnixStream::connect(&socket).ok()).collect();
    assert!(idle.len() > 200, "{}", idle.len());
    let began = Instant::now();
    let out = server.sendmail(&["-t", "-i"], message::text("idle", "daemon@local.test", 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(began.elapsed() < seconds(15), "{:?}", began.elapsed());
    server.wait_mail("daemon", 1);
    drop(idle);
    let out = server.sendmail(&["-t", "-i"], message::text("after", "daemon@local.test", 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    server.wait_mail("daemon", 2);
}

/// `mailq` of a long queue: its first lines, all of it, and the caller's memory.
#[derive(Clone, Copy, Debug)]
struct Listing {
    first: Duration,
    whole: Duration,
    /// Largest resident size, KiB.
    memory: u64,
}

fn list(server: &Server, count: usize) -> Listing {
    let began = Instant::now();
    let mut child = server.command("sendmail").arg("-bp").stdout(Stdio::piped()).spawn().unwrap();
    let (mut memory, mut entries, mut last) = (0, 0, String::new());
    let mut first = None;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        last = line.unwrap();
        entries += usize::from(last.contains("@sender.test"));
        first = first.or((entries > 0).then(|| began.elapsed()));
        if entries % 1_000 == 0 {
            memory = peak(&child).unwrap_or(memory);
        }
    }
    assert_eq!((entries, last), (count, format!("\t\tTotal requests: {count}")));
    assert!(child.wait().unwrap().success());
    Listing { first: first.unwrap(), whole: began.elapsed(), memory }
}

fn peak(child: &Child) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}

fn fill(server: &Server, count: usize) {
    let part = |from: usize| {
        let mut session = testsuite::Smtp::hello(server.address).unwrap();
        for n in (from..count).step_by(8) {
            let (sender, to) = (format!("user{n}@sender.test"), format!("somebody{n}@far{}.test", n % 50));
            let reply = session.message(&sender, &[&to], "Subject: x\n\nx\n").unwrap();
            assert_eq!(reply.code, 250, "{reply:?}");
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|from| drop(scope.spawn(move || part(from)))));
}

/// The issue asks for 100 ms and 0.5 s of 100,000 on a machine that does nothing else; here others work, and programs may be slow debug ones: the
/// limits are for what grows faster than the queue.
#[test]
fn a_long_queue_is_listed_at_once_and_in_constant_memory() {
    let count = scaled(100_000, 4_000);
    let queue = "retry min=\"4h\" max=\"4h\"; expire \"5d\"".into();
    let server = Setup { queue, ..Setup::default().relay_to(([127, 0, 0, 1], 1).into()) }.start();
    let best = |count: usize| {
        let all: Vec<Listing> = (0..5).map(|_| list(&server, count)).collect();
        let memory = all.iter().map(|one| one.memory).max().unwrap();
        let least = |of: fn(&Listing) -> Duration| all.iter().map(of).min().unwrap();
        Listing { first: least(|one| one.first), whole: least(|one| one.whole), memory }
    };
    fill(&server, count / 4);
    let quarter = best(count / 4);
    fill(&server, count - count / 4);
    let whole = best(count);
    println!("{count} messages: {whole:?}; a quarter of them: {quarter:?}");
    assert!(whole.first < Duration::from_millis(300), "{whole:?}");
    assert!(whole.whole < Duration::from_millis(500) + Duration::from_micros(25) * count as u32, "{whole:?}");
    assert!(whole.whole < quarter.whole * 8 + Duration::from_millis(100), "{quarter:?} {whole:?}");
    assert!(whole.memory < 16 << 10 && whole.memory < quarter.memory + 2_048, "{quarter:?} {whole:?}");
}
