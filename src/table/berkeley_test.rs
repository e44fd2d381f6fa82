//! Files made by the real programs (`golden/make.sh`: Debian's sendmail 8.17.1.9 and Postfix 3.7, libdb 5.3), and what is left of
//! them after damage.

use super::*;
use std::collections::HashMap;
use std::io::Write;
use std::os::unix::fs::FileExt;

const FILES: [(&str, &[u8]); 6] = [
    ("hash", include_bytes!("golden/hash.db")),
    ("btree", include_bytes!("golden/btree.db")),
    ("terminated", include_bytes!("golden/terminated.db")),
    ("duplicates", include_bytes!("golden/duplicates.db")),
    ("postfix-hash", include_bytes!("golden/postfix-hash.db")),
    ("postfix-btree", include_bytes!("golden/postfix-btree.db")),
];

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    settle(&file);
    file
}

fn settle(file: &File) {
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    file.set_modified(long_ago).unwrap();
}

fn open(file: &File) -> Result<Berkeley, Unavailable> {
    // The inode's change cannot be set back, so wait for it.
    std::thread::sleep(STILL.saturating_sub(Stamp::of(file).unwrap().still_for(SystemTime::now())));
    Berkeley::new("/t".into(), file.try_clone().unwrap())
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
    let empty = open(&file(include_bytes!("golden/empty.db"))).unwrap();
    assert_eq!((empty.get(b"a").unwrap(), empty.records().count()), (None, 0));
    for key in ["", "b", "c", "key7@example.org"] {
        assert_eq!(empty.get(key.as_bytes()).unwrap(), None, "{key}");
    }
    let one = open(&file(include_bytes!("golden/one.db"))).unwrap();
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
            open(&file(&bytes)).unwrap().records().any(|record| record.is_err())
        });
        assert!(found);
    }
}

