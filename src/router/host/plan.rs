//! What is to be done so that the host has the interfaces that virtual routers want of their own.
//!
//! Here: pure comparison of what is wanted with what is there. Not here: messages (`message`), kernel settings
//! (`sysctl`), who asks (the thread).

use std::collections::BTreeSet;
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
        parent: String,
        ipv6: bool,
        settings: Kind,
    },
    AddAddress {
        index: u32,
        address: VirtualAddress,
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
    fn of(link: &lbd_grammar::config::OwnLink) -> Self {
        let six = link.link_local || link.addresses.iter().any(|one| one.address.is_ipv6());
        match link.kind {
            OwnLinkKind::Macvlan { .. } if six => Kind::MacvlanSix,
            OwnLinkKind::Macvlan { .. } => Kind::Macvlan,
            OwnLinkKind::Ipvlan(_) => Kind::Ipvlan,
        }
    }
}

/// Why a wanted interface cannot be had.
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
    /// Indexes of those whose settings are made.
    pub settled: BTreeSet<u32>,
}

/// The next steps, and what stands in the way. Empty when everything that can be is as wanted; after steps
/// were done the host is looked at anew.
pub(super) fn plan(wanted: &[Wanted], seen: &[Seen], known: &Known) -> (Vec<Step>, Vec<Trouble>) {
    let by_name = |name: &str| seen.iter().find(|one| one.name == name);
    let mut steps = Vec::new();
    let mut troubles = Vec::new();
    for name in &known.made {
        if wanted.iter().any(|one| one.link.name == *name) {
            continue;
        }
        if let Some(left) = by_name(name).filter(|one| one.kind != SeenKind::Other) {
            steps.push(Step::Delete { index: left.index, name: name.clone() });
        }
    }
    for one in wanted {
        // It is made when its parent appears.
        let Some(parent) = by_name(&one.link.parent) else { continue };
        match by_name(&one.link.name) {
            None => steps.push(create(one, parent)),
            Some(there) if fits(one, parent, there) => {
                steps.extend(complete(one, parent, there, known));
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

fn complete(one: &Wanted, parent: &Seen, there: &Seen, known: &Known) -> Vec<Step> {
    let index = there.index;
    if !known.settled.contains(&index) {
        return vec![Step::Settle {
            index,
            name: there.name.clone(),
            parent: parent.name.clone(),
            ipv6: one.link.ipv6,
            settings: Kind::of(&one.link),
        }];
    }
    let mut steps = Vec::new();
    if !there.up {
        steps.push(Step::SetUp { index, name: there.name.clone() });
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
    steps.extend(missing.map(|address| Step::AddAddress { index, address }));
    steps
}

/// The link-local address that a hardware address stands for (RFC 4291, appendix A).
fn eui64(mac: &[u8]) -> Option<Ipv6Addr> {
    let [a, b, c, d, e, f] = *mac else { return None };
    Some(Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbd_grammar::config::OwnLink;

    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 5];

    fn wanted() -> Wanted {
        Wanted {
            link: OwnLink {
                name: "vrrp.5".into(),
                parent: "eth0".into(),
                kind: OwnLinkKind::Macvlan { mac: MAC },
                group: None,
                addresses: Vec::new(),
                link_local: false,
                ipv6: false,
            },
            group: None,
        }
    }

    fn eth0() -> Seen {
        Seen {
            index: 2,
            name: "eth0".into(),
            up: true,
            mac: vec![2, 0, 0, 0, 0, 1],
            group: 7,
            ..Seen::default()
        }
    }

    fn own() -> Seen {
        Seen {
            index: 9,
            name: "vrrp.5".into(),
            up: true,
            mac: MAC.to_vec(),
            parent: Some(2),
            kind: SeenKind::Macvlan { private: true },
            ..Seen::default()
        }
    }

    fn known(settled: &[u32]) -> Known {
        Known { made: ["vrrp.5".to_owned()].into(), settled: settled.iter().copied().collect() }
    }

    #[test]
    fn one_macvlan() {
        let create = || Step::Create {
            name: "vrrp.5".into(),
            kind: OwnLinkKind::Macvlan { mac: MAC },
            parent: 2,
            group: 7,
            vrf: None,
        };
        let settle = || Step::Settle {
            index: 9,
            name: "vrrp.5".into(),
            parent: "eth0".into(),
            ipv6: false,
            settings: Kind::Macvlan,
        };
        let up = || Step::SetUp { index: 9, name: "vrrp.5".into() };
        let delete = || Step::Delete { index: 9, name: "vrrp.5".into() };
        let other_mac = Seen { mac: vec![2; 6], ..own() };
        let other_parent = Seen { parent: Some(3), ..own() };
        let other_mode = Seen { kind: SeenKind::Macvlan { private: false }, ..own() };
        let device = Seen { kind: SeenKind::Other, ..own() };
        let nothing = Known::default();
        for (name, seen, known, steps, troubles) in [
            ("no parent", vec![], nothing.clone(), vec![], 0),
            ("made", vec![eth0()], nothing.clone(), vec![create()], 0),
            ("settled", vec![eth0(), own()], known(&[]), vec![settle()], 0),
            ("set up", vec![eth0(), Seen { up: false, ..own() }], known(&[9]), vec![up()], 0),
            ("as it should be", vec![eth0(), own()], known(&[9]), vec![], 0),
            ("found as it should be", vec![eth0(), own()], nothing.clone(), vec![settle()], 0),
            ("ours with another address", vec![eth0(), other_mac.clone()], known(&[9]), vec![delete()], 0),
            ("ours on another interface", vec![eth0(), other_parent], known(&[9]), vec![delete()], 0),
            ("ours in another mode", vec![eth0(), other_mode], known(&[9]), vec![delete()], 0),
            ("somebody else's", vec![eth0(), other_mac], nothing.clone(), vec![], 1),
            ("a device of the name", vec![eth0(), device.clone()], known(&[9]), vec![], 1),
        ] {
            let (got, trouble) = plan(&[wanted()], &seen, &known);
            assert_eq!(got, steps, "{name}");
            assert_eq!(trouble.len(), troubles, "{name}: {trouble:?}");
        }
        for (name, seen, steps) in [
            ("wanted no more", vec![eth0(), own()], vec![delete()]),
            ("gone already", vec![eth0()], vec![]),
            ("the name is a device's by now", vec![eth0(), device], vec![]),
        ] {
            assert_eq!(plan(&[], &seen, &known(&[9])).0, steps, "{name}");
        }
    }

    #[test]
    fn link_local_addresses() {
        let mut want = wanted();
        (want.link.link_local, want.link.ipv6) = (true, true);
        let address = |text: &str| -> IpAddr { text.parse().expect("address") };
        let with = |addresses: &[&str], seen: Seen| Seen {
            addresses: addresses.iter().map(|one| (address(one), 64)).collect(),
            ..seen
        };
        for (name, parent, own, want_address) in [
            ("of the parent", with(&["2001:db8::1", "fe80::7"], eth0()), own(), Some("fe80::7")),
            ("of its hardware address", eth0(), own(), Some("fe80::ff:fe00:1")),
            ("is there", eth0(), with(&["fe80::1"], own()), None),
            ("no Ethernet", Seen { mac: vec![], ..eth0() }, own(), None),
        ] {
            let (steps, _) = plan(&[want.clone()], &[parent, own], &known(&[9]));
            let got: Vec<IpAddr> = steps
                .iter()
                .map(|step| match step {
                    Step::AddAddress { address, .. } => address.address,
                    other => panic!("{name}: {other:?}"),
                })
                .collect();
            assert_eq!(got, want_address.map(address).into_iter().collect::<Vec<_>>(), "{name}");
        }
    }

    #[test]
    fn the_vrf_of_the_parent_is_its_own() {
        for (name, in_vrf, want) in [("a VRF", true, Some(4)), ("a bridge", false, None)] {
            let parent = Seen { controller: Some(4), in_vrf, ..eth0() };
            let (steps, _) = plan(&[wanted()], &[parent], &Known::default());
            let [Step::Create { vrf, .. }] = steps.as_slice() else { panic!("{name}: {steps:?}") };
            assert_eq!(*vrf, want, "{name}");
        }
    }
}
