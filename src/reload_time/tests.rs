use super::*;

/// Central European time of 2026: an hour before UTC, two from 29 March 01:00 UTC to 25 October 01:00 UTC.
struct Berlin;

const FORWARD: i64 = 1_774_746_000;
const BACK: i64 = 1_792_890_000;

impl Berlin {
    fn offset(unix: i64) -> i64 {
        if (FORWARD..BACK).contains(&unix) { 7200 } else { 3600 }
    }
}

impl Zone for Berlin {
    fn unix(&self, date: Date, second: i64) -> Option<i64> {
        let as_utc = date.days() * DAY + second;
        let winter = as_utc - 3600;
        // Twice: the first. Never: as if the clock had not changed.
        Some(if Self::offset(as_utc - 7200) == 7200 { as_utc - 7200 } else { winter })
    }

    fn date(&self, unix: i64) -> Option<Date> {
        Universal.date(unix + Self::offset(unix))
    }
}

fn moment(text: &str) -> Moment {
    Moment::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"))
}

/// Seconds since 1970 of a time in UTC.
fn utc(text: &str) -> i64 {
    let moment = moment(text);
    Universal.unix(moment.date.expect("with its date"), moment.second).expect("a time")
}

fn since(unix: i64) -> Duration {
    Duration::from_secs(u64::try_from(unix).expect("after 1970"))
}

#[test]
fn days_are_counted_as_the_calendar_has_them() {
    for (days, year, month, day) in [
        (0, 1970, 1, 1),
        (-1, 1969, 12, 31),
        (11_016, 2000, 2, 29),
        (11_017, 2000, 3, 1),
        (20_542, 2026, 3, 30),
        (47_540, 2100, 2, 28),
        (47_541, 2100, 3, 1),
    ] {
        let date = Date { year, month, day };
        assert_eq!((date.days(), Date::of_days(days)), (days, date), "{days}");
    }
    for days in -800_000..3_000_000 {
        if days % 997 == 0 {
            assert_eq!(Date::of_days(days).days(), days);
        }
    }
}

#[test]
fn what_a_file_may_say() {
    let day = |year, month, day| Some(Date { year, month, day });
    for (text, date, second, universal) in [
        ("03:04:05", None, 11_045, false),
        ("00:00:00\n", None, 0, false),
        ("23:59:59Z", None, 86_399, true),
        ("  12:00:00 Z \n\n", None, 43_200, true),
        ("26-11-29 03:00:00", day(2026, 11, 29), 10_800, false),
        ("2026-11-29 03:00:00", day(2026, 11, 29), 10_800, false),
        ("2028-02-29\t  03:00:00Z\n", day(2028, 2, 29), 10_800, true),
        ("00-01-01 00:00:00", day(2000, 1, 1), 0, false),
        ("68-12-31 00:00:00", day(2068, 12, 31), 0, false),
        ("69-01-01 00:00:00", day(1969, 1, 1), 0, false),
    ] {
        assert_eq!(Moment::parse(text), Ok(Moment { date, second, universal }), "{text:?}");
    }
    for (text, want) in [
        ("", FORM),
        ("Z", FORM),
        ("3:00:00", FORM),
        ("03:00", FORM),
        ("03:00:00:00", FORM),
        ("03:00:+1", FORM),
        ("03:00:00 2026-11-29", FORM),
        ("2026-11-29", FORM),
        ("2026-11-29T03:00:00", FORM),
        ("126-11-29 03:00:00", FORM),
        ("2026-1-29 03:00:00", FORM),
        ("2026-11-29 03:00:00 04:00:00", FORM),
        ("24:00:00", "there is no such time of day"),
        ("12:60:00", "there is no such time of day"),
        ("12:00:60", "there is no such time of day"),
        ("2026-02-29 12:00:00", "there is no such day"),
        ("2026-00-10 12:00:00", "there is no such day"),
        ("2026-13-10 12:00:00", "there is no such day"),
        ("2026-11-31 12:00:00", "there is no such day"),
        ("2026-11-00 12:00:00", "there is no such day"),
        ("03:00:00\n04:00:00", "it has more than one line"),
        ("\u{663}3:00:00", FORM),
    ] {
        assert_eq!(Moment::parse(text), Err(want), "{text:?}");
    }
}

