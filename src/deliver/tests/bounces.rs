//! Bounces, double bounces, warnings, receipts, expiry.

use super::fake::{Seen, Stage, Threads, sink};
use crate::Settings;
use call::agent::Done;
use mail::time::Clock;
use queue::{Envelope, Notify, State, Store};
use std::sync::atomic::Ordering;

const HOUR: i64 = 3_600_000;

/// Mail for `nosuch` fails, for others it stays undecided, so that notices can be looked at in the queue.
fn stage() -> Stage {
    let agents = Threads::new(|user, _| {
        Some(match user {
            "nosuch" => Done::Permanent(1, 1, "User unknown".into()),
            "ok" => Done::Delivered(String::new()),
            _ => Done::Temporary(2, 2, "busy".into()),
        })
    });
    Stage::new(agents, Settings { host: "mx.example.test".into(), ..Settings::default() })
}

fn notices(stage: &Stage, to: &str) -> Vec<Envelope> {
    let to_him = |e: &Envelope| e.sender.is_null() && e.recipients[0].address.as_str() == to;
    stage.store.waiting().into_iter().filter(to_him).collect()
}

#[tokio::test]
async fn an_unknown_user_comes_back_to_the_sender() {
    let stage = stage();
    let id = stage.submit(
        stage.envelope("alice", &[("nosuch", "local:nosuch"), ("ok", "local:ok")]),
        b"Subject: hi\r\n\r\nbody\r\n",
    );
    stage.until("original finished", |s| s.store.finished().len() == 1).await;
    let bounces = notices(&stage, "alice");
    assert_eq!(bounces.len(), 1);
    let text = stage.store.text(bounces[0].id);
    for part in [
        "Received: from localhost (localhost)\r\n\tby mx.example.test (Postrider-",
        "\r\nTo: <alice>\r\n",
        "\r\nSubject: Returned mail: see transcript for details\r\n",
        "----- The following addresses had permanent fatal errors -----\r\n<nosuch@mx.example.test>\r\n    (reason: 550 5.1.1 User unknown)\r\n",
        "550 5.1.1 <nosuch@mx.example.test>... User unknown\r\n",
        "\r\nFinal-Recipient: RFC822; nosuch@mx.example.test\r\nX-Actual-Recipient: rfc822; nosuch@mx.example.test\r\n\
         Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: X-Unix; 550 5.1.1 User unknown\r\n",
        "\r\nContent-Type: message/rfc822\r\n",
        "\r\nSubject: hi\r\n\r\nbody\r\n",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert!(stage.has_line(&format!("{id}: {}: DSN: User unknown", bounces[0].id)));
    assert!(stage.has_line("dsn=5.1.1, stat=User unknown"));
    assert!(stage.store.finished()[0].recipients.iter().any(|r| r.state == State::Bounced));
}

#[tokio::test]
async fn a_masqueraded_sender_is_told_under_his_own_name() {
    for (given, told) in [("alice@mx.example.test", "alice@mx.example.test"), ("alice", "alice@mx.example.test")] {
        let stage = stage();
        let mut envelope = stage.envelope("alice@shown.example", &[("nosuch", "local:nosuch")]);
        envelope.sender_given = given.into();
        stage.submit(envelope, b"Subject: hi\r\n\r\nbody\r\n");
        stage.until("bounced", |s| !notices(s, told).is_empty()).await;
        assert!(stage.store.text(notices(&stage, told)[0].id).contains(&format!("\r\nTo: <{told}>\r\n")));
    }
}

#[tokio::test]
async fn a_remote_refusal_is_told_with_its_dialogue() {
    let (key, _) =
        sink(|command, _| command.starts_with("RCPT").then(|| "550 5.1.1 no such user here".to_owned())).await;
    let stage = stage();
    let mut envelope = stage.envelope("alice", &[("bob@far.example", &key)]);
    envelope.ret = Some(queue::Ret::Headers);
    envelope.envid = "env 1".into();
    envelope.recipients[0].orcpt = "rfc822;Bob@far.example".into();
    stage.submit(envelope, b"Subject: hi\r\n\r\nbody\r\n");
    stage.until("bounced", |s| !notices(s, "alice").is_empty()).await;
    let text = stage.store.text(notices(&stage, "alice")[0].id);
    for part in [
        "    (reason: 550 5.1.1 no such user here)\r\n",
        "... while talking to [127.0.0.1]:\r\n>>> RCPT To:<bob@far.example>\r\n<<< 550 5.1.1 no such user here\r\n550 5.1.1 <bob@far.example>... User unknown\r\n",
        "Original-Envelope-Id: env 1\r\n",
        "Original-Recipient: rfc822;Bob@far.example\r\n",
        "Diagnostic-Code: SMTP; 550 5.1.1 no such user here\r\n",
        "text/rfc822-headers",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    assert!(!text.contains("body"));
    assert!(stage.has_line("reply=550 5.1.1 no such user here, stat=User unknown"));
}

#[tokio::test]
async fn a_bounce_that_bounces_goes_to_the_postmaster_and_ends_there() {
    let stage = stage();
    stage.submit(stage.envelope("", &[("x", "local:nosuch")]), b"Subject: a bounce\r\n\r\n");
    stage.until("postmaster told", |s| notices(s, "postmaster").len() == 1).await;
    let notice = &notices(&stage, "postmaster")[0];
    assert!(stage.store.text(notice.id).contains("Subject: Postmaster notify: see transcript for details\r\n"));
    assert!(stage.has_line("postmaster notify: User unknown"));
    // The notice itself fails.
    let mut failing = notice.clone();
    failing.id = stage.store.new_id(stage.clock.now());
    failing.recipients[0].route = "local:nosuch".into();
    let before = stage.store.finished().len();
    stage.submit(failing, b"\r\n");
    stage.until("ended", |s| s.store.finished().len() == before + 1).await;
    assert!(stage.has_line("savemail: cannot save rejected email anywhere"));
    assert_eq!(notices(&stage, "postmaster").len(), 1);
}

#[tokio::test]
async fn notify_never_is_silent() {
    let stage = stage();
    let mut envelope = stage.envelope("alice", &[("nosuch", "local:nosuch")]);
    envelope.recipients[0].notify = Notify { never: true, ..Notify::default() };
    stage.submit(envelope, b"\r\n");
    stage.until("finished", |s| s.store.finished().len() == 1).await;
    assert!(stage.store.waiting().is_empty());
}

#[tokio::test]
async fn warned_once_after_four_hours_and_returned_after_five_days() {
    let stage = stage();
    let mut envelope = stage.envelope("alice", &[("bob", "local:bob"), ("carl", "local:carl")]);
    envelope.arrived -= 5 * HOUR;
    envelope.recipients[1].warned = true;
    let id = stage.submit(envelope, b"Subject: hi\r\n\r\n");
    stage.until("warned", |s| s.has_line("sender notify: Warning: could not send message for past 4 hours")).await;
    let waiting = stage.store.waiting();
    let original = waiting.iter().find(|e| e.id == id).unwrap();
    assert!(original.recipients[0].warned && matches!(original.recipients[0].state, State::Deferred(_)));
    let text = stage.store.text(notices(&stage, "alice")[0].id);
    assert!(text.contains("<bob@mx.example.test>... Deferred: busy\r\nWarning: message still undelivered after 4 hours\r\nWill keep trying until message is 5 days old\r\n"), "{text}");
    assert!(!text.contains("carl..."));

    for (sender, content) in
        [("owner-list", "\r\n"), ("x-request", "\r\n"), ("", "\r\n"), ("y", "Precedence: bulk\r\n\r\n")]
    {
        let mut envelope = stage.envelope(sender, &[("bob", "local:bob")]);
        envelope.arrived -= 5 * HOUR;
        stage.submit(envelope, content.as_bytes());
    }
    let mut old = stage.envelope("dora", &[("bob", "local:bob")]);
    old.arrived -= 121 * HOUR;
    stage.submit(old, b"Subject: old\r\n\r\n");
    stage.until("returned", |s| s.has_line("sender notify: Cannot send message for 5 days")).await;
    stage.until("all decided", |s| s.store.claimed() == 0).await;
    let text = stage.store.text(notices(&stage, "dora")[0].id);
    assert!(
        text.contains("Message could not be delivered for 5 days\r\nMessage will be deleted from queue\r\n"),
        "{text}"
    );
    assert!(text.contains("Action: failed\r\nStatus: 4.4.7\r\n"), "{text}");
    assert_eq!(stage.lines().iter().filter(|l| l.contains("Warning: could not send")).count(), 1);
}

#[tokio::test]
async fn a_receipt_only_if_nobody_else_sends_one() {
    let (key, _) = sink(|_, _| None).await;
    let stage = stage();
    let mut envelope = stage.envelope("alice", &[("ok", "local:ok"), ("u@far.example", &key)]);
    for recipient in &mut envelope.recipients {
        recipient.notify = Notify { success: true, ..Notify::default() };
    }
    stage.submit(envelope, b"Subject: hi\r\n\r\n");
    stage.until("finished", |s| s.store.finished().len() == 1).await;
    let receipts = notices(&stage, "alice");
    assert_eq!(receipts.len(), 1, "the sink offers DSN");
    assert!(stage.store.text(receipts[0].id).contains("Action: delivered (to mailbox)\r\n"));
}

#[tokio::test]
async fn without_room_for_the_bounce_the_failure_waits() {
    let stage = stage();
    stage.store.failing.store(1, Ordering::SeqCst);
    let id = stage.submit(stage.envelope("alice", &[("nosuch", "local:nosuch")]), b"\r\n");
    stage.until("given back", |s| s.store.claimed() == 0).await;
    let waiting = stage.store.waiting();
    assert_eq!((waiting.len(), waiting[0].id), (1, id));
    assert!(matches!(waiting[0].recipients[0].state, State::Deferred(_)));
    assert!(stage.has_line("cannot queue report"));
}

#[tokio::test]
async fn without_a_route_for_the_bounce_the_failure_waits() {
    let stage = stage();
    stage.routes.unavailable.store(true, Ordering::SeqCst);
    let id = stage.submit(stage.envelope("alice", &[("nosuch", "local:nosuch"), ("ok", "local:ok")]), b"\r\n");
    let orphan = stage.submit(stage.envelope("", &[("nosuch", "local:nosuch")]), b"\r\n");
    stage.until("given back", |s| s.store.claimed() == 0).await;
    assert_eq!(stage.store.waiting().len(), 2, "no notice that nothing would route again");
    assert!(stage.has_line("no route for a report to alice now: no accounts"));
    let recipients = stage.store.one(id).recipients;
    let State::Deferred(at) = recipients[0].state else { panic!("not deferred") };
    assert!(at <= stage.clock.now().wall + 60_000);
    assert_eq!(recipients[1].state, State::Delivered);
    stage.routes.unavailable.store(false, Ordering::SeqCst);
    for (id, to) in [(id, "alice"), (orphan, "postmaster")] {
        stage.store.make_due(id);
        stage.until("bounced", |s| notices(s, to).len() == 1).await;
        assert_eq!(notices(&stage, to)[0].recipients[0].route, format!("local:{to}"));
    }
    // There is an end to it.
    stage.routes.unavailable.store(true, Ordering::SeqCst);
    let mut old = stage.envelope("dora", &[("nosuch", "local:nosuch")]);
    old.arrived -= 150 * HOUR;
    stage.submit(old, b"\r\n");
    stage.until("bounced", |s| notices(s, "dora").len() == 1).await;
}

#[tokio::test]
async fn without_a_route_a_warning_comes_with_a_later_try() {
    let stage = stage();
    stage.routes.unavailable.store(true, Ordering::SeqCst);
    let mut envelope = stage.envelope("alice", &[("bob", "local:bob")]);
    envelope.arrived -= 5 * HOUR;
    let id = stage.submit(envelope, b"Subject: hi\r\n\r\n");
    stage.until("deferred", |s| s.store.claimed() == 0).await;
    assert!(!stage.store.one(id).recipients[0].warned && notices(&stage, "alice").is_empty());
    stage.routes.unavailable.store(false, Ordering::SeqCst);
    stage.store.make_due(id);
    stage.until("warned", |s| notices(s, "alice").len() == 1 && s.store.one(id).recipients[0].warned).await;
}

#[tokio::test]
async fn a_receipt_that_cannot_be_queued_does_not_undo_the_delivery() {
    let stage = stage();
    stage.store.failing.store(2, Ordering::SeqCst);
    let mut envelope = stage.envelope("alice", &[("ok", "local:ok"), ("nosuch", "local:nosuch")]);
    envelope.recipients[0].notify = Notify { success: true, ..Notify::default() };
    let id = stage.submit(envelope, b"\r\n");
    stage.until("decided", |s| s.store.claimed() == 0).await;
    let recipients = stage.store.one(id).recipients;
    assert_eq!(recipients[0].state, State::Delivered);
    assert!(matches!(recipients[1].state, State::Deferred(_)));
}

#[tokio::test]
async fn each_recipient_has_its_own_line_in_the_transcript_and_replies_are_whole() {
    let refuse = |command: &str, _: &Seen| match command {
        c if c.starts_with("RCPT") => {
            Some("550-5.1.1 nobody here\r\n550-5.1.1 of that nàme\r\n550 5.1.1 go away".to_owned())
        }
        _ => None,
    };
    let (key, _) = sink(refuse).await;
    let stage = stage();
    stage.submit(stage.envelope("alice", &[("u@far.example", &key), ("v@far.example", &key)]), b"\r\n");
    stage.until("bounced", |s| !notices(s, "alice").is_empty()).await;
    let notice = &notices(&stage, "alice")[0];
    let text = stage.store.text(notice.id);
    let said = "<<< 550-5.1.1 nobody here\r\n<<< 550-5.1.1 of that nàme\r\n<<< 550 5.1.1 go away\r\n";
    let [u, v] = ["u", "v"].map(|name| {
        format!(">>> RCPT To:<{name}@far.example>\r\n{said}550 5.1.1 <{name}@far.example>... User unknown\r\n")
    });
    for part in [
        &format!("... while talking to [127.0.0.1]:\r\n{u}{v}"),
        "Diagnostic-Code: SMTP; 550 5.1.1 nobody here\r\n",
        "\r\nContent-Type: message/delivery-status\r\n",
    ] {
        assert!(text.contains(part), "{part} not in {text}");
    }
    // The body is not ASCII, but no address needs SMTPUTF8.
    assert_eq!((notice.body, notice.smtputf8), (queue::Body::EightBitMime, false));
}

#[tokio::test]
async fn a_bounce_that_names_a_foreign_address_says_so() {
    let stage = stage();
    for (sender, to, foreign) in [("alice", "jürgen", true), ("müller", "nosuch", true), ("carol", "nosuch", false)] {
        stage.submit(stage.envelope(sender, &[(to, "local:nosuch")]), b"Subject: x\r\n\r\n");
        stage.until("bounced", |s| notices(s, sender).len() == 1).await;
        let notice = &notices(&stage, sender)[0];
        assert_eq!(notice.smtputf8, foreign, "{sender}");
        assert_eq!(notice.body == queue::Body::EightBitMime, foreign, "{sender}");
    }
}

#[tokio::test]
async fn error_routes_are_bounced_or_deferred() {
    let stage = stage();
    stage.submit(
        stage.envelope("alice", &[("x@y", "error:5.1.1 User unknown"), ("z@y", "error:4.3.0 no accounts")]),
        b"\r\n",
    );
    stage.submit(stage.envelope("bob", &[("x@y", "nonsense")]), b"\r\n");
    stage.until("bounced", |s| notices(s, "alice").len() == 1).await;
    stage.until("deferred", |s| s.has_line("Deferred: no accounts") && s.has_line("Deferred: unknown route")).await;
}

#[tokio::test]
async fn one_bounce_tells_of_everything_that_is_wrong() {
    let stage = stage();
    let wrong = [("zoe", "error:5.1.1 User unknown"), ("x", "error:5.7.1 Cannot mail directly to programs")];
    stage.submit(stage.envelope("alice", &[wrong[0], ("ok", "local:ok"), wrong[1]]), b"\r\n");
    stage.until("finished", |s| s.store.finished().len() == 1).await;
    let bounces = notices(&stage, "alice");
    assert_eq!(bounces.len(), 1);
    let text = stage.store.text(bounces[0].id);
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} not in {text}"));
    assert!(at("Final-Recipient: RFC822; zoe@mx.example.test") < at("Final-Recipient: RFC822; x@mx.example.test"));
    assert!(stage.has_line("stat=Cannot mail directly to programs") && stage.has_line("stat=User unknown"));
}
