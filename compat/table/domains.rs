//! domaintable, bitdomain and uucpdomain (sendmail.md 3.6): `old new`, asked for the exact name. They need no reader of their own: `route`
//! asks the raw table under [`domain_key`] (bitdomain and uucpdomain without their `.BITNET` and `.UUCP`), and [`crate::check`] knows
//! what their lines should look like. A user database (`O UserDatabaseSpec`) is reported by the importer, not read.

use crate::value::{ask, domain};
use table::{Hit, Table, Unavailable};

/// The key for a domain: lower case, without the trailing dot. `None`: nothing that could be in a table.
#[must_use]
pub fn domain_key(name: &str) -> Option<String> {
    domain(name).map(str::to_ascii_lowercase)
}

/// The new name of a domain, in lower case, without dot and blanks around it; `None` if it keeps its own. A value that is no name
/// changes nothing.
///
/// # Errors
/// If the table cannot be asked.
pub async fn renamed(raw: &dyn Table, name: &str) -> Result<Option<Hit>, Unavailable> {
    let Some(key) = domain_key(name) else { return Ok(None) };
    let Some(mut hit) = ask(raw, &key).await? else { return Ok(None) };
    let value = hit.value.trim();
    let Some(new) = domain_key(value).filter(|new| is_name(new)) else { return Ok(None) };
    hit.value = new;
    Ok(Some(hit))
}

/// Whether a text can be a domain: labels of letters, digits, `-` and `_`, or a literal in brackets.
pub(crate) fn is_name(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'));
    (text.starts_with('[') && text.ends_with(']') && text.len() > 2) || text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::{raw, wait};

    #[test]
    fn exact_names_only() {
        let table = raw("old.example New.Example.\nbad.example two words\n");
        let new = |name| wait(renamed(&*table, name)).unwrap().map(|hit| hit.value);
        assert_eq!(new("OLD.example."), Some("new.example".into()));
        assert_eq!(new("sub.old.example").or(new("bad.example")).or(new("")).or(new("new.example")), None);
    }
}
