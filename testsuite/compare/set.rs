//! A table set: the files of one imaginary host, how its features are switched, and the questions to be asked about it.

use crate::random::Random;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What is asked, of both servers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Where does this recipient go?
    Recipient(String),
    /// What does a client hear at connection, MAIL and RCPT?
    Session {
        /// The client.
        client: IpAddr,
        /// Envelope sender, without brackets.
        from: String,
        /// Recipient.
        to: String,
    },
    /// What do several connections of one client hear: greeting and MAIL of each?
    Crowd {
        /// The client.
        client: IpAddr,
        /// How many.
        count: usize,
        /// Whether each stays open until the last is done.
        held: bool,
    },
    /// What does a client hear that talks before it is greeted?
    Eager(IpAddr),
    /// What holds for a server?
    Peer(Peer),
    /// What does `sendmail -bv` print, and how does it exit?
    Verify(String),
    /// With which envelope senders does a message to a list go out?
    Sender {
        /// The list.
        to: String,
        /// How many members it has, all elsewhere.
        members: usize,
    },
    /// What does an address of a message look like after it left by SMTP?
    Rewrite {
        /// Where it stands.
        place: Place,
        /// The address.
        address: String,
    },
}

/// What is asked about a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Term {
    /// Whether STARTTLS is tried.
    Try,
    /// Whether its encryption will do.
    Server,
    /// Whether its encryption will do for a recipient.
    Recipient,
    /// Who logs in.
    Login,
}

/// A server that mail is to be handed to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its address.
    pub ip: IpAddr,
    /// The recipient.
    pub to: String,
    /// What is asked.
    pub term: Term,
    /// Key length of the session, 0 in clear.
    pub bits: u32,
    /// Whether its certificate was verified.
    pub verified: bool,
}

/// Where a rewritten address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `From:`, `Reply-To:`, …
    HeaderSender,
    /// `To:`, `Cc:`
    HeaderRecipient,
    /// MAIL FROM.
    EnvelopeSender,
}

/// One question.
#[derive(Clone, Debug)]
pub struct Case {
    /// The row of sendmail.md it belongs to.
    pub row: &'static str,
    /// The question.
    pub ask: Ask,
    /// Whether it was made to hit an entry.
    pub hit: bool,
}

/// How a set's features are switched; the names are those of the `.mc` language.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Profile {
    /// `FEATURE()`s beside the common ones, without arguments, and `access_db`'s `skip` as `skip`.
    pub features: BTreeSet<&'static str>,
    /// `MASQUERADE_AS`.
    pub masquerade: Option<&'static str>,
    /// `MASQUERADE_DOMAIN`.
    pub masquerade_domains: Vec<&'static str>,
    /// `MASQUERADE_EXCEPTION`.
    pub masquerade_exceptions: Vec<&'static str>,
    /// `EXPOSED_USER`.
    pub exposed: Vec<&'static str>,
    /// `GENERICS_DOMAIN`.
    pub generics_domains: Vec<&'static str>,
    /// `VIRTUSER_DOMAIN`.
    pub virtual_domains: Vec<&'static str>,
    /// `delay_checks` with this argument.
    pub delay: Option<&'static str>,
    /// All mail that is not local goes to a sink.
    pub smart_host: bool,
    /// `define`s, such as `MAIL_HUB`.
    pub defines: Vec<(&'static str, &'static str)>,
    /// Class files are read with the plain format, `%s`.
    pub plain_class_files: bool,
}

/// A set.
#[derive(Clone, Debug, Default)]
pub struct Set {
    /// Its number; its files are in `/run/compare/NUMBER`.
    pub number: usize,
    /// Its features.
    pub profile: Profile,
    /// Files by name, `@F@` standing for the set's folder.
    pub files: BTreeMap<String, Vec<u8>>,
    /// The questions.
    pub cases: Vec<Case>,
    /// Clients that have a name.
    pub clients: BTreeMap<IpAddr, String>,
}

impl Set {
    /// Where its files are, for both servers.
    pub fn folder(&self) -> String {
        format!("/run/compare/{}", self.number)
    }
    /// Whether a feature is on.
    pub fn has(&self, feature: &str) -> bool {
        self.profile.features.contains(feature)
    }
}

