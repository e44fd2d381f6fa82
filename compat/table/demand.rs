//! What the access table says of encryption (sendmail.md 3.3). `TLS_Srv:`, `TLS_Clt:` and `TLS_Rcpt:`: `[PERM+|TEMP+]VERIFY[:bits]` or
//! `ENCR:bits`, and behind a `+` what the certificate must say, `CN:name++CI:issuer`. `Srv_Features:`: letters. Called by `access` and
//! `check_access`.

use nom::branch::alt;
use nom::bytes::complete::tag_no_case;
use nom::character::complete::{char, u32};
use nom::combinator::{map, opt, value};
use nom::sequence::preceded;
use nom::{IResult, Parser};
use table::{Demand, Features, Requirement, Unmet};

/// The demand, if `text` makes one, and what stands behind it: any other text demands nothing, as in sendmail.
pub(crate) fn demand(text: &str) -> Option<(Demand, &str)> {
    let (rest, mut demand) = head(text.trim()).ok()?;
    let Some(list) = rest.strip_prefix('+') else { return Some((demand, rest)) };
    demand.certificate = list.split("++").map(requirement).collect();
    Some((demand, ""))
}

fn head(text: &str) -> IResult<&str, Demand> {
    let permanent = value(Unmet::Permanent, tag_no_case("PERM+"));
    let temporary = value(Unmet::Temporary, tag_no_case("TEMP+"));
    let verify = (tag_no_case("VERIFY"), opt(preceded(char(':'), u32)));
    let encrypt = preceded(tag_no_case("ENCR:"), u32);
    let kind = alt((map(verify, |(_, bits)| (true, bits.unwrap_or(0))), map(encrypt, |bits| (false, bits))));
    let (rest, (unmet, (verified, bits))) = (opt(alt((permanent, temporary))), kind).parse(text)?;
    Ok((rest, Demand { bits, verified, certificate: Vec::new(), unmet: unmet.unwrap_or_default() }))
}

/// One of the list. Names are compared as they stand, in sendmail's encoding.
fn requirement(text: &str) -> Requirement {
    let (kind, name) = text.split_once(':').map_or((text, None), |(kind, name)| (kind, Some(name.to_owned())));
    match (kind.to_ascii_uppercase().as_str(), name) {
        ("CN", name) => Requirement::Name(name),
        ("CS", Some(name)) => Requirement::Subject(name),
        ("CI", Some(name)) => Requirement::Issuer(name),
        _ => Requirement::Unknown(text.to_owned()),
    }
}

/// What sendmail knows and this server does not have, or always does: no harm if it is not obeyed.
const ELSEWHERE: &str = "aAcCfFgGhHoOuU";

/// What is offered; sendmail looks at the first letter of each word. Lower case is what the settings say anyway, except where it demands.
pub(crate) fn features(text: &str) -> Features {
    let mut features = Features { later: is_later(text), ..Features::default() };
    if features.later {
        return features;
    }
    for letter in letters(text) {
        match letter {
            'S' => features.no_starttls = true,
            'V' => features.no_certificate = true,
            'P' => features.no_pipelining = true,
            'D' => features.no_dsn = true,
            'E' => features.no_etrn = true,
            'X' => features.no_expn = true,
            'B' => features.no_verb = true,
            'l' => features.needs_auth = true,
            _ => {}
        }
    }
    features
}

/// The one word: what a table says that could not be asked.
fn is_later(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("temp")
}

fn letters(text: &str) -> impl Iterator<Item = char> {
    text.split_ascii_whitespace().filter_map(|word| word.chars().next())
}

/// What is odd about features.
pub(crate) fn odd_features(text: &str) -> Option<String> {
    if is_later(text) {
        return None;
    }
    let joined = text.split_ascii_whitespace().find(|word| word.len() > 1 && !["u2", "g2"].contains(word));
    let without_meaning = |letter: &char| ELSEWHERE.contains(*letter);
    let unknown = |letter: &char| !"bBdDeElLpPsSvVxX".contains(*letter) && !without_meaning(letter);
    if let Some(word) = joined {
        return Some(format!("letters with blanks between: of \"{word}\" only the first one counts"));
    }
    if let Some(letter) = letters(text).find(unknown) {
        return Some(format!("one of sendmail's letters, not \"{letter}\""));
    }
    let letter = letters(text).find(without_meaning)?;
    Some(format!("another letter: \"{letter}\" changes nothing here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_demanded() {
        let said = |text: &str| demand(text).map(|(d, rest)| (d.verified, d.bits, d.unmet, rest.to_owned()));
        assert_eq!(said("ENCR:112"), Some((false, 112, Unmet::Later, String::new())));
        assert_eq!(said(" PERM+VERIFY:128"), Some((true, 128, Unmet::Permanent, String::new())));
        assert_eq!(said("temp+verify"), Some((true, 0, Unmet::Temporary, String::new())));
        assert_eq!(said("VERIFY:x"), Some((true, 0, Unmet::Later, ":x".into())));
        assert_eq!(said("OK"), None);
        assert_eq!(said("ENCR:"), None);
        assert_eq!(said("ENCR:99999999999"), None);
    }

    #[test]
    fn what_the_certificate_must_say() {
        let said = |text: &str| demand(text).unwrap().0.certificate;
        let name = |name: &str| Requirement::Name(Some(name.into()));
        assert_eq!(said("VERIFY:256+CN:smtp.example"), [name("smtp.example")]);
        assert_eq!(said("VERIFY+cn"), [Requirement::Name(None)]);
        assert_eq!(
            said("PERM+VERIFY+CN:a++CS:/C=US/CN=a+2Bb+20c++CI:/CN=x:y"),
            [name("a"), Requirement::Subject("/C=US/CN=a+2Bb+20c".into()), Requirement::Issuer("/CN=x:y".into())]
        );
        assert_eq!(said("VERIFY+CITag:x"), [Requirement::Unknown("CITag:x".into())]);
        assert_eq!(said("VERIFY+"), [Requirement::Unknown(String::new())]);
        assert_eq!(said("VERIFY"), []);
    }

    #[test]
    fn long_values_cost_little() {
        for piece in ["+CN:a+", "++", "VERIFY:", "+", "S ", "l"] {
            let text = format!("VERIFY{}", piece.repeat((1 << 20) / piece.len()));
            let start = std::time::Instant::now();
            let _ = (demand(&text), features(&text), odd_features(&text));
            assert!(start.elapsed().as_secs() < 5, "{piece}");
        }
    }

    #[test]
    fn what_is_offered() {
        let all = features("S V P D E X B l");
        assert!(all.no_starttls && all.no_certificate && all.no_pipelining && all.no_dsn && all.no_etrn);
        assert!(all.no_expn && all.no_verb && all.needs_auth && !all.later);
        assert_eq!(features(" Temp "), Features { later: true, ..Features::default() });
        assert_eq!(features("s v p d e x b L A c"), Features::default());
        assert_eq!(features("SV"), Features { no_starttls: true, ..Features::default() });
        let odd = |text: &str| odd_features(text).unwrap_or_default();
        assert_eq!((odd("S v l b") + &odd("temp"), odd("")), (String::new(), String::new()));
        assert!(odd("SV").contains("blanks") && odd("s Z").contains("\"Z\"") && odd("A").contains("changes nothing"));
        assert!(odd("u2").contains("changes nothing"));
    }
}
