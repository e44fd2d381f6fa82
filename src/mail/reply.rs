//! SMTP replies of the server side (RFC 5321 4.2, RFC 2034). `server/` and `receive` make them; `receive` sends
//! [`Reply::to_wire`].
//!
//! A reply never carries a control character from outside: that would split it into two (S-28; sendmail echoes a raw CR).

use crate::Status;
use std::fmt;

/// Longest reply line in octets, CRLF included (RFC 5321 4.5.3.1.5).
const LINE: usize = 512;

/// One reply, perhaps of several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Enhanced status; none on greeting, HELO, EHLO and 3xx (RFC 2034 4).
    pub status: Option<Status>,
    /// Text of each line, without code and status. Cleaned only by [`Reply::to_wire`] and `Display`.
    pub lines: Vec<String>,
}

impl Reply {
    /// A reply of one line.
    #[must_use]
    pub fn new(code: u16, status: Option<Status>, text: impl Into<String>) -> Self {
        Self { code, status, lines: vec![text.into()] }
    }
    /// A reply without enhanced status: greeting, HELO, EHLO, 354.
    #[must_use]
    pub fn bare(code: u16, text: impl Into<String>) -> Self {
        Self::new(code, None, text)
    }
    /// `code 2.subject.detail text`
    #[must_use]
    pub fn success(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        Self::new(code, Some(Status::success(subject, detail)), text)
    }
    /// `code 4.subject.detail text`
    #[must_use]
    pub fn temporary(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        Self::new(code, Some(Status::temporary(subject, detail)), text)
    }
    /// `code 5.subject.detail text`
    #[must_use]
    pub fn permanent(code: u16, subject: u16, detail: u16, text: impl Into<String>) -> Self {
        Self::new(code, Some(Status::permanent(subject, detail)), text)
    }
    /// Whether the code is 2xx or 3xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        self.code < 400
    }
    /// Whether the code is 4xx.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        self.code >= 400 && self.code < 500
    }
    /// Whether the code is 5xx.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.code >= 500
    }
    /// The bytes to send, each line at most 512 octets, ending in CRLF.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = Vec::with_capacity(64 * self.lines.len().max(1));
        let last = self.lines.len().saturating_sub(1);
        for (n, text) in self.lines.iter().enumerate() {
            self.line(text, if n == last { ' ' } else { '-' }, &mut wire);
        }
        if self.lines.is_empty() {
            self.line("", ' ', &mut wire);
        }
        wire
    }
    fn line(&self, text: &str, mark: char, wire: &mut Vec<u8>) {
        let mut line = format!("{:03}{mark}", self.code);
        if let Some(status) = self.status {
            line.push_str(&format!("{status} "));
        }
        line.extend(clean(text));
        line.truncate(line.floor_char_boundary(LINE - 2));
        wire.extend_from_slice(line.as_bytes());
        wire.extend_from_slice(b"\r\n");
    }
}

/// `text` with `?` in place of everything that may not stand in a line.
fn clean(text: &str) -> impl Iterator<Item = char> + '_ {
    text.chars().map(|c| if crate::grammar::is_forbidden(c) { '?' } else { c })
}

impl fmt::Display for Reply {
    /// `550 5.1.1 <a@b>... User unknown`; further lines follow after ` / `.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(status) = self.status {
            write!(f, " {status}")?;
        }
        for (n, line) in self.lines.iter().enumerate() {
            f.write_str(if n == 0 { " " } else { " / " })?;
            clean(line).try_for_each(|c| fmt::Write::write_char(f, c))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_the_wire() {
        let reply = Reply::permanent(550, 1, 1, "<bob@x>... User unknown");
        assert_eq!(reply.to_wire(), b"550 5.1.1 <bob@x>... User unknown\r\n");
        assert!(reply.is_permanent() && !reply.is_temporary() && !reply.is_success());
        let mut ehlo = Reply::bare(250, "mx.example");
        ehlo.lines.push("SIZE 5".into());
        assert_eq!(ehlo.to_wire(), b"250-mx.example\r\n250 SIZE 5\r\n");
        assert_eq!(ehlo.to_string(), "250 mx.example / SIZE 5");
        let mut many = Reply::success(250, 1, 5, "a");
        many.lines.push("b".into());
        assert_eq!(many.to_wire(), b"250-2.1.5 a\r\n250 2.1.5 b\r\n");
    }

    #[test]
    fn cannot_be_split_and_is_never_too_long() {
        let reply = Reply::permanent(500, 5, 1, "a\r\n250 ok\0\u{85}\x1b");
        assert_eq!(reply.to_wire(), b"500 5.5.1 a??250 ok???\r\n");
        let wire = Reply::permanent(500, 5, 1, "é".repeat(400)).to_wire();
        assert!(wire.len() <= 512 && wire.ends_with(b"\r\n") && std::str::from_utf8(&wire).is_ok());
        let empty = Reply { lines: vec![], ..reply };
        assert_eq!(empty.to_wire(), b"500 5.5.1 \r\n");
    }
}
