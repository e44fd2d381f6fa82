//! Descriptors, processes, look-ups: what runs out, and what does not answer.

use rustix::process::Signal;
use std::net::TcpStream;
use std::time::Duration;
use testsuite::ledger::Caller;
use testsuite::server::run;
use testsuite::{Ledger, Server, Setup, Sink, Smtp, mbox, message, process, root_or_skip, seconds, wait_for};

/// Changes a soft limit of a process of the server, as its own user (root here may lack CAP_SYS_RESOURCE). `None`: as far as it goes.
fn prlimit(server: &Server, pid: i32, what: &str, soft: Option<usize>) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let name = if what == "nofile" { "Max open files" } else { "Max processes" };
    let line = limits.lines().find(|l| l.starts_with(name)).unwrap();
    let hard = line.trim_start_matches(name).split_whitespace().nth(1).unwrap().to_owned();
    let soft = soft.map_or(hard.clone(), |n| n.to_string());
    let mut command = server.command("/usr/bin/prlimit");
    command.args(["--pid", &pid.to_string(), &format!("--{what}={soft}:{hard}")]);
    let out = run(command, b"");
    assert!(out.status.success(), "prlimit {what}={soft}:{hard}: {}", String::from_utf8_lossy(&out.stderr));
}

fn send(server: &Server, id: &str, to: &str) -> u16 {
    let text = message::text(id, to, 3);
    Smtp::hello(server.address).and_then(|mut s| s.message("a@client.test", &[to], &text)).map_or(0, |r| r.code)
}

#[test]
fn no_descriptors_left_and_then_again() {
    if !root_or_skip("no_descriptors_left") {
        return;
    }
    let server = Setup::default().start();
    let engine = server.engine();
    let open = process::open_files(engine).len();
    prlimit(&server, engine, "nofile", Some(open + 8));
    let held: Vec<TcpStream> =
        (0..60).filter_map(|_| TcpStream::connect_timeout(&server.address, seconds(2)).ok()).collect();
    std::thread::sleep(seconds(1));
    // Whatever it answers now, it is not a 250 that gets lost, and it does not spin or write a log line a millisecond.
    let during = (0..3).filter(|n| send(&server, &format!("during{n}"), "daemon@local.test") == 250).count();
    assert!(server.log().lines().count() < 2_000, "a storm of log lines");
    drop(held);
    prlimit(&server, engine, "nofile", None);
    wait_for("service by itself", seconds(30), || send(&server, "after", "daemon@local.test") == 250);
    let mail = server.wait_mail("daemon", during + 1);
    assert!(mail.iter().any(|m| m.header().contains("X-Test-Id: after")));
    assert_eq!(server.engine(), engine, "the engine lives");
}

#[test]
fn fork_fails_and_mail_waits() {
    if !root_or_skip("fork_fails") {
        return;
    }
    let server = Setup::default().start();
    assert_eq!(send(&server, "warm", "daemon@local.test"), 250);
    server.wait_mail("daemon", 1);
    // No agent may stay from before: each stays a few seconds.
    let few = server.processes().len();
    wait_for("agents end", seconds(30), || server.processes().len() < few || server.processes().len() <= 3);
    let keeper = server.pid();
    prlimit(&server, keeper, "nproc", Some(1));
    for n in 0..5 {
        assert_eq!(send(&server, &format!("fork{n}"), "games@local.test"), 250, "accepted and kept");
    }
    std::thread::sleep(seconds(3));
    let delivered = mbox::read(&server.mailbox("games")).unwrap().len();
    println!("fork failing: {delivered} of 5 delivered meanwhile");
    assert!(server.greets(seconds(5)));
    prlimit(&server, keeper, "nproc", None);
    server.wait_mail("games", 5);
    server.wait_empty(seconds(30));
    let (ids, wrong) = mbox::count([server.mailbox("games")]);
    assert!(wrong.is_empty() && ids.values().all(|&n| n == 1), "{ids:?} {wrong:?}");
}

/// A directory service that hangs: the account process is stopped. Temporary answers only, and others are not held up.
#[test]
fn account_lookups_hang() {
    if !root_or_skip("account_lookups_hang") {
        return;
    }
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let users = || -> Vec<i32> {
        let is_users = |pid: i32| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).split('\0').any(|w| w == "users" || w.ends_with("postrider-users"))
        };
        server.processes().iter().map(|process| process.pid).filter(|pid| is_users(*pid)).collect()
    };
    // The first greeting may come before it has begun.
    wait_for("the account process", seconds(10), || users().len() == 1);
    let users = users();
    process::signal(users[0], Signal::STOP);
    let mut session = Smtp::hello(server.address).unwrap();
    session.patience(seconds(60));
    session.command("MAIL FROM:<a@client.test>").unwrap();
    let reply = session.command("RCPT TO:<sys@local.test>").unwrap();
    assert_eq!(reply.code, 451, "{}", reply.text());
    assert_eq!(session.command("RCPT TO:<x@far.test>").unwrap().code, 250, "what needs no account goes on");
    let out = server.sendmail(&["-i", "games@local.test"], message::text("hang", "games", 3).as_bytes());
    assert!(matches!(out.status.code(), Some(0 | 75)), "{out:?}");
    assert_eq!(send(&server, "relayed", "x@far.test"), 250);
    wait_for("relay goes on", seconds(20), || sink.len() == 1);
    process::signal(users[0], Signal::CONT);
    wait_for("service by itself", seconds(30), || send(&server, "after", "sys@local.test") == 250);
    server.wait_mail("sys", 1);
    if out.status.code() == Some(0) {
        server.wait_mail("games", 1);
    }
    assert!(mbox::read(&server.mailbox("nobody")).unwrap().is_empty(), "no bounce for a temporary failure");
}

#[test]
fn a_storm_of_reloads_and_dying_children_loses_nothing() {
    if !root_or_skip("a_storm_of_reloads") {
        return;
    }
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let ledger = Ledger::new(20);
    std::thread::scope(|scope| {
        let _stop = ledger.stop_at_end();
        ledger.load(scope, server.address, Caller::of(&server), 6);
        for n in 0..40 {
            server.reload();
            if n % 4 == 0 {
                let keeper = server.pid();
                let children: Vec<i32> = server.processes().iter().map(|p| p.pid).filter(|&p| p != keeper).collect();
                if let Some(&victim) = children.get((n * 7) % children.len().max(1)) {
                    process::signal(victim, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let from = ledger.count();
        wait_for("service by itself", seconds(30), || ledger.count() > from + 20);
    });
    server.wait_empty(seconds(60));
    let boxes: Vec<_> = (0..testsuite::ledger::USERS).map(|n| server.mailbox(&format!("u{n:02}"))).collect();
    let judgement = ledger.judge(&boxes, &sink);
    println!(
        "reloads and dying children: {}; {} seen, {} duplicates",
        ledger.summary(),
        judgement.seen,
        judgement.duplicates
    );
    assert!(judgement.lost.is_empty(), "{:?}", judgement.lost);
    assert!(judgement.merged.is_empty(), "{:?}", judgement.merged);
}
