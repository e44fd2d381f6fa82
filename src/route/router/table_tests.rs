//! The administrator's tables: virtual users, mailer table, domain table, hubs, owners.

use super::tests::{Fixed, People};
use super::*;
use std::sync::Arc;
use table::{Answer, Found, Hop, Host, Mailbox, Mailers, Redirect, Refusal, Unavailable, VirtualUsers};

/// Whole addresses, then `@domain`.
struct Virtual(&'static [(&'static str, &'static str)]);

impl VirtualUsers for Virtual {
    fn redirect<'a>(&'a self, address: Mailbox<'a>) -> Answer<'a, Found<Redirect>> {
        let domain = address.domain.unwrap_or_default().to_lowercase();
        let keys = [format!("{}@{domain}", address.user.to_lowercase()), format!("@{domain}")];
        let hit = keys.iter().find_map(|key| self.0.iter().find(|(known, _)| known == key));
        let found = hit.map(|(key, value)| {
            let why = Why { source: "/etc/mail/virtusertable".into(), line: 7, key: (*key).into() };
            let value = match value.split_once("error:") {
                Some((_, text)) => {
                    let (code, status) = if text.starts_with("450") { (450, 4) } else { (550, 5) };
                    let status = if status == 4 { Status::temporary(2, 1) } else { Status::permanent(7, 0) };
                    Redirect::Refuse(Refusal { code, status, text: text.into(), exit: None })
                }
                None => match value.strip_prefix('\\') {
                    Some(user) => Redirect::Mailbox(user.into()),
                    None => Redirect::Address(value.replace("%1", address.user)),
                },
            };
            Found { value, why }
        });
        let broken = domain == "broken.example";
        Box::pin(std::future::ready(if broken { Err(Unavailable("virtusertable".into())) } else { Ok(found) }))
    }
}

/// Fixed hops by domain.
struct Hops;

impl Mailers for Hops {
    fn hop<'a>(&'a self, domain: &'a str) -> Answer<'a, Found<Hop>> {
        let host = |name: &str, mx| Host { name: name.into(), mx };
        let smtp = |mailer: &str, hosts| Hop::Smtp { mailer: mailer.into(), hosts };
        let refusal = Refusal { code: 550, status: Status::permanent(1, 2), text: "no such host".into(), exit: None };
        let hop = match domain {
            "one.example" => smtp("esmtp", vec![host("gw.example", true)]),
            "two.example" => smtp("relay", vec![host("a", false), host("b", false)]),
            "here.example" => Hop::Local(None),
            "user.example" => Hop::Local(Some("Team".into())),
            "last.example" => Hop::Local(Some("\\team".into())),
            "bob.example" => Hop::Local(Some("\\Bob".into())),
            "no.example" => Hop::Refuse(refusal),
            "void.example" => Hop::Discard,
            "odd.example" => Hop::Unknown("fax".into()),
            "broken.example" => return Box::pin(std::future::ready(Err(Unavailable("mailertable".into())))),
            _ => return Box::pin(std::future::ready(Ok(None))),
        };
        let why = Why { source: "/etc/mail/mailertable".into(), line: 2, key: domain.into() };
        Box::pin(std::future::ready(Ok(Some(Found { value: hop, why }))))
    }
}

type Pairs = &'static [(&'static str, &'static str)];

fn settings() -> Settings {
    Settings {
        host: "mx.example.org".into(),
        local_domains: vec!["example.org".into(), "both.example".into()],
        virtual_domains: vec!["v.example".into(), "broken.example".into()],
        interfaces: vec!["192.0.2.1".parse().unwrap()],
        alias_depth: 10,
        alias_limit: 1_000,
        ..Settings::default()
    }
}

fn router(settings: Settings, aliases: Pairs, virtual_users: Pairs, domains: Pairs) -> Router {
    let tables = Tables {
        aliases: Arc::new(Fixed(aliases.iter().copied().collect())),
        virtual_users: Arc::new(Virtual(virtual_users)),
        mailers: Arc::new(Hops),
        domains: Arc::new(Fixed(domains.iter().copied().collect())),
        accounts: Arc::new(People),
        ..Tables::default()
    };
    Router::new(settings, tables)
}

/// What becomes of an address: `address route` of each target, or the reply.
async fn goes(router: &Router, address: &str) -> String {
    match router.expand(&Address::parse(address).unwrap()).await {
        Verdict::Targets(targets) => {
            let shown = targets.iter().map(|t| match &t.owner {
                Some(owner) => format!("{} {} owner={owner}", t.address, t.key),
                None => format!("{} {}", t.address, t.key),
            });
            shown.collect::<Vec<_>>().join("; ")
        }
        Verdict::Refused { code, status, text, .. } => format!("{code} {status} {text}"),
        Verdict::Unavailable { text } => format!("unavailable {text}"),
    }
}

async fn all(router: &Router, cases: &[(&str, &str)]) {
    for (address, expected) in cases {
        assert_eq!(goes(router, address).await, *expected, "{address}");
    }
}

#[tokio::test]
async fn mailboxes_without_accounts() {
    let with = |null_client| {
        let virtual_mailboxes = vec!["m.example".to_owned()];
        let mut router = router(
            Settings { virtual_mailboxes, null_client, smart_host: Some("hub".into()), ..settings() },
            &[("bob", "alice"), ("away", "bob@m.example\ncarol@m.example")],
            &[
                ("info@m.example", "bob@m.example"),
                ("self@m.example", "self@m.example"),
                ("x@v.example", "bob@M.example."),
            ],
            &[],
        );
        let known = ["bob@m.example", "self@m.example", "../x@m.example", "bob.lock@m.example"];
        router.tables.virtual_mailboxes = Arc::new(Fixed(known.into_iter().map(|name| (name, "OK")).collect()));
        router
    };
    let router = with(false);
    all(
        &router,
        &[
            ("Bob@M.example", "Bob@M.example virtual:bob@m.example"),
            ("bob+lists@m.example.", "bob+lists@m.example virtual:bob@m.example"),
            ("info@m.example", "bob@m.example virtual:bob@m.example"),
            ("x@v.example", "bob@M.example virtual:bob@m.example"),
            ("self@m.example", "self@m.example virtual:self@m.example"),
            ("carol@m.example", "550 5.1.1 User unknown"),
            ("\"../x\"@m.example", "550 5.1.1 User unknown"),
            ("Bob.Lock+x@m.example", "550 5.1.1 User unknown"),
            ("bob@sub.m.example", "bob@sub.m.example relay:hub:25"),
            ("bob", "alice local:alice"),
            ("away", "bob@m.example virtual:bob@m.example; carol@m.example error:5.1.1 User unknown"),
        ],
    )
    .await;
    let postmaster = goes(&router, "Postmaster@m.example").await;
    assert!(postmaster.contains("local:root"), "every domain has one: {postmaster}");
    let bob = Address::parse("carol@m.example").unwrap();
    assert!(router.relay_domain(&bob).is_some() && with(true).relay_domain(&bob).is_none());
}

#[tokio::test]
async fn virtual_users() {
    let table: Pairs = &[
        ("short@mx", "u@far.example"),
        ("info@v.example", "alice"),
        ("far@v.example", "someone@far.example"),
        ("list@v.example", "team"),
        ("chain@v.example", "info@v.example"),
        ("self@v.example", "self@v.example"),
        ("bob@v.example", "Bob@V.example"),
        ("raw@v.example", "\\alice"),
        ("prog@v.example", "|/bin/cat"),
        ("qprog@v.example", "\"|/bin/cat x\""),
        ("file@v.example", "/tmp/f"),
        ("incl@v.example", ":include:/f"),
        ("two@v.example", "alice,bob"),
        ("no@v.example", "error:nope"),
        ("later@v.example", "error:450 busy"),
        ("a@v.example", "b@v.example"),
        ("b@v.example", "a@v.example"),
        ("pct@v.example", "u%far.example@mx.example.org"),
        ("bang@v.example", "far.example!u"),
        ("route@v.example", "<@relay.example:u@far.example>"),
        ("@both.example", "%1@far.example"),
        ("bob@both.example", "bob"),
    ];
    let r = router(settings(), &[("team", "alice\nbob"), ("alice", "bob")], table, &[]);
    all(
        &r,
        &[
            ("short@mx", "u@far.example smtp:far.example"),
            ("info@v.example", "bob local:bob"),
            ("INFO@V.Example.", "bob local:bob"),
            ("far@v.example", "someone@far.example smtp:far.example"),
            ("list@v.example", "bob local:bob"),
            ("chain@v.example", "bob local:bob"),
            ("self@v.example", "550 5.1.1 User unknown"),
            ("bob@v.example", "bob local:bob"),
            ("raw@v.example", "alice local:\\alice"),
            ("prog@v.example", "550 5.7.1 Cannot mail directly to programs"),
            ("qprog@v.example", "550 5.7.1 Cannot mail directly to programs"),
            ("file@v.example", "550 5.7.1 Cannot mail directly to files"),
            ("incl@v.example", "550 5.7.1 Cannot mail directly to :include:s"),
            ("two@v.example", "553 5.1.3 Invalid route address"),
            ("no@v.example", "550 5.7.0 nope"),
            ("later@v.example", "450 4.2.1 450 busy"),
            ("a@v.example", "554 5.4.6 rewrite: excessive recursion (max 50)"),
            ("pct@v.example", "u@far.example smtp:far.example"),
            ("bang@v.example", "u@far.example smtp:far.example"),
            ("route@v.example", "u@far.example smtp:far.example"),
            // Nothing found: elsewhere, if the domain is only virtual.
            ("nobody@v.example", "nobody@v.example smtp:v.example"),
            ("x@both.example", "x@far.example smtp:far.example"),
            ("bob@both.example", "bob local:bob"),
            ("bob", "bob local:bob"),
            ("info@example.org", "550 5.1.1 User unknown"),
            ("u@broken.example", "unavailable virtusertable"),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_mailer_table_is_for_other_domains() {
    let r = router(settings(), &[("team", "alice"), ("loop", "x@here.example")], &[], &[]);
    all(
        &r,
        &[
            ("u@One.example", "u@One.example via:esmtp:gw.example:25"),
            ("u@two.example", "u@two.example via:relay:[a]:25,[b]:25"),
            ("alice@here.example", "alice local:alice"),
            ("anybody@user.example", "alice local:alice"),
            // No alias is asked about it.
            ("anybody@last.example", "550 5.1.1 User unknown"),
            ("anybody@bob.example", "bob local:\\bob"),
            ("u@no.example", "550 5.1.2 no such host"),
            ("u@void.example", "u@void.example discard:"),
            ("u@odd.example", "u@odd.example error:4.3.5 unknown mailer fax in mailertable"),
            ("loop@here.example", "x error:5.1.1 User unknown"),
            ("u@[192.0.2.9]", "u@[192.0.2.9] smtp:[192.0.2.9]"),
        ],
    )
    .await;
    let mut with = settings();
    with.virtual_domains.clear();
    with.smart_host = Some("smart.example".into());
    let r = router(with, &[], &[], &[]);
    all(
        &r,
        &[
            ("u@one.example", "u@one.example via:esmtp:gw.example:25"),
            ("u@far.example", "u@far.example relay:smart.example:25"),
            ("u@broken.example", "unavailable mailertable"),
        ],
    )
    .await;
}

/// As 8.17.1.9 answers: only a domain loses its last dot.
#[tokio::test]
async fn a_dot_behind_a_name_is_part_of_it() {
    let r = router(settings(), &[("team", "alice"), ("dot", "alice.")], &[("far@v.example", "x@far.example.")], &[]);
    let unknown = "550 5.1.1 User unknown";
    let cases = [
        ("alice.", unknown),
        ("alice.@mx.example.org", unknown),
        ("\"alice.\"@example.org", unknown),
        ("Team.@Example.org", unknown),
        ("root.", unknown),
        ("postmaster.", unknown),
        ("dot", "alice. error:5.1.1 User unknown"),
        ("alice@example.org.", "alice local:alice"),
        ("z@far.example.", "z@far.example smtp:far.example"),
        ("far@v.example", "x@far.example smtp:far.example"),
    ];
    all(&r, &cases).await;
}

/// As 8.17.1.9 answers: a literal of ours is the host, whatever the domain table makes of the host's name; others are nobody's domain.
#[tokio::test]
async fn literals_and_tables_of_domains() {
    let virtual_domains = vec!["[198.51.100.1]".to_owned()];
    let with = Settings { virtual_domains, ..settings() };
    let r = router(with, &[], &[("x@[198.51.100.1]", "alice")], &[("mx.example.org", "new.example")]);
    let cases = [
        ("alice@[127.0.0.1]", "alice local:alice"),
        ("alice@[192.0.2.1]", "alice local:alice"),
        ("alice@localhost", "alice local:alice"),
        ("alice@mx.example.org", "alice@new.example smtp:new.example"),
        ("x@[198.51.100.1]", "x@[198.51.100.1] smtp:[198.51.100.1]"),
    ];
    all(&r, &cases).await;
}

#[tokio::test]
async fn an_alias_that_names_itself_without_an_account() {
    let aliases: Pairs = &[("team", "team\nu@far.example"), ("own", "own"), ("alice", "alice\nbob")];
    let cases = [
        ("team", "team error:5.1.1 User unknown; u@far.example smtp:far.example"),
        ("own", "own error:5.1.1 User unknown"),
        ("alice", "alice local:alice; bob local:bob"),
    ];
    all(&router(settings(), aliases, &[], &[]), &cases).await;
}

/// As 8.17.1.9 delivers: what comes round goes to the nearest name on the way that has an account.
#[tokio::test]
async fn circles_end_at_an_account() {
    let aliases: Pairs = &[
        ("root", "admin"),
        ("admin", "root\nbob"),
        ("list", "c"),
        ("c", "list\nu@far.example"),
        ("alice", "d"),
        ("d", "alice"),
        ("bob", "bob@v.example"),
    ];
    let cases = [
        ("admin", "root local:root; bob local:bob"),
        ("root", "root local:root; bob local:bob"),
        ("alice", "alice local:alice"),
        ("d", "alice local:alice"),
        ("c", "u@far.example smtp:far.example"),
        ("bob@v.example", "bob local:bob"),
        ("bob", "bob local:bob"),
    ];
    let virtuals: Pairs = &[("bob@v.example", "bob")];
    all(&router(settings(), aliases, virtuals, &[]), &cases).await;
}

/// As 8.17.1.9 sends it (masquerade_envelope, a domain table); what comes back goes to the owner as the alias has him.
#[tokio::test]
async fn owners_are_shown_as_senders_are() {
    let aliases: Pairs = &[
        ("ext", "u@far.example"),
        ("owner-ext", "bob"),
        ("l2", "u@far.example"),
        ("owner-l2", "alice\nbob"),
        ("l3", "u@far.example"),
        ("owner-l3", "o@old.example"),
    ];
    let masked = Settings { masquerade_as: "masq.example".into(), masquerade_envelope: true, ..settings() };
    let r = router(masked, aliases, &[], &[("old.example", "new.example")]);
    let cases = [
        ("ext", "u@far.example smtp:far.example owner=bob@masq.example"),
        ("l2", "u@far.example smtp:far.example owner=owner-l2@masq.example"),
        ("l3", "u@far.example smtp:far.example owner=o@new.example"),
    ];
    all(&r, &cases).await;
    let Verdict::Targets(targets) = r.expand(&Address::parse("ext").unwrap()).await else { panic!() };
    assert_eq!(targets[0].owner.as_ref().unwrap().given.as_str(), "bob@mx.example.org");
    assert_eq!(targets[0].asked, "u@far.example");
}

#[tokio::test]
async fn routing_characters_and_the_domain_table() {
    let domains: Pairs =
        &[("old.example", "new.example"), ("ours.example", "example.org"), ("typo.example", "not a domain")];
    let cases = [
        ("bob%far.example@example.org", "bob@far.example smtp:far.example"),
        ("bob%far.example", "bob@far.example smtp:far.example"),
        ("bob%example.org", "bob local:bob"),
        ("a%b%far.example@localhost", "a%b@far.example smtp:far.example"),
        ("far.example!bob@example.org", "bob@far.example smtp:far.example"),
        ("mx!bob", "bob local:bob"),
        ("neighbour!bob", "neighbour!bob@mx.example.org smtp:neighbour.uucp"),
        ("Neigh-Bour!bob", "Neigh-Bour!bob@mx.example.org smtp:neigh-bour.uucp"),
        ("\"bob@far.example\"@example.org", "bob@far.example smtp:far.example"),
        ("\"bob smith%x\"@example.org", "550 5.1.1 User unknown"),
        ("%far.example@example.org", "553 5.1.3 User address required"),
        ("bob%@example.org", "553 5.1.3 Hostname required"),
        ("bob%x@far.example", "bob%x@far.example smtp:far.example"),
        ("bob@[192.0.2.1]", "bob local:bob"),
        ("u@Old.Example", "u@new.example smtp:new.example"),
        ("u@Old.Example.", "u@Old.Example smtp:old.example"),
        ("bob@localhost.Example.org", "bob local:bob"),
        ("bob@LOCALHOST.uucp", "bob local:bob"),
        ("bob@localhost.", "bob local:bob"),
        ("bob@ours.example", "bob local:bob"),
        ("bob%old.example@ours.example", "bob@new.example smtp:new.example"),
        ("u@typo.example", "451 4.3.5 bad value in domain table"),
    ];
    all(&router(settings(), &[], &[], domains), &cases).await;
    let plain = router(Settings { nouucp: true, nopercenthack: true, ..settings() }, &[], &[], &[]);
    for address in ["bob%far.example@example.org", "far.example!bob", "bob%example.org"] {
        assert_eq!(goes(&plain, address).await, "550 5.1.1 User unknown", "{address}");
    }
    let relayed = Settings { smart_host: Some("smart.example".into()), ..settings() };
    let cases =
        [("neighbour!bob", "neighbour!bob relay:smart.example:25"), ("a!b!bob", "a!b!bob relay:smart.example:25")];
    all(&router(relayed, &[], &[], &[]), &cases).await;
    let long = format!("{}x@example.org", "a%".repeat(126));
    assert!(goes(&router(settings(), &[], &[], &[]), &long).await.starts_with("a%"), "{long}");
    let deep = format!("u{}@example.org", "%mx".repeat(60));
    assert!(goes(&router(settings(), &[], &[], &[]), &deep).await.starts_with("554 5.4.6 rewrite"));
}

#[tokio::test]
async fn hubs_and_relays_take_what_aliases_leave() {
    let aliases: Pairs = &[("list", "bob\nu@far.example"), ("raw", "\\list")];
    let hub = Settings { mail_hub: Some("hub.example".into()), local_users: vec!["root".into()], ..settings() };
    all(
        &router(hub.clone(), aliases, &[], &[]),
        &[
            ("alice", "alice@hub.example relay:hub.example:25"),
            ("nosuch+x@example.org", "nosuch+x@hub.example relay:hub.example:25"),
            ("list", "bob@hub.example relay:hub.example:25; u@far.example smtp:far.example"),
            ("root", "root local:root"),
            ("\\list", "\\list@hub.example relay:hub.example:25"),
            ("raw", "\\list@hub.example relay:hub.example:25"),
        ],
    )
    .await;
    let named = Settings { mail_hub: Some("[hub.example]".into()), ..settings() };
    all(&router(named, &[], &[], &[]), &[("alice", "alice@[hub.example] relay:[hub.example]:25")]).await;
    let sticky = Settings { stickyhost: true, local_relay: Some("[192.0.2.7]:25".into()), ..hub.clone() };
    all(
        &router(sticky, aliases, &[], &[]),
        &[
            ("list@example.org", "list@example.org relay:hub.example:25"),
            ("bob", "bob@hub.example relay:hub.example:25"),
        ],
    )
    .await;
    let own = Settings { mail_hub: Some("mx.example.org".into()), ..settings() };
    all(&router(own, aliases, &[], &[]), &[("alice", "alice local:alice")]).await;
    let luser = Settings { luser_relay: Some("local:alice".into()), ..settings() };
    all(
        &router(luser, aliases, &[], &[]),
        &[
            ("nosuch@example.org", "alice local:alice"),
            ("bob", "bob local:bob"),
            ("postmaster", "root local:root"),
            ("broken", "unavailable nss"),
            ("\\nosuch", "550 5.1.1 User unknown"),
        ],
    )
    .await;
    let circle = Settings { luser_relay: Some("local:nobody".into()), ..settings() };
    all(&router(circle, aliases, &[], &[]), &[("nosuch", "550 5.1.1 User unknown")]).await;
    let error = Settings { luser_relay: Some("error:5.1.1 go away".into()), ..settings() };
    all(&router(error, aliases, &[], &[]), &[("nosuch", "550 5.1.1 go away")]).await;
}

#[tokio::test]
async fn a_circle_that_is_met_on_another_way_ends_at_the_account_there() {
    let aliases: &[(&str, &str)] = &[
        ("team", "staff\nbob"),
        ("staff", "team"),
        ("bob", "staff"),
        ("all", "team\nfar@x.example"),
        ("grp", "g0\nfar@x.example"),
        ("g0", "g1\ng1"),
        ("g1", "g0"),
        ("both", "alice\nbob"),
        ("alice", "back"),
        ("back", "both"),
    ];
    let loops = "g0 error:5.4.6 aliasing/forwarding loop broken";
    all(
        &router(settings(), aliases, &[], &[]),
        &[
            ("team", "bob local:bob"),
            ("all", "bob local:bob; far@x.example smtp:x.example"),
            ("both", "alice local:alice; bob local:bob"),
            ("g0", loops),
        ],
    )
    .await;
    let r = router(settings(), aliases, &[], &[]);
    let said = goes(&r, "grp").await;
    assert!(said.contains("far@x.example smtp:x.example") && said.contains("loop broken"), "{said}");
}

#[tokio::test]
async fn a_backslash_asks_no_alias() {
    let aliases: Pairs =
        &[("bob", "u@far.example"), ("own", "\\bob"), ("at", "\\bob@example.org"), ("quoted", "\"\\bob\"")];
    let table: Pairs = &[
        ("here@v.example", "\\bob@mx.example.org"),
        ("home@v.example", "\\bob@localhost"),
        ("back@v.example", "\\here@v.example"),
        ("far@v.example", "\\bob@far.example"),
    ];
    let cases = [
        ("bob", "u@far.example smtp:far.example"),
        ("\\bob", "bob local:\\bob"),
        ("\\Bob@example.org", "bob local:\\bob"),
        ("\"b\\ob\"@example.org", "bob local:\\bob"),
        ("\\nosuch", "550 5.1.1 User unknown"),
        ("own", "bob local:\\bob"),
        ("at", "bob local:\\bob"),
        ("quoted", "bob local:\\bob"),
        ("here@v.example", "bob local:\\bob"),
        ("home@v.example", "bob local:\\bob"),
        ("back@v.example", "bob local:\\bob"),
        ("far@v.example", "\\bob@far.example smtp:far.example"),
    ];
    all(&router(settings(), aliases, table, &[]), &cases).await;
}

#[tokio::test]
async fn an_alias_is_accepted_and_its_bad_members_bounce() {
    let aliases: Pairs =
        &[("bad", "nosuch\nno@v.example"), ("none", ""), ("self", "self"), ("syntax", "a b"), ("outer", "none\nalice")];
    let table: Pairs = &[("no@v.example", "error:nope"), ("list@v.example", "bad")];
    let cases = [
        ("bad", "nosuch error:5.1.1 User unknown; no@v.example error:5.7.0 nope"),
        ("list@v.example", "nosuch error:5.1.1 User unknown; no@v.example error:5.7.0 nope"),
        ("none", "none error:5.4.6 aliasing/forwarding loop broken (an alias without members)"),
        ("self", "self error:5.1.1 User unknown"),
        ("syntax", "syntax error:5.1.3 a b... bad address in alias"),
        ("outer", "none error:5.4.6 aliasing/forwarding loop broken (an alias without members); alice local:alice"),
        ("no@v.example", "550 5.7.0 nope"),
    ];
    all(&router(settings(), aliases, table, &[]), &cases).await;
}

#[tokio::test]
async fn owners_and_redirection() {
    let aliases: Pairs = &[
        ("list", "alice\nsub\nbob@far.example"),
        ("owner-list", "carol@far.example"),
        ("sub", "bob"),
        ("crew", "alice\nbob"),
        ("owner-crew", "alice\nbob"),
        ("owner-owner", "root"),
        ("pack", "alice"),
        ("owner-pack", "|/bin/true"),
        ("news", "bob"),
        ("owner-news", "alice"),
        ("both", "bob\nlist"),
        ("moved", "joe@new.example.REDIRECT"),
        ("nest", "inner\nbob"),
        ("owner-nest", "alice"),
        ("inner", "u@far.example"),
        ("owner-inner", "\\alice"),
    ];
    let r = router(Settings { redirect: true, ..settings() }, aliases, &[], &[]);
    all(
        &r,
        &[
            (
                "list",
                "alice local:alice owner=carol@far.example; bob local:bob owner=carol@far.example; bob@far.example smtp:far.example owner=carol@far.example",
            ),
            ("crew", "alice local:alice owner=owner-crew@mx.example.org; bob local:bob owner=owner-crew@mx.example.org"),
            ("pack", "alice local:alice owner=owner-pack@mx.example.org"),
            ("news", "bob local:bob owner=alice@mx.example.org"),
            // A person reached twice gets one copy, as it was reached first.
            (
                "both",
                "bob local:bob; alice local:alice owner=carol@far.example; bob@far.example smtp:far.example owner=carol@far.example",
            ),
            ("nest", "u@far.example smtp:far.example owner=\\alice@mx.example.org; bob local:bob owner=alice@mx.example.org"),
            // Refused at RCPT where it is asked for itself; behind an alias it bounces.
            ("joe@new.example.redirect", "551 5.1.1 User has moved; please try <joe@new.example>"),
            (
                "moved",
                "joe@new.example.REDIRECT error:5.1.1 User has moved; please try <joe@new.example>",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_explanation_is_the_walk() {
    let r = router(
        settings(),
        &[("team", "bob\nu@one.example")],
        &[("x@v.example", "team")],
        &[("w.example", "v.example")],
    );
    let explanation = r.explain(&Address::parse("x@w.example").unwrap()).await;
    let steps: Vec<String> =
        explanation.steps.iter().map(|s| format!("{}: {} -> {} ({})", s.what, s.from, s.to, s.why)).collect();
    assert_eq!(
        steps,
        [
            "domaintable: x@w.example -> x@v.example (/etc/aliases:3: w.example)",
            "virtual-user: x@v.example -> team (/etc/mail/virtusertable:7: x@v.example)",
            "alias: team -> bob, u@one.example (/etc/aliases:3: team)",
            "final: bob -> local:bob (account: bob (uid 1000))",
            "final: u@one.example -> via:esmtp:gw.example:25 (/etc/mail/mailertable:2: one.example)",
        ]
    );
    assert_eq!(explanation.verdict, r.expand(&Address::parse("x@w.example").unwrap()).await);
    let json = serde_json::to_value(&explanation).unwrap();
    assert_eq!(json["steps"][1]["why"]["line"], 7);
    assert_eq!(json["verdict"]["targets"][1]["route"], "via:esmtp:gw.example:25");
}
