//! The drop folder in a scratch folder, with all entries of one owner: us.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn folder() -> (tempfile::TempDir, File) {
    let scratch = tempfile::tempdir().unwrap();
    let open = File::open(scratch.path()).unwrap();
    (scratch, open)
}

fn put(folder: &Path, name: &str, mode: u32) {
    std::fs::write(folder.join(name), b"x").unwrap();
    std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(mode)).unwrap();
}

/// As if the pause were over.
fn scan(drop: &mut DropFolder, folder: &File) -> Vec<String> {
    drop.not_before = None;
    drop.scan(folder).into_iter().map(|(name, ..)| name).collect()
}

#[test]
fn entries_that_are_always_put_off_hide_nobody() {
    let (scratch, folder) = folder();
    for n in 0..60 {
        put(scratch.path(), &format!("e{n}"), 0o600);
    }
    let (mut drop, mut seen) = (DropFolder { unseen: true, ..DropFolder::default() }, HashSet::new());
    while drop.is_due() {
        let found = scan(&mut drop, &folder);
        assert!(found.len() <= PER_OWNER);
        for name in found {
            drop.later(&name);
            assert!(seen.insert(name), "it rests");
        }
    }
    assert_eq!(seen.len(), 60);
}

#[test]
fn one_owner_has_half_the_places_and_gets_the_next_when_one_is_done() {
    let (scratch, folder) = folder();
    (0..PER_OWNER + 1).for_each(|n| put(scratch.path(), &format!("e{n}"), 0o600));
    let mut drop = DropFolder { unseen: true, ..DropFolder::default() };
    let mut found = Vec::new();
    (0..3).for_each(|_| found.extend(scan(&mut drop, &folder)));
    assert_eq!((found.len(), drop.is_due()), (PER_OWNER, true));
    assert!(scan(&mut drop, &folder).is_empty());
    drop.done(&folder, &found[0]);
    found.truncate(0);
    (0..3).for_each(|_| found.extend(scan(&mut drop, &folder)));
    assert_eq!(found.len(), 1);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), PER_OWNER);
}

#[test]
fn the_folder_rests_only_when_several_owners_are_put_off() {
    let mut drop = DropFolder::default();
    for (name, uid) in [("a", 1), ("b", 1), ("c", 1), ("d", 2)] {
        drop.with_engine.insert(name.into(), uid);
        drop.later(name);
    }
    assert_eq!(drop.not_before, None);
    drop.with_engine.insert("e".into(), 3);
    drop.later("e");
    assert!(drop.not_before.is_some());
}

#[test]
fn a_rest_doubles_up_to_an_hour() {
    let mut drop = DropFolder::default();
    let mut rests = Vec::new();
    for _ in 0..12 {
        drop.with_engine.insert("a".into(), 1);
        drop.later("a");
        rests.push((drop.resting["a"].0 - Instant::now()).as_secs_f64().round());
    }
    assert_eq!(rests[..4], [5.0, 10.0, 20.0, 40.0]);
    assert_eq!(rests[10..], [3600.0, 3600.0]);
}

#[test]
fn what_others_may_touch_is_left_and_what_is_no_file_goes() {
    let (scratch, folder) = folder();
    put(scratch.path(), "writable", 0o620);
    put(scratch.path(), "readable", 0o604);
    put(scratch.path(), "tmp.young", 0o600);
    put(scratch.path(), "good", 0o600);
    std::fs::create_dir(scratch.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", scratch.path().join("link")).unwrap();
    let mut drop = DropFolder { unseen: true, ..DropFolder::default() };
    assert_eq!(scan(&mut drop, &folder), ["good"]);
    let mut left: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["good", "readable", "tmp.young", "writable"]);
    assert!(drop.resting.contains_key("readable") && drop.resting.contains_key("writable"));
}

#[test]
fn memory_and_log_are_bounded() {
    let mut drop = DropFolder::default();
    for n in 0..2 * REMEMBERED {
        drop.rest(&n.to_string(), REFUSED.0, 0);
        drop.said = Some((Instant::now(), REFUSED.1 + 1));
        drop.say("never seen");
    }
    assert_eq!(drop.resting.len(), REMEMBERED);
}

#[test]
fn what_was_put_off_is_looked_for_when_its_rest_is_over() {
    let (scratch, folder) = folder();
    put(scratch.path(), "e", 0o600);
    let mut drop = DropFolder { unseen: true, ..DropFolder::default() };
    assert_eq!(scan(&mut drop, &folder), ["e"]);
    drop.later("e");
    assert!(drop.is_waiting());
    while drop.is_due() {
        assert!(scan(&mut drop, &folder).is_empty());
    }
    drop.wake();
    assert!(!drop.is_due(), "it rests");
    let over = Instant::now() - Duration::from_millis(1);
    drop.resting.insert("e".into(), (over, 1));
    drop.wakes = Some(over);
    drop.wake();
    let mut found = Vec::new();
    while drop.is_due() && found.is_empty() {
        found = scan(&mut drop, &folder);
    }
    assert_eq!(found, ["e"]);
}
