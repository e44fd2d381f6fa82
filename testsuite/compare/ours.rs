//! Our own answers to the same questions: `postrider explain --json`, SMTP, and what arrives behind a smart host.

use crate::answer::{Answer, said, target};
use crate::oracle::{crowd, eager, printed, sent, session};
use crate::set::{Ask, Case, Peer, Place, Set, Term};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use testsuite::{Server, Setup, Sink, Smtp, Zone, seconds, server, wait_for};

/// How many addresses go into one message of [`rewritten`].
const FIELDS: usize = 50;

/// Asks everything of a set, in the order of its cases. The files are where [`crate::oracle`] wrote them.
pub fn answers(set: &Set) -> Vec<Answer> {
    let asked = |wanted: fn(&Ask) -> bool| set.cases.iter().any(|c| wanted(&c.ask));
    let zone = Zone::start(&names(set));
    let sink = Sink::start();
    let setup =
        || Setup { whole: Some(crate::profile::kdl(set, zone.address, Some(sink.address))), ..Setup::default() };
    let mut routes = BTreeMap::new();
    let mut verified = BTreeMap::new();
    if asked(|a| matches!(a, Ask::Recipient(_) | Ask::Verify(_))) {
        let whole = crate::profile::kdl(set, zone.address, None);
        let server = Server::make(Setup { whole: Some(whole), ..Setup::default() });
        routes = explained(&server, &set.cases);
        for case in &set.cases {
            if let Ask::Verify(address) = &case.ask {
                verified.insert(address, verify(&server, address));
            }
        }
    }
    let mut terms = terms(set).into_iter();
    let running = asked(|a| !matches!(a, Ask::Recipient(_) | Ask::Verify(_) | Ask::Peer(_))).then(|| setup().start());
    let texts = running.as_ref().map_or_else(BTreeMap::new, |s| rewritten(s, &sink, &set.cases));
    let missing = || Answer::Text("no answer".into());
    set.cases
        .iter()
        .map(|case| match &case.ask {
            Ask::Recipient(address) => routes.get(address).cloned().unwrap_or_else(missing),
            Ask::Session { client, from, to } => {
                Answer::Replies(session(running.as_ref().expect("started").address, *client, from, to))
            }
            Ask::Crowd { client, count, held } => {
                Answer::Replies(crowd(running.as_ref().expect("started").address, *client, *count, *held))
            }
            Ask::Eager(client) => Answer::Replies(eager(running.as_ref().expect("started").address, *client)),
            Ask::Peer(_) => terms.next().map_or_else(missing, Answer::Text),
            Ask::Verify(address) => verified.get(address).map_or_else(missing, |text| Answer::Text(text.clone())),
            Ask::Sender { to, members } => {
                Answer::Text(sent(running.as_ref().expect("started").address, &sink, to, *members))
            }
            Ask::Rewrite { place, address } => {
                texts.get(&(*place, address.clone())).map_or_else(missing, |t| Answer::Text(t.clone()))
            }
        })
        .collect()
}

/// The tables' compiled forms: none, so that the text counts; sendmail's own Berkeley files; made by our programs. In turn.
pub fn compile(set: &Set) {
    let folder = set.folder();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "db") {
            if set.number % 3 == 1 {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            } else {
                fs::remove_file(&path).unwrap();
            }
        }
    }
    if set.number % 3 != 2 {
        return;
    }
    for (name, _, out) in crate::profile::MAPS {
        if let Ok(text) = fs::read(format!("{folder}/{name}")) {
            let mut command = Command::new(server::programs().join("postrider"));
            command.args(["makemap", "hash", &format!("{folder}/{out}")]);
            server::run(command, &text);
            let _ = fs::set_permissions(format!("{folder}/{out}.db"), fs::Permissions::from_mode(0o644));
        }
    }
}

/// The clients' names, as DNS has them.
fn names(set: &Set) -> String {
    let mut zone = String::new();
    for (ip, name) in &set.clients {
        if let IpAddr::V4(ip) = ip {
            let [a, b, c, d] = ip.octets();
            let _ = writeln!(zone, "{name} A {ip}\n{d}.{c}.{b}.{a}.in-addr.arpa PTR {name}");
        }
    }
    zone
}

/// `sendmail -bv`, ours.
fn verify(server: &Server, address: &str) -> String {
    let mut command = server.command("sendmail");
    command.env("POSTRIDER_CONFIG", server.configuration()).args(["-bv", "--", address]);
    let out = server::run(command, b"");
    printed(&format!("{}rc={}", String::from_utf8_lossy(&out.stdout), out.status.code().unwrap_or(-1)))
}

