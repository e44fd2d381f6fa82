//! AUTH as client, against servers inside TLS and in clear text.

use super::fake::{Seen, Stage, Threads, secure_sink, sink};
use crate::{Known, Secret, Secrets, Settings, Tls};
use route::Credentials;
use std::future::ready;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

const PLAIN: &str = "AUTH PLAIN AGpvZQBUcjB1YjRkb3I=";
const OFFERS: &str = "250-x\r\n250 STARTTLS";

/// One entry for the server at 127.0.0.1.
struct Entry(Result<Credentials, String>);

impl Secrets for Entry {
    fn credentials<'a>(&'a self, host: Option<&'a str>, ip: Option<IpAddr>) -> Known<'a> {
        assert_eq!(host, None, "the server was named by its address");
        let (source, key) = ("/t/authinfo:3: AuthInfo:127.0.0.1".into(), "AuthInfo:127.0.0.1".into());
        let found = self.0.clone().map(|credentials| ip.map(|_| Secret { credentials, source, key }));
        Box::pin(ready(found))
    }
}

fn joe() -> Credentials {
    Credentials {
        user: "joe".into(),
        identity: "joe".into(),
        password: b"Tr0ub4dor".to_vec(),
        realm: None,
        mechanisms: Vec::new(),
    }
}

fn stage(entry: Result<Credentials, String>, settings: Settings) -> Stage {
    Stage::with(Threads::delivered(), settings, Arc::new(Entry(entry)))
}

/// One message to a server inside TLS, until it is decided; the sink's commands.
async fn one(
    entry: Result<Credentials, String>,
    script: impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static,
) -> (Stage, Vec<String>) {
    let (key, seen) = secure_sink(OFFERS, move |command, _| script(command).map(str::to_owned)).await;
    let stage = stage(entry, Settings { hop_initial: 1, ..Settings::default() });
    stage.submit(stage.envelope("a@b", &[("u@x", &key)]), b"a: b\r\n\r\n");
    stage.until("decided", |s| s.has_line("stat=")).await;
    keeps_its_secret(&stage);
    let commands = seen.lock().unwrap().commands.clone();
    (stage, commands)
}

/// Neither log nor queue show a password in any form.
fn keeps_its_secret(stage: &Stage) {
    let all = format!("{:?}{:?}{:?}", stage.lines(), stage.store.waiting(), stage.store.finished()).to_lowercase();
    for part in ["tr0ub4dor", "vhiwdwi0zg9y", "agpvzqbucjb1yjrkb3"] {
        assert!(!all.contains(part), "{part} in {all}");
    }
}

fn ehlo(command: &str, mechanisms: &'static str) -> Option<&'static str> {
    command.starts_with("EHLO").then_some(mechanisms)
}

#[tokio::test]
async fn says_who_we_are_once_for_each_connection() {
    let script = |command: &str, seen: &Seen| match command {
        c if c.starts_with("EHLO") => Some("250-sink\r\n250-PIPELINING\r\n250 AUTH LOGIN PLAIN".to_owned()),
        PLAIN => Some("235 2.7.0 accepted".to_owned()),
        c if c.starts_with("MAIL") && !seen.commands.iter().any(|c| c == PLAIN) => Some("530 5.7.0 who?".to_owned()),
        _ => None,
    };
    let (key, seen) = secure_sink(OFFERS, script).await;
    let stage = stage(Ok(joe()), Settings { hop_initial: 1, hop_limit: 1, ..Settings::default() });
    for n in 1..=3 {
        stage.submit(stage.envelope("a@b", &[("u@x", &key)]), b"a: b\r\n\r\n");
        stage.until("sent", |s| s.store.finished().len() == n).await;
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen.connections, seen.messages.len()), (1, 3));
    assert_eq!(seen.commands.iter().filter(|c| c.starts_with("AUTH")).count(), 1);
    assert!(stage.has_line("AUTH=client, relay=[127.0.0.1] [127.0.0.1], mech=PLAIN, bits=0"), "{:?}", stage.lines());
    keeps_its_secret(&stage);
}

