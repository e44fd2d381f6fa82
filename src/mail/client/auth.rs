//! AUTH as client (RFC 4954) by PLAIN (RFC 4616) and LOGIN: which lines are said, and what of the answers may be shown. `deliver` has the
//! connection, and sees to it that it is inside TLS. Nothing here is shown by `Debug`.

use super::Answer;
use memchr::memmem;
use thiserror::Error;

/// Longest name or password, octets: with three of them a line stays below the 12,288 of RFC 4954 4.
const LIMIT: usize = 2_048;
/// Longest command line with its end (RFC 5321 4.5.3.1.4); a longer response waits for its 334.
const LINE: usize = 512;
/// So many characters in a row of a secret make a reply unfit to be shown.
const RUN: usize = 6;

/// How a client proves who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616.
    Plain,
    /// Name and password on lines of their own; never standardised, but for some servers the only one.
    Login,
}

impl Mechanism {
    /// As in EHLO and in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
    /// Those that can be used, the best first: of what the server offers what is `wanted`, in that order (both in upper case). Nothing
    /// wanted: PLAIN, then LOGIN.
    #[must_use]
    pub fn choose(offered: &[String], wanted: &[String]) -> Vec<Self> {
        let is_offered = |mechanism: &Self| offered.iter().any(|name| name == mechanism.name());
        let known = [Self::Plain, Self::Login];
        let mut chosen: Vec<Self> = if wanted.is_empty() {
            known.to_vec()
        } else {
            wanted.iter().filter_map(|name| known.into_iter().find(|mechanism| mechanism.name() == name)).collect()
        };
        chosen.retain(is_offered);
        chosen
    }
}

/// Who we are for a server.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// Whose rights are wanted (authorization id).
    pub user: &'a str,
    /// Whose password it is (authentication id).
    pub identity: &'a str,
    /// The password, raw octets.
    pub password: &'a [u8],
}

/// Why a name or password cannot be sent. Says nothing of its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum LoginError {
    /// RFC 4616 forbids NUL; the other control characters are slips in a table.
    #[error("control character in name or password")]
    Control,
    /// No name or no password.
    #[error("name or password is empty")]
    Empty,
    /// Over 2,048 octets.
    #[error("name or password is too long")]
    TooLong,
}

impl Login<'_> {
    fn check(&self) -> Result<(), LoginError> {
        let all = [self.user.as_bytes(), self.identity.as_bytes(), self.password];
        if self.identity.is_empty() || self.password.is_empty() {
            return Err(LoginError::Empty);
        }
        if all.iter().any(|part| part.len() > LIMIT) {
            return Err(LoginError::TooLong);
        }
        let names_are_plain = ![self.user, self.identity].iter().any(|name| name.chars().any(char::is_control));
        // A password is octets, in no known charset: 0x80 to 0x9f are letters in some.
        let is_plain = names_are_plain && !self.password.iter().any(u8::is_ascii_control);
        if is_plain { Ok(()) } else { Err(LoginError::Control) }
    }
    /// `authzid NUL authcid NUL password`. The same name twice says nothing more, and some servers take only an empty first one.
    fn plain(&self) -> Vec<u8> {
        let user = if self.user == self.identity { "" } else { self.user };
        [user.as_bytes(), self.identity.as_bytes(), self.password].join(&0)
    }
}

/// One dialogue: what the client says, line by line.
pub struct Exchange {
    lines: std::vec::IntoIter<Vec<u8>>,
    /// In lower case, for servers that echo commands so or in upper case.
    secrets: Vec<Vec<u8>>,
}

