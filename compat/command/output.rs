//! Standard output that cannot hurt: sendmail's diagnostics go there (sendmail.md 1.1), callers close it, and a message must
//! not be lost because nobody reads what we say about it. So errors of writing are ignored, on purpose and only here.

use std::io::{BufWriter, Write};

/// Buffered standard output. Flushed by [`Output::flush`] or when dropped.
pub struct Output {
    sink: BufWriter<Box<dyn Write>>,
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
        Self { sink: BufWriter::with_capacity(1 << 16, sink) }
    }
    /// Prints one line.
    pub fn line(&mut self, text: &str) {
        self.text(text);
        self.text("\n");
    }
    /// Prints text as it is.
    pub fn text(&mut self, text: &str) {
        let _ = self.sink.write_all(text.as_bytes());
    }
    /// Hands over what is buffered, so that the caller sees it before we wait for something.
    pub fn flush(&mut self) {
        let _ = self.sink.flush();
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
    text.chars().take(limit).map(|c| if c.is_control() { '?' } else { c }).collect()
}
