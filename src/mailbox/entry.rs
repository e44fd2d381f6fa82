//! What an entry says now: the program or file that the engine named by its file and mark. Called by the loop for every order, so that
//! nothing is done that stands there no more (DESIGN §2).
//!
//! A user's agent takes only files of his `.forward` path list; the files of a system agent were named by the keeper and opened while it
//! was still root, by a way that only root and the file's owner can change.

use crate::arguments::Arguments;
use crate::forward::{candidates, trust};
use crate::identity::Person;
use crate::trusted::{Refusal, Trust, open};
use call::agent::{Done, Entry, Kind};
use mail::alias::{AliasEntry, entries, lines::all_entries};
use mail::database::{Broken, Database};
use mail::forward::lines;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// What a file does not say any more counts when it has not been changed for so long.
const STILL: Duration = Duration::from_secs(30);

/// Largest alias file, bytes.
const ALIASES: u64 = 256 << 20;

/// The alias files, open: texts, and the data bases beside them.
#[derive(Debug, Default)]
pub(crate) struct AliasFiles(Vec<(String, Result<File, Refusal>)>);

impl AliasFiles {
    /// Opens them: called while the agent is still root (or runs as the one user of everything). Nothing is read yet.
    pub(crate) fn open(arguments: &Arguments) -> Self {
        if arguments.kind != Kind::System {
            return Self::default();
        }
        let open_one = |path: &String| {
            // Root named the file, whoever owns it (a list manager); nobody else may have written it.
            let owner = std::fs::metadata(path).map_or(0, |stat| std::os::unix::fs::MetadataExt::uid(&stat));
            let trust = Trust { owner, file: 0o022, folders: 0o022, size: ALIASES };
            (path.clone(), open(Path::new(path), &trust))
        };
        Self(arguments.aliases.iter().map(open_one).collect())
    }

    /// What an alias's entry says: in the text `X`, whichever of the two decides where mail goes, and in `X.db` where the text is lost.
    pub(crate) fn find(&self, entry: &Entry) -> Result<AliasEntry, Done> {
        let of_database = entry.file.strip_suffix(".db").filter(|name| self.named(name).is_some());
        let name = of_database.unwrap_or(&entry.file);
        match self.named(name) {
            None => Err(later(format!("{name} is no alias file"))),
            Some(Ok(file)) => {
                let text = text(file, name)?;
                let found = all_entries(&text).map(|(_, said)| said).find(|said| said.mark() == entry.mark);
                found.ok_or_else(|| gone(entry))
            }
            Some(Err(Refusal::Absent)) => self.find_in_database(name, &entry.mark),
            Some(Err(why)) => Err(refused(name, why)),
        }
    }

    fn find_in_database(&self, name: &str, mark: &str) -> Result<AliasEntry, Done> {
        let entry = Entry { file: format!("{name}.db"), mark: mark.to_owned() };
        let file = match self.named(&entry.file) {
            Some(Ok(file)) => file,
            Some(Err(why @ (Refusal::Unsafe(_) | Refusal::Unavailable(_)))) => return Err(refused(&entry.file, why)),
            Some(Err(Refusal::Absent)) | None => return Err(refused(name, &Refusal::Absent)),
        };
        let bytes = text(file, &entry.file)?;
        let found = entry_of_database(&bytes, mark);
        let found = found.map_err(|why| Done::Temporary(3, 0, format!("cannot read {}: {why}", entry.file)))?;
        found.ok_or_else(|| gone(&entry))
    }

    fn named(&self, path: &str) -> Option<&Result<File, Refusal>> {
        self.0.iter().find(|(known, _)| known == path).map(|(_, file)| file)
    }
}

