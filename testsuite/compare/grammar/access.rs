//! sendmail.md 3.3: access, asked by SMTP sessions.

use crate::grammar::Row;
use crate::set::{Ask, Maker};
use std::net::IpAddr;

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.3 Connect:", connect),
    ("3.3 From:", from),
    ("3.3 To:", to),
    ("3.3 no tag", untagged),
    ("3.3 Spam:", spam),
    ("3.3 OK", ok),
    ("3.3 RELAY", relay),
    ("3.3 REJECT", reject),
    ("3.3 DISCARD", discard),
    ("3.3 SKIP", skip),
    ("3.3 QUARANTINE", quarantine),
    ("3.3 ERROR:D.S.N", error_status),
    ("3.3 ERROR:", error),
    ("3.3 other text", text),
    ("3.3 unknown word", unknown),
    ("3.3 host order", host_order),
    ("3.3 address order", address_order),
    ("3.3 sender order", sender_order),
    ("3.3 recipient order", recipient_order),
    ("3.3 connection order", connection_order),
    ("3.3 order of checks", checks),
    ("3.3 relaying", relaying),
];

const TABLE: &str = "access";

/// A client that has no name and is in no table.
fn stranger(m: &mut Maker) -> IpAddr {
    IpAddr::from([198, 51, 100, 1 + m.random.below(250) as u8])
}

fn numbered(m: &mut Maker) -> [u8; 4] {
    [10, 1 + m.random.below(9) as u8, m.random.below(250) as u8, 1 + m.random.below(250) as u8]
}

fn session(m: &mut Maker, row: &'static str, hit: bool, client: IpAddr, from: &str, to: &str) {
    m.ask(row, hit, Ask::Session { client, from: from.to_owned(), to: to.to_owned() });
}

/// Any action; texts as people write them.
fn action(m: &mut Maker) -> String {
    let text = m.random.pick(&[
        "OK",
        "RELAY",
        "REJECT",
        "REJECT",
        "550 go away",
        "ERROR:5.7.1:550 not you",
        "ERROR:4.7.1:451 later",
        "ERROR:550 we are closed",
        "DISCARD",
        "SKIP",
    ]);
    (*text).to_owned()
}

/// `Tag:` or none.
fn tagged(m: &mut Maker, tag: &str) -> String {
    if m.random.one_in(3) {
        String::new()
    } else if m.random.one_in(5) {
        m.random.recase(tag)
    } else {
        tag.to_owned()
    }
}

fn connect(m: &mut Maker) {
    let name = format!("c{}.client.example", m.set.cases.len());
    let ip = m.client(&name);
    let what = action(m);
    let key = match m.random.below(4) {
        0 => ip.to_string(),
        1 => ip.to_string().rsplit_once('.').expect("dots").0.to_owned(),
        _ => name,
    };
    m.entry(TABLE, &format!("Connect:{key}"), &what);
    let (local, far) = (m.user(), m.far());
    session(m, "3.3 Connect:", true, ip, "a@sender.example", local);
    session(m, "3.3 Connect:", true, ip, "a@sender.example", &far);
    let other = stranger(m);
    session(m, "3.3 Connect:", false, other, "a@sender.example", &far);
}

fn from(m: &mut Maker) {
    let (user, domain, what, client) = (m.fresh(), m.domain(), action(m), stranger(m));
    let key = match m.random.below(4) {
        0 => format!("{user}@{domain}"),
        1 => format!("{user}@"),
        2 => format!(".{domain}"),
        _ => domain.clone(),
    };
    m.entry(TABLE, &format!("From:{key}"), &what);
    let to = m.user();
    session(m, "3.3 From:", true, client, &format!("{user}@{domain}"), to);
    session(m, "3.3 From:", !key.contains('@'), client, &format!("other@sub.{domain}"), to);
    session(m, "3.3 From:", key.starts_with(&user), client, &format!("{user}+d@{domain}"), to);
}

