//! Timer values (RFC 3768 §6.1, RFC 9568 §6.1).
//!
//! Here: formulas. Not here: which timer runs (`router`), waiting (the caller's).

use std::time::Duration;

use crate::types::{Priority, Version};

/// Skew_Time: what a Backup of this priority waits longer than one of 256 would.
///
/// Version 2: (256 − priority) / 256 **seconds**, whatever the interval (RFC 3768 §6.1). Version 3: as
/// many parts of the **master's** `interval` (RFC 9568 §6.1). Exact to the nanosecond, which is 609.375 ms
/// at priority 100 and 1 s.
pub fn skew_time(version: Version, interval: Duration, priority: Priority) -> Duration {
    let unit = match version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => interval,
    };
    unit * (256 - u32::from(priority.0)) / 256
}

/// The time without an advertisement after which a Backup takes over: `adverts` intervals and Skew_Time.
///
/// `interval` is the own one in version 2, where nothing is learnt, and the master's in version 3 (both
/// RFCs fix `adverts` at 3; down_timer_adverts changes it).
pub fn master_down_interval(
    version: Version,
    interval: Duration,
    adverts: u8,
    priority: Priority,
) -> Duration {
    interval * u32::from(adverts) + skew_time(version, interval, priority)
}

/// So many adverts of one host may be due at one moment.
const AT_ONCE: usize = 8;

/// How much sooner than the interval says the next advert is to come of the virtual router that is number `rank`,
/// from 0, of `count` that are due at one moment on this host.
///
/// Hundreds that became master together would send together for ever, the last of them late each time. So they spread
/// out over the interval, once, a few at a time; a peer hears one advert early, which prolongs nothing.
pub fn spread(rank: usize, count: usize, interval: Duration) -> Duration {
    let number = |rank: usize| u32::try_from(rank / AT_ONCE).unwrap_or(u32::MAX);
    let slots = number(count.saturating_sub(1)).saturating_add(1);
    (interval / slots).saturating_mul(number(rank)).min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Version::{V2, V3};

    #[test]
    fn adverts_spread_out() {
        for (name, rank, count, interval_ms, want_us) in [
            ("alone", 0, 1, 10, 0),
            ("few at once", 7, 8, 10, 0),
            ("the first of nine", 0, 9, 10, 0),
            ("the ninth", 8, 9, 10, 5000),
            ("the last of sixteen", 15, 16, 10, 5000),
            ("of seventeen", 16, 17, 10, 6666),
            ("the ninth of 250", 8, 250, 10, 312),
            ("the last of 250", 249, 250, 10, 9687),
            ("a second", 249, 250, 1000, 968_750),
            ("nobody", 0, 0, 10, 0),
            ("any number", usize::MAX, usize::MAX, 10, 0),
            ("not of them", usize::MAX, 9, 10, 10_000),
        ] {
            let got = spread(rank, count, Duration::from_millis(interval_ms));
            assert_eq!(got.as_micros(), want_us, "{name}");
        }
    }

    /// V2-T1, V2-T2, V3-T3, V3-T4.
    #[test]
    fn skew_and_master_down_interval() {
        for (name, version, priority, interval_ms, adverts, skew_us, down_us) in [
            ("V2 lowest priority waits longest", V2, 1, 1000, 3, 996_093, 3_996_093),
            ("V2 default priority", V2, 100, 1000, 3, 609_375, 3_609_375),
            ("V2-T1 skew does not scale with the interval", V2, 100, 3000, 3, 609_375, 9_609_375),
            ("V2 lowest, 3 s", V2, 1, 3000, 3, 996_093, 9_996_093),
            ("V2 high priority", V2, 200, 1000, 3, 218_750, 3_218_750),
            ("V2 highest that is no owner", V2, 254, 3000, 3, 7_812, 9_007_812),
            ("V2 owner hardly waits", V2, 255, 1000, 3, 3_906, 3_003_906),
            ("V2 longest interval", V2, 100, 255_000, 3, 609_375, 765_609_375),
            ("V2 one advert", V2, 100, 1000, 1, 609_375, 1_609_375),
            ("V2 hundred adverts", V2, 100, 1000, 100, 609_375, 100_609_375),
            ("V3-T3 same as V2 at 1 s", V3, 100, 1000, 3, 609_375, 3_609_375),
            ("V3-T3 skew scales up", V3, 100, 3000, 3, 1_828_125, 10_828_125),
            ("V3 lowest at 10 cs", V3, 1, 100, 3, 99_609, 399_609),
            ("V3-T4 default at 10 cs, no rounding to cs", V3, 100, 100, 3, 60_937, 360_937),
            ("V3 default at 1 cs", V3, 100, 10, 3, 6_093, 36_093),
            ("V3 200 at 1 cs", V3, 200, 10, 3, 2_187, 32_187),
            ("V3 254 at 1 cs", V3, 254, 10, 3, 78, 30_078),
            ("V3 owner at 4095 cs", V3, 255, 40_950, 3, 159_960, 123_009_960),
            ("V3 lowest at 4095 cs", V3, 1, 40_950, 3, 40_790_039, 163_640_039),
            ("V3 five adverts", V3, 100, 1000, 5, 609_375, 5_609_375),
        ] {
            let interval = Duration::from_millis(interval_ms);
            let priority = Priority(priority);
            assert_eq!(skew_time(version, interval, priority).as_micros(), skew_us, "{name}: skew");
            let down = master_down_interval(version, interval, adverts, priority);
            assert_eq!(down.as_micros(), down_us, "{name}: down");
        }
    }
}
