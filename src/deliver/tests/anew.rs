//! Entries that stand no more in their files: what their users and aliases say now is done instead, once.

use super::fake::{Stage, Threads, aliased};
use crate::Settings;
use call::agent::Done;
use mail::QueueId;
use mail::alias::AliasEntry;
use queue::{Envelope, State};
use std::sync::atomic::Ordering;

fn mark(entry: &str) -> String {
    AliasEntry::parse(entry).mark()
}

/// A route of an alias's program.
fn program(entry: &str) -> String {
    format!("prog::{}:/m/aliases", mark(entry))
}

/// A stage on which `alice` has a `.forward` and each program says at first that it cannot now.
fn stage() -> Stage {
    let agents = Threads::new(|user, item| {
        let asks = item.forward && user == "alice";
        Some(if asks { Done::Forward } else { Done::Delivered("mbox".into()) })
    });
    let stage = Stage::new(agents, Settings::default());
    for program in ["|a", "|b"] {
        says(&stage, program, Done::Temporary(0, 0, "not now".into()));
    }
    stage
}

fn says(stage: &Stage, entry: &str, done: Done) {
    stage.agents.entries.lock().unwrap().insert(mark(entry), done);
}

fn forward(stage: &Stage, lines: &[&str]) {
    let lines = lines.iter().map(|line| Ok((*line).to_owned())).collect();
    stage.agents.forwards.lock().unwrap().insert("alice".to_owned(), lines);
}

fn gone(stage: &Stage, entries: &[&str]) {
    entries.iter().for_each(|entry| says(stage, entry, Done::Gone(format!("{entry} stands no more"))));
}

async fn deferred(stage: &Stage, id: QueueId, reply: &str) {
    let waits = |envelope: &Envelope| {
        let mut open = envelope.recipients.iter().filter(|r| !r.state.is_finished());
        open.all(|r| matches!(r.state, State::Deferred(_)) && r.last_reply.contains(reply))
    };
    stage.until(reply, |s| s.store.claimed() == 0 && waits(&s.store.one(id))).await;
}

async fn finished(stage: &Stage, count: usize) -> Vec<Envelope> {
    stage.until("finished", |s| s.store.finished().len() == count && s.store.claimed() == 0).await;
    stage.store.finished()
}

/// For whom agents wrote or ran something, and where it stood.
fn done(stage: &Stage) -> Vec<String> {
    let batches = stage.agents.batches.lock().unwrap();
    let name = |entry: &call::agent::Entry| {
        let of = ["|a", "|b", "|c"].into_iter().find(|text| mark(text) == entry.mark);
        of.unwrap_or_default().to_owned()
    };
    let one = |(user, batch, _): &(String, call::agent::Batch, Vec<Vec<u8>>)| {
        let whom = batch.into.as_ref().map_or_else(|| user.clone(), name);
        (!batch.items[0].forward || user != "alice").then_some(whom)
    };
    batches.iter().filter_map(one).collect()
}

/// Sent to alice, and tried once.
async fn sent_to_alice(stage: &Stage) -> QueueId {
    let id = stage.submit(stage.envelope("s@x", &[("alice@host", "local:alice")]), b"A: b\r\n\r\nc\r\n");
    stage.until("tried", |s| s.has_line("stat=Deferred: not now")).await;
    deferred(stage, id, "not now").await;
    stage.agents.batches.lock().unwrap().clear();
    id
}

#[tokio::test]
async fn a_new_forward_is_obeyed_and_nobody_gets_it_twice() {
    let stage = stage();
    forward(&stage, &["|a", "bob", "|b"]);
    let id = sent_to_alice(&stage).await;
    forward(&stage, &["bob", "|c", "carol", "|b"]);
    gone(&stage, &["|a"]);
    stage.store.make_due(id);
    stage.until("carol", |s| done(s).len() == 4).await;
    deferred(&stage, id, "not now").await;
    let mut got = done(&stage);
    got.sort();
    assert_eq!(got, ["carol", "|a", "|b", "|c"]);
    assert!(stage.has_line("|a stands no more: alice was expanded anew, 2 new"), "{:#?}", stage.lines());
    let envelope = stage.store.one(id);
    let replaced = &envelope.recipients[1];
    assert_eq!((replaced.state, replaced.parent), (State::Expanded, Some(0)));
    assert!(envelope.recipients[4..].iter().all(|new| new.parent == Some(0) && new.given == replaced.given));
    assert_eq!(envelope.recipients[4].controlling, "/home/x/.forward:2: alice@host");
}

#[tokio::test]
async fn without_a_forward_it_goes_into_the_mailbox_once() {
    for (before, after) in [(&["|a", "|b"][..], &["alice"][..]), (&["\\alice", "|a"], &[])] {
        let stage = stage();
        forward(&stage, before);
        let id = sent_to_alice(&stage).await;
        stage.agents.forwards.lock().unwrap().clear();
        gone(&stage, &["|a", "|b"]);
        stage.store.make_due(id);
        let envelope = finished(&stage, 1).await.remove(0);
        let wrote: Vec<String> = done(&stage).into_iter().filter(|whom| !whom.starts_with('|')).collect();
        assert_eq!(wrote, after, "{before:?}");
        let boxes = envelope.recipients.iter().filter(|r| r.route == "local:\\alice" && r.state == State::Delivered);
        assert_eq!(boxes.count(), 1, "{before:?} {envelope:#?}");
    }
}

#[tokio::test]
async fn who_edits_faster_than_we_read_waits_for_the_next_attempt() {
    let stage = stage();
    forward(&stage, &["|a"]);
    let id = sent_to_alice(&stage).await;
    forward(&stage, &["|b"]);
    gone(&stage, &["|a", "|b"]);
    stage.store.make_due(id);
    deferred(&stage, id, "|b stands no more").await;
    assert_eq!(done(&stage), ["|a", "|b"]);
    forward(&stage, &["|c"]);
    stage.store.make_due(id);
    let envelope = finished(&stage, 1).await.remove(0);
    assert_eq!(done(&stage), ["|a", "|b", "|b", "|c"]);
    assert!(envelope.recipients[1..].iter().all(|r| r.parent == Some(0)), "no long chain: {envelope:#?}");
}

#[tokio::test]
async fn what_cannot_be_asked_now_commits_nothing() {
    let stage = stage();
    forward(&stage, &["|a"]);
    let id = sent_to_alice(&stage).await;
    forward(&stage, &["bob"]);
    gone(&stage, &["|a"]);
    stage.routes.unavailable.store(true, Ordering::SeqCst);
    stage.store.make_due(id);
    deferred(&stage, id, "no route for bob now").await;
    assert_eq!(stage.store.one(id).recipients.len(), 2);
}

/// Two aliases that name it are one recipient: nobody knows for whom else it stands.
#[tokio::test]
async fn an_entry_of_the_aliases_waits() {
    let stage = stage();
    let mut envelope = stage.envelope("s@x", &[]);
    envelope.recipients = vec![aliased("staff", &program("|a"))];
    gone(&stage, &["|a"]);
    let id = stage.submit(envelope, b"A: b\r\n\r\n");
    deferred(&stage, id, "|a stands no more").await;
    assert_eq!(stage.store.one(id).recipients.len(), 1, "nothing committed");
}
