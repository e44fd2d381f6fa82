//! `rmail`, `smrsh`, `vacation`, `mail.local` beside Debian's: rmail from its package, the others in the root that `compare/fetch` made
//! (without it those are skipped). What differs on purpose is said in compat/command/README.md and stays out of these calls.

use crate::host::{good, host, shell};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use testsuite::{mbox, root_or_skip, seconds, server};

/// User and group of u05 on the private host.
const U05: u32 = 20_005;
const TESTER: u32 = 19_999;

/// Sendmail's programs in a root of their own, and ours under the same names.
struct Both {
    root: tempfile::TempDir,
    ours: tempfile::TempDir,
}

/// What a call said and how it ended, without the program's path.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    code: Option<i32>,
    text: String,
}

impl Both {
    fn new() -> Option<Self> {
        let packed =
            std::env::var_os("POSTRIDER_ORACLE").map_or_else(|| "/var/tmp/postrider-sendmail".into(), PathBuf::from);
        if !root_or_skip("sendmail's small programs") {
            return None;
        }
        if !packed.join("complete").exists() {
            eprintln!("SKIPPED: no sendmail in {} (testsuite/compare/fetch gets it)", packed.display());
            return None;
        }
        let folder = || {
            let folder = tempfile::Builder::new().prefix("small.").tempdir_in("/var/tmp").unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
            folder
        };
        let both = Self { root: folder(), ours: folder() };
        let copied = Command::new("cp").arg("-a").arg(packed.join("root/.")).arg(both.root.path()).status().unwrap();
        assert!(copied.success());
        for file in ["etc/passwd", "etc/group", "etc/hosts"] {
            fs::copy(Path::new("/").join(file), both.root.path().join(file)).unwrap();
        }
        fs::write(both.root.path().join("etc/nsswitch.conf"), "passwd: files\ngroup: files\nhosts: files\n").unwrap();
        assert!(
            Command::new("mount")
                .arg("--bind")
                .arg("/dev")
                .arg(both.root.path().join("dev"))
                .status()
                .unwrap()
                .success()
        );
        for name in ["rmail", "smrsh", "vacation", "mail.local"] {
            symlink(server::programs().join("sendmail"), both.ours.path().join(name)).unwrap();
        }
        Some(both)
    }
    /// A path that both have: in the private host, and in sendmail's root.
    fn places(&self, path: &str) -> [PathBuf; 2] {
        [Path::new("/").join(path), self.root.path().join(path)]
    }
    fn ours(&self, name: &str) -> Command {
        Command::new(self.ours.path().join(name))
    }
    fn theirs(&self, name: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(self.root.path()).arg(format!("/usr/libexec/sendmail/{name}"));
        command
    }
    fn said(&self, out: &Output) -> Said {
        let text = [&out.stdout[..], &out.stderr].concat();
        let text = String::from_utf8_lossy(&text).replace("/usr/libexec/sendmail/", "@/");
        Said { code: out.status.code(), text: text.replace(&format!("{}/", self.ours.path().display()), "@/") }
    }
    /// Both say the same.
    #[track_caller]
    fn agree(&self, name: &str, arguments: &[&str], input: &str) {
        let [ours, theirs] = [self.ours(name), self.theirs(name)].map(|mut command| {
            command.args(arguments);
            self.said(&server::run(command, input.as_bytes()))
        });
        assert_eq!(ours, theirs, "{name} {arguments:?}\n{input}");
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.root.path().join("dev")).status();
    }
}

/// Command lines for smrsh.
const LINES: &[&str] = &[
    "x.sh",
    "x.sh a  b",
    "/any/where/x.sh \"a  b\" c",
    "exec x.sh",
    "exec /p/good a",
    "exec",
    "exec ",
    "exit 75",
    "exit",
    "echo hi there",
    "echo",
    "good || exit 75",
    "x.sh || exit 75",
    "good && x.sh",
    "x.sh || good z",
    "good a&&x.sh b",
    "good a||x.sh",
    "x.sh | x.sh",
    "x.sh & x.sh",
    "x.sh; x.sh",
    "x.sh a; x.sh",
    "x.sh < /etc/passwd",
    "x.sh > /tmp/o",
    "x.sh $HOME",
    "x.sh `id`",
    "x.sh (a)",
    "x.sh ^a",
    "x.sh \\a",
    "x.sh\nx.sh",
    "x.sh a\nb",
    "x.sh a\rb",
    "ls",
    "ls -l a",
    "/bin/sh -c x",
    "folder",
    "noexec",
    "",
    "   ",
    "  x.sh a",
    "'x.sh' a",
    "\"x.sh a\"",
    "x.sh 'a;b'",
    "x.sh #c",
    "x.sh ~",
    "A=b x.sh",
    "IFS=' ' && exec /usr/bin/x.sh -f- || exit 75 #u05",
    "x.sh\ta",
    "../x.sh",
    "x.sh/",
    "..",
    "good && exec",
    "good &&",
    "good &&& good",
    "&& x.sh",
    "exec ls",
    "exitx",
    "exit 3&&x.sh",
];