/// `postrider explain --json -`: addresses on stdin, one JSON object a line.
fn explained(server: &Server, cases: &[Case]) -> BTreeMap<String, Answer> {
    let addresses: Vec<&String> =
        cases.iter().filter_map(|c| if let Ask::Recipient(a) = &c.ask { Some(a) } else { None }).collect();
    let mut command = server.command("postrider");
    command.args(["explain", "--json", "--config"]).arg(server.configuration()).arg("-");
    let input: String = addresses.iter().map(|a| format!("{a}\n")).collect();
    let out = server::run(command, input.as_bytes());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != addresses.len() {
        println!(
            "explain gave {} lines for {} addresses: {}",
            lines.len(),
            addresses.len(),
            String::from_utf8_lossy(&out.stderr)
        );
        return BTreeMap::new();
    }
    let answer = |(address, line): (&String, &str)| {
        // A list is read when mail for it is here; -bv looks into it, as sendmail's does.
        let list = line.contains("\"include:");
        (address.clone(), if list { verified(server, address) } else { explanation(line) })
    };
    addresses.into_iter().zip(lines).map(answer).collect()
}

/// `postrider explain --json -` with servers, in the order of the questions.
fn terms(set: &Set) -> Vec<String> {
    let peers: Vec<&Peer> =
        set.cases.iter().filter_map(|c| if let Ask::Peer(peer) = &c.ask { Some(peer) } else { None }).collect();
    if peers.is_empty() {
        return Vec::new();
    }
    let zone = Zone::start("");
    let server = Server::make(Setup { whole: Some(crate::profile::kdl(set, zone.address, None)), ..Setup::default() });
    let mut command = server.command("postrider");
    command.args(["explain", "--json", "--config"]).arg(server.configuration()).arg("-");
    let input: String = peers.iter().map(|peer| format!("{}\t\t\t{}={}\n", peer.to, peer.name, peer.ip)).collect();
    let out = server::run(command, input.as_bytes());
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(text.lines().count(), peers.len(), "{}", String::from_utf8_lossy(&out.stderr));
    peers.into_iter().zip(text.lines()).map(|(peer, line)| term(peer, line)).collect()
}

/// One line of `explain --json --server`.
fn term(peer: &Peer, line: &str) -> String {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let known = &value["server"];
    let met = |demand: &Value| {
        let bits = demand["bits"].as_u64().unwrap_or(0);
        let met = u64::from(peer.bits) >= bits && peer.bits > 0 && (peer.verified || demand["verified"] != true);
        let unmet = if demand["permanent"] == true { "bounces" } else { "waits" };
        if demand.is_null() || met { "goes" } else { unmet }.to_owned()
    };
    match peer.term {
        Term::Try => if known["in_clear"] == true { "in clear" } else { "tried" }.to_owned(),
        Term::Server => met(&known["demanded"]),
        Term::Recipient => met(&known["for_recipient"]),
        Term::Login => login(&known["login"]),
    }
}

