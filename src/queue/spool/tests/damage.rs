//! Bytes that rot, and bytes that pretend to be frames.

use super::*;
use crate::contract::Dice;
use crate::spool::code::Fields;
use crate::spool::frame::{FrameHeader, Seeds, align};
use crate::spool::record::put_removed;
use crate::{Content, Error, Select};
use mail::QueueId;
use std::os::unix::fs::FileExt;

/// Frames that remove everything, well formed but for the salt, at every place a frame can start.
fn hostile(ids: &[QueueId], length: usize) -> Vec<u8> {
    let mut dice = Dice::new(7);
    let mut bytes = Vec::with_capacity(length);
    let mut out = Fields::default();
    put_removed(&mut out, ids);
    while bytes.len() < length {
        let mut salt = [0; 16];
        salt.iter_mut().for_each(|byte| *byte = dice.roll(256) as u8);
        let seeds = Seeds::new(&salt);
        let crc = seeds.records_crc(&out.0);
        let header = FrameHeader { records: out.0.len() as u32, content: 0, crc, synced: u32::MAX };
        let offset = 4096 + align(bytes.len() as u64 + 300) as u32;
        bytes.extend_from_slice(&header.encode(seeds, offset));
        bytes.extend_from_slice(&out.0);
        bytes.resize(align(bytes.len() as u64) as usize, 0);
    }
    bytes
}

#[tokio::test]
async fn five_million_bytes_of_frames_in_a_body_change_nothing() {
    let folder = Folder::new();
    let settings = Settings { segment: 32 << 20, large: 8 << 20, ..folder.settings() };
    let spool = open(&settings);
    let first = accept(&*spool, &["a"], b"first").await.envelope.id;
    let victim = accept(&*spool, &["b"], b"victim").await.envelope.id;
    let evil = hostile(&[first, victim], 5_000_000);
    let mailed = accept(&*spool, &["c"], &evil).await.envelope.id;
    // The same again, as a former life of the file would have it: with this very log's salt, but at other places.
    let last = accept(&*spool, &["d"], b"last").await.envelope.id;
    drop(spool);
    let path = folder.0.join("segments/00000001.seg");
    let bytes = std::fs::read(&path).unwrap();
    let at = bytes.windows(6).position(|part| part == b"victim").unwrap();
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    // Damage in the envelope of the one before: the reader must search on through all of the body's frames.
    file.write_all_at(b"XXXX", at as u64 - 20).unwrap();
    let evil_at = bytes.windows(64).position(|part| *part == evil[..64]).unwrap();
    file.write_all_at(&[0; 40], evil_at as u64 - 90).unwrap();
    let (spool, recovery) = Spool::open(&settings, NOW).unwrap();
    assert_eq!(recovery.lines.len(), 1, "{:?}", recovery.lines);
    let list = spool.list(Select::default(), None, 10).await.unwrap();
    let ids: Vec<_> = list.iter().map(|summary| summary.envelope.id).collect();
    assert_eq!(ids, [first, last], "nothing else was touched; {victim} and {mailed} are set aside");
    assert_eq!(spool.corrupt().await.unwrap().len(), 1);
}

/// Random damage in a sealed segment: what was not hit is as it was, nothing comes back, nothing panics.
#[tokio::test]
async fn damage_stays_where_it_is() {
    for seed in 0..60 {
        let mut dice = Dice::new(seed + 1);
        let folder = Folder::new();
        let spool = open(&folder.settings());
        let mut all = Vec::new();
        for n in 0..30u8 {
            all.push((accept(&*spool, &["a", "b"], &[n; 1500]).await.envelope.id, n));
        }
        drop(spool);
        drop(open(&folder.settings()));
        let path = folder.0.join("segments/00000001.seg");
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        for _ in 0..1 + dice.roll(3) {
            let at = dice.roll(60_000);
            file.write_all_at(&vec![dice.roll(256) as u8; 1 + dice.roll(40) as usize], at).unwrap();
        }
        let (spool, _) = Spool::open(&folder.settings(), NOW).unwrap();
        let mut lost = 0;
        for (id, n) in all {
            match spool.content(id).await {
                Ok(Content::Memory(bytes)) => assert_eq!(bytes[..], [n; 1500]),
                Ok(other) => panic!("{other:?}"),
                Err(Error::Unknown | Error::Corrupt(_)) => lost += 1,
                Err(error) => panic!("seed {seed}: {error}"),
            }
        }
        assert!(lost <= 6, "seed {seed}: {lost} lost");
        assert!(lost == 0 || !spool.corrupt().await.unwrap().is_empty(), "seed {seed}: unreported");
    }
}

/// Index and due list of 100,000 messages, by the sizes of what is allocated.
#[test]
fn a_message_takes_at_most_400_bytes() {
    use crate::spool::index::{Entry, Stored};
    // A B-tree node is at least about half full; malloc rounds a box up to 16 and adds 8; a hash table is at least 7/16 full.
    let tree = |key_and_value: usize| key_and_value * 2 + 2;
    let entry = size_of::<Entry>().next_multiple_of(16) + 8 + tree(16);
    let content = (size_of::<Stored>() + 8 + 1) * 16 / 7;
    let due = tree(16);
    let total = entry + content + due;
    assert!(total <= 400, "{total}: entry {entry}, content {content}, due {due}");
}