/// The entry with this mark. Whoever writes the file while it is read leaves it damaged, or the entry in it: then it stood there.
fn entry_of_database(bytes: &[u8], mark: &str) -> Result<Option<AliasEntry>, Broken> {
    for record in Database::new(bytes)?.records() {
        let said = entries(&String::from_utf8_lossy(&record?.value));
        if let Some(found) = said.into_iter().find(|said| said.mark() == mark) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What an entry of the user's `.forward` says.
pub(crate) fn of_user(entry: &Entry, person: &Person, arguments: &Arguments, detail: &str) -> Result<AliasEntry, Done> {
    if !candidates(person, arguments, detail).contains(&entry.file) {
        return Err(later(format!("{} is no .forward of {}", entry.file, person.name)));
    }
    let file = match open(Path::new(&entry.file), &trust(person, arguments)) {
        // Not if its folder is missing as well: it may be a home that was not mounted.
        Err(Refusal::Absent) => {
            let folder = Path::new(&entry.file).parent().and_then(|folder| folder.metadata().ok());
            return Err(folder.map_or_else(|| refused(&entry.file, &Refusal::Absent), |folder| no_more(entry, &folder)));
        }
        opened => opened.map_err(|why| refused(&entry.file, &why))?,
    };
    let (text, about) = (text(&file, &entry.file)?, file.metadata());
    let found = lines(&text).into_iter().flat_map(|line| line.entries).find(|said| said.mark() == entry.mark);
    let found = match (found, about) {
        (Some(found), _) => found,
        (None, Ok(about)) => return Err(no_more(entry, &about)),
        (None, Err(_)) => return Err(gone(entry)),
    };
    if person.has_shell { Ok(found) } else { Err(later(format!("{} has no valid shell", person.name))) }
}

fn text(file: &File, path: &str) -> Result<Vec<u8>, Done> {
    let mut text = Vec::new();
    let read = file.take(ALIASES).read_to_end(&mut text);
    read.map(|_| text).map_err(|error| Done::Temporary(3, 0, format!("cannot read {path}: {error}")))
}

fn gone(entry: &Entry) -> Done {
    later(told_gone(entry))
}

fn told_gone(entry: &Entry) -> String {
    format!("what was named stands no more in {}", entry.file)
}

/// The user has put something else in its place. Unless the file, or the folder that it was removed from, was changed only just now:
/// whoever is writing it may not be ready.
fn no_more(entry: &Entry, changed: &std::fs::Metadata) -> Done {
    let still = changed.modified().is_ok_and(|at| at.elapsed().is_ok_and(|since| since >= STILL));
    if still { Done::Gone(told_gone(entry)) } else { gone(entry) }
}

fn refused(path: &str, why: &Refusal) -> Done {
    later(told(path, why))
}

fn told(path: &str, why: &Refusal) -> String {
    let why = match why {
        Refusal::Absent => "No such file or directory",
        Refusal::Unsafe(why) | Refusal::Unavailable(why) => why,
    };
    format!("{path}: {why}")
}

/// Kept in the queue: whoever wrote the file can put it right, or an operator routes the message anew.
fn later(why: String) -> Done {
    Done::Temporary(3, 5, why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::person;

    fn entry(file: &Path, text: &str) -> Entry {
        Entry { file: file.to_string_lossy().into_owned(), mark: AliasEntry::parse(text).mark() }
    }

    fn why(found: Result<AliasEntry, Done>) -> String {
        match found {
            Err(Done::Temporary(3, 5, why)) => why,
            Err(Done::Gone(why)) => format!("gone: {why}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_stands_in_the_users_own_forward() {
        let home = tempfile::tempdir().unwrap();
        let (own, arguments) = (person(home.path()), crate::arguments::tests::arguments());
        let forward = home.path().join(".forward");
        std::fs::write(&forward, "\\al, \"|/bin/cat x\"\n").unwrap();
        let ask = |entry: &Entry, detail: &str| of_user(entry, &own, &arguments, detail);
        let named = entry(&forward, "|/bin/cat x");
        assert_eq!(ask(&named, ""), Ok(AliasEntry::Program("/bin/cat x".into())));
        assert_eq!(ask(&named, "detail"), Ok(AliasEntry::Program("/bin/cat x".into())));
        // Whoever writes it may not be ready.
        let old = |path: &Path| File::open(path).unwrap().set_modified(std::time::SystemTime::now() - STILL).unwrap();
        let other = entry(&forward, "|/bin/cat y");
        assert!(why(ask(&other, "")).starts_with("what was named stands no more in "));
        old(&forward);
        assert!(why(ask(&other, "")).starts_with("gone: what was named stands no more in "));
        // Mail of strangers lies in files of his too.
        let mail = home.path().join("Maildir");
        std::fs::write(&mail, "\"|/bin/sh\"\n").unwrap();
        assert!(why(ask(&entry(&mail, "|/bin/sh"), "")).contains("is no .forward of al"));
        let no_shell = Person { has_shell: false, ..own.clone() };
        assert!(why(of_user(&named, &no_shell, &arguments, "")).contains("no valid shell"));
        // Others could have written it: it waits for its owner. Removed it is gone, unless it went with its home.
        std::fs::set_permissions(&forward, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
        assert!(why(ask(&named, "")).ends_with(": World writable file"));
        std::fs::remove_file(&forward).unwrap();
        assert!(why(ask(&named, "")).starts_with("what was named stands no more in "));
        old(home.path());
        assert!(why(ask(&named, "")).starts_with("gone: what was named stands no more in "));
        drop(home);
        assert!(why(ask(&named, "")).ends_with(": No such file or directory"));
    }

    #[test]
    fn only_what_stands_in_an_alias_file_of_the_keepers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("aliases");
        std::fs::write(&path, "a: bob,\n  \"|/bin/cat x\"\n").unwrap();
        let mut arguments = crate::arguments::tests::arguments();
        arguments.kind = Kind::System;
        arguments.aliases = vec![path.to_string_lossy().into_owned(), "/nonexistent/a".into()];
        let files = AliasFiles::open(&arguments);
        assert_eq!(files.find(&entry(&path, "|/bin/cat x")), Ok(AliasEntry::Program("/bin/cat x".into())));
        // What decides where mail goes may be the data base: what is done stands in the text.
        let files = AliasFiles::open(&arguments);
        let database = path.with_extension("db");
        assert_eq!(files.find(&entry(&database, "|/bin/cat x")), Ok(AliasEntry::Program("/bin/cat x".into())));
        assert!(why(files.find(&entry(Path::new("/etc/passwd"), "|/bin/cat x"))).contains("is no alias file"));
        let files = AliasFiles::open(&arguments);
        assert!(why(files.find(&entry(&path, "|/bin/cat y"))).starts_with("what was named stands no more in "));
        assert!(why(files.find(&entry(Path::new("/nonexistent/a"), "|x"))).contains("No such file"));
    }

    /// Made by sendmail's `newaliases`.
    const HASH: &[u8] = include_bytes!("../mail/database/golden/aliases-hash.db");
    const BTREE: &[u8] = include_bytes!("../mail/database/golden/aliases-btree.db");
    const WITHOUT: &[u8] = include_bytes!("../mail/database/golden/aliases-without.db");

    /// A folder with `a.db`, and what the keeper says to an agent there.
    fn lost(database: &[u8]) -> (tempfile::TempDir, Arguments) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.db"), database).unwrap();
        let mut arguments = crate::arguments::tests::arguments();
        arguments.kind = Kind::System;
        arguments.aliases = ["a", "a.db"].map(|name| folder.path().join(name).to_string_lossy().into_owned()).into();
        (folder, arguments)
    }

    #[test]
    fn where_the_text_is_lost_the_data_base_tells() {
        for database in [HASH, BTREE] {
            let (folder, arguments) = lost(database);
            for (said, text) in [
                (AliasEntry::Program("/home/lost/run".into()), "|/home/lost/run"),
                (AliasEntry::File("/home/lost/file".into()), "/home/lost/file"),
                (AliasEntry::Include("/home/lost/list".into()), ":include:/home/lost/list"),
            ] {
                // It serves one order.
                let found = AliasFiles::open(&arguments).find(&entry(&folder.path().join("a"), text));
                assert_eq!(found, Ok(said));
            }
        }
    }

    #[test]
    fn what_the_data_base_says_no_more_is_not_done() {
        let (folder, arguments) = lost(WITHOUT);
        let (text, database) = (folder.path().join("a"), folder.path().join("a.db"));
        let ask = || AliasFiles::open(&arguments).find(&entry(&text, "|/home/lost/run"));
        assert!(why(ask()).ends_with(&format!("stands no more in {}", database.display())));
        // A text that is there again counts alone.
        std::fs::write(&database, HASH).unwrap();
        assert!(ask().is_ok());
        std::fs::write(&text, "plain: u01\n").unwrap();
        assert!(why(ask()).ends_with(&format!("stands no more in {}", text.display())));
    }

    #[test]
    fn a_data_base_that_cannot_be_trusted_or_read_is_told() {
        let (folder, mut arguments) = lost(HASH);
        let (text, database) = (folder.path().join("a"), folder.path().join("a.db"));
        let ask = |arguments: &Arguments| AliasFiles::open(arguments).find(&entry(&text, "|/home/lost/run"));
        let mode =
            |mode| std::fs::set_permissions(&database, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        mode(0o646);
        assert_eq!(why(ask(&arguments)), format!("{}: World writable file", database.display()));
        mode(0o644);
        for (bytes, what) in [(&HASH[..5_000], "cut short"), (b"a: |x\n", "of no known format")] {
            std::fs::write(&database, bytes).unwrap();
            let Err(Done::Temporary(3, 0, told)) = ask(&arguments) else { panic!("{what}") };
            assert!(told.starts_with(&format!("cannot read {}: {what}", database.display())), "{told}");
        }
        // One that the keeper did not name is none, and one that is not there neither.
        let absent = format!("{}: No such file or directory", text.display());
        std::fs::write(&database, HASH).unwrap();
        let named = std::mem::take(&mut arguments.aliases);
        arguments.aliases = vec![named[0].clone()];
        assert_eq!(why(ask(&arguments)), absent);
        arguments.aliases = named;
        std::fs::remove_file(&database).unwrap();
        assert_eq!(why(ask(&arguments)), absent);
    }
}
