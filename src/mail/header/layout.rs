//! Address fields of local submissions, written as sendmail writes them (sendmail.md 1.9): with a domain at every address, `, ` between
//! the elements, and a new line of eight blanks where a line would have more than 78 columns. Called by `receive` when it puts a
//! submission's header together; what comes by SMTP is passed on as it is.

use super::fields;
use crate::address::Address;
use crate::list::{Listed, addresses, elements};
use std::ops::Range;

/// Fields whose addresses sendmail qualifies; also with `Resent-` before the first six.
const QUALIFIED: [&str; 8] = ["From", "Sender", "Reply-To", "To", "Cc", "Bcc", "Apparently-To", "Errors-To"];
/// Most columns of a line that holds more than one element.
const COLUMNS: usize = 78;
/// What a line begins with that is not a field's first.
const INDENT: &[u8] = b"        ";

fn is_qualified(name: &[u8]) -> bool {
    let plain = match name.get(..7) {
        Some(prefix) if prefix.eq_ignore_ascii_case(b"resent-") => name.get(7..).unwrap_or_default(),
        _ => name,
    };
    let resent = plain.len() != name.len();
    let count = if resent { 6 } else { QUALIFIED.len() };
    QUALIFIED.iter().take(count).any(|known| known.as_bytes().eq_ignore_ascii_case(plain))
}

/// Adds `@host` to every address without a domain and lays the fields that hold addresses out anew. `header` may be a whole message.
#[must_use]
pub fn qualify(header: &[u8], host: &str) -> Vec<u8> {
    rewrite(header, Some(host))
}

/// Only lays the fields that hold addresses out anew: a message that has not met a server yet.
#[must_use]
pub fn lay_out(header: &[u8]) -> Vec<u8> {
    rewrite(header, None)
}

fn rewrite(header: &[u8], host: Option<&str>) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len() + 64);
    let mut copied = 0;
    for field in fields(header).filter(|field| is_qualified(field.name)) {
        let Some(body) = header.get(field.body.clone()) else {
            continue;
        };
        let listed = addresses(body);
        let Some(elements) = elements(body) else {
            // Something has no end: only the domains are added.
            let end = field.body.end;
            out.extend_from_slice(header.get(copied..field.body.start).unwrap_or_default());
            copy(body, 0..body.len(), &listed, host, &mut out);
            copied = end;
            continue;
        };
        if elements.is_empty() {
            continue;
        }
        out.extend_from_slice(header.get(copied..field.body.start).unwrap_or_default());
        let column = field.body.start - field.raw.start;
        put(body, &apart(body, elements, &listed), &listed, host, column, &mut out);
        copied = field.body.end;
    }
    out.extend_from_slice(header.get(copied..).unwrap_or_default());
    out
}

/// `To: bob carol`, the old style, is two elements: other readers would see one broken address.
fn apart(body: &[u8], elements: Vec<Range<usize>>, listed: &[Listed]) -> Vec<Range<usize>> {
    let mut out = Vec::with_capacity(elements.len());
    let mut listed = listed.iter().peekable();
    for element in elements {
        let mut start = element.start;
        let mut last: Option<usize> = None;
        while let Some(one) = listed.next_if(|one| one.span.start < element.end) {
            let gap = last.and_then(|last| body.get(last..one.span.start));
            if let (Some(end), Some(gap)) = (last, gap)
                && gap.iter().all(u8::is_ascii_whitespace)
            {
                out.push(start..end);
                start = one.span.start;
            }
            last = Some(one.span.end);
        }
        out.push(start..element.end);
    }
    out
}

fn put(
    body: &[u8],
    elements: &[Range<usize>],
    listed: &[Listed],
    host: Option<&str>,
    column: usize,
    out: &mut Vec<u8>,
) {
    let lead = body.get(..elements.first().map_or(0, |first| first.start)).unwrap_or_default();
    let lead = if lead.contains(&b'\n') { b" " } else { lead };
    out.extend_from_slice(lead);
    let mut column = column + lead.len();
    let mut rest = listed;
    let mut text = Vec::new();
    for (number, element) in elements.iter().enumerate() {
        let of_element = rest.partition_point(|one| one.span.start < element.end);
        let (mine, others) = rest.split_at(of_element);
        rest = others;
        text.clear();
        copy(body, element.clone(), mine, host, &mut text);
        // A line break inside is a blank.
        text.retain(|&b| b != b'\r');
        text.iter_mut().filter(|b| **b == b'\n').for_each(|b| *b = b' ');
        column += text.len();
        if number > 0 {
            column += 2;
            if column > COLUMNS {
                out.extend_from_slice(b",\r\n");
                out.extend_from_slice(INDENT);
                column = INDENT.len() + text.len();
            } else {
                out.extend_from_slice(b", ");
            }
        }
        out.extend_from_slice(&text);
    }
}

