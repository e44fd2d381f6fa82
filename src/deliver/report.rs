//! Bounces, warnings and receipts: to whom, whether, and the commit (R-10, S-65; sendmail.md 5.1, 5.2). The texts are in
//! `notice`. Called by `outcome` when something must be told.

use crate::job::Job;
use crate::notice::{self, About, Original};
use crate::outcome::{Attempt, Fate};
use crate::settings::Settings;
use crate::start::Inner;
use mail::Address;
use mail::dsn::Kind;
use queue::{Accepted, Change, Envelope, NewState, Notice, Protocol, Recipient};
use route::Key;
use std::sync::Arc;

/// What the origin of a postmaster notice says, so that its own failure is known to be the end.
pub(crate) const POSTMASTER_NOTICE: &str = "postmaster-notify";
/// When a report cannot be committed (full disk), the recipients come again after this long, milliseconds.
const AGAIN: i64 = 300_000;
/// When nobody can say now where a report goes, they come again after this long, milliseconds: a report with such a route would be
/// stuck for its whole life, because nothing routes it again.
const UNROUTED: i64 = 60_000;
/// So long after its end of life a message waits no more for its report's route, milliseconds.
const PATIENCE: u64 = 86_400_000;

/// One recipient that is reported.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) index: u32,
    pub(crate) fate: Fate,
    /// Given up because of age: the fate is temporary, the end is not.
    pub(crate) expired: bool,
}

/// What has to be reported of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Sheaf {
    pub(crate) failed: Vec<Item>,
    pub(crate) delayed: Vec<Item>,
    pub(crate) delivered: Vec<Item>,
}

impl Sheaf {
    pub(crate) fn is_empty(&self) -> bool {
        self.failed.is_empty() && self.delayed.is_empty() && self.delivered.is_empty()
    }
}

/// Whether a delay warning is due: once, after `warn`, not to those who cannot want one.
pub(crate) fn wants_warning(settings: &Settings, envelope: &Envelope, recipient: &Recipient, age: u64) -> bool {
    let sender = envelope.sender.local().to_ascii_lowercase();
    settings.policy.warn > 0
        && age > settings.policy.warn
        && !recipient.warned
        && recipient.notify.wants_delay()
        && !envelope.sender.is_null()
        && !sender.starts_with("owner-")
        && !sender.ends_with("-request")
}

/// Whether a receipt is due: asked for, and nobody further on will send one (RFC 3461 5.2).
pub(crate) fn wants_receipt(envelope: &Envelope, recipient: &Recipient, attempt: &Attempt) -> bool {
    recipient.notify.success && !envelope.sender.is_null() && !attempt.passes_dsn
}

/// Who is told: the sender as given, not as masquerading shows him to others, which may be somebody else's address. (A list's owner
/// is the sender as given of what goes to its members.)
fn return_to(envelope: &Envelope, host: &str) -> Address {
    match Address::parse(&envelope.sender_given) {
        Ok(given) if given.domain().is_none() => given.at_domain(host),
        Ok(given) => given,
        Err(_) => envelope.sender.clone(),
    }
}

/// Where a report goes.
enum Way {
    To(Vec<Recipient>),
    /// Nowhere, for good.
    Nowhere,
    /// That cannot be told now; these are what is known.
    Later(Vec<Recipient>),
}

/// A report under way.
struct Desk {
    inner: Arc<Inner>,
    job: Job,
    attempt: Attempt,
    original: Original,
}

/// Records all changes and sends what must be sent. What cannot be committed is given back.
pub(crate) async fn finish(inner: Arc<Inner>, job: Job, attempt: Attempt, mut changes: Vec<Change>, sheaf: Sheaf) {
    let settings = inner.parts.settings.get();
    let original = Original::read(&job, settings.return_size).await;
    let mut desk = Desk { inner, job, attempt, original };
    let envelope = desk.job.message.envelope.clone();
    let wants_failure = |item: &Item| wants(&envelope, item.index, |r| r.notify.wants_failure());
    let failed: Vec<Item> = sheaf.failed.into_iter().filter(wants_failure).collect();
    let mut delayed = sheaf.delayed;
    if desk.original.is_bulk {
        // Marked all the same, so that the content is not read again at every try.
        mark_warned(&mut changes, &delayed);
        delayed.clear();
    }
    let mine = |items: &[Item], changes: &mut Vec<Change>| -> Vec<Change> {
        let (of_items, rest) = changes.drain(..).partition(|c| items.iter().any(|item| item.index == c.recipient));
        *changes = rest;
        of_items
    };
    let of_failed = mine(&failed, &mut changes);
    let of_delayed = mine(&delayed, &mut changes);
    let of_delivered = mine(&sheaf.delivered, &mut changes);
    desk.record(changes);
    if !failed.is_empty() {
        desk.fail(failed, of_failed).await;
    }
    if !sheaf.delivered.is_empty() {
        desk.tell_sender(About::Receipt, &sheaf.delivered, of_delivered).await;
    }
    if !delayed.is_empty() {
        desk.tell_sender(About::Delay, &delayed, of_delayed).await;
    }
}

