//! Pacing of gratuitous ARP and unsolicited neighbour advertisements: bursts in rounds, a queue for each
//! interface and family with one entry per address, and no more than a few frames at a time, so that a burst
//! for a thousand addresses never holds up an advertisement.
//!
//! Here: which address is due when. Not here: when a burst is wanted (`router`), the frame (`wire`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::RouterId;
use crate::types::{Family, GratuitousArp};

/// Frames between two looks at what else is due: about a fifth of a millisecond of system calls.
pub(crate) const AT_ONCE: usize = 64;

#[derive(Clone, Debug, Default)]
struct Queue {
    /// Nothing goes out before.
    free_at: Option<Instant>,
    interval: Duration,
    order: VecDeque<(RouterId, IpAddr)>,
    /// Frames still to be sent; a second burst does not add to them, it only fills them up.
    counts: HashMap<(RouterId, IpAddr), u32>,
}

/// Frames that wait, by interface and family.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announcements {
    queues: BTreeMap<(String, Family), Queue>,
}

impl Announcements {
    /// Asks for `rounds` frames for `address` on `device`, at least `interval` apart from others there.
    pub fn want(
        &mut self,
        now: Instant,
        router: RouterId,
        device: &str,
        address: IpAddr,
        (rounds, interval): (u32, Duration),
    ) {
        let rounds = rounds.min(GratuitousArp::MOST_REPEATS);
        if rounds == 0 {
            return;
        }
        let at = (device.to_owned(), Family::of(address));
        let queue = self.queues.entry(at).or_default();
        queue.interval = interval;
        // Another interval counts from now on.
        let soon = now + interval;
        queue.free_at = Some(queue.free_at.map_or(now, |at| at.min(soon)));
        match queue.counts.entry((router, address)) {
            std::collections::hash_map::Entry::Occupied(mut count) => {
                let count = count.get_mut();
                *count = rounds.max(*count);
            }
            std::collections::hash_map::Entry::Vacant(count) => {
                count.insert(rounds);
                queue.order.push_back((router, address));
            }
        }
    }

    /// Gives what is due to `send`, at most [`AT_ONCE`] frames.
    pub fn on_deadline(&mut self, now: Instant, send: &mut impl FnMut(&str, IpAddr)) {
        let mut left = AT_ONCE;
        for ((device, _), queue) in &mut self.queues {
            while left > 0 && queue.free_at.is_some_and(|at| now >= at) {
                let Some(next) = queue.order.pop_front() else {
                    queue.free_at = None;
                    break;
                };
                // What was silenced has no count.
                let Some(count) = queue.counts.get_mut(&next) else { continue };
                send(device, next.1);
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
            queue.counts.retain(|(of, _), _| *of != router);
            queue.order.retain(|(of, _)| *of != router);
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
        how: (u32, Duration),
    ) {
        all.iter().for_each(|address| queue.want(now, RouterId(of), device, *address, how));
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
