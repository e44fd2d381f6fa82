//! `postrider verify`, which `sendmail -bv` becomes: sendmail's texts and exit codes (sendmail.md 2.4). Scripts look for
//! `deliverable: mailer` and the code.

use crate::explain::{code, read, runtime};
use crate::output::Output;
use crate::plan::configuration;
use crate::snapshot::Snapshot;
use crate::sysexits;
use mail::alias::AliasEntry;
use mail::list::addresses;
use route::{Key, Target, Verdict};
use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Write as _;

/// Verifies the addresses behind `--`; returns the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let given: Vec<String> =
        arguments.iter().filter(|word| *word != "--").map(|word| word.to_string_lossy().into_owned()).collect();
    let Ok(runtime) = runtime() else { return 71 };
    let mut out = Output::standard();
    let snapshot = match Snapshot::read(&configuration(), false) {
        Ok(snapshot) => snapshot,
        Err(errors) => {
            let _kept = writeln!(out, "{errors}");
            return out.finish(78);
        }
    };
    if !rustix::process::geteuid().is_root() {
        let _kept = writeln!(out, "Notice: -bv may give misleading output for non-privileged user");
    }
    let mut said = Said::default();
    for argument in &given {
        runtime.block_on(said.argument(&snapshot, argument));
    }
    said.print(&mut out);
    out.finish(said.code)
}

/// Lists in lists, as for mail.
const LISTS: u32 = 10;

/// What is said of all addresses.
#[derive(Default)]
struct Said {
    errors: Vec<String>,
    good: Vec<String>,
    seen: HashSet<String>,
    code: u8,
}

impl Said {
    /// One argument: an address or a list of them.
    async fn argument(&mut self, snapshot: &Snapshot, argument: &str) {
        if let Some(what) = direct(argument) {
            return self.refuse(argument, &format!("Cannot mail directly to {what}"), sysexits::USAGE);
        }
        if argument.trim().is_empty() {
            return;
        }
        let listed = addresses(argument.as_bytes());
        if listed.is_empty() {
            return self.refuse(argument, "User address required", sysexits::USAGE);
        }
        for one in listed {
            match one.address {
                Ok(address) => self.address(snapshot, address.as_str(), 0).await,
                Err(text) => self.address(snapshot, &text, 0).await,
            }
        }
    }

    async fn address(&mut self, snapshot: &Snapshot, text: &str, lists: u32) {
        let verdict = match read(text) {
            Ok(address) => snapshot.router.expand(&address).await,
            Err(refused) => refused,
        };
        self.code = sysexits::worse(self.code, code(&verdict));
        match verdict {
            Verdict::Targets(targets) => {
                for target in &targets {
                    match (&target.key, target.address.user().strip_prefix(":include:")) {
                        (Key::Include(_), Some(path)) => Box::pin(self.list(snapshot, path, lists + 1)).await,
                        _ => self.target(target),
                    }
                }
            }
            Verdict::Refused { text: why, .. } => self.error(text, &why),
            Verdict::Unavailable { text: why } => self.errors.push(format!("{text}... Deferred: {why}")),
        }
    }

    /// The members of a list, read with the rights of whoever asks; mail for it is expanded with DefaultUser's.
    async fn list(&mut self, snapshot: &Snapshot, path: &str, lists: u32) {
        let text = match std::fs::read(path) {
            _ if lists > LISTS => Err("lists include each other".to_owned()),
            read => read.map_err(|error| error.to_string()),
        };
        let text = match text {
            Ok(text) => text,
            Err(why) => return self.refuse(&format!(":include:{path}"), &why, sysexits::UNAVAILABLE),
        };
        let before = self.errors.len() + self.good.len();
        for entry in mail::forward::lines(&text).into_iter().flat_map(|line| line.entries) {
            match entry {
                AliasEntry::Address(text) => self.address(snapshot, &text, lists).await,
                AliasEntry::Mailbox(user) => self.address(snapshot, &format!("\\{user}"), lists).await,
                AliasEntry::Include(path) => Box::pin(self.list(snapshot, &path, lists + 1)).await,
                other => self.refuse(&other.to_string(), "not allowed in a list", sysexits::UNAVAILABLE),
            }
        }
        if before == self.errors.len() + self.good.len() {
            let text = "aliasing/forwarding loop broken";
            self.refuse(&format!(":include:{path}"), text, sysexits::UNAVAILABLE);
        }
    }

    fn target(&mut self, target: &Target) {
        let line = match &target.key {
            Key::Error { text, .. } => return self.error(&target.asked, text),
            _ => format!("{}... deliverable: {}", target.asked, hop(target)),
        };
        if self.seen.insert(line.clone()) {
            self.good.push(line);
        }
    }

