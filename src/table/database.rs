//! A table's compiled form, ours or an old Berkeley DB file (`mail::database`): from an open file, with the names for hits and errors.
//! Called through [`crate::Registry`], by `compat/table` for aliases, and by `makemap -u`, `editmap` and `praliases`.

use crate::stored::Stored;
use crate::{Answer, Hit, Source, Table, Unavailable, Why};
use mail::database::layout::Origin;
use mail::database::{self, Berkeley, Broken, Compiled, Record, berkeley};
use std::fs::File;
use std::future::ready;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A file changed so recently may change again within the same tick of its clock, unseen.
const STILL: Duration = Duration::from_millis(20);

/// A compiled form.
#[derive(Debug)]
pub struct Database {
    /// `X.db`.
    name: Arc<str>,
    /// What hits name.
    source: Arc<str>,
    content: database::Database<Stored>,
}

impl Database {
    /// Opens one. `name` is the path of its text.
    ///
    /// # Errors
    /// If the file is of neither kind, damaged, or is being written. A Berkeley file that was written this moment is waited for, at most
    /// 20 ms.
    pub fn new(name: Arc<str>, file: File) -> Result<Self, Unavailable> {
        let name: Arc<str> = format!("{name}.db").into();
        let content = open(file).map_err(|what| unavailable(&name, &what))?;
        let text = match &content {
            database::Database::Ours(table) => table.origin().name.as_str(),
            // There are no lines to point to in the text.
            database::Database::Berkeley(_) => "",
        };
        let source = if text.is_empty() { Arc::clone(&name) } else { text.into() };
        Ok(Self { name, source, content })
    }

    /// The compiled form of a source, to be taken into use: all of it is looked at once.
    ///
    /// # Errors
    /// As [`Database::new`], or if there is none, if it is damaged anywhere, or if it has no keys where the text beside it has.
    pub fn of(source: Source) -> Result<Self, Unavailable> {
        let Source { name, text, compiled } = source;
        let file = compiled.ok_or_else(|| Unavailable(format!("{name}.db: cannot be opened")))?;
        let database = Self::new(Arc::clone(&name), file)?;
        match &database.content {
            database::Database::Ours(table) => table.verify().map_err(|what| database.unavailable(&what))?,
            // What makemap leaves when it is killed at once cannot be told from a map of nothing, but by what it was to be made of.
            database::Database::Berkeley(table) if table.records().next().is_none() && has_entries(&name, text)? => {
                let what = format_args!("has no keys, but {name} has: was it not finished? Make it again");
                return Err(database.unavailable(&what));
            }
            database::Database::Berkeley(_) => {}
        }
        Ok(database)
    }

    /// What it was made from, if it says so.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        match &self.content {
            database::Database::Ours(table) => Some(table.origin()),
            database::Database::Berkeley(_) => None,
        }
    }

    /// The record of a key, byte by byte as given.
    ///
    /// # Errors
    /// If the file cannot be read, changed or is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Record>, Unavailable> {
        self.content.get(key).map_err(|what| self.unavailable(&what))
    }

    /// All records; ends after the first error.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, Unavailable>> {
        self.content.records().map(|record| record.map_err(|what| self.unavailable(&what)))
    }

    /// The path that hits name: the text's, or `X.db` where lines are not known.
    #[must_use]
    pub const fn source(&self) -> &Arc<str> {
        &self.source
    }

    fn unavailable(&self, what: &dyn std::fmt::Display) -> Unavailable {
        unavailable(&self.name, what)
    }
}

fn unavailable(name: &str, what: &dyn std::fmt::Display) -> Unavailable {
    Unavailable(format!("{name}: {what}"))
}

fn open(file: File) -> Result<database::Database<Stored>, Broken> {
    let mut start = [0; 16];
    durable::read_at_most(&file, &mut start, 0)?;
    if !berkeley::is_one(&start) {
        return database::Database::new(Stored::checked(file));
    }
    let stored = Stored::unchanging(file)?;
    let fresh =
        stored.stamp().map_or(Duration::ZERO, |stamp| STILL.saturating_sub(stamp.apart_from(SystemTime::now())));
    if !fresh.is_zero() {
        std::thread::sleep(fresh);
        // Not for ever: who writes on will have another version, which is another table.
        stored.unchanged().map_err(|_| "is being written")?;
    }
    Berkeley::new(stored).map(database::Database::Berkeley)
}

/// What a compiled form of ours says that it was made from.
pub(crate) fn origin_of(file: File) -> Option<Origin> {
    Compiled::new(Stored::checked(file)).ok().map(|table| table.origin().clone())
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

#[cfg(test)]
#[path = "database_test.rs"]
mod tests;
