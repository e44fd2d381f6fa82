//! mailertable (sendmail.md 3.5): which key answers for a domain, and what its value says. `daemon` wraps a raw table in a [`MailerTable`]
//! for `route`.
//!
//! A value without a mailer is no entry for sendmail, and so it is here; one whose mailer cannot be used is a configuration error, which
//! is temporary: mail waits until somebody has looked.

use crate::token::{Token, joined, tokens, unquoted};
use crate::value::{Keyword, ask, domain, error, error_refusal, fill};
use mail::Status;
use std::sync::Arc;
use table::{Answer, Found, Hop, Host, Mailers, Refusal, Table, Unavailable};

/// The mailers that speak SMTP.
const SMTP: [&str; 5] = ["smtp", "esmtp", "smtp8", "dsmtp", "relay"];
/// More labels than this are not looked at.
const LABELS: usize = 40;

/// mailertable over a raw table.
#[derive(Clone)]
pub struct MailerTable {
    raw: Arc<dyn Table>,
}

impl std::fmt::Debug for MailerTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MailerTable")
    }
}

impl MailerTable {
    /// Wraps a table.
    #[must_use]
    pub fn new(raw: Arc<dyn Table>) -> Self {
        Self { raw }
    }

    async fn find(&self, domain: &str) -> Result<Option<Found<Hop>>, Unavailable> {
        if let found @ Some(_) = self.key(domain, "", "").await? {
            return Ok(found);
        }
        let dots = || domain.match_indices('.').map(|(at, _)| at);
        let skip = dots().count().saturating_sub(LABELS);
        for at in dots().skip(skip) {
            let (left, key) = domain.split_at_checked(at).unwrap_or((domain, ""));
            let label = left.rsplit('.').next().unwrap_or_default();
            if let found @ Some(_) = self.key(key, left, label).await? {
                return Ok(found);
            }
        }
        self.key(".", domain, "").await
    }

    /// One key; `rest` is what it does not match, `%1`, and `label` the last label of that, `%2`.
    async fn key(&self, key: &str, rest: &str, label: &str) -> Result<Option<Found<Hop>>, Unavailable> {
        let Some(hit) = ask(&*self.raw, key).await? else { return Ok(None) };
        let hop = read(&fill(&hit, &[key, rest, label])?);
        Ok(hop.map(|value| Found { value, why: hit.why }))
    }
}

/// What a value with its parameters filled in says. `None`: no `mailer:`, which sendmail passes over.
pub(crate) fn read(value: &str) -> Option<Hop> {
    if let Some(rest) = error(value) {
        return Some(Hop::Refuse(error_refusal(rest, Keyword::Colon)));
    }
    let all = tokens(value);
    let colon = all.iter().position(|token| token.is(":"))?;
    let (name, rest) = all.split_at_checked(colon)?;
    let rest = rest.get(1..).unwrap_or_default();
    let name = match name.iter().filter(|token| !matches!(token, Token::Blank | Token::Comment)).collect::<Vec<_>>()[..]
    {
        [Token::Atom(name) | Token::Quoted(name)] => name.to_ascii_lowercase(),
        // sendmail's rule wants one word before the colon, not an address in brackets.
        _ => return None,
    };
    let host = joined(rest);
    let illegal = |what: &str| {
        let text = format!("Cannot mail directly to {what}");
        Hop::Refuse(Refusal { code: 550, status: Status::permanent(7, 1), text, exit: None })
    };
    Some(match name.as_str() {
        "local" => Hop::Local(local_user(rest)),
        // Whatever stands behind it: nothing is asked of a host.
        "discard" => Hop::Discard,
        "prog" => illegal("programs"),
        "*file*" => illegal("files"),
        "*include*" => illegal(":include:s"),
        // Not sendmail's: it has no ports in this table, and needs a mailer definition for a socket.
        "lmtp" => Hop::Lmtp(value.split_once(':').map_or("", |(_, rest)| rest).trim().to_owned()),
        // `smtp:user@host` replaces the whole address, which no hop can say.
        name if SMTP.contains(&name) && !host.contains('@') => match hosts(&host) {
            hosts if hosts.is_empty() => Hop::Unknown(format!("{name}: without a host")),
            hosts => Hop::Smtp { mailer: name.to_owned(), hosts },
        },
        name => Hop::Unknown(format!("{name}:{host}")),
    })
}

/// `local:user@host` means `user`, and so does `local:"user"`; `local:\user` keeps its backslash: no alias is asked about it. `local:` means
/// the address's own.
fn local_user(rest: &[Token<'_>]) -> Option<String> {
    let end = rest.iter().position(|token| token.is("@")).unwrap_or(rest.len());
    let text = joined(rest.get(..end).unwrap_or_default());
    let last = if text.starts_with('\\') { "\\" } else { "" };
    Some(unquoted(&text)).filter(|user| !user.is_empty()).map(|user| format!("{last}{user}"))
}

/// A list of hosts: `[a]:b,[IPv6:::1]`. What is oddly written is taken whole as a name, which DNS will not know, as in sendmail.
pub(crate) fn hosts(text: &str) -> Vec<Host> {
    let (mut found, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let inside = match rest.starts_with('[') {
            true => rest.find(']').unwrap_or(rest.len()),
            false => 0,
        };
        let tail = rest.get(inside..).unwrap_or_default();
        let end = inside + tail.find([':', ',']).unwrap_or(tail.len());
        let (host, next) = rest.split_at_checked(end).unwrap_or((rest, ""));
        rest = next.get(1..).unwrap_or_default();
        if !host.is_empty() {
            found.push(one_host(host));
        }
    }
    found
}

fn one_host(text: &str) -> Host {
    let text = text.to_ascii_lowercase();
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|name| !name.is_empty());
    match inside {
        Some(name) => Host { name: name.to_owned(), mx: false },
        None => Host { name: text.strip_suffix('.').unwrap_or(&text).to_owned(), mx: true },
    }
}

impl Mailers for MailerTable {
    fn hop<'a>(&'a self, name: &'a str) -> Answer<'a, Found<Hop>> {
        Box::pin(async move {
            match domain(name) {
                // A literal goes there and nowhere else.
                Some(name) if !name.starts_with('[') => self.find(name).await,
                _ => Ok(None),
            }
        })
    }
}

#[cfg(test)]
#[path = "mailers_test.rs"]
mod tests;
