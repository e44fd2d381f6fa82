//! To other hosts, through a smart host (by MX: `host.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use testsuite::sink::{Act, At};
use testsuite::{Setup, Sink, Smtp, message, seconds, wait_for};

#[test]
fn recipients_of_one_hop_share_one_transaction() {
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let to = ["a@far.test", "b@far.test", "c@other.test", "daemon@local.test"];
    let text = message::text("many", "x", 3);
    assert_eq!(session.message("from@client.test", &to, &text).unwrap().code, 250);
    wait_for("the relayed copy", seconds(20), || sink.len() == 1);
    let taken = &sink.taken()[0];
    assert_eq!(taken.rcpt.len(), 3, "{taken:?}");
    assert!(taken.mail.to_lowercase().starts_with("mail from:<from@client.test>"), "{}", taken.mail);
    message::whole(&taken.text).unwrap();
    let text = String::from_utf8_lossy(&taken.text);
    assert!(text.starts_with("Received: from "), "one trace field of ours: {text}");
    assert_eq!(text.matches("Received: ").count(), 1);
    server.wait_mail("daemon", 1);
    server.wait_empty(seconds(10));
}

/// The server is `mx.test`; nobody elsewhere knows `mx`. Other local names leave as they are written (both as sendmail does it).
#[test]
fn the_short_name_of_the_host_never_leaves_it() {
    let sink = Sink::start();
    let mut setup = Setup::default().relay_to(sink.address);
    setup.more.push_str("\nlocal-domains \"shorty\"");
    let server = setup.start();
    let text = |name: &str| format!("From: Al <al@{name}>\nTo: bo@{name}, u@far.test\nSubject: x\n\nal@{name}\n");
    for (number, (name, shown)) in [("mx", "mx.test"), ("shorty", "shorty")].into_iter().enumerate() {
        let out = server.sendmail(&["-i", "-f", &format!("al@{name}"), "u@far.test"], text(name).as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        wait_for("what the command sent", seconds(20), || sink.len() == 2 * number + 1);
        let mut session = Smtp::hello(server.address).unwrap();
        assert_eq!(session.message(&format!("al@{name}"), &["u@far.test"], &text(name)).unwrap().code, 250);
        wait_for("what came by SMTP", seconds(20), || sink.len() == 2 * number + 2);
        for taken in &sink.taken()[2 * number..] {
            assert!(taken.mail.contains(&format!("<al@{shown}>")), "{}", taken.mail);
            let text = String::from_utf8_lossy(&taken.text);
            let (header, body) = text.split_once("\n\n").unwrap();
            assert!(header.contains(&format!("\nFrom: Al <al@{shown}>\nTo: bo@{shown}, u@far.test\n")), "{header}");
            assert_eq!(body, format!("al@{name}\n"));
        }
    }
}

#[test]
fn connections_are_reused_and_bounded() {
    let sink = Sink::scripted(|step| match step.at {
        At::Dot => Act::Wait(Duration::from_millis(30)),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    std::thread::scope(|scope| {
        for t in 0..10 {
            let server = &server;
            scope.spawn(move || {
                let mut session = Smtp::hello(server.address).unwrap();
                for n in 0..30 {
                    let text = message::text(&format!("t{t}n{n}"), "x", 3);
                    assert_eq!(session.message("a@client.test", &["x@far.test"], &text).unwrap().code, 250);
                }
            });
        }
    });
    wait_for("300 at the sink", seconds(60), || sink.len() == 300);
    assert!(sink.most_open() <= 20, "{} connections to one hop at once", sink.most_open());
    assert!(sink.connections() < 150, "{} connections for 300 messages", sink.connections());
}

#[test]
fn a_deferred_message_waits_with_its_reason_and_then_leaves_once() {
    let refuse = Arc::new(AtomicUsize::new(1));
    let gate = refuse.clone();
    let sink = Sink::scripted(move |step| match step.at {
        At::Rcpt if gate.load(Ordering::SeqCst) == 1 => Act::Say("451 4.7.1 greylisted, try later".into()),
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    let out = server.sendmail(&["-i", "x@far.test"], message::text("late", "x@far.test", 3).as_bytes());
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    wait_for("mailq with the reason", seconds(15), || server.mailq().contains("greylisted"));
    let list = server.mailq();
    assert!(list.contains("x@far.test") && list.contains("Total requests: 1"), "{list}");
    server.wait_log("stat=Deferred: 451 4.7.1 greylisted, try later");
    refuse.store(0, Ordering::SeqCst);
    wait_for("delivery at a later attempt", seconds(20), || sink.len() == 1);
    server.wait_empty(seconds(10));
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(sink.len(), 1, "once");
}

/// Some recipients of a transaction fail for good, some for now: each gets its own end.
#[test]
fn each_recipient_has_its_own_end() {
    let tries = Arc::new(Mutex::new(0));
    let count = tries.clone();
    let sink = Sink::scripted(move |step| {
        let line = String::from_utf8_lossy(step.line).into_owned();
        match step.at {
            At::Rcpt if line.contains("bad@") => Act::Say("550 5.1.1 no such user here".into()),
            At::Rcpt if line.contains("later@") => {
                let mut n = count.lock().unwrap();
                *n += 1;
                if *n < 3 { Act::Say("450 4.2.0 busy".into()) } else { Act::Go }
            }
            _ => Act::Go,
        }
    });
    let server = Setup::default().relay_to(sink.address).start();
    let mut session = Smtp::hello(server.address).unwrap();
    let to = ["good@far.test", "bad@far.test", "later@far.test"];
    let text = message::text("mixed", "x", 3);
    assert_eq!(session.message("daemon@local.test", &to, &text).unwrap().code, 250);
    wait_for("the good and the later one", seconds(30), || sink.len() == 2);
    let all: Vec<String> = sink.taken().into_iter().flat_map(|t| t.rcpt).collect();
    assert_eq!(all.iter().filter(|r| r.contains("good@")).count(), 1, "{all:?}");
    assert_eq!(all.iter().filter(|r| r.contains("later@")).count(), 1, "{all:?}");
    let bounce = server.wait_mail("daemon", 1);
    let text = String::from_utf8_lossy(&bounce[0].text).into_owned();
    assert!(text.contains("bad@far.test") && text.contains("no such user here"), "{text}");
    assert!(!text.contains("Final-Recipient: RFC822; good@far.test"), "{text}");
    server.wait_empty(seconds(10));
}

/// Whatever goes wrong at any verb, the message is neither lost nor bounced, and arrives when the fault is over.
#[test]
fn faults_at_every_verb_defer() {
    let faults: Vec<(At, Act)> = [At::Connect, At::Ehlo, At::Mail, At::Rcpt, At::Data, At::Dot]
        .into_iter()
        .flat_map(|at| [(at, Act::Drop), (at, Act::Say("421 4.3.2 closing".into())), (at, Act::Say("garbage".into()))])
        .collect();
    // One fault for each message, once; the attempt after it goes well.
    let armed = Arc::new(Mutex::new(None));
    let trap = armed.clone();
    let sink = Sink::scripted(move |s| {
        let mut trap = trap.lock().unwrap();
        match &*trap {
            Some((at, _)) if s.at == *at => trap.take().map_or(Act::Go, |(_, act)| act),
            _ => Act::Go,
        }
    });
    let mut setup = Setup::default().relay_to(sink.address);
    setup.queue = "retry min=\"200ms\" max=\"300ms\"; expire \"5d\"".into();
    setup = setup.with("delivery { idle \"10ms\" }"); // a new connection for each message
    let server = setup.start();
    for (n, fault) in faults.iter().enumerate() {
        *armed.lock().unwrap() = Some(fault.clone());
        let text = message::text(&format!("f{n}"), "x@far.test", 3);
        let out = server.sendmail(&["-i", "x@far.test"], text.as_bytes());
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        wait_for(&format!("delivered in spite of {fault:?}"), seconds(30), || sink.len() > n);
        assert!(armed.lock().unwrap().is_none(), "{fault:?} was never met");
        std::thread::sleep(Duration::from_millis(50));
    }
    server.wait_empty(seconds(20));
    let mut ids: Vec<String> = sink.taken().iter().flat_map(|t| message::ids(&t.text)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), faults.len());
}

#[test]
fn tls_is_used_when_offered_and_a_broken_one_does_not_stop_mail() {
    let sink = Sink::offering(true, |_| Act::Go);
    let server = Setup::default().relay_to(sink.address).start();
    let text = message::text("secret", "x", 3);
    server.sendmail(&["-i", "x@far.test"], text.as_bytes());
    wait_for("the message", seconds(20), || sink.len() == 1);
    assert!(sink.taken()[0].tls, "offered but not used");

    let broken = Sink::offering(true, |s| match s.at {
        At::Starttls => Act::Drop,
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(broken.address).start();
    server.sendmail(&["-i", "x@far.test"], text.as_bytes());
    wait_for("the message in clear text", seconds(30), || broken.len() == 1);
    assert!(!broken.taken()[0].tls);
}

#[test]
fn a_sink_that_stalls_does_not_stop_other_mail() {
    let sink = Sink::scripted(|s| match s.at {
        At::Data if s.connection < 3 => Act::Hang,
        _ => Act::Go,
    });
    let server = Setup::default().relay_to(sink.address).start();
    for n in 0..6 {
        let text = message::text(&format!("s{n}"), "x", 3);
        server.sendmail(&["-i", "x@far.test"], text.as_bytes());
    }
    wait_for("the three that do not hang", seconds(30), || sink.len() >= 3);
    server.sendmail(&["-i", "daemon@local.test"], message::text("local", "d", 3).as_bytes());
    server.wait_mail("daemon", 1);
}

#[test]
fn a_25_mib_message_passes_and_memory_stays() {
    let sink = Sink::start();
    let server = Setup::default().relay_to(sink.address).start();
    let engine = server.engine();
    let rss = |field: &str| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{engine}/status")).unwrap();
        let line = text.lines().find(|l| l.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = rss("VmRSS:");
    let text = message::text("big", "x", 25 * 1024 * 1024 / 60);
    let mut session = Smtp::hello(server.address).unwrap();
    assert_eq!(session.message("a@client.test", &["x@far.test"], &text).unwrap().code, 250);
    wait_for("the big one", seconds(60), || sink.len() == 1);
    message::whole(&sink.taken()[0].text).unwrap();
    let rise = rss("VmHWM:").saturating_sub(before);
    assert!(rise < 16 << 10, "peak memory rose by {rise} kB");
}
