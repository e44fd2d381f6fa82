//! Tables that change while mail comes in: in effect within 2 s, and never a wrong "User unknown" (issue "tables", Must show 3).

use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use testsuite::{Server, Setup, Smtp, Zone, process, scaled, seconds, server};

/// Names in a table that is rewritten all the time.
const NAMES: usize = 2_000;
/// Who comes from another address than this host's.
const STRANGER: &str = "stranger@client.test";

fn with_tables() -> Server {
    let setup = Setup {
        aliases: "postmaster: nobody\nfirst: daemon\n".into(),
        ..Setup::default().with(
            "virtual-users \"@F@/virtusertable\" { domains \"virt.test\" }\naccess \"@F@/access\"\n\
             mailers \"@F@/mailertable\"\nlocal-domains file=\"@F@/local-host-names\"",
        )
    };
    let mut server = Server::make(setup);
    write(&server.path("virtusertable"), b"first@virt.test\tdaemon\n@virt.test\terror:nouser 550 No such user\n");
    write(&server.path("access"), b"From:spam.test\tREJECT\n");
    write(&server.path("mailertable"), b"closed.test\terror:5.7.1:550 closed\n");
    write(&server.path("local-host-names"), b"one.test\n");
    server.start();
    server
}

/// Replaces a file in one step, as most editors do.
fn write(path: &Path, text: &[u8]) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}

/// Code of MAIL or, if that is accepted, of RCPT.
fn code(server: &Server, from: &str, to: &str) -> u16 {
    // This host's own clients may relay.
    let client = IpAddr::from(if from == STRANGER { [198, 51, 100, 9] } else { [127, 0, 0, 1] });
    let mut session = Smtp::connect_from(client, server.address).unwrap();
    session.expect(220).unwrap();
    session.command("EHLO client.test").unwrap();
    let mail = session.command(&format!("MAIL FROM:<{from}>")).unwrap().code;
    if mail != 250 {
        return mail;
    }
    session.command(&format!("RCPT TO:<{to}>")).unwrap().code
}

