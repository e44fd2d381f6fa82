//! Where local mailboxes are: whether agents can lock and make them, and who else could write or read them. An agent that somebody has taken
//! over has group mail.

use super::Findings;
use super::folder::{Whose, way};
use config::{Config, MailboxKind};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Mailboxes that are looked at.
const LIMIT: usize = 100_000;

pub(super) fn mailboxes(config: &Config, whose: Whose, found: &mut Findings) {
    let path = &config.mailbox.path;
    let folder =
        Path::new(path).ancestors().find(|path| !path.to_string_lossy().contains('{')).unwrap_or(Path::new(""));
    if matches!(folder.to_str(), Some("" | "/")) {
        return found.ok("mailboxes", format!("each where its user's account says: {path}"));
    }
    let told = folder.display();
    let about = match folder.metadata() {
        Ok(about) if about.is_dir() => about,
        Ok(_) => return found.fail("mailboxes", format!("{told} is no folder")),
        Err(error) => return found.fail("mailboxes", format!("{told}: {}", config::plain(&error))),
    };
    let group = nix::unistd::Group::from_name(&config.run.mail_group).ok().flatten().map(|group| group.gid.as_raw());
    // Otherwise each user has a folder in it.
    let shared = config.mailbox.kind != MailboxKind::Maildir && Path::new(path).parent() == Some(folder);
    let mode = about.mode() & 0o7777;
    let before = found.failed();
    if whose.keeper == 0 {
        // The account of group mail may do what the group may.
        let account = super::account::user(&config.run.mail_group).map_or(0, |(uid, _)| uid);
        way("mailboxes", folder, &[0, account], found);
        if shared && !is_for_agents(&about, group) {
            let mail = &config.run.mail_group;
            let text = format!("{told} (group {}, mode {mode:04o})", about.gid());
            let text =
                format!("group {mail} can lock and make no mailbox in {text}: chgrp {mail} {told}; chmod 2775 {told}");
            found.fail("mailboxes", text);
        }
    } else if mode & 0o1002 == 0o0002 {
        found.fail("mailboxes", format!("everybody may remove what is in {told}: chmod o-w {told}, or +t"));
    }
    if found.failed() == before {
        found.ok("mailboxes", format!("{told} has mode {mode:04o}"));
    }
    if shared {
        boxes(folder, found);
    }
}

/// Whether one who is no owner but in group mail may make a file there.
fn is_for_agents(about: &Metadata, group: Option<u32>) -> bool {
    let bits = if Some(about.gid()) == group { 0o030 } else { 0o003 };
    about.mode() & bits == bits
}

/// What is wrong with mailboxes, one line for each kind, which names the first.
fn boxes(folder: &Path, found: &mut Findings) {
    let (mut odd, mut written, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for entry in folder.read_dir().into_iter().flatten().take(LIMIT).flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(about) = entry.metadata() else { continue };
        if name.starts_with('.') || name.ends_with(".lock") || about.is_dir() {
            continue;
        }
        let path = entry.path().display().to_string();
        let mode = about.mode() & 0o7777;
        if !about.is_file() {
            odd.push(format!("{path} is no file"));
        } else if about.nlink() > 1 {
            odd.push(format!("{path} has {} names", about.nlink()));
        } else if mode & 0o022 != 0 {
            written.push(format!("chmod 0600 {path} (mode {mode:04o})"));
        } else if mode & 0o044 != 0 {
            read.push(format!("chmod 0600 {path} (mode {mode:04o})"));
        }
    }
    for (mut list, why) in [
        (odd, "to which no mail is delivered"),
        (written, "which others than the user may write"),
        (read, "which others than the user may read"),
    ] {
        list.sort();
        if let Some(first) = list.first() {
            found.warn("mailboxes", format!("{} {why}: {first}", list.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn each_kind_of_loose_mailbox_is_one_line() {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        let told = || {
            let mut found = Findings::default();
            boxes(scratch.path(), &mut found);
            found
                .0
                .into_iter()
                .map(|finding| finding.text.replace(&at("").display().to_string(), ""))
                .collect::<Vec<_>>()
        };
        for (name, mode) in [("a", 0o600), ("b", 0o660), ("c", 0o666), ("d", 0o640), ("b.lock", 0o666), (".x", 0o666)] {
            std::fs::write(at(name), "").unwrap();
            std::fs::set_permissions(at(name), PermissionsExt::from_mode(mode)).unwrap();
        }
        let written = "2 which others than the user may write: chmod 0600 b (mode 0660)";
        let read = "1 which others than the user may read: chmod 0600 d (mode 0640)";
        assert_eq!(told(), [written, read]);
        symlink("a", at("e")).unwrap();
        assert_eq!(told()[0], "1 to which no mail is delivered: e is no file");
        std::fs::hard_link(at("a"), at("f")).unwrap();
        assert_eq!(told(), ["3 to which no mail is delivered: a has 2 names", written, read]);
    }

    #[test]
    fn a_path_without_a_folder_of_its_own_is_not_judged() {
        let told = |text: &str| {
            let config = Config::parse("t.kdl", text, &config::System::default()).unwrap().0;
            let mut found = Findings::default();
            mailboxes(&config, Whose { keeper: 0, engine: 0 }, &mut found);
            (found.failed(), found.0.into_iter().map(|finding| finding.text).collect::<Vec<_>>().join("\n"))
        };
        assert_eq!(told("mailbox \"maildir\""), (0, "each where its user's account says: {home}/Maildir".to_owned()));
        let missing = "mailbox \"mbox\" path=\"/nonexistent/{user}\"";
        assert_eq!(told(missing), (1, "/nonexistent: No such file or directory".to_owned()));
    }

    #[test]
    fn agents_need_group_mail_or_everybody() {
        let scratch = tempfile::tempdir().unwrap();
        let is_for_agents = |mode: u32, mine: bool| {
            std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(mode)).unwrap();
            let about = scratch.path().metadata().unwrap();
            super::is_for_agents(&about, Some(about.gid() + u32::from(!mine)))
        };
        assert!(is_for_agents(0o2775, true) && !is_for_agents(0o2775, false));
        assert!(is_for_agents(0o1777, false) && !is_for_agents(0o755, true) && !is_for_agents(0o707, true));
    }
}
