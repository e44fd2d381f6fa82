//! The header fields that local delivery puts before a message. Chosen by the administrator; used by `batch`.

use crate::line;
use mail::Address;
use queue::Recipient;
use serde::{Deserialize, Serialize};

/// Which fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fields {
    /// `Return-Path: <sender>`.
    pub return_path: bool,
    /// `X-Original-To:`, the address as it was given, before any alias.
    pub original_to: bool,
    /// `Delivered-To:`, the address that it became.
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
    pub(crate) fn text(self, sender: &Address, recipient: &Recipient) -> String {
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
            field("Delivered-To", recipient.address.as_str());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_chosen_one_line_each() {
        let recipient = Recipient::new("<team@x>", Address::parse("alice@x").unwrap(), "local:alice");
        assert_eq!(Fields::default().text(&Address::null(), &recipient), "Return-Path: <MAILER-DAEMON>\r\n");
        let sender = Address::from_parts("a\r\nX: y", Some("b"));
        let all = Fields { return_path: true, original_to: true, delivered_to: true };
        assert_eq!(
            all.text(&sender, &recipient),
            "Return-Path: <aX: y@b>\r\nX-Original-To: team@x\r\nDelivered-To: alice@x\r\n"
        );
    }
}
