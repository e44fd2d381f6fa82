//! Errors and warnings with their place. Called by every file of this crate; printed by `daemon`.

use std::fmt;

/// Byte offset in one of the files that were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which file, in the order of reading.
    pub source: usize,
    /// Byte offset.
    pub offset: usize,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is used.
    Warning,
    /// It is not.
    Error,
}

/// Something wrong; prints as `file:line:col: error: text`, columns counted in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named.
    pub file: String,
    /// Line and column, from 1; `None` concerns the file as a whole.
    pub at: Option<(usize, usize)>,
    /// Error or warning.
    pub severity: Severity,
    /// What was expected.
    pub text: String,
}

/// A problem that does not keep the configuration from being used.
pub type Warning = Problem;

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some((line, column)) = self.at {
            write!(f, ":{line}:{column}")?;
        }
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, ": {severity}: {}", self.text)
    }
}

/// All errors of a configuration, in the order of the files; prints one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Errors(pub Vec<Problem>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            let end = if n == 0 { "" } else { "\n" };
            write!(f, "{end}{problem}")?;
        }
        Ok(())
    }
}

/// Line and column in characters, from 1.
#[must_use]
pub fn position(text: &str, offset: usize) -> (usize, usize) {
    let mut end = offset.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let before = text.get(..end).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
    (before.matches('\n').count() + 1, column)
}

/// ` (did you mean "listen"?)`, or nothing if no candidate is near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let near = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min();
    near.map_or_else(String::new, |(_, candidate)| format!(" (did you mean \"{candidate}\"?)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(position("a\né😀x", 2 + 2 + 4), (2, 3));
        assert_eq!(position("a\né😀x", 99), (2, 4));
        assert_eq!(position("", 0), (1, 1));
    }

    #[test]
    fn only_near_names_are_proposed() {
        assert_eq!(did_you_mean("quue", ["queue", "tls"]), " (did you mean \"queue\"?)");
        assert_eq!(did_you_mean("wrong", ["queue", "tls"]), "");
    }
}
