//! Opening a file only by a way that nobody but root and one user could have changed (sendmail.md 3.2, S-49, S-50). Called for `.forward`
//! files by the user's agent, and for alias files while the agent is still root.
//!
//! Every step is opened without following links and judged by what was opened, so nothing can be swapped between look and use. A link is
//! followed step by step in the same way, so that each folder behind it is judged too.

use rustix::fs::{self, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

/// Longest chain of links, as the kernel's own.
const LINKS: u32 = 40;

/// Why there is no such file for us.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is not there.
    Absent,
    /// It is not obeyed; in sendmail's words.
    Unsafe(String),
    /// Nobody can tell now.
    Unavailable(String),
}

/// Who may have written it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// Besides root.
    pub owner: u32,
    /// Write bits of the file's mode that make it unsafe (`0o022`).
    pub file: u32,
    /// The same for the folders on the way.
    pub folders: u32,
    /// Largest size in bytes.
    pub size: u64,
}

/// Opens `path` for reading; never waits for whoever is at the other end of a FIFO.
pub(crate) fn open(path: &Path, trust: &Trust) -> Result<File, Refusal> {
    let (walk, end) = Walk::to(path, trust)?;
    match end {
        None => Err(Refusal::Unsafe("Is a directory".to_owned())),
        Some((step, stat)) if FileType::from_raw_mode(stat.st_mode).is_file() => walk.file(&step, &stat),
        Some(_) => Err(Refusal::Unsafe("Not a regular file".to_owned())),
    }
}

/// Opens the folder `path`: what is made in it is made there, whatever becomes of the name.
pub(crate) fn open_folder(path: &Path, trust: &Trust) -> Result<OwnedFd, Refusal> {
    let (mut walk, end) = Walk::to(path, trust)?;
    if end.is_some() { Err(Refusal::Absent) } else { walk.folders.pop().ok_or(Refusal::Absent) }
}

fn steps(path: &Path) -> VecDeque<OsString> {
    let step = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(step).collect()
}

fn folder(path: &Path) -> Result<OwnedFd, Refusal> {
    fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(refusal)
}

struct Walk<'a> {
    trust: &'a Trust,
    /// From the root to where we are.
    folders: Vec<OwnedFd>,
    links: u32,
}

impl<'a> Walk<'a> {
    /// Goes to `path`: ends in a folder, or before what is none.
    fn to(path: &Path, trust: &'a Trust) -> Result<(Self, Option<(OsString, Stat)>), Refusal> {
        let mut walk = Walk { trust, folders: vec![folder(Path::new("/"))?], links: 0 };
        let mut steps: VecDeque<OsString> = steps(path);
        while let Some(step) = steps.pop_front() {
            if step == ".." {
                walk.up();
                continue;
            }
            let (seen, stat) = walk.look(&step)?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    let target = walk.follow(&seen, &stat)?;
                    if target.is_absolute() {
                        walk.folders.truncate(1);
                    }
                    let more = std::mem::take(&mut steps);
                    steps = self::steps(&target);
                    steps.extend(more);
                }
                FileType::Directory => walk.down(seen, &stat)?,
                _ if steps.is_empty() => return Ok((walk, Some((step, stat)))),
                _ => return Err(Refusal::Absent),
            }
        }
        Ok((walk, None))
    }

    fn here(&self) -> Result<&OwnedFd, Refusal> {
        self.folders.last().ok_or(Refusal::Absent)
    }

    fn up(&mut self) {
        if self.folders.len() > 1 {
            self.folders.pop();
        }
    }

    fn look(&self, step: &OsStr) -> Result<(OwnedFd, Stat), Refusal> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let seen = fs::openat(self.here()?, step, flags, Mode::empty()).map_err(refusal)?;
        let stat = fs::fstat(&seen).map_err(refusal)?;
        Ok((seen, stat))
    }

    /// Whether it is somebody else's.
    fn is_foreign(&self, stat: &Stat) -> bool {
        stat.st_uid != 0 && stat.st_uid != self.trust.owner
    }

    fn follow(&mut self, link: &OwnedFd, stat: &Stat) -> Result<std::path::PathBuf, Refusal> {
        self.links += 1;
        if self.links > LINKS {
            return Err(Refusal::Unsafe("Too many levels of symbolic links".to_owned()));
        }
        if self.is_foreign(stat) {
            return Err(Refusal::Unsafe("Symbolic link of another user".to_owned()));
        }
        let target = fs::readlinkat(link, c"", Vec::new()).map_err(refusal)?;
        Ok(OsString::from_vec(target.into_bytes()).into())
    }

    /// Into a folder that only root and the owner may change.
    fn down(&mut self, seen: OwnedFd, stat: &Stat) -> Result<(), Refusal> {
        let wrong = call::keep::Unsafe::of(true, stat.st_mode, stat.st_gid, self.trust.folders);
        if let Some(wrong) = wrong {
            return Err(Refusal::Unsafe(wrong.to_string()));
        }
        // In a folder of his, sticky or not, another user puts what he likes in the place of the rest.
        if self.is_foreign(stat) {
            return Err(Refusal::Unsafe("Directory of another user".to_owned()));
        }
        self.folders.push(seen);
        Ok(())
    }

    fn file(&self, step: &OsStr, seen: &Stat) -> Result<File, Refusal> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = fs::openat(self.here()?, step, flags, Mode::empty()).map_err(refusal)?;
        let stat = fs::fstat(&file).map_err(refusal)?;
        if (stat.st_dev, stat.st_ino) != (seen.st_dev, seen.st_ino) {
            return Err(Refusal::Unavailable("changed while it was opened".to_owned()));
        }
        let wrong = call::keep::Unsafe::of(false, stat.st_mode, stat.st_gid, self.trust.file);
        if let Some(wrong) = wrong {
            return Err(Refusal::Unsafe(wrong.to_string()));
        }
        if self.is_foreign(&stat) {
            return Err(Refusal::Unsafe(format!("Owned by uid {}", stat.st_uid)));
        }
        if u64::try_from(stat.st_size).unwrap_or(0) > self.trust.size {
            return Err(Refusal::Unsafe(format!("Larger than {} bytes", self.trust.size)));
        }
        Ok(file.into())
    }
}

