//! Macros, classes and mailers, by the names that they have in sendmail's configuration: `$j`, `$=w`, `=M`; and what `.D` and `.C` make of
//! them for a session.

use crate::tally::MAILERS;
use config::{Config, ListName};
use mail::log::safe;
use mail::time::Clock as _;
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::IpAddr;

/// Macros and classes of a session.
pub(super) struct Known {
    macros: BTreeMap<String, String>,
    classes: BTreeMap<String, Vec<String>>,
}

impl Known {
    pub(super) fn new(config: &Config) -> Self {
        Self { macros: macros(config), classes: classes(config) }
    }

    /// `w`, `{VirtHost}`, `=w`: what stands behind the `$`.
    pub(super) fn print(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        let (class, text) = match text.strip_prefix('=') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let Some((name, _)) = split(text) else { return writeln!(out, "Name required for macro/class") };
        if class {
            let members = self.classes.get(name).map(Vec::as_slice).unwrap_or_default();
            return members.iter().try_for_each(|member| writeln!(out, "{}", safe(member)));
        }
        writeln!(out, "{}", self.macros.get(name).map_or_else(|| "Undefined".to_owned(), |value| safe(value)))
    }

    /// `xvalue`; false without a name.
    pub(super) fn define(&mut self, text: &str) -> bool {
        let Some((name, value)) = split(text) else { return false };
        self.macros.insert(name.to_owned(), value.trim().to_owned());
        true
    }

    /// `wname name …`
    pub(super) fn extend(&mut self, text: &str) -> bool {
        let Some((name, members)) = split(text) else { return false };
        let class = self.classes.entry(name.to_owned()).or_default();
        for member in members.split_whitespace() {
            if !class.iter().any(|known| known == member) {
                class.push(member.to_owned());
            }
        }
        true
    }

    /// The router's settings with what was changed here.
    pub(super) fn settings(&self, config: &Config) -> route::Settings {
        let mut settings = config.route.clone();
        let class = |name: &str| self.classes.get(name).cloned().unwrap_or_default();
        settings.local_domains = class("w");
        settings.relay_domains = class("R");
        settings.masquerade_domains = class("M");
        settings.masquerade_exceptions = class("N");
        settings.generics_domains = class("G");
        settings.virtual_domains = class("{VirtHost}");
        settings.exposed_users = class("E");
        settings.local_users = class("L");
        let hop = |name: &str| {
            let text = self.macros.get(name).filter(|text| !text.is_empty())?;
            // `esmtp:[host]` as in a .cf: the mailer is ours to choose.
            let host = text.split_once(':').map_or("", |(_, host)| host);
            [text.as_str(), host].into_iter().find(|text| route::Key::onward(text).is_some()).map(str::to_owned)
        };
        settings.smart_host = hop("S").filter(|text| route::Key::smart_host(text).is_some());
        (settings.mail_hub, settings.local_relay, settings.luser_relay) = (hop("H"), hop("R"), hop("L"));
        settings.masquerade_as = self.macros.get("M").cloned().unwrap_or_default();
        settings
    }

    /// Whether a name is in class w.
    pub(super) fn is_local(&self, name: &str) -> bool {
        self.classes.get("w").is_some_and(|names| names.iter().any(|known| known.eq_ignore_ascii_case(name)))
    }

    /// The full name of a host; of this one also for its short name.
    pub(super) fn full_name(&self, host: &str) -> String {
        let macros = |name: &str| self.macros.get(name).map_or("", String::as_str);
        let own = ["localhost", macros("w"), macros("j")].iter().any(|own| own.eq_ignore_ascii_case(host));
        if own { macros("j").to_owned() } else { host.trim_end_matches('.').to_owned() }
    }
}

/// The name, with its braces if it is long, and what follows.
fn split(text: &str) -> Option<(&str, &str)> {
    if text.starts_with('{') {
        let end = text.find('}')? + 1;
        let (name, rest) = text.split_at_checked(end)?;
        // A long name of one character is the short name.
        let short = name.get(1..end - 1).filter(|inner| inner.chars().count() == 1);
        return Some((short.unwrap_or(name), rest));
    }
    let first = text.chars().next().filter(|c| !c.is_whitespace())?;
    text.split_at_checked(first.len_utf8())
}

