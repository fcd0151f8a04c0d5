//! Which interfaces count as up: what the kernel says, the beat of the link, delays.
//!
//! Here: how the three go together, and the slot through which settings and beats come in. Not here: delays
//! (`debounce`), asking for a beat (`linkbeat`), what the kernel says (`kernel`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use lbd_grammar::config::{LinkDelay, LinkbeatInterface};
use lbd_vrrp::Interface;

use super::debounce::Debounce;
use super::linkbeat::Poller;
use super::mailbox::{Slot, Waker};

/// How links are watched beyond what the kernel tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkSettings {
    /// interface_up_down_delays
    pub delays: Vec<LinkDelay>,
    /// linkbeat_interfaces, each once: up only while the link has a beat.
    pub polled: Vec<LinkbeatInterface>,
    /// vrrp_netlink_monitor_rcv_bufs and its kin: octets of the least receive buffer for what the kernel tells.
    pub receive_buffer: u32,
}

/// What comes in: the latest of each counts.
#[derive(Debug, Default)]
pub(super) struct Post {
    pub settings: Option<LinkSettings>,
    /// By interface; `None`: nothing is known, so that what the kernel says counts.
    beats: HashMap<String, Option<bool>>,
    /// Number of the thread that polls.
    poller: u64,
}

impl Post {
    /// What the poller of this number found, unless there is a later one: a driver may have taken its time.
    pub fn tell(&mut self, poller: u64, beats: HashMap<String, Option<bool>>) {
        if poller == self.poller {
            self.beats.extend(beats);
        }
    }

    /// The number of another poller. What those before found counts no more.
    fn next_poller(&mut self) -> u64 {
        self.beats.clear();
        self.poller += 1;
        self.poller
    }

    fn take(&mut self) -> (Option<LinkSettings>, HashMap<String, Option<bool>>) {
        (self.settings.take(), std::mem::take(&mut self.beats))
    }
}

/// Outlives a netconf that fails.
#[derive(Debug, Default)]
pub(super) struct Links {
    debounce: Debounce,
    polled: HashSet<String>,
    beats: HashMap<String, bool>,
    poller: Option<Poller>,
    receive_buffer: u32,
}

impl Links {
    /// Takes what came in; the interfaces that are to be judged anew, also those of which a change counts by now.
    ///
    /// Called in the network namespace of the interfaces: it starts the thread that asks for beats.
    pub fn take(&mut self, now: Instant, post: &Arc<Slot<Post>>, waker: &Waker) -> Vec<String> {
        let (settings, mut beats) = post.with(Post::take);
        let mut affected = self.debounce.waiting(Some(now));
        if let Some(settings) = settings {
            affected.extend(self.debounce.waiting(None));
            self.debounce.set(settings.delays);
            self.receive_buffer = settings.receive_buffer;
            affected.extend(self.polled.drain());
            self.polled.extend(settings.polled.iter().map(|one| one.interface.clone()));
            affected.extend(self.polled.iter().cloned());
            self.beats.retain(|name, _| self.polled.contains(name));
            self.poller = None;
            // Found for the settings before.
            beats.clear();
            let number = post.with(Post::next_poller);
            if !settings.polled.is_empty() {
                match Poller::start(settings.polled, number, Arc::clone(post), waker.clone()) {
                    Ok(poller) => self.poller = Some(poller),
                    Err(error) => {
                        self.beats.clear();
                        tracing::error!(%error, "linkbeat_interfaces: links cannot be polled, the kernel's word alone counts");
                    }
                }
            }
        }
        for (name, beat) in beats {
            match beat {
                Some(beat) => self.beats.insert(name.clone(), beat),
                None => self.beats.remove(&name),
            };
            affected.push(name);
        }
        affected
    }

    /// An interface as it counts.
    pub fn judge(&mut self, now: Instant, interface: Interface) -> Interface {
        let beats = self.beats.get(&interface.name).copied().unwrap_or(true);
        let up = self.debounce.counts(now, &interface.name, interface.up && beats);
        Interface { up, ..interface }
    }

    pub fn forget(&mut self, name: &str) {
        self.debounce.forget(name);
        self.beats.remove(name);
    }

    /// As the settings say.
    pub fn receive_buffer(&self) -> u32 {
        self.receive_buffer
    }

