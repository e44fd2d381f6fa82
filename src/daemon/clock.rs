//! The real clock and time zone.

use mail::Time;
use mail::time::Clock;
use std::sync::Mutex;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Reads the system's clocks; the zone's answer is kept for the quarter of an hour it was given for.
pub(crate) struct RealClock {
    start: Instant,
    zone: Mutex<Option<(i64, i32, String)>>,
}

/// Zone offsets change on quarter hours.
const QUARTER: i64 = 900;

impl RealClock {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), zone: Mutex::new(None) }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Time {
        let wall = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        let mono = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time { wall, mono }
    }

    fn zone(&self, unix: i64) -> (i32, String) {
        let quarter = unix.div_euclid(QUARTER);
        let mut kept = self.zone.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((at, offset, name)) = &*kept
            && *at == quarter
        {
            return (*offset, name.clone());
        }
        let (offset, name) = look_up(unix);
        *kept = Some((quarter, offset, name.clone()));
        (offset, name)
    }
}

fn look_up(unix: i64) -> (i32, String) {
    let zone = jiff::tz::TimeZone::try_system().unwrap_or(jiff::tz::TimeZone::UTC);
    let Ok(moment) = jiff::Timestamp::from_second(unix) else {
        return (0, "GMT".into());
    };
    let info = zone.to_offset_info(moment);
    (info.offset().seconds(), info.abbreviation().to_owned())
}
