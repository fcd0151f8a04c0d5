//! One real server of a pool: what its checkers, the operator and its own rules of time make of it.
//!
//! Here: slow_start, flap_damping, orders, weights. Not here: what depends on the other servers.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use lbd_grammar::config::{FlapDamping, RealServer};

use super::{Order, Standing, View};

/// Steps of slow_start: weights of 10 %, 20 % … 100 %.
const STEPS: u32 = 10;

#[derive(Clone, Debug)]
pub(super) struct Member {
    pub standing: Standing,
    pub order: Option<Order>,
    /// It counts for the quorum.
    pub serving: bool,
    /// It does so by keep_at_least alone.
    pub kept: bool,
    /// Found down, or taken out, since it served last: only then it starts slowly.
    seen_down: bool,
    /// Weight that counts.
    pub weight: u32,
    /// Weight in the table.
    pub table_weight: u32,
    /// Which failure it was, counted over the pool; 0 for none.
    pub failure: u64,
    /// slow_start began then.
    slow_from: Option<Instant>,
    /// Only with flap_damping, and only once it went down.
    flaps: Option<Box<Flaps>>,
}

#[derive(Clone, Debug, Default)]
struct Flaps {
    /// When it went down, the latest last; [`MOST_DOWNS`] at most.
    downs: VecDeque<Instant>,
    /// It went down too often and has not held out since.
    damped: bool,
    /// While it is up and damped: since when it is up, and when it has held out.
    up: Option<(Instant, Instant)>,
}

/// flap_damping counts no further.
const MOST_DOWNS: usize = 100;

/// What [`Member::settle`] changed.
#[derive(Default)]
pub(super) struct Settled {
    pub serving: bool,
    pub weight_before: Option<u32>,
    pub table: bool,
}

impl Member {
    /// As it starts; what it does is settled afterwards.
    pub(super) fn new(standing: Standing, failures: &mut u64) -> Self {
        let weight = standing.weight;
        // An earlier process saw it fail.
        let failure = if standing.failed && !standing.alive { next(failures) } else { 0 };
        Member {
            standing,
            order: None,
            serving: false,
            kept: false,
            seen_down: false,
            weight,
            table_weight: weight,
            failure,
            slow_from: None,
            flaps: None,
        }
    }

    /// What its checkers say from now on.
    pub(super) fn judged(
        &mut self,
        now: Instant,
        standing: Standing,
        server: &RealServer,
        failures: &mut u64,
    ) {
        let before = std::mem::replace(&mut self.standing, standing);
        match (before.alive, standing.alive) {
            (true, false) => {
                self.failure = next(failures);
                self.went_down(now, server.flap_damping);
            }
            (false, true) => {
                self.failure = 0;
                self.came_up(now, server.flap_damping);
            }
            _ => {}
        }
    }

    /// The configuration is another.
    pub(super) fn reconfigured(&mut self, server: &RealServer) {
        match (server.flap_damping, &mut self.flaps) {
            (None, flaps) => *flaps = None,
            (Some(damping), Some(flaps)) => {
                flaps.up = flaps.up.map(|(since, _)| (since, since + damping.hold))
            }
            (Some(_), None) => {}
        }
        if server.slow_start.is_zero() {
            self.slow_from = None;
        }
    }

    /// Ends what is over.
    pub(super) fn expire(&mut self, now: Instant, server: &RealServer) {
        if self.held_until().is_some_and(|until| until <= now) {
            self.flaps = None;
        }
        if self.slow_from.is_some_and(|from| step(from, now, server.slow_start) >= STEPS) {
            self.slow_from = None;
        }
    }

    /// Works out what it does now. `kept` is what the pool says.
    pub(super) fn settle(&mut self, now: Instant, server: &RealServer, kept: bool) -> Settled {
        let ordered_out = self.order == Some(Order::Maint);
        self.kept = kept && !ordered_out;
        let serving = !ordered_out && (self.is_sound() || self.kept);
        let weight = match self.order {
            Some(Order::Drain) => 0,
            Some(Order::Weight(weight)) => weight,
            Some(Order::Maint) | None => self.standing.weight,
        };
        if serving && !self.serving {
            let slowly = self.seen_down && !self.kept && !server.slow_start.is_zero();
            self.slow_from = slowly.then_some(now);
            self.seen_down = false;
        } else if !serving {
            self.slow_from = None;
            self.seen_down |= self.standing.failed || ordered_out;
        }
        let table_weight = match self.slow_from {
            Some(from) => part_of(weight, step(from, now, server.slow_start)),
            None => weight,
        };
        let settled = Settled {
            serving: serving != self.serving,
            weight_before: (weight != self.weight).then_some(self.weight),
            table: serving != self.serving || (serving && table_weight != self.table_weight),
        };
        (self.serving, self.weight, self.table_weight) = (serving, weight, table_weight);
        settled
    }