    /// When a change counts that waits.
    pub fn deadline(&self) -> Option<Instant> {
        self.debounce.deadline()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;
    use std::time::Duration;

    struct Bench {
        links: Links,
        post: Arc<Slot<Post>>,
        waker: Waker,
        now: Instant,
    }

    impl Bench {
        fn take(&mut self) -> Vec<String> {
            let mut affected = self.links.take(self.now, &self.post, &self.waker);
            affected.sort();
            affected.dedup();
            affected
        }

        fn beat(&mut self, name: &str, beat: Option<bool>) -> Vec<String> {
            self.post.with(|post| post.tell(post.poller, [(name.into(), beat)].into()));
            self.take()
        }

        fn up(&mut self, name: &str, up: bool) -> bool {
            let index = NonZeroU32::new(7).expect("index");
            let interface = Interface {
                name: name.into(),
                index,
                up,
                multicast: true,
                mac: None,
                addresses: Vec::new(),
                forwarding: false,
            };
            self.links.judge(self.now, interface).up
        }
    }

    /// An interface that is not there is polled without any result, so that the beats are those of the test.
    fn bench(delays: Vec<LinkDelay>) -> Bench {
        let post: Arc<Slot<Post>> = Arc::default();
        let polled = vec![LinkbeatInterface { interface: "lbdnone0".into(), method: None }];
        post.with(|post| post.settings = Some(LinkSettings { delays, polled, receive_buffer: 0 }));
        let waker = Waker::new().expect("eventfd");
        Bench { links: Links::default(), post, waker, now: Instant::now() }
    }

    #[test]
    fn up_with_flags_and_beat() {
        let mut bench = bench(Vec::new());
        assert_eq!(bench.take(), ["lbdnone0"]);
        for (name, beat, flags, want) in [
            ("no beat known", None, true, true),
            ("beat", Some(true), true, true),
            ("no beat", Some(false), true, false),
            ("beat, and down", Some(true), false, false),
            ("neither", Some(false), false, false),
            ("unknown again", None, true, true),
        ] {
            assert_eq!(bench.beat("lbdnone0", beat), ["lbdnone0"], "{name}");
            assert_eq!(bench.up("lbdnone0", flags), want, "{name}");
        }
        bench.beat("lbdnone0", Some(false));
        bench.post.with(|post| post.settings = Some(LinkSettings::default()));
        assert_eq!(bench.take(), ["lbdnone0"], "polled no more");
        assert!(bench.up("lbdnone0", true));
    }

    /// A driver that takes its time answers a question that was asked before the last reload.
    #[test]
    fn a_poller_that_was_replaced_is_not_heard() {
        let mut bench = bench(Vec::new());
        bench.take();
        let before = bench.post.with(|post| post.poller);
        let polled = vec![LinkbeatInterface { interface: "lbdnone0".into(), method: None }];
        bench.post.with(|post| post.settings = Some(LinkSettings { polled, ..LinkSettings::default() }));
        bench.post.with(|post| post.tell(before, [("lbdnone0".into(), Some(false))].into()));
        bench.take();
        assert!(bench.up("lbdnone0", true), "found before the reload");
        bench.beat("lbdnone0", Some(true));
        bench.post.with(|post| post.tell(before, [("lbdnone0".into(), Some(false))].into()));
        assert!(bench.take().is_empty());
        assert!(bench.up("lbdnone0", true), "found after it");
    }

    #[test]
    fn the_latest_receive_buffer_counts() {
        let mut bench = bench(Vec::new());
        bench.take();
        assert_eq!(bench.links.receive_buffer(), 0);
        bench.post.with(|post| {
            post.settings = Some(LinkSettings { receive_buffer: 9_000_000, ..LinkSettings::default() });
        });
        bench.take();
        bench.take();
        assert_eq!(bench.links.receive_buffer(), 9_000_000);
    }

    #[test]
    fn a_lost_beat_is_delayed_as_a_lost_link() {
        let down = Duration::from_secs(1);
        let mut bench = bench(vec![LinkDelay { interface: "lbdnone0".into(), down, up: Duration::ZERO }]);
        bench.take();
        assert!(bench.up("lbdnone0", true));
        bench.beat("lbdnone0", Some(false));
        assert!(bench.up("lbdnone0", true));
        assert_eq!(bench.links.deadline(), Some(bench.now + down));
        bench.now += down;
        assert_eq!(bench.take(), ["lbdnone0"], "due");
        assert!(!bench.up("lbdnone0", true));
    }
}
