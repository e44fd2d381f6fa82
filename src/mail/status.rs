//! Enhanced status codes (RFC 3463): what happened, as a value. Temporary and permanent are a type,
//! so nobody ever searches a text for them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The first digit of a status code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// `2`: done.
    Success,
    /// `4`: may succeed later; the message stays.
    Temporary,
    /// `5`: will not succeed; the sender is told.
    Permanent,
}

/// An enhanced status code such as `5.1.1` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Status {
    /// Class digit.
    pub severity: Severity,
    /// Second number: the part of the system (0 to 999).
    pub subject: u16,
    /// Third number: the detail (0 to 999).
    pub detail: u16,
}

impl Status {
    /// `2.x.y`
    #[must_use]
    pub const fn success(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Success, subject, detail }
    }
    /// `4.x.y`
    #[must_use]
    pub const fn temporary(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Temporary, subject, detail }
    }
    /// `5.x.y`
    #[must_use]
    pub const fn permanent(subject: u16, detail: u16) -> Self {
        Self { severity: Severity::Permanent, subject, detail }
    }
    /// Whether the class is 4.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self.severity, Severity::Temporary)
    }
    /// Whether the class is 5.
    #[must_use]
    pub const fn is_permanent(self) -> bool {
        matches!(self.severity, Severity::Permanent)
    }
    /// Reads `5.1.1` at the start of `text`; the rest follows the code and one space, if any.
    #[must_use]
    pub fn split(text: &str) -> Option<(Self, &str)> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let mut numbers = code.split('.');
        let severity = match numbers.next()? {
            "2" => Severity::Success,
            "4" => Severity::Temporary,
            "5" => Severity::Permanent,
            _ => return None,
        };
        let mut number = || {
            let digits = numbers.next()?;
            let plain = (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            plain.then(|| digits.parse::<u16>().ok()).flatten()
        };
        let (subject, detail) = (number()?, number()?);
        numbers.next().is_none().then_some((Self { severity, subject, detail }, rest))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = match self.severity {
            Severity::Success => 2,
            Severity::Temporary => 4,
            Severity::Permanent => 5,
        };
        write!(f, "{class}.{}.{}", self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes_and_refuses_the_rest() {
        let (status, rest) = Status::split("5.1.1 no such user").unwrap();
        assert_eq!((status, rest), (Status::permanent(1, 1), "no such user"));
        assert_eq!(status.to_string(), "5.1.1");
        for bad in ["", "3.1.1 x", "5.1 x", "5.1.1.1 x", "5.1111.1", "5.+1.1", "hello"] {
            assert!(Status::split(bad).is_none(), "{bad}");
        }
    }
}
