//! The values of access (sendmail.md 3.3) and what is wrong with an entry. Called by [`crate::access`] and [`crate::check`].

use crate::token::single;
use crate::value::{Keyword, error, error_refusal, plain, refusal};
use nom::Parser;
use nom::bytes::complete::{tag, tag_no_case};
use nom::character::complete::multispace0;
use nom::sequence::terminated;
use table::Judgement;

/// The tag of a connection.
pub(crate) const CONNECT: &str = "Connect";
/// The tag under which `FRIEND` and `HATER` mean something.
pub(crate) const SPAM: &str = "Spam";

/// Reads a value found under `tag`. Whatever is no word of sendmail's is the text of a refusal: so is a typo such as `RELEY`, which never
/// opens anything and is told when the table is loaded. So is `SKIP` here: where it means something it has not come here.
pub(crate) fn judge(value: &str, tag: &str) -> Judgement {
    let value = value.trim();
    match value.to_ascii_uppercase().as_str() {
        "OK" => Judgement::Ok,
        "RELAY" => Judgement::Relay,
        "REJECT" => Judgement::Reject,
        "DISCARD" => Judgement::Discard,
        "FRIEND" if tag.eq_ignore_ascii_case(SPAM) => Judgement::Friend,
        "HATER" if tag.eq_ignore_ascii_case(SPAM) => Judgement::Hater,
        _ => match (quarantine(value, tag), error(value)) {
            (Some(reason), _) => Judgement::Quarantine(reason),
            (None, Some(rest)) => Judgement::Refuse(error_refusal(rest, Keyword::None)),
            (None, None) => Judgement::Refuse(refusal(value, None)),
        },
    }
}

/// The reason behind `QUARANTINE:`; one that gives none still quarantines, except at the connection (8.17.1.9), where it is the text of a
/// refusal.
fn quarantine(value: &str, tag_asked: &str) -> Option<String> {
    let mark =
        terminated(terminated(tag_no_case::<_, _, nom::error::Error<&str>>("quarantine"), multispace0), tag(":"));
    let (rest, _) = { mark }.parse(value).ok()?;
    let reason = plain(rest);
    match reason.is_empty() {
        true if tag_asked == CONNECT => None,
        true => Some("quarantined by access".to_owned()),
        false => Some(reason),
    }
}

/// Whether a value is a single word that means nothing, such as `RELEY`.
pub(crate) fn lone_word(value: &str) -> bool {
    single(value.trim()).is_ok_and(|(rest, word)| rest.is_empty() && !word.starts_with('"'))
}
