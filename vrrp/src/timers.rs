//! Timer values of version 2 (RFC 3768 §6.1).
//!
//! Here: formulas. Not here: which timer runs (`router`), waiting (the caller's).

use std::time::Duration;

use crate::types::Priority;

/// Skew_Time: (256 − priority) / 256 seconds, whatever the interval (RFC 3768 §6.1). Exact to the
/// nanosecond: 609.375 ms at priority 100.
pub fn skew_time(priority: Priority) -> Duration {
    Duration::from_secs(1) * (256 - u32::from(priority.0)) / 256
}

/// The time without an advertisement after which a Backup takes over.
///
/// `adverts` **own** intervals plus Skew_Time; nothing is learnt from the master in version 2
/// (RFC 3768 §6.1 fixes `adverts` at 3; down_timer_adverts changes it).
pub fn master_down_interval(interval: Duration, adverts: u8, priority: Priority) -> Duration {
    interval * u32::from(adverts) + skew_time(priority)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_and_master_down_interval() {
        for (name, priority, interval, adverts, skew_us, down_us) in [
            ("lowest priority waits longest", 1, 1, 3, 996_093, 3_996_093),
            ("default priority", 100, 1, 3, 609_375, 3_609_375),
            ("skew does not scale with the interval", 100, 3, 3, 609_375, 9_609_375),
            ("high priority", 200, 1, 3, 218_750, 3_218_750),
            ("highest that is no owner", 254, 3, 3, 7_812, 9_007_812),
            ("owner hardly waits", 255, 1, 3, 3_906, 3_003_906),
            ("longest interval", 100, 255, 3, 609_375, 765_609_375),
            ("one advert", 100, 1, 1, 609_375, 1_609_375),
            ("hundred adverts", 100, 1, 100, 609_375, 100_609_375),
        ] {
            let interval = Duration::from_secs(interval);
            let priority = Priority(priority);
            assert_eq!(skew_time(priority).as_micros(), skew_us, "{name}: skew");
            let down = master_down_interval(interval, adverts, priority);
            assert_eq!(down.as_micros(), down_us, "{name}: down");
        }
    }
}
