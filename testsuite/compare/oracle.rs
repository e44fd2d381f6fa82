//! The real sendmail, unpacked by `compare/fetch`, in a root of its own below the private host of `testsuite/host`: same network, same
//! host name, same accounts, same table files under the same path. Asked by `-bv`, `-bt` and SMTP (sendmail.md §7).

use crate::answer::{Answer, said};
use crate::root::{PROGRAM, Root, command};
use crate::set::{Ask, Peer, Place, Set, Term};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use testsuite::sink::Act;
use testsuite::{Sink, Smtp, process, seconds, server, wait_for};

/// It, in its root.
pub struct Oracle {
    root: Root,
}

impl Oracle {
    /// In a fresh root; `None`, with the reason printed, where that is not possible.
    pub fn new() -> Option<Self> {
        let mut oracle = Self { root: Root::unpack()? };
        oracle.hosts(None);
        fs::create_dir_all("/run/compare").unwrap();
        oracle.root.bind("/dev");
        oracle.root.bind("/run/compare");
        Some(oracle)
    }
    /// The names of a set's clients.
    fn hosts(&self, set: Option<&Set>) {
        let mut hosts = "127.0.0.1 localhost mx.test mx\n::1 localhost\n".to_owned();
        for (ip, name) in set.iter().flat_map(|s| &s.clients) {
            let _ = writeln!(hosts, "{ip} {name}");
        }
        fs::write(self.root.path("etc/hosts"), hosts).unwrap();
    }
    /// A program of the root.
    pub fn command(&self, program: &str) -> Command {
        self.root.command(program)
    }
    /// Runs a program of the root.
    pub fn run(&self, program: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command(program);
        command.args(arguments);
        server::run(command, input)
    }
    /// The `.cf` of an `.mc`.
    pub fn m4(&self, mc: &Path) -> Vec<u8> {
        let (cf, m4) = (self.root.path("usr/share/sendmail/cf/"), self.root.path("usr/bin/m4"));
        let cf = cf.to_string_lossy();
        let arguments = [&format!("-D_CF_DIR_={cf}"), &format!("{cf}m4/cf.m4"), &*mc.to_string_lossy()];
        command(&m4.to_string_lossy(), &arguments)
    }
    /// Writes the files of a set, makes its configuration and compiles its tables. What the programs said is the answer.
    pub fn prepare(&self, set: &Set) -> Vec<String> {
        let folder = set.folder();
        fs::create_dir_all(&folder).unwrap();
        self.hosts(Some(set));
        for (name, bytes) in &set.files {
            let text = replace(bytes, b"@F@", folder.as_bytes());
            fs::write(format!("{folder}/{name}"), text).unwrap();
        }
        fs::write(format!("{folder}/sendmail.mc"), crate::profile::mc(set)).unwrap();
        fs::write(format!("{folder}/sendmail.cf"), self.m4(Path::new(&format!("{folder}/sendmail.mc")))).unwrap();
        let mut said = Vec::new();
        for (name, kind, out) in crate::profile::MAPS {
            let Some(bytes) = set.files.get(*name) else { continue };
            let text = replace(bytes, b"@F@", folder.as_bytes());
            let run = self.run(
                "/usr/sbin/makemap",
                &["-C", &format!("{folder}/sendmail.cf"), kind, &format!("{folder}/{out}")],
                &text,
            );
            said.extend(String::from_utf8_lossy(&run.stderr).lines().map(ToOwned::to_owned));
        }
        let run = self.run(PROGRAM, &[&format!("-C{folder}/sendmail.cf"), "-bi"], b"");
        said.extend(String::from_utf8_lossy(&run.stdout).lines().map(ToOwned::to_owned));
        said
    }
    /// Asks everything of a set, in the order of its cases.
    pub fn answers(&self, set: &Set) -> Vec<Answer> {
        let sessions = set.cases.iter().any(|c| !matches!(c.ask, Ask::Rewrite { .. } | Ask::Verify(_) | Ask::Peer(_)));
        let sink = set
            .profile
            .smart_host
            .then(|| Sink::on(([127, 0, 0, 1], crate::profile::sink_port(set)), false, |_| Act::Go));
        let daemon = sessions.then(|| self.daemon(set));
        let rewritten = self.rewrite(set);
        let mut terms = self.terms(set).into_iter();
        let mut replies = BTreeMap::new();
        if let Some(daemon) = &daemon {
            let addresses =
                set.cases.iter().filter_map(|c| if let Ask::Recipient(a) = &c.ask { Some(a.as_str()) } else { None });
            replies = rcpt(daemon.address, addresses);
        }
        set.cases
            .iter()
            .map(|case| match &case.ask {
                Ask::Recipient(address) => {
                    let verified = self.verify(set, address);
                    Answer::verified(&verified, replies.get(address).cloned().unwrap_or_default())
                }
                Ask::Session { client, from, to } => {
                    Answer::Replies(session(daemon.as_ref().expect("started").address, *client, from, to))
                }
                Ask::Crowd { client, count, held } => {
                    Answer::Replies(crowd(daemon.as_ref().expect("started").address, *client, *count, *held))
                }
                Ask::Eager(client) => Answer::Replies(eager(daemon.as_ref().expect("started").address, *client)),
                Ask::Peer(_) => Answer::Text(terms.next().expect("one answer each")),
                Ask::Verify(address) => Answer::Text(printed(&self.verify(set, address))),
                Ask::Sender { to, members } => Answer::Text(sent(
                    daemon.as_ref().expect("started").address,
                    sink.as_ref().expect("started"),
                    to,
                    *members,
                )),
                Ask::Rewrite { place, address } => Answer::Text(
                    rewritten.get(&(*place, address.clone())).cloned().unwrap_or_else(|| "no answer".into()),
                ),
            })
            .collect()
    }
    /// `sendmail -bv`, one address per call: together they would hide each other's duplicates and loops.
    fn verify(&self, set: &Set, address: &str) -> String {
        let out = self.run(PROGRAM, &[&format!("-C{}/sendmail.cf", set.folder()), "-bv", "--", address], b"");
        format!("{}rc={}", String::from_utf8_lossy(&out.stdout), out.status.code().unwrap_or(-1))
    }
    /// What the rulesets about servers say in address test mode, in the order of the questions.
    fn terms(&self, set: &Set) -> Vec<String> {
        let peers: Vec<&Peer> =
            set.cases.iter().filter_map(|c| if let Ask::Peer(peer) = &c.ask { Some(peer) } else { None }).collect();
        if peers.is_empty() {
            return Vec::new();
        }
        let mut input = String::new();
        for Peer { name, ip, to, term, bits, verified } in &peers {
            let verify = if *verified { "OK" } else { "NO" };
            let _ = writeln!(
                input,
                ".D{{server_name}}{name}\n.D{{server_addr}}{ip}\n.D{{cipher_bits}}{bits}\n.D{{verify}}{verify}"
            );
            let _ = match term {
                Term::Try => writeln!(input, "try_tls {name}"),
                Term::Server => writeln!(input, "tls_server {verify}"),
                Term::Recipient => writeln!(input, "tls_rcpt {to}"),
                Term::Login => writeln!(input, "authinfo {name}"),
            };
        }
        let out = self.run(PROGRAM, &[&format!("-C{}/sendmail.cf", set.folder()), "-bt"], input.as_bytes());
        let out = String::from_utf8_lossy(&out.stdout).into_owned();
        let said = |line: &str| {
            let (ruleset, said) = line.split_once("returns: ")?;
            let asked = ["try_tls", "tls_server", "tls_rcpt", "authinfo"].contains(&ruleset.trim());
            asked.then(|| said.trim().to_owned())
        };
        let found: Vec<String> = out.lines().filter_map(said).collect();
        assert_eq!(found.len(), peers.len(), "one answer each:\n{out}");
        peers.iter().zip(found).map(|(peer, said)| term(peer.term, &said)).collect()
    }
    /// `/try` in address test mode.
    fn rewrite(&self, set: &Set) -> BTreeMap<(Place, String), String> {
        let mut answers = BTreeMap::new();
        for (place, flags) in
            [(Place::HeaderSender, "HS"), (Place::HeaderRecipient, "HR"), (Place::EnvelopeSender, "ES")]
        {
            let asked: Vec<&String> = set
                .cases
                .iter()
                .filter_map(|c| match &c.ask {
                    Ask::Rewrite { place: p, address } if *p == place => Some(address),
                    _ => None,
                })
                .collect();
            if asked.is_empty() {
                continue;
            }
            let mut input = format!("/tryflags {flags}\n");
            for address in &asked {
                // The host's short name as for a call of the command, which makes names canonical in spite of nocanonify.
                let asks = if address.ends_with("@mx") { "c u" } else { "" };
                let _ = writeln!(input, ".D{{daemon_flags}}{asks}\n/try relay {address}");
            }
            let out = self.run(PROGRAM, &[&format!("-C{}/sendmail.cf", set.folder()), "-bt"], input.as_bytes());
            let out = String::from_utf8_lossy(&out.stdout).into_owned();
            let found: Vec<&str> =
                out.lines().filter_map(|l| l.strip_prefix("Rcode = ")?.split_once("addr = ").map(|x| x.1)).collect();
            assert_eq!(found.len(), asked.len(), "one answer each:\n{out}");
            for (address, answer) in asked.into_iter().zip(found) {
                answers.insert((place, address.clone()), answer.to_owned());
            }
        }
        answers
    }
    /// The daemon with the tables of a set.
    pub fn daemon(&self, set: &Set) -> Daemon {
        let address = SocketAddr::from(([127, 0, 0, 1], crate::profile::port(set)));
        let mut command = self.command(PROGRAM);
        command.arg(format!("-C{}/sendmail.cf", set.folder())).args(["-bD"]);
        let log = fs::File::create(format!("{}/daemon.log", set.folder())).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let daemon = Daemon { address, child };
        wait_for("sendmail's port", seconds(20), || std::net::TcpStream::connect(address).is_ok());
        daemon
    }
}

