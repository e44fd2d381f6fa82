//! Dialogues: what the client says, and what it gets.

use super::*;
use proptest::prelude::*;

const LIMITS: Limits = Limits { message_size: 1_000, recipients: 3, errors: 20 };

fn session() -> Session {
    Session::new("mx.example.test", "1", "localhost [127.0.0.1]", LIMITS, true)
}

/// Plays a line with a caller that accepts everything but addresses that contain `bad`.
fn say(session: &mut Session, line: &str) -> String {
    let refuse = |given: &str| {
        if given.contains("bad") {
            Err(Reply::permanent(550, 1, 1, format!("{given}... User unknown")))
        } else {
            Ok(())
        }
    };
    let reply = match session.command(line.as_bytes()) {
        Step::Reply(reply) | Step::StartTls(reply) => reply,
        Step::Close(reply) => return format!("{reply} *"),
        Step::Sender(from) => session.sender(refuse(&from.given)),
        Step::Recipient(rcpt) => session.recipient(refuse(&rcpt.given)),
        Step::Content => match session.data(Ok(())) {
            Ok(reply) | Err(reply) => reply,
        },
        Step::Expand(who) | Step::RunQueue(who) => Reply::success(250, 0, 0, who),
        Step::Verify(who) => Reply::success(252, 5, 2, format!("Cannot VRFY {who}")),
    };
    reply.to_string()
}

/// Plays a dialogue given as pairs of line and reply.
fn play(session: &mut Session, dialogue: &[(&str, &str)]) {
    for (line, reply) in dialogue {
        assert_eq!(say(session, line), *reply, "{line}");
    }
}

const HELLO: (&str, &str) = ("HELO me", "250 mx.example.test Hello localhost [127.0.0.1], pleased to meet you");

#[test]
fn a_whole_transaction() {
    let mut s = session();
    assert_eq!(
        s.greeting("Sat, 21 Nov 2026 20:29:06 GMT").to_string(),
        "220 mx.example.test ESMTP Postrider; Sat, 21 Nov 2026 20:29:06 GMT"
    );
    play(
        &mut s,
        &[
            (
                "EHLO client.example",
                "250 mx.example.test Hello localhost [127.0.0.1], pleased to meet you / ENHANCEDSTATUSCODES / PIPELINING \
                 / 8BITMIME / SIZE 1000 / DSN / SMTPUTF8 / STARTTLS / HELP",
            ),
            ("MAIL From:<a@b> SIZE=10 BODY=8BITMIME RET=HDRS ENVID=e", "250 2.1.0 <a@b>... Sender ok"),
            ("RCPT To:<bob@x> NOTIFY=NEVER", "250 2.1.5 <bob@x>... Recipient ok"),
            ("RCPT To:<bad@x>", "550 5.1.1 <bad@x>... User unknown"),
            ("RCPT TO: postmaster", "250 2.1.5 postmaster... Recipient ok"),
            ("DATA", "354 End data with <CR><LF>.<CR><LF>"),
        ],
    );
    let envelope = s.envelope().unwrap();
    assert_eq!((envelope.recipients, envelope.from.envid.as_str()), (2, "e"));
    assert!(envelope.from.eight_bit && envelope.from.qualified);
    assert!(s.is_extended() && s.helo() == "client.example");
    s.finish();
    assert!(s.envelope().is_none());
    play(&mut s, &[("QUIT", "221 2.0.0 mx.example.test closing connection *")]);
}

#[test]
fn order_is_kept() {
    play(
        &mut session(),
        &[
            ("MAIL FROM:<a@b>", "503 5.0.0 Polite people say HELO first"),
            ("RCPT TO:<a@b>", "503 5.0.0 Need MAIL before RCPT"),
            ("DATA", "503 5.0.0 Need MAIL command"),
            ("NOOP", "250 2.0.0 OK"),
            ("RSET", "250 2.0.0 Reset state"),
            ("VRFY bob", "252 2.5.2 Cannot VRFY user; try RCPT to attempt delivery (or try finger)"),
            HELLO,
            ("MAIL FROM:<>", "250 2.1.0 <>... Sender ok"),
            ("MAIL FROM:<>", "503 5.5.0 Sender already specified"),
            ("DATA", "503 5.0.0 Need RCPT (recipient)"),
            ("RSET", "250 2.0.0 Reset state"),
            ("RCPT TO:<a@b>", "503 5.0.0 Need MAIL before RCPT"),
        ],
    );
}

