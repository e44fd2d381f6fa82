//! Files made by the real programs (`golden/make.sh`: Debian's sendmail 8.17.1.9 and Postfix 3.7, libdb 5.3), and what is left of
//! them after damage.

use super::*;
use std::collections::HashMap;

const FILES: [(&str, &[u8]); 6] = [
    ("hash", include_bytes!("golden/hash.db")),
    ("btree", include_bytes!("golden/btree.db")),
    ("terminated", include_bytes!("golden/terminated.db")),
    ("duplicates", include_bytes!("golden/duplicates.db")),
    ("postfix-hash", include_bytes!("golden/postfix-hash.db")),
    ("postfix-btree", include_bytes!("golden/postfix-btree.db")),
];

fn told(bytes: &[u8]) -> String {
    Berkeley::new(bytes).map(drop).unwrap_err().to_string()
}

fn expected(name: &str) -> HashMap<Vec<u8>, Vec<u8>> {
    let mut all: HashMap<Vec<u8>, Vec<u8>> =
        (0..60).map(|n| (format!("user{n}@virt.example").into(), format!("u{n}").into())).collect();
    let mut put = |key: &[u8], value: &[u8]| all.insert(key.to_vec(), value.to_vec());
    let postfix = name.starts_with("postfix");
    // Postfix cuts blanks at the end of a line.
    put(b"alice", if postfix { b"value one # no comment" } else { b"value one # no comment " });
    put(b"eight", b"b");
    put(b"m\xfcller", b"M\xfcller");
    put(b"long", format!("{:0900}", 7).as_bytes());
    if postfix {
        put(b"huge", format!("{:09000}", 5).as_bytes());
        put(format!("{:05000}", 3).as_bytes(), b"big key");
    }
    all
}

/// Maps of no row and of a few: libdb sets a page aside for each bucket and writes those that get a key.
#[test]
fn empty_buckets() {
    let empty = Berkeley::new(&include_bytes!("golden/empty.db")[..]).unwrap();
    assert_eq!((empty.get(b"a").unwrap(), empty.records().count()), (None, 0));
    for key in ["", "b", "c", "key7@example.org"] {
        assert_eq!(empty.get(key.as_bytes()).unwrap(), None, "{key}");
    }
    let one = Berkeley::new(&include_bytes!("golden/one.db")[..]).unwrap();
    assert_eq!(one.get(b"only@virt.example").unwrap().unwrap().value, b"u");
    for key in ["", "a", "b", "c", "d"] {
        assert_eq!(one.get(key.as_bytes()).unwrap(), None, "{key}");
    }
    assert_eq!(one.records().map(|record| record.unwrap().key).collect::<Vec<_>>(), [b"only@virt.example"]);
    // No other page may be empty: not one of a tree, and not the next of a bucket.
    for zeroed in [include_bytes!("golden/btree.db").to_vec(), include_bytes!("golden/postfix-hash.db").to_vec()] {
        let size = u32::from_le_bytes(zeroed[20..24].try_into().unwrap()) as usize;
        let found = (1..zeroed.len() / size).any(|page| {
            let mut bytes = zeroed.clone();
            bytes[page * size..][..size].fill(0);
            Berkeley::new(&bytes[..]).unwrap().records().any(|record| record.is_err())
        });
        assert!(found);
    }
}

#[test]
fn every_record_of_every_file() {
    for (name, bytes) in FILES {
        assert!(is_one(&bytes[..16]), "{name}");
        let table = Berkeley::new(bytes).unwrap();
        let expected = expected(name);
        for (key, value) in &expected {
            let found = table.get(key).unwrap().map(|record| record.value);
            assert_eq!(found.as_ref(), Some(value), "{name} {}", String::from_utf8_lossy(key));
        }
        for key in ["", "user60@virt.example", "alic", "alicea", "zzz", "\u{1}"] {
            assert_eq!(table.get(key.as_bytes()).unwrap(), None, "{name} {key}");
        }
        let records: Vec<Record> = table.records().map(Result::unwrap).collect();
        let more = if name == "duplicates" { 2 } else { 0 };
        assert_eq!(records.len(), expected.len() + more, "{name}");
        assert!(records.iter().all(|record| expected.contains_key(&record.key)), "{name}");
    }
}

