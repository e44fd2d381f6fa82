//! The header fields that local delivery puts before a message. Chosen by the administrator; used by `batch`.

use crate::line;
use crate::outcome::Fate;
use mail::{Address, Status};
use queue::{Content, Recipient};
use route::Key;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::os::unix::fs::FileExt;

/// So much of a message is looked at for its header, bytes.
const HEADER: usize = 64 << 10;

/// Which fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// `Return-Path: <sender>`.
    pub return_path: bool,
    /// `X-Original-To:`, the address as it was given, before any alias.
    pub original_to: bool,
    /// `Delivered-To:`, the address that it became, with this host's name if it has none. A message that has it already goes in a circle.
    pub delivered_to: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self { return_path: true, original_to: false, delivered_to: false }
    }
}

impl Fields {
    /// Their text, each ending in CRLF. Return-Path as sendmail writes it at local delivery: `<MAILER-DAEMON>` for the null sender
    /// (sendmail.md 5.2).
    pub(crate) fn text(self, sender: &Address, recipient: &Recipient, host: &str) -> String {
        let mut text = String::new();
        let mut field = |name: &str, value: &str| {
            // Addresses are parsed before they get here; a field is one line whatever they hold.
            let value = value.chars().filter(|c| !c.is_control());
            text.extend(name.chars().chain(": ".chars()).chain(value).chain("\r\n".chars()));
        };
        if self.return_path {
            let sender = if sender.is_null() { "MAILER-DAEMON" } else { sender.as_str() };
            field("Return-Path", &format!("<{sender}>"));
        }
        if self.original_to {
            field("X-Original-To", line::bare(&recipient.given));
        }
        if self.delivered_to {
            field("Delivered-To", &delivered_to(recipient, host));
        }
        text
    }

    /// What it gets when this user's `.forward` sends it to another host: should it come back to him, it is known.
    pub(crate) fn forwarded(self, recipient: &Recipient, host: &str) -> Option<String> {
        let from_here = matches!(Key::parse(&recipient.route), Some(Key::Local { .. }));
        let only = Self { return_path: false, original_to: false, ..self };
        (from_here && self.delivered_to).then(|| only.text(&Address::null(), recipient, host))
    }

    /// Why the message must not be delivered: it was, to the same recipient.
    pub(crate) fn loops(self, content: &Content, recipient: &Recipient, host: &str) -> Option<Fate> {
        let to = delivered_to(recipient, host);
        (self.delivered_to && names(&header(content), &to))
            .then(|| Fate::local(Status::permanent(4, 6), &format!("mail forwarding loop for {to}")))
    }
}

/// Whom it is delivered to. A program or file is nobody: the address that led to it.
fn delivered_to(recipient: &Recipient, host: &str) -> String {
    let given = match Key::parse(&recipient.route) {
        Some(Key::Program(_) | Key::File(_)) => Address::parse(line::bare(&recipient.given)).ok(),
        _ => None,
    };
    let address = given.as_ref().unwrap_or(&recipient.address);
    if address.domain().is_some() { address.to_string() } else { address.at_domain(host).to_string() }
}

/// The beginning of a message; one that cannot be read will be told by whoever reads it whole.
fn header(content: &Content) -> Cow<'_, [u8]> {
    match content {
        Content::Memory(bytes) => Cow::Borrowed(bytes.get(..HEADER).unwrap_or(bytes)),
        Content::File { file, .. } => {
            let mut text = vec![0; HEADER];
            let got = file.read_at(&mut text, 0).unwrap_or(0);
            text.truncate(got);
            Cow::Owned(text)
        }
    }
}

fn names(header: &[u8], to: &str) -> bool {
    mail::header::fields(header).filter(|field| field.is("Delivered-To")).any(|field| {
        let body = header.get(field.body).unwrap_or_default();
        body.trim_ascii().eq_ignore_ascii_case(to.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_chosen_one_line_each() {
        let recipient = Recipient::new("<team@x>", Address::parse("alice@x").unwrap(), "local:alice");
        assert_eq!(Fields::default().text(&Address::null(), &recipient, "h"), "Return-Path: <MAILER-DAEMON>\r\n");
        let sender = Address::from_parts("a\r\nX: y", Some("b"));
        let all = Fields { return_path: true, original_to: true, delivered_to: true };
        assert_eq!(
            all.text(&sender, &recipient, "h"),
            "Return-Path: <aX: y@b>\r\nX-Original-To: team@x\r\nDelivered-To: alice@x\r\n"
        );
    }

    #[test]
    fn who_has_it_already_is_known_by_his_own_field() {
        let delivered_to = Fields { delivered_to: true, ..Fields::default() };
        let to =
            |given: &str, address: &str, route: &str| Recipient::new(given, Address::parse(address).unwrap(), route);
        let alice = to("<team@x>", "alice", "local:alice");
        let program = to("<Team@x>", "\"|cat\"", "prog::1:/etc/aliases");
        let loops = |fields: Fields, text: &str, recipient: &Recipient| {
            let content = Content::Memory(text.to_owned().into());
            fields.loops(&content, recipient, "mx.example").map(|fate| (fate.status, fate.stat))
        };
        let mine = "A: b\r\nDelivered-To: bob@x\r\ndelivered-to:  Alice@MX.example \r\n\r\n";
        let told = (Status::permanent(4, 6), "mail forwarding loop for alice@mx.example".to_owned());
        assert_eq!(loops(delivered_to, mine, &alice), Some(told));
        assert_eq!(loops(Fields::default(), mine, &alice), None);
        assert_eq!(loops(delivered_to, "A: b\r\n\r\nDelivered-To: alice@mx.example\r\n", &alice), None, "in the body");
        assert_eq!(loops(delivered_to, "Delivered-To: alice\r\n\r\n", &alice), None, "another host's alice");
        assert!(loops(delivered_to, "Delivered-To: team@x\r\n\r\n", &program).is_some());
    }
}
