//! What the values of several tables have in common: refusals (`ERROR:5.7.1:550 text`), the parameters `%0`…`%9`, and how much of an
//! address is ever looked up. Called by the look-ups beside it. Source: sendmail.md 3.3 to 3.5; each oddity was run on 8.17.1.9.

use crate::token::{quoted, single, unquoted, word};
use mail::{Severity, Status};
use nom::branch::alt;
use nom::bytes::complete::{tag, tag_no_case};
use nom::character::complete::multispace0;
use nom::sequence::{delimited, preceded, terminated};
use nom::{IResult, Parser};
use table::{Answer, Hit, Refusal, Table, Unavailable};

/// Longest domain that is looked up, in octets (RFC 5321 4.5.3.1.2); a longer one is in no table.
pub(crate) const DOMAIN: usize = mail::address::DOMAIN_LIMIT;
/// Longest address that is looked up, in octets.
pub(crate) const ADDRESS: usize = mail::address::PATH_LIMIT;
/// Longest value after its parameters were put in, in octets: one line of many `%1` must not fill the memory.
const FILLED: usize = 4_096;
/// What a refusal without a text says.
const NO_TEXT: &str = "Access denied";

/// How a keyword of `error:` is told from the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    /// access: there are none; `ERROR:nouser:550 x` is all text.
    None,
    /// virtusertable: `error:nouser 550 text`; any first word is taken for the keyword.
    Blank,
    /// mailertable: `error:nohost:550 text`.
    Colon,
}

/// The part behind `error:`, if that is how `value` begins.
pub(crate) fn error(value: &str) -> Option<&str> {
    let spaced = |input| -> IResult<&str, &str> {
        delimited(multispace0, terminated(tag_no_case("error"), multispace0), tag(":")).parse(input)
    };
    spaced(value).ok().map(|(rest, _)| rest.trim())
}

/// `5.7.1:text`, or any three words so written: sendmail takes `D.S.N:` away even if it is no status.
fn status_and_text(input: &str) -> IResult<&str, (&str, &str, &str)> {
    let part = || preceded(multispace0, terminated(alt((word, quoted)), multispace0));
    (terminated(part(), tag(".")), terminated(part(), tag(".")), terminated(part(), tag(":"))).parse(input)
}

/// Reads what stands behind `error:`.
pub(crate) fn error_refusal(rest: &str, keyword: Keyword) -> Refusal {
    if let Ok((text, (class, subject, detail))) = status_and_text(rest) {
        let status = Status::split(&format!("{class}.{subject}.{detail}")).map(|(status, _)| status);
        return refusal(text, status);
    }
    match keyword {
        Keyword::None => refusal(rest, None),
        Keyword::Blank => match single(rest) {
            Ok((text, name)) => named(name, text),
            Err(_) => refusal(rest, None),
        },
        Keyword::Colon => match terminated(preceded(multispace0, single), tag(":")).parse(rest) {
            Ok((text, name)) => named(name, text),
            Err(_) => refusal(rest, None),
        },
    }
}

/// Whether `name` is one of `error:`'s keywords. They set the exit code of a program that mails; a reply's status never: a code in the text
/// gives `550 5.0.0`, a text without one `553 5.3.0`.
pub(crate) fn is_keyword(name: &str) -> bool {
    exit_code(name).is_some()
}

/// The exit code (sysexits) that a keyword stands for.
fn exit_code(name: &str) -> Option<u8> {
    Some(match unquoted(name).to_ascii_lowercase().as_str() {
        "usage" => 64,
        "nouser" => 67,
        "nohost" => 68,
        "unavailable" => 69,
        "software" => 70,
        "tempfail" => 75,
        "protocol" => 76,
        "config" => 78,
        _ => return None,
    })
}

fn named(name: &str, text: &str) -> Refusal {
    let mut found = Refusal { exit: exit_code(name), ..refusal(text, None) };
    if text.trim().is_empty() {
        match unquoted(name).to_ascii_lowercase().as_str() {
            "nouser" => "User unknown".clone_into(&mut found.text),
            "nohost" => "Host unknown".clone_into(&mut found.text),
            _ => {}
        }
    }
    found
}