#[test]
fn helo_resets_and_a_failed_one_does_not() {
    let mut s = session();
    play(
        &mut s,
        &[
            HELLO,
            ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok"),
            ("EHLO", "501 5.0.0 EHLO requires domain address"),
            ("HELO a<b", "501 5.0.0 Invalid domain name"),
            ("RCPT TO:<c@d>", "250 2.1.5 <c@d>... Recipient ok"),
            HELLO,
            ("RCPT TO:<c@d>", "503 5.0.0 Need MAIL before RCPT"),
        ],
    );
    assert!(!s.is_extended());
}

#[test]
fn what_is_wrong_is_said() {
    play(
        &mut session(),
        &[
            HELLO,
            ("MAIL", "501 5.5.2 Syntax error in parameters scanning \"FROM\""),
            ("MAIL FROM:<a@b> FOO=1", "555 5.5.4 FOO parameter unrecognized"),
            ("MAIL FROM:<a@b> SIZE=1001", "552 5.2.3 Message size exceeds fixed maximum message size (1000)"),
            ("MAIL FROM:<a@b", "553 5.1.7 <a@b... Unbalanced '<'"),
            ("MAIL FROM:<é@b>", "553 5.6.7 Non-ASCII address requires SMTPUTF8"),
            ("MAIL FROM:<é@b> SMTPUTF8", "250 2.1.0 <é@b>... Sender ok"),
            ("RCPT TO:<ü@b>", "250 2.1.5 <ü@b>... Recipient ok"),
            ("RSET", "250 2.0.0 Reset state"),
            ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok"),
            ("RCPT TO:<ü@b>", "553 5.6.7 Non-ASCII address requires SMTPUTF8"),
            ("RCPT TO:<ü>@b", "553 5.1.3 <?>... Unexpected text after address"),
            ("RCPT TO:<list:;>", "553 5.1.3 <list:;>... List:; syntax illegal for recipient addresses"),
            ("RCPT TO:<>", "553 5.1.3 <>... Syntax error in local part"),
            ("DATA now", "501 5.5.4 DATA accepts no parameters"),
            ("TURN", "502 5.5.1 Command not implemented: \"TURN\""),
            ("ETRN far.example", "502 5.7.0 Sorry, we do not allow this operation"),
            ("VERB", "502 5.7.0 Verbose unavailable"),
            ("HELP nothing", "504 5.3.0 HELP topic \"nothing\" unknown"),
            ("EXPN list", "502 5.7.0 Sorry, we do not allow this operation"),
            ("DEBUG", "500 5.5.1 Command unrecognized: \"DEBUG\""),
            ("AUTH PLAIN x", "503 5.3.3 AUTH not available"),
        ],
    );
}

