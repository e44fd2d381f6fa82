//! `hoststat`, `purgestat` and `mailstats` in sendmail's layout (sendmail.md 2.5), asked of the running server. Plug-ins of monitors read
//! the ` T` line and the columns.

use crate::operate::ask;
use crate::output::{Output, complain};
use crate::sysexits;
use call::operator::{Host, MailerCount, Reply, Request, Statistics};
use compat_command::output::without_number;
use lexopt::prelude::*;
use mail::log::{duration, safe};
use mail::time::Clock as _;
use std::ffi::OsString;
use std::io::{self, Write};

const HOSTS: &str = " -------------- Hostname --------------- How long ago ---------Results---------";
const MAILERS: &str = " M   msgsfr  bytes_from   msgsto    bytes_to  msgsrej msgsdis msgsqur";
const RULE: &str = "=====================================================================";
const USAGE: &str = "usage: mailstats [-C cffile] [-c] [-P] [-f stfile] [-o] [-p]";

/// Runs one of them; returns the exit code.
pub(crate) fn run(name: &str, arguments: &[OsString]) -> u8 {
    let mut out = Output::standard();
    let done = match name {
        "hoststat" => hoststat(arguments, &mut out),
        "purgestat" => purgestat(&mut out),
        _ => mailstats(arguments, &mut out),
    };
    let code = done.unwrap_or_else(|error| {
        if !out.has_failed() {
            complain!("{name}: {error:#}");
        }
        sysexits::UNAVAILABLE
    });
    out.finish(code)
}

/// One answer of the server; `Err` with the text of a refusal.
fn answer(request: &Request) -> anyhow::Result<Result<Reply, String>> {
    let reply = ask(request)?.message::<Reply>();
    match reply
        .map_err(|error| anyhow::anyhow!("the server does not answer ({})", without_number(&error.to_string())))?
    {
        Some(Reply::Refused(text)) => Ok(Err(text)),
        Some(reply) => Ok(Ok(reply)),
        None => anyhow::bail!("the server closed the connection"),
    }
}

/// `-v` shows whole results; names are prefixes of hosts.
fn hoststat(arguments: &[OsString], out: &mut Output) -> anyhow::Result<u8> {
    let (mut verbose, mut wanted) = (false, Vec::new());
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('v') => verbose = true,
            Value(name) => wanted.push(name.string()?.to_ascii_lowercase()),
            other => return Err(other.unexpected().into()),
        }
    }
    let hosts = match answer(&Request::Hosts)? {
        Ok(Reply::Hosts(hosts)) => hosts,
        Ok(_) => anyhow::bail!("the server answered something else"),
        Err(text) => return refused(&text),
    };
    let chosen = |host: &&Host| wanted.is_empty() || wanted.iter().any(|name| host.name.starts_with(name));
    let chosen: Vec<&Host> = hosts.iter().filter(chosen).collect();
    print_hosts(&chosen, verbose, crate::clock::RealClock::new().now().seconds(), out)?;
    Ok(sysexits::OK)
}

/// Without a host there is no heading either.
fn print_hosts(hosts: &[&Host], verbose: bool, now: i64, out: &mut impl Write) -> io::Result<()> {
    if hosts.is_empty() {
        return Ok(());
    }
    writeln!(out, "{HOSTS}")?;
    for host in hosts {
        let ago = duration(u64::try_from(now.saturating_sub(host.at)).unwrap_or(0));
        let result: String = safe(&host.result).chars().take(if verbose { 78 } else { 25 }).collect();
        writeln!(out, " {:<39} {ago:>12} {result}", safe(&host.name))?;
    }
    Ok(())
}

/// Its refusal is sendmail's own, of `-bH`, and stands where sendmail's texts do.
fn purgestat(out: &mut impl Write) -> anyhow::Result<u8> {
    match answer(&Request::PurgeHosts)? {
        Ok(_) => Ok(sysexits::OK),
        Err(text) => {
            writeln!(out, "{text}")?;
            Ok(sysexits::USAGE)
        }
    }
}

fn refused(text: &str) -> anyhow::Result<u8> {
    complain!("{text}");
    Ok(sysexits::USAGE)
}

/// How statistics are printed.
#[derive(Clone, Default)]
struct Form {
    /// `-p`, `-P`: for programs.
    machine: bool,
    /// `-p`: and begun anew.
    clear: bool,
    /// `-o`.
    nameless: bool,
    /// `-c`: the counters of a queue of its own for submissions, which does not exist here.
    submission: bool,
    /// `-f`: there is one file, and the server has it; but whoever names one that is missing is told so.
    file: Option<String>,
}

/// EX_NOINPUT.
const NO_INPUT: u8 = 66;

