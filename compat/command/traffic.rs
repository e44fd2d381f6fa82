//! `-X`: what is read and what is said, appended to a file: `00123 <<< text`, `00123 >>> text` with the number of the process (sendmail.md 1.3, and
//! seen on the real program). For debugging. Called by `run`, which wraps standard input and output in it.

use crate::command_line::Stop;
use crate::exit;
use crate::output::without_number;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::rc::Rc;

/// Longest part of a line kept in memory.
const LINE: usize = 1 << 16;

/// The open file.
#[derive(Clone, Debug)]
pub struct Traffic(Rc<File>);

impl Traffic {
    /// Opens the file.
    ///
    /// # Errors
    /// sendmail's text, exit 73.
    pub fn open(path: &Path) -> Result<Self, Stop> {
        File::options().append(true).create(true).open(path).map(|file| Self(Rc::new(file))).map_err(|error| {
            let why = without_number(&error.to_string());
            Stop::Refused(exit::CANNOT_CREATE, format!("cannot open {}: {why}", path.display()))
        })
    }
    /// Logs what is read from a source.
    pub fn reading<R: Read>(&self, source: R) -> Reading<R> {
        Reading { source, lines: self.lines("<<<") }
    }
    /// Logs what is written to a sink.
    pub fn writing<W: Write>(&self, sink: W) -> Writing<W> {
        Writing { sink, lines: self.lines(">>>") }
    }
    fn lines(&self, arrow: &'static str) -> Lines {
        Lines { file: Rc::clone(&self.0), arrow, line: Vec::new() }
    }
}

/// Cuts what passes into lines.
struct Lines {
    file: Rc<File>,
    arrow: &'static str,
    line: Vec<u8>,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() > LINE {
                self.flush();
            }
        }
    }
    /// A log that cannot be written must not keep a message.
    fn flush(&mut self) {
        let text = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let mut entry = format!("{:05} {} ", std::process::id(), self.arrow).into_bytes();
        entry.extend_from_slice(text);
        entry.push(b'\n');
        let _unlogged = (&*self.file).write_all(&entry);
        self.line.clear();
    }
    fn end(&mut self) {
        if !self.line.is_empty() {
            self.flush();
        }
    }
}

/// A source whose bytes are logged.
pub struct Reading<R> {
    source: R,
    lines: Lines,
}

impl<R: Read> Read for Reading<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.lines.feed(buffer.get(..count).unwrap_or_default());
        if count == 0 && !buffer.is_empty() {
            self.lines.end();
            self.lines.feed(b"[EOF]\n");
        }
        Ok(count)
    }
}

/// A sink whose bytes are logged.
pub struct Writing<W> {
    sink: W,
    lines: Lines,
}

impl<W: Write> Write for Writing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.sink.write(bytes)?;
        self.lines.feed(bytes.get(..count).unwrap_or_default());
        Ok(count)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_directions_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let traffic = Traffic::open(&path).unwrap();
        let mut said = traffic.writing(Vec::new());
        let mut reading = traffic.reading(&b"EHLO a\r\nlast"[..]);
        said.write_all(b"220 mx").unwrap();
        said.write_all(b" ready\r\n").unwrap();
        let mut read = String::new();
        reading.read_to_string(&mut read).unwrap();
        assert_eq!((read.as_str(), said.sink.as_slice()), ("EHLO a\r\nlast", &b"220 mx ready\r\n"[..]));
        let pid = format!("{:05}", std::process::id());
        let expected = format!("{pid} >>> 220 mx ready\n{pid} <<< EHLO a\n{pid} <<< last\n{pid} <<< [EOF]\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        let refused = Traffic::open(Path::new("/nonexistent/x")).unwrap_err();
        assert_eq!(refused, Stop::Refused(73, "cannot open /nonexistent/x: No such file or directory".into()));
    }
}
