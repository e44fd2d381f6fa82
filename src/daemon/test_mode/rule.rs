//! `3,0 address`, `/parse` and `/try`: where an address goes and how it is shown, in the lines of sendmail's rulesets 3 (`canonify`) and 0
//! (`parse`). What stands in them is the router's answer.

use super::Session;
use crate::explain::read;
use crate::tally::MAILERS;
use mail::log::safe;
use mail::{Address, Status};
use route::{Key, Place, Router, Target, Verdict};
use std::io::{self, Write};
use std::sync::Arc;
use table::{Account, Accounts, Answer, Empty};

/// sendmail's OperatorChars and the marks of addresses: each is a token of its own.
const MARKS: &str = ".:%@!^/[]+()<>,;";

/// Whose address it is (`/tryflags`).
#[derive(Clone, Copy, Default)]
pub(super) struct Party {
    header: bool,
    sender: bool,
}

impl Party {
    pub(super) fn set(&mut self, flags: &str) {
        for flag in flags.chars() {
            match flag.to_ascii_lowercase() {
                'h' => self.header = true,
                'e' => self.header = false,
                's' => self.sender = true,
                'r' => self.sender = false,
                _ => {}
            }
        }
    }
    fn words(self) -> String {
        let (place, party) =
            (if self.header { "header" } else { "envelope" }, if self.sender { "sender" } else { "recipient" });
        format!("{place} {party}")
    }
}

/// An account for every name.
struct Everybody;

impl Accounts for Everybody {
    fn find<'a>(&'a self, name: &'a str) -> Answer<'a, Account> {
        let [home, gecos] = [const { String::new() }; 2];
        Box::pin(std::future::ready(Ok(Some(Account { name: name.to_owned(), uid: 1, home, gecos }))))
    }
}

/// A router that neither follows aliases nor looks for accounts.
pub(super) fn without_users(router: &Router, settings: route::Settings) -> Router {
    let tables = router.tables().clone();
    Router::new(settings, route::Tables { aliases: Arc::new(Empty), accounts: Arc::new(Everybody), ..tables })
}

/// What sendmail's ruleset 0 resolves to.
struct Triple {
    mailer: String,
    host: String,
    user: String,
    /// The error, if it is one.
    error: Option<String>,
}

impl Triple {
    fn error(status: Status, code: u16, text: &str) -> Self {
        let user = format!("{code} {text}");
        Self { mailer: "error".into(), host: status.to_string(), user, error: Some(text.to_owned()) }
    }

    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Targets(targets) => targets.first().map_or_else(Self::nobody, Self::target),
            Verdict::Refused { code, status, text, .. } => Self::error(*status, *code, text),
            Verdict::Unavailable { text } => Self::error(Status::temporary(3, 0), 451, text),
        }
    }

    fn nobody() -> Self {
        Self::error(Status::permanent(1, 1), 550, "User unknown")
    }

    fn target(target: &Target) -> Self {
        let host = match &target.key {
            Key::Mx { domain } if domain.starts_with('[') || !domain.contains('.') => domain.clone(),
            Key::Mx { domain } => format!("{domain}."),
            Key::Relay { host, mx, .. } => bracketed(host, *mx),
            Key::Relays { hosts, .. } => {
                hosts.iter().map(|relay| bracketed(&relay.host, relay.mx)).collect::<Vec<_>>().join(":")
            }
            Key::Error { status, text } => {
                return Self::error(*status, if status.is_temporary() { 451 } else { 550 }, text);
            }
            _ => String::new(),
        };
        let (mailer, user) = (target.key.mailer().to_owned(), target.address.to_string());
        Self { mailer, host, user, error: None }
    }

    /// `$# esmtp $@ far . example . $: u < @ far . example . >`
    fn tokens(&self) -> String {
        let host = if self.host.is_empty() { String::new() } else { format!(" $@{}", spaced(&self.host)) };
        let user = if self.error.is_some() { format!(" {}", self.user) } else { focused(&self.user) };
        format!(" $# {}{host} $:{user}", self.mailer)
    }

    /// `mailer esmtp, host far.example., user u@far.example`
    fn words(&self) -> String {
        let mailer = if self.error.is_some() { "*error*" } else { &self.mailer };
        let host = if self.host.is_empty() { String::new() } else { format!(" host {},", self.host) };
        format!("mailer {mailer},{host} user {}", self.user)
    }
}

fn bracketed(host: &str, mx: bool) -> String {
    if mx { host.to_owned() } else { format!("[{host}]") }
}

/// Each token with a blank before it.
fn spaced(text: &str) -> String {
    let (mut out, mut inside, mut quoted) = (String::new(), false, false);
    for c in text.chars() {
        let alone = !quoted && (MARKS.contains(c) || c.is_whitespace());
        quoted ^= c == '"';
        if alone || !inside {
            inside = !alone;
            if c.is_whitespace() {
                continue;
            }
            out.push(' ');
        }
        out.push(c);
    }
    out
}

/// An address as ruleset 3 leaves it: `u < @ far . example . >`.
fn focused(address: &str) -> String {
    let Some((user, domain)) = address.rsplit_once('@').filter(|(user, _)| !user.is_empty()) else {
        return spaced(address);
    };
    let domain = domain.trim_end_matches('.');
    // A finished name ends in a dot; literals and names of one word are not finished.
    let dot = if domain.contains('.') && !domain.starts_with('[') { " ." } else { "" };
    format!("{} < @{}{dot} >", spaced(user), spaced(domain))
}

fn input(name: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{name:<16}   input:{}", safe(text))
}

