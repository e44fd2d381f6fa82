//! What is refused, from `testsuite/refusals`: each attack is staged, nothing is run or written, the reason is in the log, no mail is lost.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, wait_for};

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
fn the_mail_systems_own_account_is_unknown() {
    if !root_or_skip("the_mail_systems_own_account_is_unknown") {
        return;
    }
    let setup = Setup { aliases: "postrider-users: u14\n".into(), ..Setup::default().with_roles() };
    let server = setup.start();
    let mut session = Smtp::hello(server.address).unwrap();
    assert_eq!(session.command("MAIL FROM:<victim@forged.test>").unwrap().code, 250);
    for to in ["postrider", "postrider+x@local.test", "\\postrider"] {
        let reply = session.command(&format!("RCPT TO:<{to}>")).unwrap();
        assert_eq!(reply.text(), format!("550 5.1.1 <{to}>... User unknown"));
    }
    assert_eq!(session.command("RCPT TO:<postrider-users>").unwrap().code, 250, "an alias has the first word");
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

/// A program as careless as they come: a shell reads once more what its environment says.
const CARELESS: &str = "eval \"echo from $SENDER to $RECIPIENT with $EXTENSION\" >>@F@/tmp/ran\ncat >>@F@/tmp/ran\n";

#[test]
fn shell_text_in_addresses_and_headers_is_only_text() {
    if !root_or_skip("shell_text_in_addresses_and_headers_is_only_text") {
        return;
    }
    let mut server = Server::make(Setup::default().with_roles());
    let folder = server.folder.display().to_string();
    fs::write(server.path("careless"), CARELESS.replace("@F@", &folder)).unwrap();
    server.setup.aliases.push_str(&format!("p: \"|/bin/sh {folder}/careless\"\n"));
    server.write_configuration();
    assert!(Command::new("chmod").arg("1777").arg(server.path("tmp")).status().unwrap().success());
    server.start();
    stage(
        &server,
        "echo '\"|/bin/sh '$F'/careless\"' >$H/.forward; chown $U $H/.forward; install -m 666 /dev/null $F/tmp/ran",
        ["u27", "u26"],
    );
    let text = include_str!("../refusals/text").replace("$F", &folder);
    let mut taken = 0;
    for (number, line) in text.lines().filter(|line| !line.starts_with('#')).enumerate() {
        let [from, to, field, reason] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let message = format!("{field}\n{}", message::text(&format!("text{number}"), "x", 2));
        let before = server.log().len();
        let reply = Smtp::hello(server.address).unwrap().message(from, &[to], &message).unwrap();
        assert_eq!(reply.code == 250, reason == "stat=Sent", "{line}: {}", reply.text());
        taken += usize::from(reply.code == 250);
        wait_for(line, seconds(20), || server.log().get(before..).is_some_and(|log| log.contains(reason)));
    }
    server.wait_empty(seconds(20));
    let ran = fs::read_to_string(server.path("tmp/ran")).unwrap();
    assert_eq!(ran.matches("\nend of text").count(), taken, "{ran}");
    for place in [server.path("tmp/owned"), "/tmp/owned".into(), "/home/u27/owned".into()] {
        assert!(!place.exists(), "{}\n{ran}", place.display());
    }
    assert!(!server.log().chars().any(|c| c.is_control() && c != '\n'), "control characters in the log");
    fresh("u27");
}

#[test]
fn what_is_planted_in_the_drop_folder() {
    if !root_or_skip("what_is_planted_in_the_drop_folder") {
        return;
    }
    let mut server = Setup::default().with_roles().start();
    server.stop();
    let drop = |id: &str| {
        let out = server.sendmail(&["-i", "u16"], message::text(id, "u16", 3).as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
    };
    drop("first");
    let folder = server.drop_folder();
    let good = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    fs::copy(&good, server.path("good")).unwrap();
    let attacks = attacks(include_str!("../refusals/drop"));
    for (script, _) in &attacks {
        let mut command = Command::new("/bin/bash");
        command.args(["-e", "-c", &format!("umask 077; {script}")]).env("U", "u14").env("G", server.path("good"));
        let out = command.current_dir(&folder).output().unwrap();
        assert!(out.status.success(), "{script}: {out:?}");
    }
    drop("last");
    server.start();
    // Nothing of it stops the others.
    let arrived = || mbox::count([server.mailbox("u16")]).0.into_keys().collect::<Vec<_>>();
    wait_for("both messages", seconds(30), || arrived() == ["first", "last"]);
    let said = || fs::read_to_string(server.path("stderr")).unwrap_or_default() + &server.log();
    for (script, reason) in attacks {
        wait_for(&format!("{script}: {reason}\n{}", said()), seconds(20), || said().contains(&reason));
    }
}

/// What is there now is asked for as for new mail.
#[test]
fn an_entry_that_stands_no_more_in_the_forward_file_is_not_run() {
    if !root_or_skip("an_entry_that_stands_no_more") {
        return;
    }
    let server = Setup::default().with_roles().start();
    assert!(Command::new("chmod").arg("1777").arg(server.path("tmp")).status().unwrap().success());
    let write = "echo '\"|touch '$F'/tmp/'$N'; exit '$C'\"' >$H/.forward; chown $U $H/.forward";
    stage(&server, &format!("N=first; C=75; {write}"), ["u28", "u29"]);
    send(&server, "u28@local.test");
    server.wait_log("Deferred: prog mailer (/bin/sh) exited with EX_TEMPFAIL");
    // A file that others may write is not obeyed, and it is no news of the owner's either.
    stage(&server, &format!("N=second; C=0; {write}; chmod 666 $H/.forward"), ["u28", "u29"]);
    server.wait_log(".forward: World writable file");
    fs::remove_file(server.path("tmp/first")).unwrap();
    assert!(!server.path("tmp/second").exists());
    assert!(Command::new("chmod").args(["644", "/home/u28/.forward"]).status().unwrap().success());
    let then = std::time::SystemTime::now() - seconds(60);
    fs::File::open("/home/u28/.forward").unwrap().set_modified(then).unwrap();
    let line = server.wait_log("u28 was expanded anew, 1 new");
    assert!(line.contains("what was named stands no more in /home/u28/.forward: "), "{line}");
    server.wait_empty(seconds(20));
    assert!(server.path("tmp/second").exists() && !server.path("tmp/first").exists());
    fresh("u28");
}

/// A web form's `-f` that became options (S-43, S-44): what they name is opened with the caller's rights, and a line break is no line.
#[test]
fn options_give_no_more_than_the_callers_rights() {
    if !root_or_skip("options_give_no_more_than_the_callers_rights") {
        return;
    }
    let server = Setup::default().with_roles().start();
    let secret = "host \"tulip.test\" open tulip\n";
    fs::write("/etc/sesame", secret).unwrap();
    fs::set_permissions("/etc/sesame", fs::Permissions::from_mode(0o600)).unwrap();
    let call = |arguments: &[&str]| {
        let mut command = server.command("sendmail");
        command.args(arguments).uid(20_018).gid(19_999).current_dir("/");
        testsuite::server::run(command, b"Subject: x\n\nx\n")
    };
    for arguments in [
        &["-X/etc/made", "u16"][..],
        &["-D/etc/made", "-d0.1", "u16"],
        &["-OQueueDirectory=/etc/made", "u16"],
        &["-C/etc/sesame", "-bv", "u16"],
        &["-C/etc/sesame", "u16"],
        &["-oA/etc/sesame", "-bi"],
        &["-bi", "-oA/etc/sesame", "-v"],
    ] {
        let out = call(arguments);
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        assert!(!said.contains("tulip"), "{arguments:?}: {said}");
        assert!(!Path::new("/etc/made").exists() && !Path::new("/etc/sesame.db").exists(), "{arguments:?}: {said}");
    }
    assert_eq!(fs::read_to_string("/etc/sesame").unwrap(), secret);
    server.wait_empty(seconds(20));
    // A line break in an argument is a blank: it begins no command and no field.
    for arguments in [
        &["-f", "a\r\nRCPT TO:<u17>", "u16"][..],
        &["-f", "a@x\nBcc: u17", "u16"],
        &["-F", "x\nBcc: u17", "u16"],
        &["-i", "u16\rX: y"],
    ] {
        call(arguments);
    }
    server.wait_empty(seconds(20));
    assert!(!server.mailbox("u17").exists(), "{}", server.log());
    for message in server.wait_mail("u16", 1) {
        assert!(message.field("Bcc").is_none() && message.field("X").is_none(), "{message:?}");
    }
    fs::remove_file("/etc/sesame").unwrap();
}
