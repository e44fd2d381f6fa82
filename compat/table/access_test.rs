use super::*;
use crate::scratch::{Broken, raw, wait};
use std::sync::Mutex;

/// Says no to everything and writes down what it was asked.
#[derive(Default)]
struct Asked(Mutex<Vec<String>>);

impl Table for Asked {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        self.0.lock().unwrap().push(key.to_owned());
        Box::pin(std::future::ready(Ok(None)))
    }
}

fn keys(options: Options, question: impl FnOnce(&AccessTable)) -> Vec<String> {
    let asked = Arc::new(Asked::default());
    question(&AccessTable::new(asked.clone(), options));
    std::mem::take(&mut asked.0.lock().unwrap())
}

fn table(text: &str) -> AccessTable {
    AccessTable::new(raw(text), Options { skip: true, ..Options::default() })
}

fn client<'a>(ip: &str, name: Option<&'a str>) -> Client<'a> {
    Client { ip: Some(ip.parse().unwrap()), name }
}

fn mailbox<'a>(user: &'a str, domain: &'a str) -> Mailbox<'a> {
    Mailbox { user, domain: Some(domain).filter(|domain| !domain.is_empty()) }
}

fn key<T>(answer: Result<Option<Found<T>>, Unavailable>) -> Option<String> {
    answer.unwrap().map(|found| found.why.key)
}

#[test]
fn order_of_a_domain() {
    let plain = keys(Options::default(), |t| drop(wait(t.relay_to("A.b.Example."))));
    assert_eq!(plain, ["to:a.b.example", "a.b.example", "to:b.example", "b.example", "to:example", "example"]);
    let dotted = keys(Options { look_up_dot_domain: true, ..Options::default() }, |t| drop(wait(t.relay_to("a.b"))));
    assert_eq!(dotted, ["to:a.b", "a.b", "to:.b", ".b", "to:b", "b"]);
}

#[test]
fn order_of_addresses_and_literals() {
    let v4 = keys(Options::default(), |t| drop(wait(t.relay_from(client("10.1.2.3", None)))));
    assert_eq!(
        v4,
        ["connect:10.1.2.3", "10.1.2.3", "connect:10.1.2", "10.1.2", "connect:10.1", "10.1", "connect:10", "10"]
    );
    let v6 = keys(Options::default(), |t| drop(wait(t.peer("GreetPause", client("2001:DB8::1", Some("h"))))));
    let networks: Vec<&str> = v6.iter().map(String::as_str).skip(1).collect();
    assert_eq!(networks.first(), Some(&"greetpause:ipv6:2001:db8:0:0:0:0:0:1"));
    assert_eq!(
        networks.get(6..),
        Some(&["greetpause:ipv6:2001:db8", "greetpause:ipv6:2001", "greetpause:ipv6", "greetpause:"][..])
    );
    let compressed = Options { compressed_ipv6: true, ..Options::default() };
    let v6 = keys(compressed, |t| drop(wait(t.relay_from(client("2001:db8::1", None)))));
    assert_eq!(
        v6,
        [
            "connect:ipv6:2001:db8::1",
            "ipv6:2001:db8::1",
            "connect:ipv6:2001:db8",
            "ipv6:2001:db8",
            "connect:ipv6:2001",
            "ipv6:2001",
            "connect:ipv6",
            "ipv6"
        ]
    );
    let mapped = keys(Options::default(), |t| drop(wait(t.relay_from(client("::ffff:10.1.2.3", None)))));
    assert_eq!(mapped, v4);
    let literal = keys(Options::default(), |t| drop(wait(t.relay_to("[10.1]"))));
    assert_eq!(literal, ["to:[10.1]", "[10.1]", "to:[10]", "[10]"]);
}

