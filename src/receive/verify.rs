//! VRFY, EXPN and ETRN, where they are allowed (RFC 5321 3.5, RFC 1985; sendmail.md 2.11). Called by `smtp`.
//!
//! Whoever asks often is searching for names: from the seventh question on each answer takes longer, as sendmail's does.

use crate::smtp::Serving;
use mail::reply::Reply;
use mail::{Address, Status};
use queue::Select;
use route::{Explanation, Key, Target, Verdict};
use std::time::Duration;

/// Questions that are answered at once (sendmail's MAXVRFYCOMMANDS and MAXETRNCOMMANDS).
const QUESTIONS: u32 = 6;
const RUNS: u32 = 8;
/// Longest pause, as a power of two seconds.
const LONGEST: u32 = 6;
/// Most lines of an answer.
const LINES: usize = 1_000;

/// Which of the two.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    Verify,
    Expand,
}

/// The answer to VRFY or EXPN.
pub(crate) async fn answer(serving: &mut Serving, question: Question, argument: &str) -> Reply {
    let verb = if question == Question::Verify { "VRFY" } else { "EXPN" };
    serving.note(format!("{}: {verb} {argument}", serving.peer.text()));
    serving.questions = serving.questions.saturating_add(1);
    slow_down(serving, verb, serving.questions, QUESTIONS).await;
    let bare = argument.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(argument).trim();
    if let Some(what) = direct(bare) {
        return Reply::permanent(550, 7, 1, format!("{argument}... Cannot mail directly to {what}"));
    }
    let address = match Address::parse(bare) {
        Ok(address) if !address.is_null() => address,
        _ => return Reply::permanent(553, 1, 3, format!("{argument}... User address required")),
    };
    let Explanation { steps, verdict } = serving.current.router.explain(&address).await;
    match verdict {
        Verdict::Targets(_) if question == Question::Verify && steps.iter().any(|step| step.what == "alias") => {
            let host = &serving.current.settings.host;
            Reply::success(250, 1, 5, format!("<{}@{host}>", address.user()))
        }
        Verdict::Targets(targets) => members(serving, question, &targets).await,
        Verdict::Refused { code, status, text, .. } => Reply::new(code, Some(status), format!("{argument}... {text}")),
        Verdict::Unavailable { .. } => {
            Reply::temporary(451, 3, 0, format!("{argument}... Temporary lookup failure; try again later"))
        }
    }
}

/// One line each, the last one first, as sendmail has it.
async fn members(serving: &Serving, question: Question, targets: &[Target]) -> Reply {
    let mut lines = Vec::new();
    for target in targets.iter().rev().take(LINES) {
        lines.push(match &target.key {
            Key::Local { user, .. } => {
                let name = full_name(serving, user).await;
                let blank = if name.is_empty() { "" } else { " " };
                format!("{name}{blank}<{user}@{}>", serving.current.settings.host)
            }
            _ => format!("<{}>", target.address),
        });
    }
    // Who asked VRFY about another host's user learns that nobody here knows.
    let elsewhere = targets.iter().any(|target| !matches!(target.key, Key::Local { .. }));
    let code = if question == Question::Verify && elsewhere { 252 } else { 250 };
    Reply { code, status: Some(Status::success(1, 5)), lines }
}

/// The first part of the gecos field; `&` is the login name.
async fn full_name(serving: &Serving, user: &str) -> String {
    let Ok(Some(account)) = serving.receive.accounts.find(user).await else { return String::new() };
    let mut capital = user.chars();
    let capital: String = capital.next().into_iter().flat_map(char::to_uppercase).chain(capital).collect();
    account.gecos.split(',').next().unwrap_or_default().replace('&', &capital).trim().to_owned()
}

/// What nobody may name.
fn direct(text: &str) -> Option<&'static str> {
    match text.trim_start_matches('"').chars().next() {
        Some('|') => Some("programs"),
        Some('/') if !text.contains('@') => Some("files"),
        _ => None,
    }
}

/// ETRN: mail that waits for a host is due now. `@domain` covers what is below it.
pub(crate) async fn run_queue(serving: &mut Serving, argument: &str) -> Reply {
    serving.note(format!("{}: ETRN {argument}", serving.peer.text()));
    serving.runs = serving.runs.saturating_add(1);
    slow_down(serving, "ETRN", serving.runs, RUNS).await;
    if let Some(queue) = argument.strip_prefix('#') {
        return Reply::temporary(459, 5, 4, format!("Queue {queue} unknown"));
    }
    let domain = argument.trim_start_matches(['@', '&']).trim_matches('.').to_owned();
    if domain.is_empty() {
        return Reply::temporary(459, 5, 4, format!("Queue {argument} unknown"));
    }
    let mut wanted = vec![Select { domain: Some(domain.clone()), ..Select::default() }];
    if argument.starts_with('@') {
        wanted.push(Select { recipient: Some(format!(".{domain}")), ..Select::default() });
    }
    for select in wanted {
        // The store goes on by itself; nobody waits for the end of a queue run.
        drop(serving.receive.store.flush(select));
    }
    Reply::success(250, 0, 0, format!("Queuing for node {argument} started"))
}

async fn slow_down(serving: &Serving, verb: &str, count: u32, limit: u32) {
    if count == limit {
        serving.note(format!("{}: possible SMTP attack: command={verb}, count={count}", serving.peer.text()));
    }
    if let Some(over) = count.checked_sub(limit).filter(|over| *over > 0) {
        tokio::time::sleep(Duration::from_secs(1 << over.min(LONGEST))).await;
    }
}
