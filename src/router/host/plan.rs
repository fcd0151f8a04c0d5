//! What is to be done so that the host has the interfaces that virtual routers want of their own.
//!
//! Here: pure comparison of what is wanted with what is there. Not here: messages (`message`), kernel settings
//! (`sysctl`), who asks (the thread).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use lbd_grammar::config::{IpvlanMode, OwnLinkKind};
use lbd_vrrp::{PreferredLifetime, VirtualAddress};

/// An interface that is wanted, everything looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// As the configuration has it.
    pub link: lbd_grammar::config::OwnLink,
    /// The number of its group; the parent's by default.
    pub group: Option<u32>,
}

/// An interface as the kernel lists it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub index: u32,
    pub name: String,
    /// Administratively up.
    pub up: bool,
    pub mac: Vec<u8>,
    pub parent: Option<u32>,
    pub kind: SeenKind,
    pub group: u32,
    /// Index of the VRF or bridge that it belongs to.
    pub controller: Option<u32>,
    /// The controller is a VRF.
    pub in_vrf: bool,
    pub addresses: Vec<(IpAddr, u8)>,
}

/// What an interface is, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SeenKind {
    Macvlan {
        private: bool,
    },
    Ipvlan(IpvlanMode),
    #[default]
    Other,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Down, without addresses.
    Create {
        name: String,
        kind: OwnLinkKind,
        parent: u32,
        group: u32,
        vrf: Option<u32>,
    },
    /// Kernel settings, once for each interface that is made.
    Settle {
        index: u32,
        name: String,
        settings: Settled,
    },
    /// To another group, into another VRF (`Some(0)`: into none).
    Move {
        index: u32,
        name: String,
        group: Option<u32>,
        vrf: Option<u32>,
    },
    AddAddress {
        index: u32,
        name: String,
        address: VirtualAddress,
    },
    /// It was added here, and is wanted no more.
    RemoveAddress {
        index: u32,
        name: String,
        address: IpAddr,
        prefix: u8,
    },
    SetUp {
        index: u32,
        name: String,
    },
    Delete {
        index: u32,
        name: String,
    },
}

/// Which settings of the kernel an own interface needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It has a virtual router's hardware address, and IPv4 addresses.
    Macvlan,
    /// It has a virtual router's hardware address, and the router is of IPv6.
    MacvlanSix,
    /// It has its parent's.
    Ipvlan,
}

impl Kind {
    pub fn of(link: &lbd_grammar::config::OwnLink) -> Self {
        let six = link.link_local || link.addresses.iter().any(|one| one.address.is_ipv6());
        match link.kind {
            OwnLinkKind::Macvlan { .. } if six => Kind::MacvlanSix,
            OwnLinkKind::Macvlan { .. } => Kind::Macvlan,
            OwnLinkKind::Ipvlan(_) => Kind::Ipvlan,
        }
    }
}

/// The settings of an own interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub kind: Kind,
    /// IPv6 is spoken on it.
    pub ipv6: bool,
}

impl Settled {
    fn of(link: &lbd_grammar::config::OwnLink) -> Self {
        Settled { kind: Kind::of(link), ipv6: link.ipv6 }
    }
}

/// What stands in the way, or goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Trouble {
    pub name: String,
    pub what: String,
}

/// What is there of our doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// Names of interfaces that this or an earlier process made.
    pub made: BTreeSet<String>,
    /// Addresses that it gave to own interfaces, by their names.
    pub given: BTreeMap<String, BTreeSet<IpAddr>>,
    /// Indexes of those that were made, with their names.
    pub indexes: BTreeMap<u32, String>,
    /// Indexes of those whose settings are made, and how.
    pub settled: BTreeMap<u32, Settled>,
}

/// The next steps, and what stands in the way. Empty when everything that can be is as wanted; after steps
/// were done the host is looked at anew. `keep`: virtual routers still use what is wanted no more.
pub(super) fn plan(wanted: &[Wanted], seen: &[Seen], known: &Known, keep: bool) -> (Vec<Step>, Vec<Trouble>) {
    let by_name = |name: &str| seen.iter().find(|one| one.name == name);
    let mut steps = Vec::new();
    let mut troubles = Vec::new();
    for name in &known.made {
        if keep || wanted.iter().any(|one| one.link.name == *name) {
            continue;
        }
        if let Some(left) = by_name(name).filter(|one| one.kind != SeenKind::Other) {
            steps.push(Step::Delete { index: left.index, name: name.clone() });
        }
    }
    // By another name nobody uses it, and it keeps the hardware address from the one that is made in its place.
    for one in seen.iter().filter(|one| one.kind != SeenKind::Other) {
        if known.indexes.get(&one.index).is_some_and(|name| *name != one.name) {
            steps.push(Step::Delete { index: one.index, name: one.name.clone() });
        }
    }
    for one in wanted {
        // It is made when its parent appears.
        let Some(parent) = by_name(&one.link.parent) else { continue };
        match by_name(&one.link.name) {
            None => steps.push(create(one, parent)),
            Some(there) if fits(one, parent, there) => {
                steps.extend(complete(one, parent, there, known, keep));
            }
            Some(there) if known.made.contains(&there.name) && there.kind != SeenKind::Other => {
                steps.push(Step::Delete { index: there.index, name: there.name.clone() });
            }
            Some(_) => troubles.push(Trouble {
                name: one.link.name.clone(),
                what: format!(
                    "there is another interface of the name {}; rename it, or give the virtual router's own \
                     another name",
                    one.link.name
                ),
            }),
        }
    }
    (steps, troubles)
}

