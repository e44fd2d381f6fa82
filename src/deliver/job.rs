//! A message in hand and its jobs. Made by `claim`, carried through `hops`, ended by `outcome`.
//!
//! Both clean up after themselves: a job that is dropped with recipients left gives them back, and the last job of a
//! message gives the claim back to the store (R-7: nothing in hand is forgotten, whatever happens to a worker).

use crate::start::Inner;
use call::submit::Witness;
use queue::{Accepted, Content, Envelope, State};
use route::Key;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// Most messages in hand; what is beyond goes back to the store.
pub(crate) const MESSAGES: usize = 10_000;
/// Most bytes of content kept since acceptance; beyond it content is read back when needed.
pub(crate) const BYTES: u64 = 16 << 20;
/// A job lost by a panic comes back after this many milliseconds, so that a message that trips a bug does not do so in a loop.
const AFTER_PANIC: i64 = 60_000;
/// No give-back.
const NEVER: i64 = i64::MAX;

/// What is in hand.
#[derive(Debug, Default)]
pub(crate) struct Load {
    messages: AtomicUsize,
    bytes: AtomicU64,
    wanted: AtomicBool,
    room: Notify,
}

impl Load {
    /// How many more messages may be taken.
    pub(crate) fn room(&self) -> usize {
        MESSAGES.saturating_sub(self.messages.load(Ordering::Relaxed))
    }
    /// Resolves when a message has left, if one asked while there was no room.
    pub(crate) async fn wait_for_room(&self) {
        self.wanted.store(true, Ordering::SeqCst);
        if self.room() == 0 {
            self.room.notified().await;
        }
    }
}

/// One claimed message.
#[derive(Debug)]
pub(crate) struct Message {
    /// The envelope as it was when claimed.
    pub(crate) envelope: Arc<Envelope>,
    /// It comes from the store: it may have been in flight when the engine died, and nothing else would tell (the store
    /// shows what it hands out as in flight, whatever it was before).
    pub(crate) is_old: bool,
    /// Content since acceptance, while the budget lasts.
    hot: Mutex<Option<Content>>,
    hot_bytes: u64,
    /// An attempt was cut off by `stop`: it stays handed out, so that closing the store marks it as perhaps delivered.
    cut_off: AtomicBool,
    /// Earliest wall time at which some recipient was given back.
    back_at: AtomicI64,
    inner: Arc<Inner>,
    /// Whoever is shown the attempts.
    witness: Watcher,
    /// The message that was claimed, if this is what some of its recipients became: it alone gives the claim back.
    root: Option<Arc<Self>>,
    /// It was made in place of entries that stand no more in their files (`anew`). What of it stands no more either waits for its next
    /// attempt: nothing goes round within one.
    pub(crate) anew: bool,
    /// How many further envelopes `.forward` files and lists have made of it, together.
    pub(crate) clones: Arc<AtomicUsize>,
    /// Of a claimed message: its envelope with all recipients that it has by now. Whoever adds some holds this, so that two
    /// forwarders to one person make one copy.
    pub(crate) latest: tokio::sync::Mutex<Arc<Envelope>>,
}

/// What a message has in common with those that are made of it.
type Shared = (Option<Arc<dyn Witness>>, Arc<AtomicUsize>, bool);

