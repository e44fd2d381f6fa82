//! `postrider explain ADDRESS…`: where an address goes and why, each step with file and line. The same router as the engine's answers,
//! over the same files, read by the caller; the engine need not run.

use crate::output::{Output, complain};
use crate::plan::configuration;
use crate::routes::Routes;
use crate::server::{Server, Terms};
use crate::snapshot::Snapshot;
use crate::sysexits;
use anyhow::Context as _;
use lexopt::prelude::*;
use mail::log::safe;
use mail::{Address, Status};
use receive::Checked;
use route::{Explanation, Hickory, Target, Verdict};
use serde_json::json;
use std::ffi::OsString;
use std::io::{BufRead as _, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use table::Why;

const USAGE: &str = "usage: postrider explain [--from ADDRESS] [--client IP] [--server NAME[=IP]] [--json] [--config FILE] ADDRESS ... | -
  --server  also what is demanded of this server, and who logs in to it
  -         reads ADDRESS, or ADDRESS TAB FROM TAB CLIENT TAB SERVER, one a line";

/// Longest line of standard input.
const LINE: u64 = 64 << 10;

/// Parsed arguments.
struct Asked {
    addresses: Vec<String>,
    from: String,
    client: Option<IpAddr>,
    server: Option<Server>,
    json: bool,
    config: PathBuf,
}

/// One question.
struct Question<'a> {
    address: &'a str,
    from: &'a str,
    client: Option<IpAddr>,
    server: Option<Server>,
}

/// What there is to say about a question.
struct Answer {
    explanation: Explanation,
    checked: Option<Checked>,
    terms: Option<Terms>,
}

/// Explains; returns the exit code: 0 all deliverable, otherwise that of the first refusal.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    let asked = match parse(arguments) {
        Ok(asked) if !asked.addresses.is_empty() => asked,
        Ok(_) => {
            complain!("{USAGE}");
            return sysexits::USAGE;
        }
        Err(error) => {
            complain!("postrider explain: {error}\n{USAGE}");
            return sysexits::USAGE;
        }
    };
    let snapshot = match Snapshot::read(&asked.config, false) {
        Ok(snapshot) => snapshot,
        Err(errors) => {
            complain!("{errors}");
            return 78;
        }
    };
    let mut out = Output::standard();
    let code = answer(&asked, &snapshot, &mut out).unwrap_or_else(|error| {
        if out.has_failed() {
            return sysexits::OK;
        }
        complain!("postrider explain: {error:#}");
        sysexits::IO
    });
    out.finish(code)
}

fn parse(arguments: &[OsString]) -> Result<Asked, lexopt::Error> {
    let (addresses, config) = (Vec::new(), configuration());
    let mut asked = Asked { addresses, from: String::new(), client: None, server: None, json: false, config };
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("from") => asked.from = parser.value()?.string()?,
            Long("client") => asked.client = Some(parser.value()?.parse()?),
            Long("server") => asked.server = Some(parser.value()?.parse()?),
            Long("config") => asked.config = parser.value()?.into(),
            Long("json") => asked.json = true,
            Value(address) => asked.addresses.push(address.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(asked)
}

fn answer(asked: &Asked, snapshot: &Snapshot, out: &mut Output) -> anyhow::Result<u8> {
    let explainer = Explainer { snapshot, json: asked.json, runtime: runtime()? };
    let mut code = sysexits::OK;
    for address in &asked.addresses {
        if address == "-" {
            code = sysexits::worse(code, explainer.lines(asked, out)?);
        } else {
            let question = Question { address, from: &asked.from, client: asked.client, server: asked.server.clone() };
            code = sysexits::worse(code, explainer.one(&question, out)?);
        }
    }
    Ok(code)
}

/// Everything here is answered from memory; nothing else runs beside it.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

struct Explainer<'a> {
    snapshot: &'a Snapshot,
    json: bool,
    runtime: tokio::runtime::Runtime,
}

