//! The header as the user wrote it: read line by line, at most 1 MiB of it, from the message's start up to its first line that is
//! no header line (sendmail.md 1.8). Called by `deliver`; edited by `prepare`.

use crate::input::{Error as InputError, Input};
use crate::zone::{Zone, from_line_date};
use std::io::Read;

/// Most bytes of header.
pub const LIMIT: usize = 1 << 20;

/// Why a header cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See there.
    #[error(transparent)]
    Input(#[from] InputError),
    /// More than [`LIMIT`]; this much was read.
    #[error("Headers too large ({LIMIT} max)")]
    TooLarge(Box<Heading>),
}

/// One field with its continuation lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Everything, each line ending in CRLF.
    pub raw: Vec<u8>,
    /// Where the colon is.
    pub colon: usize,
}

impl Field {
    /// From one header line without its end; `None` if it is none.
    fn parse(line: &[u8]) -> Option<Self> {
        let colon = memchr::memchr(b':', line)?;
        let name = line.get(..colon)?.trim_ascii_end();
        if name.is_empty() || !name.iter().all(|b| (b'!'..=b'~').contains(b)) {
            return None;
        }
        let mut field = Self { raw: Vec::with_capacity(line.len() + 2), colon: name.len() };
        field.raw.extend_from_slice(name);
        field.add(line.get(colon..)?);
        Some(field)
    }
    /// Appends a line. A CR inside would begin a new field for readers that take it for a line end; it becomes a blank.
    fn add(&mut self, line: &[u8]) {
        let before = self.raw.len();
        self.raw.extend_from_slice(line);
        for byte in self.raw.iter_mut().skip(before).filter(|b| **b == b'\r') {
            *byte = b' ';
        }
        self.raw.extend_from_slice(b"\r\n");
    }
    /// Whether the name is this one, in any case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.name().eq_ignore_ascii_case(name.as_bytes())
    }
    /// The name as written.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.raw.get(..self.colon).unwrap_or_default()
    }
    /// Everything behind the colon, line ends included.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.raw.get(self.colon + 1..).unwrap_or_default()
    }
}

/// A header that was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Heading {
    /// Its fields in order.
    pub fields: Vec<Field>,
    /// The moment in a From_ line before it.
    pub date: Option<i64>,
    /// First bytes of the body, as read, when it was not separated by an empty line.
    pub body_start: Vec<u8>,
}

enum Line {
    /// With its end taken off.
    Whole,
    /// More of the line is to come, but the limit is reached.
    Part,
    /// Nothing more.
    End,
}

