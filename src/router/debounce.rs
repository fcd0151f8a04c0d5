//! interface_up_down_delays: a link that changes counts only when it has stayed so for a while.
//!
//! Here: which state counts and until when another one waits, pure. Not here: what the kernel says of links
//! (`kernel`), link beat (`links`), the clock (the caller's).

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lbd_grammar::config::LinkDelay;

/// All interfaces, by name.
#[derive(Debug, Default)]
pub(super) struct Debounce {
    delays: HashMap<String, LinkDelay>,
    links: HashMap<String, Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    /// It counts as up.
    counts: bool,
    /// It was up once. Before that nothing is delayed: neither a start nor a new interface waits.
    seen_up: bool,
    /// When the other state counts, unless it reverts before.
    changes_at: Option<Instant>,
}

impl Debounce {
    /// Takes other delays. A change that waits is to be looked at again.
    pub fn set(&mut self, delays: Vec<LinkDelay>) {
        self.delays = delays.into_iter().map(|delay| (delay.interface.clone(), delay)).collect();
    }

    /// Whether an interface counts as up that `is_up` or is not, now.
    pub fn counts(&mut self, now: Instant, name: &str, is_up: bool) -> bool {
        let Some(link) = self.links.get_mut(name) else {
            let link = Link { counts: is_up, seen_up: is_up, changes_at: None };
            self.links.insert(name.to_owned(), link);
            return is_up;
        };
        if is_up == link.counts {
            link.changes_at = None;
            return is_up;
        }
        let delay = match self.delays.get(name).filter(|_| link.seen_up) {
            None => Duration::ZERO,
            Some(delay) if is_up => delay.up,
            Some(delay) => delay.down,
        };
        let at = link.changes_at.map_or(now + delay, |at| at.min(now + delay));
        if now < at {
            link.changes_at = Some(at);
            return link.counts;
        }
        *link = Link { counts: is_up, seen_up: link.seen_up || is_up, changes_at: None };
        is_up
    }

    /// The interface is gone: one of its name is another one.
    pub fn forget(&mut self, name: &str) {
        self.links.remove(name);
    }

    /// When the next change counts.
    pub fn deadline(&self) -> Option<Instant> {
        self.links.values().filter_map(|link| link.changes_at).min()
    }

    /// Interfaces of which a change waits that counts by `now`, or whatever it waits for if `now` is `None`.
    pub fn waiting(&self, now: Option<Instant>) -> Vec<String> {
        let due = |at: Instant| now.is_none_or(|now| at <= now);
        let waiting = self.links.iter().filter(|(_, link)| link.changes_at.is_some_and(due));
        waiting.map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(down: u64, up: u64) -> Vec<LinkDelay> {
        let time = Duration::from_millis;
        vec![LinkDelay { interface: "eth0".into(), down: time(down), up: time(up) }]
    }

    #[test]
    fn links_over_time() {
        // What the link is from a time in milliseconds on, and what counts then.
        for (name, down, up, steps) in [
            ("without delays", 0, 0, vec![(0, true, true), (1, false, false), (2, true, true)]),
            (
                "down is delayed",
                1000,
                0,
                vec![(0, true, true), (10, false, true), (1009, false, true), (1010, false, false)],
            ),
            (
                "and up is not",
                1000,
                0,
                vec![(0, true, true), (0, false, true), (1000, false, false), (1001, true, true)],
            ),
            (
                "up is delayed",
                0,
                500,
                vec![
                    (0, true, true),
                    (1, false, false),
                    (100, true, false),
                    (599, true, false),
                    (600, true, true),
                ],
            ),
            (
                "what reverts in time never was",
                1000,
                500,
                vec![
                    (0, true, true),
                    (10, false, true),
                    (900, true, true),
                    (1010, true, true),
                    (1500, false, true),
                    (2499, false, true),
                    (2500, false, false),
                ],
            ),
            (
                "the same for up",
                0,
                500,
                vec![
                    (0, true, true),
                    (0, false, false),
                    (100, true, false),
                    (400, false, false),
                    (500, true, false),
                    (999, true, false),
                    (1000, true, true),
                ],
            ),
            (
                "down from the start",
                1000,
                500,
                vec![(0, false, false), (5, true, true), (6, false, true), (1006, false, false)],
            ),
        ] {
            let mut debounce = Debounce::default();
            debounce.set(delays(down, up));
            let start = Instant::now();
            for (at, is_up, counts) in steps {
                let now = start + Duration::from_millis(at);
                assert_eq!(debounce.counts(now, "eth0", is_up), counts, "{name} at {at}");
                assert!(debounce.counts(now, "eth1", true), "{name}: another one");
                let waits = debounce.waiting(None);
                assert_eq!(waits.is_empty(), is_up == counts, "{name} at {at}");
                assert_eq!(debounce.deadline().is_some(), is_up != counts, "{name} at {at}");
                assert!(debounce.waiting(Some(now)).is_empty(), "{name} at {at}: none is due");
            }
        }
    }

    #[test]
    fn deadlines() {
        let mut debounce = Debounce::default();
        debounce.set(delays(1000, 0));
        let start = Instant::now();
        debounce.counts(start, "eth0", true);
        debounce.counts(start, "eth0", false);
        let due = start + Duration::from_secs(1);
        assert_eq!(debounce.deadline(), Some(due));
        debounce.counts(start + Duration::from_millis(500), "eth0", false);
        assert_eq!(debounce.deadline(), Some(due), "another word about it does not put it off");
        assert_eq!(debounce.waiting(Some(due)), ["eth0"]);
        // Another configuration while it waits.
        debounce.set(delays(200, 0));
        assert_eq!(debounce.waiting(None), ["eth0"]);
        assert!(debounce.counts(start + Duration::from_millis(600), "eth0", false));
        assert_eq!(debounce.deadline(), Some(start + Duration::from_millis(800)), "the shorter one counts");
        debounce.set(Vec::new());
        assert!(!debounce.counts(start + Duration::from_millis(601), "eth0", false), "none any more");
        assert_eq!(debounce.deadline(), None);
    }

    #[test]
    fn another_interface_of_the_name_begins_anew() {
        let mut debounce = Debounce::default();
        debounce.set(delays(1000, 1000));
        let now = Instant::now();
        debounce.counts(now, "eth0", true);
        debounce.counts(now, "eth0", false);
        debounce.forget("eth0");
        assert_eq!(debounce.deadline(), None);
        assert!(!debounce.counts(now, "eth0", false), "not the old one's delay");
        assert!(debounce.counts(now, "eth0", true), "nor one before it was up");
    }
}
