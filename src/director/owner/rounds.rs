//! Which of our services are read when: the rolling audit.
//!
//! Pure. A round reads every service once, in slices, so that no verdict waits long for the thread. Up to
//! [`SMALL`] destinations it takes [`FAST`], at [`LARGE`] it takes [`SLOW`], in between and beyond in
//! proportion; what slices cost stretches the pauses after them, so that all of it costs a hundredth of a processor.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lbd_ipvs::ServiceId;

const SMALL: usize = 1_000;
const FAST: Duration = Duration::from_secs(1);
const LARGE: usize = 40_000;
const SLOW: Duration = Duration::from_secs(9);
/// What one slice reads at most, in destinations; a service alone may be more.
const SLICE: usize = 512;
/// What a service costs beside its destinations, in destinations: its own requests and answers.
const OF_SERVICE: usize = 3;
/// Slices take so many times what they cost.
const SHARE: u32 = 115;
/// So much may be spent before: some kernels count in steps of 10 ms, a slice that wakes the machine costs more.
const AHEAD: Duration = Duration::from_millis(30);
/// No pause is longer, whatever a slice cost: a machine that stood still is no reason to look away.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The audit's place in its round.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Still to be read, with what each costs.
    left: VecDeque<(ServiceId, usize)>,
    /// Time of the round, and all that it reads.
    time: Duration,
    cost: usize,
    due: Instant,
    /// What was spent beyond the share, and until when that is reckoned.
    debt: Duration,
    reckoned: Instant,
    /// Rounds that were completed.
    pub completed: u64,
}

/// What is to be read now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slice {
    /// These services.
    pub ids: Vec<ServiceId>,
    /// They are the last of the round.
    pub ends_round: bool,
    /// Until the next slice.
    pause: Duration,
}

impl Rounds {
    pub(super) fn new(now: Instant) -> Self {
        Rounds {
            left: VecDeque::new(),
            time: FAST,
            cost: 0,
            due: now + FAST,
            debt: Duration::ZERO,
            reckoned: now,
            completed: 0,
        }
    }

    /// When the next slice is due.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// The next slice; a round that begins takes over what is ours now, with the number of destinations.
    pub(super) fn slice(&mut self, ours: impl FnOnce() -> Vec<(ServiceId, usize)>) -> Slice {
        if self.left.is_empty() {
            self.left = ours().into_iter().map(|(id, dests)| (id, dests + OF_SERVICE)).collect();
            let dests = self.left.iter().map(|(_, cost)| cost - OF_SERVICE).sum();
            (self.time, self.cost) = (time_of(dests), self.left.iter().map(|(_, cost)| cost).sum());
        }
        let (mut ids, mut cost) = (Vec::new(), 0);
        while let Some((id, more)) = self.left.pop_front_if(|(_, more)| cost == 0 || cost + *more <= SLICE) {
            ids.push(id);
            cost += more;
        }
        let pause = match self.cost {
            0 => self.time,
            all => part_of(self.time, cost, all),
        };
        Slice { ids, ends_round: self.left.is_empty(), pause }
    }

    /// The slice was read, which cost so much processor time.
    pub(super) fn done(&mut self, now: Instant, slice: &Slice, cost: Duration) {
        let paid = now.saturating_duration_since(self.reckoned) / SHARE;
        self.debt = (self.debt.saturating_sub(paid) + cost).min(AHEAD + LONGEST_PAUSE / SHARE);
        self.reckoned = now;
        let late = self.debt.saturating_sub(AHEAD) * SHARE;
        self.due = now + slice.pause.max(late.min(LONGEST_PAUSE));
        self.completed += u64::from(slice.ends_round);
    }

    /// There is no connection to read over: later.
    pub(super) fn put_off(&mut self, now: Instant) {
        self.due = now + FAST;
    }
}

/// So long takes a round over `dests` destinations.
fn time_of(dests: usize) -> Duration {
    if dests <= SMALL {
        FAST
    } else if dests <= LARGE {
        FAST + part_of(SLOW - FAST, dests - SMALL, LARGE - SMALL)
    } else {
        part_of(SLOW, dests, LARGE)
    }
}

fn part_of(time: Duration, part: usize, all: usize) -> Duration {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    time * number(part) / number(all).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_ipvs::Family;
    use std::num::NonZeroU32;

    fn services(count: u32, dests: usize) -> Vec<(ServiceId, usize)> {
        let id =
            |mark| ServiceId::FwMark { mark: NonZeroU32::new(mark).expect("mark"), family: Family::Inet };
        (1..=count).map(|mark| (id(mark), dests)).collect()
    }

    #[test]
    fn time_of_a_round() {
        for (dests, want_ms) in
            [(0, 1000), (1, 1000), (1000, 1000), (20_500, 5000), (40_000, 9000), (80_000, 18_000)]
        {
            assert_eq!(time_of(dests), Duration::from_millis(want_ms), "{dests}");
        }
    }

    /// Reads rounds until `rounds` are over: slices of each, and how long they took.
    fn run(ours: &[(ServiceId, usize)], cost: Duration, rounds: u64) -> (Vec<Vec<ServiceId>>, Duration) {
        let mut audit = Rounds::new(Instant::now());
        let start = audit.due();
        let mut slices = Vec::new();
        while audit.completed < rounds {
            let now = audit.due();
            let slice = audit.slice(|| ours.to_vec());
            audit.done(now, &slice, cost);
            slices.push(slice.ids);
        }
        (slices, audit.due() - start)
    }

    #[test]
    fn a_round_reads_each_service_once_in_its_time() {
        for (name, ours, slices, time_ms) in [
            ("nothing", services(0, 0), 1, 1000),
            ("one", services(1, 3), 1, 1000),
            ("a hundred of ten", services(100, 10), 3, 1000),
            ("forty thousand", services(2500, 16), 97, 9000),
            ("one that is larger than a slice", services(2, 1000), 2, 1205),
        ] {
            let (read, took) = run(&ours, Duration::ZERO, 1);
            assert_eq!(read.len(), slices, "{name}");
            assert!(read.iter().flatten().eq(ours.iter().map(|(id, _)| id)), "{name}");
            let late = took.abs_diff(Duration::from_millis(time_ms));
            assert!(late < Duration::from_millis(1), "{name}: {took:?}");
        }
    }

    #[test]
    fn what_it_costs_is_a_hundredth_of_a_processor_at_most() {
        let ours = services(2500, 16);
        for cost_ms in [0, 1, 10] {
            let cost = Duration::from_millis(cost_ms);
            let (read, took) = run(&ours, cost, 20);
            let spent = cost * u32::try_from(read.len()).expect("few");
            assert!(spent * 100 <= took, "{cost:?} a slice: {spent:?} of {took:?}");
        }
        let (read, took) = run(&services(1, 1), Duration::from_secs(3600), 1);
        let late = took.abs_diff(LONGEST_PAUSE);
        assert!(read.len() == 1 && late < Duration::from_micros(1), "a machine that stood still: {took:?}");
    }

    #[test]
    fn what_is_counted_in_steps_delays_nothing() {
        let ours = services(3, 2);
        let mut audit = Rounds::new(Instant::now());
        let start = audit.due();
        for round in 0..100 {
            let now = audit.due();
            let slice = audit.slice(|| ours.clone());
            // A step of 10 ms every other second: half of the share.
            audit.done(now, &slice, Duration::from_millis(if round % 2 == 0 { 10 } else { 0 }));
        }
        assert_eq!(audit.due() - start, 100 * FAST);
    }
}
