//! What is refused, from `testsuite/refusals`: each attack is staged, nothing is run or written, the reason is in the log, no mail is lost.

use std::fs;
use std::path::Path;
use std::process::Command;
use testsuite::{Server, Setup, Smtp, message, root_or_skip};

/// The attacks of a file: script and reason.
fn attacks(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once('\t').map(|(a, b)| (a.to_owned(), b.to_owned())).expect(line)).collect()
}

/// Runs a script as root with the names that `refusals/README.md` lists.
fn stage(server: &Server, script: &str, [user, other]: [&str; 2]) {
    [user, other].iter().for_each(|user| fresh(user));
    let home = |user: &str| format!("/home/{user}");
    let mut command = Command::new("/bin/bash");
    command.args(["-e", "-c", script]).env("U", user).env("H", home(user)).env("O", other).env("P", home(other));
    let out = command.env("F", &server.folder).output().unwrap();
    assert!(out.status.success(), "{script}: {out:?}");
}

fn fresh(user: &str) {
    let home = format!("/home/{user}");
    for step in [format!("rm -rf {home}"), format!("mkdir -m 750 {home}"), format!("chown {user}:tester {home}")] {
        assert!(Command::new("/bin/sh").args(["-c", &step]).status().unwrap().success());
    }
}

fn send(server: &Server, to: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("attack", to, 2);
    assert_eq!(session.message("a@client.test", &[to], &text).unwrap().code, 250);
}

#[test]
fn forward_files_that_somebody_else_could_have_written() {
    if !root_or_skip("forward_files_that_somebody_else_could_have_written") {
        return;
    }
    for (script, reason) in attacks(include_str!("../refusals/forward")) {
        let server = Setup::default().with_roles().start();
        assert!(Command::new("chmod").arg("1777").arg(server.path("tmp")).status().unwrap().success());
        stage(&server, &script, ["u14", "u15"]);
        send(&server, "u14@local.test");
        server.wait_log(&reason.replace('~', "/home/u14"));
        assert_eq!(server.wait_mail("u14", 1).len(), 1, "{script}");
        assert!(!server.path("tmp/owned").exists(), "{script}");
        assert!(!server.mailbox("u15").exists(), "{script}");
    }
    fresh("u14");
    fresh("u15");
}

#[test]
fn what_aliases_may_not_do() {
    if !root_or_skip("what_aliases_may_not_do") {
        return;
    }
    for (script, reason) in attacks(include_str!("../refusals/alias")) {
        let mut server = Server::make(Setup::default().with_roles());
        let tmp = server.path("tmp").display().to_string();
        server.setup.aliases.push_str(&format!("x: {tmp}/file\np: \"|touch {tmp}/owned\"\nl: :include:{tmp}/list\n"));
        server.write_configuration();
        assert!(Command::new("chmod").arg("1777").arg(server.path("tmp")).status().unwrap().success());
        server.start();
        stage(&server, &script, ["u16", "u17"]);
        let to = if script.contains("/file") {
            "x"
        } else if script.contains("/list") {
            "l"
        } else {
            "p"
        };
        send(&server, &format!("{to}@local.test"));
        server.wait_log(&reason);
        assert!(!server.mailq().contains("is empty"), "{script}");
        assert!(!Path::new(&tmp).join("owned").exists(), "{script}");
        assert_eq!(fs::read_to_string(server.path("tmp/precious")).unwrap_or_default(), "", "{script}");
    }
    fresh("u16");
}
