//! Programs, files and lists that aliases name.

use std::fs;
use std::os::unix::fs::MetadataExt;
use testsuite::{Server, Setup, Smtp, mbox, message, seconds, wait_for};

fn with(aliases: &str) -> Setup {
    Setup { aliases: format!("postmaster: nobody\n{aliases}"), ..Setup::default() }
}

/// Starts with these aliases, in which `@F@` is the server's folder.
fn start(aliases: &str) -> Server {
    let mut server = Server::make(with(""));
    let folder = server.folder.to_string_lossy().into_owned();
    server.setup.aliases.push_str(&aliases.replace("@F@", &folder));
    server.write_configuration();
    server.start();
    server
}

fn send(server: &Server, from: &str, to: &str, id: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text(id, to, 3);
    assert_eq!(session.message(from, &[to], &text).unwrap().code, 250, "{to}");
}

#[test]
fn a_program_gets_the_message_as_sendmail_writes_it_and_who_sent_it() {
    let server = start("prog: \"|cat > @F@/tmp/got; env > @F@/tmp/env; pwd > @F@/tmp/pwd\"\n");
    send(&server, "\"a$(touch x)`id`\"@client.test", "prog+x$y.z@local.test", "one");
    server.wait_log("mailer=prog");
    server.wait_empty(seconds(20));
    let got = fs::read_to_string(server.path("tmp/got")).unwrap();
    assert!(got.starts_with("From \"a$(touch x)`id`\"@client.test "), "{got}");
    assert!(got.contains("\nReturn-Path: <\"a$(touch x)`id`\"@client.test>\n"), "{got}");
    assert!(got.contains("X-Test-Id: one") && !got.contains('\r'), "{got}");
    let env = fs::read_to_string(server.path("tmp/env")).unwrap();
    assert!(env.contains("AGENT=sendmail\n") && env.contains("SENDER=_a__touch_x__id__@client.test\n"), "{env}");
    assert!(env.contains("\nRECIPIENT=prog+x_y.z@local.test\n") && env.contains("\nEXTENSION=x_y.z\n"), "{env}");
    assert!(!env.contains("POSTRIDER") && !env.contains("LD_"), "{env}");
    let line = server.wait_log("mailer=prog");
    assert!(
        line.contains("to=\"|cat") && line.contains("ctladdr=<prog+x$y.z@local.test>") && line.contains("stat=Sent"),
        "{line}"
    );
}

#[test]
fn exit_codes_and_output_reach_the_sender() {
    let server =
        start("bad: \"|echo so sorry; exit 3\"\nnone: \"|exit 67\"\nlater: \"|exit 75\"\ngone: \"|kill -9 $$\"\n");
    send(&server, "daemon@local.test", "bad", "bad");
    let report = String::from_utf8_lossy(&server.wait_mail("daemon", 1)[0].text).into_owned();
    for part in ["so sorry\n554 5.3.0 ", "unknown mailer error 3", "Diagnostic-Code: X-Unix; 3", "    (reason: 3)\n"] {
        assert!(report.contains(part), "{part:?}:\n{report}");
    }
    send(&server, "daemon@local.test", "none", "none");
    let report = String::from_utf8_lossy(&server.wait_mail("daemon", 2)[1].text).into_owned();
    assert!(report.contains("550 5.1.1 ") && report.contains("User unknown"), "{report}");
    send(&server, "daemon@local.test", "later", "later");
    server.wait_log("Deferred: prog mailer (/bin/sh) exited with EX_TEMPFAIL");
    send(&server, "daemon@local.test", "gone", "gone");
    server.wait_log("died with signal 9");
    assert!(server.mailq().contains("EX_TEMPFAIL"), "{}", server.mailq());
}

#[test]
fn files_are_appended_to_and_links_refused() {
    let server = start("keep: @F@/tmp/archive\nnull: /dev/null\nlink: @F@/tmp/link\n");
    fs::write(server.path("tmp/target"), "precious").unwrap();
    std::os::unix::fs::symlink(server.path("tmp/target"), server.path("tmp/link")).unwrap();
    for n in 0..3 {
        send(&server, "a@client.test", "keep", &format!("k{n}"));
    }
    send(&server, "a@client.test", "null", "null");
    let archive = server.path("tmp/archive");
    wait_for("three in the archive", seconds(20), || mbox::read(&archive).is_ok_and(|m| m.len() == 3));
    let kept = mbox::read(&archive).unwrap();
    assert!(kept.iter().all(|mail| message::whole(&mail.text).is_ok()));
    assert_eq!(kept[0].field("Return-Path").as_deref(), Some("<a@client.test>"));
    server.wait_empty(seconds(20));
    send(&server, "a@client.test", "link", "link");
    server.wait_log("/tmp/link refused: symbolic link");
    assert_eq!(fs::read_to_string(server.path("tmp/target")).unwrap(), "precious");
}

