//! How long VRRP waits after a start (vrrp_startup_delay, vrrp_delay_after_boot).

use std::time::Duration;

use crate::state_file::boot_clock_ms;

/// The longer of `startup` and of what is still missing of `after_boot` when the host has been up for
/// `uptime`; zero for no wait.
pub fn startup_delay(startup: Duration, after_boot: Duration, uptime: Duration) -> Duration {
    startup.max(after_boot.saturating_sub(uptime))
}

/// How long the host has been up, time asleep included (`CLOCK_BOOTTIME`); zero where that is not known.
pub fn uptime() -> Duration {
    Duration::from_millis(boot_clock_ms())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_both() {
        for (name, startup, after_boot, uptime, want) in [
            ("neither is configured", 0, 0, 100, 0),
            ("after the start", 5, 0, 100, 5),
            ("after the boot, which was a moment ago", 0, 60, 20, 40),
            ("after the boot, long ago", 0, 60, 100, 0),
            ("just over", 0, 60, 60, 0),
            ("both: the boot needs longer", 5, 60, 20, 40),
            ("both: the start needs longer", 45, 60, 20, 45),
            ("the host's time is not known", 5, 60, 0, 60),
        ] {
            let seconds = Duration::from_secs;
            let got = startup_delay(seconds(startup), seconds(after_boot), seconds(uptime));
            assert_eq!(got, seconds(want), "{name}");
        }
    }

    #[test]
    fn the_host_has_been_up() {
        assert!(uptime() > Duration::ZERO);
    }
}
