//! Hand-over to agents, with agents that are threads.

use super::fake::{Stage, Threads};
use crate::Settings;
use call::agent::{Done, Kind};
use queue::State;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test]
async fn batches_what_waits_for_one_user_over_one_agent() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    for n in 0..100 {
        let mut envelope = stage.envelope(if n == 0 { "" } else { "a@b" }, &[("alice@host", "local:alice")]);
        envelope.prepend = "X-Added: 1\r\n".into();
        stage.submit(envelope, format!("Subject: {n}\r\n\r\n").as_bytes());
    }
    stage.until("all delivered", |s| s.store.finished().len() == 100).await;
    let batches = stage.agents.batches.lock().unwrap().clone();
    assert_eq!(stage.agents.started.load(Ordering::SeqCst), 1);
    assert!(batches.len() < 20, "{} batches", batches.len());
    assert!(batches.iter().all(|(user, batch, _)| user == "alice" && batch.items.len() <= 32));
    let (_, batch, contents) = &batches[0];
    assert_eq!(contents[0], b"Subject: 0\r\n\r\n");
    assert_eq!(batch.items[0].prepend, "Return-Path: <MAILER-DAEMON>\r\nX-Added: 1\r\n");
    assert_eq!(batch.items[0].from_date, "Sat Nov 21 20:22:16 2026");
    assert!(stage.has_line("to=<alice@host>, delay=00:00:00, xdelay=00:00:00, mailer=local, pri=30"));
    assert!(stage.has_line("dsn=2.0.0, stat=Sent"));
}

#[tokio::test]
async fn what_an_agent_died_over_is_offered_again_with_a_warning_flag() {
    let calls = AtomicUsize::new(0);
    let agents = Threads::new(move |_, item| {
        let first = calls.fetch_add(1, Ordering::SeqCst) == 0;
        assert_eq!(item.perhaps_delivered, !first);
        (!first).then(|| Done::Delivered("mbox".into()))
    });
    let stage = Stage::new(agents, Settings::default());
    stage.submit(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n");
    stage.until("delivered by the second", |s| s.store.finished().len() == 1).await;
    assert_eq!(stage.agents.started.load(Ordering::SeqCst), 2);
}

/// A file's as well; a program's is not: it may have run.
#[tokio::test]
async fn a_file_is_offered_again_at_once_and_a_program_is_not() {
    let agents = Threads::new(|_, item| item.perhaps_delivered.then(|| Done::Delivered("file".into())));
    let stage = Stage::new(agents, Settings::default());
    for key in ["file:alice:0:/home/alice/.forward", "file::0:/etc/aliases"] {
        stage.submit(stage.envelope("a@b", &[("alice", key)]), b"a: b\r\n\r\n");
    }
    stage.until("delivered by the second", |s| s.store.finished().len() == 2).await;
    let kinds = || stage.agents.kinds.lock().unwrap().clone();
    assert_eq!(kinds().iter().filter(|(kind, _)| *kind == Kind::System).count(), 2);
    assert_eq!((kinds().len(), stage.agents.batches.lock().unwrap().len()), (4, 4));
    stage.submit(stage.envelope("a@b", &[("alice", "prog::0:/etc/aliases")]), b"a: b\r\n\r\n");
    stage.until("deferred", |s| s.has_line("mailer=prog") && s.has_line("stat=Deferred: agent: ")).await;
    assert_eq!(kinds().len(), 5);
}

/// One that is stopped would keep its mailbox locked.
#[tokio::test]
async fn an_agent_that_does_not_answer_in_time_is_killed() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let agents = Threads::new(move |_, _| {
        let _end = held.lock().unwrap().recv();
        None
    });
    let stage = Stage::new(agents, Settings { timeout_divisor: 3_000, program_time: 1, ..Settings::default() });
    for (n, key) in (0..).zip(["local:alice", "file::0:/etc/aliases", "prog::0:/etc/aliases"]) {
        stage.submit(stage.envelope("a@b", &[("alice", key)]), b"a: b\r\n\r\n");
        stage.until("killed", |s| s.agents.killed.lock().unwrap().contains(&n)).await;
        stage.until("given back", |s| s.store.claimed() == 0).await;
        assert_eq!(stage.agents.started.load(Ordering::SeqCst) as u32, n + 1, "the next attempt comes later");
    }
    assert_eq!(stage.lines().iter().filter(|line| line.contains("stat=Deferred: agent timed out")).count(), 3);
    drop(hold);
}

#[tokio::test]
async fn a_command_gets_one_message_at_a_time_and_is_not_run_again_at_once() {
    let agents = Threads::new(|_, item| (item.recipient != "alice+die").then(|| Done::Delivered("local".into())));
    let stage = Stage::new(agents, Settings { command: true, ..Settings::default() });
    for _ in 0..5 {
        stage.submit(stage.envelope("a@b", &[("alice", "local:alice"), ("root", "local:root")]), b"a: b\r\n\r\n");
    }
    stage.until("all delivered", |s| s.store.finished().len() == 5).await;
    let batches = stage.agents.batches.lock().unwrap().clone();
    assert!(batches.iter().filter(|(user, ..)| user == "alice").all(|(_, batch, _)| batch.items.len() == 1));
    let kinds = stage.agents.kinds.lock().unwrap().clone();
    assert!(kinds.contains(&(Kind::User, "alice".into())) && kinds.contains(&(Kind::Mailbox, "root".into())));
    let before = stage.agents.batches.lock().unwrap().len();
    stage.submit(stage.envelope("a@b", &[("alice+die", "local:alice+die")]), b"a: b\r\n\r\n");
    stage.until("deferred", |s| s.has_line("stat=Deferred: agent: ")).await;
    assert_eq!(stage.agents.batches.lock().unwrap().len(), before + 1);
}

