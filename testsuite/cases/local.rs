//! Into local mailboxes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use testsuite::{Server, Setup, Smtp, mbox, message, seconds, wait_for};

#[test]
fn a_script_calls_sendmail_t_and_the_user_reads_it_in_his_mbox() {
    let server = Setup::default().start();
    let text =
        "To: daemon@local.test\nBcc: games@local.test\nSubject: hello\n\nFrom here on\n.\nlast line without an end";
    let out = server.sendmail(&["-t", "-i"], text.as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    assert!(out.stdout.is_empty() && out.stderr.is_empty(), "{out:?}");
    for user in ["daemon", "games"] {
        let mail = server.wait_mail(user, 1);
        assert_eq!(String::from_utf8_lossy(mail[0].body()), ">From here on\n.\nlast line without an end\n");
        let header = mail[0].header();
        assert!(!header.contains("Bcc"), "Bcc must be gone for all readers: {header}");
        for field in ["Received", "Date", "From", "Message-Id", "To", "Subject"] {
            assert!(mail[0].field(field).is_some(), "{field} is missing: {header}");
        }
        assert!(mail[0].from_line.starts_with("From nobody"), "{}", mail[0].from_line);
        assert!(header.starts_with("Return-Path: <") || header.starts_with("Received: "), "{header}");
    }
    server.wait_log("nrcpts=2");
    server.wait_log("stat=Sent");
    server.wait_empty(seconds(10));
}

/// Somebody who lives holds the locks of two mailboxes (S-48): only their mail waits, and nothing of it is lost.
#[test]
fn a_locked_mailbox_delays_nobody_else() {
    let server = Setup::default().start();
    let lock = server.path("mail/daemon.lock");
    fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
    let mut session = Smtp::hello(server.address).unwrap();
    session.message("a@client.test", &["games@local.test"], &message::text("first", "games", 3)).unwrap();
    server.wait_mail("games", 1);
    wait_for("the agent's locks are gone", seconds(10), || !server.path("mail/games.lock").exists());
    let games = fs::File::options().read(true).write(true).open(server.mailbox("games")).unwrap();
    rustix::fs::fcntl_lock(&games, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let others = ["bin", "sys", "lp", "mail", "news", "uucp", "proxy", "backup", "list", "irc"];
    for n in 0..100 {
        let user = if n % 5 == 0 {
            "daemon"
        } else if n % 5 == 1 {
            "games"
        } else {
            others[n % others.len()]
        };
        let text = message::text(&format!("m{n}"), user, 3);
        assert_eq!(session.message("a@client.test", &[&format!("{user}@local.test")], &text).unwrap().code, 250);
    }
    let copies = |user: &str| mbox::read(&server.mailbox(user)).map_or(0, |mail| mail.len());
    let arrived = || others.iter().map(|user| copies(user)).sum::<usize>();
    wait_for("the mail of the others", seconds(20), || arrived() == 60);
    assert!(lock.exists() && copies("daemon") == 0 && copies("games") == 1);
    fs::remove_file(&lock).unwrap();
    drop(games);
    server.wait_mail("daemon", 20);
    server.wait_mail("games", 21);
    server.wait_empty(seconds(20));
    assert_eq!((copies("daemon"), copies("games")), (20, 21));
}

#[test]
fn smtp_into_a_maildir() {
    let server = Setup { mailbox: "mailbox \"maildir\" path=\"@F@/mail/{user}\"".into(), ..Setup::default() }.start();
    let mut session = Smtp::hello(server.address).unwrap();
    for n in 0..5 {
        let text = message::text(&format!("m{n}"), "daemon", 10);
        assert_eq!(session.message("a@client.test", &["daemon@local.test"], &text).unwrap().code, 250);
    }
    let folder = server.mailbox("daemon");
    wait_for("5 files in new", seconds(20), || mbox::maildir(&folder).len() == 5);
    for text in mbox::maildir(&folder) {
        message::whole(&text).unwrap();
        assert!(!text.starts_with(b"From "), "no From_ line in a Maildir");
        assert!(!text.contains(&b'\r'), "CR in a Maildir file");
    }
    assert_eq!(fs::read_dir(folder.join("tmp")).unwrap().count(), 0, "tmp is left empty");
}

#[test]
fn a_mailbox_that_ends_without_a_newline_keeps_its_last_message_apart() {
    let server = Server::make(Setup::default());
    let path = server.mailbox("daemon");
    fs::write(&path, "From old@x Mon Jan  1 00:00:00 2024\nSubject: old\n\ncut off in the mid").unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&path, Some(testsuite::server::ORDINARY), Some(testsuite::server::ORDINARY)).unwrap();
    }
    let mut server = server;
    server.start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("new", "daemon", 3);
    assert_eq!(session.message("a@client.test", &["daemon@local.test"], &text).unwrap().code, 250);
    let mail = server.wait_mail("daemon", 2);
    assert_eq!(mail[0].field("Subject").as_deref(), Some("old"));
    message::whole(&mail[1].text).unwrap();
}

