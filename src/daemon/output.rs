//! What commands print. Standard output can be full or closed, and `println!` would panic: everything goes through [`Output`], which
//! keeps the first error, and `finish`, which tells it and makes an exit code of it. Complaints go through [`complain!`], which cannot fail.

use crate::sysexits;
use std::fmt;
use std::io::{self, BufWriter, Write};

/// Buffered output that remembers what went wrong.
pub(crate) struct Output<W: Write = io::Stdout> {
    sink: BufWriter<W>,
    failed: Option<io::Error>,
}

impl Output {
    /// Standard output.
    pub(crate) fn standard() -> Self {
        Self::to(io::stdout())
    }
}

impl<W: Write> Output<W> {
    pub(crate) fn to(sink: W) -> Self {
        Self { sink: BufWriter::with_capacity(1 << 16, sink), failed: None }
    }

    /// Whether there is no point in going on.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Writes what is left; returns `code`, or `EX_IOERR` if anything could not be written. Whoever closed his end of a pipe has
    /// what he wanted: that is no error.
    pub(crate) fn finish(mut self, code: u8) -> u8 {
        let _kept = self.flush();
        match self.failed {
            Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                complain!("postrider: standard output: {error}");
                sysexits::IO
            }
            _ => code,
        }
    }

    fn keep<T: Default>(&mut self, done: io::Result<T>) -> io::Result<T> {
        done.map_err(|error| {
            let kind = error.kind();
            self.failed.get_or_insert(error);
            kind.into()
        })
    }
}

impl<W: Write> Write for Output<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let done = self.sink.write(bytes);
        self.keep(done)
    }
    fn flush(&mut self) -> io::Result<()> {
        let done = self.sink.flush();
        self.keep(done)
    }
}

/// Prints a text that is all there is to say; returns the exit code.
pub(crate) fn print(text: &str) -> u8 {
    let mut out = Output::standard();
    let _kept = out.write_all(text.as_bytes());
    out.finish(sysexits::OK)
}

/// Writes a line on standard error; that nobody listens is no reason to stop.
pub(crate) fn tell(text: fmt::Arguments<'_>) {
    let text = format!("{text}\n");
    let _nobody_listens = io::stderr().write_all(mail::log::without_numbers(&text).as_bytes());
}

/// `eprintln!` that does not panic.
macro_rules! complain {
    ($($text:tt)*) => { $crate::output::tell(format_args!($($text)*)) };
}
pub(crate) use complain;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn a_full_disk_is_told_and_a_closed_pipe_is_not() {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        // Noticed at the end, and in the middle.
        for text in ["short\n".to_owned(), "long\n".repeat(100_000)] {
            let mut out = Output::to(full());
            let written = out.write_all(text.as_bytes());
            assert_eq!(written.is_err(), out.has_failed());
            assert_eq!(out.finish(0), 74);
        }
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut out = Output::to(writer);
        out.write_all(b"text\n").unwrap();
        assert_eq!(out.finish(67), 67);
        let mut bytes = Vec::new();
        let mut out = Output::to(&mut bytes);
        out.write_all(b"text\n").unwrap();
        assert_eq!((out.finish(3), &bytes[..]), (3, &b"text\n"[..]));
    }
}
