//! Replies of a server we talk to (RFC 5321 4.2). It may be hostile: lines and their number are limited, and control
//! characters never get further than here (S-67; CVE-2020-8794 was a reply that wrote queue files).

use crate::Status;
use crate::status::Severity;
use nom::bytes::streaming::{tag, take_while, take_while_m_n};
use nom::character::streaming::one_of;
use nom::combinator::{opt, peek};
use nom::{IResult, Parser};
use std::fmt;
use thiserror::Error;

/// Longest line taken, in octets with its end. RFC 5321 says 512, some servers do more.
const LINE_LIMIT: usize = 2_048;
/// How much of a line is kept, in octets.
const KEPT: usize = 512;
/// Most lines of one reply.
const LINES: usize = 100;

/// Why what came is no reply. The server's fault; drop the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// Not three digits from 200 to 599 and then a blank, `-` or the end.
    #[error("not an SMTP reply")]
    Syntax,
    /// A line over 2,048 octets.
    #[error("reply line too long")]
    LineTooLong,
    /// Over 100 lines.
    #[error("too many reply lines")]
    TooManyLines,
    /// The lines have different codes.
    #[error("reply codes differ between lines")]
    CodeChanged,
}

/// A whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 200 to 599.
    pub code: u16,
    /// Enhanced status of the first line, if its class agrees with the code.
    pub status: Option<Status>,
    /// Text after the code of each line, enhanced status included, at most 512 octets, control characters as `?`.
    pub lines: Vec<String>,
}

impl Answer {
    /// 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.code / 100 == 2
    }
    /// 3xx: go on.
    #[must_use]
    pub const fn is_intermediate(&self) -> bool {
        self.code / 100 == 3
    }
    /// 4xx.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.code / 100 == 4
    }
    /// 5xx.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code / 100 == 5
    }
    /// The first line's text without the enhanced status: what the log shows after `Sent (`.
    #[must_use]
    pub fn text(&self) -> &str {
        let line = self.lines.first().map_or("", String::as_str);
        match (self.status, Status::split(line)) {
            (Some(_), Some((_, rest))) => rest.trim_start(),
            _ => line,
        }
    }
    /// The lines as they came, code in front: for transcripts.
    pub fn wire_lines(&self) -> impl Iterator<Item = String> + '_ {
        let last = self.lines.len().saturating_sub(1);
        self.lines
            .iter()
            .enumerate()
            .map(move |(n, line)| format!("{}{}{line}", self.code, if n == last { ' ' } else { '-' }))
    }
}

impl fmt::Display for Answer {
    /// `550 5.1.1 no such user here`: code and first line, for Diagnostic-Code and `reply=`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.lines.first().map_or("", String::as_str);
        write!(f, "{} {line}", self.code)
    }
}

/// Puts replies together from packets.
#[derive(Clone, Debug, Default)]
pub struct ReplyDecoder {
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    code: u16,
    lines: Vec<String>,
}

impl ReplyDecoder {
    /// Before the first reply.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
    /// Takes bytes up to the end of one reply; says how many were used. Call again with the rest: pipelined commands
    /// have several replies in a packet.
    ///
    /// # Errors
    /// If it is no reply or over the limits.
    pub fn feed(&mut self, input: &[u8]) -> Result<(usize, Option<Answer>), ReplyError> {
        let mut used = 0;
        while let Some(rest) = input.get(used..).filter(|rest| !rest.is_empty()) {
            let end = memchr::memchr(b'\n', rest);
            let take = end.map_or(rest.len(), |at| at + 1);
            if self.partial.len() + take > LINE_LIMIT {
                return Err(ReplyError::LineTooLong);
            }
            self.partial.extend_from_slice(rest.get(..take).unwrap_or(rest));
            used += take;
            if end.is_none() {
                // Nonsense is known as such before its line ends: a server of another protocol may never send one.
                if let Err(nom::Err::Error(_) | nom::Err::Failure(_)) = line(&self.partial) {
                    return Err(ReplyError::Syntax);
                }
                break;
            }
            if let Some(answer) = self.line_done()? {
                return Ok((used, Some(answer)));
            }
        }
        Ok((used, None))
    }
    fn line_done(&mut self) -> Result<Option<Answer>, ReplyError> {
        let bytes = std::mem::take(&mut self.partial);
        let (_, (code, more, text)) = line(&bytes).map_err(|_| ReplyError::Syntax)?;
        if !self.lines.is_empty() && code != self.code {
            return Err(ReplyError::CodeChanged);
        }
        if self.lines.len() >= LINES {
            return Err(ReplyError::TooManyLines);
        }
        self.code = code;
        self.lines.push(clean(text));
        Ok((!more).then(|| self.answer()))
    }
    fn answer(&mut self) -> Answer {
        let lines = std::mem::take(&mut self.lines);
        let status = lines.first().and_then(|line| Status::split(line)).map(|(status, _)| status);
        let class = match self.code / 100 {
            2 => Some(Severity::Success),
            4 => Some(Severity::Temporary),
            5 => Some(Severity::Permanent),
            _ => None,
        };
        Answer { code: self.code, status: status.filter(|status| Some(status.severity) == class), lines }
    }
    /// Whether a reply has begun and not ended: a connection that closes now broke off.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !(self.partial.is_empty() && self.lines.is_empty())
    }
}

