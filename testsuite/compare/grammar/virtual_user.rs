//! sendmail.md 3.4: virtusertable.

use crate::grammar::Row;
use crate::set::Maker;

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.4 domains", domains),
    ("3.4 order", order),
    ("3.4 %1 %2 %3", percent),
    ("3.4 value: local", local),
    ("3.4 value: list", list),
    ("3.4 value: trailing comment", comment),
    ("3.4 value: \\user", backslash),
    ("3.4 value: program", program),
    ("3.4 value: file", file),
    ("3.4 value: other routing", routing),
    ("3.4 value: itself", itself),
    ("3.4 chains", chains),
    ("3.4 error:", error),
    ("3.4 keys", keys),
];

const TABLE: &str = "virtusertable";

/// A domain whose virtual users are asked for; `virt.test` is in VirtHost, `local.test` in w.
fn domain(m: &mut Maker) -> &'static str {
    m.random.pick(&["virt.test", "virt.test", "shop.virt.example", "local.test", "mx.test"])
}

fn value(m: &mut Maker) -> String {
    match m.random.below(4) {
        0 => m.far(),
        1 => format!("{}@mx.test", m.user()),
        _ => m.user().to_owned(),
    }
}

/// One entry, asked for, and one beside it.
fn one(m: &mut Maker, row: &'static str, value: &str) {
    let (name, at) = (m.fresh(), domain(m));
    m.entry(TABLE, &format!("{name}@{at}"), value);
    m.to(row, true, &format!("{name}@{at}"));
    if m.random.one_in(2) {
        m.to(row, true, &format!("{name}+d@{at}"));
    }
    if m.random.one_in(2) {
        m.to(row, false, &format!("{name}x@{at}"));
    }
}

fn domains(m: &mut Maker) {
    let (name, at) = (
        m.fresh(),
        m.random.pick(&[
            "virt.test",
            "sub.virt.test",
            "a.b.virt.test",
            "local.test",
            "sub.local.test",
            "neither.example",
            "mx",
            "localhost",
            "shop.virt.example",
            "other.virt.example",
        ]),
    );
    let to = value(m);
    m.entry(TABLE, &format!("{name}@{at}"), &to);
    m.to("3.4 domains", true, &format!("{name}@{at}"));
    m.to("3.4 domains", true, &format!("{name}@{at}."));
    m.to("3.4 domains", false, &format!("{name}@x.{at}"));
    if m.random.one_in(3) {
        m.to("3.4 domains", false, &name);
    }
}

fn order(m: &mut Maker) {
    let at = match m.random.below(3) {
        0 => "local.test".to_owned(),
        _ => format!("v{}.virt.example", m.fresh().len() * 1000 + m.set.cases.len()),
    };
    if at != "local.test" {
        m.line("virtuser-domains", &at);
    }
    let name = m.fresh();
    let own = ["full", "plusplus", "plusstar", "user"];
    let all = ["", "++", "+*"];
    for key in m.random.some(&own) {
        let to = m.far();
        let left = match key {
            "full" => format!("{name}+one"),
            "plusplus" => format!("{name}++"),
            "plusstar" => format!("{name}+*"),
            _ => name.clone(),
        };
        m.entry(TABLE, &format!("{left}@{at}"), &to);
    }
    if at != "local.test" && m.random.one_in(2) {
        for key in m.random.some(&all) {
            let to = m.far();
            m.entry(TABLE, &format!("{key}@{at}"), &to);
        }
    }
    for left in [format!("{name}+one"), format!("{name}+two"), format!("{name}+"), name.clone()] {
        m.to("3.4 order", true, &format!("{left}@{at}"));
    }
    m.to("3.4 order", false, &format!("{name}no+one@{at}"));
    m.to("3.4 order", false, &format!("{name}no@{at}"));
}

