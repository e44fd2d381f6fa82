//! Table kinds by name, so that neither the engine nor the configuration knows sendmail's formats.

use crate::{Table, Unavailable};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Makes a table of some kind from the text of its file. `name` is the path, for provenance only.
pub type Load = fn(name: &str, text: &[u8]) -> Result<Arc<dyn Table>, Unavailable>;

/// The known kinds.
#[derive(Default, Debug)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Load>,
}

impl Registry {
    /// Adds a kind such as `"aliases"`; a later one of the same name replaces it.
    pub fn add(&mut self, kind: &'static str, load: Load) {
        self.kinds.insert(kind, load);
    }
    /// Loads `text` as a table of `kind`.
    ///
    /// # Errors
    /// If the kind is unknown or refuses the text as a whole.
    pub fn load(&self, kind: &str, name: &str, text: &[u8]) -> Result<Arc<dyn Table>, Unavailable> {
        let load = self.kinds.get(kind).ok_or_else(|| Unavailable(format!("no table kind \"{kind}\"")))?;
        load(name, text)
    }
}
