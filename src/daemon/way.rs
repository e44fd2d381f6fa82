//! Who could have changed what stands at a path: whoever owns or may write it, or a folder or link on the way to it. The configuration decides
//! what runs as whom, so it must be root's alone (S-51). Called by `plan`, which refuses to start, by `config check` and `check`.

use config::Config;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// Longest chain of links, as the kernel's own.
const LINKS: usize = 40;

/// Who may decide.
#[derive(Clone, Copy)]
pub(crate) struct Trust<'a> {
    /// The owners that are trusted.
    pub(crate) owners: &'a [u32],
    /// Write bits that are not (`0o022`); root's own group is root.
    pub(crate) writers: u32,
    /// Whether a folder that others may write will do if it is sticky: nobody takes away what is there, but anybody may come first.
    pub(crate) sticky: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    Owner(u32),
    Everybody(u32),
    Sticky(u32),
    Group(u32, u32),
    Unseen(String),
}

/// Something on the way that is in others' hands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Loose {
    path: PathBuf,
    what: What,
}

impl Loose {
    /// Whether it is only a group that may write; many hosts have one that stands for root (`staff`, `adm`).
    pub(crate) const fn is_group(&self) -> bool {
        matches!(self.what, What::Group(..))
    }

    /// Whether nobody can tell as this user.
    pub(crate) const fn is_unseen(&self) -> bool {
        matches!(self.what, What::Unseen(_))
    }

    /// What to do about it.
    pub(crate) fn mend(&self) -> String {
        let path = self.path.display();
        match self.what {
            What::Owner(_) => format!("chown root {path}"),
            What::Everybody(_) => format!("chmod o-w {path}"),
            What::Group(..) => format!("chmod g-w {path}"),
            What::Sticky(_) => "keep it in a folder of root's".to_owned(),
            What::Unseen(_) => "see that root can look at it".to_owned(),
        }
    }
}

impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.what {
            What::Owner(uid) => write!(f, "{path} belongs to {}", user(*uid)),
            What::Everybody(mode) | What::Sticky(mode) => write!(f, "everybody may write {path} (mode {mode:04o})"),
            What::Group(0, mode) => {
                write!(f, "its access list lets others write {path} (mode {mode:04o}, getfacl tells whom)")
            }
            What::Group(gid, mode) => write!(f, "group {gid} may write {path} (mode {mode:04o})"),
            What::Unseen(why) => write!(f, "{path} cannot be looked at: {why}"),
        }
    }
}

/// A user for people: number, and name if there is one.
pub(crate) fn user(uid: u32) -> String {
    let name = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    format!("user {uid}{}", name.map(|user| format!(" ({})", user.name)).unwrap_or_default())
}

/// The first that is in others' hands on the way from the root to what `path` leads to, that included. What is not there is nobody's.
pub(crate) fn loose(path: &Path, trust: &Trust<'_>) -> Option<Loose> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let (mut here, mut steps, mut links) = (PathBuf::from("/"), steps(&path), 0);
    let unseen = |at: &Path, why: String| Some(Loose { path: at.to_owned(), what: What::Unseen(why) });
    if let Some(what) = here.symlink_metadata().ok().and_then(|about| judge(&about, trust, &here)) {
        return Some(Loose { path: here, what });
    }
    while let Some(step) = steps.pop_front() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let about = match next.symlink_metadata() {
            Ok(about) => about,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return None,
            Err(error) => return unseen(&next, config::plain(&error)),
        };
        if let Some(what) = judge(&about, trust, &next) {
            return Some(Loose { path: next, what });
        }
        if !about.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        match next.read_link() {
            Ok(target) if links <= LINKS => {
                here = if target.is_absolute() { PathBuf::from("/") } else { here };
                let rest = std::mem::replace(&mut steps, self::steps(&target));
                steps.extend(rest);
            }
            Ok(_) => return unseen(&next, "Too many levels of symbolic links".to_owned()),
            Err(error) => return unseen(&next, config::plain(&error)),
        }
    }
    None
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

fn judge(about: &Metadata, trust: &Trust<'_>, path: &Path) -> Option<What> {
    if !trust.owners.contains(&about.uid()) {
        return Some(What::Owner(about.uid()));
    }
    let (mode, sticky) = (about.mode() & 0o7777, about.is_dir() && about.mode() & 0o1000 != 0);
    // Root's group is as good as root. Where there is an access list, the group's bits are those of everybody it names.
    let listed = || rustix::fs::lgetxattr(path, c"system.posix_acl_access", &mut [0; 0]).is_ok();
    let (world, group) = (mode & trust.writers & 0o002 != 0, mode & trust.writers & 0o020 != 0);
    let group = group && (about.gid() != 0 || listed());
    match (world, group) {
        // A link's mode means nothing.
        _ if about.is_symlink() || (sticky && trust.sticky) => None,
        (true, _) if sticky => Some(What::Sticky(mode)),
        (true, _) => Some(What::Everybody(mode)),
        (false, true) => Some(What::Group(about.gid(), mode)),
        (false, false) => None,
    }
}