fn wants(envelope: &Envelope, index: u32, what: impl Fn(&Recipient) -> bool) -> bool {
    envelope.recipients.get(index as usize).is_some_and(what)
}

fn mark_warned(changes: &mut [Change], items: &[Item]) {
    for change in changes {
        change.warned |= items.iter().any(|item| item.index == change.recipient);
    }
}

impl Desk {
    fn envelope(&self) -> &Arc<Envelope> {
        &self.job.message.envelope
    }
    /// Changes that nobody is told of.
    fn record(&mut self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let done = |index: &u32| changes.iter().any(|c| c.recipient == *index);
        self.job.recipients.retain(|index| !done(index));
        drop(self.inner.parts.store.record(self.envelope().id, changes));
    }
    /// A failure: to the sender; for a null sender to the postmaster, and if that was a notice already, to nobody.
    async fn fail(&mut self, items: Vec<Item>, changes: Vec<Change>) {
        if !self.envelope().sender.is_null() {
            let to = self.return_to();
            match self.route(&to).await {
                Way::To(recipients) => return self.bounce(About::Failure, &items, changes, &to, recipients).await,
                Way::Later(_) => return self.come_again(&changes, self.unrouted()),
                Way::Nowhere => {}
            }
        }
        let last = self.envelope().origin.listener == POSTMASTER_NOTICE
            && self.envelope().origin.protocol == Protocol::Internal;
        let name = self.inner.parts.settings.get().postmaster.clone();
        if !last && let Some(to) = address(&name) {
            match self.route(&to).await {
                Way::To(recipients) => return self.bounce(About::Postmaster, &items, changes, &to, recipients).await,
                Way::Later(_) => return self.come_again(&changes, self.unrouted()),
                Way::Nowhere => {}
            }
        }
        let id = self.envelope().id;
        self.inner.note(id, "savemail: cannot save rejected email anywhere".to_owned());
        self.record(changes);
    }
    /// A failure that cannot be reported has not happened: it will be seen again.
    async fn bounce(
        &mut self,
        about: About,
        items: &[Item],
        changes: Vec<Change>,
        to: &Address,
        recipients: Vec<Recipient>,
    ) {
        if !self.commit(about, items, changes.clone(), to, recipients).await {
            self.come_again(&changes, AGAIN);
        }
    }
    /// A receipt or warning; the changes stand without it if need be. A warning that could not be sent comes with a later try.
    async fn tell_sender(&mut self, about: About, items: &[Item], changes: Vec<Change>) {
        let to = self.return_to();
        let mut marked = changes.clone();
        if about == About::Delay {
            mark_warned(&mut marked, items);
        }
        match self.route(&to).await {
            Way::Later(_) if about == About::Delay => self.record(changes),
            // A receipt has no next try: a stuck one ends with the postmaster, one that was never made with nobody.
            Way::To(recipients) | Way::Later(recipients) => {
                if !self.commit(about, items, marked, &to, recipients).await {
                    self.record(changes);
                }
            }
            Way::Nowhere => self.record(marked),
        }
    }
    fn return_to(&self) -> Address {
        return_to(self.envelope(), &self.inner.parts.settings.get().host)
    }
    async fn route(&self, to: &Address) -> Way {
        // Also to a list under the null sender, never its owner's: a report must not make another.
        let routed = self.inner.parts.routes.route(to).await;
        let recipients: Vec<Recipient> = routed.into_iter().map(|routed| routed.recipient).collect();
        if recipients.is_empty() {
            return Way::Nowhere;
        }
        let Some(why) = recipients.iter().find_map(unroutable) else {
            return Way::To(recipients);
        };
        let parts = &self.inner.parts;
        let age = u64::try_from(parts.clock.now().wall.saturating_sub(self.envelope().arrived)).unwrap_or(0);
        if age > parts.settings.get().policy.expire.saturating_add(PATIENCE) {
            return Way::To(recipients);
        }
        self.inner.remark(self.envelope().id, format!("no route for a report to {to} now: {why}"));
        Way::Later(recipients)
    }
    /// How long a report waits for its route: as a message's tries, ever longer, for the other side is asked each time.
    fn unrouted(&self) -> i64 {
        let parts = &self.inner.parts;
        let age = parts.clock.now().wall.saturating_sub(self.envelope().arrived);
        let most = i64::try_from(parts.settings.get().policy.max_backoff).unwrap_or(i64::MAX);
        (age / 2).clamp(UNROUTED.min(most), most)
    }
    /// Gives the recipients of these changes back, as if they had not been tried.
    fn come_again(&mut self, changes: &[Change], wait: i64) {
        self.job.recipients.retain(|index| !changes.iter().any(|c| c.recipient == *index));
        self.job.message.give_back(self.inner.parts.clock.now().wall + wait);
    }
    /// The one frame: outcomes and their report, both or neither.
    async fn commit(
        &mut self,
        about: About,
        items: &[Item],
        changes: Vec<Change>,
        to: &Address,
        recipients: Vec<Recipient>,
    ) -> bool {
        let parts = &self.inner.parts;
        let (settings, now) = (parts.settings.get(), parts.clock.now());
        let id = parts.store.new_id(now);
        let page = notice::Page {
            settings: &settings,
            clock: &*parts.clock,
            now,
            id,
            envelope: self.envelope(),
            attempt: &self.attempt,
            original: &self.original,
            to,
            is_local: recipients.iter().all(|r| Key::is_here(&r.route)),
        };
        let (content, line) = page.write(about, items);
        let foreign = page.is_foreign(items);
        let mut envelope = notice::envelope(id, now, &settings.host, recipients, &content, foreign);
        // As in sendmail: whoever bounces the bounce returns as much, under the same name.
        (envelope.ret, envelope.envid) = (self.envelope().ret, self.envelope().envid.clone());
        if about == About::Postmaster {
            envelope.origin.listener = POSTMASTER_NOTICE.to_owned();
        }
        let done: Vec<u32> = changes.iter().map(|c| c.recipient).collect();
        let notice = Notice { envelope, content };
        let of = self.envelope().id;
        match self.inner.parts.store.record_with(of, changes, notice).await {
            Ok(accepted) => {
                self.job.recipients.retain(|index| !done.contains(index));
                self.inner.note(of, format!("{id}: {line}"));
                self.submit(accepted);
                true
            }
            Err(error) => {
                self.inner.remark(of, format!("cannot queue report: {error}"));
                false
            }
        }
    }
    fn submit(&self, accepted: Accepted) {
        crate::claim::submit(&self.inner, accepted, None);
    }
}

