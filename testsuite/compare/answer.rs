//! Answers in a form that does not depend on who gave them.

use std::collections::BTreeSet;
use std::fmt;
use testsuite::smtp::Reply;

/// What a server said to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Where a recipient goes.
    Route {
        /// `mailer host user` of each.
        targets: BTreeSet<String>,
        /// What is refused of it, in the server's words.
        refused: Vec<String>,
        /// What RCPT says.
        reply: String,
    },
    /// What a client heard at connection, MAIL and RCPT.
    Replies(Vec<String>),
    /// A rewritten address.
    Text(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route { targets, refused, reply } => {
                let all: Vec<String> =
                    targets.iter().cloned().chain(refused.iter().map(|r| format!("refused: {r}"))).collect();
                write!(f, "{} [{reply}]", all.join("; "))
            }
            Self::Replies(replies) => f.write_str(&replies.join(" | ")),
            Self::Text(text) => f.write_str(text),
        }
    }
}

/// A reply as `code status text`, addresses in it left out: servers repeat them in different spellings.
pub fn said(reply: &Reply) -> String {
    let line = reply.lines.last().map_or("", String::as_str);
    let rest = line.get(4..).unwrap_or("");
    let (status, text) = match rest.split_once(' ') {
        Some((first, text))
            if first.matches('.').count() == 2 && first.bytes().all(|b| b.is_ascii_digit() || b == b'.') =>
        {
            (first, text)
        }
        _ => ("-", rest),
    };
    let text = text.rsplit_once("... ").map_or(text, |x| x.1);
    if reply.code < 400 { format!("{}", reply.code) } else { format!("{} {status} {text}", reply.code) }
}

/// `mailer host user`, without the trailing dots of sendmail's canonical form.
pub fn target(mailer: &str, host: &str, user: &str) -> String {
    let host: Vec<&str> = host.split(':').map(|h| h.strip_suffix('.').unwrap_or(h)).collect();
    // `\\user` is only sendmail's way to remember that there is no further alias.
    let user = if mailer == "local" { user.trim_start_matches('\\') } else { user };
    let host = if mailer == "local" { String::new() } else { host.join(":").to_ascii_lowercase() };
    let user = match user.rsplit_once('@') {
        // The dot of the canonical form: a domain's, never a local part's.
        Some((left, domain)) => {
            let domain = domain.strip_suffix('.').unwrap_or(domain);
            format!("{left}@{}", domain.to_ascii_lowercase())
        }
        None => user.to_owned(),
    };
    format!("{mailer} {host} {user}")
}

impl Answer {
    /// From the output of `sendmail -bv` and its `rc=`.
    pub fn verified(output: &str, reply: String) -> Self {
        let (mut targets, mut refused) = (BTreeSet::new(), Vec::new());
        for line in output.lines().filter(|l| !l.starts_with("rc=")) {
            match line.rsplit_once("... deliverable: mailer ") {
                Some((_, rest)) => {
                    let (mailer, rest) = rest.split_once(", ").unwrap_or((rest, ""));
                    let (host, user) = match rest.strip_prefix("host ").and_then(|r| r.split_once(", user ")) {
                        Some((host, user)) => (host, user),
                        None => ("", rest.strip_prefix("user ").unwrap_or(rest)),
                    };
                    // A 4xx error of a table is printed as if it were a mailer; the next line is the refusal.
                    if mailer != "*error*" {
                        targets.insert(target(mailer, host, user));
                    }
                }
                None => refused.push(line.rsplit_once("... ").map_or(line, |x| x.1).to_owned()),
            }
        }
        Self::Route { targets, refused, reply }
    }
}
