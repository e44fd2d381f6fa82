//! sendmail.md 3.9: class files.

use crate::grammar::Row;
use crate::set::{Ask, Maker, Place};

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.9 local-host-names", local),
    ("3.9 relay-domains", relay),
    ("3.9 virtuser-domains", virtuals),
    ("3.9 generics-domains", generics),
];

/// A line of a class file that names these, and which of them it names, by the format of the set.
fn line(m: &mut Maker, one: &str, two: &str) -> String {
    match m.random.below(9) {
        0 => format!("{one} {two}"),
        1 => format!("{one}\t# {two}"),
        2 => format!("#{one} {two}"),
        3 => format!("  {one}"),
        4 if !m.set.profile.plain_class_files => format!("{}#{two}", one.to_uppercase()),
        5 => format!("{one}\r"),
        6 => format!("{one} {two} # both"),
        7 => format!("\n\n{one}\n \n{two}"),
        _ => one.to_owned(),
    }
}

fn local(m: &mut Maker) {
    let (one, two, user) = (m.domain(), m.domain(), m.user());
    let text = line(m, &one, &two);
    m.line("local-host-names", &text);
    for at in [&one, &two] {
        m.to("3.9 local-host-names", true, &format!("{user}@{at}"));
    }
    m.to("3.9 local-host-names", true, &format!("nosuch@{one}"));
    m.to("3.9 local-host-names", false, &format!("{user}@sub.{one}"));
}

fn relay(m: &mut Maker) {
    let (one, two, user) = (m.domain(), m.domain(), m.user());
    let text = line(m, &one, &two);
    m.line("relay-domains", &text);
    let client = std::net::IpAddr::from([198, 51, 100, 9]);
    for (at, hit) in
        [(one.clone(), true), (two.clone(), true), (format!("sub.{one}"), true), (format!("x{one}"), false)]
    {
        m.ask(
            "3.9 relay-domains",
            hit,
            Ask::Session { client, from: "a@sender.example".into(), to: format!("{user}@{at}") },
        );
    }
}

fn virtuals(m: &mut Maker) {
    let (one, two, name) = (m.domain(), m.domain(), m.fresh());
    let text = line(m, &one, &two);
    m.line("virtuser-domains", &text);
    for at in [&one, &two] {
        let to = m.user();
        m.entry("virtusertable", &format!("{name}@{at}"), to);
        m.to("3.9 virtuser-domains", true, &format!("{name}@{at}"));
    }
    m.to("3.9 virtuser-domains", false, &format!("{name}@sub.{one}"));
}

fn generics(m: &mut Maker) {
    let (one, two, name, far) = (m.domain(), m.domain(), m.fresh(), m.far());
    let text = line(m, &one, &two);
    m.line("generics-domains", &text);
    m.entry("genericstable", &name, &far);
    for (at, hit) in [(one.clone(), true), (two.clone(), true), (format!("sub.{one}"), false)] {
        m.ask(
            "3.9 generics-domains",
            hit,
            Ask::Rewrite { place: Place::HeaderSender, address: format!("{name}@{at}") },
        );
    }
}