#[tokio::test]
async fn by_login_where_there_is_nothing_else() {
    let script = |command: &str| match command {
        "AUTH LOGIN" => Some("334 VXNlcm5hbWU6"),
        "am9l" => Some("334 UGFzc3dvcmQ6"),
        "VHIwdWI0ZG9y" => Some("235 ok"),
        c => ehlo(c, "250-sink\r\n250 AUTH=LOGIN"),
    };
    let (stage, commands) = one(Ok(joe()), script).await;
    assert!(stage.has_line("mech=LOGIN, bits=0") && stage.has_line("stat=Sent"), "{:?}", stage.lines());
    assert_eq!(commands[1..4], ["AUTH LOGIN", "am9l", "VHIwdWI0ZG9y"]);
}

#[tokio::test]
async fn the_next_mechanism_if_the_server_dislikes_the_first() {
    let script = |command: &str| match command {
        PLAIN => Some("504 5.5.4 unrecognized: AUTH PLAIN AGpvZQBUcjB1YjRkb3I="),
        "AUTH LOGIN" | "am9l" => Some("334 "),
        "VHIwdWI0ZG9y" => Some("235 ok"),
        c => ehlo(c, "250-sink\r\n250 AUTH PLAIN LOGIN"),
    };
    let (stage, _) = one(Ok(joe()), script).await;
    assert!(stage.has_line("mech=LOGIN, bits=0") && stage.has_line("stat=Sent"), "{:?}", stage.lines());
}

#[tokio::test]
async fn a_refused_password_defers_and_is_said_once() {
    let source = "(credentials: /t/authinfo:3: AuthInfo:127.0.0.1)";
    for (reply, shown) in [
        ("535 5.7.8 authentication failed", "535 5.7.8 authentication failed"),
        ("535 5.7.8 joe has no password TR0UB4DOR", "535 5.7.8 (the text repeats what was sent)"),
        ("500 what is AUTH PLAIN AGpvZQBUcjB1?", "500 (the text repeats what was sent)"),
        ("454 4.7.0 temporary authentication failure", "454 4.7.0 temporary authentication failure"),
        ("250 ok", ""),
    ] {
        let script = move |command: &str| match command {
            PLAIN => Some(reply),
            c => ehlo(c, "250-sink\r\n250 AUTH PLAIN LOGIN"),
        };
        let (stage, commands) = one(Ok(joe()), script).await;
        if shown.is_empty() {
            assert!(stage.has_line("stat=Sent"));
            continue;
        }
        assert!(
            stage.has_line(&format!("dsn=4.7.8, stat=Deferred: AUTH PLAIN: {shown} {source}")),
            "{:?}",
            stage.lines()
        );
        assert_eq!(commands.iter().filter(|c| c.starts_with("AUTH")).count(), 1, "{commands:?}");
        assert!(!commands.iter().any(|c| c.starts_with("MAIL")) && stage.store.finished().is_empty());
        // The next message is not another try.
        let route = stage.store.waiting()[0].recipients[0].route.clone();
        stage.submit(stage.envelope("c@d", &[("v@x", &route)]), b"a: b\r\n\r\n");
        stage.until("put off", |s| s.has_line("to=<v@x>")).await;
        assert!(stage.store.waiting().iter().any(|e| e.recipients[0].tries == 0), "{:?}", stage.store.waiting());
    }
}

#[tokio::test]
async fn a_server_that_breaks_the_dialogue_defers() {
    for reply in ["334 more", ""] {
        let script = move |command: &str| match command {
            PLAIN => Some(reply),
            c => ehlo(c, "250-sink\r\n250 AUTH PLAIN"),
        };
        let (stage, _) = one(Ok(joe()), script).await;
        assert!(stage.has_line("dsn=4.4.2, stat=Deferred: "), "{:?}", stage.lines());
    }
}

