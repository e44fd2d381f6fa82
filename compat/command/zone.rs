//! The host's time zone, for generated Date fields, From_ lines and `mailq`. Read from /etc/localtime only when needed: most
//! calls bring their own Date. `TZ` has no effect, as in sendmail (sendmail.md 1.9: TimeZoneSpec decides).

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

/// Larger than any real zone file (the largest is below 4 KiB).
const LIMIT: u64 = 1 << 16;

/// The host's rules for local time; UTC if there are none.
#[derive(Debug)]
pub struct Zone(TimeZone);

impl Zone {
    /// Reads /etc/localtime.
    #[must_use]
    pub fn local() -> Self {
        let mut data = Vec::new();
        let read = std::fs::File::open("/etc/localtime").and_then(|file| file.take(LIMIT).read_to_end(&mut data));
        let zone = read.ok().and_then(|_| TimeZone::tzif("local", &data).ok());
        Self(zone.unwrap_or(TimeZone::UTC))
    }
    /// From a zone file's bytes: tests.
    #[cfg(test)]
    pub fn utc() -> Self {
        Self(TimeZone::UTC)
    }
    /// Seconds east of UTC at a moment, and the zone's name.
    #[must_use]
    pub fn at(&self, unix: i64) -> (i32, String) {
        match Timestamp::from_second(unix) {
            Ok(moment) => {
                let info = self.0.to_offset_info(moment);
                (info.offset().seconds(), info.abbreviation().to_owned())
            }
            Err(_) => (0, String::new()),
        }
    }
    /// The Date field's text for a moment.
    #[must_use]
    pub fn date(&self, unix: i64) -> String {
        let (offset, name) = self.at(unix);
        mail::date::rfc5322(unix, offset, &name)
    }
    /// The moment of a local time; the earlier one if there are two.
    #[must_use]
    pub fn moment(&self, local: DateTime) -> Option<i64> {
        let zoned = self.0.to_ambiguous_timestamp(local).earlier();
        zoned.ok().map(Timestamp::as_second)
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// The date in a From_ line, `From alice Sat Nov 21 20:22:16 2026`: the moment, read as local time. The sender before it
/// is skipped unread, for it may hold anything (sendmail.md 1.8).
#[must_use]
pub fn from_line_date(line: &[u8], zone: &Zone) -> Option<i64> {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let day_at = words.iter().rposition(|word| DAYS.contains(word))?;
    let mut date = words.iter().skip(day_at + 1).copied();
    let month = date.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    let day = date.next()?.parse::<i8>().ok()?;
    let mut clock = date.next()?.splitn(3, ':').map(|n| n.parse::<i8>().ok());
    let (hour, minute) = (clock.next()??, clock.next()??);
    let second = clock.next().unwrap_or(Some(0))?;
    // A zone name may stand before the year.
    let year = date.find_map(|word| word.parse::<i16>().ok().filter(|y| *y > 1_000))?;
    let local = DateTime::new(year, i8::try_from(month).ok()?, day, hour, minute, second, 0).ok()?;
    zone.moment(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_lines_have_dates() {
        let zone = Zone::utc();
        let date = |line: &str| from_line_date(line.as_bytes(), &zone);
        assert_eq!(date("From alice Sat Nov 21 20:22:16 2026"), Some(1_795_292_536));
        assert_eq!(date("From alice  Sat Nov 21 20:22:16 2026"), Some(1_795_292_536));
        assert_eq!(date("From Sun Sat Nov 21 20:22:16 UTC 2026"), Some(1_795_292_536));
        assert_eq!(date("From alice Sat Nov 21 20:22 2026"), Some(1_795_292_520));
        for bad in
            ["From ", "From alice", "From a Sat Nov", "From a Sat Nov 99 20:22:16 2026", "From a Sat Foo 1 1:1:1 2026"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
    }
}
