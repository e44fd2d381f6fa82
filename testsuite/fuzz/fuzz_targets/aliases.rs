//! Aliases files: nothing panics, every alias is found again, and a value never grows an entry on its way to the engine.
#![no_main]

use compat_table::{Aliases, entries};
use libfuzzer_sys::fuzz_target;
use table::{AliasEntry, Table as _, alias_entries, alias_value};

fuzz_target!(|data: &[u8]| {
    let local = |domain: &str| domain.len() % 2 == 0;
    let loaded = [Aliases::read("aliases", data, None), Aliases::read("aliases", data, Some(&local))];
    for table in loaded.into_iter().flatten() {
        assert!(table.warnings().iter().all(|line| line.starts_with("aliases: ") && !line.contains('\n')));
        for (key, value) in table.iter() {
            assert!(!key.is_empty() && !value.is_empty() && !value.contains('\n'));
            assert_eq!(key, key.to_ascii_lowercase());
            same(&value);
        }
        assert!(table.counts().aliases >= table.iter().count());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        same(text);
    }
    for word in compat_table::class::read(data, table::Words::All) {
        assert!(!word.text.is_empty() && !word.text.contains(['#', ' ', '\n']));
    }
});

/// What is written for the engine is what it reads.
fn same(value: &str) {
    let found = entries(value);
    let canonical = alias_value(&found);
    let line = |text: &String| text.replace(['\n', '\r'], " ");
    let one_line: Vec<AliasEntry> = found
        .iter()
        .map(|entry| match entry {
            AliasEntry::Address(text) => AliasEntry::Address(line(text)),
            AliasEntry::Mailbox(text) => AliasEntry::Mailbox(line(text)),
            AliasEntry::Program(text) => AliasEntry::Program(line(text)),
            AliasEntry::File(text) => AliasEntry::File(line(text)),
            AliasEntry::Include(text) => AliasEntry::Include(line(text).trim().to_owned()),
        })
        .collect();
    assert_eq!(alias_entries(&canonical), one_line, "{value:?}");
}
