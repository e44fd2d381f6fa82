//! sendmail's aliases file (sendmail.md 3.1), read as text; [`load`] takes the compiled form instead where that decides. Called by
//! `daemon` through the `table::Registry` and by `newaliases`, which prints [`Aliases::problems`] and [`Aliases::counts`].
//!
//! The text is kept as it is; the index has 24 bytes for each alias plus its folded name, and a value is taken apart when it
//! is asked for. Loading is one pass and a sort.

use crate::entry::entries;
use crate::name::{name, spellings};
use crate::program::printable;
use crate::right_side;
use mail::alias::lines::{Logical, Raw, name_end, one_line};
use std::collections::HashMap;
use std::fmt;
use std::future::ready;
use std::ops::Range;
use std::sync::Arc;
use table::{Answer, Database, Form, Hit, Source, Table, Unavailable, Why, alias_value};

/// Offsets are `u32`; a file near that size is no aliases file.
const LIMIT: usize = 1 << 30;
/// More problems than this are counted, not told.
const PROBLEMS: usize = 1_000;

/// Between the name and the key of a duplicate.
const DUPLICATE: &str = "... Warning: duplicate alias name ";

/// How bad a problem is: `newaliases` ends with 70 after an error, with 0 after warnings alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The entry works (a duplicate name).
    Warning,
    /// The line was not used.
    Error,
}

/// Something wrong in the file; prints as sendmail does: `FILE: line 7: missing colon`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// Without file and line.
    pub text: String,
    /// Whether the line was used.
    pub severity: Severity,
    /// The text in the file's own bytes.
    raw: Vec<u8>,
}

impl Problem {
    fn new(file: &Arc<str>, line: u32, severity: Severity, raw: Vec<u8>) -> Self {
        let text = mail::log::safe(&String::from_utf8_lossy(&raw));
        Self { file: Arc::clone(file), line, text, severity, raw }
    }

    fn is_duplicate(&self, line: u32) -> bool {
        self.line == line && self.severity == Severity::Warning && self.text.contains(DUPLICATE)
    }

    /// Says `shown` instead of the name in front.
    fn rename(&mut self, shown: &[u8]) {
        let at = self.raw.windows(DUPLICATE.len()).position(|part| part == DUPLICATE.as_bytes());
        let rest = at.and_then(|at| self.raw.get(at..)).unwrap_or_default();
        *self = Self::new(&self.file, self.line, self.severity, [shown, rest].concat());
    }

    /// As it is displayed, but in the file's own bytes.
    #[must_use]
    pub fn printed(&self) -> Vec<u8> {
        [format!("{}: line {}: ", self.file, self.line).as_bytes(), &printable(&self.raw)].concat()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: line {}: {}", self.file, self.line, self.text)
    }
}

/// What `newaliases` counts. Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Entries made, duplicates too.
    pub aliases: usize,
    /// Longest right-hand side.
    pub longest: usize,
    /// All names and right-hand sides.
    pub total: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { aliases, longest, total } = self;
        write!(f, "{aliases} aliases, longest {longest} bytes, {total} bytes total")
    }
}

/// One alias. Its right-hand side is `text[value]`, line ends and all.
#[derive(Clone, Debug)]
struct Alias {
    key: Range<u32>,
    value: Range<u32>,
    line: u32,
}

/// An aliases file in memory.
pub struct Aliases {
    file: Arc<str>,
    text: Box<[u8]>,
    /// Folded names, one after the other.
    keys: Vec<u8>,
    /// Sorted by name.
    index: Vec<Alias>,
    counts: Counts,
    problems: Vec<Problem>,
    warnings: Vec<String>,
}

impl fmt::Debug for Aliases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aliases({}, {})", self.file, self.counts)
    }
}

/// One alias as `newaliases` stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Folded name, in quotes where it holds blanks.
    pub key: &'a [u8],
    /// Right-hand side in one line, blanks and a CR at its end included.
    pub value: Vec<u8>,
    /// Its first line.
    pub line: u32,
}

/// Loads aliases from the file that decides, text or compiled; a `table::Load`, for kind `"aliases"`.
///
/// # Errors
/// Only if that file cannot be read or is too large; lines that cannot be used are left out and told in `warnings`.
pub fn load(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    load_for(source, None)
}

/// [`load`], for callers that know which domains are local: `user@thishost:` in the text is then an alias for `user`, as it is in
/// the compiled form already.
///
/// # Errors
/// As [`load`].
pub fn load_for(source: Source, is_local: Option<&dyn Fn(&str) -> bool>) -> Result<Arc<dyn Table>, Unavailable> {
    match table::choose(&source)?.form {
        Form::Text => {
            let text = table::text::read(&source)?;
            Ok(Arc::new(Aliases::read(&source.name, &text, is_local)?))
        }
        Form::Compiled => Ok(Arc::new(CompiledAliases(Database::of(source)?))),
    }
}

/// Aliases in a compiled form, ours or sendmail's: the values are right-hand sides as they were written.
#[derive(Debug)]
struct CompiledAliases(Database);