/// sendmail's PrivacyOptions: what is asked first, what is offered and what is told.
#[test]
fn privacy_decides_what_is_told() {
    let all = "EHLO me";
    let open = Privacy {
        mail_needs_hello: false,
        no_expn: false,
        no_vrfy: false,
        no_etrn: false,
        no_verb: false,
        ..Privacy::default()
    };
    let mut s = session();
    s.set_privacy(open);
    play(
        &mut s,
        &[
            ("VRFY bob", "252 2.5.2 Cannot VRFY bob"),
            ("VRFY", "501 5.5.2 Argument required"),
            ("EXPN list", "250 2.0.0 list"),
            ("ETRN", "500 5.5.2 Parameter required"),
            ("ETRN far.example", "250 2.0.0 far.example"),
            ("VERB", "250 2.0.0 Verbose mode"),
            ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok"),
            ("RSET", "250 2.0.0 Reset state"),
        ],
    );
    let offered = say(&mut s, all);
    assert!(offered.contains(" / EXPN / VERB / 8BITMIME / SIZE 1000 / DSN / ETRN / "), "{offered}");
    let mut s = session();
    let closed = Privacy { vrfy_needs_hello: true, expn_needs_hello: true, no_receipts: true, ..open };
    s.set_privacy(closed);
    play(
        &mut s,
        &[
            ("VRFY bob", "503 5.0.0 I demand that you introduce yourself first"),
            ("EXPN bob", "503 5.0.0 I demand that you introduce yourself first"),
        ],
    );
    assert!(!say(&mut s, all).contains("DSN"));
    play(
        &mut s,
        &[
            ("VRFY bob", "252 2.5.2 Cannot VRFY bob"),
            ("MAIL FROM:<a@b> RET=FULL", "504 5.7.0 Sorry, RET not supported, we do not allow DSN"),
            ("MAIL FROM:<a@b> ENVID=x", "504 5.7.0 Sorry, ENVID not supported, we do not allow DSN"),
            ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok"),
            ("RCPT TO:<c@d> NOTIFY=NEVER", "504 5.7.0 Sorry, NOTIFY not supported, we do not allow DSN"),
            ("RCPT TO:<c@d> ORCPT=rfc822;c@d", "504 5.7.0 Sorry, ORCPT not supported, we do not allow DSN"),
        ],
    );
}

