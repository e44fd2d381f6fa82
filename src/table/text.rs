//! Tables read from their text, by makemap's reading rules (sendmail.md §3 "General"): `#` at the start of a line is a comment,
//! a line that starts with a blank is an error, the key ends at the first run of blanks, the value is what follows, verbatim.
//!
//! [`rows`] is the reader for everybody (the formats in `compat/table`, `makemap`, the other kinds here); [`load`] keeps a file
//! in memory: the text as it is, and 11 bytes for each row.

use crate::writer::random_salt;
use crate::{Answer, Hit, Source, Table, Unavailable, Why};
use mail::database::salted::{Salt, hash};
use std::fmt;
use std::fs::File;
use std::future::ready;
use std::sync::Arc;

/// Offsets are `u32`; a larger file is no table that anybody reads as text.
const LIMIT: u64 = 1 << 30;
/// What makemap's buffer of 1,024 bytes holds of a line. It takes what is left of a longer one for a line of its own and counts
/// wrong from there; here such a line is left out whole.
const LINE: usize = 1_022;
/// More problems than this are counted, not told.
const PROBLEMS: usize = 1_000;

/// What some editors put in front of a text in UTF-8: no part of its first entry.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without the mark in front of it.
#[must_use]
pub fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// What is to be told of a text's encoding, if anything.
#[must_use]
pub fn encoding(text: &[u8]) -> Option<&'static str> {
    if text.starts_with(MARK) {
        Some("expected no byte order mark in front of the first entry")
    } else if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        Some("expected UTF-8, not UTF-16: nothing in it can be found")
    } else {
        None
    }
}

/// How lines are read. The default is makemap's without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What ends a key: one byte (`-t`), or any run of blanks. With a byte, a line may start with a blank.
    pub delimiter: Option<u8>,
    /// A line that starts with it is a comment (`-D`).
    pub comment: u8,
    /// A key may stand alone (`-e`).
    pub empty_values: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self { delimiter: None, comment: b'#', empty_values: false }
    }
}

/// A row as it is written: nothing folded, nothing trimmed at the end, a CR included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// Line, from 1.
    pub line: u32,
    /// Up to the first blank.
    pub key: &'a [u8],
    /// What follows the blanks, to the end of the line.
    pub value: &'a [u8],
}

/// A line that cannot be used; `makemap` prints it in these words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Line, from 1.
    pub line: u32,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Fault {
    /// `line 3: no RHS for LHS x`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl Rules {
    const fn separates(self, byte: u8) -> bool {
        match self.delimiter {
            Some(delimiter) => byte == delimiter,
            None => is_blank(byte),
        }
    }

    /// The key of a line: all before the first separator.
    #[must_use]
    pub fn key(self, text: &[u8]) -> &[u8] {
        let end = text.iter().position(|&b| self.separates(b)).unwrap_or(text.len());
        text.get(..end).unwrap_or_default()
    }

    /// Reads one line without its LF. `None`: empty or a comment.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn row<'a>(self, line: u32, text: &'a [u8]) -> Option<Result<Row<'a>, Fault>> {
        let text = if line == 1 { unmarked(text) } else { text };
        let first = *text.first()?;
        if first == self.comment {
            return None;
        }
        let fault = |what: String| Some(Err(Fault { line, what }));
        if text.len() > LINE {
            return fault("line too long (1024 bytes max)".to_owned());
        }
        // sendmail sees no end of the line in such a one, and says that it is too long.
        if memchr::memchr(0, text).is_some() {
            return fault("NUL in line".to_owned());
        }
        if self.delimiter.is_none() && is_blank(first) {
            return fault("syntax error (leading space)".to_owned());
        }
        let key = self.key(text);
        let rest = text.get(key.len()..).unwrap_or_default();
        let skip = rest.iter().position(|&b| !self.separates(b)).unwrap_or(rest.len());
        let value = rest.get(skip..).unwrap_or_default();
        if value.is_empty() && !self.empty_values {
            return fault(format!("no RHS for LHS {}", String::from_utf8_lossy(key)));
        }
        Some(Ok(Row { line, key, value }))
    }

    /// Reads a whole text.
    #[must_use]
    pub const fn rows(self, text: &[u8]) -> Rows<'_> {
        Rows { rules: self, rest: text, line: 0 }
    }
}

/// What C calls white space: FF, VT and CR too.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 0x0b | 0x0c)
}

/// The rows of a text by makemap's rules, and its faults, in order.
#[must_use]
pub fn rows(text: &[u8]) -> Rows<'_> {
    Rules::default().rows(text)
}

