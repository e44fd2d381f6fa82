//! Tests of `mailbox_lock`.

use super::*;

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("postrider-lock-{name}-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir(&path).unwrap();
    path
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn lock(path: &Path) -> Result<Mailbox, Failure> {
    Mailbox::lock(path, me(), Duration::ZERO, &mut |_| false)
}

#[test]
fn an_append_is_whole_or_the_file_is_as_before() {
    let folder = folder("append");
    let path = folder.join("alice");
    let mut mailbox = lock(&path).unwrap();
    mailbox.append(b"one\n").unwrap();
    assert!(folder.join("alice.lock").exists());
    mailbox.commit().unwrap();
    assert!(!folder.join("alice.lock").exists());
    let mut mailbox = lock(&path).unwrap();
    assert_eq!(mailbox.size(), 4);
    mailbox.append(b"half").unwrap();
    drop(mailbox);
    let stat = fs::stat(&path).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"one\n");
    assert!(stat.st_atime < stat.st_mtime);
    assert_eq!(stat.st_mode & 0o777, 0o600);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no litter");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_another_program_cuts_off_under_our_locks_is_noticed_and_never_filled_with_zeros() {
    let folder = folder("cut");
    let path = folder.join("alice");
    let set = |text: &str| std::fs::write(&path, text).unwrap();
    let text = || std::fs::read_to_string(&path).unwrap();
    let told = |result: io::Result<()>| result.unwrap_err().to_string().contains("cut");
    // Before we wrote, between two writes, after we wrote; and when we let go.
    let cut_while_we = |work: &dyn Fn(Mailbox)| {
        set("old\n");
        work(lock(&path).unwrap());
        assert_eq!(text(), "");
    };
    cut_while_we(&|mut mailbox| {
        set("");
        assert!(told(mailbox.append(b"new message\n")));
    });
    cut_while_we(&|mut mailbox| {
        mailbox.append(b"one\n").unwrap();
        set("");
        assert!(told(mailbox.append(b"two and more\n")));
    });
    cut_while_we(&|mut mailbox| {
        mailbox.append(b"one\n").unwrap();
        set("");
        assert!(told(mailbox.commit()));
    });
    cut_while_we(&|_mailbox| set(""));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "no lock stays");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_held_lock_of_either_kind_is_respected_and_the_dot_lock_given_back() {
    let folder = folder("held");
    let path = folder.join("alice");
    let first = lock(&path).unwrap();
    assert!(matches!(lock(&path), Err(Failure::Busy(_))));
    first.release();
    let reader = File::options().read(true).write(true).open(&path).unwrap();
    assert!(kernel_lock(&reader).unwrap());
    let mut looked = false;
    let held = Mailbox::lock(&path, me(), Duration::from_secs(9), &mut |_| {
        looked = !folder.join("alice.lock").exists();
        false
    });
    assert!(matches!(held, Err(Failure::Busy(_))) && looked);
    drop(reader);
    lock(&path).unwrap().release();
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_lock_of_ours_whose_holder_is_gone_is_broken_at_once_a_fresh_foreign_one_is_not() {
    let folder = folder("stale");
    let (path, dot) = (folder.join("alice"), folder.join("alice.lock"));
    lock(&path).unwrap().release();
    std::fs::write(&dot, "").unwrap();
    assert!(matches!(lock(&path), Err(Failure::Busy(_))));
    let mut mailbox = lock(&folder.join("bob")).unwrap();
    mailbox.append(b"x").unwrap();
    let text = std::fs::read_to_string(folder.join("bob.lock")).unwrap();
    mailbox.release();
    let dead = text.replacen(&std::process::id().to_string(), "1073741808", 1);
    std::fs::write(&dot, dead).unwrap();
    lock(&path).unwrap().release();
    assert!(!dot.exists());
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_is_no_mailbox_is_refused() {
    let folder = folder("refuse");
    let refused = |path: &Path| matches!(lock(path), Err(Failure::Refused(_)));
    std::fs::write(folder.join("target"), "").unwrap();
    std::os::unix::fs::symlink(folder.join("target"), folder.join("link")).unwrap();
    assert!(refused(&folder.join("link")));
    std::os::unix::fs::symlink(folder.join("nowhere"), folder.join("dangling")).unwrap();
    assert!(refused(&folder.join("dangling")));
    assert!(!folder.join("nowhere").exists());
    std::fs::hard_link(folder.join("target"), folder.join("hard")).unwrap();
    assert!(refused(&folder.join("hard")));
    std::fs::create_dir(folder.join("folder")).unwrap();
    assert!(refused(&folder.join("folder")));
    fs::mknodat(CWD, folder.join("fifo"), fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(refused(&folder.join("fifo")));
    let other = Mailbox::lock(&folder.join("mine"), me() + 1, Duration::ZERO, &mut |_| false);
    assert!(matches!(other, Err(Failure::Refused(_))));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_folder_where_anybody_may_rename_holds_no_mailbox() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder("open");
    let set = |mode: u32| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o777);
    let told = lock(&folder.join("alice")).unwrap_err();
    assert!(matches!(&told, Failure::Refused(why) if why.contains("no sticky bit")), "{told:?}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    for mode in [0o1777, 0o2775] {
        set(mode);
        lock(&folder.join("alice")).unwrap().release();
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_file_is_locked_against_readers_of_every_kind() {
    let folder = folder("file");
    let path = folder.join("archive");
    let open = || File::options().create(true).append(true).read(true).open(&path).unwrap();
    let take = |file: &File| FileLock::take(file, Some(&path), &mut Watch::default());
    let (file, reader) = (open(), open());
    let lock = take(&file).unwrap();
    assert!(folder.join("archive.lock").exists());
    assert!(!kernel_lock(&reader).unwrap() && !crate::lock::try_lock(&reader).unwrap());
    drop((lock, file));
    assert!(!folder.join("archive.lock").exists());
    assert!(kernel_lock(&reader).unwrap());
    assert!(matches!(take(&open()), Err(Failure::Busy(_))), "fcntl");
    assert!(!folder.join("archive.lock").exists(), "given back");
    drop(reader);
    let reader = open();
    assert!(crate::lock::try_lock(&reader).unwrap());
    assert!(matches!(take(&open()), Err(Failure::Busy(_))), "flock");
    drop(reader);
    std::fs::write(folder.join("archive.lock"), "").unwrap();
    assert!(matches!(take(&open()), Err(Failure::Busy(_))), "dot-lock");
    FileLock::take(&open(), None, &mut Watch::default()).unwrap();
    // A folder that takes no new file: the kernel's locks are all there is.
    let nowhere = folder.join("n".repeat(252));
    FileLock::take(&open(), Some(&nowhere), &mut Watch::default()).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}