#[test]
fn limits_hold() {
    let mut s = session();
    play(&mut s, &[HELLO, ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok")]);
    for _ in 0..3 {
        say(&mut s, "RCPT TO:<c@d>");
    }
    play(&mut s, &[("RCPT TO:<c@d>", "452 4.5.3 Too many recipients")]);
    for _ in 0..20 {
        assert!(matches!(s.overlong(), Step::Reply(r) if r.code == 500));
    }
    let bye = "421 4.7.0 mx.example.test Too many errors, closing connection";
    assert_eq!(say(&mut s, "RCPT TO:<bad@x>"), "452 4.5.3 Too many recipients");
    assert_eq!(say(&mut s, "\u{7}"), format!("{bye} *"));
    assert_eq!(say(&mut s, "NOOP"), format!("{bye} *"));
    let mut s = session();
    play(&mut s, &[HELLO, ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok")]);
    for _ in 0..20 {
        assert_eq!(say(&mut s, "RCPT TO:<bad@x>"), "550 5.1.1 <bad@x>... User unknown");
    }
    assert_eq!(say(&mut s, "RCPT TO:<bad@x>"), bye);
    assert!(s.is_closing());
}

#[test]
fn a_pipeline_behind_a_refused_sender_costs_no_errors() {
    let mut s = session();
    play(&mut s, &[HELLO, ("MAIL FROM:<bad@b>", "550 5.1.1 <bad@b>... User unknown")]);
    for _ in 0..100 {
        assert_eq!(say(&mut s, "RCPT TO:<c@d>"), "503 5.0.0 Need MAIL before RCPT");
    }
    assert_eq!(s.errors, 1);
    play(&mut s, &[("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok")]);
}

#[test]
fn tls_forgets_everything() {
    let mut s = session();
    play(
        &mut s,
        &[
            HELLO,
            ("STARTTLS x", "501 5.5.2 Syntax error (no parameters allowed)"),
            ("MAIL FROM:<a@b>", "250 2.1.0 <a@b>... Sender ok"),
            ("STARTTLS", "220 2.0.0 Ready to start TLS"),
        ],
    );
    s.tls_started("version=TLSv1.3".into());
    assert!(s.is_tls() && s.helo().is_empty() && s.envelope().is_none());
    play(
        &mut s,
        &[
            ("RCPT TO:<a@b>", "503 5.0.0 Need MAIL before RCPT"),
            ("MAIL FROM:<a@b>", "503 5.0.0 Polite people say HELO first"),
            ("STARTTLS", "503 5.5.0 TLS already active"),
        ],
    );
    assert!(!say(&mut s, "EHLO x").contains("STARTTLS"));
}

#[test]
fn browsers_and_control_characters_get_nowhere() {
    assert_eq!(say(&mut session(), "POST / HTTP/1.1"), "554 5.5.1 HTTP is not spoken here *");
    assert_eq!(say(&mut session(), "NOOP\rQUIT"), "500 5.5.2 Illegal character in command");
    assert_eq!(say(&mut session(), "NOOP\0"), "500 5.5.2 Illegal character in command");
    assert!(matches!(session().command(b"HELO \xff"), Step::Reply(r) if r.code == 501));
}

#[test]
fn a_client_that_is_not_welcome_gets_nowhere() {
    let mut s = session();
    s.refuse_all(Reply::permanent(550, 7, 1, "Access denied"));
    assert!(s.greeting("now").to_string().starts_with("220 "));
    play(
        &mut s,
        &[
            ("HELO a", "250 mx.example.test Hello localhost [127.0.0.1], pleased to meet you"),
            ("MAIL FROM:<a@b>", "550 5.7.1 Access denied"),
            ("RCPT TO:<a@b>", "550 5.7.1 Access denied"),
            ("VRFY a", "550 5.7.1 Access denied"),
            ("NOOP", "250 2.0.0 OK"),
        ],
    );
    assert!(matches!(s.command(b"QUIT"), Step::Close(reply) if reply.code == 221));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is said, in whatever order: every reply is one reply, with a status whose class agrees with its code.
    #[test]
    fn replies_are_always_well_formed(lines in proptest::collection::vec(
        prop_oneof![
            "(MAIL FROM:|RCPT TO:|EHLO |HELO |DATA|RSET|STARTTLS|NOOP|VRFY |HELP|GET )[<>a@.\"\\[\\]:, é=+SIZE0-9]{0,20}",
            "\\PC{0,40}",
            ".{0,20}",
        ], 1..20))
    {
        let mut s = Session::new("h", "1", "p", LIMITS, true);
        for line in lines {
            let reply = match s.command(line.as_bytes()) {
                Step::Reply(reply) | Step::Close(reply) | Step::StartTls(reply) => reply,
                Step::Sender(_) => s.sender(Ok(())),
                Step::Recipient(_) => s.recipient(Ok(())),
                Step::Content => match s.data(Ok(())) { Ok(reply) | Err(reply) => reply },
                Step::Verify(_) | Step::Expand(_) | Step::RunQueue(_) => continue,
            };
            let wire = reply.to_wire();
            let (used, answer) = crate::client::ReplyDecoder::new().feed(&wire).unwrap();
            let answer = answer.unwrap();
            prop_assert_eq!(used, wire.len());
            prop_assert_eq!(answer.code, reply.code);
            prop_assert_eq!(answer.status, reply.status);
        }
    }
}

#[test]
fn what_is_withheld_is_neither_offered_nor_done() {
    let offered = |withheld: Withheld| {
        let mut s = session();
        s.set_privacy(Privacy { no_expn: false, no_etrn: false, no_verb: false, ..Privacy::default() });
        s.withhold(withheld);
        say(&mut s, "EHLO x")
    };
    let all = offered(Withheld::default());
    let none = offered(Withheld { starttls: true, pipelining: true, dsn: true, etrn: true, expn: true, verb: true });
    for word in ["STARTTLS", "PIPELINING", "DSN", "ETRN", "EXPN", "VERB"] {
        assert!(all.contains(word) && !none.contains(word), "{word}: {all} {none}");
    }
    let mut s = session();
    s.withhold(Withheld { starttls: true, ..Withheld::default() });
    play(&mut s, &[HELLO, ("STARTTLS", "454 4.3.3 TLS not available after start")]);
}
