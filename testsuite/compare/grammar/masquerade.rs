//! sendmail.md 3.7 and 4.4: genericstable and masquerading.

use crate::grammar::Row;
use crate::set::{Ask, Maker, Place, USERS};

/// What makes cases, by row.
pub const ROWS: &[Row] = &[
    ("3.7 domains", domains),
    ("3.7 order", order),
    ("3.7 %1", percent),
    ("3.7 values", values),
    ("4.4 masquerading", masquerading),
    ("4.4 variants", variants),
];

const TABLE: &str = "genericstable";

/// In every place.
fn everywhere(m: &mut Maker, row: &'static str, hit: bool, address: &str) {
    let address = m.random.recase(address);
    for place in [Place::HeaderSender, Place::EnvelopeSender, Place::HeaderRecipient] {
        if place == Place::HeaderSender || m.random.one_in(4) {
            m.ask(row, hit, Ask::Rewrite { place, address: address.clone() });
        }
    }
}

fn domains(m: &mut Maker) {
    let (name, far) = (m.fresh(), m.far());
    let at = m.random.pick(&[
        "mx.test",
        "gen.test",
        "sub.gen.test",
        "a.b.gen.test",
        "local.test",
        "other.example",
        "localhost",
        "mx",
    ]);
    m.entry(TABLE, &format!("{name}@{at}"), &far);
    everywhere(m, "3.7 domains", true, &format!("{name}@{at}"));
    everywhere(m, "3.7 domains", false, &format!("{name}x@{at}"));
    everywhere(m, "3.7 domains", true, &format!("{name}@{at}"));
    let bare = m.fresh();
    m.entry(TABLE, &bare, &far);
    everywhere(m, "3.7 domains", true, &bare);
    everywhere(m, "3.7 domains", true, &format!("{bare}@{at}"));
}

fn order(m: &mut Maker) {
    let (name, at) = (m.fresh(), m.random.pick(&["mx.test", "gen.test", "local.test"]));
    for key in m.random.some(&["+one@", "+*@", "@", "+one", "+*", ""]) {
        let far = m.far();
        let key = if key.ends_with('@') { format!("{name}{key}{at}") } else { format!("{name}{key}") };
        m.entry(TABLE, &key, &far);
    }
    for detail in ["+one", "+two", "", "+"] {
        everywhere(m, "3.7 order", true, &format!("{name}{detail}@{at}"));
        if m.random.one_in(2) {
            everywhere(m, "3.7 order", true, &format!("{name}{detail}"));
        }
    }
    everywhere(m, "3.7 order", false, &format!("{name}no@{at}"));
}

fn percent(m: &mut Maker) {
    let form = m.random.pick(&["%1@far.example", "x-%1@far.example", "%1", "%2@far.example", "a+%1@far.example"]);
    let name = m.fresh();
    if m.random.one_in(6) {
        m.entry(TABLE, "@gen.test", form);
    }
    let key = m.random.pick(&["+*", "+*@gen.test", "@gen.test", ""]);
    m.entry(TABLE, &format!("{name}{key}"), form);
    for detail in ["+one", "", "+a+b"] {
        everywhere(m, "3.7 %1", true, &format!("{name}{detail}@gen.test"));
    }
    everywhere(m, "3.7 %1", false, &format!("{name}x@mx.test"));
}

fn values(m: &mut Maker) {
    let (name, far) = (m.fresh(), m.far());
    let value = match m.random.below(9) {
        0 => name.to_uppercase(),
        1 => format!("First.{name}"),
        2 => format!("F L <{far}>"),
        3 => format!("{far} (note)"),
        4 => format!("{far} # note"),
        5 => format!("\"q {name}\"@far.example"),
        6 => format!("{name}@mx.test"),
        7 => format!("{name}@FAR.Example"),
        _ => far,
    };
    m.entry(TABLE, &name, &value);
    everywhere(m, "3.7 values", true, &name);
    everywhere(m, "3.7 values", true, &format!("{name}@mx.test"));
    everywhere(m, "3.7 values", true, &format!("{name}@gen.test"));
    everywhere(m, "3.7 values", false, &format!("{name}y@mx.test"));
}

fn address(m: &mut Maker) -> (String, bool) {
    let user = if m.random.one_in(3) { USERS[m.random.below(USERS.len())].to_owned() } else { m.fresh() };
    let at = m.random.pick(&[
        "",
        "@mx.test",
        "@local.test",
        "@md.test",
        "@sub.md.test",
        "@except.md.test",
        "@sub.mx.test",
        "@far.example",
        "@localhost",
        "@mx",
        "@masq.test",
        "@[127.0.0.1]",
    ]);
    (format!("{user}{at}"), !matches!(at, "@far.example" | "@masq.test" | "@except.md.test"))
}

fn masquerading(m: &mut Maker) {
    if m.set.profile.masquerade.is_none() && !m.random.one_in(8) {
        return;
    }
    let (address, hit) = address(m);
    m.ask("4.4 masquerading", hit, Ask::Rewrite { place: Place::HeaderSender, address });
}

fn variants(m: &mut Maker) {
    if m.set.profile.masquerade.is_none() && !m.random.one_in(8) {
        return;
    }
    let (address, hit) = address(m);
    let place = if m.random.one_in(2) { Place::EnvelopeSender } else { Place::HeaderRecipient };
    m.ask("4.4 variants", hit, Ask::Rewrite { place, address });
}
