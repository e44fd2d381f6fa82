//! The lock file of a folder that one process may use: `flock` for the lock, the holder's pid inside for people.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("in use by process {0}")]
    Held(String),
    /// The file could not be opened or written.
    #[error("lock file: {0}")]
    Io(#[from] io::Error),
}

/// A lock that lasts as long as the value; the kernel ends it with the process, so a crash leaves nothing behind.
#[derive(Debug)]
pub struct LockFile {
    _file: File,
}

impl LockFile {
    /// Takes the lock without waiting and writes our pid into the file.
    ///
    /// # Errors
    /// [`LockError::Held`] with the pid that the holder wrote, or what the file system said.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let mut file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        // Qualified: since Rust 1.89 `File` has a method of the same name with another result type.
        if let Err(error) = fs2::FileExt::try_lock_exclusive(&file) {
            if error.raw_os_error() != fs2::lock_contended_error().raw_os_error() {
                return Err(error.into());
            }
            let mut holder = String::new();
            file.by_ref().take(20).read_to_string(&mut holder)?;
            let digits = !holder.trim().is_empty() && holder.trim().bytes().all(|b| b.is_ascii_digit());
            let holder = if digits { holder.trim().to_owned() } else { "(unknown)".to_owned() };
            return Err(LockError::Held(holder));
        }
        file.set_len(0)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)?;
        Ok(Self { _file: file })
    }
}

/// Waits for the exclusive `flock` of an open file. It ends with the descriptor.
///
/// # Errors
/// The system's.
pub fn wait_for_lock(file: &File) -> io::Result<()> {
    fs2::FileExt::lock_exclusive(file)
}

/// Takes the exclusive `flock` of an open file without waiting; whether it could. It ends with the descriptor.
///
/// # Errors
/// The system's.
pub fn try_lock(file: &File) -> io::Result<bool> {
    match fs2::FileExt::try_lock_exclusive(file) {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == fs2::lock_contended_error().raw_os_error() => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_hears_who_has_it() {
        let path = std::env::temp_dir().join(format!("durable-lock-{}", std::process::id()));
        let first = LockFile::take(&path).unwrap();
        let told = LockFile::take(&path).unwrap_err().to_string();
        assert_eq!(told, format!("in use by process {}", std::process::id()));
        drop(first);
        LockFile::take(&path).unwrap();
        std::fs::remove_file(path).unwrap();
    }
}
