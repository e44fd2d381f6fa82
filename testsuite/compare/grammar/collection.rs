//! The table files of `compat/table/collection`, as hosts really have them: every key of each is asked for, and something beside it.

use crate::set::{Ask, Maker, Place, Profile, Set};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

/// A name and content.
type File = (String, Vec<u8>);

/// The files, by name.
pub fn files() -> Vec<File> {
    let folder: PathBuf = concat!(env!("CARGO_MANIFEST_DIR"), "/../compat/table/collection").into();
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<File> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let name = path.file_name()?.to_string_lossy().into_owned();
            path.is_file().then(|| (name, fs::read(path).unwrap()))
        })
        .collect();
    files.sort();
    files
}

/// One set for each file, numbered from `first`. At most `most` questions each.
pub fn sets(first: usize, most: usize) -> Vec<Set> {
    let mut sets = Vec::new();
    for (name, text) in files() {
        let Some((table, row, ask)) = KINDS.iter().find(|(table, ..)| name.split('.').next() == Some(*table)) else {
            continue;
        };
        let mut profile = Profile { virtual_domains: vec!["virt.test"], ..Profile::default() };
        profile.features.extend(["skip", "blocklist_recipients"]);
        if name.contains("delay") {
            profile.delay = Some("friend");
        }
        let mut maker = Maker::new(first as u64, first + sets.len(), profile);
        maker.set.files.insert((*table).to_owned(), text.clone());
        let keys: Vec<String> = keys(&text, *table == "aliases").into_iter().collect();
        for key in keys.iter().step_by((keys.len() / most).max(1)) {
            ask(&mut maker, row, key);
        }
        if !maker.set.cases.is_empty() {
            sets.push(maker.set);
        }
    }
    sets
}

/// How the keys of a table are asked for.
type Asking = fn(&mut Maker, &'static str, &str);

const KINDS: &[(&str, &str, Asking)] = &[
    ("aliases", "collection: aliases", alias),
    ("virtusertable", "collection: virtusertable", virtual_user),
    ("mailertable", "collection: mailertable", mailer),
    ("domaintable", "collection: domaintable", domain),
    ("genericstable", "collection: genericstable", generic),
    ("access", "collection: access", access),
];

/// What looks like a key, commented lines included: they must not hit.
fn keys(text: &[u8], aliases: bool) -> BTreeSet<String> {
    let text = String::from_utf8_lossy(text);
    let word = |line: &str| -> Option<String> {
        let line = line.trim_start_matches(['#', ' ', '\t']);
        let key = if aliases { line.split_once(':')?.0.trim() } else { line.split_whitespace().next()? };
        let plain = !key.is_empty() && key.is_ascii() && !key.contains([' ', ',', '<', '>', '(', ')', ';', '|', '/']);
        plain.then(|| key.to_owned())
    };
    text.lines().filter_map(word).collect()
}

fn alias(m: &mut Maker, row: &'static str, key: &str) {
    m.to(row, true, key);
    m.to(row, true, &format!("{key}@mx.test"));
    m.to(row, false, &format!("{key}-x"));
}

fn virtual_user(m: &mut Maker, row: &'static str, key: &str) {
    let Some((user, domain)) = key.split_once('@').filter(|(_, d)| !d.is_empty()) else { return };
    m.line("virtuser-domains", domain);
    let user = if user.is_empty() { "anyone" } else { user };
    m.to(row, true, &format!("{user}@{domain}"));
    m.to(row, true, &format!("{user}+detail@{domain}"));
    m.to(row, false, &format!("{user}.other@{domain}"));
}

fn mailer(m: &mut Maker, row: &'static str, key: &str) {
    let domain = key.trim_start_matches('.');
    if !domain.is_empty() {
        m.to(row, !key.starts_with('.'), &format!("user@{domain}"));
        m.to(row, key.starts_with('.'), &format!("user@sub.{domain}"));
    }
}

fn domain(m: &mut Maker, row: &'static str, key: &str) {
    m.to(row, true, &format!("user@{key}"));
    m.to(row, false, &format!("user@sub.{key}"));
}

fn generic(m: &mut Maker, row: &'static str, key: &str) {
    let address = if key.starts_with('@') { format!("anyone{key}") } else { key.to_owned() };
    if let Some((_, domain)) = address.split_once('@') {
        m.line("generics-domains", domain);
    }
    m.ask(row, true, Ask::Rewrite { place: Place::HeaderSender, address: address.clone() });
    m.ask(row, false, Ask::Rewrite { place: Place::HeaderSender, address: format!("x{address}") });
}

fn access(m: &mut Maker, row: &'static str, key: &str) {
    let bare = key.rsplit_once(':').filter(|_| !key.to_ascii_lowercase().contains("ipv6")).map_or(key, |x| x.1);
    let stranger = IpAddr::from([198, 51, 100, 77]);
    let mut session = |hit, client, from: &str, to: &str| {
        m.ask(row, hit, Ask::Session { client, from: from.to_owned(), to: to.to_owned() });
    };
    let octets: Vec<u8> = bare.split('.').filter_map(|o| o.parse().ok()).collect();
    if !octets.is_empty() && octets.len() == bare.split('.').count() && octets.len() <= 4 && octets[0] != 127 {
        let at = |n: usize| octets.get(n).copied().unwrap_or(9);
        let client = IpAddr::from([at(0), at(1), at(2), at(3)]);
        session(true, client, "a@sender.example", "alice");
        session(true, client, "a@sender.example", "user@far.example");
    } else if let Some((user, domain)) = bare.split_once('@') {
        let domain = if domain.is_empty() { "elsewhere.example" } else { domain };
        session(true, stranger, &format!("{user}@{domain}"), "alice");
        session(true, stranger, "a@sender.example", &format!("{user}@{domain}"));
        session(true, stranger, "a@sender.example", &format!("{user}@mx.test"));
    } else if bare.contains('.') && !bare.contains(['[', ':']) {
        let domain = bare.trim_matches('.');
        session(true, stranger, &format!("a@{domain}"), "alice");
        session(true, stranger, &format!("a@sub.{domain}"), "alice");
        session(true, stranger, "a@sender.example", &format!("b@{domain}"));
        session(false, stranger, &format!("a@x{domain}"), "alice");
    }
}
