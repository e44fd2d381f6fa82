//! The part for programs (RFC 3464 2.2 and 2.3), fields and letter case as sendmail has them.

use super::{Action, Page, Recipient, Report, one_line};

/// The second part with its header, and whether it has addresses beyond ASCII, for which alone there is a type of its own
/// (RFC 6533 4): few readers know it, and one odd byte in a remote reply must not hide the rest from all the others.
pub(super) fn part(report: &Report<'_>) -> (Vec<u8>, bool) {
    let mut fields = Page::default();
    if !report.envid.is_empty() {
        fields.field("Original-Envelope-Id", &report.envid);
    }
    fields.line(&format!("Reporting-MTA: dns; {}", one_line(&report.host)));
    typed(&mut fields, "Received-From-MTA", "DNS", &report.received_from_mta);
    fields.field("Arrival-Date", &report.arrival_date);
    report.recipients.iter().for_each(|r| one(r, &mut fields));

    let mut page = Page::default();
    let foreign = |r: &Recipient| ![&r.final_recipient, &r.actual, &r.orcpt].iter().all(|address| address.is_ascii());
    let international = report.recipients.iter().any(foreign);
    if international {
        page.line("Content-Type: message/global-delivery-status");
    } else {
        page.line("Content-Type: message/delivery-status");
        fields = plain(&fields);
    }
    if !fields.0.is_ascii() {
        page.line("Content-Transfer-Encoding: 8bit");
    }
    page.line("");
    page.0.append(&mut fields.0);
    (page.0, international)
}

/// With `?` for each character beyond ASCII.
fn plain(page: &Page) -> Page {
    let text = String::from_utf8_lossy(&page.0);
    Page(text.chars().map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect())
}

fn typed(page: &mut Page, name: &str, kind: &str, value: &str) {
    if !value.is_empty() {
        page.line(&format!("{name}: {kind}; {}", one_line(value)));
    }
}

/// An address field; what is not ASCII has a type of its own (RFC 6533 3).
fn address(page: &mut Page, name: &str, ascii: &str, address: &str) {
    let address = one_line(address);
    typed(page, name, if address.is_ascii() { ascii } else { "utf-8" }, &address);
}

fn one(recipient: &Recipient, page: &mut Page) {
    page.line("");
    page.field("Original-Recipient", &recipient.orcpt);
    address(page, "Final-Recipient", "RFC822", &recipient.final_recipient);
    address(page, "X-Actual-Recipient", "rfc822", &recipient.actual);
    let action = match recipient.action {
        Action::Failed => "failed",
        Action::Delayed => "delayed",
        Action::Delivered => "delivered (to mailbox)",
        Action::Relayed => "relayed (to non-DSN-aware mailer)",
        Action::Expanded => "expanded (to multi-recipient alias)",
    };
    page.field("Action", action);
    page.field("Status", &recipient.status.to_string());
    typed(page, "Remote-MTA", "DNS", &recipient.remote_mta);
    page.field("Diagnostic-Code", &recipient.diagnostic);
    page.field("Last-Attempt-Date", &recipient.last_attempt);
    page.field("Will-Retry-Until", &recipient.will_retry_until);
}