impl Message {
    /// Takes a claimed message in hand.
    pub(crate) fn claimed(inner: &Arc<Inner>, envelope: Arc<Envelope>) -> Arc<Self> {
        Self::new(inner, envelope, None, true, None, (None, Arc::default(), false))
    }
    /// Takes a message in hand that was just accepted; content beyond the budget is dropped.
    pub(crate) fn accepted(inner: &Arc<Inner>, accepted: Accepted, witness: Option<Arc<dyn Witness>>) -> Arc<Self> {
        Self::new(inner, accepted.envelope, accepted.content, false, None, (witness, Arc::default(), false))
    }
    /// What recipients of `of` have become: `envelope` has them too, and none of the new ones was ever tried.
    pub(crate) fn expanded(of: &Arc<Self>, envelope: Arc<Envelope>, anew: bool) -> Arc<Self> {
        Self::new(&of.inner, envelope, None, false, Some(Self::root(of).clone()), of.shared(anew))
    }
    /// A further envelope that recipients of `of` have become.
    pub(crate) fn cloned(of: &Arc<Self>, accepted: Accepted, anew: bool) -> Arc<Self> {
        Self::new(&of.inner, accepted.envelope, accepted.content, false, None, of.shared(anew))
    }
    /// What has become of a recipient has these as well; a witness, if he may see the members.
    fn shared(&self, anew: bool) -> Shared {
        let witness = self.witness().filter(|witness| witness.may_see_members()).cloned();
        (witness, self.clones.clone(), self.anew || anew)
    }
    /// The message that was claimed.
    pub(crate) fn root(this: &Arc<Self>) -> &Arc<Self> {
        this.root.as_ref().unwrap_or(this)
    }
    fn new(
        inner: &Arc<Inner>,
        envelope: Arc<Envelope>,
        content: Option<Content>,
        is_old: bool,
        root: Option<Arc<Self>>,
        (witness, clones, anew): Shared,
    ) -> Arc<Self> {
        let load = &inner.load;
        load.messages.fetch_add(1, Ordering::Relaxed);
        let size = content.as_ref().map_or(0, |content| match content {
            Content::Memory(bytes) => bytes.len() as u64,
            Content::File { .. } => 0,
        });
        let fits = load.bytes.load(Ordering::Relaxed) + size <= BYTES;
        let hot_bytes = if fits { size } else { 0 };
        load.bytes.fetch_add(hot_bytes, Ordering::Relaxed);
        Arc::new(Self {
            latest: tokio::sync::Mutex::new(envelope.clone()),
            root,
            anew,
            clones,
            envelope,
            is_old,
            hot: Mutex::new(content.filter(|_| fits)),
            hot_bytes,
            cut_off: AtomicBool::new(false),
            back_at: AtomicI64::new(NEVER),
            inner: inner.clone(),
            witness: Watcher(witness),
        })
    }
    /// Whoever is shown the attempts.
    pub(crate) const fn witness(&self) -> Option<&Arc<dyn Witness>> {
        self.witness.0.as_ref()
    }
    /// The content: what was kept, or read back.
    pub(crate) async fn content(&self) -> Result<Content, queue::Error> {
        let kept = self
            .root
            .as_ref()
            .map_or(&self.hot, |root| &root.hot)
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match kept {
            Some(content) => Ok(content),
            None => self.inner.parts.store.content(self.envelope.id).await,
        }
    }
    /// Something of it is given back to the store at wall time `at`, once all jobs are gone.
    pub(crate) fn give_back(&self, at: i64) {
        self.root.as_ref().map_or(&self.back_at, |root| &root.back_at).fetch_min(at, Ordering::Relaxed);
    }
    /// An attempt was cut off.
    fn cut_off(&self) {
        self.root.as_ref().map_or(&self.cut_off, |root| &root.cut_off).store(true, Ordering::Relaxed);
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let load = &self.inner.load;
        let at = *self.back_at.get_mut();
        if at != NEVER && !*self.cut_off.get_mut() {
            self.inner.parts.store.release_claim(self.envelope.id, at);
        }
        load.messages.fetch_sub(1, Ordering::Relaxed);
        load.bytes.fetch_sub(self.hot_bytes, Ordering::Relaxed);
        if load.wanted.swap(false, Ordering::SeqCst) {
            load.room.notify_one();
        }
    }
}

/// A witness, if there is one.
struct Watcher(Option<Arc<dyn Witness>>);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "somebody" } else { "nobody" })
    }
}

/// Recipients of one message that share a hop.
#[derive(Debug)]
pub(crate) struct Job {
    /// The message.
    pub(crate) message: Arc<Message>,
    /// Indices of the recipients without an outcome.
    pub(crate) recipients: Vec<u32>,
    /// It was put back once because a kept connection turned out to be closed.
    pub(crate) again: bool,
    /// A user agent has looked: no `.forward` counts, it goes into the mailbox.
    pub(crate) looked: bool,
}

impl Job {
    /// A job for these recipients.
    pub(crate) fn new(message: Arc<Message>, recipients: Vec<u32>) -> Self {
        Self { message, recipients, again: false, looked: false }
    }
    /// One for each of its recipients.
    pub(crate) fn each(mut self) -> Vec<Self> {
        let one = |recipient| Self::new(self.message.clone(), vec![recipient]);
        std::mem::take(&mut self.recipients).into_iter().map(one).collect()
    }
    /// Its recipients, with their index.
    pub(crate) fn recipients(&self) -> impl Iterator<Item = (u32, &queue::Recipient)> {
        let all = &self.message.envelope.recipients;
        self.recipients.iter().filter_map(move |&index| Some((index, all.get(index as usize)?)))
    }
    /// Whether `envelope` (the message's own, or a later one) has a recipient who is this user's mailbox and nothing else: `\alice`
    /// beside `alice`. Then this job is for the `.forward`, and without one there is nothing left to do.
    pub(crate) fn has_twin(&self, envelope: &Envelope) -> bool {
        let route = self.recipients().next().and_then(|(_, recipient)| Key::parse(&recipient.route));
        let Some(Key::Local { user, detail, plain: false }) = route else { return false };
        let twin = Key::Local { user, detail, plain: true }.to_string();
        envelope.recipients.iter().any(|recipient| recipient.route == twin && recipient.state != State::Bounced)
    }
    /// Ends it without an attempt; it is due again now.
    pub(crate) fn give_back_now(self) {
        let now = self.message.inner.parts.clock.now().wall;
        self.give_back(now);
    }
    /// Ends it without an attempt; it is due again at wall time `at`.
    pub(crate) fn give_back(mut self, at: i64) {
        self.recipients.clear();
        self.message.give_back(at);
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if !self.recipients.is_empty() && self.message.inner.is_stopping() {
            // Its worker had it in hand; what only waited was given back.
            self.message.cut_off();
        } else if !self.recipients.is_empty() {
            let now = self.message.inner.parts.clock.now().wall;
            let wait = if std::thread::panicking() { AFTER_PANIC } else { 0 };
            self.message.give_back(now + wait);
        }
    }
}
