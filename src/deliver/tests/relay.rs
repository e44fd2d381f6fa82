//! The whole way of a message to another host, with a sink on loopback.

use super::fake::{Seen, Stage, Threads, sink};
use crate::Settings;
use queue::State;
use std::time::Duration;

fn stage() -> Stage {
    Stage::new(Threads::delivered(), Settings::default())
}

#[tokio::test]
async fn relays_many_messages_over_few_connections() {
    let (key, seen) = sink(|_, _| None).await;
    let stage = stage();
    let bodies = ["Subject: x\r\n\r\nhello\r\n", "Subject: y\r\n\r\n.dot\r\n", "no end"];
    for n in 0..60 {
        let envelope = stage.envelope("a@b.example", &[("u@far.example", &key), ("v@far.example", &key)]);
        stage.submit(envelope, bodies[n % 3].as_bytes());
    }
    stage.until("all relayed", |s| s.store.finished().len() == 60).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.messages.len(), 60);
    assert!(seen.connections <= 20, "{}", seen.connections);
    assert!(seen.messages.iter().any(|m| m == "Subject: y\r\n\r\n..dot\r\n"));
    assert!(seen.messages.iter().any(|m| m == "no end\r\n"));
    let line = &stage.lines()[0];
    for part in [
        ": to=<u@far.example>,<v@far.example>, delay=00:00:00, xdelay=00:00:00, mailer=relay, pri=600",
        ", relay=[127.0.0.1] [127.0.0.1], dsn=2.0.0, stat=Sent (ok queued)",
    ] {
        assert!(line.contains(part), "{line}");
    }
    stage.deliver.stop(Duration::from_secs(5)).await;
    assert_eq!(stage.store.claimed(), 0);
}

#[tokio::test]
async fn each_recipient_has_its_own_outcome() {
    let (key, seen) = sink(|command, _| match command {
        "RCPT To:<later@x>" => Some("451 4.7.1 greylisted, try later".into()),
        _ => None,
    })
    .await;
    let stage = stage();
    let id = stage.submit(stage.envelope("a@b", &[("now@x", &key), ("later@x", &key)]), b"a: b\r\n\r\nc\r\n");
    stage.until("both decided", |s| s.lines().len() == 2).await;
    let waiting = stage.store.waiting();
    assert_eq!(waiting[0].id, id);
    assert_eq!(waiting[0].recipients[0].state, State::Delivered);
    assert!(matches!(waiting[0].recipients[1].state, State::Deferred(_)));
    assert_eq!(waiting[0].recipients[1].last_reply, "Deferred: 451 4.7.1 greylisted, try later");
    assert!(
        stage.has_line(
            "dsn=4.7.1, reply=451 4.7.1 greylisted, try later, stat=Deferred: 451 4.7.1 greylisted, try later"
        )
    );
    assert_eq!(seen.lock().unwrap().messages.len(), 1);
}

#[tokio::test]
async fn a_refused_connection_defers_and_names_the_host() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = format!("relay:[127.0.0.1]:{}", listener.local_addr().unwrap().port());
    drop(listener);
    let stage = stage();
    for _ in 0..3 {
        stage.submit(stage.envelope("a@b", &[("u@x", &key)]), b"\r\n");
    }
    stage.until("deferred", |s| s.lines().len() == 3).await;
    assert!(stage.has_line("dsn=4.4.1, stat=Deferred: Connection refused by [127.0.0.1]"));
    stage.until("all given back", |s| s.store.claimed() == 0).await;
    assert!(stage.store.waiting().iter().all(|e| e.recipients[0].tries == 1));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_opened_again_without_a_try() {
    // Hangs up on every second MAIL, which is the second of its connection.
    let (key, seen) = sink(|command, seen: &Seen| {
        let mails = seen.commands.iter().filter(|c| c.starts_with("MAIL")).count();
        (command.starts_with("MAIL") && mails % 2 == 0).then(|| "421 4.3.2 closing".to_owned())
    })
    .await;
    let stage = Stage::new(Threads::delivered(), Settings { hop_initial: 1, hop_limit: 1, ..Settings::default() });
    for _ in 0..4 {
        stage.submit(stage.envelope("a@b", &[("u@x", &key)]), b"a: b\r\n\r\n");
    }
    stage.until("all relayed", |s| s.store.finished().len() == 4).await;
    assert!(stage.store.finished().iter().all(|e| e.recipients[0].tries == 1));
    assert!(seen.lock().unwrap().connections > 1);
    assert!(!stage.has_line("Deferred"));
}