fn to(m: &mut Maker) {
    let (user, domain, what, client) = (m.fresh(), m.domain(), action(m), stranger(m));
    let key = match m.random.below(5) {
        0 => format!("{user}@{domain}"),
        1 => format!("{user}@"),
        2 => format!("{user}@mx.test"),
        3 => "mx.test".to_owned(),
        _ => domain.clone(),
    };
    let key = if key == "mx.test" { "mx".to_owned() } else { key };
    m.line("aliases", &format!("{user}: alice"));
    m.entry(TABLE, &format!("To:{key}"), &what);
    for to in [format!("{user}@{domain}"), format!("{user}@mx.test"), user.clone(), format!("{user}+d@sub.{domain}")] {
        session(m, "3.3 To:", true, client, "a@sender.example", &to);
    }
    session(m, "3.3 To:", false, client, "a@sender.example", "alice");
}

fn untagged(m: &mut Maker) {
    let (user, domain, what) = (m.fresh(), m.domain(), action(m));
    let name = format!("u{}.client.example", m.set.cases.len());
    let named = m.client(&name);
    let key = match m.random.below(6) {
        0 => format!("{user}@{domain}"),
        1 => format!("{user}@"),
        2 => name,
        3 => named.to_string(),
        4 => "client.example".to_owned(),
        _ => domain.clone(),
    };
    let key = if key == "client.example" && !m.random.one_in(8) { domain.clone() } else { key };
    m.line("aliases", &format!("{user}: alice"));
    m.entry(TABLE, &key, &what);
    let client = stranger(m);
    session(m, "3.3 no tag", true, client, &format!("{user}@{domain}"), "alice");
    session(m, "3.3 no tag", true, client, "a@sender.example", &format!("{user}@{domain}"));
    session(m, "3.3 no tag", true, client, "a@sender.example", &user);
    session(m, "3.3 no tag", true, named, "a@sender.example", "alice");
    session(m, "3.3 no tag", false, client, "a@sender.example", "bob");
}

fn spam(m: &mut Maker) {
    let (user, what, client) = (m.fresh(), m.random.pick(&["FRIEND", "HATER", "FRIEND"]), IpAddr::from(numbered(m)));
    let from = m.far();
    m.line("aliases", &format!("{user}: alice"));
    let key = if m.random.one_in(2) { format!("{user}@") } else { format!("{user}@mx.test") };
    m.entry(TABLE, &format!("Spam:{key}"), what);
    m.entry(TABLE, &format!("From:{}", from.split_once('@').expect("an address").1), "REJECT");
    session(m, "3.3 Spam:", true, client, &from, &format!("{user}@mx.test"));
    session(m, "3.3 Spam:", true, client, &from, &user);
    session(m, "3.3 Spam:", false, client, &from, "bob");
}

/// A value at each of the three places.
fn value(m: &mut Maker, row: &'static str, what: &str) {
    let (user, domain) = (m.fresh(), m.domain());
    let client = stranger(m);
    m.line("aliases", &format!("{user}: alice"));
    match m.random.below(5) {
        0 => {
            let name = format!("v{}.client.example", m.set.cases.len());
            let ip = m.client(&name);
            let tag = tagged(m, "Connect:");
            m.entry(TABLE, &format!("{tag}{name}"), what);
            session(m, row, true, ip, "a@sender.example", "alice");
            session(m, row, true, ip, "a@sender.example", &format!("b@{domain}"));
        }
        1 | 2 => {
            let tag = tagged(m, "From:");
            m.entry(TABLE, &format!("{tag}{user}@{domain}"), what);
            session(m, row, true, client, &format!("{user}@{domain}"), "alice");
            session(m, row, true, client, &format!("{user}@{domain}"), &format!("b@{domain}"));
        }
        3 => {
            let tag = tagged(m, "To:");
            m.entry(TABLE, &format!("{tag}{user}@mx.test"), what);
            session(m, row, true, client, "a@sender.example", &format!("{user}@mx.test"));
            session(m, row, true, client, "", &user);
        }
        _ => {
            let tag = tagged(m, "To:");
            m.entry(TABLE, &format!("{tag}{domain}"), what);
            session(m, row, true, client, "a@sender.example", &format!("{user}@{domain}"));
            session(m, row, true, client, "a@sender.example", &format!("{user}@sub.{domain}"));
        }
    }
    session(m, row, false, client, &format!("no{user}@{domain}"), "bob");
}