#[tokio::test]
async fn who_has_no_account_has_an_agent_of_his_domain_and_nothing_else() {
    let settings = Settings { command: true, lmtp: Some("lmtp:/nonexistent".into()), ..Settings::default() };
    let agents = Threads::delivered();
    agents.forwards.lock().unwrap().insert("bob@x.example".into(), vec![Ok("carol".into())]);
    let stage = Stage::new(agents, settings);
    stage.submit(stage.envelope("a@b", &[("bob@x.example", "virtual:bob@x.example")]), b"a: b\r\n\r\n");
    stage.until("delivered", |s| s.store.finished().len() == 1).await;
    assert_eq!(*stage.agents.kinds.lock().unwrap(), [(Kind::Virtual, "bob@x.example".to_owned())]);
    let batches = stage.agents.batches.lock().unwrap().clone();
    assert!(!batches[0].1.items[0].forward, "there is no .forward to look for");
    assert!(stage.has_line("mailer=virtual") && stage.has_line("stat=Sent"));
}

#[tokio::test]
async fn what_was_delivered_to_him_already_is_returned() {
    let fields = crate::Fields { delivered_to: true, ..crate::Fields::default() };
    let stage = Stage::new(Threads::delivered(), Settings { fields, host: "mx.example".into(), ..Settings::default() });
    let text = b"Delivered-To: alice@mx.example\r\n\r\n";
    stage.submit(stage.envelope("", &[("alice", "local:alice"), ("bob", "local:bob")]), text);
    stage.until("finished", |s| s.store.finished().len() == 2).await;
    assert!(stage.has_line("dsn=5.4.6, stat=mail forwarding loop for alice@mx.example"));
    let batches = stage.agents.batches.lock().unwrap().clone();
    assert!(!batches.iter().any(|(user, ..)| user == "alice"));
    let (_, bobs, _) = batches.iter().find(|(user, ..)| user == "bob").unwrap();
    assert!(bobs.items[0].prepend.ends_with("Delivered-To: bob@mx.example\r\n"));
}

#[tokio::test]
async fn what_comes_from_the_store_may_be_there_already() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    stage.store.put(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n", false);
    stage.until("delivered", |s| s.store.finished().len() == 1).await;
    assert!(stage.agents.batches.lock().unwrap()[0].1.items[0].perhaps_delivered);
}

#[tokio::test]
async fn no_agent_and_a_full_mailbox_are_retried_soon() {
    let agents = Threads::new(|_, _| Some(Done::Temporary(2, 2, "mailbox full".into())));
    let stage = Stage::new(agents, Settings::default());
    stage.submit(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n");
    stage.until("deferred", |s| s.has_line("dsn=4.2.2, stat=Deferred: mailbox full")).await;
    *stage.agents.refuse.lock().unwrap() = true;
    stage.submit(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n");
    stage
        .until("no fork", |s| s.has_line("Deferred: cannot start agent: fork: Resource temporarily unavailable"))
        .await;
    stage.until("given back", |s| s.store.claimed() == 0).await;
    for envelope in stage.store.waiting() {
        let State::Deferred(at) = envelope.recipients[0].state else { panic!("not deferred") };
        assert!(at - envelope.arrived < 70_000, "one minute, not five");
    }
}

/// It may have arrived: only what stays handed out does the store call perhaps delivered when it is closed.
#[tokio::test]
async fn what_a_stop_cuts_off_is_not_given_back_as_if_it_had_not_been_tried() {
    let agents = Threads::new(|_, _| {
        std::thread::sleep(Duration::from_millis(300));
        Some(Done::Delivered(String::new()))
    });
    let stage = Stage::new(agents, Settings::default());
    let submit = || stage.submit(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n");
    submit();
    stage.until("one in hand", |s| s.deliver.waiting() == 0 && s.store.claimed() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    submit();
    stage.deliver.stop(Duration::from_millis(20)).await;
    assert_eq!((stage.store.claimed(), stage.store.waiting().len()), (1, 2), "the other only waited");
}

#[tokio::test]
async fn stopping_gives_back_what_waits() {
    let agents = Threads::new(|_, _| {
        std::thread::sleep(Duration::from_millis(300));
        Some(Done::Delivered(String::new()))
    });
    let stage = Stage::new(agents, Settings::default());
    stage.submit(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n");
    stage.until("one in hand", |s| s.deliver.waiting() == 0).await;
    for _ in 0..5 {
        stage.submit(stage.envelope("a@b", &[("alice", "local:alice")]), b"a: b\r\n\r\n");
    }
    stage.deliver.stop(Duration::from_secs(5)).await;
    assert_eq!(stage.store.claimed(), 0);
    assert_eq!(stage.store.finished().len() + stage.store.waiting().len(), 6);
    assert!(stage.store.waiting().iter().all(|e| e.recipients[0].tries == 0));
    assert!(!stage.store.waiting().is_empty());
}