    /// No checker fails, and nothing holds it out.
    pub(super) fn is_sound(&self) -> bool {
        self.standing.alive && !self.is_held()
    }

    /// flap_damping holds it out though no checker fails.
    pub(super) fn is_held(&self) -> bool {
        self.held_until().is_some()
    }

    /// It would take new connections if it served.
    pub(super) fn takes_connections(&self) -> bool {
        match self.order {
            Some(Order::Drain | Order::Maint) => false,
            Some(Order::Weight(weight)) => weight > 0,
            None => self.standing.weight > 0,
        }
    }

    /// When something becomes due by time alone.
    pub(super) fn deadline(&self, now: Instant, server: &RealServer) -> Option<Instant> {
        let next = self.slow_from.map(|from| {
            let next = step(from, now, server.slow_start);
            from + server.slow_start * next / (STEPS - 1)
        });
        self.held_until().into_iter().chain(next).min()
    }

    pub(super) fn view(&self, server: &RealServer) -> View {
        View {
            serving: self.serving,
            weight: self.weight,
            table_weight: self.table_weight,
            order: self.order,
            kept: self.kept,
            held_until: self.held_until(),
            slow_until: self.slow_from.map(|from| from + server.slow_start),
        }
    }

    fn held_until(&self) -> Option<Instant> {
        let (_, until) = self.flaps.as_ref()?.up?;
        self.standing.alive.then_some(until)
    }

    fn went_down(&mut self, now: Instant, damping: Option<FlapDamping>) {
        let Some(damping) = damping else { return };
        let flaps = self.flaps.get_or_insert_default();
        flaps.up = None;
        flaps.downs.push_back(now);
        if flaps.downs.len() > MOST_DOWNS {
            flaps.downs.pop_front();
        }
        let recent =
            flaps.downs.iter().filter(|down| now.saturating_duration_since(**down) <= damping.within);
        flaps.damped |= recent.count() >= usize::try_from(damping.changes).unwrap_or(usize::MAX);
    }

    fn came_up(&mut self, now: Instant, damping: Option<FlapDamping>) {
        if let (Some(damping), Some(flaps)) = (damping, &mut self.flaps)
            && flaps.damped
        {
            flaps.up = Some((now, now + damping.hold));
        }
    }
}

fn next(failures: &mut u64) -> u64 {
    *failures += 1;
    *failures
}

/// Which step of slow_start it is, 1 to [`STEPS`]: nine waits of the same length between ten weights.
fn step(from: Instant, now: Instant, slow_start: Duration) -> u32 {
    let wait = slow_start.as_nanos() / u128::from(STEPS - 1);
    let waits = now.saturating_duration_since(from).as_nanos().checked_div(wait).unwrap_or(u128::MAX);
    u32::try_from(waits).unwrap_or(u32::MAX).saturating_add(1).min(STEPS)
}

/// So many tenths of a weight, at least 1 of a weight above 0.
fn part_of(weight: u32, tenths: u32) -> u32 {
    let part = u64::from(weight) * u64::from(tenths) / u64::from(STEPS);
    u32::try_from(part).unwrap_or(u32::MAX).max(weight.min(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_slow_start() {
        let from = Instant::now();
        let slow = Duration::from_secs(9);
        for (name, after_ms, weight, want) in [
            ("at once a tenth", 0, 100, 10),
            ("just before the first step", 999, 100, 10),
            ("the first step", 1000, 100, 20),
            ("half way", 4500, 100, 50),
            ("just before the end", 8999, 100, 90),
            ("at the end", 9000, 100, 100),
            ("long after it", 900_000, 100, 100),
            ("never less than 1", 0, 3, 1),
            ("0 stays 0", 0, 0, 0),
            ("the largest weight", 8000, 0x7fff_ffff, 1_932_735_282),
        ] {
            let now = from + Duration::from_millis(after_ms);
            assert_eq!(part_of(weight, step(from, now, slow)), want, "{name}");
        }
    }

    #[test]
    fn a_second_is_the_shortest_slow_start_and_its_steps_are_100_ms_apart_or_more() {
        assert!(Duration::from_secs(1) / (STEPS - 1) >= Duration::from_millis(100));
    }
}