#[test]
fn order_of_senders_recipients_and_friends() {
    let options = Options::default();
    let with = |tag: &str, reach: &[&str]| -> Vec<String> {
        reach.iter().flat_map(|key| [format!("{tag}:{key}"), (*key).to_owned()]).collect()
    };
    let sender = keys(options, |t| drop(wait(t.sender(mailbox("U+d", "A.b")))));
    assert_eq!(sender, with("from", &["u+d@a.b", "u+*@a.b", "u@a.b", "u+d@", "u+*@", "u@", "a.b", "b"]));
    let bare = keys(options, |t| drop(wait(t.sender(mailbox("u", "")))));
    assert_eq!(bare, with("from", &["u@"]));
    let local = keys(options, |t| drop(wait(t.recipient(mailbox("u", "a"), true))));
    assert_eq!(local, with("to", &["u@a", "u@", "a"]));
    let remote = keys(options, |t| drop(wait(t.recipient(mailbox("u", "a"), false))));
    assert_eq!(remote, with("to", &["u@a", "a"]));
    let friend = keys(options, |t| drop(wait(t.spam(mailbox("u", "a"), true))));
    assert_eq!(friend, ["spam:u@a", "spam:a", "spam:u@"]);
    let whole = Options { relay_to_full_address: true, ..options };
    assert_eq!(keys(whole, |t| drop(wait(t.relay_to_address(mailbox("u", "a"))))), with("to", &["u@a", "a", "u@"]));
    assert_eq!(keys(options, |t| drop(wait(t.relay_to_address(mailbox("u", "a"))))), with("to", &["a"]));
}

#[test]
fn order_of_clients() {
    let named = keys(Options::default(), |t| drop(wait(t.connect(client("10.1.2.3", Some("H.Example"))))));
    assert_eq!(
        named.get(..5).unwrap(),
        ["connect:h.example", "h.example", "connect:example", "example", "connect:10.1.2.3"]
    );
    // A client without a name is called by its address in brackets.
    let nameless = keys(Options::default(), |t| drop(wait(t.connect(client("10.1.2.3", None)))));
    assert_eq!(nameless.get(..3).unwrap(), ["connect:[10.1.2.3]", "[10.1.2.3]", "connect:[10.1.2]"]);
    let nobody = keys(Options::default(), |t| drop(wait(t.connect(Client { ip: None, name: None }))));
    assert_eq!(nobody, [""; 0]);
}

#[test]
fn a_childs_untagged_key_wins_against_a_parents_tagged_one() {
    let t = table("To:example RELAY\nsub.example REJECT\n");
    assert_eq!(key(wait(t.relay_to("a.sub.example"))).unwrap(), "sub.example");
    assert_eq!(key(wait(t.relay_to("other.example"))).unwrap(), "to:example");
}

#[test]
fn relaying_is_asked_for_by_address_and_then_by_name() {
    let t = table("Connect:10.1 REJECT\nConnect:h.example RELAY\nConnect:10.2 RELAY\nConnect:bad.example REJECT\n");
    let found = |ip, name| wait(t.relay_from(client(ip, name))).unwrap().map(|found| (found.why.key, found.value));
    // A refused network does not keep a named host from relaying; a named host does not take it from its network.
    assert_eq!(found("10.1.2.3", Some("h.example")), Some(("connect:h.example".into(), Judgement::Relay)));
    assert_eq!(found("10.2.2.3", Some("bad.example")), Some(("connect:10.2".into(), Judgement::Relay)));
    assert_eq!(found("10.1.2.3", Some("x.example")), Some(("connect:10.1".into(), Judgement::Reject)));
    assert_eq!(found("10.3.2.3", None), None);
}

#[test]
fn skip_stops_only_where_it_is_enabled() {
    let text = "Connect:sub.example SKIP\nConnect:example REJECT\n10.1.2 skip\n10.1 RELAY\nTo:u@a.test SKIP\nv@a.test skip\na.test REJECT\n";
    let on = table(text);
    assert_eq!(key(wait(on.connect(client("192.0.2.1", Some("a.sub.example"))))), None);
    assert_eq!(key(wait(on.connect(client("192.0.2.1", Some("b.example"))))).unwrap(), "connect:example");
    assert_eq!(key(wait(on.relay_from(client("10.1.2.3", None)))), None);
    assert_eq!(key(wait(on.relay_from(client("10.1.3.3", None)))).unwrap(), "10.1");
    // With an `@` it stops for recipients; for senders the word is the text of a refusal (measured on 8.17.1.9).
    assert_eq!(key(wait(on.recipient(mailbox("u", "a.test"), true))), None);
    let found = wait(on.sender(mailbox("v", "a.test"))).unwrap().unwrap();
    assert!(matches!(&found.value, Judgement::Refuse(refusal) if refusal.code == 553 && refusal.text == "skip"));
    let off = AccessTable::new(raw(text), Options::default());
    let found = wait(off.connect(client("192.0.2.1", Some("a.sub.example")))).unwrap().unwrap();
    assert!(matches!(&found.value, Judgement::Refuse(refusal) if refusal.code == 553 && refusal.text == "SKIP"));
}