#[test]
fn smrsh() {
    let Some(both) = Both::new() else { return };
    for folder in both.places("etc/mail/smrsh") {
        fs::create_dir_all(folder.join("folder")).unwrap();
        for (name, text, mode) in [
            ("x.sh", "#!/bin/sh\necho \"$0 $# $*\"; exit 3\n", 0o755),
            ("good", "#!/bin/sh\necho \"$PATH $HOME $USER\"; cat\n", 0o755),
            ("noexec", "", 0o644),
        ] {
            fs::write(folder.join(name), text).unwrap();
            fs::set_permissions(folder.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    for line in LINES {
        both.agree("smrsh", &["-c", line], "input\n");
    }
    for arguments in [&[][..], &["-c"], &["-x", "a"], &["-c", "x.sh", "b"], &["x.sh"]] {
        both.agree("smrsh", arguments, "");
    }
}

/// Mailboxes of both after `mail.local`, with what differs on purpose made equal (Debian's quotes no `From ` and counts lines
/// instead); then they are gone.
fn mailboxes(both: &Both, user: &str) -> [Option<String>; 2] {
    both.places(&format!("var/mail/{user}")).map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        fs::remove_file(&path).unwrap();
        let lines = text.lines().filter(|line| !line.starts_with("Content-Length: "));
        let masked = lines.map(|line| match line.strip_prefix("From ") {
            Some(rest) => format!("From {}", rest.split(' ').next().unwrap_or_default()),
            None => line.strip_prefix(">").filter(|l| l.starts_with("From ")).unwrap_or(line).to_owned(),
        });
        Some(masked.collect::<Vec<_>>().join("\n"))
    })
}

#[test]
fn mail_local() {
    let Some(_host) = host("/usr/bin/python3") else { return };
    let Some(both) = Both::new() else { return };
    // Its dot-lock does not come about in a folder like the real one (mbox-locking.md).
    fs::set_permissions(both.root.path().join("var/mail"), fs::Permissions::from_mode(0o1777)).unwrap();
    let message = "Subject: s\nX-Kept: a\n b\n\nhello\n\nFrom here\n>From there\n\nend\n";
    for arguments in [
        &["u05"][..],
        &["-f", "z@y", "u05"],
        &["-r", "z@y", "-d", "u05", "u06"],
        &["-7", "-b", "-D", "pw", "u05"],
        &["nosuch"],
        &["u05", "nosuch", "u06"],
        &["u05", "u05"],
        &["U05"],
        &["u05@mx.test"],
        &["u05+d"],
        &["../x"],
        &[],
        &["-x"],
        &["-f"],
        &["-f", "a", "-r", "b", "u05"],
        &["-D", "xx", "u05"],
        &["-l", "u05"],
    ] {
        both.agree("mail.local", arguments, message);
        for user in ["u05", "u06"] {
            let [ours, theirs] = mailboxes(&both, user);
            assert_eq!(ours, theirs, "{user} after mail.local {arguments:?}");
        }
    }
    for home in both.places("home/u05") {
        fs::create_dir_all(&home).unwrap();
        chown(&home, Some(U05), Some(TESTER)).unwrap();
    }
    both.agree("mail.local", &["-f", "z@y", "-h", "mbox", "u05"], message);
    let [ours, theirs] = both.places("home/u05/mbox").map(|path| {
        let owner = fs::metadata(&path).unwrap().uid();
        (owner, fs::read_to_string(&path).unwrap().contains("\nX-Kept: a\n b\n"))
    });
    assert_eq!((ours, theirs), ((U05, true), (U05, true)), "-h");
    let text = "Subject: x\r\n\r\n..\r\n.x\r\n\r\nFrom a\r\nend\r\n.\r\n";
    for dialogue in [
        format!("LHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<u05>\r\nRCPT TO:<u06@mx.test>\r\nRCPT TO:<no>\r\nDATA\r\n{text}QUIT\r\n"),
        "LHLO me\r\nLHLO me\r\nEHLO me\r\nHELO x\r\nNOOP\r\nVRFY u05\r\nRSET\r\nMAIL\r\nMAIL FROM:a\r\nMAIL FROM:<a@b> SIZE=10\r\nMAIL FROM:<b>\r\n\
         RCPT\r\nRCPT TO:\r\nRCPT TO:u05\r\nRCPT TO:<u05@x> NOTIFY=NEVER\r\nRCPT TO:<u05+x@x>\r\nRCPT TO:<@a,@b:u05@x>\r\nRCPT TO:<U05>\r\nRCPT TO:<>\r\n\
         RSET\r\nDATA\r\nHELP\r\nFOO\r\n\r\nQUIT\r\n".to_owned(),
        format!("MAIL FROM:<>\r\nRCPT TO:<u05>\r\nDATA\r\n{text}DATA\r\nmail from:<x>\r\nquit now\r\nquit\r\nNOOP\r\n"),
        "RCPT TO:<u05>\r\nmail from: <a>\r\nLHLO x\r\n".to_owned(),
        "LHLO x\nMAIL FROM:<a>\nRCPT TO:<u05>\nDATA\nSubject: x\n\nbare\n.\nQUIT\n".to_owned(),
    ] {
        both.agree("mail.local", &["-l"], &dialogue);
        for user in ["u05", "u06"] {
            let [ours, theirs] = mailboxes(&both, user);
            assert_eq!(ours, theirs, "{user} after {dialogue}");
        }
    }
}

/// One `vacation` of each, as u05 with a fresh home folder; ours leaves its reply in a drop folder.
struct Away<'a> {
    both: &'a Both,
    drop: tempfile::TempDir,
}

