//! What surrounds the virtual routers: interfaces and trackers' results, and what follows from them.
//!
//! Here: source address, faults and priority of an instance as functions of the surroundings.
//! Not here: what a router does about it (`router`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::router::{Fault, Problem, Situation};
use crate::types::{IfIndex, InstanceConfig, Priority, TrackerId, Weight};
use crate::wire::arp::Mac;
use crate::wire::ipv4;

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
    /// What `config` finds; `virtual_addresses` are never taken as a source.
    pub fn situation(&self, config: &InstanceConfig, virtual_addresses: &BTreeSet<Ipv4Addr>) -> Situation {
        let own = config.interface_name();
        let interface = self.interfaces.get(own);
        let mut faults = BTreeSet::new();
        if config.track_primary {
            let devices = config.addresses.iter().chain(&config.excluded_addresses);
            let devices = devices.filter_map(|address| address.device.as_deref());
            for name in devices.chain([own]) {
                faults.extend(self.interface_fault(name));
            }
        } else if interface.is_none() {
            faults.insert(Fault::InterfaceMissing(config.interface_name().to_owned()));
        }
        let source = self.source(config, interface, virtual_addresses, &mut faults);
        let mut total = i32::from(config.priority.0);
        for (name, weight) in &config.track_interfaces {
            let problem = match self.interfaces.get(name) {
                None => Problem::Missing,
                Some(interface) if !interface.up => Problem::Bad,
                Some(_) => Problem::Good,
            };
            let good = problem == Problem::Good;
            if weight.value == 0 {
                if good == weight.reverse {
                    faults.insert(Fault::TrackedInterface(name.clone(), problem));
                }
            } else {
                total += contribution(*weight, Some(good));
            }
        }
        for (id, weight) in &config.trackers {
            let result = self.trackers.get(id).copied();
            match (weight.value, result) {
                (0, None) => {
                    faults.insert(Fault::Waiting(id.clone()));
                }
                (0, Some(good)) if good == weight.reverse => {
                    let problem = if good { Problem::Good } else { Problem::Bad };
                    faults.insert(Fault::Tracker(id.clone(), problem));
                }
                (0, Some(_)) => {}
                (_, result) => total += contribution(*weight, result),
            }
        }
        Situation {
            interface: interface.map(|interface| interface.index),
            source,
            faults: faults.into_iter().collect(),
            priority: Some(effective(config.priority, total)),
        }
    }

    fn interface_fault(&self, name: &str) -> Option<Fault> {
        match self.interfaces.get(name) {
            None => Some(Fault::InterfaceMissing(name.to_owned())),
            Some(interface) if !interface.up => Some(Fault::InterfaceDown(name.to_owned())),
            Some(_) => None,
        }
    }

    fn source(
        &self,
        config: &InstanceConfig,
        interface: Option<&Interface>,
        virtual_addresses: &BTreeSet<Ipv4Addr>,
        faults: &mut BTreeSet<Fault>,
    ) -> Option<Ipv4Addr> {
        let on_interface = interface.map(|interface| interface.addresses.as_slice()).unwrap_or_default();
        let on_interface: Vec<Ipv4Addr> = on_interface.iter().copied().filter_map(ipv4::address).collect();
        if let Some(source) = config.source.and_then(ipv4::address) {
            if config.track_source && !on_interface.contains(&source) {
                faults.insert(Fault::SourceMissing(source, config.interface_name().to_owned()));
            }
            return Some(source);
        }
        // An owner's only address is a virtual one: it is second choice.
        let own = |address: &&Ipv4Addr| {
            config.priority == Priority::OWNER
                && config.addresses.iter().any(|virtual_| virtual_.address == IpAddr::V4(**address))
        };
        let plain = on_interface.iter().find(|address| !virtual_addresses.contains(address));
        let source = plain.or_else(|| on_interface.iter().find(own)).copied();
        if source.is_none() && interface.is_some() {
            faults.insert(Fault::NoAddress(config.interface_name().to_owned()));
        }
        source
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

    #[test]
    fn effective_priority_is_clamped() {
        for (configured, total, want) in
            [(100, 100, 100), (100, 0, 1), (100, -153, 1), (100, 353, 254), (254, 255, 254), (255, 2, 255)]
        {
            assert_eq!(effective(Priority(configured), total), Priority(want), "{configured} {total}");
        }
    }
}