#[test]
fn values() {
    let t = table(
        "From:a relay\nFrom:b Reject\nFrom:c DISCARD\nFrom:d QUARANTINE: 550 odd \"thing\"\ne QUARANTINE:\n\
         From:f OK # note\nFrom:g RELEY\nFrom:h FRIEND\nSpam:h@ Friend\nSpam:i@ HATER\nFrom:j OK\t\r\n",
    );
    let value = |domain| wait(t.sender(mailbox("u", domain))).unwrap().unwrap().value;
    assert_eq!(value("a"), Judgement::Relay);
    assert_eq!(value("b"), Judgement::Reject);
    assert_eq!(value("c"), Judgement::Discard);
    assert_eq!(value("d"), Judgement::Quarantine("550 odd thing".into()));
    assert!(matches!(value("e"), Judgement::Quarantine(_)));
    let at_connection = wait(t.connect(client("192.0.2.1", Some("e")))).unwrap().unwrap().value;
    assert!(matches!(at_connection, Judgement::Refuse(refusal) if refusal.text == "QUARANTINE:"));
    assert_eq!(value("j"), Judgement::Ok);
    // No trailing comments, no friends outside Spam:, and a typo is the text of a refusal.
    for (domain, text) in [("f", "OK # note"), ("g", "RELEY"), ("h", "FRIEND")] {
        assert!(matches!(value(domain), Judgement::Refuse(refusal) if refusal.text == text && refusal.code == 553));
    }
    let spam = |user| wait(t.spam(mailbox(user, "mx.test"), true)).unwrap().unwrap().value;
    assert_eq!((spam("h"), spam("i")), (Judgement::Friend, Judgement::Hater));
}

#[test]
fn the_why_names_line_and_key() {
    let found = wait(table("# x\n\nTo:Example\tRELAY\n").relay_to("sub.EXAMPLE")).unwrap().unwrap();
    assert_eq!(found.why.to_string(), "/t:3: to:example");
}

#[test]
fn credentials_in_access_and_in_a_table_of_their_own() {
    let text = "AuthInfo:example \"U:a\" \"P:x\"\nAuthInfo:10.1 \"U:b\" \"P:x\"\nAuthInfo: \"U:c\" \"P:x\"\nAuthInfo:bad nothing\n";
    let user = |t: &AccessTable, server| wait(t.credentials(server)).unwrap().map(|found| found.value.user);
    let access = table(text);
    assert_eq!(user(&access, client("10.2.0.1", Some("sub.example"))).unwrap(), "a");
    assert_eq!(user(&access, client("10.1.0.1", Some("sub.other"))).unwrap(), "b");
    assert_eq!(user(&access, client("10.2.0.1", None)).unwrap(), "c");
    assert!(wait(access.credentials(client("10.2.0.1", Some("bad")))).is_err());
    let own = table("AuthInfo: \"U:never\" \"P:x\"\n").with_auth_info(raw(text));
    assert_eq!(user(&own, client("10.1.0.1", Some("example"))).unwrap(), "a");
    assert_eq!(user(&own, client("10.1.0.1", Some("sub.example"))).unwrap(), "c", "exact there");
    assert_eq!(user(&table(""), client("10.1.0.1", None)), None);
}

