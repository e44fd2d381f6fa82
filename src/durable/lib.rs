//! The only place that syncs, links, renames or locks a file.
//!
//! Called by the queue's spool, by `sendmail` for the drop folder, and by the mailbox writers. Everything on the data path goes
//! through std or libc calls (not raw system calls), so that fault-injecting preloads of the test suite see it.
//! An ignored error here is lost mail: every result is returned, short writes and EINTR are continued.

pub mod file;
pub mod folder;
pub mod lock;
pub mod mailbox_lock;
pub mod nameless;

pub use file::{
    drop_cache, is_damage, open_plain, preallocate, read_around_damage, read_at_most, sync, sync_data, write_all_at,
    zero_fill,
};
pub use folder::{Space, link, rename, space, sync_folder, unlink, write_whole};
pub use lock::{LockError, LockFile, wait_for_lock};
pub use nameless::{DropFile, Nameless, random_name};

use std::io;

/// Whether an error says that there is no room: disk, quota, inodes or file size limit (452 4.3.1; R-5).
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    use nix::errno::Errno;
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
}
