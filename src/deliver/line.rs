//! The `to=` line (sendmail.md 5.7), made from an attempt. Called by `outcome`.

use crate::outcome::{Attempt, Fate};
use mail::Time;
use mail::log::{Event, ToLine};
use queue::{Envelope, Protocol, Recipient};

/// sendmail's RecipientFactor and RetryFactor.
const FOR_RECIPIENT: u64 = 30_000;
const FOR_TRY: u64 = 90_000;

/// One line for recipients that share an outcome.
pub(crate) fn to(envelope: &Envelope, indices: &[u32], fate: &Fate, attempt: &Attempt, now: Time) -> Event {
    let concerned = || indices.iter().filter_map(|&i| envelope.recipients.get(i as usize));
    let tries = concerned().map(|r| r.tries).max().unwrap_or(0);
    Event::To(ToLine {
        id: envelope.id,
        to: concerned().map(|r| shown(envelope, r)).collect(),
        ctladdr: concerned().next().map_or_else(String::new, |r| controlling(envelope, r)),
        delay: u64::try_from(now.wall.saturating_sub(envelope.arrived) / 1_000).unwrap_or(0),
        xdelay: now.mono.saturating_sub(attempt.started) / 1_000,
        mailer: attempt.mailer.to_owned(),
        pri: FOR_RECIPIENT * envelope.recipients.len() as u64 + envelope.size + FOR_TRY * u64::from(tries),
        relay: attempt.relay.clone(),
        size: envelope.size,
        dsn: Some(fate.status),
        reply: fate.reply.clone(),
        stat: fate.stat.clone(),
    })
}

/// The recipient as sendmail shows it: in angle brackets when it came so by SMTP, bare when it was named locally or is
/// what an alias stands for.
pub(crate) fn shown(envelope: &Envelope, recipient: &Recipient) -> String {
    let by_smtp = !matches!(envelope.origin.protocol, Protocol::Local | Protocol::Internal);
    let given = bare(&recipient.given);
    match (is_aliased(recipient), by_smtp) {
        (false, true) => format!("<{given}>"),
        (false, false) => given.to_owned(),
        (true, _) => recipient.address.as_str().to_owned(),
    }
}

/// Without angle brackets.
pub(crate) fn bare(given: &str) -> &str {
    given.strip_prefix('<').and_then(|g| g.strip_suffix('>')).unwrap_or(given)
}

/// Whether an alias stands between what was given and where it goes; `alice@our.host` for `alice` is none.
pub(crate) fn is_aliased(recipient: &Recipient) -> bool {
    let given = bare(&recipient.given);
    let local = given.rsplit_once('@').map_or(given, |(local, _)| local);
    // `<>` is nobody, and no alias for whatever stands for it.
    let own =
        recipient.controlling.is_empty() && (given.is_empty() || local.eq_ignore_ascii_case(recipient.address.local()));
    !own && !given.eq_ignore_ascii_case(recipient.address.as_str())
}

/// Who is answerable: the alias that named the address, or the local submitter with his ids.
fn controlling(envelope: &Envelope, recipient: &Recipient) -> String {
    if is_aliased(recipient) {
        return format!("<{}>", bare(&recipient.given));
    }
    match envelope.origin.uid {
        // The gid is not kept; on hosts with a group for each user it is the same number.
        Some(uid) => format!("{} ({uid}/{uid})", envelope.origin.user),
        None => String::new(),
    }
}
