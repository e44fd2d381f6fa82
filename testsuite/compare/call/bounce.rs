//! The normal form of bounces. sendmail's submission program hands a message to its daemon by SMTP, and a bounce tells of that: the dialogue
//! with `[127.0.0.1]`, the daemon's word that the message came from `localhost`, addresses in the returned header that
//! the daemon would have completed. There is one server here, and nothing of that to tell (MIGRATION.md says so): it is left out on both sides.

/// Lines about that way.
const WAY: &[&str] = &[
    "... while talking to [127.0.0.1]:",
    ">>> DATA",
    "<<< ",
    "Remote-MTA: DNS; [127.0.0.1]",
    "Received-From-MTA: DNS; localhost",
];
/// The host's name behind an address.
const DOMAIN: &str = "@mx.example.test";

/// Whether this is a bounce, warning or receipt.
pub fn is_report(text: &str) -> bool {
    text.contains("report-type=delivery-status")
}

/// Whether it tells the postmaster of a bounce that nobody could be sent.
pub fn is_postmasters(text: &str) -> bool {
    is_report(text) && text.contains("\nSubject: Postmaster notify: ")
}

/// What a receipt says of each recipient, if it is one: `Final-Recipient: …, Action: …, Status: …`.
pub fn receipt(text: &str) -> Option<Vec<String>> {
    let told = |line: &&str| ["Final-Recipient: ", "Action: ", "Status: "].iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = text.lines().filter(told).collect();
    let only = is_report(text) && text.contains("\nSubject: Return receipt\n");
    only.then(|| lines.chunks(3).map(|of_one| of_one.join(", ")).collect())
}

/// The normal form of one that is in the form of [`crate::normal`].
pub fn text(report: &str) -> String {
    let mut out = String::with_capacity(report.len());
    let mut place = Place::Before;
    for line in report.split_inclusive('\n') {
        place = place.after(line);
        match place {
            Place::Before if WAY.iter().any(|start| line.starts_with(start)) => {}
            Place::Before if line.starts_with("from ") && line.contains("localhost") => out.push_str("from WHERE\n"),
            // As sendmail folds it, after its addresses were or were not completed.
            Place::Returned if line.starts_with("        ") => {
                out.truncate(out.trim_end().len());
                out.push(' ');
                out.push_str(&line.trim_start().replace(DOMAIN, ""));
            }
            Place::Returned => out.push_str(&line.replace(DOMAIN, "")),
            Place::Before | Place::PartHeader | Place::Body => out.push_str(line),
        }
    }
    out
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Before,
    /// The header of the third part.
    PartHeader,
    /// The returned header.
    Returned,
    Body,
}

impl Place {
    fn after(self, line: &str) -> Self {
        let third = ["message/rfc822", "text/rfc822-headers", "message/global", "message/global-headers"];
        match self {
            Self::Before if third.iter().any(|kind| line.starts_with(&format!("Content-Type: {kind}\n"))) => {
                Self::PartHeader
            }
            Self::PartHeader if line == "\n" => Self::Returned,
            Self::Returned if line == "\n" => Self::Body,
            other => other,
        }
    }
}
