//! reload_time_file: a file with the time of the next reload.
//!
//! Here: what such a file may say, and when that is, over steps of the clock; pure, apart from the zone,
//! which is a seam. Not here: the file (`watcher`), the host's time zone (`local`), the reload (`daemon`).

mod local;
mod watcher;

use std::time::Duration;

pub use watcher::Watcher;

/// Longest time between two looks at the clock: who sets it, or its zone, is noticed within that.
pub const LOOK_EVERY: Duration = Duration::from_secs(60);

const DAY: i64 = 86_400;

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Date {
    /// 0..=9999 in a file.
    pub year: i64,
    /// 1..=12
    pub month: i64,
    /// 1..=31
    pub day: i64,
}

impl Date {
    /// Days since 1970-01-01, in the calendar that is used today.
    fn days(self) -> i64 {
        // Years begin in March: a leap day is the last of its year.
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let day_of_year = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
    }

    fn of_days(days: i64) -> Self {
        let days = days + 719_468;
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = days.div_euclid(146_097) * 400 + year_of_era + i64::from(month <= 2);
        Date { year, month, day: day_of_year - (153 * shifted + 2) / 5 + 1 }
    }

    fn plus(self, days: i64) -> Self {
        Date::of_days(self.days() + days)
    }
}

/// Where dates and times are meant.
pub trait Zone {
    /// Seconds since 1970 at which it is this time of this day (seconds since midnight); of a time that is
    /// left out or comes twice when clocks are put forward or back, one nearby. `None`: it cannot be said.
    fn unix(&self, date: Date, second: i64) -> Option<i64>;
    /// The day at a time.
    fn date(&self, unix: i64) -> Option<Date>;
}

/// A trailing `Z`.
struct Universal;

impl Zone for Universal {
    fn unix(&self, date: Date, second: i64) -> Option<i64> {
        Some(date.days() * DAY + second)
    }

    fn date(&self, unix: i64) -> Option<Date> {
        Some(Date::of_days(unix.div_euclid(DAY)))
    }
}

/// What a file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Without one it is each day.
    date: Option<Date>,
    /// Since midnight, 0..86400.
    second: i64,
    /// Not in the host's time zone.
    universal: bool,
}

impl Moment {
    /// Reads `HH:MM:SS`, `YY-MM-DD HH:MM:SS` or `YYYY-MM-DD HH:MM:SS`, with `Z` after it for UTC, on one
    /// line.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let line = text.trim();
        if line.contains('\n') {
            return Err("it has more than one line");
        }
        let (line, universal) = match line.strip_suffix('Z') {
            Some(line) => (line.trim_end(), true),
            None => (line, false),
        };
        let (date, time) = match line.split_once([' ', '\t']) {
            Some((date, time)) => (Some(date), time.trim_start()),
            None => (None, line),
        };
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or(FORM)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err("there is no such time of day");
        }
        let date = date.map(|date| {
            let [year, month, day] = match numbers(date, '-', [4, 2, 2]) {
                Some(found) => found,
                None => {
                    let [year, month, day] = numbers(date, '-', [2, 2, 2]).ok_or(FORM)?;
                    // As strptime(3) has it.
                    [if year < 69 { 2000 } else { 1900 } + year, month, day]
                }
            };
            let date = Date { year, month, day };
            // A day that is not there is another one when it is counted.
            let is_there = (1..=12).contains(&month) && Date::of_days(date.days()) == date;
            is_there.then_some(date).ok_or("there is no such day")
        });
        Ok(Moment { date: date.transpose()?, second: hour * 3600 + minute * 60 + second, universal })
    }

    /// Whether it comes again each day.
    pub fn is_daily(&self) -> bool {
        self.date.is_none()
    }

    /// When it is next after `now`; `None`: never again.
    fn next(&self, now: i64, local: &dyn Zone) -> Option<i64> {
        let zone: &dyn Zone = if self.universal { &Universal } else { local };
        if let Some(date) = self.date {
            return zone.unix(date, self.second).filter(|at| *at > now);
        }
        let today = zone.date(now)?;
        // Two days on: tomorrow's may be the same moment as today's where clocks change.
        (0..=2).filter_map(|days| zone.unix(today.plus(days), self.second)).find(|at| *at > now)
    }
}

const FORM: &str = "it is not of the form HH:MM:SS or YYYY-MM-DD HH:MM:SS";

/// Numbers of so many digits each.
fn numbers(text: &str, between: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut parts = text.split(between);
    let mut found = [0; 3];
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        // A number would be read with a sign, too.
        let is_number = part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit());
        *number = if is_number { part.parse().ok()? } else { return None };
    }
    parts.next().is_none().then_some(found)
}

/// Waiting for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    moment: Moment,
    /// Seconds since 1970.
    due: i64,
}

/// What the clock says about a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is time.
    Due,
    /// Look again after this, at the latest.
    In(Duration),
}

impl Schedule {
    /// From now on (`now` is since 1970); `None` when the moment is past.
    pub fn new(moment: Moment, now: Duration, local: &dyn Zone) -> Option<Self> {
        Some(Schedule { moment, due: moment.next(seconds(now), local)? })
    }

    /// Whether it is time. What became due since the last look is due now, however far the clock was put
    /// forward; put back, or into another zone, the moment comes when the clock says so.
    pub fn look(&mut self, now: Duration, local: &dyn Zone) -> Look {
        if seconds(now) < self.due {
            self.due = self.moment.next(seconds(now), local).unwrap_or(self.due);
        }
        let due = Duration::from_secs(u64::try_from(self.due).unwrap_or_default());
        match due.checked_sub(now) {
            None | Some(Duration::ZERO) => Look::Due,
            Some(rest) => Look::In(rest.min(LOOK_EVERY)),
        }
    }

    /// When it is due: seconds since 1970.
    pub fn due(&self) -> i64 {
        self.due
    }
}

fn seconds(since_1970: Duration) -> i64 {
    i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
