//! Messages of rtnetlink about own interfaces: what the kernel lists, and what is asked of it.

use std::net::IpAddr;

use lbd_grammar::config::{IpvlanMode, OwnLinkKind};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, InfoPortKind, IpVlanFlags, IpVlanMode as IpVlanLayer,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};

use super::plan::{Seen, SeenKind};

/// An interface of a list; `None` for what is none (ports that bridges tell of).
pub(super) fn seen(message: &LinkMessage) -> Option<Seen> {
    if message.header.interface_family == AddressFamily::Bridge {
        return None;
    }
    let mut seen = Seen {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Seen::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => seen.name.clone_from(name),
            LinkAttribute::Address(mac) => seen.mac.clone_from(mac),
            LinkAttribute::Link(parent) => seen.parent = Some(*parent),
            LinkAttribute::Controller(index) => seen.controller = Some(*index),
            LinkAttribute::Group(group) => seen.group = *group,
            LinkAttribute::LinkInfo(infos) => {
                seen.kind = kind(infos);
                seen.in_vrf = infos.iter().any(|info| matches!(info, LinkInfo::PortKind(InfoPortKind::Vrf)));
            }
            _ => {}
        }
    }
    (!seen.name.is_empty()).then_some(seen)
}

fn kind(infos: &[LinkInfo]) -> SeenKind {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    let is = |kind: InfoKind| infos.iter().any(|info| matches!(info, LinkInfo::Kind(has) if *has == kind));
    match data {
        Some(InfoData::MacVlan(all)) if is(InfoKind::MacVlan) => SeenKind::Macvlan {
            private: all.iter().any(|one| matches!(one, InfoMacVlan::Mode(MacVlanMode::Private))),
        },
        Some(InfoData::IpVlan(all)) if is(InfoKind::IpVlan) => {
            let layer2 = all.iter().any(|one| matches!(one, InfoIpVlan::Mode(IpVlanLayer::L2)));
            let flags = all.iter().find_map(|one| match one {
                InfoIpVlan::Flags(flags) => Some(*flags),
                _ => None,
            });
            let flags = flags.unwrap_or_default();
            if !layer2 {
                SeenKind::Other
            } else if flags.contains(IpVlanFlags::Private) {
                SeenKind::Ipvlan(IpvlanMode::Private)
            } else if flags.contains(IpVlanFlags::Vepa) {
                SeenKind::Ipvlan(IpvlanMode::Vepa)
            } else {
                SeenKind::Ipvlan(IpvlanMode::Bridge)
            }
        }
        _ => SeenKind::Other,
    }
}

/// An address of a list: the interface, the address, its prefix length.
pub(super) fn address(message: &AddressMessage) -> Option<(u32, IpAddr, u8)> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => found = Some(*ip),
            AddressAttribute::Address(ip) => found = found.or(Some(*ip)),
            _ => {}
        }
    }
    Some((message.header.index, found?, message.header.prefix_len))
}

/// Makes an interface.
pub(super) fn creation(
    name: &str,
    kind: &OwnLinkKind,
    parent: u32,
    group: u32,
    vrf: Option<u32>,
) -> LinkMessage {
    let mut message = LinkMessage::default();
    let attributes = &mut message.attributes;
    attributes.push(LinkAttribute::IfName(name.to_owned()));
    attributes.push(LinkAttribute::Link(parent));
    attributes.push(LinkAttribute::Group(group));
    attributes.extend(vrf.map(LinkAttribute::Controller));
    let (kind, data) = match kind {
        OwnLinkKind::Macvlan { mac } => {
            attributes.push(LinkAttribute::Address(mac.to_vec()));
            (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Private)]))
        }
        OwnLinkKind::Ipvlan(mode) => {
            let flags = match mode {
                IpvlanMode::Bridge => IpVlanFlags::empty(),
                IpvlanMode::Private => IpVlanFlags::Private,
                IpvlanMode::Vepa => IpVlanFlags::Vepa,
            };
            let data = vec![InfoIpVlan::Mode(IpVlanLayer::L2), InfoIpVlan::Flags(flags)];
            (InfoKind::IpVlan, InfoData::IpVlan(data))
        }
    };
    attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    message
}

/// Sets an interface up.
pub(super) fn up(index: u32) -> LinkMessage {
    let mut message = of(index);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// Puts an interface into a group, and into a VRF or out of it (0).
pub(super) fn moved(index: u32, group: Option<u32>, vrf: Option<u32>) -> LinkMessage {
    let mut message = of(index);
    message.attributes.extend(group.map(LinkAttribute::Group));
    message.attributes.extend(vrf.map(LinkAttribute::Controller));
    message
}

/// Names an interface.
pub(super) fn of(index: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message
}
