//! sendmail.md 4: features that change what tables and addresses mean, asked with tables that are not empty; addresses and lines as
//! nobody should write them; and `-bv` itself.

use crate::grammar::Row;
use crate::random::Random;
use crate::set::{Ask, Maker, Profile};
use std::net::IpAddr;

/// Sessions under features that open or close the relay, and sender checks.
pub const RELAYING: &[Row] = &[
    ("4.1 relaying features", relaying),
    ("4.1 sender checks", senders),
    ("4.1 odd addresses in sessions", odd_sessions),
];
/// Recipients under features that change where they go.
pub const ROUTING: &[Row] = &[
    ("4.1 hubs and relays", hubs),
    ("4.1 redirect, uucp, percent", special),
    ("4.1 odd addresses", odd),
    ("3.9 odd lines", lines),
    ("2.4 -bv", verify),
];
/// What limits clients.
pub const LIMITS: &[Row] = &[("3.3 ClientRate:", rate), ("3.3 ClientConn:", connections)];

/// Profiles for [`RELAYING`].
pub fn relay_profile(random: &mut Random) -> Profile {
    let mut profile = Profile::default();
    profile.features.extend(["skip", "blocklist_recipients"]);
    let all = [
        "relay_mail_from",
        "relay_local_from",
        "relay_entire_domain",
        "loose_relay_check",
        "promiscuous_relay",
        "relaytofulladdress",
        "accept_unqualified_senders",
        "unresolvable",
    ];
    // An open relay hides what the others do.
    profile.features.extend(random.some(&all).into_iter().filter(|name| *name != "promiscuous_relay"));
    if random.one_in(6) {
        profile.features.insert("promiscuous_relay");
    }
    profile
}

/// Profiles for [`ROUTING`].
pub fn route_profile(random: &mut Random) -> Profile {
    let mut profile = Profile { virtual_domains: vec!["virt.test"], ..Profile::default() };
    profile.features.extend(random.some(&["stickyhost", "redirect", "local_no_masquerade", "nouucp", "nopercenthack"]));
    for (name, value) in [("MAIL_HUB", "hub.example"), ("LOCAL_RELAY", "lr.example"), ("LUSER_RELAY", "luser.example")]
    {
        if random.one_in(3) {
            profile.defines.push((name, value));
        }
    }
    profile.plain_class_files = random.one_in(2);
    profile
}

/// Profile for [`LIMITS`].
pub fn limit_profile(_: &mut Random) -> Profile {
    let mut profile = Profile::default();
    profile.features.extend(["ratecontrol", "conncontrol"]);
    profile
}

fn session(m: &mut Maker, row: &'static str, hit: bool, client: IpAddr, from: &str, to: &str) {
    m.ask(row, hit, Ask::Session { client, from: from.to_owned(), to: to.to_owned() });
}

fn stranger(m: &mut Maker) -> IpAddr {
    IpAddr::from([198, 51, 100, 1 + m.random.below(250) as u8])
}

fn relaying(m: &mut Maker) {
    const ROW: &str = "4.1 relaying features";
    let (user, domain, relayed, client) = (m.fresh(), m.domain(), m.domain(), stranger(m));
    match m.random.below(6) {
        0 => m.entry("access", &format!("From:{user}@{domain}"), "RELAY"),
        1 => m.entry("access", &format!("From:{domain}"), "RELAY"),
        2 => m.entry("access", &format!("To:{user}@{relayed}"), "RELAY"),
        3 => m.entry("access", &format!("To:{relayed}"), "RELAY"),
        4 => m.line("relay-domains", &relayed),
        _ => m.entry("access", &format!("{user}@{domain}"), "RELAY"),
    }
    let name = format!("h{}.test", m.set.cases.len());
    let near = m.client(&name);
    let from = format!("{user}@{domain}");
    for to in [
        format!("{user}@{relayed}"),
        format!("{user}@far.example"),
        format!("alice%far.example@{relayed}"),
        format!("alice%{relayed}@mx.test"),
        "x@other.test".to_owned(),
    ] {
        session(m, ROW, true, client, &from, &to);
    }
    session(m, ROW, true, client, "alice@mx.test", &format!("{user}@far.example"));
    session(m, ROW, true, client, "alice@sub.mx.test", &format!("{user}@far.example"));
    session(m, ROW, true, near, "a@sender.example", &format!("{user}@far.example"));
    session(m, ROW, false, client, "a@sender.example", &format!("{user}@farther.example"));
}

