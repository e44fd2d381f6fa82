//! The files a configuration is read from: size, permissions, `include`. Called by `load.rs` and `finish.rs`.

use crate::problem::{Place, Problem, Severity, position};
use kdl::KdlDocument;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// Largest file that is read.
const LIMIT: u64 = 16 << 20;
/// Deepest nesting of `{` and `/*`: the KDL parser recurses.
const NESTING: usize = 64;

/// One file that was read.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

/// Everything read so far, and what is wrong with it.
#[derive(Debug, Default)]
pub struct Sources {
    files: Vec<Source>,
    paths: Vec<PathBuf>,
    problems: Vec<(Option<Place>, Problem)>,
}

impl Sources {
    /// Adds a text; its number is the `source` of places in it.
    pub fn add(&mut self, name: &str, text: String) -> usize {
        self.files.push(Source { name: name.to_owned(), text });
        self.files.len() - 1
    }

    /// The text of a file.
    pub fn text(&self, source: usize) -> &str {
        self.files.get(source).map_or("", |file| &file.text)
    }

    /// `file:line:col` of a place.
    pub fn show(&self, place: Place) -> String {
        let name = self.files.get(place.source).map_or("", |file| &file.name);
        let (line, column) = position(self.text(place.source), place.offset);
        format!("{name}:{line}:{column}")
    }

    /// Notes an error at a place.
    pub fn error(&mut self, place: Place, text: impl Into<String>) {
        self.note(Severity::Error, place, text.into());
    }

    /// Notes a warning at a place.
    pub fn warn(&mut self, place: Place, text: impl Into<String>) {
        self.note(Severity::Warning, place, text.into());
    }

    fn note(&mut self, severity: Severity, place: Place, text: String) {
        let file = self.files.get(place.source).map_or_else(String::new, |f| f.name.clone());
        let at = Some(position(self.text(place.source), place.offset));
        let problem = Problem { file, at, severity, text };
        self.problems.push((Some(place), problem));
    }

    /// Notes something about a file as a whole.
    pub fn about_file(&mut self, severity: Severity, file: &str, text: impl Into<String>) {
        let problem = Problem { file: file.to_owned(), at: None, severity, text: text.into() };
        self.problems.push((None, problem));
    }

    /// Notes something about a line of a list file.
    pub fn about_line(&mut self, severity: Severity, file: &str, line: u32, text: impl Into<String>) {
        let problem = Problem { file: file.to_owned(), at: Some((line as usize, 1)), severity, text: text.into() };
        self.problems.push((None, problem));
    }

    /// Errors and warnings, in the order of the files, those about whole files first.
    pub fn into_problems(mut self) -> (Vec<Problem>, Vec<Problem>) {
        self.problems.sort_by_key(|(place, _)| *place);
        let all = self.problems.into_iter().map(|(_, problem)| problem);
        all.partition(|problem| problem.severity == Severity::Error)
    }

    /// Reads a file of at most 16 MiB and reports unsafe permissions.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.paths.push(path.to_owned());
        self.read_checked(path, true)
    }

    /// The files of the configuration itself, there or not.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths.clone()
    }

    /// Reads a list file of at most 16 MiB. Its permissions are `daemon`'s business, who knows what is trusted.
    pub fn read_list(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        self.read_checked(path, false)
    }

    fn read_checked(&mut self, path: &Path, check: bool) -> io::Result<Vec<u8>> {
        let about = fs::metadata(path)?;
        let kind = about.file_type();
        // Opening a FIFO would wait for ever.
        if kind.is_dir() || kind.is_fifo() || kind.is_socket() || kind.is_block_device() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if kind.is_file() && check {
            self.check_mode(path, &about);
        }
        let mut bytes = Vec::new();
        fs::File::open(path)?.take(LIMIT + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
        }
        Ok(bytes)
    }

    /// Whoever can write the file or replace it in its folder decides what the keeper does as root.
    fn check_mode(&mut self, path: &Path, file: &fs::Metadata) {
        let name = path.display().to_string();
        self.check_writers(&name, file.mode(), file.gid(), "file");
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        if let Ok(about) = fs::metadata(&folder) {
            // In a sticky folder only the owner replaces the file; but anybody may have put there what was not there.
            let ours = |about: &fs::Metadata| about.uid() == 0 || about.uid() == rustix::process::geteuid().as_raw();
            let planted = || !ours(file) || !path.symlink_metadata().is_ok_and(|entry| ours(&entry));
            if about.mode() & 0o1000 == 0 || planted() {
                self.check_writers(&name, about.mode(), about.gid(), &format!("folder {}", folder.display()));
            }
        }
    }

    fn check_writers(&mut self, name: &str, mode: u32, gid: u32, what: &str) {
        let mode = mode & 0o7777;
        if mode & 0o002 != 0 {
            let text = format!("unsafe permissions: everybody may write this {what} (mode {mode:04o})");
            self.about_file(Severity::Error, name, text);
        } else if mode & 0o020 != 0 && gid != 0 {
            let text = format!("unsafe permissions: group {gid} may write this {what} (mode {mode:04o})");
            self.about_file(Severity::Warning, name, text);
        }
    }

    /// Parses a file's text; what is wrong is noted and `None` returned.
    pub fn parse(&mut self, source: usize) -> Option<KdlDocument> {
        let text = self.text(source).to_owned();
        if let Some(offset) = too_deep(&text) {
            self.error(Place { source, offset }, format!("nested deeper than {NESTING}"));
            return None;
        }
        match KdlDocument::parse_v2(&text) {
            Ok(document) => Some(document),
            Err(trouble) => {
                for one in trouble.diagnostics {
                    let (offset, message) = explain(&text, &one);
                    self.error(Place { source, offset }, message);
                }
                None
            }
        }
    }
}

/// An error as C programs print it, without Rust's ` (os error 2)`.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Where nesting becomes too deep. Counts brackets in strings as well, which are balanced in any sane file.
fn too_deep(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while let Some(byte) = bytes.get(at) {
        let step = match (byte, bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth + 1, 2),
            (b'*', Some(b'/')) => (depth.saturating_sub(1), 2),
            (b'{', _) => (depth + 1, 1),
            (b'}', _) => (depth.saturating_sub(1), 1),
            _ => (depth, 1),
        };
        if step.0 > NESTING {
            return Some(at);
        }
        (depth, at) = (step.0, at + step.1);
    }
    None
}

/// Place and text of a parser's message, made plainer where it is not plain.
fn explain(text: &str, one: &kdl::KdlDiagnostic) -> (usize, String) {
    let message = one.message.as_deref().unwrap_or("not KDL");
    let offset = one.span.offset();
    let rest = text.get(offset..).unwrap_or_default();
    let word = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    if matches!(word, "true" | "false" | "null") {
        return (offset, format!("write #{word}"));
    }
    if offset == 0 && message == "Expected property value" {
        // kdl-rs#172: an incomplete `name=` is reported at the start of the file.
        let lone = text.match_indices('=').find(|(at, _)| {
            let after = text.get(at + 1..).unwrap_or_default();
            after.trim_start_matches([' ', '\t']).starts_with(['\n', '\r', ';', '{', '}']) || after.trim().is_empty()
        });
        return (lone.map_or(0, |(at, _)| at), "a value must follow the \"=\"".to_owned());
    }
    let help = one.help.as_ref().map_or_else(String::new, |help| format!(" ({help})"));
    (offset, format!("not KDL: {}{help}", message.trim_end_matches('.')))
}
