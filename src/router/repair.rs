//! How often what someone else removes is put back.
//!
//! Here: counting. Not here: who removed it, putting it back (`netconf`).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What a virtual router holds is put back so often within [`WINDOW`]; then the router yields, since whoever removes
/// it means it.
pub(super) const REPAIRS: usize = 5;
/// See [`REPAIRS`].
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// What is static is put back for ever, so often at most.
const GAP: Duration = Duration::from_secs(1);
/// ... and that is told so often at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What is to be done about a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Put it back now.
    PutBack,
    /// Put it back in a second.
    Later,
    /// Let whoever removed it have its way.
    Yield,
}

/// Repairs of one object.
#[derive(Clone, Debug, Default)]
pub(super) struct Repairs {
    /// When it was put back, within [`WINDOW`].
    recent: VecDeque<Instant>,
    /// It was lost and is not back yet.
    lost: bool,
    told: Option<Instant>,
    /// It is left alone until then.
    not_before: Option<Instant>,
    /// How often it was put back.
    pub count: u64,
}

impl Repairs {
    /// Someone removed it. `fixed`: it is static.
    pub fn lost(&mut self, now: Instant, fixed: bool) -> Verdict {
        self.recent.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        self.not_before = None;
        if !fixed && self.recent.len() >= REPAIRS {
            // Those who hold it have let go of it by then.
            self.not_before = Some(now + GAP);
            return Verdict::Yield;
        }
        self.lost = true;
        let last = self.recent.back().copied();
        self.not_before = last.filter(|_| fixed).map(|last| last + GAP).filter(|at| now < *at);
        if self.not_before.is_some() { Verdict::Later } else { Verdict::PutBack }
    }

    /// When it is to be put back, if not yet.
    pub fn waits_until(&self, now: Instant) -> Option<Instant> {
        self.not_before.filter(|at| now < *at)
    }

    /// It is there now; whether that was a repair, and one to be told.
    pub fn back(&mut self, now: Instant, fixed: bool) -> Option<bool> {
        if !std::mem::take(&mut self.lost) {
            return None;
        }
        self.count += 1;
        if self.recent.len() == REPAIRS {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let tell = !fixed || self.told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
        if tell {
            self.told = Some(now);
        }
        Some(tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_routers_hold_is_put_back_five_times_a_minute() {
        let (mut repairs, start) = (Repairs::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(repairs.back(at(0), false), None, "it was not lost");
        for second in 1..=5 {
            assert_eq!(repairs.lost(at(second), false), Verdict::PutBack, "{second}");
            assert_eq!(repairs.back(at(second), false), Some(true), "{second}");
        }
        assert_eq!(repairs.lost(at(60), false), Verdict::Yield);
        assert_eq!((repairs.waits_until(at(60)), repairs.waits_until(at(61))), (Some(at(61)), None));
        assert_eq!(repairs.back(at(60), false), None, "nothing was put back");
        // The first one is a minute ago.
        assert_eq!(repairs.lost(at(61), false), Verdict::PutBack);
        assert_eq!(repairs.back(at(61), false), Some(true));
        assert_eq!(repairs.lost(at(61), false), Verdict::Yield);
        assert_eq!(repairs.count, 6);
    }

    #[test]
    fn what_is_static_is_put_back_for_ever_once_a_second() {
        let (mut repairs, start) = (Repairs::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        for (ms, verdict, told) in [
            (0, Verdict::PutBack, true),
            (500, Verdict::Later, false),
            (1_500, Verdict::PutBack, false),
            (2_600, Verdict::PutBack, false),
            (3_700, Verdict::PutBack, false),
            (4_800, Verdict::PutBack, false),
            (5_900, Verdict::PutBack, false),
            (60_000, Verdict::PutBack, true),
        ] {
            assert_eq!(repairs.lost(at(ms), true), verdict, "{ms}");
            let until = (verdict == Verdict::Later).then(|| at(1_000));
            assert_eq!(repairs.waits_until(at(ms)), until, "{ms}");
            assert_eq!(repairs.back(at(ms), true), Some(told), "{ms}");
        }
        assert_eq!(repairs.count, 8);
    }
}
