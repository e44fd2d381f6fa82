use super::*;
use crate::explain;
use route::{Found as Dns, Mx, Tables};
use std::collections::HashMap;
use std::sync::Arc;
use table::{Access, Account, Accounts, Answer, Credentials, Features, Hit};

/// Answers by the question and its subject: `connect 192.0.2.9`, `from u@d`, `to u@d`, `relay d`, `spam u@d`.
#[derive(Clone, Default)]
pub(crate) struct Fake(HashMap<String, Judgement>);

impl Fake {
    pub(crate) fn with(entries: &[(&str, Judgement)]) -> Self {
        Self(entries.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }
    fn answer<'a>(&self, key: String) -> Answer<'a, Found<Judgement>> {
        let broken = key.contains("broken");
        let found = self.0.get(&key).map(|value| {
            let why = Why { source: "access".into(), line: 1, key: format!("Tag:{key}") };
            Found { value: value.clone(), why }
        });
        Box::pin(std::future::ready(if broken { Err(Unavailable("cannot read".into())) } else { Ok(found) }))
    }
}

fn at(mailbox: Mailbox<'_>) -> String {
    format!("{}@{}", mailbox.user, mailbox.domain.unwrap_or_default())
}

impl Access for Fake {
    fn connect<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("connect {}", client.ip.unwrap()))
    }
    fn relay_from<'a>(&'a self, client: Client<'a>) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("relayfrom {}", client.ip.unwrap()))
    }
    fn sender<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("from {}", at(address)))
    }
    fn recipient<'a>(&'a self, address: Mailbox<'a>, _local: bool) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("to {}", at(address)))
    }
    fn relay_to<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("relay {domain}"))
    }
    fn spam<'a>(&'a self, address: Mailbox<'a>, _local: bool) -> Answer<'a, Found<Judgement>> {
        self.answer(format!("spam {}", at(address)))
    }
    fn peer<'a>(&'a self, _tag: &'a str, _peer: Client<'a>) -> Answer<'a, Hit> {
        Box::pin(std::future::ready(Ok(None)))
    }
    fn credentials<'a>(&'a self, _server: Client<'a>) -> Answer<'a, Found<Credentials>> {
        Box::pin(std::future::ready(Ok(None)))
    }
    fn relay_by<'a>(&'a self, certificate: &'a Certificate) -> Answer<'a, Hit> {
        let found = self.answer(format!("certificate {}", certificate.subject));
        Box::pin(async { Ok(found.await?.map(|found| Hit { value: "RELAY".into(), why: found.why })) })
    }
    fn features<'a>(&'a self, _client: Client<'a>) -> Answer<'a, Found<Features>> {
        let asked = [
            ("offer little", Features { no_pipelining: true, no_dsn: true, ..Features::default() }),
            ("offer after auth", Features { needs_auth: true, ..Features::default() }),
            ("offer later", Features { later: true, ..Features::default() }),
            ("offer broken", Features::default()),
        ];
        let (key, value) = asked.into_iter().find(|(key, _)| self.0.contains_key(*key)).unwrap_or_default();
        let found = self.answer(key.to_owned());
        Box::pin(async move { Ok(found.await?.map(|found| Found { value, why: found.why })) })
    }
}

pub(crate) struct Everybody;

impl Accounts for Everybody {
    fn find<'a>(&'a self, name: &'a str) -> Answer<'a, Account> {
        let account = Account { name: name.into(), uid: 1_000, home: "/".into(), gecos: String::new() };
        Box::pin(std::future::ready(Ok(Some(account))))
    }
}

pub(crate) struct Zone;

impl Resolver for Zone {
    fn mx<'a>(&'a self, domain: &'a str) -> Dns<'a, Vec<Mx>> {
        Box::pin(std::future::ready(match domain {
            "gone.example" | "gone.local.example" | "mx.example.org" | "mx" => Err(DnsError::NoName),
            "slow.example" => Err(DnsError::Temporary("SERVFAIL".into())),
            "empty.example" | "host.example" => Err(DnsError::NoRecord),
            _ => Ok(vec![Mx { preference: 10, host: "mx.far.example".into() }]),
        }))
    }
    fn addresses<'a>(&'a self, host: &'a str) -> Dns<'a, Vec<IpAddr>> {
        Box::pin(std::future::ready(match host {
            "empty.example" => Err(DnsError::NoRecord),
            _ => Ok(vec!["198.51.100.1".parse().unwrap()]),
        }))
    }
    fn names(&self, _: IpAddr) -> Dns<'_, Vec<String>> {
        Box::pin(std::future::ready(Ok(vec!["client.far.example".into()])))
    }
}

