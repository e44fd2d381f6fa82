//! Aliases: what a right-hand side says ([`entries`]), the lines of the file ([`lines`]), and the canonical form of a value: what every
//! table that serves as an alias table answers, whatever its file looks like. `compat/table` writes it, `route` reads it. The agents read
//! the same files with the same grammar (sendmail.md 3.1, 3.2), to run only what still stands there.
//!
//! One entry per line (LF), in the order of the file. The first character says what it is:
//!
//! | line | entry |
//! |---|---|
//! | `\|command` | program; the rest of the line is the command, blanks and quotes as the shell gets them |
//! | `/path` | file to append to (`/dev/null` as well) |
//! | `:include:/path` | file with a list of entries |
//! | `\user` | the user's mailbox: no further alias, no `.forward` |
//! | `\user@domain` | the same if the domain is this host's, else the address without its backslash |
//! | anything else | address or another alias, as written, without comments and full name; it may be malformed |
//! | a blank, then text | address that would read as one of the others: `/C=se/@gateway.example` (X.400) |

pub mod entry;
pub mod lines;
pub mod token;
pub mod wrapped;

pub use entry::entries;

use std::fmt;

/// One member of an alias's right-hand side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AliasEntry {
    /// An address or another alias, as written: nobody has checked it.
    Address(String),
    /// `\user`: the mailbox of this user, with no further alias and no `.forward`; or `\user@domain`: that if the domain is this
    /// host's, and the address if not. Without the backslash.
    Mailbox(String),
    /// Command for the shell, without the bar.
    Program(String),
    /// Absolute path of a file to append to.
    File(String),
    /// Path of an `:include:` list.
    Include(String),
}

impl AliasEntry {
    /// Reads one line of the canonical form.
    #[must_use]
    pub fn parse(line: &str) -> Self {
        if let Some(command) = line.strip_prefix('|') {
            Self::Program(command.to_owned())
        } else if let Some(user) = line.strip_prefix('\\') {
            Self::Mailbox(user.to_owned())
        } else if let Some(path) = include(line) {
            Self::Include(path.to_owned())
        } else if line.starts_with('/') {
            Self::File(line.to_owned())
        } else {
            Self::Address(line.to_owned())
        }
    }
}

impl AliasEntry {
    /// A short name for this entry, to be told from others in its file: 16 hex digits (FNV-1a, 64 bits). No secret and no signature: who
    /// could make two entries with one name can write the file, and then both stand in it.
    #[must_use]
    pub fn mark(&self) -> String {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        format!("{:016x}", self.to_string().bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }
}

/// The path after `:include:`, in any case of letters.
fn include(line: &str) -> Option<&str> {
    const TAG: &str = ":include:";
    let tag = line.get(..TAG.len())?;
    tag.eq_ignore_ascii_case(TAG).then(|| line.get(TAG.len()..).unwrap_or_default().trim())
}

impl fmt::Display for AliasEntry {
    /// One line of the canonical form, without its end. Line ends inside become blanks: a value never grows an entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mark, text) = match self {
            Self::Address(text) if text.starts_with(['/', '\\', '|', ':', ' ']) => (" ", text),
            Self::Address(text) | Self::File(text) => ("", text),
            Self::Mailbox(text) => ("\\", text),
            Self::Program(text) => ("|", text),
            Self::Include(text) => (":include:", text),
        };
        f.write_str(mark)?;
        text.split(['\n', '\r']).enumerate().try_for_each(|(n, part)| {
            f.write_str(if n == 0 { "" } else { " " })?;
            f.write_str(part)
        })
    }
}

/// The entries of a canonical value.
#[must_use]
pub fn alias_entries(value: &str) -> Vec<AliasEntry> {
    value
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| match line.strip_prefix(' ') {
            Some(address) => AliasEntry::Address(address.to_owned()),
            None => AliasEntry::parse(line),
        })
        .collect()
}

/// Writes entries as a canonical value.
#[must_use]
pub fn alias_value(entries: &[AliasEntry]) -> String {
    let lines: Vec<String> = entries.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_reads_back() {
        let entries = [
            AliasEntry::Address("bob".into()),
            AliasEntry::Address("\"quoted user\"@example.org".into()),
            AliasEntry::Address("/C=se/O=x/@gateway.example".into()),
            AliasEntry::Mailbox("self".into()),
            AliasEntry::Program("/usr/bin/prog a \"b c\"".into()),
            AliasEntry::File("/var/mail/archive of lists".into()),
            AliasEntry::Include("/etc/mail/list".into()),
        ];
        assert_eq!(alias_entries(&alias_value(&entries)), entries);
        assert_eq!(alias_entries(""), []);
    }

    #[test]
    fn marks_tell_entries_apart() {
        let mark = AliasEntry::Program("/bin/cat".into()).mark();
        assert_eq!(mark.len(), 16);
        for other in [AliasEntry::Program("/bin/cat ".into()), AliasEntry::File("/bin/cat".into())] {
            assert_ne!(mark, other.mark());
        }
    }

    #[test]
    fn a_line_end_inside_never_makes_an_entry() {
        let forged = [AliasEntry::Address("a\n|/bin/sh".into())];
        assert_eq!(alias_entries(&alias_value(&forged)), [AliasEntry::Address("a |/bin/sh".into())]);
    }
}
