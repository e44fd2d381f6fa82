//! What `postrider explain` can say of a user's `.forward`: that there may be one. It is read when mail comes, by an agent with the user's own
//! rights; whoever asks here may have fewer, or more.

use crate::snapshot::Snapshot;
use mail::forward::{Owner, paths};
use route::{Key, Target};
use std::io::ErrorKind;

/// One line for a target whose `.forward` there may be.
pub(crate) async fn note(snapshot: &Snapshot, target: &Target) -> Option<String> {
    let Key::Local { user, detail, plain: false } = &target.key else { return None };
    let account =
        snapshot.router.tables().accounts.find(user).await.ok().flatten().filter(|account| account.uid != 0)?;
    let host = &snapshot.router.settings().host;
    let host = host.split_once('.').map_or(host.as_str(), |(short, _)| short);
    let owner = Owner { home: &account.home, user, detail, host };
    paths(snapshot.config.forward_path(), owner).into_iter().find_map(|path| match std::fs::symlink_metadata(&path) {
        Ok(_) => Some(format!("{path}: read as {user} when mail comes; what it says is not followed here")),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        Err(error) => Some(format!("{path}: {}; looked for as {user} when mail comes", config::plain(&error))),
    })
}