/// Code, whether more lines follow, text.
fn line(input: &[u8]) -> IResult<&[u8], (u16, bool, &[u8])> {
    let (rest, (class, digits)) = (one_of("2345"), take_while_m_n(2, 2, |b: u8| b.is_ascii_digit())).parse(input)?;
    let code = digits.iter().fold(class.to_digit(10).unwrap_or(5) as u16, |n, d| n * 10 + u16::from(d - b'0'));
    // A code alone on its line is tolerated; anything else must be parted from it.
    let (rest, mark) = opt(one_of(" -")).parse(rest)?;
    if mark.is_none() {
        peek(one_of("\r\n")).parse(rest)?;
    }
    let (rest, text) = take_while(|b| b != b'\n').parse(rest)?;
    let (rest, _) = tag(&b"\n"[..]).parse(rest)?;
    Ok((rest, (code, mark == Some('-'), text.strip_suffix(b"\r").unwrap_or(text))))
}

fn clean(text: &[u8]) -> String {
    let kept = String::from_utf8_lossy(text.get(..KEPT).unwrap_or(text));
    let mut line: String = kept
        .chars()
        .map(|c| match c {
            '\t' => ' ',
            c if crate::grammar::is_forbidden(c) => '?',
            c => c,
        })
        .collect();
    line.truncate(line.floor_char_boundary(KEPT));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8], step: usize) -> Result<Vec<Answer>, ReplyError> {
        let (mut decoder, mut answers) = (ReplyDecoder::new(), Vec::new());
        for piece in input.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, answer) = decoder.feed(rest)?;
                answers.extend(answer);
                rest = &rest[used..];
            }
        }
        Ok(answers)
    }

    #[test]
    fn replies_in_packets_of_any_size() {
        let wire = b"250-mx Hello\r\n250-SIZE 5\r\n250 HELP\r\n550 5.1.1 <x>... User unknown\r\n354\r\n250 2.0.0\r\n";
        for step in [1, 2, 3, 10, 1_000] {
            let answers = read(wire, step).unwrap();
            assert_eq!(answers.len(), 4);
            assert_eq!(answers[0].lines, ["mx Hello", "SIZE 5", "HELP"]);
            assert_eq!(answers[0].wire_lines().collect::<Vec<_>>()[2], "250 HELP");
            assert_eq!(answers[1].status, Some(Status::permanent(1, 1)));
            assert_eq!(answers[1].text(), "<x>... User unknown");
            assert_eq!(answers[1].to_string(), "550 5.1.1 <x>... User unknown");
            assert!(answers[2].is_intermediate() && answers[2].lines == [""]);
            // An enhanced status without a text (CVE-2026-43964).
            assert_eq!((answers[3].status, answers[3].text()), (Some(Status::success(0, 0)), ""));
        }
    }

    #[test]
    fn hostile_replies_are_errors() {
        for (wire, why) in [
            (&b"hello\r\n"[..], ReplyError::Syntax),
            (b"25\r\n", ReplyError::Syntax),
            (b"2500 ok\r\n", ReplyError::Syntax),
            (b"150 ok\r\n", ReplyError::Syntax),
            (b"650 ok\r\n", ReplyError::Syntax),
            (b"\r\n", ReplyError::Syntax),
            (b"250-a\r\n251 b\r\n", ReplyError::CodeChanged),
            (b"HTTP/1.1 200 OK", ReplyError::Syntax),
        ] {
            for step in [1, 100] {
                assert_eq!(read(wire, step), Err(why), "{wire:?}");
            }
        }
        let many = b"250-x\r\n".repeat(101);
        assert_eq!(read(&many, 50), Err(ReplyError::TooManyLines));
        assert_eq!(read(&[b'2'; 3], 3), Err(ReplyError::Syntax).or(Ok(vec![])));
        let long = [b"250 ".to_vec(), vec![b'x'; 3_000]].concat();
        assert_eq!(read(&long, 100), Err(ReplyError::LineTooLong));
        let kept = read(&[b"250 ".to_vec(), vec![0xff; 1_000], b"\r\n".to_vec()].concat(), 9).unwrap();
        assert!(kept[0].lines[0].len() <= KEPT);
    }

    #[test]
    fn nothing_in_a_reply_can_break_a_line() {
        let answer = read(b"550 4.1.1 a\rb\0c\x1b[2J\td\n", 100).unwrap().remove(0);
        assert_eq!(answer.lines, ["4.1.1 a?b?c?[2J d"]);
        // The class does not agree with the code: the code decides.
        assert_eq!(answer.status, None);
    }
}
