//! How the work begins and ends, and how it goes on after a panic.
//!
//! Here: what is taken over from before, what is left behind. Not here: when that is asked for (`incoming`).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use lbd_vrrp::{Action, Event, Identity, RouterId, Setup, State};

use super::Driver;
use crate::router::clock::Clock;
use crate::router::mailbox::{LEFTOVERS, Leave, STATIC, Want};
use crate::router::netconf::Report;
use crate::router::snapshot::saved_address;
use crate::state_file::boot_clock_ms;

/// Longest wait for netconf when giving up.
const ABANDON_LIMIT: Duration = Duration::from_secs(5);

impl Driver {
    /// Masters of the process before go on where it ended; whatever else it left is removed.
    pub(super) fn begin(&mut self) {
        let delay = self.setup.startup_delay;
        if !delay.is_zero() {
            let seconds = delay.as_secs_f64();
            tracing::info!(seconds, "VRRP waits (vrrp_startup_delay, vrrp_delay_after_boot)");
        }
        let resume = self.resumable();
        if self.network.has_static() {
            let fixed = self.want_static();
            self.want(fixed);
        }
        self.feed(Event::Begin { resume });
        self.remove_leftovers();
    }

    /// Removes what an earlier process left, but for what is held, which was said before.
    fn remove_leftovers(&mut self) {
        let purge = std::mem::take(&mut self.left);
        self.want(Want { purge, ..Want::nothing(LEFTOVERS) });
    }

    fn resumable(&self) -> Vec<RouterId> {
        let now = boot_clock_ms();
        let interfaces = Arc::clone(&self.interfaces.borrow());
        let resumable = |router: &&lbd_vrrp::router::Router| {
            let config = router.config();
            // As long as a peer with the same settings waits for us at least (its skew time comes on
            // top): two intervals would be gone after a crash just before an advert, a second's pause
            // and a slow start.
            let young = config.advert_interval * u32::from(config.down_timer_adverts);
            let own: Vec<_> = router.addresses().iter().map(saved_address).collect();
            let taken_over =
                self.take_over && !own.is_empty() && own.iter().all(|one| interfaces.has_saved(one));
            taken_over
                || self.saved.iter().any(|saved| {
                    saved.master
                    && (saved.interface == config.interface_name() && saved.vrid == config.vrid.get())
                    && saved.family == config.family.to_string().to_lowercase()
                    && Duration::from_millis(now.saturating_sub(saved.last_advert_ms)) < young
                    // Of several with this VRID the one whose addresses these are.
                    && (saved.addresses.is_empty() || saved.addresses.iter().any(|one| own.contains(one)))
                    && saved.addresses.iter().all(|one| interfaces.has_saved(one))
                })
        };
        self.engine.routers().iter().filter(resumable).map(lbd_vrrp::router::Router::id).collect()
    }

    pub(super) fn stop(&mut self, leave: Leave) {
        self.ended = true;
        if leave != Leave::Everything {
            self.network = Arc::new(self.network.without_static());
        }
        if leave == Leave::Everything || leave == Leave::Instances && !self.holders.contains_key(&STATIC) {
            self.netconf.stop();
            return;
        }
        if leave == Leave::Instances {
            self.want(Want::nothing(STATIC));
            self.finish_netconf(self.stop_limit.with(|limit| *limit));
            return;
        }
        if !self.begun {
            self.remove_leftovers();
        }
        self.engine.on_event(self.clock.now(), Event::Stop, &mut self.actions);
        let told =
            |action: &mut Action| matches!(action, Action::Stopped { .. } | Action::GroupStopped { .. });
        let stopped: Vec<Action> = self.actions.extract_if(.., told).collect();
        self.carry_out();
        if self.holders.contains_key(&STATIC) {
            self.want(Want::nothing(STATIC));
        }
        self.publish();
        self.finish_netconf(self.stop_limit.with(|limit| *limit));
        // Scripts of the stop run after the addresses are gone.
        self.actions = stopped;
        self.carry_out();
    }

    fn finish_netconf(&mut self, limit: Duration) {
        self.netconf.stop();
        let until = Instant::now() + limit;
        loop {
            let rest = until.saturating_duration_since(Instant::now());
            match self.reports.recv_timeout(rest) {
                Ok(Report::Stopped) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Report::Failed(error)) => {
                    tracing::error!(%error, "netconf failed: virtual addresses may be left");
                    return;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::error!("virtual addresses may be left: the kernel did not answer in time");
                    return;
                }
            }
        }
    }

    /// After a panic: a new engine that takes over what the old one had.
    pub(super) fn restart(&mut self) {
        // As the engine still knows it, or as it was published.
        let identity = |router: &lbd_vrrp::router::Router| Identity::of(router.config());
        let before: Vec<(Identity, State)> =
            self.engine.routers().iter().map(|router| (identity(router), router.state())).collect();
        let published: BTreeSet<(String, u8, String)> = self
            .publisher
            .seen
            .values()
            .filter(|seen| seen.state == State::Master)
            .map(|seen| &seen.snapshot.status)
            .map(|status| (status.interface.clone(), status.vrid, status.family.clone()))
            .collect();
        let old: Vec<RouterId> = self.holders.keys().copied().collect();
        self.actions.clear();
        self.frames.clear();
        self.publisher.forget();
        self.sent.clear();
        // The start-up delay is of the start of the process.
        let startup_delay = if self.begun { Duration::ZERO } else { self.setup.startup_delay };
        self.engine = self.engine.successor(Setup { startup_delay, ..self.setup.clone() });
        self.engine.set_clock(self.clock.now(), Clock::unix());
        for interface in self.host.values().cloned().collect::<Vec<_>>() {
            self.feed(Event::Interface(interface));
        }
        for (id, result) in self.trackers.clone() {
            self.feed(Event::Tracker(id, result));
        }
        self.feed(Event::HoldPreemption(self.held_back.clone()));
        if self.begun {
            let was = |router: &&lbd_vrrp::router::Router| {
                let own = identity(router);
                if let Some((_, state)) = before.iter().find(|(other, _)| *other == own) {
                    return *state == State::Master;
                }
                let config = router.config();
                let family = config.family.to_string().to_lowercase();
                published.contains(&(config.interface_name().to_owned(), config.vrid.get(), family))
            };
            let resume = self.engine.routers().iter().filter(was).map(lbd_vrrp::router::Router::id).collect();
            self.feed(Event::Begin { resume });
        }
        let new: BTreeSet<RouterId> =
            self.engine.routers().iter().map(lbd_vrrp::router::Router::id).collect();
        for router in old.into_iter().filter(|router| *router != STATIC && !new.contains(router)) {
            self.want(Want::nothing(router));
        }
    }

    /// Gives up, with as much of the engine's help as there is: where it cannot send priority 0, peers take over
    /// when our adverts stay away.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
        let release = || self.engine.on_event(self.clock.now(), Event::Stop, &mut self.actions);
        let _panicked = catch_unwind(AssertUnwindSafe(release));
        let _panicked = catch_unwind(AssertUnwindSafe(|| self.carry_out()));
        for router in self.holders.keys().copied().collect::<Vec<_>>() {
            self.want(Want::nothing(router));
        }
        self.finish_netconf(ABANDON_LIMIT);
    }
}
