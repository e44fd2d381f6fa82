//! The drop folder, as the engine sees it: it lists the folder, which the keeper has opened for it, and decides which entries are wanted when;
//! the keeper opens and removes them by name, because only root may. Anybody may put a file there, so nobody may take every place, and
//! a full folder costs little, whatever is in it.

use crate::link::Link;
use call::keep::{FromEngine, InputState};
use mail::log::{Event, Log};
use receive::{Receive, Taken};
use rustix::fs::{AtFlags, Dir, FileType, Stat, fstat, statat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// At most so many entries are taken at a time, and so many of one owner.
const OUTSTANDING: usize = 96;
const PER_OWNER: usize = 16;
/// From here on only owners of whom none is being taken get a place: two users whose entries hang do not shut everybody out.
const CROWDED: usize = 32;
/// Names that one scan looks at, and the time between two.
const NAMES: usize = if cfg!(test) { 10 } else { 1_000 };
const PAUSE: Duration = Duration::from_millis(50);
/// How often the clock and the folder's time are looked at; and its names, whatever its time says.
const TICK: Duration = Duration::from_secs(1);
const SCAN: Duration = Duration::from_secs(60);
/// A time that is no older may stand for more than one change: it is only as fine as the kernel's clock.
const FINE: Duration = Duration::from_secs(2);
/// Larger than any message that our `sendmail` would put there.
const LARGEST: i64 = 2 << 30;
/// How long an entry that could not be taken rests: doubles up to the second value.
const REST: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(3_600));
/// When the entries of so many owners in a row could not be taken (disk full), the whole folder rests for so long.
const PUT_OFF: (usize, Duration) = (3, Duration::from_secs(5));
/// How long a refused entry rests, so that it does not fill the log; and most lines in that time.
const REFUSED: (Duration, u32) = (Duration::from_secs(3_600), 1_000);
/// Most names of resting entries that are remembered; others come again with the next pass.
const REMEMBERED: usize = 4_096;
/// `tmp.` names are what crashed writers left after so long.
const STALE: Duration = Duration::from_secs(24 * 3_600);

/// A name in the folder: anybody's bytes.
type Name = Vec<u8>;

/// What the keeper is to do with an entry.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Open(Name),
    /// With the reason, for the log.
    Remove(Name, &'static str),
}

/// What becomes of an entry when it is looked at.
enum Verdict {
    Wanted(u32),
    /// What certainly is no submission: those are regular files.
    Rubbish(&'static str),
    Left(String),
    /// Not an error: without O_TMPFILE an entry has for a moment two names.
    Moving,
    Nothing,
}

/// Which entries are being taken, and which rest.
#[derive(Default)]
struct Entries {
    /// Names and their owners.
    taking: HashMap<Name, u32>,
    /// Not to be taken before this moment; how often it was put off.
    resting: HashMap<Name, (Instant, u32)>,
    /// Owners that were put off since an entry was last taken.
    put_off: HashSet<u32>,
    not_before: Option<Instant>,
    /// In the middle of a pass; the next scan goes on where the last one stopped.
    in_pass: bool,
    /// There may be entries that this pass has not seen: another one follows.
    unseen: bool,
    /// When the first of the entries that were put off may come again.
    wakes: Option<Instant>,
    /// Lines in the log, and since when; those to be written.
    said: Option<(Instant, u32)>,
    lines: Vec<String>,
}

impl Entries {
    /// Whether a scan could find something.
    fn is_due(&self) -> bool {
        (self.unseen || self.in_pass) && self.taking.len() < OUTSTANDING
    }

    /// Looks at the clock: a rest that is over asks for another pass.
    fn wake(&mut self) {
        if self.wakes.is_some_and(|moment| moment <= Instant::now()) {
            self.unseen = true;
        }
    }

    /// The next things to do.
    fn scan(&mut self, folder: &OwnedFd, names: &mut Dir) -> Vec<Step> {
        let (mut steps, now) = (Vec::new(), Instant::now());
        if self.not_before.is_some_and(|moment| moment > now) {
            return steps;
        }
        self.not_before = Some(now + PAUSE);
        if !self.in_pass {
            (self.unseen, self.in_pass) = (false, true);
            self.resting.retain(|_, (until, _)| *until + REST.1 > now);
            let put_off = self.resting.values().filter(|(until, tries)| *tries > 0 && *until > now);
            self.wakes = put_off.map(|(until, _)| *until).min();
            names.rewind();
        }
        for _ in 0..NAMES {
            if self.taking.len() >= OUTSTANDING {
                break;
            }
            let Some(Ok(entry)) = names.read() else {
                self.in_pass = false;
                break;
            };
            steps.extend(self.consider(folder, entry.file_name().to_bytes(), now));
        }
        steps
    }