fn ok(m: &mut Maker) {
    value(m, "3.3 OK", "OK");
}

fn relay(m: &mut Maker) {
    value(m, "3.3 RELAY", "RELAY");
}

fn reject(m: &mut Maker) {
    value(m, "3.3 REJECT", "REJECT");
}

fn discard(m: &mut Maker) {
    value(m, "3.3 DISCARD", "DISCARD");
}

fn skip(m: &mut Maker) {
    let (domain, client, user) = (m.domain(), stranger(m), m.fresh());
    m.entry(TABLE, &format!("From:{domain}"), "REJECT");
    m.entry(TABLE, &format!("From:good.{domain}"), "SKIP");
    m.entry(TABLE, &format!("From:{user}@{domain}"), "SKIP");
    for from in [
        format!("{user}@{domain}"),
        format!("a@good.{domain}"),
        format!("a@x.good.{domain}"),
        format!("{user}@bad.{domain}"),
    ] {
        session(m, "3.3 SKIP", true, client, &from, "alice");
    }
    let [_, b, c, d] = numbered(m);
    m.entry(TABLE, &format!("Connect:11.{b}"), "REJECT");
    m.entry(TABLE, &format!("Connect:11.{b}.{c}"), "SKIP");
    session(m, "3.3 SKIP", true, IpAddr::from([11, b, c, d]), "a@sender.example", "alice");
    session(m, "3.3 SKIP", true, IpAddr::from([11, b, 251, d]), "a@sender.example", "alice");
    session(m, "3.3 SKIP", false, client, "a@sender.example", "alice");
}

fn quarantine(m: &mut Maker) {
    let what = m.random.pick(&["QUARANTINE:look at this", "QUARANTINE:x", "QUARANTINE:"]);
    value(m, "3.3 QUARANTINE", what);
}

fn error_status(m: &mut Maker) {
    let what = m.random.pick(&[
        "ERROR:5.7.1:550 not wanted",
        "ERROR:5.7.1:\"550 not wanted\"",
        "ERROR:4.2.2:451 come back",
        "ERROR:5.2.1:550 5.2.1 twice",
        "ERROR:5.1.1:553 odd code",
        "error:5.7.0:550 lower",
        "ERROR:5.7.1:no code",
        "ERROR:4.7.0:\"421 closing\"",
    ]);
    value(m, "3.3 ERROR:D.S.N", what);
}

fn error(m: &mut Maker) {
    let what = m.random.pick(&[
        "ERROR:550 not wanted",
        "ERROR:\"550 not wanted\"",
        "ERROR:451 later",
        "ERROR:\"553 other\"",
        "error:550 lower",
        "ERROR:text only",
        "ERROR: 550 blank",
    ]);
    value(m, "3.3 ERROR:", what);
}

fn text(m: &mut Maker) {
    let what = m.random.pick(&[
        "550 We don't accept mail from spammers",
        "\"550 quoted text\"",
        "450 try later",
        "571 You are not welcome",
        "554 No, thanks: (never) <at all>",
        "550 5.7.1 with status",
        "421 bye",
    ]);
    value(m, "3.3 other text", what);
}

fn unknown(m: &mut Maker) {
    let what = m.random.pick(&[
        "RELEY",
        "reject",
        "ok",
        "Relay",
        "REJECTED",
        "DENY",
        "OK # fine",
        "REJECT # spammer",
        "REJECT now",
        "Accept",
    ]);
    value(m, "3.3 unknown word", what);
}

fn host_order(m: &mut Maker) {
    let base = format!("h{}.order.example", m.set.cases.len());
    let name = format!("a.b.{base}");
    let ip = m.client(&name);
    for key in
        m.random.some(&["Connect:a.b.", "a.b.", "Connect:.b.", ".b.", "Connect:b.", "b.", "Connect:", "", "Connect:."])
    {
        let what = m.random.pick(&["REJECT", "RELAY", "OK", "550 own text", "SKIP"]);
        m.entry(TABLE, &format!("{key}{base}"), what);
    }
    let far = m.far();
    session(m, "3.3 host order", true, ip, "a@sender.example", "alice");
    session(m, "3.3 host order", true, ip, "a@sender.example", &far);
    let other = format!("x{base}");
    let ip = m.client(&other);
    session(m, "3.3 host order", false, ip, "a@sender.example", &far);
}

