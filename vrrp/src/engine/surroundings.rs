//! What surrounds the virtual routers: interfaces and trackers' results, and what follows from them.
//!
//! Here: source address, faults and priority of an instance as functions of the surroundings.
//! Not here: what a router does about it (`router`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::router::{Contribution, Fault, Problem, Situation, Tracked};
use crate::tracker::{Meaning, united};
use crate::types::{
    Delivery, Family, GroupConfig, IfIndex, InstanceConfig, Parent, Priority, TrackerId, TrackerResult,
    Weight,
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
    /// It carries datagrams to groups (IFF_MULTICAST).
    pub multicast: bool,
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
    pub trackers: BTreeMap<TrackerId, TrackerResult>,
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
        let mut faults = self.faults_of_interfaces(config);
        if matches!(&config.delivery, Delivery::Unicast { peers, .. } if peers.is_empty()) {
            faults.insert(Fault::NoPeer);
        }
        if let (Delivery::Multicast { .. }, Some(link)) = (&config.delivery, interface)
            && !link.multicast
        {
            faults.insert(Fault::NoMulticast(link.name.clone()));
        }
        let parent = config.parent.as_ref().and_then(|parent| self.interfaces.get(&parent.name));
        let vrf = config.vrf.as_ref().and_then(|name| self.interfaces.get(name));
        let source = Self::source(config, (interface, parent), virtual_addresses, &mut faults);
        let of_group = group.map(|group| group.track_interfaces.as_slice()).unwrap_or_default();
        let interfaces = united(config.track_interfaces.iter(), of_group.iter());
        let mut contributions: Vec<Contribution> = interfaces
            .into_iter()
            .map(|one| self.tracked_interface(one.tracked, one.weight, &mut faults))
            .collect();
        let trackers = united(config.tracked(), group.into_iter().flat_map(GroupConfig::tracked));
        let found = trackers.into_iter().map(|one| self.tracked(one.tracked, one.weight, &mut faults));
        contributions.extend(found);
        let points = contributions.iter().fold(0_i32, |sum, one| sum.saturating_add(one.points));
        Situation {
            interface: interface.map(|interface| interface.index),
            parent: parent.map(|parent| parent.index),
            vrf: vrf.map(|vrf| vrf.index),
            source,
            faults: faults.into_iter().collect(),
            priority: Some(effective(config.priority, points)),
            contributions,
        }
    }

    /// Of its own interface and those of its addresses. A virtual router whose interface is not there cannot
    /// send, whatever it tracks.
    fn faults_of_interfaces(&self, config: &InstanceConfig) -> BTreeSet<Fault> {
        let parent = config.parent.as_ref().map(|parent| parent.name.as_str());
        let own = [config.interface.as_deref(), config.address_interface.as_deref(), parent];
        let addresses = config.addresses.iter().chain(&config.excluded_addresses);
        let devices = addresses.filter(|address| !address.no_track).filter_map(|one| one.device.as_deref());
        let others = devices.filter(|device| !own.contains(&Some(*device))).chain(config.vrf.as_deref());
        let mut faults: BTreeSet<Fault> = others.filter_map(|name| self.interface_fault(name)).collect();
        let of_own = own.into_iter().flatten().filter_map(|name| self.interface_fault(name));
        faults.extend(
            of_own.filter(|fault| config.track_primary || matches!(fault, Fault::InterfaceMissing(_))),
        );
        faults
    }

    fn tracked_interface(&self, name: &str, weight: Weight, faults: &mut BTreeSet<Fault>) -> Contribution {
        let state = match self.interfaces.get(name) {
            None => Problem::Missing,
            Some(interface) if !interface.up => Problem::Bad,
            Some(_) => Problem::Good,
        };
        let points = match weight.meaning(Some((state == Problem::Good).into())) {
            Meaning::Adds(points) => points,
            Meaning::Fault | Meaning::Waits => {
                faults.insert(Fault::TrackedInterface(name.to_owned(), state));
                0
            }
        };
        Contribution { tracked: Tracked::Interface(name.to_owned(), state), weight, points }
    }

    fn tracked(&self, id: &TrackerId, weight: Weight, faults: &mut BTreeSet<Fault>) -> Contribution {
        let result = self.trackers.get(id).copied();
        let (points, fault) = match (weight.meaning(result), result) {
            (Meaning::Adds(points), _) => (points, None),
            (Meaning::Fault, Some(result)) => (0, Some(Fault::Tracker(id.clone(), result, weight))),
            (Meaning::Waits, _) | (_, None) => (0, Some(Fault::Waiting(id.clone()))),
        };
        faults.extend(fault);
        Contribution { tracked: Tracked::Tracker(id.clone(), result), weight, points }
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

/// The sum kept within 1..=254; an owner stays owner.
fn effective(configured: Priority, points: i32) -> Priority {
    if configured == Priority::OWNER {
        return Priority::OWNER;
    }
    let total = i32::from(configured.0).saturating_add(points);
    Priority(u8::try_from(total.clamp(1, 254)).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V3-F4, V3-F5, V2-F4, V2-F5.
    #[test]
    fn effective_priority_is_clamped() {
        for (configured, points, want) in [
            (100, 0, 100),
            (100, -100, 1),
            (100, -253, 1),
            (100, 253, 254),
            (254, 1, 254),
            (254, i32::MAX, 254),
            (1, i32::MIN, 1),
            (255, -253, 255),
        ] {
            assert_eq!(effective(Priority(configured), points), Priority(want), "{configured} {points}");
        }
    }
}