impl Explainer<'_> {
    /// Questions from standard input.
    fn lines(&self, asked: &Asked, out: &mut impl Write) -> anyhow::Result<u8> {
        let (mut input, mut code) = (std::io::stdin().lock(), sysexits::OK);
        loop {
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut input, LINE);
            if limited.read_until(b'\n', &mut line).context("standard input")? == 0 {
                return Ok(code);
            }
            let line = String::from_utf8_lossy(&line);
            let mut fields = line.trim_end_matches(['\n', '\r']).split('\t');
            let address = fields.next().unwrap_or_default();
            let from = fields.next().filter(|from| !from.is_empty()).unwrap_or(&asked.from);
            let client = match fields.next().filter(|client| !client.is_empty()) {
                Some(client) => Some(client.parse().with_context(|| format!("\"{client}\" is no IP address"))?),
                None => asked.client,
            };
            let server = match fields.next().filter(|server| !server.is_empty()) {
                Some(server) => Some(server.parse().with_context(|| format!("\"{server}\" is no NAME=IP"))?),
                None => asked.server.clone(),
            };
            code = sysexits::worse(code, self.one(&Question { address, from, client, server }, out)?);
        }
    }

    /// What nobody but the user's agent follows.
    fn forwards(&self, explanation: &Explanation, out: &mut impl Write) -> std::io::Result<()> {
        let Verdict::Targets(targets) = &explanation.verdict else { return Ok(()) };
        for target in targets {
            if let Some(note) = self.runtime.block_on(crate::forward::note(self.snapshot, target)) {
                writeln!(out, "  {:<13} {}", ".forward", safe(&note))?;
            }
        }
        Ok(())
    }

    fn one(&self, question: &Question<'_>, out: &mut impl Write) -> anyhow::Result<u8> {
        let answer = self.runtime.block_on(self.ask(question))?;
        if self.json {
            writeln!(out, "{}", as_json(question, &answer)?)?;
        } else {
            print(question, &answer, out)?;
            if answer.checked.as_ref().is_none_or(|checked| checked.refusal.is_none()) {
                self.forwards(&answer.explanation, out)?;
            }
        }
        let Answer { explanation, checked, .. } = answer;
        let refusal = checked.and_then(|checked| checked.refusal);
        // `550 5.7.1 text`
        let status = refusal.as_ref().and_then(|reply| Status::split(reply.get(4..)?));
        Ok(match (&refusal, status) {
            (None, _) => code(&explanation.verdict),
            (Some(_), Some((status, _))) => sysexits::of(status),
            (Some(reply), None) if reply.starts_with('4') => sysexits::TEMPORARY,
            (Some(_), None) => sysexits::UNAVAILABLE,
        })
    }

    async fn ask(&self, question: &Question<'_>) -> anyhow::Result<Answer> {
        let address = match read(question.address) {
            Ok(address) => address,
            Err(verdict) => {
                let explanation = Explanation { steps: Vec::new(), verdict };
                return Ok(Answer { explanation, checked: None, terms: None });
            }
        };
        let checked = self.checks(question, &address).await?;
        let terms = match &question.server {
            Some(server) => Some(Terms::of(&Routes::new(self.snapshot.router.clone()), server, &address).await?),
            None => None,
        };
        Ok(Answer { explanation: self.snapshot.router.explain(&address).await, checked, terms })
    }

    /// What a session with this client and sender would be told; without either nothing is checked. A sender alone is one of this host's.
    async fn checks(&self, question: &Question<'_>, recipient: &Address) -> anyhow::Result<Option<Checked>> {
        let client = match (question.client, question.from) {
            (Some(client), _) => client,
            (None, "") => return Ok(None),
            (None, _) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let sender = match question.from.trim() {
            "" | "<>" => Address::null(),
            from => read(from).map_err(|_| anyhow::anyhow!("\"{from}\" is no sender's address"))?,
        };
        let settings = &self.snapshot.config;
        let servers: Result<Vec<_>, _> = settings.route.name_servers.iter().map(|server| server.parse()).collect();
        let resolver = Hickory::new(&servers?).map_err(|text| anyhow::anyhow!("DNS: {text}"))?;
        let pair = (&sender, recipient);
        Ok(Some(receive::explain(&self.snapshot.router, &settings.receive, &resolver, client, pair).await))
    }
}

