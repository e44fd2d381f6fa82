//! Mail that comes back.

use testsuite::sink::{Act, At};
use testsuite::{Setup, Sink, Smtp, message, seconds, wait_for};

#[test]
fn an_unknown_user_comes_back_to_the_sender() {
    let server = Setup::default().start();
    // Without -oem sendmail tells its caller and keeps a dead.letter (sendmail.md 1.6).
    let out = server.sendmail(
        &["-i", "-oem", "-f", "daemon@local.test", "no-such-user@local.test"],
        message::text("lost", "no-such-user@local.test", 3).as_bytes(),
    );
    assert!(matches!(out.status.code(), Some(0 | 67)), "{out:?}");
    let bounce = server.wait_mail("daemon", 1);
    let text = String::from_utf8_lossy(&bounce[0].text).into_owned();
    assert!(bounce[0].from_line.starts_with("From MAILER-DAEMON"), "{}", bounce[0].from_line);
    for part in [
        "MIME-Version: 1.0",
        "multipart/report",
        "report-type=delivery-status",
        "Auto-Submitted: auto-generated",
        "Subject: Returned mail: see transcript for details",
        "----- The following addresses had permanent fatal errors -----",
        "message/delivery-status",
        "Reporting-MTA: dns; mx.test",
        "Final-Recipient: RFC822; no-such-user@local.test",
        "Action: failed",
        "Status: 5.1.1",
        "X-Test-Id: lost",
    ] {
        assert!(text.contains(part), "{part:?} is not in the bounce:\n{text}");
    }
    server.wait_empty(seconds(10));
}

#[test]
fn a_refusal_at_the_dot_comes_back_with_the_reply() {
    let sink = Sink::scripted(|s| match s.at {
        At::Dot => Act::Say("554 5.7.1 we do not like this text".into()),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("bad", "x", 3);
    assert_eq!(session.message("daemon@local.test", &["x@far.test"], &text).unwrap().code, 250);
    let bounce = server.wait_mail("daemon", 1);
    let text = String::from_utf8_lossy(&bounce[0].text).into_owned();
    for part in ["we do not like this text", "Diagnostic-Code: SMTP; 554 5.7.1", "Remote-MTA: DNS;", "Status: 5.7.1"] {
        assert!(text.contains(part), "{part:?} is not in the bounce:\n{text}");
    }
}

#[test]
fn a_bounce_has_the_null_sender_and_a_bounce_that_bounces_goes_to_the_postmaster_and_ends() {
    let sink = Sink::scripted(|s| match s.at {
        At::Rcpt => Act::Say("550 5.1.1 nobody here".into()),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("ping", "x", 3);
    // Refused; the bounce to sender@far.test is refused too; the double bounce goes to postmaster = nobody.
    assert_eq!(session.message("sender@far.test", &["x@far.test"], &text).unwrap().code, 250);
    let last = server.wait_mail("nobody", 1);
    assert!(String::from_utf8_lossy(&last[0].text).contains("sender@far.test"));
    server.wait_empty(seconds(15));
    assert!(sink.is_empty());
    // A message with the null sender that fails makes no bounce at all to anyone but the postmaster.
    assert_eq!(session.message("", &["x@far.test"], &text).unwrap().code, 250);
    server.wait_empty(seconds(15));
}

#[test]
fn bounces_to_the_outside_carry_the_null_sender() {
    let sink = Sink::scripted(|s| match s.at {
        At::Rcpt if s.line.windows(4).any(|w| w == b"bad@") => Act::Say("550 5.1.1 nobody here".into()),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("ping", "x", 3);
    assert_eq!(session.message("sender@far.test", &["bad@far.test"], &text).unwrap().code, 250);
    wait_for("the bounce at the sink", seconds(20), || sink.len() == 1);
    let taken = &sink.taken()[0];
    assert!(taken.mail.to_uppercase().starts_with("MAIL FROM:<>"), "{}", taken.mail);
    assert!(taken.rcpt[0].contains("<sender@far.test>"), "{:?}", taken.rcpt);
}

#[test]
fn what_is_too_old_comes_back_and_says_when_it_was_warned() {
    let sink = Sink::scripted(|s| match s.at {
        At::Mail => Act::Say("451 4.3.0 not today".into()),
        _ => Act::Go,
    });
    let mut setup = Setup::default().relay_to(sink.address);
    setup.queue = "retry min=\"300ms\" max=\"400ms\"; expire \"6s\"; warn \"1s\"".into();
    let server = setup.start();
    let mut session = Smtp::hello(server.address).unwrap();
    let text = message::text("old", "x", 3);
    assert_eq!(session.message("daemon@local.test", &["x@far.test"], &text).unwrap().code, 250);
    let first = server.wait_mail("daemon", 1);
    let warning = String::from_utf8_lossy(&first[0].text).into_owned();
    assert!(warning.contains("Warning: could not send message for past"), "{warning}");
    assert!(warning.contains("Action: delayed"), "{warning}");
    let both = server.wait_mail("daemon", 2);
    let bounce = String::from_utf8_lossy(&both[1].text).into_owned();
    assert!(bounce.contains("not today") && bounce.contains("Action: failed"), "{bounce}");
    server.wait_empty(seconds(10));
    assert_eq!(server.wait_mail("daemon", 2).len(), 2, "one warning only");
}
