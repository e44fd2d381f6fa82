//! "Must show" 5: real clients of Debian 12 call `/usr/sbin/sendmail` or speak SMTP to port 25, on the private host.
//! A wrapper keeps what each program gave to `sendmail`, so that the delivered message is compared with it byte for byte:
//! the body equal, every header field equal and in order but Bcc, and nothing added but what sendmail.md 1.9 lists.
//! And: bsd-mailx and mutt empty a mailbox in a loop while 500 messages arrive.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, server, wait_for};

/// Port 25 and /var/mail exist once.
static HOST: Mutex<()> = Mutex::new(());

/// A body with everything that gets damaged on the way.
const BODY: &str =
    "Grüße aus der Küche\nFrom here on\n.\n..\n.x\n>From quoted\n\ttab and trailing blank \n\nlast line\n";

struct Host {
    server: Server,
    kept: PathBuf,
}

/// Starts a server on the real places, and puts the keeping wrapper before our `sendmail`. `None`: skipped.
fn host(client: &str) -> Option<Host> {
    if !root_or_skip(client) {
        return None;
    }
    let found = Path::new("/usr/bin").join(client).exists() || Path::new("/usr/sbin").join(client).exists();
    if std::env::var_os("POSTRIDER_OVERLAY").is_none() || !found {
        eprintln!("SKIPPED {client}: not there (testsuite/fetch-clients), or no overlay mounts");
        return None;
    }
    for folder in ["/var/spool/postrider", "/run/postrider"] {
        let _ = fs::remove_dir_all(folder);
    }
    for entry in fs::read_dir("/var/mail").unwrap() {
        let _ = fs::remove_file(entry.unwrap().path());
    }
    let setup = Setup {
        whole: Some("aliases \"/etc/aliases\"\nlog { file \"@F@/logs/log\"; syslog #false }\n".into()),
        ..Setup::default().with_roles()
    };
    let mut server = Server::make(setup);
    server.address = SocketAddr::from(([127, 0, 0, 1], 25));
    let kept = server.path("kept");
    fs::create_dir(&kept).unwrap();
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o1777)).unwrap();
    let program = server::programs().join("sendmail");
    let wrapper = format!(
        "#!/bin/sh\nf={0}/$$\ncat >$f\nprintf '%s\\n' \"$@\" >$f.args\nexec {1} \"$@\" <$f\n",
        kept.display(),
        program.display()
    );
    let _ = fs::remove_file("/usr/sbin/sendmail");
    fs::write("/usr/sbin/sendmail", wrapper).unwrap();
    fs::set_permissions("/usr/sbin/sendmail", fs::Permissions::from_mode(0o755)).unwrap();
    server.start();
    Some(Host { server, kept })
}

/// A shell command as a user of the private host, with a plain environment.
fn shell(user: &str, command: &str) -> Output {
    let mut c = Command::new("setpriv");
    c.args(["--reuid", user, "--regid", "tester", "--init-groups", "env", "-i"])
        .arg(format!("HOME=/home/{user}"))
        .arg(format!("USER={user}"))
        .arg(format!("LOGNAME={user}"))
        .args(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=xterm", "sh", "-c", command])
        .current_dir("/tmp");
    server::run(c, b"")
}

#[track_caller]
fn good(out: &Output) {
    assert!(out.status.success(), "{out:?}");
}

impl Host {
    fn mail(&self, user: &str, n: usize) -> Vec<mbox::Entry> {
        let path = Path::new("/var/mail").join(user);
        wait_for(&format!("{n} messages for {user}:\n{}", self.server.story()), seconds(20), || {
            mbox::read(&path).is_ok_and(|m| m.len() >= n)
        });
        let mail = mbox::read(&path).unwrap();
        assert_eq!(mail.len(), n, "{user}");
        mail
    }
    /// The one message that was given to `sendmail`.
    fn given(&self) -> Vec<u8> {
        let files: Vec<PathBuf> =
            fs::read_dir(&self.kept).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_none()).collect();
        assert_eq!(files.len(), 1, "calls of sendmail: {files:?}");
        fs::read(&files[0]).unwrap()
    }
    /// The delivered message against what was given.
    fn compare(&self, entry: &mbox::Entry, sender: &str) {
        compare(&self.given(), entry, sender);
    }
}

