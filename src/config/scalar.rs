//! Values: one KDL value becomes any serde type; durations and sizes have units. Called through the declarations in
//! `setting.rs`.

use kdl::KdlValue;
use serde::de::{DeserializeOwned, IntoDeserializer, Visitor, value::Error};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

use crate::problem::did_you_mean;

/// A type of value that a setting can have.
pub trait Scalar: DeserializeOwned {
    /// What the settings structs hold.
    type Field;
    /// The words allowed, for a choice.
    const CHOICES: &'static [&'static str] = &[];
    /// What it is, with its unit and limits, for errors and the reference.
    fn what() -> String;
    /// The checked value.
    fn field(self) -> Self::Field;
    /// As it is written in KDL; `None` for a value that is not set.
    fn show(field: &Self::Field) -> Option<String>;
}

/// Decodes one value.
pub fn scalar<T: Scalar>(value: &KdlValue) -> Result<T::Field, String> {
    if !T::CHOICES.is_empty() {
        let word = value.as_string().ok_or_else(|| format!("expected {}", T::what()))?;
        if !T::CHOICES.contains(&word) {
            let near = did_you_mean(word, T::CHOICES.iter().copied());
            return Err(format!("unknown value \"{word}\", expected {}{near}", T::what()));
        }
    }
    let decoded: Result<T, Error> = match value {
        KdlValue::String(text) => T::deserialize(text.as_str().into_deserializer()),
        KdlValue::Integer(number) => {
            let number = i64::try_from(*number).map_err(|_| format!("number out of range, expected {}", T::what()))?;
            T::deserialize(number.into_deserializer())
        }
        KdlValue::Bool(flag) => T::deserialize((*flag).into_deserializer()),
        KdlValue::Float(number) => T::deserialize((*number).into_deserializer()),
        KdlValue::Null => T::deserialize(().into_deserializer()),
    };
    decoded.map(T::field).map_err(|error| error.to_string())
}

/// A KDL string.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(format!("\\u{{{:x}}}", c as u32).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The words of a choice as an English list: `"mbox" or "maildir"`.
#[must_use]
pub fn either(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|c| format!("\"{c}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// Reads a string with a check; a number gets `hint`.
pub(crate) struct Checked<T> {
    pub what: String,
    pub check: fn(&str) -> Result<T, String>,
    pub hint: fn(i64) -> String,
}

impl<T> Visitor<'_> for Checked<T> {
    type Value = T;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        (self.check)(text).map_err(E::custom)
    }
    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<T, E> {
        let hint = (self.hint)(number);
        Err(E::custom(format!("{number} is a number, expected {}{hint}", self.what)))
    }
}

pub(crate) fn no_hint(_: i64) -> String {
    String::new()
}

/// Makes a scalar of strings that a function checks and normalizes.
macro_rules! text {
    ($(#[$about:meta])* $name:ident, $what:literal, $check:path) => {
        $(#[$about])*
        pub struct $name(String);
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let visitor = Checked { what: $what.to_owned(), check: $check, hint: no_hint };
                from.deserialize_any(visitor).map(Self)
            }
        }
        impl Scalar for $name {
            type Field = String;
            fn what() -> String { $what.to_owned() }
            fn field(self) -> String { self.0 }
            fn show(field: &String) -> Option<String> { Some(quote(field)) }
        }
    };
}
pub(crate) use text;

/// Makes an enum of words, each declared once.
macro_rules! choice {
    ($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name { $($(#[$note])* #[serde(rename = $word)] $variant),+ }
        impl $crate::scalar::Scalar for $name {
            type Field = Self;
            const CHOICES: &'static [&'static str] = &[$($word),+];
            fn what() -> String { $crate::scalar::either(Self::CHOICES) }
            fn field(self) -> Self { self }
            fn show(field: &Self) -> Option<String> {
                Some($crate::scalar::quote(match field { $(Self::$variant => $word),+ }))
            }
        }
    };
}
pub(crate) use choice;

/// A value that may be left out and has no default.
#[derive(Deserialize)]
#[serde(transparent, bound = "T: DeserializeOwned")]
pub struct Maybe<T>(T);

impl<T: Scalar> Scalar for Maybe<T> {
    type Field = Option<T::Field>;
    const CHOICES: &'static [&'static str] = T::CHOICES;
    fn what() -> String {
        T::what()
    }
    fn field(self) -> Self::Field {
        Some(self.0.field())
    }
    fn show(field: &Self::Field) -> Option<String> {
        field.as_ref().and_then(T::show)
    }
}

/// A whole number between two limits, both allowed.
pub struct Count<const MIN: u32, const MAX: u32>(u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Range<const MIN: u32, const MAX: u32>(PhantomData<()>);
        impl<const MIN: u32, const MAX: u32> Visitor<'_> for Range<MIN, MAX> {
            type Value = u32;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from {MIN} to {MAX}")
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u32, E> {
                let fits = u32::try_from(number).ok().filter(|n| (MIN..=MAX).contains(n));
                fits.ok_or_else(|| {
                    E::custom(format!(
                        "{number} is out of range, expected a number from {MIN} to {MAX}"
                    ))
                })
            }
        }
        from.deserialize_any(Range::<MIN, MAX>(PhantomData)).map(Self)
    }
}