/// Fields in sendmail's form, without those that repeat another.
fn login(known: &Value) -> String {
    if known.is_null() {
        return "nobody".into();
    }
    let text = |key: &str| known[key].as_str().map(ToOwned::to_owned);
    let mechanisms: Vec<&str> =
        known["mechanisms"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mechanisms = Some(mechanisms.join(" ")).filter(|all| !all.is_empty());
    let fields = [("I", text("identity")), ("M", mechanisms), ("R", text("realm")), ("U", text("user"))];
    let fields: Vec<String> =
        fields.into_iter().filter_map(|(letter, text)| Some(format!("{letter}:{}", text?))).collect();
    fields.join(" ")
}

/// What `sendmail -bv` says of an address that RCPT takes.
fn verified(server: &Server, address: &str) -> Answer {
    let mut command = server.command("postrider");
    command.args(["verify", "--", address]).env("POSTRIDER_CONFIG", server.configuration());
    let out = server::run(command, b"");
    let text = String::from_utf8_lossy(&out.stdout);
    // Our servers here are an ordinary user's.
    let said: Vec<&str> = text.lines().filter(|line| !line.starts_with("Notice: ")).collect();
    Answer::verified(&said.join("\n"), "250".into())
}

/// One line of `explain --json`.
fn explanation(line: &str) -> Answer {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    let verdict = value.get("verdict").unwrap_or(&value);
    let text = |v: &Value, key: &str| {
        v.get(key).map(|x| x.as_str().map_or_else(|| x.to_string(), str::to_owned)).unwrap_or_default()
    };
    if let Some(no) = verdict.get("refused") {
        let reply = format!("{} {} {}", text(no, "code"), text(no, "status"), text(no, "text"));
        return Answer::Route { targets: BTreeSet::new(), refused: vec![text(no, "text")], reply };
    }
    if let Some(no) = verdict.get("unavailable") {
        let reply = format!("451 4.3.0 {}", text(no, "text"));
        return Answer::Route { targets: BTreeSet::new(), refused: vec![text(no, "text")], reply };
    }
    let (mut targets, mut refused) = (BTreeSet::new(), Vec::new());
    for one in verdict.get("targets").and_then(Value::as_array).into_iter().flatten() {
        let (route, address) = (text(one, "route"), text(one, "address"));
        match hop(&route, &address) {
            Some(target) => drop(targets.insert(target)),
            None => refused.push(route),
        }
    }
    Answer::Route { targets, refused, reply: "250".into() }
}

/// A route key in sendmail's words; `None` for an error.
fn hop(route: &str, address: &str) -> Option<String> {
    let (kind, rest) = route.split_once(':').unwrap_or((route, ""));
    let host = |text: &str| text.split(',').map(|h| h.strip_suffix(":25").unwrap_or(h)).collect::<Vec<_>>().join(":");
    Some(match kind {
        "error" => return None,
        "local" => target("local", "", rest.split_once('+').map_or(rest, |(user, _)| user)),
        "smtp" => target("esmtp", rest, address),
        "relay" => target("relay", &host(rest), address),
        "via" => {
            let (mailer, hosts) = rest.split_once(':').unwrap_or((rest, ""));
            target(mailer, &host(hosts), address)
        }
        "prog" => format!("prog  {address}"),
        "file" => format!("*file*  {address}"),
        other => format!("{other} {rest} {address}"),
    })
}

/// Sends messages through the server and reads at the sink what has become of the addresses.
fn rewritten(server: &Server, sink: &Sink, cases: &[Case]) -> BTreeMap<(Place, String), String> {
    let mut answers = BTreeMap::new();
    let of = |wanted: Place| -> Vec<&String> {
        cases
            .iter()
            .filter_map(|c| match &c.ask {
                Ask::Rewrite { place, address } if *place == wanted => Some(address),
                _ => None,
            })
            .collect()
    };
    let mut session = Smtp::hello(server.address).unwrap();
    for (place, field) in [(Place::HeaderSender, "Reply-To"), (Place::HeaderRecipient, "Cc")] {
        for (n, some) in of(place).chunks(FIELDS).enumerate() {
            let id = format!("{field}-{n}");
            let list: Vec<&str> = some.iter().map(|a| a.as_str()).collect();
            let text = format!("X-Test-Id: {id}\nFrom: a@far.example\n{field}: {}\n\nx\n", list.join(",\n "));
            let reply = session.message("a@far.example", &["b@far.example"], &text).unwrap();
            if reply.code != 250 {
                answers.extend(some.iter().map(|a| ((place, (*a).clone()), said(&reply))));
                continue;
            }
            let header = arrived(sink, &format!("X-Test-Id: {id}\n"));
            let found = addresses(&header, field);
            for (address, answer) in some.iter().zip(&found) {
                answers.insert((place, (*address).clone()), answer.clone());
            }
        }
    }
    for (n, address) in of(Place::EnvelopeSender).into_iter().enumerate() {
        let text = format!("X-Test-Id: envelope-{n}\nFrom: a@far.example\n\nx\n");
        let reply = session.message(address, &["b@far.example"], &text).unwrap();
        if reply.code != 250 {
            answers.insert((Place::EnvelopeSender, address.clone()), said(&reply));
            continue;
        }
        let id = format!("X-Test-Id: envelope-{n}\n");
        arrived(sink, &id);
        let taken = sink.taken();
        let mail = taken.iter().find(|t| header(&t.text).contains(&id)).map(|t| t.mail.clone()).unwrap_or_default();
        let sender = mail.split_once('<').and_then(|x| x.1.split_once('>')).map_or("", |x| x.0);
        answers.insert((Place::EnvelopeSender, address.clone()), sender.to_owned());
    }
    answers
}

fn header(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text).into_owned();
    text.split_once("\n\n").map_or(text.clone(), |x| format!("{}\n", x.0))
}

/// Waits for the message with this field and returns its header.
fn arrived(sink: &Sink, id: &str) -> String {
    let mut found = None;
    wait_for("a message at the sink", seconds(20), || {
        found = sink.taken().iter().map(|t| header(&t.text)).find(|h| h.contains(id));
        found.is_some()
    });
    found.expect("found")
}

/// The addresses of a field of ours, which has no commas but between them.
fn addresses(header: &str, field: &str) -> Vec<String> {
    let unfolded = header.replace("\n ", " ").replace("\n\t", " ");
    let value = unfolded.lines().find_map(|l| l.strip_prefix(&format!("{field}:"))).unwrap_or("");
    value.split(',').map(|a| a.trim().to_owned()).collect()
}
