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
                    E::custom(format!("{number} is out of range, expected a number from {MIN} to {MAX}"))
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

/// `#true`, `#false`, or how far: sendmail's `FEATURE(delay_checks)` with its argument.
pub struct Delay(receive::DelayChecks);

impl<'de> Deserialize<'de> for Delay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct How;
        impl Visitor<'_> for How {
            type Value = receive::DelayChecks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&Delay::what())
            }
            fn visit_bool<E>(self, on: bool) -> Result<receive::DelayChecks, E> {
                Ok(if on { receive::DelayChecks::On } else { receive::DelayChecks::Off })
            }
            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<receive::DelayChecks, E> {
                match word {
                    "friend" => Ok(receive::DelayChecks::Friend),
                    "hater" => Ok(receive::DelayChecks::Hater),
                    _ => Err(E::custom(format!("unknown value \"{word}\", expected {}", Delay::what()))),
                }
            }
        }
        from.deserialize_any(How).map(Self)
    }
}

impl Scalar for Delay {
    type Field = receive::DelayChecks;
    fn what() -> String {
        "#true, #false, \"friend\" or \"hater\"".to_owned()
    }
    fn field(self) -> receive::DelayChecks {
        self.0
    }
    fn show(field: &receive::DelayChecks) -> Option<String> {
        let word = match field {
            receive::DelayChecks::Off => "#false",
            receive::DelayChecks::On => "#true",
            receive::DelayChecks::Friend => "\"friend\"",
            receive::DelayChecks::Hater => "\"hater\"",
        };
        Some(word.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