    fn consider(&mut self, folder: &OwnedFd, name: &[u8], now: Instant) -> Option<Step> {
        let rests = self.resting.get(name).is_some_and(|(until, _)| *until > now);
        if rests || matches!(name, b"." | b"..") || self.taking.contains_key(name) {
            return None;
        }
        match judge(folder, name) {
            Verdict::Wanted(uid) if self.places(uid) >= self.most() => self.unseen = true,
            Verdict::Wanted(uid) => {
                self.taking.insert(name.to_vec(), uid);
                return Some(Step::Open(name.to_vec()));
            }
            Verdict::Rubbish(why) => {
                self.taking.insert(name.to_vec(), u32::MAX);
                return Some(Step::Remove(name.to_vec(), why));
            }
            Verdict::Left(why) => self.leave(name, &why),
            Verdict::Moving => self.unseen = true,
            Verdict::Nothing => {}
        }
        None
    }

    /// How many entries of one owner may be taken now.
    fn most(&self) -> usize {
        if self.taking.len() >= CROWDED { 1 } else { PER_OWNER }
    }

    /// How many entries of one owner are being taken.
    fn places(&self, uid: u32) -> usize {
        self.taking.values().filter(|owner| **owner == uid).count()
    }

    fn leave(&mut self, name: &[u8], why: &str) {
        if self.rest(name, REFUSED.0, 0) {
            self.say(&format!("{} is left alone: {why}", name.escape_ascii()));
        }
    }

    /// Whether that could be remembered.
    fn rest(&mut self, name: &[u8], time: Duration, tries: u32) -> bool {
        let room = self.resting.len() < REMEMBERED || self.resting.contains_key(name);
        if room {
            self.resting.insert(name.to_vec(), (Instant::now() + time, tries));
        }
        room
    }

    /// Into the log, which anybody who makes names here could fill.
    fn say(&mut self, text: &str) {
        let (since, count) = self.said.filter(|said| said.0.elapsed() < REFUSED.0).unwrap_or((Instant::now(), 0));
        self.said = Some((since, count.saturating_add(1)));
        if count < REFUSED.1 {
            self.lines.push(format!("drop folder: {text}"));
        } else if count == REFUSED.1 {
            self.lines.push("drop folder: no more lines about it for a while".to_owned());
        }
    }

    fn hear(&mut self, name: &[u8], outcome: Outcome) {
        let Some(uid) = self.taking.remove(name) else { return };
        match outcome {
            Outcome::Gone(said) => {
                self.put_off.clear();
                self.resting.remove(name);
                if let Some(why) = said {
                    self.say(&format!("removed {}: {why}", name.escape_ascii()));
                }
            }
            Outcome::Later => self.later(name, uid),
            Outcome::Left(why) => self.leave(name, &why),
        }
    }

    /// An entry could not be taken now.
    fn later(&mut self, name: &[u8], uid: u32) {
        let tries = self.resting.get(name).map_or(0, |(_, tries)| *tries);
        // 5 s, 10 s, 20 s ... 1 h: what only waits for the disk comes again soon.
        self.rest(name, (REST.0 * (1 << tries)).min(REST.1), (tries + 1).min(10));
        let again = self.resting.get(name).map(|(until, _)| *until);
        self.wakes = [self.wakes, again].into_iter().flatten().min();
        self.put_off.insert(uid);
        if self.put_off.len() >= PUT_OFF.0 {
            self.put_off.clear();
            self.not_before = Some(Instant::now() + PUT_OFF.1);
        }
    }
}

fn judge(folder: &OwnedFd, name: &[u8]) -> Verdict {
    let stat = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Verdict::Moving,
        Err(errno) => return Verdict::Left(errno.to_string()),
    };
    if name.starts_with(b"tmp.") {
        // Being written, on a file system without O_TMPFILE.
        let stale = age(&stat) > STALE;
        return if stale { Verdict::Rubbish("nobody has finished it for a day") } else { Verdict::Nothing };
    }
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        Verdict::Rubbish("it is not a regular file")
    } else if stat.st_nlink == 2 && age(&stat) < Duration::from_secs(5) {
        Verdict::Moving
    } else if stat.st_nlink != 1 {
        // Perhaps somebody else's entry, which unlinking could lose.
        Verdict::Left("it has more than one link".to_owned())
    } else if stat.st_mode & 0o077 != 0 {
        // The keeper would not open it: it could be what others wrote, moved here.
        Verdict::Left(format!("its mode is {:o}, not 600", stat.st_mode & 0o7777))
    } else if stat.st_size > LARGEST {
        Verdict::Left("it is too large".to_owned())
    } else {
        Verdict::Wanted(stat.st_uid)
    }
}

/// Since its last change, that of its names included. Unlike other times nobody can set that one.
fn age(stat: &Stat) -> Duration {
    let changed = Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or(0));
    SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().saturating_sub(changed)
}

