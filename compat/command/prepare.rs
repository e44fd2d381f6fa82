//! A header and a command line become a submission: recipients, sender, generated and removed fields (sendmail.md 1.7, 1.9).
//! Called by `deliver`; pure but for what [`Origin`] is asked. The engine adds Received and the Message-Id and completes
//! addresses (see [`call::submit::Submission`]).

use crate::caller::{Caller, full_name_of};
use crate::command_line::{Command, ErrorMode};
use crate::exit;
use crate::heading::{Field, Heading};
use crate::zone::Zone;
use call::submit::{Errors, RECIPIENT_LIMIT, Recipient, Refused, Submission, VERSION};
use mail::list;
use std::collections::HashSet;

/// Longest full name taken, in characters: a header line has at most 998 bytes.
const NAME_LIMIT: usize = 200;

/// Where a message comes from.
pub struct Origin<'a> {
    /// The calling user.
    pub caller: &'a Caller,
    /// The variable `NAME`, the only one that changes a message.
    pub name: Option<String>,
    /// Seconds since 1970.
    pub now: i64,
    /// The host's time zone; only asked for when a date is made.
    pub zone: fn() -> Zone,
    /// Names of this host; only asked for when the caller gives himself as sender with a domain.
    pub hosts: fn() -> Vec<String>,
    /// Random.
    pub id: [u8; 16],
}

/// A message ready for its body.
#[derive(Debug)]
pub struct Prepared {
    /// Everything but `eight_bit`, which the body may still set.
    pub submission: Submission,
    /// The user's fields that stay, without the empty line after them.
    pub header: Vec<u8>,
    /// Recipients that are none.
    pub refused: Vec<Refused>,
}

/// Makes a submission.
#[must_use]
pub fn prepare(command: &Command, heading: &Heading, origin: &Origin<'_>) -> Prepared {
    let resent = heading.fields.iter().any(is_resent);
    let (recipients, refused) = recipients(command, heading, resent);
    let sender = sender(command, origin.caller);
    let generated = generated(command, heading, origin, &sender, resent);
    Prepared {
        submission: Submission {
            version: VERSION,
            id: origin.id,
            user: origin.caller.name.clone(),
            warnings: warning(command, origin, &sender),
            recipients,
            eight_bit: command.eight_bit || !generated.is_ascii(),
            generated,
            message_id: !heading.has("message-id"),
            resent_message_id: resent && !heading.has("resent-message-id"),
            sender,
            return_headers: command.return_headers,
            envelope_id: command.envelope_id.clone().unwrap_or_default(),
            hops: command.hops,
            mode: command.delivery,
            errors: errors(command.errors),
        },
        header: kept(heading),
        refused,
    }
}

/// The part of an error mode that concerns the engine.
#[must_use]
pub fn errors(mode: ErrorMode) -> Errors {
    match mode {
        ErrorMode::Print | ErrorMode::Quiet => Errors::Report,
        ErrorMode::Mail | ErrorMode::Berknet => Errors::Mail,
    }
}

fn is_resent(field: &Field) -> bool {
    field.name().get(..7).is_some_and(|start| start.eq_ignore_ascii_case(b"resent-"))
}

fn recipients(command: &Command, heading: &Heading, resent: bool) -> (Vec<Recipient>, Vec<Refused>) {
    let mut gathered = Gathered {
        // Errors are mailed: then the engine gets what we cannot read, too, and bounces it.
        keep_bad: errors(command.errors) == Errors::Mail,
        notify: command.notify,
        ..Gathered::default()
    };
    for argument in &command.recipients {
        gathered.add(argument.as_bytes());
    }
    if command.from_header {
        let names: &[&str] =
            if resent { &["resent-to", "resent-cc", "resent-bcc"] } else { &["to", "cc", "bcc", "apparently-to"] };
        for field in heading.fields.iter().filter(|f| names.iter().any(|name| f.is(name))) {
            gathered.add(field.body());
        }
    }
    (gathered.recipients, gathered.refused)
}

