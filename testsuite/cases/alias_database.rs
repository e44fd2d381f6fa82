//! A host that has lost the text of its aliases and serves from `aliases.db`: on the private host (`testsuite/host`), for the paths stand
//! in what sendmail's `newaliases` made (`src/mail/database/golden/make.sh`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};
use testsuite::{Server, Setup, Smtp, mbox, message, root_or_skip, seconds, server, wait_for};

const HASH: &[u8] = include_bytes!("../../src/mail/database/golden/aliases-hash.db");
const BTREE: &[u8] = include_bytes!("../../src/mail/database/golden/aliases-btree.db");
/// Without the program.
const WITHOUT: &[u8] = include_bytes!("../../src/mail/database/golden/aliases-without.db");
/// What they were made from.
const TEXT: &str = "plain: u01\nprogram: \"|/home/lost/run\"\nfile: /home/lost/file\nlist: :include:/home/lost/list\n";

static LOST: Mutex<()> = Mutex::new(());

/// `/home/lost`, where lp may write, with a program that ends with `code`.
fn folder(code: u8) -> MutexGuard<'static, ()> {
    let guard = LOST.lock().unwrap_or_else(|e| e.into_inner());
    let _ = fs::remove_dir_all("/home/lost");
    fs::create_dir("/home/lost").unwrap();
    let lp = nix::unistd::User::from_name("lp").unwrap().unwrap();
    std::os::unix::fs::chown("/home/lost", Some(lp.uid.as_raw()), Some(lp.gid.as_raw())).unwrap();
    fs::write("/home/lost/list", "u02\n").unwrap();
    program(code);
    guard
}

fn program(code: u8) {
    fs::write("/home/lost/run", format!("#!/bin/sh\ncat >>/home/lost/ran.{code}\nexit {code}\n")).unwrap();
    fs::set_permissions("/home/lost/run", fs::Permissions::from_mode(0o755)).unwrap();
}

/// A server with these aliases and no text.
fn without_text(make: &dyn Fn(&Server)) -> Server {
    let mut server = Server::make(Setup::default().with_roles().with("local { default-user \"lp\" }"));
    make(&server);
    fs::remove_file(server.path("aliases")).unwrap();
    server.start();
    server
}

/// As an administrator puts a file in place.
fn put(server: &Server, database: &[u8]) {
    fs::write(server.path("new"), database).unwrap();
    fs::rename(server.path("new"), server.path("aliases.db")).unwrap();
}

fn send(server: &Server, to: &str) {
    assert!(accepts(server, to), "{to}");
}

/// Sends; false for a temporary no.
fn accepts(server: &Server, to: &str) -> bool {
    let mut session = Smtp::hello(server.address).unwrap();
    let reply = session.message("a@client.test", &[to], &message::text(to, to, 2)).unwrap();
    assert!(matches!(reply.code, 250 | 451), "{to}: {reply:?}");
    reply.code == 250
}

fn newaliases(server: &Server) {
    fs::write(server.path("aliases"), TEXT).unwrap();
    let mut command = server.command("postrider");
    command.args(["newaliases", "--config"]).arg(server.configuration());
    let out = server::run(command, b"");
    assert!(out.status.success(), "{out:?}");
}

#[test]
fn programs_files_and_lists_of_a_data_base_without_its_text() {
    if !root_or_skip("programs_files_and_lists_of_a_data_base_without_its_text") {
        return;
    }
    let ways: [&dyn Fn(&Server); 3] = [&|server| put(server, HASH), &|server| put(server, BTREE), &newaliases];
    for make in ways {
        let _alone = folder(0);
        let server = without_text(make);
        for to in ["plain", "program", "file", "list"] {
            send(&server, to);
        }
        server.wait_mail("u01", 1);
        server.wait_mail("u02", 1);
        server.wait_empty(seconds(20));
        let ran = fs::read_to_string("/home/lost/ran.0").unwrap();
        assert!(ran.contains("X-Test-Id: program"), "{ran}");
        let file = mbox::read(Path::new("/home/lost/file")).unwrap();
        assert_eq!(file.len(), 1);
        assert!(message::whole(&file[0].text).is_ok());
    }
}

#[test]
fn what_the_data_base_says_no_more_or_anybody_may_write_is_not_run() {
    if !root_or_skip("what_the_data_base_says_no_more_or_anybody_may_write_is_not_run") {
        return;
    }
    let _alone = folder(75);
    let server = without_text(&|server| put(server, HASH));
    let database = server.path("aliases.db").display().to_string();
    let mode = |mode: u32| fs::set_permissions(&database, fs::Permissions::from_mode(mode)).unwrap();
    let ran = Path::new("/home/lost/ran.0");
    send(&server, "program");
    server.wait_log("EX_TEMPFAIL");
    program(0);
    mode(0o646);
    server.wait_log(&format!("{database}: World writable file"));
    assert!(!ran.exists());
    mode(0o644);
    wait_for("the program", seconds(60), || ran.exists());
    server.wait_empty(seconds(20));
    fs::remove_file(ran).unwrap();
    program(75);
    // The engine takes a file whose mode was changed for a new one, and waits until it is still.
    wait_for("what is in force", seconds(20), || accepts(&server, "program"));
    wait_for("its second try", seconds(60), || server.log().matches("EX_TEMPFAIL").count() > 1);
    program(0);
    put(&server, WITHOUT);
    server.wait_log(&format!("stat=Deferred: what was named stands no more in {database}"));
    assert!(!ran.exists());
}
