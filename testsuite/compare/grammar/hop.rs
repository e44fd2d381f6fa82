//! sendmail.md 3.5 and 3.6: mailertable, domaintable, bitdomain, uucpdomain, userdb.

use crate::grammar::Row;
use crate::set::Maker;

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.5 order", order),
    ("3.5 values", values),
    ("3.5 %1", percent),
    ("3.5 no host:port", ports),
    ("3.5 mailer names", names),
    ("3.5 local and error", local),
    ("3.6 domaintable", domaintable),
    ("3.6 bitdomain", bitdomain),
    ("3.6 uucpdomain", uucpdomain),
    ("3.6 userdb", userdb),
];

const TABLE: &str = "mailertable";

fn host(m: &mut Maker) -> String {
    let name = m.domain();
    match m.random.below(4) {
        0 => name,
        1 => "[192.0.2.33]".to_owned(),
        _ => format!("[{name}]"),
    }
}

fn order(m: &mut Maker) {
    let base = format!("o{}.example", m.fresh().len() * 1000 + m.set.cases.len());
    for key in m.random.some(&["a.b.", ".b.", "b.", ".", ""]) {
        let to = host(m);
        let key = match key {
            "." => format!(".{base}"),
            "" => base.clone(),
            part => format!("{part}{base}"),
        };
        m.entry(TABLE, &key, &format!("esmtp:{to}"));
    }
    if m.random.one_in(12) {
        m.entry(TABLE, ".", "relay:[last.example]");
    }
    for name in ["a.b.", "b.", "", "x.a.b."] {
        let user = m.fresh();
        m.to("3.5 order", true, &format!("{user}@{name}{base}"));
    }
    m.to("3.5 order", false, &format!("a@x{base}"));
    m.to("3.5 order", false, &format!("a@c.y{base}"));
}

/// One entry for a domain, asked for, and its neighbours.
fn one(m: &mut Maker, row: &'static str, value: &str) {
    let domain = m.domain();
    let dot = m.random.one_in(3);
    m.entry(TABLE, &format!("{}{domain}", if dot { "." } else { "" }), value);
    let user = m.fresh();
    m.to(row, !dot, &format!("{user}@{domain}"));
    m.to(row, dot, &format!("{user}@sub.{domain}"));
    m.to(row, true, &format!("{user}+x@{}{domain}", if dot { "p.q." } else { "" }));
}

fn values(m: &mut Maker) {
    let (a, b) = (host(m), m.domain());
    let value = match m.random.below(12) {
        0 => format!("smtp:{a}"),
        1 => format!("esmtp:{a}:[{b}]"),
        2 => format!("relay:{a}:{b}:[192.0.2.9]"),
        3 => format!("esmtp:{b}"),
        4 => format!("esmtp:[{b}"),
        5 => format!("esmtp: [{b}]"),
        6 => format!("esmtp:[{b}] # comment"),
        7 => format!("ESMTP:[{b}]"),
        8 => b,
        9 => format!("[{b}]"),
        10 => "esmtp:[IPv6:2001:db8::1]".to_owned(),
        _ => "esmtp:".to_owned(),
    };
    one(m, "3.5 values", &value);
}

fn percent(m: &mut Maker) {
    let value = m.random.pick(&[
        "smtp:%1.far.example",
        "esmtp:[%1]",
        "smtp:%1:[b.example]",
        "esmtp:%0.example",
        "esmtp:%2.example",
        "local:%1",
        "esmtp:[mx.%1.%1]",
    ]);
    one(m, "3.5 %1", value);
}

fn ports(m: &mut Maker) {
    let (a, port) = (host(m), m.random.pick(&["25", "2525", "587", "465"]));
    one(m, "3.5 no host:port", &format!("{}:{a}:{port}", m.random.clone().pick(&["esmtp", "smtp", "relay"])));
}

fn names(m: &mut Maker) {
    let a = host(m);
    let name = m.random.pick(&[
        "smtp", "esmtp", "smtp8", "dsmtp", "relay", "procmail", "uucp-new", "cyrusv2", "nosuch", "prog", "discard",
        "local",
    ]);
    one(m, "3.5 mailer names", &format!("{name}:{a}"));
}

fn local(m: &mut Maker) {
    let user = m.user();
    let value = match m.random.below(10) {
        0 => "local:".to_owned(),
        1 => format!("local:{user}"),
        2 => "local:nosuchuser".to_owned(),
        3 => "error:5.1.2:550 no such domain".to_owned(),
        4 => "error:nohost no such domain".to_owned(),
        5 => "error:nohost 550 no such domain".to_owned(),
        6 => "error:5.7.1:550 5.7.1 closed".to_owned(),
        7 => "error:4.7.1:451 later".to_owned(),
        8 => "discard:".to_owned(),
        _ => format!("local:{user}@mx.test"),
    };
    one(m, "3.5 local and error", &value);
}

fn domaintable(m: &mut Maker) {
    let (old, user, name) = (m.domain(), m.user(), m.fresh());
    let new = match m.random.below(5) {
        0 => "mx.test".to_owned(),
        1 => "virt.test".to_owned(),
        2 => "local.test".to_owned(),
        _ => m.domain(),
    };
    m.entry("domaintable", &old, &new);
    m.entry("virtusertable", &format!("{name}@{new}"), user);
    m.to("3.6 domaintable", true, &format!("{name}@{old}"));
    m.to("3.6 domaintable", true, &format!("{user}@{old}"));
    m.to("3.6 domaintable", true, &format!("\"q u\"@{old}."));
    m.to("3.6 domaintable", false, &format!("{user}@sub.{old}"));
    if m.random.one_in(3) {
        let older = m.domain();
        m.entry("domaintable", &older, &old);
        m.to("3.6 domaintable", true, &format!("{user}@{older}"));
    }
}

fn bitdomain(m: &mut Maker) {
    let (host, to, user) = (format!("bit{}", m.set.cases.len()), m.domain(), m.fresh());
    m.entry("bitdomain", &host, &to);
    m.to("3.6 bitdomain", true, &format!("{user}@{host}.BITNET"));
    m.to("3.6 bitdomain", true, &format!("{user}@{host}.bitnet."));
    m.to("3.6 bitdomain", false, &format!("{user}@x{host}.BITNET"));
}

fn uucpdomain(m: &mut Maker) {
    let (host, to, user) = (format!("uu{}", m.set.cases.len()), m.domain(), m.fresh());
    m.entry("uudomain", &host, &to);
    m.to("3.6 uucpdomain", true, &format!("{user}@{host}.UUCP"));
    m.to("3.6 uucpdomain", true, &format!("{host}!{user}"));
    m.to("3.6 uucpdomain", false, &format!("{user}@x{host}.UUCP"));
}

fn userdb(m: &mut Maker) {
    let (name, far, user) = (m.fresh(), m.far(), m.user());
    match m.random.below(4) {
        0 => m.entry("userdb", &format!("{name}:maildrop"), user),
        1 => m.entry("userdb", &format!("{name}:maildrop"), &format!("{far}, {user}")),
        2 => {
            m.entry("userdb", &format!("{name}:maildrop"), &far);
            m.line("aliases", &format!("{name}: {user}"));
        }
        _ => m.entry("userdb", &format!("{name}:maildrop"), &far),
    }
    m.to("3.6 userdb", true, &name);
    m.to("3.6 userdb", true, &format!("{name}@mx.test"));
    m.to("3.6 userdb", false, &format!("{name}x"));
}
