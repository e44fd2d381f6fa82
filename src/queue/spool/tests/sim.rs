//! A disk that forgets: the hook keeps an image of what is durable, fails calls on demand, and after a "power cut" the folder is made anew from the image.

use super::*;
use crate::contract::{Dice, Rig};
use crate::spool::{Call, Hook};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    /// With this errno, once.
    Once(i32),
    /// With this errno, and every call after it.
    Sticky(i32),
    /// A write writes half and then says that the disk is full.
    Short,
    /// The power goes: nothing is done any more.
    Cut,
}

#[derive(Default)]
struct Image {
    calls: u64,
    fail_at: Option<(u64, Fault)>,
    dead: bool,
    sticky: Option<i32>,
    /// Durable bytes by inode; the open file keeps the number from being used again.
    files: HashMap<u64, (Vec<u8>, File)>,
    /// Durable names by folder.
    names: BTreeMap<PathBuf, BTreeMap<String, u64>>,
    space: Option<durable::Space>,
    no_create: bool,
}

pub(super) struct Sim {
    image: Mutex<Image>,
}

impl Image {
    fn keep(&mut self, path: &Path) {
        let file = File::open(path).unwrap();
        let inode = file.metadata().unwrap().ino();
        self.files.insert(inode, (std::fs::read(path).unwrap(), file));
    }

    fn keep_names(&mut self, folder: &Path) {
        let names = listing(folder);
        self.names.insert(folder.to_owned(), names);
    }
}

fn listing(folder: &Path) -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        // A chore may remove a body while we look.
        if let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            names.insert(entry.file_name().into_string().unwrap(), metadata.ino());
        }
    }
    names
}

impl Hook for Sim {
    fn before(&self, call: Call<'_>, file: Option<&File>) -> io::Result<()> {
        let mut image = self.image.lock().unwrap();
        image.calls += 1;
        if let Some((at, fault)) = image.fail_at
            && image.calls == at
        {
            match fault {
                Fault::Once(errno) => return Err(io::Error::from_raw_os_error(errno)),
                Fault::Sticky(errno) => image.sticky = Some(errno),
                Fault::Cut => image.dead = true,
                Fault::Short => {
                    if let (Call::Write(_, bytes, offset), Some(file)) = (call, file) {
                        durable::write_all_at(file, &bytes[..bytes.len() / 2], offset).unwrap();
                    }
                    return Err(io::Error::from_raw_os_error(28));
                }
            }
        }
        if image.no_create && matches!(call, Call::Create(_) | Call::Body) {
            return Err(io::Error::from_raw_os_error(28));
        }
        match (image.dead, image.sticky) {
            (true, _) => Err(io::Error::from_raw_os_error(5)),
            (_, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
            _ => Ok(()),
        }
    }

    fn after(&self, call: Call<'_>) {
        let mut image = self.image.lock().unwrap();
        if image.dead {
            return;
        }
        match call {
            Call::Sync(path) | Call::Create(path) | Call::Link(path) => image.keep(path),
            Call::SyncFolder(path) => image.keep_names(path),
            Call::Whole(path) => {
                image.keep(path);
                image.keep_names(path.parent().unwrap());
            }
            Call::Write(..) | Call::Rename(..) | Call::Unlink(_) | Call::Body => {}
        }
    }

    fn space(&self) -> Option<durable::Space> {
        self.image.lock().unwrap().space
    }
}

/// A spool on such a disk.
pub(super) struct SpoolRig {
    pub folder: Folder,
    pub sim: Arc<Sim>,
    pub settings: Settings,
    /// Segments with content at the time of the last crash, for failure reports.
    pub cuts: u32,
}

impl SpoolRig {
    pub fn new() -> Self {
        let folder = Folder::new();
        let settings = Settings { large: 12_000, memory: 1 << 20, ..folder.settings() };
        Self { folder, sim: Arc::new(Sim { image: Mutex::default() }), settings, cuts: 0 }
    }

    pub fn open_spool(&self, now: Time) -> (Arc<Spool>, super::super::Recovery) {
        self.try_open(now).unwrap()
    }

    pub fn try_open(&self, now: Time) -> Result<(Arc<Spool>, super::super::Recovery), crate::Error> {
        let hook: Arc<dyn Hook> = Arc::clone(&self.sim) as Arc<dyn Hook>;
        Spool::open_with(&self.settings, now, Some(hook), Duration::from_millis(5))
    }

    /// Whether the call that was to fail has been made.
    pub fn reached(&self) -> bool {
        let image = self.sim.image.lock().unwrap();
        image.fail_at.is_some_and(|(at, _)| image.calls >= at)
    }

    /// Whether creating files fails.
    pub fn forbid_create(&self, forbid: bool) {
        self.sim.image.lock().unwrap().no_create = forbid;
    }

    /// Fails the n-th call from now.
    pub fn fail(&self, n: u64, fault: Fault) {
        let mut image = self.sim.image.lock().unwrap();
        image.fail_at = Some((image.calls + n, fault));
    }

    pub fn set_space(&self, space: Option<durable::Space>) {
        self.sim.image.lock().unwrap().space = space;
    }

    pub fn clear(&self) {
        let mut image = self.sim.image.lock().unwrap();
        image.fail_at = None;
        image.sticky = None;
        image.dead = false;
    }

    /// No call is made any more.
    pub fn kill(&self) {
        self.sim.image.lock().unwrap().dead = true;
    }

