//! What the engine wants done: adverts and frames, addresses and what goes with them, events.
//!
//! Nothing here waits: netconf is told what is wanted.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use lbd_vrrp::{Action, IfIndex, RouterId, State};

use super::Driver;
use crate::event::Event as Announcement;
use crate::router::mailbox::{STATIC, Want};
use crate::router::object::{Entries, Load};
use crate::state_file::boot_clock_ms;

impl Driver {
    pub(super) fn carry_out(&mut self) {
        let mut actions = std::mem::take(&mut self.actions);
        for action in actions.drain(..) {
            self.carry_out_one(action);
        }
        self.actions = actions;
        if !self.frames.is_empty() {
            let frames: Vec<(IfIndex, &[u8])> =
                self.frames.iter().map(|(interface, frame)| (*interface, frame.as_slice())).collect();
            let (sent, error) = self.sockets.send_frames(&frames);
            if error.is_some() {
                self.send_errors += u64::try_from(frames.len() - sent).unwrap_or(u64::MAX);
            }
            self.frames.clear();
        }
    }

    fn carry_out_one(&mut self, action: Action) {
        let events = &self.events;
        match action {
            Action::SendAdvert { router, interface, destination, packet, due } => {
                let result = self.sockets.send_packet(interface, destination, &packet);
                if let Some(due) = due {
                    self.lateness.record(self.clock.now().saturating_duration_since(due));
                }
                self.note_sent(router, destination, result);
            }
            Action::SendFrame { interface, frame } => self.frames.push((interface, frame)),
            Action::SetAddresses { router, holds, hold, purge } => {
                // Of one that a reload took away there is no name any more; what it held netconf knows.
                let entries = self.entries_of(router);
                let (hold, unheld) = if holds {
                    (Load { addresses: hold, entries }, Arc::default())
                } else {
                    (Load::default(), entries)
                };
                let purge =
                    purge.into_iter().map(|addresses| Load { addresses, entries: Arc::clone(&unheld) });
                self.want(Want { router, holds, hold, purge: purge.collect() });
            }
            Action::Transition { instance, from, to, priority, reason, .. } => {
                self.reason.clone_from(&reason);
                events.send(Announcement::Vrrp { instance, from, to, priority: priority.0, reason });
            }
            Action::GroupTransition { group, from, to } => {
                events.send(Announcement::VrrpGroup { group, from, to, reason: self.reason.clone() });
            }
            Action::PriorityChanged { instance, from, to, reason, .. } => {
                events.send(Announcement::VrrpPriority { instance, from: from.0, to: to.0, reason });
            }
            Action::HeardLowerPriority { instance, priority, .. } => {
                events.send(Announcement::VrrpLowerPriority { instance, priority: priority.0 });
            }
            Action::Condition { instance, condition, active, detail, .. } => {
                let condition = condition.as_str();
                events.send(Announcement::VrrpCondition { instance, condition, active, detail });
            }
            Action::Foreign(foreign) => {
                let family = foreign.family.to_string().to_lowercase();
                let (interface, vrid, source) = (foreign.interface, foreign.vrid, foreign.source);
                events.send(Announcement::VrrpForeign { interface, vrid, family, source });
            }
            Action::Stopped { instance, priority, deleted, .. } => {
                events.send(Announcement::VrrpStopped { instance, priority: priority.0, deleted });
            }
            Action::GroupStopped { group, deleted } => {
                events.send(Announcement::VrrpGroupStopped { group, deleted });
            }
            Action::Refused { instance, source, cause } => {
                tracing::warn!(
                    instance = &*instance, %source, cause = cause.as_str(),
                    "advertisement: {}", cause.explain()
                );
            }
        }
    }

    fn note_sent(&mut self, router: RouterId, destination: IpAddr, result: io::Result<()>) {
        let sent = self.sent.entry(router).or_default();
        match result {
            Ok(()) => {
                sent.last_ms = boot_clock_ms();
                if !self.failing.is_empty() {
                    self.failing.remove(&(router, destination));
                }
            }
            Err(error) => {
                self.send_errors += 1;
                if self.failing.insert((router, destination)) {
                    let named = self.engine.routers().iter().find(|one| one.id() == router);
                    let instance = named.map(|one| &*one.config().name);
                    tracing::warn!(instance, %destination, %error, "advertisement could not be sent");
                }
            }
        }
    }

    pub(super) fn want(&mut self, want: Want) {
        self.note_holder(&want);
        self.netconf.want(want);
    }

    pub(super) fn note_holder(&mut self, want: &Want) {
        if want.holds {
            self.holders.insert(want.router, Arc::clone(&want.hold.entries));
        } else {
            self.holders.remove(&want.router);
        }
    }

    /// What a virtual router wants in its state.
    pub(super) fn want_of(&self, router: &lbd_vrrp::router::Router) -> Want {
        if router.state() != State::Master {
            return Want::nothing(router.id());
        }
        let entries = self.network.entries(&router.config().name);
        let hold = Load { addresses: router.held(), entries };
        Want { router: router.id(), holds: true, hold, purge: Vec::new() }
    }

    pub(super) fn want_static(&self) -> Want {
        let (holds, hold) = (self.network.has_static(), self.network.fixed.clone());
        Want { router: STATIC, holds, hold, purge: Vec::new() }
    }

    /// After a reload: those whose routes and rules are others now, which the engine does not know, and what is
    /// static.
    pub(super) fn hold_anew(&mut self) {
        let differs = |router: &&lbd_vrrp::router::Router| {
            let before = self.holders.get(&router.id());
            before.is_some_and(|before| *before != self.network.entries(&router.config().name))
        };
        let mut wants: Vec<Want> =
            self.engine.routers().iter().filter(differs).map(|router| self.want_of(router)).collect();
        if self.begun && (self.network.has_static() || self.holders.contains_key(&STATIC)) {
            wants.push(self.want_static());
        }
        wants.into_iter().for_each(|want| self.want(want));
    }

    fn entries_of(&self, router: RouterId) -> Arc<Entries> {
        if !self.network.has_entries() {
            return Arc::default();
        }
        self.name_of(router).map(|name| self.network.entries(&name)).unwrap_or_default()
    }

    pub(super) fn name_of(&self, router: RouterId) -> Option<Arc<str>> {
        let named = self.engine.routers().iter().find(|one| one.id() == router);
        named.map(|one| Arc::clone(&one.config().name))
    }
}
