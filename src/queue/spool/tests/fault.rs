//! Every call that changes a file fails once, or is the last: then the spool is opened again and compared with what it had promised.

use super::sim::{Fault, SpoolRig};
use super::*;
use crate::contract::Dice;
use crate::{Change, Error, NewState, Notice, Select, State};
use std::collections::BTreeMap;

fn delivered(recipient: u32) -> Change {
    Change {
        recipient,
        state: NewState::Delivered,
        at: NOW.wall,
        status: None,
        reply: "ok".into(),
        attempted: true,
        warned: false,
    }
}

/// What must be there, and what may be.
#[derive(Default, Debug)]
struct Promise {
    /// Accepted, and not finished: how many recipients are certainly delivered, and how many perhaps.
    certain: BTreeMap<mail::QueueId, (usize, usize)>,
    /// Refused, or finished, with no word about its durability.
    perhaps: Vec<mail::QueueId>,
    /// Pairs of which one is there or the other: a message and the bounce that ends it.
    either: Vec<(mail::QueueId, mail::QueueId)>,
}

/// A short life with every verb. Returns what was promised.
async fn life(spool: &Spool) -> Promise {
    let mut promise = Promise::default();
    for n in 0..6u32 {
        let length = if n == 3 { 40_000 } else { 3_000 };
        let envelope = envelope(spool, &["a", "b"]);
        let id = envelope.id;
        let writer = spool.write(0).and_then(|mut writer| writer.write(&vec![n as u8; length]).map(|()| writer));
        let accepted = match writer {
            Ok(writer) => spool.accept(writer, vec![envelope]).await.is_ok(),
            Err(_) => false,
        };
        if !accepted {
            promise.perhaps.push(id);
            continue;
        }
        promise.certain.insert(id, (0, 0));
        match n {
            0 | 3 => {
                promise.certain.remove(&id);
                if spool.record(id, vec![delivered(0), delivered(1)]).await.is_err() {
                    promise.perhaps.push(id);
                }
            }
            1 => {
                let done = spool.record(id, vec![delivered(0)]).await.is_ok();
                promise.certain.insert(id, (usize::from(done), 1));
            }
            2 => bounce(spool, id, &mut promise).await,
            4 => {
                let select = Select { ids: vec![id], ..Select::default() };
                if spool.delete(select).await == Ok(1) {
                    promise.certain.remove(&id);
                } else {
                    promise.certain.remove(&id);
                    promise.perhaps.push(id);
                }
            }
            _ => {}
        }
    }
    promise
}

async fn bounce(spool: &Spool, id: mail::QueueId, promise: &mut Promise) {
    let envelope = envelope(spool, &["sender"]);
    let bounce = envelope.id;
    let notice = Notice { envelope, content: "bounce".into() };
    promise.certain.remove(&id);
    match spool.record_with(id, vec![delivered(0), delivered(1)], notice).await {
        Ok(_) => drop(promise.certain.insert(bounce, (0, 0))),
        Err(_) => promise.either.push((id, bounce)),
    }
}

async fn verify(spool: &Spool, promise: &Promise, what: &str) {
    let list = spool.list(Select::default(), None, 1000).await.unwrap();
    let found: BTreeMap<_, _> = list.iter().map(|summary| (summary.envelope.id, &summary.envelope)).collect();
    for (id, (least, most)) in &promise.certain {
        let envelope = found.get(id).unwrap_or_else(|| panic!("{what}: {id} is lost\n{promise:?}"));
        let done = envelope.recipients.iter().filter(|r| r.state == State::Delivered).count();
        assert!((*least..=*most).contains(&done), "{what}: {id} has {done} delivered, not {least} to {most}");
        spool.content(*id).await.unwrap_or_else(|error| panic!("{what}: {id}: {error}"));
    }
    for (id, bounce) in &promise.either {
        assert!(found.contains_key(id) != found.contains_key(bounce), "{what}: {id} and its bounce {bounce}");
    }
    for id in found.keys() {
        let known = promise.certain.contains_key(id)
            || promise.perhaps.contains(id)
            || promise.either.iter().any(|(a, b)| a == id || b == id);
        assert!(known, "{what}: {id} came back");
    }
}

