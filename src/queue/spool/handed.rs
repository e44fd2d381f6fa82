//! Accepted messages on their way to whoever asked. If he has gone before he took them (his session was cut after the
//! sync), they must not stay "handed out" for ever: dropping this gives them back.

use super::Shared;
use crate::Accepted;
use std::sync::Arc;

/// Accepted messages not yet taken.
pub(crate) struct Handed {
    list: Option<Vec<Accepted>>,
    shared: Arc<Shared>,
}

impl Handed {
    pub fn new(list: Vec<Accepted>, shared: Arc<Shared>) -> Self {
        Self { list: Some(list), shared }
    }
    /// Taken: the taker tries them or gives them back.
    pub fn take(mut self) -> Vec<Accepted> {
        self.list.take().unwrap_or_default()
    }
    /// Nothing was accepted after all.
    pub fn disarm(mut self) {
        self.list = None;
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        for accepted in self.list.take().unwrap_or_default() {
            self.shared.give_back(accepted.envelope.id, None);
        }
    }
}
