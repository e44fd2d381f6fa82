//! Local mail by a command (`mailbox "command"`, sendmail's `FEATURE(local_procmail)`): as whom it runs, what it is told, what its end means.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Command;
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, wait_for};

/// A server whose mailboxes are this command's.
fn with(run: &str) -> Setup {
    let mailbox = format!("mailbox \"command\" path=\"@F@/mail/{{user}}\" {{ run {run} }}");
    Setup { mailbox, ..Setup::default() }
}

fn send(server: &Server, from: &str, to: &str, id: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text(id, to, 3);
    assert_eq!(session.message(from, &[to], &text).unwrap().code, 250, "{to}");
}

fn read(path: &Path) -> String {
    wait_for(&path.display().to_string(), seconds(20), || {
        fs::read_to_string(path).is_ok_and(|text| text.ends_with("end\n"))
    });
    fs::read_to_string(path).unwrap()
}

#[test]
fn its_words_are_arguments_and_its_end_is_the_deliverys() {
    let script = r#"cat > @F@/tmp/$1; for a; do echo [$a]; done > @F@/tmp/args; echo end >> @F@/tmp/args; case $2 in no) echo so sorry; exit 67;; later) exit 75;; esac"#;
    // The user's name is a command's text only in the script's own quotes.
    let run = format!(
        "\"/bin/sh\" \"-c\" {script:?} \"sh\" \"{{user}}\" \"{{extension}}\" \"-f{{sender}}\" \"{{sender}}\" \"{{recipient}}\""
    );
    let server = with(&run).start();
    send(&server, "-x$id@client.test", "daemon+a&b@local.test", "one");
    let args = read(&server.path("tmp/args"));
    let expected = "[daemon]\n[a_b]\n[-f-x$id@client.test]\n[\"-x$id\"@client.test]\n[daemon+a&b@local.test]\nend\n";
    assert_eq!(args, expected);
    let got = fs::read_to_string(server.path("tmp/daemon")).unwrap();
    assert!(
        got.starts_with("From -x$id@client.test ") && got.contains("\nReturn-Path: <-x$id@client.test>\n"),
        "{got}"
    );
    assert!(got.contains("X-Test-Id: one") && !got.contains('\r'), "{got}");
    let line = server.wait_log("mailer=local");
    assert!(line.contains("to=<daemon+a&b@local.test>") && line.contains("stat=Sent"), "{line}");
    send(&server, "bin@local.test", "daemon+no@local.test", "two");
    server.wait_log("stat=User unknown");
    wait_for("the bounce", seconds(20), || {
        fs::read_to_string(server.path("tmp/bin")).is_ok_and(|text| text.contains("so sorry"))
    });
    let bounce = fs::read_to_string(server.path("tmp/bin")).unwrap();
    for part in ["so sorry\n550 5.1.1 ", "User unknown", "Diagnostic-Code: X-Unix; 67"] {
        assert!(bounce.contains(part), "{part}: {bounce}");
    }
    send(&server, "bin@local.test", "daemon+later@local.test", "three");
    server.wait_log("Deferred: local mailer (/bin/sh) exited with EX_TEMPFAIL");
}

#[test]
fn a_command_that_is_not_there_loses_nothing() {
    let server = with("\"/nonexistent/procmail\" \"-d\" \"{user}\"").start();
    send(&server, "a@client.test", "daemon@local.test", "one");
    server.wait_log("Deferred: cannot start /nonexistent/procmail: No such file");
    assert!(server.mailq().contains("daemon"), "{}", server.mailq());
}

