//! The envelope of a submission: who calls, who sends, where each recipient goes, and the header lines that the caller put before the
//! content. Called by `submission` and `dropped`.

use crate::Receive;
use crate::accept::{Draft, Taken};
use call::submit::{Answer, Errors, Refused, Submission};
use mail::log::{Event, Outcome};
use mail::{Address, Status};
use queue::{Notify, Ret};
use route::{Key, Router, Target, Verdict};

/// Most final recipients of one message: its envelope has to fit into a segment.
const EXPANDED: usize = 100_000;
/// Characters of a sender in a warning.
const NAME_LIMIT: usize = 256;
/// Length of the header lines that a caller may have put before the content.
const FIELDS: usize = 64 << 10;
/// What is put before the content unread: whole header lines, and not many.
pub(crate) fn are_fields(lines: &str) -> bool {
    let is_line = |line: &str| !line.is_empty() && !line.contains(['\0', '\r', '\n']);
    lines.len() <= FIELDS
        && (lines.is_empty() || lines.strip_suffix("\r\n").is_some_and(|all| all.split("\r\n").all(is_line)))
}

/// `X-Authentication-Warning` (sendmail.md 1.9): the caller's program says why, but one of his own may keep silent about a sender who is
/// somebody else.
pub(crate) fn warnings(router: &Router, submission: &Submission, user: &str, uid: u32) -> String {
    let own = match Address::parse(&submission.sender) {
        Ok(sender) => sender.user() == user && (sender.domain().is_none() || router.local(&sender).is_some()),
        Err(_) => false,
    };
    // sendmail's own `T` lines, and those that are configured.
    if uid == 0 || matches!(user, "root" | "daemon" | "uucp") || router.trusts_user(user) {
        String::new()
    } else if own || !submission.warnings.is_empty() {
        submission.warnings.clone()
    } else {
        let sender = if submission.sender.is_empty() { "<>" } else { &submission.sender };
        let shown: String = sender.chars().map(|c| if c.is_control() { ' ' } else { c }).take(NAME_LIMIT).collect();
        format!("X-Authentication-Warning: {{host}}: {user} set sender to {shown} using -f\r\n")
    }
}

/// The caller's login name: the one it gave if that account has its uid, else the number.
pub(crate) async fn user_name(receive: &Receive, claimed: &str, uid: u32) -> String {
    match receive.accounts.find(claimed).await {
        Ok(Some(account)) if account.uid == uid => account.name,
        _ => format!("uid{uid}"),
    }
}

/// The recipients that are refused now.
pub(crate) async fn refused(receive: &Receive, submission: &Submission) -> Result<Vec<String>, Answer> {
    let submission = Submission { errors: Errors::Report, ..submission.clone() };
    let (_, refused) = envelope(receive, &submission).await?;
    Ok(refused.into_iter().map(|refused| refused.address).collect())
}

/// Sender and recipients, expanded. An account database that cannot be asked means: not now.
pub(crate) async fn envelope(receive: &Receive, submission: &Submission) -> Result<(Draft, Vec<Refused>), Answer> {
    let sender = match submission.sender.as_str() {
        "" => Address::null(),
        text => Address::parse(text).map_err(|e| Answer::Never(64, format!("553 5.1.7 {text}... {e}")))?,
    };
    let current = receive.current();
    let sender = crate::rewrite::sender(&current.router, &sender).await.map_err(|e| Answer::Later(e.to_string()))?;
    let ret = submission.return_headers.map(|headers| if headers { Ret::Headers } else { Ret::Full });
    let given = submission.sender.clone();
    let mut draft = Draft::local(sender, given, submission.envelope_id.clone(), ret, submission.eight_bit);
    let mut refused = Vec::new();
    for (number, recipient) in submission.recipients.iter().enumerate() {
        if number % 16 == 15 {
            // A hundred thousand of them, answered from memory, would hold the thread while others wait.
            tokio::task::yield_now().await;
        }
        let targets = match expand(receive, &recipient.address).await {
            Verdict::Targets(targets) => targets,
            Verdict::Unavailable { text } => return Err(Answer::Later(text)),
            Verdict::Refused { status, text, why, exit, .. } => {
                log_refused(receive, &format!("{}... {text}", recipient.address), &why);
                let (address, exit) = (recipient.address.clone(), exit.unwrap_or_else(|| exit_code(status)));
                refused.push(Refused { address, exit, text: text.clone() });
                if submission.errors == Errors::Report {
                    continue;
                }
                vec![bounced(&recipient.address, status, text, why)]
            }
        };
        let (given, notify) = (recipient.address.clone(), notify(recipient.notify));
        draft.add(Taken { given, orcpt: recipient.orcpt.clone(), notify, targets });
        if draft.expanded() > EXPANDED {
            return Err(Answer::Never(69, format!("452 4.5.3 Too many recipients ({EXPANDED} max after aliasing)")));
        }
    }
    Ok((draft, refused))
}

/// Of what sendmail's server says of a recipient in these words, readers of its log know two ("User unknown", "Hostname required").
fn log_refused(receive: &Receive, text: &str, why: &table::Why) {
    let ours = !["User unknown", "Hostname required"].iter().any(|known| text.ends_with(known));
    let (text, why) = (text.to_owned(), why.to_string());
    receive.log.write(&Event::Decision { id: None, outcome: Outcome::Rejected, text, why, ours });
}

