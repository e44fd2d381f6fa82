//! Round trips and damage of compiled tables.

use super::*;
use crate::{Database, Unavailable};
use std::os::unix::fs::FileExt;

fn origin() -> Origin {
    Origin { name: "/t".into(), size: 1, modified: 2 }
}

fn make(rows: &[(&[u8], &[u8])], duplicate: Duplicate) -> File {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(&file);
    for (line, (key, value)) in (1..).zip(rows) {
        writer.put(key, value, line, duplicate).unwrap();
    }
    writer.finish(origin()).unwrap();
    file
}

fn open(file: &File) -> Result<Database, Unavailable> {
    Database::new("/t".into(), file.try_clone().unwrap())
}

/// As it is taken into use.
fn verify(file: &File) -> Result<Database, Unavailable> {
    Database::of(crate::Source { name: "/t".into(), text: None, compiled: file.try_clone().ok() })
}

fn get(table: &Database, key: &[u8]) -> Option<(Vec<u8>, u32)> {
    table.get(key).unwrap().map(|record| (record.value, record.line))
}

#[test]
fn reads_back_what_was_written() {
    let long = vec![b'x'; 100_000];
    let rows: [(&[u8], &[u8]); 5] = [(b"a", b"1"), (b"", b"empty key"), (b"b", b""), (b"a", b"2"), (b"\xff\0", &long)];
    let table = open(&make(&rows, Duplicate::Keep)).unwrap();
    assert_eq!(get(&table, b"a"), Some((b"1".to_vec(), 1)));
    assert_eq!(get(&table, b""), Some((b"empty key".to_vec(), 2)));
    assert_eq!(get(&table, b"b"), Some((Vec::new(), 3)));
    assert_eq!(get(&table, b"\xff\0"), Some((long.clone(), 5)));
    assert_eq!(get(&table, b"A"), None);
    assert_eq!((table.origin(), &**table.source()), (Some(&origin()), "/t"));
    assert_eq!(table.records().map(|record| record.unwrap().line).collect::<Vec<_>>(), [1, 2, 3, 5]);
    let table = open(&make(&rows, Duplicate::Replace)).unwrap();
    assert_eq!(get(&table, b"a"), Some((b"2".to_vec(), 4)));
    assert_eq!(table.records().map(|record| record.unwrap().line).collect::<Vec<_>>(), [2, 3, 4, 5]);
    let table = open(&make(&rows, Duplicate::Append)).unwrap();
    assert_eq!(get(&table, b"a"), Some((b"1".to_vec(), 1)));
    assert_eq!(table.records().map(|record| record.unwrap().line).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn nothing_and_many() {
    let table = open(&make(&[], Duplicate::Keep)).unwrap();
    assert_eq!((get(&table, b"a"), table.records().count()), (None, 0));
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(&file);
    for n in 0..60_000u32 {
        assert!(!writer.put(format!("user{n}@virt.example").as_bytes(), &n.to_le_bytes(), n, Duplicate::Keep).unwrap());
    }
    // Long written to the disk, and still in the buffer.
    assert!(writer.put(b"user0@virt.example", b"", 0, Duplicate::Keep).unwrap());
    assert!(writer.put(b"user59999@virt.example", b"", 0, Duplicate::Keep).unwrap());
    writer.finish(origin()).unwrap();
    let table = open(&file).unwrap();
    for n in 0..60_000u32 {
        assert_eq!(get(&table, format!("user{n}@virt.example").as_bytes()), Some((n.to_le_bytes().to_vec(), n)));
        assert_eq!(get(&table, format!("nouser{n}@virt.example").as_bytes()), None);
    }
}

/// What is taken into use is looked at as a whole: every byte counts.
#[test]
fn no_damage_passes_when_all_is_looked_at() {
    let long = vec![b'x'; 300_000];
    let many: Vec<Vec<u8>> = (0..300).map(|n| format!("key{n}").into_bytes()).collect();
    let mut rows: Vec<(&[u8], &[u8])> = many.iter().map(|key| (&key[..], &b"value"[..])).collect();
    rows.push((b"long", &long));
    let file = make(&rows, Duplicate::Keep);
    let length = file.metadata().unwrap().len();
    verify(&file).unwrap();
    verify(&make(&[], Duplicate::Keep)).unwrap();
    for at in (512..8_000).step_by(7).chain((8_000..length).step_by(997)).chain(length - 200..length) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
        // The four bytes of a block that mean nothing are under its checksum, too.
        assert!(verify(&file).is_err(), "{at}");
        file.write_all_at(&byte, at).unwrap();
    }
    verify(&file).unwrap();
}

#[test]
fn what_came_through_a_pipe_has_no_lines() {
    let file = tempfile::tempfile().unwrap();
    Writer::new(&file).finish(Origin::default()).unwrap();
    assert_eq!(&**open(&file).unwrap().source(), "/t.db");
}

#[test]
fn too_long_keys_are_refused() {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(&file);
    writer.put(&vec![b'k'; 65_535], b"v", 1, Duplicate::Keep).unwrap();
    assert!(writer.put(&vec![b'k'; 65_536], b"v", 1, Duplicate::Keep).is_err());
    assert!(writer.put(b"v", &vec![b'v'; (16 << 20) + 1], 1, Duplicate::Keep).is_err());
}

/// Each byte flipped, one after the other, at load and under an open table: an answer is right or "unavailable".
#[test]
fn damage_is_never_a_wrong_answer() {
    let rows: [(&[u8], &[u8]); 3] = [(b"alice", b"one"), (b"bob", b"two"), (b"carol", b"three")];
    let file = make(&rows, Duplicate::Keep);
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    let whole = open(&file).unwrap();
    let right = |table: &Database| {
        for (key, value) in rows.iter().copied().chain([(&b"dave"[..], &b""[..])]) {
            match table.get(key) {
                Ok(Some(record)) => assert_eq!(record.value, value),
                Ok(None) => assert_eq!(key, b"dave"),
                Err(_) => {}
            }
        }
        assert!(table.records().filter_map(Result::ok).all(|record| rows.contains(&(&record.key, &record.value))));
    };
    for (at, byte) in bytes.iter().enumerate() {
        for flip in [0x01, 0x80, 0xff] {
            file.write_all_at(&[byte ^ flip], at as u64).unwrap();
            right(&whole);
            if let Ok(table) = open(&file) {
                right(&table);
            }
        }
        file.write_all_at(&[*byte], at as u64).unwrap();
    }
    for length in 0..bytes.len() as u64 {
        file.set_len(length).unwrap();
        assert!(open(&file).is_err());
        right(&whole);
        // Zeros in place of what was cut, as while a copy is under way: never "not there".
        file.set_len(bytes.len() as u64).unwrap();
        right(&whole);
        file.write_all_at(&bytes, 0).unwrap();
    }
}

/// `cp other.db this.db` under an open table.
#[test]
fn another_table_copied_over_it_is_noticed() {
    let rows: [(&[u8], &[u8]); 2] = [(b"alice", b"one"), (b"bob", b"two")];
    let (file, other) = (make(&rows, Duplicate::Keep), make(&rows, Duplicate::Keep));
    let table = open(&file).unwrap();
    let mut bytes = vec![0; usize::try_from(other.metadata().unwrap().len()).unwrap()];
    other.read_exact_at(&mut bytes, 0).unwrap();
    file.write_all_at(&bytes, 0).unwrap();
    for key in [&b"alice"[..], b"nobody"] {
        assert_eq!(table.get(key).unwrap_err().0, "/t.db: its index changed or is damaged");
    }
    assert_eq!(get(&open(&file).unwrap(), b"bob"), Some((b"two".to_vec(), 2)));
}