impl Exchange {
    /// Before its first line.
    ///
    /// # Errors
    /// If name or password cannot be sent.
    pub fn new(mechanism: Mechanism, login: &Login<'_>) -> Result<Self, LoginError> {
        login.check()?;
        let password = base64(login.password);
        let shown = String::from_utf8_lossy(login.password).into_owned().into_bytes();
        let (lines, response) = match mechanism {
            Mechanism::Plain => plain_lines(base64(&login.plain())),
            Mechanism::Login => {
                let lines = ["AUTH LOGIN".to_owned(), base64(login.identity.as_bytes()), password.clone()];
                (lines.to_vec(), String::new())
            }
        };
        let mut secrets = vec![shown, password.into_bytes(), response.into_bytes()];
        secrets.iter_mut().for_each(|secret| secret.make_ascii_lowercase());
        let lines: Vec<Vec<u8>> = lines.into_iter().map(|line| (line + "\r\n").into_bytes()).collect();
        Ok(Self { lines: lines.into_iter(), secrets })
    }
    /// The next line, with its end: the command, then one for each 334. `None`: the server asks for more than there is.
    pub fn line(&mut self) -> Option<Vec<u8>> {
        self.lines.next()
    }
    /// An answer as it may be logged and stored: its first line, or only its codes if the text repeats a part of what was sent (servers
    /// quote commands that they do not understand).
    #[must_use]
    pub fn shown(&self, answer: &Answer) -> String {
        let reply = answer.to_string();
        let lower = reply.to_ascii_lowercase();
        let repeats = |secret: &Vec<u8>| {
            let run = secret.len().min(RUN);
            run > 0 && lower.as_bytes().windows(run).any(|part| memmem::find(secret, part).is_some())
        };
        if !self.secrets.iter().any(repeats) {
            return reply;
        }
        let status = answer.status.map_or_else(String::new, |status| format!(" {status}"));
        format!("{}{status} (the text repeats what was sent)", answer.code)
    }
}

/// The lines, and the response in them.
fn plain_lines(response: String) -> (Vec<String>, String) {
    let whole = format!("AUTH PLAIN {response}");
    let lines = if whole.len() + 2 <= LINE { vec![whole] } else { vec!["AUTH PLAIN".to_owned(), response.clone()] };
    (lines, response)
}

