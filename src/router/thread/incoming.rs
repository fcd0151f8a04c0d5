//! What comes in: reports of netconf, commands of the daemon, adverts.
//!
//! Here: in which order it is taken, and how much of it at a time. Not here: when (the thread), what is done about it
//! (the engine, `outgoing`).

use std::time::{Duration, Instant};

use lbd_vrrp::Event;
use lbd_vrrp::wire::datagram::Datagram;

use super::Driver;
use crate::event::Event as Announcement;
use crate::router::mailbox::Want;
use crate::router::moderation;
use crate::router::netconf::Report;

/// Datagrams taken before timers are looked at again: what waited while this process slept comes
/// first (the master is alive), a flood delays no advert of ours by more than a millisecond.
const DATAGRAMS: usize = 512;
/// The same as [`DATAGRAMS`] before a Backup takes over: more than a receive buffer holds (4 MiB, which the kernel doubles, at 768 octets
/// and more each), so that of all that came in time nothing is left, whatever a flood has put before it.
const DATAGRAMS_BEFORE_TAKEOVER: usize = 16_384;
/// Datagrams that are for no virtual router of ours, or came through a router, are looked at this often,
/// and only so many of them: a flood of them costs next to nothing.
const STRANGERS_EVERY: Duration = Duration::from_millis(200);
const STRANGERS: usize = 64;
/// Reports taken before anything else is looked at.
const REPORTS_AT_ONCE: usize = 256;

impl Driver {
    pub(super) fn take_reports(&mut self) {
        for _ in 0..REPORTS_AT_ONCE {
            let Ok(report) = self.reports.try_recv() else { return };
            self.take_report(report);
        }
        // There may be more.
        self.waker.wake();
    }

    pub(super) fn take_report(&mut self, report: Report) {
        match report {
            Report::Interface(interface) => {
                self.host.retain(|_, other| other.index != interface.index);
                self.host.insert(interface.name.clone(), interface.clone());
                self.feed(Event::Interface(interface));
                self.join();
            }
            Report::InterfaceGone(name) => {
                self.host.remove(&name);
                self.feed(Event::InterfaceGone(name));
                self.join();
            }
            Report::AddressesSet { router, holds: true } => self.feed(Event::AddressesSet(router)),
            Report::AddressesSet { holds: false, .. } => {}
            Report::AddressLost { router, what } => self.feed(Event::AddressLost { router, what }),
            Report::Repaired { router, what, address, tell } => {
                if tell {
                    let instance = self.name_of(router);
                    self.events.send(Announcement::Repaired { instance, what });
                }
                if let Some((device, address)) = address {
                    self.feed(Event::AddressRestored { router, device, address });
                }
            }
            Report::Failed(error) => {
                if !std::mem::replace(&mut self.without_netconf, true) {
                    tracing::error!(%error, "netconf failed: virtual addresses cannot be changed until it is back");
                }
            }
            // It started anew and knows nothing of what is held.
            Report::Ready => {
                self.without_netconf = false;
                let mut all: Vec<Want> =
                    self.engine.routers().iter().map(|router| self.want_of(router)).collect();
                if self.begun {
                    all.push(self.want_static());
                }
                all.iter().for_each(|want| self.note_holder(want));
                self.netconf.want_all(all);
            }
            Report::Stopped => {}
        }
    }

    /// One after the other, each out of the slot before it is carried out: a panic costs that one only.
    pub(super) fn take_commands(&mut self) {
        #[cfg(test)]
        assert!(
            !self.commands.with(|commands| std::mem::take(&mut commands.panic)),
            "a test asked for a panic"
        );
        // Before a reload, which was told after what it tracks: no priority jumps.
        while let Some((id, result)) = self.commands.with(|commands| commands.trackers.pop_first()) {
            self.trackers.insert(id.clone(), result);
            self.feed(Event::Tracker(id, result));
        }
        let reload = self.commands.with(|commands| {
            self.release = commands.release.take().or_else(|| self.release.take());
            commands.reload.take()
        });
        if let Some((setup, wishes, network)) = reload {
            self.setup.clone_from(&setup);
            self.network = network;
            self.feed(Event::Reload(setup));
            self.join();
            self.hold_anew();
            self.release_host();
            if self.wishes != wishes {
                self.wishes = wishes;
                self.schedule();
            }
        }
        if let Some(names) = self.commands.with(|commands| commands.hold_preemption.take()) {
            self.held_back.clone_from(&names);
            self.feed(Event::HoldPreemption(names));
        }
        if let Some(wishes) = self.commands.with(|commands| commands.thread.take()) {
            self.take_wishes(wishes);
        }
        if self.commands.with(|commands| std::mem::take(&mut commands.begin)) && !self.begun {
            self.begun = true;
            self.begin();
        }
        if let Some(leave) = self.commands.with(|commands| commands.stop.take()) {
            self.stop(leave);
        }
    }

    pub(super) fn take_datagrams(&mut self) {
        let started = self.clock.now();
        let (mut taken, mut left, mut failed, mut batch) = (0, true, false, self.packets.expected());
        loop {
            // One time for each batch: a deadline that passes meanwhile is seen after them.
            let now = self.clock.now();
            let most = if self.engine.takeover_due(now) { DATAGRAMS_BEFORE_TAKEOVER } else { DATAGRAMS };
            if taken >= most {
                break;
            }
            let Driver { sockets, engine, actions, .. } = self;
            let mut take = |interface, datagram: Datagram<'_>| {
                engine.on_event(now, Event::Datagram { interface, datagram }, actions);
            };
            let result = sockets.receive(batch, &mut take);
            self.carry_out();
            match result {
                Ok(got) => {
                    (taken, batch) = (taken + got.read, moderation::MANY);
                    left = got.more;
                    if !left {
                        break;
                    }
                }
                Err(error) => {
                    if self.deaf.failed(now) {
                        tracing::error!(%error, "adverts cannot be received; trying again and again");
                    }
                    (failed, left) = (true, false);
                    break;
                }
            }
        }
        if !failed && self.deaf.worked() {
            tracing::info!("adverts can be received again");
        }
        // With some left it goes on at once.
        self.packets.looked(started, taken, left);
    }

    pub(super) fn take_strangers(&mut self, now: Instant) {
        if self.strangers_at.is_some_and(|at| now < at) {
            return;
        }
        self.strangers_at = Some(now + STRANGERS_EVERY);
        let Driver { sockets, engine, actions, .. } = self;
        let mut take = |interface, datagram: Datagram<'_>| {
            engine.on_event(now, Event::Datagram { interface, datagram }, actions);
        };
        if let Err(error) = sockets.strangers(STRANGERS, &mut take) {
            tracing::debug!(%error, "VRRP socket");
        }
        self.carry_out();
    }

    /// Nobody uses any more what only the configuration before wants of the host.
    pub(super) fn release_host(&mut self) {
        if let Some(release) = self.release.take() {
            release.go();
        }
    }

    pub(super) fn feed(&mut self, event: Event<'_>) {
        self.engine.on_event(self.clock.now(), event, &mut self.actions);
        self.carry_out();
    }
}
