//! Real programs that take our mail: system accounts' mailboxes, set-id programs, procmail from a `.forward`, mlmmj from an alias.
//! ("Must show" 2 of the issue of local delivery. Dovecot by LMTP is in `interop_lmtp.rs`, vacation in `client/small.rs`.)

use crate::interop::{can, clear, uid};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use testsuite::{Server, Setup, Smtp, mbox, message, seconds, server, wait_for};

/// A server that delivers into /var/mail, with these aliases (`@F@` is its folder) and nodes.
fn start(aliases: &str, more: &str) -> Server {
    let mut server = Server::make(Setup {
        mailbox: "mailbox \"mbox\" path=\"/var/mail/{user}\"".into(),
        more: more.into(),
        ..Setup::default().with_roles()
    });
    let folder = server.folder.to_string_lossy().into_owned();
    server.setup.aliases = format!("postmaster: tester\n{}", aliases.replace("@F@", &folder));
    server.write_configuration();
    fs::set_permissions(server.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    server.start();
    server
}

fn tool(line: &str) {
    let mut command = Command::new("sh");
    command.args(["-e", "-c", line]).current_dir("/");
    let out = server::run(command, b"");
    assert!(out.status.success(), "{line}: {out:?}");
}

fn send(server: &Server, from: &str, to: &str, text: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    assert_eq!(session.message(from, &[to], text).unwrap().code, 250, "{to}");
}

fn furnish(user: &str, name: &str, text: &str) {
    let path = Path::new("/home").join(user).join(name);
    fs::write(&path, text).unwrap();
    chown(&path, Some(uid(user)), None).unwrap();
}

fn mailbox(user: &str) -> PathBuf {
    Path::new("/var/mail").join(user)
}

/// Waits for these ids, each once, and nothing else in an mbox.
#[track_caller]
fn holds(server: &Server, path: &Path, ids: &[String]) {
    let limit = std::time::Instant::now() + seconds(90);
    while mbox::count([path]).0.len() < ids.len() && std::time::Instant::now() < limit {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let (found, torn) = mbox::count([path]);
    let whole = torn.is_empty() && found.len() == ids.len() && ids.iter().all(|id| found.get(id) == Some(&1));
    assert!(whole, "{}: {found:?} {torn:?}\n{}", path.display(), server.story());
}

#[test]
fn root_www_data_and_list_have_mailboxes_of_their_own() {
    if !can("mailboxes of system accounts", &[]) {
        return;
    }
    let server = start("", "");
    let users = ["root", "www-data", "list"];
    for user in users {
        let to = format!("{user}@local.test");
        send(&server, "a@client.test", &to, &message::text("by-smtp", &to, 3));
        let out = server.sendmail(&["-i", user], message::text("by-command", user, 3).as_bytes());
        assert!(out.status.success(), "{out:?}");
    }
    for user in users {
        holds(&server, &mailbox(user), &["by-smtp", "by-command"].map(str::to_owned));
        let made = fs::metadata(mailbox(user)).unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (uid(user), 8, 0o600), "{user}");
        fs::remove_file(mailbox(user)).unwrap();
    }
}

/// What `id` says, without names.
fn said(server: &Server, name: &str) -> String {
    let path = server.path("tmp").join(name);
    wait_for(name, seconds(90), || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(path).unwrap()
}

#[test]
fn set_id_programs_see_the_right_ids() {
    if !can("set-id programs", &[]) {
        return;
    }
    tool(
        "cp /usr/bin/id /usr/local/bin/id-setuid; chown u21:tester /usr/local/bin/id-setuid; chmod 4755 /usr/local/bin/id-setuid",
    );
    tool(
        "cp /usr/bin/id /usr/local/bin/id-setgid; chown root:crontab /usr/local/bin/id-setgid; chmod 2755 /usr/local/bin/id-setgid",
    );
    let line = |who: &str, folder: &str| {
        format!("\"|/usr/local/bin/id-setuid >{folder}/{who}-uid; id-setgid >{folder}/{who}-gid\"\n")
    };
    let server = start(&format!("ids: {}", line("alias", "@F@/tmp")), "local { default-user \"list\" }");
    clear("u20");
    furnish("u20", ".forward", &line("user", &server.path("tmp").to_string_lossy()));
    send(&server, "a@client.test", "ids@local.test", &message::text("ids", "ids", 3));
    send(&server, "a@client.test", "u20@local.test", &message::text("ids", "u20", 3));
    for (file, parts) in [
        ("alias-uid", ["uid=38(list) gid=38(list) ", "euid=20021(u21) "]),
        ("alias-gid", ["uid=38(list) gid=38(list) ", "egid=19992(crontab) "]),
        ("user-uid", ["uid=20020(u20) gid=19999(tester) ", "euid=20021(u21) "]),
        ("user-gid", ["uid=20020(u20) gid=19999(tester) ", "egid=19992(crontab) "]),
    ] {
        let ids = said(&server, file);
        assert!(parts.iter().all(|part| ids.contains(part)) && !ids.contains("(mail)"), "{file}: {ids}");
    }
    clear("u20");
}

#[test]
fn procmail_from_a_forward_file() {
    if !can("procmail from a .forward", &["procmail"]) {
        return;
    }
    let server = start("", "");
    clear("u22");
    furnish("u22", ".forward", "\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #u22\"\n");
    furnish("u22", ".procmailrc", ":0:\n* ^Subject: test sorted\n$HOME/sorted\n");
    let names = |kind: &str| (0..5).map(|n| format!("{kind}{n}")).collect::<Vec<_>>();
    for id in [names("sorted"), names("plain")].concat() {
        send(&server, "a@client.test", "u22@local.test", &message::text(&id, "u22@local.test", 30));
    }
    holds(&server, Path::new("/home/u22/sorted"), &names("sorted"));
    holds(&server, &mailbox("u22"), &names("plain"));
    let line = server.wait_log("mailer=prog");
    assert!(line.contains("ctladdr=<u22@local.test>") && line.contains("stat=Sent"), "{line}");
    server.wait_empty(seconds(90));
    assert!(mbox::read(&mailbox("u22")).unwrap()[0].from_line.starts_with("From a@client.test "));
    clear("u22");
}

/// The list of mlmmj's test, of a server: its folder, its aliases' user.
const LIST: &str = "/var/spool/mlmmj/team";

/// Makes the list as its manual says, and two members.
fn make_list(server: &Server) {
    tool(&format!(
        "mkdir -p /var/spool/mlmmj; printf 'local.test\\ntester@local.test\\nen\\n' | mlmmj-make-ml -L team -s /var/spool/mlmmj
         echo {} >{LIST}/control/smtpport; chown -R list:list {LIST}",
        server.address.port()
    ));
    for user in ["u23", "u24"] {
        tool(&format!(
            "setpriv --reuid list --regid list --clear-groups /usr/bin/mlmmj-sub -L {LIST} -a {user}@local.test"
        ));
    }
}

#[test]
fn mlmmj_from_an_alias() {
    if !can("mlmmj from an alias", &["mlmmj-receive", "mlmmj-make-ml", "mlmmj-sub"]) {
        return;
    }
    let alias = format!("team: \"|/usr/bin/mlmmj-receive -L {LIST}/\"\n");
    let server = start(&alias, "local { default-user \"list\" }");
    ["u23", "u24"].iter().for_each(|user| clear(user));
    make_list(&server);
    let ids: Vec<String> = (0..5).map(|n| format!("post{n}")).collect();
    for id in &ids {
        send(&server, "u23@local.test", "team@local.test", &message::text(id, "team@local.test", 30));
    }
    for user in ["u23", "u24"] {
        holds(&server, &mailbox(user), &ids);
        let first = &mbox::read(&mailbox(user)).unwrap()[0];
        assert!(first.from_line.starts_with("From team+bounces-"), "{}", first.from_line);
    }
    server.wait_empty(seconds(90));
}
