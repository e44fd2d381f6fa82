//! Whether the engine will be able to open its log file: it does so itself, as its own user, and does not start without. Told by
//! `postrider config check`, which root runs. Judged by modes; access lists are not looked at.

use config::Config;
use nix::unistd::User;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A warning about the log file of a configuration. Only root is told: for others the engine is themselves.
pub(crate) fn trouble(config: &Config) -> Option<String> {
    let file = config.log.file.as_ref().filter(|_| rustix::process::geteuid().is_root())?;
    let user = &config.run.user;
    // That there is no such user is told when the server starts.
    let found = User::from_name(user).ok()??;
    let why = refused(Path::new(file), found.uid.as_raw(), found.gid.as_raw())?;
    Some(format!("log file {file}: warning: user {user} cannot open it, and the server will not start: {why}"))
}

/// Why this user without further groups cannot append to a file or make it.
fn refused(path: &Path, uid: u32, gid: u32) -> Option<String> {
    let may = |about: &Metadata, bits: u32| {
        let shift = match (about.uid() == uid, about.gid() == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        (about.mode() >> shift) & bits == bits
    };
    let told = |path: &Path, what: &str| Some(format!("{} {what}", path.display()));
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    for folder in path.parent()?.ancestors() {
        match folder.metadata() {
            Ok(about) if !about.is_dir() => return told(folder, "is no folder"),
            Ok(about) if !may(&about, 1) => return told(folder, "is closed to it"),
            Ok(_) => {}
            Err(error) => return told(folder, &format!("cannot be looked at: {}", config::plain(&error))),
        }
    }
    match path.metadata() {
        Ok(about) if about.is_dir() => told(path, "is a folder"),
        Ok(about) if !may(&about, 2) => {
            told(path, &format!("belongs to uid {} (mode {:04o})", about.uid(), about.mode() & 0o7777))
        }
        Ok(_) => None,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let folder = path.parent()?;
            let closed = folder.metadata().is_ok_and(|about| !may(&about, 2));
            if closed { told(folder, "takes no new files from it") } else { None }
        }
        Err(error) => told(path, &format!("cannot be looked at: {}", config::plain(&error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{Permissions, create_dir, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_another_user_may_not_write() {
        // Somebody who owns nothing here.
        const NOBODY: u32 = 4_000_000_000;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let mode = |name: &str, mode| set_permissions(at(name), Permissions::from_mode(mode)).unwrap();
        let why = |name: &str| refused(&at(name), NOBODY, NOBODY).unwrap_or_default();
        mode("", 0o700);
        assert!(why("log").ends_with("is closed to it"));
        mode("", 0o755);
        assert!(why("log").ends_with("takes no new files from it"), "{}", why("log"));
        assert!(why("none/log").contains("none cannot be looked at"));
        write(at("log"), "").unwrap();
        mode("log", 0o640);
        assert!(why("log").ends_with("(mode 0640)"));
        mode("log", 0o642);
        assert_eq!(why("log"), "");
        create_dir(at("open")).unwrap();
        mode("open", 0o777);
        assert_eq!(why("open/log"), "");
        assert!(why("open").ends_with("is a folder"));
        // The owner's bits count for the owner, whatever all others may.
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        mode("log", 0o466);
        assert!(refused(&at("log"), uid, gid).is_some() && refused(&at("log"), NOBODY, gid).is_none());
    }
}
