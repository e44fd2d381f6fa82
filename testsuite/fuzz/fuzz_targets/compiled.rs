//! Compiled tables, as they are and with the checksums of header and index put right: a look-up and a listing end. A table that was
//! made here and then damaged never says "not there" of a key that it has, nor another value.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use mail::database::Compiled;
use mail::database::layout::{BLOCK, HEADER, Head, Header, check, u64_at};
use mail::database::salted::Salt;
use std::os::unix::fs::FileExt;
use stored::stored;
use table::{Database, Duplicate, Origin, Writer};

fuzz_target!(|data: &[u8]| {
    read(data);
    let mut whole = data.to_vec();
    if put_right(&mut whole).is_some() {
        read(&whole);
    }
    damage(data);
});

fn read(bytes: &[u8]) {
    let Ok(table) = Compiled::new(bytes) else { return };
    let _ = table.verify();
    for (n, record) in table.records().enumerate() {
        let Ok(record) = record else { break };
        if n < 20 {
            let _ = table.get(&record.key);
        }
    }
    for key in ["", "alice", "user7@virt.example"] {
        let _ = table.get(key.as_bytes());
    }
}

/// Header, lengths and checksums as if the writer had made it.
fn put_right(bytes: &mut [u8]) -> Option<()> {
    let room = bytes.len().checked_sub(HEADER + BLOCK)?;
    let blocks = room.min(usize::from(bytes[0])) / BLOCK + 1;
    let index = bytes.len() - blocks * BLOCK;
    let (salt, number) = (Salt(u64_at(bytes, 1)?), |n: usize| n as u64);
    let (length, index_at, blocks) = (number(bytes.len()), number(index), number(blocks));
    let header = Header { salt, length, count: 1, index: index_at, blocks, origin: Origin::default() };
    bytes[..HEADER].copy_from_slice(&header.encode());
    for at in (index..bytes.len()).step_by(BLOCK) {
        let (body, sum) = bytes[at..at + BLOCK].split_at_mut(BLOCK - 4);
        sum.copy_from_slice(&check(salt, at as u64, &[body]).to_le_bytes());
    }
    let mut at = HEADER;
    while let Some(record) =
        Head::decode(&bytes[at..index]).and_then(|head| bytes[..index].get_mut(at..at + head.length()))
    {
        let sum = check(salt, at as u64, &[&record[4..]]);
        record[..4].copy_from_slice(&sum.to_le_bytes());
        at += record.len();
    }
    Some(())
}

/// The first bytes say what is written where, the rest is keys.
fn damage(data: &[u8]) {
    let Some((damage, keys)) = data.split_at_checked(8) else { return };
    let keys: Vec<&[u8]> = keys.split(|&b| b == b'\n').take(40).map(|key| &key[..key.len().min(60)]).collect();
    let file = stored(b"");
    let mut writer = Writer::new(&file);
    for (line, key) in (1..).zip(&keys) {
        writer.put(key, key, line, Duplicate::Keep).expect("a short key");
    }
    writer.finish(Origin { name: "/t".into(), size: 1, modified: 2 }).expect("room");
    let size = file.metadata().expect("a file").len();
    let at = u64::from(u16::from_le_bytes([damage[0], damage[1]])) % size;
    file.write_all_at(&damage[2..], at.min(size - 6)).expect("room");
    let Ok(table) = Database::new("/t".into(), file) else { return };
    for key in &keys {
        if let Ok(found) = table.get(key) {
            assert_eq!(found.map(|record| record.value).as_deref(), Some(*key));
        }
    }
    assert!(
        table.get(b"a key that is longer than sixty bytes, as no other one here is").is_ok_and(|found| found.is_none())
            || !keys.is_empty()
    );
}
