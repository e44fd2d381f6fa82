//! sendmail's flags and modes as data: one entry each (sendmail.md 1.2, 1.3; DESIGN §8). The parser (`argument`), the manual page and
//! MIGRATION's table (`manual`) come from it. What an entry does stands in `command_line`.

/// How a flag takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// None.
    None,
    /// Attached to the flag, or absent: `-d0.1`, `-d`.
    Attached,
    /// Attached, or the next argument if that does not begin with a dash, or absent: `-q30m`, `-q 30m`, `-q` (sendmail.md 1.1).
    Optional,
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
    /// Refused as sendmail refuses it: exit 64 with this text.
    Refused(&'static str),
}

impl Class {
    /// In one word, for tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Ignored(_) => "ignored",
            Self::Refused(_) => "refused",
        }
    }
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
    /// What it does, for the man page.
    pub man: &'static str,
    /// The test that shows it (`command_line_tests`).
    pub test: &'static str,
}

/// One mode, `-bX`.
#[derive(Clone, Copy, Debug)]
pub struct Mode {
    /// The letter after `-b`.
    pub letter: char,
    /// What becomes of it.
    pub class: Class,
    /// What it does, for the man page.
    pub man: &'static str,
    /// The test that shows it (`command_line_tests`).
    pub test: &'static str,
}

/// One selector of a queue run, `-qX`: all of them are done.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// As it is written behind `-q`.
    pub form: &'static str,
    /// What it does, for the man page.
    pub man: &'static str,
    /// The test that shows it (`queue_run`).
    pub test: &'static str,
}

const fn flag(
    letter: char,
    arity: Arity,
    class: Class,
    value: &'static str,
    test: &'static str,
    man: &'static str,
) -> Flag {
    Flag { letter, arity, class, value, man, test }
}

const fn mode(letter: char, class: Class, test: &'static str, man: &'static str) -> Mode {
    Mode { letter, class, man, test }
}

const fn run(form: &'static str, test: &'static str, man: &'static str) -> Run {
    Run { form, man, test }
}

use Arity::{Attached, None as Bare, Optional, Value};
use Class::{Done, Ignored, Refused};

/// Every flag of sendmail 8.18, with those of other builds that scripts still pass (`-x`, `-E`, `-J`).
#[rustfmt::skip] // one entry, one line
pub const FLAGS: &[Flag] = &[
    flag('A', Value, Done, "c|m", "configuration_to_use", "Use the configuration of the submission program (c) or of the server (m). There is one configuration and one queue for both; with -Ac the queue is empty, a queue run has nothing to do, and the server does not start."),
    flag('B', Value, Done, "type", "body_type", "Body type of the message, 7BIT or 8BITMIME. Another one is reported, the message is sent all the same, and the exit status is 64."),
    flag('b', Value, Done, "mode", "mode_of_operation", "Mode of operation; see MODES."),
    flag('C', Optional, Done, "file", "configuration_file", "Use another configuration file (KDL) for the modes that read one. sendmail.cf and submit.cf in their usual places stand for the usual configuration; another file in sendmail's language is refused."),
    flag('c', Bare, Ignored("no mailer is expensive"), "", "ignored_flags", "Hold mail for expensive mailers (obsolete)."),
    flag('D', Value, Done, "file", "debug_file", "Append debug output to a file. Must come before -d."),
    flag('d', Attached, Done, "levels", "debug_levels", "Debug output: category 0 (-d0.1) prints the version, what was built in, and the names of this host. The other categories have nothing to print here and change nothing about a message."),
    flag('E', Attached, Ignored("Japanese code conversion of one old system"), "code", "ignored_flags", "Code conversion on Sony NEWS (obsolete)."),
    flag('e', Value, Done, "mode", "error_mode", "Error mode, as -oe: p prints errors and saves the message in dead.letter, q only sets the exit status, m and w mail them, e mails them and exits 0."),
    flag('F', Value, Done, "name", "full_name", "Full name of the sender, for a From field that has to be made."),
    flag('f', Value, Done, "address", "envelope_sender", "Envelope sender; empty or <> is the null sender."),
    flag('G', Bare, Ignored("addresses that have a domain are not rewritten here in any case"), "", "ignored_flags", "Relayed (gateway) submission, as by rmail."),
    flag('h', Value, Done, "count", "hop_count", "Number of hops so far. Otherwise the Received fields are counted."),
    flag('I', Bare, Done, "", "mode_of_operation", "As -bi (obsolete)."),
    flag('i', Bare, Done, "", "lone_dot", "A line with a lone dot does not end the message."),
    flag('J', Attached, Ignored("Japanese code conversion of one old system"), "code", "ignored_flags", "Code conversion on Sony NEWS (obsolete)."),
    flag('L', Value, Ignored("the server writes the log, under its own tag"), "tag", "ignored_flags", "Syslog tag."),
    flag('M', Value, Done, "macro", "macros", "Set a macro, -Mxvalue or -M{name}value: r and s are the protocol and the host of -p; the others are for rulesets, and there are none."),
    flag('m', Bare, Ignored("the sender is always kept in lists that contain him"), "", "ignored_flags", "Send to me, too (obsolete)."),
    flag('N', Value, Done, "list", "notifications", "When to notify the sender: never, or a list of success, failure and delay, separated by commas."),
    flag('n', Bare, Ignored("the receiving server expands aliases in any case, as sendmail's does behind its submission program"), "", "ignored_flags", "No aliasing."),
    flag('O', Value, Done, "name=value", "long_options", "Set an option by its name; see OPTIONS."),
    flag('o', Value, Done, "Xvalue", "letter_options", "Set an option by its letter; see OPTIONS."),
    flag('p', Value, Done, "protocol[:host]", "received_protocol", "Receiving protocol and host."),
    flag('Q', Optional, Done, "reason", "quarantine", "Quarantine the entries that -q selects, for the given reason, or release them from it without one. As root without a running server: in the queue itself, and nothing is tried."),
    flag('q', Optional, Done, "interval|selector", "queue_runs", "Run the queue; see QUEUE RUNS."),
    flag('R', Value, Done, "full|hdrs", "returned_part", "What a bounce returns: the full message or its header."),
    flag('r', Value, Done, "address", "envelope_sender", "As -f (obsolete)."),
    flag('s', Bare, Done, "", "from_line", "As -of (obsolete): keep a leading line From_."),
    flag('T', Attached, Ignored("the server's own times count, as they do behind sendmail's submission program"), "time", "queue_timeout", "Queue timeout (obsolete)."),
    flag('t', Bare, Done, "", "recipients_from_header", "Take recipients from the fields To, Cc and Bcc as well, and remove Bcc."),
    flag('U', Bare, Ignored("every call is an initial submission, and UTF-8 is noticed without it"), "", "ignored_flags", "Initial user submission (obsolete), or a message that needs SMTPUTF8."),
    flag('V', Value, Done, "envid", "envelope_id", "Envelope id for notifications, in xtext (RFC 3461)."),
    flag('v', Bare, Done, "", "verbose", "Verbose: shows the dialogue with the next host and what becomes of each recipient (of members of lists and forward files: only to root), and waits for the first attempts, five minutes at most. The message is safe from the beginning."),
    flag('X', Value, Done, "file", "traffic_log", "Append what is read and what is said to a file, for debugging."),
    flag('x', Bare, Ignored("mailx of AIX and OSF passes it; it never did anything on Linux"), "", "ignored_flags", "Nothing."),
];

