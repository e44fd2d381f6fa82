//! Edits of a header that keep every byte they are not about.

use super::fields;
use crate::address::Address;
use crate::list::addresses;

/// The header without the fields of these names.
#[must_use]
pub fn remove(header: &[u8], names: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len());
    let mut copied = 0;
    for field in fields(header).filter(|field| names.iter().any(|name| field.is(name))) {
        out.extend_from_slice(header.get(copied..field.raw.start).unwrap_or_default());
        copied = field.raw.end;
    }
    out.extend_from_slice(header.get(copied..).unwrap_or_default());
    out
}

/// Whom a field's addresses name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Who sent it, and who is to be answered.
    Sender,
    /// Who gets it.
    Recipient,
}

/// Fields whose addresses are rewritten as senders and as recipients, also with `Resent-`.
const SENDERS: [&str; 5] = ["From", "Sender", "Reply-To", "Errors-To", "Disposition-Notification-To"];
const RECIPIENTS: [&str; 4] = ["To", "Cc", "Bcc", "Apparently-To"];

fn role(name: &[u8]) -> Option<Role> {
    let plain = match name.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"resent-") => name.get(7..).unwrap_or_default(),
        _ => name,
    };
    let is = |known: &&str| known.as_bytes().eq_ignore_ascii_case(plain);
    if SENDERS.iter().any(is) { Some(Role::Sender) } else { RECIPIENTS.iter().any(is).then_some(Role::Recipient) }
}

/// The addresses of a header's senders and recipients, in order, at most `limit` of them.
#[must_use]
pub fn parties(header: &[u8], limit: usize) -> Vec<(Role, Address)> {
    let of_field = |field: super::Field<'_>| {
        let role = role(field.name)?;
        let body = header.get(field.body)?;
        Some(addresses(body).into_iter().filter_map(move |listed| Some((role, listed.address.ok()?))))
    };
    fields(header).filter_map(of_field).flatten().take(limit).collect()
}

/// The header with the addresses that `new` names in place of theirs; names and comments stay.
#[must_use]
pub fn readdress(header: &[u8], new: impl Fn(Role, &Address) -> Option<Address>) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len() + 64);
    let mut copied = 0;
    for field in fields(header) {
        let Some((role, body)) = role(field.name).zip(header.get(field.body.clone())) else { continue };
        for listed in addresses(body) {
            let Some(new) = listed.address.ok().and_then(|address| new(role, &address)) else { continue };
            let (start, end) = (field.body.start + listed.span.start, field.body.start + listed.span.end);
            out.extend_from_slice(header.get(copied..start).unwrap_or_default());
            out.extend_from_slice(new.as_str().as_bytes());
            copied = end;
        }
    }
    out.extend_from_slice(header.get(copied..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_where_they_stand() {
        let header = b"From: \"A, B\" <a@in.example> (c@in.example)\r\nTo: a@in.example,\r\n\tg: b@in.example;\r\nResent-Sender: a@in.example\r\nSubject: a@in.example\r\n";
        let listed: Vec<String> = parties(header, 10).iter().map(|(role, a)| format!("{role:?} {a}")).collect();
        assert_eq!(
            listed,
            ["Sender a@in.example", "Recipient a@in.example", "Recipient b@in.example", "Sender a@in.example"]
        );
        assert_eq!(parties(header, 2).len(), 2);
        let new = |role, address: &Address| (role == Role::Sender).then(|| address.at_domain("out.example"));
        assert_eq!(
            String::from_utf8(readdress(header, new)).unwrap(),
            "From: \"A, B\" <a@out.example> (c@in.example)\r\nTo: a@in.example,\r\n\tg: b@in.example;\r\nResent-Sender: a@out.example\r\nSubject: a@in.example\r\n"
        );
    }

    #[test]
    fn fields_are_removed_whole() {
        assert_eq!(
            remove(b"A: 1\r\nBcc: x,\r\n y\r\nB: 2\r\nbcc : z\r\n\r\nBcc: body", &["Bcc", "Return-Path"]),
            b"A: 1\r\nB: 2\r\n\r\nBcc: body"
        );
    }
}
