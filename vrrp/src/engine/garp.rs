//! Pacing of gratuitous ARP: bursts in rounds, and where an interval is set a queue for each
//! interface with one entry per address.
//!
//! Here: which address is due when. Not here: when a burst is wanted (`router`), the frame (`wire::arp`).

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::RouterId;
use crate::types::GratuitousArp;

#[derive(Clone, Debug)]
struct Waiting {
    router: RouterId,
    address: Ipv4Addr,
    /// Requests still to be sent; a second burst does not add to them, it only fills them up.
    count: u32,
}

#[derive(Clone, Debug, Default)]
struct Queue {
    free_at: Option<Instant>,
    interval: Duration,
    waiting: VecDeque<Waiting>,
}

/// Requests that wait for their interface, by its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Garp {
    queues: BTreeMap<String, Queue>,
}

impl Garp {
    /// Asks for `rounds` requests for each of `addresses` on `device`, at least `interval` apart,
    /// and gives those that are due now to `send`.
    pub fn announce(
        &mut self,
        now: Instant,
        router: RouterId,
        device: &str,
        addresses: &[Ipv4Addr],
        (rounds, interval): (u32, Duration),
        send: &mut impl FnMut(&str, Ipv4Addr),
    ) {
        let rounds = rounds.min(GratuitousArp::MOST_REPEATS);
        if interval.is_zero() {
            for _ in 0..rounds {
                addresses.iter().for_each(|address| send(device, *address));
            }
            return;
        }
        let queue = self.queues.entry(device.to_owned()).or_default();
        queue.interval = interval;
        for address in addresses {
            match queue.waiting.iter_mut().find(|one| (one.router, one.address) == (router, *address)) {
                Some(one) => one.count = one.count.max(rounds),
                None if rounds > 0 => {
                    queue.waiting.push_back(Waiting { router, address: *address, count: rounds });
                }
                None => {}
            }
        }
        self.on_deadline(now, send);
    }

    /// Gives what is due to `send`.
    pub fn on_deadline(&mut self, now: Instant, send: &mut impl FnMut(&str, Ipv4Addr)) {
        for (device, queue) in &mut self.queues {
            if queue.free_at.is_some_and(|at| now < at) {
                continue;
            }
            if let Some(mut one) = queue.waiting.pop_front() {
                send(device, one.address);
                queue.free_at = Some(now + queue.interval);
                one.count -= 1;
                if one.count > 0 {
                    queue.waiting.push_back(one);
                }
            }
        }
        self.queues.retain(|_, queue| !queue.waiting.is_empty() || queue.free_at.is_some_and(|at| now < at));
    }

    /// Forgets what waits for `router`.
    pub fn silence(&mut self, router: RouterId) {
        for queue in self.queues.values_mut() {
            queue.waiting.retain(|one| one.router != router);
        }
    }

    /// When [`Garp::on_deadline`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.queues.values().filter(|queue| !queue.waiting.is_empty()).filter_map(|queue| queue.free_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn drain(garp: &mut Garp, start: Instant, sent: &mut Vec<(u128, Ipv4Addr)>) {
        while let Some(at) = garp.deadline() {
            garp.on_deadline(at, &mut |_, address| sent.push(((at - start).as_millis(), address)));
        }
    }

    #[test]
    fn without_interval_all_rounds_go_at_once() {
        let (mut garp, mut sent) = (Garp::default(), Vec::new());
        let now = Instant::now();
        let burst = (2, Duration::ZERO);
        garp.announce(now, RouterId(1), "eth0", &[A, B], burst, &mut |device, address| {
            sent.push((device.to_owned(), address));
        });
        let on = |address| ("eth0".to_owned(), address);
        assert_eq!(sent, [on(A), on(B), on(A), on(B)]);
        assert_eq!(garp.deadline(), None);
    }

    #[test]
    fn a_burst_is_bounded() {
        for interval in [Duration::ZERO, Duration::from_millis(10)] {
            let (mut garp, mut sent) = (Garp::default(), Vec::new());
            let now = Instant::now();
            garp.announce(now, RouterId(1), "eth0", &[A], (u32::MAX, interval), &mut |_, address| {
                sent.push((0, address));
            });
            drain(&mut garp, now, &mut sent);
            assert_eq!(sent.len(), 100, "{interval:?}");
        }
    }

    #[test]
    fn an_interval_spaces_requests_and_bursts_do_not_add_up() {
        let (mut garp, mut sent) = (Garp::default(), Vec::new());
        let now = Instant::now();
        let burst = (2, Duration::from_millis(10));
        for _ in 0..3 {
            garp.announce(now, RouterId(1), "eth0", &[A, B], burst, &mut |_, address| {
                sent.push((0, address))
            });
        }
        drain(&mut garp, now, &mut sent);
        // The first request of A went out before the second burst filled its count up again.
        assert_eq!(sent, [(0, A), (10, B), (20, A), (30, B), (40, A)]);
    }

    #[test]
    fn interfaces_do_not_wait_for_each_other_and_silence_is_kept() {
        let (mut garp, mut sent) = (Garp::default(), Vec::new());
        let now = Instant::now();
        let burst = (3, Duration::from_millis(10));
        garp.announce(now, RouterId(1), "eth0", &[A], burst, &mut |_, address| sent.push((0, address)));
        garp.announce(now, RouterId(2), "eth1", &[B], burst, &mut |_, address| sent.push((0, address)));
        assert_eq!(sent, [(0, A), (0, B)]);
        garp.silence(RouterId(1));
        drain(&mut garp, now, &mut sent);
        assert_eq!(sent, [(0, A), (0, B), (10, B), (20, B)]);
    }
}
