//! Which program this is, by the name it was called with (sendmail.md 1.1): the one table of names. Called by `run`, by `command_line` for the
//! mode, and by `postrider`, which is all of these programs, too.

use std::ffi::OsStr;
use std::path::Path;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// sendmail, in the mode of `-b` with this letter.
    Sendmail(char),
    /// The verb of `postrider` of the same name.
    Verb,
    /// One of the small programs ([`crate::small`]).
    Small(Small),
}

/// sendmail's small programs that are no verbs of `postrider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Small {
    /// `rmail`
    Rmail,
    /// `smrsh`
    Smrsh,
    /// `vacation`
    Vacation,
    /// `mail.local`
    MailLocal,
}

/// Every name.
pub const PROGRAMS: &[(&str, Program)] = &[
    ("sendmail", Program::Sendmail('m')),
    ("send-mail", Program::Sendmail('m')),
    ("mailq", Program::Sendmail('p')),
    ("newaliases", Program::Sendmail('i')),
    ("smtpd", Program::Sendmail('d')),
    ("hoststat", Program::Sendmail('h')),
    ("purgestat", Program::Sendmail('H')),
    ("mailstats", Program::Verb),
    ("praliases", Program::Verb),
    ("makemap", Program::Verb),
    ("editmap", Program::Verb),
    ("rmail", Program::Small(Small::Rmail)),
    ("smrsh", Program::Small(Small::Smrsh)),
    ("vacation", Program::Small(Small::Vacation)),
    ("mail.local", Program::Small(Small::MailLocal)),
];

/// The entry of the program called by this name, whatever path stands before it.
#[must_use]
pub fn find(name: &OsStr) -> Option<(&'static str, Program)> {
    let name = Path::new(name).file_name()?;
    PROGRAMS.iter().copied().find(|(known, _)| name == *known)
}

/// Whether `postrider`, called by this name, is one of them that this crate runs.
#[must_use]
pub fn is_ours(name: &OsStr) -> bool {
    matches!(find(name), Some((_, Program::Sendmail(_) | Program::Small(_))))
}

/// The letter of the mode that goes with a name; any other name delivers.
#[must_use]
pub fn mode(name: &OsStr) -> char {
    match find(name) {
        Some((_, Program::Sendmail(letter))) => letter,
        _ => 'm',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_any_path() {
        assert_eq!(find(OsStr::new("/usr/sbin/makemap")), Some(("makemap", Program::Verb)));
        assert_eq!(find(OsStr::new("mail.local")), Some(("mail.local", Program::Small(Small::MailLocal))));
        assert_eq!(find(OsStr::new("/usr/lib/sm.bin/mailstats")), Some(("mailstats", Program::Verb)));
        for other in ["", "/", "makemap2", "sendmail-mta"] {
            assert_eq!(find(OsStr::new(other)), None, "{other}");
        }
        for (name, letter) in [("mailq", 'p'), ("/usr/bin/newaliases", 'i'), ("smtpd", 'd'), ("x", 'm'), ("", 'm')] {
            assert_eq!(mode(OsStr::new(name)), letter, "{name}");
        }
        assert_eq!((mode(OsStr::new("hoststat")), mode(OsStr::new("purgestat"))), ('h', 'H'));
    }

    #[test]
    fn every_mode_of_a_name_has_an_entry() {
        for (name, program) in PROGRAMS {
            if let Program::Sendmail(letter) = program {
                assert!(crate::flag::find_mode(*letter).is_some(), "{name}");
            }
        }
    }
}