/// Iterator of [`rows`].
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    rules: Rules,
    rest: &'a [u8],
    line: u32,
}

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
            let (text, rest) = self.rest.split_at(end);
            self.rest = rest.get(1..).unwrap_or_default();
            self.line = self.line.saturating_add(1);
            if let Some(row) = self.rules.row(self.line, text) {
                return Some(row);
            }
        }
        None
    }
}

/// Loads a text file; a [`crate::Load`], of kind `"text"`.
///
/// # Errors
/// If there is no text, or it cannot be read, changes meanwhile, or is larger than 1 GiB.
pub fn load(source: Source) -> Result<Arc<dyn Table>, Unavailable> {
    let text = read(&source)?;
    Ok(Arc::new(Text::new(&source.name, text)?))
}

/// Reads the text of a source whole.
///
/// # Errors
/// As [`load`].
pub fn read(source: &Source) -> Result<Vec<u8>, Unavailable> {
    let name = &source.name;
    let file = source.text.as_ref().ok_or_else(|| Unavailable(format!("{name}: no text file")))?;
    read_file(name, file)
}

fn read_file(name: &str, file: &File) -> Result<Vec<u8>, Unavailable> {
    let failed = |error: std::io::Error| Unavailable(format!("{name}: {error}"));
    let before = crate::Stamp::of(file).map_err(failed)?;
    if before.size > LIMIT {
        return Err(Unavailable(format!("{name}: larger than 1 GiB")));
    }
    let mut text = vec![0; usize::try_from(before.size).unwrap_or(0)];
    // From offset 0 whatever the descriptor's position is: it may be shared with whoever passed it.
    let length = durable::read_at_most(file, &mut text, 0).map_err(failed)?;
    let after = crate::Stamp::of(file).map_err(failed)?;
    if length != text.len() || before != after {
        return Err(Unavailable(format!("{name}: changed while it was read")));
    }
    Ok(text)
}

/// A row's place: `EMPTY` where there is none.
#[derive(Clone, Copy)]
struct Slot {
    offset: u32,
    line: u32,
}

const EMPTY: Slot = Slot { offset: u32::MAX, line: 0 };

/// A text table in memory.
pub struct Text {
    name: Arc<str>,
    text: Box<[u8]>,
    salt: Salt,
    /// Open addressing, three quarters full.
    slots: Box<[Slot]>,
    warnings: Vec<String>,
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Text({}, {} bytes)", self.name, self.text.len())
    }
}

impl Text {
    /// Indexes a text. `name` is its path, for provenance.
    ///
    /// # Errors
    /// If it is larger than 1 GiB.
    pub fn new(name: &str, text: Vec<u8>) -> Result<Self, Unavailable> {
        if text.len() as u64 > LIMIT {
            return Err(Unavailable(format!("{name}: larger than 1 GiB")));
        }
        let count = rows(&text).filter(Result::is_ok).count();
        let slots = vec![EMPTY; count + count / 3 + 1].into_boxed_slice();
        let mut table = Self { name: name.into(), text: text.into(), salt: random_salt(), slots, warnings: Vec::new() };
        table.index();
        Ok(table)
    }

    fn index(&mut self) {
        let text = std::mem::take(&mut self.text);
        let (mut folded, mut omitted) = (Vec::new(), 0usize);
        for row in rows(&text) {
            let fault = match row {
                Ok(row) => {
                    folded.clear();
                    folded.extend(row.key.iter().map(u8::to_ascii_lowercase));
                    let offset = row.key.as_ptr() as usize - text.as_ptr() as usize;
                    self.put(&text, &folded, Slot { offset: u32::try_from(offset).unwrap_or(u32::MAX), line: row.line })
                }
                Err(fault) => Some(fault),
            };
            match fault {
                Some(fault) if self.warnings.len() < PROBLEMS => {
                    let warning = format!("{}:{}: {}", self.name, fault.line, mail::log::safe(&fault.what));
                    self.warnings.push(warning);
                }
                Some(_) => omitted += 1,
                None => {}
            }
        }
        if omitted > 0 {
            self.warnings.push(format!("{}: {omitted} more problems", self.name));
        }
        self.text = text;
    }

