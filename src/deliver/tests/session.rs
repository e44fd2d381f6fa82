//! The client against scripted peers: order of bytes, broken connections, STARTTLS.

use super::fake::{Seen, Stage, Threads, secure_sink, serve, sink};
use crate::session::{Broken, Limits, Session};
use crate::stream::Stream;
use crate::{Settings, Tls};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::TcpListener;

fn session(stream: DuplexStream) -> Session<DuplexStream> {
    Session::new(Stream::Plain(stream), Limits(1))
}

/// One message through a sink with `script`; the stage and what the sink saw, once a line was logged.
async fn one(
    settings: Settings,
    script: impl Fn(&str, &Seen) -> Option<String> + Send + Sync + 'static,
) -> (Stage, Arc<Mutex<Seen>>) {
    let (key, seen) = sink(script).await;
    let stage = Stage::new(Threads::delivered(), settings);
    stage.submit(stage.envelope("a@b", &[("u@x", &key), ("v@x", &key)]), b"a: b\r\n\r\nc\r\n");
    stage.until("decided", |s| !s.lines().is_empty()).await;
    (stage, seen)
}

#[tokio::test]
async fn an_envelope_goes_out_in_one_piece_and_the_content_with_its_dot() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = format!("relay:[127.0.0.1]:{}", listener.local_addr().unwrap().port());
    let stage = Stage::new(Threads::delivered(), Settings { hop_initial: 1, ..Settings::default() });
    stage.submit(stage.envelope("a@b", &[("u@x", &key), ("v@x", &key)]), b"a: b\r\n\r\n");
    stage.submit(stage.envelope("", &[("w@x", &key)]), b"c: d\r\n\r\n");
    let (mut peer, _) = listener.accept().await.unwrap();
    let mut buffer = [0; 4_096];
    let mut next = async |say: &str| {
        peer.write_all(say.as_bytes()).await.unwrap();
        let got = peer.read(&mut buffer).await.unwrap();
        String::from_utf8(buffer[..got].to_vec()).unwrap()
    };
    assert_eq!(next("220 x\r\n").await, "EHLO localhost\r\n");
    let first = next("250-x\r\n250 PIPELINING\r\n").await;
    assert_eq!(first, "MAIL From:<a@b>\r\nRCPT To:<u@x>\r\nRCPT To:<v@x>\r\nDATA\r\n");
    // The next envelope rides along (RFC 2920 3.1).
    let second = next("250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
    assert_eq!(second, "a: b\r\n\r\n.\r\nMAIL From:<>\r\nRCPT To:<w@x>\r\nDATA\r\n");
    assert_eq!(next("250 done\r\n250 ok\r\n250 ok\r\n354 go\r\n").await, "c: d\r\n\r\n.\r\n");
    assert_eq!(next("250 done\r\n").await, "QUIT\r\n");
    assert_eq!(stage.store.finished().len(), 2);
}

#[tokio::test]
async fn without_pipelining_step_by_step() {
    let script = |command: &str, _: &Seen| match command {
        c if c.starts_with("EHLO") => Some("500 what?".to_owned()),
        "RCPT To:<u@x>" => Some("550 no".to_owned()),
        _ => None,
    };
    let (stage, seen) = one(Settings::default(), script).await;
    stage.until("v went through", |s| s.has_line("to=<v@x>")).await;
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.commands[..2], ["EHLO localhost", "HELO localhost"]);
    assert_eq!(seen.messages, ["a: b\r\n\r\nc\r\n"]);
    assert!(stage.has_line("to=<u@x>") && stage.has_line("dsn=5.1.1, reply=550 no, stat=User unknown"));
}

#[tokio::test]
async fn everybody_refused_but_354_gets_a_lone_dot() {
    let script = |command: &str, _: &Seen| command.starts_with("RCPT").then(|| "452 4.2.2 full".to_owned());
    let (stage, seen) = one(Settings::default(), script).await;
    assert!(stage.has_line("to=<u@x>,<v@x>") && stage.has_line("stat=Deferred: 452 4.2.2 full"));
    assert_eq!(seen.lock().unwrap().messages, [""]);
}

#[tokio::test]
async fn a_refused_mail_or_data_or_dot_is_everybodys_fate() {
    for (verb, reply, stat) in [
        ("MAIL", "552 5.3.4 too big", "dsn=5.3.4, reply=552 5.3.4 too big, stat=Service unavailable"),
        ("DATA", "451 not now", "dsn=4.3.0, reply=451 not now, stat=Deferred: 451 not now"),
        (".", "554 5.7.1 spam", "dsn=5.7.1, reply=554 5.7.1 spam, stat=Service unavailable"),
        (".", "354 what", "stat=Deferred: unexpected reply to DATA: 354 what"),
    ] {
        let script = move |command: &str, _: &Seen| command.starts_with(verb).then(|| reply.to_owned());
        let (stage, _) = one(Settings::default(), script).await;
        assert!(stage.has_line("to=<u@x>,<v@x>") && stage.has_line(stat), "{verb}: {:?}", stage.lines());
    }
}

