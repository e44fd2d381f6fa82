//! What monitors, init scripts and administrators see of the server: pid file, signals, statistics, host status, `sendmail -bt`, and what a
//! reload changes.

use rustix::process::Signal;
use std::fs;
use testsuite::{Server, Setup, Sink, Smtp, Zone, message, process, seconds, server, wait_for};

/// What a command of `postrider` prints.
fn said(server: &Server, arguments: &[&str], input: &[u8]) -> String {
    let mut command = server.command("postrider");
    command.args(arguments);
    let out = server::run(command, input);
    assert!(out.status.success(), "{arguments:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn the_pid_file_and_signals_are_sendmails() {
    let mut server = Setup::default().start();
    wait_for("the pid file", seconds(5), || server.path("run/pid").exists());
    let text = fs::read_to_string(server.path("run/pid")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0] == server.pid().to_string() && lines[1].starts_with('/'), "{text}");
    let title = fs::read(format!("/proc/{}/cmdline", server.pid())).unwrap();
    let title = String::from_utf8_lossy(&title);
    assert_eq!(title.trim_end_matches('\0'), "sendmail: MTA: accepting connections", "what ps shows");
    server.wait_log("starting daemon (Postrider-0.1.0): SMTP+queueing@00:00:01");
    server.reload();
    server.wait_log("]: restarting /usr/sbin/sendmail due to signal");
    wait_for("a second start line", seconds(10), || server.log().matches("]: starting daemon (").count() == 2);
    assert_eq!(fs::read_to_string(server.path("run/pid")).unwrap(), text, "the same process goes on");
    process::signal(server.pid(), Signal::USR1);
    server.wait_log("NOQUEUE: --- dumping state on user signal: $j = mx.test ---");
    server.wait_log("NOQUEUE: --- end of state dump ---");
    assert!(server.log().contains("NOQUEUE: CurChildren = "));
    assert!(server.greets(seconds(5)), "it only told");
    assert!(server.stop().success());
    assert!(!server.path("run/pid").exists());
    assert!(server.log().contains("]: stopping daemon, reason=signal"));
}

#[test]
fn statistics_and_host_status_are_counted_kept_and_begun_anew() {
    let sink = Sink::start();
    let mut server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("m", "x", 60);
    assert_eq!(session.message("a@client.test", &["b@far.test", "c@far.test"], &text).unwrap().code, 250);
    session.command("MAIL FROM:<a@client.test>").unwrap();
    assert_eq!(session.command("RCPT TO:<nosuchuser@local.test>").unwrap().code, 550);
    server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\nx\n");
    wait_for("the relayed copy", seconds(20), || sink.len() == 1);
    server.wait_mail("daemon", 1);
    // The message is in the mailbox before it is counted.
    server.wait_log("mailer=local");
    server.wait_log("mailer=relay");
    let machine = |server: &Server, flag: &str| said(server, &["mailstats", flag, "-o"], b"");
    // Two messages from, three to; the last delivery is counted a moment after the mail is there.
    wait_for("all is counted", seconds(10), || {
        let text = machine(&server, "-P");
        let total = text.lines().find(|line| line.starts_with(" T")).unwrap_or_default();
        let words: Vec<&str> = total.split_whitespace().collect();
        (words.get(1), words.get(3)) == (Some(&"2"), Some(&"3"))
    });
    let counted = |text: &str| {
        let lines = text.lines().skip(1).map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        lines.map(|words| (words[0].clone(), words[1..].to_vec())).collect::<Vec<_>>()
    };
    let before = counted(&machine(&server, "-P"));
    let row =
        |name: &str| before.iter().find(|(first, _)| first == name).unwrap_or_else(|| panic!("{before:?}")).1.clone();
    // local (3): one from, one to; esmtp (5): one from, one refused; relay (8): two recipients.
    assert_eq!((row("3")[0].as_str(), row("3")[2].as_str()), ("1", "1"));
    assert_eq!((row("5")[0].as_str(), row("5")[4].as_str()), ("1", "1"));
    assert_eq!(row("8")[2], "2");
    assert_eq!((row("T")[0].as_str(), row("T")[2].as_str()), ("2", "3"));
    let shown = said(&server, &["mailstats"], b"");
    assert!(shown.starts_with("Statistics from ") && shown.contains("  relay\n") && shown.contains("\n T "), "{shown}");
    let hosts = said(&server, &["hoststat"], b"");
    assert!(hosts.contains("\n 127.0.0.1  ") && hosts.contains(" 250 2.0.0 "), "{hosts}");
    assert!(server.stop().success());
    server.start();
    assert_eq!(counted(&machine(&server, "-P"))[..before.len() - 1], before[..before.len() - 1], "kept over a restart");
    assert_eq!(counted(&machine(&server, "-p")).len(), before.len());
    assert_eq!(counted(&machine(&server, "-P")).len(), 2, "-p has begun anew");
    assert!(said(&server, &["hoststat", "-v", "127."], b"").contains("127.0.0.1"));
    said(&server, &["purgestat"], b"");
    let missing = testsuite::server::run(
        {
            let mut command = server.command("postrider");
            command.args(["mailstats", "-f", "/nonexistent"]);
            command
        },
        b"",
    );
    let told = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert_eq!(
        (missing.status.code(), told.as_str()),
        (Some(66), "mailstats: /nonexistent: No such file or directory\n")
    );
    assert_eq!(said(&server, &["hoststat"], b""), "");
}

