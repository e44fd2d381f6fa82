//! Every call of the spool that changes a file, in one place. In tests a hook stands before each, so that the n-th can fail, write short, or
//! be the last before a power cut; in production there is no hook and the calls go straight to `durable`.

use durable::Nameless;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A call about to be made, or just made, for a hook.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Bytes written to a segment at an offset.
    Write(&'a Path, &'a [u8], u64),
    /// A segment synced.
    Sync(&'a Path),
    /// A segment created with all its blocks.
    Create(&'a Path),
    /// A file renamed.
    Rename(&'a Path, &'a Path),
    /// A name removed.
    Unlink(&'a Path),
    /// A folder's names synced.
    SyncFolder(&'a Path),
    /// A body started, written to or synced, before it has a name.
    Body,
    /// A body got its name, or another one.
    Link(&'a Path),
    /// A small file written whole and durable.
    Whole(&'a Path),
}

/// What a test puts before the calls.
pub trait Hook: Send + Sync {
    /// May refuse the call (it is then not made). A short write is staged by writing a part and refusing.
    ///
    /// # Errors
    /// The staged one.
    fn before(&self, call: Call<'_>, file: Option<&File>) -> io::Result<()>;
    /// The call was made.
    fn after(&self, call: Call<'_>);
    /// Free room to report instead of the real one.
    fn space(&self) -> Option<durable::Space>;
}

/// The spool's folder.
pub(crate) struct Disk {
    pub root: PathBuf,
    hook: Option<Arc<dyn Hook>>,
    /// Sync calls made, for the statistics.
    pub syncs: AtomicU64,
    /// Write calls made to segments.
    pub writes: AtomicU64,
}

impl Disk {
    pub fn new(root: &Path, hook: Option<Arc<dyn Hook>>) -> Self {
        Self { root: root.to_owned(), hook, syncs: AtomicU64::new(0), writes: AtomicU64::new(0) }
    }

    pub fn folder(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn segment(&self, number: u32) -> PathBuf {
        self.root.join(format!("segments/{number:08}.seg"))
    }

    pub fn body(&self, content: u64) -> PathBuf {
        self.root.join(format!("bodies/{content:016x}"))
    }

    fn hooked<T>(&self, call: Call<'_>, file: Option<&File>, run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let Some(hook) = &self.hook else { return run() };
        hook.before(call, file)?;
        let done = run()?;
        hook.after(call);
        Ok(done)
    }

    pub fn write(&self, path: &Path, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.hooked(Call::Write(path, bytes, offset), Some(file), || durable::write_all_at(file, bytes, offset))
    }

    pub fn sync(&self, path: &Path, file: &File) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.hooked(Call::Sync(path), Some(file), || durable::sync_data(file))
    }

    /// Creates a file of `length` allocated bytes; `zeros` also writes them, so that later writes need one flush and not two.
    pub fn create(&self, path: &Path, length: u64, zeros: bool) -> io::Result<File> {
        let made = self.hooked(Call::Create(path), None, || {
            let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(path)?;
            durable::preallocate(&file, length)?;
            if zeros {
                durable::zero_fill(&file, length)?;
            } else {
                // The size is metadata that fdatasync of later writes relies on.
                durable::sync(&file)?;
            }
            Ok(file)
        });
        if made.is_err() {
            let _nothing_made = durable::unlink(path);
        }
        made
    }

    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.hooked(Call::Rename(from, to), None, || durable::rename(from, to))
    }

    /// Gives a file a second name.
    pub fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.hooked(Call::Link(to), None, || durable::link(from, to))
    }

    pub fn unlink(&self, path: &Path) -> io::Result<()> {
        self.hooked(Call::Unlink(path), None, || durable::unlink(path))
    }

    pub fn sync_folder(&self, name: &str) -> io::Result<()> {
        let path = self.folder(name);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.hooked(Call::SyncFolder(&path), None, || durable::sync_folder(&path))
    }

    pub fn start_body(&self) -> io::Result<Nameless> {
        self.hooked(Call::Body, None, || Nameless::create(&self.folder("bodies"), 0o600))
    }

    pub fn write_body(&self, body: &Nameless, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.hooked(Call::Body, None, || durable::write_all_at(body.file(), bytes, offset))
    }

    /// Syncs a body, names it, makes the name durable, and opens it for reading only: that descriptor may go to an agent.
    pub fn publish_body(&self, body: &Nameless, content: u64) -> io::Result<File> {
        let path = self.body(content);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.hooked(Call::Body, None, || durable::sync(body.file()))?;
        self.hooked(Call::Link(&path), None, || body.link(&format!("{content:016x}")))?;
        let open = self.sync_folder("bodies").and_then(|()| File::open(&path));
        if open.is_err() {
            let _removed_at_next_start = self.unlink(&path);
        }
        open
    }

    pub fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.hooked(Call::Whole(path), None, || durable::write_whole(path, bytes))
    }

    pub fn space(&self) -> io::Result<durable::Space> {
        match self.hook.as_ref().and_then(|hook| hook.space()) {
            Some(space) => Ok(space),
            None => durable::space(&self.root),
        }
    }

    /// Makes the folders of a new spool.
    pub fn make_folders(&self) -> io::Result<()> {
        for name in ["segments", "spare", "bodies", "corrupt"] {
            let path = self.folder(name);
            if !path.is_dir() {
                std::fs::DirBuilder::new().mode(0o700).create(&path)?;
            }
        }
        durable::sync_folder(&self.root)
    }
}