fn macros(config: &Config) -> BTreeMap<String, String> {
    let (settings, host) = (&config.route, config.route.host.clone());
    let clock = crate::clock::RealClock::new();
    let now = clock.now().seconds();
    let (offset, zone) = clock.zone(now);
    let (short, domain) = host.split_once('.').unwrap_or((&host, ""));
    let version = config.receive.version.clone();
    let mut macros = BTreeMap::from([
        ("w".to_owned(), short.to_owned()),
        ("m".to_owned(), domain.to_owned()),
        ("k".to_owned(), rustix::system::uname().nodename().to_string_lossy().into_owned()),
        ("v".to_owned(), version.clone()),
        ("Z".to_owned(), version),
        ("b".to_owned(), mail::date::rfc5322(now, offset, &zone)),
        ("d".to_owned(), mail::date::ctime(now, offset)),
        ("n".to_owned(), "MAILER-DAEMON".to_owned()),
        ("p".to_owned(), std::process::id().to_string()),
        ("S".to_owned(), settings.smart_host.clone().unwrap_or_default()),
        ("j".to_owned(), host.clone()),
    ]);
    let given = [&settings.mail_hub, &settings.local_relay, &settings.luser_relay];
    for (name, value) in ["H", "R", "L"].into_iter().zip(given) {
        macros.extend(value.iter().map(|value| (name.to_owned(), value.clone())));
    }
    if !settings.masquerade_as.is_empty() {
        macros.insert("M".to_owned(), settings.masquerade_as.clone());
    }
    macros
}

fn classes(config: &Config) -> BTreeMap<String, Vec<String>> {
    let settings = &config.route;
    let short = settings.host.split('.').next().unwrap_or_default().to_owned();
    let mut local = vec![settings.host.clone(), short, "localhost".to_owned(), "[127.0.0.1]".to_owned()];
    local.extend(settings.local_domains.iter().cloned());
    local.extend(settings.interfaces.iter().filter(|ip| !ip.is_loopback()).map(literal));
    let relay = settings.relay_domains.iter().chain(&settings.relay_clients).cloned().collect();
    let trusted = config.lists.iter().filter(|list| list.name == ListName::TrustedUsers);
    let trusted =
        ["root".to_owned()].into_iter().chain(trusted.flat_map(|list| list.members.iter().cloned())).collect();
    let marks = if settings.nouucp { "@ %" } else { "! @ %" };
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let all: [(&str, Vec<String>); 12] = [
        ("w", local),
        ("R", relay),
        ("t", trusted),
        ("M", settings.masquerade_domains.clone()),
        ("N", settings.masquerade_exceptions.clone()),
        ("G", settings.generics_domains.clone()),
        ("E", settings.exposed_users.clone()),
        ("L", settings.local_users.clone()),
        ("O", words(marks)),
        ("P", words(".")),
        ("{VirtHost}", settings.virtual_domains.clone()),
        ("{Accept}", words("OK RELAY")),
    ];
    let tidy = |(name, mut members): (&str, Vec<String>)| {
        members.sort();
        members.dedup();
        (name.to_owned(), members)
    };
    all.into_iter().map(tidy).collect()
}

fn literal(ip: &IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// `=M`: sendmail's fields, with what is true of this host's mailers.
pub(super) fn mailers(limit: u64, out: &mut impl Write) -> io::Result<()> {
    for (number, name) in MAILERS.iter().enumerate() {
        let (program, flags, line, end, kind, argv) = match *name {
            "prog" => ("postrider-agent", "9DFMeloqsu", 0, "\\n", "X-Unix/X-Unix/X-Unix", "sh -c $u"),
            "*file*" => ("[FILE]", "9DEFMPloqsu", 0, "\\n", "X-Unix/X-Unix/X-Unix", "FILE $u"),
            "*include*" => ("/dev/null", "su", 0, "\\n", "<undefined>/<undefined>/<undefined>", "INCLUDE $u"),
            "local" => ("postrider-agent", "/59:@ADFMPSfhlnqsw|", 0, "\\n", "DNS/RFC822/X-Unix", "mailbox $u"),
            "relay" => ("[IPC]", "8DFMXamu", 2_040, "\\r\\n", "DNS/RFC822/SMTP", "TCP $h"),
            _ => ("[IPC]", "8DFMXamu", 990, "\\r\\n", "DNS/RFC822/SMTP", "TCP $h"),
        };
        writeln!(
            out,
            "mailer {number} ({name}): P={program} S=/ R=/ M={limit} U=-1:-1 F={flags} L={line} E={end} T={kind} r=100 A={argv}"
        )?;
    }
    Ok(())
}