/// Random bytes changed, and the file cut: never a panic, never without an end. There are no checksums, so a value may be wrong.
#[test]
fn damage_never_panics_and_always_ends() {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let probe = |bytes: &[u8]| {
        let Ok(table) = Berkeley::new(bytes) else { return };
        for key in ["alice", "long", "user7@virt.example", "huge", "nobody"] {
            let _any = table.get(key.as_bytes());
        }
        assert!(table.records().count() < 100_000);
    };
    for (_, whole) in FILES {
        let mut bytes = whole.to_vec();
        let mut flipped = |at: usize, flip: u8| {
            bytes[at] ^= flip;
            probe(&bytes);
            bytes[at] ^= flip;
        };
        // Headers of all pages, then anywhere.
        for page in (0..whole.len()).step_by(4_096) {
            for at in (page..page + 110).filter(|at| *at < whole.len()) {
                [0x80, 0xff].into_iter().for_each(|flip| flipped(at, flip));
            }
        }
        for _ in 0..300 {
            flipped(usize::try_from(next() % whole.len() as u64).unwrap(), next() as u8 | 1);
        }
        for cut in (0..whole.len()).step_by(1_997) {
            probe(&whole[..cut]);
        }
    }
}

/// Found by fuzzing: a first page that speaks of 800 million pages, and a bucket whose next page is itself.
#[test]
fn a_chain_is_no_longer_than_the_file() {
    let mut bytes = include_bytes!("golden/one.db").to_vec();
    bytes[32..36].copy_from_slice(&0x3400_0000u32.to_le_bytes());
    for page in 1..bytes.len() / 4_096 {
        let number = u32::try_from(page).unwrap().to_le_bytes();
        bytes[page * 4_096..][8..12].copy_from_slice(&number);
        bytes[page * 4_096..][16..20].copy_from_slice(&number);
        bytes[page * 4_096 + 25] = 13;
    }
    let table = Berkeley::new(&bytes[..]).unwrap();
    assert_eq!(table.get(b"nobody").unwrap_err().to_string(), "damaged: a bucket has no end");
    assert!(table.records().any(|record| record.is_err()));
}

/// Every record in the place of the first: more than the file could hold.
#[test]
fn records_in_one_place_are_damage() {
    let mut bytes = include_bytes!("golden/postfix-btree.db").to_vec();
    // The leaf with the most entries: all of them are one item of 900 bytes, `long`.
    let leaf = (1..bytes.len() / 4_096).map(|n| n * 4_096).filter(|at| bytes[at + 25] == 5);
    let entries = |at: usize| u16::from_le_bytes([bytes[at + 20], bytes[at + 21]]);
    let leaf = leaf.max_by_key(|at| entries(*at)).unwrap();
    let longest = (0..usize::from(entries(leaf))).map(|n| [bytes[leaf + 26 + n * 2], bytes[leaf + 27 + n * 2]]);
    let length = |offset: &[u8; 2]| {
        let at = leaf + usize::from(u16::from_le_bytes(*offset));
        if bytes[at + 2] == 1 { u16::from_le_bytes([bytes[at], bytes[at + 1]]) } else { 0 }
    };
    let longest = longest.max_by_key(length).unwrap();
    for n in 0..usize::from(entries(leaf)) {
        bytes[leaf + 26 + n * 2..][..2].copy_from_slice(&longest);
    }
    let last = Berkeley::new(&bytes[..]).unwrap().records().last().unwrap();
    assert_eq!(last.unwrap_err().to_string(), "damaged: several records in one place");
}

