//! Tables that stand in the configuration itself. Called by `daemon`.

use crate::{Answer, Hit, Table, Why};
use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

/// A table in memory; keys are folded, the first of a key counts.
#[derive(Debug)]
pub struct Inline {
    name: Arc<str>,
    rows: HashMap<String, String>,
}

impl Inline {
    /// `name` is the setting, e.g. `/etc/mail/postrider.kdl:12`, for provenance.
    pub fn new(name: &str, rows: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut table = Self { name: name.into(), rows: HashMap::new() };
        for (key, value) in rows {
            table.rows.entry(key.to_ascii_lowercase()).or_insert(value);
        }
        table
    }
}

impl Table for Inline {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let hit = self.rows.get(key).map(|value| Hit {
            value: value.clone(),
            why: Why { source: Arc::clone(&self.name), line: 0, key: key.to_owned() },
        });
        Box::pin(ready(Ok(hit)))
    }
}
