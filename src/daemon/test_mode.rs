//! `postrider test-mode`, which `sendmail -bt` becomes: what administrators and their scripts ask about addresses, tables and hosts, in
//! sendmail's lines (sendmail.md 2.10). The answers are the router's own; there are no rulesets behind them, and whoever asks for
//! those is told so.

mod map;
mod name;
mod rule;

use crate::explain::runtime;
use crate::names::Names;
use crate::output::{Output, complain};
use crate::plan::configuration;
use crate::snapshot::Snapshot;
use crate::sysexits;
use lexopt::prelude::*;
use mail::log::safe;
use name::Known;
use route::{DnsError, Resolver as _, Router};
use rule::Party;
use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;
use std::sync::Arc;

const BANNER: &str = "ADDRESS TEST MODE (ruleset 3 NOT automatically invoked)\nEnter <ruleset> <address>";
const HELP: &str = "\
Help for test mode:
3,0 address	 :where mail for an address goes (3 alone: its canonical form).
/parse address	 :the same, with the mailer, host and user.
/try mailer addr :an address as it is shown to a mailer.
/tryflags flags	 :of which kind it is: H or E (header, envelope), S or R (sender, recipient).
/mx host	 :the MX hosts of a domain.
/canon host	 :the full name of a host.
/map name key	 :look a key up in a table.
$m $=c =M	 :a macro, the members of a class, the mailers.
.Dmvalue .Ccname :another value for a macro, a further member of a class, for this session.
-d21.1		 :show each step with its file and line.
/quit		 :the end.
Postrider has no rulesets; postrider explain tells the reason of each step.
End of HELP info";
const NO_RULES: &str =
    "Postrider has no rulesets; 3,0 and /parse show what becomes of an address, postrider explain tells why";
/// Longest line that is read.
const LINE: u64 = 64 << 10;

/// Runs until the end of standard input or `/quit`; returns the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let config = configuration_of(arguments);
    let snapshot = match Snapshot::read(&config, false) {
        Ok(snapshot) => snapshot,
        Err(errors) => {
            complain!("{errors}");
            return 78;
        }
    };
    let mut out = Output::standard();
    let done = Session::new(snapshot).and_then(|mut session| Ok(session.serve(&mut io::stdin().lock(), &mut out)?));
    if let Err(error) = done
        && !out.has_failed()
    {
        complain!("postrider test-mode: {error:#}");
        return sysexits::IO;
    }
    out.finish(sysexits::OK)
}

/// `--config FILE` or `-C FILE`; everything else is sendmail's business.
fn configuration_of(arguments: &[OsString]) -> PathBuf {
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut config = configuration();
    while let Ok(Some(argument)) = parser.next() {
        let named = matches!(argument, Short('C') | Long("config"));
        if let Some(path) = named.then(|| parser.value().ok()).flatten() {
            config = path.into();
        }
    }
    config
}

/// What the questions are asked of.
struct Session {
    snapshot: Snapshot,
    known: Known,
    /// Where mail goes before aliases and accounts are looked at: sendmail's ruleset 0 knows neither.
    router: Router,
    names: Names,
    runtime: tokio::runtime::Runtime,
    party: Party,
    /// `-d21`: with the router's steps.
    steps: bool,
}

impl Session {
    fn new(snapshot: Snapshot) -> anyhow::Result<Self> {
        let names = Names::new(&snapshot.config.route.name_servers)?;
        let known = Known::new(&snapshot.config);
        let router = rule::without_users(&snapshot.router, snapshot.config.route.clone());
        Ok(Self { snapshot, known, router, names, runtime: runtime()?, party: Party::default(), steps: false })
    }