#[tokio::test]
async fn lost_between_dot_and_answer_is_temporary() {
    let (stage, seen) = one(Settings::default(), |command, _| (command == ".").then(String::new)).await;
    assert!(stage.has_line("dsn=4.4.2, stat=Deferred: Connection reset by [127.0.0.1]"), "{:?}", stage.lines());
    assert_eq!(seen.lock().unwrap().messages.len(), 1);
    assert!(stage.store.finished().is_empty());
}

#[tokio::test(start_paused = true)]
async fn silence_ends_by_the_rfcs_limits() {
    let (ours, theirs) = duplex(1_000);
    let mut session = session(ours);
    let began = tokio::time::Instant::now();
    let limit = session.limits.greeting();
    assert!(matches!(session.answer(limit).await, Err(Broken::Timeout)));
    assert_eq!(began.elapsed().as_secs(), 300);
    // A shorter limit after a longer one, and one byte at a time does not help.
    let limit = session.limits.data();
    let drip = async {
        let mut theirs = theirs;
        for _ in 0..1_000 {
            theirs.write_all(b"2").await.unwrap();
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    };
    let began = tokio::time::Instant::now();
    tokio::select! {
        result = session.answer(limit) => assert!(matches!(result, Err(Broken::Timeout | Broken::Protocol(_)))),
        () = drip => panic!("never ended"),
    }
    assert!(began.elapsed().as_secs() <= 121);
}

#[tokio::test]
async fn nonsense_is_not_a_reply() {
    let (ours, theirs) = duplex(1_000);
    let script: Arc<super::fake::Script> =
        Arc::new(|command: &str, _: &Seen| (command == "GREETING").then(|| "SSH-2.0".to_owned()));
    tokio::spawn(serve(theirs, script, Arc::default()));
    let mut session = session(ours);
    let limit = session.limits.greeting();
    let error = session.answer(limit).await.unwrap_err();
    assert_eq!(error.text("h."), "not an SMTP reply from h.");
}

fn offers_tls(command: &str) -> Option<String> {
    command.starts_with("EHLO").then(|| "250-sink\r\n250 STARTTLS".to_owned())
}

#[tokio::test]
async fn a_failed_handshake_is_followed_by_clear_text_on_a_fresh_connection_only() {
    for reply in ["220 go", "454 4.7.0 no TLS now", "220 go\r\n250 injected"] {
        // After 220 the sink goes on in clear text, which is no handshake.
        let script = move |command: &str, _: &Seen| match command {
            "STARTTLS" => Some(reply.to_owned()),
            _ => offers_tls(command),
        };
        let (stage, seen) = one(Settings::default(), script).await;
        assert!(stage.has_line("stat=Sent"), "{:?}", stage.lines());
        assert_eq!(seen.lock().unwrap().connections, 2, "{reply}");
        let required = Settings { tls: Tls::Required, ..Settings::default() };
        let (stage, seen) = one(required, script).await;
        assert!(stage.has_line("stat=Deferred: "), "{:?}", stage.lines());
        assert!(seen.lock().unwrap().messages.is_empty());
    }
}

#[tokio::test]
async fn a_stripped_starttls_defers_when_required() {
    let (stage, seen) = one(Settings { tls: Tls::Required, ..Settings::default() }, |_, _| None).await;
    assert!(stage.has_line("dsn=4.7.10, stat=Deferred: encryption required, but not offered"));
    assert!(seen.lock().unwrap().messages.is_empty());
}

#[tokio::test]
async fn goes_through_tls_with_any_certificate() {
    let (route, seen) = secure_sink("250-x\r\n250 STARTTLS", |_, _| None).await;
    let stage = Stage::new(Threads::delivered(), Settings { tls: Tls::Required, ..Settings::default() });
    stage.submit(stage.envelope("a@b", &[("u@x", &route)]), b"a: b\r\n\r\n");
    stage.until("sent", |s| s.has_line("stat=Sent (ok queued)")).await;
    assert_eq!(seen.lock().unwrap().commands[0], "EHLO localhost");
    assert_eq!(seen.lock().unwrap().messages.len(), 1);
    // There are no authorities here.
    let line = "STARTTLS=client, relay=[127.0.0.1] [127.0.0.1], version=TLSv1.3, verify=TEMP, cipher=TLS_";
    assert!(stage.has_line(line), "{:?}", stage.lines());
}
