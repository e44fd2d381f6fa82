//! What happened to users of a running spool: clocks that jump, disks that fail for long, a writer that dies, a stop at the wrong moment.

use super::*;
use crate::spool::Call;
use crate::{Change, Error, Expansion, NewState, Notice, Recipient, Select, State};
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

fn outcome(recipient: u32, state: NewState, reply: &str) -> Change {
    Change { recipient, state, at: NOW.wall, status: None, reply: reply.into(), attempted: true, warned: false }
}

fn delivered() -> Vec<Change> {
    vec![outcome(0, NewState::Delivered, "ok")]
}

fn eio<T>() -> io::Result<T> {
    Err(io::Error::from_raw_os_error(5))
}

async fn try_accept(spool: &Spool, body: &[u8]) -> Result<mail::QueueId, Error> {
    let mut writer = spool.write(0)?;
    writer.write(body)?;
    let envelope = envelope(spool, &["a"]);
    let id = envelope.id;
    spool.accept(writer, vec![envelope]).await.map(|_| id)
}

async fn wait_for(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_writer_has_died_nothing_is_tried_and_nobody_waits() {
    let folder = Folder::new();
    let bang = Arc::new(AtomicBool::new(false));
    let armed = Arc::clone(&bang);
    let spool = hooked(&folder.settings(), move |call| {
        assert!(!(armed.load(Ordering::SeqCst) && matches!(call, Call::Write(..))), "staged panic in the writer");
        Ok(())
    });
    let id = accept(&*spool, &["a"], b"x").await.envelope.id;
    spool.release_claim(id, NOW.wall);
    bang.store(true, Ordering::SeqCst);
    let late = tokio::time::timeout(Duration::from_secs(10), try_accept(&spool, b"y")).await;
    assert!(late.expect("an answer").is_err());
    // Jobs in the writer's hands are refused while it dies, a moment before the rest.
    wait_for("the store says so", || matches!(spool.room(0), Err(Error::ReadOnly(_)))).await;
    assert_eq!(spool.claim(NOW.plus(1000), 10), []);
    let record = tokio::time::timeout(Duration::from_secs(10), spool.record(id, delivered())).await;
    assert!(record.expect("an answer").is_err());
}

/// The clock was years ahead, and is put right while the spool is closed.
#[tokio::test]
async fn mail_of_a_wrong_clock_is_due_after_a_restart() {
    let folder = Folder::new();
    let future = Time { wall: NOW.wall + 10 * 365 * 86_400_000, mono: 1 };
    let spool = Spool::open(&folder.settings(), future).unwrap().0;
    let mut writer = spool.write(0).unwrap();
    writer.write(b"x").unwrap();
    let mut envelope = envelope(&*spool, &["a"]);
    envelope.id = spool.new_id(future);
    envelope.arrived = future.wall;
    let id = envelope.id;
    spool.accept(writer, vec![envelope]).await.unwrap();
    spool.close().await.unwrap();
    drop(spool);
    assert_eq!(open(&folder.settings()).claim(NOW.plus(86_400_000), 10), [id]);
}

#[tokio::test]
async fn mail_waits_no_longer_when_the_clock_goes_back() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let id = accept(&*spool, &["a"], b"x").await.envelope.id;
    spool.record(id, vec![outcome(0, NewState::Deferred(NOW.wall + 300_000), "later")]).await.unwrap();
    let given_back = accept(&*spool, &["a"], b"x").await.envelope.id;
    spool.release_claim(given_back, NOW.wall);
    assert_eq!(spool.claim(Time { wall: NOW.wall - 10_000, mono: NOW.mono }, 0), []);
    let back = Time { wall: NOW.wall - 86_400_000, mono: NOW.mono };
    let claimed: Vec<_> = (0..60u64).flat_map(|minutes| spool.claim(back.plus(minutes * 60_000), 10)).collect();
    assert_eq!(claimed, [given_back, id], "within an hour of the monotonic clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_writer_does_not_spin_after_a_failed_sync() {
    // The batch at which dead segments are looked for is among these.
    for good in 60..67 {
        let folder = Folder::new();
        let fail = Arc::new(AtomicBool::new(false));
        let fails = Arc::clone(&fail);
        let spool = hooked(&folder.settings(), move |call| match call {
            Call::Sync(_) if fails.swap(false, Ordering::SeqCst) => eio(),
            _ => Ok(()),
        });
        for _ in 0..good {
            accept(&*spool, &["a"], b"x").await;
        }
        fail.store(true, Ordering::SeqCst);
        assert!(try_accept(&spool, b"y").await.is_err());
        let before = spool.shared.turns.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(30)).await;
        let turns = spool.shared.turns.load(Ordering::Relaxed) - before;
        assert!(turns < 100, "{turns} turns in 30 idle ms after {good} batches");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn outcomes_that_never_stop_coming_are_synced_all_the_same() {
    let folder = Folder::new();
    let settings = Settings { segment: 64 << 20, ..folder.settings() };
    let spool = hooked(&settings, |call| {
        if matches!(call, Call::Write(..)) {
            // A disk under load.
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    });
    let later = |n| vec![outcome(0, NewState::Deferred(NOW.wall + n), "later")];
    let id = accept(&*spool, &["a"], b"x").await.envelope.id;
    let other = accept(&*spool, &["a"], b"x").await.envelope.id;
    let stop = Arc::new(AtomicBool::new(false));
    let (stream, stopped) = (Arc::clone(&spool), Arc::clone(&stop));
    let thread = std::thread::spawn(move || {
        let mut n = 0;
        while !stopped.load(Ordering::SeqCst) {
            drop(stream.record(other, later(n)));
            n += 1;
            std::thread::sleep(Duration::from_micros(200));
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let synced = tokio::time::timeout(Duration::from_secs(5), spool.record(id, later(0))).await;
    stop.store(true, Ordering::SeqCst);
    thread.join().unwrap();
    assert_eq!(synced, Ok(Ok(())));
}

#[tokio::test]
async fn outcomes_larger_than_a_segment_are_recorded() {
    let folder = Folder::new();
    let settings = Settings { segment: 32 << 10, ..folder.settings() };
    let spool = open(&settings);
    let names: Vec<String> = (0..60).map(|n| format!("u{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = accept(&*spool, &names, b"x").await.envelope.id;
    let long = "x".repeat(600);
    let changes = (0..60).map(|n| outcome(n, NewState::Delivered, &long)).collect();
    assert_eq!(spool.record(id, changes).await, Ok(()));
    drop(spool);
    assert_eq!(open(&settings).load(id).await.unwrap_err(), Error::Unknown);
}

#[tokio::test]
async fn an_id_given_after_the_close_is_not_given_again() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    spool.close().await.unwrap();
    let id = spool.new_id(NOW);
    drop(spool);
    let spool = open(&folder.settings());
    assert!((0..10).all(|_| spool.new_id(NOW) != id));
}

#[tokio::test]
async fn an_id_given_by_a_store_that_cannot_write_is_not_given_again() {
    let folder = Folder::new();
    let failing = Arc::new(AtomicBool::new(true));
    let fails = Arc::clone(&failing);
    let spool = hooked(&folder.settings(), move |call| match call {
        Call::Write(..) if fails.load(Ordering::SeqCst) => eio(),
        _ => Ok(()),
    });
    let mut given = envelope(&*spool, &["a"]);
    let id = given.id;
    failing.store(false, Ordering::SeqCst);
    wait_for("it comes back", || spool.room(0).is_ok()).await;
    let refused = spool.accept(spool.write(0).unwrap(), vec![given.clone()]).await;
    assert!(matches!(refused, Err(Error::ReadOnly(_))), "nothing is accepted under it: {refused:?}");
    given.id = spool.new_id(NOW);
    spool.accept(spool.write(0).unwrap(), vec![given]).await.unwrap();
    drop(spool);
    let spool = open(&folder.settings());
    assert!((0..10).all(|_| spool.new_id(NOW) != id));
}

#[tokio::test]
async fn probes_of_a_failing_disk_do_not_fill_it() {
    let folder = Folder::new();
    let (fail, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (fails, count) = (Arc::clone(&fail), Arc::clone(&failed));
    let spool = hooked(&folder.settings(), move |call| match call {
        Call::SyncFolder(_) | Call::Sync(_) if fails.load(Ordering::SeqCst) => {
            count.fetch_add(1, Ordering::SeqCst);
            eio()
        }
        _ => Ok(()),
    });
    accept(&*spool, &["a"], b"x").await;
    let files = |name| std::fs::read_dir(folder.0.join(name)).unwrap().count();
    wait_for("spares", || files("spare") > 2).await;
    let before = files("segments");
    fail.store(true, Ordering::SeqCst);
    assert!(try_accept(&spool, b"y").await.is_err());
    let _also_refused = try_accept(&spool, b"y").await;
    wait_for("probes", || failed.load(Ordering::SeqCst) > 60).await;
    assert!(files("segments") < before + 10, "{before} segments became {}", files("segments"));
    assert!(matches!(spool.room(0), Err(Error::ReadOnly(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_giant_envelope_does_not_stop_compaction() {
    let mut segments = Vec::new();
    for recipients in [10, 130] {
        let folder = Folder::new();
        let settings = Settings { segment: 32 << 10, ..folder.settings() };
        let spool = open(&settings);
        let names: Vec<String> = (0..recipients).map(|n| format!("user{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let id = accept(&*spool, &names, b"x").await.envelope.id;
        let long = "x".repeat(200);
        let later = NewState::Deferred(NOW.wall + 900_000_000);
        for part in 0..recipients / 10 {
            let changes = (part * 10..part * 10 + 10).map(|r| outcome(r, later, &long)).collect();
            spool.record(id, changes).await.unwrap();
        }
        for _ in 0..1_000 {
            let id = accept(&*spool, &["a", "b"], &[b'm'; 700]).await.envelope.id;
            drop(spool.record(id, delivered()));
            drop(spool.record(id, vec![outcome(1, NewState::Delivered, "ok")]));
        }
        assert_eq!(spool.count(Select::default()).await, Ok(1));
        segments.push(spool.statistics().segments);
    }
    assert!(segments[1] < segments[0] + 15, "without and with a giant: {segments:?}");
}

/// Syncs fail for 200 probes; the headers' history must not lose the segment that had what was refused.
#[tokio::test(flavor = "multi_thread")]
async fn mail_refused_before_a_long_failure_does_not_come_back() {
    let folder = Folder::new();
    let (fail, failed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let (fails, count) = (Arc::clone(&fail), Arc::clone(&failed));
    let settings = Settings { segment: 32 << 10, ..folder.settings() };
    let spool = hooked(&settings, move |call| match call {
        Call::Sync(_) if fails.load(Ordering::SeqCst) => {
            count.fetch_add(1, Ordering::SeqCst);
            eio()
        }
        // Otherwise the compactor might be done with it before we look.
        Call::Unlink(path) | Call::Rename(path, _) if path.ends_with("segments/00000001.seg") => eio(),
        _ => Ok(()),
    });
    let first = accept(&*spool, &["a"], b"first").await.envelope.id;
    fail.store(true, Ordering::SeqCst);
    assert!(try_accept(&spool, b"refused").await.is_err());
    let _also_refused = try_accept(&spool, b"refused too").await;
    wait_for("probes", || failed.load(Ordering::SeqCst) > 200).await;
    fail.store(false, Ordering::SeqCst);
    wait_for("it comes back", || spool.room(0).is_ok()).await;
    let again = accept(&*spool, &["a"], b"refused").await.envelope.id;
    drop(spool);
    std::fs::remove_file(folder.0.join("checkpoint")).unwrap_or_default();
    // A power cut: the segments whose sync failed never reached the disk, except the first, by ordinary write-back.
    let segments = std::fs::read_dir(folder.0.join("segments")).unwrap();
    let mut all: Vec<_> = segments.map(|entry| entry.unwrap().path()).collect();
    all.sort();
    for path in &all[1..all.len() - 1] {
        std::fs::write(path, vec![0; 32 << 10]).unwrap();
    }
    let list = open(&settings).list(Select::default(), None, 20).await.unwrap();
    let ids: Vec<_> = list.iter().map(|summary| summary.envelope.id).collect();
    assert_eq!(ids, [first, again]);
}

#[tokio::test]
async fn a_large_bounce_finds_room_on_a_full_disk() {
    let folder = Folder::new();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let settings = Settings { segment: 1 << 20, ..folder.settings() };
    let spool = hooked(&settings, move |call| match call {
        Call::Create(_) | Call::Body if is_full.load(Ordering::SeqCst) => Err(io::Error::from_raw_os_error(28)),
        _ => Ok(()),
    });
    let id = accept(&*spool, &["a"], b"x").await.envelope.id;
    full.store(true, Ordering::SeqCst);
    let notice = Notice { envelope: envelope(&*spool, &["sender"]), content: vec![b'b'; 64 << 10].into() };
    let bounced = spool.record_with(id, vec![outcome(0, NewState::Bounced, "no")], notice).await;
    assert!(bounced.is_ok(), "{:?}", bounced.err());
    drop(spool);
    assert_eq!(open(&settings).content(bounced.unwrap().envelope.id).await.unwrap().len(), 64 << 10);
}

#[tokio::test]
async fn what_is_in_flight_at_the_close_is_perhaps_delivered() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let flying = accept(&*spool, &["a"], b"x").await.envelope.id;
    let waiting = accept(&*spool, &["a"], b"x").await.envelope.id;
    spool.release_claim(waiting, NOW.wall);
    spool.close().await.unwrap();
    drop(spool);
    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    assert!(recovery.clean);
    for (id, perhaps_delivered) in [(flying, true), (waiting, false)] {
        assert_eq!(spool.load(id).await.unwrap().recipients[0].state, State::Due { perhaps_delivered });
    }
}

/// An expansion and the outcome of the expanded recipient were on their way together; in memory the message was finished.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_finished_while_it_was_expanded_does_not_come_back() {
    let folder = Folder::new();
    let gate = Arc::new(Mutex::new(()));
    let closed = Arc::clone(&gate);
    let spool = hooked(&folder.settings(), move |call| {
        if matches!(call, Call::Sync(_)) {
            drop(closed.lock().unwrap());
        }
        Ok(())
    });
    let id = accept(&*spool, &["list"], b"x").await.envelope.id;
    let children = vec![Recipient::new("list", mail::Address::from_parts("child", None), "local")];
    let expansion = Expansion { parents: vec![0], children, clones: Vec::new() };
    let (expanded, recorded) = {
        let _no_sync = gate.lock().unwrap();
        (spool.expand(id, expansion), spool.record(id, delivered()))
    };
    assert_eq!(recorded.await, Ok(()));
    assert!(expanded.await.unwrap().envelope.is_none());
    drop(spool);
    assert_eq!(open(&folder.settings()).count(Select::default()).await, Ok(0));
}

/// After a failed sync the kernel takes the pages for written: another sync says nothing, also in the next process.
#[tokio::test]
async fn a_start_writes_again_what_it_does_not_know_to_be_durable() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    accept(&*spool, &["a"], &[b'x'; 9_000]).await;
    drop(spool);
    let calls = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&calls);
    drop(hooked(&folder.settings(), move |call| {
        let path = "00000001.seg";
        match call {
            Call::Write(name, bytes, offset) if name.ends_with(path) => {
                seen.lock().unwrap().push((offset, bytes.len() > 9_000));
            }
            Call::Sync(name) if name.ends_with(path) => seen.lock().unwrap().push((u64::MAX, true)),
            _ => {}
        }
        Ok(())
    }));
    let calls = std::mem::take(&mut *calls.lock().unwrap());
    assert!(matches!(calls[..], [(0..=4096, true), (u64::MAX, true)]), "{calls:?}");
    assert_eq!(open(&folder.settings()).count(Select::default()).await, Ok(1));
}
