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

/// What sendmail takes off every message on its way (sendmail.md 1.9).
const DROPPED: [&str; 3] = ["Return-Path", "Content-Length", "Full-Name"];
/// Who is in them gets the mail, and the others are not told.
const HIDDEN: [&str; 2] = ["Bcc", "Resent-Bcc"];
/// With one of them, even an empty one, a message needs no Bcc to be whole (RFC 822 4.1).
const VISIBLE: [&str; 3] = ["To", "Cc", "Apparently-To"];

/// The header as it is passed on: without Return-Path, Content-Length and Full-Name; Bcc and Resent-Bcc go, or stay emptied where no
/// To, Cc or Apparently-To is (sendmail.md 1.7; measured on 8.17.1.9).
#[must_use]
pub fn passed_on(header: &[u8]) -> Vec<u8> {
    let is = |field: &super::Field<'_>, names: &[&str]| names.iter().any(|name| field.is(name));
    let visible = fields(header).any(|field| is(&field, &VISIBLE));
    let mut out = Vec::with_capacity(header.len());
    let mut copied = 0;
    for field in fields(header) {
        let hidden = is(&field, &HIDDEN);
        if !hidden && !is(&field, &DROPPED) {
            continue;
        }
        out.extend_from_slice(header.get(copied..field.raw.start).unwrap_or_default());
        if hidden && !visible {
            out.extend_from_slice(field.name);
            out.push(b':');
            // Only the line end, if there is one.
            out.extend_from_slice(header.get(field.body.end..field.raw.end).unwrap_or_default());
        }
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
    fn nobody_is_told_of_hidden_recipients() {
        for (header, passed) in [
            ("A: 1\r\nTo: a\r\nBcc: b,\r\n\tc\r\nBCC : d\r\nB: 2\r\n", "A: 1\r\nTo: a\r\nB: 2\r\n"),
            ("Bcc: b,\r\n\tc\r\nbcc : d\r\nB: 2\r\n", "Bcc:\r\nbcc:\r\nB: 2\r\n"),
            ("To:\r\nBcc: b\r\n", "To:\r\n"),
            ("Bcc: b\r\nApparently-To: x\r\n", "Apparently-To: x\r\n"),
            ("Resent-To: x\r\nBcc: b\r\n", "Resent-To: x\r\nBcc:\r\n"),
            ("Resent-Cc: x\r\nResent-Bcc: b\r\n b\r\n", "Resent-Cc: x\r\nResent-Bcc:\r\n"),
            ("Resent-Cc: x\r\nCc: y\r\nResent-Bcc: b\r\n", "Resent-Cc: x\r\nCc: y\r\n"),
            ("Return-path :\r\n\t<r>\r\nX: y\r\nFull-Name: z\r\nContent-Length: 7\r\n", "X: y\r\n"),
            ("X: y\r\n bcc: z\r\nX-Bcc: b\r\n", "X: y\r\n bcc: z\r\nX-Bcc: b\r\n"),
            ("Bcc: b", "Bcc:"),
            ("To: a\nBcc: b\n\nBcc: body\n", "To: a\n\nBcc: body\n"),
        ] {
            assert_eq!(String::from_utf8(passed_on(header.as_bytes())).unwrap(), passed, "{header:?}");
        }
    }

    #[test]
    fn fields_are_removed_whole() {
        assert_eq!(
            remove(b"A: 1\r\nBcc: x,\r\n y\r\nB: 2\r\nbcc : z\r\n\r\nBcc: body", &["Bcc", "Return-Path"]),
            b"A: 1\r\nB: 2\r\n\r\nBcc: body"
        );
    }
}