fn each_call(fault: Fault, keep: impl Fn(u64) -> u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let mut n = 1;
    loop {
        let mut rig = SpoolRig::new();
        // Small segments, so that rolling and compacting happen too.
        rig.settings.segment = 32 << 10;
        let what = format!("{fault:?} at call {n}");
        drop(rig.open_spool(NOW));
        rig.fail(n, fault);
        let opened = rig.try_open(NOW);
        let promise = match &opened {
            Ok((spool, _)) => runtime.block_on(life(spool)),
            Err(_) => Promise::default(),
        };
        let reached = rig.reached();
        if let (Ok((spool, _)), false) = (&opened, fault == Fault::Cut) {
            rig.clear();
            runtime.block_on(comes_back(spool, &what));
        }
        rig.kill();
        drop(opened);
        rig.power_cut(keep(n), &mut Dice::new(n));
        rig.clear();
        let (spool, recovery) = rig.open_spool(NOW);
        assert!(!recovery.lines.iter().any(|line| line.contains("corrupt")), "{what}: {:?}", recovery.lines);
        runtime.block_on(verify(&spool, &promise, &what));
        if !reached {
            break;
        }
        n += 1;
    }
    assert!(n > 20, "only {n} calls");
}

/// Without a restart the store takes mail again.
async fn comes_back(spool: &Spool, what: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while spool.room(0).is_err() {
        assert!(std::time::Instant::now() < deadline, "{what}: does not come back");
        tokio::task::yield_now().await;
    }
    let id = accept(spool, &["x"], b"x").await.envelope.id;
    spool.delete(Select { ids: vec![id], ..Select::default() }).await.unwrap();
}

#[test]
fn a_power_cut_at_every_call() {
    each_call(Fault::Cut, |_| 0);
    each_call(Fault::Cut, |n| 2 + n % 2);
}

#[test]
fn a_kill_at_every_call() {
    each_call(Fault::Cut, |_| 1);
}

#[test]
fn an_error_at_every_call() {
    each_call(Fault::Once(5), |n| n % 4);
    each_call(Fault::Once(28), |n| n % 4);
    each_call(Fault::Short, |n| n % 4);
}

#[test]
fn errors_from_every_call_on() {
    each_call(Fault::Sticky(5), |n| n % 4);
    each_call(Fault::Sticky(28), |n| n % 4);
}

/// The queue drains on a full disk, and nothing is delivered twice.
#[tokio::test]
async fn a_full_disk_drains() {
    let mut rig = SpoolRig::new();
    rig.settings.segment = 32 << 10;
    let (spool, _) = rig.open_spool(NOW);
    let mut ids = Vec::new();
    for _ in 0..60 {
        ids.push(accept(&*spool, &["a", "b"], &[b'x'; 2_000]).await.envelope.id);
    }
    wait_for(|| std::fs::read_dir(rig.folder.0.join("spare")).unwrap().count() >= 2).await;
    rig.set_space(Some(durable::Space { bytes: 0, inodes: 0 }));
    wait_for(|| spool.room(0).is_err()).await;
    assert!(matches!(spool.write(0), Err(Error::Full(_))));
    // No file can be created either.
    rig.forbid_create(true);
    for id in &ids {
        spool.record(*id, vec![delivered(0)]).await.unwrap();
    }
    for id in &ids {
        let notice = Notice { envelope: envelope(&*spool, &["sender"]), content: "bounce".into() };
        let bounce = spool.record_with(*id, vec![delivered(1)], notice).await.unwrap().envelope.id;
        spool.record(bounce, vec![delivered(0)]).await.unwrap();
    }
    assert_eq!(spool.count(Select::default()).await, Ok(0));
    rig.forbid_create(false);
    rig.set_space(None);
    wait_for(|| spool.room(0).is_ok()).await;
    accept(&*spool, &["a"], b"again").await;
    drop(spool);
    assert_eq!(rig.open_spool(NOW).0.statistics().messages, 1);
}

async fn wait_for(done: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while !done() {
        assert!(std::time::Instant::now() < deadline, "does not happen");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}
