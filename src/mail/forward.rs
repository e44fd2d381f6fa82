//! `.forward` files (sendmail.md 3.2), and `:include:` files, which are written alike: what their lines say and where they are looked for.
//! Called by the agents, which obey them, and by `compat/table`, which checks them.
//!
//! Each line is a list of its own: there is no continuation. A comment is a line with `#` in column one, or what follows ` #@# `;
//! any other `#` is part of the address or command.

use crate::alias::{AliasEntry as Entry, entries};

/// A line that names somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number, from 1.
    pub line: u32,
    /// What it lists, in order.
    pub entries: Vec<Entry>,
}

/// Reads a file. Lines that name nobody are left out.
#[must_use]
pub fn lines(text: &[u8]) -> Vec<Line> {
    let mut found = Vec::new();
    for (line, bytes) in (1u32..).zip(text.split(|&b| b == b'\n')) {
        if bytes.first() == Some(&b'#') {
            continue;
        }
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        let text = String::from_utf8_lossy(bytes);
        let entries = entries(without_comment(&text));
        if !entries.is_empty() {
            found.push(Line { line, entries });
        }
    }
    found
}

/// What stands before ` #@# `: a blank in front of it, a blank or the end behind it.
#[must_use]
pub fn without_comment(text: &str) -> &str {
    const MARK: &str = "#@#";
    for (at, _) in text.match_indices(MARK) {
        let (before, from) = text.split_at_checked(at).unwrap_or((text, ""));
        let after = from.get(MARK.len()..).unwrap_or_default();
        if before.ends_with(is_blank) && (after.is_empty() || after.starts_with(is_blank)) {
            return before;
        }
    }
    text
}

/// White space between words.
#[must_use]
pub const fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\x0b'
}

/// Whose file it is, for `ForwardPath`.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Home folder, `$z`.
    pub home: &'a str,
    /// Login name, `$u`.
    pub user: &'a str,
    /// What follows the plus, `$h`.
    pub detail: &'a str,
    /// This host's name without its domain, `$w`.
    pub host: &'a str,
}

/// The files that `ForwardPath` names, in order: the first that exists and is safe counts. `$z/.forward.$w+$h:$z/.forward` and the like;
/// a path with another macro, or where a macro would lead into another folder, is left out.
#[must_use]
pub fn paths(spec: &str, owner: Owner<'_>) -> Vec<String> {
    spec.split(':').filter_map(|path| one_path(path.trim(), owner)).collect()
}

fn one_path(path: &str, owner: Owner<'_>) -> Option<String> {
    let mut out = String::new();
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        if c != '$' {
            out.push(c);
            continue;
        }
        let part = match chars.next()? {
            '$' => "$",
            'z' => Some(owner.home).filter(|home| home.starts_with('/') && !home.contains('\0'))?,
            'u' => harmless(owner.user)?,
            'h' => harmless(owner.detail)?,
            'w' => harmless(owner.host)?,
            _ => return None,
        };
        out.push_str(part);
    }
    out.starts_with('/').then_some(out)
}

/// Whoever writes to `user+../../other` chooses no file.
fn harmless(part: &str) -> Option<&str> {
    (!part.contains(|c: char| c == '/' || c.is_control())).then_some(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(u32, Vec<Entry>)> {
        lines(text.as_bytes()).into_iter().map(|line| (line.line, line.entries)).collect()
    }

    fn address(text: &str) -> Entry {
        Entry::Address(text.into())
    }

    #[test]
    fn lists_and_comments() {
        let text = "# away\n\\alice, bob\r\n\ncarol #@# on leave\ndave@x.example#@#y, e #@#\n #@# all\nlast";
        let expected = [
            (2, vec![Entry::Mailbox("alice".into()), address("bob")]),
            (4, vec![address("carol")]),
            (5, vec![address("dave@x.example#@#y"), address("e")]),
            (7, vec![address("last")]),
        ];
        assert_eq!(read(text), expected);
        assert_eq!(read(""), []);
    }

    /// sendmail: `bob # note... User unknown`; the user is `bob.#.note`.
    #[test]
    fn a_trailing_note_is_no_comment() {
        assert_eq!(read("bob # note"), [(1, vec![address("bob.#.note")])]);
    }

    #[test]
    fn programs_as_users_write_them() {
        let classic = "\"|IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice\"\n";
        let command = "IFS=' ' && exec /usr/bin/procmail -f- || exit 75 #alice";
        assert_eq!(read(classic), [(1, vec![Entry::Program(command.into())])]);
        // Behind the quotes it is glued to the command, where the shell ignores it.
        let glued = read("\"|exec /usr/bin/procmail\"#alice");
        assert_eq!(glued, [(1, vec![Entry::Program("exec /usr/bin/procmail#alice".into())])]);
        let vacation = read("\\alice, \"|/usr/bin/vacation alice\"");
        let expected = vec![Entry::Mailbox("alice".into()), Entry::Program("/usr/bin/vacation alice".into())];
        assert_eq!(vacation, [(1, expected)]);
        assert_eq!(read("|/bin/prog a b"), [(1, vec![Entry::Program("/bin/prog.a.b".into())])]);
    }

    #[test]
    fn where_it_is_looked_for() {
        let owner = Owner { home: "/home/al", user: "al", detail: "d", host: "mx" };
        let all = paths("$z/.forward.$w+$h:$z/.forward+$h:$z/.forward.$w:$z/.forward:/var/forward/$u", owner);
        let expected = [
            "/home/al/.forward.mx+d",
            "/home/al/.forward+d",
            "/home/al/.forward.mx",
            "/home/al/.forward",
            "/var/forward/al",
        ];
        assert_eq!(all, expected);
        let hostile = Owner { detail: "x/../../bob/.forward", ..owner };
        assert_eq!(paths("$z/.forward+$h:$z/.forward", hostile), ["/home/al/.forward"]);
        assert_eq!(paths("$z/.forward:$q/x:relative:", Owner { home: "", ..owner }), [""; 0]);
    }
}
