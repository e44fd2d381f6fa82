//! Standard output that cannot hurt: sendmail's diagnostics go there (sendmail.md 1.1), callers close it, and a message must
//! not be lost because nobody reads what we say about it. So errors of writing are ignored, on purpose and only here; where what we say is
//! the whole work (`mailq`), [`Output::checked`] tells of the first one.

use crate::exit;
use std::io::{BufWriter, Write};

/// Buffered standard output. Flushed by [`Output::flush`] or when dropped.
pub struct Output {
    sink: BufWriter<Box<dyn Write>>,
    failed: Option<std::io::Error>,
}

impl Output {
    /// The process's standard output.
    #[must_use]
    pub fn standard() -> Self {
        Self::to(Box::new(std::io::stdout()))
    }
    /// Anything else: tests.
    #[must_use]
    pub fn to(sink: Box<dyn Write>) -> Self {
        Self { sink: BufWriter::with_capacity(1 << 16, sink), failed: None }
    }
    /// Prints one line.
    pub fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\n");
    }
    /// Prints text as it is.
    pub fn text(&mut self, text: &str) {
        let done = self.sink.write_all(text.as_bytes());
        self.keep(done);
    }
    /// Hands over what is buffered, so that the caller sees it before we wait for something.
    pub fn flush(&mut self) {
        let done = self.sink.flush();
        self.keep(done);
    }
    /// Hands over what is buffered; returns `code`, or that of a failure if anything could not be written. Whoever closed his end of a
    /// pipe has seen enough.
    pub fn checked(&mut self, code: u8) -> u8 {
        self.flush();
        match &self.failed {
            Some(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                complain(&format!("standard output: {}", without_number(&error.to_string())));
                exit::IO
            }
            _ => code,
        }
    }

    /// Whether something could not be written.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    fn keep(&mut self, done: std::io::Result<()>) {
        if let Err(error) = done {
            self.failed.get_or_insert(error);
        }
    }
}

/// A line on standard error, where getopt's complaints go (sendmail.md 1.1).
pub fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// An error's text without Rust's ` (os error 2)`.
#[must_use]
pub fn without_number(text: &str) -> String {
    text.split(" (os error ").next().unwrap_or(text).to_owned()
}

/// Untrusted text for a terminal: control characters become `?`, at most `limit` characters.
#[must_use]
pub fn plain(text: &str, limit: usize) -> String {
    let mut line = String::with_capacity(text.len().min(limit));
    push_plain(&mut line, text, limit);
    line
}

/// Adds what [`plain`] makes of a text.
pub fn push_plain(line: &mut String, text: &str, limit: usize) {
    if text.len() <= limit && text.bytes().all(|b| matches!(b, b' '..=b'~')) {
        line.push_str(text);
    } else {
        line.extend(text.chars().take(limit).map(|c| if c.is_control() { '?' } else { c }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_is_a_failure() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut output = Output::to(Box::new(full));
        output.line("1234567890ABCD*");
        assert_eq!(output.checked(0), 74);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut output = Output::to(Box::new(writer));
        output.line("1234567890ABCD*");
        assert_eq!(output.checked(0), 0);
    }
}
