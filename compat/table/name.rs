//! The left-hand side of an alias: where it ends and which key it is. Called by [`crate::aliases`].

use crate::Entry;
use crate::entry::entries;
use crate::token::{Token, joined, tokens};
use std::borrow::Cow;

/// The key for a name as written, as sendmail stores it: comments off, blanks outside quotes to dots, quotes off where they protect nothing
/// but operators, letters folded. Bytes that are no ASCII stay as they are. What is wrong comes in sendmail's words.
pub(crate) fn name(written: &[u8], is_local: Option<&dyn Fn(&str) -> bool>) -> Result<Vec<u8>, Vec<Vec<u8>>> {
    let ordinary = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
    if !written.is_empty() && written.iter().all(ordinary) {
        return Ok(written.to_ascii_lowercase());
    }
    let not_local = || [written, b"... cannot alias non-local names"].concat();
    let bad = |what: &str| vec![[written, b"... ", what.as_bytes()].concat(), not_local()];
    // A character for each byte, whatever they mean.
    let wide: String = written.iter().map(|&byte| char::from(byte)).collect();
    let text = match entries(&wide).as_slice() {
        [Entry::Address(text)] => text.clone(),
        [Entry::Mailbox(text)] => format!("\\{text}"),
        [] => return Err(bad("User address required")),
        [_] => return Err(vec![not_local()]),
        _ => return Err(bad("Invalid route address")),
    };
    let parts = tokens(&text);
    if text.contains(|c: char| c.is_ascii_control()) || parts.iter().any(|part| part.is("<") || part.is(">")) {
        return Err(bad("Illegal character in address"));
    }
    let at = parts.iter().rposition(|part| part.is("@")).unwrap_or(parts.len());
    let (local, domain) = parts.split_at_checked(at).unwrap_or((&parts, &[]));
    let domain = domain.get(1..).map(|domain| joined(domain).to_ascii_lowercase());
    let user = stored(local).to_ascii_lowercase();
    match (domain, is_local) {
        // `"": x` is quoted nothing.
        _ if user.is_empty() || user == "\"\"" => Err(bad("User address required")),
        _ if !user.starts_with('"') && user.contains(['@', '!', '%']) => Err(vec![not_local()]),
        (None, _) => Ok(narrow(&user)),
        (Some(domain), None) => Ok(narrow(&format!("{user}@{domain}"))),
        (Some(domain), Some(is_local)) if is_local(&domain) => Ok(narrow(&user)),
        (Some(_), Some(_)) => Err(vec![not_local()]),
    }
}

/// The bytes that the characters were made from.
fn narrow(wide: &str) -> Vec<u8> {
    wide.chars().filter_map(|c| u8::try_from(c).ok()).collect()
}

/// A local part that is one quoted string loses its quotes, and keeps its backslashes, unless a blank, parenthesis or angle needs them.
fn stored(local: &[Token<'_>]) -> String {
    let text = joined(local);
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).filter(|_| local.len() == 1);
    match inside {
        Some(inside) if !inside.is_empty() && !inside.contains(needs_quotes) => inside.to_owned(),
        _ => text,
    }
}

const fn needs_quotes(c: char) -> bool {
    c.is_ascii_whitespace() || matches!(c, '(' | ')' | '<' | '>')
}

/// The keys under which a user may stand: as it is; with backslashes; in quotes.
pub(crate) fn spellings(user: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let escaped = user.contains(['"', '\\']).then(|| user.replace('\\', "\\\\").replace('"', "\\\""));
    let quoted = user.contains(needs_quotes).then(|| format!("\"{}\"", escaped.as_deref().unwrap_or(user)));
    [Some(Cow::Borrowed(user)), escaped.map(Cow::Owned), quoted.map(Cow::Owned)].into_iter().flatten()
}
