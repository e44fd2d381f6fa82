//! What the engine keeps of the file system: its spool, the folder of its log, and what name look-ups and time zones read. Called by
//! `engine` before its first thread, and by `check`.

use config::EngineSettings;
use confine::{Allowed, Confined, Error};
use std::path::{Path, PathBuf};

/// Read by the resolver and for local time.
const READ: [&str; 3] = ["/etc", "/usr/share/zoneinfo", "/proc/loadavg"];

/// Confines this process.
pub(crate) fn enter(settings: &EngineSettings) -> Result<Confined, Error> {
    confine::confine(&allowed(settings))
}

fn allowed(settings: &EngineSettings) -> Allowed {
    let mut read: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    // A link on most hosts, into /run.
    read.extend(std::fs::canonicalize("/etc/resolv.conf").ok().and_then(|path| Some(path.parent()?.to_owned())));
    let log = settings.log.file.as_ref().and_then(|file| Some(Path::new(file).parent()?.to_owned()));
    let write = [PathBuf::from(&settings.queue.path), "/dev/null".into()].into_iter().chain(log).collect();
    Allowed { read, write }
}