/// A home that is not there now (NFS, automounter) says nothing about the file.
pub(crate) fn refusal(errno: Errno) -> Refusal {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Refusal::Absent,
        Errno::ACCESS | Errno::PERM => Refusal::Unsafe("Permission denied".to_owned()),
        Errno::LOOP => Refusal::Unsafe("Symbolic link".to_owned()),
        Errno::NAMETOOLONG | Errno::INVAL => Refusal::Absent,
        other => Refusal::Unavailable(std::io::Error::from(other).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn ours() -> Trust {
        Trust { owner: nix::unistd::geteuid().as_raw(), file: 0o022, folders: 0o022, size: 1_000 }
    }

    #[test]
    fn what_others_may_have_written_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let mode = |name: &str, mode: u32| {
            std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        std::fs::write(path("f"), "bob\n").unwrap();
        let told = |name: &str| match open(&path(name), &ours()) {
            Ok(_) => "ok".to_owned(),
            Err(Refusal::Absent) => "absent".to_owned(),
            Err(Refusal::Unsafe(why) | Refusal::Unavailable(why)) => why,
        };
        assert_eq!(told("f"), "ok");
        mode("f", 0o646);
        assert_eq!(told("f"), "World writable file");
        mode("f", 0o644);
        std::fs::create_dir(path("d")).unwrap();
        std::fs::write(path("d/f"), "bob\n").unwrap();
        for (name, target) in [("abs", path("d/f")), ("rel", "d/../d/f".into()), ("self", "self".into())] {
            symlink(target, path(name)).unwrap();
        }
        assert_eq!([told("abs"), told("rel")], ["ok", "ok"]);
        assert_eq!(told("self"), "Too many levels of symbolic links");
        mode("d", 0o777);
        assert_eq!([told("abs"), told("d/f")], ["World writable directory"; 2], "the link's own folder is safe");
        mode("d", 0o1777);
        assert_eq!(told("abs"), "ok", "sticky");
        assert_eq!([told("d"), told("none"), told("f/x")], ["Is a directory", "absent", "absent"]);
        rustix::fs::mkfifoat(CWD, path("fifo"), Mode::RUSR).unwrap();
        assert_eq!(told("fifo"), "Not a regular file");
        std::fs::write(path("big"), [b'x'; 1_001]).unwrap();
        assert_eq!(told("big"), "Larger than 1000 bytes");
    }
}
