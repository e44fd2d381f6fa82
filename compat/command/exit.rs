//! Exit codes of `sysexits.h`, as sendmail uses them (sendmail.md 1.6). Used by every file of this crate.

/// Accepted or queued.
pub const OK: u8 = 0;
/// Usage, or a syntax error in an address.
pub const USAGE: u8 = 64;
/// The message itself cannot be taken (NUL byte, header too large).
pub const DATA: u8 = 65;
/// Service unavailable; also too many recipients.
pub const UNAVAILABLE: u8 = 69;
/// Internal error; also a flag or mode that is not built yet.
pub const SOFTWARE: u8 = 70;
/// The system refused a call.
pub const OS_ERROR: u8 = 71;
/// The message could not be read from standard input, or a listing not be written to standard output.
pub const IO: u8 = 74;
/// Nothing that could take the message was reached: try again.
pub const TEMPORARY: u8 = 75;
/// Not allowed.
pub const NOT_ALLOWED: u8 = 77;