fn router(access: Fake) -> Router {
    let settings = route::Settings {
        host: "mx.example.org".into(),
        local_domains: vec!["example.org".into(), "gone.local.example".into()],
        virtual_domains: vec!["virtual.example".into()],
        relay_domains: vec!["partner.example".into()],
        relay_clients: vec!["203.0.113.0/24".into()],
        alias_depth: 10,
        alias_limit: 100,
        ..route::Settings::default()
    };
    let tables = Tables { access: Arc::new(access), accounts: Arc::new(Everybody), ..Tables::default() };
    Router::new(settings, tables)
}

const STRANGER: &str = "198.51.100.9";

async fn asked(entries: &[(&str, Judgement)], settings: &Settings, client: &str, from: &str, to: &str) -> String {
    let router = router(Fake::with(entries));
    let parse = |text: &str| if text.is_empty() { Address::null() } else { Address::parse(text).unwrap() };
    let pair = (&parse(from), &parse(to));
    let checked = explain(&router, settings, &Zone, client.parse().unwrap(), pair).await;
    checked.refusal.unwrap_or_else(|| checked.steps.iter().map(|s| s.to.as_str()).collect::<Vec<_>>().join(", "))
}

#[tokio::test]
async fn a_certificate_that_may_relay_ends_the_checks() {
    let parse = |text: &str| Address::parse(text).unwrap();
    let (sender, to) = (parse("a@gone.example"), parse("u@far.example"));
    let entries = [
        ("certificate /CN=good", Judgement::Relay),
        ("certificate /CN=broken", Judgement::Relay),
        ("connect 198.51.100.9", Judgement::Reject),
    ];
    let router = router(Fake::with(&entries));
    let settings = Settings { delay_checks: DelayChecks::On, ..Settings::default() };
    for (subject, verify, reply) in [
        (Some("/CN=good"), Verify::Ok, None),
        (Some("/CN=other"), Verify::Ok, Some(550)),
        (Some("/CN=broken"), Verify::Ok, Some(451)),
        // No authority could be read: who says that he is good comes again; the others are refused.
        (Some("/CN=good"), Verify::Temp, Some(451)),
        (Some("/CN=other"), Verify::Temp, Some(550)),
        (Some("/CN=good"), Verify::Fail, Some(550)),
        (None, Verify::No, Some(550)),
    ] {
        let certificate = subject.map(|subject| Certificate { subject: subject.into(), ..Certificate::default() });
        let encryption = Encryption { verify, certificate, ..Encryption::default() };
        let visitor =
            Visitor { ip: STRANGER.parse().unwrap(), name: "", resolved: Resolved::Ok, encryption: &encryption };
        let checks = Checks { router: &router, settings: &settings, resolver: &Zone, visitor };
        let said = checks.at_rcpt(&sender, &to).await;
        let code = match &said[..] {
            [(_, Decision::Stop(why))] => {
                assert!(why.key.ends_with("certificate /CN=good"), "{why}");
                None
            }
            [(_, Decision::Refuse(reply, _))] => Some(reply.code),
            other => panic!("{other:?}"),
        };
        assert_eq!(code, reply, "{subject:?} {verify:?}");
    }
}

