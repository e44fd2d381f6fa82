//! Callers that are set-uid or set-gid (a mailing list's wrapper, an old game): this program is its real user's from the first moment on, as sendmail
//! is. Otherwise the files of `-X`, `-D` and `-C` would be opened, and `-bd` be allowed, with rights that the user does not have; and
//! the engine would take the message for root's. Nor does it believe the environment then, in which the user could name a folder of his
//! own for the message of the program. Called by `run`, before anything else; asked by whoever reads a variable.

use nix::unistd::{getegid, geteuid, getgid, getuid, setresgid, setresuid};
use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;

/// Whether somebody else's rights came with the call.
static BORROWED: OnceLock<bool> = OnceLock::new();

/// Gives up, for good, whatever the real user and group do not have.
///
/// # Errors
/// The system's; then nothing may be done at all.
pub fn drop_borrowed() -> nix::Result<()> {
    let (user, group) = (getuid(), getgid());
    let borrowed = user != geteuid() || group != getegid();
    if borrowed {
        setresgid(group, group, group)?;
        setresuid(user, user, user)?;
    }
    let _asked_once_a_process = BORROWED.set(borrowed);
    Ok(())
}

fn borrowed() -> bool {
    BORROWED.get().is_some_and(|borrowed| *borrowed)
}

/// A variable of the environment, if that is the caller's own.
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|_| !borrowed())
}

/// Keeps what is not believed here from a program that is started.
pub fn clear(command: &mut Command) {
    if borrowed() {
        let ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"POSTRIDER_") || name == "TMPDIR";
        std::env::vars_os().filter(|(name, _)| ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
    }
}
