//! sendmail's PrivacyOptions (sendmail.md 4.5, 5.5). Called by `finish.rs`, which gives each side its part.

use crate::problem::did_you_mean;
use crate::scalar::{Checked, Scalar, no_hint, quote, text};
use mail::server::Privacy;
use serde::{Deserialize, Deserializer};

text!(
    /// A word of PrivacyOptions.
    Word, "a word of sendmail's PrivacyOptions", word
);

/// In force where `privacy` is not given. sendmail itself has only the first; the others keep strangers from listing users.
pub const USUAL: [&str; 6] = ["authwarnings", "needmailhelo", "noetrn", "noexpn", "noverb", "novrfy"];

/// What `goaway` stands for.
const GO_AWAY: [&str; 7] =
    ["needmailhelo", "needexpnhelo", "needvrfyhelo", "noexpn", "novrfy", "authwarnings", "noverb"];

/// Always in force, as nothing here is set-id: restrictexpand, restrictqrun.
const WORDS: [&str; 17] = [
    "public",
    "needmailhelo",
    "needexpnhelo",
    "needvrfyhelo",
    "noexpn",
    "novrfy",
    "noetrn",
    "noverb",
    "restrictmailq",
    "restrictqrun",
    "restrictexpand",
    "authwarnings",
    "nobodyreturn",
    "noreceipts",
    "goaway",
    "noactualrecipient",
    "noreflection",
];

/// Any case, as in sendmail.
fn word(text: &str) -> Result<String, String> {
    let found = WORDS.iter().find(|word| word.eq_ignore_ascii_case(text));
    found.map(|word| (*word).to_owned()).ok_or_else(|| {
        let near = did_you_mean(text, WORDS.iter().copied());
        format!("\"{text}\" is no word of PrivacyOptions{near}")
    })
}

/// Whether a word is among those given, or in one that stands for several.
#[must_use]
pub fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|given| given == word || (given == "goaway" && GO_AWAY.contains(&word)))
}

/// What SMTP clients meet.
#[must_use]
pub fn towards_clients(words: &[String]) -> Privacy {
    let has = |word| has(words, word);
    Privacy {
        mail_needs_hello: has("needmailhelo"),
        expn_needs_hello: has("needexpnhelo"),
        vrfy_needs_hello: has("needvrfyhelo"),
        no_expn: has("noexpn"),
        no_vrfy: has("novrfy"),
        no_etrn: has("noetrn"),
        no_verb: has("noverb"),
        no_receipts: has("noreceipts"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_what_they_stand_for() {
        let words = |given: &[&str]| given.iter().map(|text| word(text).unwrap()).collect::<Vec<_>>();
        let goaway = towards_clients(&words(&["GoAway"]));
        assert!(goaway.no_expn && goaway.vrfy_needs_hello && !goaway.no_etrn && !goaway.no_receipts);
        assert!(has(&words(&["goaway"]), "authwarnings") && !has(&words(&["goaway"]), "restrictmailq"));
        let public = towards_clients(&words(&["public", "noreceipts"]));
        assert!(!public.no_vrfy && !public.mail_needs_hello && public.no_receipts);
        assert!(word("noexpand").unwrap_err().contains("noexpn"));
    }
}
