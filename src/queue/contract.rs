//! What every store must do, as tests that any can run: random sequences of every verb, with faults, crashes and restarts,
//! against a model in memory. Called by the tests of [`crate::spool`] and by those of any other store. Panics are its reports.

use crate::{
    Body, Change, Content, Envelope, Error, Expansion, NewState, Notice, Origin, Pending, Recipient, Select, State,
    Store,
};
use mail::{Address, QueueId, Status, Time};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A store under test, and the power over its life.
pub trait Rig {
    /// Opens the store on what is durable.
    fn open(&mut self, now: Time) -> Arc<dyn Store>;
    /// The process dies: the store ends where it is. What was not synced may be gone, or there, or partly there.
    fn crash(&mut self, store: Arc<dyn Store>, dice: &mut Dice);
    /// From now on calls may fail, until [`Rig::calm`]. A rig that cannot do that does nothing.
    fn disturb(&mut self, _dice: &mut Dice) {}
    /// No more faults.
    fn calm(&mut self) {}
}

/// Reproducible randomness (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides.max(1)
    }
    /// True once in `sides` times.
    pub fn hits(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
    fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        list.get(self.roll(list.len() as u64) as usize).copied()
    }
}

/// Content; prints short.
#[derive(Clone, PartialEq)]
struct Text(Arc<Vec<u8>>);

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes of {:?}", self.0.len(), self.0.first())
    }
}

/// A message as it should be.
#[derive(Clone, Debug, PartialEq)]
struct Message {
    content: Text,
    /// Address, state as on disk, tries, last reply.
    recipients: Vec<(String, State, u32, String)>,
    hold: Option<String>,
    queue_only: bool,
}

impl Message {
    fn is_finished(&self) -> bool {
        self.recipients.iter().all(|(_, state, ..)| state.is_finished())
    }
    /// As it compares: what was deferred until a time that has passed is due.
    fn at(&self, now: Time) -> Self {
        let mut same = self.clone();
        for (_, state, ..) in &mut same.recipients {
            *state = plain(*state, now);
        }
        same
    }
}

fn plain(state: State, now: Time) -> State {
    match state {
        State::Due { .. } | State::InFlight => State::Due { perhaps_delivered: false },
        State::Deferred(until) if until <= now.wall => State::Due { perhaps_delivered: false },
        state => state,
    }
}

/// What may be found of one message: what is certain first, then the state after each change whose sync was not seen yet, in their order. `None`:
/// no such message.
type Possible = Vec<Option<Message>>;

struct Run<'a> {
    rig: &'a mut dyn Rig,
    dice: Dice,
    store: Option<Arc<dyn Store>>,
    now: Time,
    model: BTreeMap<QueueId, Possible>,
    /// Handed out to us.
    active: Vec<QueueId>,
    /// Answers not awaited yet.
    pending: Vec<Pending<()>>,
    disturbed: bool,
    seed: u64,
}

/// Runs `steps` random steps; everything follows from `seed`.
pub fn store_contract(rig: &mut dyn Rig, seed: u64, steps: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build();
    let runtime = runtime.expect("a runtime can be built");
    runtime.block_on(async {
        let now = Time { wall: 1_795_292_466_000, mono: 1 };
        let store = Some(rig.open(now));
        let dice = Dice::new(seed);
        let (model, active, pending) = (BTreeMap::new(), Vec::new(), Vec::new());
        let mut run = Run { rig, dice, store, now, model, active, pending, disturbed: false, seed };
        for _ in 0..steps {
            run.step().await;
        }
        if run.disturbed {
            run.disturb().await;
        }
        run.rest().await;
        run.reopen(false).await;
    });
}

