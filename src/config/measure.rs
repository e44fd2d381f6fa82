//! Durations and sizes: numbers with units. A missing unit is an error that says which to use. Called through the
//! declarations in `setting.rs`.

use crate::scalar::{Checked, Scalar, quote};
use serde::{Deserialize, Deserializer};

/// Units of [`Duration`] in milliseconds, largest first.
const TIMES: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
/// Longest duration: ten years.
const LONGEST: u64 = 3_650 * 86_400_000;

/// A length of time such as `"1h30m"`, in milliseconds. `NEVER`: the word `"never"` is allowed and means 0.
pub struct Duration<const NEVER: bool = false>(u64);

impl<const NEVER: bool> Duration<NEVER> {
    fn check(text: &str) -> Result<u64, String> {
        if NEVER && text == "never" {
            return Ok(0);
        }
        duration(text)
    }
}

fn duration_hint(number: i64) -> String {
    format!("; write \"{number}s\", \"{number}m\", \"{number}h\" or \"{number}d\"")
}

fn duration(text: &str) -> Result<u64, String> {
    let bad = || format!("\"{text}\" is no duration, expected numbers with units such as \"30s\", \"1h30m\" or \"5d\"");
    if let Ok(number) = text.parse::<u32>() {
        return Err(format!("\"{text}\" needs a unit{}", duration_hint(i64::from(number))));
    }
    let (mut total, mut rest, mut smallest) = (0u64, text, u64::MAX);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at_checked(digits).ok_or_else(bad)?;
        let letters = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(letters).ok_or_else(bad)?;
        let (_, factor) = TIMES.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
        let number: u64 = number.parse().map_err(|_| bad())?;
        if *factor >= smallest {
            return Err(bad());
        }
        smallest = *factor;
        total = number.checked_mul(*factor).and_then(|n| total.checked_add(n)).ok_or_else(bad)?;
        rest = after;
    }
    match total {
        0 => Err(format!("\"{text}\" must be longer than nothing")),
        LONGEST.. => Err(format!("\"{text}\" is longer than ten years")),
        _ => Ok(total),
    }
}

impl<'de, const NEVER: bool> Deserialize<'de> for Duration<NEVER> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let visitor = Checked { what: Self::what(), check: Self::check, hint: duration_hint };
        from.deserialize_any(visitor).map(Self)
    }
}

impl<const NEVER: bool> Scalar for Duration<NEVER> {
    type Field = u64;
    fn what() -> String {
        let never = if NEVER { " or \"never\"" } else { "" };
        format!("a duration with units (d, h, m, s, ms){never}")
    }
    fn field(self) -> u64 {
        self.0
    }
    fn show(field: &u64) -> Option<String> {
        let (mut text, mut rest) = (String::new(), *field);
        for (unit, factor) in TIMES {
            if rest >= *factor {
                text.push_str(&format!("{}{unit}", rest / factor));
                rest %= factor;
            }
        }
        Some(quote(if text.is_empty() { "never" } else { &text }))
    }
}

/// Units of [`Size`] in bytes, in the order in which they are tried for printing.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

/// A number of bytes such as `"50MiB"` or `"10MB"`.
pub struct Size(u64);

fn size_hint(number: i64) -> String {
    format!(
        "; write \"{number}MiB\" (1,048,576 bytes each), \"{number}KiB\", \"{number}MB\", \"{number}kB\" or \"{number}B\""
    )
}

fn size(text: &str) -> Result<u64, String> {
    let bad =
        || format!("\"{text}\" is no size, expected a number with a unit such as \"64KiB\", \"50MiB\" or \"10MB\"");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits).ok_or_else(bad)?;
    let number: u64 = number.parse().map_err(|_| bad())?;
    let hint = || format!("\"{text}\" needs a unit{}", size_hint(i64::try_from(number).unwrap_or(0)));
    match SIZES.iter().find(|(name, _)| *name == unit.trim_start()) {
        Some((_, factor)) => number.checked_mul(*factor).filter(|n| *n <= i64::MAX as u64).ok_or_else(bad),
        None if unit.is_empty() || unit.len() == 1 => Err(hint()),
        None => Err(bad()),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let visitor = Checked { what: Self::what(), check: size, hint: size_hint };
        from.deserialize_any(visitor).map(Self)
    }
}

impl Scalar for Size {
    type Field = u64;
    fn what() -> String {
        "a size with a unit (KiB, MiB, GiB, TiB, kB, MB, GB, TB, B)".to_owned()
    }
    fn field(self) -> u64 {
        self.0
    }
    fn show(field: &u64) -> Option<String> {
        let unit = SIZES.iter().find(|(_, factor)| *field >= *factor && field.is_multiple_of(*factor));
        let (unit, factor) = unit.unwrap_or(&("B", 1));
        Some(quote(&format!("{}{unit}", field / factor)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scalar::scalar;
    use kdl::KdlValue;

    fn time(text: &str) -> Result<u64, String> {
        scalar::<Duration>(&KdlValue::String(text.into()))
    }

    #[test]
    fn durations() {
        assert_eq!(time("5d"), Ok(432_000_000));
        assert_eq!(time("1h30m"), Ok(5_400_000));
        assert_eq!(time("250ms"), Ok(250));
        for bad in ["", "5", "d", "5x", "30m1h", "1m1m", "0s", "-5s", "1.5h", "99999999999d", "5 d", "9999d", "5é"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(time("5").unwrap_err(), "\"5\" needs a unit; write \"5s\", \"5m\", \"5h\" or \"5d\"");
        assert_eq!(
            scalar::<Duration>(&KdlValue::Integer(5)).unwrap_err(),
            "5 is a number, expected a duration with units (d, h, m, s, ms); write \"5s\", \"5m\", \"5h\" or \"5d\""
        );
        assert_eq!(scalar::<Duration<true>>(&KdlValue::String("never".into())), Ok(0));
        for text in ["5d", "1h30m", "250ms", "1d1ms"] {
            assert_eq!(Duration::<false>::show(&time(text).unwrap()).unwrap(), quote(text));
        }
    }

    #[test]
    fn sizes() {
        let size = |text: &str| scalar::<Size>(&KdlValue::String(text.into()));
        assert_eq!(size("50MiB"), Ok(50 << 20));
        assert_eq!(size("10MB"), Ok(10_000_000));
        assert_eq!(size("64 KiB"), Ok(64 << 10));
        for bad in ["", "MiB", "50", "50M", "50mib", "1.5GiB", "99999999999TiB", "5é"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        for text in ["50MiB", "10MB", "64KiB", "50kB", "1B", "0B"] {
            assert_eq!(Size::show(&size(text).unwrap()).unwrap(), quote(text));
        }
    }
}