    fn serve(&mut self, input: &mut impl BufRead, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{BANNER}")?;
        loop {
            write!(out, "> ")?;
            out.flush()?;
            let mut line = Vec::new();
            if io::Read::take(&mut *input, LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            let end = line.split_whitespace().next().is_some_and(|word| word.eq_ignore_ascii_case("/quit"));
            if end {
                return Ok(());
            }
            self.answer(line, out)?;
        }
    }

    fn answer(&mut self, line: &str, out: &mut impl Write) -> io::Result<()> {
        let mut rest = line.chars();
        match rest.next() {
            None | Some('#') => Ok(()),
            Some('?') => writeln!(out, "{HELP}"),
            Some('.') => self.define(rest.as_str(), out),
            Some('=') => self.list(rest.as_str(), out),
            Some('$') => self.known.print(rest.as_str(), out),
            Some('-') => self.debug(rest.as_str(), out),
            Some('/') => self.command(rest.as_str(), out),
            Some(_) => self.rules(line, out),
        }
    }

    /// `.Dx value`, `.Cw name …`
    fn define(&mut self, text: &str, out: &mut impl Write) -> io::Result<()> {
        let changed = match text.chars().next() {
            Some('D') => self.known.define(text.get(1..).unwrap_or_default()),
            Some('C') => self.known.extend(text.get(1..).unwrap_or_default()),
            None => return writeln!(out, "Usage: .[DC]macro value(s)"),
            Some(other) => return writeln!(out, "Unknown \".\" command .{}", safe(&other.to_string())),
        };
        if !changed {
            return writeln!(out, "Name required for macro/class");
        }
        let settings = self.known.settings(&self.snapshot.config);
        self.snapshot.router = Arc::new(Router::new(settings.clone(), self.snapshot.router.tables().clone()));
        self.router = rule::without_users(&self.snapshot.router, settings);
        Ok(())
    }

    /// `=M`, `=S rules`
    fn list(&self, text: &str, out: &mut impl Write) -> io::Result<()> {
        match text.chars().next() {
            Some('M') => name::mailers(self.snapshot.config.receive.message_size, out),
            Some('S') => writeln!(out, "{NO_RULES}"),
            _ => writeln!(out, "Unknown \"=\" command ={}", safe(text)),
        }
    }

    fn debug(&mut self, text: &str, out: &mut impl Write) -> io::Result<()> {
        match text.strip_prefix('d') {
            // 21 and 60 are rules and maps.
            Some(what) if what.starts_with("21") || what.starts_with("60") => {
                self.steps = !what.ends_with(".0");
                writeln!(out, "{NO_RULES}")
            }
            Some(_) => Ok(()),
            None => writeln!(out, "Unknown \"-\" command -{}", safe(text)),
        }
    }

    fn command(&mut self, text: &str, out: &mut impl Write) -> io::Result<()> {
        let (verb, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        let rest = rest.trim();
        match (&*verb.to_ascii_lowercase(), rest) {
            ("", _) => writeln!(out, "Usage: /[canon|map|mx|parse|try|tryflags]"),
            ("mx", "") => writeln!(out, "Usage: /mx address"),
            ("mx", host) => self.mx(host, out),
            ("canon", "") => writeln!(out, "Usage: /canon address"),
            ("canon", host) => self.canon(host, out),
            ("map", "") => writeln!(out, "Usage: /map mapname key"),
            ("map", question) => self.map(question, out),
            ("parse", "") => writeln!(out, "Usage: /parse address"),
            ("parse", address) => self.parse(address, out),
            ("try", question) => match question.split_once(char::is_whitespace) {
                Some((mailer, address)) => self.offer(mailer, address.trim(), out),
                None => writeln!(out, "Usage: /try mailer address"),
            },
            ("tryflags", "") => writeln!(out, "Usage: /tryflags [Hh|Ee][Ss|Rr]"),
            ("tryflags", flags) => {
                self.party.set(flags);
                Ok(())
            }
            _ => writeln!(out, "Unknown \"/\" command /{}", safe(verb)),
        }
    }

    fn mx(&self, host: &str, out: &mut impl Write) -> io::Result<()> {
        let shown = safe(host);
        let found = match host.starts_with('[') {
            true => Ok(vec![host.to_owned()]),
            false => self.runtime.block_on(self.hosts(host)),
        };
        match found {
            Ok(hosts) if hosts.iter().any(String::is_empty) => {
                writeln!(out, "getmxrr({shown}) returns null MX (See RFC7505)")
            }
            Ok(hosts) => {
                writeln!(out, "getmxrr({shown}) returns {} value(s):", hosts.len())?;
                hosts.iter().try_for_each(|host| writeln!(out, "\t{}", safe(host)))
            }
            Err(DnsError::Temporary(why)) => {
                writeln!(out, "getmxrr({shown}) returns -1 value(s):\n\ttemporary failure: {}", safe(&why))
            }
            Err(_) => writeln!(out, "getmxrr({shown}) returns 0 value(s):"),
        }
    }

    /// By preference; a host without MX records is its own.
    async fn hosts(&self, host: &str) -> Result<Vec<String>, DnsError> {
        match self.names.mx(host).await {
            Ok(mut records) => {
                records.sort_by(|a, b| (a.preference, &a.host).cmp(&(b.preference, &b.host)));
                Ok(records.into_iter().map(|record| record.host).collect())
            }
            Err(DnsError::NoRecord) => self.names.addresses(host).await.map(|_| vec![host.to_owned()]),
            Err(error) => Err(error),
        }
    }

    /// DNS aliases are not followed here, so the name itself is the answer; our own short name is known.
    fn canon(&self, host: &str, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "getcanonname({}) returns {}", safe(host), safe(&self.known.full_name(host)))
    }
}

#[cfg(test)]
mod tests;
