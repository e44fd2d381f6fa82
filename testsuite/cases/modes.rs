//! `sendmail` in its modes that are not about one message: lists with selectors, queue runs without a server, logs of the traffic, what scripts ask.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use testsuite::sink::Act;
use testsuite::{Server, Setup, Sink, seconds, server, wait_for};

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// `sendmail` with the configuration of this server's own.
fn sendmail(server: &Server, arguments: &[&str]) -> Command {
    let mut command = server.command("sendmail");
    command.env("POSTRIDER_CONFIG", server.configuration()).args(arguments);
    command
}

fn ask(server: &Server, arguments: &[&str]) -> String {
    said(&server::run(sendmail(server, arguments), b""))
}

fn total(list: &str) -> &str {
    list.lines().last().unwrap_or_default().trim()
}

#[test]
fn selectors_choose_what_is_listed_and_held() {
    let sink = Sink::scripted(|_| Act::Drop);
    let server = Setup::default().relay_to(sink.address).start();
    for (from, to) in
        [("a@local.test", "one@far.test"), ("b@local.test", "two@far.test"), ("b@local.test", "Three@far.test")]
    {
        server.sendmail(&["-i", "-f", from, to], b"Subject: x\n\nx\n");
    }
    wait_for("three entries", seconds(15), || total(&server.mailq()) == "Total requests: 3");
    for (selectors, count) in [
        (&["-qRthree"][..], 1),
        (&["-q!Rthree"], 2),
        (&["-qRone", "-qRTWO"], 2),
        (&["-qSb@", "-q!Rtwo"], 1),
        (&["-qR"], 3),
        (&["-qInowhere"], 0),
        (&["-qQ"], 0),
        (&["-qL"], 0),
        (&["-OMaxQueueRunSize=10"], 3),
    ] {
        let list = ask(&server, &[&["-bp"][..], selectors].concat());
        assert_eq!(total(&list), format!("Total requests: {count}"), "{selectors:?}: {list}");
        assert_eq!(list.starts_with("/var/spool/mqueue is empty\n"), count == 0, "{list}");
    }
    let limited = ask(&server, &["-bp", "-OMaxQueueRunSize=1"]);
    assert!(limited.starts_with("\t\t/var/spool/mqueue (3 requests, only 1 printed)\n"), "{limited}");
    assert_eq!(limited.matches("far.test").count(), 1, "{limited}");
    assert_eq!(ask(&server, &["-bp", "-qGother"]), "Queue group other unknown\n");
    assert_eq!(ask(&server, &["-bp", "-qGmqueue"]).matches("Total requests").count(), 0);
    assert_eq!(ask(&server, &["-bp", "-Ac"]), "/var/spool/mqueue-client is empty\n\t\tTotal requests: 0\n");
    assert_eq!(ask(&server, &["-bP"]), "/var/spool/mqueue: entries=3\n");

    assert_eq!(ask(&server, &["-Qa reason", "-qSb@"]), "");
    let held = ask(&server, &["-bp", "-qQ"]);
    assert_eq!((total(&held), held.matches("     QUARANTINE: a reason\n").count()), ("Total requests: 2", 2), "{held}");
    assert_eq!(total(&server.mailq()), "Total requests: 1");
    assert_eq!(total(&ask(&server, &["-bp", "-qQa re", "-qRtwo"])), "Total requests: 1");
    assert_eq!(total(&ask(&server, &["-bp", "-q!Qa re"])), "Total requests: 0");
    ask(&server, &["-Q", "-qQ"]);
    assert_eq!(total(&server.mailq()), "Total requests: 3");
}

