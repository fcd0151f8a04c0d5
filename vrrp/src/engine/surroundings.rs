//! What surrounds the virtual routers: interfaces and trackers' results, and what follows from them.
//!
//! Here: source address, faults and priority of an instance as functions of the surroundings.
//! Not here: what a router does about it (`router`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::router::{Fault, Problem, Situation};
use crate::types::{
    Delivery, Family, GroupConfig, IfIndex, InstanceConfig, Parent, Priority, TrackerId, Weight,
};
use crate::wire::arp::Mac;

/// An interface as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Name.
    pub name: String,
    /// Index.
    pub index: IfIndex,
    /// Administratively up and running.
    pub up: bool,
    /// Ethernet address; `None` where there is none or ARP is off, then nothing is announced.
    pub mac: Option<Mac>,
    /// Usable addresses: IPv4 ones, then IPv6 ones, each in the kernel's order (primary ones of IPv4
    /// first). An IPv6 address is usable once duplicate address detection is over without a duplicate
    /// (RFC 4862 §5.4), or is optimistic (RFC 4429).
    pub addresses: Vec<IpAddr>,
    /// It forwards IPv6 (net.ipv6.conf.IF.forwarding): the Router flag of neighbour advertisements
    /// (RFC 4861 §4.4).
    pub forwarding: bool,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub interfaces: BTreeMap<String, Interface>,
    pub trackers: BTreeMap<TrackerId, bool>,
}

impl Surroundings {
    /// What `config`, a member of `group`, finds; `virtual_addresses` are never taken as a source. Faults of
    /// other members are not among its faults yet.
    pub fn situation(
        &self,
        config: &InstanceConfig,
        group: Option<&GroupConfig>,
        virtual_addresses: &BTreeSet<IpAddr>,
    ) -> Situation {
        let interface = config.interface.as_ref().and_then(|name| self.interfaces.get(name));
        let mut faults = BTreeSet::new();
        if config.track_primary {
            let devices = config.addresses.iter().chain(&config.excluded_addresses);
            let tracked = devices.filter(|address| !address.no_track);
            let devices = tracked.filter_map(|address| address.device.as_deref());
            let own = [config.interface.as_deref(), config.address_interface.as_deref()];
            let parent = config.parent.as_ref().map(|parent| parent.name.as_str());
            for name in devices.chain(own.into_iter().flatten()).chain(parent) {
                faults.extend(self.interface_fault(name));
            }
        } else if let (None, Some(name)) = (interface, &config.interface) {
            faults.insert(Fault::InterfaceMissing(name.clone()));
        }
        let vrf = config.vrf.as_ref();
        if let Some(name) = vrf {
            faults.extend(self.interface_fault(name));
        }
        if matches!(&config.delivery, Delivery::Unicast { peers, .. } if peers.is_empty()) {
            faults.insert(Fault::NoPeer);
        }
        let parent = config.parent.as_ref().and_then(|parent| self.interfaces.get(&parent.name));
        let source = Self::source(config, (interface, parent), virtual_addresses, &mut faults);
        let mut total = i32::from(config.priority.0);
        let of_group = group.map(|group| group.track_interfaces.as_slice()).unwrap_or_default();
        for (name, weight) in config.track_interfaces.iter().chain(of_group) {
            total += self.tracked_interface(name, *weight, &mut faults);
        }
        let of_group = group.map(|group| group.trackers.as_slice()).unwrap_or_default();
        for (id, weight) in config.trackers.iter().chain(of_group) {
            total += self.tracked_script(id, *weight, &mut faults);
        }
        Situation {
            interface: interface.map(|interface| interface.index),
            parent: parent.map(|parent| parent.index),
            vrf: vrf.and_then(|name| self.interfaces.get(name)).map(|vrf| vrf.index),
            source,
            faults: faults.into_iter().collect(),
            priority: Some(effective(config.priority, total)),
        }
    }

    fn tracked_interface(&self, name: &str, weight: Weight, faults: &mut BTreeSet<Fault>) -> i32 {
        let problem = match self.interfaces.get(name) {
            None => Problem::Missing,
            Some(interface) if !interface.up => Problem::Bad,
            Some(_) => Problem::Good,
        };
        let good = problem == Problem::Good;
        if weight.value != 0 {
            return contribution(weight, Some(good));
        }
        if good == weight.reverse {
            faults.insert(Fault::TrackedInterface(name.to_owned(), problem));
        }
        0
    }