/// Fields that a submission agent adds when they are missing, and those of each delivery (sendmail.md 1.9).
const ADDED: &[&str] =
    &["return-path", "received", "date", "from", "message-id", "delivered-to", "x-authentication-warning"];

/// Header fields as (lower-case name, text with continuation lines).
fn fields(header: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in header.lines() {
        if line.starts_with([' ', '\t'])
            && let Some(last) = out.last_mut()
        {
            last.1.push('\n');
            last.1.push_str(line);
            continue;
        }
        let name = line.split(':').next().unwrap_or_default().trim().to_ascii_lowercase();
        out.push((name, line.to_owned()));
    }
    out
}

fn compare(given: &[u8], entry: &mbox::Entry, sender: &str) {
    let given = String::from_utf8_lossy(given).replace("\r\n", "\n");
    let (header, body) = mbox::split(given.as_bytes());
    let mut want = String::new();
    for line in String::from_utf8_lossy(body).split_inclusive('\n') {
        if line.starts_with("From ") {
            want.push('>');
        }
        want.push_str(line);
    }
    if !want.ends_with('\n') {
        want.push('\n');
    }
    assert_eq!(String::from_utf8_lossy(entry.body()), want, "the body");
    let header = fields(&String::from_utf8_lossy(header));
    let mut wanted = header.iter().filter(|(n, _)| n != "bcc").peekable();
    for (name, text) in fields(&entry.header()) {
        // An address without a domain gets this host's, as by sendmail.
        if wanted.next_if(|(_, w)| *w == text || *w == text.replace("@mx.test", "")).is_none() {
            assert!(
                ADDED.contains(&name.as_str()),
                "field added or changed: {text:?}\ngiven:\n{header:#?}\ngot:\n{}",
                entry.header()
            );
        }
    }
    assert!(wanted.peek().is_none(), "missing: {:?}\n{}", wanted.next(), entry.header());
    assert!(entry.from_line.starts_with(&format!("From {sender} ")), "sender: {}", entry.from_line);
}

fn alone() -> std::sync::MutexGuard<'static, ()> {
    HOST.lock().unwrap_or_else(|e| e.into_inner())
}

#[test]
fn bsd_mailx() {
    let _alone = alone();
    let Some(host) = host("bsd-mailx") else { return };
    let command = format!(
        "printf '%s' '{BODY}' | bsd-mailx -s 'Grüße' -c u02@mx.test -b u03@mx.test -a 'X-Kept: yes' u01@mx.test"
    );
    good(&shell("u05", &command));
    for user in ["u01", "u02", "u03"] {
        host.compare(&host.mail(user, 1)[0], "u05@mx.test");
    }
}

#[test]
fn mutt() {
    let _alone = alone();
    let Some(host) = host("mutt") else { return };
    let command = format!(
        "printf '%s' '{BODY}' | mutt -n -F /dev/null -e 'set copy=no use_envelope_from=yes from=u05@mx.test send_charset=utf-8 allow_8bit=yes' -s 'Grüße' -c u02@mx.test -b u03@mx.test u01@mx.test"
    );
    good(&shell("u05", &command));
    for user in ["u01", "u02", "u03"] {
        host.compare(&host.mail(user, 1)[0], "u05@mx.test");
    }
}

#[test]
fn php_mail() {
    let _alone = alone();
    let Some(host) = host("php8.2") else { return };
    let script = format!(
        "<?php $h = \"From: u05@mx.test\\r\\nCc: u02@mx.test\\r\\nBcc: u03@mx.test\\r\\nX-Kept: a\\r\\n b\"; exit(mail('u01@mx.test', 'php', '{BODY}', $h) ? 0 : 1);"
    );
    let path = host.server.path("mail.php");
    fs::write(&path, script).unwrap();
    good(&shell("u05", &format!("php8.2 -d sendmail_path='/usr/sbin/sendmail -t -i' {}", path.display())));
    for user in ["u01", "u02", "u03"] {
        host.compare(&host.mail(user, 1)[0], "u05@mx.test");
    }
}