fn address_order(m: &mut Maker) {
    if m.random.one_in(4) {
        return address_order_6(m);
    }
    let [_, b, c, d] = numbered(m);
    let full = format!("12.{b}.{c}.{d}");
    for (tag, key) in m.random.some(&[
        ("Connect:", full),
        ("", format!("12.{b}.{c}")),
        ("Connect:", format!("12.{b}")),
        ("", format!("12.{b}.{c}.0/24")),
        ("Connect:", format!("12.{b}.{c}.")),
    ]) {
        let what = m.random.pick(&["REJECT", "RELAY", "OK", "550 own text", "SKIP"]);
        m.entry(TABLE, &format!("{tag}{key}"), what);
    }
    let far = m.far();
    session(m, "3.3 address order", true, IpAddr::from([12, b, c, d]), "a@sender.example", &far);
    session(m, "3.3 address order", true, IpAddr::from([12, b, c, 251]), "a@sender.example", &far);
    session(m, "3.3 address order", false, IpAddr::from([12, b, 251, d]), "a@sender.example", &far);
}

fn address_order_6(m: &mut Maker) {
    let (a, b) = (m.random.below(0x9000), m.random.below(0x9000));
    for key in m.random.some(&[
        format!("IPv6:2001:db8:{a:x}:{b:x}:0:0:0:1"),
        format!("IPv6:2001:db8:{a:x}:{b:x}"),
        format!("IPv6:2001:DB8:{a:X}"),
        format!("IPv6:2001:db8:{a:x}::1"),
        format!("2001:db8:{a:x}"),
    ]) {
        let what = m.random.pick(&["REJECT", "RELAY", "OK", "550 own text"]);
        m.entry(TABLE, &format!("Connect:{key}"), what);
    }
    let far = m.far();
    for (third, hit) in [(b, true), (0, true), (0xfffe, false)] {
        let ip = IpAddr::from([0x2001, 0xdb8, a as u16, third as u16, 0, 0, 0, 1]);
        session(m, "3.3 address order", hit, ip, "a@sender.example", &far);
    }
}

fn sender_order(m: &mut Maker) {
    let (user, domain, client) = (m.fresh(), m.domain(), stranger(m));
    let at = [
        format!("{user}+d@{domain}"),
        format!("{user}+*@{domain}"),
        format!("{user}@{domain}"),
        format!("{user}+d@"),
        format!("{user}+*@"),
        format!("{user}@"),
        domain.clone(),
        "example".to_owned(),
    ];
    for key in m.random.some(&at) {
        if key == "example" && !m.random.one_in(20) {
            continue;
        }
        let (tag, what) =
            (tagged(m, "From:"), m.random.pick(&["REJECT", "OK", "550 own text", "SKIP", "ERROR:4.7.1:451 later"]));
        m.entry(TABLE, &format!("{tag}{key}"), what);
    }
    for left in [format!("{user}+d"), format!("{user}+e"), user.clone()] {
        session(m, "3.3 sender order", true, client, &format!("{left}@{domain}"), "alice");
    }
    session(m, "3.3 sender order", true, client, &format!("{user}@d.other.test"), "alice");
    session(m, "3.3 sender order", false, client, &format!("no{user}@other.test"), "alice");
}

fn recipient_order(m: &mut Maker) {
    let (user, client) = (m.fresh(), stranger(m));
    m.line("aliases", &format!("{user}: alice"));
    let at = [
        format!("{user}+d@mx.test"),
        format!("{user}+*@mx.test"),
        format!("{user}@mx.test"),
        format!("{user}+d@"),
        format!("{user}+*@"),
        format!("{user}@"),
        format!("{user}@far.example"),
        "far.example".to_owned(),
    ];
    for key in m.random.some(&at) {
        if key == "far.example" && !m.random.one_in(20) {
            continue;
        }
        let (tag, what) = (
            tagged(m, "To:"),
            m.random.pick(&["REJECT", "OK", "550 own text", "SKIP", "RELAY", "ERROR:4.7.1:451 later"]),
        );
        m.entry(TABLE, &format!("{tag}{key}"), what);
    }
    for to in [
        format!("{user}+d@mx.test"),
        format!("{user}+e@mx.test"),
        format!("{user}@mx.test"),
        user.clone(),
        format!("{user}@far.example"),
    ] {
        session(m, "3.3 recipient order", true, client, "a@sender.example", &to);
    }
    session(m, "3.3 recipient order", false, client, "a@sender.example", &format!("{user}@farther.example"));
    session(m, "3.3 recipient order", false, client, "a@sender.example", "carol");
}