#[derive(Default)]
struct Gathered {
    seen: HashSet<String>,
    recipients: Vec<Recipient>,
    refused: Vec<Refused>,
    keep_bad: bool,
    notify: u8,
}

impl Gathered {
    /// Adds the addresses of a list. An empty group (`undisclosed-recipients:;`) adds none, which the original takes
    /// for an error and bounces (sendmail.md 1.7).
    fn add(&mut self, text: &[u8]) {
        if text.trim_ascii().starts_with(b":include:") {
            self.refuse(&String::from_utf8_lossy(text.trim_ascii()), "Cannot mail directly to :include:s");
            return;
        }
        for listed in list::addresses(text) {
            match listed.address {
                Ok(address) => match direct(&address) {
                    Some(why) => self.refuse(address.as_str(), why),
                    None => self.take(&address),
                },
                Err(text) if text.starts_with(['|', '"']) && text.contains('|') => {
                    self.refuse(&text, "Cannot mail directly to programs");
                }
                Err(text) => {
                    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
                    if self.keep_bad && self.recipients.len() <= RECIPIENT_LIMIT {
                        self.push(text.clone());
                    }
                    self.refuse(&text, "Invalid address");
                }
            }
        }
    }
    fn take(&mut self, address: &mail::Address) {
        let mut key = address.local().to_owned();
        if let Some(domain) = address.domain() {
            key.push('@');
            key.push_str(&domain.to_ascii_lowercase());
        }
        // One more than allowed is enough to refuse the message.
        if self.recipients.len() <= RECIPIENT_LIMIT && self.seen.insert(key) {
            self.push(address.as_str().to_owned());
        }
    }
    fn push(&mut self, address: String) {
        self.recipients.push(Recipient { address, notify: self.notify });
    }
    fn refuse(&mut self, address: &str, text: &str) {
        if self.refused.len() < RECIPIENT_LIMIT {
            self.refused.push(Refused { address: address.to_owned(), exit: exit::USAGE, text: text.to_owned() });
        }
    }
}

/// Programs and files come from trusted tables only, never from a command line or header.
fn direct(address: &mail::Address) -> Option<&'static str> {
    if address.domain().is_some() {
        return None;
    }
    match address.user().chars().next() {
        Some('|') => Some("Cannot mail directly to programs"),
        Some('/') => Some("Cannot mail directly to files"),
        _ => None,
    }
}

/// The envelope sender. One that is no address is replaced by the caller, as the original does.
fn sender(command: &Command, caller: &Caller) -> String {
    match command.sender.as_deref().map(str::trim) {
        None => caller.sender().to_owned(),
        Some("" | "<>") => String::new(),
        Some(given) => list::addresses(given.as_bytes())
            .into_iter()
            .find_map(|listed| listed.address.ok())
            .filter(|address| direct(address).is_none())
            .map_or_else(|| caller.sender().to_owned(), |address| address.as_str().to_owned()),
    }
}

/// Date and From lines that are missing; in sendmail's order.
fn generated(command: &Command, heading: &Heading, origin: &Origin<'_>, sender: &str, resent: bool) -> String {
    let mut out = String::new();
    let needs_date = !heading.has("date");
    let needs_resent_date = resent && !heading.has("resent-date");
    if needs_date || needs_resent_date {
        let zone = (origin.zone)();
        if needs_resent_date {
            out.push_str(&format!("Resent-Date: {}\r\n", zone.date(origin.now)));
        }
        if needs_date {
            out.push_str(&format!("Date: {}\r\n", zone.date(heading.date.unwrap_or(origin.now))));
        }
    }
    let needs_from = !heading.has("from");
    let needs_resent_from = resent && !heading.has("resent-from");
    if needs_from || needs_resent_from {
        let from = from(command, heading, origin, sender);
        if needs_resent_from {
            out.push_str(&format!("Resent-From: {from}\r\n"));
        }
        if needs_from {
            out.push_str(&format!("From: {from}\r\n"));
        }
    }
    out
}