impl Table for CompiledAliases {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        // `@` is sendmail's mark of a finished build, no alias.
        let keys = spellings(key).filter(|key| key != "@");
        let found = keys.map(|key| self.0.get(key.as_bytes())).find(|found| !matches!(found, Ok(None)));
        Box::pin(ready(found.unwrap_or(Ok(None)).map(|found| {
            found.map(|record| Hit {
                value: alias_value(&entries(&String::from_utf8_lossy(&record.value))),
                why: Why { source: Arc::clone(self.0.source()), line: record.line, key: key.to_owned() },
            })
        })))
    }
}

impl Aliases {
    /// Reads `text`. `name` is the path, for provenance. `is_local` says whether a domain is this host's: a name
    /// `user@domain` is then one for `user`, and an error otherwise. Where it is `None`, as in [`load`], which cannot know
    /// the local domains, such names are kept whole under `user@domain`: `root@other.example: eve` never answers for `root`.
    ///
    /// # Errors
    /// If the text is larger than 1 GiB.
    pub fn read(name: &str, text: &[u8], is_local: Option<&dyn Fn(&str) -> bool>) -> Result<Self, Unavailable> {
        if text.len() > LIMIT {
            return Err(Unavailable(format!("{name}: larger than 1 GiB")));
        }
        let (told, text) = (table::text::encoding(text), table::text::unmarked(text));
        let mut reader = Reader {
            table: Self {
                file: name.into(),
                text: text.into(),
                keys: Vec::new(),
                index: Vec::new(),
                counts: Counts::default(),
                problems: Vec::new(),
                warnings: Vec::new(),
            },
            seen: HashMap::new(),
            omitted: 0,
            skipping: false,
        };
        for entry in Logical::new(text) {
            reader.take(&entry, is_local);
        }
        let mut table = reader.finish();
        // Only told: `newaliases` prints what sendmail's does.
        table.warnings.splice(..0, told.map(|told| format!("{name}: line 1: {told}")));
        Ok(table)
    }

    /// What is wrong in the file, in its order, at most 1,000.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Looks at the right-hand sides, too (`newaliases -on`), and adds what is wrong to the problems, in the file's order. Says
    /// whether there is anything. sendmail's duplicates are then called by the last address of their line.
    pub fn check_values(&mut self) -> bool {
        let text = std::mem::take(&mut self.text);
        let mut known = std::mem::take(&mut self.problems).into_iter().peekable();
        let mut bad = false;
        for raw in Logical::new(&text) {
            let bytes = text.get(raw.range.clone()).unwrap_or_default();
            let value = match (bytes.first(), name_end(bytes)) {
                (Some(b'#' | b' ' | b'\t' | b'\n') | None, _) | (_, None) => Vec::new(),
                (_, Some(colon)) => one_line(bytes.get(colon + 1..).unwrap_or_default()),
            };
            let value = value.trim_ascii_end();
            let (mut faults, last) = right_side::faults(value);
            while let Some(mut problem) = known.next_if(|problem| problem.line <= raw.last) {
                match problem.severity {
                    Severity::Error => faults.clear(),
                    Severity::Warning => problem.rename(value.get(last..).unwrap_or_default()),
                }
                self.problems.push(problem);
            }
            bad |= !faults.is_empty();
            let at = self.problems.len() - usize::from(self.problems.last().is_some_and(|p| p.is_duplicate(raw.last)));
            let told = faults.into_iter().map(|(at, what)| {
                let shown = value.get(at..).unwrap_or_default();
                let again = if what == right_side::BAD { [shown, b"... "].concat() } else { Vec::new() };
                let raw_text = [shown, b"... ", &again, what.as_bytes()].concat();
                Problem::new(&self.file, raw.last, Severity::Warning, raw_text)
            });
            let told: Vec<Problem> = told.take(PROBLEMS.saturating_sub(self.problems.len())).collect();
            self.problems.splice(at..at, told);
        }
        self.problems.extend(known);
        self.text = text;
        bad
    }

    /// What `newaliases` prints.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// All aliases in the order of their names: folded name and right-hand side as one line.
    pub fn iter(&self) -> impl Iterator<Item = (String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.rows().map(move |row| (text(row.key), text(&row.value)))
    }

    /// All aliases in the order of their names.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.index.iter().map(|alias| self.row_of(alias))
    }

    /// The alias of a folded name.
    #[must_use]
    pub fn row(&self, key: &[u8]) -> Option<Row<'_>> {
        let at = self.index.binary_search_by(|alias| self.key(alias).cmp(key)).ok()?;
        self.index.get(at).map(|alias| self.row_of(alias))
    }

    fn row_of(&self, alias: &Alias) -> Row<'_> {
        Row { key: self.key(alias), value: self.value(alias), line: alias.line }
    }

    fn key(&self, alias: &Alias) -> &[u8] {
        slice(&self.keys, &alias.key)
    }

    /// The right-hand side as one line.
    fn value(&self, alias: &Alias) -> Vec<u8> {
        let range = alias.value.start as usize..alias.value.end as usize;
        one_line(self.text.get(range).unwrap_or_default())
    }

    fn find(&self, key: &str) -> Option<Hit> {
        let row = spellings(key).find_map(|key| self.row(key.as_bytes()))?;
        Some(Hit {
            value: alias_value(&entries(&String::from_utf8_lossy(&row.value))),
            why: Why { source: Arc::clone(&self.file), line: row.line, key: key.to_owned() },
        })
    }
}

