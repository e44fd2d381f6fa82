//! What makes the cases: for each row of sendmail.md §3 a function that writes entries into a set and asks for them.

#[path = "grammar/access.rs"]
mod access;
#[path = "grammar/alias.rs"]
mod alias;
#[path = "grammar/class.rs"]
mod class;
#[path = "grammar/collection.rs"]
pub mod collection;
#[path = "grammar/hop.rs"]
mod hop;
#[path = "grammar/masquerade.rs"]
mod masquerade;
#[path = "grammar/option.rs"]
mod option;
#[path = "grammar/peer.rs"]
mod peer;
#[path = "grammar/virtual_user.rs"]
mod virtual_user;

use crate::random::Random;
use crate::set::{Maker, Profile, Set};
use std::collections::BTreeMap;

/// A row and what makes its cases.
pub type Row = (&'static str, fn(&mut Maker));

/// Rows that need the same features, and how many sets of this kind there are for each ten.
struct Family {
    rows: Vec<Row>,
    profile: fn(&mut Random) -> Profile,
}

fn families() -> Vec<Family> {
    let routes = [alias::ROWS, virtual_user::ROWS, hop::ROWS, class::ROWS].concat();
    let (classes, routes): (Vec<Row>, Vec<Row>) =
        routes.into_iter().partition(|(row, _)| matches!(*row, "3.9 relay-domains" | "3.9 generics-domains"));
    let (relay, generics): (Vec<Row>, Vec<Row>) = classes.into_iter().partition(|(row, _)| row.contains("relay"));
    let (spam, access): (Vec<Row>, Vec<Row>) = access::ROWS.iter().copied().partition(|(row, _)| row.contains("Spam"));
    let checks: Vec<Row> = access.iter().copied().filter(|(row, _)| row.contains("checks")).collect();
    vec![
        Family { rows: routes, profile: routing },
        Family { rows: [access, relay].concat(), profile: accessing },
        Family { rows: [spam, checks].concat(), profile: delaying },
        Family { rows: alias::SENT.to_vec(), profile: sending },
        Family { rows: option::RELAYING.to_vec(), profile: option::relay_profile },
        Family { rows: option::ROUTING.to_vec(), profile: option::route_profile },
        Family { rows: option::LIMITS.to_vec(), profile: option::limit_profile },
        Family { rows: peer::CLIENTS.to_vec(), profile: peer::client_profile },
        Family { rows: peer::SERVERS.to_vec(), profile: accessing },
        Family { rows: peer::LOGINS.to_vec(), profile: peer::login_profile },
        Family { rows: [masquerade::ROWS.to_vec(), generics].concat(), profile: masquerading },
    ]
}

fn routing(random: &mut Random) -> Profile {
    let mut profile = Profile { virtual_domains: vec!["virt.test", "shop.virt.example"], ..Profile::default() };
    profile.features.extend(["bitdomain", "uucpdomain", "userdb"]);
    if random.one_in(4) {
        profile.features.insert("virtuser_entire_domain");
    }
    profile.plain_class_files = random.one_in(3);
    profile
}

fn accessing(random: &mut Random) -> Profile {
    let mut profile = Profile::default();
    if !random.one_in(4) {
        profile.features.insert("skip");
    }
    if random.one_in(3) {
        profile.features.insert("lookupdotdomain");
    }
    if !random.one_in(6) {
        profile.features.insert("blocklist_recipients");
    }
    if random.one_in(6) {
        profile.features.insert("relay_hosts_only");
    }
    profile.plain_class_files = random.one_in(3);
    profile
}

fn sending(random: &mut Random) -> Profile {
    let mut profile = Profile { smart_host: true, ..Profile::default() };
    if random.one_in(2) {
        // The owner of a list is a sender like any other.
        profile.masquerade = Some("masq.test");
        profile.features.insert("masquerade_envelope");
        profile.generics_domains = vec!["mx.test"];
    }
    profile
}

fn delaying(random: &mut Random) -> Profile {
    let mut profile = accessing(random);
    profile.delay = Some(random.pick(&["", "friend", "hater"]));
    profile
}

fn masquerading(random: &mut Random) -> Profile {
    let mut profile = Profile { generics_domains: vec!["mx.test", "gen.test"], ..Profile::default() };
    for feature in [
        "generics_entire_domain",
        "masquerade_entire_domain",
        "masquerade_envelope",
        "allmasquerade",
        "always_add_domain",
    ] {
        if random.one_in(3) {
            profile.features.insert(feature);
        }
    }
    if random.one_in(6) {
        profile.features.insert("limited_masquerade");
    }
    if !random.one_in(4) {
        profile.masquerade = Some("masq.test");
        profile.masquerade_domains = vec!["md.test"];
        profile.masquerade_exceptions = if random.one_in(2) { vec!["except.md.test"] } else { Vec::new() };
        profile.exposed = random.some(&["root", "alice"]);
    }
    profile
}

/// Sets with at least `per_row` cases for each row, from this seed.
pub fn make(seed: u64, per_row: usize) -> Vec<Set> {
    let mut random = Random::new(seed);
    let mut sets = Vec::new();
    for family in families() {
        let mut left: Vec<(Row, usize)> = family.rows.iter().map(|row| (*row, per_row)).collect();
        while left.iter().any(|(_, n)| *n > 0) {
            let profile = (family.profile)(&mut random);
            let mut maker = Maker::new(random.next(), sets.len(), profile);
            // A set is about a handful of rows, each with a few themes: like the tables of one host.
            for (row, n) in left.iter_mut().filter(|(_, n)| *n > 0) {
                let before = maker.set.cases.len();
                let most = (*n).min(5 + per_row / 12);
                for _ in 0..40 {
                    if maker.set.cases.len() - before >= most {
                        break;
                    }
                    (row.1)(&mut maker);
                }
                *n = n.saturating_sub(maker.set.cases.len() - before);
            }
            sets.push(maker.set);
        }
    }
    sets
}

/// How many questions there are for each row.
pub fn per_row(sets: &[Set]) -> BTreeMap<&'static str, usize> {
    let mut rows = BTreeMap::new();
    for case in sets.iter().flat_map(|set| &set.cases) {
        *rows.entry(case.row).or_default() += 1;
    }
    rows
}
