//! Look-ups take time linear in the key: a question costs few look-ups, which ask for little more than the key is long; and a key of a
//! megabyte, which no peer can send, is answered at once (a quadratic step would take minutes).

use crate::access::{AccessTable, Options};
use crate::aliases::Aliases;
use crate::domains::renamed;
use crate::generics::GenericsTable;
use crate::mailers::MailerTable;
use crate::scratch::wait;
use crate::user_database::UserDatabase;
use crate::virtual_users::VirtualUserTable;
use mail::Certificate;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};
use table::{Access, Answer, Client, Generics, Hit, Mailbox, Mailers, Table, VirtualUsers};

/// Has nothing, so that every key is tried, and counts.
#[derive(Default)]
struct Counting {
    look_ups: AtomicUsize,
    octets: AtomicUsize,
}

impl Table for Counting {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        self.look_ups.fetch_add(1, Relaxed);
        self.octets.fetch_add(key.len(), Relaxed);
        Box::pin(std::future::ready(Ok(None)))
    }
}

type Question = fn(Arc<Counting>, &str, &str);

fn access(raw: Arc<Counting>) -> AccessTable {
    let options = Options { skip: true, look_up_dot_domain: true, relay_to_full_address: true, compressed_ipv6: false };
    AccessTable::new(raw, options)
}

fn mailbox<'a>(user: &'a str, domain: &'a str) -> Mailbox<'a> {
    Mailbox { user, domain: Some(domain) }
}

fn host(name: &str) -> Client<'_> {
    Client { name: Some(name), ip: "2001:db8::1".parse().ok() }
}

/// Every question that compat/table answers.
const QUESTIONS: [(&str, Question); 18] = [
    ("connect", |raw, _, domain| drop(wait(access(raw).connect(host(domain))))),
    ("relay_from", |raw, _, domain| drop(wait(access(raw).relay_from(host(domain))))),
    ("sender", |raw, user, domain| drop(wait(access(raw).sender(mailbox(user, domain))))),
    ("recipient", |raw, user, domain| drop(wait(access(raw).recipient(mailbox(user, domain), true)))),
    ("relay_to_address", |raw, user, domain| drop(wait(access(raw).relay_to_address(mailbox(user, domain))))),
    ("spam", |raw, user, domain| drop(wait(access(raw).spam(mailbox(user, domain), true)))),
    ("peer", |raw, _, domain| drop(wait(Access::peer(&access(raw), "GreetPause", host(domain))))),
    ("credentials", |raw, _, domain| drop(wait(access(raw).credentials(host(domain))))),
    ("relay_to", |raw, _, domain| drop(wait(access(raw).relay_to(domain)))),
    ("encryption", |raw, _, domain| drop(wait(access(raw).encryption(true, host(domain))))),
    ("encryption_for", |raw, user, domain| drop(wait(access(raw).encryption_for(mailbox(user, domain))))),
    ("features", |raw, _, domain| drop(wait(access(raw).features(host(domain))))),
    ("relay_by", |raw, user, domain| {
        let shown = Certificate { issuer: format!("/CN={domain}"), subject: user.into(), ..Certificate::default() };
        drop(wait(access(raw).relay_by(&shown)));
    }),
    ("user data base", |raw, user, domain| {
        drop(wait(UserDatabase::new(raw).look_up(&format!("{user}{domain}"))));
    }),
    ("virtual user", |raw, user, domain| drop(wait(VirtualUserTable::new(raw).redirect(mailbox(user, domain))))),
    ("mailer", |raw, _, domain| drop(wait(MailerTable::new(raw).hop(domain)))),
    ("generics", |raw, user, domain| {
        drop(wait(GenericsTable::new(raw, "mx.test").outside(mailbox(user, domain))));
    }),
    ("domain", |raw, _, domain| drop(wait(renamed(&*raw, domain)))),
];

/// Look-ups and octets that a question costs.
fn cost(question: Question, user: &str, domain: &str) -> (usize, usize) {
    let raw = Arc::new(Counting::default());
    question(Arc::clone(&raw), user, domain);
    (raw.look_ups.load(Relaxed), raw.octets.load(Relaxed))
}

#[test]
fn a_question_costs_few_look_ups_however_long_its_key_is() {
    // Most labels that a name of 255 octets can have; they must not make 127 steps of two keys with two tags.
    let names = ["a.".repeat(127), "ab.".repeat(60), "x".repeat(250), format!("[{}1]", "1.".repeat(120))];
    let users = ["u+".repeat(300), "+".repeat(600), "a.b".repeat(200), format!("u+{}", "d".repeat(600))];
    for (name, question) in QUESTIONS {
        for (domain, user) in names.iter().flat_map(|name| users.iter().map(move |user| (name, user))) {
            let (look_ups, octets) = cost(question, user, domain);
            let key = user.len() + domain.len() + "GreetPause:".len();
            assert!(look_ups <= 185 && octets <= 25 * key, "{name}: {look_ups} look-ups, {octets} octets of {key}");
        }
        // Twice the key, at most twice the octets.
        let half = cost(question, &"u+d".repeat(50), &"a".repeat(120)).1;
        let whole = cost(question, &"u+d".repeat(100), &"a".repeat(240)).1;
        assert!(whole <= 2 * half + 100 && half > 0, "{name}: {half}, {whole}");
    }
}

#[test]
fn a_key_of_a_megabyte_is_answered_at_once() {
    let aliases = Aliases::read("/t", b"alice: bob\n\"a b\": x\n", None).unwrap();
    for piece in ["a", "a.", "+", "u+d", "\"", "\\", "@", "[1.", ":", "%", "a b", "(", "\u{fc}"] {
        let key = piece.repeat((1 << 20) / piece.len());
        let start = Instant::now();
        for (_, question) in QUESTIONS {
            question(Arc::default(), &key, "example.org");
            question(Arc::default(), "user", &key);
        }
        assert_eq!(wait(aliases.look_up(&key)), Ok(None));
        assert!(start.elapsed() < Duration::from_secs(10), "{piece:?}: {:?}", start.elapsed());
    }
}