impl Run<'_> {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().expect("open between steps"))
    }

    async fn step(&mut self) {
        match self.dice.roll(100) {
            0..30 => self.accept().await,
            30..45 => self.claim(),
            45..70 => self.record().await,
            70..75 => self.bounce().await,
            75..79 => self.expand().await,
            79..87 => self.verb().await,
            87..90 => self.give_back(),
            90..93 => self.now = self.now.plus(self.dice.roll(2_000)),
            93..95 => self.check(false).await,
            95..97 => self.disturb().await,
            97 => self.rest().await,
            98 => self.reopen(self.disturbed).await,
            _ => self.reopen(true).await,
        }
    }

    async fn disturb(&mut self) {
        if self.disturbed {
            self.rig.calm();
            self.disturbed = false;
            // The store comes back by itself; until then it refuses.
            while self.store().room(0).is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            // Errors of that time are no news; one good commit, and all that was refused then is refused for good.
            for pending in std::mem::take(&mut self.pending) {
                let _refused_then = pending.await;
            }
            self.accept().await;
            self.rest().await;
        } else {
            self.rest().await;
            self.disturbed = true;
            self.rig.disturb(&mut self.dice);
        }
    }

    /// Awaits what is pending; then everything is certain.
    async fn rest(&mut self) {
        let mut failed = false;
        for pending in std::mem::take(&mut self.pending) {
            failed |= pending.await.is_err();
        }
        assert!(self.disturbed || !failed, "seed {}: an error without a fault", self.seed);
        if !self.disturbed {
            for possible in self.model.values_mut() {
                possible.drain(..possible.len() - 1);
            }
            self.model.retain(|_, possible| possible.last().is_some_and(Option::is_some));
        }
    }

    fn latest(&self, id: QueueId) -> Option<&Message> {
        self.model.get(&id)?.last()?.as_ref()
    }

    /// Notes a change that happened, or may have.
    fn note(&mut self, id: QueueId, message: Message) {
        let finished = message.is_finished();
        let next = (!finished).then_some(message);
        if finished {
            self.active.retain(|active| *active != id);
        }
        self.model.entry(id).or_insert_with(|| vec![None]).push(next);
    }

    fn body(&mut self) -> Vec<u8> {
        let length = match self.dice.roll(20) {
            0 => 20_000 + self.dice.roll(80_000),
            1 => 0,
            2..8 => self.dice.roll(9_000),
            _ => self.dice.roll(400),
        };
        let byte = self.dice.roll(256) as u8;
        (0..length).map(|n| byte.wrapping_add((n / 100) as u8)).collect()
    }

    fn envelope(&mut self, body: &Arc<Vec<u8>>) -> (Envelope, Message) {
        let hold = self.dice.hits(12).then(|| "held".to_owned());
        let queue_only = self.dice.hits(12);
        let count = if self.dice.hits(10) { 20 } else { 1 + self.dice.roll(3) };
        let names: Vec<String> = (0..count).map(|n| format!("user{n}")).collect();
        let recipient =
            |name: &String| Recipient::new(name, Address::from_parts(name, Some("far.example")), "smtp:far");
        let envelope = Envelope {
            id: self.store().new_id(self.now),
            content: crate::ContentId::default(),
            size: 0,
            arrived: self.now.wall,
            origin: Origin::default(),
            sender: Address::from_parts("sender", Some("near.example")),
            sender_given: String::new(),
            message_id: String::new(),
            ret: None,
            envid: String::new(),
            body: Body::SevenBit,
            smtputf8: false,
            requiretls: false,
            by: None,
            priority: 0,
            queue_only,
            prepend: String::new(),
            hold: hold.clone(),
            recipients: names.iter().map(recipient).collect(),
            unknown: Vec::new(),
        };
        let due = State::Due { perhaps_delivered: false };
        let recipients = envelope.recipients.iter().map(|r| (r.address.to_string(), due, 0, String::new())).collect();
        let message = Message { content: Text(Arc::clone(body)), recipients, hold, queue_only };
        (envelope, message)
    }

    async fn accept(&mut self) {
        let body = Arc::new(self.body());
        let count = if self.dice.hits(8) { 3 } else { 1 };
        let (envelopes, messages): (Vec<_>, Vec<_>) = (0..count).map(|_| self.envelope(&body)).unzip();
        let ids: Vec<QueueId> = envelopes.iter().map(|envelope| envelope.id).collect();
        for id in &ids {
            assert!(!self.model.contains_key(id), "seed {}: {id} was given before", self.seed);
        }
        let content = self.store().write(body.len() as u64).and_then(|mut writer| {
            for part in body.chunks(3_000) {
                writer.write(part)?;
            }
            Ok(writer)
        });
        let accepted = match content {
            Ok(content) => self.store().accept(content, envelopes).await,
            Err(error) => Err(error),
        };
        match accepted {
            Ok(accepted) => {
                for (accepted, message) in accepted.into_iter().zip(messages) {
                    let id = accepted.envelope.id;
                    assert_eq!(accepted.envelope.size, body.len() as u64);
                    if message.hold.is_none() && !message.queue_only {
                        self.active.push(id);
                    }
                    self.model.insert(id, vec![Some(message)]);
                }
            }
            Err(error) => {
                assert!(self.disturbed, "seed {}: refused without a fault: {error}", self.seed);
                // Refused is refused for this process; whether a crash undoes that is open.
                for (id, message) in ids.into_iter().zip(messages) {
                    self.model.insert(id, vec![Some(message), None]);
                }
            }
        }
    }

    fn claim(&mut self) {
        let limit = 1 + self.dice.roll(5) as usize;
        for id in self.store().claim(self.now, limit) {
            let message = self.latest(id).unwrap_or_else(|| panic!("seed {}: {id} is finished", self.seed));
            let due = |state: &State| matches!(plain(*state, self.now), State::Due { .. });
            let any = message.recipients.iter().any(|(_, state, ..)| due(state));
            assert!(any && message.hold.is_none() && !message.queue_only, "seed {}: {id} is not due", self.seed);
            assert!(!self.active.contains(&id), "seed {}: {id} handed out twice", self.seed);
            self.active.push(id);
        }
    }

    fn give_back(&mut self) {
        if let Some(id) = self.dice.pick(&self.active) {
            self.active.retain(|active| *active != id);
            self.store().release_claim(id, self.now.wall + self.dice.roll(1_000) as i64);
        }
    }

    /// Random outcomes for what is in flight of a message.
    fn outcomes(&mut self, id: QueueId) -> Option<(Vec<Change>, Message)> {
        let mut message = self.latest(id)?.clone();
        let mut changes = Vec::new();
        for (index, (_, state, tries, reply)) in message.recipients.iter_mut().enumerate() {
            if state.is_finished() || self.dice.hits(4) {
                continue;
            }
            let new = match self.dice.roll(4) {
                0 => NewState::Deferred(self.now.wall + 1 + self.dice.roll(3_000) as i64),
                1 => NewState::Bounced,
                _ => NewState::Delivered,
            };
            *state = match new {
                NewState::Delivered => State::Delivered,
                NewState::Bounced => State::Bounced,
                NewState::Deferred(until) => State::Deferred(until),
            };
            *tries += 1;
            *reply = format!("reply {}", self.dice.roll(1_000));
            changes.push(Change {
                recipient: index as u32,
                state: new,
                at: self.now.wall,
                status: Some(Status::temporary(4, 1)),
                reply: reply.clone(),
                attempted: true,
                warned: false,
            });
        }
        Some((changes, message))
    }

    /// The store gives a message back by itself when nothing of it is in flight any more.
    fn settle(&mut self, id: QueueId) {
        let busy =
            |message: &Message| message.recipients.iter().any(|(_, state, ..)| matches!(state, State::Due { .. }));
        // Only what we left out of the outcomes is still in flight; what was deferred and has come due waits for the next claim.
        if !self.latest(id).is_some_and(busy) {
            self.active.retain(|active| *active != id);
        }
    }

    async fn record(&mut self) {
        let Some(id) = self.dice.pick(&self.active) else { return };
        let Some((changes, message)) = self.outcomes(id) else { return };
        let mut message = message;
        let now = self.now;
        // A claim makes what has come due fly; left out of the outcomes, that is due and no longer deferred in memory only.
        let pending = self.store().record(id, changes);
        self.pending.push(pending);
        message.recipients.iter_mut().for_each(|(_, state, ..)| *state = keep_due(*state, now));
        self.note(id, message);
        self.resolve(id).await;
        if self.dice.hits(6) {
            self.rest().await;
        }
    }

    /// Finds out whether the message is still ours.
    async fn resolve(&mut self, id: QueueId) {
        self.settle(id);
        if self.latest(id).is_some() {
            let page = self.store().list(Select { ids: vec![id], ..Select::default() }, None, 2).await;
            let active = page.is_ok_and(|page| page.first().is_some_and(|summary| summary.active));
            self.active.retain(|own| *own != id || active);
        }
    }

    async fn bounce(&mut self) {
        let Some(id) = self.dice.pick(&self.active) else { return };
        let Some((changes, message)) = self.outcomes(id) else { return };
        let body = Arc::new(self.body());
        let (mut envelope, mut notice) = self.envelope(&body);
        (envelope.hold, envelope.queue_only, notice.hold, notice.queue_only) = (None, false, None, false);
        let bounce = envelope.id;
        let content = bytes::Bytes::copy_from_slice(&body);
        match self.store().record_with(id, changes, Notice { envelope, content }).await {
            Ok(accepted) => {
                assert_eq!(accepted.envelope.id, bounce);
                self.active.push(bounce);
                self.model.insert(bounce, vec![Some(notice)]);
                self.note(id, message);
                self.resolve(id).await;
            }
            Err(error) => {
                assert!(self.disturbed, "seed {}: no bounce without a fault: {error}", self.seed);
                self.model.insert(bounce, vec![Some(notice), None]);
                let before = self.latest(id).cloned();
                let possible = self.model.entry(id).or_default();
                possible.push((!message.is_finished()).then_some(message));
                possible.push(before);
            }
        }
    }

    async fn expand(&mut self) {
        let Some(id) = self.dice.pick(&self.active) else { return };
        let Some(mut message) = self.latest(id).cloned() else { return };
        let open = message.recipients.iter().position(|(_, state, ..)| !state.is_finished());
        let Some(open) = open else { return };
        // Some are finished already: they went to a clone.
        let due = State::Due { perhaps_delivered: false };
        let children: Vec<Recipient> = (0..self.dice.roll(3))
            .map(|n| Recipient {
                state: if self.dice.hits(4) { State::Expanded } else { due },
                ..Recipient::new("list", Address::from_parts(&format!("child{n}"), None), "local")
            })
            .collect();
        let before = message.clone();
        message.recipients[open].1 = State::Expanded;
        let child = |child: &Recipient| (child.address.to_string(), child.state, 0, String::new());
        message.recipients.extend(children.iter().map(child));
        let finished = message.is_finished();
        let clones = self.clones(id, &message);
        let (envelopes, clones): (Vec<_>, Vec<_>) = clones.into_iter().unzip();
        let expansion = Expansion { parents: vec![open as u32], children, clones: envelopes };
        match self.store().expand(id, expansion).await {
            Ok(expanded) => {
                let count = expanded.envelope.map(|envelope| envelope.recipients.len());
                assert_eq!(count, (!finished).then_some(message.recipients.len()), "seed {}", self.seed);
                for (accepted, (clone, text)) in expanded.clones.into_iter().zip(clones) {
                    assert_eq!((accepted.envelope.id, accepted.envelope.size), (clone, text.content.0.len() as u64));
                    self.active.push(clone);
                    self.model.insert(clone, vec![Some(text)]);
                }
            }
            Err(error) => {
                assert!(self.disturbed, "seed {}: not expanded without a fault: {error}", self.seed);
                for (clone, text) in clones {
                    self.model.insert(clone, vec![Some(text), None]);
                }
                let possible = self.model.entry(id).or_default();
                possible.push((!finished).then_some(message));
                possible.push(Some(before));
                return;
            }
        }
        self.note(id, message);
        self.resolve(id).await;
    }

    /// Envelopes for members under another sender, sometimes; none for what may be on hold.
    fn clones(&mut self, id: QueueId, message: &Message) -> Vec<(Envelope, (QueueId, Message))> {
        let held = |possible: &Possible| possible.iter().flatten().any(|message| message.hold.is_some());
        if self.model.get(&id).is_some_and(held) {
            return Vec::new();
        }
        let count = if self.dice.hits(2) { 1 + self.dice.roll(2) } else { 0 };
        let clones = (0..count).map(|_| {
            let (mut envelope, mut clone) = self.envelope(&message.content.0);
            (envelope.hold, envelope.queue_only, clone.hold, clone.queue_only) = (None, false, None, false);
            (envelope.id, (envelope, clone))
        });
        clones.map(|(id, (envelope, clone))| (envelope, (id, clone))).collect()
    }

    async fn verb(&mut self) {
        let all: Vec<QueueId> = self.model.keys().copied().collect();
        let Some(id) = self.dice.pick(&all) else { return };
        let Some(mut message) = self.latest(id).cloned() else { return };
        let select = Select { ids: vec![id], ..Select::default() };
        let store = self.store();
        let verb = self.dice.roll(5);
        let answer = match verb {
            0 | 1 => store.hold(select, "reason".into()).await,
            2 => store.release(select).await,
            3 => store.flush(select).await,
            _ => store.delete(select).await,
        };
        match answer {
            Ok(count) => assert_eq!(count, 1, "seed {}", self.seed),
            // The store says that it could not; it changes nothing then, or changes it when it can.
            Err(_) => assert!(self.disturbed, "seed {}: {answer:?}", self.seed),
        }
        if answer.is_err() {
            return self.doubt(id, verb).await;
        }
        change_by(&mut message, verb);
        self.note_verb(id, message, verb);
    }

    fn note_verb(&mut self, id: QueueId, message: Message, verb: u64) {
        if verb == 4 {
            self.active.retain(|active| *active != id);
            self.model.entry(id).or_default().push(None);
        } else {
            self.note(id, message);
        }
    }

    /// After an error of a verb: the store tells what it will be.
    async fn doubt(&mut self, id: QueueId, verb: u64) {
        let Some(mut message) = self.latest(id).cloned() else { return };
        let found = match self.store().load(id).await {
            Ok(envelope) => Some(envelope),
            Err(Error::Unknown) => None,
            Err(error) => panic!("seed {}: {error}", self.seed),
        };
        let mut changed = message.clone();
        change_by(&mut changed, verb);
        let now = self.now;
        let seen = |message: &Message, envelope: &Envelope| {
            let states = envelope.recipients.iter().map(|recipient| plain(recipient.state, now));
            message.hold == envelope.hold
                && message.queue_only == envelope.queue_only
                && message.at(now).recipients.into_iter().map(|(_, state, ..)| state).eq(states)
        };
        match found {
            None => self.note_verb(id, message, 4),
            Some(envelope) => {
                if seen(&changed, &envelope) {
                    message = changed;
                }
                self.note(id, message);
            }
        }
    }

    /// Compares everything with the model, which then is what was found.
    async fn check(&mut self, after_crash: bool) {
        let store = self.store();
        let mut found = BTreeMap::new();
        let mut after = None;
        loop {
            let page = match store.list(Select::default(), after, 7).await {
                Ok(page) => page,
                Err(error) => panic!("seed {}: list: {error}", self.seed),
            };
            let Some(last) = page.last() else { break };
            after = Some(last.envelope.id);
            found.extend(page.into_iter().map(|summary| (summary.envelope.id, summary)));
        }
        assert_eq!(store.count(Select::default()).await, Ok(found.len() as u64), "seed {}", self.seed);
        for id in found.keys() {
            assert!(self.model.contains_key(id), "seed {}: {id} was never accepted", self.seed);
        }
        for (id, possible) in &mut self.model {
            let actual = match found.get(id) {
                Some(summary) => Some(read(&*store, &summary.envelope).await),
                None => None,
            };
            let fits = |message: &Option<Message>| {
                message.as_ref().map(|m| m.at(self.now)) == actual.as_ref().map(|m| m.at(self.now))
            };
            let start = if after_crash { 0 } else { possible.len() - 1 };
            let at = possible[start..].iter().position(fits);
            assert!(at.is_some(), "seed {}: {id} is\n{actual:?}\nnot one of\n{:?}", self.seed, &possible[start..]);
            if after_crash {
                *possible = vec![actual];
            }
        }
        self.model.retain(|_, possible| possible.iter().any(Option::is_some));
    }

    async fn reopen(&mut self, crash: bool) {
        let store = self.store.take().expect("open between steps");
        if crash {
            self.pending.clear();
            self.rig.crash(store, &mut self.dice);
        } else {
            for pending in std::mem::take(&mut self.pending) {
                assert_eq!(pending.await, Ok(()), "seed {}", self.seed);
            }
            assert_eq!(store.close().await, Ok(()), "seed {}", self.seed);
            drop(store);
        }
        self.rig.calm();
        self.disturbed = false;
        self.active.clear();
        self.store = Some(self.rig.open(self.now));
        self.check(true).await;
    }
}