    fn error(&mut self, asked: &str, why: &str) {
        self.errors.push(if sysexits::is_loop(why) { why.to_owned() } else { format!("{asked}... {why}") });
    }

    fn refuse(&mut self, text: &str, why: &str, code: u8) {
        self.errors.push(format!("{text}... {why}"));
        self.code = sysexits::worse(self.code, code);
    }

    /// Errors first, then the recipients, the last one first.
    fn print(&self, out: &mut Output) {
        for line in self.errors.iter().chain(self.good.iter().rev()) {
            let _kept = writeln!(out, "{}", mail::log::safe(line));
        }
    }
}

/// What nobody may name on a command line.
fn direct(text: &str) -> Option<&'static str> {
    let bare = text.trim_start().trim_start_matches('"');
    let tag = bare.get(..9).unwrap_or_default();
    match bare.chars().next() {
        Some('|') => Some("programs"),
        Some('/') if !bare.contains('@') => Some("files"),
        Some(':') if tag.eq_ignore_ascii_case(":include:") => Some(":include:s"),
        _ => None,
    }
}

/// `mailer esmtp, host y, user x@y`.
pub(crate) fn hop(target: &Target) -> String {
    let mailer = target.key.mailer();
    let bracketed = |host: &str, mx: bool| if mx { host.to_owned() } else { format!("[{host}]") };
    let host = match &target.key {
        Key::Local { user, .. } => return local_hop(user, &target.written),
        Key::Virtual { user, domain } => return format!("mailer {mailer}, user {user}@{domain}"),
        Key::Program(_) | Key::File(_) | Key::Include(_) => return format!("mailer {mailer}, user {}", target.address),
        Key::Error { status, text } => return format!("{status} {text}"),
        Key::Discard => return format!("mailer {mailer}, user {}", target.address),
        Key::Mx { domain } => domain.clone(),
        Key::Socket { path } => path.clone(),
        Key::Relay { host, mx, port } => {
            let port = if *port == 25 { String::new() } else { format!(":{port}") };
            format!("{}{port}", bracketed(host, *mx))
        }
        Key::Relays { hosts, .. } => {
            let hosts: Vec<String> = hosts.iter().map(|relay| bracketed(&relay.host, relay.mx)).collect();
            hosts.join(":")
        }
    };
    format!("mailer {mailer}, host {host}, user {}", target.address)
}

/// A local user: his detail is the host, and a backslash in front of the name is shown.
fn local_hop(user: &str, written: &str) -> String {
    let (name, detail) = written.split_once('+').unwrap_or((written, ""));
    let user = if name.contains('\\') { name } else { user };
    match detail {
        "" => format!("mailer local, user {user}"),
        detail => format!("mailer local, host {detail}, user {user}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Address;
    use table::Why;

    #[test]
    fn what_nobody_may_name() {
        assert_eq!(direct("|/bin/sh"), Some("programs"));
        assert_eq!(direct("\"|/bin/sh -c x\""), Some("programs"));
        assert_eq!(direct("/tmp/x"), Some("files"));
        assert_eq!(direct(":Include:/tmp/x"), Some(":include:s"));
        assert_eq!(direct("/C=se/@gateway.example"), None);
        assert_eq!(direct("alice"), None);
    }

    #[test]
    fn hops_in_sendmails_words() {
        let said = |address: &str, key: &str| {
            let written = address.to_owned();
            let why = Why { source: "x".into(), line: 0, key: String::new() };
            let (address, key) = (Address::parse(address).unwrap(), Key::parse(key).unwrap());
            hop(&Target { address, key, controlling: String::new(), owner: None, why, asked: String::new(), written })
        };
        assert_eq!(said("Alice", "local:alice"), "mailer local, user alice");
        assert_eq!(said("alice+a+b", "local:alice"), "mailer local, host a+b, user alice");
        assert_eq!(said("\\alice+foo", "local:alice"), "mailer local, host foo, user \\alice");
        assert_eq!(said("alice+", "local:alice"), "mailer local, user alice");
        assert_eq!(said("\"|cat > /x\"", "prog::1:/etc/aliases"), "mailer prog, user \"|cat > /x\"");
        assert_eq!(said("/tmp/file.mbox", "file::1:/etc/aliases"), "mailer *file*, user /tmp/file.mbox");
        assert_eq!(said("u@far.example", "smtp:far.example"), "mailer esmtp, host far.example, user u@far.example");
        assert_eq!(said("u@f.example", "relay:[hub]:587"), "mailer relay, host [hub]:587, user u@f.example");
        assert_eq!(said("u@f.example", "via:smtp:[a]:25,b:25"), "mailer smtp, host [a]:b, user u@f.example");
    }
}
