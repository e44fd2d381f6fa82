//! The folders of the server, and who could put others in their place.

use super::account::user;
use super::{Findings, State};
use crate::way::{Trust, loose};
use config::Config;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// As whom the server runs.
#[derive(Clone, Copy)]
pub(super) struct Whose {
    /// 0, or the ordinary user who started it.
    pub(super) keeper: u32,
    pub(super) engine: u32,
}

impl Whose {
    pub(super) fn of(config: &Config) -> Self {
        let own = rustix::process::geteuid();
        // A server of an ordinary user has everything under his uid.
        let keeper = std::fs::metadata(&config.run.folder).map_or(own.as_raw(), |about| about.uid());
        let engine = if keeper == 0 { user(&config.run.user).map_or(0, |(uid, _)| uid) } else { keeper };
        Self { keeper, engine }
    }
}

/// What is wrong with a folder that shall belong to `owner` and have this mode, and what to do.
fn folder(path: &str, owner: u32, mode: u32) -> Result<String, (State, String)> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err((State::Warning, format!("{path} is not there; the server makes it when it starts")));
        }
        Err(error) => {
            return Err((State::Warning, format!("{path} cannot be seen as this user: {}", config::plain(&error))));
        }
    };
    if !about.is_dir() {
        return Err((State::Failed, format!("{path} is no folder: remove it, the server makes one")));
    }
    if about.uid() != owner {
        return Err((State::Failed, format!("{path} belongs to uid {}: chown {owner} {path}", about.uid())));
    }
    if about.mode() & 0o7777 != mode {
        let is = about.mode() & 0o7777;
        return Err((
            State::Failed,
            format!("{path} has mode {is:04o}: chmod {mode:04o} {path}, or restart the server"),
        ));
    }
    Ok(format!("{path} belongs to uid {owner} and has mode {mode:04o}"))
}

pub(super) fn folders(config: &Config, whose: Whose, found: &mut Findings) {
    for (what, path, owner, mode) in
        [("drop folder", &config.run.drop, whose.keeper, 0o1733), ("queue", &config.queue.path, whose.engine, 0o700)]
    {
        match folder(path, owner, mode) {
            Ok(text) => found.ok(what, text),
            Err((state, text)) => found.add(what, state, text),
        }
    }
    let parent = |path: &'_ str| Path::new(path).parent().map(Path::to_owned);
    let ways = [
        ("drop folder", parent(&config.run.drop)),
        ("queue", parent(&config.queue.path)),
        ("sockets", Some(config.run.folder.clone().into())),
        ("log file", config.log.file.clone().map(Into::into)),
    ];
    let owners = [0, whose.keeper, whose.engine];
    for (what, path) in ways.into_iter().filter_map(|(what, path)| Some((what, path?))) {
        way(what, &path, &owners, found);
    }
}

/// Tells who else could put something of his in the place of `path`, or of what is in it.
pub(super) fn way(what: &'static str, path: &Path, owners: &[u32], found: &mut Findings) {
    let trust = Trust { owners, writers: 0o002, sticky: true };
    if let Some(loose) = loose(path, &trust) {
        // As another user there may be folders that cannot be seen, which is told once.
        let unseen = loose.is_unseen() && !rustix::process::geteuid().is_root();
        let state = if unseen { State::Warning } else { State::Failed };
        found.add(what, state, format!("{loose}: {}", loose.mend()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn folders_are_judged_by_kind_owner_and_mode() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("drop").display().to_string();
        let own = rustix::process::geteuid().as_raw();
        let judged = |owner| folder(&path, owner, 0o1733).map_err(|(state, _)| state);
        assert_eq!(judged(own), Err(State::Warning), "not there yet");
        std::fs::create_dir(&path).unwrap();
        for (mode, state) in [(0o1733, None), (0o1777, Some(State::Failed)), (0o0733, Some(State::Failed))] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            assert_eq!(judged(own).err(), state, "{mode:o}");
            assert_eq!(judged(own + 1).err(), Some(State::Failed));
        }
        std::fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/tmp", &path).unwrap();
        assert_eq!(judged(own).err(), Some(State::Failed), "a link is no folder");
    }
}