/// Where a recipient goes; what is no address at all is refused like an unknown one.
async fn expand(receive: &Receive, text: &str) -> Verdict {
    match Address::parse(text) {
        Ok(address) if !address.is_null() && direct(text).is_none() => receive.current().router.expand(&address).await,
        _ => {
            let (code, status, said) = wrong(text);
            let why = table::Why { source: "submission".into(), line: 0, key: text.to_owned() };
            let exit = (code == 550).then_some(67);
            Verdict::Refused { code, status, text: said.into(), why, exit }
        }
    }
}

/// Programs, files and lists come from tables only.
fn direct(text: &str) -> Option<&'static str> {
    match text.get(..9) {
        Some(start) if start.eq_ignore_ascii_case(":include:") => Some("Cannot mail directly to :include:s"),
        _ if text.trim_start_matches('"').starts_with('|') => Some("Cannot mail directly to programs"),
        _ if text.starts_with('/') && !text.contains('@') => Some("Cannot mail directly to files"),
        _ => None,
    }
}

/// What sendmail says of a text that is no address, or none that may be used: reply code, status, text.
fn wrong(text: &str) -> (u16, Status, &'static str) {
    if let Some(why) = direct(text) {
        return (550, Status::permanent(7, 1), why);
    }
    if let Some(why) = mail::list::unbalanced(text) {
        return (553, Status::permanent(1, 3), why);
    }
    match text {
        _ if text.contains(';') || matches!(text, "" | "<>") => (550, Status::permanent(1, 1), "User unknown"),
        _ if text.contains("..") => (553, Status::permanent(1, 2), "Invalid host name"),
        _ if text.contains("@@") => (553, Status::permanent(1, 3), "Invalid route address"),
        _ if text.ends_with('@') => (553, Status::permanent(1, 3), "Hostname required"),
        _ => (553, Status::permanent(1, 3), "User address required"),
    }
}

/// A recipient that only exists to be bounced.
pub(crate) fn bounced(text: &str, status: Status, reason: String, why: table::Why) -> Target {
    // What is no address is shown as a quoted local part.
    let address = Address::parse(text).unwrap_or_else(|_| Address::from_parts(&crate::accept::header_safe(text), None));
    Target {
        address,
        key: Key::Error { status, text: reason },
        controlling: String::new(),
        owner: None,
        why,
        asked: text.to_owned(),
        written: String::new(),
    }
}

/// The bits of `call::submit::Recipient::notify`.
pub(crate) fn notify(bits: u8) -> Notify {
    Notify { never: bits & 1 != 0, success: bits & 2 != 0, failure: bits & 4 != 0, delay: bits & 8 != 0 }
}

/// sysexits(3) code of a refusal.
fn exit_code(status: Status) -> u8 {
    match (status.subject, status.detail) {
        (1, 1) => 67,      // EX_NOUSER
        (1, 2 | 10) => 68, // EX_NOHOST
        (1, 3) => 64,      // EX_USAGE
        _ => 69,           // EX_UNAVAILABLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use route::Tables;

    fn submission(sender: &str, warnings: &str) -> Submission {
        Submission {
            version: call::submit::VERSION,
            id: [0; 16],
            user: "alice".into(),
            sender: sender.into(),
            recipients: Vec::new(),
            cut: false,
            received: call::submit::Received::default(),
            generated: String::new(),
            message_id: false,
            resent_message_id: false,
            warnings: warnings.into(),
            eight_bit: false,
            return_headers: None,
            envelope_id: String::new(),
            hops: 0,
            mode: call::submit::Mode::Background,
            errors: Errors::Report,
        }
    }

    #[test]
    fn a_caller_who_keeps_silent_about_its_sender_is_told_of_all_the_same() {
        let settings = route::Settings {
            host: "mx.test".into(),
            trusted_users: vec!["list".into()],
            ..route::Settings::default()
        };
        let router = Router::new(settings, Tables::default());
        let line = |sender: &str| {
            format!("X-Authentication-Warning: {host}: alice set sender to {sender} using -f\r\n", host = "{host}")
        };
        for (sender, said) in [
            ("alice", String::new()),
            ("alice@mx.test", String::new()),
            ("bob", line("bob")),
            ("alice@far.test", line("alice@far.test")),
            ("Alice", line("Alice")),
            ("", line("<>")),
            ("a\r\nb", line("a  b")),
        ] {
            assert_eq!(warnings(&router, &submission(sender, ""), "alice", 7), said, "{sender:?}");
            for (user, uid) in [("root", 0), ("toor", 0), ("uucp", 10), ("list", 38)] {
                assert_eq!(warnings(&router, &submission(sender, ""), user, uid), "");
            }
        }
        assert_eq!(warnings(&router, &submission("bob", "X: as it says\r\n"), "alice", 7), "X: as it says\r\n");
    }

    #[test]
    fn the_lines_of_a_caller_are_header_lines() {
        for good in ["", "Date: x\r\n", "From: a\r\n\tb\r\nX: {host}\r\n"] {
            assert!(are_fields(good), "{good:?}");
        }
        let long = format!("X: {}\r\n", "x".repeat(FIELDS));
        for bad in [
            "Date: x",
            "Date: x\n",
            "\r\n",
            "A: b\r\n\r\n",
            "A: b\r\n\r\nc\r\n",
            "A: \0\r\n",
            "A: b\nc\r\n",
            "A: b\rc\r\n",
            &long,
        ] {
            assert!(!are_fields(bad), "{bad:?}");
        }
    }
}