/// A folder in which users may write.
fn open(server: &Server) -> String {
    fs::set_permissions(server.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    server.path("tmp").display().to_string()
}

#[test]
fn it_runs_as_the_user_and_never_as_root() {
    if !root_or_skip("it_runs_as_the_user_and_never_as_root") {
        return;
    }
    let script = "(id; pwd; grep -E 'NoNewPrivs|Seccomp:' /proc/self/status; echo end) > @F@/tmp/${1}";
    let mut setup = with(&format!("\"/bin/sh\" \"-c\" {script:?} \"sh\" \"{{user}}\"")).with_roles();
    setup.aliases = "postmaster: nobody\nboth: u16, root\n".into();
    let server = setup.start();
    open(&server);
    fs::write("/home/u17/.forward", "u18\n").unwrap();
    chown("/home/u17/.forward", Some(20_017), Some(19_999)).unwrap();
    send(&server, "a@client.test", "both@local.test", "one");
    send(&server, "a@client.test", "u17@local.test", "two");
    let said = read(&server.path("tmp/u16"));
    assert!(said.starts_with("uid=20016(u16) gid=19999(tester)") && !said.contains("mail"), "{said}");
    assert!(said.contains("\n/home/u16\nNoNewPrivs:\t0\nSeccomp:\t0\n"), "{said}");
    assert!(read(&server.path("tmp/u18")).starts_with("uid=20018(u18)"), "a .forward comes first");
    assert!(!server.path("tmp/u17").exists());
    assert_eq!(server.wait_mail("root", 1).len(), 1, "root's goes into his mbox");
    assert!(!server.path("tmp/root").exists());
    fs::remove_file("/home/u17/.forward").unwrap();
}

/// From an alias, a `.forward` and the mailbox command.
#[test]
fn no_program_holds_a_descriptor_of_ours() {
    if !root_or_skip("no_program_holds_a_descriptor_of_ours") {
        return;
    }
    // 3 is what `ls` reads the folder by.
    let script = |name: &str| format!("cat > /dev/null; ls /proc/self/fd > @F@/tmp/{name}; echo end >> @F@/tmp/{name}");
    let mut setup = with(&format!("\"/bin/sh\" \"-c\" {:?}", script("command"))).with_roles();
    setup.aliases = "postmaster: nobody\n".into();
    let mut server = Server::make(setup);
    let here = server.folder.to_string_lossy().into_owned();
    let line = |name: &str| format!("\"|{}\"\n", script(name).replace("@F@", &here));
    server.setup.aliases.push_str(&format!("prog: {}", line("alias")));
    server.write_configuration();
    server.start();
    open(&server);
    fs::write("/home/u17/.forward", line("forward")).unwrap();
    chown("/home/u17/.forward", Some(20_017), Some(19_999)).unwrap();
    for (to, name) in [("prog", "alias"), ("u17", "forward"), ("u16", "command")] {
        send(&server, "a@client.test", &format!("{to}@local.test"), name);
        assert_eq!(read(&server.path("tmp").join(name)), "0\n1\n2\n3\nend\n", "{name}");
    }
    fs::remove_file("/home/u17/.forward").unwrap();
}

#[test]
fn root_has_a_maildir_by_whatever_name() {
    if !root_or_skip("root_has_a_maildir_by_whatever_name") {
        return;
    }
    let mailbox = "mailbox \"maildir\" path=\"@F@/mail/{user}\"".into();
    let server = Setup { mailbox, aliases: "postmaster: nobody\n".into(), ..Setup::default() }.with_roles().start();
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    fs::write("/etc/passwd", format!("{passwd}toor:x:0:0::/root:/bin/sh\n")).unwrap();
    for user in ["root", "toor"] {
        send(&server, "a@client.test", &format!("{user}@local.test"), user);
        wait_for(user, seconds(20), || mbox::maildir(&server.mailbox(user)).len() == 1);
    }
    fs::write("/etc/passwd", passwd).unwrap();
}

#[test]
fn dovecot_takes_it_as_the_user() {
    let lda = "/usr/lib/dovecot/dovecot-lda";
    if !root_or_skip("dovecot_takes_it_as_the_user") || !Path::new(lda).exists() {
        eprintln!("skipped: needs root and dovecot-lda");
        return;
    }
    let run = format!(
        "{lda:?} \"-c\" \"@F@/tmp/conf\" \"-f\" \"{{sender}}\" \"-a\" \"{{recipient}}\" \"-m\" \"box{{extension}}\""
    );
    let server = with(&run).with_roles().start();
    let tmp = open(&server);
    let conf =
        format!("mail_location = maildir:~/Maildir\nlda_mailbox_autocreate = yes\nlog_path = {tmp}/log\nssl = no\n");
    fs::write(server.path("tmp/conf"), conf).unwrap();
    send(&server, "a@client.test", "u25+x@local.test", "one");
    let line = server.wait_log("mailer=local");
    assert!(line.contains("stat=Sent"), "{line}\n{}", fs::read_to_string(server.path("tmp/log")).unwrap_or_default());
    let new = fs::read_dir("/home/u25/Maildir/.boxx/new").unwrap().next().unwrap().unwrap();
    let text = fs::read_to_string(new.path()).unwrap();
    assert!(text.starts_with("Return-Path: <a@client.test>\n") && text.contains("X-Test-Id: one"), "{text}");
    assert!(Command::new("rm").args(["-rf", "/home/u25/Maildir"]).status().unwrap().success());
}

/// Debian's is set-gid mail, without which it could not make `/var/mail/u21` and its lock.
#[test]
fn maildrop_as_the_user_with_its_set_gid_bit() {
    if !root_or_skip("maildrop_as_the_user_with_its_set_gid_bit") || !Path::new("/usr/bin/maildrop").exists() {
        eprintln!("skipped: needs root and maildrop");
        return;
    }
    let server = with("\"/usr/bin/maildrop\" \"-d\" \"{user}\" \"{extension}\"").with_roles().start();
    let tmp = open(&server);
    let filter = format!(
        "if (/^X-Test-Id: bad/)\n{{\n  echo \"so sorry\"\n  EXITCODE=67\n  exit\n}}\n\
         if (/^X-Test-Id: later/)\n{{\n  EXITCODE=75\n  exit\n}}\nif ($1 eq \"lists\")\n{{\n  to \"{tmp}/lists\"\n}}\n"
    );
    fs::write("/home/u21/.mailfilter", filter).unwrap();
    fs::set_permissions("/home/u21/.mailfilter", fs::Permissions::from_mode(0o600)).unwrap();
    chown("/home/u21/.mailfilter", Some(20_021), Some(19_999)).unwrap();
    send(&server, "a@client.test", "u21@local.test", "plain");
    send(&server, "a@client.test", "u21+lists@local.test", "detail");
    let plain = Path::new("/var/mail/u21");
    wait_for("both", seconds(20), || plain.exists() && server.path("tmp/lists").exists());
    server.wait_empty(seconds(20));
    let mail = mbox::read(plain).unwrap();
    assert_eq!((mail.len(), mail[0].field("X-Test-Id").as_deref()), (1, Some("plain")), "{mail:?}");
    assert_eq!(mail[0].field("Return-Path").as_deref(), Some("<a@client.test>"));
    assert!(mail[0].from_line.starts_with("From a@client.test "), "{}", mail[0].from_line);
    assert_eq!(mbox::read(&server.path("tmp/lists")).unwrap().len(), 1);
    assert_eq!(fs::metadata(plain).unwrap().uid(), 20_021);
    send(&server, "u16@local.test", "u21@local.test", "bad");
    server.wait_log("stat=User unknown");
    send(&server, "a@client.test", "u21@local.test", "later");
    server.wait_log("Deferred: local mailer (/usr/bin/maildrop) exited with EX_TEMPFAIL");
    assert!(Command::new("rm").args(["-f", "/home/u21/.mailfilter", "/var/mail/u21"]).status().unwrap().success());
}

#[test]
fn procmail_as_sendmail_calls_it() {
    if !root_or_skip("procmail_as_sendmail_calls_it") || !Path::new("/usr/bin/procmail").exists() {
        eprintln!("skipped: needs root and procmail");
        return;
    }
    let server = with("\"/usr/bin/procmail\" \"-Y\" \"-a\" \"{extension}\"").with_roles().start();
    let tmp = open(&server);
    let rules = format!(
        ":0\n* ^X-Test-Id: bad\n{{\n  EXITCODE=67\n  LOGFILE={tmp}/log\n  HOST\n}}\n:0:\n* ARG ?? lists\n{tmp}/lists\n"
    );
    let rules = rules
        .replace("* ARG ?? lists", "* $ARG ?? lists")
        .replace(":0\n* ^X", "ARG=$1\n:0\n* ^X")
        .replace("$ARG", "ARG");
    fs::write("/home/u25/.procmailrc", rules).unwrap();
    chown("/home/u25/.procmailrc", Some(20_025), Some(19_999)).unwrap();
    send(&server, "a@client.test", "u25@local.test", "plain");
    let plain = Path::new("/var/mail/u25");
    // One at a time: a procmail that has no use for the mailbox it made takes it away again, from under one that is just writing.
    server.wait_empty(seconds(20));
    send(&server, "a@client.test", "u25+lists@local.test", "detail");
    wait_for("both", seconds(20), || plain.exists() && server.path("tmp/lists").exists());
    server.wait_empty(seconds(20));
    let mail = mbox::read(plain).unwrap();
    assert_eq!((mail.len(), mail[0].field("X-Test-Id").as_deref()), (1, Some("plain")), "{mail:?}");
    assert_eq!(mail[0].field("Return-Path").as_deref(), Some("<a@client.test>"));
    let text = fs::read_to_string(plain).unwrap();
    assert!(text.starts_with("From a@client.test ") && !text.contains("\n>From "), "{text}");
    assert_eq!(mbox::read(&server.path("tmp/lists")).unwrap().len(), 1);
    send(&server, "a@client.test", "u25@local.test", "bad");
    server.wait_log("stat=User unknown");
    assert!(Command::new("rm").args(["-f", "/home/u25/.procmailrc", "/var/mail/u25"]).status().unwrap().success());
}