/// Accounts of the imaginary hosts.
pub const USERS: [&str; 8] = ["alice", "bob", "carol", "dave", "erin", "root", "mail", "frank.smith"];
/// Always in class w: host name, its short form, localhost, and a further one.
pub const LOCAL: [&str; 4] = ["mx.test", "localhost", "mx", "local.test"];

/// A set in the making.
pub struct Maker {
    /// Where chance comes from.
    pub random: Random,
    /// The set.
    pub set: Set,
    asked: BTreeSet<Ask>,
    serial: usize,
}

impl Maker {
    /// An empty set.
    pub fn new(seed: u64, number: usize, profile: Profile) -> Self {
        let set = Set { number, profile, ..Set::default() };
        let mut maker = Self { random: Random::new(seed), set, asked: BTreeSet::new(), serial: 0 };
        for name in ["aliases", "virtusertable", "mailertable", "domaintable", "genericstable", "access"] {
            maker.set.files.insert(name.into(), Vec::new());
        }
        maker.line("aliases", "postmaster: root");
        maker.line("local-host-names", "local.test");
        maker
    }
    /// Adds a line to a file.
    pub fn line(&mut self, file: &str, line: &str) {
        self.bytes(file, line.as_bytes());
        self.bytes(file, b"\n");
    }
    /// Adds bytes to a file.
    pub fn bytes(&mut self, file: &str, bytes: &[u8]) {
        let file = self.set.files.entry(file.to_owned()).or_default();
        file.extend_from_slice(bytes);
    }
    /// Adds `key value` to a map, in one of the ways people write it.
    pub fn entry(&mut self, file: &str, key: &str, value: &str) {
        let gap = self.random.pick(&["\t", " ", "\t\t", "   "]);
        let key = if self.random.one_in(6) { self.random.recase(key) } else { key.to_owned() };
        self.line(file, &format!("{key}{gap}{value}"));
    }
    /// A question, once.
    pub fn ask(&mut self, row: &'static str, hit: bool, ask: Ask) {
        if self.asked.insert(ask.clone()) {
            self.set.cases.push(Case { row, ask, hit });
        }
    }
    /// Where does this address go? In some spelling of it.
    pub fn to(&mut self, row: &'static str, hit: bool, address: &str) {
        let address = if self.random.one_in(4) { self.random.recase(address) } else { address.to_owned() };
        self.ask(row, hit, Ask::Recipient(address));
    }
    /// A name that was not used before in this set.
    pub fn fresh(&mut self) -> String {
        self.serial += 1;
        let stem = self.random.pick(&[
            "k",
            "sales",
            "info",
            "web-master",
            "j_doe",
            "x.y",
            "list",
            "o'neil",
            "news",
            "a1",
            "team",
        ]);
        format!("{stem}{}", self.serial)
    }
    /// A remote domain that was not used before.
    pub fn domain(&mut self) -> String {
        self.serial += 1;
        let (n, r) = (self.serial, &mut self.random);
        match r.below(5) {
            0 => format!("d{n}.example"),
            1 => format!("a.d{n}.example"),
            2 => format!("d-{n}.co.example"),
            3 => format!("x.y.d{n}.test"),
            _ => format!("d{n}.org"),
        }
    }
    /// An account.
    pub fn user(&mut self) -> &'static str {
        USERS[self.random.below(5)]
    }
    /// A local domain.
    pub fn here(&mut self) -> &'static str {
        LOCAL[self.random.below(LOCAL.len())]
    }
    /// A fresh remote address.
    pub fn far(&mut self) -> String {
        format!("{}@{}", self.fresh(), self.domain())
    }
    /// The local name as people write it: bare, at the host, at another local domain.
    pub fn local(&mut self, user: &str) -> String {
        match self.random.below(4) {
            0 | 1 => user.to_owned(),
            2 => format!("{user}@mx.test"),
            _ => format!("{user}@{}", self.here()),
        }
    }
    /// A client with a name, by its address.
    pub fn client(&mut self, name: &str) -> IpAddr {
        let (set, n) = (self.set.number, self.set.clients.len() + 1);
        let ip = IpAddr::from([10, 100 + (set / 100) as u8, (set % 100 * 2 + n / 250) as u8, (n % 250 + 1) as u8]);
        self.set.clients.insert(ip, name.to_owned());
        ip
    }
}
