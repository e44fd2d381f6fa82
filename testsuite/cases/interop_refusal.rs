//! What stands where a mailbox should be and is none: refused, logged with its reason, touched by nobody, and the mail waits until it
//! is put right (mbox-locking.md §5 step 1, S-47).

use crate::interop::{clear, send, start};
use crate::interop_kill::Ends;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testsuite::{Smtp, mbox, message, scaled, seconds, wait_for};

/// Who has it (nobody whom another test of this program uses), what is planted as his mailbox, and what the log says.
const PLANTED: [(&str, &str, &str); 6] = [
    ("u16", "link", "is a symbolic link"),
    ("u17", "folder", "is not a regular file"),
    ("u18", "hard", "has more than one link"),
    ("u19", "fifo", "is not a regular file"),
    ("u00", "device", "is not a regular file"),
    ("tester", "foreign", "is owned by uid 20001, not 19999"),
];

fn mailbox(user: &str) -> PathBuf {
    Path::new("/var/mail").join(user)
}

fn tool(line: &str) {
    assert!(Command::new("sh").args(["-c", line]).status().unwrap().success(), "{line}");
}

fn plant(user: &str, what: &str, victim: &Path) {
    let (path, uid) = (mailbox(user), crate::interop::uid(user));
    match what {
        "link" => symlink(victim, &path).unwrap(),
        "hard" => fs::hard_link(victim, &path).unwrap(),
        "fifo" => tool(&format!("mkfifo -m 600 {0} && chown {user} {0}", path.display())),
        "device" => tool(&format!("mknod -m 600 {0} c 1 3 && chown {user} {0}", path.display())),
        "folder" => fs::create_dir(&path).unwrap(),
        _ => {
            fs::write(&path, "").unwrap();
            return chown(&path, Some(20_001), Some(8)).unwrap();
        }
    }
    std::os::unix::fs::lchown(&path, Some(uid), Some(8)).unwrap();
}

#[test]
fn what_is_no_mailbox_is_left_alone_and_the_mail_waits() {
    let Some(server) = start("interop refusals", &[]) else { return };
    let victim = Path::new("/var/mail/victim");
    fs::write(victim, "untouched").unwrap();
    for (user, what, _) in PLANTED {
        clear(user);
        plant(user, what, victim);
    }
    // The last owner of the hard link: so that only the number of links is against it.
    chown(victim, Some(20_018), Some(8)).unwrap();
    let mut session = Smtp::hello(server.address).unwrap();
    for (user, ..) in PLANTED {
        let to = format!("{user}@local.test");
        assert_eq!(session.message("a@client.test", &[&to], &message::text(user, &to, 5)).unwrap().code, 250);
    }
    for (user, _, why) in PLANTED {
        let line = server.wait_log(&format!("stat=Deferred: mailbox refused: /var/mail/{user} {why}"));
        assert!(line.contains(&format!("to=<{user}@local.test>")) && line.contains("dsn=4.2.0"), "{line}");
    }
    assert_eq!(fs::read(victim).unwrap(), b"untouched");
    for (user, what, _) in PLANTED {
        let path = mailbox(user);
        if what == "folder" { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
    server.wait_empty(seconds(60));
    for (user, ..) in PLANTED {
        wait_for(user, seconds(60), || mbox::count([mailbox(user)]).0.get(user) == Some(&1));
        let made = fs::metadata(mailbox(user)).unwrap();
        assert_eq!((made.uid(), made.gid(), made.permissions().mode() & 0o7777), (crate::interop::uid(user), 8, 0o600));
    }
    assert_eq!(fs::read(victim).unwrap(), b"untouched");
    fs::remove_file(victim).unwrap();
}

/// Exchanges two names, over and over, until `end`.
fn exchange(end: &AtomicBool, one: &Path, other: &Path) -> usize {
    let (mut count, here) = (0, rustix::fs::CWD);
    while !end.load(Ordering::SeqCst) || count % 2 == 1 {
        rustix::fs::renameat_with(here, one, here, other, rustix::fs::RenameFlags::EXCHANGE).unwrap();
        count += 1;
        // Long enough for a delivery to come in between, too short for it to end before the next one.
        std::thread::sleep(std::time::Duration::from_millis(if count % 2 == 1 { 3 } else { 11 }));
    }
    count
}

/// The mailbox is now itself, now a link to what is not the user's to write, now a second name of another file of his: during all
/// of a delivery. Nothing but the mailbox is written to, and nothing is lost.
#[test]
fn paths_that_are_swapped_during_delivery() {
    let Some(server) = start("interop swapped paths", &[]) else { return };
    let (victim, his) = (Path::new("/var/mail/.victim"), Path::new("/var/mail/.precious-u26"));
    for (round, what) in ["link", "hard", "fifo"].into_iter().enumerate() {
        clear("u26");
        fs::write(mailbox("u26"), "").unwrap();
        fs::write(victim, "untouched").unwrap();
        fs::write(his, "untouched").unwrap();
        for (path, owner) in [(&*mailbox("u26"), "u26"), (his, "u26"), (victim, "u25")] {
            chown(path, Some(crate::interop::uid(owner)), Some(8)).unwrap();
        }
        let evil = Path::new("/var/mail/.evil-u26");
        match what {
            "link" => symlink(victim, evil).unwrap(),
            "hard" => fs::hard_link(his, evil).unwrap(),
            _ => tool(&format!("mkfifo -m 600 {0} && chown u26 {0}", evil.display())),
        }
        let (end, swaps) = (AtomicBool::new(false), AtomicUsize::new(0));
        let sent = std::thread::scope(|scope| {
            scope.spawn(|| swaps.store(exchange(&end, &mailbox("u26"), evil), Ordering::SeqCst));
            let _over = Ends(&end);
            send(server.address, "u26", &format!("{what}{round}-"), scaled(300, 60))
        });
        server.wait_empty(seconds(60));
        let (found, torn) = mbox::count([mailbox("u26")]);
        println!("{what}: {} swaps, {} delivered", swaps.into_inner(), found.len());
        assert!(torn.is_empty(), "{torn:?}");
        assert!(found.len() == sent.len() && sent.iter().all(|id| found.get(id) == Some(&1)), "{found:?}");
        assert_eq!((fs::read(victim).unwrap(), fs::read(his).unwrap()), (b"untouched".to_vec(), b"untouched".to_vec()));
        fs::remove_file(evil).unwrap();
    }
    // What it was when it was looked at is told.
    for why in ["is a symbolic link", "has more than one link", "is not a regular file"] {
        server.wait_log(&format!("stat=Deferred: mailbox refused: /var/mail/u26 {why}"));
    }
    fs::remove_file(victim).unwrap();
}
