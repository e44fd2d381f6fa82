//! Whom a user's `.forward`, or an `:include:`, names (sendmail.md 3.1, 3.2; S-49, S-50). A mailbox agent only asks whether there may be a
//! `.forward`; a user agent reads it, with the user's rights and nothing else.

use crate::arguments::Arguments;
use crate::identity::Person;
use crate::trusted::{Refusal, Trust, open, refusal};
use call::agent::{Expansion, Member, Named};
use mail::alias::AliasEntry;
use mail::forward::{Owner, lines, paths};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest `.forward`, bytes.
const FORWARD: u64 = 100_000;
/// Most members of one; more are nobody's forwarding address.
const MEMBERS: usize = 1_000;
/// Largest list and most members of it.
const LIST: u64 = 16 << 20;
const LISTED: usize = 100_000;
/// Lists in lists.
const DEEP: usize = 10;

/// The files that could be this recipient's `.forward`, in order.
pub(crate) fn candidates(person: &Person, arguments: &Arguments, detail: &str) -> Vec<String> {
    if person.uid == 0 {
        // Root has a mailbox and nothing else (DESIGN §2).
        return Vec::new();
    }
    let home = person.home.to_string_lossy();
    paths(&arguments.forward, Owner { home: &home, user: &person.name, detail, host: &arguments.host })
}

/// Whether one of them may be there. Only "no such file" is a no: what cannot be looked at here, somebody with the user's groups has to.
pub(crate) fn may_exist(candidates: &[String]) -> bool {
    let absent = |path: &String| {
        matches!(
            statat(CWD, path.as_str(), AtFlags::SYMLINK_NOFOLLOW),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG)
        )
    };
    !candidates.iter().all(absent)
}

/// Rules for a `.forward` of this user.
pub(crate) fn trust(person: &Person, arguments: &Arguments) -> Trust {
    let (file, folders) = arguments.unsafe_bits;
    Trust { owner: person.uid, file, folders, size: FORWARD }
}

/// A user's `.forward`: the first that exists and is safe.
pub(crate) fn of_user(person: &Person, arguments: &Arguments, detail: &str) -> Expansion {
    let mut notes = Vec::new();
    for path in candidates(person, arguments, detail) {
        let text = open(Path::new(&path), &trust(person, arguments)).and_then(|file| read(file, FORWARD));
        match text {
            Err(Refusal::Absent) => {}
            Err(Refusal::Unsafe(why)) => notes.push(format!("forward {path}: {why}")),
            Err(Refusal::Unavailable(why)) => {
                return Expansion { answer: Named::Unavailable(2, 0, format!("{path}: {why}")), notes };
            }
            Ok(text) => {
                let mut reading = Reading::new(MEMBERS, Some((person, arguments)));
                let answer = match reading.list(&path, &text) {
                    _ if reading.members.len() > MEMBERS => {
                        notes.push(format!("forward {path}: More than {MEMBERS} names"));
                        continue;
                    }
                    Err(why) => Named::Unavailable(2, 0, why),
                    Ok(()) if reading.members.is_empty() => Named::Mailbox,
                    Ok(()) => Named::Members(reading.members),
                };
                return Expansion { answer, notes };
            }
        }
    }
    Expansion { answer: Named::Mailbox, notes }
}

/// A list that an alias names, read as DefaultUser. One that cannot be read now may be there tomorrow: the mail waits.
pub(crate) fn of_list(path: &str) -> Expansion {
    let mut reading = Reading::new(LISTED, None);
    let answer = match reading.include(path) {
        Err(why) => Named::Unavailable(2, 4, why),
        Ok(()) if reading.members.len() > LISTED => {
            Named::Unavailable(2, 4, format!("{path}: More than {LISTED} names"))
        }
        Ok(()) => Named::Members(reading.members),
    };
    Expansion { answer, notes: Vec::new() }
}

fn read(file: File, limit: u64) -> Result<Vec<u8>, Refusal> {
    let mut text = Vec::new();
    // It may grow while we read.
    file.take(limit).read_to_end(&mut text).map_err(|error| Refusal::Unavailable(error.to_string()))?;
    Ok(text)
}

