//! What is wrong or surprising in a table: `file:line: expected …`, for `config check` and the log at load. Nothing here changes what a
//! table means; a line that is told still does what sendmail makes of it. Source: sendmail.md 3.3 to 3.8.
//!
//! The checks of access are in [`crate::check_access`].

use crate::address::{Kind, kind};
use crate::check_access;
use crate::domains::is_name;
use crate::entry::entries;
use crate::user_database::MAILDROP;
use crate::value::{error, is_keyword, reply_code};
use crate::{access, auth_info, mailers};
use std::fmt;
use std::sync::Arc;
use table::{AliasEntry, Hop};

/// More problems than this are counted, not told.
const PROBLEMS: usize = 1_000;

/// Something to be told about a line; prints as `file:line: text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: Arc<str>,
    /// Its line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// What was expected.
    pub text: String,
}

impl Problem {
    pub(crate) fn new(file: &Arc<str>, line: u32, text: &str) -> Self {
        Self { file: Arc::clone(file), line, text: mail::log::safe(text) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

/// The formats whose lines are a key and a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// access, with the options it is used with.
    Access(access::Options),
    /// virtusertable.
    VirtualUsers,
    /// Who has a mailbox without an account; not sendmail's.
    VirtualMailboxes,
    /// mailertable.
    Mailers,
    /// genericstable.
    Generics,
    /// domaintable, bitdomain, uucpdomain.
    Domains,
    /// A separate authinfo table.
    AuthInfo,
    /// userdb.
    UserDatabase,
}

/// Checks the entries of a table: line, key and value of each. At most 1,000 problems, and one more that counts the rest.
pub fn check<'a>(
    format: Format,
    name: &str,
    entries: impl IntoIterator<Item = (u32, &'a str, &'a str)>,
) -> Vec<Problem> {
    let mut report = Report::new(name);
    for (line, key, value) in entries {
        report.line = line;
        report.entry(format, key, value);
    }
    report.finish()
}

/// Checks a text table, with the lines that makemap's rules refuse.
#[must_use]
pub fn check_text(format: Format, name: &str, text: &[u8]) -> Vec<Problem> {
    let mut report = Report::new(name);
    table::text::encoding(text).iter().for_each(|told| report.tell(told));
    for row in table::text::rows(text) {
        match row {
            Ok(row) => {
                report.line = row.line;
                report.entry(format, &String::from_utf8_lossy(row.key), &String::from_utf8_lossy(row.value));
            }
            Err(fault) => {
                report.line = fault.line;
                report.tell(&fault.what);
            }
        }
    }
    report.finish()
}

/// Problems being collected.
pub(crate) struct Report {
    file: Arc<str>,
    line: u32,
    problems: Vec<Problem>,
    omitted: usize,
}

impl Report {
    fn new(name: &str) -> Self {
        Self { file: name.into(), line: 0, problems: Vec::new(), omitted: 0 }
    }

    pub(crate) fn tell(&mut self, text: &str) {
        if self.problems.len() < PROBLEMS {
            self.problems.push(Problem::new(&self.file, self.line, text));
        } else {
            self.omitted += 1;
        }
    }

    fn finish(mut self) -> Vec<Problem> {
        if self.omitted > 0 {
            self.problems.push(Problem::new(&self.file, 0, &format!("{} more problems", self.omitted)));
        }
        self.problems
    }

    fn entry(&mut self, format: Format, key: &str, value: &str) {
        let value = value.trim();
        match format {
            Format::Access(options) => check_access::entry(self, options, key, value),
            Format::VirtualUsers => self.virtual_user(key, value),
            Format::VirtualMailboxes => self.virtual_mailbox(key),
            Format::Mailers => self.mailer(key, value),
            Format::Generics => self.generic(key, value),
            Format::Domains => self.domain(key, value),
            Format::AuthInfo => self.auth_info(key, value),
            Format::UserDatabase => self.user_database(key, value),
        }
    }

