//! Class files (`F` lines of a `.cf`; sendmail.md 3.9): sendmail's ways of saying how the engine's word lists are read.
//! Called by the importer and by commands that read sendmail's own files.

use table::{Word, Words};

/// What an `F` line says behind the class letter: `-o /etc/mail/relay-domains %[^\#]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassFile {
    /// The file.
    pub path: String,
    /// `-o`: it may be missing. A missing file is a fatal configuration error otherwise.
    pub optional: bool,
    /// How its lines are read.
    pub words: Words,
}

/// What a scanf format means: none is `%s`, the first word; Debian's and Red Hat's `%[^\#]` takes every word before a `#`.
/// `None`: a format that must be reported, not guessed.
#[must_use]
pub fn format(scanf: &str) -> Option<Words> {
    match scanf.trim() {
        "" | "%s" => Some(Words::First),
        r"%[^\#]" | "%[^#]" | r"%[^\#\n]" => Some(Words::All),
        _ => None,
    }
}

/// Reads the part of an `F` line behind the class. `None`: no path, a program (`|…`), a map (`@…`, `LDAP`) or an unknown format.
#[must_use]
pub fn parse(text: &str) -> Option<ClassFile> {
    let text = text.trim();
    let (optional, rest) = match text.strip_prefix("-o") {
        Some(rest) if rest.starts_with([' ', '\t']) => (true, rest.trim_start()),
        _ => (false, text),
    };
    let (path, scanf) = rest.split_once([' ', '\t']).unwrap_or((rest, ""));
    let words = format(scanf)?;
    path.starts_with('/').then(|| ClassFile { path: path.to_owned(), optional, words })
}

/// The members that a class file's text lists.
#[must_use]
pub fn read(text: &[u8], words: Words) -> Vec<Word> {
    table::words(text, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f_lines() {
        let file = parse(r"-o /etc/mail/relay-domains %[^\#]").unwrap();
        assert_eq!((&file.path[..], file.optional, file.words), ("/etc/mail/relay-domains", true, Words::All));
        let file = parse("/etc/mail/local-host-names").unwrap();
        assert_eq!((file.optional, file.words), (false, Words::First));
        for odd in ["", "|/bin/names", "@LDAP", "/file %d"] {
            assert_eq!(parse(odd), None, "{odd}");
        }
    }
}