impl Away<'_> {
    fn home(&self) -> [PathBuf; 2] {
        self.both.places("home/u05")
    }
    fn run(&self, arguments: &[&str], input: &str) -> [(Option<i32>, String); 2] {
        let recorded = self.both.root.path().join("tmp/recorded");
        let _ = fs::remove_file(&recorded);
        let mut theirs = self.both.theirs("vacation.sendmail");
        let split = theirs.get_args().next().unwrap().to_owned();
        // chroot itself needs root; it becomes the user inside.
        let mut with_user = Command::new("chroot");
        with_user
            .args(["--userspec", &format!("{U05}:{TESTER}")])
            .arg(split)
            .arg("/usr/libexec/sendmail/vacation.sendmail");
        std::mem::swap(&mut theirs, &mut with_user);
        theirs.args(arguments);
        let mut ours = self.both.ours("vacation");
        ours.args(arguments).uid(U05).gid(TESTER);
        ours.env("POSTRIDER_RUN", "/nonexistent").env("POSTRIDER_DROP", self.drop.path());
        let theirs = server::run(theirs, input.as_bytes());
        let reply = fs::read_to_string(&recorded).unwrap_or_default();
        let theirs = (theirs.status.code(), format!("{}{reply}", String::from_utf8_lossy(&theirs.stdout)));
        let ours = server::run(ours, input.as_bytes());
        let mut text = String::from_utf8_lossy(&ours.stdout).into_owned();
        for entry in fs::read_dir(self.drop.path()).unwrap() {
            let path = entry.unwrap().path();
            let dropped = String::from_utf8_lossy(&fs::read(&path).unwrap()).replace("\r\n", "\n");
            // Theirs leaves this one to sendmail, which takes it from the envelope; ours has none there.
            let dropped = dropped.replacen("auto-replied\nFrom: u05 <u05>\n", "auto-replied\n", 1);
            text.push_str(dropped.find("To: ").map_or("no header", |at| &dropped[at..]));
            fs::remove_file(path).unwrap();
        }
        [(ours.status.code(), text), theirs]
    }
    /// Fresh homes with a reply, and both do the same; whether they replied.
    #[track_caller]
    fn agree(&self, arguments: &[&str], input: &str) -> bool {
        self.furnish();
        let [ours, theirs] = self.run(arguments, input);
        // A drop file goes on behind the message with what we do not compare.
        assert!(ours.0 == theirs.0 && ours.1.starts_with(&theirs.1), "{arguments:?}\n{input}\n{ours:?}\n{theirs:?}");
        assert_eq!(ours.1.is_empty(), theirs.1.is_empty(), "{arguments:?}\n{input}\n{ours:?}");
        !ours.1.is_empty()
    }
    fn furnish(&self) {
        for home in self.home() {
            let _ = fs::remove_dir_all(&home);
            fs::create_dir_all(&home).unwrap();
            fs::write(home.join(".vacation.msg"), "From: u05@mx.test\nSubject: away\n\nI am away.\n.\nend\n").unwrap();
            fs::write(home.join("other"), "Subject: other\n\nx\n").unwrap();
            chown(&home, Some(U05), Some(TESTER)).unwrap();
        }
    }
}

