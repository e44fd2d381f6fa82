//! Queue ids in sendmail's shape `YMDhmsNNpppppp` (sendmail.md 2.2), because log readers match it:
//! eight characters, then digits. Here `NN` and the digits together are one counter that never goes back,
//! so no id is used twice across restarts and clock jumps; the six time characters are for people.

use serde::{Deserialize, Serialize};
use std::fmt;

const ALPHABET: &[u8; 60] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwx";
const DIGITS: u64 = 1_000_000;
/// The counter starts again after this many ids.
pub const COUNTER_LIMIT: u64 = 3_600 * DIGITS;

/// A queue id. Ordered by time, then by counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct QueueId(u64);

impl QueueId {
    /// From wall-clock seconds since 1970 and a counter (taken modulo [`COUNTER_LIMIT`]).
    #[must_use]
    pub fn new(unix: i64, counter: u64) -> Self {
        let unix = unix.clamp(0, i64::from(u32::MAX));
        Self(((unix as u64) << 32) | (counter % COUNTER_LIMIT))
    }
    /// The number under which it is stored.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }
    /// Back from [`QueueId::to_u64`].
    #[must_use]
    pub const fn from_u64(raw: u64) -> Self {
        Self(raw)
    }
    /// The counter part.
    #[must_use]
    pub const fn counter(self) -> u64 {
        self.0 & 0xffff_ffff
    }
    /// The time part, seconds since 1970.
    #[must_use]
    pub const fn unix(self) -> i64 {
        (self.0 >> 32) as i64
    }
    /// Reads the 14 characters; the year is taken to lie in 2020 to 2079.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes: &[u8; 14] = text.as_bytes().try_into().ok()?;
        let place = |i: usize| ALPHABET.iter().position(|&c| c == bytes[i]).map(|p| p as i64);
        let digits = &bytes[8..];
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        // 1900 + 120 = 2020 is the first year of the present cycle of 60.
        let (year, month, day) = (2020 + place(0)?, place(1)? + 1, place(2)?);
        let days = crate::time_of_day::days_from_civil(year, month, day);
        let unix = days * 86_400 + place(3)? * 3_600 + place(4)? * 60 + place(5)?;
        let low = digits.iter().fold(0u64, |n, d| n * 10 + u64::from(d - b'0'));
        let high = (place(6)? * 60 + place(7)?) as u64;
        let id = Self::new(unix, high * DIGITS + low);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = self.unix();
        let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
        let (year, month, day) = crate::time_of_day::civil_from_days(days);
        let counter = self.counter();
        let high = counter / DIGITS;
        let places = [
            year.rem_euclid(60),
            month - 1,
            day,
            second / 3_600,
            second / 60 % 60,
            second % 60,
            (high / 60) as i64,
            (high % 60) as i64,
        ];
        // 2020 is a multiple of 60 plus 40; sendmail counts from 1900, so its cycle starts at 2020 too.
        let mut out = [0u8; 14];
        for (slot, place) in out.iter_mut().zip(places) {
            *slot = ALPHABET[(place.rem_euclid(60)) as usize];
        }
        out[0] = ALPHABET[((year - 1900).rem_euclid(60)) as usize];
        let mut low = counter % DIGITS;
        for slot in out[8..].iter_mut().rev() {
            *slot = b'0' + (low % 10) as u8;
            low /= 10;
        }
        f.write_str(std::str::from_utf8(&out).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_sendmails_shape_and_reads_back() {
        // 2026-11-21 20:21:06 UTC: the oracle printed 6ALKL6...
        let id = QueueId::new(1_795_292_466, 42);
        assert_eq!(id.to_string(), "6ALKL600000042");
        assert_eq!(QueueId::parse("6ALKL600000042"), Some(id));
        let last = QueueId::new(1_795_292_466, COUNTER_LIMIT - 1);
        assert_eq!(last.to_string(), "6ALKL6xx999999");
        assert_eq!(QueueId::parse("6ALKL6xx999999"), Some(last));
    }

    #[test]
    fn refuses_other_shapes() {
        for bad in ["", "6ALKL60000004", "6ALKL6000000x2", "zALKL600000042", "6ZLKL600000042", "6ALKL60000004é"] {
            assert_eq!(QueueId::parse(bad), None, "{bad}");
        }
    }
}
