//! "Must show" 2: SIGKILL of all processes at random moments under load. Every message that was answered with 250 or exit 0
//! is in a mailbox or at the sink afterwards; duplicates of a kill never exceed the recipients in flight at that kill.
//! Small by default (2,000 messages, 6 kills); `POSTRIDER_FULL=1`: 20,000 messages, 20 kills.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use testsuite::ledger::{Caller, USERS};
use testsuite::sink::{Act, At};
use testsuite::{Ledger, Server, Setup, Sink, process, root_or_skip, scaled, seconds};

/// Most messages an agent has in hand (DESIGN §2).
const IN_HAND: usize = 32;

fn boxes(server: &Server) -> Vec<PathBuf> {
    (0..USERS).map(|n| server.mailbox(&format!("u{n:02}"))).collect()
}

/// Recipients that are being delivered: each agent's hand, transactions at the sink, and those that ended a moment ago.
fn in_flight(server: &Server, open: usize, recent: &Mutex<Vec<Instant>>) -> (usize, usize) {
    let agents = server
        .processes()
        .iter()
        .filter(|p| (20_000..20_020).contains(&process::ids(p.pid, "Uid").first().copied().unwrap_or(0)))
        .count();
    let mut recent = recent.lock().unwrap();
    recent.retain(|t| t.elapsed() < Duration::from_millis(200));
    (agents, open + recent.len())
}

/// A sink that is slow enough to be caught in a transaction, and counts the open ones.
fn counting_sink() -> (Sink, Arc<AtomicUsize>, Arc<Mutex<Vec<Instant>>>) {
    let transactions = Arc::new(AtomicUsize::new(0));
    let ended: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let (open, recent) = (transactions.clone(), ended.clone());
    let sink = Sink::scripted(move |s| {
        match s.at {
            At::Data => {
                open.fetch_add(1, Ordering::SeqCst);
            }
            At::Dot => {
                std::thread::sleep(Duration::from_millis(10));
                let _ = open.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| Some(n.saturating_sub(1)));
                recent.lock().unwrap().push(Instant::now());
            }
            _ => {}
        }
        Act::Go
    });
    (sink, transactions, ended)
}

/// Recipients accepted and not logged as delivered: no more than these can be in flight. Each message has one recipient.
fn unfinished(server: &Server) -> usize {
    let log = server.log();
    let count = |text: &str| log.lines().filter(|l| l.contains(text)).count();
    count(": from=").saturating_sub(count("stat=Sent"))
}

#[test]
fn nothing_acknowledged_is_lost_when_all_processes_are_killed() {
    if !root_or_skip("nothing_acknowledged_is_lost") {
        return;
    }
    let (total, kills) = (scaled(20_000, 2_000), scaled(20, 6));
    let (sink, transactions, ended) = counting_sink();
    let mut setup = Setup::default().relay_to(sink.address).with_roles();
    setup.queue = "retry min=\"300ms\" max=\"1s\"; expire \"5d\"".into();
    let mut server = Server::make(setup);
    server.start();
    let ledger = Ledger::new(60);
    let (mut allowed, mut slowest) = (0, Duration::ZERO);
    std::thread::scope(|scope| {
        let _stop = ledger.stop_at_end();
        ledger.load(scope, server.address, Caller::of(&server), 20);
        for kill in 1..=kills {
            let end = Instant::now() + Duration::from_secs(120);
            // A moment after the mark when sessions are in DATA and deliveries are in flight.
            let (agents, relayed) = loop {
                let (agents, relayed) = in_flight(&server, transactions.load(Ordering::SeqCst), &ended);
                if ledger.count() >= total * kill / (kills + 1) && ledger.in_data() > 0 && agents + relayed > 0 {
                    break (agents, relayed);
                }
                assert!(Instant::now() < end, "load does not go on: {} {}", ledger.summary(), server.story());
                std::thread::sleep(Duration::from_micros(500 + (kill as u64 * 7919) % 3000));
            };
            let in_data = ledger.in_data();
            let count = server.kill();
            transactions.store(0, Ordering::SeqCst);
            let before = ledger.judge(&boxes(&server), &sink).duplicates;
            let flight = (agents * IN_HAND + relayed).min(unfinished(&server));
            allowed += flight;
            let ready = server.start();
            slowest = slowest.max(ready);
            println!(
                "kill {kill:2}: {count} processes, {in_data} sessions in DATA, {agents} agents and {relayed} transactions: at most {flight} recipients in flight; \
                 {} acknowledged, duplicates so far {before}, ready after {ready:?}",
                ledger.count()
            );
        }
        let end = Instant::now() + Duration::from_secs(120);
        while ledger.count() < total && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    finish(&server, &ledger, &sink, allowed, kills);
    assert!(slowest < seconds(5), "a restart took {slowest:?}");
    assert!(ledger.count() >= total);
}

/// Waits for the queue to drain, counts, and judges.
fn finish(server: &Server, ledger: &Ledger, sink: &Sink, allowed: usize, kills: usize) {
    server.wait_empty(seconds(120));
    let judgement = ledger.judge(&boxes(server), sink);
    println!(
        "{}; {} seen, {} lost, {} duplicates (at most {allowed}), {} fragments, {} merged",
        ledger.summary(),
        judgement.seen,
        judgement.lost.len(),
        judgement.duplicates,
        judgement.fragments.len(),
        judgement.merged.len()
    );
    assert!(judgement.lost.is_empty(), "lost: {:?}", judgement.lost);
    assert!(judgement.merged.is_empty(), "merged: {:?}", judgement.merged);
    assert!(judgement.duplicates <= allowed);
    assert!(judgement.fragments.len() <= kills * USERS);
}