    fn tracked_script(&self, id: &TrackerId, weight: Weight, faults: &mut BTreeSet<Fault>) -> i32 {
        let result = self.trackers.get(id).copied();
        match (weight.value, result) {
            (0, None) => {
                faults.insert(Fault::Waiting(id.clone()));
                0
            }
            (0, Some(good)) if good == weight.reverse => {
                let problem = if good { Problem::Good } else { Problem::Bad };
                faults.insert(Fault::Tracker(id.clone(), problem));
                0
            }
            (0, Some(_)) => 0,
            (_, result) => contribution(weight, result),
        }
    }

    /// The name of the interface of this index.
    pub fn name_of(&self, index: IfIndex) -> Option<String> {
        self.interfaces.values().find(|one| one.index == index).map(|one| one.name.clone())
    }

    fn interface_fault(&self, name: &str) -> Option<Fault> {
        match self.interfaces.get(name) {
            None => Some(Fault::InterfaceMissing(name.to_owned())),
            Some(interface) if !interface.up => Some(Fault::InterfaceDown(name.to_owned())),
            Some(_) => None,
        }
    }

    fn source(
        config: &InstanceConfig,
        (interface, parent): (Option<&Interface>, Option<&Interface>),
        virtual_addresses: &BTreeSet<IpAddr>,
        faults: &mut BTreeSet<Fault>,
    ) -> Option<IpAddr> {
        // Over IPv6 an own interface has a link-local address of its own.
        let lends = |parent: &Parent| parent.lends_source && config.family == Family::V4;
        let lender = parent.filter(|_| config.parent.as_ref().is_some_and(lends));
        let places = || interface.into_iter().chain(lender).flat_map(|place| &place.addresses);
        if let Some(source) = config.source.filter(|source| Family::of(*source) == config.family) {
            if config.track_source && !places().any(|address| *address == source) {
                faults.insert(Fault::SourceMissing(source, config.interface_name().to_owned()));
            }
            return Some(source);
        }
        // An owner's only address is a virtual one: it is second choice.
        let own = |address: &&IpAddr| {
            config.priority == Priority::OWNER
                && config.addresses.iter().any(|virtual_| virtual_.address == **address)
        };
        let usable = || places().filter(|address| is_source(**address, config.family));
        let plain = usable().find(|address| !virtual_addresses.contains(address));
        let source = plain.or_else(|| usable().find(own)).copied();
        if source.is_none() && interface.is_some() {
            faults.insert(Fault::NoAddress(config.interface_name().to_owned(), config.family));
        }
        source
    }
}

/// RFC 9568 §5.1.1.1; §5.1.2.1: over IPv6 an address of the link.
fn is_source(address: IpAddr, family: Family) -> bool {
    match (address, family) {
        (IpAddr::V4(_), Family::V4) => true,
        (IpAddr::V6(address), Family::V6) => address.is_unicast_link_local(),
        _ => false,
    }
}

/// What something tracked adds to the priority: a positive weight while good, a negative one
/// while bad, negated by `reverse`; nothing before the first result.
fn contribution(weight: Weight, result: Option<bool>) -> i32 {
    let value = i32::from(weight.value);
    let applies = match result {
        None => false,
        Some(good) => good == (value > 0),
    };
    match (applies, weight.reverse) {
        (false, _) => 0,
        (true, false) => value,
        (true, true) => -value,
    }
}

/// The sum kept within 1..=254; an owner stays owner.
fn effective(configured: Priority, total: i32) -> Priority {
    if configured == Priority::OWNER {
        return Priority::OWNER;
    }
    Priority(u8::try_from(total.clamp(1, 254)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contributions() {
        let weight = |value, reverse| Weight { value, reverse };
        for (name, weight, result, want) in [
            ("positive while good", weight(10, false), Some(true), 10),
            ("positive while bad", weight(10, false), Some(false), 0),
            ("negative while good", weight(-5, false), Some(true), 0),
            ("negative while bad", weight(-5, false), Some(false), -5),
            ("positive reversed while good", weight(10, true), Some(true), -10),
            ("negative reversed while bad", weight(-5, true), Some(false), 5),
            ("positive without result", weight(10, false), None, 0),
            ("negative without result", weight(-5, false), None, 0),
        ] {
            assert_eq!(contribution(weight, result), want, "{name}");
        }
    }

    /// V3-F4, V3-F5, V2-F4, V2-F5.
    #[test]
    fn effective_priority_is_clamped() {
        for (configured, total, want) in
            [(100, 100, 100), (100, 0, 1), (100, -153, 1), (100, 353, 254), (254, 255, 254), (255, 2, 255)]
        {
            assert_eq!(effective(Priority(configured), total), Priority(want), "{configured} {total}");
        }
    }
}
