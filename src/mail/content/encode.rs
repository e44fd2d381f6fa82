//! Canonical content to the wire (RFC 5321 2.3.8, 4.5.2, 4.5.3.1.6).
//!
//! What leaves is always clean (S-22): a bare LF becomes CRLF, a bare CR a blank (it keeps two words apart), a line over
//! 998 octets is broken by CRLF and a blank (not inside a UTF-8 character), a last CRLF is added. Dots are stuffed after
//! all that.

use super::stray;

/// Longest line on the wire in octets, without CRLF and without the stuffed dot (RFC 5321 4.5.3.1.6).
pub const LINE_LIMIT: usize = 998;

/// Whether `content` can be sent as it is, followed by `.` CRLF.
#[must_use]
pub fn is_wire_clean(content: &[u8]) -> bool {
    if content.is_empty() {
        return true;
    }
    if !content.ends_with(b"\r\n") || content.first() == Some(&b'.') || stray(false, content).bare {
        return false;
    }
    memchr::memmem::find(content, b"\r\n.").is_none() && has_short_lines(content)
}

/// Whether every line (they end in CRLF) is within the limit: the last LF of each 1,000 octets is looked for from behind.
fn has_short_lines(mut content: &[u8]) -> bool {
    while content.len() > LINE_LIMIT + 2 {
        let window = content.get(..LINE_LIMIT + 2).unwrap_or(content);
        let Some(at) = memchr::memrchr(b'\n', window) else {
            return false;
        };
        content = content.get(at + 1..).unwrap_or_default();
    }
    true
}

/// Encodes content for DATA, in pieces.
#[derive(Clone, Debug, Default)]
pub struct Encoder {
    /// Octets of the present line that were sent.
    column: usize,
    /// The last byte was a CR, held back until its successor is known.
    held: bool,
}

impl Encoder {
    /// At the start of the content.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Appends the wire form of `input` to `out`.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        if self.held && !input.is_empty() {
            self.held = false;
            if input.first() != Some(&b'\n') {
                self.octet(b' ', out);
            }
        }
        while let Some(rest) = input.get(at..).filter(|rest| !rest.is_empty()) {
            if self.column == 0 {
                let clean = clean_lines(rest);
                out.extend_from_slice(rest.get(..clean).unwrap_or_default());
                at += clean;
                if clean == rest.len() {
                    break;
                }
            }
            at += self.line(input.get(at..).unwrap_or_default(), out);
        }
    }
    /// One line, or what there is of it, with everything put right; returns what was used.
    fn line(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let end = memchr::memchr(b'\n', rest);
        let line = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        let (text, cr) = match line.strip_suffix(b"\r") {
            Some(text) => (text, true),
            None => (line, false),
        };
        for (n, part) in text.split(|&b| b == b'\r').enumerate() {
            if n > 0 {
                self.octet(b' ', out);
            }
            self.text(part, out);
        }
        if end.is_none() {
            self.held = cr;
            return rest.len();
        }
        out.extend_from_slice(b"\r\n");
        self.column = 0;
        line.len() + 1
    }
    /// Text without line ends, broken where the limit asks for it.
    fn text(&mut self, mut text: &[u8], out: &mut Vec<u8>) {
        while let Some(&first) = text.first() {
            if self.column == 0 && first == b'.' {
                out.push(b'.');
            }
            // A character that began is finished: at most 3 octets follow its first, which left room for them.
            let room = LINE_LIMIT.saturating_sub(self.column);
            let fits = whole_characters(text, room);
            if fits == 0 {
                out.extend_from_slice(b"\r\n ");
                self.column = 1;
                continue;
            }
            let (now, later) = text.split_at_checked(fits).unwrap_or((text, &[]));
            out.extend_from_slice(now);
            self.column += fits;
            text = later;
        }
    }
    fn octet(&mut self, octet: u8, out: &mut Vec<u8>) {
        self.text(&[octet], out);
    }
    /// The content is over: ends the last line and the data.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.held {
            self.held = false;
            self.octet(b' ', out);
        }
        if self.column > 0 {
            out.extend_from_slice(b"\r\n");
        }
        self.column = 0;
        out.extend_from_slice(b".\r\n");
    }
}

/// How many octets of `rest`, which begins a line, are whole lines that need no change.
fn clean_lines(rest: &[u8]) -> usize {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', rest) {
        let line = rest.get(start..end).unwrap_or_default();
        let Some(text) = line.strip_suffix(b"\r") else { break };
        if text.len() > LINE_LIMIT || text.first() == Some(&b'.') || memchr::memchr(b'\r', text).is_some() {
            break;
        }
        start = end + 1;
    }
    start
}

/// How many octets of `text` go on a line with `room` left, without cutting a UTF-8 character in two. 0: break first.
fn whole_characters(text: &[u8], room: usize) -> usize {
    if text.len() + 3 <= room {
        return text.len();
    }
    let take = text.len().min(room);
    // The first of the last octets that begins a character with no room for all of it. Decided by that octet alone, so
    // that the result does not depend on where packets end.
    for at in take.saturating_sub(3)..take {
        let needs = match text.get(at) {
            Some(0xf0..) => 4,
            Some(0xe0..) => 3,
            Some(0xc0..) => 2,
            _ => 1,
        };
        if at + needs > room {
            return at;
        }
    }
    take
}