/// Why root must not run a server by this configuration, one line for each of its files. An ordinary user's server decides for nobody but himself.
pub(crate) fn refusals(config: &Config) -> Vec<String> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let root = Trust { owners: &[0], writers: 0o022, sticky: false };
    let told = |path: &PathBuf| {
        let loose = loose(path, &root)?;
        let mend = loose.mend();
        let path = path.display();
        Some(format!("{path}: error: not root's alone: {loose}, and it decides what runs as whom: {mend}"))
    };
    config.files.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    struct Place {
        root: tempfile::TempDir,
        own: u32,
    }

    impl Place {
        fn at(&self, name: &str) -> PathBuf {
            self.root.path().join(name)
        }

        fn mode(&self, name: &str, mode: u32) {
            std::fs::set_permissions(self.at(name), PermissionsExt::from_mode(mode)).unwrap();
        }

        /// What is said, with names below the folder.
        fn told(&self, name: &str, sticky: bool) -> String {
            let owners = [0, self.own];
            let found = loose(&self.at(name), &Trust { owners: &owners, writers: 0o002, sticky });
            let found = found.map(|loose| format!("{loose}: {}", loose.mend())).unwrap_or_default();
            found.replace(&format!("{}/", self.root.path().display()), "")
        }
    }

    fn place() -> Place {
        let place = Place { root: tempfile::tempdir().unwrap(), own: rustix::process::geteuid().as_raw() };
        for folder in ["a", "b", "b/c"] {
            std::fs::create_dir(place.at(folder)).unwrap();
        }
        std::fs::write(place.at("b/c/f"), "").unwrap();
        place
    }

    #[test]
    fn every_folder_and_link_on_the_way_counts() {
        let place = place();
        symlink(place.at("b/c"), place.at("a/two")).unwrap();
        symlink("../a/two/f", place.at("b/one")).unwrap();
        symlink("self", place.at("self")).unwrap();
        assert_eq!(place.told("b/one", true), "");
        assert_eq!(place.told("b/none/x", true), "");
        assert!(place.told("self", true).contains("self cannot be looked at: Too many levels"));
        for (name, mode) in [("b", 0o777), ("b/c", 0o757), ("b/c/f", 0o646), ("a", 0o703)] {
            place.mode(name, mode);
            let line = format!("everybody may write {name} (mode {mode:04o}): chmod o-w {name}");
            assert_eq!(place.told("b/one", true), line);
            place.mode(name, 0o755);
        }
        place.mode("b", 0o1777);
        assert_eq!(place.told("b/c/f", true), "");
        // Above it is a sticky one as well.
        assert!(place.told("b/c/f", false).ends_with("(mode 1777): keep it in a folder of root's"));
    }

    /// Where the file system knows access lists.
    #[test]
    fn root_s_group_is_root_but_not_those_of_an_access_list() {
        let place = place();
        place.mode("b/c/f", 0o664);
        let root = Trust { owners: &[place.own], writers: 0o022, sticky: true };
        let at = place.at("b/c/f");
        if std::fs::metadata(&at).unwrap().gid() != 0 {
            return;
        }
        let about = || std::fs::symlink_metadata(&at).unwrap();
        assert!(judge(&about(), &root, &at).is_none());
        // user::rw-, user:1:rw-, group::r--, mask::rw-, other::r--
        let entries: [(u16, u16, u32); 5] =
            [(1, 6, u32::MAX), (2, 6, 1), (4, 4, u32::MAX), (16, 6, u32::MAX), (32, 4, u32::MAX)];
        let mut list = 2_u32.to_le_bytes().to_vec();
        for (tag, rights, id) in entries {
            list.extend(tag.to_le_bytes().into_iter().chain(rights.to_le_bytes()).chain(id.to_le_bytes()));
        }
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(&at, c"system.posix_acl_access", &list, flags) == Err(rustix::io::Errno::OPNOTSUPP) {
            return;
        }
        assert!(matches!(judge(&about(), &root, &at), Some(What::Group(0, 0o664))));
    }

    /// Only root can give files away.
    #[test]
    fn owners_count() {
        let place = place();
        if chown(place.at("b"), Some(54_321), None).is_err() {
            return;
        }
        assert_eq!(place.told("b/c/f", true), "b belongs to user 54321: chown root b");
        chown(place.at("b"), Some(0), None).unwrap();
        chown(place.at("b/c/f"), Some(54_321), None).unwrap();
        assert_eq!(place.told("b/c/f", true), "b/c/f belongs to user 54321: chown root b/c/f");
        let wide = Trust { owners: &[0, 54_321], writers: 0o022, sticky: true };
        assert_eq!(loose(&place.at("b/c/f"), &wide), None);
        chown(place.at("b/c"), None, Some(54_321)).unwrap();
        place.mode("b/c", 0o775);
        let found = loose(&place.at("b/c/f"), &wide).unwrap();
        assert!(found.is_group() && found.to_string().contains("group 54321 may write"), "{found}");
    }
}
