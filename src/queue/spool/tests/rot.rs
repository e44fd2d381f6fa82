//! What a start makes of files that were damaged, cut, lost or replaced: nothing is lost without a word, and nothing else is touched.

use super::*;
use crate::spool::frame::{Block, FrameHeader, HEADER, Seeds, SegmentHeader, align};
use crate::spool::{Call, Recovery};
use crate::{Content, Select};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Offsets and headers of a segment's frames.
fn frames(path: &Path) -> Vec<(u32, FrameHeader)> {
    let bytes = std::fs::read(path).unwrap();
    let Block::Header(header) = SegmentHeader::decode(&bytes[..4096]) else { panic!("no header") };
    let seeds = Seeds::new(&header.salt);
    let (mut at, mut frames) = (4096u32, Vec::new());
    while let Some(header) = FrameHeader::decode(&bytes[at as usize..], seeds, at, bytes.len() as u64) {
        frames.push((at, header));
        at += align(header.length()) as u32;
    }
    frames
}

fn flip(path: &Path, at: u32) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0; 1];
    file.read_exact_at(&mut byte, u64::from(at)).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], u64::from(at)).unwrap();
}

fn segment(folder: &Folder, number: u32) -> PathBuf {
    folder.0.join(format!("segments/{number:08}.seg"))
}

/// A spool of messages of 1,500 bytes; it was not closed.
async fn filled(folder: &Folder, count: u8) {
    let spool = open(&folder.settings());
    for n in 0..count {
        accept(&*spool, &["a"], &[n; 1500]).await;
    }
}

/// How many messages there are after a start, and what it said.
async fn left(folder: &Folder) -> (usize, Recovery) {
    let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
    (spool.list(Select::default(), None, 1000).await.unwrap().len(), recovery)
}

fn files(folder: &Folder, name: &str) -> Vec<(String, u64)> {
    let entries = std::fs::read_dir(folder.0.join(name)).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_byte_in_a_group_commit_costs_one_message_and_not_all_later_ones() {
    let folder = Folder::new();
    let settings = Settings { segment: 4 << 20, ..folder.settings() };
    let spool = open(&settings);
    let mut count = 50;
    for n in 0..5u8 {
        let accepts = (0..20).map(|_| {
            let mut writer = spool.write(0).unwrap();
            writer.write(&[n; 500]).unwrap();
            spool.accept(writer, vec![envelope(&*spool, &["a"])])
        });
        for accepted in accepts.collect::<Vec<_>>() {
            accepted.await.unwrap();
            count += 1;
        }
    }
    for n in 0..50u8 {
        accept(&*spool, &["a"], &[n; 500]).await;
    }
    drop(spool);
    let path = segment(&folder, 1);
    let frames = frames(&path);
    // A frame whose successor is of the same batch.
    let same_batch = |pair: &&[(u32, FrameHeader)]| pair[1].1.synced <= pair[0].0 && pair[0].0 > 5000;
    let (at, _) = frames.windows(2).find(same_batch).unwrap()[0];
    flip(&path, at + 60);
    let (spool, recovery) = Spool::open(&settings, NOW).unwrap();
    assert_eq!(spool.count(Select::default()).await, Ok(count - 1), "{:?}", recovery.lines);
    assert_eq!(spool.corrupt().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_damaged_frame_does_not_delete_the_body_that_it_names() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    accept(&*spool, &["a"], &[b'x'; 200_000]).await;
    accept(&*spool, &["a"], b"1").await;
    accept(&*spool, &["a"], b"2").await;
    drop(spool);
    let path = segment(&folder, 1);
    flip(&path, frames(&path)[1].0 + 60);
    let (_, recovery) = left(&folder).await;
    let kept = files(&folder, "corrupt").iter().any(|(_, length)| *length == 200_000);
    assert!(kept, "{:?} {:?}", files(&folder, "corrupt"), recovery.lines);
}

#[tokio::test]
async fn a_damaged_header_of_the_last_segment_costs_nothing_after_a_clean_stop() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    accept(&*spool, &["a"], &[b'x'; 200_000]).await;
    accept(&*spool, &["a"], b"1").await;
    spool.close().await.unwrap();
    drop(spool);
    flip(&segment(&folder, 1), 100);
    let (left, recovery) = left(&folder).await;
    assert_eq!((left, files(&folder, "bodies").len()), (2, 1), "{:?}", recovery.lines);
}

#[tokio::test]
async fn zeros_where_frames_were_are_reported() {
    let folder = Folder::new();
    filled(&folder, 20).await;
    // Another start seals the first segment.
    drop(open(&folder.settings()));
    let path = segment(&folder, 1);
    let frames = frames(&path);
    let (from, to) = (frames[5].0, frames[10].0);
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&vec![0; (to - from) as usize], u64::from(from)).unwrap();
    let (left, recovery) = left(&folder).await;
    assert!(left == 15 && !recovery.lines.is_empty(), "{left} {:?}", recovery.lines);
}