/// An address as RCPT takes it, also in angle brackets; otherwise the refusal that it gets.
pub(crate) fn read(text: &str) -> Result<Address, Verdict> {
    let bare = text.trim();
    let bare = bare.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(bare);
    match Address::parse(bare) {
        Ok(address) if !address.is_null() => Ok(address),
        Ok(_) | Err(_) => Err(Verdict::Refused {
            code: 553,
            status: Status::permanent(1, 3),
            text: "User address required".into(),
            why: Why { source: "address".into(), line: 0, key: bare.to_owned() },
            exit: None,
        }),
    }
}

/// The exit code of a verdict.
pub(crate) fn code(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Targets(targets) => targets.iter().fold(sysexits::OK, |code, target| match &target.key {
            route::Key::Error { status, text } => sysexits::worse(code, sysexits::of_refusal(*status, text)),
            _ => code,
        }),
        Verdict::Refused { status, text, exit, .. } => exit.unwrap_or_else(|| sysexits::of_refusal(*status, text)),
        Verdict::Unavailable { .. } => sysexits::TEMPORARY,
    }
}

fn as_json(question: &Question<'_>, answer: &Answer) -> serde_json::Result<String> {
    serde_json::to_string(&json!({
        "address": question.address,
        "from": Some(question.from).filter(|from| !from.is_empty()),
        "client": question.client,
        "checked": answer.checked,
        "steps": answer.explanation.steps,
        "verdict": answer.explanation.verdict,
        "server": answer.terms.as_ref().map(Terms::to_json),
    }))
}

fn print(question: &Question<'_>, answer: &Answer, out: &mut impl Write) -> std::io::Result<()> {
    let Answer { explanation, checked, terms } = answer;
    writeln!(out, "{}", safe(question.address))?;
    let checks = checked.iter().flat_map(|checked| &checked.steps);
    for step in checks.chain(explanation.steps.iter().filter(|step| step.what != "final")) {
        let (from, to, why) = (safe(&step.from), safe(&step.to), safe(&step.why.to_string()));
        writeln!(out, "  {:<13} {from} -> {to}  ({why})", step.what)?;
    }
    if let Some(reply) = checked.as_ref().and_then(|checked| checked.refusal.as_ref()) {
        // What comes after is not asked.
        return writeln!(out, "  {:<13} {}", "refused", safe(reply));
    }
    match &explanation.verdict {
        Verdict::Targets(targets) => {
            targets.iter().try_for_each(|target| print_target(target, out))?;
            terms.iter().try_for_each(|terms| terms.print(out))
        }
        Verdict::Refused { code, status, text, why, .. } => {
            writeln!(out, "  {:<13} {code} {status} {}  ({})", "refused", safe(text), safe(&why.to_string()))
        }
        Verdict::Unavailable { text } => writeln!(out, "  {:<13} {}", "temporary", safe(text)),
    }
}

fn print_target(target: &Target, out: &mut impl Write) -> std::io::Result<()> {
    let (hop, why) = (crate::verify::hop(target), target.why.to_string());
    let owner = target.owner.as_ref().map_or_else(String::new, |owner| format!(", sender {owner}"));
    let what = if matches!(target.key, route::Key::Error { .. }) { "refused" } else { "deliverable" };
    writeln!(out, "  {what:<13} {}: {}{}  ({})", safe(target.address.as_str()), safe(&hop), safe(&owner), safe(&why))
}
