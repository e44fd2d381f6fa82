//! `.forward` files, on the private host: agents under the users' own ids.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, wait_for};

/// First uid of the users u00…u19 of `testsuite/host`, and their group.
const FIRST: u32 = 20_000;
const GROUP: u32 = 19_999;

fn uid(user: &str) -> u32 {
    FIRST + user[1..].parse::<u32>().unwrap()
}

fn forward(user: &str, name: &str, text: &str) {
    let path = Path::new("/home").join(user).join(name);
    fs::write(&path, text).unwrap();
    chown(&path, Some(uid(user)), Some(GROUP)).unwrap();
}

/// A server with roles; `more` are further nodes.
fn start(more: &str) -> Server {
    let server = Setup::default().with_roles().with(more).start();
    Command::new("chmod").args(["1777"]).arg(server.path("tmp")).status().unwrap();
    server
}

fn send(server: &Server, to: &[&str], id: &str) {
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text(id, to[0], 3);
    assert_eq!(session.message("a@client.test", to, &text).unwrap().code, 250, "{to:?}");
}

fn read(server: &Server, name: &str) -> String {
    let path = server.path("tmp").join(name);
    wait_for(name, seconds(20), || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
    fs::read_to_string(path).unwrap()
}

#[test]
fn copies_programs_files_and_lists_as_the_user() {
    if !root_or_skip("copies_programs_files_and_lists_as_the_user") {
        return;
    }
    let server = start("");
    let tmp = server.path("tmp").display().to_string();
    forward("u00", "list", "u02\n:include:/root/secret\n|touch /tmp/no\n");
    fs::write("/home/u00/list.md", "").unwrap();
    forward(
        "u00",
        ".forward",
        &format!(
            "\\u00, u01\n/home/u00/archive\n:include:/home/u00/list\n\"|id > {tmp}/id; echo $EXTENSION $RECIPIENT $USER > {tmp}/env; umask >> {tmp}/id; pwd >> {tmp}/id; cat > {tmp}/got #u00\"\n"
        ),
    );
    send(&server, &["u00+det@local.test"], "one");
    for user in ["u00", "u01", "u02"] {
        server.wait_mail(user, 1);
    }
    let lines = || fs::read_to_string(server.path("tmp/id")).unwrap_or_default();
    wait_for("three lines", seconds(20), || lines().ends_with("/home/u00\n"));
    let id = lines();
    assert!(id.starts_with("uid=20000(u00) gid=19999(tester)") && !id.contains("mail"), "{id}");
    assert!(id.contains("\n0022\n/home/u00\n"), "{id}");
    wait_for("the archive", seconds(10), || mbox::read(Path::new("/home/u00/archive")).is_ok_and(|m| m.len() == 1));
    wait_for("the message", seconds(10), || {
        fs::read_to_string(server.path("tmp/got")).is_ok_and(|text| text.contains("X-Test-Id: one"))
    });
    server.wait_log("Cannot open /root/secret: Permission denied");
    server.wait_log("mailing to programs is not allowed in a list");
    let line = server.wait_log("mailer=prog");
    assert!(line.contains("ctladdr=<u00+det@local.test>"), "{line}");
    assert_eq!(read(&server, "env"), "det u00+det@local.test u00\n");
    assert_eq!(mbox::read(&server.mailbox("u00")).unwrap().len(), 1);
    let mut explain = server.command("postrider");
    explain.args(["explain", "--config"]).arg(server.configuration()).args(["u00@local.test", "u01@local.test"]);
    let said = String::from_utf8(testsuite::server::run(explain, b"").stdout).unwrap();
    let told = "  .forward      /home/u00/.forward: read as u00 when mail comes; what it says is not followed here\n";
    assert!(said.contains(told) && said.matches(".forward").count() == 2, "{said}");
    fs::remove_file("/home/u00/.forward").unwrap();
    // From now on his mail stays at home: nothing is remembered.
    send(&server, &["u00@local.test"], "two");
    server.wait_mail("u00", 2);
}

/// As real sendmail sends it: the members get mail under the owner's name, whoever named the list, and he gets what cannot be delivered.
#[test]
fn a_list_that_a_file_names_has_its_owner_as_sender() {
    if !root_or_skip("a_list_that_a_file_names_has_its_owner_as_sender") {
        return;
    }
    let mut server = Server::make(Setup::default().with_roles());
    let outer = server.path("tmp/outer");
    server.setup.aliases.push_str(&format!(
        "crew: u01, u02, nosuch\nowner-crew: u04\nouter: :include:{0}\ninner: :include:{0}\nowner-inner: u24\n",
        outer.display()
    ));
    server.write_configuration();
    server.start();
    fs::write(&outer, "crew, u20\n").unwrap();
    Command::new("chmod").args(["a+rx"]).arg(server.path("tmp")).status().unwrap();
    forward("u19", ".forward", "\\u19, crew, u20\n");
    // The body lies in a file of its own, which the envelopes share.
    for (to, from, own, lines) in [
        ("u19", "u24@local.test", &["u19", "u20"][..], 3),
        ("outer", "u24@local.test", &["u20"], 2_000),
        ("inner", "u24@mx.test", &["u20"], 3),
    ] {
        let mut session = Smtp::hello(server.address).unwrap();
        let text = message::text(to, to, lines);
        let sender = if to == "inner" { "a@client.test" } else { from };
        assert_eq!(session.message(sender, &[&format!("{to}@local.test")], &text).unwrap().code, 250);
        let path = |user: &str| {
            let all = server.wait_mail(user, 1);
            let mail = all.iter().find(|mail| mail.field("X-Test-Id").as_deref() == Some(to)).cloned();
            mail.map(|mail| mail.field("Return-Path").unwrap_or_default())
        };
        let wait = |user: &str, expected: &str| {
            wait_for(&format!("{to} for {user}"), seconds(20), || path(user).is_some());
            assert_eq!(path(user).unwrap(), format!("<{expected}>"), "{to} for {user}");
        };
        own.iter().for_each(|user| wait(user, from));
        ["u01", "u02"].iter().for_each(|user| wait(user, "u04@mx.test"));
    }
    assert!(server.wait_log("clone: owner=u04@mx.test").contains(": "));
    let bounces = server.wait_mail("u04", 3);
    assert!(bounces.iter().all(|bounce| String::from_utf8_lossy(&bounce.text).contains("nosuch... User unknown")));
    server.wait_empty(seconds(20));
    assert!(!server.mailbox("u24").exists(), "neither the sender nor the outer list's owner hears of it");
    fs::remove_file("/home/u19/.forward").unwrap();
}

#[test]
fn details_choose_a_file_and_circles_end_in_a_mailbox() {
    if !root_or_skip("details_choose_a_file_and_circles_end_in_a_mailbox") {
        return;
    }
    let server = start("");
    forward("u03", ".forward+lists", "u04\n");
    forward("u05", ".forward", "u06@local.test\n");
    forward("u06", ".forward", "u05\n");
    send(&server, &["u03+lists@local.test"], "detail");
    send(&server, &["u03+other@local.test"], "other");
    send(&server, &["u03+../../u05/.forward@local.test"], "escape");
    assert_eq!(server.wait_mail("u04", 1).len(), 1);
    assert_eq!(server.wait_mail("u03", 2).len(), 2);
    send(&server, &["u05@local.test", "u06@local.test"], "circle");
    server.wait_empty(seconds(20));
    let copies = |user: &str| mbox::read(&server.mailbox(user)).map_or(0, |mail| mail.len());
    assert_eq!(copies("u05") + copies("u06"), 1, "{}", server.log());
    for (user, name) in [("u03", ".forward+lists"), ("u05", ".forward"), ("u06", ".forward")] {
        fs::remove_file(Path::new("/home").join(user).join(name)).unwrap();
    }
}

/// `sendmail -v`: whom a private `.forward` names is nobody's business but root's.
#[test]
fn whoever_watches_does_not_see_whom_a_forward_names() {
    if !root_or_skip("whoever_watches_does_not_see_whom_a_forward_names") {
        return;
    }
    let server = start("");
    let tmp = server.path("tmp").display().to_string();
    forward("u30", ".forward", &format!("u10@far.test, u11\n|cat > {tmp}/secret-program\n"));
    fs::set_permissions("/home/u30/.forward", fs::Permissions::from_mode(0o600)).unwrap();
    for (uid, sees) in [(20_007, false), (0, true)] {
        let mut command = server.command("sendmail");
        command.args(["-v", "-i", "u30"]).uid(uid).gid(GROUP * u32::from(uid > 0));
        let out = testsuite::server::run(command, message::text("watched", "u30", 3).as_bytes());
        let shown = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(0), "{shown}");
        assert!(shown.contains("u30... Sent") || sees, "{shown}");
        for secret in ["u10", "u11", "secret-program"] {
            assert_eq!(shown.contains(secret), sees, "{secret} as {uid}: {shown}");
        }
    }
}

