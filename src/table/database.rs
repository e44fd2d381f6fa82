//! A table's compiled form, whichever kind of file it is: ours or an old Berkeley DB file, told apart by its magic.

use crate::{Answer, Berkeley, Compiled, Hit, Record, Source, Table, Unavailable, Why};
use std::fs::File;
use std::future::ready;
use std::sync::Arc;

/// A compiled form.
#[derive(Debug)]
pub enum Database {
    /// Made by us.
    Ours(Compiled),
    /// Made by sendmail's or Postfix's tools.
    Berkeley(Berkeley),
}

impl Database {
    /// Opens one. `name` is the path of its text.
    ///
    /// # Errors
    /// If the file is of neither kind, or damaged.
    pub fn new(name: Arc<str>, file: File) -> Result<Self, Unavailable> {
        let mut start = [0; 16];
        let read = durable::read_at_most(&file, &mut start, 0);
        if read.map_err(|error| Unavailable(format!("{name}.db: {error}")))? == 0 {
            return Err(Unavailable(format!("{name}.db: is empty")));
        }
        if Compiled::is_one(&start) {
            Compiled::new(name, file).map(Self::Ours)
        } else if Berkeley::is_one(&start) {
            Berkeley::new(name, file).map(Self::Berkeley)
        } else {
            let text = "of no known format; make it again with makemap or newaliases";
            Err(Unavailable(format!("{name}.db: {text}")))
        }
    }

    /// The compiled form of a source, to be taken into use: all of it is looked at once.
    ///
    /// # Errors
    /// As [`Database::new`], or if there is none, if it is damaged anywhere, or if it has no keys where the text beside it has.
    pub fn of(source: Source) -> Result<Self, Unavailable> {
        let Source { name, text, compiled } = source;
        let file = compiled.ok_or_else(|| Unavailable(format!("{name}.db: cannot be opened")))?;
        let database = Self::new(Arc::clone(&name), file)?;
        match &database {
            Self::Ours(table) => table.verify()?,
            // What makemap leaves when it is killed at once cannot be told from a map of nothing, but by what it was to be made of.
            Self::Berkeley(table) if table.records().next().is_none() && has_entries(&name, text)? => {
                let text =
                    format!("{}: has no keys, but {name} has: was it not finished? Make it again", table.source());
                return Err(Unavailable(text));
            }
            Self::Berkeley(_) => {}
        }
        Ok(database)
    }

    /// The record of a key, byte by byte as given.
    ///
    /// # Errors
    /// If the file cannot be read, changed or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Unavailable> {
        match self {
            Self::Ours(table) => table.get(key),
            Self::Berkeley(table) => table.get(key),
        }
    }

    /// All records; ends after the first error.
    #[must_use]
    pub fn records(&self) -> Box<dyn Iterator<Item = Result<Record, Unavailable>> + '_> {
        match self {
            Self::Ours(table) => Box::new(table.records()),
            Self::Berkeley(table) => Box::new(table.records()),
        }
    }

    /// The path that hits name: the text's, or `X.db` where lines are not known.
    #[must_use]
    pub fn source(&self) -> &Arc<str> {
        match self {
            Self::Ours(table) => table.source(),
            Self::Berkeley(table) => table.source(),
        }
    }
}

/// Whether there is any line that is neither a comment nor continues one, in whatever format.
fn has_entries(name: &Arc<str>, text: Option<File>) -> Result<bool, Unavailable> {
    if text.is_none() {
        return Ok(false);
    }
    let text = crate::text::read(&Source { name: Arc::clone(name), text, compiled: None })?;
    let is_entry = |line: &[u8]| line.first().is_some_and(|first| !b"# \t\r".contains(first));
    Ok(text.split(|byte| *byte == b'\n').any(is_entry))
}

impl Table for Database {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        let found = self.get(key.as_bytes()).map(|found| {
            found.map(|record| Hit {
                value: String::from_utf8_lossy(&record.value).into_owned(),
                why: Why { source: Arc::clone(self.source()), line: record.line, key: key.to_owned() },
            })
        });
        Box::pin(ready(found))
    }
}
