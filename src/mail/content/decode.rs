//! DATA from the wire to canonical content (RFC 5321 4.1.1.4, 4.5.2).
//!
//! Only CR LF . CR LF ends the data, or `.` CR LF as its very first line. Every other spelling (LF.LF, CR.CR, CRLF.LF, …)
//! is text, so that we and the host before us see the same end: SMTP smuggling, CVE-2023-51764 to 51766 (S-20).
//! A lone CR or LF is noted, and the caller refuses the message after its true end (S-21).

use super::stray;
use memchr::memmem::Finder;

/// Takes the dots off and finds the end.
#[derive(Clone, Debug)]
pub struct DataDecoder {
    state: State,
    bare: bool,
    nul: bool,
    line_start_dot: Finder<'static>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    /// Inside a line; whether the last byte was a CR.
    Text {
        after_cr: bool,
    },
    /// A dot at the start of a line.
    Dot,
    /// That dot and a CR.
    DotCr,
    Done,
}

impl Default for DataDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl DataDecoder {
    /// At the start of the data.
    #[must_use]
    pub fn new() -> Self {
        Self { state: State::LineStart, bare: false, nul: false, line_start_dot: Finder::new(b"\r\n.") }
    }
    /// Appends the content in `input` to `out`; says how much of `input` was used and whether the end was reached. What
    /// follows the end is not used: it is the next command.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let mut at = 0;
        while let Some((&byte, rest)) = input.get(at..).and_then(|rest| Some((rest.first()?, rest))) {
            match self.state {
                State::LineStart if byte == b'.' => {
                    self.state = State::Dot;
                    at += 1;
                }
                State::LineStart => at += self.text(false, rest, out),
                State::Text { after_cr } => at += self.text(after_cr, rest, out),
                State::Dot if byte == b'\r' => {
                    self.state = State::DotCr;
                    at += 1;
                }
                State::Dot => self.state = State::Text { after_cr: false },
                State::DotCr if byte == b'\n' => {
                    self.state = State::Done;
                    return (at + 1, true);
                }
                State::DotCr => {
                    out.push(b'\r');
                    self.state = State::Text { after_cr: true };
                }
                State::Done => break,
            }
        }
        (at, self.state == State::Done)
    }
    /// Copies up to the next line that begins with a dot, or everything.
    fn text(&mut self, after_cr: bool, rest: &[u8], out: &mut Vec<u8>) -> usize {
        // A CRLF that began in the last packet: its line start would not be found below.
        let take = if after_cr && rest.first() == Some(&b'\n') {
            1
        } else {
            self.line_start_dot.find(rest).map_or(rest.len(), |at| at + 2)
        };
        let run = rest.get(..take).unwrap_or(rest);
        let seen = stray(after_cr, run);
        self.bare |= seen.bare;
        self.nul |= seen.nul;
        out.extend_from_slice(run);
        self.state = match run {
            [b'\n'] if after_cr => State::LineStart,
            [.., b'\r', b'\n'] => State::LineStart,
            [.., last] => State::Text { after_cr: *last == b'\r' },
            [] => self.state,
        };
        run.len()
    }
    /// Whether the end was reached.
    #[must_use]
    pub fn done(&self) -> bool {
        self.state == State::Done
    }
    /// Whether a CR or LF stood alone.
    #[must_use]
    pub fn bare(&self) -> bool {
        self.bare
    }
    /// Whether there was a NUL.
    #[must_use]
    pub fn nul(&self) -> bool {
        self.nul
    }
}
