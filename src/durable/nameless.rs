//! Files that get their name only when they are complete: written without one (`O_TMPFILE`), synced, linked.
//! A crash before the link leaves nothing to clean up. Where `O_TMPFILE` is missing (NFS, old overlayfs) a
//! name that starts with `tmp.` stands in, and whoever reads the folder skips and clears those.

use nix::fcntl::{AT_FDCWD, AtFlags};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A file on its way to a name. Dropping it forgets it.
#[derive(Debug)]
pub struct Nameless {
    file: File,
    folder: PathBuf,
    /// The stand-in name where `O_TMPFILE` does not exist.
    temporary: Option<PathBuf>,
}

/// 128 random bits in hex, for names that nobody can guess or occupy beforehand.
#[must_use]
pub fn random_name() -> String {
    let mut bytes = [0u8; 16];
    random(&mut bytes);
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn random(mut rest: &mut [u8]) {
    while !rest.is_empty() {
        match rustix::rand::getrandom(&mut *rest, rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => rest = rest.split_at_mut(n).1,
            // Short requests fail with EINTR only, before the pool is ready.
            Err(_) => std::thread::yield_now(),
        }
    }
}

impl Nameless {
    /// Starts a file of the given mode that will live in `folder`.
    ///
    /// # Errors
    /// The system's.
    pub fn create(folder: &Path, mode: u32) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).mode(mode);
        let flags = nix::fcntl::OFlag::O_TMPFILE.bits();
        match options.clone().custom_flags(flags).open(folder) {
            Ok(file) => Ok(Self { file, folder: folder.to_owned(), temporary: None }),
            // EISDIR: kernels before O_TMPFILE; EOPNOTSUPP: file systems without it.
            Err(error) if matches!(error.raw_os_error(), Some(libc_codes::EISDIR | libc_codes::EOPNOTSUPP)) => {
                Self::create_named(folder, &mut options)
            }
            Err(error) => Err(error),
        }
    }

    fn create_named(folder: &Path, options: &mut std::fs::OpenOptions) -> io::Result<Self> {
        let path = folder.join(format!("tmp.{}", random_name()));
        let file = options.create_new(true).open(&path)?;
        Ok(Self { file, folder: folder.to_owned(), temporary: Some(path) })
    }

    /// The open file.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives it its name; refuses to replace an existing one. Contents must have been synced before; the folder has to be synced after.
    ///
    /// # Errors
    /// The system's; EEXIST if the name is taken.
    pub fn link(&self, name: &str) -> io::Result<()> {
        let target = self.folder.join(name);
        let source = match &self.temporary {
            Some(path) => path.clone(),
            None => PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd())),
        };
        nix::unistd::linkat(AT_FDCWD, &source, AT_FDCWD, &target, AtFlags::AT_SYMLINK_FOLLOW)?;
        let cleared = self.temporary.as_deref().map_or(Ok(()), crate::unlink);
        cleared.inspect_err(|_| take_back(&target))
    }
}

impl Nameless {
    /// Gives it a name that may be in use: a reader finds the old file or this one, whole, and nothing between. Syncs the contents
    /// before and the folder after.
    ///
    /// # Errors
    /// The system's; the old file is then still there, unless only the folder's sync failed.
    pub fn replace(&self, name: &std::ffi::OsStr) -> io::Result<()> {
        crate::sync(&self.file)?;
        // Links never replace, renames do: so first a name that nobody has. A crash between the two leaves it behind.
        let meanwhile = format!("tmp.{}", random_name());
        self.link(&meanwhile)?;
        let meanwhile = self.folder.join(meanwhile);
        crate::rename(&meanwhile, &self.folder.join(name)).inspect_err(|_| take_back(&meanwhile))?;
        crate::sync_folder(&self.folder)
    }
}

/// Removes a name whose message is not taken: the caller will send it in another way.
fn take_back(path: &Path) {
    let _what_was_read_meanwhile_has_a_submission_id = crate::unlink(path);
}

impl Drop for Nameless {
    fn drop(&mut self) {
        if let Some(path) = &self.temporary {
            let _gone_after_link = std::fs::remove_file(path);
        }
    }
}

mod libc_codes {
    //! The two codes as constants that can stand in a pattern.
    use nix::errno::Errno;
    pub(super) const EISDIR: i32 = Errno::EISDIR as i32;
    pub(super) const EOPNOTSUPP: i32 = Errno::EOPNOTSUPP as i32;
}

/// A submission on its way into the drop folder (mode 1733: anyone may add, nobody may list).
#[derive(Debug)]
pub struct DropFile {
    nameless: Nameless,
}

impl DropFile {
    /// Starts one, mode 0600: only its writer and root can read it.
    ///
    /// # Errors
    /// The system's.
    pub fn create(folder: &Path) -> io::Result<Self> {
        Ok(Self { nameless: Nameless::create(folder, 0o600)? })
    }

    /// Syncs, links under a random name, and makes the name durable. Returns the name. Only after this may the caller say that the
    /// message was taken.
    ///
    /// # Errors
    /// The system's. The name is gone again, but a reader may have been faster, or a crash may come between, so the submission id
    /// has to tell two copies apart.
    pub fn publish(self) -> io::Result<String> {
        crate::sync(&self.nameless.file)?;
        let name = random_name();
        self.nameless.link(&name)?;
        // The folder cannot be opened for reading by the caller. On ext4, xfs and btrfs the file's own fsync commits its new name.
        let committed = crate::sync(&self.nameless.file).and_then(|()| commit_name(&self.nameless.file));
        committed.inspect_err(|_| take_back(&self.nameless.folder.join(&name)))?;
        Ok(name)
    }
}

impl Write for DropFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.nameless.file).write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How long another file system may take to sync everything.
const SYNCFS_LIMIT: Duration = Duration::from_secs(20);

/// On file systems whose fsync is not known to commit the name too: `syncfs`, for at most [`SYNCFS_LIMIT`].
fn commit_name(file: &File) -> io::Result<()> {
    // ext2/3/4, xfs, btrfs, tmpfs (where nothing lasts anyway).
    const KNOWN: [i64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994];
    let kind = rustix::fs::fstatfs(file)?.f_type;
    if KNOWN.contains(&(kind as i64)) {
        return Ok(());
    }
    let file = file.try_clone()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::Builder::new().spawn(move || {
        let _nobody_waits_any_more = sender.send(rustix::fs::syncfs(&file).map_err(io::Error::from));
    })?;
    receiver.recv_timeout(SYNCFS_LIMIT).unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("durable-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn has_no_name_before_it_is_published() {
        let folder = folder("drop");
        let mut file = DropFile::create(&folder).unwrap();
        file.write_all(b"whole").unwrap();
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        let name = file.publish().unwrap();
        assert_eq!(std::fs::read(folder.join(name)).unwrap(), b"whole");
        drop(DropFile::create(&folder).unwrap());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn replaces_in_one_step() {
        let folder = folder("replace");
        for text in ["one", "two"] {
            let file = Nameless::create(&folder, 0o600).unwrap();
            crate::write_all_at(file.file(), text.as_bytes(), 0).unwrap();
            file.replace("x".as_ref()).unwrap();
            assert_eq!(std::fs::read_to_string(folder.join("x")).unwrap(), text);
        }
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_stand_in_leaves_one_name() {
        let folder = folder("named");
        let file = Nameless::create_named(&folder, File::options().read(true).write(true)).unwrap();
        file.link("final").unwrap();
        assert!(file.link("final").is_err(), "never replaces");
        drop(file);
        drop(Nameless::create_named(&folder, File::options().read(true).write(true)).unwrap());
        let names: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["final"]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