impl Heading {
    /// Reads a header. `save_from_line` is `-s`: then a From_ line is no special line, hence no header line either.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn read<R: Read>(input: &mut Input<R>, save_from_line: bool) -> Result<Self, Error> {
        let mut heading = Self::default();
        let mut left = LIMIT;
        let mut line = Vec::new();
        let mut first = true;
        loop {
            // A little more than the limit, so that the line's shape can be told from what was read of it.
            let kind = read_line(input, &mut line, left.max(1_024))?;
            let whole = match kind {
                Line::End if line.is_empty() => return Ok(heading.complete()),
                Line::Part => false,
                Line::Whole | Line::End => true,
            };
            left = left.saturating_sub(line.len());
            let text = without_end(&line);
            if whole && first && !save_from_line && text.starts_with(b"From ") {
                heading.date = from_line_date(text, &Zone::local());
                first = false;
                continue;
            }
            first = false;
            if whole && text.is_empty() {
                return Ok(heading.complete());
            }
            if !heading.add(text) {
                heading.body_start = line;
                return Ok(heading.complete());
            }
            if !whole || left == 0 {
                // The rest of the line follows.
                if let Some(last) = heading.fields.last_mut().filter(|_| !whole) {
                    last.raw.truncate(last.raw.len().saturating_sub(2));
                }
                return Err(Error::TooLarge(Box::new(heading)));
            }
        }
    }

    /// Without fields that have to be made because they are empty, as in the original (it leaves other empty ones alone).
    fn complete(mut self) -> Self {
        let made = |field: &Field| ["from", "date", "message-id"].iter().any(|name| field.is(name));
        self.fields.retain(|field| !(made(field) && field.body().trim_ascii().is_empty()));
        self
    }

    /// Everything that was read when there was too much of it.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        self.fields.iter().flat_map(|field| field.raw.iter().copied()).collect()
    }

    /// Adds one line; false if it is no header line.
    fn add(&mut self, text: &[u8]) -> bool {
        match self.fields.last_mut() {
            Some(last) if text.starts_with(b" ") || text.starts_with(b"\t") => last.add(text),
            _ => match Field::parse(text) {
                Some(field) => self.fields.push(field),
                None => return false,
            },
        }
        true
    }

    /// Whether a field is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|field| field.is(name))
    }
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads one line with its end, up to `limit` bytes.
fn read_line<R: Read>(input: &mut Input<R>, line: &mut Vec<u8>, limit: usize) -> Result<Line, InputError> {
    line.clear();
    while let Some(piece) = input.piece()? {
        line.extend_from_slice(piece);
        if line.ends_with(b"\n") {
            return Ok(Line::Whole);
        }
        if line.len() >= limit {
            return Ok(Line::Part);
        }
    }
    Ok(Line::End)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Heading, String) {
        let mut input = Input::new(text.as_bytes(), true);
        let heading = Heading::read(&mut input, false).unwrap();
        let mut body = heading.body_start.clone();
        while let Some(piece) = input.bulk().unwrap() {
            body.extend_from_slice(piece);
        }
        (heading, String::from_utf8(body).unwrap())
    }

    fn names(heading: &Heading) -> Vec<&str> {
        heading.fields.iter().map(|f| std::str::from_utf8(f.name()).unwrap()).collect()
    }

    #[test]
    fn header_ends_at_the_first_other_line() {
        let (heading, body) = read("To: a\r\nSubject : b\n c\n\nhi\n");
        assert_eq!(names(&heading), ["To", "Subject"]);
        assert_eq!(heading.fields[1].raw, b"Subject: b\r\n c\r\n");
        assert_eq!(body, "hi\n");
        let (heading, body) = read("To: a\nno header\n\nhi\n");
        assert_eq!((names(&heading), body.as_str()), (vec!["To"], "no header\n\nhi\n"));
        let (heading, body) = read("hello\n");
        assert_eq!((heading.fields.len(), body.as_str()), (0, "hello\n"));
        let (heading, body) = read(" To: a\n");
        assert_eq!((heading.fields.len(), body.as_str()), (0, " To: a\n"));
        let (heading, body) = read("\nTo: a\n");
        assert_eq!((heading.fields.len(), body.as_str()), (0, "To: a\n"));
    }

    #[test]
    fn the_last_line_needs_no_end() {
        let (heading, body) = read("To: a\nSubject: kept");
        assert_eq!(names(&heading), ["To", "Subject"]);
        assert!(body.is_empty());
    }

    #[test]
    fn a_from_line_is_consumed_once() {
        let (heading, _) = read("From x@y Sat Nov 21 20:22:16 2026\nTo: a\n\nhi\n");
        assert!(heading.date.is_some() && names(&heading) == ["To"]);
        let (heading, body) = read("To: a\nFrom x\n");
        assert_eq!((names(&heading), body.as_str()), (vec!["To"], "From x\n"));
    }

    #[test]
    fn a_cr_inside_makes_no_field() {
        let (heading, _) = read("Subject: a\rBcc: b\n\n");
        assert_eq!(heading.fields[0].raw, b"Subject: a Bcc: b\r\n");
    }

    #[test]
    fn a_long_header_is_refused_and_a_long_body_line_is_not() {
        let endless = || std::io::repeat(b'x').take(300 << 20);
        let mut input = Input::new((&b"To: "[..]).chain(endless()), true);
        assert!(matches!(Heading::read(&mut input, false), Err(Error::TooLarge(_))));
        let fields = b"A: b\n".repeat(LIMIT / 4);
        let mut many = Input::new(fields.as_slice().chain(endless()), true);
        assert!(matches!(Heading::read(&mut many, false), Err(Error::TooLarge(_))));
        // Nothing of it is lost.
        let mut input = Input::new(fields.as_slice().chain(&b"A: c"[..]), true);
        let Err(Error::TooLarge(heading)) = Heading::read(&mut input, false) else { panic!() };
        let (mut all, mut rest) = (heading.raw(), Vec::new());
        while let Some(piece) = input.bulk().unwrap() {
            rest.extend_from_slice(piece);
        }
        all.extend_from_slice(&rest);
        let given = [fields.as_slice(), b"A: c"].concat();
        assert!(String::from_utf8(all).unwrap().replace("\r\n", "\n").as_bytes() == given);
        let mut input = Input::new((&b"A: "[..]).chain(endless()), true);
        let Err(Error::TooLarge(heading)) = Heading::read(&mut input, false) else { panic!() };
        assert!(heading.raw().ends_with(b"xx"));
        let mut body = Input::new(endless(), true);
        let heading = Heading::read(&mut body, false).unwrap();
        assert!(heading.fields.is_empty() && heading.body_start.len() < LIMIT + (1 << 17));
    }
}
