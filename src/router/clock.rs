//! The clock of the VRRP thread: the boot clock, on which a suspended host notices that it slept.
//!
//! The engine counts in [`Instant`]s, whose value nobody may know; here they are the boot clock's, and a
//! deadline is an absolute time of a timerfd.

use std::time::{Duration, Instant, SystemTime};

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};

#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    base: Instant,
    boot: Duration,
}

impl Clock {
    pub fn new() -> nix::Result<Self> {
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME)?.into();
        Ok(Clock { base: Instant::now(), boot })
    }

    /// Now.
    pub fn now(&self) -> Instant {
        // It was readable once; it does not go away.
        let boot = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(self.boot, Duration::from);
        self.base + boot.saturating_sub(self.boot)
    }

    /// What a timerfd of `CLOCK_BOOTTIME` is set to for `at`.
    pub fn absolute(&self, at: Instant) -> TimeSpec {
        TimeSpec::from_duration(self.boot + at.saturating_duration_since(self.base))
    }

    /// The time of day at `at`, which is not after `now`.
    pub fn time_of_day(now: Instant, at: Instant) -> SystemTime {
        let wall = SystemTime::now();
        wall.checked_sub(now.saturating_duration_since(at)).unwrap_or(wall)
    }

    /// Since 1970; zero on a host whose clock is before that.
    pub fn unix() -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_on_the_boot_clock() {
        let clock = Clock::new().expect("boot clock");
        let now = clock.now();
        let due = Duration::from(clock.absolute(now + Duration::from_secs(5)));
        let boot = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).expect("boot clock"));
        let rest = due.saturating_sub(boot);
        assert!(rest <= Duration::from_secs(5) && rest > Duration::from_secs(3), "{rest:?}");
        assert!(clock.now() >= now);
    }
}