#[test]
fn a_mailbox_beside_its_user_and_members_who_forward_to_each_other() {
    if !root_or_skip("a_mailbox_beside_its_user_and_members_who_forward_to_each_other") {
        return;
    }
    let mut server = Server::make(Setup::default().with_roles());
    server.setup.aliases.push_str("ops: root, \\root\nboth: u21, \\u21\nkept: \\u22, u22\nlist: u23, u24\n");
    server.write_configuration();
    server.start();
    forward("u22", ".forward", "u20\n");
    forward("u23", ".forward", "u24\n");
    send(&server, &["ops@local.test"], "root");
    send(&server, &["both@local.test"], "plain");
    send(&server, &["kept@local.test"], "kept");
    for n in 0..5 {
        send(&server, &["list@local.test"], &format!("list{n}"));
    }
    server.wait_empty(seconds(30));
    let copies = |user: &str| mbox::read(&server.mailbox(user)).map_or(0, |mail| mail.len());
    let got = ["root", "u20", "u21", "u22", "u23", "u24"].map(copies);
    assert_eq!(got, [1, 1, 1, 1, 0, 5], "{}", server.log());
    assert!(!server.log().contains("cannot record") && !server.log().contains("Deferred"), "{}", server.log());
    for user in ["u22", "u23"] {
        fs::remove_file(Path::new("/home").join(user).join(".forward")).unwrap();
    }
}

