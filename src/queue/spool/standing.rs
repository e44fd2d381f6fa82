//! Where each recipient stands, in eight bytes: what the index keeps of an envelope in memory.

use crate::{Change, NewState, State};

/// One recipient's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing(i64);

const DUE: i64 = i64::MIN;
const DUE_PERHAPS: i64 = i64::MIN + 1;
const FLYING: i64 = i64::MIN + 2;
const FLYING_PERHAPS: i64 = i64::MIN + 3;
const EXPANDED: i64 = i64::MAX - 2;
const BOUNCED: i64 = i64::MAX - 1;
const DELIVERED: i64 = i64::MAX;

impl Standing {
    pub fn new(state: State) -> Self {
        Self(match state {
            State::Due { perhaps_delivered: false } => DUE,
            State::Due { perhaps_delivered: true } => DUE_PERHAPS,
            State::InFlight => FLYING,
            // Times at the ends of the scale would read as other states.
            State::Deferred(until) => until.clamp(FLYING_PERHAPS + 1, EXPANDED - 1),
            State::Expanded => EXPANDED,
            State::Delivered => DELIVERED,
            State::Bounced => BOUNCED,
        })
    }
    pub fn state(self) -> State {
        match self.0 {
            DUE => State::Due { perhaps_delivered: false },
            DUE_PERHAPS => State::Due { perhaps_delivered: true },
            FLYING | FLYING_PERHAPS => State::InFlight,
            EXPANDED => State::Expanded,
            BOUNCED => State::Bounced,
            DELIVERED => State::Delivered,
            until => State::Deferred(until),
        }
    }
    pub const fn raw(self) -> i64 {
        self.0
    }
    pub const fn from_raw(raw: i64) -> Self {
        Self(raw)
    }
    pub fn after(change: &Change) -> Self {
        Self::new(match change.state {
            NewState::Delivered => State::Delivered,
            NewState::Bounced => State::Bounced,
            NewState::Deferred(until) => State::Deferred(until),
        })
    }
    pub const fn is_finished(self) -> bool {
        self.0 >= EXPANDED
    }
    pub const fn is_due(self) -> bool {
        self.0 <= DUE_PERHAPS
    }
    pub const fn is_flying(self) -> bool {
        self.0 == FLYING || self.0 == FLYING_PERHAPS
    }
    /// The last attempt's outcome is unknown.
    pub const fn is_doubtful(self) -> bool {
        self.0 == DUE_PERHAPS || self.0 == FLYING_PERHAPS
    }
    /// The time until which it is deferred.
    pub fn deferred(self) -> Option<i64> {
        match self.state() {
            State::Deferred(until) => Some(until),
            _ => None,
        }
    }
    /// Handed out: what is due at `now` flies.
    pub fn take_off(&mut self, now: i64) {
        match self.0 {
            DUE => self.0 = FLYING,
            DUE_PERHAPS => self.0 = FLYING_PERHAPS,
            _ if self.deferred().is_some_and(|until| until <= now) => self.0 = FLYING,
            _ => {}
        }
    }
    /// Given back: what flies is due.
    pub fn land(&mut self) {
        match self.0 {
            FLYING => self.0 = DUE,
            FLYING_PERHAPS => self.0 = DUE_PERHAPS,
            _ => {}
        }
    }
    /// As a start finds it: what flies when the spool is closed was cut off, and may have arrived.
    pub fn cut_off(self) -> Self {
        if self.is_flying() { Self(DUE_PERHAPS) } else { self }
    }
    /// Made due now by an operator, if it waits.
    pub fn flush(&mut self) {
        if self.deferred().is_some() {
            self.0 = DUE;
        }
    }
    /// Deferred until then at the latest.
    pub fn not_after(&mut self, limit: i64) {
        if let Some(until) = self.deferred() {
            *self = Self::new(State::Deferred(until.min(limit)));
        }
    }
    /// The wall clock jumped by so much.
    pub fn shift(&mut self, by: i64) {
        if let Some(until) = self.deferred() {
            *self = Self::new(State::Deferred(until.saturating_add(by)));
        }
    }
    /// The engine died at about `now`: what was due may have been in flight.
    pub fn doubt(&mut self, now: i64) {
        self.land();
        if self.0 == DUE || self.deferred().is_some_and(|until| until <= now) {
            self.0 = DUE_PERHAPS;
        }
    }
}

/// The recipients of one message. One recipient is by far the most common and takes no allocation.
#[derive(Clone, Debug)]
pub(crate) enum Standings {
    One(Standing),
    Many(Box<[Standing]>),
}

impl FromIterator<Standing> for Standings {
    fn from_iter<I: IntoIterator<Item = Standing>>(list: I) -> Self {
        let all: Vec<Standing> = list.into_iter().collect();
        match all.as_slice() {
            [one] => Self::One(*one),
            _ => Self::Many(all.into()),
        }
    }
}

impl Standings {
    pub fn as_slice(&self) -> &[Standing] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(all) => all,
        }
    }
    pub fn as_mut_slice(&mut self) -> &mut [Standing] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(all) => all,
        }
    }
    pub fn all_finished(&self) -> bool {
        self.as_slice().iter().all(|s| s.is_finished())
    }
    pub fn extend(&mut self, more: impl Iterator<Item = Standing>) {
        *self = self.as_slice().iter().copied().chain(more).collect();
    }
    /// The earliest time at which something is to be done, given that what is due is due at `asap`.
    pub fn earliest(&self, asap: i64) -> Option<i64> {
        let times = self.as_slice().iter().filter_map(|s| if s.is_due() { Some(asap) } else { s.deferred() });
        times.min()
    }
}
