//! sendmail.md 3.1: aliases. Each function writes a few entries of one row of the table there, and asks for some of them.

use crate::grammar::Row;
use crate::set::{Ask, Maker, USERS};

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.1 entry", entry),
    ("3.1 continuation", continuation),
    ("3.1 comment", comment),
    ("3.1 names", names),
    ("3.1 duplicates", duplicates),
    ("3.1 value kinds", value_kinds),
    ("3.1 programs", programs),
    ("3.1 :include:", include),
    ("3.1 error:", error),
    ("3.1 empty value", empty),
    ("3.1 self-reference", self_reference),
    ("3.1 plus", plus),
    ("3.1 owner-NAME", owner),
    ("3.1 NAME-request", request),
    ("3.1 postmaster", postmaster),
    ("3.1 loops", loops),
    ("3.1 several files", several_files),
];

/// Rows that are asked for by sending a message.
pub const SENT: &[Row] = &[("3.1 owner-NAME: sender", sender)];

/// One item of a right-hand side that is an ordinary recipient.
fn item(m: &mut Maker) -> String {
    match m.random.below(7) {
        0 => m.far(),
        1 => format!("{}@mx.test", m.user()),
        2 => m.user().to_uppercase(),
        3 => format!("{}@local.test", m.user()),
        _ => m.user().to_owned(),
    }
}

fn items(m: &mut Maker, most: usize) -> Vec<String> {
    let n = 1 + m.random.below(most);
    (0..n).map(|_| item(m)).collect()
}

/// Asks for an alias in two spellings, and for one that is not there.
fn ask(m: &mut Maker, row: &'static str, name: &str) {
    let address = m.local(name);
    m.to(row, true, &address);
    if m.random.one_in(2) {
        m.to(row, true, &format!("{name}@mx.test"));
    }
    if m.random.one_in(2) {
        let other = format!("{name}x");
        let address = m.local(&other);
        m.to(row, false, &address);
    }
}

fn entry(m: &mut Maker) {
    let (name, comma) = (m.fresh(), m.random.pick(&[",", ", ", " , ", ",\t", ",,", ", ,"]));
    let colon = m.random.pick(&[":", ": ", ":\t", " : ", "\t:\t"]);
    let end = m.random.pick(&["", "", "", " ", ",", "\t", "\r"]);
    let value = items(m, 5).join(comma);
    let written = m.random.recase(&name);
    m.line("aliases", &format!("{written}{colon}{value}{end}"));
    ask(m, "3.1 entry", &name);
}

fn continuation(m: &mut Maker) {
    let (name, value) = (m.fresh(), items(m, 6));
    let glue = m.random.pick(&[",\n  ", ",\n\t", ", \\\n", ",\\\n ", "\n , ", ",\n \t ", ",\n\n "]);
    m.line("aliases", &format!("{name}: {}", value.join(glue)));
    if m.random.one_in(4) {
        m.line("aliases", "");
    }
    ask(m, "3.1 continuation", &name);
    if m.random.one_in(3) {
        let (split, user) = (m.fresh(), m.user());
        let inside = m.random.pick(&["\n# in between\n ", ":\n ", "\n#\n\t"]);
        m.line("aliases", &format!("{split}: {user},{inside}bob"));
        ask(m, "3.1 continuation", &split);
    }
}

fn comment(m: &mut Maker) {
    let (name, user) = (m.fresh(), m.user());
    let line = match m.random.below(6) {
        0 => format!("#{name}: {user}"),
        1 => format!("# {name}: {user}\n#\n\n{name}: bob"),
        2 => format!("{name}: {user} # note"),
        3 => format!("{name}: {user} #note, carol"),
        4 => format!("{name}: {user}#"),
        _ => format!("{name}: {user} (a comment), bob (another (nested) one)"),
    };
    m.line("aliases", &line);
    ask(m, "3.1 comment", &name);
}

