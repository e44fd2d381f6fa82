//! `conf/tables.kdl`: a table of each kind, asked through sessions and deliveries (issue "tables", Build 2).

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener};
use std::path::Path;
use testsuite::{Server, Setup, Smtp, message, port};

/// A socketmap server on this port: in `users`, `mapped:maildrop` is `first`.
fn serve_maps(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || while answer(&mut stream).is_some() {});
        }
    });
}

/// One question and its answer, both netstrings.
fn answer(stream: &mut (impl Read + Write)) -> Option<()> {
    let mut length = 0;
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte).ok()?;
        match byte[0] {
            b':' => break,
            digit => length = length * 10 + usize::from(digit - b'0'),
        }
    }
    let mut question = vec![0; length + 1];
    stream.read_exact(&mut question).ok()?;
    let value = if question == b"users mapped:maildrop," { "OK first" } else { "NOTFOUND " };
    stream.write_all(format!("{}:{value},", value.len()).as_bytes()).ok()
}

/// The configuration, with its paths in the server's folder and its ports free ones.
fn server(maps: u16) -> Server {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf/tables.kdl");
    let text = fs::read_to_string(conf).unwrap();
    let text = text
        .replace("/etc/mail/", "@F@/")
        .replace("/etc/aliases", "@F@/aliases")
        .replace("127.0.0.1:8881", &format!("127.0.0.1:{maps}"))
        .replace("127.0.0.1:25", "127.0.0.1:@PORT@")
        .replace("listen \"[::1]:25\" optional=#true", "");
    let more = "host \"mx.test\"\nqueue { path \"@F@/spool\" }\nmailbox \"mbox\" path=\"@F@/mail/{user}\"\n\
                run { folder \"@F@/run\"; drop \"@F@/drop\"; pid-file \"@F@/run/pid\" }\n\
                dns { servers \"127.0.0.1:9\" }\nlog { file \"@F@/logs/log\"; syslog #false }\nsenders { accept-unresolvable }\n";
    let setup = Setup {
        whole: Some(format!("{text}\n{more}")),
        aliases: "postmaster: nobody\nfirst: daemon\nsecond: bin\nalice: first\n".into(),
        ..Setup::default()
    };
    let server = Server::make(setup);
    // As postmap made it: `alice` is `second` there.
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src/table/golden/map.lmdb");
    fs::copy(lists, server.path("lists.lmdb")).unwrap();
    for (name, text) in [
        (
            "virtual",
            "/^(first|second)-(bounces|request)@virtual\\.example$/ $1\n/@virtual\\.example$/ error:nouser 550 nobody\n",
        ),
        ("routes", "/^closed[0-9]+\\.test$/ error:5.7.1:550 closed\n"),
        ("networks", "127.0.0.8/30 550 go away\n"),
        ("domaintable", "old.example example.org\n"),
    ] {
        fs::write(server.path(name), text).unwrap();
    }
    server
}

/// The code of RCPT, or of MAIL where that is refused.
fn code(server: &Server, from: u8, to: &str) -> u16 {
    let mut session = Smtp::connect_from(IpAddr::from([127, 0, 0, from]), server.address).unwrap();
    session.expect(220).unwrap();
    session.command("EHLO client.test").unwrap();
    match session.command("MAIL FROM:<a@client.test>").unwrap().code {
        250 => session.command(&format!("RCPT TO:<{to}>")).unwrap().code,
        refused => refused,
    }
}

#[test]
fn a_table_of_each_kind_answers() {
    let maps = port::free();
    let mut server = server(maps);
    server.start();
    // Nobody serves the socketmap yet: not to know is no "unknown user".
    assert_eq!(code(&server, 1, "mapped@example.org"), 451);
    serve_maps(maps);
    for (from, to, wanted, kind) in [
        (1, "first@example.org", 250, "aliases"),
        (1, "eight@example.org", 250, "lmdb"),
        (1, "nosuch@example.org", 550, "none"),
        (1, "sales@virtual.example", 250, "inline"),
        (1, "second-request@virtual.example", 250, "pcre"),
        (1, "third-request@virtual.example", 550, "pcre"),
        (1, "x@closed7.test", 550, "regexp"),
        (1, "x@open7.test", 250, "regexp"),
        (9, "first@example.org", 550, "cidr"),
        (12, "first@example.org", 250, "cidr"),
        (1, "first@old.example", 250, "text"),
        (1, "nosuch@old.example", 550, "text"),
        (1, "mapped@example.org", 250, "socketmap"),
    ] {
        assert_eq!(code(&server, from, to), wanted, "{kind}: {to} from {from}\n{}", server.log());
    }
    // The members of both files.
    let mut session = Smtp::hello(server.address).unwrap();
    let reply = session.message("a@client.test", &["alice@example.org"], &message::text("union", "alice", 3)).unwrap();
    assert_eq!(reply.code, 250, "{reply:?}");
    server.wait_mail("daemon", 1);
    server.wait_mail("bin", 1);
}
