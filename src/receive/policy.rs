//! Decisions at MAIL and RCPT. Each refusal is logged with its reason; the wire sees only sendmail's words.

use crate::accept::{Draft, Taken};
use crate::smtp::Serving;
use mail::reply::Reply;
use mail::server::{MailFrom, RcptTo};
use mail::{Severity, Status};
use route::Verdict;

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

/// Decides about MAIL; on success a new draft is begun.
pub(crate) fn sender(serving: &mut Serving, from: &MailFrom) -> Result<(), Reply> {
    serving.draft = None;
    let router = &serving.current.router;
    if let Err(error) = serving.receive.store.room(from.size.unwrap_or(0)) {
        serving.receive.note(None, format!("refused MAIL from {}: {error}", serving.peer.text()));
        return Err(store_refusal(&error));
    }
    let address = &from.address;
    if address.domain().is_none() && !address.is_null() && router.trusted_client(serving.peer.ip).is_none() {
        let text = format!("<{address}>... Domain name required for sender address {address}");
        return Err(Reply::new(553, Some(Status::permanent(5, 4)), &text));
    }
    serving.draft = Some(Draft::new(router.qualify(address), from));
    Ok(())
}

/// Decides about RCPT; on success its targets are added to the draft.
pub(crate) async fn recipient(serving: &mut Serving, to: RcptTo) -> Result<(), Reply> {
    let current = std::sync::Arc::clone(&serving.current);
    let router = &current.router;
    let shown = format!("<{}>", to.address);
    if router.relay_domain(&to.address).is_none() && router.trusted_client(serving.peer.ip).is_none() {
        return Err(refuse(serving, &shown, 550, Status::permanent(7, 1), "Relaying denied"));
    }
    let targets = match router.expand(&to.address).await {
        Verdict::Targets(targets) => targets,
        Verdict::Refused { status, text, why } => {
            serving.receive.note(None, format!("{shown}... {text} ({why})"));
            let code = if status.severity == Severity::Temporary { 451 } else { 550 };
            return Err(Reply::new(code, Some(status), format!("{shown}... {text}")));
        }
        Verdict::Unavailable { text } => {
            serving.receive.note(None, format!("{shown}... temporary failure: {text}"));
            let text = format!("{shown}... Temporary lookup failure; try again later");
            return Err(Reply::new(451, Some(Status::temporary(3, 0)), &text));
        }
    };
    let Some(draft) = serving.draft.as_mut() else {
        return Err(Reply::new(503, Some(Status::permanent(0, 0)), "Need MAIL before RCPT"));
    };
    // One large list alone is let through (the router has its own limit), or it could never be delivered.
    if draft.expanded() > 0 && draft.expanded() + targets.len() > EXPANDED {
        return Err(Reply::new(452, Some(Status::temporary(5, 3)), "Too many recipients"));
    }
    draft.add(Taken { given: to.address.to_string(), orcpt: to.orcpt, notify: notify(to.notify), targets });
    Ok(())
}

/// Logs a refused recipient as sendmail does, and makes the reply.
fn refuse(serving: &Serving, shown: &str, code: u16, status: Status, text: &str) -> Reply {
    let reply = format!("{code} {status} {shown}... {text}");
    let line = format!("ruleset=check_rcpt, arg1={shown}, relay={}, reject={reply}", serving.peer.text());
    serving.receive.note(None, line);
    Reply::new(code, Some(status), format!("{shown}... {text}"))
}

fn notify(given: mail::server::Notify) -> queue::Notify {
    queue::Notify { never: given.never, success: given.success, failure: given.failure, delay: given.delay }
}
