use super::*;
use std::collections::HashMap;
use std::sync::Arc;
use table::{Account, Accounts, Answer, Hit, Table, Unavailable};

pub(super) struct Fixed(pub(super) HashMap<&'static str, &'static str>);

impl Table for Fixed {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let hit = self.0.get(key).map(|v| Hit {
            value: (*v).to_owned(),
            why: Why { source: "/etc/aliases".into(), line: 3, key: key.to_owned() },
        });
        Box::pin(std::future::ready(Ok(hit)))
    }
}

pub(super) struct People;

impl Accounts for People {
    fn find<'a>(&'a self, name: &'a str) -> Answer<'a, Account> {
        let uid = match name {
            "alice" | "bob" | "root" | "bob.lock" => 1000,
            "engine" => 99,
            "toor" => 0,
            "bin" => 2,
            _ => u32::MAX,
        };
        let known = uid != u32::MAX;
        let account = Account { name: name.into(), uid, home: "/".into(), gecos: String::new() };
        let answer = if name == "broken" { Err(Unavailable("nss".into())) } else { Ok(known.then_some(account)) };
        Box::pin(std::future::ready(answer))
    }
}

fn router(aliases: &[(&'static str, &'static str)]) -> Router {
    let settings = Settings {
        host: "mx.example.org".into(),
        local_domains: vec!["Example.org".into()],
        interfaces: vec!["192.0.2.1".parse().unwrap()],
        relay_domains: vec!["partner.example".into(), ".below.example".into()],
        relay_clients: vec!["10.0.0.0/8".into(), "2001:db8::/32".into()],
        alias_depth: 10,
        alias_limit: 1_000,
        ..Settings::default()
    };
    let aliases = Arc::new(Fixed(aliases.iter().copied().collect()));
    Router::new(settings, Tables { aliases, accounts: Arc::new(People), ..Tables::default() })
}

async fn keys(router: &Router, address: &str) -> Vec<String> {
    match router.expand(&Address::parse(address).unwrap()).await {
        Verdict::Targets(targets) => targets.iter().map(|t| t.key.to_string()).collect(),
        Verdict::Refused { status, text, .. } => vec![format!("refused {status} {text}")],
        Verdict::Unavailable { text } => vec![format!("unavailable {text}")],
    }
}

#[tokio::test]
async fn accounts_that_never_get_mail_are_unknown() {
    let aliases: HashMap<_, _> = [("bin", "bob"), ("list", "engine\nalice")].into();
    let tables = Tables { aliases: Arc::new(Fixed(aliases)), accounts: Arc::new(People), ..Tables::default() };
    let settings = Settings { alias_depth: 10, alias_limit: 10, ..Settings::default() };
    let r = Router::new(Settings { engine_uid: Some(99), min_uid: 100, ..settings.clone() }, tables.clone());
    for name in ["engine", "\\engine", "\\bin", "bob.lock", "Bob.LOCK+x"] {
        assert_eq!(keys(&r, name).await, ["refused 5.1.1 User unknown"], "{name}");
    }
    assert_eq!(keys(&r, "bin").await, ["local:bob"]);
    assert_eq!(keys(&r, "toor").await, ["local:\\toor"]);
    assert_eq!(keys(&r, "list").await, ["error:5.1.1 User unknown", "local:alice"]);
    let r = Router::new(settings, tables);
    assert_eq!(keys(&r, "engine").await, ["local:engine"]);
    assert_eq!(keys(&r, "\\bin").await, ["local:\\bin"]);
}

#[tokio::test]
async fn programs_are_looked_for_in_the_table_that_was_configured() {
    let of =
        |rows: &[(&'static str, &'static str)]| -> Arc<dyn Table> { Arc::new(Fixed(rows.iter().copied().collect())) };
    let first = table::Named::new("/mail/a", of(&[("list", "bob\n|x"), ("root", "/f")]));
    let second = table::Named::new("/mail/b", of(&[("list", ":include:/l"), ("only", "|x")]));
    let aliases = Arc::new(table::Union::new(vec![Arc::new(first), Arc::new(second)]));
    let settings = Settings { alias_depth: 10, alias_limit: 10, ..Settings::default() };
    let r = Router::new(settings, Tables { aliases, accounts: Arc::new(People), ..Tables::default() });
    let files = |keys: Vec<String>| -> Vec<String> {
        keys.iter().map(|key| key.split(':').filter(|part| part.len() != 16).collect::<Vec<_>>().join(":")).collect()
    };
    assert_eq!(files(keys(&r, "list").await), ["local:bob", "prog::/mail/a", "include::/mail/b"]);
    assert_eq!(files(keys(&r, "only").await), ["prog::/mail/b"]);
    assert_eq!(files(keys(&r, "postmaster").await), ["file::/mail/a"]);
}

#[tokio::test]
async fn local_names_and_domains() {
    let r = router(&[]);
    for address in
        ["alice", "Alice@EXAMPLE.org.", "alice@mx", "alice@localhost", "alice@[192.0.2.1]", "alice@[IPv6:::1]"]
    {
        assert_eq!(keys(&r, address).await, ["local:alice"], "{address}");
    }
    assert_eq!(keys(&r, "alice+X@example.org").await, ["local:alice+x"]);
    assert_eq!(keys(&r, "nosuch@example.org").await, ["refused 5.1.1 User unknown"]);
    assert_eq!(keys(&r, "broken").await, ["unavailable nss"]);
    assert_eq!(keys(&r, "u@Far.Example").await, ["smtp:far.example"]);
    assert_eq!(keys(&r, "alice@[192.0.2.9]").await, ["smtp:[192.0.2.9]"]);
}

