//! Compiled tables, as they are and with the checksums of header and index put right: a look-up and a listing end. A table that was
//! made here and then damaged never says "not there" of a key that it has, nor another value.
#![no_main]

#[allow(dead_code)]
mod stored;

use libfuzzer_sys::fuzz_target;
use std::os::unix::fs::FileExt;
use stored::stored;
use table::{Compiled, Duplicate, Origin, Writer};

const HEADER: usize = 512;

fuzz_target!(|data: &[u8]| {
    read(data);
    let mut whole = data.to_vec();
    if put_right(&mut whole).is_some() {
        read(&whole);
    }
    damage(data);
});

fn read(bytes: &[u8]) {
    let Ok(table) = Compiled::new("/t".into(), stored(bytes)) else { return };
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

/// Lengths and checksums as if the writer had made it.
fn put_right(bytes: &mut [u8]) -> Option<()> {
    let number = |bytes: &[u8], at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
    let length = bytes.len() as u64;
    bytes.get_mut(24..32)?.copy_from_slice(&length.to_le_bytes());
    bytes.get_mut(8..12)?.copy_from_slice(&1u32.to_le_bytes());
    let (salt, index, blocks) = (number(bytes, 16)?, number(bytes, 40)?, number(bytes, 48)?);
    let sum = crc32fast::hash(bytes.get(..HEADER - 4)?);
    bytes.get_mut(HEADER - 4..HEADER)?.copy_from_slice(&sum.to_le_bytes());
    for block in 0..blocks.min(length / 64) {
        let offset = index.checked_add(block * 64)?;
        let block = bytes.get_mut(usize::try_from(offset).ok()?..)?.get_mut(..64)?;
        let mut sum = crc32fast::Hasher::new();
        sum.update(&salt.to_le_bytes());
        sum.update(&offset.to_le_bytes());
        sum.update(&block[..60]);
        block[60..].copy_from_slice(&sum.finalize().to_le_bytes());
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
    let Ok(table) = Compiled::new("/t".into(), file) else { return };
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
