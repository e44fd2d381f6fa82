//! What a server offers in its answer to EHLO or LHLO (RFC 5321 4.1.1.1).

use super::Answer;

/// What was offered. Default: nothing, as after HELO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is one keyword")]
pub struct Capabilities {
    /// PIPELINING (RFC 2920).
    pub pipelining: bool,
    /// SIZE: the largest message in octets, 0 if no limit is named (RFC 1870).
    pub size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub smtputf8: bool,
    /// DSN (RFC 3461).
    pub dsn: bool,
    /// STARTTLS (RFC 3207).
    pub starttls: bool,
    /// ENHANCEDSTATUSCODES (RFC 2034).
    pub enhanced_status_codes: bool,
    /// CHUNKING and BINARYMIME (RFC 3030).
    pub chunking: Chunking,
    /// Mechanisms of AUTH in upper case, at most 32 (RFC 4954).
    pub auth: Vec<String>,
}

/// CHUNKING and BINARYMIME.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the keyword of that name")]
pub struct Chunking {
    pub chunking: bool,
    pub binary_mime: bool,
}

impl Capabilities {
    /// Reads a 250 answer; the first line is the greeting. Unknown keywords are passed over.
    #[must_use]
    pub fn from_ehlo(answer: &Answer) -> Self {
        let mut found = Self::default();
        for line in answer.lines.iter().skip(1) {
            // `AUTH=LOGIN` is how an old Microsoft server spelt it.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or("").to_ascii_uppercase();
            match keyword.as_str() {
                "PIPELINING" => found.pipelining = true,
                "SIZE" => found.size = Some(words.next().and_then(|n| n.parse().ok()).unwrap_or(0)),
                "8BITMIME" => found.eight_bit_mime = true,
                "SMTPUTF8" => found.smtputf8 = true,
                "DSN" => found.dsn = true,
                "STARTTLS" => found.starttls = true,
                "ENHANCEDSTATUSCODES" => found.enhanced_status_codes = true,
                "CHUNKING" => found.chunking.chunking = true,
                "BINARYMIME" => found.chunking.binary_mime = true,
                "AUTH" => {
                    let room = 32usize.saturating_sub(found.auth.len());
                    found.auth.extend(words.take(room).map(str::to_ascii_uppercase));
                }
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_keywords_in_any_case() {
        let lines =
            ["mx PIPELINING", "size 1000", "8bitmime", "AUTH PLAIN login", "AUTH=LOGIN", "X-OTHER a", "DSN", ""];
        let answer = Answer { code: 250, status: None, lines: lines.map(str::to_owned).to_vec() };
        let found = Capabilities::from_ehlo(&answer);
        assert!(!found.pipelining && found.eight_bit_mime && found.dsn && !found.starttls);
        assert_eq!(found.size, Some(1_000));
        assert_eq!(found.auth, ["PLAIN", "LOGIN", "LOGIN"]);
        let none = Answer { lines: vec!["mx SIZE".into(), "SIZE".into()], ..answer };
        assert_eq!(Capabilities::from_ehlo(&none).size, Some(0));
    }
}
