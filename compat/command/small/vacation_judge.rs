//! Whether a message gets `vacation`'s reply: read from its From_ line and header (sendmail.md 2.8; RFC 3834 section 2). Sendmail's own
//! looks at Precedence and a few senders' names only; lists, bounces and other programs' replies are recognised here too.

use super::line;
use std::io::{self, BufRead};

/// Longest line that is looked at; of a field with its continuation lines no more is kept.
const LINE: usize = 64 << 10;
/// Lines of a header.
const LINES: usize = 10_000;

/// Senders that are programs, by the part before the `@`.
const PROGRAMS: &[&str] = &[
    "mailer-daemon",
    "mailer",
    "postmaster",
    "uucp",
    "majordomo",
    "listserv",
    "listproc",
    "mailman",
    "noreply",
    "no-reply",
    "donotreply",
    "do-not-reply",
    "bounce",
    "bounces",
];
const BEGINNINGS: &[&str] =
    &["owner-", "bounce-", "bounces-", "bounce+", "bounces+", "noreply-", "no-reply-", "mailer-daemon-"];
const ENDINGS: &[&str] =
    &["-request", "-relay", "-owner", "-bounce", "-bounces", "-outgoing", "-errors", "-noreply", "-no-reply"];

/// What was found out about a message.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Its envelope sender, as the From_ line has it; `None` if there is no such line.
    pub sender: Option<String>,
    /// The user is named in To or Cc.
    pub addressed: bool,
    /// Why it must not be answered.
    pub unwanted: Option<String>,
}

/// Reads the header.
pub(super) fn judge(input: &mut impl BufRead, names: &[&str]) -> io::Result<Judged> {
    let mut judged = Judged::default();
    let mut next = line(input, LINE)?;
    if let Some(rest) = next.as_deref().and_then(|first| first.strip_prefix(b"From ")) {
        judged.sender = Some(sender(&String::from_utf8_lossy(rest)));
        next = line(input, LINE)?;
    }
    let mut field = String::new();
    for _ in 0..LINES {
        let line = match next.take() {
            Some(line) => line,
            None => line(input, LINE)?.unwrap_or_default(),
        };
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches('\r');
        if text.starts_with([' ', '\t']) {
            if field.len() < LINE {
                field.push_str(text);
            }
            continue;
        }
        judged.field(&field, names);
        if text.is_empty() {
            return Ok(judged);
        }
        text.clone_into(&mut field);
    }
    judged.unwanted.get_or_insert_with(|| "a header without end".to_owned());
    Ok(judged)
}

/// The address of a From_ line: up to the first blank outside of quotes.
fn sender(line: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let end = line.find(|c: char| {
        let plain = !std::mem::take(&mut escaped);
        escaped = plain && quoted && c == '\\';
        quoted ^= plain && c == '"';
        c.is_ascii_whitespace() && !quoted
    });
    line.get(..end.unwrap_or(line.len())).unwrap_or_default().to_owned()
}

impl Judged {
    fn field(&mut self, field: &str, names: &[&str]) {
        let Some((name, value)) = field.split_once(':') else { return };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase());
        if matches!(name.as_str(), "to" | "cc") {
            self.addressed |= names.iter().any(|name| mentions(&value, name));
            return;
        }
        let first = value.split([';', ' ', '\t', '(']).next().unwrap_or_default();
        let unwanted = match name.as_str() {
            "precedence" => matches!(first, "bulk" | "junk" | "list"),
            "auto-submitted" => !matches!(first, "no" | ""),
            "return-path" => value == "<>",
            "content-type" => first == "multipart/report",
            "x-auto-response-suppress" => {
                value.split(',').any(|what| matches!(what.trim(), "all" | "oof" | "autoreply"))
            }
            other => other.starts_with("list-"),
        };
        if unwanted && self.unwanted.is_none() {
            self.unwanted = Some(format!("{name}: {value}"));
        }
    }
}