/// Why it cannot be told now where this recipient goes, if so.
fn unroutable(recipient: &Recipient) -> Option<String> {
    match Key::parse(&recipient.route) {
        Some(Key::Error { status, text }) if status.is_temporary() => Some(text),
        _ => None,
    }
}

/// The postmaster as configured; empty: nobody.
fn address(text: &str) -> Option<Address> {
    match text.rsplit_once('@') {
        _ if text.is_empty() => None,
        Some((local, domain)) => Some(Address::from_parts(local, Some(domain))),
        None => Some(Address::from_parts(text, None)),
    }
}

/// The report's kind in the terms of `mail::dsn`.
pub(crate) fn kind(about: About, age: &str, life: &str) -> Kind {
    match about {
        About::Failure => Kind::Failure,
        About::Postmaster => Kind::Postmaster,
        About::Receipt => Kind::Success,
        About::Delay => Kind::Delay { past: age.to_owned(), until: life.to_owned() },
    }
}

/// Whether a change needs the long way of this file.
pub(crate) fn sort(
    sheaf: &mut Sheaf,
    settings: &Settings,
    envelope: &Envelope,
    item: (u32, &Fate),
    attempt: &Attempt,
    (state, expired, age): (NewState, bool, u64),
) {
    let (index, fate) = item;
    let Some(recipient) = envelope.recipients.get(index as usize) else {
        return;
    };
    let pile = match state {
        NewState::Bounced => &mut sheaf.failed,
        NewState::Deferred(_) if wants_warning(settings, envelope, recipient, age) => &mut sheaf.delayed,
        NewState::Delivered if wants_receipt(envelope, recipient, attempt) => &mut sheaf.delivered,
        NewState::Deferred(_) | NewState::Delivered => return,
    };
    pile.push(Item { index, fate: fate.clone(), expired });
}