#[tokio::test]
async fn relaying_is_for_those_who_are_named() {
    let settings = Settings::default();
    let relay = [("relay sub.open.example", Judgement::Relay), ("relayfrom 198.51.100.10", Judgement::Relay)];
    for (client, to, reply) in [
        (STRANGER, "u@example.org", "pass, pass, pass"),
        (STRANGER, "u", "pass, pass, pass"),
        (STRANGER, "u@virtual.example", "pass, pass, pass"),
        (STRANGER, "u@a.partner.example", "pass, pass, pass"),
        (STRANGER, "u@sub.open.example", "pass, pass, pass"),
        ("127.0.0.1", "u@far.example", "pass, pass, pass"),
        ("198.51.100.10", "u@far.example", "pass, pass, pass"),
        (STRANGER, "u@far.example", "550 5.7.1 Relaying denied. IP name possibly forged [198.51.100.9]"),
        ("198.51.100.1", "u@far.example", "550 5.7.1 Relaying denied"),
        (
            "2001:db8:0:1::5",
            "u@far.example",
            "550 5.7.1 Relaying denied. IP name possibly forged [IPv6:2001:db8:0:1:0:0:0:5]",
        ),
        // S-30: routing characters never get around the check.
        ("198.51.100.1", "u%far.example@example.org", "550 5.7.1 Relaying denied"),
        ("198.51.100.1", "far.example!u@example.org", "550 5.7.1 Relaying denied"),
        ("198.51.100.1", "\"u@far.example\"@example.org", "550 5.7.1 Relaying denied"),
        ("198.51.100.1", "u%far.example@partner.example", "550 5.7.1 Relaying denied"),
        ("198.51.100.1", "u%far.example%example.org@partner.example", "550 5.7.1 Relaying denied"),
        ("198.51.100.1", "u%example.org@partner.example", "pass, pass, pass"),
        ("198.51.100.1", "u%far.example", "550 5.7.1 Relaying denied"),
        (STRANGER, "u@broken.example", "451 4.3.0 Temporary system failure. Please try again later."),
    ] {
        assert_eq!(asked(&relay, &settings, client, "a@far.example", to).await, reply, "{client} {to}");
    }
}

#[tokio::test]
async fn senders() {
    let strict = Settings::default();
    let entries = [
        ("from spam@far.example", Judgement::Reject),
        ("from ok@gone.example", Judgement::Ok),
        (
            "from busy@far.example",
            Judgement::Refuse(Refusal { code: 450, status: Status::temporary(2, 1), text: "later".into(), exit: None }),
        ),
    ];
    for (client, from, reply) in [
        (STRANGER, "", "pass, pass, pass"),
        (STRANGER, "a@far.example", "pass, pass, pass"),
        (STRANGER, "a@host.example", "pass, pass, pass"),
        (STRANGER, "a@gone.example", "553 5.1.8 Domain of sender address a@gone.example does not exist"),
        (STRANGER, "a@empty.example", "553 5.1.8 Domain of sender address a@empty.example does not exist"),
        (STRANGER, "a@slow.example", "451 4.1.8 Domain of sender address a@slow.example does not resolve"),
        (STRANGER, "ok@gone.example", "pass, accepted, pass"),
        (STRANGER, "spam@far.example", "550 5.7.1 Access denied"),
        (STRANGER, "busy@far.example", "450 4.2.1 later"),
        (STRANGER, "a@broken.example", "451 4.3.0 Temporary system failure. Please try again later."),
        (STRANGER, "a", "553 5.5.4 Domain name required for sender address a"),
        (STRANGER, "a@localhost", "553 5.5.4 Real domain name required for sender address"),
        // Who may relay is asked like everybody else (as 8.17.1.9 answers a client in class R and one with `Connect: RELAY`).
        ("203.0.113.9", "a@gone.example", "553 5.1.8 Domain of sender address a@gone.example does not exist"),
        ("203.0.113.9", "a", "553 5.5.4 Domain name required for sender address a"),
        ("203.0.113.9", "a@localhost", "553 5.5.4 Real domain name required for sender address"),
        (STRANGER, "a@localhost.Example.org", "553 5.5.4 Real domain name required for sender address"),
        // So is who has a local domain, but not the host's own name.
        (STRANGER, "a@gone.local.example", "553 5.1.8 Domain of sender address a@gone.local.example does not exist"),
        (STRANGER, "a@mx.example.org", "pass, pass, pass"),
        (STRANGER, "a@mx", "pass, pass, pass"),
        // Who is at home need not be known to DNS.
        ("127.0.0.1", "a@gone.example", "pass, pass, pass"),
        ("127.0.0.1", "a", "pass, pass, pass"),
    ] {
        assert_eq!(asked(&entries, &strict, client, from, "u@example.org").await, reply, "{client} {from}");
    }
    let lenient =
        Settings { accept_unresolvable_domains: true, accept_unqualified_senders: true, ..Settings::default() };
    for from in ["a@gone.example", "a", "a@localhost"] {
        assert_eq!(asked(&[], &lenient, STRANGER, from, "u@example.org").await, "pass, pass, pass", "{from}");
    }
}