#[test]
fn a_reload_changes_the_number_of_sessions() {
    let mut server = Setup::default().with("limits { sessions 2 }").start();
    let greeted = |wait| {
        let mut session = Smtp::connect(server.address).unwrap();
        session.patience(wait);
        session.expect(220).ok().map(|_| session)
    };
    // The greetings of `start` may still hold a seat.
    let held: Vec<Smtp> = (0..2).map(|_| greeted(seconds(10)).expect("a seat")).collect();
    assert!(greeted(std::time::Duration::from_millis(700)).is_none(), "all seats are taken");
    server.setup = Setup::default().with("limits { sessions 6 }");
    server.write_configuration();
    server.reload();
    let third = (0..20).find_map(|_| {
        let mut session = Smtp::connect(server.address).unwrap();
        session.patience(seconds(1));
        session.expect(220).ok().map(|_| session)
    });
    assert!(third.is_some(), "more seats without a restart: {}", server.story());
    drop(held);
}

#[test]
fn a_reload_changes_the_name_servers() {
    let (old, new) = (Zone::start(""), Zone::start(""));
    let mut server = Setup { dns: Some(old.address), ..Setup::default() }.start();
    let send = |server: &Server, to: &str| {
        server.sendmail(&["-i", to], b"Subject: x\n\nx\n");
    };
    send(&server, "x@first.test");
    wait_for("a question to the old one", seconds(20), || old.asked().iter().any(|q| q.contains("first.test")));
    server.setup.dns = Some(new.address);
    server.write_configuration();
    server.reload();
    wait_for("the reload", seconds(10), || server.log().matches("]: starting daemon (").count() == 2);
    send(&server, "x@second.test");
    wait_for("a question to the new one", seconds(20), || new.asked().iter().any(|q| q.contains("second.test")));
    assert!(!old.asked().iter().any(|q| q.contains("second.test")), "the old one is not asked any more");
}

#[test]
fn address_test_mode_answers_scripts() {
    let zone = Zone::start("far.test MX 20 b.test\nfar.test MX 10 a.test\nnull.test MX 0 .\n");
    let server = Setup { dns: Some(zone.address), ..Setup::default() }.start();
    let file = server.configuration().display().to_string();
    let asked = "3,0 daemon@local.test\n/map aliases postmaster\n$j\n/mx far.test\n/mx null.test\n/mx nosuch.test\n\
                 /map host nosuch.test\n";
    let talk = said(&server, &["test-mode", "--config", &file], asked.as_bytes());
    assert!(talk.starts_with("ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)\nEnter <ruleset> <address>\n> "));
    for line in [
        "parse            returns: $# local $: daemon\n",
        "> map_lookup: aliases (postmaster) returns nobody (0)\n",
        "> mx.test\n> ",
        "> getmxrr(far.test) returns 2 value(s):\n\ta.test\n\tb.test\n",
        "> getmxrr(null.test) returns null MX (See RFC7505)\n",
        "> getmxrr(nosuch.test) returns 0 value(s):\n",
        "> map_lookup: host (nosuch.test) no match (68)\n> ",
    ] {
        assert!(talk.contains(line), "{line}: {talk}");
    }
}