/// Whether the (lower-case) text has the name as a word.
fn mentions(text: &str, name: &str) -> bool {
    let name = name.to_lowercase();
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    !name.is_empty()
        && text.match_indices(&name).any(|(at, found)| {
            let (before, after) = (text.get(..at), text.get(at + found.len()..));
            !is_part(before.and_then(|t| t.chars().next_back())) && !is_part(after.and_then(|t| t.chars().next()))
        })
}

/// Whether nobody reads what is sent to this address, or a list would spread it.
pub(super) fn is_program(address: &str) -> bool {
    let address = address.trim_matches(['<', '>']).to_ascii_lowercase();
    let local = address.rsplit_once('@').map_or(address.as_str(), |(local, _)| local);
    let local = local.rsplit('!').next().unwrap_or(local);
    local.is_empty()
        || PROGRAMS.contains(&local)
        || BEGINNINGS.iter().any(|b| local.starts_with(b))
        || ENDINGS.iter().any(|e| local.ends_with(e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Judged {
        let text = format!("From bob@x.dom Sat Nov 21 20:27:47 2026\n{header}\nTo: alice\nPrecedence: bulk\n");
        judge(&mut text.as_bytes(), &["alice", "al@y.dom"]).unwrap()
    }

    #[test]
    fn who_sent_it() {
        for (line, expected) in [
            ("From bob@x Sat\n", Some("bob@x")),
            ("From \"a \\\" b\"@x Sat\n", Some("\"a \\\" b\"@x")),
            ("From <> Sat\n", Some("<>")),
            ("From  Sat\n", Some("")),
            ("From bob@x", Some("bob@x")),
            ("Subject: x\n", None),
            ("", None),
        ] {
            assert_eq!(judge(&mut line.as_bytes(), &[]).unwrap().sender.as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn whether_it_is_for_the_user() {
        for header in [
            "To: alice\n",
            "To: ALICE@other\n",
            "To: b@x, Alice L <alice@y>\n",
            "cc:\n x,\n\talice+d@x\n",
            "To: x\nTo: (alice) b\n",
            "To: al@Y.dom\n",
            "Cc: alice.b@y\n",
        ] {
            assert!(of(header).addressed, "{header}");
        }
        for header in
            ["To: xalice@y\n", "To: malice\n", "Bcc: alice\n", "Apparently-To: alice\n", "", "X: alice\n", "To: al@z\n"]
        {
            assert!(!of(header).addressed, "{header}");
        }
    }

    #[test]
    fn what_is_never_answered() {
        for header in [
            "Precedence: bulk\n",
            "precedence:JUNK\n",
            "Precedence : list\n",
            "Auto-Submitted: auto-replied; x=y\n",
            "List-Id: x\n",
            "List-Unsubscribe:\n <x>\n",
            "Return-Path: <>\n",
            "Content-Type: multipart/report;\n report-type=delivery-status\n",
            "X-Auto-Response-Suppress: DR, OOF\n",
        ] {
            assert!(of(header).unwanted.is_some(), "{header}");
        }
        for header in [
            "Precedence: first-class\n",
            "Auto-Submitted: no\n",
            "Return-Path: <b@x>\n",
            "Listing: x\n",
            "no field\n",
            "",
        ] {
            assert_eq!(of(header).unwanted, None, "{header}");
        }
    }

    #[test]
    fn a_header_without_end_is_no_letter() {
        assert!(of(&"X: y\n".repeat(LINES)).unwanted.is_some());
    }

    #[test]
    fn senders_that_are_programs() {
        for sender in [
            "",
            "<>",
            "MAILER-DAEMON",
            "Mailer@x",
            "x!uucp",
            "list-REQUEST@x",
            "owner-x@y",
            "x-owner@y",
            "no-reply@x",
            "bounces+1=2@x",
            "@x",
        ] {
            assert!(is_program(sender), "{sender}");
        }
        for sender in ["bob@x", "root@x", "request@x", "ownership@x", "a!b!c", "alice-x@y"] {
            assert!(!is_program(sender), "{sender}");
        }
    }
}