#[tokio::test]
async fn a_shortened_segment_is_reported() {
    let folder = Folder::new();
    filled(&folder, 20).await;
    drop(open(&folder.settings()));
    File::options().write(true).open(segment(&folder, 1)).unwrap().set_len(4096).unwrap();
    let (left, recovery) = left(&folder).await;
    assert!(left == 0 && !recovery.lines.is_empty(), "{:?}", recovery.lines);
}

/// With a checkpoint, which also names the messages, and without one.
#[tokio::test]
async fn a_missing_segment_is_reported_once() {
    for closed in [true, false] {
        for number in [1, 2] {
            let folder = Folder::new();
            let spool = open(&folder.settings());
            for n in 0..100u8 {
                accept(&*spool, &["a"], &[n; 1500]).await;
            }
            if closed {
                spool.close().await.unwrap();
            }
            drop(spool);
            if !closed {
                std::fs::remove_file(folder.0.join("checkpoint")).unwrap_or_default();
            }
            std::fs::remove_file(segment(&folder, number)).unwrap();
            let (spool, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
            let left = spool.count(Select::default()).await.unwrap();
            let expected =
                format!("spool: segment {number} is missing; what was unfinished in it is lost; see corrupt/");
            assert_eq!(recovery.lines, [expected], "{left} of 100 left");
            let text = spool.corrupt().await.unwrap().concat();
            assert!(!closed || text.contains(": lost, unless it was finished lately"), "{text}");
            drop(spool);
            let (_, recovery) = Spool::open(&folder.settings(), NOW).unwrap();
            assert_eq!(recovery.lines, [""; 0]);
        }
    }
}

#[tokio::test]
async fn the_last_segment_is_missed_after_a_clean_stop() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    accept(&*spool, &["a"], b"x").await;
    spool.close().await.unwrap();
    drop(spool);
    std::fs::remove_file(segment(&folder, 1)).unwrap();
    let (left, recovery) = left(&folder).await;
    assert!(left == 0 && recovery.lines[0].contains("segment 1 is missing"), "{:?}", recovery.lines);
}

#[tokio::test]
async fn an_end_of_the_log_that_is_cut_is_kept_and_reported() {
    for records in [false, true] {
        let folder = Folder::new();
        filled(&folder, 2).await;
        let path = segment(&folder, 1);
        let (at, header) = *frames(&path).last().unwrap();
        flip(&path, if records { at + HEADER + 50 } else { at + HEADER + header.records + 700 });
        let (left, recovery) = left(&folder).await;
        assert_eq!((left, recovery.lines.len()), (1, 1), "{:?}", recovery.lines);
        let name = format!("segment-00000001-{at}.bin");
        assert!(files(&folder, "corrupt").iter().any(|(file, length)| *file == name && *length > 1500));
    }
}