#[tokio::test]
async fn postmaster_is_always_deliverable() {
    assert_eq!(keys(&router(&[]), "Postmaster").await, ["local:root"]);
    assert_eq!(keys(&router(&[]), "MAILER-DAEMON@mx.example.org").await, ["local:root"]);
    assert_eq!(keys(&router(&[("root", "alice")]), "postmaster").await, ["local:alice"]);
}

#[tokio::test]
async fn aliases_lists_and_loops() {
    let r = router(&[
        ("list", "alice\nbob\nbob@far.example\nALICE"),
        ("bob", "bob"),
        ("a", "b"),
        ("b", "a"),
        ("mixed", "a\nalice"),
        ("half", "alice\nnosuch"),
        ("alice+news", "bob"),
        ("bob+*", "alice"),
    ]);
    assert_eq!(keys(&r, "list").await, ["local:alice", "local:bob", "smtp:far.example"]);
    assert_eq!(keys(&r, "bob").await, ["local:bob"]);
    let looped = keys(&r, "a").await;
    assert!(looped[0].starts_with("error:5.4.6 aliasing/forwarding loop broken"), "{looped:?}");
    let mixed = keys(&r, "mixed").await;
    assert!(mixed[0].starts_with("error:5.4.6") && mixed[1] == "local:alice", "{mixed:?}");
    let deep: Vec<(&'static str, &'static str)> = (0..11)
        .map(|n| {
            (
                &*format!("d{n}").leak(),
                &*if n < 10 { format!("d{}", n + 1) } else { "\\alice\nu@far.example".into() }.leak(),
            )
        })
        .collect();
    let r10 = router(&deep);
    assert_eq!(keys(&r10, "d1").await, ["local:\\alice", "smtp:far.example"]);
    let eleven = keys(&r10, "d0").await;
    assert!(eleven.len() == 2 && eleven.iter().all(|key| key.starts_with("error:5.4.6")), "{eleven:?}");
    assert_eq!(keys(&r, "half").await, ["local:alice", "error:5.1.1 User unknown"]);
    assert_eq!(keys(&r, "alice+news").await, ["local:bob"]);
    assert_eq!(keys(&r, "bob+x").await, ["local:alice"]);
}

#[test]
fn relaying_is_for_the_named_only() {
    let r = router(&[]);
    let may = |a: &str| r.relay_domain(&Address::parse(a).unwrap()).is_some();
    assert!(
        may("x@partner.example") && may("x@sub.partner.example") && may("x@a.below.example") && may("x@example.org")
    );
    assert!(
        !may("x@below.example")
            && !may("x@notpartner.example")
            && !may("x@far.example")
            && !may("x%far.example@other.example")
    );
    let trusted = |ip: &str| r.trusted_client(ip.parse().unwrap()).is_some();
    assert!(
        trusted("127.0.0.2")
            && trusted("::1")
            && trusted("::ffff:10.1.2.3")
            && trusted("192.0.2.1")
            && trusted("2001:db8:1::5")
    );
    assert!(!trusted("11.0.0.1") && !trusted("2001:db9::1") && !trusted("192.0.2.2"));
}

#[tokio::test]
async fn a_null_client_sends_everything_away() {
    let settings = Settings {
        host: "pc.example.org".into(),
        null_client: true,
        smart_host: Some("[relay.example.org]:25".into()),
        ..Settings::default()
    };
    let r = Router::new(settings, Tables { accounts: Arc::new(People), ..Tables::default() });
    assert_eq!(keys(&r, "alice").await, ["relay:[relay.example.org]:25"]);
}

#[tokio::test]
async fn lists_that_name_each_other_many_times_cost_little() {
    // Ten levels of six names, each listing all six of the next: 6^10 ways down, sixty aliases.
    let mut aliases: Vec<(&'static str, &'static str)> = Vec::new();
    for level in 0..9 {
        let members: Vec<String> = (0..6).map(|n| format!("n{}-{n}", level + 1)).collect();
        let members: &'static str = members.join("\n").leak();
        for n in 0..6 {
            aliases.push((format!("n{level}-{n}").leak(), members));
        }
    }
    (0..6).for_each(|n| aliases.push((format!("n9-{n}").leak(), "alice")));
    assert_eq!(keys(&router(&aliases), "n0-0").await, ["local:alice"]);
}

#[tokio::test]
async fn members_of_every_kind_count() {
    let members: Vec<String> = (0..1_200).map(|n| format!("\\u{n}")).collect();
    let many = router(&[("many", Box::leak(members.join("\n").into_boxed_str()))]);
    assert_eq!(keys(&many, "many").await, ["unavailable alias expands to more than 1000 recipients"]);
}

#[tokio::test]
async fn programs_files_and_lists_are_named_by_their_entry() {
    let r = router(&[("p", "|/bin/cat x"), ("f", "/var/archive"), ("l", ":include:/etc/list")]);
    let mark = |text: &str| table::AliasEntry::parse(text).mark();
    for (name, kind, text) in
        [("p", "prog", "|/bin/cat x"), ("f", "file", "/var/archive"), ("l", "include", ":include:/etc/list")]
    {
        assert_eq!(keys(&r, name).await, [format!("{kind}::{}:/etc/aliases", mark(text))]);
    }
    let Verdict::Targets(targets) = r.expand(&Address::parse("p").unwrap()).await else { panic!() };
    assert_eq!(targets[0].address.as_str(), "\"|/bin/cat x\"", "as sendmail prints it");
}

#[tokio::test]
async fn a_user_who_names_himself_with_a_detail_gets_his_mail() {
    let plussed = router(&[("alice", "alice+kept\nx@far.example")]);
    assert_eq!(keys(&plussed, "alice").await, ["local:alice+kept", "smtp:far.example"]);
    assert_eq!(keys(&plussed, "alice+more").await, ["local:alice+kept", "smtp:far.example"]);
}