fn letter(from: &str, header: &str) -> String {
    format!("From {from} Sat Nov 21 20:27:47 2026\nFrom: Bob <bob@x.dom>\nSubject: hi\n{header}\nhello\n")
}

/// Calls of vacation; the first twelve reply.
const CALLS: &[&[&str]] = &[
    &["u05"],
    &["-z", "u05"],
    &["-R", "ret@x", "u05"],
    &["-s", "other@y", "u05"],
    &["-j", "u05"],
    &["-r", "1", "u05"],
    &["-r", "infinite", "u05"],
    &["-t", "1d", "u05"],
    &["-a", "ali", "u05"],
    &["-C", "/no", "u05"],
    &["-m", "other", "u05"],
    &["-f", "db2", "u05"],
    &["-m", "none", "u05"],
    &["-U", "u05"],
    &["-I", "u05"],
    &["-x", "u05"],
    &["-l", "u05"],
    &["-Z", "u05"],
    &["nosuch"],
    &["u05", "u06"],
    &["-r"],
];

/// Headers, and whether they get a reply.
const HEADERS: &[(&str, bool)] = &[
    ("To: u05\n", true),
    ("To: U05@other\n", true),
    ("To: bob@x, u05@y\n", true),
    ("To: xu05@y\n", false),
    ("Cc:\n x,\n\tu05@z\n", true),
    ("Bcc: u05@z\n", false),
    ("", false),
    ("To: u05\nPrecedence: bulk\n", false),
    ("To: u05\nprecedence:JUNK\n", false),
    ("To: u05\nPrecedence: list\n", false),
    ("To: u05\nPrecedence: first-class\n", true),
    ("To: (u05) bob\n", true),
];

