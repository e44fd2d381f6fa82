//! The `sendmail` command: bad environments, exit codes, and the ways in when the engine does not answer.

use rustix::process::Signal;
use std::collections::{BTreeMap, HashSet};
use std::process::Stdio;
use std::time::{Duration, Instant};
use testsuite::{Server, Setup, Sink, mbox, message, process, seconds, server, wait_for};

/// sendmail's diagnostics go to standard output, some to standard error.
fn said(out: &std::process::Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr)
}

#[test]
fn with_the_engine_down_mail_waits_in_the_drop_folder_and_arrives_once() {
    let mut server = Setup::default().start();
    server.stop();
    for n in 0..5 {
        let text = message::text(&format!("down{n}"), "daemon@local.test", 3);
        let out = server.sendmail(&["-t", "-i"], text.as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    }
    server.start();
    server.wait_mail("daemon", 5);
    server.wait_empty(seconds(10));
    std::thread::sleep(Duration::from_secs(1));
    let (ids, wrong) = mbox::count([server.mailbox("daemon")]);
    assert!(wrong.is_empty() && ids.len() == 5 && ids.values().all(|&n| n == 1), "{ids:?} {wrong:?}");
}

#[test]
fn what_the_engine_refuses_out_of_the_drop_folder_comes_back_as_a_bounce() {
    let mut server = Setup::default().start();
    server.stop();
    let looping = "Received: by somewhere\n".repeat(120) + &message::text("loop", "daemon@local.test", 3);
    let out = server.sendmail(&["-i", "-f", "games@local.test", "daemon@local.test"], looping.as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    server.start();
    server.wait_mail("games", 1);
    let bounce = std::fs::read_to_string(server.mailbox("games")).unwrap();
    assert!(bounce.contains("daemon@local.test") && bounce.contains("X-Test-Id: loop"), "{bounce}");
    server.wait_empty(seconds(10));
    assert!(!server.mailbox("daemon").exists());
}

#[test]
fn with_the_engine_stopped_mail_is_taken_within_a_bounded_time_and_arrives_once() {
    let server = Setup::default().start();
    let stopped: Vec<i32> = server.processes().iter().map(|p| p.pid).collect();
    for &pid in &stopped {
        process::signal(pid, Signal::STOP);
    }
    let begin = Instant::now();
    let out = server.sendmail(&["-t", "-i"], message::text("stopped", "daemon@local.test", 3).as_bytes());
    let took = begin.elapsed();
    for &pid in &stopped {
        process::signal(pid, Signal::CONT);
    }
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(took < seconds(25), "took {took:?}");
    server.wait_mail("daemon", 1);
    // The engine may have had the message in its socket as well: the submission id makes it one.
    std::thread::sleep(Duration::from_secs(3));
    server.wait_empty(seconds(20));
    let (ids, _) = mbox::count([server.mailbox("daemon")]);
    assert_eq!(ids, BTreeMap::from([("stopped".to_owned(), 1)]));
}

/// Its caller left with exit 0 while the engine slept, so whom it refuses comes back by mail.
#[test]
fn what_a_stopped_engine_refused_in_the_socket_comes_back_as_a_bounce() {
    let server = Setup::default().start();
    let stopped: Vec<i32> = server.processes().iter().map(|p| p.pid).collect();
    stopped.iter().for_each(|&pid| process::signal(pid, Signal::STOP));
    let text = message::text("half", "daemon@local.test", 3);
    let out = server.sendmail(&["-i", "-f", "games@local.test", "-oep", "daemon", "nosuch"], text.as_bytes());
    stopped.iter().for_each(|&pid| process::signal(pid, Signal::CONT));
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    server.wait_mail("daemon", 1);
    server.wait_mail("games", 1);
    let bounce = std::fs::read_to_string(server.mailbox("games")).unwrap();
    assert!(bounce.contains("nosuch") && bounce.contains("User unknown"), "{bounce}");
    assert!(!bounce.contains("rfc822; daemon"), "{bounce}");
    server.wait_empty(seconds(20));
    assert_eq!(mbox::count([server.mailbox("daemon")]).0, BTreeMap::from([("half".to_owned(), 1)]));
}

#[test]
fn with_no_way_in_it_says_tempfail_and_nothing_is_lost_silently() {
    let server = Server::make(Setup::default());
    let mut command = server.command("sendmail");
    command
        .args(["-i", "daemon@local.test"])
        .env("POSTRIDER_RUN", "/nonexistent/run")
        .env("POSTRIDER_DROP", "/nonexistent/drop");
    let out = server::run(command, b"Subject: x\n\nx\n");
    // 75 unless something listens on port 25 of this machine, which then took it.
    assert!(matches!(out.status.code(), Some(75 | 0)), "{out:?}");
    if out.status.code() == Some(75) {
        assert!(!said(&out).is_empty(), "a reason");
    }
}

#[test]
fn bad_environments_get_mail_or_a_clear_error() {
    let server = Setup::default().start();
    let text = message::text("bare", "daemon@local.test", 3);
    // Nothing in the environment but where the test's server is; stdout and stderr closed.
    let mut command = server.command("sendmail");
    let program = server::programs().join("sendmail");
    let script = format!("exec {} -t -i >&- 2>&-", program.display());
    let mut bare = server.command("/bin/sh");
    bare.env_clear()
        .env("POSTRIDER_RUN", server.path("run"))
        .env("POSTRIDER_DROP", server.drop_folder())
        .args(["-c", &script]);
    let out = server::run(bare, text.as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    server.wait_mail("daemon", 1);
    // stdin closed: no message, so no mail, and no endless wait.
    let script = format!("exec {} -t -i <&-", program.display());
    let mut closed = server.command("/bin/sh");
    closed.args(["-c", &script]).stdout(Stdio::null());
    let out = server::run(closed, b"");
    // As sendmail: an empty message with no recipients; said, and not an endless wait.
    assert!(out.status.code().is_some(), "{out:?}");
    // A descriptor limit of 5.
    let script = format!("ulimit -n 5; exec {} -t -i", program.display());
    let mut tiny = server.command("/bin/sh");
    tiny.args(["-c", &script]);
    let out = server::run(tiny, message::text("tiny", "daemon@local.test", 3).as_bytes());
    if out.status.code() == Some(0) {
        server.wait_mail("daemon", 2);
    } else {
        assert!(!said(&out).is_empty() && out.status.code().is_some_and(|c| c >= 64), "{out:?}");
    }
    // -t without any recipient.
    command.args(["-t"]);
    // sendmail says so and exits 0 (sendmail.md 1.7).
    let out = server::run(command, b"Subject: nobody\n\nx\n");
    assert!(!said(&out).is_empty());
}

#[test]
fn flags_with_arguments_do_not_eat_recipients() {
    let server = Setup::default().start();
    let cases: &[&[&str]] = &[
        &["-oi", "-oem", "-f", "daemon@local.test", "--", "games@local.test"],
        &["-FFull Name", "-i", "-B8BITMIME", "-oem", "games@local.test"],
        &["-i", "-fdaemon@local.test", "games@local.test"],
        &["-r", "daemon@local.test", "-i", "games@local.test"],
        &["-bm", "-i", "-odb", "games@local.test"],
        &["-i", "-N", "failure", "-R", "hdrs", "games@local.test"],
    ];
    for (n, case) in cases.iter().enumerate() {
        let out = server.sendmail(case, b"Subject: x\n\nx\n");
        if out.status.code() == Some(70) {
            // Not built yet: it must say so by name and send nothing.
            assert!(!said(&out).is_empty(), "{case:?}: {out:?}");
            server.sendmail(&["-i", "games@local.test"], b"Subject: filler\n\nx\n");
        } else {
            assert_eq!(out.status.code(), Some(0), "{case:?}: {out:?}");
        }
        server.wait_mail("games", n + 1);
    }
    server.wait_empty(seconds(10));
    assert_eq!(mbox::read(&server.mailbox("games")).unwrap().len(), cases.len());
}

#[test]
fn a_dot_ends_the_message_unless_told_otherwise() {
    let server = Setup::default().start();
    server.sendmail(&["daemon@local.test"], b"Subject: dot\n\none\n.\ntwo\n");
    let mail = server.wait_mail("daemon", 1);
    assert_eq!(String::from_utf8_lossy(mail[0].body()), "one\n");
    server.sendmail(&["-oi", "daemon@local.test"], b"Subject: dot\r\n\r\none\r\n.\r\ntwo");
    let mail = server.wait_mail("daemon", 2);
    assert_eq!(String::from_utf8_lossy(mail[1].body()), "one\n.\ntwo\n");
}

#[test]
fn smtp_on_standard_input() {
    let server = Setup::default().start();
    let talk = "EHLO me\r\nMAIL FROM:<daemon@local.test>\r\nRCPT TO:<games@local.test>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let out = server.sendmail(&["-bs"], talk.as_bytes());
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.starts_with("220 ") && said.contains("\r\n354 ") && said.contains("Message accepted"), "{said}");
    server.wait_mail("games", 1);
}

#[test]
fn without_an_engine_smtp_on_standard_input_serves_into_the_drop_folder() {
    let mut server = Setup::default().start();
    server.stop();
    let talk = "EHLO me\r\nMAIL FROM:<daemon@local.test>\r\nRCPT TO:<games@local.test>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let out = server.sendmail(&["-bs"], talk.as_bytes());
    assert!(out.status.success() && said(&out).contains("Message accepted for delivery"), "{out:?}");
    server.start();
    let mail = server.wait_mail("games", 1);
    assert!(mail[0].header().contains("Received: from me (nobody@localhost)\n"), "{}", mail[0].header());
    assert!(mail[0].header().contains(" with ESMTP id "), "{}", mail[0].header());
}

#[test]
fn what_a_lone_dot_cuts_off_is_logged() {
    let server = Setup::default().start();
    server.sendmail(&["daemon@local.test"], b"Subject: whole\n\none\n.\n");
    server.sendmail(&["daemon@local.test"], b"Subject: cut\n\none\n.\ntwo\n");
    server.wait_mail("daemon", 2);
    let lines = server.log().lines().filter(|line| line.contains("a line with a lone dot ended the message")).count();
    assert_eq!(lines, 1, "{}", server.log());
}

/// The command refuses it by itself, so the server must be told.
#[test]
fn a_header_that_is_too_long_is_logged() {
    let server = Setup::default().start();
    let input = format!("X-Long: {}\n\nx\n", "x".repeat(2 << 20));
    let out = server.sendmail(&["-i", "daemon@local.test"], input.as_bytes());
    assert_eq!(out.status.code(), Some(65), "{out:?}");
    server.wait_log(" sendmail[");
    server.wait_log("]: NOQUEUE: headers too large (1048576 max) from nobody@localhost during message collect");
    server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\nx\n");
    assert_eq!(server.wait_mail("daemon", 1).len(), 1, "nothing of it was delivered");
}

#[test]
fn queue_listing_is_sendmails() {
    let sink = Sink::scripted(|_| testsuite::sink::Act::Drop);
    let server = Setup::default().relay_to(sink.address).start();
    assert!(server.mailq().contains("is empty"), "{}", server.mailq());
    for n in 0..3 {
        server.sendmail(&["-i", &format!("u{n}@far.test")], b"Subject: x\n\nx\n");
    }
    wait_for("three entries", seconds(15), || server.mailq().contains("Total requests: 3"));
    let list = server.mailq();
    assert!(list.contains("(3 requests)") && list.contains("u1@far.test"), "{list}");
    assert!(list.contains("-----Q-ID-----"), "{list}");
}

/// sendmail returns the whole message; here only what nobody can read goes back, and the caller hears of it.
#[test]
fn a_bracket_without_its_end_costs_that_recipient_only() {
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let input = b"To: Al <al@far.test, bo@far.test\nCc: <<cy@far.test>>\nX-Case: 1\n\nx\n";
    let out = server.sendmail(&["-t", "-i", "-f", "daemon@local.test"], input);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!((out.status.code(), said.as_str()), (Some(64), "<al@far.test... Unbalanced '<'\n"));
    wait_for("the others' copy", seconds(20), || sink.len() == 1);
    let taken = &sink.taken()[0];
    let to: Vec<&str> = taken.rcpt.iter().filter_map(|line| line.split(['<', '>']).nth(1)).collect();
    assert_eq!(HashSet::from_iter(to), HashSet::from(["bo@far.test", "cy@far.test"]));
    let bounce = server.wait_mail("daemon", 1);
    let text = String::from_utf8_lossy(&bounce[0].text).into_owned();
    assert!(text.contains("Unbalanced '<'") && text.contains("\nAction: failed\n"), "{text}");
    assert_eq!(text.matches("Action: ").count(), 1, "{text}");
    server.wait_empty(seconds(10));
    assert_eq!(sink.len(), 1, "nobody else had a copy");
}