#[tokio::test]
async fn folders_where_files_should_be_do_not_stop_the_start() {
    let folder = Folder::new();
    filled(&folder, 100).await;
    for name in ["bodies/lost+found", "spare/lost+found", "bodies/0000000000000abc"] {
        std::fs::create_dir(folder.0.join(name)).unwrap();
    }
    std::fs::remove_file(segment(&folder, 1)).unwrap();
    std::fs::create_dir(segment(&folder, 1)).unwrap();
    let (left, recovery) = left(&folder).await;
    assert!((50..100).contains(&left), "{left} {:?}", recovery.lines);
    assert!(recovery.lines.iter().any(|line| line.contains("segment 1 is no ordinary file")), "{:?}", recovery.lines);
}

#[tokio::test]
async fn a_fifo_as_a_body_hangs_neither_reader_nor_close() {
    for running in [false, true] {
        let folder = Folder::new();
        let mut spool = open(&folder.settings());
        let id = accept(&*spool, &["a"], &[b'x'; 200_000]).await.envelope.id;
        let fifo = || {
            let name = folder.0.join("bodies").join(&files(&folder, "bodies")[0].0);
            std::fs::remove_file(&name).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&name).status().unwrap().success());
        };
        if running {
            fifo();
            assert!(matches!(spool.content(id).await, Err(crate::Error::Corrupt(_))));
        } else {
            drop(spool);
            fifo();
            spool = open(&folder.settings());
        }
        assert_eq!(spool.count(Select::default()).await, Ok(0));
        assert_eq!(spool.corrupt().await.unwrap().len(), 1);
        spool.close().await.unwrap();
    }
}

/// As a power cut inside a rename may leave it.
#[tokio::test]
async fn two_names_of_one_file_are_one_spare() {
    let folder = Folder::new();
    let spool = open(&folder.settings());
    let mut ids = vec![accept(&*spool, &["a"], &[1; 1500]).await.envelope.id];
    spool.close().await.unwrap();
    drop(spool);
    for (name, _) in files(&folder, "spare") {
        std::fs::remove_file(folder.0.join("spare").join(name)).unwrap();
    }
    let spare = folder.0.join("spare/0abc.seg");
    std::fs::write(&spare, vec![0; 64 << 10]).unwrap();
    std::fs::hard_link(&spare, segment(&folder, 2)).unwrap();
    let settings = Settings { reserve: 0, ..folder.settings() };
    let spool = open(&settings);
    for n in 0..120u8 {
        ids.push(accept(&*spool, &["a"], &[n; 1500]).await.envelope.id);
    }
    drop(spool);
    let spool = open(&settings);
    assert_eq!(spool.count(Select::default()).await, Ok(121));
    for id in ids {
        assert!(matches!(spool.content(id).await, Ok(Content::Memory(_))));
    }
}

#[tokio::test]
async fn what_cannot_be_copied_to_corrupt_stays_in_the_queue() {
    for length in [5_000, 200_000] {
        let folder = Folder::new();
        let full = |call: Call<'_>| match call {
            Call::Whole(path) | Call::Link(path) if path.extension().is_some_and(|e| e == "eml") => {
                Err(std::io::Error::from_raw_os_error(28))
            }
            _ => Ok(()),
        };
        let spool = hooked(&folder.settings(), full);
        let id = accept(&*spool, &["a"], &vec![b'q'; length]).await.envelope.id;
        let name = match files(&folder, "bodies").first() {
            Some((name, _)) => folder.0.join("bodies").join(name),
            None => segment(&folder, 1),
        };
        let at = std::fs::read(&name).unwrap().windows(100).position(|part| part == [b'q'; 100]).unwrap();
        spool.close().await.unwrap();
        drop(spool);
        flip(&name, at as u32 + 50);
        let spool = hooked(&folder.settings(), full);
        assert!(spool.content(id).await.is_err());
        assert!(spool.load(id).await.is_ok(), "it is still there");
        drop(spool);
        let spool = open(&folder.settings());
        assert!(spool.content(id).await.is_err());
        assert_eq!(spool.count(Select::default()).await, Ok(0));
        assert!(files(&folder, "corrupt").contains(&(format!("{id}.eml"), length as u64)));
    }
}
