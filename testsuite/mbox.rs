//! Reads mailboxes as a mail reader would, and counts test ids in them.

use crate::message;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One entry of an mbox.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The `From ` line without its line end.
    pub from_line: String,
    /// Header and body, LF line ends, without the separating empty line.
    pub text: Vec<u8>,
}

impl Entry {
    /// The body: all after the first empty line.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        split(&self.text).1
    }
    /// The header, without the empty line.
    #[must_use]
    pub fn header(&self) -> String {
        String::from_utf8_lossy(split(&self.text).0).into_owned()
    }
    /// The first field of this name, unfolded by nothing.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<String> {
        field(&self.header(), name)
    }
}

/// The first field `name` of a header, any case, with continuation lines joined by their line ends.
#[must_use]
pub fn field(header: &str, name: &str) -> Option<String> {
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        if !key.trim_end().eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(next) = lines.next_if(|l| l.starts_with([' ', '\t'])) {
            value.push('\n');
            value.push_str(next);
        }
        return Some(value);
    }
    None
}

/// Header and body of a message with LF line ends.
#[must_use]
pub fn split(message: &[u8]) -> (&[u8], &[u8]) {
    match message.windows(2).position(|w| w == b"\n\n") {
        Some(at) => (&message[..=at], &message[at + 2..]),
        None => (message, b""),
    }
}

/// Splits an mbox at `From ` lines that stand first or after an empty line. Text before the first one is an error.
pub fn parse(data: &[u8]) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut empty_before = true;
    for line in data.split_inclusive(|&b| b == b'\n') {
        if empty_before && line.starts_with(b"From ") {
            let from_line = String::from_utf8_lossy(line).trim_end().to_owned();
            entries.push(Entry { from_line, text: Vec::new() });
        } else {
            let Some(entry) = entries.last_mut() else {
                return Err(format!("text before the first From line: {:?}", String::from_utf8_lossy(line)));
            };
            entry.text.extend_from_slice(line);
        }
        empty_before = line == b"\n";
    }
    for entry in &mut entries {
        if entry.text.ends_with(b"\n\n") {
            entry.text.pop();
        }
    }
    Ok(entries)
}

/// The entries of a file; none if it does not exist.
pub fn read(path: &Path) -> Result<Vec<Entry>, String> {
    match fs::read(path) {
        Ok(data) => parse(&data),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// How often each test id is in these mailboxes, and what is wrong in them (fragments, merged messages).
#[must_use]
pub fn count(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> (BTreeMap<String, usize>, Vec<String>) {
    let (mut ids, mut wrong) = (BTreeMap::new(), Vec::new());
    for path in paths {
        let path = path.as_ref();
        match read(path) {
            Err(e) => wrong.push(e),
            Ok(entries) => {
                for entry in entries.iter().filter(|entry| !is_notes(entry)) {
                    match message::whole(&entry.text) {
                        Ok(id) => *ids.entry(id).or_default() += 1,
                        Err(e) => wrong.push(format!("{}: {e}", path.display())),
                    }
                }
            }
        }
    }
    (ids, wrong)
}

/// Dovecot and c-client keep notes of their own as a first message.
#[must_use]
pub fn is_notes(entry: &Entry) -> bool {
    entry.field("Subject").is_some_and(|text| text.starts_with("DON'T DELETE THIS MESSAGE"))
}

/// The files of a Maildir's `new` and `cur`.
#[must_use]
pub fn maildir(path: &Path) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for folder in ["new", "cur"] {
        if let Ok(entries) = fs::read_dir(path.join(folder)) {
            out.extend(entries.filter_map(|e| fs::read(e.ok()?.path()).ok()));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_a_reader_does() {
        let box_ = b"From a@b Mon\nX-Test-Id: 1\n\nhello\n>From x\n\nFrom c@d Tue\nX-Test-Id: 2\n\nFrom inside a paragraph\n\n";
        // The second message's body line follows an empty line: a reader takes it for a new message.
        let entries = parse(box_).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(entries[0].body(), b"hello\n>From x\n");
        assert!(parse(b"rubbish\n").is_err());
    }
}
