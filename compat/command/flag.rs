//! sendmail's flags and modes as data: one entry each (sendmail.md 1.2, 1.3; DESIGN §8). The parser, the man page and
//! MIGRATION's table read it. What an entry does stands in `command_line`; a later issue only changes classes there.

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// None.
    None,
    /// Attached to the flag, or absent: `-q30m`, `-q` (sendmail's `obsolete()` rewrites the bare ones before getopt).
    Attached,
    /// Attached, or the next argument.
    Value,
}

/// What becomes of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Does what sendmail's does.
    Done,
    /// Accepted without effect, for the given reason.
    Ignored(&'static str),
    /// Not built yet: exit 70, nothing sent. Never for something that could be ignored.
    NotBuilt,
    /// Done for some values and not built for others; `command_line` decides.
    Partly,
    /// Refused as sendmail refuses it: exit 64 with this text.
    Refused(&'static str),
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The letter.
    pub letter: char,
    /// How it takes its value.
    pub arity: Arity,
    /// What becomes of it.
    pub class: Class,
    /// Name of the value in the man page.
    pub value: &'static str,
    /// One line for the man page.
    pub man: &'static str,
}

/// One mode, `-bX`.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// The letter after `-b`.
    pub letter: char,
    /// What becomes of it.
    pub class: Class,
    /// One line for the man page.
    pub man: &'static str,
}

const fn flag(letter: char, arity: Arity, class: Class, value: &'static str, man: &'static str) -> Flag {
    Flag { letter, arity, class, value, man }
}

const fn mode(letter: char, class: Class, man: &'static str) -> Mode {
    Mode { letter, class, man }
}

use Arity::{Attached, None as Bare, Value};
use Class::{Done, Ignored, NotBuilt, Partly, Refused};

/// Every flag of sendmail 8.18, with those of other builds that scripts still pass (`-x`, `-E`, `-J`).
#[rustfmt::skip] // one entry, one line
pub const FLAGS: &[Flag] = &[
    flag('A', Value, Ignored("there is one configuration and one queue for submission and daemon"), "c|m", "Configuration to use; with -Ac a queue runner has nothing to do"),
    flag('B', Value, Done, "type", "Body type, 7BIT or 8BITMIME"),
    flag('b', Value, Done, "mode", "Mode of operation"),
    flag('C', Attached, NotBuilt, "file", "Use another configuration file"),
    flag('c', Bare, Ignored("no mailer is expensive"), "", "Hold mail for expensive mailers (obsolete)"),
    flag('D', Value, NotBuilt, "file", "Write debug output to a file"),
    flag('d', Attached, Ignored("debug output changes nothing about a message"), "levels", "Debug levels"),
    flag('E', Value, Ignored("Japanese code conversion of one old system"), "code", "Code conversion on Sony NEWS"),
    flag('e', Value, Done, "mode", "Error mode, as -oe"),
    flag('F', Value, Done, "name", "Full name of the sender"),
    flag('f', Value, Done, "address", "Envelope sender; empty or <> is the null sender"),
    flag('G', Bare, Ignored("addresses with a domain are not rewritten here in any case"), "", "Relayed (gateway) submission"),
    flag('h', Value, Done, "count", "Hops so far"),
    flag('I', Bare, Done, "", "As -bi (obsolete)"),
    flag('i', Bare, Done, "", "A line with a lone dot does not end the message"),
    flag('J', Value, Ignored("Japanese code conversion of one old system"), "code", "Code conversion on Sony NEWS"),
    flag('L', Value, Ignored("only names the log's tag; the engine logs"), "tag", "Syslog tag"),
    flag('M', Value, Partly, "macro", "Set a macro; -Mr and -Ms are ignored as -p is"),
    flag('m', Bare, Ignored("the sender is always kept in lists that contain him"), "", "Send to me too (obsolete)"),
    flag('N', Value, Done, "list", "When to notify: never, or a list of success, failure, delay"),
    flag('n', Bare, Ignored("the receiving server aliases in any case, as sendmail's does behind its submission program"), "", "No aliasing"),
    flag('O', Value, Partly, "name=value", "Set an option by name"),
    flag('o', Value, Partly, "Xvalue", "Set an option by letter"),
    flag('p', Value, Ignored("only names the protocol in Received; the kernel tells who submits"), "protocol[:host]", "Receiving protocol and host"),
    flag('Q', Attached, Done, "reason", "Quarantine (with a reason) or release what -q selects"),
    flag('q', Attached, Partly, "interval|selector", "Run the queue"),
    flag('R', Value, Done, "full|hdrs", "What a bounce returns"),
    flag('r', Value, Done, "address", "As -f (obsolete)"),
    flag('s', Bare, Done, "", "Keep a leading From_ line (obsolete)"),
    flag('T', Attached, NotBuilt, "time", "Queue timeout"),
    flag('t', Bare, Done, "", "Take recipients from To, Cc and Bcc"),
    flag('U', Bare, Ignored("every call is an initial submission"), "", "Initial user submission (obsolete)"),
    flag('V', Value, Done, "envid", "Envelope id for notifications, in xtext"),
    flag('v', Bare, Done, "", "Say what happens to each recipient"),
    flag('X', Value, NotBuilt, "file", "Log the SMTP traffic to a file"),
    flag('x', Bare, Ignored("AIX and OSF mailx pass it; it never did anything on Linux"), "", "Ignored"),
];

/// Every mode of sendmail 8.18.
#[rustfmt::skip] // one entry, one line
pub const MODES: &[Mode] = &[
    mode('a', Done, "As -bm (ARPANET mode, obsolete)"),
    mode('C', NotBuilt, "Check the configuration"),
    mode('D', Done, "Run the server in the foreground"),
    mode('d', Done, "Run the server in the background"),
    mode('H', NotBuilt, "Purge the host status"),
    mode('h', NotBuilt, "Print the host status"),
    mode('i', Done, "Rebuild the alias database"),
    mode('m', Done, "Deliver a message (default)"),
    mode('O', NotBuilt, "Print the names of all options"),
    mode('P', NotBuilt, "Print the number of queue entries"),
    mode('p', Done, "Print the queue"),
    mode('s', Done, "Speak SMTP on standard input and output"),
    mode('t', NotBuilt, "Address test mode"),
    mode('v', Done, "Verify addresses"),
    mode('z', Refused("Frozen configurations unsupported"), "Freeze the configuration (refused)"),
];

/// The entry of a flag.
#[must_use]
pub fn find(letter: char) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.letter == letter)
}

/// The entry of a mode.
#[must_use]
pub fn find_mode(letter: char) -> Option<&'static Mode> {
    MODES.iter().find(|mode| mode.letter == letter)
}