fn senders(m: &mut Maker) {
    const ROW: &str = "4.1 sender checks";
    let (client, user) = (stranger(m), m.fresh());
    let name = format!("s{}.known.example", m.set.cases.len());
    m.client(&name);
    if m.random.one_in(3) {
        m.entry("access", &format!("From:{user}@unknown.example"), m.random.clone().pick(&["OK", "REJECT", "RELAY"]));
    }
    for from in [
        user.clone(),
        format!("{user}@localhost"),
        format!("{user}@localhost.localdomain"),
        format!("{user}@unknown.example"),
        format!("{user}@{name}"),
        format!("{user}@mx.test"),
        format!("{user}@mx"),
        format!("{user}@[10.1.1.1]"),
        String::new(),
    ] {
        session(m, ROW, true, client, &from, "alice");
    }
    session(m, ROW, true, IpAddr::from([127, 0, 0, 1]), &user, "alice");
    session(m, ROW, true, IpAddr::from([127, 0, 0, 1]), &format!("{user}@localhost"), "alice");
}

/// Spellings of an address, right and wrong.
fn spellings(user: &str, domain: &str) -> Vec<String> {
    vec![
        format!("{user}.@{domain}"),
        format!(".{user}@{domain}"),
        format!("{user}@{domain}."),
        format!("\"{user}\"@{domain}"),
        format!("\"{user}.\"@{domain}"),
        format!("{user}..x@{domain}"),
        format!("{}@{}", user.to_uppercase(), domain.to_uppercase()),
        format!("\"{user} x\"@{domain}"),
        format!("\\{user}@{domain}"),
        format!("{user}+@{domain}"),
        format!("{user}@{domain}.."),
    ]
}

fn odd_sessions(m: &mut Maker) {
    const ROW: &str = "4.1 odd addresses in sessions";
    let (user, domain, client) = (m.fresh(), m.domain(), stranger(m));
    m.entry("access", &format!("From:{user}@{domain}"), "REJECT");
    m.entry("access", &format!("To:{user}@mx.test"), "REJECT");
    m.line("aliases", &format!("{user}: alice"));
    let (froms, tos) = (spellings(&user, &domain), spellings(&user, "mx.test"));
    for _ in 0..3 {
        let (from, to) = (froms[m.random.below(froms.len())].clone(), tos[m.random.below(tos.len())].clone());
        session(m, ROW, true, client, &from, "alice");
        session(m, ROW, true, client, "a@sender.example", &to);
    }
    session(m, ROW, false, client, "a@sender.example", "bob");
}

fn hubs(m: &mut Maker) {
    const ROW: &str = "4.1 hubs and relays";
    let (name, user) = (m.fresh(), m.user());
    let to = if m.random.one_in(2) { user.to_owned() } else { m.far() };
    m.line("aliases", &format!("{name}: {to}"));
    for address in
        [name.clone(), format!("{name}@mx.test"), user.to_owned(), format!("{user}@local.test"), format!("no{name}")]
    {
        m.to(ROW, true, &address);
    }
    m.to(ROW, true, &format!("no{name}@mx.test"));
    m.to(ROW, false, &format!("{name}@far.example"));
}