#[tokio::test]
async fn recipients_are_refused_only_if_asked_for() {
    let entries = [
        ("to u@example.org", Judgement::Reject),
        ("to held@example.org", Judgement::Quarantine("look".into())),
        ("to gone@example.org", Judgement::Discard),
        ("to ok@far.example", Judgement::Ok),
        ("to bad@partner.example", Judgement::Reject),
    ];
    let mut settings = Settings::default();
    assert_eq!(asked(&entries, &settings, STRANGER, "", "u@example.org").await, "pass, pass, pass");
    settings.blocklist_recipients = true;
    for (to, reply) in [
        ("u@example.org", "550 5.2.1 Mailbox disabled for this recipient"),
        // What the address really is counts.
        ("u@localhost", "pass, pass, pass"),
        ("u%example.org@localhost", "550 5.2.1 Mailbox disabled for this recipient"),
        ("held@example.org", "pass, pass, accepted and held: look"),
        ("gone@example.org", "pass, pass, accepted and thrown away"),
        // So does where it leads to behind hosts that may be relayed to (as 8.17.1.9 answers).
        ("bad%partner.example@virtual.example", "550 5.2.1 Mailbox disabled for this recipient"),
        ("bad%partner.example@a.partner.example", "550 5.2.1 Mailbox disabled for this recipient"),
        ("partner.example!bad@partner.example", "550 5.2.1 Mailbox disabled for this recipient"),
        ("x%partner.example@virtual.example", "pass, pass, pass"),
        // OK allows no relaying.
        ("ok@far.example", "550 5.7.1 Relaying denied. IP name possibly forged [198.51.100.9]"),
    ] {
        assert_eq!(asked(&entries, &settings, STRANGER, "", to).await, reply, "{to}");
    }
}

#[tokio::test]
async fn delayed_checks_come_in_their_order() {
    let entries = [
        ("connect 198.51.100.9", Judgement::Reject),
        ("from friend@far.example", Judgement::Ok),
        ("from bad@far.example", Judgement::Reject),
        ("spam f@example.org", Judgement::Friend),
        ("spam h@example.org", Judgement::Hater),
    ];
    let with = |delay_checks| Settings { delay_checks, ..Settings::default() };
    let denied = "550 5.7.1 Access denied";
    for (mode, from, to, reply) in [
        (DelayChecks::Off, "friend@far.example", "f@example.org", denied),
        (DelayChecks::On, "a@far.example", "f@example.org", denied),
        // A sender with OK: the client is not looked at any more.
        (DelayChecks::On, "friend@far.example", "x@example.org", "pass, accepted"),
        (DelayChecks::Friend, "bad@far.example", "f@example.org", "pass, accepted"),
        (DelayChecks::Friend, "bad@far.example", "x@example.org", denied),
        (DelayChecks::Hater, "bad@far.example", "x@example.org", "pass, accepted"),
        (DelayChecks::Hater, "bad@far.example", "h@example.org", denied),
        // Nobody's wish opens a relay.
        (DelayChecks::Hater, "bad@far.example", "f@elsewhere.example", RELAY),
        (DelayChecks::Hater, "a@far.example", "broken@example.org", LATER),
    ] {
        assert_eq!(asked(&entries, &with(mode), STRANGER, from, to).await, reply, "{mode:?} {from} {to}");
    }
    // By then the sender has the host's name for `localhost`, but still no domain if it had none.
    let name = "553 5.5.4 Domain name required for sender address a";
    for (from, reply) in [("a@localhost", "pass, pass, pass"), ("a@[127.0.0.1]", "pass, pass, pass"), ("a", name)] {
        assert_eq!(asked(&[], &with(DelayChecks::On), STRANGER, from, "u@example.org").await, reply, "{from}");
    }
}

const RELAY: &str = "550 5.7.1 Relaying denied. IP name possibly forged [198.51.100.9]";
const LATER: &str = "451 4.3.0 Temporary system failure. Please try again later.";