/// RelayTLS: who signed it, and if he is to be asked for by name, who it is.
#[test]
fn relaying_by_certificate() {
    let t = table(
        "CERTISSUER:/C=US/CN=Our+20CA RELAY\nCERTIssuer:/CN=public SUBJECT\nCERTSUBJECT:/O=x/CN=host RELAY\n\
         CERTSubject:/CN=other OK\nCERTISSUER:/CN=maybe OK\nCERTSUBJECT:/CN=only RELAY\n/CN=bare RELAY\nCERTISSUER: RELAY\n",
    );
    let named = |issuer: &str, subject: &str| {
        let shown = Certificate { issuer: issuer.into(), subject: subject.into(), ..Certificate::default() };
        wait(t.relay_by(&shown)).unwrap().map(|hit| hit.why.key)
    };
    assert_eq!(named("/C=US/CN=Our+20CA", "/CN=x").unwrap(), "certissuer:/c=us/cn=our+20ca");
    assert_eq!(named("/CN=public", "/O=x/CN=Host").unwrap(), "certsubject:/o=x/cn=host");
    for (issuer, subject) in [
        ("/CN=public", "/CN=other"),
        ("/CN=public", "/CN=x"),
        ("/CN=maybe", "/CN=only"),
        ("/CN=bare", "/CN=only"),
        ("", ""),
    ] {
        assert_eq!(named(issuer, subject), None, "{issuer} {subject}");
    }
}

#[test]
fn features_of_a_client() {
    let t = table("Srv_Features:10.1 S\nSrv_Features:mx.example V P\nSrv_Features: E\n");
    let of = |client| wait(t.features(client)).unwrap().unwrap().value;
    assert_eq!(of(client("10.1.2.3", None)), Features { no_starttls: true, ..Features::default() });
    let named = of(client("10.1.2.3", Some("a.mx.example")));
    assert_eq!(named, Features { no_certificate: true, no_pipelining: true, ..Features::default() });
    assert_eq!(of(client("10.2.2.3", None)), Features { no_etrn: true, ..Features::default() });
}

#[test]
fn a_table_that_cannot_be_asked_is_never_no() {
    let t = AccessTable::new(Arc::new(Broken), Options::default());
    assert!(wait(t.features(client("10.1.2.3", None))).is_err());
    assert!(wait(t.relay_by(&Certificate { issuer: "/CN=x".into(), ..Certificate::default() })).is_err());
    assert!(wait(t.connect(client("10.1.2.3", None))).is_err());
    assert!(wait(t.sender(mailbox("u", "a"))).is_err());
    assert!(wait(t.recipient(mailbox("u", ""), true)).is_err());
    assert!(wait(t.relay_to("a")).is_err());
    assert!(wait(t.credentials(client("10.1.2.3", None))).is_err());
}

/// An address may hold a colon where it is quoted; entries of other tags are not its own.
#[test]
fn a_quoted_colon_reads_no_other_tags_entry() {
    let t = table("To:carol@mx.test OK\nConnect:carol@ OK\nFrom:a:b@mx.test REJECT\n");
    assert_eq!(key(wait(t.sender(mailbox("To:carol", "mx.test")))), None);
    assert_eq!(key(wait(t.recipient(mailbox("Connect:carol", "mx.test"), true))), None);
    assert_eq!(key(wait(t.sender(mailbox("a:b", "mx.test")))).unwrap(), "from:a:b@mx.test");
    let literal = keys(Options::default(), |t| drop(wait(t.relay_to("[IPv6:2001:db8::1]"))));
    assert!(literal.contains(&"[ipv6:2001:db8]".to_owned()), "{literal:?}");
}

#[test]
fn hostile_keys_cost_little() {
    let labels = "a.".repeat(127);
    assert!(
        keys(Options { look_up_dot_domain: true, ..Options::default() }, |t| drop(wait(t.relay_to(&labels)))).len()
            < 200
    );
    let long = "a.".repeat(500_000);
    assert_eq!(keys(Options::default(), |t| drop(wait(t.relay_to(&long)))), [""; 0]);
    assert_eq!(keys(Options::default(), |t| drop(wait(t.sender(mailbox(&long, "a"))))).len(), 2);
    // The name itself and its own top are still asked for.
    let deep = keys(Options::default(), |t| drop(wait(t.relay_to(&format!("{}example", "a.".repeat(100))))));
    assert!(deep.first().unwrap().starts_with("to:a.a.a.") && deep.last().unwrap() == "example");
}