/// A refusal from its text: `550 5.7.1 text`, `550 text`, or a text alone, which is 553 5.3.0 as in sendmail, whatever was `given` in front
/// of it. A status in the text wins over that one. Status and code never contradict each other: the code decides.
pub(crate) fn refusal(text: &str, given: Option<Status>) -> Refusal {
    let text = plain(text);
    let Some((code, rest)) = reply_code(&text) else {
        return Refusal { code: 553, status: Status::permanent(3, 0), text: or_default(&text), exit: None };
    };
    let (own, rest) = Status::split(rest).map_or((None, rest), |(status, rest)| (Some(status), rest));
    let status = of_code(own.or(given).unwrap_or(Status::permanent(0, 0)), code);
    Refusal { code, status, text: or_default(rest), exit: None }
}

fn or_default(text: &str) -> String {
    match text.trim() {
        "" => NO_TEXT.to_owned(),
        text => text.to_owned(),
    }
}

/// `550 ` at the start. `250 fine` is no refusal (sendmail would say 250 and refuse all the same): it stays text.
pub(crate) fn reply_code(text: &str) -> Option<(u16, &str)> {
    let (digits, rest) = text.split_once(' ')?;
    let plain = digits.len() == 3 && digits.bytes().all(|b| b.is_ascii_digit());
    let code: u16 = plain.then(|| digits.parse().ok()).flatten()?;
    (400..600).contains(&code).then(|| (code, rest.trim_start()))
}

const fn of_code(status: Status, code: u16) -> Status {
    let severity = if code < 500 { Severity::Temporary } else { Severity::Permanent };
    Status { severity, ..status }
}

/// Quotes off, white space and control characters to single blanks. Elsewhere as written: sendmail drops blanks beside operators
/// (`gone. Sorry` becomes `gone.Sorry`), which helps nobody.
pub(crate) fn plain(text: &str) -> String {
    let text = if text.contains('"') { without_quotes(text) } else { text.to_owned() };
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

fn without_quotes(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find('"') {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(before);
        let Ok((after, string)) = quoted(from) else { break };
        out.push_str(&unquoted(string));
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Puts the parameters in: `%0` is the key, `%1`… what the look-up gives; one that it does not give is empty; `%%` is a percent sign.
///
/// # Errors
/// If the result is longer than 4,096 octets.
pub(crate) fn fill(hit: &Hit, arguments: &[&str]) -> Result<String, Unavailable> {
    let template = hit.value.trim();
    let mut out = String::with_capacity(template.len().min(FILLED));
    let (mut chars, mut inside, mut escaped) = (template.chars(), false, false);
    while let Some(c) = chars.next() {
        if c != '%' {
            inside ^= c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            out.push(c);
        } else {
            escaped = false;
            match chars.next() {
                Some(n @ '0'..='9') => {
                    let n = n.to_digit(10).and_then(|n| usize::try_from(n).ok());
                    push_parameter(&mut out, n.and_then(|n| arguments.get(n)).copied().unwrap_or_default(), inside);
                }
                Some('%') | None => out.push('%'),
                Some(other) => out.extend(['%', other]),
            }
        }
        if out.len() > FILLED {
            return Err(Unavailable(format!("{}: the value is longer than {FILLED} octets", hit.why)));
        }
    }
    Ok(out)
}

/// A stranger chose it: quoted unless it is so already, or `"x <v@far.example>"@virtual` would be taken for the address inside.
fn push_parameter(out: &mut String, text: &str, inside: bool) {
    let special = |c: char| c.is_whitespace() || c.is_control() || "()<>,;:\\\"".contains(c);
    let quote = !inside && text.contains(special);
    out.extend(quote.then_some('"'));
    for c in text.chars() {
        out.extend((matches!(c, '"' | '\\') && (quote || inside)).then_some('\\'));
        out.push(c);
    }
    out.extend(quote.then_some('"'));
}

/// Asks for a key in any case of letters: maps are compared in lower case (sendmail.md §3).
pub(crate) fn ask<'a>(raw: &'a dyn Table, key: &'a str) -> Answer<'a, Hit> {
    if key.bytes().any(|b| b.is_ascii_uppercase()) {
        let key = key.to_ascii_lowercase();
        Box::pin(async move { raw.look_up(&key).await })
    } else {
        raw.look_up(key)
    }
}

/// A domain as tables have it: without the trailing dot. `None`: empty or too long to be in a table.
pub(crate) fn domain(text: &str) -> Option<&str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    (1..=DOMAIN).contains(&text.len()).then_some(text)
}

/// `user+detail` taken apart at the first plus that has something in front of it.
pub(crate) fn plussed(user: &str) -> Option<(&str, &str)> {
    let first = user.chars().next()?.len_utf8();
    let at = first + user.get(first..)?.find('+')?;
    Some((user.get(..at)?, user.get(at + 1..)?))
}

#[cfg(test)]
#[path = "value_test.rs"]
mod tests;