#[test]
fn vacation() {
    let Some(host) = host("/usr/bin/python3") else { return };
    let Some(both) = Both::new() else { return };
    let recorder = "#!/bin/sh\n/bin/cat >/tmp/recorded\n";
    let program = both.root.path().join("usr/sbin/sendmail");
    let _ = fs::remove_file(&program);
    fs::write(&program, recorder).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let drop = tempfile::Builder::new().prefix("drop.").tempdir_in("/var/tmp").unwrap();
    fs::set_permissions(drop.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let away = Away { both: &both, drop };
    let to_me = "To: u05@mx.test\n";
    let mut replies = 0;
    for arguments in CALLS {
        replies += usize::from(away.agree(arguments, &letter("bob@x.dom", to_me)));
    }
    assert_eq!(replies, 12, "calls that reply");
    for (header, replied) in HEADERS {
        assert_eq!(away.agree(&["u05"], &letter("bob@x.dom", header)), *replied, "{header}");
    }
    for (sender, replied) in [
        ("MAILER-DAEMON", false),
        ("Postmaster@x", false),
        ("x!uucp", false),
        ("owner-x@y", false),
        ("root@x", true),
        ("\"a b\"@x", true),
    ] {
        assert_eq!(away.agree(&["u05"], &letter(sender, to_me)), replied, "{sender}");
    }
    // A second message of the same sender, and one that came without a From_ line.
    away.furnish();
    for expected in [true, false] {
        let said = away.run(&["u05"], &letter("bob@x.dom", to_me));
        assert!(said.iter().all(|(code, text)| *code == Some(0) && text.is_empty() != expected), "{said:?}");
    }
    assert!(!away.agree(&["u05"], "To: u05\n\nx\n"));
    live(&host, &away);
}

/// The whole way of a reply: by our server, from the null sender.
fn live(host: &crate::host::Host, away: &Away<'_>) {
    away.furnish();
    let input = host.script("letter", &letter("u01@mx.test", "To: u05@mx.test\n"));
    let call = format!("{}/vacation u05 <{input}", away.both.ours.path().display());
    for _ in 0..2 {
        good(&shell("u05", &call));
    }
    let mail = host.mail("u01", 1);
    assert!(mail[0].from_line.starts_with("From MAILER-DAEMON "), "{}", mail[0].from_line);
    assert_eq!(mail[0].field("Auto-Submitted").as_deref(), Some("auto-replied"));
    assert_eq!(String::from_utf8_lossy(mail[0].body()), "I am away.\n.\nend\n");
    host.nobody_but(&["u01"]);
    let list = shell("u05", &format!("{}/vacation -l u05", away.both.ours.path().display()));
    assert!(String::from_utf8_lossy(&list.stdout).starts_with("u01@mx.test "), "{list:?}");
}

/// As its users have it: the agent starts it, its reply goes out by the same server, and the reply is not replied to.
#[test]
fn vacation_from_forward() {
    let Some(host) = host("/usr/bin/python3") else { return };
    let program = host.server.path("vacation");
    symlink(server::programs().join("sendmail"), &program).unwrap();
    for (user, uid) in [("u05", U05), ("u06", U05 + 1)] {
        let home = Path::new("/home").join(user);
        let _ = fs::remove_file(home.join(".vacation.db"));
        for (name, text) in [
            (".forward", format!("\\{user}, \"|{} {user}\"\n", program.display())),
            (".vacation.msg", "Subject: away\n\nI am away.\n".to_owned()),
        ] {
            fs::write(home.join(name), text).unwrap();
            chown(home.join(name), Some(uid), Some(TESTER)).unwrap();
        }
    }
    for n in 1..3 {
        let letter = format!("To: u06@mx.test\nSubject: letter {n}\n\nhello\n");
        let input = host.script("letter", &letter);
        good(&shell("u05", &format!("/usr/sbin/sendmail -t -i <{input}")));
        host.mail("u06", n);
        host.server.wait_empty(seconds(20));
    }
    let mail = host.mail("u05", 1);
    assert_eq!(mail[0].field("Subject").as_deref(), Some("away"));
    assert!(mail[0].from_line.starts_with("From MAILER-DAEMON "), "{}", mail[0].from_line);
    host.nobody_but(&["u05", "u06"]);
    for user in ["u05", "u06"] {
        fs::remove_file(Path::new("/home").join(user).join(".forward")).unwrap();
    }
}

/// A message without what no two have in common.
fn masked(entry: &mbox::Entry) -> String {
    let header = entry.header();
    let lines =
        header.lines().filter(|l| !["Date:", "Message-I", "\tby ", "\tSun", "\tMon"].iter().any(|p| l.starts_with(p)));
    let lines: Vec<&str> = lines.filter(|l| !l.starts_with('\t')).collect();
    let from = entry.from_line.split("  ").next().unwrap_or_default();
    format!("{from}\n{}\n\n{}", lines.join("\n"), String::from_utf8_lossy(entry.body()))
}

#[test]
fn rmail() {
    let Some(host) = host("/usr/sbin/rmail") else { return };
    let ours = host.server.path("rmail");
    symlink(server::programs().join("sendmail"), &ours).unwrap();
    let text = "From mary Sat Nov 21 20:27:47 1998 remote from hostb\n>From x Sat Nov 21 20:27:47 1998 remote from hosta\n\
                From: x@hosta.test\nTo: u01\nSubject: uucp\n\nFrom me\n.\n..\nend\n";
    let input = host.script("letter", text);
    good(&shell("uucp", &format!("/usr/sbin/rmail u01 <{input}")));
    assert_eq!(host.arguments(), "-G -oee -odi -oi -pUUCP:hostb.UUCP -fhostb!hosta!x u01");
    host.mail("u01", 1);
    good(&shell("uucp", &format!("{} u01 <{input}", ours.display())));
    let mail = host.mail("u01", 2);
    assert_eq!(masked(&mail[0]), masked(&mail[1]));
    for (arguments, input) in [
        ("", text),
        ("-x u01", text),
        ("u01", ""),
        ("u01", "Subject: x\n\nx\n"),
        ("-- -u01", text),
        ("u01", "From !u\nx\n"),
    ] {
        let input = host.script("letter", input);
        let [theirs, ours] =
            ["/usr/sbin/rmail".into(), ours.to_string_lossy()].map(|program: std::borrow::Cow<'_, str>| {
                let out = shell("uucp", &format!("{program} {arguments} <{input}"));
                (out.status.code(), String::from_utf8_lossy(&out.stderr).replace(&*program, "rmail"))
            });
        assert_eq!(ours, theirs, "{arguments}");
    }
    host.nobody_but(&["u01"]);
}
