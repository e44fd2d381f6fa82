//! A header and a command line become a submission: recipients, sender, generated and removed fields (sendmail.md 1.7, 1.9).
//! Called by `deliver`; pure but for what [`Origin`] is asked. The engine adds Received and the Message-Id and completes
//! addresses (see [`call::submit::Submission`]).

use crate::caller::{Caller, full_name_of};
use crate::command_line::{Command, ErrorMode};
use crate::exit;
use crate::heading::{Field, Heading};
use crate::setting::NoRecipient;
use crate::zone::Zone;
use call::submit::{Errors, RECIPIENT_LIMIT, Received, Recipient, Refused, Submission, VERSION};
use mail::list;
use std::collections::HashSet;

/// Longest full name taken, in characters: a header line has at most 998 bytes.
const NAME_LIMIT: usize = 200;

/// Most recipients named in a field that has to be made.
const LISTED: usize = 1_000;

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
    /// Everything but `eight_bit` and `cut`, which the body may still set.
    pub submission: Submission,
    /// The user's fields that stay, without the empty line after them.
    pub header: Vec<u8>,
    /// Recipients that are none.
    pub refused: Vec<Refused>,
    /// So many of them are arguments; the others stand in fields.
    pub of_arguments: usize,
    /// What is told, and counts in the exit code, but is in nobody's way: a sender that is no address (the caller stands in for him), a
    /// bracket that is not closed.
    pub noted: Vec<Refused>,
    /// Who hears of errors: as the command line says, but a sender who is not the caller gets mail, and so does whoever
    /// does not wait (`-odb`, `-odq`).
    pub errors: ErrorMode,
}