#[test]
fn git_send_email() {
    let _alone = alone();
    let Some(host) = host("git") else { return };
    let command = "set -e; d=$(mktemp -d); cd $d; export HOME=$d GIT_AUTHOR_NAME=Author GIT_AUTHOR_EMAIL=u05@mx.test GIT_COMMITTER_NAME=Author GIT_COMMITTER_EMAIL=u05@mx.test
        git init -q . 2>/dev/null; printf 'From the start\\n.\\n' >file; git add file; git commit -q -m 'Grüße: a patch'
        git format-patch -q -1 --root -o out
        git send-email --quiet --confirm=never --suppress-cc=all --to=u01@mx.test --cc=u02@mx.test --envelope-sender=u05@mx.test --from='Author <u05@mx.test>' out/*.patch </dev/null; rm -rf $d";
    let out = shell("u05", command);
    if String::from_utf8_lossy(&out.stderr).contains("is not a git command") {
        eprintln!("SKIPPED git send-email: git-email is not there");
        return;
    }
    good(&out);
    for user in ["u01", "u02"] {
        host.compare(&host.mail(user, 1)[0], "u05@mx.test");
    }
}

#[test]
fn python_smtplib() {
    let _alone = alone();
    let Some(host) = host("bsd-mailx") else { return };
    let path = host.server.path("send.py");
    let script = format!(
        "import smtplib\nm = b'From: a@client.test\\r\\nTo: u01@mx.test\\r\\nSubject: smtplib\\r\\nX-Kept: yes\\r\\n\\r\\n' + '''{BODY}'''.encode().replace(b'\\n', b'\\r\\n')\n\
         s = smtplib.SMTP('127.0.0.1', 25, local_hostname='client.test')\nprint(s.sendmail('a@client.test', ['u01@mx.test', 'u02@mx.test'], m, ['BODY=8BITMIME']))\ns.quit()\n"
    );
    fs::write(&path, script).unwrap();
    good(&shell("u05", &format!("/usr/bin/python3 {}", path.display())));
    let given = format!("From: a@client.test\nTo: u01@mx.test\nSubject: smtplib\nX-Kept: yes\n\n{BODY}");
    for user in ["u01", "u02"] {
        compare(given.as_bytes(), &host.mail(user, 1)[0], "a@client.test");
    }
}

#[test]
fn swaks() {
    let _alone = alone();
    let Some(host) = host("swaks") else { return };
    let command = "swaks --server 127.0.0.1 --ehlo client.test --from a@client.test --to u01@mx.test,u02@mx.test --header 'Subject: swaks' --body 'one\\n.\\ntwo' --pipeline 2>&1";
    let out = shell("u05", command);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    for user in ["u01", "u02"] {
        let mail = host.mail(user, 1);
        assert!(mail[0].from_line.starts_with("From a@client.test "), "{}", mail[0].from_line);
        assert_eq!(mail[0].field("Subject").as_deref(), Some("swaks"));
        assert!(String::from_utf8_lossy(mail[0].body()).starts_with("one\n.\ntwo\n"), "{:?}", mail[0]);
    }
}

#[test]
fn cron() {
    let _alone = alone();
    let Some(host) = host("cron") else { return };
    // The private host has no login accounting: a plain PAM stack.
    let pam = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
    fs::write("/etc/pam.d/cron", pam).unwrap();
    let table = Path::new("/var/spool/cron/crontabs/u02");
    fs::write(table, "MAILTO=u01@mx.test\n* * * * * printf 'a job says\\n.\\nFrom cron'\n").unwrap();
    std::os::unix::fs::chown(table, Some(20_002), None).unwrap();
    fs::set_permissions(table, fs::Permissions::from_mode(0o600)).unwrap();
    let mut daemon = Command::new("/usr/sbin/cron").arg("-f").spawn().unwrap();
    let path = Path::new("/var/mail/u01");
    wait_for("cron's mail", seconds(80), || mbox::read(path).is_ok_and(|m| !m.is_empty()));
    let _ = fs::remove_file(table);
    let _ = daemon.kill();
    let _ = daemon.wait();
    let mail = mbox::read(path).unwrap();
    host.compare(&mail[0], "u02@mx.test");
}

/// Runs `reader` over and over while 500 messages arrive for `user`; then all are in the mailbox or where the reader saved them.
fn while_mail_arrives(host: &Host, user: &str, reader: &str) {
    let end = AtomicBool::new(false);
    let passes = std::thread::scope(|scope| {
        let loop_ = scope.spawn(|| {
            let mut passes = 0;
            while !end.load(Ordering::SeqCst) {
                let out = shell(user, reader);
                passes += usize::from(out.status.success());
            }
            passes
        });
        let senders: Vec<_> = (0..5)
            .map(|t| {
                scope.spawn(move || {
                    let mut session = Smtp::hello(SocketAddr::from(([127, 0, 0, 1], 25))).unwrap();
                    for n in 0..100 {
                        let text = message::text(&format!("t{t}n{n}"), user, 30);
                        let to = format!("{user}@mx.test");
                        assert_eq!(session.message("a@client.test", &[&to], &text).unwrap().code, 250);
                        std::thread::sleep(std::time::Duration::from_millis(10));
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        host.server.wait_empty(seconds(180));
        end.store(true, Ordering::SeqCst);
        loop_.join().unwrap()
    });
    let places = [format!("/var/mail/{user}"), format!("/home/{user}/saved")];
    let counts: Vec<BTreeMap<String, usize>> = places.iter().map(|p| mbox::count([p]).0).collect();
    let (all, wrong) = mbox::count(&places);
    println!(
        "{user}: {passes} passes of the reader, {} still in the mailbox, {} saved, {} copies too many",
        counts[0].len(),
        counts[1].len(),
        all.values().map(|n| n - 1).sum::<usize>()
    );
    assert!(wrong.is_empty(), "torn: {wrong:?}");
    assert_eq!(all.len(), 500, "lost");
    assert!(passes > 3 && !counts[1].is_empty(), "the reader did its part");
}

#[test]
fn bsd_mailx_empties_the_mailbox_while_500_messages_arrive() {
    let _alone = alone();
    let Some(host) = host("bsd-mailx") else { return };
    let reader =
        "test -s /var/mail/u10 && printf 's * /home/u10/saved\\nq\\n' | bsd-mailx -n -N >/dev/null 2>&1; sleep 0.2";
    while_mail_arrives(&host, "u10", reader);
}

#[test]
fn mutt_empties_the_mailbox_while_500_messages_arrive() {
    let _alone = alone();
    let Some(host) = host("mutt") else { return };
    let keys = "<tag-pattern>~A<enter><tag-prefix><save-message>/home/u11/saved<enter><sync-mailbox><exit>";
    let rc = host.server.path("muttrc");
    fs::write(
        &rc,
        format!("set confirmcreate=no confirmappend=no delete=yes quit=yes move=no mark_old=no mbox_type=mbox wait_key=no sleep_time=0\npush \"{keys}\"\n"),
    )
    .unwrap();
    // mutt wants a terminal; python gives it one.
    let reader = format!(
        "test -s /var/mail/u11 || exit 0; /usr/bin/timeout 20 /usr/bin/python3 -c 'import pty,sys; sys.exit(pty.spawn([\"mutt\",\"-n\",\"-F\",\"{}\",\"-f\",\"/var/mail/u11\"]) >> 8)' >/dev/null 2>&1 </dev/null; sleep 0.2",
        rc.display()
    );
    while_mail_arrives(&host, "u11", &reader);
}
