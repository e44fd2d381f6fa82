//! Bounces and warnings.
use crate::job::Job;
use crate::outcome::{Attempt, Fate};
use crate::settings::Settings;
use crate::start::Inner;
use queue::{Change, Envelope, Recipient};
use std::sync::Arc;

pub(crate) struct Failed { index: u32, fate: Fate, attempt: Attempt, expired: bool }
impl Failed {
    pub(crate) fn new(index: u32, fate: &Fate, attempt: &Attempt, expired: bool) -> Self {
        Self { index, fate: fate.clone(), attempt: attempt.clone(), expired }
    }
}
pub(crate) fn wants_warning(_: &Settings, _: &Envelope, _: &Recipient, _: u64) -> bool { false }
pub(crate) async fn finish(_: Arc<Inner>, _: Job, _: Vec<Change>, _: Vec<Failed>, _: Vec<Failed>) {}
