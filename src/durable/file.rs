//! Positioned writing, syncing and allocating of one open file.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Writes all of `bytes` at `offset`: short writes continue, EINTR continues.
///
/// # Errors
/// The first real error; a write of nothing is `WriteZero`. What was written before it is undefined.
pub fn write_all_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    file.write_all_at(bytes, offset)
}

/// Reads until `buffer` is full or the file ends, and returns the length read.
///
/// # Errors
/// The first error other than EINTR.
pub fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Opens for reading what must be an ordinary file: neither a FIFO, whose `open(2)` waits for a writer, nor a link, a folder or a device.
///
/// # Errors
/// The system's; [`is_damage`] says whether there is something else under the name.
pub fn open_plain(path: &Path) -> io::Result<File> {
    use nix::errno::Errno;
    let flags = nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW;
    let no_file = || io::Error::new(io::ErrorKind::InvalidData, "not an ordinary file");
    match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) if file.metadata()?.is_file() => Ok(file),
        Ok(_) => Err(no_file()),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            // A link; a socket.
            Some(Errno::ELOOP | Errno::ENXIO) => Err(no_file()),
            _ => Err(error),
        },
    }
}

/// Whether an error of opening or reading says that the file itself is damaged: no file at all, or a bad sector. Others say something about
/// the moment (no descriptors, no memory) or the rights of this process.
#[must_use]
pub fn is_damage(error: &io::Error) -> bool {
    let bad_sector = error.raw_os_error() == Some(nix::errno::Errno::EIO as i32);
    bad_sector || error.kind() == io::ErrorKind::InvalidData
}

/// As [`read_at_most`], but goes on behind pages that the disk cannot read any more. They are zeros in `buffer`; the second result says where
/// in it.
///
/// # Errors
/// The first error that is no damage.
pub fn read_around_damage(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<(usize, Vec<Range<usize>>)> {
    const PAGE: usize = 4096;
    match read_at_most(file, buffer, offset) {
        Err(error) if is_damage(&error) => {}
        whole => return Ok((whole?, Vec::new())),
    }
    let (mut done, mut bad) = (0, Vec::<Range<usize>>::new());
    for page in buffer.chunks_mut(PAGE) {
        match read_at_most(file, page, offset + done as u64) {
            Ok(n) if n < page.len() => return Ok((done + n, bad)),
            Ok(_) => {}
            Err(error) if is_damage(&error) => {
                page.fill(0);
                match bad.last_mut().filter(|last| last.end == done) {
                    Some(last) => last.end += page.len(),
                    None => bad.push(done..done + page.len()),
                }
            }
            Err(error) => return Err(error),
        }
        done += page.len();
    }
    Ok((done, bad))
}

/// `fdatasync`. After an error the same file must never be synced again and trusted: Linux drops the dirty pages.
///
/// # Errors
/// The system's.
pub fn sync_data(file: &File) -> io::Result<()> {
    file.sync_data()
}

/// `fsync`; the same warning holds.
///
/// # Errors
/// The system's.
pub fn sync(file: &File) -> io::Result<()> {
    file.sync_all()
}

/// Gives `file` blocks up to `length` bytes, so that writing there cannot run out of space.
///
/// # Errors
/// No room, or the system's.
pub fn preallocate(file: &File, length: u64) -> io::Result<()> {
    fs2::FileExt::allocate(file, length)
}

/// Overwrites `length` bytes with zeros from the start, syncs, and drops the page cache. A preallocated but unwritten block costs
/// a second flush (the journal's) when first written; a zero-filled one does not. Without dropping the cache it stays in large
/// folios, and each 4 KiB overwrite writes back a whole one: 12 times the bytes (measured, crates.md §6).
///
/// # Errors
/// The system's.
pub fn zero_fill(file: &File, length: u64) -> io::Result<()> {
    const CHUNK: usize = 256 << 10;
    let zeros = vec![0u8; CHUNK];
    let mut offset = 0;
    while offset < length {
        let n = (length - offset).min(CHUNK as u64) as usize;
        write_all_at(file, &zeros[..n], offset)?;
        offset += n as u64;
    }
    sync(file)?;
    drop_cache(file);
    Ok(())
}

/// Asks the kernel to forget the cached pages of a file; only advice, so a refusal is no error.
pub fn drop_cache(file: &File) {
    use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
    let _advice = posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_and_reads_at_places() {
        let path = std::env::temp_dir().join(format!("durable-file-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        preallocate(&file, 10_000).unwrap();
        zero_fill(&file, 10_000).unwrap();
        write_all_at(&file, b"hello", 9_998).unwrap();
        sync_data(&file).unwrap();
        let mut buffer = [1u8; 20];
        assert_eq!(read_at_most(&file, &mut buffer, 9_996).unwrap(), 7);
        assert_eq!(&buffer[..8], b"\0\0hello\x01");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn only_ordinary_files_are_opened_and_bad_pages_are_left_out() {
        let here = std::env::temp_dir();
        assert!(is_damage(&open_plain(&here).unwrap_err()), "a folder");
        assert!(is_damage(&open_plain(Path::new("/proc/self/exe")).unwrap_err()), "a link");
        assert!(!is_damage(&open_plain(&here.join("no/such/file")).unwrap_err()));
        // Nothing is mapped at address 0, and reading it fails with EIO.
        let memory = open_plain(Path::new("/proc/self/mem")).unwrap();
        let mut buffer = [1u8; 6_000];
        let (length, bad) = read_around_damage(&memory, &mut buffer, 0).unwrap();
        assert_eq!((length, bad.first(), bad.len()), (6_000, Some(&(0..6_000)), 1));
        assert_eq!(buffer, [0; 6_000]);
    }
}