/// How long it takes until a question gets this code.
fn until(server: &Server, from: &str, to: &str, wanted: u16) -> Duration {
    let start = Instant::now();
    loop {
        let got = code(server, from, to);
        if got == wanted {
            return start.elapsed();
        }
        assert!(start.elapsed() < seconds(10), "{from} to {to}: {got}, not {wanted}, after {:?}", start.elapsed());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_changed_table_is_in_effect_within_2_s_without_a_signal() {
    let server = with_tables();
    let engine = server.engine();
    assert_eq!(code(&server, "a@client.test", "first@virt.test"), 250);
    assert_eq!(code(&server, "a@client.test", "second@virt.test"), 550);
    let mut took = Vec::new();
    for (file, text, from, to, wanted) in [
        ("aliases", "first: daemon\nsecond: daemon\n", "a@client.test", "second@local.test", 250),
        (
            "virtusertable",
            "second@virt.test daemon\n@virt.test error:nouser 550 no\n",
            "a@client.test",
            "second@virt.test",
            250,
        ),
        ("access", "From:junk.test REJECT\n", "a@junk.test", "first@local.test", 550),
        ("mailertable", "shut.test error:5.7.1:550 shut\n", "a@client.test", "x@shut.test", 550),
        ("local-host-names", "two.test\n", "a@client.test", "nosuch@two.test", 550),
        ("aliases", "first: daemon\n", "a@client.test", "second@local.test", 550),
    ] {
        write(&server.path(file), text.as_bytes());
        took.push((until(&server, from, to, wanted), file));
    }
    println!("in effect after {took:?}");
    let late: Vec<_> = took.iter().filter(|(t, _)| *t > seconds(2)).collect();
    assert!(late.is_empty(), "later than 2 s: {late:?}");
    assert_eq!(server.engine(), engine, "the engine is the same");
}

/// What is not there when an engine starts is not empty: 451, and what the lists were when the keeper started.
#[test]
fn files_that_are_missing_when_the_engine_starts_make_mail_wait() {
    let lists = "local-domains file=\"@F@/w\"\nrelay-domains file=\"@F@/r\"\n\
                 virtual-users \"@F@/v\" { domains file=\"@F@/vd\" }\nsenders { accept-unresolvable }";
    if !testsuite::root_or_skip("files_that_are_missing_when_the_engine_starts_make_mail_wait") {
        return;
    }
    let zone = Zone::start("9.100.51.198.in-addr.arpa PTR client.test\nclient.test A 198.51.100.9\n");
    let aliases = "postmaster: nobody\nfirst: daemon\n".into();
    let setup = Setup { aliases, dns: Some(zone.address), ..Setup::default() };
    let mut server = Server::make(setup.with(lists));
    let texts = [("w", "one.test\n"), ("r", "far.test\n"), ("vd", "virt.test\n")];
    fs::write(server.path("v"), "first@virt.test first\n").unwrap();
    texts.iter().for_each(|(name, text)| fs::write(server.path(name), text).unwrap());
    let aliases = fs::read(server.path("aliases")).unwrap();
    fs::remove_file(server.path("aliases")).unwrap();
    server.start();
    // Nobody is unknown without the aliases; the keeper's plan says that they have to be there.
    assert_eq!(code(&server, STRANGER, "first@local.test"), 451);
    write(&server.path("aliases"), &aliases);
    until(&server, STRANGER, "first@local.test", 250);
    write(&server.path("w"), b"one.test\ntwo.test\n");
    until(&server, STRANGER, "first@two.test", 250);
    texts.iter().for_each(|(name, _)| fs::remove_file(server.path(name)).unwrap());
    let engine = server.engine();
    process::signal(engine, Signal::KILL);
    server.wait_log("/vd: no such file; the lists serve as they were");
    server.wait_ready(seconds(20));
    assert_ne!(server.engine(), engine);
    for (to, wanted) in [
        ("first@one.test", 250),
        ("x@far.test", 250),
        ("first@virt.test", 250),
        // Came after the plan; and who knows what else was in the files.
        ("first@two.test", 451),
        ("x@other.test", 451),
    ] {
        assert_eq!(code(&server, STRANGER, to), wanted, "{to}\n{}", server.log());
    }
    texts.iter().for_each(|(name, text)| write(&server.path(name), text.as_bytes()));
    until(&server, STRANGER, "first@virt.test", 250);
    until(&server, STRANGER, "x@other.test", 550);
}

/// A table in which all names exist; which of two users they are is what changes.
fn table(turn: usize) -> Vec<u8> {
    let user = if turn.is_multiple_of(2) { "daemon" } else { "bin" };
    let mut text = format!("# version {turn}\n").into_bytes();
    for n in 0..NAMES {
        let _ = writeln!(text, "user{n}@virt.test\t{user}");
    }
    text.extend_from_slice(b"@virt.test\terror:nouser 550 No such user here\n");
    text
}

/// Each of the ways in which a table is rewritten.
fn rewrite(server: &Server, path: &Path, turn: usize) {
    let text = table(turn);
    match turn % 5 {
        0 => {
            write(path, &text);
            let mut command = server.command("postrider");
            command.args(["makemap", "hash"]).arg(path);
            let out = server::run(command, &text);
            assert!(out.status.success(), "makemap: {}", String::from_utf8_lossy(&out.stderr));
        }
        1 => write(path, &text),
        2 => {
            // In place and slowly, over the old bytes.
            let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
            for part in text.chunks(text.len() / 6 + 1) {
                file.write_all(part).unwrap();
                std::thread::sleep(Duration::from_millis(120));
            }
            file.set_len(text.len() as u64).unwrap();
        }
        3 => {
            // Truncated, and filled again a moment later.
            let mut file = fs::File::create(path).unwrap();
            std::thread::sleep(Duration::from_millis(400));
            let (head, tail) = text.split_at(text.len() / 3);
            file.write_all(head).unwrap();
            std::thread::sleep(Duration::from_millis(400));
            file.write_all(tail).unwrap();
        }
        _ => {
            let other = path.with_extension("other");
            fs::write(&other, &text).unwrap();
            assert!(Command::new("cp").arg(&other).arg(path).status().unwrap().success());
        }
    }
}

/// RCPTs until told to end: how many, and what was wrong.
fn ask(address: std::net::SocketAddr, first: usize, end: &AtomicBool, count: &AtomicUsize) -> Vec<String> {
    let (mut wrong, mut n) = (Vec::new(), first);
    while !end.load(Ordering::SeqCst) && wrong.len() < 10 {
        let mut session = Smtp::hello(address).unwrap();
        session.command("MAIL FROM:<a@client.test>").unwrap();
        for _ in 0..50 {
            n = (n + 7919) % NAMES;
            // Every tenth is a name that is in no version.
            let (name, good): (String, &[u16]) = if n.is_multiple_of(10) {
                (format!("nouser{n}@virt.test"), &[550, 451])
            } else {
                (format!("user{n}@virt.test"), &[250, 451])
            };
            let reply = session.command(&format!("RCPT TO:<{name}>")).unwrap();
            if !good.contains(&reply.code) {
                wrong.push(format!("{name}: {}", reply.text()));
            }
            count.fetch_add(1, Ordering::SeqCst);
        }
    }
    wrong
}

#[test]
fn a_table_rewritten_again_and_again_never_gives_a_wrong_answer() {
    let setup = Setup::default().with(
        "virtual-users \"@F@/virtusertable\" { domains \"virt.test\" }\nlimits { errors 10000; recipients 1000 }",
    );
    let mut server = Server::make(setup);
    let path: PathBuf = server.path("virtusertable");
    write(&path, &table(0));
    server.start();
    let engine = server.engine();
    let (end, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = (0..3)
        .map(|n| {
            let (address, end, count) = (server.address, Arc::clone(&end), Arc::clone(&count));
            std::thread::spawn(move || ask(address, n * 100, &end, &count))
        })
        .collect();
    let start = Instant::now();
    let (rewrites, rcpts) = (scaled(100, 15), scaled(10_000, 1_500));
    let mut turn = 0;
    let asking = |askers: &[std::thread::JoinHandle<Vec<String>>]| askers.iter().any(|a| !a.is_finished());
    while (turn < rewrites || count.load(Ordering::SeqCst) < rcpts) && asking(&askers) {
        turn += 1;
        rewrite(&server, &path, turn);
        std::thread::sleep(Duration::from_millis(if turn.is_multiple_of(4) { 1_500 } else { 50 }));
        assert!(start.elapsed() < seconds(600), "{turn} rewrites, {} RCPTs", count.load(Ordering::SeqCst));
    }
    end.store(true, Ordering::SeqCst);
    let wrong: Vec<String> = askers.into_iter().flat_map(|a| a.join().unwrap()).collect();
    println!("{turn} rewrites, {} RCPTs in {:?}", count.load(Ordering::SeqCst), start.elapsed());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(server.engine(), engine, "the engine lives");
}