/// A running sendmail, ended with the value.
pub struct Daemon {
    /// Where it listens.
    pub address: SocketAddr,
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        process::kill_tree(self.child.id() as i32);
        let _ = self.child.wait();
    }
}

fn replace(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(from) {
            out.extend_from_slice(to);
            at += from.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

/// What RCPT says to each of these addresses, from a client that may relay, each in a transaction of its own.
pub fn rcpt<'a>(server: SocketAddr, addresses: impl Iterator<Item = &'a str>) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    let mut session = None;
    for address in addresses {
        if session.is_none() {
            session = Some(Smtp::hello(server).unwrap());
        }
        let s = session.as_mut().expect("just made");
        let _ = s.command("RSET");
        let _ = s.command("MAIL FROM:<probe@client.example>");
        match s.command(&format!("RCPT TO:<{address}>")) {
            Ok(reply) => {
                let closing = reply.code == 421;
                answers.insert(address.to_owned(), said(&reply));
                if closing {
                    session = None;
                }
            }
            Err(_) => {
                answers.insert(address.to_owned(), "closed".into());
                session = None;
            }
        }
    }
    answers
}

/// Sends a message to a list; its senders and recipients at the sink.
pub fn sent(server: SocketAddr, sink: &Sink, to: &str, members: usize) -> String {
    let before = sink.len();
    let mut session = Smtp::hello(server).unwrap();
    let reply = session.message("a@far.example", &[to], "Subject: x\n\nx\n").unwrap();
    if reply.code != 250 {
        return said(&reply);
    }
    let start = Instant::now();
    loop {
        let taken = sink.taken().split_off(before);
        let rcpt: usize = taken.iter().map(|t| t.rcpt.len()).sum();
        if rcpt >= members || start.elapsed() > seconds(5) {
            let inside = |line: &str| {
                line.split_once('<').and_then(|x| x.1.split_once('>')).map_or("", |x| x.0).to_ascii_lowercase()
            };
            let mut all: Vec<String> = taken
                .iter()
                .flat_map(|t| t.rcpt.iter().map(|r| format!("{} to {}", inside(&t.mail), inside(r))))
                .collect();
            all.sort();
            return all.join(", ");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The lines of `-bv` in one order, and its exit code; hosts and domains without the dot of the canonical form.
pub fn printed(output: &str) -> String {
    // Root asks sendmail, somebody else us.
    let lines = output.lines().filter(|line| !line.starts_with("Notice: -bv may give misleading output"));
    let mut lines: Vec<String> = lines.map(|line| line.replace(".,", ",").trim_end_matches('.').to_owned()).collect();
    lines.sort();
    lines.join(" | ")
}

/// What `count` connections of a client hear: greeting and MAIL.
pub fn crowd(server: SocketAddr, client: IpAddr, count: usize, held: bool) -> Vec<String> {
    let (mut heard, mut open) = (Vec::new(), Vec::new());
    for _ in 0..count {
        let Ok(mut session) = Smtp::connect_from(client, server) else {
            heard.push("no connection".into());
            continue;
        };
        let greeting = session.reply();
        heard.push(greeting.as_ref().map_or_else(|_| "closed".to_owned(), said));
        if greeting.is_ok_and(|reply| reply.code < 400) {
            let _ = session.command("EHLO client.test");
            let reply = session.command("MAIL FROM:<a@sender.example>");
            heard.push(reply.as_ref().map_or_else(|_| "closed".to_owned(), said));
        }
        if held {
            open.push(session);
        } else {
            let _ = session.command("QUIT");
        }
    }
    for mut session in open {
        let _ = session.command("QUIT");
    }
    heard
}

/// What a ruleset's answer comes to.
fn term(term: Term, said: &str) -> String {
    match (term, said.strip_prefix("$# ")) {
        (Term::Login, Some(found)) => {
            let field = |letter: char| found.split('"').skip(1).step_by(2).find(|field| field.starts_with(letter));
            let who = |letter, other| field(letter).or(field(other)).map(|field| format!("{letter}{}", &field[1..]));
            let plain = |letter| field(letter).map(ToOwned::to_owned);
            let fields = [who('I', 'U'), plain('M'), plain('R'), who('U', 'I')];
            let fields: Vec<String> = fields.into_iter().flatten().collect();
            fields.join(" ")
        }
        (Term::Login, None) => "nobody".into(),
        (Term::Try, error) => if error.is_some() { "in clear" } else { "tried" }.into(),
        (_, Some(error)) => if error.contains("$@ 5") { "bounces" } else { "waits" }.into(),
        (_, None) => "goes".into(),
    }
}

/// What a client hears that says EHLO before it is greeted, and then MAIL.
pub fn eager(server: SocketAddr, client: IpAddr) -> Vec<String> {
    let Ok(mut session) = Smtp::connect_from(client, server) else { return vec!["no connection".into()] };
    let greeting = session.command("EHLO early.test");
    let greeted = greeting.as_ref().is_ok_and(|reply| reply.code == 220);
    let mut heard = vec![greeting.as_ref().map_or_else(|_| "closed".to_owned(), said)];
    if greeted {
        // The answer to EHLO.
        let _ = session.reply();
    }
    heard.push(session.command("MAIL FROM:<a@sender.example>").as_ref().map_or_else(|_| "closed".to_owned(), said));
    heard
}

/// What a client hears: greeting, MAIL, RCPT.
pub fn session(server: SocketAddr, client: IpAddr, from: &str, to: &str) -> Vec<String> {
    let loopback = if client.is_ipv4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
    let server = SocketAddr::new(loopback, server.port());
    let mut heard = Vec::new();
    let Ok(mut session) = Smtp::connect_from(client, server) else { return vec!["no connection".into()] };
    let mut say = |line: Option<String>, heard: &mut Vec<String>| -> bool {
        let reply = match line {
            None => session.reply(),
            Some(line) => session.command(&line),
        };
        heard.push(reply.as_ref().map_or_else(|_| "closed".to_owned(), said));
        reply.is_ok_and(|r| r.code < 400)
    };
    let greeted = say(None, &mut heard);
    let _ = say(Some("EHLO client.test".into()), &mut Vec::new());
    if say(Some(format!("MAIL FROM:<{from}>")), &mut heard) || !greeted {
        say(Some(format!("RCPT TO:<{to}>")), &mut heard);
    }
    let _ = say(Some("QUIT".into()), &mut Vec::new());
    heard
}
