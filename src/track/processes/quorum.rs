//! Whether there are as many processes as there have to be, and for long enough.
//!
//! Here: one vrrp_track_process, pure. Not here: counting (`census`), the clock (the caller's).

use std::time::{Duration, Instant};

use lbd_grammar::config::TrackProcess;
use lbd_vrrp::TrackerResult;

/// Verdict about one vrrp_track_process.
#[derive(Clone, Debug)]
pub(super) struct Quorum {
    fewest: u32,
    most: Option<u32>,
    /// How long it takes until processes that ended, or that began, make a difference.
    terminate_delay: Duration,
    fork_delay: Duration,
    running: u32,
    good: bool,
    /// When the count that there is now makes a difference.
    changes_at: Option<Instant>,
}

impl Quorum {
    /// The first count makes its difference at once.
    pub fn new(process: &TrackProcess, running: u32) -> Self {
        let mut quorum = Quorum {
            fewest: process.quorum.into(),
            most: process.quorum_max.map(u32::from),
            terminate_delay: process.terminate_delay,
            fork_delay: process.fork_delay,
            running,
            good: false,
            changes_at: None,
        };
        quorum.good = quorum.is_enough(running);
        quorum
    }

    /// Takes a count, the one before included; whether it, or the time that has passed, changed the verdict.
    pub fn on_count(&mut self, now: Instant, running: u32) -> bool {
        let before = std::mem::replace(&mut self.running, running);
        if self.is_enough(running) == self.good {
            self.changes_at = None;
            return false;
        }
        let delay = if running < before { self.terminate_delay } else { self.fork_delay };
        let at = *self.changes_at.get_or_insert(now + delay);
        if now < at {
            return false;
        }
        self.changes_at = None;
        self.good = !self.good;
        true
    }

    /// When [`Quorum::on_count`] is to be called again, whatever happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.changes_at
    }

    pub fn good(&self) -> bool {
        self.good
    }

    /// As VRRP is told.
    pub fn result(&self) -> TrackerResult {
        let Quorum { running, fewest, most, .. } = *self;
        if self.good { TrackerResult::Good } else { TrackerResult::Processes { running, fewest, most } }
    }

    /// The count in words.
    pub fn words(&self) -> String {
        match (self.fewest, self.most) {
            (fewest, None) => format!("{} running, at least {fewest}", self.running),
            (fewest, Some(most)) => format!("{} running, from {fewest} to {most}", self.running),
        }
    }

    fn is_enough(&self, running: u32) -> bool {
        running >= self.fewest && self.most.is_none_or(|most| running <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_grammar::config::ProcessMatch;

    fn process(fewest: u16, most: Option<u16>, delays: (u64, u64)) -> TrackProcess {
        TrackProcess {
            command: vec!["x".into()],
            matching: ProcessMatch::Name,
            quorum: fewest,
            quorum_max: most,
            terminate_delay: Duration::from_millis(delays.0),
            fork_delay: Duration::from_millis(delays.1),
        }
    }

    #[test]
    fn verdicts_over_time() {
        // What the count is from a time in milliseconds on, the verdict then, and until when a change waits.
        let never = None;
        for (name, process, steps) in [
            (
                "without delays",
                process(1, None, (0, 0)),
                vec![(0, 0, false, never), (5, 1, true, never), (6, 7, true, never), (9, 0, false, never)],
            ),
            (
                "fewest of several",
                process(3, None, (0, 0)),
                vec![(0, 2, false, never), (1, 3, true, never), (2, 2, false, never)],
            ),
            (
                "fewest and most",
                process(1, Some(2), (0, 0)),
                vec![(0, 1, true, never), (1, 3, false, never), (2, 2, true, never), (3, 0, false, never)],
            ),
            (
                "none may run",
                process(0, Some(0), (0, 0)),
                vec![(0, 0, true, never), (1, 1, false, never), (2, 0, true, never)],
            ),
            (
                "a loss that is put up with",
                process(1, None, (1000, 0)),
                vec![
                    (0, 1, true, never),
                    (10, 0, true, Some(1010)),
                    (900, 1, true, never),
                    (2000, 1, true, never),
                ],
            ),
            (
                "a loss that lasts",
                process(2, None, (1000, 0)),
                vec![
                    (0, 2, true, never),
                    (10, 1, true, Some(1010)),
                    (500, 0, true, Some(1010)),
                    (1009, 0, true, Some(1010)),
                    (1010, 0, false, never),
                    (1011, 2, true, never),
                ],
            ),
            (
                "new ones count later",
                process(1, None, (0, 300)),
                vec![
                    (0, 0, false, never),
                    (100, 1, false, Some(400)),
                    (200, 0, false, never),
                    (300, 1, false, Some(600)),
                    (600, 1, true, never),
                    (601, 0, false, never),
                ],
            ),
            (
                "too many by a fork, the right number again by an end",
                process(1, Some(1), (200, 300)),
                vec![
                    (0, 1, true, never),
                    (100, 2, true, Some(400)),
                    (400, 2, false, never),
                    (500, 1, false, Some(700)),
                    (700, 1, true, never),
                ],
            ),
        ] {
            let start = Instant::now();
            let (_, first, ..) = steps[0];
            let mut quorum = Quorum::new(&process, first);
            let mut before = quorum.good();
            for (at, running, good, until) in steps {
                let time = |ms| start + Duration::from_millis(ms);
                let changed = quorum.on_count(time(at), running);
                assert_eq!(quorum.good(), good, "{name} at {at}");
                assert_eq!(changed, good != before, "{name} at {at}");
                assert_eq!(quorum.deadline(), until.map(time), "{name} at {at}");
                before = good;
            }
        }
    }

    #[test]
    fn results() {
        let few = Quorum::new(&process(2, Some(3), (0, 0)), 1);
        assert_eq!(few.result(), TrackerResult::Processes { running: 1, fewest: 2, most: Some(3) });
        assert_eq!(few.words(), "1 running, from 2 to 3");
        let enough = Quorum::new(&process(1, None, (0, 0)), 4);
        assert_eq!(
            (enough.result(), enough.words().as_str()),
            (TrackerResult::Good, "4 running, at least 1")
        );
    }
}
