//! Tests of `quota`, in a scratch Maildir.

use super::*;
use std::path::Path;

fn maildir() -> (tempfile::TempDir, File) {
    let folder = tempfile::tempdir().unwrap();
    for part in ["tmp", "new", "cur", ".Sent/cur"] {
        std::fs::create_dir_all(folder.path().join(part)).unwrap();
    }
    let top = File::open(folder.path()).unwrap();
    (folder, top)
}

fn text(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(NAME)).unwrap()
}

#[test]
fn a_folder_without_a_quota_gets_the_configured_one_by_counting() {
    let (folder, top) = maildir();
    assert_eq!(Quota::open(&top, 0).unwrap(), None);
    std::fs::write(folder.path().join("new/1.a.host"), vec![b'x'; 40]).unwrap();
    std::fs::write(folder.path().join("cur/2.a.host,S=30:2,S"), "the name counts").unwrap();
    std::fs::write(folder.path().join(".Sent/cur/3.a.host"), vec![b'x'; 20]).unwrap();
    let mut quota = Quota::open(&top, 100).unwrap().unwrap();
    assert_eq!(text(folder.path()), "100S\n90 3\n");
    assert!(quota.admit(&top, 10).is_ok());
    let full = quota.admit(&top, 1).unwrap_err();
    assert!(matches!(full, Done::Temporary(2, 2, text) if text.contains("full: 100 of 100 bytes")));
    quota.add(&top, 10, 1);
    assert_eq!(text(folder.path()), "100S\n90 3\n10 1\n");
}

#[test]
fn the_folders_own_quota_counts_and_is_counted_again_before_mail_is_put_off() {
    let (folder, top) = maildir();
    // A reader has deleted everything; the sum does not know.
    std::fs::write(folder.path().join(NAME), "50S,2C\n40 1\n-10 0\n5 1\n").unwrap();
    let mut quota = Quota::open(&top, 1).unwrap().unwrap();
    assert_eq!(quota.limit, Amount { bytes: 50, messages: 2 });
    assert_eq!(quota.held, Amount { bytes: 35, messages: 2 });
    assert!(quota.admit(&top, 50).is_ok(), "counted anew");
    assert_eq!(text(folder.path()), "50S,2C\n0 0\n");
    assert!(quota.admit(&top, 1).is_err());
}

#[test]
fn nonsense_is_no_quota_and_a_long_file_is_counted_anew() {
    for bad in ["", "S\n", "x\n1 1\n", "0S\n", "-5S,0C\n"] {
        assert_eq!(parse(bad), None, "{bad:?}");
    }
    let (folder, top) = maildir();
    std::fs::write(folder.path().join(NAME), format!("999999S\n{}", "10 1\n".repeat(2_000))).unwrap();
    let quota = Quota::open(&top, 0).unwrap().unwrap();
    assert_eq!(quota.held, Amount::default());
    assert_eq!(text(folder.path()), "999999S\n0 0\n");
    assert_eq!((size_in(b"1.x,S=12,W=13:2,"), size_in(b"1.x:2,S")), (Some(12), None));
}

#[test]
fn what_is_no_text_is_counted_anew_and_a_link_is_replaced_unread() {
    let (folder, top) = maildir();
    let path = folder.path().join(NAME);
    std::fs::write(folder.path().join("new/1.a.host"), vec![b'x'; 40]).unwrap();
    std::fs::write(&path, b"100S\n99 9\n\xff\n").unwrap();
    assert!(Quota::open(&top, 5).unwrap().unwrap().admit(&top, 60).is_ok());
    assert_eq!(text(folder.path()), "100S\n40 1\n");
    std::fs::write(&path, b"\xff").unwrap();
    assert_eq!(Quota::open(&top, 0).unwrap(), None, "no limit anywhere");
    std::fs::remove_file(&path).unwrap();
    std::fs::write(folder.path().join("other"), "7S\n").unwrap();
    std::os::unix::fs::symlink("other", &path).unwrap();
    assert_eq!(Quota::open(&top, 0).unwrap(), None);
    assert!(Quota::open(&top, 50).unwrap().unwrap().admit(&top, 5).is_ok());
    assert!(!path.is_symlink() && std::fs::read_to_string(folder.path().join("other")).unwrap() == "7S\n");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(Quota::open(&top, 50).unwrap().unwrap().admit(&top, 11).is_err(), "counted, though not written down");
}
