//! How long something that fails is left alone before it is asked again.
//!
//! Here: counting. Not here: what fails, the clock (the caller's).

use std::time::{Duration, Instant};

/// The first failure costs no pause: most errors of sockets are told once.
const FREE: u32 = 1;
/// The pause after the next one; each further one doubles it.
const FIRST: Duration = Duration::from_millis(10);

/// Failures in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    longest: Duration,
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Pauses get no longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Backoff { longest, failures: 0, until: None }
    }

    /// It failed; whether that is to be told: it was not the first time in a row, and was not told before.
    pub fn failed(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let doublings = self.failures.checked_sub(FREE + 1);
        self.until = doublings.map(|doublings| {
            let pause = FIRST.saturating_mul(2_u32.saturating_pow(doublings));
            now + pause.min(self.longest)
        });
        doublings == Some(0)
    }

    /// It worked; whether it had failed and that was told.
    pub fn worked(&mut self) -> bool {
        self.until = None;
        std::mem::take(&mut self.failures) > FREE
    }

    /// How long it is still to be left alone.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|pause| !pause.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_it_works_and_it_is_told_once() {
        let now = Instant::now();
        let mut backoff = Backoff::new(Duration::from_millis(100));
        let pauses: Vec<(bool, u128)> = (0..7)
            .map(|_| (backoff.failed(now), backoff.pause(now).unwrap_or_default().as_millis()))
            .collect();
        assert_eq!(
            pauses,
            [(false, 0), (true, 10), (false, 20), (false, 40), (false, 80), (false, 100), (false, 100)]
        );
        assert_eq!(backoff.pause(now + Duration::from_millis(60)), Some(Duration::from_millis(40)));
        assert_eq!(backoff.pause(now + Duration::from_millis(100)), None, "over");
        for _ in 0..100 {
            assert!(!backoff.failed(now), "for ever");
        }
        assert!(backoff.worked());
        assert_eq!(backoff.pause(now), None);
        assert!(!backoff.failed(now) && !backoff.worked(), "one error that goes by");
    }
}
