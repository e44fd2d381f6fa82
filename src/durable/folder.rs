//! Names in folders: syncing a folder, renaming, removing, free space.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Makes the names in a folder durable (`fsync` of the folder). Relying on the file's own fsync for its name would be relying on ext4.
///
/// # Errors
/// The system's.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Renames within one file system. The folders concerned must be synced by the caller, who may have several names to commit.
///
/// # Errors
/// The system's.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// A second name for a file; never replaces one. The folder concerned must be synced by the caller.
///
/// # Errors
/// The system's; EEXIST if the name is taken, EPERM or EOPNOTSUPP where there are no links.
pub fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)
}

/// Removes a name; that it is gone already is no error.
///
/// # Errors
/// The system's.
pub fn unlink(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Writes a whole file so that a reader finds the old one or the new one and nothing between: `path.new`, sync, rename, sync of the folder.
///
/// # Errors
/// The system's; the old file is then still there.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(new)?;
    let written = crate::write_all_at(&file, bytes, 0).and_then(|()| crate::sync(&file));
    if let Err(error) = written.and_then(|()| rename(new, path)) {
        let _best_effort = fs::remove_file(new);
        return Err(error);
    }
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Free room of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that an ordinary user may still write.
    pub bytes: u64,
    /// Files that may still be created; file systems without a fixed number say `u64::MAX`.
    pub inodes: u64,
}

/// Free bytes and inodes where `path` lies.
///
/// # Errors
/// The system's.
pub fn space(path: &Path) -> io::Result<Space> {
    let stat = nix::sys::statvfs::statvfs(path)?;
    // btrfs and others count no inodes and report zero of zero.
    let inodes = if stat.files() == 0 { u64::MAX } else { stat.files_available() };
    Ok(Space { bytes: stat.blocks_available().saturating_mul(stat.fragment_size()), inodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_a_file_whole() {
        let folder = std::env::temp_dir().join(format!("durable-folder-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("x");
        write_whole(&path, b"one").unwrap();
        write_whole(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        unlink(&path).unwrap();
        unlink(&path).unwrap();
        assert!(space(&folder).unwrap().bytes > 0);
        fs::remove_dir_all(folder).unwrap();
    }
}