#[test]
fn the_next_time_is() {
    for (name, text, now, want) in [
        ("later today", "12:00:00Z", "2026-11-29 11:59:59", Some("2026-11-29 12:00:00")),
        ("this second is past", "12:00:00Z", "2026-11-29 12:00:00", Some("2026-11-30 12:00:00")),
        ("tomorrow", "03:00:00Z", "2026-12-31 12:00:00", Some("2027-01-01 03:00:00")),
        ("a date", "2026-12-24 18:00:00Z", "2026-11-29 12:00:00", Some("2026-12-24 18:00:00")),
        ("a date that is past", "2026-11-29 12:00:00Z", "2026-11-29 12:00:00", None),
        ("local time, in winter", "12:00:00", "2026-11-29 10:59:59", Some("2026-11-29 11:00:00")),
        ("local time, in summer", "12:00:00", "2026-07-15 10:00:00", Some("2026-07-16 10:00:00")),
        ("the local day has begun", "00:30:00", "2026-11-28 23:10:00", Some("2026-11-28 23:30:00")),
        ("the day of 23 hours", "03:30:00", "2026-03-28 12:00:00", Some("2026-03-29 01:30:00")),
        ("a time that is left out", "02:30:00", "2026-03-28 12:00:00", Some("2026-03-29 01:30:00")),
        ("and the day after", "02:30:00", "2026-03-29 01:30:00", Some("2026-03-30 00:30:00")),
        ("a time that comes twice", "02:30:00", "2026-10-24 12:00:00", Some("2026-10-25 00:30:00")),
        ("and is once", "02:30:00", "2026-10-25 00:30:00", Some("2026-10-26 01:30:00")),
        ("a local date", "2026-07-15 12:00:00", "2026-07-15 09:59:59", Some("2026-07-15 10:00:00")),
    ] {
        assert_eq!(moment(text).next(utc(now), &Berlin), want.map(utc), "{name}");
    }
}

#[test]
fn looks_at_the_clock() {
    let start = "2026-11-29 02:00:00";
    let daily = "03:00:00Z";
    let dated = "2026-11-29 03:00:00Z";
    let wait = |seconds| Look::In(Duration::from_secs(seconds));
    for (name, text, now, want) in [
        ("not more than a minute", daily, "2026-11-29 02:00:00", wait(60)),
        ("the last minute", daily, "2026-11-29 02:59:18", wait(42)),
        ("it is time", daily, "2026-11-29 03:00:00", Look::Due),
        ("late", daily, "2026-11-29 03:00:07", Look::Due),
        ("the clock was put forward over it", daily, "2026-12-24 20:00:00", Look::Due),
        ("the same with a date", dated, "2026-12-24 20:00:00", Look::Due),
        ("put back a little", daily, "2026-11-29 01:00:00", wait(60)),
        ("put back over a day: the clock's next one", daily, "2026-11-27 02:59:50", wait(10)),
        ("put back with a date: the day counts", dated, "2026-11-27 02:59:50", wait(60)),
    ] {
        let mut schedule = Schedule::new(moment(text), since(utc(start)), &Berlin).expect("not past");
        assert_eq!(schedule.look(since(utc(now)), &Berlin), want, "{name}");
    }
    // Parts of a second count: never early, and no busy waiting.
    let mut schedule = Schedule::new(moment(daily), since(utc(start)), &Berlin).expect("not past");
    let due = since(utc("2026-11-29 03:00:00"));
    let nearly = due - Duration::from_millis(250);
    assert_eq!(schedule.look(nearly, &Berlin), Look::In(Duration::from_millis(250)));
    assert_eq!(schedule.look(due, &Berlin), Look::Due);
}

#[test]
fn a_zone_that_changes_moves_the_moment() {
    let start = utc("2026-11-29 02:00:00");
    let mut schedule = Schedule::new(moment("05:00:00"), since(start), &Berlin).expect("not past");
    assert_eq!(schedule.due(), utc("2026-11-29 04:00:00"));
    schedule.look(since(start), &Universal);
    assert_eq!(schedule.due(), utc("2026-11-29 05:00:00"));
}

#[test]
fn past_moments_are_no_schedule() {
    let now = since(utc("2026-11-29 03:00:00"));
    assert_eq!(Schedule::new(moment("2026-11-29 03:00:00Z"), now, &Berlin), None);
    assert!(Schedule::new(moment("03:00:00Z"), now, &Berlin).is_some());
}
