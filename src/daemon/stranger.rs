//! Tables and lists that belong to somebody else, or lie in a folder that does: he decides what they say. sendmail 8.17 looks at the modes
//! of maps and their folders, never at their owners (`safefile`, `safedirpath`), and hosts rely on it: Mailman owns its aliases, Debian's
//! `smmta` owns `/etc/mail`. So it is told and nothing is refused. Called by `plan` and `config check`.

use config::Config;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Warnings, one for each file and folder. Root, whoever asks and the engine's own user are nobody else.
pub(crate) fn strangers(config: &Config) -> Vec<String> {
    let engine = nix::unistd::User::from_name(&config.run.user).ok().flatten().map(|user| user.uid.as_raw());
    let own = [Some(0), Some(rustix::process::geteuid().as_raw()), engine];
    let mut found = BTreeMap::new();
    // Keys have checks of their own, and a word of DontBlameSendmail may say that folders do not matter.
    for input in config.inputs.iter().filter(|input| input.file | input.folders != 0) {
        let way = if input.folders == 0 { 1 } else { usize::MAX };
        let behind = std::fs::canonicalize(&input.path).unwrap_or_default();
        for path in input.path.ancestors().take(way).chain(behind.ancestors().take(way)) {
            let owner = std::fs::metadata(path).map_or(0, |about| about.uid());
            if !own.contains(&Some(owner)) {
                found.insert(path.to_owned(), owner);
            }
        }
    }
    found.iter().map(told).collect()
}

fn told((path, owner): (&PathBuf, &u32)) -> String {
    let owner = crate::way::user(*owner);
    format!("{}: warning: belongs to {owner}, who decides what stands there", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{chown, symlink};

    /// Only root can give files away.
    #[test]
    fn owners_of_files_and_folders() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name).display().to_string();
        for name in ["maps", "lists", "link"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        for name in ["maps/a", "lists/l", "mine", "link/m"] {
            std::fs::write(at(name), "").unwrap();
        }
        symlink(at("link/m"), at("to")).unwrap();
        let told = |trust: &str| {
            let text = format!(
                "virtual-users \"text:{}\"\nmailers \"text:{}\"\naccess \"text:{}\"\nlocal-domains file=\"{}\"\n{trust}",
                at("maps/a"),
                at("to"),
                at("mine"),
                at("lists/l"),
            );
            let path = at("t.kdl");
            std::fs::write(&path, text).unwrap();
            let config = Config::load(path.as_ref(), &crate::system::ask()).unwrap().0;
            let below = |line: String| line.strip_prefix(&at("")).map(str::to_owned);
            strangers(&config).into_iter().filter_map(below).collect::<Vec<_>>()
        };
        assert_eq!(told(""), [""; 0]);
        if chown(at("maps/a"), Some(54_321), None).is_err() {
            return;
        }
        let line = |name: &str| format!("{name}: warning: belongs to user 54321, who decides what stands there");
        assert_eq!(told(""), [line("maps/a")]);
        for name in ["maps", "lists", "link"] {
            chown(at(name), Some(54_321), None).unwrap();
        }
        assert_eq!(told(""), ["link", "lists", "maps", "maps/a"].map(line));
        assert_eq!(told("trust \"MapInUnsafeDirPath\""), ["lists", "maps/a"].map(line));
        assert_eq!(told("trust \"MapInUnsafeDirPath\" \"ClassFileInUnsafeDirPath\""), ["maps/a"].map(line));
    }
}
