//! The drop folder in a scratch folder, with all entries of one owner: us.

use super::*;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A folder, open twice: to look at entries, to list them.
type Open = (OwnedFd, Dir);

fn folder() -> (tempfile::TempDir, Open) {
    let scratch = tempfile::tempdir().unwrap();
    let open = || OwnedFd::from(File::open(scratch.path()).unwrap());
    let opened = (open(), Dir::new(open()).unwrap());
    (scratch, opened)
}

fn put(folder: &Path, name: &str, mode: u32) {
    std::fs::write(folder.join(name), b"x").unwrap();
    std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(mode)).unwrap();
}

/// As if the pause were over.
fn steps(drop: &mut Entries, folder: &mut Open) -> Vec<Step> {
    drop.not_before = None;
    drop.scan(&folder.0, &mut folder.1)
}

/// What is to be opened.
fn scan(drop: &mut Entries, folder: &mut Open) -> Vec<String> {
    let opened = |step| match step {
        Step::Open(name) => Some(String::from_utf8(name).unwrap()),
        Step::Remove(..) => None,
    };
    steps(drop, folder).into_iter().filter_map(opened).collect()
}

fn later(drop: &mut Entries, name: &str) {
    drop.hear(name.as_bytes(), Outcome::Later);
}

#[test]
fn entries_that_are_always_put_off_hide_nobody() {
    let (scratch, mut folder) = folder();
    for n in 0..60 {
        put(scratch.path(), &format!("e{n}"), 0o600);
    }
    let (mut drop, mut seen) = (Entries { unseen: true, ..Entries::default() }, HashSet::new());
    while drop.is_due() {
        let found = scan(&mut drop, &mut folder);
        assert!(found.len() <= PER_OWNER);
        for name in found {
            later(&mut drop, &name);
            assert!(seen.insert(name), "it rests");
        }
    }
    assert_eq!(seen.len(), 60);
}

#[test]
fn one_owner_has_half_the_places_and_gets_the_next_when_one_is_done() {
    let (scratch, mut folder) = folder();
    (0..PER_OWNER + 1).for_each(|n| put(scratch.path(), &format!("e{n}"), 0o600));
    let mut drop = Entries { unseen: true, ..Entries::default() };
    let mut found = Vec::new();
    (0..3).for_each(|_| found.extend(scan(&mut drop, &mut folder)));
    assert_eq!((found.len(), drop.is_due()), (PER_OWNER, true));
    assert!(scan(&mut drop, &mut folder).is_empty());
    std::fs::remove_file(scratch.path().join(&found[0])).unwrap();
    drop.hear(found[0].as_bytes(), Outcome::Gone(None));
    found.truncate(0);
    (0..3).for_each(|_| found.extend(scan(&mut drop, &mut folder)));
    assert_eq!(found.len(), 1);
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), PER_OWNER);
}

#[test]
fn the_folder_rests_only_when_several_owners_are_put_off() {
    let mut drop = Entries::default();
    for (name, uid) in [("a", 1), ("b", 1), ("c", 1), ("d", 2)] {
        drop.taking.insert(name.into(), uid);
        later(&mut drop, name);
    }
    assert_eq!(drop.not_before, None);
    drop.taking.insert("e".into(), 3);
    later(&mut drop, "e");
    assert!(drop.not_before.is_some());
}

#[test]
fn a_rest_doubles_up_to_an_hour() {
    let mut drop = Entries::default();
    let mut rests = Vec::new();
    for _ in 0..12 {
        drop.taking.insert("a".into(), 1);
        later(&mut drop, "a");
        rests.push((drop.resting[b"a".as_slice()].0 - Instant::now()).as_secs_f64().round());
    }
    assert_eq!(rests[..4], [5.0, 10.0, 20.0, 40.0]);
    assert_eq!(rests[10..], [3600.0, 3600.0]);
}

#[test]
fn what_others_may_touch_is_left_and_what_is_no_file_goes() {
    let (scratch, mut folder) = folder();
    put(scratch.path(), "writable", 0o620);
    put(scratch.path(), "readable", 0o604);
    put(scratch.path(), "tmp.young", 0o600);
    put(scratch.path(), "good", 0o600);
    std::fs::create_dir(scratch.path().join("folder")).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", scratch.path().join("link")).unwrap();
    let mut drop = Entries { unseen: true, ..Entries::default() };
    let mut asked: Vec<String> = steps(&mut drop, &mut folder).iter().map(|step| format!("{step:?}")).collect();
    asked.sort();
    let named = |step: &str, name: &str| format!("{step}({:?}", name.as_bytes());
    assert_eq!(asked[0], named("Open", "good") + ")");
    assert_eq!(asked.len(), 3, "{asked:?}");
    for name in ["folder", "link"] {
        assert!(asked.contains(&(named("Remove", name) + ", \"it is not a regular file\")")), "{asked:?}");
    }
    assert!(drop.resting.contains_key(b"readable".as_slice()) && drop.resting.contains_key(b"writable".as_slice()));
    assert_eq!(drop.lines.len(), 2, "{:?}", drop.lines);
    std::fs::remove_file(scratch.path().join("link")).unwrap();
    drop.hear(b"link", Outcome::Gone(Some("why")));
    drop.hear(b"folder", Outcome::Left("not empty".into()));
    assert_eq!(drop.lines[2..], ["drop folder: removed link: why", "drop folder: folder is left alone: not empty"]);
    assert!(steps(&mut drop, &mut folder).is_empty());
}

#[test]
fn memory_and_log_are_bounded() {
    let mut drop = Entries::default();
    for n in 0..2 * REMEMBERED {
        drop.rest(n.to_string().as_bytes(), REFUSED.0, 0);
        drop.said = Some((Instant::now(), REFUSED.1 + 1));
        drop.say("never seen");
        assert!(drop.lines.is_empty());
    }
    assert_eq!(drop.resting.len(), REMEMBERED);
}

#[test]
fn what_was_put_off_is_looked_for_when_its_rest_is_over() {
    let (scratch, mut folder) = folder();
    put(scratch.path(), "e", 0o600);
    let mut drop = Entries { unseen: true, ..Entries::default() };
    assert_eq!(scan(&mut drop, &mut folder), ["e"]);
    later(&mut drop, "e");
    assert!(drop.wakes.is_some());
    while drop.is_due() {
        assert!(scan(&mut drop, &mut folder).is_empty());
    }
    drop.wake();
    assert!(!drop.is_due(), "it rests");
    let over = Instant::now() - Duration::from_millis(1);
    drop.resting.insert(b"e".to_vec(), (over, 1));
    drop.wakes = Some(over);
    drop.wake();
    let mut found = Vec::new();
    while drop.is_due() && found.is_empty() {
        found = scan(&mut drop, &mut folder);
    }
    assert_eq!(found, ["e"]);
}

#[test]
fn a_folder_is_listed_again_when_its_time_has_changed_or_is_young() {
    let (scratch, folder) = folder();
    let old = SystemTime::now() - Duration::from_secs(60);
    let set = |at| File::open(scratch.path()).unwrap().set_modified(at).unwrap();
    set(old);
    let mut place = Place { folder: folder.0, names: Box::new(folder.1), changed: None };
    assert!(place.has_changed() && !place.has_changed());
    put(scratch.path(), "e", 0o600);
    assert!(place.has_changed() && place.has_changed(), "another one may come within the same tick");
    set(old);
    assert!(place.has_changed() && !place.has_changed());
}