/// A message through a server without TLS.
async fn in_clear(offers: &'static str, refuse: &'static str) -> (Stage, Arc<Mutex<Seen>>) {
    let (key, seen) = sink(move |command, _| match command {
        c if c.starts_with("EHLO") => Some(offers.to_owned()),
        c if c.starts_with(refuse) && !refuse.is_empty() => Some("530 5.7.0 Authentication required".to_owned()),
        _ => None,
    })
    .await;
    let stage = stage(Ok(joe()), Settings { tls: Tls::May, ..Settings::default() });
    stage.submit(stage.envelope("a@b", &[("u@x", &key)]), b"a: b\r\n\r\n");
    stage.until("decided", |s| s.has_line("stat=")).await;
    assert!(!seen.lock().unwrap().commands.iter().any(|c| c.starts_with("AUTH")));
    keeps_its_secret(&stage);
    (stage, seen)
}

#[tokio::test]
async fn never_in_clear_text() {
    // Without STARTTLS, and when the handshake fails.
    for offers in ["250-x\r\n250 AUTH PLAIN LOGIN", "250-x\r\n250-AUTH PLAIN LOGIN\r\n250 STARTTLS"] {
        let (stage, seen) = in_clear(offers, "").await;
        assert!(stage.has_line("AUTH=client, relay=[127.0.0.1] [127.0.0.1], not used: no TLS"), "{:?}", stage.lines());
        assert!(stage.has_line("stat=Sent") && seen.lock().unwrap().messages.len() == 1);
    }
    for refuse in ["MAIL", "RCPT", "DATA", "."] {
        let (stage, _) = in_clear("250-x\r\n250-AUTH PLAIN\r\n250 PIPELINING", refuse).await;
        let stat = "dsn=4.7.0, stat=Deferred: 530 5.7.0 Authentication required (not authenticated: no TLS)";
        assert!(stage.has_line(stat), "{refuse}: {:?}", stage.lines());
        assert!(stage.store.finished().is_empty());
    }
}

#[tokio::test]
async fn a_server_without_a_common_mechanism_gets_the_mail_as_it_is() {
    for (offers, reason) in [("250 sink", "AUTH not offered"), ("250-x\r\n250 AUTH GSSAPI", "no mechanism in common")] {
        let (stage, _) = one(Ok(joe()), move |command| ehlo(command, offers)).await;
        assert!(stage.has_line(&format!("not used: {reason}")) && stage.has_line("stat=Sent"), "{:?}", stage.lines());
    }
    let wants_more = Credentials { mechanisms: vec!["DIGEST-MD5".into()], ..joe() };
    let (stage, _) = one(Ok(wants_more), |command| ehlo(command, "250-x\r\n250 AUTH PLAIN")).await;
    assert!(stage.has_line("not used: no mechanism in common"), "{:?}", stage.lines());
}

#[tokio::test]
async fn credentials_that_cannot_be_used_or_read_defer() {
    let offers = |command: &str| ehlo(command, "250-x\r\n250 AUTH PLAIN");
    let broken = Credentials { password: b"Tr0ub4dor\r\nQUIT".to_vec(), ..joe() };
    let (stage, commands) = one(Ok(broken), offers).await;
    let stat = "dsn=4.7.0, stat=Deferred: control character in name or password in the credentials (/t/authinfo:3: ";
    assert!(stage.has_line(stat), "{:?}", stage.lines());
    assert!(!commands.iter().any(|c| c.starts_with("AUTH") || c.starts_with("MAIL")));
    let (stage, _) = one(Err("/t/authinfo: Permission denied".into()), offers).await;
    let stat = "dsn=4.3.0, stat=Deferred: credentials for [127.0.0.1]: /t/authinfo: Permission denied";
    assert!(stage.has_line(stat), "{:?}", stage.lines());
}
