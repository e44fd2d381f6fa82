//! Table kinds by name, so that neither the engine nor the configuration knows sendmail's formats.

use crate::{Table, Unavailable};
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

/// What a table is loaded from. The files are open: whoever loads opens no path (the engine cannot).
#[derive(Debug)]
pub struct Source {
    /// Path of the text file, for provenance and messages only.
    pub name: Arc<str>,
    /// The text file, if there is one.
    pub text: Option<File>,
    /// The compiled form beside it (`X.db`), if there is one: ours or an old Berkeley DB file.
    pub compiled: Option<File>,
}

/// Makes a table of some kind.
pub type Load = Arc<dyn Fn(Source) -> Result<Arc<dyn Table>, Unavailable> + Send + Sync>;

/// The known kinds.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Load>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}

impl Registry {
    /// The engine's kinds that are loaded from files. The names of sendmail's map classes all mean "text or compiled, whichever
    /// decides".
    #[must_use]
    pub fn standard() -> Self {
        let mut registry = Self::default();
        for class in ["map", "hash", "btree", "dbm", "cdb", "implicit"] {
            registry.add(class, crate::load_map);
        }
        registry.add("text", crate::text::load);
        registry.add("lmdb", crate::load_lmdb);
        registry.add("cidr", crate::cidr::load);
        registry.add("regexp", crate::pattern::load);
        registry.add("pcre", crate::pattern::load);
        registry
    }
    /// Adds a kind such as `"aliases"`; a later one of the same name replaces it.
    pub fn add<F>(&mut self, kind: &'static str, load: F)
    where
        F: Fn(Source) -> Result<Arc<dyn Table>, Unavailable> + Send + Sync + 'static,
    {
        self.kinds.insert(kind, Arc::new(load));
    }
    /// Whether there is such a kind.
    #[must_use]
    pub fn knows(&self, kind: &str) -> bool {
        self.kinds.contains_key(kind)
    }
    /// Loads a table of `kind`.
    ///
    /// # Errors
    /// If the kind is unknown or refuses the files as a whole.
    pub fn load(&self, kind: &str, source: Source) -> Result<Arc<dyn Table>, Unavailable> {
        let load = self.kinds.get(kind).ok_or_else(|| Unavailable(format!("no table kind \"{kind}\"")))?;
        load(source)
    }
}
