//! Content as the queue has it (CRLF) into what a mailbox holds (LF, `From ` quoted for mbox), in pieces of any
//! size. Memory: one input piece and what the caller lets gather in `out`.

use memchr::memchr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once.
const PIECE: usize = 128 << 10;

/// Where in the message the conversion stands.
#[derive(Debug)]
pub(crate) struct Converter {
    /// mbox: `From ` at the start of any line becomes `>From ` (mboxo, as Postfix and procmail do).
    quote: bool,
    /// Leave the header out: for comparing bodies.
    body_only: bool,
    at_line_start: bool,
    in_header: bool,
}

impl Converter {
    pub(crate) fn new(quote: bool) -> Self {
        Self { quote, body_only: false, at_line_start: true, in_header: true }
    }
    pub(crate) fn body_only(mut self) -> Self {
        self.body_only = true;
        self
    }

    /// Converts as much of `input` as can be judged; returns how much that was. What is left (at most five bytes)
    /// comes again with more behind it, or with `last`.
    pub(crate) fn feed(&mut self, input: &[u8], last: bool, out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            if self.at_line_start && self.quote {
                if rest.starts_with(b"From ") {
                    self.emit(b">", out);
                } else if !last && b"From ".starts_with(rest) {
                    break;
                }
            }
            let Some(end) = memchr(b'\n', rest) else {
                let keep = usize::from(!last && rest.ends_with(b"\r"));
                let part = rest.get(..rest.len() - keep).unwrap_or_default();
                if !part.is_empty() {
                    self.emit(part, out);
                    self.at_line_start = false;
                }
                used += part.len();
                break;
            };
            let line = rest.get(..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.emit(line, out);
            self.emit(b"\n", out);
            if self.in_header && self.at_line_start && line.is_empty() {
                self.in_header = false;
            }
            self.at_line_start = true;
            used += end + 1;
        }
        used
    }

    /// The line's end if it is missing, and the header's: without that empty line mailutils counts wrong.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.at_line_start {
            self.emit(b"\n", out);
        }
        if self.in_header {
            self.emit(b"\n", out);
        }
    }

    fn emit(&self, bytes: &[u8], out: &mut Vec<u8>) {
        if !(self.body_only && self.in_header) {
            out.extend_from_slice(bytes);
        }
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The content cannot be read.
    Source(io::Error),
    /// `spill` failed.
    Target(io::Error),
}

/// The content of one message: a range of a descriptor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content<'a> {
    pub source: &'a File,
    pub offset: u64,
    pub length: u64,
}

/// Converts a whole message into `out`; `spill` is asked after each piece and may empty it.
pub(crate) fn copy(
    content: Content<'_>,
    mut converter: Converter,
    piece: &mut Vec<u8>,
    out: &mut Vec<u8>,
    spill: &mut dyn FnMut(&mut Vec<u8>) -> io::Result<()>,
) -> Result<(), CopyError> {
    let (mut at, end) = (content.offset, content.offset.saturating_add(content.length));
    let mut held = 0;
    while at < end {
        let want = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
        if piece.len() < held + want {
            piece.resize(held + want, 0);
        }
        let got = read(content.source, piece.get_mut(held..held + want).unwrap_or_default(), at)?;
        at += got as u64;
        let input = piece.get(..held + got).unwrap_or_default();
        let used = converter.feed(input, at >= end, out);
        let filled = held + got;
        piece.copy_within(used..filled, 0);
        held = filled - used;
        spill(out).map_err(CopyError::Target)?;
    }
    converter.finish(out);
    spill(out).map_err(CopyError::Target)
}

fn read(source: &File, piece: &mut [u8], at: u64) -> Result<usize, CopyError> {
    loop {
        match source.read_at(piece, at) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::Source(error)),
            Ok(0) => {
                let text = "content is shorter than announced";
                return Err(CopyError::Source(io::Error::new(io::ErrorKind::UnexpectedEof, text)));
            }
            Ok(got) => return Ok(got),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(input: &[u8], quote: bool, step: usize) -> String {
        let (mut converter, mut out, mut held) = (Converter::new(quote), Vec::new(), Vec::new());
        let pieces: Vec<&[u8]> = input.chunks(step).collect();
        for (i, piece) in pieces.iter().enumerate() {
            held.extend_from_slice(piece);
            let used = converter.feed(&held, i + 1 == pieces.len(), &mut out);
            held.drain(..used);
            assert!(held.len() <= 5);
        }
        assert!(held.is_empty());
        converter.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_converted_and_quoted_however_the_pieces_fall() {
        let input = b"Subject: x\r\n\r\nFrom here\r\nFromage\r\n>From a\r\n a\rb\r\r\nFrom";
        let quoted = "Subject: x\n\n>From here\nFromage\n>From a\n a\rb\r\nFrom\n";
        for step in 1..=input.len() {
            assert_eq!(whole(input, true, step), quoted, "pieces of {step}");
            assert_eq!(whole(input, false, step), quoted.replace(">From here", "From here"));
        }
    }

    #[test]
    fn a_header_always_ends() {
        for (input, expected) in [
            ("", "\n"),
            ("A: b\r\n", "A: b\n\n"),
            ("A: b", "A: b\n\n"),
            ("A: b\r\n\r\n", "A: b\n\n"),
            ("A: b\r\n\r\n\r\n", "A: b\n\n\n"),
        ] {
            for step in 1..=input.len().max(1) {
                assert_eq!(whole(input.as_bytes(), true, step), expected, "{input:?}");
            }
        }
    }

    #[test]
    fn the_body_alone() {
        let mut out = Vec::new();
        let mut converter = Converter::new(true).body_only();
        converter.feed(b"A: b\r\n\r\nFrom x\r\ny", true, &mut out);
        converter.finish(&mut out);
        assert_eq!(out, b">From x\ny\n");
    }
}
