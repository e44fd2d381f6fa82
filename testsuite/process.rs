//! Process trees through `/proc`: who descends from whom, and how to kill them all at one moment.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::HashSet;
use std::fs;
use std::time::{Duration, Instant};

/// One line of a process table.
#[derive(Clone, Debug)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// `R`, `S`, `Z`, `T`, …
    pub state: char,
    /// The name in `/proc/PID/comm`.
    pub name: String,
}

/// Reads one process; `None` when it is gone.
#[must_use]
pub fn read(pid: i32) -> Option<Process> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let mut rest = text.get(close + 2..)?.split(' ');
    Some(Process {
        pid,
        state: rest.next()?.chars().next()?,
        parent: rest.next()?.parse().ok()?,
        name: text.get(open + 1..close)?.to_owned(),
    })
}

/// All processes of the machine (of this pid name space).
#[must_use]
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries.filter_map(|e| read(e.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// `root` and everything below it that is not yet dead.
#[must_use]
pub fn tree(root: i32) -> Vec<Process> {
    let table = all();
    let mut known = HashSet::from([root]);
    loop {
        let before = known.len();
        for p in &table {
            if known.contains(&p.parent) {
                known.insert(p.pid);
            }
        }
        if known.len() == before {
            break;
        }
    }
    table.into_iter().filter(|p| known.contains(&p.pid) && p.state != 'Z').collect()
}

/// Sends a signal; a process that is gone is no error.
pub fn signal(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// SIGSTOP to `root` and all below it, again and again until no new child appears. Returns their pids.
pub fn stop_tree(root: i32) -> HashSet<i32> {
    let mut stopped = HashSet::new();
    loop {
        let new: Vec<i32> = tree(root).iter().map(|p| p.pid).filter(|p| !stopped.contains(p)).collect();
        if new.is_empty() {
            return stopped;
        }
        for pid in new {
            signal(pid, Signal::STOP);
            stopped.insert(pid);
        }
    }
}

/// SIGKILL to `root` and all below it, as if the machine lost them at one moment: all are stopped first, so that nobody sees
/// another one die. Returns how many there were.
pub fn kill_tree(root: i32) -> usize {
    let stopped = stop_tree(root);
    for &pid in &stopped {
        signal(pid, Signal::KILL);
    }
    let end = Instant::now() + Duration::from_secs(10);
    while stopped.iter().any(|&p| read(p).is_some_and(|p| p.state != 'Z')) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    stopped.len()
}

/// Real, effective, saved and file-system ids of `Uid:` or `Gid:`, or the list of `Groups:`.
#[must_use]
pub fn ids(pid: i32, field: &str) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    text.lines()
        .find_map(|l| l.strip_prefix(field)?.strip_prefix(':'))
        .map(|l| l.split_whitespace().filter_map(|n| n.parse().ok()).collect())
        .unwrap_or_default()
}

/// A thread's `/proc/PID/task/TID/status`.
#[derive(Debug)]
pub struct Thread(String);

impl Thread {
    /// The first number of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<u32> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }
}

/// All threads of a process.
#[must_use]
pub fn threads(pid: i32) -> Vec<Thread> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|e| fs::read_to_string(e.ok()?.path().join("status")).ok()).map(Thread).collect()
}

/// What the open descriptors of a process point to.
#[must_use]
pub fn open_files(pid: i32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return Vec::new();
    };
    entries.filter_map(|e| Some(fs::read_link(e.ok()?.path()).ok()?.to_string_lossy().into_owned())).collect()
}