impl Table for Aliases {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(ready(Ok(self.find(key))))
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn slice<'a>(text: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    text.get(range.start as usize..range.end as usize).unwrap_or_default()
}

/// A table being filled.
struct Reader {
    table: Aliases,
    /// Folded name → place in the index.
    seen: HashMap<Box<[u8]>, usize>,
    omitted: usize,
    /// A stray continuation line was told, and neither an entry nor a comment came since.
    skipping: bool,
}

impl Reader {
    fn problem(&mut self, line: u32, severity: Severity, text: impl Into<Vec<u8>>) {
        if self.table.problems.len() >= PROBLEMS {
            self.omitted += 1;
            return;
        }
        let problem = Problem::new(&self.table.file, line, severity, text.into());
        self.table.problems.push(problem);
    }

    fn take(&mut self, raw: &Raw, is_local: Option<&dyn Fn(&str) -> bool>) {
        let Raw { range, line: first, last: line } = raw.clone();
        let bytes = self.table.text.get(range.clone()).unwrap_or_default();
        match bytes.first() {
            // A CR alone is no empty line: sendmail misses its colon.
            None | Some(b'\n') => return,
            Some(b'#') => {
                self.skipping = false;
                return;
            }
            Some(b' ' | b'\t') => {
                if !std::mem::replace(&mut self.skipping, true) {
                    let text = "Non-continuation line starts with space".to_owned();
                    self.problem(line, Severity::Error, text);
                }
                return;
            }
            Some(_) => {}
        }
        self.skipping = false;
        let bytes = self.table.text.get(range.clone()).unwrap_or_default();
        let Some(colon) = name_end(bytes) else {
            let whole = one_line(bytes.trim_ascii_end());
            // sendmail takes the first colon even so, and makes an alias that nothing can ask for.
            let unclosed = whole.contains(&b':') && whole.contains(&b'"');
            let text = if unclosed { [&whole[..], b"... Unbalanced '\"'"].concat() } else { b"missing colon".to_vec() };
            return self.problem(line, Severity::Error, text);
        };
        let written = one_line(bytes.get(..colon).unwrap_or_default());
        let value = one_line(bytes.get(colon + 1..).unwrap_or_default());
        let key = match name(written.trim_ascii_end(), is_local) {
            Ok(key) => key,
            Err(texts) => {
                for text in texts {
                    self.problem(line, Severity::Error, text);
                }
                return;
            }
        };
        if value.is_empty() {
            let end = bytes.iter().rposition(|b| !matches!(b, b'\r' | b'\n')).map_or(0, |at| at + 1);
            let whole = bytes.get(..end).unwrap_or_default();
            let start = whole.get(..whole.len().min(40)).unwrap_or_default();
            return self.problem(line, Severity::Error, [start, b"... missing value for alias"].concat());
        }
        self.count(key.len(), value.len());
        if self.put(&key, range.start + colon + 1..range.end, first) {
            let text = [&written[..], DUPLICATE.as_bytes(), &key].concat();
            self.problem(line, Severity::Warning, text);
        }
    }

    fn count(&mut self, key: usize, value: usize) {
        let counts = &mut self.table.counts;
        counts.aliases += 1;
        counts.longest = counts.longest.max(value);
        counts.total += key + value;
    }

    /// Whether the name was there before.
    fn put(&mut self, key: &[u8], value: Range<usize>, line: u32) -> bool {
        // Below LIMIT, which read() checked; names are never longer than the text they stand in.
        let short = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let value = short(value.start)..short(value.end);
        if let Some(alias) = self.seen.get(key).and_then(|&at| self.table.index.get_mut(at)) {
            (alias.value, alias.line) = (value, line);
            return true;
        }
        let start = short(self.table.keys.len());
        self.table.keys.extend_from_slice(key);
        let key_range = start..short(self.table.keys.len());
        self.seen.insert(key.into(), self.table.index.len());
        self.table.index.push(Alias { key: key_range, value, line });
        false
    }

    fn finish(mut self) -> Aliases {
        let keys = &self.table.keys;
        self.table.index.sort_unstable_by(|a, b| slice(keys, &a.key).cmp(slice(keys, &b.key)));
        self.table.index.shrink_to_fit();
        self.table.keys.shrink_to_fit();
        self.table.warnings = self.table.problems.iter().map(ToString::to_string).collect();
        if self.omitted > 0 {
            let text = format!("{}: {} more problems", self.table.file, self.omitted);
            self.table.warnings.push(text);
        }
        self.table
    }
}

#[cfg(test)]
#[path = "aliases_test.rs"]
mod tests;