fn names(m: &mut Maker) {
    let (n, user) = (m.fresh(), m.user());
    let (name, address) = match m.random.below(10) {
        0 => (format!("\"{n} q\""), format!("\"{n} q\"")),
        1 => (format!("\"{n}\""), n),
        2 => (n.clone(), format!("\"{n}\"")),
        3 => (format!("{n}.dotted.name"), format!("{n}.dotted.name")),
        4 => (format!("{n}@mx.test"), n),
        5 => (format!("{n}@other.example"), n),
        6 => (n.to_uppercase(), n),
        7 => (format!("\"{n}:c\""), format!("\"{n}:c\"")),
        8 => (format!("{n}=x"), format!("{n}=x")),
        _ => (format!("{n} two"), format!("\"{n} two\"")),
    };
    m.line("aliases", &format!("{name}: {user}"));
    let hosted = format!("{address}@local.test");
    m.to("3.1 names", true, &address);
    m.to("3.1 names", true, &hosted);
    m.to("3.1 names", false, &address.replacen(|c: char| c.is_ascii_digit(), "no", 1));
}

fn duplicates(m: &mut Maker) {
    let name = m.fresh();
    for _ in 0..2 + m.random.below(2) {
        let (written, value) = (m.random.recase(&name), item(m));
        m.line("aliases", &format!("{written}: {value}"));
    }
    ask(m, "3.1 duplicates", &name);
}

fn value_kinds(m: &mut Maker) {
    let (name, user, far, other) = (m.fresh(), m.user(), m.far(), m.fresh());
    let value = match m.random.below(22) {
        0 => format!("\\{user}"),
        1 => format!("\"|/bin/cat {other}\""),
        2 => "|/bin/cat".to_owned(),
        3 => format!("/var/mail/{other}"),
        4 => format!("\"/var/mail/{other} with blank\""),
        5 => format!("Full Name <{far}>"),
        6 => format!("\"Name, Full\" <{far}>"),
        7 => format!("{user} (a note)"),
        8 => far,
        9 => format!("<{far}>"),
        10 => "/dev/null".to_owned(),
        11 => format!("\\nosuch{other}"),
        12 => format!("\"a b\"@{}", m.domain()),
        13 => format!("{user}@[127.0.0.1]"),
        14 => format!("{user}@[192.0.2.1]"),
        15 => format!("@{}:{far}", m.domain()),
        16 => format!("{user}%{}@mx.test", m.domain()),
        17 => format!("{other}!{user}"),
        18 => format!("\"\\{user}\""),
        19 => format!("{user}+detail, {user}"),
        20 => format!("{user}@MX.Test., {user}@{}.", m.domain()),
        _ => {
            m.line("aliases", &format!("{other}: {user}, {far}"));
            format!("{other}, bob")
        }
    };
    m.line("aliases", &format!("{name}: {value}"));
    ask(m, "3.1 value kinds", &name);
}

fn programs(m: &mut Maker) {
    let name = m.fresh();
    let value = match m.random.below(8) {
        0 => format!("\"|/usr/bin/prog {name} b\""),
        1 => format!("|\"/usr/bin/prog {name} b\""),
        2 => format!("|/usr/bin/prog {name} b"),
        3 => format!("\"| /usr/bin/prog -x '{name} c'\""),
        4 => format!("\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #{name}\""),
        5 => format!("\"|/usr/bin/prog \\\"{name}\\\" b\""),
        6 => format!("\"|/usr/bin/prog {name}, b\", alice"),
        _ => format!("bob, \"|/usr/bin/prog {name} <in >out\""),
    };
    m.line("aliases", &format!("{name}: {value}"));
    ask(m, "3.1 programs", &name);
}

