//! The host's time zone, as the C library knows it: with its rules, and `TZ`. The only unsafe code here.
#![allow(unsafe_code, reason = "each call has its SAFETY comment")]

use std::ffi::c_int;
use std::ptr;

use super::{Date, Zone};

/// The zone of `TZ` or `/etc/localtime`, read anew when that changes.
pub struct Local;

impl Zone for Local {
    fn unix(&self, date: Date, second: i64) -> Option<i64> {
        let mut time = broken_down(date, second)?;
        // SAFETY: `time` is a whole `struct tm`, which the call reads and puts in order. It also reads the
        // environment, which nothing in lbd changes.
        let found = unsafe { libc::mktime(&raw mut time) };
        // -1 is a second of 1969, or no answer.
        (found != -1).then_some(found)
    }

    fn date(&self, unix: i64) -> Option<Date> {
        // This reads the zone anew, which localtime_r need not.
        let mut found = broken_down(Date { year: 1970, month: 1, day: 1 }, 0)?;
        // SAFETY: as above.
        unsafe { libc::mktime(&raw mut found) };
        // SAFETY: both live longer than the call; it writes `found`, a whole `struct tm`.
        let answer = unsafe { libc::localtime_r(&raw const unix, &raw mut found) };
        (!answer.is_null()).then(|| Date {
            year: i64::from(found.tm_year) + 1900,
            month: i64::from(found.tm_mon) + 1,
            day: i64::from(found.tm_mday),
        })
    }
}

fn broken_down(date: Date, second: i64) -> Option<libc::tm> {
    let part = |number: i64| c_int::try_from(number).ok();
    Some(libc::tm {
        tm_sec: part(second % 60)?,
        tm_min: part(second / 60 % 60)?,
        tm_hour: part(second / 3600)?,
        tm_mday: part(date.day)?,
        tm_mon: part(date.month - 1)?,
        tm_year: part(date.year - 1900)?,
        tm_wday: 0,
        tm_yday: 0,
        // Whether it is summer time the zone's rules say.
        tm_isdst: -1,
        tm_gmtoff: 0,
        tm_zone: ptr::null(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the zone of this host: a time of a day is on that day, and a day later is near 24 hours.
    #[test]
    fn days_and_times_belong_together() {
        let date = Date { year: 2026, month: 7, day: 15 };
        let noon = Local.unix(date, 12 * 3600).expect("a time");
        assert_eq!(Local.date(noon), Some(date));
        let next = Local.unix(date.plus(1), 12 * 3600).expect("a time");
        assert!((23 * 3600..=25 * 3600).contains(&(next - noon)), "{noon} {next}");
        assert_eq!(Local.date(next), Some(date.plus(1)));
    }
}
