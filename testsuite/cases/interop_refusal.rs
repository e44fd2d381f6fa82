//! What stands where a mailbox should be and is none: refused, logged with its reason, touched by nobody, and the mail waits until it
//! is put right (mbox-locking.md §5 step 1, S-47).

use crate::interop::{clear, start};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use testsuite::{Smtp, mbox, message, seconds, wait_for};

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
    server.wait_empty(seconds(30));
    for (user, ..) in PLANTED {
        wait_for(user, seconds(20), || mbox::count([mailbox(user)]).0.get(user) == Some(&1));
        let made = fs::metadata(mailbox(user)).unwrap();
        assert_eq!((made.uid(), made.gid(), made.permissions().mode() & 0o7777), (crate::interop::uid(user), 8, 0o600));
    }
    assert_eq!(fs::read(victim).unwrap(), b"untouched");
    fs::remove_file(victim).unwrap();
}
