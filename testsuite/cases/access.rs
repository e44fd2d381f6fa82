//! What the access table demands of a connection: encryption on either side, sessions, rate, patience (sendmail.md 3.3).

use std::fs;
use std::net::IpAddr;
use testsuite::{Server, Setup, Sink, Smtp, message, seconds, wait_for};

fn server(setup: Setup, nodes: &str, entries: &str) -> Server {
    let mut server = Server::make(setup.with(nodes));
    fs::write(server.path("access"), entries).unwrap();
    server.start();
    server
}

fn relaying(sink: &Sink, entries: &str) -> Server {
    let setup = Setup {
        queue: "retry min=\"200ms\" max=\"300ms\"; expire \"5d\"".into(),
        ..Setup::default().relay_to(sink.address)
    };
    server(setup, "access \"@F@/access\"", entries)
}

fn send(server: &Server, name: &str, to: &[&str]) {
    let arguments: Vec<&str> = ["-i"].iter().chain(to).copied().collect();
    let out = server.sendmail(&arguments, message::text(name, to[0], 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn a_server_that_must_encrypt() {
    let (open, closed) = (Sink::start(), Sink::offering(true, |_| testsuite::sink::Act::Go));
    let waiting = relaying(&open, "TLS_Srv:127.0.0.1 ENCR:128\n");
    send(&waiting, "srv", &["x@far.test"]);
    waiting.wait_log("454 4.7.0 encryption too weak 0 less than 128 (");
    assert!(open.is_empty() && waiting.mailq().contains("encryption too weak"), "{}", waiting.mailq());
    let refusing = relaying(&open, "TLS_Srv:127.0.0.1 PERM+VERIFY:128\n");
    send(&refusing, "srv", &["x@far.test"]);
    refusing.wait_log("503 5.7.0 other side does not support STARTTLS (");
    assert!(open.is_empty());
    let fine = relaying(&closed, "TLS_Srv:127.0.0.1 ENCR:128\n");
    send(&fine, "srv", &["x@far.test"]);
    wait_for("the message", seconds(20), || closed.len() == 1);
    assert!(closed.taken()[0].tls);
    let unverified = relaying(&closed, "TLS_Srv:127.0.0.1 VERIFY\n");
    send(&unverified, "srv", &["x@far.test"]);
    unverified.wait_log("454 4.7.0 authentication failed (");
    assert_eq!(closed.len(), 1);
}

#[test]
fn a_server_that_is_not_asked_for_encryption() {
    let sink = Sink::offering(true, |_| testsuite::sink::Act::Go);
    let server = relaying(&sink, "Try_TLS:127.0.0.1 NO\n");
    send(&server, "clear", &["x@far.test"]);
    wait_for("the message", seconds(20), || sink.len() == 1);
    assert!(!sink.taken()[0].tls);
}

#[test]
fn a_recipient_whose_mail_is_only_sent_encrypted() {
    let sink = Sink::start();
    let server = relaying(&sink, "TLS_Rcpt:secret@far.test ENCR:128\nTLS_Rcpt:sealed.test ENCR:128\n");
    send(&server, "rcpt", &["open@far.test", "secret@far.test", "x@sealed.test"]);
    wait_for("the message", seconds(20), || sink.len() == 1);
    assert_eq!(sink.taken()[0].rcpt, ["RCPT To:<open@far.test>"]);
    // A stream of messages, whose envelopes ride along, takes none of them with it.
    (0..30).for_each(|n| send(&server, &format!("m{n}"), &[["a@far.test", "secret@far.test"][n % 2]]));
    wait_for("the others", seconds(20), || sink.len() == 16);
    assert!(
        sink.taken().iter().all(|taken| taken.rcpt.iter().all(|to| !to.contains("secret") && !to.contains("sealed")))
    );
    server.wait_log("to=secret@far.test");
    server.wait_log("454 4.7.0 encryption too weak 0 less than 128 (");
}

#[test]
fn a_client_that_must_encrypt() {
    let setup = Setup::default();
    let server = server(setup, "access \"@F@/access\"", "TLS_Clt:127.0.0.9 PERM+ENCR:112\n");
    let mut session = Smtp::connect_from(IpAddr::from([127, 0, 0, 9]), server.address).unwrap();
    session.expect(220).unwrap();
    session.command("EHLO x.test").unwrap();
    let reply = session.command("MAIL FROM:<a@far.test>").unwrap();
    assert!(
        reply.code == 503
            && reply.text().contains("5.7.0")
            && reply.text().contains("encryption too weak 0 less than 112"),
        "{reply:?}"
    );
    let mut other = Smtp::hello(server.address).unwrap();
    assert_eq!(other.command("MAIL FROM:<daemon>").unwrap().code, 250);
}

#[test]
fn too_many_sessions_and_too_fast() {
    let nodes = "access \"@F@/access\" { client-rate; client-connections }";
    let server = server(Setup::default(), nodes, "ClientConn:127.0.0.9 2\nClientRate:127.0.0.8 3\nClientRate: 0\n");
    let from = |last: u8| {
        let mut session = Smtp::connect_from(IpAddr::from([127, 0, 0, last]), server.address).unwrap();
        let reply = session.reply().unwrap();
        (session, reply.text())
    };
    let (one, two) = (from(9), from(9));
    assert!(from(9).1.contains("421 4.3.2 Too many open connections."), "{:?}", from(9).1);
    assert!(one.1.contains("220") && two.1.contains("220"));
    let said: Vec<bool> = (0..5).map(|_| from(8).1.contains("Connection rate limit exceeded.")).collect();
    assert_eq!(said, [false, false, false, true, true]);
    assert!((0..8).all(|_| from(7).1.contains("220")));
}

#[test]
fn who_does_not_wait_for_the_greeting() {
    let nodes = "access \"@F@/access\" { greet-pause default=\"1s\" }";
    let server = server(Setup::default(), nodes, "GreetPause:127.0.0.7 0\n");
    let from = |last: u8| Smtp::connect_from(IpAddr::from([127, 0, 0, last]), server.address).unwrap();
    let mut hasty = from(8);
    hasty.send(b"EHLO x.test\r\n").unwrap();
    let reply = hasty.reply().unwrap();
    assert_eq!(reply.code, 554, "{reply:?}");
    hasty.reply().unwrap();
    let reply = hasty.command("MAIL FROM:<a@far.test>").unwrap();
    assert!(reply.code == 550 && reply.text().contains("Command rejected"), "{reply:?}");
    server.wait_log("due to pre-greeting traffic after 1 seconds");
    let mut patient = from(8);
    patient.expect(220).unwrap();
    // This one does not have to wait.
    let mut exempt = from(7);
    exempt.send(b"EHLO x.test\r\n").unwrap();
    exempt.expect(220).unwrap();
}
