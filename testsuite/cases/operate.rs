//! Start, stop, reload, a second start, ids.

use std::collections::HashSet;
use std::fs;
use testsuite::{Server, Setup, Sink, Smtp, message, seconds, server, wait_for};

#[test]
fn it_stops_in_order_and_starts_again_with_its_queue() {
    let sink = Sink::scripted(|_| testsuite::sink::Act::Drop);
    let address = sink.address;
    let mut server = Setup::default().relay_to(address).start();
    for n in 0..20 {
        server.sendmail(&["-i", "x@far.test"], message::text(&format!("q{n}"), "x", 3).as_bytes());
    }
    let status = server.stop();
    assert!(status.success(), "{status:?}");
    drop(sink);
    let sink = Sink::on(address, false, |_| testsuite::sink::Act::Go);
    let ready = server.start();
    assert!(ready < seconds(5), "ready after {ready:?}");
    wait_for("the queue drains", seconds(30), || sink.len() == 20);
    server.wait_empty(seconds(10));
}

#[test]
fn a_second_start_is_refused_and_names_the_holder() {
    let server = Setup::default().start();
    // The pid file is written a moment after the first greeting.
    wait_for("the pid file", seconds(5), || server.path("run/pid").exists());
    let before = fs::read_to_string(server.path("run/pid")).unwrap_or_default();
    let mut second = server.command("postrider");
    second.args(["keeper", "--config"]).arg(server.configuration());
    let out = server::run(second, b"");
    assert!(!out.status.success(), "{out:?}");
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &server.log();
    assert!(said.contains("already") || said.contains("holds") || said.contains("in use"), "{said}");
    assert!(server.greets(seconds(5)), "the first one is unharmed");
    assert_eq!(fs::read_to_string(server.path("run/pid")).unwrap_or_default(), before);
    let out = server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\nx\n");
    assert_eq!(out.status.code(), Some(0));
    server.wait_mail("daemon", 1);
}

#[test]
fn a_changed_configuration_is_taken_on_sighup_and_sessions_go_on() {
    let mut server = Setup::default().start();
    let engine = server.engine();
    let mut old = Smtp::hello(server.address).unwrap();
    old.command("MAIL FROM:<a@client.test>").unwrap();
    server.setup = server.setup.clone().with("limits { recipients 7 }");
    server.setup.aliases.push_str("added: daemon\n");
    server.write_configuration();
    server.reload();
    wait_for("the new alias", seconds(15), || {
        let mut session = Smtp::hello(server.address).unwrap();
        session.command("MAIL FROM:<a@client.test>").unwrap();
        session.command("RCPT TO:<added@local.test>").unwrap().code == 250
    });
    assert_eq!(old.command("RCPT TO:<daemon@local.test>").unwrap().code, 250, "the old session goes on");
    assert_eq!(server.engine(), engine, "a reload is a swap inside the same engine");
    // A broken configuration is refused whole; the old one goes on.
    fs::write(server.configuration(), "host \"x\" {{{ nonsense").unwrap();
    server.reload();
    std::thread::sleep(seconds(1));
    assert!(server.greets(seconds(5)));
    // Nor does a file that is lost, or just being replaced, bring the defaults.
    fs::remove_file(server.configuration()).unwrap();
    server.reload();
    wait_for("its complaint", seconds(10), || server.story().contains("no such file; the old configuration stays"));
    assert!(server.greets(seconds(5)));
    assert_eq!(old.command("NOOP").unwrap().code, 250);
    server.write_configuration();
}

#[test]
fn an_engine_that_dies_is_started_again() {
    let server = Setup::default().start();
    let engine = server.engine();
    assert_ne!(engine, server.pid(), "the engine is a process of its own");
    testsuite::process::signal(engine, rustix::process::Signal::KILL);
    wait_for("service again", seconds(10), || {
        testsuite::process::read(engine).is_none_or(|p| p.state == 'Z') && server.greets(seconds(1))
    });
    server.sendmail(&["-i", "daemon@local.test"], b"Subject: x\n\nx\n");
    server.wait_mail("daemon", 1);
}

