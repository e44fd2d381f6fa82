//! Callers of `sendmail` with somebody else's rights, without a home, on full disks: on the private host (`testsuite/host`).

use crate::host::{alone, real, sendmail_as};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Output};
use testsuite::{mbox, root_or_skip, seconds, server, wait_for};

/// The mailbox of `user`, once it has `n` messages.
fn mail(user: &str, n: usize) -> Vec<mbox::Entry> {
    let path = Path::new("/var/mail").join(user);
    wait_for(&format!("{n} messages for {user}"), seconds(20), || mbox::read(&path).is_ok_and(|m| m.len() >= n));
    mbox::read(&path).unwrap()
}

fn text(message: &mbox::Entry) -> String {
    String::from_utf8_lossy(&message.text).into_owned()
}

fn said(out: &Output) -> String {
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// `sendmail` called by u05 through a set-uid program of root's.
fn borrowed(wrapper: &Path, environment: &[&str], arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "u05", "--regid", "tester", "--clear-groups"]).arg(wrapper).args(environment);
    command.arg(server::programs().join("sendmail")).args(arguments).current_dir("/");
    server::run(command, input.as_bytes())
}

#[test]
fn a_set_uid_caller_is_its_real_user() {
    if !root_or_skip("a_set_uid_caller") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let wrapper = server.path("env");
    fs::copy("/usr/bin/env", &wrapper).unwrap();
    fs::set_permissions(&wrapper, PermissionsExt::from_mode(0o4755)).unwrap();
    let trap = server.path("trap");
    fs::create_dir(&trap).unwrap();
    fs::set_permissions(&trap, PermissionsExt::from_mode(0o1777)).unwrap();
    let own = trap.display();
    let environment = [format!("POSTRIDER_RUN={own}"), format!("POSTRIDER_DROP={own}"), format!("TMPDIR={own}")];
    let environment: Vec<&str> = environment.iter().map(String::as_str).collect();

    let out = borrowed(&wrapper, &environment, &["u06"], "Subject: secret\n\nhi\n");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let got = mail("u06", 1);
    assert!(text(&got[0]).contains("Received: (from u05@localhost)"), "{}", text(&got[0]));
    assert_eq!(fs::read_dir(&trap).unwrap().count(), 0, "the environment was believed");

    let file = server.path("roots");
    fs::create_dir(&file).unwrap();
    let log = file.join("log").display().to_string();
    for (flags, code) in [([format!("-X{log}"), "u06".into()], 73), ([format!("-D{log}"), "-d0.1".into()], 73)] {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let out = borrowed(&wrapper, &[], &flags, "Subject: x\n\nx\n");
        assert_eq!((out.status.code(), Path::new(&log).exists()), (Some(code), false), "{flags:?}: {out:?}");
    }
    assert_eq!(borrowed(&wrapper, &[], &["-C/etc/shadow", "-bv", "u06"], "").status.code(), Some(72));
    let out = borrowed(&wrapper, &[], &["-bd"], "");
    assert_eq!(out.status.code(), Some(64), "{out:?}");
    assert!(said(&out).contains("real uid not trusted"), "{out:?}");
}

#[test]
fn what_cannot_be_saved_comes_back() {
    if !root_or_skip("what_cannot_be_saved") {
        return;
    }
    let _alone = alone();
    let mut server = real("aliases \"/etc/aliases\"");
    server.start();
    let _before = fs::remove_file("/home/u06/dead.letter");
    symlink("/tmp/elsewhere", "/home/u06/dead.letter").unwrap();
    let out = sendmail_as("u06", &["no-such-user", "u07"], "Subject: precious\n\nhi\n");
    assert_eq!((out.status.code(), said(&out).as_str()), (Some(67), "no-such-user... User unknown\n"), "{out:?}");
    let back = text(&mail("u06", 1)[0]);
    for part in ["Returned mail", "Final-Recipient: RFC822; no-such-user", "Subject: precious"] {
        assert!(back.contains(part), "{part:?}: {back}");
    }
    assert!(!back.contains("u07"), "{back}");
    assert_eq!(mail("u07", 1).len(), 1, "once");
    fs::remove_file("/home/u06/dead.letter").unwrap();

    // A user without an account: to the postmaster.
    let out = sendmail_as("54321", &["no-such-user"], "Subject: precious\n\nhi\n");
    assert_eq!(out.status.code(), Some(67), "{out:?}");
    assert!(text(&mail("tester", 1)[0]).contains("Subject: precious"));
}

#[test]
fn a_header_beyond_the_limit_is_saved() {
    if !root_or_skip("a_header_beyond_the_limit") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let letter = Path::new("/home/u07/dead.letter");
    let _before = fs::remove_file(letter);
    let input = format!("Subject: x\nX-Long: {}END\n\nthe body\n", "x".repeat(3 << 20));
    let out = sendmail_as("u07", &["u06"], &input);
    let saved = "Headers too large (1048576 max)\n/home/u07/dead.letter... Saved message in /home/u07/dead.letter\n";
    assert_eq!((out.status.code(), said(&out).as_str()), (Some(65), saved));
    let text = fs::read_to_string(letter).unwrap();
    assert!(text.ends_with(&format!("{}\n", &input)), "it is not whole: {} bytes", text.len());
    fs::remove_file(letter).unwrap();
}

#[test]
fn a_full_drop_folder_keeps_no_large_message_from_the_server() {
    if !root_or_skip("a_full_drop_folder") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let folder = "/var/spool/postrider/drop";
    let small = ["-t", "tmpfs", "-o", "size=256k,mode=1733", "none", folder];
    assert!(Command::new("mount").args(small).status().unwrap().success());
    let input = format!("Subject: big\n\n{}", "0123456789abcde\n".repeat(40_000));
    let out = sendmail_as("u05", &["u06"], &input);
    assert!(Command::new("umount").arg(folder).status().unwrap().success());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(mail("u06", 1)[0].text.len() > 600_000);
}

#[test]
fn vacation_answers_in_the_users_name() {
    if !root_or_skip("vacation_answers") {
        return;
    }
    let _alone = alone();
    let mut server = real("");
    server.start();
    let message = server.path("message");
    fs::write(&message, "Subject: away\n\nnot here\n").unwrap();
    let program = server::programs().join("sendmail");
    let line =
        format!("exec -a vacation {} -f /home/u08/vacation-test -m {} u08", program.display(), message.display());
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "u08", "--regid", "tester", "--clear-groups", "bash", "-c", &line]).current_dir("/");
    let out = server::run(command, b"From u09@mx.test  Sat Nov 21 20:22:16 2026\nTo: u08\n\nhi\n");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let answer = mail("u09", 1);
    let text = text(&answer[0]);
    assert!(answer[0].from_line.starts_with("From MAILER-DAEMON"), "{}", answer[0].from_line);
    assert!(text.lines().any(|line| line.starts_with("From: ") && line.ends_with("u08@mx.test>")), "{text}");
}
