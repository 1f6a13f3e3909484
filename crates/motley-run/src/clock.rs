//! The wall clock. The one place that reads it: training measures with `Instant`, only names and dates come from here.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A moment in UTC, to the microsecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UtcTime {
    micros: i64,
}

/// Now, in UTC. A clock set before 1970 reads as 1970.
#[allow(clippy::disallowed_methods)]
pub fn utc_now() -> UtcTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UtcTime { micros: i64::try_from(since.as_micros()).unwrap_or(i64::MAX) }
}

impl UtcTime {
    /// The moment `seconds` after 1970-01-01T00:00:00Z.
    pub fn from_unix(seconds: i64) -> Self {
        Self { micros: seconds.saturating_mul(1_000_000) }
    }

    /// Seconds since 1970-01-01T00:00:00Z, with their fraction.
    pub fn unix_seconds(self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// `2026-11-03T09:05:07Z` (RFC 3339).
    pub fn rfc3339(self) -> String {
        let ((y, m, d), (h, min, s)) = self.civil();
        format!("{y:04}-{m:02}-{d:02}T{h:02}:{min:02}:{s:02}Z")
    }

    /// `20261103T090507Z`, fit for file names.
    pub fn compact(self) -> String {
        let ((y, m, d), (h, min, s)) = self.civil();
        format!("{y:04}{m:02}{d:02}T{h:02}{min:02}{s:02}Z")
    }

    /// ((year, month, day), (hour, minute, second)) in the proleptic Gregorian calendar.
    ///
    /// The date counts days within 400-year eras of years that begin in March, so that the leap day comes last.
    fn civil(self) -> ((i64, i64, i64), (i64, i64, i64)) {
        let seconds = self.micros.div_euclid(1_000_000);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let from_march_0000 = days + 719_468;
        let (era, day) = (from_march_0000.div_euclid(146_097), from_march_0000.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day_of_year = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day_of_year + 2) / 153;
        let date = (
            era * 400 + year + i64::from(month >= 10),
            if month < 10 { month + 3 } else { month - 9 },
            day_of_year - (153 * month + 2) / 5 + 1,
        );
        (date, (second / 3_600, second / 60 % 60, second % 60))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let at = |s| UtcTime::from_unix(s).rfc3339();
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(-1), "1969-12-31T23:59:59Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_709_164_800), "2024-02-29T00:00:00Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(at(1_234_567_890), "2009-02-13T23:31:30Z");
        assert_eq!(UtcTime::from_unix(1_234_567_890).compact(), "20090213T233130Z");
    }

    #[test]
    fn every_day_of_eight_centuries_follows_the_one_before() {
        let leap = |y: i64| y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        let length = |y, m| match m {
            2 => 28 + i64::from(leap(y)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let (mut y, mut m, mut d) = (1970, 1, 1);
        for day in 0..365 * 800 {
            assert_eq!(UtcTime::from_unix(day * 86_400 + 86_399).civil(), ((y, m, d), (23, 59, 59)));
            d += 1;
            if d > length(y, m) {
                (d, m) = (1, m + 1);
            }
            if m > 12 {
                (m, y) = (1, y + 1);
            }
        }
    }

    #[test]
    fn now_is_after_this_was_written() {
        assert!(utc_now() > UtcTime::from_unix(1_700_000_000));
    }
}
