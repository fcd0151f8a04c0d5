//! Pacing of gratuitous ARP and unsolicited neighbour advertisements: bursts in rounds, a queue for all interfaces that
//! share a gap and each family, with one entry per address, and no more than a few frames at a time, so that a burst
//! for a thousand addresses never holds up an advertisement.
//!
//! Here: which address is due when. Not here: when a burst is wanted (`router`), the frame (`wire`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{DeviceAddress, RouterId};
use crate::types::{Family, GarpIntervals, GratuitousArp};

/// Frames between two looks at what else is due: about a fifth of a millisecond of system calls.
pub(crate) const AT_ONCE: usize = 64;

/// An address that is announced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Announced {
    pub router: RouterId,
    pub device: String,
    pub address: IpAddr,
}

impl Announced {
    pub fn of(router: RouterId, one: &DeviceAddress) -> Self {
        Announced { router, device: one.device.clone(), address: one.address.address }
    }
}

#[derive(Clone, Debug, Default)]
struct Queue {
    /// Nothing goes out before.
    free_at: Option<Instant>,
    interval: Duration,
    order: VecDeque<Announced>,
    /// Frames still to be sent; a second burst does not add to them, it only fills them up.
    counts: HashMap<Announced, u32>,
}

/// Frames that wait, by the interface that stands for all that share a gap, and family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcements {
    queues: BTreeMap<(String, Family), Queue>,
}

impl Announcements {
    /// Asks for `rounds` frames, as far apart from others as `intervals` say.
    pub fn want(&mut self, now: Instant, of: Announced, intervals: &GarpIntervals, rounds: u32) {
        let rounds = rounds.min(GratuitousArp::MOST_REPEATS);
        if rounds == 0 {
            return;
        }
        let (lane, interval) = intervals.of(&of.device, of.address);
        let queue = self.queues.entry((lane.to_owned(), Family::of(of.address))).or_default();
        queue.interval = interval;
        // Another interval counts from now on.
        let soon = now + interval;
        queue.free_at = Some(queue.free_at.map_or(now, |at| at.min(soon)));
        if let Some(count) = queue.counts.get_mut(&of) {
            *count = rounds.max(*count);
        } else {
            queue.counts.insert(of.clone(), rounds);
            queue.order.push_back(of);
        }
    }

    /// Gives what is due to `send`, at most [`AT_ONCE`] frames.
    pub fn on_deadline(&mut self, now: Instant, send: &mut impl FnMut(&str, IpAddr)) {
        let mut left = AT_ONCE;
        for queue in self.queues.values_mut() {
            while left > 0 && queue.free_at.is_some_and(|at| now >= at) {
                let Some(next) = queue.order.pop_front() else {
                    queue.free_at = None;
                    break;
                };
                // What was silenced has no count.
                let Some(count) = queue.counts.get_mut(&next) else { continue };
                send(&next.device, next.address);
                left -= 1;
                *count -= 1;
                if *count == 0 {
                    queue.counts.remove(&next);
                } else {
                    queue.order.push_back(next);
                }
                queue.free_at = Some(now + queue.interval);
            }
        }
        self.queues.retain(|_, queue| queue.free_at.is_some_and(|at| !queue.order.is_empty() || now < at));
    }

    /// Forgets what waits for `router`.
    pub fn silence(&mut self, router: RouterId) {
        for queue in self.queues.values_mut() {
            queue.counts.retain(|of, _| of.router != router);
            queue.order.retain(|of| of.router != router);
        }
    }

    /// When [`Announcements::on_deadline`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.queues.values().filter(|queue| !queue.order.is_empty()).filter_map(|queue| queue.free_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Gaps, SharedGap};
    use std::net::Ipv4Addr;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
    const MS10: Duration = Duration::from_millis(10);

    fn want(
        queue: &mut Announcements,
        now: Instant,
        of: u64,
        device: &str,
        all: &[IpAddr],
        (rounds, arp): (u32, Duration),
    ) {
        let gaps = Gaps { arp, neighbour: Duration::ZERO };
        let intervals = GarpIntervals { otherwise: gaps, ..GarpIntervals::default() };
        for address in all {
            queue.want(now, announced(of, device, *address), &intervals, rounds);
        }
    }

    fn announced(router: u64, device: &str, address: IpAddr) -> Announced {
        Announced { router: RouterId(router), device: device.to_owned(), address }
    }

    fn drain(queue: &mut Announcements, start: Instant) -> Vec<(u128, IpAddr)> {
        let (mut sent, mut now) = (Vec::new(), start);
        while let Some(at) = queue.deadline() {
            now = now.max(at);
            queue.on_deadline(now, &mut |_, address| sent.push(((now - start).as_millis(), address)));
        }
        sent
    }