#[test]
fn no_shell_no_programs_and_another_users_mail_is_out_of_reach() {
    if !root_or_skip("no_shell_no_programs_and_another_users_mail_is_out_of_reach") {
        return;
    }
    let server = start("");
    let tmp = server.path("tmp").display().to_string();
    send(&server, &["u08@local.test"], "private");
    server.wait_mail("u08", 1);
    let mail = server.mailbox("u08").display().to_string();
    forward("u07", ".forward", &format!("\"|cat {mail} > {tmp}/stolen; echo tried > {tmp}/tried\"\n"));
    send(&server, &["u07@local.test"], "thief");
    assert_eq!(read(&server, "tried"), "tried\n");
    assert_eq!(fs::read(server.path("tmp/stolen")).unwrap(), b"");
    let shells = fs::read_to_string("/etc/shells").unwrap();
    fs::write("/etc/shells", "/bin/odd\n").unwrap();
    forward("u13", ".forward", "\"|exit 0\"\n");
    send(&server, &["u13@local.test"], "shell");
    server.wait_log("doesn't have a valid shell for mailing to programs");
    fs::write("/etc/shells", shells).unwrap();
    fs::remove_file("/home/u07/.forward").unwrap();
    fs::remove_file("/home/u13/.forward").unwrap();
}

