//! Tests of `dot_lock`.

use super::*;

#[test]
fn our_own_lock_is_known_and_a_dead_holder_is_gone_at_once() {
    let here = Machine::here();
    assert_eq!(holder(signature(), here), Holder::Alive);
    let pid = std::process::id();
    let text = |pid: u32, machine: &str, start: u64| format!("{pid}\npostrider {machine} {start}\n");
    // The pid lives, but it is not the process that made the lock.
    assert_eq!(holder(&text(pid, &here.text(), 1), here), Holder::Gone);
    assert_eq!(holder(&text(0x3fff_fff0, &here.text(), 5), here), Holder::Gone);
    let mut other = here.clone();
    other.boot = "another-boot".into();
    assert_eq!(holder(&text(pid, &other.text(), 5), here), Holder::Gone);
    other.host = "elsewhere".into();
    assert_eq!(holder(&text(0x3fff_fff0, &other.text(), 5), here), Holder::Unknown);
    let mut other = here.clone();
    other.namespace = "pid:[1]".into();
    assert_eq!(holder(&text(0x3fff_fff0, &other.text(), 5), here), Holder::Unknown);
}

#[test]
fn foreign_locks_are_judged_by_pid_and_age() {
    let here = Machine::here();
    assert_eq!(holder("", here), Holder::Unknown);
    assert_eq!(holder("not a pid", here), Holder::Unknown);
    assert_eq!(holder("0\n", here), Holder::Unknown);
    assert_eq!(holder(&format!("{}\n", std::process::id()), here), Holder::Alive);
    assert_eq!(holder("1073741808\n", here), Holder::Dead);
    assert_eq!(holder(&format!("1073741808:{}\n", here.host), here), Holder::Dead);
    assert_eq!(holder("1073741808:elsewhere.example\n", here), Holder::Unknown);
    let long = Duration::from_secs(60);
    assert!(is_stale(Holder::Gone, 0, Duration::ZERO));
    assert!(!is_stale(Holder::Unfinished, 0, Duration::ZERO) && is_stale(Holder::Unfinished, 0, WATCHED));
    assert!(!is_stale(Holder::Dead, 30, long) && is_stale(Holder::Dead, 61, Duration::ZERO));
    assert!(!is_stale(Holder::Unknown, 299, long) && is_stale(Holder::Unknown, 301, long));
    assert!(!is_stale(Holder::Unknown, 301, Duration::ZERO));
    assert!(!is_stale(Holder::Alive, 1_000, long) && is_stale(Holder::Alive, 1_025, long));
}

#[test]
fn somebodys_mailbox_is_never_taken_for_a_stale_lock() {
    let folder = std::env::temp_dir().join(format!("postrider-nolock-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (mailbox, path) = (folder.join("bob"), folder.join("bob.lock"));
    for mail in ["From a@b  Sat Nov 21 20:22:16 2026\n\nx\n\n".to_owned(), "\n".repeat(600)] {
        std::fs::write(&path, &mail).unwrap();
        File::open(&path).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        let mut watch = Watch::default();
        for _ in 0..2 {
            let told = DotLock::take(&mailbox, &mut watch).unwrap_err().to_string();
            assert!(told.ends_with("bob.lock is there and is no lock"), "{told}");
            watch.seen.iter_mut().for_each(|(_, since)| *since -= Duration::from_secs(9));
        }
        assert!(DotLock::take_if_allowed(&mailbox, &mut watch).unwrap().is_none());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), mail);
    }
    let stat = |size: i64, uid: u32| {
        let mut stat = fs::stat(&path).unwrap();
        (stat.st_size, stat.st_uid) = (size, uid);
        stat
    };
    let me = rustix::process::geteuid().as_raw();
    // What may not be read: an empty lock of another program, ours that is not finished, and perhaps mail.
    let unread = |size, uid| is_no_lock(&stat(size, uid), None);
    assert_eq!((unread(0, me + 1), unread(84, me), unread(55, me + 1)), (false, false, true));
    assert!(!is_no_lock(&stat(5, me + 1), Some(b"1234\n")));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn who_was_too_slow_has_no_lock() {
    let path = std::env::temp_dir().join(format!("postrider-slow-{}", std::process::id()));
    let file = create(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(DotLock::new(file, path), Err(Failure::Busy(_))));
}

#[test]
fn a_lock_has_its_content_and_leaves_nothing_behind() {
    let folder = std::env::temp_dir().join(format!("postrider-fresh-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("alice.lock");
    let lock = DotLock::take(&folder.join("alice"), &mut Watch::default()).unwrap();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), signature());
    assert_eq!(create(&path).unwrap_err(), Errno::EXIST);
    assert!(now_beside(&path).is_some_and(|now| (0..5).contains(&(now - lock.stat.st_mtime))));
    drop(lock);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "no litter");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_old_foreign_lock_goes_when_it_stood_unchanged_before_our_eyes_a_touched_one_stays() {
    let folder = std::env::temp_dir().join(format!("postrider-stale-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (mailbox, path) = (folder.join("alice"), folder.join("alice.lock"));
    let old = |seconds: i64| {
        let file = File::create(&path).unwrap();
        let then = std::time::SystemTime::now() - Duration::from_secs(seconds.unsigned_abs());
        file.set_modified(then).unwrap();
    };
    // Killed before it wrote, and after.
    for content in ["", signature()] {
        let mut watch = Watch::default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(fs::open(&path, flags, Mode::from_raw_mode(UNFINISHED)).unwrap());
        file.write_all(content.as_bytes()).unwrap();
        assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "it may be written this moment");
        watch.seen.as_mut().unwrap().1 -= Duration::from_secs(3);
        drop(DotLock::take(&mailbox, &mut watch).unwrap());
    }
    let mut watch = Watch::default();
    let seen_long_ago = |watch: &mut Watch| {
        let (_, since) = watch.seen.as_mut().unwrap();
        *since -= Duration::from_secs(3);
    };
    old(400);
    assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "at first sight");
    seen_long_ago(&mut watch);
    old(360);
    assert!(matches!(DotLock::take(&mailbox, &mut watch), Err(Failure::Busy(_))), "its holder touched it");
    seen_long_ago(&mut watch);
    let lock = DotLock::take(&mailbox, &mut watch).unwrap();
    // Somebody takes ours for stale and makes his own: his is not removed.
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, "1\n").unwrap();
    drop(lock);
    assert_eq!(std::fs::read(&path).unwrap(), b"1\n");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no litter");
    std::fs::remove_dir_all(folder).unwrap();
}
