//! What is wrong with a right-hand side, as `newaliases -on` (CheckAliases) says it. Called by [`crate::aliases`]. Source: sendmail.md 2.3 and
//! runs of 8.17.1.9, which names the rest of the line from the faulty address on.

/// The faults, each with the offset of its address and sendmail's words, and where the last address begins.
pub(crate) fn faults(value: &[u8]) -> (Vec<(usize, &'static str)>, usize) {
    let (mut found, mut at, mut last) = (Vec::new(), 0, 0);
    while let Some(rest) = value.get(at..).filter(|rest| !rest.is_empty()) {
        let start = at + rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == b',').count();
        let Some(rest) = value.get(start..).filter(|rest| !rest.is_empty()) else { break };
        last = start;
        let (length, fault) = address(rest);
        if let Some(fault) = fault {
            found.push((start, fault));
            if fault == COMMENT {
                found.push((start, BAD));
            }
        }
        at = start + length + 1;
    }
    (found, last)
}

const COMMENT: &str = "Unbalanced '('";
/// Follows a comment that is not closed.
pub(crate) const BAD: &str = "bad address";

/// Length of the address that `text` begins with, and what is wrong with it. Goes over each byte once.
fn address(text: &[u8]) -> (usize, Option<&'static str>) {
    let (mut quoted, mut comments, mut angles) = (false, 0usize, 0usize);
    let (mut ats, mut last_at, mut words) = (0usize, false, false);
    let mut fault = None;
    let mut end = text.len();
    let mut bytes = text.iter().enumerate();
    while let Some((n, &byte)) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'"' if comments == 0 => quoted = !quoted,
            _ if quoted => {}
            b'(' => comments += 1,
            b')' if comments == 0 => fault = fault.or(Some("Unbalanced ')'")),
            b')' => comments -= 1,
            _ if comments > 0 => {}
            b',' => {
                end = n;
                break;
            }
            b'<' => angles += 1,
            b'>' if angles == 0 => fault = fault.or(Some("Unbalanced '>'")),
            b'>' => angles -= 1,
            b'@' if angles == 0 => {
                (ats, last_at) = (ats + 1, true);
                words |= n > 0;
                continue;
            }
            b if b.is_ascii_whitespace() => continue,
            _ => {}
        }
        last_at = false;
    }
    let program = matches!(text.first(), Some(b'|' | b'/' | b':'));
    let open = match (quoted, comments > 0, angles > 0) {
        (true, _, _) => Some("Unbalanced '\"'"),
        (_, true, _) => Some(COMMENT),
        (_, _, true) => Some("Unbalanced '<'"),
        _ => None,
    };
    let shape = match (ats, last_at, words) {
        _ if program => None,
        (1.., _, false) => Some("User address required"),
        (1, true, _) => Some("Hostname required"),
        (2.., _, _) => Some("Invalid route address"),
        _ => None,
    };
    (end, fault.or(open).or(shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What 8.17.1.9 said of these, but for `(y`, where it says `bad address` as well.
    #[test]
    fn as_measured() {
        let cases: [(&str, &[(usize, &str)]); 21] = [
            ("alice, <bob@x>", &[]),
            ("<alice", &[(0, "Unbalanced '<'")]),
            ("alice@", &[(0, "Hostname required")]),
            ("b@c@d, <x, (y", &[(0, "Invalid route address"), (7, "Unbalanced '<'"), (11, COMMENT), (11, BAD)]),
            ("alice>", &[(0, "Unbalanced '>'")]),
            ("\"alice", &[(0, "Unbalanced '\"'")]),
            ("alice bob", &[]),
            ("|/bin/cat, \"|/bin/x\", /tmp/x, :include:/l", &[]),
            ("\\alice", &[]),
            ("a..b@c", &[]),
            ("alice,, bob", &[]),
            ("(c", &[(0, COMMENT), (0, BAD)]),
            ("@x", &[(0, "User address required")]),
            ("x@[1.2.3", &[]),
            (",", &[]),
            ("<>", &[]),
            ("\"a\"b", &[]),
            ("a)b", &[(0, "Unbalanced ')'")]),
            ("a@b.", &[]),
            ("alice@,bob@", &[(0, "Hostname required"), (7, "Hostname required")]),
            ("alice@ , \"a,b\"@c (x, y)", &[(0, "Hostname required")]),
        ];
        for (text, expected) in cases {
            assert_eq!(faults(text.as_bytes()).0, expected, "{text}");
        }
        assert_eq!(faults(b"a, bc").1, 3);
    }

    #[test]
    fn linear() {
        for piece in ["(", "<", ",", "\"", "\\", "@", "a,(", " "] {
            let start = std::time::Instant::now();
            let _ = faults(piece.repeat(1_000_000 / piece.len()).as_bytes());
            assert!(start.elapsed().as_secs() < 5, "{piece}");
        }
    }
}