    /// Makes the folder what a power cut leaves. `keep`: 0 nothing unsynced, 1 everything (a killed process), else pages and names at random.
    pub fn power_cut(&mut self, keep: u64, dice: &mut Dice) {
        self.cuts += 1;
        let mut image = self.sim.image.lock().unwrap();
        if keep == 1 {
            return;
        }
        let root = self.folder.0.clone();
        for folder in ["segments", "spare", "bodies", "corrupt", ""] {
            let path = if folder.is_empty() { root.clone() } else { root.join(folder) };
            let now = listing(&path);
            let mut names = image.names.get(&path).cloned().unwrap_or_default();
            if folder.is_empty() {
                names.retain(|name, _| name == "checkpoint");
            }
            if keep > 1 && dice.hits(2) && !folder.is_empty() {
                names = now.clone();
            }
            let contents: Vec<(String, Vec<u8>)> = names
                .iter()
                .map(|(name, inode)| (name.clone(), mixed(&image, &path.join(name), *inode, keep, dice)))
                .collect();
            for name in now.keys().filter(|name| *name != "lock") {
                std::fs::remove_file(path.join(name)).unwrap();
            }
            for (name, bytes) in contents {
                std::fs::write(path.join(name), bytes).unwrap();
            }
        }
        image.files.clear();
        image.names.clear();
        for folder in ["segments", "spare", "bodies", "corrupt", ""] {
            let path = if folder.is_empty() { root.clone() } else { root.join(folder) };
            for name in listing(&path).keys() {
                image.keep(&path.join(name));
            }
            image.keep_names(&path);
        }
    }
}

/// The bytes that a file has after the cut.
fn mixed(image: &Image, path: &Path, inode: u64, keep: u64, dice: &mut Dice) -> Vec<u8> {
    let live = std::fs::read(path).ok().filter(|_| std::fs::metadata(path).is_ok_and(|m| m.ino() == inode));
    let durable = image.files.get(&inode).map(|(bytes, _)| bytes.clone());
    match (durable, live) {
        (Some(durable), Some(live)) if keep > 1 && durable.len() == live.len() => {
            let pages = durable.chunks(4096).zip(live.chunks(4096));
            pages.flat_map(|(old, new)| if dice.hits(2) { old } else { new }.to_vec()).collect()
        }
        (Some(durable), _) => durable,
        (None, Some(live)) if keep > 1 => live,
        (None, _) => Vec::new(),
    }
}

impl Rig for SpoolRig {
    fn open(&mut self, now: Time) -> Arc<dyn Store> {
        let (spool, recovery) = self.open_spool(now);
        assert_eq!(recovery.lines.iter().find(|line| line.contains("corrupt")), None);
        spool
    }

    fn crash(&mut self, store: Arc<dyn Store>, dice: &mut Dice) {
        self.kill();
        drop(store);
        let keep = dice.roll(4);
        self.power_cut(keep, dice);
        self.clear();
    }

    fn disturb(&mut self, dice: &mut Dice) {
        let errno = if dice.hits(2) { 5 } else { 28 };
        let fault = match dice.roll(4) {
            0 => Fault::Sticky(errno),
            1 => Fault::Short,
            _ => Fault::Once(errno),
        };
        self.fail(1 + dice.roll(12), fault);
    }

    fn calm(&mut self) {
        self.clear();
    }
}

#[test]
fn keeps_the_contract() {
    let seeds: u64 = std::env::var("QUEUE_CONTRACT_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let first: u64 = std::env::var("QUEUE_CONTRACT_FIRST").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    for seed in first..first + seeds {
        let mut rig = SpoolRig::new();
        let run = std::panic::AssertUnwindSafe(|| crate::contract::store_contract(&mut rig, seed, 300));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("seed {seed}");
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            let id = text.split(' ').nth(2).unwrap_or_default().to_owned();
            dump(&rig, &id);
            std::panic::resume_unwind(panic);
        }
    }
}

/// Prints every record about a message.
fn dump(rig: &SpoolRig, id: &str) {
    use crate::spool::frame::{Block, Seeds, SegmentHeader};
    use crate::spool::record::records;
    use crate::spool::scan::{Known, Piece, scan};
    let disk = crate::spool::disk::Disk::new(&rig.folder.0, None);
    for number in crate::spool::recover::numbers(&disk, "segments").unwrap() {
        let bytes = std::fs::read(disk.segment(number)).unwrap();
        let Block::Header(header) = SegmentHeader::decode(&bytes[..4096]) else {
            eprintln!("segment {number}: no header");
            continue;
        };
        let history: Vec<_> = header.history.iter().map(|past| (past.number, past.end, past.voided)).collect();
        eprintln!("segment {number}: header {} {history:?}", header.number);
        let known = Known { seeds: Seeds::new(&header.salt), end: None, last: false };
        let ended = scan(&bytes, 0, known, |piece| match piece {
            Piece::Damage { from, to } => eprintln!("  damage {from} {to}"),
            Piece::Frame { offset, records: bytes } => {
                for record in records(bytes) {
                    let text = format!("{:?}", record.unwrap());
                    let kinds = ["Removed", "Counter", "Retired"];
                    if text.contains(id) || kinds.iter().any(|kind| text.starts_with(kind)) {
                        eprintln!("  {offset}: {}", &text[..text.len().min(300)]);
                    }
                }
            }
        });
        eprintln!("  {ended:?}");
    }
}
