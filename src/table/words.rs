//! Files that list words, such as `local-host-names` and `relay-domains`. Called by `config` for `file=` and by
//! `compat/table`, which knows sendmail's names for the two ways of reading.

/// Which words of a line count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Words {
    /// Every word before a `#` (Debian's and Red Hat's `F` lines with `%[^\#]`).
    #[default]
    All,
    /// Only the first word of a line, and `#` inside a word is part of it (`F` lines without a format, `%s`).
    First,
}

/// A word and the line it stands on, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word as written.
    pub text: String,
    /// Its line.
    pub line: u32,
}

/// Reads a list. Lines that start with `#` are comments in both ways. White space is C's (with VT and FF), and a line ends at a
/// NUL, as for sendmail. Bytes that are not UTF-8 become U+FFFD, which no name contains.
#[must_use]
pub fn words(text: &[u8], which: Words) -> Vec<Word> {
    let mut found = Vec::new();
    for (line, bytes) in (1u32..).zip(crate::text::unmarked(text).split(|&b| b == b'\n')) {
        if bytes.first() == Some(&b'#') {
            continue;
        }
        let row = String::from_utf8_lossy(bytes.split(|&b| b == 0).next().unwrap_or_default());
        let (row, limit) = match which {
            Words::All => (row.split('#').next().unwrap_or_default(), usize::MAX),
            Words::First => (&row[..], 1),
        };
        let words = row.split(|c: char| c.is_ascii_whitespace() || c == '\x0b').filter(|word| !word.is_empty());
        found.extend(words.take(limit).map(|word| Word { text: word.to_owned(), line }));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str, which: Words) -> Vec<(String, u32)> {
        words(text.as_bytes(), which).into_iter().map(|w| (w.text, w.line)).collect()
    }

    #[test]
    fn an_editors_mark_is_no_part_of_a_name() {
        assert_eq!(texts("\u{feff}a.test\r\nb.test", Words::All), [("a.test".into(), 1), ("b.test".into(), 2)]);
        assert_eq!(texts("\u{feff}# a.test\nb.test", Words::First), [("b.test".into(), 2)]);
    }

    #[test]
    fn both_ways_of_reading() {
        let file = "# names\n\nexample.org  example.net # both\r\n  example.com\nodd#one two\n";
        let own =
            |list: &[(&str, u32)]| -> Vec<(String, u32)> { list.iter().map(|(w, n)| ((*w).into(), *n)).collect() };
        assert_eq!(
            texts(file, Words::All),
            own(&[("example.org", 3), ("example.net", 3), ("example.com", 4), ("odd", 5)])
        );
        assert_eq!(texts(file, Words::First), own(&[("example.org", 3), ("example.com", 4), ("odd#one", 5)]));
        let file = "a.test\x0bb.test\x0cc.test\nd.test\0e.test f.test\n\0g.test\n";
        let all = own(&[("a.test", 1), ("b.test", 1), ("c.test", 1), ("d.test", 2)]);
        assert_eq!(texts(file, Words::All), all);
        assert_eq!(texts(file, Words::First), own(&[("a.test", 1), ("d.test", 2)]));
    }
}
