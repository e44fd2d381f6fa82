//! LMDB files: whatever is in one, an import ends, is no larger than the file, and every row of it is found.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use stored::stored;
use table::Lmdb;

fuzz_target!(|data: &[u8]| {
    let Ok(table) = Lmdb::new("/t.lmdb", &stored(data)) else { return };
    let (mut bytes, mut last) = (0, None);
    for record in table.records() {
        bytes += record.key.len() + record.value.len();
        assert!(last.as_ref() < Some(&record.key), "sorted, each key once");
        assert_eq!(table.get(&record.key).as_ref(), Some(&record));
        last = Some(record.key);
    }
    // Nodes of a damaged page may lie over each other: a pointer has two bytes, what it points to at most a page.
    assert!(bytes <= data.len() * data.len());
    let _ = table.get(b"alice");
});
