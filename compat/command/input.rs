//! Standard input as a message: pieces of lines, ended by a lone dot unless `-i` was given (sendmail.md 1.8, invocations.md).
//! Never holds more than one buffer. Used by `heading` for the header and by `deliver` for the body.

use rustix::event::{PollFd, PollFlags, poll};
use std::io::{self, Read};
use std::os::fd::AsFd;

/// Bytes read at once.
const BUFFER: usize = 1 << 16;

/// Why a message cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system call failed.
    #[error("cannot read the message: {0}")]
    Io(#[from] io::Error),
    /// A NUL byte. The original bounces to the sender and exits 0; refusing while the caller listens is safer.
    #[error("NUL byte not allowed")]
    Nul,
}

/// A source that whoever started us has set to non-blocking: there is more to come all the same.
pub struct Patient<R>(pub R);

impl<R: Read + AsFd> Read for Patient<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wanted = [PollFd::new(&self.0, PollFlags::IN)];
                    match poll(&mut wanted, None) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                done => return done,
            }
        }
    }
}

/// Option SevenBitInput: takes the eighth bit off every byte.
pub struct SevenBit<R>(pub R);

impl<R: Read> Read for SevenBit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        buffer.iter_mut().take(count).for_each(|byte| *byte &= 0x7f);
        Ok(count)
    }
}

/// The message as it comes in.
pub struct Input<R> {
    source: R,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// A lone dot ends the message.
    dots: bool,
    line_start: bool,
    finished: bool,
    cut: bool,
}

impl<R: Read> Input<R> {
    /// From a reader; `ignore_dots` is `-i`.
    pub fn new(source: R, ignore_dots: bool) -> Self {
        Self {
            source,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            dots: !ignore_dots,
            line_start: true,
            finished: false,
            cut: false,
        }
    }

    /// Whether a lone dot ended the message and more was there behind it, which is lost. Only what has been read counts: a
    /// caller at a terminal waits for us to end.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next bytes: the rest of a line with its LF, or as much of a line as there is; `None` at the end.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn piece(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.finished || !self.fill(1)? {
            return Ok(None);
        }
        if self.line_start && self.dots && self.buffer.get(self.start) == Some(&b'.') && self.dot()? {
            self.finished = true;
            return Ok(None);
        }
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        self.take(length)
    }

    /// Like [`Input::piece`], but as many lines at once as are there: for the body when dots do not matter.
    ///
    /// # Errors
    /// As [`Error`].
    pub fn bulk(&mut self) -> Result<Option<&[u8]>, Error> {
        if self.dots {
            return self.piece();
        }
        if !self.fill(1)? {
            return Ok(None);
        }
        self.take(self.end - self.start)
    }

    fn take(&mut self, length: usize) -> Result<Option<&[u8]>, Error> {
        let piece = self.buffer.get(self.start..self.start + length).unwrap_or_default();
        self.start += length;
        self.line_start = piece.last() == Some(&b'\n');
        if memchr::memchr(0, piece).is_some() {
            return Err(Error::Nul);
        }
        Ok(Some(piece))
    }

    /// A line begins with a dot: true if that ends the message. One of two leading dots is taken off, as 8.17 does.
    fn dot(&mut self) -> Result<bool, Error> {
        self.fill(3)?;
        let rest = self.buffer.get(self.start..self.end).unwrap_or_default();
        if matches!(rest, b"." | b".\r" | [b'.', b'\n', ..] | [b'.', b'\r', b'\n', ..]) {
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            self.cut = rest.len() > line;
            return Ok(true);
        }
        if rest.starts_with(b"..") {
            self.start += 1;
        }
        self.line_start = false;
        Ok(false)
    }

    /// Makes at least `wanted` bytes available; whether any are.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.end - self.start < wanted {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            let space = self.buffer.get_mut(self.end..).unwrap_or_default();
            match self.source.read(space) {
                Ok(0) => break,
                Ok(n) => self.end += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end > self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_does_not_block_is_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        rustix::fs::fcntl_setfl(&reader, rustix::fs::OFlags::NONBLOCK).unwrap();
        assert_eq!((&reader).read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let late = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            io::Write::write_all(&mut writer, b"hi").unwrap();
        });
        let mut text = String::new();
        Patient(reader).read_to_string(&mut text).unwrap();
        late.join().unwrap();
        assert_eq!(text, "hi");
    }

    /// Gives one byte at a time, the worst a pipe can do.
    struct Drip<'a>(&'a [u8]);
    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all<R: Read>(source: R, ignore_dots: bool) -> Result<Vec<u8>, Error> {
        let mut input = Input::new(source, ignore_dots);
        let mut out = Vec::new();
        while let Some(piece) = input.bulk()? {
            out.extend_from_slice(piece);
        }
        assert!(input.bulk()?.is_none(), "the end stays the end");
        Ok(out)
    }

    #[test]
    fn a_lone_dot_ends_the_message_without_i() {
        for (given, with_dots, without) in [
            ("a\n.\nb\n", "a\n", "a\n.\nb\n"),
            ("a\r\n.\r\nb\n", "a\r\n", "a\r\n.\r\nb\n"),
            ("..\n...x\n.y\n", ".\n..x\n.y\n", "..\n...x\n.y\n"),
            (".", "", "."),
            ("a.\n.b", "a.\n.b", "a.\n.b"),
            (".\rx\n", ".\rx\n", ".\rx\n"),
        ] {
            assert_eq!(all(given.as_bytes(), false).unwrap(), with_dots.as_bytes(), "{given:?}");
            assert_eq!(all(Drip(given.as_bytes()), false).unwrap(), with_dots.as_bytes(), "{given:?}");
            assert_eq!(all(given.as_bytes(), true).unwrap(), without.as_bytes(), "{given:?}");
            assert_eq!(all(Drip(given.as_bytes()), true).unwrap(), without.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn dots_are_found_at_the_edge_of_the_buffer() {
        for shift in 0..6 {
            let mut given = vec![b'x'; BUFFER - shift];
            given.extend_from_slice(b"\n.\nlost\n");
            let kept = all(given.as_slice(), false).unwrap();
            assert_eq!(kept.len(), BUFFER - shift + 1, "{shift}");
        }
    }

    #[test]
    fn what_a_lone_dot_cuts_off_is_noticed() {
        for (given, ignore, cut) in [
            ("a\n.\nb\n", false, true),
            ("a\r\n.\r\nb\n", false, true),
            ("a\n.\n", false, false),
            ("a\n.", false, false),
            ("a\n.\nb\n", true, false),
        ] {
            let mut input = Input::new(given.as_bytes(), ignore);
            while input.bulk().unwrap().is_some() {}
            assert_eq!(input.is_cut(), cut, "{given:?}");
        }
    }

    #[test]
    fn nul_is_refused() {
        assert!(matches!(all(&b"a\n\0\n"[..], true), Err(Error::Nul)));
        assert!(all(&b"a\n.\n\0\n"[..], false).is_ok(), "what follows the end is not looked at");
    }

    #[test]
    fn the_eighth_bit_goes() {
        let mut text = String::new();
        SevenBit(&b"gr\xfc\xdfe\n"[..]).read_to_string(&mut text).unwrap();
        assert_eq!(text, "gr|_e\n");
    }
}