fn mailstats(arguments: &[OsString], out: &mut Output) -> anyhow::Result<u8> {
    let form = match form(arguments) {
        Ok(form) => form,
        Err(error) => {
            complain!("mailstats: {error}\n{USAGE}");
            return Ok(sysexits::USAGE);
        }
    };
    if let Some((file, Err(error))) = form.file.as_deref().map(|file| (file, std::fs::metadata(file))) {
        complain!("mailstats: {}: {}", safe(file), without_number(&error.to_string()));
        return Ok(NO_INPUT);
    }
    let mut statistics = match answer(&Request::Statistics(form.clear && !form.submission))? {
        Ok(Reply::Statistics(statistics)) => statistics,
        Ok(_) => anyhow::bail!("the server answered something else"),
        Err(text) => return refused(&text),
    };
    if form.submission {
        statistics = Statistics { since: statistics.since, ..Statistics::default() };
    }
    let clock = crate::clock::RealClock::new();
    let from = mail::date::ctime(statistics.since, clock.zone(statistics.since).0);
    print_statistics(&statistics, &form, (&from, clock.now().seconds()), out)?;
    Ok(sysexits::OK)
}

fn form(arguments: &[OsString]) -> Result<Form, lexopt::Error> {
    let mut form = Form::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('p') => (form.machine, form.clear) = (true, true),
            Short('P') => form.machine = true,
            Short('o') => form.nameless = true,
            Short('c') => form.submission = true,
            Short('f') => form.file = Some(parser.value()?.string()?),
            Short('C') => drop(parser.value()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(form)
}

fn print_statistics(
    statistics: &Statistics,
    form: &Form,
    (from, now): (&str, i64),
    out: &mut impl Write,
) -> io::Result<()> {
    if form.machine {
        writeln!(out, "{} {now}", statistics.since)?;
    } else {
        writeln!(out, "Statistics from {from}\n{MAILERS}{}", if form.nameless { "" } else { "  Mailer" })?;
    }
    let mut total = MailerCount::default();
    for line in &statistics.mailers {
        let name = if form.nameless { String::new() } else { format!("  {}", safe(&line.name)) };
        writeln!(out, "{:2}{}{name}", line.number, columns(line, form.machine))?;
        add(&mut total, line);
    }
    if !form.machine {
        writeln!(out, "{RULE}")?;
    }
    writeln!(out, " T{}", columns(&total, form.machine))?;
    let [incoming, outgoing, refused] = statistics.connections;
    if form.machine {
        writeln!(out, " C {incoming:8} {outgoing:8} {refused:6}")
    } else {
        writeln!(out, " C {incoming:8} {0:10}  {outgoing:8} {0:10}    {refused:6}", "")
    }
}

fn columns(line: &MailerCount, machine: bool) -> String {
    let ([from, from_size], [to, to_size], unit) = (line.from, line.to, if machine { "" } else { "K" });
    format!(
        " {from:8} {from_size:10}{unit} {to:8} {to_size:10}{unit}   {:6}  {:6}  {:6}",
        line.rejected, line.discarded, line.quarantined
    )
}

fn add(total: &mut MailerCount, line: &MailerCount) {
    for n in [0, 1] {
        total.from[n] += line.from[n];
        total.to[n] += line.to[n];
    }
    total.rejected += line.rejected;
    total.discarded += line.discarded;
    total.quarantined += line.quarantined;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of the real programs with other numbers.
    #[test]
    fn layouts_are_sendmails() {
        let line = |number, name: &str, from, to| MailerCount {
            number,
            name: name.into(),
            from,
            to,
            ..MailerCount::default()
        };
        let mut mailers = vec![line(3, "local", [9, 14], [12, 20]), line(5, "esmtp", [1, 1], [0, 0])];
        mailers[1].rejected = 2;
        let statistics = Statistics { since: 1_795_292_220, mailers, connections: [7, 3, 1] };
        let print = |form: Form| {
            let mut out = Vec::new();
            print_statistics(&statistics, &form, ("Sat Nov 21 20:17:00 2026", 1_795_292_300), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            print(Form::default()),
            "Statistics from Sat Nov 21 20:17:00 2026\n \
M   msgsfr  bytes_from   msgsto    bytes_to  msgsrej msgsdis msgsqur  Mailer\n \
3        9         14K       12         20K        0       0       0  local\n \
5        1          1K        0          0K        2       0       0  esmtp\n\
=====================================================================\n \
T       10         15K       12         20K        2       0       0\n \
C        7                    3                    1\n"
        );
        assert_eq!(
            print(Form { machine: true, nameless: true, ..Form::default() }),
            "1795292220 1795292300\n \
3        9         14       12         20        0       0       0\n \
5        1          1        0          0        2       0       0\n \
T       10         15       12         20        2       0       0\n \
C        7        3      1\n"
        );
        let hosts = |verbose| {
            let host = Host { name: "a.example".into(), at: 93, result: "Deferred: Connection refused".into() };
            let mut out = Vec::new();
            print_hosts(&[&host], verbose, 100, &mut out).unwrap();
            print_hosts(&[], verbose, 100, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            hosts(false),
            " -------------- Hostname --------------- How long ago ---------Results---------\n \
a.example                                   00:00:07 Deferred: Connection refu\n"
        );
        assert!(hosts(true).ends_with(" 00:00:07 Deferred: Connection refused\n"));
    }
}
