//! sendmail.md 3.3 and 3.8: entries about hosts that connect or are connected to: `GreetPause:`, `TLS_Clt:`, `TLS_Srv:`, `TLS_Rcpt:`,
//! `Try_TLS:`, `AuthInfo:`. Those about clients are asked by sessions, the others of the rulesets and of `explain --server`.

use crate::grammar::Row;
use crate::random::Random;
use crate::set::{Ask, Maker, Peer, Profile, Term};
use std::net::IpAddr;

/// What clients meet.
pub const CLIENTS: &[Row] = &[("3.3 GreetPause:", pause), ("3.3 TLS_Clt:", client_encryption)];
/// What is demanded of servers, and who logs in to them.
pub const SERVERS: &[Row] = &[
    ("3.3 TLS_Srv:", server_encryption),
    ("3.3 TLS_Rcpt:", recipient_encryption),
    ("3.3 Try_TLS:", in_clear),
    ("3.8 AuthInfo:", login),
];
/// The same entries in a table of their own.
pub const LOGINS: &[Row] = &[("3.8 authinfo", login_table)];

/// Profile for [`CLIENTS`].
pub fn client_profile(_: &mut Random) -> Profile {
    let mut profile = Profile::default();
    profile.features.insert("greet_pause");
    profile
}

/// Profile for [`LOGINS`].
pub fn login_profile(_: &mut Random) -> Profile {
    let mut profile = Profile::default();
    profile.features.insert("authinfo");
    profile
}

fn pause(m: &mut Maker) {
    const ROW: &str = "3.3 GreetPause:";
    let domain = m.domain();
    let (named, client) = (m.client(&format!("gp{}.{domain}", m.set.cases.len())), numbered(m));
    let time = m.random.pick(&["300", "400", "0"]);
    let key = match m.random.below(4) {
        0 => client.to_string(),
        1 => net(client, 3),
        2 => domain,
        _ => net(client, 2),
    };
    m.entry("access", &format!("GreetPause:{key}"), time);
    m.ask(ROW, true, Ask::Eager(client));
    m.ask(ROW, true, Ask::Eager(named));
    let other = numbered(m);
    m.ask(ROW, false, Ask::Eager(other));
}

fn client_encryption(m: &mut Maker) {
    const ROW: &str = "3.3 TLS_Clt:";
    let domain = m.domain();
    let (named, client) = (m.client(&format!("tc{}.{domain}", m.set.cases.len())), numbered(m));
    let key = one(m, [client.to_string(), net(client, 3), domain, net(client, 2)]);
    let value = demand(m);
    m.entry("access", &format!("TLS_Clt:{key}"), &value);
    for (client, hit) in [(client, true), (named, true), (numbered(m), false)] {
        m.ask(ROW, hit, Ask::Session { client, from: "a@sender.example".into(), to: "alice".into() });
    }
}

/// What may be demanded, in all spellings that work and some that do not.
fn demand(m: &mut Maker) -> String {
    let prefix = m.random.pick(&["", "", "PERM+", "TEMP+"]);
    let what =
        m.random.pick(&["VERIFY", "VERIFY:112", "VERIFY:256", "ENCR:112", "ENCR:128", "ENCR:256", "OK", "encr:128"]);
    format!("{prefix}{what}")
}

/// A server with this name.
fn peer(m: &mut Maker, name: &str, ip: IpAddr, term: Term) -> Ask {
    let to = format!("{}@to.example", m.fresh());
    let (bits, verified) = ([0, 56, 128, 256][m.random.below(4)], m.random.one_in(2));
    Ask::Peer(Peer { name: name.to_owned(), ip, to, term, bits, verified: verified && bits > 0 })
}