    fn user_database(&mut self, key: &str, value: &str) {
        match key.rsplit_once(':') {
            Some((_, field)) if field.eq_ignore_ascii_case(MAILDROP) => {
                // `deliver` lets an agent look such a member up in the alias files.
                let member = entries(value).into_iter().find(|member| {
                    matches!(member, AliasEntry::Program(_) | AliasEntry::File(_) | AliasEntry::Include(_))
                });
                if member.is_some() {
                    self.tell("expected addresses: programs, files and :include: of a user data base are not run; put them into aliases");
                }
            }
            _ => self.tell(&format!("expected user:maildrop as key: \"{key}\" is not looked up")),
        }
    }

    fn virtual_mailbox(&mut self, key: &str) {
        match key.rsplit_once('@') {
            None | Some(("", _)) => {
                self.tell(&format!("expected user@domain as key: \"{key}\" is never looked up"));
            }
            Some((user, _)) if user.contains('+') => {
                self.tell(&format!("expected a name without plus: \"{key}\" is never looked up"));
            }
            Some((user, _)) if user.starts_with('.') || user.contains('/') => {
                self.tell(&format!("expected a name that can be a folder's: \"{key}\" is never looked up"));
            }
            Some((_, domain)) => self.dotless(domain),
        }
    }

    fn virtual_user(&mut self, key: &str, value: &str) {
        match key.rsplit_once('@') {
            None => self.tell(&format!("expected user@domain or @domain as key: \"{key}\" is never looked up")),
            Some(("*", domain)) => self.tell(&format!("expected \"@{domain}\" for all users of a domain")),
            Some((_, domain)) => self.dotless(domain),
        }
        if let Some(rest) = error(value) {
            return self.error(rest, Separator::Blank);
        }
        match kind(value) {
            Kind::Address(to) if same(key, &to) => {
                self.tell("expected another address: this one points to itself and is taken for the local user");
            }
            Kind::Address(to) => self.one_address(value, &to),
            Kind::Mailbox(_) => {}
            Kind::List => self.tell("expected one address: a list goes through an alias; refused with 553 5.1.3"),
            Kind::Nobody => self.tell("expected an address; refused with 553 5.1.3"),
            Kind::Program | Kind::File | Kind::Include => {
                self.tell(
                    "expected an address: programs, files and :include: go through an alias; refused with 550 5.7.1",
                );
            }
        }
    }

    /// What can be odd about one address.
    fn one_address(&mut self, value: &str, to: &str) {
        if value.split_ascii_whitespace().skip(1).any(|word| word.starts_with('#')) {
            self.tell("expected an address alone: there are no comments at the end of a line");
        } else if to.contains("..") || to.ends_with('@') || (to.starts_with('@') && !to.contains(':')) {
            self.tell(&format!("expected an address, not \"{to}\""));
        } else if value.contains(['<', '(', '"']) || !value.contains([' ', '\t']) {
            // Wrapped or plain: as it should be.
        } else {
            self.tell(&format!("expected an address without blanks: this one is read as \"{to}\""));
        }
    }

    fn mailer(&mut self, key: &str, value: &str) {
        if let Some(rest) = key.strip_prefix('*') {
            self.tell(&format!("expected \"{rest}\" for everything below a domain"));
        } else if key.contains('@') {
            self.tell("expected a domain as key, not an address: never looked up");
        } else if key != "." {
            self.dotless(key);
        }
        if !key.starts_with('.') && value.contains("%1") {
            self.tell("expected %1 only where the key starts with a dot: it is empty here");
        }
        if let Some(rest) = error(value) {
            return self.error(rest, Separator::Colon);
        }
        match mailers::read(&value.replace("%1", "x").replace("%2", "x")) {
            None => self.tell("expected mailer:host: sendmail passes over a value without a mailer"),
            Some(Hop::Unknown(what)) => {
                self.tell(&format!("expected smtp, esmtp, smtp8, dsmtp, relay, lmtp, local, discard or error with what belongs behind it, not \"{what}\": mail waits"));
            }
            Some(Hop::Smtp { hosts, .. }) => {
                for (n, host) in hosts.iter().enumerate() {
                    if n > 0 && !host.name.is_empty() && host.name.bytes().all(|b| b.is_ascii_digit()) {
                        self.tell(&format!(
                            "expected a host, not a port: \"{}\" is taken for a second host of that name",
                            host.name
                        ));
                    } else if host.name.contains(['#', '[', ']']) || (host.mx && !is_name(&host.name)) {
                        self.tell(&format!("expected a host or [host], not \"{}\"", host.name));
                    }
                }
            }
            Some(Hop::Refuse(_)) => self.tell("expected a mailer for mail: refused with 550 5.7.1"),
            Some(Hop::Local(_) | Hop::Lmtp(_) | Hop::Discard) => {}
        }
    }

