//! xtext (RFC 3461 4): printable ASCII, with `+XX` for everything else.

/// The meaning of an xtext; none if it is malformed, not UTF-8, or means a control character (S-42: it would go into
/// headers and logs).
#[must_use]
pub fn decode(text: &str) -> Option<String> {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'+' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'=' => return None,
            0x21..=0x7e | 0x80.. => byte,
            _ => return None,
        });
    }
    let plain = String::from_utf8(plain).ok()?;
    (!plain.chars().any(crate::grammar::is_forbidden)).then_some(plain)
}

/// Only upper-case digits are xtext (RFC 3461 4).
fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `text` as xtext.
#[must_use]
pub fn encode(text: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'+' && byte != b'=' {
            out.push(char::from(byte));
        } else {
            out.push('+');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for text in ["", "env1", "a+b=c d", "é\u{10000}"] {
            assert_eq!(decode(&encode(text)).as_deref(), Some(text));
        }
        assert_eq!(encode("a+b=c d"), "a+2Bb+3Dc+20d");
        for bad in ["+", "+1", "+g0", "+2b", "a=b", "a b", "+FF", "+0A", "+00"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