    /// The first of a key stays (sendmail.md §3).
    fn put(&mut self, text: &[u8], folded: &[u8], row: Slot) -> Option<Fault> {
        let (at, found) = self.place(text, folded)?;
        if found.is_some() {
            let what = format!("key {}: duplicate key, the first one counts", String::from_utf8_lossy(folded));
            return Some(Fault { line: row.line, what });
        }
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = row;
        }
        None
    }

    /// The slot of a folded key: with its row, or where it would stand.
    fn place<'a>(&self, text: &'a [u8], key: &[u8]) -> Option<(usize, Option<(Slot, Row<'a>)>)> {
        let count = self.slots.len();
        let start = hash(self.salt, key) as usize % count.max(1);
        for at in (start..count).chain(0..start) {
            let slot = *self.slots.get(at)?;
            if slot.offset == EMPTY.offset {
                return Some((at, None));
            }
            let row = row_at(text, slot)?;
            if row.key.len() == key.len() && row.key.iter().map(u8::to_ascii_lowercase).eq(key.iter().copied()) {
                return Some((at, Some((slot, row))));
            }
        }
        None
    }

    fn find(&self, key: &str) -> Option<Hit> {
        let (_, found) = self.place(&self.text, key.as_bytes())?;
        let (slot, row) = found?;
        Some(Hit {
            value: String::from_utf8_lossy(row.value).into_owned(),
            why: Why { source: Arc::clone(&self.name), line: slot.line, key: key.to_owned() },
        })
    }
}

fn row_at(text: &[u8], slot: Slot) -> Option<Row<'_>> {
    let rest = text.get(slot.offset as usize..)?;
    let line = rest.get(..memchr::memchr(b'\n', rest).unwrap_or(rest.len()))?;
    Rules::default().row(slot.line, line)?.ok()
}

impl Table for Text {
    fn look_up<'a>(&'a self, key: &'a str) -> Answer<'a, Hit> {
        Box::pin(ready(Ok(self.find(key))))
    }
    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(table: &Text, key: &str) -> Option<(String, u32)> {
        table.find(key).map(|hit| (hit.value, hit.why.line))
    }

    #[test]
    fn makemaps_reading_rules() {
        let text = b"# comment\nKey1  value one # not a comment \n\n leading\nalone\nkey1\tsecond\nKEY2\tv\r\n\r\nx y";
        let table = Text::new("/t", text.to_vec()).unwrap();
        assert_eq!(find(&table, "key1"), Some(("value one # not a comment ".into(), 2)));
        assert_eq!(find(&table, "key2"), Some(("v\r".into(), 7)));
        assert_eq!(find(&table, "x"), Some(("y".into(), 9)));
        assert_eq!(find(&table, "Key1"), None, "callers fold");
        assert_eq!(find(&table, "alone"), None);
        let expected = [
            "/t:4: syntax error (leading space)",
            "/t:5: no RHS for LHS alone",
            "/t:6: key key1: duplicate key, the first one counts",
            "/t:8: syntax error (leading space)",
        ];
        assert_eq!(table.warnings, expected);
    }

    #[test]
    fn other_rules() {
        let rules = Rules { delimiter: Some(b':'), comment: b';', empty_values: true };
        let found: Vec<_> = rules.rows(b"; c\n a b:: v:w\nk\n#x:y").map(|row| row.unwrap()).collect();
        let row =
            |line, key: &'static str, value: &'static str| Row { line, key: key.as_bytes(), value: value.as_bytes() };
        assert_eq!(found, [row(2, " a b", " v:w"), row(3, "k", ""), row(4, "#x", "y")]);
    }

    #[test]
    fn nothing_and_odd_bytes() {
        assert_eq!(find(&Text::new("/t", Vec::new()).unwrap(), ""), None);
        let table = Text::new("/t", b"a\xff\xfe b\xff\nc d\0e\n\0\nx y".to_vec()).unwrap();
        assert_eq!(find(&table, "c"), None);
        assert_eq!(find(&table, "x"), Some(("y".into(), 4)));
        assert_eq!(table.warnings, ["/t:2: NUL in line", "/t:3: NUL in line"]);
    }

    #[test]
    fn lines_longer_than_makemaps_buffer() {
        let value = "v".repeat(1_020);
        let text = format!(
            "k {value}
l {value}v
# {value}{value}
m n\n"
        );
        let table = Text::new("/t", text.into_bytes()).unwrap();
        assert_eq!(find(&table, "k"), Some((value, 1)));
        assert_eq!(find(&table, "l"), None);
        assert_eq!(table.warnings, ["/t:2: line too long (1024 bytes max)"]);
    }

    #[test]
    fn many_rows() {
        let text: String = (0..20_000).map(|n| format!("User{n}@virt.example\tu{n}\n")).collect();
        let table = Text::new("/t", text.into_bytes()).unwrap();
        for n in 0..20_000 {
            assert_eq!(find(&table, &format!("user{n}@virt.example")), Some((format!("u{n}"), n + 1)));
        }
        assert_eq!(find(&table, "user20000@virt.example"), None);
    }
}