#[test]
fn a_slow_program_of_one_user_delays_nobody_else() {
    if !root_or_skip("a_slow_program_of_one_user_delays_nobody_else") {
        return;
    }
    let server = start("local { programs 3 }");
    let lines: Vec<String> = (0..10).map(|n| format!("\"|sleep 60 #{n}\"\n")).collect();
    forward("u10", ".forward", &format!("\\u10\n{}", lines.concat()));
    let quick = server.path("tmp/quick").display().to_string();
    forward("u11", ".forward", &format!("\"|echo done > {quick}\"\n"));
    for n in 0..5 {
        send(&server, &["u10@local.test"], &format!("slow{n}"));
    }
    server.wait_mail("u10", 5);
    let begin = std::time::Instant::now();
    send(&server, &["u11@local.test"], "quick");
    send(&server, &["u12@local.test"], "mailbox");
    assert_eq!(read(&server, "quick"), "done\n");
    server.wait_mail("u12", 1);
    assert!(begin.elapsed() < seconds(15), "{:?}", begin.elapsed());
    for user in ["u10", "u11"] {
        fs::remove_file(Path::new("/home").join(user).join(".forward")).unwrap();
    }
}

#[test]
fn a_forward_that_was_edited_is_obeyed_anew() {
    if !root_or_skip("a_forward_that_was_edited_is_obeyed_anew") {
        return;
    }
    let server = start("");
    let tmp = server.path("tmp").display().to_string();
    let (before, after) = (["u42", "u43", "u44"].map(|user| server.mailbox(user)), seconds(20));
    let counts = || before.each_ref().map(|path| mbox::read(path).unwrap_or_default().len());
    let had = counts();
    // Another program; another address; no file at all.
    forward("u40", ".forward", &format!("u44, \"|echo one >> {tmp}/one #\", \"|exit 75; u40\"\n"));
    forward("u41", ".forward", "\"|exit 75; u41\"\n");
    forward("u42", ".forward", "\"|exit 75; u42\", \"|exit 75; again\"\n");
    for user in ["u40", "u41", "u42"] {
        send(&server, &[&format!("{user}+x@local.test")], user);
        server.wait_log(&format!("to=\"|exit 75; {user}\", "));
    }
    forward("u40", ".forward", &format!("u44, \"|echo one >> {tmp}/one #\", \"|echo $EXTENSION >> {tmp}/two #\"\n"));
    forward("u41", ".forward", "u43\n");
    fs::remove_file("/home/u42/.forward").unwrap();
    // What was written just now may not be all.
    server.wait_log(", stat=Deferred: what was named stands no more in /home/u41/.forward");
    for path in ["/home/u40/.forward", "/home/u41/.forward", "/home/u42"] {
        let then = std::time::SystemTime::now() - seconds(60);
        fs::File::open(path).unwrap().set_modified(then).unwrap();
    }
    server.sendmail(&["-q"], b"");
    server.wait_empty(after);
    assert_eq!((read(&server, "one"), read(&server, "two")), ("one\n".to_owned(), "x\n".to_owned()));
    assert_eq!(counts(), had.map(|count| count + 1), "one copy for each");
    for (user, new) in [("u40", 1), ("u41", 1), ("u42", 1), ("u42", 0)] {
        server.wait_log(&format!("in /home/{user}/.forward: {user} was expanded anew, {new} new"));
    }
    for user in ["u40", "u41"] {
        fs::remove_file(Path::new("/home").join(user).join(".forward")).unwrap();
    }
}

#[test]
fn aliases_run_as_the_default_user_and_never_with_group_mail() {
    if !root_or_skip("aliases_run_as_the_default_user_and_never_with_group_mail") {
        return;
    }
    let mut server = Server::make(Setup::default().with_roles().with("local { default-user \"mail\" }"));
    let tmp = server.path("tmp").display().to_string();
    server.setup.aliases.push_str(&format!("who: \"|id > {tmp}/who\"\n"));
    server.write_configuration();
    server.start();
    Command::new("chmod").args(["1777"]).arg(server.path("tmp")).status().unwrap();
    send(&server, &["who@local.test"], "one");
    let who = read(&server, "who");
    assert!(
        who.starts_with("uid=8(mail) gid=65534(nogroup)")
            && !who.contains("(mail),")
            && !who.contains("=8(mail) gid=8"),
        "{who}"
    );
    assert!(!who.contains("groups=8") && !who.contains(",8("), "{who}");
}
