//! The scheduler: when it tries again, what it holds, and that no hop holds up another.

use super::fake::{Stage, Threads};
use crate::Settings;
use call::agent::Done;
use mail::time::Clock;
use queue::{State, Store};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;

#[tokio::test(start_paused = true)]
async fn five_days_of_a_message_that_cannot_go() {
    let settings = Settings { host: "mx".into(), ..Settings::default() };
    let stage = Stage::new(Threads::delivered(), settings);
    let id = stage.submit(stage.envelope("parked", &[("u@x", "error:4.4.3 no DNS")]), b"Subject: x\r\n\r\n");
    let mine = |stage: &Stage| stage.store.waiting().into_iter().find(|e| e.id == id);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = mine(&stage).unwrap();
    let State::Deferred(at) = first.recipients[0].state else { panic!() };
    assert!((225_000..=375_000).contains(&(at - first.arrived)), "5 min, three to five quarters");
    tokio::time::sleep(Duration::from_secs(3 * 3_600)).await;
    let tries = mine(&stage).unwrap().recipients[0].tries;
    assert!((5..=7).contains(&tries), "5, 10, 20, 40, 80 min: {tries}");
    assert!(!mine(&stage).unwrap().recipients[0].warned);
    tokio::time::sleep(Duration::from_secs(6 * 3_600)).await;
    assert!(mine(&stage).unwrap().recipients[0].warned);
    tokio::time::sleep(Duration::from_secs(4 * 86_400)).await;
    assert!(mine(&stage).is_some(), "not before its time");
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(mine(&stage).is_none());
    assert!(stage.has_line("sender notify: Cannot send message for 5 days"));
    assert!(stage.has_line("delay=5+0"));
}

/// Agents that wait for a permit before each message of the user `slow`.
fn slow(gate: &Arc<Semaphore>) -> Arc<Threads> {
    let gate = gate.clone();
    Threads::new(move |user, _| {
        // A test that fails does not hang on its agent.
        let patience = std::time::Instant::now() + Duration::from_secs(30);
        while user == "slow" && gate.available_permits() == 0 && std::time::Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(Done::Delivered(String::new()))
    })
}

#[tokio::test]
async fn a_slow_hop_takes_no_room_from_the_others() {
    let gate = Arc::new(Semaphore::new(0));
    let stage = Stage::new(slow(&gate), Settings::default());
    for _ in 0..7_000 {
        stage.submit(stage.envelope("a@b", &[("slow", "local:slow")]), b"a: b\r\n\r\n");
    }
    assert!(stage.deliver.waiting() <= 5_001, "half of what may be in hand: {}", stage.deliver.waiting());
    assert!(stage.store.claimed() <= 5_100, "the rest went back");
    stage.submit(stage.envelope("a@b", &[("alice", "local:alice"), ("slow", "local:slow")]), b"a: b\r\n\r\n");
    stage.until("alice has hers", |s| s.has_line("to=<alice>")).await;
    gate.add_permits(1);
    stage.until("all that was in hand", |s| s.store.finished().len() >= 4_990).await;
    stage.deliver.stop(Duration::from_secs(10)).await;
    assert_eq!(stage.store.claimed(), 0);
}