    #[test]
    fn without_interval_all_rounds_go_at_once() {
        let (mut queue, now) = (Announcements::default(), Instant::now());
        want(&mut queue, now, 1, "eth0", &[A, B], (2, Duration::ZERO));
        assert_eq!(drain(&mut queue, now), [(0, A), (0, B), (0, A), (0, B)]);
        assert_eq!(queue.deadline(), None);
    }

    #[test]
    fn a_burst_is_bounded() {
        for interval in [Duration::ZERO, MS10] {
            let (mut queue, now) = (Announcements::default(), Instant::now());
            want(&mut queue, now, 1, "eth0", &[A], (u32::MAX, interval));
            assert_eq!(drain(&mut queue, now).len(), 100, "{interval:?}");
        }
    }

    #[test]
    fn a_large_burst_goes_in_parts() {
        let (mut queue, now) = (Announcements::default(), Instant::now());
        let all: Vec<IpAddr> = (0..1000u32).map(|host| Ipv4Addr::from(0x0a00_0000 + host).into()).collect();
        want(&mut queue, now, 1, "eth0", &all, (5, Duration::ZERO));
        let (mut parts, mut sent) = (0, Vec::new());
        while queue.deadline().is_some() {
            let before = sent.len();
            queue.on_deadline(now, &mut |_, address| sent.push(address));
            parts += 1;
            assert!(sent.len() - before <= AT_ONCE);
        }
        assert_eq!((sent.len(), parts), (5000, 79));
        assert_eq!(sent[..1000], all, "each address once before any twice");
    }

    #[test]
    fn an_interval_spaces_requests_and_bursts_do_not_add_up() {
        let (mut queue, now) = (Announcements::default(), Instant::now());
        let mut sent = Vec::new();
        for _ in 0..3 {
            want(&mut queue, now, 1, "eth0", &[A, B], (2, MS10));
            queue.on_deadline(now, &mut |_, address| sent.push((0, address)));
        }
        sent.extend(drain(&mut queue, now));
        // The first request of A went out before the second burst filled its count up again.
        assert_eq!(sent, [(0, A), (10, B), (20, A), (30, B), (40, A)]);
    }

    /// A reload made the interval shorter, and what was wanted then waited for the end of the old one.
    #[test]
    fn a_shorter_interval_counts_at_once() {
        let (mut queue, now) = (Announcements::default(), Instant::now());
        want(&mut queue, now, 1, "eth0", &[A, B], (1, Duration::from_secs(4000)));
        queue.on_deadline(now, &mut |_, _| {});
        want(&mut queue, now, 1, "eth0", &[A], (1, MS10));
        assert_eq!(drain(&mut queue, now), [(10, B), (20, A)]);
    }

    /// A garp_group, and an own interface on one of its members.
    #[test]
    fn interfaces_that_share_a_gap_take_turns() {
        let gaps = Gaps { arp: MS10, neighbour: Duration::ZERO };
        let shared = |name: &str| (name.to_owned(), SharedGap { lane: "eth0".into(), gaps });
        let intervals = GarpIntervals {
            by_interface: ["eth0", "eth1", "vrrp.51"].map(shared).into(),
            otherwise: Gaps::default(),
        };
        let (mut queue, now) = (Announcements::default(), Instant::now());
        for (device, address) in [("eth0", A), ("eth1", A), ("vrrp.51", B), ("eth2", B)] {
            queue.want(now, announced(1, device, address), &intervals, 2);
        }
        let (mut sent, mut at) = (Vec::new(), now);
        while let Some(due) = queue.deadline() {
            at = at.max(due);
            queue.on_deadline(at, &mut |device, _| sent.push(((at - now).as_millis(), device.to_owned())));
        }
        let want = [
            (0, "eth0"),
            (0, "eth2"),
            (0, "eth2"),
            (10, "eth1"),
            (20, "vrrp.51"),
            (30, "eth0"),
            (40, "eth1"),
            (50, "vrrp.51"),
        ];
        assert_eq!(sent, want.map(|(at, device)| (at, device.to_owned())));
    }

    #[test]
    fn interfaces_do_not_wait_for_each_other_and_silence_is_kept() {
        let (mut queue, now) = (Announcements::default(), Instant::now());
        want(&mut queue, now, 1, "eth0", &[A], (3, MS10));
        want(&mut queue, now, 2, "eth1", &[B], (3, MS10));
        let mut sent = Vec::new();
        queue.on_deadline(now, &mut |_, address| sent.push((0, address)));
        assert_eq!(sent, [(0, A), (0, B)]);
        queue.silence(RouterId(1));
        assert_eq!(drain(&mut queue, now), [(10, B), (20, B)]);
    }
}
