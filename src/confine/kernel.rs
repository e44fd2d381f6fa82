//! What this kernel can enforce, for `postrider check`. Asks, and changes nothing.

use std::fmt;

/// What there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Version of Landlock, or why there is none (errno).
    pub landlock: Result<u32, i32>,
    /// seccomp filters that refuse with an error number.
    pub seccomp: bool,
    /// no_new_privs: `None` if it is unknown to the kernel, else whether this process has it already.
    pub no_new_privs: Option<bool>,
}

/// What each version of Landlock added, the first one first.
const COVERS: [&str; 6] =
    ["files", "renames across folders", "truncation", "TCP", "devices", "signals and abstract sockets"];

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.landlock {
            Ok(version) => {
                let known = COVERS.get(..COVERS.len().min(version as usize)).unwrap_or_default();
                write!(f, "Landlock version {version}: {}", known.join(", "))
            }
            Err(errno) => write!(f, "no Landlock: {}", std::io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Asks this kernel.
#[must_use]
#[allow(unsafe_code, reason = "no safe interface to these three questions")]
pub fn kernel() -> Kernel {
    const RULESET_VERSION: libc::c_ulong = 1;
    // SAFETY: a null pointer of length 0 and the flag that asks for the version: nothing is read or made.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0usize, RULESET_VERSION) };
    let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    let action = libc::SECCOMP_RET_ERRNO;
    // SAFETY: the kernel reads four bytes, which live until the call returns.
    let seccomp = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    // SAFETY: numbers only.
    let no_new_privs = unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) };
    Kernel {
        landlock: u32::try_from(version).map_err(|_| errno),
        seccomp: seccomp == 0,
        no_new_privs: (no_new_privs >= 0).then_some(no_new_privs == 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asking_changes_nothing_and_agrees_with_confining() {
        let before = kernel();
        assert_eq!(before.no_new_privs, Some(false), "tests are not started so");
        std::thread::spawn(move || {
            let confined = crate::confine(&crate::Allowed::default()).unwrap();
            assert_eq!(confined.calls, before.seccomp);
            assert_eq!(confined.files == crate::Enforced::Not, before.landlock.is_err());
            assert_eq!(kernel().no_new_privs, Some(true));
        })
        .join()
        .unwrap();
        assert_eq!(kernel(), before);
    }

    #[test]
    fn versions_are_told_by_what_they_cover() {
        let told = |landlock| Kernel { landlock, seccomp: true, no_new_privs: None }.to_string();
        assert_eq!(told(Ok(1)), "Landlock version 1: files");
        assert_eq!(told(Ok(3)), "Landlock version 3: files, renames across folders, truncation");
        assert!(told(Ok(99)).ends_with("abstract sockets"));
        assert!(told(Err(libc::EOPNOTSUPP)).starts_with("no Landlock: "));
    }
}
