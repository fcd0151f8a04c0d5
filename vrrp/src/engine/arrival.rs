//! Whom a datagram is for.
//!
//! Here: finding the virtual router. Not here: whether it accepts the datagram (`receive`), those of others
//! (`strangers`).

use std::time::Instant;

use super::{Action, Engine};
use crate::receive;
use crate::router::{Event as RouterEvent, Router};
use crate::types::{Delivery, Family, IfIndex};
use crate::wire::datagram::Datagram;

impl Engine {
    pub(super) fn on_datagram(
        &mut self,
        now: Instant,
        interface: IfIndex,
        datagram: &Datagram<'_>,
        out: &mut Vec<Action>,
    ) {
        let vrid = receive::vrid(datagram);
        let Some(place) = vrid.and_then(|vrid| self.addressee(interface, vrid, datagram)) else {
            let family = Family::of(datagram.source);
            if vrid.is_some_and(|vrid| self.heard_twice.contains(&(interface, family, vrid))) {
                return;
            }
            let name = || self.surroundings.name_of(interface);
            out.extend(self.strangers.note(now, interface, name, vrid, datagram).map(Action::Foreign));
            return;
        };
        let moment = self.moment(now);
        let Some(router) = self.routers.get_mut(place) else { return };
        let event = match router.check(moment, datagram) {
            Ok(advert) => RouterEvent::Advert(advert),
            Err(cause) => RouterEvent::Refused(cause, datagram.source),
        };
        self.tell(now, place, event, out);
    }

    /// Whom a datagram is for. Several routers may share VRID and interface as long as they
    /// differ in group, source or peers; one that matches in none of these gets it and refuses it.
    fn addressee(&self, interface: IfIndex, vrid: u8, datagram: &Datagram<'_>) -> Option<usize> {
        let family = Family::of(datagram.source);
        let fit = |router: &Router| -> u8 {
            let destination = receive::destination_fits(&router.config().delivery, datagram.destination);
            let (to_us, peer) = match &router.config().delivery {
                Delivery::Multicast { .. } => (true, true),
                Delivery::Unicast { peers, .. } => {
                    let peer = peers.iter().any(|peer| peer.address == datagram.source);
                    (router.source() == Some(datagram.destination), peer)
                }
            };
            4 * u8::from(destination) + 2 * u8::from(destination && to_us) + u8::from(destination && peer)
        };
        let here = self.by_number.get(&(interface, family, vrid)).map_or(&[][..], Vec::as_slice);
        let without = self.by_number_alone.get(&(family, vrid)).map_or(&[][..], Vec::as_slice);
        if let ([only], []) = (here, without) {
            return Some(*only);
        }
        // The first of the best, those of the interface before those without one.
        let best = |place: &&usize| self.routers.get(**place).map(fit);
        without.iter().rev().chain(here.iter().rev()).max_by_key(best).copied()
    }

    /// Works out anew for whom datagrams are.
    pub(super) fn number(&mut self) {
        self.by_number.clear();
        self.by_number_alone.clear();
        self.heard_twice.clear();
        for (place, router) in self.routers.iter().enumerate() {
            let config = router.config();
            self.heard_twice.extend(router.parent().map(|parent| (parent, config.family, config.vrid.get())));
            if config.interface.is_some() && router.interface().is_none() {
                continue;
            }
            let (family, vrid) = (config.family, config.vrid.get());
            let places = match router.interface() {
                Some(interface) => self.by_number.entry((interface, family, vrid)).or_default(),
                None => self.by_number_alone.entry((family, vrid)).or_default(),
            };
            places.push(place);
        }
        let Engine { by_number, by_number_alone, heard_twice, strangers, .. } = self;
        strangers.adopt(|interface, family, vrid| {
            let at = (interface, family, vrid);
            by_number.contains_key(&at)
                || by_number_alone.contains_key(&(family, vrid))
                || heard_twice.contains(&at)
        });
    }
}