fn connection_order(m: &mut Maker) {
    let name = format!("n{}.conn.example", m.set.cases.len());
    let ip = m.client(&name);
    for key in m.random.some(&[name, ip.to_string(), "Connect:conn.example".to_owned()]) {
        if key == "Connect:conn.example" && !m.random.one_in(10) {
            continue;
        }
        let (tag, what) = (
            if key.starts_with('C') { "" } else { "Connect:" },
            m.random.pick(&["REJECT", "RELAY", "OK", "550 own text"]),
        );
        m.entry(TABLE, &format!("{tag}{key}"), what);
    }
    let far = m.far();
    session(m, "3.3 connection order", true, ip, "a@sender.example", &far);
    session(m, "3.3 connection order", true, ip, "a@sender.example", "alice");
    let client = stranger(m);
    session(m, "3.3 connection order", false, client, "a@sender.example", &far);
}

fn checks(m: &mut Maker) {
    let name = format!("k{}.check.example", m.set.cases.len());
    let (ip, user, domain) = (m.client(&name), m.fresh(), m.domain());
    m.line("aliases", &format!("{user}: alice"));
    let keys = [format!("Connect:{name}"), format!("From:{domain}"), format!("To:{user}@")];
    for key in m.random.some(&keys) {
        let what = m.random.pick(&["REJECT", "OK", "550 own text", "RELAY", "ERROR:4.7.1:451 later"]);
        m.entry(TABLE, &key, what);
    }
    session(m, "3.3 order of checks", true, ip, &format!("s@{domain}"), &user);
    session(m, "3.3 order of checks", true, ip, &format!("s@{domain}"), &format!("{user}@far.example"));
    session(m, "3.3 order of checks", true, ip, "", &user);
    session(m, "3.3 order of checks", true, ip, &format!("s@{domain}"), &format!("no{user}"));
    session(m, "3.3 order of checks", false, ip, "a@sender.example", "bob");
}

fn relaying(m: &mut Maker) {
    let (domain, user, client) = (m.domain(), m.user(), stranger(m));
    let name = format!("r{}.relayed.example", m.set.cases.len());
    let named = m.client(&name);
    match m.random.below(5) {
        0 => m.line("relay-domains", &domain),
        1 => m.line(
            "relay-domains",
            &format!("{} # for the branch", named.to_string().rsplit_once('.').expect("dots").0),
        ),
        2 => m.line("relay-domains", &name),
        3 => m.entry(TABLE, &format!("To:{domain}"), "RELAY"),
        _ => m.line("relay-domains", &format!(".{domain}")),
    }
    let odd = [
        format!("{user}%{domain}@mx.test"),
        format!("{user}%far.example@mx.test"),
        format!("far.example!{user}"),
        format!("@mx.test:{user}@far.example"),
        format!("\"{user}@far.example\"@mx.test"),
        format!("{user}@far.example@mx.test"),
        format!("{user}@[127.0.0.1]"),
        format!("{user}%far.example"),
        format!("far.example!{user}@mx.test"),
        format!("\"{user}@far.example\""),
        format!("@far.example:{user}@mx.test"),
        format!("{user}@mx.test%far.example"),
        format!("{user}@far.example."),
    ];
    let strange = odd[m.random.below(odd.len())].clone();
    session(m, "3.3 relaying", true, client, "a@sender.example", &format!("{user}@{domain}"));
    session(m, "3.3 relaying", true, client, "a@sender.example", &format!("{user}@sub.{domain}"));
    session(m, "3.3 relaying", true, named, "a@sender.example", &format!("{user}@far.example"));
    session(m, "3.3 relaying", false, client, "a@sender.example", &strange);
}