impl<const MIN: u32, const MAX: u32> Scalar for Count<MIN, MAX> {
    type Field = u32;
    fn what() -> String {
        format!("a number from {MIN} to {MAX}")
    }
    fn field(self) -> u32 {
        self.0
    }
    fn show(field: &u32) -> Option<String> {
        Some(field.to_string())
    }
}

/// `#true` or `#false`.
pub struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Truth;
        impl Visitor<'_> for Truth {
            type Value = bool;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("#true or #false")
            }
            fn visit_bool<E>(self, flag: bool) -> Result<bool, E> {
                Ok(flag)
            }
        }
        from.deserialize_any(Truth).map(Self)
    }
}

impl Scalar for Flag {
    type Field = bool;
    fn what() -> String {
        "#true or #false".to_owned()
    }
    fn field(self) -> bool {
        self.0
    }
    fn show(field: &bool) -> Option<String> {
        Some(format!("#{field}"))
    }
}

/// Units of [`Duration`] in milliseconds, largest first.
const TIMES: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];
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
        total = number
            .checked_mul(*factor)
            .and_then(|n| total.checked_add(n))
            .ok_or_else(bad)?;
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
        let visitor = Checked {
            what: Self::what(),
            check: Self::check,
            hint: duration_hint,
        };
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
    let hint = || {
        format!(
            "\"{text}\" needs a unit{}",
            size_hint(i64::try_from(number).unwrap_or(0))
        )
    };
    match SIZES.iter().find(|(name, _)| *name == unit.trim_start()) {
        Some((_, factor)) => number
            .checked_mul(*factor)
            .filter(|n| *n <= i64::MAX as u64)
            .ok_or_else(bad),
        None if unit.is_empty() || unit.len() == 1 => Err(hint()),
        None => Err(bad()),
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let visitor = Checked {
            what: Self::what(),
            check: size,
            hint: size_hint,
        };
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
        let unit = SIZES
            .iter()
            .find(|(_, factor)| *field >= *factor && field.is_multiple_of(*factor));
        let (unit, factor) = unit.unwrap_or(&("B", 1));
        Some(quote(&format!("{}{unit}", field / factor)))
    }
}

impl Scalar for deliver::Tls {
    type Field = Self;
    const CHOICES: &'static [&'static str] = &["none", "may", "required"];
    fn what() -> String {
        either(Self::CHOICES)
    }
    fn field(self) -> Self {
        self
    }
    fn show(field: &Self) -> Option<String> {
        Some(quote(match field {
            Self::None => "none",
            Self::May => "may",
            Self::Required => "required",
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Result<u64, String> {
        scalar::<Duration>(&KdlValue::String(text.into()))
    }

    #[test]
    fn durations() {
        assert_eq!(time("5d"), Ok(432_000_000));
        assert_eq!(time("1h30m"), Ok(5_400_000));
        assert_eq!(time("250ms"), Ok(250));
        for bad in [
            "",
            "5",
            "d",
            "5x",
            "30m1h",
            "1m1m",
            "0s",
            "-5s",
            "1.5h",
            "99999999999d",
            "5 d",
            "9999d",
            "5é",
        ] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(
            time("5").unwrap_err(),
            "\"5\" needs a unit; write \"5s\", \"5m\", \"5h\" or \"5d\""
        );
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

    #[test]
    fn counts_and_flags() {
        assert_eq!(scalar::<Count<1, 10>>(&KdlValue::Integer(10)), Ok(10));
        for bad in [0, 11, -1, i128::MAX] {
            assert!(scalar::<Count<1, 10>>(&KdlValue::Integer(bad)).is_err());
        }
        assert_eq!(
            scalar::<Flag>(&KdlValue::String("true".into())).unwrap_err(),
            "invalid type: string \"true\", expected #true or #false"
        );
    }
}
