//! Local input to canonical content (sendmail.md 1.8): lines may end in LF or CRLF or both by turns; one CR before the LF
//! belongs to the line end; a missing last line end is added. A CR inside a line is kept, for local mailboxes keep it,
//! and noted; [`super::Encoder`] deals with it.

/// Converts line ends to CRLF.
#[derive(Clone, Debug, Default)]
pub struct LineEnds {
    /// The last byte was a CR, held back until its successor is known.
    held: bool,
    in_line: bool,
    bare_cr: bool,
}

impl LineEnds {
    /// At the start of the input.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends the content of `input` to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(&first) = input.first() else { return };
        if self.held && first != b'\n' {
            self.bare_cr = true;
            self.in_line = true;
            out.push(b'\r');
        }
        self.held = false;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', input) {
            let line = input.get(start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            self.copy(line, out);
            out.extend_from_slice(b"\r\n");
            self.in_line = false;
            start = end + 1;
        }
        let tail = input.get(start..).unwrap_or_default();
        let (tail, held) = match tail.strip_suffix(b"\r") {
            Some(tail) => (tail, true),
            None => (tail, false),
        };
        self.held = held;
        self.copy(tail, out);
    }
    fn copy(&mut self, text: &[u8], out: &mut Vec<u8>) {
        if !text.is_empty() {
            self.in_line = true;
            self.bare_cr |= memchr::memchr(b'\r', text).is_some();
            out.extend_from_slice(text);
        }
    }
    /// The input is over: ends the last line if it has no end.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.in_line || self.held {
            out.extend_from_slice(b"\r\n");
        }
        self.in_line = false;
        self.held = false;
    }
    /// Whether a CR stood inside a line.
    #[must_use]
    pub fn bare_cr(&self) -> bool {
        self.bare_cr
    }
}