fn create(one: &Wanted, parent: &Seen) -> Step {
    Step::Create {
        name: one.link.name.clone(),
        kind: one.link.kind.clone(),
        parent: parent.index,
        group: one.group.unwrap_or(parent.group),
        vrf: parent.controller.filter(|_| parent.in_vrf),
    }
}

/// Whether an interface is the wanted one, whoever made it.
fn fits(one: &Wanted, parent: &Seen, there: &Seen) -> bool {
    let kind = match (&one.link.kind, there.kind) {
        (OwnLinkKind::Macvlan { mac }, SeenKind::Macvlan { private }) => private && there.mac == mac,
        (OwnLinkKind::Ipvlan(mode), SeenKind::Ipvlan(has)) => *mode == has,
        _ => false,
    };
    kind && there.parent == Some(parent.index)
}

fn complete(one: &Wanted, parent: &Seen, there: &Seen, known: &Known, keep: bool) -> Vec<Step> {
    let (index, name) = (there.index, || there.name.clone());
    let settings = Settled::of(&one.link);
    if known.settled.get(&index) != Some(&settings) {
        return vec![Step::Settle { index, name: name(), settings }];
    }
    let mut steps = Vec::new();
    let group = one.group.filter(|group| *group != there.group);
    let vrf = vrf(parent, there);
    if group.is_some() || vrf.is_some() {
        steps.push(Step::Move { index, name: name(), group, vrf });
    }
    if !there.up {
        steps.push(Step::SetUp { index, name: name() });
    }
    if !keep {
        let given = known.given.get(&there.name);
        let unwanted = given.into_iter().flatten().filter(|address| !is_wanted(&one.link, **address));
        let as_it_is = |address: &IpAddr| there.addresses.iter().find(|(has, _)| has == address);
        steps.extend(unwanted.filter_map(as_it_is).map(|(address, prefix)| Step::RemoveAddress {
            index,
            name: name(),
            address: *address,
            prefix: *prefix,
        }));
    }
    let link_local = |one: &&(IpAddr, u8)| matches!(one.0, IpAddr::V6(six) if six.is_unicast_link_local());
    let own = one.link.addresses.iter().cloned();
    let wanted = own.chain(if one.link.link_local && there.addresses.iter().find(link_local).is_none() {
        let lent = parent.addresses.iter().find(link_local).map(|(address, _)| *address);
        let address = lent.or_else(|| eui64(&parent.mac).map(IpAddr::V6));
        // Adverts have it as their source whatever its lifetime; nothing else is to.
        address.map(|address| VirtualAddress {
            preferred: PreferredLifetime::Seconds(0),
            ..VirtualAddress::new(address, 64)
        })
    } else {
        None
    });
    let is_there = |address: &VirtualAddress| there.addresses.iter().any(|(has, _)| *has == address.address);
    let missing = wanted.filter(|address| !is_there(address));
    steps.extend(missing.map(|address| Step::AddAddress { index, name: name(), address }));
    steps
}

/// The VRF that an own interface is to go into: its parent's. If somebody made it a port of something else, that
/// is let be.
fn vrf(parent: &Seen, there: &Seen) -> Option<u32> {
    let of = |one: &Seen| one.controller.filter(|_| one.in_vrf);
    let (wanted, has) = (of(parent), of(there));
    let free = there.controller.is_none() || there.in_vrf;
    (free && wanted != has).then(|| wanted.unwrap_or(0))
}

fn is_wanted(link: &lbd_grammar::config::OwnLink, address: IpAddr) -> bool {
    let link_local = matches!(address, IpAddr::V6(six) if six.is_unicast_link_local());
    link.link_local && link_local || link.addresses.iter().any(|one| one.address == address)
}

/// The link-local address that a hardware address stands for (RFC 4291, appendix A).
fn eui64(mac: &[u8]) -> Option<Ipv6Addr> {
    let [a, b, c, d, e, f] = *mac else { return None };
    Some(Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]))
}

#[cfg(test)]
mod tests;