#[test]
fn without_a_server_the_spool_is_listed_and_one_run_is_made() {
    let sink = Sink::scripted(|_| Act::Drop);
    let address = sink.address;
    let mut server = Setup::default().relay_to(address).start();
    server.sendmail(&["-i", "one@far.test"], b"Subject: x\n\nx\n");
    wait_for("an entry", seconds(15), || server.mailq().contains("one@far.test"));
    server.stop();
    drop(sink);
    // What comes now waits in the drop folder.
    server.sendmail(&["-i", "two@far.test"], b"Subject: y\n\ny\n");
    let list = ask(&server, &["-bp"]);
    assert!(list.contains("one@far.test") && list.contains("Deferred"), "{list}");
    assert!(list.starts_with("\t\t/var/spool/mqueue (") && total(&list).starts_with("Total requests: "), "{list}");

    let sink = Sink::on(address, false, |_| Act::Go);
    let configuration = server.configuration();
    let quarantine = |arguments: &[&str]| {
        let all = [arguments, &["-C", configuration.to_str().unwrap()]].concat();
        let out = server::run(sendmail(&server, &all), b"");
        (out.status.code(), said(&out))
    };
    // What lies in the drop folder is in no queue.
    let (code, told) = quarantine(&["-Qreason", "-qf"]);
    let not_yet = "sendmail: not held, for the mail server has not taken them yet: 1 (see mailq)\n";
    assert_eq!((code, told.as_str()), (Some(75), not_yet));
    assert_eq!(quarantine(&["-Qother", "-qQ", "-qRone"]), (Some(0), String::new()));
    let held = ask(&server, &["-bp", "-qQ"]);
    assert!(held.contains("QUARANTINE: other\n") && held.contains("one@far.test"), "{held}");
    assert_eq!(quarantine(&["-Q", "-qQnone"]), (Some(0), String::new()));
    assert_eq!(total(&ask(&server, &["-bp", "-qQ"])), "Total requests: 1");
    assert_eq!(quarantine(&["-Q", "-qQother"]), (Some(0), String::new()));
    assert_eq!(total(&ask(&server, &["-bp", "-qQ"])), "Total requests: 0");
    assert!(sink.is_empty(), "nothing was tried");
    let out = server::run(sendmail(&server, &["-qf", "-C", configuration.to_str().unwrap()]), b"");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    wait_for("both messages", seconds(5), || sink.len() == 2);
    assert!(!server.greets(seconds(0)), "it listens to nobody, and it has ended");
    assert_eq!(ask(&server, &["-bp"]), "/var/spool/mqueue is empty\n\t\tTotal requests: 0\n");
}

#[test]
fn the_traffic_is_logged() {
    let server = Setup::default().start();
    let file = server.path("logs/traffic");
    let name = file.to_str().unwrap();
    let talk = "EHLO me\r\nMAIL FROM:<daemon@local.test>\r\nRCPT TO:<games@local.test>\r\nDATA\r\nSubject: bs\r\n\r\nx\r\n.\r\nQUIT\r\n";
    server.sendmail(&["-bs", "-X", name], talk.as_bytes());
    server.wait_mail("games", 1);
    let log = fs::read_to_string(&file).unwrap();
    for (arrow, text) in [(">>>", "220 "), ("<<<", "EHLO me"), (">>>", "354 "), ("<<<", "Subject: bs"), ("<<<", "QUIT")]
    {
        let found =
            log.lines().any(|line| line.get(6..).is_some_and(|rest| rest.starts_with(&format!("{arrow} {text}"))));
        assert!(found, "{arrow} {text}: {log}");
    }
    let out = server.sendmail(&["-X", "/nonexistent/x", "games@local.test"], b"x\n");
    assert_eq!(out.status.code(), Some(73));
    assert_eq!(said(&out), "cannot open /nonexistent/x: No such file or directory\n");
}

#[test]
fn who_may_not_read_the_compiled_aliases_is_answered_from_the_text() {
    let mut server = Setup { aliases: "postmaster: nobody\nteam: daemon, games\n".into(), ..Setup::default() }.start();
    server.stop();
    // As newaliases leaves it where it is root's alone; newer than the text.
    let compiled = server.path("aliases.db");
    fs::write(&compiled, "closed").unwrap();
    fs::set_permissions(&compiled, fs::Permissions::from_mode(0o000)).unwrap();
    let out = server::run(sendmail(&server, &["-bv", "team"]), b"");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    for user in ["daemon", "games"] {
        assert!(said(&out).contains(&format!("{user}... deliverable: mailer local, user {user}\n")), "{out:?}");
    }
    let text = server.path("aliases");
    fs::set_permissions(&text, fs::Permissions::from_mode(0o000)).unwrap();
    let out = server::run(sendmail(&server, &["-bv", "team"]), b"");
    assert_eq!(out.status.code(), Some(75), "what nobody could look up is not unknown: {out:?}");
}

#[test]
fn what_scripts_ask_needs_no_server() {
    let mut server = Setup::default().start();
    server.stop();
    let facts = ask(&server, &["-d0.1", "-bv", "nobody"]);
    assert!(
        facts.starts_with("Version 8.18.1 ") && facts.contains(" STARTTLS") && facts.contains("deliverable: mailer"),
        "{facts}"
    );
    assert_eq!(ask(&server, &["-bO"]).lines().count(), 148);
    let check = server::run(sendmail(&server, &["-bC"]), b"");
    assert_eq!((check.status.code(), said(&check).as_str()), (Some(0), ""), "{check:?}");
    let header = server::run(sendmail(&server, &["-bv", "-t"]), b"To: nobody\nSubject: x\n\nbody\n");
    assert!(said(&header).contains("nobody... deliverable: mailer local"), "{header:?}");
    fs::write(server.path("bad.kdl"), "hostt \"x\"\n").unwrap();
    let bad = server.path("bad.kdl");
    let check = server::run(sendmail(&server, &["-bC", "-C", bad.to_str().unwrap()]), b"");
    assert_eq!(check.status.code(), Some(78), "{check:?}");
    assert!(Path::new(&bad).exists());
}
