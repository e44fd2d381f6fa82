//! Mailboxes of people without accounts (`virtual-mailboxes`): who exists, where they are, under whose uid.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, wait_for};

/// Two domains: Maildirs in the server's `tmp/v`, and mboxes beside them.
fn with(uid: u32) -> Setup {
    let more = format!(
        "virtual-mailboxes \"text:@F@/vmailbox\" {{ domain \"a.example\" path=\"@F@/tmp/v/{{domain}}/{{user}}/Maildir\" uid={uid} gid={uid}
        domain \"b.example\" path=\"@F@/tmp/v/{{domain}}/{{user}}\" uid={uid} gid={uid} kind=\"mbox\" }}
        virtual-users {{ entry \"info@a.example\" \"bob@a.example\" }}"
    );
    Setup::default().with(&more)
}

fn start(setup: Setup) -> Server {
    let mut server = Server::make(setup);
    fs::write(server.path("vmailbox"), "bob@a.example OK\nbob@b.example OK\ndave@a.example OK\n").unwrap();
    server.start();
    server
}

fn rcpt(server: &Server, to: &str, id: &str) -> u16 {
    let mut session = Smtp::hello(server.address).unwrap();
    session.message("a@client.test", &[to], &message::text(id, to, 3)).unwrap().code
}

/// What is in a Maildir's `new`.
fn new(maildir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(maildir.join("new")).map(|entries| entries.map(|entry| entry.unwrap().path()).collect());
    entries.unwrap_or_default()
}

#[test]
fn who_exists_and_where() {
    let server = start(with(1_000));
    fs::create_dir(server.path("tmp/v")).unwrap();
    if nix::unistd::geteuid().is_root() {
        chown(server.path("tmp/v"), Some(testsuite::server::ORDINARY), None).unwrap();
    }
    for (to, code) in [
        ("bob@a.example", 250),
        ("Bob+x@A.example", 250),
        ("info@a.example", 250),
        ("bob@b.example", 250),
        ("carol@a.example", 550),
        ("\"../bob\"@a.example", 550),
        ("postmaster@a.example", 250),
    ] {
        assert_eq!(rcpt(&server, to, "one"), code, "{to}");
    }
    let maildir = server.path("tmp/v/a.example/bob/Maildir");
    wait_for("three in the Maildir", seconds(20), || new(&maildir).len() == 3);
    let mailbox = server.path("tmp/v/b.example/bob");
    wait_for("one in the mbox", seconds(20), || mbox::read(&mailbox).is_ok_and(|mail| mail.len() == 1));
    server.wait_mail("nobody", 1);
    server.wait_empty(seconds(20));
    let line = server.wait_log("mailer=virtual");
    assert!(line.contains("stat=Sent"), "{line}");
    let mut check = server.command("postrider");
    fs::write(server.path("vmailbox"), "bob@a.example OK\nbob@b.example OK\nbob@nowhere.example OK\nbob OK\n").unwrap();
    check.args(["config", "check"]).arg(server.configuration());
    let out = testsuite::server::run(check, b"");
    let told = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    assert!(
        told.contains("vmailbox:3: expected a local or virtual domain: nobody asks for \"nowhere.example\""),
        "{told}"
    );
    assert!(told.contains("vmailbox:4: expected user@domain as key"), "{told}");
    // A new line counts at once.
    fs::write(server.path("vmailbox"), "bob@a.example OK\nbob@b.example OK\ncarol@a.example OK\n").unwrap();
    wait_for("carol", seconds(20), || rcpt(&server, "carol@a.example", "two") == 250);
    wait_for("her Maildir", seconds(20), || new(&server.path("tmp/v/a.example/carol/Maildir")).len() == 1);
}

#[test]
fn under_the_domains_uid_and_nowhere_else() {
    if !root_or_skip("under_the_domains_uid_and_nowhere_else") {
        return;
    }
    let server = start(with(20_005).with_roles());
    assert_eq!(rcpt(&server, "bob@a.example", "early"), 250);
    // What is not mounted is not made up.
    server.wait_log("Deferred: cannot make folders: No such file");
    let base = server.path("tmp/v");
    assert!(!base.exists());
    fs::create_dir(&base).unwrap();
    chown(&base, Some(20_005), Some(20_005)).unwrap();
    let maildir = base.join("a.example/bob/Maildir");
    wait_for("the early one", seconds(20), || new(&maildir).len() == 1);
    let stat = new(&maildir)[0].metadata().unwrap();
    assert_eq!((stat.uid(), stat.gid(), stat.permissions().mode() & 0o777), (20_005, 20_005, 0o600));
    // The folder of his domain is there by now, and theirs; his is not.
    assert_eq!(rcpt(&server, "dave@a.example", "second"), 250);
    wait_for("dave's", seconds(20), || new(&base.join("a.example/dave/Maildir")).len() == 1);
    assert_eq!(rcpt(&server, "bob@a.example", "third"), 250);
    wait_for("bob's second", seconds(20), || new(&maildir).len() == 2);
    // A folder that leads to somebody else's: the agent has no rights but its domain's.
    let other = server.path("tmp/other");
    fs::create_dir(&other).unwrap();
    chown(&other, Some(20_006), Some(19_999)).unwrap();
    symlink(&other, base.join("b.example")).unwrap();
    assert_eq!(rcpt(&server, "bob@b.example", "link"), 250);
    server.wait_log("Permission denied");
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0, "{}", server.log());
    fs::remove_file(base.join("b.example")).unwrap();
    wait_for("the linked one", seconds(20), || {
        mbox::read(&base.join("b.example/bob")).is_ok_and(|mail| mail.len() == 1)
    });
}

#[test]
fn group_mail_is_refused() {
    if !root_or_skip("group_mail_is_refused") {
        return;
    }
    let mut setup = with(20_005).with_roles();
    setup.more = setup.more.replace("gid=20005", "gid=8");
    let server = start(setup);
    assert_eq!(rcpt(&server, "bob@a.example", "one"), 250);
    server.wait_log("Deferred: with group 8 a virtual domain could write everybody's mailbox");
}