/// RFC 4648 4.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0u32, |bits, n| bits << 8 | u32::from(group.get(n).copied().unwrap_or(0)));
        for n in 0..4 {
            let six = (bits >> (18 - 6 * n) & 63) as usize;
            let letter = LETTERS.get(six).copied().unwrap_or(b'=');
            out.push(char::from(if n <= group.len() { letter } else { b'=' }));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(mechanism: Mechanism, login: &Login<'_>) -> Vec<String> {
        let mut exchange = Exchange::new(mechanism, login).ok().unwrap();
        std::iter::from_fn(|| exchange.line()).map(|line| String::from_utf8(line).unwrap()).collect()
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn base64_of_all_lengths() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("\u{ff}?", "w78/")]
        {
            assert_eq!(base64(plain.as_bytes()), text);
        }
    }

    #[test]
    fn plain_in_one_line() {
        // RFC 4616 4: "\0tim\0tanstaaftanstaaf" and "Ursel\0Kurt\0xipj3plmq".
        let tim = Login { user: "tim", identity: "tim", password: b"tanstaaftanstaaf" };
        assert_eq!(said(Mechanism::Plain, &tim), ["AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm\r\n"]);
        let kurt = Login { user: "Ursel", identity: "Kurt", password: b"xipj3plmq" };
        assert_eq!(said(Mechanism::Plain, &kurt), ["AUTH PLAIN VXJzZWwAS3VydAB4aXBqM3BsbXE=\r\n"]);
        let octets = Login { password: b"\xff\xfe", ..tim };
        assert_eq!(said(Mechanism::Plain, &octets), ["AUTH PLAIN AHRpbQD//g==\r\n"]);
    }

    #[test]
    fn a_long_response_waits_to_be_asked_for() {
        let password = [b'x'; 400];
        let long = said(Mechanism::Plain, &Login { user: "", identity: "joe", password: &password });
        assert_eq!(long[0], "AUTH PLAIN\r\n");
        assert!(long.len() == 2 && long[1].starts_with("AGpvZQB4eHh4"));
        for length in 360..380 {
            let lines = said(Mechanism::Plain, &Login { user: "joe", identity: "joe", password: &password[..length] });
            assert!(lines[0].len() <= 512);
        }
    }

    #[test]
    fn login_says_name_and_password_apart() {
        let joe = Login { user: "other", identity: "joe", password: b"secret" };
        assert_eq!(said(Mechanism::Login, &joe), ["AUTH LOGIN\r\n", "am9l\r\n", "c2VjcmV0\r\n"]);
    }

    #[test]
    fn what_both_sides_know() {
        let choose = |offered: &[&str], wanted: &[&str]| Mechanism::choose(&owned(offered), &owned(wanted));
        let (plain, login) = (Mechanism::Plain, Mechanism::Login);
        assert_eq!(choose(&["CRAM-MD5", "LOGIN", "PLAIN"], &[]), [plain, login]);
        assert_eq!(choose(&["LOGIN", "XOAUTH2"], &[]), [login]);
        assert_eq!(choose(&["PLAIN", "LOGIN"], &["DIGEST-MD5", "LOGIN", "PLAIN"]), [login, plain]);
        assert_eq!(choose(&["PLAIN"], &["LOGIN"]), []);
        assert_eq!(choose(&[], &[]), []);
    }

    #[test]
    fn what_cannot_be_sent() {
        let joe = Login { user: "joe", identity: "joe", password: b"secret" };
        let long = "x".repeat(2_049);
        for (bad, error) in [
            (Login { password: b"a\0b", ..joe }, LoginError::Control),
            (Login { password: b"a\r\nQUIT", ..joe }, LoginError::Control),
            (Login { identity: "joe\u{85}", ..joe }, LoginError::Control),
            (Login { user: "\tjoe", ..joe }, LoginError::Control),
            (Login { password: b"", ..joe }, LoginError::Empty),
            (Login { identity: "", ..joe }, LoginError::Empty),
            (Login { password: long.as_bytes(), ..joe }, LoginError::TooLong),
        ] {
            for mechanism in [Mechanism::Plain, Mechanism::Login] {
                assert_eq!(Exchange::new(mechanism, &bad).err(), Some(error));
            }
        }
    }

    #[test]
    fn a_reply_that_quotes_a_secret_is_shown_without_its_text() {
        let joe = Login { user: "joe", identity: "joe", password: b"Tr0ub4dor" };
        let shown = |mechanism, text: &str| {
            let status = crate::Status::split(text).map(|(status, _)| status);
            let answer = Answer { code: 535, status, lines: vec![text.to_owned()] };
            Exchange::new(mechanism, &joe).ok().unwrap().shown(&answer)
        };
        for mechanism in [Mechanism::Plain, Mechanism::Login] {
            let fine = "5.7.8 Error: authentication failed for joe";
            assert_eq!(shown(mechanism, fine), format!("535 {fine}"));
            for bad in ["no joe/Tr0ub4dor", "bad password tR0UB4DOR", "what is VHIwdWI0ZG9y?", "TR0UB4..."] {
                assert_eq!(shown(mechanism, bad), "535 (the text repeats what was sent)", "{bad}");
            }
        }
        // Cut off, in capitals, glued to other text.
        for bad in ["5.5.1 unknown: AUTH PLAIN AGPVZQBUCJB1YJR", "5.5.1 x/AGpvZQBUcjB1YjRkb3I="] {
            assert_eq!(shown(Mechanism::Plain, bad), "535 5.5.1 (the text repeats what was sent)");
        }
        let short = Exchange::new(Mechanism::Plain, &Login { password: b"xyz", ..joe }).ok().unwrap();
        let answer = Answer { code: 535, status: None, lines: vec!["not xyz".into()] };
        assert!(!short.shown(&answer).contains("xyz"));
    }
}
