//! The header of a message (RFC 5322 2.2, 3.6 and 4.5). `receive` scans it as it comes in, `compat/command` edits it
//! before submission, `deliver` qualifies it. Field bodies with addresses are read by `list.rs`.
//!
//! Tolerant: lines may end in CRLF or LF, blanks may stand before the colon, and a line that is no field ends the header.
//! Every edit keeps all other bytes as they are; only the address fields of local submissions are laid out anew (`layout`).

mod edit;
mod layout;
mod scan;

pub use edit::{Role, parties, passed_on, readdress, remove};
pub use layout::{lay_out, qualify};
pub use scan::{Known, Scan};

use std::ops::Range;

/// One field. The ranges are byte offsets in the bytes given to [`fields`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written, without blanks.
    pub name: &'a [u8],
    /// The whole field with its folded lines and last line end.
    pub raw: Range<usize>,
    /// What follows the colon, without the last line end.
    pub body: Range<usize>,
}

impl Field<'_> {
    /// Whether the field is called `name`, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// The fields at the start of `content`, in order.
#[must_use]
pub fn fields(content: &[u8]) -> Fields<'_> {
    Fields { content, at: 0 }
}

/// Iterator over the fields of a header.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    content: &'a [u8],
    at: usize,
}

impl Fields<'_> {
    /// Where the next field, or the end of the header, begins.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;
    fn next(&mut self) -> Option<Field<'a>> {
        let start = self.at;
        let rest = self.content.get(start..)?;
        let (name, colon) = name(rest)?;
        let mut end = line_end(rest, 0);
        while matches!(rest.get(end), Some(b' ' | b'\t')) {
            end = line_end(rest, end);
        }
        self.at = start + end;
        let field = rest.get(..end).unwrap_or(rest);
        let text = field.strip_suffix(b"\n").unwrap_or(field);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        Some(Field { name, raw: start..start + end, body: start + colon + 1..start + text.len().max(colon + 1) })
    }
}

/// The field name at the start of `line` and the offset of its colon.
fn name(line: &[u8]) -> Option<(&[u8], usize)> {
    let length = line.iter().take_while(|&&b| is_name(b)).count();
    let blanks = line.iter().skip(length).take_while(|&&b| b == b' ' || b == b'\t').count();
    let colon = length + blanks;
    (length > 0 && line.get(colon) == Some(&b':')).then(|| (line.get(..length).unwrap_or(line), colon))
}

const fn is_name(b: u8) -> bool {
    b.is_ascii_graphic() && b != b':'
}

/// The offset after the line that begins at `from`.
fn line_end(text: &[u8], from: usize) -> usize {
    let rest = text.get(from..).unwrap_or_default();
    memchr::memchr(b'\n', rest).map_or(text.len(), |at| from + at + 1)
}

/// Where the header ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Length of the header's fields, without the empty line.
    pub header: usize,
    /// Where the body begins.
    pub body: usize,
}

impl Split {
    /// Whether an empty line stands between header and body. If not, whoever sends the message on adds one.
    #[must_use]
    pub fn is_separated(self) -> bool {
        self.body > self.header
    }
}

/// Finds the end of the header: an empty line (which belongs to neither side), or the first line that is no field.
#[must_use]
pub fn split(content: &[u8]) -> Split {
    let mut fields = fields(content);
    fields.by_ref().for_each(drop);
    let header = fields.offset().min(content.len());
    let rest = content.get(header..).unwrap_or_default();
    let empty = if rest.starts_with(b"\r\n") { 2 } else { usize::from(rest.starts_with(b"\n")) };
    Split { header, body: header + empty }
}

/// A field's body on one line: folds taken out, blanks at both ends trimmed, at most `limit` bytes read, bytes that are
/// no UTF-8 replaced. For the log and the like.
#[must_use]
pub fn unfold(body: &[u8], limit: usize) -> String {
    let text = String::from_utf8_lossy(body.get(..limit).unwrap_or(body));
    let plain: String = text.chars().filter(|&c| c != '\r' && c != '\n').collect();
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(content: &[u8]) -> Vec<String> {
        fields(content).map(|f| String::from_utf8_lossy(f.name).into_owned()).collect()
    }

    #[test]
    fn finds_fields_and_the_body() {
        let content = b"From : a@b\r\nSubject: x\r\n y\r\n\tz\r\nTo:\r\n\r\nNot: header\r\n";
        assert_eq!(names(content), ["From", "Subject", "To"]);
        let subject = fields(content).nth(1).unwrap();
        assert_eq!(&content[subject.body], b" x\r\n y\r\n\tz");
        assert_eq!(&content[subject.raw], b"Subject: x\r\n y\r\n\tz\r\n");
        let to = fields(content).nth(2).unwrap();
        assert!(to.is("TO") && to.body.is_empty());
        let cut = split(content);
        assert_eq!(&content[cut.body..], b"Not: header\r\n");
        assert!(cut.is_separated());
    }

    #[test]
    fn a_line_that_is_no_field_ends_the_header() {
        for (content, header, body) in [
            (&b"A: b\nhello there\n"[..], 5, 5),
            (b"hello\n", 0, 0),
            (b" folded: first\n", 0, 0),
            (b"From alice Sat Nov 21 20:22:16 2026\n", 0, 0),
            (b"\nbody", 0, 1),
            (b"\r\nbody", 0, 2),
            (b"A: b", 4, 4),
            (b"A: b\n", 5, 5),
            (b": x\n", 0, 0),
            (b"", 0, 0),
            (b"A\xe9: b\n", 0, 0),
        ] {
            assert_eq!(split(content), Split { header, body }, "{:?}", content);
        }
    }

    #[test]
    fn unfolds() {
        assert_eq!(unfold(b" <a@b>\r\n x\xff ", 100), "<a@b> x\u{fffd}");
        assert_eq!(unfold(b"abcdef", 3), "abc");
    }
}
