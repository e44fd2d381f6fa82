//! The files that the configuration names: none that others may write, no secret that others may read.

use super::Findings;
use call::keep::Unsafe;
use config::Config;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tables and lists that the keeper does not open because somebody else could have written them: what asks them waits.
pub(super) fn tables(config: &Config, found: &mut Findings) {
    let mut loose = 0;
    for input in &config.inputs {
        let Ok(about) = input.path.metadata() else { continue };
        let watched = call::plan::Input { path: input.path.clone(), file: input.file, folders: input.folders };
        let Some(why) = watched.distrust(about.mode(), about.gid()) else { continue };
        loose += 1;
        let told = input.path.display();
        let at = match why {
            Unsafe::GroupFile | Unsafe::WorldFile => input.path.clone(),
            Unsafe::GroupFolder | Unsafe::WorldFolder => writable(&input.path).unwrap_or_default(),
        };
        let text = format!("{told}: {why}; all that asks it waits: chmod go-w {}", at.display());
        found.fail("tables", text);
    }
    for stranger in crate::stranger::strangers(config) {
        found.warn("tables", stranger.replacen(": warning:", "", 1));
    }
    if loose == 0 {
        found.ok("tables", "no file that the configuration names may be written by a group or everybody");
    }
}

/// The folder that is meant: as the keeper looks, on the way that was named or the one that links lead to.
fn writable(path: &Path) -> Option<std::path::PathBuf> {
    let behind = std::fs::canonicalize(path).unwrap_or_default();
    let mut folders = path.ancestors().skip(1).chain(behind.ancestors().skip(1));
    let is_loose = |folder: &&Path| {
        folder.metadata().is_ok_and(|about| Unsafe::of(true, about.mode(), about.gid(), 0o022).is_some())
    };
    folders.find(is_loose).map(Path::to_owned)
}

/// Files whose content must stay secret: private key, passwords for other servers.
pub(super) fn secrets(config: &Config, found: &mut Findings) {
    let key = config.receive.tls.map(|(_, key)| key);
    let words = config.tables.auth_info.iter().flat_map(|files| [files.text, files.compiled]).flatten();
    for number in key.into_iter().chain(words) {
        let Some(path) = config.inputs.get(usize::from(number)).map(|input| &input.path) else { continue };
        let told = path.display();
        match path.metadata() {
            Ok(about) => {
                let readers = match (about.mode() & 0o004 != 0, about.mode() & 0o040 != 0 && about.gid() != 0) {
                    (true, _) => "everybody".to_owned(),
                    (false, true) => format!("group {}", about.gid()),
                    (false, false) => String::new(),
                };
                match readers.as_str() {
                    "" => found.ok("secrets", format!("{told} is read by uid {} alone", about.uid())),
                    "everybody" => found.fail("secrets", format!("everybody can read {told}: chmod 0600 {told}")),
                    group => {
                        found.warn("secrets", format!("{group} can read {told}: chmod 0600 {told}, unless it has to"))
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => {
                found.warn("secrets", format!("{told} cannot be seen as this user: {}", config::plain(&error)))
            }
        }
    }
}