fn returns(name: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{name:<16} returns:{}", safe(text))
}

impl Session {
    /// `3,0 address, address …`
    pub(super) fn rules(&self, line: &str, out: &mut impl Write) -> io::Result<()> {
        let line = line.trim_start();
        let (rules, addresses) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if addresses.trim().is_empty() {
            return writeln!(out, "No address!");
        }
        for address in addresses.split(',').map(str::trim).filter(|address| !address.is_empty()) {
            let mut canonical = address.to_owned();
            for rule in rules.split(',') {
                match rule.to_ascii_lowercase().as_str() {
                    "3" | "canonify" => canonical = self.canonify(&canonical, out)?,
                    "0" | "parse" => {
                        self.parse_canonical(&canonical, out)?;
                    }
                    _ => writeln!(out, "Undefined ruleset {}", safe(rule))?,
                }
            }
        }
        Ok(())
    }

    fn canonify(&self, text: &str, out: &mut impl Write) -> io::Result<String> {
        input("canonify", &spaced(text), out)?;
        let known = match read(text) {
            Ok(address) => self.runtime.block_on(self.router.canonical_form(&address)),
            Err(_) => Ok(None),
        };
        let canonical = match known {
            Ok(Some(address)) => address.to_string(),
            _ => bare(text).to_owned(),
        };
        returns("canonify", &focused(&canonical), out)?;
        Ok(canonical)
    }

    fn parse_canonical(&self, text: &str, out: &mut impl Write) -> io::Result<Triple> {
        input("parse", &focused(text), out)?;
        let triple = match read(text) {
            Ok(address) => {
                let explanation = self.runtime.block_on(self.router.explain(&address));
                if self.steps {
                    for step in explanation.steps.iter().filter(|step| step.what != "final") {
                        let (from, to, why) = (safe(&step.from), safe(&step.to), safe(&step.why.to_string()));
                        writeln!(out, "  {:<13} {from} -> {to}  ({why})", step.what)?;
                    }
                }
                Triple::of(&explanation.verdict)
            }
            Err(refused) => Triple::of(&refused),
        };
        returns("parse", &triple.tokens(), out)?;
        Ok(triple)
    }

    /// `/parse address`
    pub(super) fn parse(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "Cracked address = {}", safe(&cracked(text)))?;
        writeln!(out, "Parsing {} address", self.party.words())?;
        let canonical = self.canonify(text, out)?;
        let triple = self.parse_canonical(&canonical, out)?;
        if let Some(error) = &triple.error {
            writeln!(out, "{}... {}", safe(text), safe(error))?;
        }
        writeln!(out, "{}", safe(&triple.words()))
    }

    /// `/try mailer address`: as the mailer is shown it.
    pub(super) fn offer(&self, mailer: &str, text: &str, out: &mut impl Write) -> io::Result<()> {
        if !MAILERS.contains(&mailer) {
            return writeln!(out, "Unknown mailer {}", safe(mailer));
        }
        writeln!(out, "Trying {} address {} for mailer {mailer}", self.party.words(), safe(text))?;
        let canonical = self.canonify(text, out)?;
        let (status, shown) = self.runtime.block_on(self.shown(mailer, &canonical));
        writeln!(out, "Rcode = {status}, addr = {}", safe(&shown))
    }

    async fn shown(&self, mailer: &str, text: &str) -> (u8, String) {
        let Ok(address) = Address::parse(text) else { return (0, text.to_owned()) };
        let local = mailer == "local" || mailer.starts_with('*') || mailer == "prog";
        let place = match (self.party.header, self.party.sender) {
            (false, true) => Place::EnvelopeSender,
            (true, true) => Place::HeaderSender,
            (true, false) => Place::HeaderRecipient,
            (false, false) => return (0, text.to_owned()),
        };
        let settings = self.snapshot.router.settings();
        match self.snapshot.router.shown(place, &address).await {
            // A name alone stays one in mail to local users.
            Ok(Some((_, why))) if local && !settings.always_add_domain && &*why.source == "canonical form" => {
                (0, address.to_string())
            }
            Ok(Some((shown, _))) => (0, shown.to_string()),
            Ok(None) => (0, address.to_string()),
            Err(_) => (crate::sysexits::TEMPORARY, address.to_string()),
        }
    }
}

/// An address out of its angle brackets, if it has some.
fn bare(text: &str) -> &str {
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(inner, _)| inner);
    inner.unwrap_or(text).trim()
}

/// `Joe <$g>`: what stands around the address.
fn cracked(text: &str) -> String {
    match (text.find('<'), text.rfind('>')) {
        (Some(begin), Some(end)) if begin < end => {
            let (before, after) = (text.get(..=begin).unwrap_or_default(), text.get(end..).unwrap_or_default());
            format!("{before}$g{after}")
        }
        _ => "$g".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_sendmails() {
        for (text, tokens) in [
            ("u@far.example", " u < @ far . example . >"),
            ("a@x", " a < @ x >"),
            ("u@[192.0.2.1]", " u < @ [ 192 . 0 . 2 . 1 ] >"),
            ("daemon", " daemon"),
            ("|/bin/sh", " | / bin / sh"),
            ("\"a b.c\"@x.y", " \"a b.c\" < @ x . y . >"),
            ("user+box@x.y", " user + box < @ x . y . >"),
        ] {
            assert_eq!(focused(text), tokens);
        }
        assert_eq!(cracked("Joe <u@far.example>"), "Joe <$g>");
        assert_eq!(cracked("u@far.example"), "$g");
        assert_eq!(bare("Joe <u@far.example> x"), "u@far.example");
    }
}