fn percent(m: &mut Maker) {
    let at = format!("p{}.virt.example", m.fresh().len() * 1000 + m.set.cases.len());
    m.line("virtuser-domains", &at);
    let name = m.fresh();
    let left = m.random.pick(&["full", "++", "+*", "user", "all++", "all+*", "all"]);
    let key = match left {
        "full" => format!("{name}+one@{at}"),
        "user" => format!("{name}@{at}"),
        "all++" => format!("++@{at}"),
        "all+*" => format!("+*@{at}"),
        "all" => format!("@{at}"),
        suffix => format!("{name}{suffix}@{at}"),
    };
    let form = m.random.pick(&[
        "%1@far.example",
        "%2@far.example",
        "%1%3@far.example",
        "a-%1-%2-%3@far.example",
        "%1",
        "x+%2@far.example",
        "%3x@far.example",
        "%1.%2@%2.far.example",
        "%%1@far.example",
        "%1%1@far.example",
        "%4@far.example",
        "%0@far.example",
        "error:5.1.1:550 no %1 here",
    ]);
    m.entry(TABLE, &key, form);
    for left in ["+one", "", "+two.three", "+a+b"] {
        m.to("3.4 %1 %2 %3", true, &format!("{name}{left}@{at}"));
    }
    m.to("3.4 %1 %2 %3", key.starts_with(['@', '+']), &format!("other+one@{at}"));
}

fn local(m: &mut Maker) {
    let (user, far, alias) = (m.user(), m.far(), m.fresh());
    m.line("aliases", &format!("{alias}: {user}, {far}"));
    let value = match m.random.below(8) {
        0 => format!("Alice X <{user}>"),
        1 => format!("{user} (note)"),
        2 => user.to_uppercase(),
        3 => alias,
        4 => format!("<{user}>"),
        5 => format!("\"X, Y\" <{far}>"),
        6 => format!("{user}@localhost"),
        _ => user.to_owned(),
    };
    one(m, "3.4 value: local", &value);
}

fn list(m: &mut Maker) {
    let (a, b) = (value(m), value(m));
    let comma = m.random.pick(&[",", ", ", " ", " , "]);
    one(m, "3.4 value: list", &format!("{a}{comma}{b}"));
}

fn comment(m: &mut Maker) {
    let (user, hash) = (m.user(), m.random.pick(&["  # note", " #note", "\t# note", "#note", " # a # b"]));
    let name = m.random.pick(&["", "@mx.test", "@far.example"]);
    one(m, "3.4 value: trailing comment", &format!("{user}{name}{hash}"));
}

fn backslash(m: &mut Maker) {
    let user = m.user();
    let value = match m.random.below(4) {
        0 => format!("\\{user}@mx.test"),
        1 => "\\nosuchuser".to_owned(),
        2 => format!("\\{}", user.to_uppercase()),
        _ => format!("\\{user}"),
    };
    one(m, "3.4 value: \\user", &value);
}

fn program(m: &mut Maker) {
    let value = m.random.pick(&[
        "|/bin/cat",
        "\"|/bin/cat\"",
        "\"|/bin/cat x\"",
        "|/bin/cat x y",
        "\\|/bin/cat",
        "|\"/bin/cat x\"",
    ]);
    one(m, "3.4 value: program", value);
}

fn file(m: &mut Maker) {
    let value = m.random.pick(&[
        "/tmp/f",
        "/var/mail/other",
        ":include:/etc/passwd",
        "\"/tmp/a b\"",
        "/dev/null",
        ":include:@F@/x",
    ]);
    one(m, "3.4 value: file", value);
}

fn routing(m: &mut Maker) {
    let user = m.user();
    let value = match m.random.below(8) {
        0 => format!("host!{user}"),
        1 => format!("{user}%relay.example@mx.test"),
        2 => format!("{user}%relay.example@virt.test"),
        3 => format!("@relay.example:{user}@far.example"),
        4 => format!("{user}@[192.0.2.7]"),
        5 => format!("{user}@[127.0.0.1]"),
        6 => format!("a!b!{user}@mx.test"),
        _ => format!("{user}%far.example"),
    };
    one(m, "3.4 value: other routing", &value);
}