/// In memory a recipient whose time had come when it was claimed is due; on disk it is deferred until then. Both compare the same later.
fn keep_due(state: State, _now: Time) -> State {
    state
}

fn change_by(message: &mut Message, verb: u64) {
    match verb {
        0 | 1 => message.hold = Some("reason".into()),
        2 => message.hold = None,
        3 => {
            message.queue_only = false;
            for (_, state, ..) in &mut message.recipients {
                if matches!(state, State::Deferred(_)) {
                    *state = State::Due { perhaps_delivered: false };
                }
            }
        }
        _ => {}
    }
}

async fn read(store: &dyn Store, envelope: &Envelope) -> Message {
    let content = match store.content(envelope.id).await {
        Ok(Content::Memory(bytes)) => bytes.to_vec(),
        Ok(Content::File { file, length }) => {
            let mut bytes = vec![0; length as usize];
            let read = durable::read_at_most(&file, &mut bytes, 0).expect("the body can be read");
            assert_eq!(read, bytes.len(), "{}: body is short", envelope.id);
            bytes
        }
        Err(error) => panic!("{}: no content: {error}", envelope.id),
    };
    let recipient =
        |r: &Recipient| (r.address.to_string(), plain(r.state, Time::default()), r.tries, r.last_reply.clone());
    Message {
        content: Text(Arc::new(content)),
        recipients: envelope.recipients.iter().map(recipient).collect(),
        hold: envelope.hold.clone(),
        queue_only: envelope.queue_only,
    }
}
