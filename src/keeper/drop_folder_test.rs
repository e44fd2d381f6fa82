//! A hostile engine asks for entries of the drop folder, and hostile users have put things there.

use super::*;
use std::fs::{Permissions, create_dir, hard_link, set_permissions, write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A drop folder with a secret beside it.
fn stage() -> (tempfile::TempDir, OwnedFd) {
    let scratch = tempfile::tempdir().unwrap();
    create_dir(scratch.path().join("drop")).unwrap();
    put(&scratch.path().join("secret"), 0o600);
    let folder = std::fs::File::open(scratch.path().join("drop")).unwrap();
    (scratch, folder.into())
}

fn put(path: &Path, mode: u32) {
    write(path, b"x").unwrap();
    set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_outside_the_folder_is_opened_or_removed() {
    let (scratch, folder) = stage();
    let at = |name: &str| scratch.path().join(name);
    put(&at("drop/good"), 0o600);
    create_dir(at("drop/sub")).unwrap();
    put(&at("drop/sub/inner"), 0o600);
    let absolute = at("secret").display().to_string();
    let long = "n".repeat(300);
    let names = ["", ".", "..", "../secret", "./good", "sub/inner", "/etc/shadow", &absolute, "good/", "a\0b", &long];
    for name in names {
        let (state, file) = open(&folder, name.as_bytes());
        assert!(matches!(state, InputState::Unreadable(_)) && file.is_none(), "{name:?} {state:?}");
        assert!(matches!(remove(&folder, name.as_bytes()), InputState::Unreadable(_)), "{name:?}");
    }
    assert!(at("secret").exists() && at("drop/sub/inner").exists() && at("drop/good").exists());
    assert!(matches!(remove(&folder, b"sub"), InputState::Unreadable(_)), "it is not empty");
    assert!(matches!(open(&folder, b"good"), (InputState::Open, Some(_))));
    assert_eq!(remove(&folder, b"good"), InputState::Absent);
    assert_eq!(remove(&folder, b"good"), InputState::Absent, "and it stays gone");
    assert!(matches!(open(&folder, b"good"), (InputState::Absent, None)));
}

#[test]
fn only_what_its_owner_alone_can_have_written_is_opened() {
    let (scratch, folder) = stage();
    let at = |name: &str| scratch.path().join("drop").join(name);
    for mode in [0o640, 0o620, 0o604, 0o602, 0o601] {
        put(&at("shared"), mode);
        assert!(matches!(open(&folder, b"shared"), (InputState::Unreadable(_), None)), "{mode:o}");
    }
    put(&at("one"), 0o600);
    hard_link(at("one"), at("two")).unwrap();
    symlink(scratch.path().join("secret"), at("link")).unwrap();
    rustix::fs::mkfifoat(&folder, "fifo", Mode::RUSR).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    create_dir(at("folder")).unwrap();
    for name in ["one", "two", "link", "fifo", "socket", "folder"] {
        let (state, file) = open(&folder, name.as_bytes());
        assert!(matches!(state, InputState::Unreadable(_)) && file.is_none(), "{name} {state:?}");
    }
    // A link goes; what it leads to stays.
    for name in ["two", "link", "fifo", "socket", "folder"] {
        assert_eq!(remove(&folder, name.as_bytes()), InputState::Absent, "{name}");
    }
    drop(socket);
    assert!(scratch.path().join("secret").exists());
    assert!(matches!(open(&folder, b"one"), (InputState::Open, Some(_))), "one link again");
}