fn itself(m: &mut Maker) {
    // Names of their own: sendmail cannot be asked for such an entry, so no other row may hit it.
    let (user, at) = (m.fresh(), m.random.pick(&["virt.test", "local.test"]));
    if m.random.one_in(2) {
        let to = m.user();
        m.line("aliases", &format!("{user}: {to}"));
    }
    m.entry(TABLE, &format!("{user}@{at}"), &format!("{user}@{at}"));
    m.to("3.4 value: itself", true, &format!("{user}@{at}"));
    m.to("3.4 value: itself", true, &format!("{user}+d@{at}"));
    m.to("3.4 value: itself", false, &format!("{user}-x@{at}"));
    let bare = m.fresh();
    m.line("aliases", &format!("{bare}: {}", "carol"));
    m.entry(TABLE, &format!("{bare}@virt.test"), &bare);
    m.to("3.4 value: itself", true, &format!("{bare}@virt.test"));
}

fn chains(m: &mut Maker) {
    let n = 1 + m.random.below(7);
    let names: Vec<String> = (0..=n).map(|_| format!("{}@{}", m.fresh(), domain(m))).collect();
    for pair in names.windows(2) {
        m.entry(TABLE, &pair[0], &pair[1]);
    }
    let last = if m.random.one_in(6) { names[0].clone() } else { value(m) };
    m.entry(TABLE, &names[n], &last);
    for name in &names {
        m.to("3.4 chains", true, name);
    }
    m.to("3.4 chains", false, &format!("x{}", names[n]));
}

fn error(m: &mut Maker) {
    let value = m.random.pick(&[
        "error:nouser 550 No such user here",
        "error:nouser No such user",
        "error:5.7.0:550 nope",
        "error:5.1.1:550 5.1.1 twice",
        "error:nouser:550 x",
        "error: no code",
        "error:nohost 550 no host",
        "error:unavailable 550 out",
        "error:tempfail 451 later",
        "error:protocol 554 p",
        "error:usage 501 u",
        "error:config 554 c",
        "error:4.2.1:450 try later",
        "error:5.1.1:\"550 quoted\"",
        "error:550 x",
        "ERROR:nouser 550 big",
        "error:5.7.1:quoted only",
        "error:nouser 550",
        "error:nouser \"550 5.1.1 quoted text\"",
        "error:D.S.N:550 odd",
    ]);
    one(m, "3.4 error:", value);
    if m.random.one_in(4) {
        let at = format!("e{}.virt.example", m.set.cases.len());
        m.line("virtuser-domains", &at);
        m.entry(TABLE, &format!("@{at}"), value);
        m.to("3.4 error:", true, &format!("anyone@{at}"));
    }
}

fn keys(m: &mut Maker) {
    let (name, at, to, other) = (m.fresh(), domain(m), value(m), value(m));
    match m.random.below(8) {
        0 => {
            m.entry(TABLE, &format!("{name}@{at}"), &to);
            m.entry(TABLE, &format!("{name}@{at}"), &other);
        }
        1 => m.line(TABLE, &format!("#{name}@{at}\t{to}")),
        2 => m.line(TABLE, &format!(" {name}@{at}\t{to}")),
        3 => m.line(TABLE, &format!("{name}@{at}")),
        4 => m.line(TABLE, &format!("{name}@{at}\t{to}\r")),
        5 => m.line(TABLE, &format!("{}@{}\t{to}  ", name.to_uppercase(), at.to_uppercase())),
        6 => m.line(TABLE, &format!("{name}@{at}.\t{to}")),
        _ => m.line(TABLE, &format!("\"{name} q\"@{at}\t{to}")),
    }
    m.to("3.4 keys", true, &format!("{name}@{at}"));
    m.to("3.4 keys", true, &format!("\"{name} q\"@{at}"));
    m.to("3.4 keys", true, &format!("{name}@{at}."));
    m.to("3.4 keys", false, &format!("{name}z@{at}"));
}
