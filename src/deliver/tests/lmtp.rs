//! LMTP against a scripted server on a socket of this host: a reply for each recipient, and whom a local mailbox's mail is for.

use super::fake::{Stage, Threads};
use crate::Settings;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// A listening socket, its path removed with it.
struct Server(UnixListener, PathBuf);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.1);
    }
}

fn server() -> (Server, String) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("postrider-lmtp-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
    let path = std::env::temp_dir().join(name);
    let key = format!("lmtp:{}", path.display());
    (Server(UnixListener::bind(&path).unwrap(), path), key)
}

/// Says something, and what came then.
async fn next(peer: &mut UnixStream, say: &str) -> String {
    peer.write_all(say.as_bytes()).await.unwrap();
    let mut buffer = [0; 4_096];
    let got = peer.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..got].to_vec()).unwrap()
}

/// Takes so many messages in one session; the RCPT lines of all.
async fn taken(mut peer: UnixStream, messages: usize) -> Vec<String> {
    peer.write_all(b"220 x LMTP\r\n").await.unwrap();
    let (read, mut write) = peer.split();
    let mut lines = BufReader::new(read).lines();
    let (mut seen, mut inside, mut left) = (Vec::new(), false, messages);
    while left > 0 {
        let line = lines.next_line().await.unwrap().unwrap();
        let reply = match line.split([' ', ':']).next().unwrap_or_default() {
            "." if inside => {
                (inside, left) = (false, left - 1);
                "250 2.0.0 saved\r\n"
            }
            _ if inside => continue,
            "LHLO" => "250-x\r\n250 PIPELINING\r\n",
            "DATA" => {
                inside = true;
                "354 go\r\n"
            }
            _ => "250 ok\r\n",
        };
        seen.extend(Some(line).filter(|line| !inside && line.starts_with("RCPT")));
        write.write_all(reply.as_bytes()).await.unwrap();
    }
    seen
}

fn one_connection() -> Settings {
    Settings { hop_initial: 1, hop_limit: 1, ..Settings::default() }
}

#[tokio::test]
async fn each_recipient_has_his_own_reply_after_the_dot() {
    let (server, key) = server();
    let stage = Stage::new(Threads::delivered(), one_connection());
    let to = [("a@x", &*key), ("b@x", &*key), ("c@x", &*key), ("d@x", &*key)];
    stage.submit(stage.envelope("s@y", &to), b"a: b\r\n\r\n.c\r\n");
    let (mut peer, _) = server.0.accept().await.unwrap();
    assert_eq!(next(&mut peer, "220 x LMTP\r\n").await, "LHLO localhost\r\n");
    let envelope = next(&mut peer, "250-x\r\n250 PIPELINING\r\n").await;
    assert_eq!(
        envelope,
        "MAIL From:<s@y>\r\nRCPT To:<a@x>\r\nRCPT To:<b@x>\r\nRCPT To:<c@x>\r\nRCPT To:<d@x>\r\nDATA\r\n"
    );
    let content = next(&mut peer, "250 ok\r\n250 ok\r\n550 5.1.1 who?\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
    assert_eq!(content, "a: b\r\n\r\n..c\r\n.\r\n");
    let replies = "250 2.0.0 <a> saved\r\n452 4.2.2 <c> full\r\n554 5.6.0 <d> no\r\n";
    assert_eq!(next(&mut peer, replies).await, "QUIT\r\n");
    stage.until("all are decided", |s| s.has_line("to=<d@x>")).await;
    assert!(stage.has_line("to=<a@x>") && stage.has_line("mailer=lmtp") && stage.has_line("stat=Sent"));
    assert!(stage.has_line("to=<b@x>") && stage.has_line("dsn=5.1.1, reply=550 5.1.1 who?, stat=User unknown"));
    assert!(stage.has_line("to=<c@x>") && stage.has_line("dsn=4.2.2, reply=452 4.2.2 <c> full, stat=Deferred"));
    assert!(stage.has_line("dsn=5.6.0, reply=554 5.6.0 <d> no"));
}

#[tokio::test]
async fn who_has_his_reply_keeps_it_when_the_session_breaks() {
    let (server, key) = server();
    let stage = Stage::new(Threads::delivered(), one_connection());
    stage.submit(stage.envelope("s@y", &[("a@x", &key), ("b@x", &key)]), b"a: b\r\n\r\n");
    let (mut peer, _) = server.0.accept().await.unwrap();
    next(&mut peer, "220 x LMTP\r\n").await;
    next(&mut peer, "250-x\r\n250 PIPELINING\r\n").await;
    next(&mut peer, "250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n").await;
    peer.write_all(b"250 2.0.0 saved\r\n").await.unwrap();
    drop(peer);
    stage.until("both are decided", |s| s.has_line("to=<b@x>")).await;
    let lines = stage.lines();
    let of = |to: &str| lines.iter().find(|line| line.contains(to)).unwrap();
    assert!(of("to=<a@x>").contains("stat=Sent") && of("to=<b@x>").contains("stat=Deferred: Connection reset by"));
}

#[tokio::test]
async fn content_without_a_recipient_is_not_asked_for() {
    let (server, key) = server();
    let stage = Stage::new(Threads::delivered(), one_connection());
    stage.submit(stage.envelope("s@y", &[("a@x", &key)]), b"a: b\r\n\r\n");
    let (mut peer, _) = server.0.accept().await.unwrap();
    next(&mut peer, "220 x LMTP\r\n").await;
    next(&mut peer, "250-x\r\n250 PIPELINING\r\n").await;
    // Nobody would answer a dot, so the session is given up.
    assert_eq!(next(&mut peer, "250 ok\r\n452 4.2.2 full\r\n354 go\r\n").await, "");
    stage.until("decided", |s| s.has_line("to=<a@x>")).await;
    assert!(stage.has_line("dsn=4.2.2") && stage.has_line("stat=Deferred: 452 4.2.2 full"));
}

#[tokio::test]
async fn a_local_mailbox_elsewhere_is_addressed_by_its_user_after_his_forward_was_asked() {
    let (server, key) = server();
    let agents = Threads::delivered();
    let stage = Stage::new(agents.clone(), Settings { lmtp: Some(key), idle: 60_000, ..one_connection() });
    let to = [("Alice@here", "local:alice"), ("list@here", "local:\\carl+x")];
    stage.submit(stage.envelope("s@y", &to), b"a: b\r\n\r\n");
    let (peer, _) = server.0.accept().await.unwrap();
    // The second envelope may come behind the first content, or after its reply.
    let mut seen = taken(peer, 2).await;
    seen.sort();
    assert_eq!(seen, ["RCPT To:<alice>", "RCPT To:<carl+x>"]);
    assert!(agents.batches.lock().unwrap().is_empty(), "no agent has the mailbox");
    assert_eq!(agents.started.load(Ordering::SeqCst), 1, "nobody asks for whom the sender's backslash has");
    stage.until("sent", |s| s.has_line("to=<list@here>") && s.has_line("to=<Alice@here>")).await;
}

#[tokio::test]
async fn no_server_defers() {
    let stage = Stage::new(Threads::delivered(), one_connection());
    stage.submit(stage.envelope("s@y", &[("a@x", "lmtp:/nonexistent/lmtp")]), b"a: b\r\n\r\n");
    stage.until("decided", |s| s.has_line("to=<a@x>")).await;
    assert!(stage.has_line("dsn=4.4.1") && stage.has_line("relay=/nonexistent/lmtp"));
}
