//! `postrider queue …`: the operator's verbs, spoken over the control socket.

use crate::output::{Output, complain};
use crate::sysexits;
use call::frame::Connection;
use call::operator::{Entry, Reply, Request, Select};
use lexopt::prelude::*;
use serde_json::json;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

const USAGE: &str = "usage: postrider queue list|count|flush|release|delete|hold REASON \
[--id ID] [--sender TEXT] [--recipient TEXT] [--domain NAME] [--reason TEXT] [--older SECONDS] [--held] [--all] [--json]";

/// Parsed arguments.
#[derive(Default)]
struct Asked {
    words: Vec<String>,
    select: Select,
    all: bool,
    json: bool,
}

/// Runs one verb; returns the exit code.
pub(crate) fn run(arguments: &[OsString]) -> u8 {
    if arguments == ["answer"] {
        return crate::offline::answer();
    }
    let asked = match parse(arguments) {
        Ok(asked) => asked,
        Err(error) => {
            complain!("postrider queue: {error}\n{USAGE}");
            return 64;
        }
    };
    let Some(request) = request(&asked) else {
        complain!("{USAGE}");
        return 64;
    };
    let mut out = Output::standard();
    let code = talk(&request, asked.json, &mut out).unwrap_or_else(|error| {
        if !out.has_failed() {
            complain!("postrider queue: {error:#}");
        }
        69
    });
    // Whoever closed the pipe has seen enough of the list.
    let code = if out.has_failed() { sysexits::OK } else { code };
    out.finish(code)
}

fn parse(arguments: &[OsString]) -> Result<Asked, lexopt::Error> {
    let mut asked = Asked::default();
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("id") => asked.select.ids.push(parser.value()?.string()?),
            Long("sender") => asked.select.sender = Some(parser.value()?.string()?),
            Long("recipient") => asked.select.recipient = Some(parser.value()?.string()?),
            Long("domain") => asked.select.domain = Some(parser.value()?.string()?),
            Long("reason") => asked.select.reason = Some(parser.value()?.string()?),
            Long("older") => asked.select.older = Some(parser.value()?.parse()?),
            Long("held") => asked.select.held = Some(true),
            Long("all") => asked.all = true,
            Long("json") => asked.json = true,
            Value(word) => asked.words.push(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    Ok(asked)
}

fn request(asked: &Asked) -> Option<Request> {
    let select = asked.select.clone();
    let chosen = asked.all || select != Select::default();
    let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
    match words[..] {
        ["list"] => Some(Request::List(select)),
        ["count"] => Some(Request::Count(select)),
        ["flush"] => Some(Request::Flush(select)),
        ["release"] => Some(Request::Release(select)),
        ["hold", reason] => Some(Request::Hold(select, reason.to_owned())),
        // Deleting the whole queue must be asked for by name.
        ["delete"] if chosen => Some(Request::Delete(select)),
        _ => None,
    }
}

/// A request to the running server; its answer can be read.
pub(crate) fn ask(request: &Request) -> anyhow::Result<Connection> {
    let folder = std::env::var_os("POSTRIDER_RUN").map_or_else(|| PathBuf::from("/run/postrider"), PathBuf::from);
    let path = folder.join("control");
    let stream =
        UnixStream::connect(&path).map_err(|e| anyhow::anyhow!("{}: {e} (is the server running?)", path.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    let mut connection = Connection::new(stream);
    connection.send(request, &[])?;
    Ok(connection)
}

fn talk(request: &Request, json: bool, out: &mut Output) -> anyhow::Result<u8> {
    let mut connection = ask(request)?;
    loop {
        match connection.message::<Reply>()? {
            Some(Reply::Entries(entries)) => {
                for entry in &entries {
                    if json { writeln!(out, "{}", as_json(entry))? } else { print_entry(entry, out)? }
                }
            }
            Some(Reply::End(count)) => {
                if !json {
                    writeln!(out, "{count} message{}", if count == 1 { "" } else { "s" })?;
                }
                return Ok(0);
            }
            Some(Reply::Refused(text)) => {
                complain!("{text}");
                return Ok(77);
            }
            Some(Reply::Statistics(_) | Reply::Hosts(_)) => anyhow::bail!("the server answered something else"),
            None => anyhow::bail!("the server closed the connection"),
        }
    }
}

fn as_json(entry: &Entry) -> serde_json::Value {
    let recipients: Vec<_> = entry
        .recipients
        .iter()
        .map(|r| json!({ "address": r.address, "status": r.status, "tries": r.tries, "next": r.next }))
        .collect();
    json!({
        "id": entry.id, "size": entry.size, "arrived": entry.arrived, "sender": entry.sender, "body": entry.body,
        "active": entry.active, "hold": entry.hold, "recipients": recipients,
    })
}

fn print_entry(entry: &Entry, out: &mut Output) -> std::io::Result<()> {
    let mark = if entry.active { "*" } else { "" };
    writeln!(out, "{}{mark} {} bytes, from {}", entry.id, entry.size, mail::log::safe(&entry.sender))?;
    if let Some(reason) = &entry.hold {
        writeln!(out, "    held: {}", mail::log::safe(reason))?;
    }
    for recipient in &entry.recipients {
        writeln!(out, "    to {} (tries: {})", mail::log::safe(&recipient.address), recipient.tries)?;
        if !recipient.status.is_empty() {
            writeln!(out, "        {}", mail::log::safe(&recipient.status))?;
        }
    }
    Ok(())
}