/// A From field's body: `-F`, else a Full-Name field, else `NAME`, else the account's name if the sender is one of ours.
fn from(command: &Command, heading: &Heading, origin: &Origin<'_>, sender: &str) -> String {
    let given = command.full_name.clone().or_else(|| {
        let field = heading.fields.iter().find(|f| f.is("full-name"))?;
        Some(mail::header::unfold(field.body(), NAME_LIMIT * 4))
    });
    if sender.is_empty() {
        return with_name(&given.unwrap_or_default(), "MAILER-DAEMON");
    }
    let name = given.or_else(|| origin.name.clone()).unwrap_or_else(|| {
        if sender == origin.caller.name {
            origin.caller.full_name.clone()
        } else if sender.contains('@') {
            String::new()
        } else {
            full_name_of(sender)
        }
    });
    with_name(&name, sender)
}

fn with_name(name: &str, address: &str) -> String {
    let name: String = name.chars().take(NAME_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    match name.trim() {
        "" => address.to_owned(),
        name => format!("{} <{address}>", phrase(name)),
    }
}

/// A name as a phrase (RFC 5322 3.2.5). The original emits `-F` as given, which lets `-F 'x (y' ` break the field; here it is
/// quoted unless it is quoted already, as calendar(1) passes it.
fn phrase(name: &str) -> String {
    if is_quoted(name) || !name.contains(|c: char| "()<>@,;:\\\".[]'".contains(c)) {
        return name.to_owned();
    }
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for c in name.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// Whether the whole is one quoted string.
fn is_quoted(name: &str) -> bool {
    let Some(inner) = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) else {
        return false;
    };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '"' || (c == '\\' && chars.next().is_none()) {
            return false;
        }
    }
    true
}

/// `X-Authentication-Warning` for a sender that is somebody else (sendmail.md 1.9).
fn warning(command: &Command, origin: &Origin<'_>, sender: &str) -> String {
    let caller = origin.caller;
    if command.sender.is_none() || caller.is_trusted() || is_self(origin, sender) {
        return String::new();
    }
    let shown = if sender.is_empty() { "<>" } else { sender };
    let text = format!("{{host}}: {} set sender to {shown} using -f", caller.name);
    format!("X-Authentication-Warning: {text}\r\n")
}

fn is_self(origin: &Origin<'_>, sender: &str) -> bool {
    match sender.rsplit_once('@') {
        None => sender == origin.caller.sender(),
        Some((local, _)) if local != origin.caller.name => false,
        Some((_, domain)) => (origin.hosts)().iter().any(|host| host.eq_ignore_ascii_case(domain)),
    }
}

/// The user's fields that stay: without Return-Path, Content-Length, Full-Name; Bcc goes, or stays empty if it is the only
/// recipient field (with or without `-t`).
fn kept(heading: &Heading) -> Vec<u8> {
    let visible = ["to", "cc", "apparently-to"].iter().any(|name| heading.has(name));
    let resent_visible = ["resent-to", "resent-cc"].iter().any(|name| heading.has(name));
    let (mut emptied, mut resent_emptied) = (visible, resent_visible);
    let mut out = Vec::new();
    for field in &heading.fields {
        if field.is("bcc") {
            if !std::mem::replace(&mut emptied, true) {
                out.extend_from_slice(b"Bcc:\r\n");
            }
        } else if field.is("resent-bcc") {
            if !std::mem::replace(&mut resent_emptied, true) {
                out.extend_from_slice(b"Resent-Bcc:\r\n");
            }
        } else if !["return-path", "content-length", "full-name"].iter().any(|name| field.is(name)) {
            out.extend_from_slice(&field.raw);
        }
    }
    out
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
