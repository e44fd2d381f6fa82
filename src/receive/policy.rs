//! What the checks mean for a session: at connection, MAIL and RCPT. Each refusal is logged with its reason; the wire sees only
//! sendmail's words.

use crate::Current;
use crate::accept::{Draft, Taken};
use crate::check::{Checks, Decision, Visitor};
use crate::rewrite;
use crate::settings::DelayChecks;
use crate::smtp::{Serving, in_full};
use mail::Status;
use mail::log::Outcome;
use mail::reply::Reply;
use mail::server::{MailFrom, RcptTo};
use route::Verdict;
use std::sync::Arc;
use table::{Unavailable, Why};

/// Most recipients one transaction may expand to, over all its RCPTs.
const EXPANDED: usize = 10_000;

/// The reply for a store that takes nothing now.
pub(crate) fn store_refusal(error: &queue::Error) -> Reply {
    match error {
        queue::Error::Full(_) => {
            Reply::new(452, Some(Status::temporary(3, 1)), "Insufficient disk space; try again later")
        }
        _ => Reply::new(451, Some(Status::temporary(3, 0)), "Temporary queue failure; try again later"),
    }
}

impl Serving {
    fn checks<'a>(&'a self, current: &'a Current) -> Checks<'a> {
        Checks {
            router: &current.router,
            settings: &current.settings,
            resolver: &*self.receive.resolver,
            visitor: Visitor {
                ip: self.peer.ip.to_canonical(),
                name: &self.peer.name,
                resolved: self.peer.resolved,
                encryption: &self.encryption,
            },
        }
    }
}

/// Decides about the client, before the greeting; a reply ends the session at once.
pub(crate) async fn client(serving: &mut Serving) -> Option<Reply> {
    let current = Arc::clone(&serving.current);
    let refused = match serving.crowds().await {
        None => serving.take_features().await,
        refused => refused,
    };
    if let Some((reply, why)) = refused {
        let ip = in_full(serving.peer.ip);
        log(serving, "check_relay", &format!("[{ip}]"), Outcome::Disconnected, &reply, &why);
        return Some(reply);
    }
    if current.settings.delay_checks != DelayChecks::Off {
        return None;
    }
    match serving.checks(&current).relay().await {
        Decision::Refuse(reply, why) => {
            let ip = in_full(serving.peer.ip);
            let name = if serving.peer.name.is_empty() { format!("[{ip}]") } else { serving.peer.name.clone() };
            let outcome = if reply.code == 421 { Outcome::Disconnected } else { Outcome::Rejected };
            log(serving, "check_relay", &format!("{name}, arg2={ip}"), outcome, &reply, &why);
            if reply.code == 421 {
                return Some(reply);
            }
            serving.session.refuse_all(reply);
        }
        said @ (Decision::Discard(_) | Decision::Hold(..)) => serving.standing = Some(said),
        Decision::Pass | Decision::Stop(_) => {}
    }
    None
}

/// Decides about MAIL; on success a new draft is begun.
pub(crate) async fn sender(serving: &mut Serving, from: &MailFrom) -> Result<(), Reply> {
    serving.draft = None;
    let current = Arc::clone(&serving.current);
    if let Err(error) = serving.receive.store.room(from.size.unwrap_or(0)) {
        serving.remark(format!("refused MAIL from {}: {error}", serving.peer.text()));
        return Err(store_refusal(&error));
    }
    let shown = format!("<{}>", from.address);
    if let Some((reply, why)) = serving.is_nobody() {
        return Err(refuse_client(serving, "srv_features", &shown, reply, &why));
    }
    if let Some((reply, why)) = serving.is_too_open().await {
        return Err(refuse_client(serving, "tls_client", &shown, reply, &why));
    }
    let said = match current.settings.delay_checks {
        DelayChecks::Off => serving.checks(&current).mail(&from.address).await,
        DelayChecks::On | DelayChecks::Friend | DelayChecks::Hater => Decision::Pass,
    };
    if let Decision::Refuse(reply, why) = said {
        return Err(refuse(serving, "check_mail", &shown, &reply, &why));
    }
    let address = match rewrite::sender(&current.router, &from.address).await {
        Ok(address) => address,
        Err(error) => return Err(unavailable(serving, &shown, &error)),
    };
    if serving.session.helo().is_empty() {
        let (host, peer) = (&current.settings.host, serving.peer.text());
        serving.note(format!("Authentication-Warning: {host}: {peer} didn't use HELO protocol"));
    }
    let mut draft = Draft::new(address, from);
    draft.apply(&said);
    if let Some(standing) = &serving.standing {
        draft.apply(standing);
    }
    note_mild(serving, "check_mail", &shown, &said);
    serving.draft = Some(draft);
    Ok(())
}