/// Every mode of sendmail 8.18.
#[rustfmt::skip] // one entry, one line
pub const MODES: &[Mode] = &[
    mode('a', Done, "mode_of_operation", "As -bm (ARPANET mode, obsolete)."),
    mode('C', Done, "modes_of_the_server", "Check the configuration and exit: silent, and 0, if it is right."),
    mode('D', Done, "server_modes", "Run the server in the foreground."),
    mode('d', Done, "server_modes", "Run the server in the background."),
    mode('H', Done, "modes_of_the_server", "Purge what is known of remote hosts, as purgestat(8)."),
    mode('h', Done, "modes_of_the_server", "Print what is known of remote hosts, as hoststat(8)."),
    mode('i', Done, "mode_of_operation", "Rebuild the alias database, as newaliases(1)."),
    mode('m', Done, "mode_of_operation", "Deliver a message from standard input (default)."),
    mode('O', Done, "names_of_options", "Print the names of all options, one on a line."),
    mode('P', Done, "modes_of_the_server", "Print the number of queue entries."),
    mode('p', Done, "mode_of_operation", "Print the queue, as mailq(1)."),
    mode('s', Done, "mode_of_operation", "Speak SMTP on standard input and output."),
    mode('t', Done, "modes_of_the_server", "Address test mode."),
    mode('v', Done, "mode_of_operation", "Verify addresses: say where mail for them goes, and send none."),
    mode('z', Refused("Frozen configurations unsupported"), "mode_of_operation", "Freeze the configuration (refused)."),
];

/// Every form of `-q`.
#[rustfmt::skip] // one entry, one line
pub const RUNS: &[Run] = &[
    run("", "one_run", "Try everything that waits, once. As root without a running server: a server is started for this one run, without listeners."),
    run("time", "intervals", "Start the server, which tries what is due. Units are s, m (default), h, d and w: 30m, 1h30m."),
    run("p[time]", "intervals", "As -qtime: there are no separate queue runners."),
    run("f", "one_run", "One run in the foreground."),
    run("Gname", "groups", "Only the queue group of this name; there is one, mqueue."),
    run("[!]Isubstring", "selectors", "Only entries whose id contains the text, case being significant; with ! only others."),
    run("[!]Rsubstring", "selectors", "Only entries with a recipient that contains the text; with ! those with a recipient that does not."),
    run("[!]Ssubstring", "selectors", "Only entries whose sender contains the text; with ! only others."),
    run("[!]Qsubstring", "quarantined", "Only quarantined entries whose reason contains the text, case being significant; with ! only others."),
    run("Q", "quarantined", "Only quarantined entries."),
    run("L", "lost", "Only lost entries. None is ever lost here: entries that cannot be read are set aside and reported."),
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
