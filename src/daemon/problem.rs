//! What is wrong or surprising in a table's entries, told when it is loaded and by `config check`. Called by `live` and `snapshot`.

use compat_table::check::{Format, check, check_text};
use compat_table::virtual_users::check_domains;
use table::{Chosen, Database, Form, Source, Stamp, choose, text};

/// A file larger than this is not gone through while the engine loads it; `makemap` and `config check` tell.
pub(crate) const LOADED: u64 = 16 << 20;

/// The problems of a table of this format, each `file:line: text`. `is_known` says for virtual users and mailboxes whether anybody asks for a
/// domain. Nothing if the file that decides is larger than `limit`, or cannot be read, which is told elsewhere.
pub(crate) fn problems(
    format: Format,
    source: Source,
    limit: u64,
    is_known: Option<&dyn Fn(&str) -> bool>,
) -> Vec<String> {
    let Ok(Chosen { form, .. }) = choose(&source) else { return Vec::new() };
    let file = if form == Form::Text { &source.text } else { &source.compiled };
    if file.as_ref().and_then(|file| Stamp::of(file).ok()).is_none_or(|stamp| stamp.size > limit) {
        return Vec::new();
    }
    let name = source.name.to_string();
    let (mut found, entries) = match form {
        Form::Text => {
            let Ok(text) = text::read(&source) else { return Vec::new() };
            let rows = is_known.map(|_| text::rows(&text).flatten().map(|row| entry(row.line, row.key, row.value)));
            (check_text(format, &name, &text), rows.map(Iterator::collect).unwrap_or_default())
        }
        Form::Compiled => {
            let Ok(database) = Database::of(source) else { return Vec::new() };
            let records = database.records().map_while(Result::ok);
            let entries: Vec<_> = records.map(|record| entry(record.line, &record.key, &record.value)).collect();
            (check(format, &name, borrowed(&entries)), entries)
        }
    };
    if let Some(is_known) = is_known.filter(|_| matches!(format, Format::VirtualUsers | Format::VirtualMailboxes)) {
        found.extend(check_domains(&name, borrowed(&entries), is_known));
    }
    found.sort_by_key(|problem| problem.line);
    found.iter().map(ToString::to_string).collect()
}

/// Line, key, value.
type Entry = (u32, String, String);

/// Old Berkeley files may have a NUL behind each.
fn entry(line: u32, key: &[u8], value: &[u8]) -> Entry {
    let utf8 = |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned();
    (line, utf8(key), utf8(value))
}

fn borrowed(entries: &[Entry]) -> impl Iterator<Item = (u32, &str, &str)> {
    entries.iter().map(|(line, key, value)| (*line, key.as_str(), value.as_str()))
}