/// A file and the lists it includes, being read.
struct Reading<'a> {
    members: Vec<Member>,
    limit: usize,
    /// Whose `.forward` it is; nobody's for an alias's list.
    user: Option<(&'a Person, &'a Arguments)>,
    /// Lists being read, the outer ones first.
    within: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(limit: usize, user: Option<(&'a Person, &'a Arguments)>) -> Self {
        Self { members: Vec::new(), limit, user, within: Vec::new() }
    }

    /// Takes what a file says. An error is for the whole of it: not now.
    fn list(&mut self, file: &str, text: &[u8]) -> Result<(), String> {
        for line in lines(text) {
            for entry in line.entries {
                if self.members.len() > self.limit {
                    return Ok(());
                }
                let entry = match entry {
                    AliasEntry::Include(path) => match self.enter(&path)? {
                        None => continue,
                        Some(why) => Err(why),
                    },
                    AliasEntry::Program(_) | AliasEntry::File(_) => match self.forbidden(&entry) {
                        None => Ok(entry.to_string()),
                        Some(why) => Err(why),
                    },
                    other => Ok(other.to_string()),
                };
                self.members.push(Member { entry, file: file.to_owned(), line: line.line });
            }
        }
        Ok(())
    }

    /// Reads an inner list; says why not, if that is for good.
    fn enter(&mut self, path: &str) -> Result<Option<String>, String> {
        if self.within.len() >= DEEP || self.within.iter().any(|outer| outer == path) {
            return Ok(Some(format!("5.4.6 :include: {path}: lists include each other")));
        }
        match (self.include(path), self.user) {
            (Ok(()), _) => Ok(None),
            // The user's own mistake, or somebody else's file that he tries to read: his senders hear of it, as in sendmail.
            (Err(why), Some(_)) => Ok(Some(format!("5.2.4 {why}"))),
            (Err(why), None) => Err(why),
        }
    }

    fn include(&mut self, path: &str) -> Result<(), String> {
        let cannot = |why: &str| format!("Cannot open {path}: {why}");
        if !path.starts_with('/') {
            return Err(cannot("not an absolute path"));
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(CWD, path, flags, Mode::empty()).and_then(|file| Ok((fstat(&file)?, File::from(file))));
        let (stat, file) = opened.map_err(|errno| match refusal(errno) {
            Refusal::Absent => cannot("No such file or directory"),
            Refusal::Unsafe(why) | Refusal::Unavailable(why) => cannot(&why),
        })?;
        if !FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(cannot("Not a regular file"));
        }
        if stat.st_mode & 0o002 != 0 {
            return Err(cannot("World writable file"));
        }
        let limit = if self.user.is_some() { FORWARD } else { LIST };
        if u64::try_from(stat.st_size).unwrap_or(0) > limit {
            return Err(cannot(&format!("Larger than {limit} bytes")));
        }
        let text = read(file, limit).map_err(|_| cannot("Cannot be read"))?;
        self.within.push(path.to_owned());
        let outcome = self.list(path, &text);
        self.within.pop();
        outcome
    }

    /// Why a program or file that stands here is not used, if so.
    fn forbidden(&self, entry: &AliasEntry) -> Option<String> {
        let what = if matches!(entry, AliasEntry::Program(_)) { "programs" } else { "files" };
        match self.user {
            Some((person, arguments)) if self.within.is_empty() => (!person.has_shell).then(|| {
                format!(
                    "5.7.1 User {}@{} doesn't have a valid shell for mailing to {what}",
                    person.name, arguments.host
                )
            }),
            _ => Some(format!("5.7.1 mailing to {what} is not allowed in a list")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::tests::arguments;
    use crate::identity::tests::person;

    /// What a `.forward` with this text names.
    fn named(home: &Path, text: &str) -> Vec<String> {
        std::fs::write(home.join(".forward"), text).unwrap();
        match of_user(&person(home), &arguments(), "").answer {
            Named::Mailbox => vec!["mailbox".into()],
            Named::Unavailable(_, _, why) | Named::Gone(why) => vec![why],
            Named::Members(members) => {
                members.into_iter().map(|m| format!("{}:{}", m.line, m.entry.unwrap_or_else(|why| why))).collect()
            }
        }
    }

    #[test]
    fn lists_programs_and_includes() {
        let home = tempfile::tempdir().unwrap();
        let own = home.path();
        assert!(!may_exist(&candidates(&person(own), &arguments(), "")));
        assert_eq!(named(own, "# nobody\n"), ["mailbox"]);
        assert!(may_exist(&candidates(&person(own), &arguments(), "")));
        assert_eq!(
            named(own, "\\al, bob@x.example\n\"|/bin/cat x\"\n"),
            ["1:\\al", "1:bob@x.example", "2:|/bin/cat x"]
        );
        let (list, inner) = (own.join("list"), own.join("inner"));
        std::fs::write(&list, format!("carol\n:include:{}\n|/bin/sh\n", inner.display())).unwrap();
        std::fs::write(&inner, format!("dave\n:include:{}\n", list.display())).unwrap();
        let include = format!(":include:{}", list.display());
        let loops = format!("2:5.4.6 :include: {}: lists include each other", list.display());
        let told = named(own, &include);
        assert_eq!(told, ["1:carol", "1:dave", &loops, "3:5.7.1 mailing to programs is not allowed in a list"]);
        assert_eq!(
            named(own, ":include:/nonexistent/x"),
            ["1:5.2.4 Cannot open /nonexistent/x: No such file or directory"]
        );
        assert_eq!(named(own, ":include:list"), ["1:5.2.4 Cannot open list: not an absolute path"]);
    }

    #[test]
    fn the_first_safe_file_counts() {
        let home = tempfile::tempdir().unwrap();
        let (own, settings) = (home.path(), arguments());
        std::fs::write(own.join(".forward+x"), "detail").unwrap();
        std::fs::write(own.join(".forward"), "plain").unwrap();
        let asked = |detail: &str| match of_user(&person(own), &settings, detail).answer {
            Named::Members(members) => members[0].entry.clone().unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!((asked("x"), asked("y"), asked("../x")), ("detail".into(), "plain".into(), "plain".into()));
        std::fs::remove_file(own.join(".forward+x")).unwrap();
        rustix::fs::mkfifoat(CWD, own.join(".forward+x"), Mode::RUSR).unwrap();
        assert_eq!(asked("x"), "plain");
        let notes = of_user(&person(own), &settings, "x").notes;
        assert_eq!(notes, [format!("forward {}/.forward+x: Not a regular file", own.display())]);
        std::fs::write(own.join(".forward"), "a, ".repeat(2_000)).unwrap();
        assert_eq!(of_user(&person(own), &settings, "").answer, Named::Mailbox);
    }
}