fn special(m: &mut Maker) {
    const ROW: &str = "4.1 redirect, uucp, percent";
    let (name, far, user) = (m.fresh(), m.far(), m.user());
    m.line("aliases", &format!("{name}: {far}.REDIRECT"));
    m.to(ROW, true, &name);
    m.to(ROW, true, &format!("{far}.REDIRECT"));
    for address in [
        format!("{user}%far.example@mx.test"),
        format!("{user}%far.example"),
        format!("host!{user}"),
        format!("host!{user}@mx.test"),
        format!("a!b!{user}@far.example"),
        format!("{user}%a%b@local.test"),
    ] {
        m.to(ROW, true, &address);
    }
}

fn odd(m: &mut Maker) {
    const ROW: &str = "4.1 odd addresses";
    let (name, domain, user) = (m.fresh(), m.domain(), m.user());
    m.line("aliases", &format!("{name}: {user}"));
    m.entry("virtusertable", &format!("{name}@virt.test"), user);
    m.entry("mailertable", &domain, "esmtp:[mt.example]");
    for at in ["mx.test".to_owned(), "virt.test".to_owned(), domain] {
        let all = spellings(&name, &at);
        for _ in 0..3 {
            let one = all[m.random.below(all.len())].clone();
            m.to(ROW, true, &one);
        }
    }
}

fn lines(m: &mut Maker) {
    const ROW: &str = "3.9 odd lines";
    let (one, two, user) = (m.domain(), m.domain(), m.user());
    match m.random.below(7) {
        0 => m.line("local-host-names", &format!("{one}.")),
        1 => m.line("local-host-names", &format!("{one}\x0b{two}")),
        2 => m.bytes("local-host-names", format!("{one}\0{two}\n").as_bytes()),
        3 => m.line("local-host-names", &format!("-{one}")),
        4 => m.line("local-host-names", &format!("{one}\x0c{two}")),
        5 => m.line("local-host-names", &format!("[10.6.{}.1]", m.random.clone().below(250))),
        _ => m.line("local-host-names", &format!("_{one} {two}")),
    }
    for at in [one.clone(), two.clone(), format!("{one}."), format!("-{one}"), format!("_{one}")] {
        m.ask(ROW, true, Ask::Recipient(format!("{user}@{at}")));
    }
    m.ask(ROW, false, Ask::Recipient(format!("{user}@x{one}")));
}

fn verify(m: &mut Maker) {
    const ROW: &str = "2.4 -bv";
    let (name, user, far) = (m.fresh(), m.user(), m.far());
    m.line("aliases", &format!("{name}: {user}, {far}"));
    let address = match m.random.below(8) {
        0 => name,
        1 => format!("{user}+detail"),
        2 => format!("no{name}"),
        3 => far,
        4 => format!("{user}@virt.test"),
        5 => format!("{name}@mx.test"),
        6 => format!("{user}@"),
        _ => user.to_owned(),
    };
    m.ask(ROW, true, Ask::Verify(address));
}

fn rate(m: &mut Maker) {
    let client = m.client(&format!("rate{}.example", m.set.cases.len()));
    let limit = m.random.pick(&["1", "2", "3", "0", "x"]);
    m.entry("access", &format!("ClientRate:{client}"), limit);
    m.ask("3.3 ClientRate:", true, Ask::Crowd { client, count: 4, held: false });
    let other = m.client(&format!("rateless{}.example", m.set.cases.len()));
    m.ask("3.3 ClientRate:", false, Ask::Crowd { client: other, count: 3, held: false });
}

fn connections(m: &mut Maker) {
    let client = m.client(&format!("conn{}.example", m.set.cases.len()));
    let limit = m.random.pick(&["1", "2", "3", "0", "x"]);
    m.entry("access", &format!("ClientConn:{client}"), limit);
    m.ask("3.3 ClientConn:", true, Ask::Crowd { client, count: 4, held: true });
    let other = m.client(&format!("connless{}.example", m.set.cases.len()));
    m.ask("3.3 ClientConn:", false, Ask::Crowd { client: other, count: 3, held: true });
}
