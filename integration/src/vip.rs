//! Who holds a virtual address, seen to the millisecond: a UDP socket can be bound to it where it is, 20 µs a look.

use std::net::{IpAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use crate::netns::Netns;
use crate::wait;

/// Whether `vip` is an address of the namespace now.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn held(ns: &Netns, vip: impl Into<IpAddr>) -> Result<bool> {
    let vip = vip.into();
    ns.run(|| bindable(vip))
}

/// How many of `vips` are addresses of the namespace now, in one visit.
///
/// # Errors
/// When the namespace cannot be entered.
pub fn count(ns: &Netns, vips: &[IpAddr]) -> Result<usize> {
    ns.run(|| vips.iter().filter(|vip| bindable(**vip)).count())
}

/// Waits until `vip` is there (`true`) or gone.
///
/// # Errors
/// When `limit` passes first.
pub fn expect(ns: &Netns, vip: impl Into<IpAddr>, there: bool, limit: Duration) -> Result<()> {
    let vip = vip.into();
    let what = format!("{vip} {} {}", if there { "in" } else { "gone from" }, ns.name());
    wait::until(&what, limit, || held(ns, vip).is_ok_and(|now| now == there).then_some(()))
}

/// When an address was held: intervals in order, the last one open (`None`) when it is still there.
pub type Holding = Vec<(Instant, Option<Instant>)>;

/// Watches one address in one namespace from a thread.
#[derive(Debug)]
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Holding>>,
}

impl Watch {
    /// Looks every `interval` (1 ms natively; 5 ms in user-mode-linux, where a look costs more).
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(ns: &Netns, vip: impl Into<IpAddr>, interval: Duration) -> Result<Self> {
        let vip = vip.into();
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = ns.thread(move || {
            let mut holding: Holding = Vec::new();
            // One look more after the end was asked for: what the asker has seen is in the record.
            loop {
                let last = flag.load(Ordering::Relaxed);
                let there = bindable(vip);
                match (holding.last_mut(), there) {
                    (Some((_, end @ None)), false) => *end = Some(Instant::now()),
                    (None | Some((_, Some(_))), true) => holding.push((Instant::now(), None)),
                    _ => {}
                }
                if last {
                    return holding;
                }
                wait::pause(interval);
            }
        })?;
        Ok(Self { stop, thread })
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// When the thread failed.
    pub fn finish(self) -> Result<Holding> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("address watch panicked"))?
    }
}

/// Watches one address on both directors of a pair.
#[derive(Debug)]
pub struct Masters {
    a: Watch,
    b: Watch,
}

/// What [`Masters`] saw.
#[derive(Debug)]
pub struct Held {
    /// When the first director held the address.
    pub a: Holding,
    /// When the second did.
    pub b: Holding,
    /// The longest time both did.
    pub both: Duration,
}

impl Masters {
    /// Looks every `interval`, as [`Watch::start`].
    ///
    /// # Errors
    /// When a thread cannot be started.
    pub fn start(a: &Netns, b: &Netns, vip: impl Into<IpAddr>, interval: Duration) -> Result<Self> {
        let vip = vip.into();
        Ok(Self { a: Watch::start(a, vip, interval)?, b: Watch::start(b, vip, interval)? })
    }

    /// Ends the watch.
    ///
    /// # Errors
    /// When a thread failed.
    pub fn finish(self) -> Result<Held> {
        let (a, b) = (self.a.finish()?, self.b.finish()?);
        let both = longest_overlap(&a, &b);
        Ok(Held { a, b, both })
    }
}

/// The longest time two watches held the address at once.
pub fn longest_overlap(one: &Holding, other: &Holding) -> Duration {
    let now = Instant::now();
    let mut longest = Duration::ZERO;
    for (start, end) in one {
        for (other_start, other_end) in other {
            let from = *start.max(other_start);
            let to = end.unwrap_or(now).min(other_end.unwrap_or(now));
            longest = longest.max(to.saturating_duration_since(from));
        }
    }
    longest
}

fn bindable(vip: IpAddr) -> bool {
    UdpSocket::bind((vip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlaps() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let a = vec![(at(0), Some(at(10))), (at(50), Some(at(60)))];
        for (name, b, want) in [
            ("apart", vec![(at(10), Some(at(50)))], 0),
            ("a moment", vec![(at(8), Some(at(20)))], 2),
            ("the longest counts", vec![(at(9), Some(at(54)))], 4),
            ("nobody", vec![], 0),
        ] {
            assert_eq!(longest_overlap(&a, &b), Duration::from_millis(want), "{name}");
        }
    }
}