#[tokio::test]
async fn the_worlds_dns_never_leads_to_loopback() {
    let stage = stage();
    stage.submit(stage.envelope("", &[("u@loop.example", "smtp:loop.example")]), b"\r\n");
    stage.submit(stage.envelope("", &[("u@[127.0.0.1]", "smtp:[127.0.0.1]")]), b"\r\n");
    stage
        .until("both refused", |s| s.lines().iter().filter(|l| l.contains("mail loops back to me")).count() >= 2)
        .await;
}

#[tokio::test]
async fn what_the_hop_does_not_take_is_not_sent() {
    let (key, seen) = sink(|_, _| None).await;
    let stage = stage();
    stage.submit(stage.envelope("", &[("u@x", &key)]), &b"a: b\r\n".repeat(20_000));
    stage.submit(stage.envelope("", &[("jürgen@x", &key)]), b"a: b\r\n\r\n");
    stage.until("too large", |s| s.has_line("dsn=5.3.4, stat=Message is too large; 100000 bytes max")).await;
    stage.until("no utf8", |s| s.has_line("dsn=5.6.7")).await;
    assert!(seen.lock().unwrap().messages.is_empty());
    // Asked for SMTPUTF8 without need: the body's language does not matter.
    let mut needless = stage.envelope("", &[("u@x", &key)]);
    needless.smtputf8 = true;
    stage.submit(needless, "a: b\r\n\r\nü\r\n".as_bytes());
    stage.until("sent", |s| s.has_line("stat=Sent (ok queued)")).await;
    let mut needed = stage.envelope("", &[("u@x", &key)]);
    needed.smtputf8 = true;
    stage.submit(needed, "a: ü\r\n\r\n".as_bytes());
    stage.until("refused", |s| s.lines().iter().filter(|l| l.contains("dsn=5.6.7")).count() == 2).await;
}

#[tokio::test]
async fn an_address_beyond_ascii_is_announced_whoever_named_it() {
    let offers = |command: &str, _: &Seen| {
        command.starts_with("EHLO").then(|| "250-sink\r\n250-8BITMIME\r\n250 SMTPUTF8".to_owned())
    };
    let (key, seen) = sink(offers).await;
    let stage = stage();
    // An alias leads there: the client never said SMTPUTF8.
    stage.submit(stage.envelope("a@b", &[("plain@x", &key), ("jürgen@x", &key)]), b"a: b\r\n\r\n");
    stage.submit(stage.envelope("müller@b", &[("plain@x", &key)]), b"a: b\r\n\r\n");
    stage.submit(stage.envelope("c@b", &[("plain@x", &key)]), b"a: b\r\n\r\n");
    stage.until("all sent", |s| s.store.finished().len() == 3).await;
    let seen = seen.lock().unwrap().clone();
    for line in ["MAIL From:<a@b> SMTPUTF8", "MAIL From:<müller@b> SMTPUTF8", "MAIL From:<c@b>"] {
        assert!(seen.commands.iter().any(|command| command == line), "{line}: {:?}", seen.commands);
    }
}

/// Its tasks are dropped one after the other, and each leaves its slot to the next.
#[test]
fn a_runtime_that_ends_while_much_waits_ends() {
    let (tell, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let stage = runtime.block_on(async {
            let stage = stage();
            for n in 0..300 {
                let key = format!("relay:[127.0.0.1]:{}", 1 + n % 100);
                stage.submit(stage.envelope("", &[("u@x", &key)]), b"a: b\r\n\r\n");
            }
            tokio::task::yield_now().await;
            stage
        });
        drop(runtime);
        drop(stage);
        tell.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(20)).expect("it hangs");
}