/// An entry of `tag` about a server, and questions that hit and miss it.
fn about_server(m: &mut Maker, row: &'static str, (file, tag): (&str, &str), value: &str, term: Term) {
    let (domain, ip) = (m.domain(), numbered(m));
    let (deep, other) = (format!("mx.{domain}"), m.domain());
    let key = one(m, [domain.clone(), deep.clone(), ip.to_string(), net(ip, 3), net(ip, 1), domain.clone()]);
    m.entry(file, &format!("{tag}:{key}"), value);
    if m.random.one_in(3) {
        let (second, value) = (one(m, [deep.clone(), net(ip, 2)]), value.replace("0:", "1:"));
        m.entry(file, &format!("{tag}:{second}"), &value);
    }
    let far = numbered(m);
    for (name, ip, hit) in [(&deep, ip, true), (&domain, far, true), (&other, ip, true), (&other, far, false)] {
        let ask = peer(m, name, ip, term);
        m.ask(row, hit, ask);
    }
}

fn server_encryption(m: &mut Maker) {
    let value = demand(m);
    about_server(m, "3.3 TLS_Srv:", ("access", "TLS_Srv"), &value, Term::Server);
}

fn in_clear(m: &mut Maker) {
    let value = m.random.pick(&["NO", "NO", "no", "YES", "OK"]);
    about_server(m, "3.3 Try_TLS:", ("access", "Try_TLS"), value, Term::Try);
}

fn recipient_encryption(m: &mut Maker) {
    const ROW: &str = "3.3 TLS_Rcpt:";
    let (user, domain, value) = (m.fresh(), m.domain(), demand(m));
    let key = one(m, [format!("{user}@{domain}"), format!("{user}@"), domain.clone(), format!("sub.{domain}")]);
    m.entry("access", &format!("TLS_Rcpt:{key}"), &value);
    for (to, hit) in [
        (format!("{user}@{domain}"), true),
        (format!("{user}@sub.{domain}"), true),
        (format!("other@{domain}"), true),
        (format!("other@far.{domain}"), false),
    ] {
        let ip = numbered(m);
        if let Ask::Peer(peer) = peer(m, "mx.server.example", ip, Term::Recipient) {
            m.ask(ROW, hit, Ask::Peer(Peer { to, ..peer }));
        }
    }
}

/// `"U:user" "P:password" …`, as people write it.
fn credentials(m: &mut Maker) -> String {
    let (user, serial) = (m.fresh().replace('\'', ""), m.set.cases.len());
    let word = format!("pw{serial}");
    let mut all = m
        .random
        .pick(&["\"U:@\" \"P:#\"", "\"U:@\" \"I:@\" \"P:#\"", "\"I:@\" \"P:#\"", "\"U:root\" \"I:@\" \"P:#\""])
        .to_owned();
    all = all.replace('@', &user).replace('#', &word);
    if m.random.one_in(3) {
        all += m.random.pick(&[" \"M:PLAIN\"", " \"M:LOGIN PLAIN\"", " \"R:realm.example\"", " \"M:PLAIN\" \"R:r\""]);
    }
    all
}

fn login(m: &mut Maker) {
    let value = credentials(m);
    about_server(m, "3.8 AuthInfo:", ("access", "AuthInfo"), &value, Term::Login);
    if m.random.one_in(20) {
        let value = credentials(m);
        m.entry("access", "AuthInfo:", &value);
    }
}

fn login_table(m: &mut Maker) {
    let value = credentials(m);
    about_server(m, "3.8 authinfo", ("authinfo", "AuthInfo"), &value, Term::Login);
    if m.random.one_in(20) {
        let value = credentials(m);
        m.entry("authinfo", "AuthInfo:", &value);
    }
}

fn numbered(m: &mut Maker) -> IpAddr {
    IpAddr::from([10, 1 + m.random.below(9) as u8, m.random.below(250) as u8, 1 + m.random.below(250) as u8])
}

/// The first octets, as access writes a network.
fn net(ip: IpAddr, octets: usize) -> String {
    ip.to_string().split('.').take(octets).collect::<Vec<_>>().join(".")
}

/// One of these.
fn one<const N: usize>(m: &mut Maker, all: [String; N]) -> String {
    all[m.random.below(N)].clone()
}
