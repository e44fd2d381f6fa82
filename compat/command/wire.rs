//! The client's side of a `-bs` session: command lines and message data from a pipe. Replies go out before we wait for more,
//! so a pipelining client gets them together.
//!
//! Scripts (`printf 'MAIL…\n' | sendmail -bs`) end lines in LF. If the very first line does, all lines of the session do;
//! otherwise only CRLF ends a line, for a program may pass on a stranger's text (SMTP smuggling, CVE-2023-51765).

use crate::output::Output;
use mail::content::DataDecoder;
use std::io::{self, Read};

/// Bytes read at once.
const BUFFER: usize = 1 << 16;
/// Longest command line.
const LINE: usize = 8_192;

/// One command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Without its end.
    Whole(Vec<u8>),
    /// Longer than the limit; it was skipped.
    TooLong,
    /// The client is gone.
    End,
}

/// Input with what was read ahead.
pub struct Wire<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Whether LF alone ends lines; unknown before the first.
    plain_lf: Option<bool>,
}

impl<R: Read> Wire<R> {
    /// Over a reader.
    pub fn new(source: R) -> Self {
        Self { source, buffer: vec![0; BUFFER].into_boxed_slice(), start: 0, end: 0, plain_lf: None }
    }

    /// The next command line.
    ///
    /// # Errors
    /// The reader's.
    pub fn line(&mut self, output: &mut Output) -> io::Result<Line> {
        let mut line = Vec::new();
        loop {
            let piece = self.fill(output)?;
            if piece.is_empty() {
                return Ok(if line.is_empty() { Line::End } else { self.finished(line) });
            }
            let end = memchr::memchr(b'\n', piece).map(|at| at + 1);
            let taken = end.unwrap_or(piece.len());
            if line.len() <= LINE {
                line.extend_from_slice(piece.get(..taken).unwrap_or_default());
            }
            self.start += taken;
            if end.is_some() {
                return Ok(if line.len() > LINE { Line::TooLong } else { self.finished(line) });
            }
        }
    }

    /// Takes the end off. An LF that may not end a line stays, and the session refuses it as a control character.
    fn finished(&mut self, mut line: Vec<u8>) -> Line {
        let plain = *self.plain_lf.get_or_insert(!line.ends_with(b"\r\n"));
        if line.ends_with(b"\r\n") {
            line.truncate(line.len() - 2);
        } else if plain && line.ends_with(b"\n") {
            line.pop();
        }
        Line::Whole(line)
    }

    /// What is there, reading if that is nothing; empty at the end.
    fn fill(&mut self, output: &mut Output) -> io::Result<&[u8]> {
        if self.start == self.end {
            output.flush();
            self.start = 0;
            self.end = loop {
                match self.source.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
        }
        Ok(self.buffer.get(self.start..self.end).unwrap_or_default())
    }
}

/// The state of one message's data.
#[derive(Default)]
pub struct Data {
    decoder: DataDecoder,
    /// Decoded and not yet handed out.
    ready: Vec<u8>,
    taken: usize,
    after_cr: bool,
}

impl Data {
    /// Whether a CR or LF stood alone.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.decoder.bare()
    }
    /// Reads what is left up to the end of the data.
    ///
    /// # Errors
    /// The client is gone.
    pub fn skip<R: Read>(&mut self, wire: &mut Wire<R>, output: &mut Output) -> io::Result<()> {
        while self.more(wire, output)? {}
        Ok(())
    }
    /// Decodes some more; false at the end. Drops what was decoded before.
    fn more<R: Read>(&mut self, wire: &mut Wire<R>, output: &mut Output) -> io::Result<bool> {
        self.ready.clear();
        self.taken = 0;
        if self.decoder.done() {
            return Ok(false);
        }
        let plain = wire.plain_lf == Some(true);
        let piece = wire.fill(output)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let used = if plain {
            // A line at a time, so that what is used can be told in the client's bytes.
            let end = memchr::memchr(b'\n', piece).map_or(piece.len(), |at| at + 1);
            let line = piece.get(..end).unwrap_or_default();
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.decoder.feed(text, &mut self.ready);
            if text.len() < line.len() {
                let has_cr = text.last().map_or(self.after_cr, |&b| b == b'\r');
                self.decoder.feed(if has_cr { b"\n" } else { b"\r\n" }, &mut self.ready);
            }
            self.after_cr = line.last() == Some(&b'\r');
            end
        } else {
            self.decoder.feed(piece, &mut self.ready).0
        };
        wire.start += used;
        Ok(true)
    }
}

/// One message's data, decoded, as a reader that ends where they end.
pub struct DataReader<'a, R> {
    data: &'a mut Data,
    wire: &'a mut Wire<R>,
    output: &'a mut Output,
}

impl<'a, R: Read> DataReader<'a, R> {
    /// Over the wire, from the present position.
    pub fn new(data: &'a mut Data, wire: &'a mut Wire<R>, output: &'a mut Output) -> Self {
        Self { data, wire, output }
    }
}

impl<R: Read> Read for DataReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.data.taken == self.data.ready.len() {
            if !self.data.more(self.wire, self.output)? {
                return Ok(0);
            }
        }
        let rest = self.data.ready.get(self.data.taken..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        for (to, from) in buffer.iter_mut().zip(rest) {
            *to = *from;
        }
        self.data.taken += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output() -> Output {
        Output::to(Box::new(std::io::sink()))
    }

    fn data(wire: &mut Wire<&[u8]>) -> (String, bool) {
        let (mut data, mut output) = (Data::default(), output());
        let mut text = String::new();
        DataReader::new(&mut data, wire, &mut output).read_to_string(&mut text).unwrap();
        (text, data.is_bare())
    }

    #[test]
    fn the_first_line_decides_what_ends_lines() {
        let mut wire = Wire::new(&b"DATA\na\n..b\n.\nQUIT\n"[..]);
        assert_eq!(wire.line(&mut output()).unwrap(), Line::Whole(b"DATA".to_vec()));
        assert_eq!(data(&mut wire), ("a\r\n.b\r\n".into(), false));
        assert_eq!(wire.line(&mut output()).unwrap(), Line::Whole(b"QUIT".to_vec()));
        assert_eq!(wire.line(&mut output()).unwrap(), Line::End);

        let mut wire = Wire::new(&b"DATA\r\na\n.\nMAIL\r\n.\r\nQUIT\nX\r\n"[..]);
        assert_eq!(wire.line(&mut output()).unwrap(), Line::Whole(b"DATA".to_vec()));
        assert_eq!(data(&mut wire), ("a\n.\nMAIL\r\n".into(), true));
        assert_eq!(wire.line(&mut output()).unwrap(), Line::Whole(b"QUIT\n".to_vec()));
    }

    #[test]
    fn long_lines_are_skipped() {
        let mut text = vec![b'x'; LINE * 3];
        text.extend_from_slice(b"\r\nNOOP\r\n");
        let mut wire = Wire::new(text.as_slice());
        assert_eq!(wire.line(&mut output()).unwrap(), Line::TooLong);
        assert_eq!(wire.line(&mut output()).unwrap(), Line::Whole(b"NOOP".to_vec()));
    }

    #[test]
    fn data_without_an_end_are_an_error() {
        let mut wire = Wire::new(&b"DATA\r\nabc\r\n"[..]);
        wire.line(&mut output()).unwrap();
        let (mut data, mut output) = (Data::default(), output());
        assert!(data.skip(&mut wire, &mut output).is_err());
    }
}