/// As a big-endian machine would have written it.
#[test]
fn the_other_order_of_bytes() {
    let mut bytes = FILES[0].1.to_vec();
    let turn = |bytes: &mut [u8], at: usize, size: usize| bytes[at..at + size].reverse();
    // LSN, page number and so on; four fields of one byte at 24; mask, bucket and spare numbers of the hash.
    for at in [0..24, 28..48, 72..72 + 24 + 128].into_iter().flat_map(|part| part.step_by(4)) {
        turn(&mut bytes, at, 4);
    }
    for page in (4_096..bytes.len()).step_by(4_096) {
        let entries = usize::from(u16::from_le_bytes([bytes[page + 20], bytes[page + 21]]));
        [8, 12, 16].into_iter().for_each(|at| turn(&mut bytes, page + at, 4));
        // Level and type, one byte each, stand between the two counts and the offsets.
        (0..entries + 3).filter(|n| *n != 2).for_each(|n| turn(&mut bytes, page + 20 + n * 2, 2));
    }
    let table = Berkeley::new(&bytes[..]).unwrap();
    assert_eq!(table.order, Order::Big);
    for (key, value) in expected("hash") {
        assert_eq!(table.get(&key).unwrap().map(|record| record.value), Some(value));
    }
    assert_eq!(table.records().map(Result::unwrap).count(), expected("hash").len());
}

/// Those of one key in a tree of their own (`makemap -d`): numbered leaves below a numbered page.
#[test]
fn many_values_of_a_key() {
    for bytes in [include_bytes!("golden/many-hash.db").as_slice(), include_bytes!("golden/many-btree.db")] {
        let table = Berkeley::new(bytes).unwrap();
        for (key, value) in [("dup", "u1"), ("few", "f1"), ("a", "b"), ("z", "y")] {
            assert_eq!(table.get(key.as_bytes()).unwrap().unwrap().value, value.as_bytes());
        }
        let mut records: Vec<_> =
            table.records().map(Result::unwrap).map(|record| (record.key, record.value)).collect();
        let mut all: Vec<(Vec<u8>, Vec<u8>)> = (1..=1_500).map(|n| ("dup".into(), format!("u{n}").into())).collect();
        let more = [("few", "f1"), ("few", "f2"), ("few", "f3"), ("a", "b"), ("z", "y")];
        all.extend(more.map(|(key, value)| (key.into(), value.into())));
        records.sort();
        all.sort();
        assert!(records == all, "{} records", records.len());
        // The leaf after the first, as if sorted: those are leaves of duplicates.
        let leaf = (0..bytes.len()).step_by(4_096).find(|at| bytes[at + 25] == 6).unwrap();
        let mut sorted = bytes.to_vec();
        sorted[leaf + 25] = 12;
        assert_eq!(Berkeley::new(&sorted[..]).unwrap().records().filter(Result::is_ok).count(), 1_505);
        // A circle of leaves.
        let mut circle = bytes.to_vec();
        circle[leaf + 16..leaf + 20].copy_from_slice(&u32::try_from(leaf / 4_096).unwrap().to_le_bytes());
        assert!(Berkeley::new(&circle[..]).unwrap().records().any(|record| record.is_err()));
    }
}

/// makemap was killed: libdb had written pages to make room, but not the first one.
#[test]
fn pages_that_the_first_one_does_not_know() {
    let mut bytes = include_bytes!("golden/empty.db").to_vec();
    bytes.extend([0; 4_096]);
    let error = told(&bytes);
    assert_eq!(error, "was not finished: it has pages that its first page does not know; make it again");
}

#[test]
fn other_versions_are_named_not_guessed() {
    let mut bytes = FILES[0].1.to_vec();
    bytes[16] = 5;
    let text = "a Berkeley DB file of a version that is not read here; make it again with makemap or newaliases";
    assert_eq!(told(&bytes), text);
    // 1.85: the magic stands first, in network order.
    let mut bytes = vec![0; 4_096];
    bytes[..4].copy_from_slice(&HASH.to_be_bytes());
    assert!(is_one(&bytes[..16]));
    assert_eq!(told(&bytes), text);
}
