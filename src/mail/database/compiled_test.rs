//! A table that `makemap` of ours made (`golden/make.sh`). Round trips and damage in files: `table`, where the writer is.

use super::*;

const OURS: &[u8] = include_bytes!("golden/ours.db");
const ROWS: [(&[u8], &[u8], u32); 3] = [(b"alice", b"one", 1), (b"bob", b"two", 2), (b"carol", b"three", 3)];

#[test]
fn a_table_of_ours() {
    let table = Compiled::new(OURS).unwrap();
    assert_eq!((table.count(), table.origin().size), (3, 30));
    let records: Vec<Record> = table.records().map(Result::unwrap).collect();
    let expected = ROWS.map(|(key, value, line)| Record { key: key.to_vec(), value: value.to_vec(), line });
    assert_eq!(records, expected);
    for record in &expected {
        assert_eq!(table.get(&record.key).unwrap().as_ref(), Some(record));
    }
    assert_eq!(table.get(b"dave").unwrap(), None);
    table.verify().unwrap();
}

/// Each byte flipped, and the file cut anywhere.
#[test]
fn damage_is_never_a_wrong_answer() {
    for at in 0..OURS.len() {
        assert!(Compiled::new(&OURS[..at]).is_err(), "{at}");
        let mut bytes = OURS.to_vec();
        bytes[at] ^= 0x41;
        let Ok(table) = Compiled::new(&bytes[..]) else { continue };
        assert!(table.verify().is_err(), "{at}");
        for (key, value, _) in ROWS {
            assert!(table.get(key).map_or(true, |found| found.is_some_and(|record| record.value == value)), "{at}");
        }
    }
}
