//! `newaliases`, `sendmail -bi` (sendmail.md 2.3): compiles alias files. Everything is said on standard output; faulty lines are left
//! out, the rest is compiled, and the exit code is 70.

use super::alias_file::AliasFile;
use super::{Output, database_path, exit, reason};
use crate::Aliases;
use crate::aliases::Severity;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use table::{Duplicate, NewFile, Origin, Source, Writer, origin};

/// What is to be rebuilt.
pub struct Rebuild<'a> {
    /// The alias files, in order.
    pub files: &'a [AliasFile],
    /// Whether a domain is this host's: `user@domain` on the left is then `user`.
    pub is_local: &'a dyn Fn(&str) -> bool,
    /// DontBlameSendmail's `GroupWritableAliasFile`.
    pub group_writable: bool,
    /// DontBlameSendmail's `WorldWritableAliasFile`.
    pub world_writable: bool,
    /// What others could do to a file's folder, in sendmail's words: `World writable directory /etc`.
    pub distrust: &'a dyn Fn(&Path) -> Option<String>,
    /// `-on`: the right-hand sides are looked at, too.
    pub check: bool,
}

impl std::fmt::Debug for Rebuild<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rebuild({:?})", self.files)
    }
}

/// Rebuilds the alias files and returns the exit code.
pub fn newaliases(rebuild: &Rebuild<'_>, stdout: &mut dyn Write, stderr: &mut dyn Write) -> u8 {
    let mut output = Output { program: "newaliases", out: stdout, err: stderr };
    let mut worst = exit::OK;
    for file in rebuild.files {
        let code = match file {
            AliasFile::File { path, optional } => one(path, *optional, rebuild, &mut output),
            AliasFile::Elsewhere(_) => exit::OK,
            AliasFile::Unknown(class) => {
                output.say(format!("setalias: unknown alias class {class}").as_bytes());
                exit::SOFTWARE
            }
        };
        worst = worst.max(code);
    }
    worst
}

fn one(path: &Path, optional: bool, rebuild: &Rebuild<'_>, output: &mut Output<'_>) -> u8 {
    let (file, origin) = match open(path, rebuild) {
        Ok(opened) => opened,
        Err(error) => {
            if !(optional && error.kind() == io::ErrorKind::NotFound) {
                // Exit code 0, as in sendmail.
                output.say(format!("newaliases: cannot open {}: {}", path.display(), reason(&error)).as_bytes());
            }
            return exit::OK;
        }
    };
    let source = Source { name: path.to_string_lossy().into(), text: Some(file), compiled: None };
    let table = table::text::read(&source).and_then(|text| Aliases::read(&source.name, &text, Some(rebuild.is_local)));
    let mut table = match table {
        Ok(table) => table,
        Err(error) => {
            output.say(format!("newaliases: {error}").as_bytes());
            return exit::SOFTWARE;
        }
    };
    if let Some(why) = (rebuild.distrust)(path) {
        output.say(format!("WARNING: {why}").as_bytes());
        return not_made(path, output);
    }
    if let Err(why) = compile(path, &table, origin) {
        let code = not_made(path, output);
        output.complain(format!("{}: {why}", database_path(path.as_os_str()).display()));
        return code;
    }
    let bad_values = rebuild.check && table.check_values();
    for problem in table.problems() {
        output.say(&problem.printed());
    }
    output.say(format!("{}: {}", path.display(), table.counts()).as_bytes());
    let bad = table.problems().iter().any(|problem| problem.severity == Severity::Error);
    match (bad_values, bad) {
        (true, _) => exit::USAGE,
        (false, true) => exit::SOFTWARE,
        (false, false) => exit::OK,
    }
}

fn not_made(path: &Path, output: &mut Output<'_>) -> u8 {
    output.say(format!("WARNING: cannot open alias database {}", path.display()).as_bytes());
    output.say(format!("Cannot create database for alias file {}", path.display()).as_bytes());
    exit::SOFTWARE
}

/// Opens a file that only its owner can write: an alias may name a program.
fn open(path: &Path, rebuild: &Rebuild<'_>) -> io::Result<(File, Origin)> {
    let refused = |what: &str| Err(io::Error::other(what.to_owned()));
    // Before it is opened: a FIFO would make us wait for its writer.
    if !path.metadata()?.is_file() {
        return refused("Regular files only");
    }
    let file = table::open_at_once(path)?;
    let data = file.metadata()?;
    match data.mode() {
        _ if !data.is_file() => return refused("Regular files only"),
        mode if mode & 0o020 != 0 && !rebuild.group_writable => return refused("Group writable file"),
        mode if mode & 0o002 != 0 && !rebuild.world_writable => return refused("World writable file"),
        _ => {}
    }
    let origin = origin(&file, Some(path))?;
    Ok((file, origin))
}

fn compile(path: &Path, table: &Aliases, origin: Origin) -> Result<(), String> {
    let failed = |error: io::Error| reason(&error);
    let new = NewFile::create(&database_path(path.as_os_str())).map_err(failed)?;
    let mut writer = Writer::new(new.file());
    for alias in table.rows() {
        writer.put(alias.key, &alias.value, alias.line, Duplicate::Replace).map_err(failed)?;
    }
    // sendmail's mark of a finished build, which scripts may look for.
    writer.put(b"@", b"@", 0, Duplicate::Keep).map_err(failed)?;
    writer.finish(origin).map_err(failed)?;
    new.put_in_place().map(drop).map_err(failed)
}