#[test]
fn aliases_are_lists_and_loops_are_cut() {
    let server = Setup {
        aliases:
            "postmaster: nobody\nteam: daemon, games,\n  inner, round\ninner: sys, team\nround: again\nagain: round\nself: self\ncrew: daemon, daemon\n"
                .into(),
        ..Setup::default()
    }
    .start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("list", "team", 3);
    assert_eq!(session.message("lp@local.test", &["team@local.test"], &text).unwrap().code, 250);
    for user in ["daemon", "games", "sys"] {
        assert_eq!(server.wait_mail(user, 1).len(), 1);
    }
    // sendmail drops the looping name silently when there is a good recipient beside it; we report it. That `inner` names `team`
    // again is no loss: everybody in it is reached.
    let report = server.wait_mail("lp", 1);
    let report = String::from_utf8_lossy(&report[0].text).into_owned();
    assert!(report.contains("aliasing/forwarding loop broken"), "{report}");
    assert_eq!(report.matches("Final-Recipient:").count(), 1, "the round one alone: {report}");
    let text = message::text("crew", "crew", 3);
    assert_eq!(session.message("a@client.test", &["crew@local.test"], &text).unwrap().code, 250);
    assert_eq!(server.wait_mail("daemon", 2).len(), 2, "once although named twice");
    server.wait_empty(seconds(10));
    assert_eq!(mbox::read(&server.mailbox("daemon")).unwrap().len(), 2);
}

#[test]
fn a_changed_alias_file_is_noticed_by_itself() {
    let mut server = Setup::default().start();
    let mut session = Smtp::hello(server.address).unwrap();
    session.command("MAIL FROM:<a@client.test>").unwrap();
    assert_eq!(session.command("RCPT TO:<fresh@local.test>").unwrap().code, 550);
    server.setup.aliases.push_str("fresh: daemon\n");
    server.write_configuration();
    wait_for("the new alias", seconds(15), || {
        // A session each: too many unknown users end one.
        let mut session = Smtp::hello(server.address).unwrap();
        session.command("MAIL FROM:<a@client.test>").unwrap();
        session.command("RCPT TO:<fresh@local.test>").unwrap().code == 250
    });
    // An alias file that cannot be read as a whole must not take the old one away.
    assert!(server.greets(seconds(2)));
    server.stop();
}

#[test]
fn twenty_users_and_two_hundred_messages_arrive_whole_and_once() {
    let server = Setup::default().start();
    let users = ["daemon", "games", "sys", "man", "lp", "news"];
    std::thread::scope(|scope| {
        for t in 0..6 {
            let server = &server;
            scope.spawn(move || {
                let mut session = Smtp::hello(server.address).unwrap();
                for n in 0..40 {
                    let to = format!("{}@local.test", users[(t + n) % users.len()]);
                    let text = message::text(&format!("t{t}n{n}"), &to, 40);
                    assert_eq!(session.message("a@client.test", &[&to], &text).unwrap().code, 250);
                }
            });
        }
    });
    server.wait_empty(seconds(30));
    let (ids, wrong) = mbox::count(users.iter().map(|u| server.mailbox(u)));
    assert!(wrong.is_empty(), "{wrong:?}");
    assert_eq!(ids.len(), 240);
    assert!(ids.values().all(|&n| n == 1), "{ids:?}");
}

#[test]
fn a_full_mailbox_puts_mail_off_and_the_chosen_fields_are_there() {
    let mailbox = "mailbox \"mbox\" path=\"@F@/mail/{user}\" size=\"4kB\" delivered-to=#true original-to=#true return-path=#false";
    let aliases = "postmaster: nobody\nteam: daemon\n";
    let server = Setup { mailbox: mailbox.into(), aliases: aliases.into(), ..Setup::default() }.start();
    let mut session = Smtp::hello(server.address).unwrap();
    let mut send = |id: &str, lines: usize| {
        let text = message::text(id, "team", lines);
        assert_eq!(session.message("a@client.test", &["team@local.test"], &text).unwrap().code, 250);
    };
    send("small", 5);
    let mail = server.wait_mail("daemon", 1);
    let header = mail[0].header();
    assert!(header.starts_with("X-Original-To: team@local.test\nDelivered-To: daemon"), "{header}");
    assert!(mail[0].field("Return-Path").is_none(), "{header}");
    send("large", 80);
    let line = server.wait_log("stat=Deferred: mailbox is full");
    assert!(line.contains("dsn=4.2.2"), "{line}");
    // What fits still comes in.
    send("second", 5);
    server.wait_mail("daemon", 2);
    assert!(!server.mailq().contains("is empty"), "larger than any mailbox: it waits, and is returned in the end");
}

#[test]
fn a_folder_where_anybody_may_rename_gets_no_mail() {
    let server = Setup::default().start();
    let set = |mode: u32| fs::set_permissions(server.path("mail"), fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("one", "daemon@local.test", 2);
    assert_eq!(session.message("a@client.test", &["daemon@local.test"], &text).unwrap().code, 250);
    server.wait_log("stat=Deferred: mailbox refused: everybody may write in ");
    assert!(!server.mailbox("daemon").exists());
    set(0o755);
    server.wait_mail("daemon", 1);
}
