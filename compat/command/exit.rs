//! Exit codes of `sysexits.h`, as sendmail uses them (sendmail.md 1.6). Used by every file of this crate.

/// Accepted or queued.
pub const OK: u8 = 0;
/// Usage, or a syntax error in an address.
pub const USAGE: u8 = 64;
/// The message itself cannot be taken (NUL byte, header too large).
pub const DATA: u8 = 65;
/// A user is unknown, or may not be written to directly.
pub const NO_USER: u8 = 67;
/// A host name that is none.
pub const NO_HOST: u8 = 68;
/// Service unavailable; also too many recipients.
pub const UNAVAILABLE: u8 = 69;
/// Internal error.
pub const SOFTWARE: u8 = 70;
/// The system refused a call.
pub const OS_ERROR: u8 = 71;
/// A file cannot be opened for reading: the configuration.
pub const OS_FILE: u8 = 72;
/// A file cannot be made.
pub const CANNOT_CREATE: u8 = 73;
/// The message could not be read from standard input, or a listing not be written to standard output.
pub const IO: u8 = 74;
/// Nothing that could take the message was reached: try again.
pub const TEMPORARY: u8 = 75;
/// Not allowed.
pub const NOT_ALLOWED: u8 = 77;
/// The configuration.
pub const CONFIG: u8 = 78;