fn include(m: &mut Maker) {
    let name = m.fresh();
    let file = format!("list-{name}");
    let (user, far, second) = (m.user(), m.far(), m.user());
    let text = match m.random.below(10) {
        0 => format!("{user}\n{far}\n"),
        1 => format!("{user}, {far}\n\n{second}"),
        2 => format!("# members\n{user}\n\n#{far}\n{second}\n"),
        3 => format!("{user}\r\n{far}\r\n"),
        4 => format!("Full Name <{far}>\n{user} (note)\n"),
        5 => {
            m.line(&format!("{file}.more"), &format!("{second}\n{far}"));
            format!("{user}\n:include:@F@/{file}.more\n")
        }
        6 => format!("{user},\n {second}\n"),
        7 => format!("\\{user}\n"),
        8 => format!("  {user}\n\t{far}\n"),
        _ => String::new(),
    };
    if !m.random.one_in(10) {
        m.bytes(&file, text.as_bytes());
    }
    let tag = m.random.pick(&[":include:", ":include:", ":include: ", ":Include:", "\":include:"]);
    let end = if tag.starts_with('"') { "\"" } else { "" };
    m.line("aliases", &format!("{name}: {tag}@F@/{file}{end}"));
    ask(m, "3.1 :include:", &name);
}

fn error(m: &mut Maker) {
    let name = m.fresh();
    let value = m.random.pick(&[
        "error:nouser 550 gone",
        "error:5.1.1:550 gone",
        "\"error:nouser gone away\"",
        "error: 550 gone",
    ]);
    m.line("aliases", &format!("{name}: {value}"));
    ask(m, "3.1 error:", &name);
}

fn empty(m: &mut Maker) {
    let (name, user) = (m.fresh(), m.user());
    let value = m.random.pick(&["", " ", ",", " , ,", "()", "(only a comment)", "\"\"", "<>"]);
    m.line("aliases", &format!("{name}:{value}"));
    ask(m, "3.1 empty value", &name);
    let after = m.fresh();
    m.line("aliases", &format!("{after}: {user}"));
    m.to("3.1 empty value", true, &after);
}

fn self_reference(m: &mut Maker) {
    let free: Vec<&str> = USERS
        .into_iter()
        .filter(|u| !text(m).lines().any(|l| l.to_lowercase().starts_with(&format!("{u}:"))))
        .collect();
    let name = match free.first() {
        Some(user) if *user != "mail" && *user != "root" => (*user).to_owned(),
        _ => m.fresh(),
    };
    let (far, user) = (m.far(), m.user());
    let value = match m.random.below(7) {
        0 => name.clone(),
        1 => format!("\\{name}"),
        2 => format!("{name}, {far}"),
        3 => format!("{far}, \\{name}, {user}"),
        4 => format!("{name}@mx.test, {far}"),
        5 => format!("{}, {far}", name.to_uppercase()),
        _ => format!("{name}+x, {far}"),
    };
    m.line("aliases", &format!("{name}: {value}"));
    ask(m, "3.1 self-reference", &name);
    m.to("3.1 self-reference", true, &format!("{name}+detail"));
}

fn text(m: &Maker) -> String {
    String::from_utf8_lossy(&m.set.files["aliases"]).into_owned()
}

fn plus(m: &mut Maker) {
    let name = m.fresh();
    for suffix in m.random.some(&["+one", "+*", "", "+", "++"]) {
        let value = m.far();
        m.line("aliases", &format!("{name}{suffix}: {value}"));
    }
    for (detail, hit) in [("+one", true), ("+two", true), ("", true), ("+", false), ("+one+two", true), ("++", false)] {
        if m.random.one_in(2) {
            let address = m.local(&format!("{name}{detail}"));
            m.to("3.1 plus", hit, &address);
        }
    }
    if m.random.one_in(2) {
        let user = m.user();
        let address = format!("{user}+{}", m.fresh());
        m.to("3.1 plus", true, &address);
    }
}

fn owner(m: &mut Maker) {
    let (name, user, far) = (m.fresh(), m.user(), m.far());
    let owner = match m.random.below(5) {
        0 => user.to_owned(),
        1 => far.clone(),
        2 => format!("{user}, {far}"),
        3 => format!("{name}-request"),
        _ => "\"|/bin/cat\"".to_owned(),
    };
    m.line("aliases", &format!("{name}: {user}, {far}\nowner-{name}: {owner}\n{name}-request: {user}"));
    ask(m, "3.1 owner-NAME", &name);
    m.to("3.1 owner-NAME", true, &format!("owner-{name}"));
    m.to("3.1 owner-NAME", false, &format!("owner-{name}x"));
    m.to("3.1 owner-NAME", false, &format!("owner-owner-{name}"));
}

