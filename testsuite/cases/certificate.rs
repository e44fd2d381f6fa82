//! What certificates are good for: servers that must show the right one, clients that relay by theirs (sendmail.md 3.3).

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use testsuite::{Authority, Identity, Server, Setup, Sink, Smtp, Zone, message, seconds, sink, wait_for};

/// Relays to `sink`, and knows one authority.
fn relaying(sink: &Sink, authority: &Authority, entries: &str) -> Server {
    let setup = Setup {
        queue: "retry min=\"200ms\" max=\"300ms\"; expire \"5d\"".into(),
        ..Setup::default().relay_to(sink.address)
    };
    start(setup.with("access \"@F@/access\"\ntls { authorities \"@F@/ca.pem\" }"), authority, entries)
}

fn start(setup: Setup, authority: &Authority, entries: &str) -> Server {
    let mut server = Server::make(setup);
    let (certificate, key) = sink::certificate();
    let noise = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (name, text) in [
        ("cert.pem", &*certificate),
        ("key.pem", &*key),
        ("ca.pem", &*format!("{noise}{}", authority.pem())),
        ("access", entries),
    ] {
        fs::write(server.path(name), text).unwrap();
    }
    server.start();
    server
}

fn send(server: &Server, name: &str, to: &str) {
    let out = server.sendmail(&["-i", to], message::text(name, to, 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

/// What becomes of mail to `to` if `identity` is shown and the table has these entries.
fn fates(identity: &Identity, authority: &Authority, entries: &str, expected: &[(&str, &str)]) {
    let sink = Sink::showing(identity);
    let server = relaying(&sink, authority, entries);
    expected.iter().for_each(|(to, _)| send(&server, "srv", to));
    let taken = expected.iter().filter(|(_, fate)| fate.is_empty()).count();
    wait_for("what may go", seconds(20), || sink.len() == taken);
    for (to, fate) in expected.iter().filter(|(_, fate)| !fate.is_empty()) {
        server.wait_log(fate);
        assert!(!sink.taken().iter().any(|taken| taken.rcpt[0].contains(to)), "{to}");
    }
}

#[test]
fn a_server_must_show_the_right_certificate() {
    let ours = Authority::new("Our CA (1)");
    let all = "PERM+VERIFY:256+CN:mx.far.test++CI:/O=Test+20Org/CN=Our+20CA+20+281+29";
    fates(
        &ours.identity("mx.far.test", &["mx.far.test"]),
        &ours,
        &format!(
            "TLS_Srv:127.0.0.1 {all}\nTLS_Rcpt:name@ VERIFY+CN:mx.other.test\nTLS_Rcpt:subject@ TEMP+VERIFY+CS:/O=x\n\
             TLS_Rcpt:weak@ PERM+ENCR:1024\n"
        ),
        &[
            ("fine@far.test", ""),
            ("name@far.test", "454 4.7.0 CN mx.far.test does not match mx.other.test ("),
            ("subject@far.test", "403 4.7.0 Cert Subject /O=Test+20Org/CN=mx.far.test does not match /O=x ("),
            ("weak@far.test", "503 5.7.0 encryption too weak 256 less than 1024 ("),
        ],
    );
}

#[test]
fn a_server_that_nobody_vouches_for() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let stranger = theirs.identity("mx.far.test", &[]);
    let entries = "TLS_Srv:127.0.0.1 ENCR:128\nTLS_Rcpt:later@ VERIFY\nTLS_Rcpt:never@ PERM+VERIFY\n";
    let expected = [
        ("fine@far.test", ""),
        ("later@far.test", "454 4.7.0 authentication failed ("),
        ("never@far.test", "503 5.7.0 authentication failed ("),
    ];
    fates(&stranger, &ours, entries, &expected);
    let never = [("fine@far.test", "503 5.7.0 authentication failed (")];
    fates(&stranger, &ours, "TLS_Srv:127.0.0.1 PERM+VERIFY\n", &never);
}

#[test]
fn a_recipient_whose_mail_goes_to_verified_servers_only() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let sink = Sink::showing(&theirs.identity("mx.far.test", &[]));
    let server = relaying(&sink, &ours, "TLS_Rcpt:secret@far.test VERIFY\n");
    (0..10).for_each(|n| send(&server, &format!("m{n}"), ["a@far.test", "secret@far.test"][n % 2]));
    wait_for("the others", seconds(20), || sink.len() == 5);
    server.wait_log("454 4.7.0 authentication failed (");
    assert!(sink.taken().iter().all(|taken| taken.rcpt == ["RCPT To:<a@far.test>"]));
    // The authority is known after a reload: what waited goes.
    fs::write(server.path("ca.pem"), theirs.pem()).unwrap();
    server.reload();
    wait_for("the secret ones", seconds(20), || sink.len() == 10);
}

#[test]
fn without_authorities_nobody_is_refused_for_good() {
    let ours = Authority::new("ours");
    let sink = Sink::showing(&ours.identity("mx.far.test", &[]));
    let server = relaying(&sink, &ours, "TLS_Srv:127.0.0.1 PERM+VERIFY\n");
    let mode = |mode| fs::set_permissions(server.path("ca.pem"), fs::Permissions::from_mode(mode)).unwrap();
    let checked = || {
        let mut check = server.command("postrider");
        check.args(["config", "check"]).arg(server.configuration());
        let out = testsuite::server::run(check, b"");
        assert!(out.status.success(), "{out:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(!checked().contains("ca.pem"));
    fs::write(server.path("ca.pem"), "noise\n").unwrap();
    assert!(checked().contains("ca.pem: no certificate in it that can be used; no certificate can be verified"));
    server.reload();
    server.wait_log("no certificate in it that can be used; no certificate can be verified");
    // One that anybody may write is refused.
    fs::write(server.path("ca.pem"), ours.pem()).unwrap();
    mode(0o666);
    assert!(checked().contains("; no certificate can be verified"), "{}", checked());
    server.reload();
    server.wait_log("); no certificate can be verified");
    send(&server, "waits", "a@far.test");
    server.wait_log("454 4.7.0 authentication cannot be judged now (");
    assert_eq!(sink.len(), 0);
    mode(0o644);
    server.reload();
    wait_for("what waited", seconds(20), || sink.len() == 1);
}

/// A client from the world outside; what it is told at MAIL, RCPT and the end.
fn visit(server: &Server, identity: Option<&Identity>, to: &str) -> String {
    let mut session = Smtp::connect_from(IpAddr::from([198, 51, 100, 9]), server.address).unwrap();
    session.expect(220).unwrap();
    session.command("EHLO client.test").unwrap();
    assert_eq!(session.starttls_as(identity).unwrap().code, 250);
    session.message("a@client.test", &[to], &message::text("m", to, 3)).unwrap().text()
}

#[test]
fn a_client_may_relay_by_its_certificate() {
    if !testsuite::root_or_skip("a_client_may_relay_by_its_certificate") {
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let sink = Sink::start();
    let zone = Zone::start("9.100.51.198.in-addr.arpa PTR client.test\nclient.test A 198.51.100.9\n");
    let setup = Setup { dns: Some(zone.address), ..Setup::default().relay_to(sink.address) }.with(
        "access \"@F@/access\"\nsenders { accept-unresolvable }\nlog { level 12 }\n\
         tls { certificate \"@F@/cert.pem\" key=\"@F@/key.pem\"; authorities \"@F@/ca.pem\" }",
    );
    let server = start(
        setup,
        &ours,
        "CERTISSUER:/O=Test+20Org/CN=ours SUBJECT\nCERTSUBJECT:/O=Test+20Org/CN=friend+20one RELAY\n\
         CERTISSUER:/O=Test+20Org/CN=theirs RELAY\n",
    );
    let denied = "550 5.7.1 <x@far.test>... Relaying denied";
    let friend = ours.identity("friend one", &[]);
    assert!(visit(&server, Some(&friend), "x@far.test").starts_with("250 2.0.0"), "{}", server.log());
    wait_for("the message", seconds(20), || sink.len() == 1);
    let text = String::from_utf8_lossy(&sink.taken()[0].text).into_owned();
    assert!(text.contains("bits=256 verify=OK)") && text.contains("with ESMTPS id"), "{text}");
    server.wait_log("cert-subject=/O=Test+20Org/CN=friend+20one, cert-issuer=/O=Test+20Org/CN=ours, verifymsg=ok");
    for stranger in [Some(&ours.identity("somebody", &[])), Some(&theirs.identity("friend one", &[])), None] {
        assert!(visit(&server, stranger, "x@far.test").starts_with(denied), "{}", server.log());
        assert!(visit(&server, stranger, "postmaster@local.test").starts_with("250 2.0.0"), "{}", server.log());
    }
    server.wait_log("verify=FAIL");
    server.wait_log("verify=NO,");
}

#[test]
fn a_client_must_show_a_certificate() {
    if !testsuite::root_or_skip("a_client_must_show_a_certificate") {
        return;
    }
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let zone = Zone::start("9.100.51.198.in-addr.arpa PTR client.test\nclient.test A 198.51.100.9\n");
    let setup = Setup { dns: Some(zone.address), ..Setup::default() }.with(
        "access \"@F@/access\"\nsenders { accept-unresolvable }\n\
         tls { certificate \"@F@/cert.pem\" key=\"@F@/key.pem\"; authorities \"@F@/ca.pem\" }",
    );
    let server = start(setup, &ours, "TLS_Clt:198.51.100 VERIFY+CN:good.test\nSrv_Features:127.0.0.8 V\n");
    let said = |identity: Option<&Identity>| visit(&server, identity, "postmaster@local.test");
    assert!(said(Some(&ours.identity("good.test", &[]))).starts_with("250 2.0.0"), "{}", server.log());
    assert!(said(Some(&ours.identity("x", &["x", "Good.test"]))).starts_with("250 2.0.0"));
    assert_eq!(said(Some(&ours.identity("bad.test", &[]))), "454 4.7.0 CN bad.test does not match good.test");
    assert_eq!(said(Some(&theirs.identity("good.test", &[]))), "454 4.7.0 authentication failed");
    assert_eq!(said(None), "454 4.7.0 not authenticated");
    server.wait_log("ruleset=tls_client, arg1=<a@client.test>");
    // Who is not asked shows none.
    let mut silent = Smtp::connect_from(IpAddr::from([127, 0, 0, 8]), server.address).unwrap();
    silent.expect(220).unwrap();
    silent.command("EHLO x.test").unwrap();
    silent.starttls_as(Some(&ours.identity("good.test", &[]))).unwrap();
    server.wait_log("verify=NOT,");
}

#[test]
fn a_client_is_offered_what_the_table_says() {
    let ours = Authority::new("ours");
    let setup = Setup::default()
        .with("access \"@F@/access\"\nprivacy \"public\"\ntls { certificate \"@F@/cert.pem\" key=\"@F@/key.pem\" }");
    let server = start(
        setup,
        &ours,
        "Srv_Features:127.0.0.8 S P D E X B\nSrv_Features:127.0.0.7 l\nSrv_Features:127.0.0.6 temp\n",
    );
    let hello = |last: u8| {
        let mut session = Smtp::connect_from(IpAddr::from([127, 0, 0, last]), server.address).unwrap();
        session.expect(220).unwrap();
        let offered = session.command("EHLO x.test").unwrap().text();
        (session, offered)
    };
    let (all, little) = (hello(9).1, hello(8).1);
    for word in ["STARTTLS", "PIPELINING", "DSN", "ETRN", "EXPN", "VERB"] {
        assert!(all.contains(word) && !little.contains(word), "{word}: {all} {little}");
    }
    assert_eq!(hello(8).0.command("STARTTLS").unwrap().code, 454);
    let reply = hello(7).0.command("MAIL FROM:<a@far.test>").unwrap();
    assert!(reply.code == 530 && reply.text().contains("Authentication required"), "{reply:?}");
    let reply = hello(6).0.command("MAIL FROM:<a@far.test>").unwrap();
    assert_eq!(reply.text(), "450 4.3.0 Please try again later.");
}
