//! Whole sessions over a stream in memory, into a real spool.

use super::*;
use crate::check::tests::{Everybody, Fake, Zone};
use crate::{Next, Parts, Settings};
use mail::Time;
use mail::log::{Event, Log};
use mail::time::Clock;
use queue::{Accepted, Content, Envelope, Select, Store};
use route::{Router, Tables};
use std::collections::HashMap;
use std::sync::Mutex;
use table::{Answer, Generics, Hit, Judgement, Mailbox, Table, Unavailable, Why};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Aliases(HashMap<&'static str, &'static str>);

impl Table for Aliases {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let why = Why { source: "/etc/aliases".into(), line: 3, key: key.to_owned() };
        let hit = self.0.get(key).map(|value| Hit { value: (*value).to_owned(), why });
        Box::pin(std::future::ready(if key == "broken" { Err(Unavailable("gone".into())) } else { Ok(hit) }))
    }
}

/// Everybody whose name begins with `x` has an outside name.
struct Outside(#[allow(dead_code, reason = "a table without a field counts as none")] u8);

impl Generics for Outside {
    fn outside<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Hit> {
        let why = Why { source: "generics".into(), line: 1, key: address.user.to_owned() };
        let hit = address.user.starts_with('x').then(|| Hit { value: format!("{}@world.example", address.user), why });
        let broken = address.user == "broken";
        Box::pin(std::future::ready(if broken { Err(Unavailable("generics".into())) } else { Ok(hit) }))
    }
}

#[derive(Default)]
struct Collected(Mutex<Vec<Accepted>>);

impl Next for Collected {
    fn accepted(&self, message: Accepted) {
        self.0.lock().unwrap().push(message);
    }
    fn accepted_watched(&self, message: Accepted, _: Arc<dyn call::submit::Witness>) {
        self.accepted(message);
    }
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn write(&self, event: &Event) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Time {
        Time { wall: 1_795_292_466_000, mono: 5 }
    }
    fn zone(&self, _unix: i64) -> (i32, String) {
        (0, "GMT".into())
    }
}

/// A receiving side with its spool in a folder of its own.
struct Side {
    receive: Arc<Receive>,
    next: Arc<Collected>,
    log: Arc<Lines>,
    store: Arc<dyn Store>,
    _folder: tempfile::TempDir,
}

impl Side {
    fn new(settings: Settings, route: route::Settings, access: &[(&str, Judgement)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let queue = queue::Settings { path, segment: 64 << 10, min_free: 1 << 20, ..queue::Settings::default() };
        let (spool, _) = queue::spool::Spool::open(&queue, Fixed.now()).unwrap();
        let store: Arc<dyn Store> = spool;
        let (next, log) = (Arc::new(Collected::default()), Arc::new(Lines::default()));
        let aliases = [
            ("list", "alice\nbob\nmember@far.example"),
            ("owner-list", "carol@far.example"),
            ("crew", "dave"),
            ("owner-crew", "erin"),
        ];
        let tables = Tables {
            aliases: Arc::new(Aliases(aliases.into_iter().collect())),
            generics: if route.generics_domains.is_empty() { Arc::new(table::Nothing) } else { Arc::new(Outside(1)) },
            access: Arc::new(Fake::with(access)),
            accounts: Arc::new(Everybody),
            ..Tables::default()
        };
        let route = route::Settings {
            host: "mx.example.org".into(),
            local_domains: vec!["example.org".into()],
            alias_depth: 10,
            alias_limit: 100,
            ..route
        };
        let current = Current { settings, router: Arc::new(Router::new(route, tables)), tls: None };
        let parts = Parts {
            store: Arc::clone(&store),
            next: Arc::<Collected>::clone(&next),
            resolver: Arc::new(Zone),
            accounts: Arc::new(Everybody),
            log: Arc::<Lines>::clone(&log),
            clock: Arc::new(Fixed),
        };
        Self { receive: Receive::new(current, parts), next, log, store, _folder: folder }
    }
    /// Says the lines and returns the first words of the replies (code and status), or whole replies.
    async fn say(&self, ip: &str, lines: &[&str]) -> Vec<String> {
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let ip: IpAddr = ip.parse().unwrap();
        let peer = Peer { ip, name: "client.far.example".into(), resolved: Resolved::Ok, listener: "MTA".into() };
        let serving = tokio::spawn(serve(Arc::clone(&self.receive), server, peer));
        client.write_all(format!("{}\r\nQUIT\r\n", lines.join("\r\n")).as_bytes()).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        serving.await.unwrap();
        said.lines().filter(|line| line.as_bytes().get(3) == Some(&b' ')).map(str::to_owned).collect()
    }
    /// Sends one message and returns the reply to its content.
    async fn send(&self, from: &str, to: &[&str], content: &str) -> String {
        let mut lines = vec!["EHLO c".to_owned(), format!("MAIL FROM:<{from}>")];
        lines.extend(to.iter().map(|to| format!("RCPT TO:<{to}>")));
        lines.extend(["DATA".to_owned(), content.replace('\n', "\r\n"), ".".to_owned()]);
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let replies = self.say("198.51.100.1", &lines).await;
        replies.iter().rev().nth(1).cloned().unwrap_or_default()
    }
    fn accepted(&self) -> Vec<(Arc<Envelope>, String)> {
        let text = |accepted: &Accepted| match &accepted.content {
            Some(Content::Memory(bytes)) => String::from_utf8_lossy(bytes).into_owned(),
            _ => String::new(),
        };
        self.next.0.lock().unwrap().iter().map(|a| (Arc::clone(&a.envelope), text(a))).collect()
    }
    fn logged(&self, text: &str) -> bool {
        self.log.0.lock().unwrap().iter().any(|line| line.contains(text))
    }
}

fn routes(envelope: &Envelope) -> String {
    let routes: Vec<&str> = envelope.recipients.iter().map(|r| r.route.as_str()).collect();
    format!("{}: {}", envelope.sender, routes.join(" "))
}

#[tokio::test]
async fn the_members_of_a_list_have_its_owner_as_sender() {
    let side = Side::new(Settings::default(), route::Settings::default(), &[]);
    let to = ["alice@example.org", "list@example.org", "crew@example.org", "dave@example.org"];
    let reply = side.send("a@far.example", &to, "Subject: x\n\nhi").await;
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    let accepted = side.accepted();
    let mut shown: Vec<String> = accepted.iter().map(|(envelope, _)| routes(envelope)).collect();
    shown.sort();
    assert_eq!(
        shown,
        [
            "a@far.example: local:alice",
            "carol@far.example: local:bob smtp:far.example",
            "erin@mx.example.org: local:dave",
        ]
    );
    let ids: std::collections::HashSet<_> = accepted.iter().map(|(envelope, _)| envelope.id).collect();
    let contents: std::collections::HashSet<_> = accepted.iter().map(|(envelope, _)| envelope.content).collect();
    assert_eq!((ids.len(), contents.len()), (3, 1), "one content, three envelopes");
    assert!(side.logged("clone: owner=carol@far.example"));
    let (clone, _) = accepted.iter().find(|(envelope, _)| envelope.recipients.len() == 2).unwrap();
    assert_eq!(clone.sender_given, "carol@far.example");
    assert!(clone.recipients.iter().all(|r| r.notify.failure && !r.notify.wants_delay()));
}

#[tokio::test]
async fn a_list_alone_keeps_the_id_that_the_client_hears() {
    let side = Side::new(Settings::default(), route::Settings::default(), &[]);
    let reply = side.send("a@far.example", &["list@example.org"], "Subject: x\n\nhi").await;
    let accepted = side.accepted();
    assert_eq!(accepted.len(), 1);
    assert!(reply.contains(&accepted[0].0.id.to_string()), "{reply}");
}

#[tokio::test]
async fn what_access_throws_away_or_holds() {
    let access = [
        ("from void@far.example", Judgement::Discard),
        ("from odd@far.example", Judgement::Quarantine("looks odd".into())),
        ("to gone@example.org", Judgement::Discard),
    ];
    let settings = Settings { blocklist_recipients: true, ..Settings::default() };
    let side = Side::new(settings, route::Settings::default(), &access);
    assert!(side.send("void@far.example", &["alice@example.org"], "X: y\n\n").await.starts_with("250 2.0.0"));
    assert!(side.send("a@far.example", &["gone@example.org"], "X: y\n\n").await.starts_with("250 2.0.0"));
    assert!(side.accepted().is_empty() && side.logged("discarded"));
    assert_eq!(side.store.count(Select::default()).await.unwrap(), 0);
    // One recipient that wants nothing takes nothing from the others.
    let both = ["gone@example.org", "alice@example.org"];
    assert!(side.send("a@far.example", &both, "X: y\n\n").await.starts_with("250 2.0.0"));
    assert_eq!(routes(&side.accepted()[0].0), "a@far.example: local:alice");
    assert!(side.send("odd@far.example", &["alice@example.org"], "X: y\n\n").await.starts_with("250 2.0.0"));
    let held = side.store.list(Select { held: Some(true), ..Select::default() }, None, 10).await.unwrap();
    assert_eq!(held[0].envelope.hold.as_deref(), Some("looks odd"));
    assert_eq!(side.accepted().len(), 1, "what is held is not handed on");
}

#[tokio::test]
async fn a_client_that_is_refused_hears_it_in_every_reply() {
    let entry = [("connect 198.51.100.1", Judgement::Reject), ("connect 198.51.100.2", Judgement::Discard)];
    let side = Side::new(Settings::default(), route::Settings::default(), &entry);
    let lines = ["EHLO c", "MAIL FROM:<a@far.example>", "RCPT TO:<alice@example.org>", "DATA"];
    let said = side.say("198.51.100.1", &lines).await;
    assert!(said[0].starts_with("220 localhost ESMTP ") && said[1].starts_with("250"));
    assert_eq!(said[2..5], ["550 5.7.1 Access denied"; 3]);
    assert!(said[5].starts_with("221 "));
    assert!(side.logged("ruleset=check_relay, arg1=client.far.example, arg2=198.51.100.1"));
    let lines = ["EHLO c", "MAIL FROM:<a@far.example>", "RCPT TO:<alice@example.org>", "DATA", "X: y", "."];
    assert!(side.say("198.51.100.2", &lines).await[5].starts_with("250 2.0.0"));
    assert!(side.accepted().is_empty());
    // With delay_checks the same client is welcomed, and refused at RCPT.
    let late = Settings { delay_checks: crate::DelayChecks::On, ..Settings::default() };
    let side = Side::new(late, route::Settings::default(), &entry);
    let said = side.say("198.51.100.1", &lines[..3]).await;
    assert!(said[0].starts_with("220 ") && said[2].starts_with("250 "));
    assert_eq!(said[3], "550 5.7.1 <alice@example.org>... Access denied");
}

#[tokio::test]
async fn refusals_in_sendmails_words() {
    let access = [("from spam@far.example", Judgement::Reject)];
    let side = Side::new(Settings::default(), route::Settings::default(), &access);
    let said = side
        .say(
            "198.51.100.1",
            &[
                "EHLO c",
                "MAIL FROM:<spam@far.example>",
                "MAIL FROM:<a@gone.example>",
                "MAIL FROM:<a@far.example>",
                "RCPT TO:<u@elsewhere.example>",
                "RCPT TO:<broken@example.org>",
                "RCPT TO:<alice@example.org>",
            ],
        )
        .await;
    assert_eq!(
        said[2..8],
        [
            "550 5.7.1 <spam@far.example>... Access denied",
            "553 5.1.8 <a@gone.example>... Domain of sender address a@gone.example does not exist",
            "250 2.1.0 <a@far.example>... Sender ok",
            "550 5.7.1 <u@elsewhere.example>... Relaying denied",
            "451 4.3.0 <broken@example.org>... Temporary lookup failure; try again later",
            "250 2.1.5 <alice@example.org>... Recipient ok",
        ]
    );
}

#[tokio::test]
async fn senders_are_shown_as_configured() {
    let masked = route::Settings {
        masquerade_as: "example.com".into(),
        masquerade_envelope: true,
        generics_domains: vec!["example.org".into()],
        ..route::Settings::default()
    };
    let side = Side::new(Settings::default(), masked.clone(), &[]);
    let content = "From: Joe <joe@mx.example.org>\nReply-To: xavier@example.org\nTo: bob@example.org\nX-From: joe@mx.example.org\n\nFrom: joe@mx.example.org\n";
    assert!(side.send("joe@mx.example.org", &["alice@example.org"], content).await.starts_with("250 "));
    let (envelope, text) = side.accepted().remove(0);
    assert_eq!((envelope.sender.as_str(), envelope.sender_given.as_str()), ("joe@example.com", "joe@mx.example.org"));
    let (_, own) = text.split_once("From: ").unwrap();
    assert_eq!(
        own,
        "Joe <joe@example.com>\r\nReply-To: xavier@world.example\r\nTo: bob@example.org\r\nX-From: joe@mx.example.org\r\n\r\nFrom: joe@mx.example.org\r\n\r\n"
    );
    // A table that cannot be asked is a reason to come again.
    let broken = "From: broken@example.org\n\nx";
    let reply = side.send("a@far.example", &["alice@example.org"], broken).await;
    assert!(reply.starts_with("451 4.3.0"), "{reply}");
    let inside = Side::new(Settings::default(), route::Settings { local_no_masquerade: true, ..masked }, &[]);
    assert!(inside.send("a@far.example", &["alice@example.org"], content).await.starts_with("250 "));
    assert!(inside.accepted()[0].1.contains("From: Joe <joe@mx.example.org>"));
    let long =
        format!("From: joe@mx.example.org\nX: {}\n\nbody", "y".repeat(9_000).replace("yyyyyyyyy", "yyyyyyyy\n "));
    assert!(side.send("a@far.example", &["alice@example.org"], &long).await.starts_with("250 "));
    let (envelope, text) = side.accepted().remove(1);
    assert_eq!(envelope.size as usize, text.len());
    assert!(text.contains("From: joe@example.com\r\n") && text.contains("\r\n\r\nbody\r\n"));
}

#[tokio::test]
async fn a_name_without_a_domain_is_in_the_generics_table_whatever_their_domains() {
    let route = route::Settings {
        masquerade_envelope: true,
        generics_domains: vec!["other.example".into()],
        ..route::Settings::default()
    };
    let settings = Settings { accept_unqualified_senders: true, ..Settings::default() };
    let side = Side::new(settings, route, &[]);
    for (given, sender) in [("xeno", "xeno@world.example"), ("joe", "joe@mx.example.org"), ("", "")] {
        let content = format!("From: {given}\n\n");
        assert!(side.send(given, &["alice@example.org"], &content).await.starts_with("250 "), "{given}");
        let accepted = side.accepted();
        let (envelope, _) = accepted.iter().find(|(envelope, _)| envelope.sender.as_str() == sender).expect(sender);
        assert_eq!(envelope.sender_given, given);
    }
}

#[tokio::test]
async fn hidden_recipients_stay_hidden() {
    let side = Side::new(Settings::default(), route::Settings::default(), &[]);
    let long = "x\n ".repeat(2_000);
    for (content, passed) in [
        (
            "Bcc: eve@far.example,\n\tfred\nReturn-Path: <x@y>\nTo: bob\nX: 1\n\nBcc: body\n",
            "To: bob\r\nX: 1\r\n\r\nBcc: body\r\n",
        ),
        ("Bcc: eve@far.example\nResent-Bcc: fred\n\n", "Bcc:\r\nResent-Bcc:\r\n\r\n"),
        // More than is read at once.
        (&format!("Bcc: eve\nX: {long}\nCc: bob\n\n"), "Cc: bob\r\n\r\n"),
        (&format!("Bcc: eve\nX: {long}\n\nCc: bob\n"), "\r\n\r\nCc: bob\r\n"),
        ("Bcc: eve\nno field\n", "Bcc:\r\nno field\r\n"),
    ] {
        let reply = side.send("a@far.example", &["alice@example.org"], content).await;
        assert!(reply.starts_with("250 2.0.0"), "{reply}");
        let (envelope, text) = side.accepted().pop().unwrap();
        assert!(text.contains(passed) && !text.contains("eve"), "{text}");
        assert!(!text.contains("Return-Path") && envelope.size as usize == text.len());
    }
}

#[tokio::test]
async fn addresses_are_written_in_full() {
    let route = route::Settings { relay_domains: vec!["partner.example".into()], ..route::Settings::default() };
    let side = Side::new(Settings::default(), route, &[]);
    let lines = ["EHLO c", "MAIL FROM:<a@far.example>", "RCPT TO:<u@far.example>"];
    side.say("2001:db8:0:1::5", &lines).await;
    assert!(side.logged("relay=client.far.example [IPv6:2001:db8:0:1:0:0:0:5], reject=550"));
}

#[tokio::test]
async fn what_leaves_shows_no_name_alone() {
    let trusting = route::Settings { relay_clients: vec!["0.0.0.0/0".into()], ..route::Settings::default() };
    // With FEATURE(accept_unqualified_senders); without it such a sender would be refused.
    let side = Side::new(Settings { accept_unqualified_senders: true, ..Settings::default() }, trusting, &[]);
    let content = "From: joe\nCc: bob (b), u@localhost,\n c@[127.0.0.1], d@far.example\n\nTo: bob\n";
    assert!(side.send("joe@localhost.example.org", &["bob@far.example"], content).await.starts_with("250 "));
    assert!(side.send("joe@far.example", &["alice@example.org"], content).await.starts_with("250 "));
    let accepted = side.accepted();
    assert_eq!(accepted[0].0.sender.as_str(), "joe@mx.example.org");
    let away = "From: joe@mx.example.org\r\nCc: bob@mx.example.org (b), u@mx.example.org,\r\n c@mx.example.org, d@far.example\r\n\r\nTo: bob\r\n";
    assert!(accepted[0].1.contains(away), "{}", accepted[0].1);
    assert!(accepted[1].1.contains("From: joe\r\nCc: bob (b), u@localhost,\r\n c@[127.0.0.1]"), "{}", accepted[1].1);
}

#[tokio::test]
async fn a_client_is_offered_what_access_says() {
    let side =
        |entry: &'static str| Side::new(Settings::default(), route::Settings::default(), &[(entry, Judgement::Ok)]);
    let lines = ["EHLO c", "MAIL FROM:<a@far.example> RET=HDRS", "MAIL FROM:<a@far.example>"];
    let said = side("offer little").say("198.51.100.1", &lines).await;
    assert!(said[2].starts_with("504 5.7.0") && said[3].starts_with("250 2.1.0"), "{said:?}");
    let said = side("offer after auth").say("198.51.100.1", &lines).await;
    assert_eq!(said[3], "530 5.7.0 Authentication required");
    let later = side("offer later");
    let said = later.say("198.51.100.1", &lines).await;
    assert_eq!(said[2], "450 4.3.0 Please try again later.");
    assert!(later.logged("srv_features=tempfail"));
    let said = side("offer broken").say("198.51.100.1", &[]).await;
    assert!(said[0].starts_with("421 4.3.0 Temporary system failure"), "{said:?}");
}