/// Copies a piece of a body, with `@host` behind its addresses that have no domain.
fn copy(body: &[u8], piece: Range<usize>, listed: &[Listed], host: Option<&str>, out: &mut Vec<u8>) {
    let mut copied = piece.start;
    for one in listed.iter().filter(|one| one.address.as_ref().is_ok_and(is_bare)) {
        out.extend_from_slice(body.get(copied..one.span.end).unwrap_or_default());
        if let Some(host) = host {
            out.push(b'@');
            out.extend_from_slice(host.as_bytes());
        }
        copied = one.span.end;
    }
    out.extend_from_slice(body.get(copied..piece.end).unwrap_or_default());
}

/// Whether only a domain is missing; `host!user` has one.
fn is_bare(address: &Address) -> bool {
    let bang = address.local().split_once('!').is_some_and(|(host, _)| host.contains('.'));
    address.domain().is_none() && (!bang || address.local().starts_with('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn qualified(header: &str) -> String {
        String::from_utf8(qualify(header.as_bytes(), "mx.example")).unwrap()
    }

    #[test]
    fn bare_addresses_get_the_hosts_name() {
        assert_eq!(
            qualified(
                "Subject: bob\r\nFrom: \"A, B\" <root>\r\nTo: bob (x, y), c@d,\r\n\tgroup: e, f@g;\r\n\r\nTo: body\r\n"
            ),
            "Subject: bob\r\nFrom: \"A, B\" <root@mx.example>\r\nTo: bob@mx.example (x, y), c@d, group: e@mx.example, f@g;\r\n\r\nTo: body\r\n"
        );
        assert_eq!(
            qualified("resent-to: bob\nERRORS-TO: x\nX-To: y\nResent-Errors-To: z\n"),
            "resent-to: bob@mx.example\nERRORS-TO: x@mx.example\nX-To: y\nResent-Errors-To: z\n"
        );
        for same in [
            "To: far.example!joe\r\n",
            "To: undisclosed-recipients:;\r\n",
            "From: <>\r\n",
            "To: a@\r\nCc: \"unterminated, x@y\r\n",
            "To:a@b\r\n",
            "To:\r\nCc: \r\n",
            "To: <@a,@b:c@d>\r\n",
            "",
        ] {
            assert_eq!(qualified(same), same);
        }
        assert_eq!(qualified("To: bob, \"unterminated, x\n"), "To: bob@mx.example, \"unterminated, x\n");
    }

    #[test]
    fn the_old_style_with_blanks_becomes_a_list() {
        assert_eq!(qualified("To: bob carol dave@x\n"), "To: bob@mx.example, carol@mx.example, dave@x\n");
    }

    #[test]
    fn lists_are_laid_out_anew() {
        assert_eq!(qualified("To: a@b,c@d ,\r\n e@f,\r\n"), "To: a@b, c@d, e@f\r\n");
        assert_eq!(qualified("To:\r\n a@b\r\n"), "To: a@b\r\n");
        assert_eq!(lay_out(b"To: a,b\r\n"), b"To: a, b\r\n");
        assert_eq!(qualified("To: Some\r\n\tBody <a@b>\r\n"), "To: Some \tBody <a@b>\r\n");
        let long = "To: alice@mx.example.test,bob@mx.example.test,carol@mx.example.test,dave@mx.example.test\r\n";
        assert_eq!(
            qualified(long),
            "To: alice@mx.example.test, bob@mx.example.test, carol@mx.example.test,\r\n        dave@mx.example.test\r\n"
        );
    }

    #[test]
    fn the_people_stay_the_same() {
        for body in [
            "a@b,c (x,y),\"d, e\" <f@g>,h: i, j;, <@k,@l:m@n>",
            "bob;",
            "bob;carol",
            "a: b; c@d",
            "x <y>, <z>; <w>",
            "a b, c d",
            "(only)",
            "a@b (unterminated",
        ] {
            let header = qualified(&format!("To: {body}\r\n"));
            let names = |text: &[u8]| -> Vec<String> {
                let name = |listed: Listed| match listed.address {
                    Ok(address) => address.local().to_owned(),
                    Err(text) => text,
                };
                addresses(text).into_iter().map(name).collect()
            };
            let (before, after) = (names(body.as_bytes()), names(&header.as_bytes()[3..header.len() - 2]));
            assert_eq!(before, after, "{header}");
        }
    }
}
