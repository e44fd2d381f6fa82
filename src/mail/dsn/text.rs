//! The part for people.

use super::{Action, Kind, Page, Recipient, Report, one_line};

/// The first part with its (usually empty) header.
pub(super) fn part(report: &Report<'_>) -> Vec<u8> {
    let mut page = Page::default();
    page.line("");
    if matches!(report.kind, Kind::Delay { .. }) {
        banner(&mut page);
    }
    page.line(&format!("The original message was received at {}", one_line(&report.arrival_date)));
    page.line(&format!("from {}", one_line(&report.received_from)));
    if report.kind == Kind::Postmaster {
        page.line(&format!("with id {}", one_line(&report.id)));
    }
    section(report, "had permanent fatal errors", &[Action::Failed], &mut page);
    section(report, "had transient non-fatal errors", &[Action::Delayed], &mut page);
    let good = [Action::Delivered, Action::Relayed, Action::Expanded];
    section(report, "had successful delivery notifications", &good, &mut page);
    transcript(report, &mut page);
    if page.0.is_ascii() {
        return page.0;
    }
    let mut labelled = Page::default();
    labelled.line("Content-Type: text/plain; charset=utf-8");
    labelled.line("Content-Transfer-Encoding: 8bit");
    labelled.0.append(&mut page.0);
    labelled.0
}

fn banner(page: &mut Page) {
    for line in [
        "    **********************************************",
        "    **      THIS IS A WARNING MESSAGE ONLY      **",
        "    **  YOU DO NOT NEED TO RESEND YOUR MESSAGE  **",
        "    **********************************************",
        "",
    ] {
        page.line(line);
    }
}

fn section(report: &Report<'_>, title: &str, actions: &[Action], page: &mut Page) {
    let mut listed = report.recipients.iter().filter(|r| actions.contains(&r.action)).peekable();
    if listed.peek().is_some() {
        page.line("");
        page.line(&format!("   ----- The following addresses {title} -----"));
    }
    listed.for_each(|recipient| one(recipient, page));
}

fn one(recipient: &Recipient, page: &mut Page) {
    let how = match recipient.action {
        Action::Failed | Action::Delayed => "",
        Action::Delivered => "  (successfully delivered to mailbox)",
        Action::Relayed => "  (relayed to non-DSN-aware mailer)",
        Action::Expanded => "  (expanded by alias)",
    };
    page.line(&format!("{}{how}", one_line(&recipient.shown)));
    if !recipient.reason.is_empty() {
        page.line(&format!("    (reason: {})", one_line(&recipient.reason)));
    }
    if !recipient.expanded_from.is_empty() {
        page.line(&format!("    (expanded from: {})", one_line(&recipient.expanded_from)));
    }
}

const TALKING: &str = "... while talking to ";

/// Whether a line of the transcript is one of the session, and not our own word about the recipient.
fn is_dialogue(line: &str) -> bool {
    [TALKING, ">>> ", "<<< "].iter().any(|start| line.starts_with(start))
}

fn transcript(report: &Report<'_>, page: &mut Page) {
    let mut lines: Vec<String> = Vec::new();
    let (mut talking_to, mut said) = ("", Vec::new());
    for recipient in &report.recipients {
        let says: Vec<&String> = recipient.transcript.iter().filter(|line| is_dialogue(line)).collect();
        for line in &recipient.transcript {
            // One connection, several recipients: the host is named once. One answer for all, such as that to DATA, is quoted once.
            let known = is_dialogue(line) && (line == talking_to || says == said);
            if line.starts_with(TALKING) {
                talking_to = line;
            }
            if !known {
                lines.push(one_line(line));
            }
        }
        said = says;
    }
    lines.extend(report.notes.iter().map(|line| one_line(line)));
    if let Kind::Delay { past, until } = &report.kind {
        lines.push(format!("Warning: message still undelivered after {}", one_line(past)));
        lines.push(format!("Will keep trying until message is {} old", one_line(until)));
    }
    if lines.is_empty() {
        return;
    }
    page.line("");
    page.line("   ----- Transcript of session follows -----");
    lines.iter().for_each(|line| page.line(line));
}
