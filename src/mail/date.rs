//! Dates as sendmail writes them (sendmail.md 1.9, 2.1; RFC 5322 3.3). The zone is an argument: nothing here asks a clock.

use crate::time_of_day::civil_from_days;

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

struct Civil {
    weekday: &'static str,
    year: i64,
    month: i64,
    month_name: &'static str,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

fn civil(unix: i64, offset: i32) -> Civil {
    let local = unix.saturating_add(i64::from(offset));
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    // Wall clocks outside years 1 to 9999 are nonsense; keep the arithmetic far from its ends.
    let days = days.clamp(-719_000, 2_932_896);
    let (year, month, day) = civil_from_days(days);
    Civil {
        // 1970-01-01 was a Thursday.
        weekday: DAYS[(days + 4).rem_euclid(7) as usize],
        year,
        month,
        month_name: MONTHS[(month - 1).rem_euclid(12) as usize],
        day,
        hour: second / 3_600,
        minute: second / 60 % 60,
        second: second % 60,
    }
}

/// The date of a header field: `Sat, 21 Nov 2026 20:22:16 GMT` without an offset, else
/// `Sat, 21 Nov 2026 21:22:16 +0100 (CET)`. `offset` is seconds east of UTC.
#[must_use]
pub fn rfc5322(unix: i64, offset: i32, zone: &str) -> String {
    let c = civil(unix, offset);
    let date =
        format!("{}, {} {} {} {:02}:{:02}:{:02}", c.weekday, c.day, c.month_name, c.year, c.hour, c.minute, c.second);
    if offset == 0 {
        return format!("{date} GMT");
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    let number = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
    // Some zones have no name of their own; tzdata then gives the number, which need not be said twice.
    let named = !zone.is_empty() && zone.bytes().all(|b| b.is_ascii_alphabetic());
    if named { format!("{date} {number} ({zone})") } else { format!("{date} {number}") }
}

/// As `ctime(3)`, for From_ lines: `Sat Nov 21 20:22:16 2026`, the day padded with a blank.
#[must_use]
pub fn ctime(unix: i64, offset: i32) -> String {
    let c = civil(unix, offset);
    format!("{} {} {:>2} {:02}:{:02}:{:02} {}", c.weekday, c.month_name, c.day, c.hour, c.minute, c.second, c.year)
}

/// As `mailq` prints it: `Sat Nov 21 20:52`.
#[must_use]
pub fn ctime_short(unix: i64, offset: i32) -> String {
    let c = civil(unix, offset);
    format!("{} {} {:>2} {:02}:{:02}", c.weekday, c.month_name, c.day, c.hour, c.minute)
}

/// `YYYYMMDDhhmm` in UTC, the head of a Message-Id.
#[must_use]
pub fn compact(unix: i64) -> String {
    let c = civil(unix, 0);
    format!("{:04}{:02}{:02}{:02}{:02}", c.year, c.month, c.day, c.hour, c.minute)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_795_292_536;

    #[test]
    fn as_sendmail_writes_them() {
        assert_eq!(rfc5322(T, 0, "UTC"), "Sat, 21 Nov 2026 20:22:16 GMT");
        assert_eq!(rfc5322(T, 3_600, "CET"), "Sat, 21 Nov 2026 21:22:16 +0100 (CET)");
        assert_eq!(rfc5322(T, -12_600, "NST"), "Sat, 21 Nov 2026 16:52:16 -0330 (NST)");
        assert_eq!(rfc5322(T, 20_700, "+0545"), "Sun, 22 Nov 2026 02:07:16 +0545");
        assert_eq!(ctime(T, 0), "Sat Nov 21 20:22:16 2026");
        assert_eq!(ctime(T - 20 * 86_400, 0), "Sun Nov  1 20:22:16 2026");
        assert_eq!(ctime_short(T, 1_800), "Sat Nov 21 20:52");
        assert_eq!(compact(T), "202611212022");
        assert_eq!(rfc5322(0, 0, ""), "Thu, 1 Jan 1970 00:00:00 GMT");
        assert_eq!(ctime(951_782_400, 0), "Tue Feb 29 00:00:00 2000");
    }

    #[test]
    fn nonsense_clocks_do_not_panic() {
        for t in [i64::MIN, i64::MAX, -1] {
            let _ = (rfc5322(t, 86_400, "X"), ctime(t, -86_400), ctime_short(t, 0), compact(t));
        }
    }
}