fn sender(m: &mut Maker) {
    let (name, far, user) = (m.fresh(), m.far(), m.user());
    let members: Vec<String> = (0..1 + m.random.below(3)).map(|_| m.far()).collect();
    m.line("aliases", &format!("{name}: {}", members.join(", ")));
    let owner = match m.random.below(9) {
        0 => Some(user.to_owned()),
        1 => Some(far),
        2 => Some(format!("{user}, {far}")),
        3 => {
            m.line("aliases", &format!("{name}-request: {user}"));
            Some(format!("{name}-request"))
        }
        4 => Some("\"|/bin/cat\"".to_owned()),
        5 => Some(format!("\\{user}")),
        6 => Some("nosuchuser".to_owned()),
        7 => Some(format!("{user}@mx.test")),
        _ => None,
    };
    if let Some(owner) = &owner {
        m.line("aliases", &format!("owner-{name}: {owner}"));
    }
    let to =
        if m.random.one_in(2) { format!("{name}@mx.test") } else { m.random.recase(&format!("{name}@local.test")) };
    m.ask("3.1 owner-NAME: sender", owner.is_some(), Ask::Sender { to, members: members.len() });
    if m.random.one_in(3) {
        let outer = m.fresh();
        m.line("aliases", &format!("{outer}: {name}\nowner-{outer}: bob"));
        m.ask("3.1 owner-NAME: sender", true, Ask::Sender { to: format!("{outer}@mx.test"), members: members.len() });
    }
}

fn request(m: &mut Maker) {
    let (name, user) = (m.fresh(), m.user());
    m.line("aliases", &format!("{name}: {user}\n{name}-request: bob, {user}"));
    ask(m, "3.1 NAME-request", &format!("{name}-request"));
    m.to("3.1 NAME-request", false, &format!("{name}-requests"));
}

fn postmaster(m: &mut Maker) {
    if text(m).lines().filter(|l| l.starts_with("postmaster")).count() < 2 {
        let value = items(m, 3).join(", ");
        m.line("aliases", &format!("postmaster: {value}"));
        let daemon = m.random.pick(&["MAILER-DAEMON: postmaster", "mailer-daemon: Postmaster", "#MAILER-DAEMON: x"]);
        m.line("aliases", daemon);
    }
    for (name, hit) in [
        ("postmaster", true),
        ("POSTMASTER", true),
        ("PostMaster", true),
        ("MAILER-DAEMON", true),
        ("postmaster+x", true),
        ("mailer-daemon", true),
        ("post-master", false),
        ("postmasters", false),
    ] {
        let address = if m.random.one_in(3) { name.to_owned() } else { format!("{name}@{}", m.here()) };
        m.to("3.1 postmaster", hit, &address);
    }
}

fn loops(m: &mut Maker) {
    let n = 1 + m.random.below(14);
    let names: Vec<String> = (0..=n).map(|_| m.fresh()).collect();
    for pair in names.windows(2) {
        m.line("aliases", &format!("{}: {}", pair[0], pair[1]));
    }
    let user = m.user();
    let last = match m.random.below(5) {
        0 => names[0].clone(),
        1 => format!("{}, {user}", names[0]),
        2 => names[n].clone(),
        _ => user.to_owned(),
    };
    m.line("aliases", &format!("{}: {last}", names[n]));
    m.to("3.1 loops", true, &names[0]);
    let middle = m.random.below(n + 1);
    m.to("3.1 loops", true, &names[middle]);
    m.to("3.1 loops", false, &format!("{}x", names[n]));
}

fn several_files(m: &mut Maker) {
    let (one, two, both) = (m.fresh(), m.fresh(), m.fresh());
    let (a, b, c, d) = (item(m), item(m), item(m), item(m));
    m.line("aliases", &format!("{one}: {a}\n{both}: {b}"));
    m.line("aliases2", &format!("{two}: {c}, {one}\n{both}: {d}"));
    for name in [&one, &two, &both] {
        let address = m.local(name);
        m.to("3.1 several files", true, &address);
    }
    m.to("3.1 several files", false, &format!("{two}x"));
}
