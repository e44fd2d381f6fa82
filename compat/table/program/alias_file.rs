//! One member of sendmail's AliasFile: `/etc/mail/aliases`, `hash:/etc/mail/aliases`, `-o /optional`.

use std::path::PathBuf;

/// What an AliasFile member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AliasFile {
    /// A file of aliases, whatever class it was given: ours are all alike.
    File {
        /// The text.
        path: PathBuf,
        /// `-o`: it may be missing.
        optional: bool,
    },
    /// A class that sendmail knows, but that is no file to be made: `nis:mail.aliases`, `ldap:`. Holds the class.
    Elsewhere(String),
    /// A class that nobody knows. Holds the class.
    Unknown(String),
}

impl AliasFile {
    /// Reads one member.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut rest = text.trim();
        let optional = rest.strip_prefix("-o").filter(|after| after.starts_with([' ', '\t']));
        rest = optional.map_or(rest, str::trim_start);
        let (class, path) = match rest.split_once(':') {
            Some((class, path)) if !class.contains('/') => (class.trim(), path.trim()),
            _ => ("implicit", rest),
        };
        match class {
            "implicit" | "hash" | "btree" | "dbm" | "cdb" | "text" => {
                Self::File { path: PathBuf::from(path), optional: optional.is_some() }
            }
            "nis" | "nisplus" | "ldap" | "hesiod" | "netinfo" | "sequence" | "switch" | "null" | "user" | "host"
            | "program" | "stab" | "socket" | "regex" => Self::Elsewhere(class.to_owned()),
            _ => Self::Unknown(class.to_owned()),
        }
    }

    /// Reads a whole AliasFile, members separated by commas.
    #[must_use]
    pub fn list(text: &str) -> Vec<Self> {
        text.split(',').filter(|member| !member.trim().is_empty()).map(Self::parse).collect()
    }

    /// What a `sendmail.cf` says (`O AliasFile=…`, `OA…`).
    #[must_use]
    pub fn of_configuration(cf: &str) -> Vec<Self> {
        let value = |line: &str| -> Option<String> {
            let option = line.strip_prefix('O')?;
            let long = option.strip_prefix(' ').and_then(|rest| rest.trim_start().split_once('='));
            match long {
                Some((name, value)) if name.trim().eq_ignore_ascii_case("AliasFile") => Some(value.to_owned()),
                Some(_) => None,
                None => option.strip_prefix('A').map(str::to_owned),
            }
        };
        cf.lines().filter_map(value).flat_map(|value| Self::list(&value)).collect()
    }
}