/// What has become of an entry.
enum Outcome {
    /// It is no longer there; what is to be said of it.
    Gone(Option<&'static str>),
    Later,
    Left(String),
}

enum News {
    Folder(Place),
    Entry(Name, Outcome),
}

/// The folder in use.
struct Place {
    folder: OwnedFd,
    names: Box<Dir>,
    /// When something was last put there or removed, as of the last look.
    changed: Option<SystemTime>,
}

impl Place {
    /// Whether there may be new names. No inotify: only root may watch this folder, and what root watches counts as root's.
    fn has_changed(&mut self) -> bool {
        let about = fstat(&self.folder).ok();
        let seconds = about.and_then(|about| Some((u64::try_from(about.st_mtime).ok()?, about.st_mtime_nsec)));
        let now = seconds
            .map(|(seconds, nanos)| SystemTime::UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanos).unwrap_or(0)));
        let young = now.is_none_or(|at| at.elapsed().is_ok_and(|age| age < FINE));
        std::mem::replace(&mut self.changed, now) != now || young
    }
}

/// The task that takes the entries; it ends with this.
pub(crate) struct DropFolder(UnboundedSender<News>);

impl DropFolder {
    /// Waits for a folder.
    pub(crate) fn start(link: Link, receive: Arc<Receive>, log: Arc<dyn Log>) -> Self {
        let (tell, told) = unbounded_channel();
        let taker = Taker { link, receive, tell: tell.downgrade() };
        tokio::spawn(run(taker, told, log));
        Self(tell)
    }

    /// From now on this folder.
    pub(crate) fn follow(&self, folder: OwnedFd) -> io::Result<()> {
        let names = Box::new(Dir::new(folder.try_clone()?)?);
        let _ended = self.0.send(News::Folder(Place { folder, names, changed: None }));
        Ok(())
    }
}

struct Taker {
    link: Link,
    receive: Arc<Receive>,
    tell: tokio::sync::mpsc::WeakUnboundedSender<News>,
}

async fn run(taker: Taker, mut told: UnboundedReceiver<News>, log: Arc<dyn Log>) {
    let (mut entries, mut place, mut scanned) = (Entries::default(), None::<Place>, Instant::now());
    loop {
        let pause = if entries.is_due() { PAUSE } else { TICK };
        tokio::select! {
            news = told.recv() => match news {
                None => return,
                Some(News::Entry(name, outcome)) => entries.hear(&name, outcome),
                Some(News::Folder(folder)) => {
                    place = Some(folder);
                    (entries.in_pass, entries.unseen) = (false, true);
                }
            },
            () = tokio::time::sleep(pause) => {}
        }
        entries.wake();
        entries.unseen |= scanned.elapsed() >= SCAN;
        if let Some(mut there) = place.take() {
            if entries.unseen {
                scanned = Instant::now();
            }
            // A file system may hang: then this task waits for it, and no thread that serves.
            let scan = tokio::task::spawn_blocking(move || {
                entries.unseen |= there.has_changed();
                let steps = if entries.is_due() { entries.scan(&there.folder, &mut there.names) } else { Vec::new() };
                (entries, there, steps)
            });
            let Ok((after, there, steps)) = scan.await else { return };
            (entries, place) = (after, Some(there));
            steps.into_iter().for_each(|step| taker.begin(step));
        }
        entries.lines.drain(..).for_each(|text| log.write(&Event::Server { text }));
    }
}

impl Taker {
    fn begin(&self, step: Step) {
        let (link, receive, tell) = (self.link.clone(), Arc::clone(&self.receive), self.tell.clone());
        tokio::spawn(async move {
            let (name, outcome) = match step {
                Step::Open(name) => (name.clone(), take(&link, receive, name).await),
                Step::Remove(name, why) => (name.clone(), remove(&link, name, Some(why)).await),
            };
            if let Some(tell) = tell.upgrade() {
                let _ended = tell.send(News::Entry(name, outcome));
            }
        });
    }
}

async fn take(link: &Link, receive: Arc<Receive>, name: Name) -> Outcome {
    let file = match link.ask(&FromEngine::Open(name.clone())).await {
        Some((InputState::Open, Some(file))) => File::from(file),
        Some((InputState::Absent, _)) => return Outcome::Gone(None),
        Some((state, _)) => return Outcome::Left(format!("it cannot be opened ({state:?})")),
        None => return Outcome::Later,
    };
    // As the kernel says, of the very file that is open.
    let Ok(about) = file.metadata() else { return Outcome::Later };
    let text = name.escape_ascii().to_string();
    match receive::take_dropped(receive, file, about.uid(), &text, about.size()).await {
        Taken::Done => remove(link, name, None).await,
        Taken::Later => Outcome::Later,
    }
}

async fn remove(link: &Link, name: Name, why: Option<&'static str>) -> Outcome {
    match link.ask(&FromEngine::Remove(name)).await {
        Some((InputState::Absent, _)) => Outcome::Gone(why),
        Some((InputState::Unreadable(errno), _)) => {
            let error = io::Error::from_raw_os_error(errno);
            Outcome::Left(format!("{}; it cannot be removed: {error}", why.unwrap_or("it was taken")))
        }
        _ => Outcome::Later,
    }
}

#[cfg(test)]
#[path = "drop_folder_test.rs"]
mod tests;