#[tokio::test]
async fn an_idle_agent_gives_way_when_there_are_no_more_slots() {
    let settings = Settings { agents: 1, idle: 60_000, ..Settings::default() };
    let stage = Stage::new(Threads::delivered(), settings);
    for user in ["a", "b", "c", "a"] {
        stage.submit(stage.envelope("x@y", &[(user, &format!("local:{user}"))]), b"a: b\r\n\r\n");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stage.until("all delivered", |s| s.store.finished().len() == 4).await;
}

#[tokio::test]
async fn a_dead_hop_is_not_tried_for_each_message() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    *stage.agents.refuse.lock().unwrap() = true;
    for _ in 0..200 {
        stage.submit(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n");
    }
    stage.until("all deferred", |s| s.lines().len() == 200).await;
    assert_eq!(stage.agents.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_job_put_off_because_its_hop_is_dead_is_no_try_and_says_so_once() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    *stage.agents.refuse.lock().unwrap() = true;
    let submit = || stage.submit(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n");
    let first = submit();
    stage.until("tried", |s| s.lines().len() == 1 && s.store.claimed() == 0).await;
    let second = submit();
    stage.until("put off", |s| s.lines().len() == 2 && s.store.claimed() == 0).await;
    assert!(stage.lines()[1].contains("stat=Deferred: cannot start agent"));
    for again in 1..=2 {
        for id in [first, second] {
            let before = stage.store.loads.load(Ordering::SeqCst);
            stage.store.make_due(id);
            stage.until("loaded", |s| s.store.loads.load(Ordering::SeqCst) > before && s.store.claimed() == 0).await;
        }
        for (id, tries) in [(first, 1), (second, 0)] {
            let recipient = stage.store.one(id).recipients[0].clone();
            assert_eq!((recipient.tries, stage.lines().len()), (tries, 2), "{again}");
            assert!(recipient.last_reply.starts_with("Deferred: cannot start agent"));
            let State::Deferred(at) = recipient.state else { panic!("not deferred") };
            assert!(at - stage.clock.now().wall > 40_000, "the back-off, not the 5 s of the hop");
        }
    }
    assert_eq!(stage.agents.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn who_becomes_due_between_claim_and_load_is_not_taken_along() {
    let gate = Arc::new(Semaphore::new(0));
    let stage = Stage::new(slow(&gate), Settings::default());
    stage.store.slow.store(40, Ordering::SeqCst);
    let mut envelope = stage.envelope("a@b", &[("alice", "local:alice"), ("slow", "local:slow")]);
    envelope.recipients[1].state = State::Deferred(envelope.arrived + 20);
    stage.store.put(envelope, b"a: b\r\n\r\n", false);
    // Alice is done, so the store hands out the other one: he must not be in hand already.
    stage.until("claimed again", |s| s.store.loads.load(Ordering::SeqCst) == 2).await;
    stage.until("in progress", |s| s.agents.asked.load(Ordering::SeqCst) == 2 && s.deliver.waiting() == 0).await;
    gate.add_permits(1);
    stage.until("finished", |s| s.store.finished().len() == 1).await;
    stage.until("all settled", |s| s.store.claimed() == 0 && s.deliver.waiting() == 0).await;
    stage.deliver.stop(Duration::from_secs(5)).await;
    let batches = stage.agents.batches.lock().unwrap();
    assert_eq!(batches.iter().map(|(_, batch, _)| batch.items.len()).sum::<usize>(), 2);
}

#[tokio::test]
async fn what_is_in_the_store_is_found_and_what_was_removed_is_not_missed() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    for _ in 0..300 {
        stage.store.put(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n", false);
    }
    stage.until("claimed and delivered", |s| s.store.finished().len() == 300).await;
    assert!(stage.store.load(stage.store.finished()[0].id).await.is_err());
}

#[tokio::test]
async fn what_was_claimed_and_not_loaded_yet_is_given_back_at_the_stop() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    stage.store.slow.store(60_000, Ordering::SeqCst);
    for _ in 0..3 {
        stage.store.put(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n", false);
    }
    stage.until("claimed", |s| s.store.claimed() == 3).await;
    stage.deliver.stop(Duration::from_secs(5)).await;
    assert_eq!((stage.store.claimed(), stage.store.waiting().len()), (0, 3));
}

#[tokio::test]
async fn nothing_is_tried_while_nothing_can_be_recorded() {
    let stage = Stage::new(Threads::delivered(), Settings::default());
    *stage.store.read_only.lock().unwrap() = true;
    stage.store.put(stage.envelope("a@b", &[("bob", "local:bob")]), b"a: b\r\n\r\n", false);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.agents.asked.load(Ordering::SeqCst), 0);
}