    fn generic(&mut self, key: &str, value: &str) {
        if let Some(domain) = key.strip_prefix("*@") {
            self.tell(&format!("expected \"@{domain}\" for all users of a domain"));
        }
        match kind(value) {
            Kind::Address(to) => self.one_address(value, &to),
            _ => self.tell("expected one address"),
        }
    }

    fn domain(&mut self, key: &str, value: &str) {
        if !is_name(key) {
            self.tell(&format!("expected a domain as key, exactly as it is written in addresses, not \"{key}\""));
        }
        if !is_name(value) {
            self.tell("expected one domain as value; the entry is not used");
        }
    }

    fn auth_info(&mut self, key: &str, value: &str) {
        let tag = key.get(..auth_info::TAG.len() + 1).unwrap_or_default();
        if !tag.eq_ignore_ascii_case("AuthInfo:") {
            self.tell("expected \"AuthInfo:\" in front of the server's name: never looked up");
        }
        self.credentials(value);
    }

    pub(crate) fn credentials(&mut self, value: &str) {
        if let Err(expected) = auth_info::parse(value) {
            self.tell(&format!("{expected}; mail to this server waits"));
        }
    }

    /// A key's domain is compared as it stands, and addresses have no dot at the end.
    pub(crate) fn dotless(&mut self, key: &str) {
        if key.ends_with('.') && key.len() > 1 {
            self.tell(&format!(
                "expected \"{}\": with the dot at the end the key is never looked up",
                key.trim_end_matches('.')
            ));
        }
    }

    /// What stands behind `error:`.
    fn error(&mut self, rest: &str, separator: Separator) {
        let (word, after) = match rest.find(|c: char| c == ':' || c.is_ascii_whitespace()) {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, ""),
        };
        let colon = after.trim_start().starts_with(':');
        let status = word.contains('.') || word.is_empty();
        match separator {
            Separator::Blank if status && !colon => self.tell("expected error:5.7.1:550 text, with a colon behind the status"),
            Separator::Blank if !status && colon => self.tell("expected error:nouser 550 text, with a blank behind the keyword"),
            Separator::Blank if !status && !is_keyword(word) => self.tell(&format!(
                "expected one of nouser, nohost, unavailable, usage, protocol, config, software, tempfail: \"{word}\" is taken away"
            )),
            Separator::Colon if !colon => self.tell("expected error:5.1.2:550 text or error:nohost:550 text: all of this is the text"),
            _ => {
                let text = after.trim_start().trim_start_matches(':').trim_start().trim_start_matches('"');
                self.reply(text);
            }
        }
    }

    /// A text that goes to a client.
    pub(crate) fn reply(&mut self, text: &str) {
        if reply_code(&format!("{} ", text.replace('"', ""))).is_none() {
            self.tell("expected a reply code of 4xx or 5xx, such as 550, in front of the text: it is sent with 553");
        }
    }
}

/// What parts a keyword and the text.
#[derive(Clone, Copy)]
enum Separator {
    Blank,
    Colon,
}

fn same(key: &str, to: &str) -> bool {
    key.eq_ignore_ascii_case(to.strip_suffix('.').unwrap_or(to))
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
