//! What virtual routers want, turned into actions; gratuitous ARP and neighbour advertisements among them.
//!
//! Here: one effect after the other. Not here: what is wanted (`router`), pacing (`announce`), octets (`wire`).

use std::net::IpAddr;
use std::time::Instant;

use super::announce::Announced;
use super::conduct::Moved;
use super::surroundings::Surroundings;
use super::{Action, DeviceAddress, Engine, RouterId};
use crate::router::Effect;
use crate::types::State;
use crate::wire::arp::gratuitous_request;
use crate::wire::ndisc::unsolicited_advertisement;

impl Engine {
    /// Turns what the router at `place` wants into actions; what is left concerns its group.
    pub(super) fn carry_out(&mut self, now: Instant, place: usize, out: &mut Vec<Action>) -> Option<Moved> {
        let Engine { routers, effects, announcements, surroundings, garp_intervals, .. } = self;
        let router = routers.get(place)?;
        let mut moved = None;
        for effect in effects.drain(..) {
            match effect {
                Effect::Act(action) => out.push(action),
                Effect::Silence => announcements.silence(router.id()),
                Effect::Announce(rounds) => {
                    for one in router.addresses().iter() {
                        announcements.want(now, Announced::of(router.id(), one), garp_intervals, rounds);
                    }
                }
                Effect::AnnounceExtra => {
                    let devices = router.config().garp_extra.as_ref().map(|extra| &extra.devices);
                    let of_devices =
                        |one: &&DeviceAddress| devices.is_some_and(|all| all.contains(&one.device));
                    for one in router.addresses().iter().filter(of_devices) {
                        announcements.want(now, Announced::of(router.id(), one), garp_intervals, 1);
                    }
                }
                Effect::AnnounceSource => {
                    if let (Some(source), Some(device)) = (router.source(), &router.config().interface) {
                        frame(surroundings, device, source, out);
                    }
                }
                Effect::HearsMaster => moved = Some(Moved::HearsMaster),
                Effect::AnnouncesLower => moved = Some(Moved::AnnouncesLower),
                Effect::Wishes => moved = Some(Moved::Wishes),
                Effect::Yielded(how) => moved = Some(Moved::Yielded(how)),
            }
        }
        self.deadlines.set(place, router.deadline());
        moved
    }

    pub(super) fn announce_again(&mut self, now: Instant, id: RouterId, device: &str, address: IpAddr) {
        let Some(router) = self.routers.iter().find(|router| router.id() == id) else { return };
        if router.state() != State::Master {
            return;
        }
        let rounds = router.config().garp.repeat;
        let of = Announced { router: id, device: device.to_owned(), address };
        self.announcements.want(now, of, &self.garp_intervals, rounds);
    }
}

/// A gratuitous ARP or neighbour advertisement, unless the interface is gone or has no hardware address.
pub(super) fn frame(surroundings: &Surroundings, device: &str, address: IpAddr, out: &mut Vec<Action>) {
    let Some(interface) = surroundings.interfaces.get(device) else { return };
    let Some(mac) = interface.mac else { return };
    let frame = match address {
        IpAddr::V4(address) => gratuitous_request(mac, address).to_vec(),
        IpAddr::V6(address) => unsolicited_advertisement(mac, address, interface.forwarding).to_vec(),
    };
    out.push(Action::SendFrame { interface: interface.index, frame });
}