#[test]
fn what_comes_after_an_unfinished_line_stands_by_itself_and_locks_are_waited_for() {
    let server = start("keep: @F@/tmp/archive\n");
    let (archive, lock) = (server.path("tmp/archive"), server.path("tmp/archive.lock"));
    fs::write(&archive, "From x@y  Sat Nov 21 20:22:16 2026\nSubject: torn\n\nhal").unwrap();
    fs::set_permissions(&archive, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let owner = if nix::unistd::geteuid().is_root() { Some(65_534) } else { None };
    std::os::unix::fs::chown(&archive, owner, None).unwrap();
    fs::write(&lock, "").unwrap();
    send(&server, "a@client.test", "keep", "k");
    std::thread::sleep(seconds(2));
    assert!(fs::read_to_string(&archive).unwrap().ends_with("hal"), "a reader has its lock");
    fs::remove_file(&lock).unwrap();
    wait_for("two in the archive", seconds(20), || mbox::read(&archive).is_ok_and(|m| m.len() == 2));
    assert!(message::whole(&mbox::read(&archive).unwrap()[1].text).is_ok());
    server.wait_empty(seconds(20));
    assert!(!lock.exists());
}

#[test]
fn a_list_is_read_when_mail_comes_and_its_owner_is_the_sender() {
    let server = start("list: :include:@F@/tmp/list\nowner-list: lp\n");
    send(&server, "a@client.test", "list", "early");
    server.wait_log("Cannot open");
    fs::write(server.path("tmp/list"), "# members\ndaemon, games\n\ngames, nosuch\n\"|touch /tmp/never\"\n").unwrap();
    for user in ["daemon", "games"] {
        let mail = server.wait_mail(user, 1);
        assert_eq!(mail[0].field("Return-Path").as_deref(), Some("<lp@mx.test>"), "{user}");
    }
    // One report of all that is wrong.
    let reports = server.wait_mail("lp", 1);
    let all = String::from_utf8_lossy(&reports[0].text).into_owned();
    assert!(all.contains("nosuch") && all.contains("mailing to programs is not allowed in a list"), "{all}");
    assert_eq!(mbox::read(&server.mailbox("games")).unwrap().len(), 1, "once although named twice");
}

#[test]
fn a_list_of_nobody_is_told_to_the_sender() {
    let server = start("empty: :include:@F@/tmp/empty\n");
    fs::write(server.path("tmp/empty"), "# nobody yet\n").unwrap();
    send(&server, "daemon@local.test", "empty", "one");
    let report = String::from_utf8_lossy(&server.wait_mail("daemon", 1)[0].text).into_owned();
    assert!(report.contains("a list without members"), "{report}");
}

/// What stood there when the mail came is not run any more, nor what stands there now: it waits until the old line is there again.
#[test]
fn an_alias_that_was_edited_waits() {
    let mut server = start("prog: \"|test -e @F@/tmp/go && echo one >> @F@/tmp/done || exit 75\", daemon\n");
    send(&server, "sys@local.test", "prog", "prog");
    server.wait_log("EX_TEMPFAIL");
    server.wait_mail("daemon", 1);
    let before = server.setup.aliases.clone();
    server.setup.aliases = before.replace("echo one", "echo two");
    server.write_configuration();
    server.wait_log("stat=Deferred: what was named stands no more in ");
    fs::write(server.path("tmp/go"), "").unwrap();
    server.setup.aliases = before;
    server.write_configuration();
    server.wait_empty(seconds(60));
    assert_eq!(fs::read_to_string(server.path("tmp/done")).unwrap(), "one\n");
    assert_eq!(server.wait_mail("daemon", 1).len(), 1);
}

#[test]
fn programs_of_each_alias_file_run_whatever_names_it() {
    let mut server = Server::make(with("list: games\n"));
    server.write_configuration();
    let text = fs::read_to_string(server.configuration()).unwrap();
    let (one, two) = (server.path("aliases"), server.path("more"));
    let both = format!("aliases {one:?} {two:?} union=#true");
    fs::write(server.configuration(), text.replace(&format!("aliases {one:?}"), &both)).unwrap();
    let row = |key: &str, value: &str| format!("{key} {value}\n").replace("@F@", &server.folder.to_string_lossy());
    let rows = [("list", "\"|touch @F@/tmp/list\""), ("only", "\"|touch @F@/tmp/only\", @F@/tmp/file")];
    fs::write(&two, rows.map(|(key, value)| row(&format!("{key}:"), value)).concat()).unwrap();
    let user = fs::metadata(&one).unwrap();
    std::os::unix::fs::chown(&two, Some(user.uid()), Some(user.gid())).unwrap();
    // A compiled form that does not know what it was made from, as sendmail's own.
    let mut makemap = server.command("postrider");
    makemap.args(["makemap", "hash"]).arg(&two);
    let made = testsuite::server::run(makemap, rows.map(|(key, value)| row(key, value)).concat().as_bytes());
    assert!(made.status.success(), "{made:?}");
    server.start();
    send(&server, "a@client.test", "list", "one");
    send(&server, "a@client.test", "only", "two");
    server.wait_mail("games", 1);
    server.wait_empty(seconds(20));
    for made in ["list", "only", "file"] {
        assert!(server.path("tmp").join(made).exists(), "{made}");
    }
}

#[test]
fn a_program_that_hangs_is_ended_with_all_it_started_and_tried_again() {
    let server = start_with_time("hang: \"|echo $$ >> @F@/tmp/pids; sleep 1000\"\n");
    send(&server, "a@client.test", "hang", "one");
    server.wait_log("took longer than 1 s");
    let first = fs::read_to_string(server.path("tmp/pids")).unwrap();
    let pid = first.lines().next().unwrap().to_owned();
    wait_for("its end", seconds(10), || !std::path::Path::new("/proc").join(&pid).exists());
    wait_for("another try", seconds(20), || fs::read_to_string(server.path("tmp/pids")).unwrap().lines().count() > 1);
    // Nobody else waits for it.
    send(&server, "a@client.test", "daemon", "two");
    server.wait_mail("daemon", 1);
}

fn start_with_time(aliases: &str) -> Server {
    let mut server = Server::make(with("").with("local { program-time \"1s\" }"));
    let folder = server.folder.to_string_lossy().into_owned();
    server.setup.aliases.push_str(&aliases.replace("@F@", &folder));
    server.write_configuration();
    server.start();
    server
}