#[test]
fn every_record_of_every_file() {
    for (name, bytes) in FILES {
        assert!(Berkeley::is_one(&bytes[..16]), "{name}");
        let table = open(&file(bytes)).unwrap();
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

/// Random bytes changed, and the file cut: never a panic, never without an end. There are no checksums, so a value may be wrong;
/// that is why the file must not change under an open table, which the next test shows.
#[test]
fn damage_never_panics_and_always_ends() {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for (_, bytes) in FILES {
        let scratch = file(bytes);
        let probe = |at: usize, flip: u8| {
            scratch.write_all_at(&[bytes[at] ^ flip], at as u64).unwrap();
            // As if it had been so for long: the look at its age is not what is tested here.
            settle(&scratch);
            if let Ok(mut table) = Berkeley::unsettled("/t".into(), scratch.try_clone().unwrap()) {
                table.stamp = Stamp::of(&scratch).unwrap();
                for key in ["alice", "long", "user7@virt.example", "huge", "nobody"] {
                    let _any = table.get(key.as_bytes());
                }
                assert!(table.records().count() < 100_000);
            }
            scratch.write_all_at(&bytes[at..=at], at as u64).unwrap();
        };
        // Headers of all pages, then anywhere.
        for page in (0..bytes.len()).step_by(4_096) {
            for at in (page..page + 110).filter(|at| *at < bytes.len()) {
                for flip in [0x80, 0xff] {
                    probe(at, flip);
                }
            }
        }
        for _ in 0..300 {
            probe(usize::try_from(next() % bytes.len() as u64).unwrap(), next() as u8 | 1);
        }
        for cut in (0..bytes.len()).step_by(1_997) {
            scratch.set_len(cut as u64).unwrap();
            settle(&scratch);
            if let Ok(table) = Berkeley::unsettled("/t".into(), scratch.try_clone().unwrap()) {
                let _any = (table.get(b"alice"), table.records().count());
            }
            scratch.write_all_at(bytes, 0).unwrap();
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
    let table = open(&file(&bytes)).unwrap();
    assert_eq!(table.get(b"nobody").unwrap_err().0, "/t.db: damaged: a bucket has no end");
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
    let last = open(&file(&bytes)).unwrap().records().last().unwrap();
    assert_eq!(last.unwrap_err().0, "/t.db: damaged: several records in one place");
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
    let table = open(&file(&bytes)).unwrap();
    assert_eq!(table.order, Order::Big);
    for (key, value) in expected("hash") {
        assert_eq!(table.get(&key).unwrap().map(|record| record.value), Some(value));
    }
    assert_eq!(table.records().map(Result::unwrap).count(), expected("hash").len());
}

#[test]
fn a_change_under_an_open_table_is_noticed() {
    let scratch = file(FILES[0].1);
    let table = open(&scratch).unwrap();
    assert!(table.get(b"alice").unwrap().is_some());
    scratch.write_all_at(FILES[2].1, 0).unwrap();
    assert_eq!(table.get(b"alice").unwrap_err().0, "/t.db changed");
    assert_eq!(table.get(b"nobody").unwrap_err().0, "/t.db changed");
    assert_eq!(table.records().next(), Some(Err(Unavailable("/t.db changed".into()))));
    // What was written this moment is waited for.
    assert!(Berkeley::new("/t".into(), scratch).unwrap().get(b"alice").unwrap().is_some());
}

#[test]
fn a_time_to_come_is_no_reason_to_wait_for_it() {
    let scratch = file(FILES[0].1);
    scratch.set_modified(SystemTime::now() + Duration::from_secs(7_200)).unwrap();
    let start = std::time::Instant::now();
    assert!(Berkeley::new("/t".into(), scratch).unwrap().get(b"alice").unwrap().is_some());
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// Those of one key in a tree of their own (`makemap -d`): numbered leaves below a numbered page.
#[test]
fn many_values_of_a_key() {
    for bytes in [include_bytes!("golden/many-hash.db").as_slice(), include_bytes!("golden/many-btree.db")] {
        let table = open(&file(bytes)).unwrap();
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
        assert_eq!(open(&file(&sorted)).unwrap().records().filter(Result::is_ok).count(), 1_505);
        // A circle of leaves.
        let mut circle = bytes.to_vec();
        circle[leaf + 16..leaf + 20].copy_from_slice(&u32::try_from(leaf / 4_096).unwrap().to_le_bytes());
        assert!(open(&file(&circle)).unwrap().records().any(|record| record.is_err()));
    }
}

/// makemap was killed: libdb had written pages to make room, but not the first one.
#[test]
fn pages_that_the_first_one_does_not_know() {
    let mut bytes = include_bytes!("golden/empty.db").to_vec();
    bytes.extend([0; 4_096]);
    let error = open(&file(&bytes)).unwrap_err().0;
    assert_eq!(error, "/t.db: was not finished: it has pages that its first page does not know; make it again");
}

/// Or it had written nothing else: only the text beside it tells.
#[test]
fn no_keys_beside_a_text_that_has_some() {
    let load = |text: Option<&[u8]>, compiled: &[u8]| {
        let text = text.map(file);
        crate::load_map(crate::Source { name: "/t".into(), text, compiled: Some(file(compiled)) }).map(drop)
    };
    let (empty, one): (&[u8], &[u8]) = (include_bytes!("golden/empty.db"), include_bytes!("golden/one.db"));
    let told = "/t.db: has no keys, but /t has: was it not finished? Make it again";
    assert_eq!(load(Some(b"# none\nk v\n"), empty).unwrap_err().0, told);
    for (text, compiled) in [(None, empty), (Some(&b"# none\n\n"[..]), empty), (Some(b"k v\n"), one)] {
        assert_eq!(load(text, compiled), Ok(()), "{text:?}");
    }
}

#[test]
fn other_versions_are_named_not_guessed() {
    let mut bytes = FILES[0].1.to_vec();
    bytes[16] = 5;
    let text = "/t.db: a Berkeley DB file of a version that is not read here; make it again with makemap or newaliases";
    assert_eq!(open(&file(&bytes)).unwrap_err().0, text);
    // 1.85: the magic stands first, in network order.
    let mut bytes = vec![0; 4_096];
    bytes[..4].copy_from_slice(&HASH.to_be_bytes());
    assert!(Berkeley::is_one(&bytes[..16]));
    assert_eq!(open(&file(&bytes)).unwrap_err().0, text);
}

/// `BERKELEY_FILE=/x.db BERKELEY_TEXT=/x cargo test -p table --lib -- --ignored large`: a large file against its text.
#[test]
#[ignore = "needs files made by the real makemap"]
fn a_large_file() {
    let variable = |name| std::env::var(name).unwrap();
    let table = open(&File::open(variable("BERKELEY_FILE")).unwrap()).unwrap();
    let text = std::fs::read(variable("BERKELEY_TEXT")).unwrap();
    let start = std::time::Instant::now();
    let mut count = 0;
    for row in crate::text::rows(&text) {
        let row = row.unwrap();
        let record = table.get(&row.key.to_ascii_lowercase()).unwrap().unwrap();
        assert_eq!(record.value, row.value);
        count += 1;
    }
    println!("{count} look-ups in {:?}", start.elapsed());
    assert_eq!(table.records().map(Result::unwrap).count(), count);
}