/// Decides about RCPT; on success its targets are added to the draft.
pub(crate) async fn recipient(serving: &mut Serving, to: RcptTo) -> Result<(), Reply> {
    let current = Arc::clone(&serving.current);
    let shown = format!("<{}>", to.address);
    let Some(sender) = serving.draft.as_ref().map(|draft| draft.mail_from.clone()) else {
        return Err(Reply::new(503, Some(Status::permanent(0, 0)), "Need MAIL before RCPT"));
    };
    let said = serving.checks(&current).at_rcpt(&sender, &to.address).await;
    for (check, decision) in &said {
        if let Decision::Refuse(reply, why) = decision {
            return Err(refuse(serving, check, &shown, reply, why));
        }
    }
    let targets = match current.router.expand(&to.address).await {
        Verdict::Targets(targets) => targets,
        Verdict::Refused { code, status, text, why, .. } => {
            serving.receive.decided(Some(serving.id), Outcome::Rejected, format!("{shown}... {text}"), &why);
            return Err(Reply::new(code, Some(status), format!("{shown}... {text}")));
        }
        Verdict::Unavailable { text } => return Err(unavailable(serving, &shown, &Unavailable(text))),
    };
    for (check, decision) in &said {
        note_mild(serving, check, &shown, decision);
    }
    let Some(draft) = serving.draft.as_mut() else {
        return Err(Reply::new(503, Some(Status::permanent(0, 0)), "Need MAIL before RCPT"));
    };
    // One large list alone is let through (the router has its own limit), or it could never be delivered.
    if draft.expanded() > 0 && draft.expanded() + targets.len() > EXPANDED {
        return Err(Reply::new(452, Some(Status::temporary(5, 3)), "Too many recipients"));
    }
    // What is said here must not make the message vanish for others: with delay_checks one of them may be a `Spam:` friend, and
    // each is asked about anyway.
    let discarded = said.iter().any(|(_, decision)| matches!(decision, Decision::Discard(_)));
    let targets = if discarded { Vec::new() } else { targets };
    said.iter().for_each(|(_, decision)| {
        if !matches!(decision, Decision::Discard(_)) {
            draft.apply(decision)
        }
    });
    draft.add(Taken { given: to.address.to_string(), orcpt: to.orcpt, notify: notify(to.notify), targets });
    Ok(())
}

/// Logs a refusal as sendmail does, and makes the reply: the address stands before the text.
fn refuse(serving: &Serving, ruleset: &str, shown: &str, reply: &Reply, why: &Why) -> Reply {
    let lines = reply.lines.iter().map(|line| format!("{shown}... {line}")).collect();
    let reply = Reply { lines, ..reply.clone() };
    log(serving, ruleset, shown, Outcome::Rejected, &reply, why);
    reply
}

/// The same for what is about the client and not about an address: it stands in the log alone.
fn refuse_client(serving: &Serving, ruleset: &str, shown: &str, reply: Reply, why: &Why) -> Reply {
    log(serving, ruleset, shown, Outcome::Rejected, &reply, why);
    reply
}

fn log(serving: &Serving, ruleset: &str, argument: &str, outcome: Outcome, reply: &Reply, why: &Why) {
    let text = format!("ruleset={ruleset}, arg1={argument}, relay={}, reject={reply}", serving.peer.text());
    serving.receive.decided(Some(serving.id), outcome, text, why);
}

/// Logs what is accepted and yet not delivered.
fn note_mild(serving: &Serving, ruleset: &str, argument: &str, decision: &Decision) {
    let relay = serving.peer.text();
    let (outcome, what, why) = match decision {
        Decision::Discard(why) => (Outcome::Discarded, "discard".to_owned(), why),
        Decision::Hold(reason, why) => (Outcome::Quarantined, format!("quarantine={reason}"), why),
        Decision::Pass | Decision::Stop(_) | Decision::Refuse(..) => return,
    };
    let text = format!("ruleset={ruleset}, arg1={argument}, relay={relay}, {what}");
    serving.receive.decided(Some(serving.id), outcome, text, why);
}

/// A table or the account service did not answer.
fn unavailable(serving: &Serving, shown: &str, error: &Unavailable) -> Reply {
    serving.remark(format!("{shown}... temporary failure: {error}"));
    let text = format!("{shown}... Temporary lookup failure; try again later");
    Reply::new(451, Some(Status::temporary(3, 0)), &text)
}

fn notify(given: mail::server::Notify) -> queue::Notify {
    queue::Notify { never: given.never, success: given.success, failure: given.failure, delay: given.delay }
}
