//! Files made by LMDB itself (`golden/make_lmdb.py`), and what is left of them after damage.

use super::*;
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::FileExt;

const MAP: &[u8] = include_bytes!("golden/map.lmdb");
const TERMINATED: &[u8] = include_bytes!("golden/terminated.lmdb");
const EMPTY: &[u8] = include_bytes!("golden/empty.lmdb");
const PAGE: usize = 4_096;

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn open(bytes: &[u8]) -> Result<Lmdb, String> {
    Lmdb::new("/t.lmdb", &file(bytes)).map_err(|error| error.0)
}

fn expected() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut all: BTreeMap<Vec<u8>, Vec<u8>> =
        (0..300).map(|n| (format!("user{n}@virt.example").into(), format!("u{n}").into())).collect();
    all.remove(&b"user7@virt.example"[..]);
    all.extend([(b"alice".into(), b"second".into()), (b"eight".into(), vec![b'b'; 8])]);
    all.extend([(b"m\xfcller".into(), b"M\xfcller".into()), (b"huge".into(), vec![b'5'; 9_000])]);
    all
}

#[test]
fn every_row_of_every_file() {
    let map = open(MAP).unwrap();
    let all: BTreeMap<_, _> = map.records().map(|record| (record.key, record.value)).collect();
    assert_eq!((map.rows.len(), &all), (303, &expected()));
    for (key, value) in &all {
        assert_eq!(map.get(key).map(|record| record.value).as_ref(), Some(value));
    }
    for absent in ["", "user7@virt.example", "alic", "alice2", "zzz", "alice\0"] {
        assert_eq!(map.get(absent.as_bytes()), None, "{absent}");
    }
    let terminated = open(TERMINATED).unwrap();
    let own = |key: &str| terminated.get(key.as_bytes()).map(|record| record.value);
    assert_eq!((terminated.rows.len(), own("alice")), (6, Some(b"value one # no comment".to_vec())));
    assert_eq!((own("user1@virt.example"), own("eight")), (Some(b"u1".to_vec()), Some(vec![b'b'; 8])));
    assert_eq!((open(EMPTY).unwrap().rows.len(), open(EMPTY).unwrap().get(b"alice")), (0, None));
}

#[test]
fn a_hit_names_file_and_key() {
    let source = Source { name: "/t.lmdb".into(), text: Some(file(MAP)), compiled: None };
    let table = load(source).unwrap();
    let waker = std::task::Waker::noop();
    let answer = table.look_up("alice").as_mut().poll(&mut std::task::Context::from_waker(waker));
    let std::task::Poll::Ready(Ok(Some(hit))) = answer else { panic!("{answer:?}") };
    assert_eq!((hit.why.to_string(), &hit.value[..]), ("/t.lmdb: alice".into(), "second"));
}

#[test]
fn the_newer_transaction_counts() {
    // Its meta page is the first; with an older one there the tree before it is read, whose pages are still there.
    let mut bytes = MAP.to_vec();
    bytes[HEAD + 128..HEAD + 136].fill(0);
    let before = open(&bytes).unwrap();
    assert_eq!(before.get(b"alice").unwrap().value, b"value one # no comment");
    assert_eq!((before.rows.len(), before.get(b"user7@virt.example").unwrap().value), (304, b"u7".to_vec()));
}

#[test]
fn what_is_not_read_is_told() {
    let with = |at: usize, bytes: &[u8]| {
        let mut file = MAP.to_vec();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        open(&file).unwrap_err()
    };
    assert_eq!(open(b"").unwrap_err(), "/t.lmdb: cut short");
    assert_eq!(open(&[0; 9_000]).unwrap_err(), "/t.lmdb: not an LMDB file of a 64-bit little-endian machine");
    assert_eq!(open(&MAP[..MAP.len() - PAGE]).unwrap_err(), "/t.lmdb: cut short");
    assert_eq!(with(HEAD + 4, &[9]), "/t.lmdb: an LMDB file of a version that is not read here");
    assert_eq!(with(HEAD + 24, &[1]), "/t.lmdb: damaged: pages of a size that cannot be");
    assert_eq!(with(PAGE + HEAD, &[0]), "/t.lmdb: damaged: not a meta page");
    assert_eq!(with(HEAD + 76, &[4]), "/t.lmdb: an LMDB file of a kind that is not read here");
    assert_eq!(with(HEAD + 104, &[1]), "/t.lmdb: damaged: it has another number of entries than it says");
    assert_eq!(with(HEAD + 112, &[1]), "/t.lmdb: damaged: it names a page that it does not have");
    // The root page of the newer tree, leading to itself.
    let root = u64_at(MAP, HEAD + 112).unwrap();
    let (at, own) = (usize::try_from(root).unwrap() * PAGE, root.to_le_bytes());
    let node = usize::from(u16_at(&MAP[at..], HEAD).unwrap());
    let mut looped = MAP.to_vec();
    looped[at + node..][..6].copy_from_slice(&own[..6]);
    assert_eq!(open(&looped).unwrap_err(), "/t.lmdb: damaged: its pages have no end");
}

/// No byte of damage makes a panic, and none in a header or a pointer makes a row vanish in silence.
#[test]
fn damage_is_told() {
    let rows = expected();
    for at in (0..MAP.len()).filter(|at| at % PAGE < HEAD + 40 || at % 97 == 0) {
        let mut bytes = MAP.to_vec();
        bytes[at] ^= 0xff;
        if let Ok(table) = open(&bytes) {
            let before = table.rows.len() == 304;
            assert!(before || table.rows.len() >= rows.len() - 2, "{at}: {} rows", table.rows.len());
        }
    }
}

#[test]
fn one_that_changes_while_it_is_read_is_told() {
    let told = |change: fn(&File)| {
        let file = file(MAP);
        Lmdb::import("/t.lmdb", &file, || change(&file)).map(|table| table.rows.len()).map_err(|error| error.0)
    };
    let changed = Err("/t.lmdb: changed while it was read".to_owned());
    assert_eq!(told(|_| ()), Ok(303));
    // A commit: one more transaction.
    assert_eq!(told(|file| file.write_all_at(&[7], (HEAD + 128) as u64).unwrap()), changed);
    assert_eq!(told(|file| file.set_len(0).unwrap()), Err("/t.lmdb: cut short".to_owned()));
    assert_eq!(told(|file| file.set_len(1 << 20).unwrap()), changed);
}
