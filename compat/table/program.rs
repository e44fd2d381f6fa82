//! `makemap`, `newaliases`, `editmap` and `praliases` as functions (sendmail.md 2.3, 2.5, 2.6): options, texts and exit codes are
//! sendmail's, seen on 8.17.1.9; what they make is the engine's compiled table, whatever class was asked for. Called by `postrider`,
//! which is started under these names.

mod alias_file;
mod editmap;
mod makemap;
mod newaliases;
mod option;
mod praliases;
#[cfg(test)]
mod tests;

pub use alias_file::AliasFile;
pub use editmap::editmap;
pub use makemap::makemap;
pub use newaliases::{Rebuild, newaliases};
pub use praliases::praliases;

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use table::{Database, Unavailable};

/// Exit codes of `sysexits.h`.
mod exit {
    pub(super) const OK: u8 = 0;
    pub(super) const USAGE: u8 = 64;
    pub(super) const DATA: u8 = 65;
    pub(super) const NO_INPUT: u8 = 66;
    pub(super) const UNAVAILABLE: u8 = 69;
    pub(super) const SOFTWARE: u8 = 70;
    pub(super) const CANNOT_CREATE: u8 = 73;
    pub(super) const IO: u8 = 74;
}

/// Map classes that one may ask for.
const CLASSES: [&str; 5] = ["hash", "btree", "implicit", "cdb", "dbm"];

/// How long a map that is being written is waited for, and how often it is looked at.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(25);

/// Why a program ends early: its exit code, after it has said everything.
type Ended = u8;

/// Where a program writes. That nobody reads it is no reason to leave a map unmade, so errors are ignored.
struct Output<'a> {
    program: &'static str,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Output<'_> {
    /// A line on standard output.
    fn say(&mut self, line: &[u8]) {
        let _nobody_listens = self.out.write_all(line).and_then(|()| self.out.write_all(b"\n"));
    }

    /// A line on standard error, after the program's name: bytes as they are, but for control characters.
    fn complain(&mut self, text: impl AsRef<[u8]>) {
        let _nobody_listens =
            self.err.write_all(&[self.program.as_bytes(), b": ", &printable(text.as_ref()), b"\n"].concat());
    }

    /// What sendmail says of a map that it cannot open.
    fn cannot_open(&mut self, class: &str, map: &OsStr, why: &str) -> Ended {
        self.complain(format!("error opening type {class} map {}: {why}", map.display()));
        exit::CANNOT_CREATE
    }

    /// Ends if a configuration that was named is not there; what it says matters to sendmail's own files only.
    fn check_configuration(&mut self, path: Option<&OsStr>) -> Result<(), Ended> {
        let Some(path) = path else {
            return Ok(());
        };
        table::open_at_once(path.as_ref()).map(drop).map_err(|error| {
            self.complain(format!("{}: {}", path.display(), reason(&error)));
            exit::NO_INPUT
        })
    }

    /// Ends if there is no such class of maps.
    fn check_class(&mut self, class: &str, map: &OsStr) -> Result<(), Ended> {
        if CLASSES.contains(&class) { Ok(()) } else { Err(self.cannot_open(class, map, "Unknown database type")) }
    }
}

/// A text for a terminal: no control characters; what is no ASCII stays, in whatever character set it is.
pub(crate) fn printable(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            0..0x20 | 0x7f => out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => out.push(byte),
        }
    }
    out
}

/// An error as C programs print it, without Rust's number behind it.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The file of a map: `.db` is added unless it is there.
fn database_path(map: &OsStr) -> PathBuf {
    let mut name = map.to_owned();
    if !map.as_bytes().ends_with(b".db") {
        name.push(".db");
    }
    PathBuf::from(name)
}

/// The file of a map without `.db`.
fn text_path(map: &OsStr) -> &Path {
    Path::new(OsStr::from_bytes(map.as_bytes().strip_suffix(b".db").unwrap_or(map.as_bytes())))
}

/// Opens the compiled form that a map has now. One that was written this moment is waited for.
fn open(map: &OsStr, file: File) -> Result<Database, Unavailable> {
    let start = Instant::now();
    loop {
        let changed = file.metadata().and_then(|data| data.modified()).ok();
        let opened = Database::new(text_path(map).to_string_lossy().into(), file.try_clone().map_err(failed)?);
        let fresh = changed.and_then(|then| then.elapsed().ok()).is_some_and(|age| age < PATIENCE);
        if opened.is_ok() || !fresh || start.elapsed() > PATIENCE {
            return opened;
        }
        std::thread::sleep(PAUSE);
    }
}

fn failed(error: std::io::Error) -> Unavailable {
    Unavailable(reason(&error))
}

/// Opens a file that must be a regular one.
fn open_regular(path: &Path) -> std::io::Result<File> {
    let file = table::open_at_once(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::other("Regular files only")) }
}

/// Opens a map for reading; the error is the reason alone, in the system's or our words. As for sendmail, a map with two names
/// is none: somebody may have put it there to be written to.
fn open_map(map: &OsStr) -> Result<Database, String> {
    let file = open_regular(&database_path(map)).map_err(|error| reason(&error))?;
    if file.metadata().is_ok_and(|data| data.nlink() > 1) {
        return Err("Hard links not allowed".to_owned());
    }
    open(map, file).map_err(|error| error.0)
}

/// What a string is for sendmail: up to a NUL.
fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// Arguments as bytes: keys and values need not be UTF-8.
fn bytes(argument: &OsString) -> &[u8] {
    argument.as_bytes()
}