/// Makes a submission.
#[must_use]
pub fn prepare(command: &Command, heading: &Heading, origin: &Origin<'_>) -> Prepared {
    let resent = heading.fields.iter().any(is_resent);
    let (sender, wrong_sender) = sender(command, origin.caller);
    // A sender who is not the caller gets mail; the null sender cannot, so it stays with the caller.
    let elsewhere = !sender.is_empty() && !is_self(origin, &sender);
    let mode = match command.errors {
        ErrorMode::Print if elsewhere => ErrorMode::Mail,
        mode => mode,
    };
    // What is wrong in the text itself is seen before the caller leaves, the rest is not.
    let late = match mode {
        ErrorMode::Print if command.leaves_at_once() && !sender.is_empty() => ErrorMode::Mail,
        mode => mode,
    };
    let Named { recipients, refused, of_arguments, wrong_field, noted } =
        recipients(command, heading, resent, [mode, late]);
    // What is no address in a field is told, and mailed as well.
    let late = if wrong_field && !sender.is_empty() && late == ErrorMode::Print { ErrorMode::Mail } else { late };
    let mut header = kept(heading);
    no_recipient(command, heading, &recipients, &mut header);
    let generated = generated(command, heading, origin, &sender, resent);
    Prepared {
        submission: Submission {
            version: VERSION,
            id: origin.id,
            user: origin.caller.name.clone(),
            warnings: warning(command, origin, &sender),
            recipients,
            cut: false,
            received: received(command),
            eight_bit: command.eight_bit || !generated.is_ascii(),
            generated,
            message_id: !heading.has("message-id"),
            resent_message_id: resent && !heading.has("resent-message-id"),
            sender,
            return_headers: command.return_headers,
            envelope_id: command.envelope_id.clone().unwrap_or_default(),
            hops: command.hops,
            mode: command.delivery,
            errors: errors(late),
        },
        header,
        refused,
        of_arguments,
        noted: wrong_sender.into_iter().chain(noted).collect(),
        errors: late,
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

/// What the Received field says: `-p`, and a recipient that is the only argument.
fn received(command: &Command) -> Received {
    let (protocol, host) = command.protocol.split_once(':').unwrap_or((&command.protocol, ""));
    let recipient = match command.recipients.as_slice() {
        [only] if list::addresses(only.trim_start_matches('\\').as_bytes()).len() == 1 => only.trim(),
        _ => "",
    };
    Received { host: host.to_owned(), protocol: protocol.to_owned(), recipient: recipient.to_owned() }
}

fn recipients(command: &Command, heading: &Heading, resent: bool, modes: [ErrorMode; 2]) -> Named {
    let mut gathered = Gathered {
        // Errors are mailed: then the engine gets what we cannot read, too, and bounces it.
        keep: modes.map(|mode| errors(mode) == Errors::Mail),
        notify: command.notify,
        ..Gathered::default()
    };
    for argument in &command.recipients {
        gathered.argument(argument);
    }
    let of_arguments = gathered.refused.len();
    gathered.wrong = false;
    if command.from_header {
        gathered.keep[0] |= modes[0] == ErrorMode::Print;
        let names: &[&str] =
            if resent { &["resent-to", "resent-cc", "resent-bcc"] } else { &["to", "cc", "bcc", "apparently-to"] };
        for field in heading.fields.iter().filter(|f| names.iter().any(|name| f.is(name))) {
            gathered.add(field.body());
        }
    }
    let wrong_field = gathered.wrong;
    // One bounce for all that is wrong, for a caller who does not wait and beside what is wrong in a field.
    if gathered.keep[1] || (wrong_field && modes[1] == ErrorMode::Print) {
        gathered.join();
    }
    let Gathered { recipients, refused, noted, .. } = gathered;
    Named { recipients, refused, noted, of_arguments, wrong_field }
}

/// Whom a call names.
struct Named {
    recipients: Vec<Recipient>,
    refused: Vec<Refused>,
    /// So many of the refused are of arguments; the others are of fields.
    of_arguments: usize,
    /// A field has something that is no address.
    wrong_field: bool,
    noted: Vec<Refused>,
}

#[derive(Default)]
struct Gathered {
    seen: HashSet<String>,
    recipients: Vec<Recipient>,
    refused: Vec<Refused>,
    noted: Vec<Refused>,
    /// Whether the engine gets what is wrong in the text, and what nobody may write to directly.
    keep: [bool; 2],
    /// What is wrong in the text and goes to the engine only together with somebody; before which recipient it stands.
    bounced: Vec<(usize, String)>,
    /// Something was no address.
    wrong: bool,
    notify: u8,
}

impl Gathered {
    /// Adds the addresses of a list. An empty group (`undisclosed-recipients:;`) adds none, which the original takes
    /// for an error and bounces (sendmail.md 1.7).
    fn add(&mut self, text: &[u8]) {
        let text = text.trim_ascii();
        // `\bob`, as in .forward: bob himself. Aliases apply all the same, as they do in the original's daemon.
        let text = text.strip_prefix(b"\\").unwrap_or(text);
        if text.starts_with(b":include:") {
            self.direct(&String::from_utf8_lossy(text), "Cannot mail directly to :include:s");
            return;
        }
        for listed in list::addresses(text) {
            match listed.address {
                Ok(address) => match direct(&address) {
                    Some(why) => self.direct(address.as_str(), why),
                    None => self.take(&address),
                },
                // `<<bob>>`, of a script that puts brackets around what has some.
                Err(wrong) => match text.get(listed.span.end..).and_then(|rest| in_two_brackets(&wrong, rest)) {
                    Some(address) => self.take(&address),
                    None => self.add_wrong(&as_written(wrong)),
                },
            }
        }
    }
    /// Adds an argument. `Bob <bob` is understood and complained of, `<<bob>>` just understood, as in the original.
    fn argument(&mut self, text: &str) {
        let plain = !text.contains([',', '"', '(', '\\']);
        match (text.matches('<').count(), text.matches('>').count()) {
            (1, 0) if plain && !text.trim_end().ends_with('<') => {
                self.noted.push(refusal(text, exit::USAGE, "Unbalanced '<'"));
                self.add(format!("{text}>").as_bytes());
            }
            (open, close) if plain && open == close && open > 1 => {
                self.add(text.trim().trim_start_matches('<').trim_end_matches('>').as_bytes());
            }
            _ => self.add(text.as_bytes()),
        }
    }
    /// What is no address.
    fn add_wrong(&mut self, text: &str) {
        if text.starts_with(['|', '"']) && text.contains('|') {
            return self.direct(text, "Cannot mail directly to programs");
        }
        // Somebody whom nobody knows, not a mistake in the text: that is found out late, as with programs.
        if text.contains(';') {
            return self.direct(&without_controls(text), "User unknown");
        }
        self.wrong = true;
        let text = without_controls(text);
        if self.keep[0] && self.recipients.len() <= RECIPIENT_LIMIT {
            self.push(text.clone());
        } else if self.bounced.len() < RECIPIENT_LIMIT {
            self.bounced.push((self.recipients.len(), text.clone()));
        }
        let (code, why) = syntax_error(&text);
        self.refuse(&text, code, why);
    }
    /// What nobody may write to directly. The engine refuses it as well, so it has it if errors are mailed.
    fn direct(&mut self, address: &str, text: &str) {
        if self.keep[1] && self.recipients.len() <= RECIPIENT_LIMIT {
            self.push(without_controls(address));
        } else {
            self.refuse(address, exit::NO_USER, text);
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
    /// What is wrong goes to the engine with the others. If there are none, nothing is sent, and the caller is told at once.
    fn join(&mut self) {
        if self.recipients.is_empty() || self.bounced.is_empty() {
            return;
        }
        let mut bounced = std::mem::take(&mut self.bounced).into_iter().peekable();
        for (number, recipient) in std::mem::take(&mut self.recipients).into_iter().enumerate() {
            while let Some((_, text)) = bounced.next_if(|(at, _)| *at <= number) {
                self.push(text);
            }
            self.recipients.push(recipient);
        }
        bounced.for_each(|(_, text)| self.push(text));
    }
    fn push(&mut self, address: String) {
        self.recipients.push(Recipient { address, notify: self.notify, orcpt: String::new() });
    }
    fn refuse(&mut self, address: &str, exit: u8, text: &str) {
        if self.refused.len() < RECIPIENT_LIMIT {
            self.refused.push(refusal(address, exit, text));
        }
    }
}

/// What is an address and yet none is so for its bracket, which has no end. The engine, too, must see that it is none.
fn as_written(wrong: String) -> String {
    if mail::Address::parse(&wrong).is_ok() { format!("<{wrong}") } else { wrong }
}

/// The address of `<<address>>`, of which the list sees `<address`; `rest` follows that.
fn in_two_brackets(wrong: &str, rest: &[u8]) -> Option<mail::Address> {
    let inner = wrong.strip_prefix('<').filter(|_| rest.starts_with(b">>"))?;
    mail::Address::parse(inner).ok().filter(|address| direct(address).is_none())
}

fn refusal(address: &str, exit: u8, text: &str) -> Refused {
    Refused { address: address.to_owned(), exit, text: text.to_owned() }
}

fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What the original's rules say of a text that is no address.
fn syntax_error(text: &str) -> (u8, &'static str) {
    if let Some(why) = list::unbalanced(text) {
        return (exit::USAGE, why);
    }
    match text {
        "<>" => (exit::NO_USER, "User unknown"),
        _ if text.contains(';') => (exit::NO_USER, "User unknown"),
        _ if text.contains("..") => (exit::NO_HOST, "Invalid host name"),
        _ if text.contains("@@") || text.contains(',') => (exit::USAGE, "Invalid route address"),
        _ if text.ends_with('@') => (exit::USAGE, "Hostname required"),
        _ => (exit::USAGE, "User address required"),
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

/// The envelope sender. One that is no address is replaced by the caller, as the original does, and complained of.
fn sender(command: &Command, caller: &Caller) -> (String, Option<Refused>) {
    let Some(given) = command.sender.as_deref().map(str::trim) else {
        return (caller.sender().to_owned(), None);
    };
    if matches!(given, "" | "<>") {
        return (String::new(), None);
    }
    // In `A, B <c>` only what is in brackets counts; two addresses are none.
    let shown = given.rfind('<').filter(|_| given.ends_with('>')).and_then(|at| given.get(at..)).unwrap_or(given);
    // A name of two words is one with a dot, as everybody has it in option BlankSub.
    let words: Vec<&str> = shown.split_whitespace().collect();
    let name =
        words.len() > 1 && words.iter().all(|word| word.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c)));
    let listed = list::addresses(if name { words.join(".") } else { shown.to_owned() }.as_bytes());
    let several = listed.len() > 1 && shown.contains(',');
    match listed.into_iter().find_map(|listed| listed.address.ok()).filter(|_| !several) {
        Some(address) if direct(&address).is_none() => (address.as_str().to_owned(), None),
        _ => {
            let (exit, text) = syntax_error(given);
            (caller.sender().to_owned(), Some(refusal(given, exit, text)))
        }
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

/// A From field's body: a Full-Name field, else `-F`, else `NAME`, else the account's name if the sender is one of ours.
fn from(command: &Command, heading: &Heading, origin: &Origin<'_>, sender: &str) -> String {
    let field = heading.fields.iter().find(|f| f.is("full-name"));
    let given = field
        .map(|field| mail::header::unfold(field.body(), NAME_LIMIT * 4))
        .or_else(|| command.full_name.clone().filter(|name| !name.is_empty()));
    if sender.is_empty() {
        return with_name(&given.unwrap_or_default(), "MAILER-DAEMON");
    }
    let name = given.unwrap_or_else(|| {
        let login = match sender.rsplit_once('@') {
            _ if !is_local(origin, sender) => return String::new(),
            Some((login, _)) => login,
            None => sender,
        };
        if let (Some(name), None) = (&origin.name, &command.full_name) {
            return name.clone();
        }
        if login == origin.caller.name { origin.caller.full_name.clone() } else { full_name_of(login) }
    });
    with_name(&name, sender)
}

/// A From field's body: the name, if there is one, as a phrase, and the address.
pub(crate) fn with_name(name: &str, address: &str) -> String {
    let name: String = name.chars().take(NAME_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if name.trim().is_empty() { address.to_owned() } else { format!("{} <{address}>", phrase(&name)) }
}

/// A name as a phrase (RFC 5322 3.2.5), quoted unless it is one already, as sendmail does it. Beyond its rule a name with `<>@,;` that
/// is not one quoted string is quoted: sendmail emits `-F 'x <y>'` as two addresses, and not every reader sees that
/// `x" <y>, "z` is none.
fn phrase(name: &str) -> String {
    if is_phrase(name) {
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

/// Whether quoted strings and comments have their ends, and specials stand in them only.
fn is_phrase(name: &str) -> bool {
    let (mut quotes, mut depth) = (0u32, 0u32);
    let mut chars = name.chars();
    while let Some(c) = chars.next() {
        let quoted = quotes % 2 == 1;
        match c {
            '\\' if (quoted || depth > 0) && chars.next().is_some() => {}
            '\\' => return false,
            '"' if depth == 0 => quotes += 1,
            _ if quoted => {}
            '(' => depth += 1,
            ')' if depth == 0 => return false,
            ')' => depth -= 1,
            _ if depth == 0 && ":[].'".contains(c) => return false,
            _ => {}
        }
    }
    let one_string = quotes == 2 && name.starts_with('"') && name.ends_with('"');
    quotes % 2 == 0 && depth == 0 && (one_string || !name.contains(|c| "<>@,;".contains(c)))
}

/// `X-Authentication-Warning` for a sender that is somebody else (sendmail.md 1.9).
fn warning(command: &Command, origin: &Origin<'_>, sender: &str) -> String {
    let caller = origin.caller;
    if command.sender.is_none() || caller.is_trusted() || is_self(origin, sender) {
        return String::new();
    }
    let given = command.sender.as_deref().unwrap_or_default().trim();
    let given: String = given.chars().take(NAME_LIMIT).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let shown = if sender.is_empty() { "<>" } else { given.as_str() };
    let text = format!("{{host}}: {} set sender to {shown} using -{}", caller.name, command.sender_flag);
    format!("X-Authentication-Warning: {text}\r\n")
}

fn is_self(origin: &Origin<'_>, sender: &str) -> bool {
    match sender.rsplit_once('@') {
        None => sender == origin.caller.sender(),
        Some((local, _)) if local != origin.caller.name => false,
        Some((_, domain)) => (origin.hosts)().iter().any(|host| host.eq_ignore_ascii_case(domain)),
    }
}

/// Whether a sender is one of this host, as far as the caller can know; so is the null sender.
fn is_local(origin: &Origin<'_>, sender: &str) -> bool {
    match sender.rsplit_once('@') {
        None => !sender.contains('!'),
        Some((_, domain)) => (origin.hosts)().iter().any(|host| host.eq_ignore_ascii_case(domain)),
    }
}

/// Option NoRecipientAction: a field for a message that has none of the kind.
fn no_recipient(command: &Command, heading: &Heading, recipients: &[Recipient], header: &mut Vec<u8>) {
    if ["to", "cc", "bcc", "apparently-to"].iter().any(|name| heading.has(name)) {
        return;
    }
    let all = || {
        let all: Vec<&str> = recipients.iter().take(LISTED).map(|one| one.address.as_str()).collect();
        all.join(",\r\n\t")
    };
    let field = match command.no_recipient {
        NoRecipient::None => return,
        NoRecipient::To => format!("To: {}\r\n", all()),
        NoRecipient::ApparentlyTo => format!("Apparently-To: {}\r\n", all()),
        NoRecipient::Bcc => "Bcc:\r\n".to_owned(),
        NoRecipient::Undisclosed => "To: undisclosed-recipients:;\r\n".to_owned(),
    };
    header.extend_from_slice(field.as_bytes());
}

/// The user's fields that stay: without Return-Path, Content-Length, Full-Name; Bcc and Resent-Bcc go, or stay empty if there is no To, Cc
/// or Apparently-To (with or without `-t`). Resent-To and Resent-Cc do not count, as in the original.
fn kept(heading: &Heading) -> Vec<u8> {
    let visible = ["to", "cc", "apparently-to"].iter().any(|name| heading.has(name));
    let mut out = Vec::new();
    for field in &heading.fields {
        if field.is("bcc") || field.is("resent-bcc") {
            if !visible {
                out.extend_from_slice(field.name());
                out.extend_from_slice(b":\r\n");
            }
        } else if !["return-path", "content-length", "full-name"].iter().any(|name| field.is(name)) {
            out.extend_from_slice(&field.raw);
        }
    }
    mail::header::lay_out(&out)
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
