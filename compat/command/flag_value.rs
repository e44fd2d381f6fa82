//! Values of flags: debug levels, hop counts, lists of notifications, envelope ids. Called by `command_line`, whose tests are theirs.

use crate::command_line::{Stop, usage};

/// Whether a list of debug levels, `cat[-cat][.level],…`, sets category 0 to 1 or more. None at all means `0-99.1`.
pub(crate) fn debug_category_0(levels: &str) -> bool {
    let one = |item: &str| {
        let (categories, level) = item.split_once('.').unwrap_or((item, "1"));
        let first = categories.split('-').next().unwrap_or_default();
        first.parse() == Ok(0u32) && level.parse().unwrap_or(0u32) > 0
    };
    levels.is_empty() || levels.split(',').any(one)
}

/// As strtol: nothing is 0, and what is below 0 is none.
pub(crate) fn hops(value: &str) -> Option<u32> {
    if value.is_empty() {
        return Some(0);
    }
    let number: i64 = value.trim_start().parse().ok()?;
    Some(u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

pub(crate) fn notify(value: &str) -> Result<u8, Stop> {
    let wrong = || usage("Invalid -N argument");
    if value.eq_ignore_ascii_case("never") {
        return Ok(1);
    }
    value.split(',').try_fold(0, |bits, word| match word.trim().to_ascii_lowercase().as_str() {
        "success" => Ok(bits | 2),
        "failure" => Ok(bits | 4),
        "delay" => Ok(bits | 8),
        _ => Err(wrong()),
    })
}

/// A second `-N` adds to the first; `never` is only what is left if nothing was asked for.
pub(crate) fn with_notify(before: u8, more: u8) -> u8 {
    match (before | more) & !1 {
        0 => before | more,
        wanted => wanted,
    }
}

pub(crate) fn envelope_id(value: &str) -> Result<Option<String>, Stop> {
    if value.is_empty() {
        return Ok(None);
    }
    xtext(value).map(Some).ok_or_else(|| usage("Invalid syntax in -V flag"))
}

/// Decodes xtext (RFC 3461 4): `+` starts two hex digits (lower case, too, as sendmail takes them), `=` is not allowed. Control characters stay out.
fn xtext(value: &str) -> Option<String> {
    let mut out = String::with_capacity(value.len());
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'+' => {
                let digit = |b: u8| char::from(b).to_digit(16);
                let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'=' => return None,
            b'!'..=b'~' => byte,
            _ => return None,
        };
        if !(b' '..=b'~').contains(&decoded) {
            return None;
        }
        out.push(char::from(decoded));
    }
    Some(out)
}
