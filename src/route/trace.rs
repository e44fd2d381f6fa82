//! What happened on the way from an address to its verdict, step by step: `postrider explain` and `sendmail -bv` print it.
//! The very same walk that answers RCPT writes it, if asked to.

use crate::{Target, Verdict};
use serde::Serialize;
use serde::ser::{SerializeStruct, Serializer};
use std::fmt::Display;
use table::Why;

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was done: `domaintable`, `virtual-user`, `alias`, `mailer`, …
    pub what: &'static str,
    /// What it was done to.
    pub from: String,
    /// What came out.
    pub to: String,
    /// Why.
    #[serde(serialize_with = "why")]
    pub why: Why,
}

/// A verdict and how it was reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// In order.
    pub steps: Vec<Step>,
    /// The answer.
    pub verdict: Verdict,
}

/// Most steps kept: a list of thousands is explained by its beginning.
const STEPS: usize = 1_000;

/// Writes steps down, or forgets them at no cost.
#[derive(Debug, Default)]
pub(crate) struct Trace(Option<Vec<Step>>);

impl Trace {
    pub(crate) fn kept() -> Self {
        Self(Some(Vec::new()))
    }
    pub(crate) fn step(&mut self, what: &'static str, from: &dyn Display, to: &dyn Display, why: impl FnOnce() -> Why) {
        if let Some(steps) = self.0.as_mut().filter(|steps| steps.len() < STEPS) {
            steps.push(Step { what, from: from.to_string(), to: to.to_string(), why: why() });
        }
    }
    pub(crate) fn into_steps(self) -> Vec<Step> {
        self.0.unwrap_or_default()
    }
}

/// `{source, line, key}`.
pub(crate) fn why<S: Serializer>(why: &Why, out: S) -> Result<S::Ok, S::Error> {
    let mut fields = out.serialize_struct("Why", 3)?;
    fields.serialize_field("source", &*why.source)?;
    fields.serialize_field("line", &why.line)?;
    fields.serialize_field("key", &why.key)?;
    fields.end()
}

pub(crate) fn text<T: Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let mut fields = out.serialize_struct("Target", 6)?;
        fields.serialize_field("address", self.address.as_str())?;
        fields.serialize_field("route", &self.key.to_string())?;
        fields.serialize_field("mailer", self.key.mailer())?;
        fields.serialize_field("controlling", &self.controlling)?;
        fields.serialize_field("owner", &self.owner.as_ref().map(ToString::to_string))?;
        fields.serialize_field("why", &self.why.to_string())?;
        fields.end()
    }
}