#[test]
fn queue_ids_are_never_used_twice() {
    let mut server = Setup::default().start();
    let mut seen = HashSet::new();
    for round in 0..4 {
        let mut session = Smtp::hello(server.address).unwrap();
        for n in 0..25 {
            let text = message::text(&format!("r{round}n{n}"), "d", 1);
            let reply = session.message("a@client.test", &["daemon@local.test"], &text).unwrap();
            let id = reply.text().split(' ').nth(2).unwrap_or_default().to_owned();
            assert!(id.len() == 14 && id.chars().all(|c| c.is_ascii_alphanumeric()), "{reply:?}");
            assert!(seen.insert(id), "{reply:?} is used twice");
        }
        server.kill();
        server.start();
    }
}

#[test]
fn errors_in_a_configuration_come_all_at_once_with_their_places() {
    let server = Server::make(Setup::default());
    fs::write(server.configuration(), "host \"mx.test\"\nlisen \"127.0.0.1:2525\"\nqueue { expire \"5x\" }\n").unwrap();
    let mut check = server.command("postrider");
    check.args(["config", "check"]).arg(server.configuration());
    let out = server::run(check, b"");
    assert!(!out.status.success());
    let said = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(said.contains(":2:1") && said.contains("listen"), "place and a suggestion: {said}");
    assert!(said.contains(":3:"), "all errors at once: {said}");
}

#[test]
fn every_configuration_of_conf_is_correct() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    let server = Server::make(Setup::default());
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "kdl") {
            continue;
        }
        seen += 1;
        // A copy: the tree may be below a folder that an ordinary user cannot enter.
        let copy = server.path(&path.file_name().unwrap().to_string_lossy());
        fs::copy(&path, &copy).unwrap();
        for verb in ["check", "show"] {
            let mut check = server.command("postrider");
            check.args(["config", verb]).arg(&copy);
            let out = server::run(check, b"");
            assert!(out.status.success(), "config {verb} {}: {}", path.display(), String::from_utf8_lossy(&out.stderr));
        }
    }
    assert!(seen >= 3, "null client, local users, relay: {seen} found");
}

/// The commands that README and `--help` name, as a reader would type them.
#[test]
fn the_documented_commands_of_the_configuration_work() {
    let server = Setup::default().start();
    let said = |arguments: &[&str]| {
        let mut command = server.command("postrider");
        command.args(arguments);
        let out = server::run(command, b"");
        assert!(out.status.success(), "{arguments:?}: {out:?}");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    let file = server.configuration().display().to_string();
    assert!(said(&["config", "check", &file]).contains("fine"));
    assert!(said(&["config", "show", &file]).contains("listen"));
    assert!(said(&["config", "reference"]).contains("smart-host"));
    assert!(said(&["--help"]).contains("queue list"));
    assert!(said(&["queue", "list", "--json"]).is_empty());
    assert!(said(&["queue", "count"]).starts_with("0 messages"));
}

/// What MIGRATION.md shows of `explain`.
#[test]
fn explain_says_what_the_migration_page_shows() {
    let server = Setup::default().with("virtual-users \"@F@/virtusertable\" { domains \"v.example\" }").start();
    std::fs::write(server.path("virtusertable"), "info@v.example daemon\n").unwrap();
    let mut command = server.command("postrider");
    command.args(["explain", "--config"]).arg(server.configuration()).arg("info@v.example");
    let out = server::run(command, b"");
    let said = String::from_utf8_lossy(&out.stdout);
    let table = server.path("virtusertable").display().to_string();
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(
        said.contains(&format!("  virtual-user  info@v.example -> daemon  ({table}:1: info@v.example)\n")),
        "{said}"
    );
    assert!(said.contains("  deliverable   daemon: mailer local, user daemon  (account: daemon (uid "), "{said}");
}
