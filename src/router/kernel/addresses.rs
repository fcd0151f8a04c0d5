//! Addresses: the messages that add and delete them, and what messages say of them.
//!
//! Here: values. Not here: which addresses there are (`kernel`).

use std::net::IpAddr;

use lbd_vrrp::{PreferredLifetime, VirtualAddress};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    CacheInfo,
};

/// `IFAPROT_KEEPALIVED`, `RTPROT_KEEPALIVED`: what VRRP put there can be told from the rest (addresses: kernels from
/// 5.18 on).
pub(in crate::router) const PROTOCOL_VRRP: u8 = 18;

/// An interface's own address, as a message tells it.
pub(super) struct OwnAddress {
    pub ip: IpAddr,
    pub prefix: u8,
    pub peer: Option<IpAddr>,
    pub flags: AddressFlags,
    pub of_vrrp: bool,
}

impl OwnAddress {
    pub fn of(message: &AddressMessage) -> Option<Self> {
        // IFA_LOCAL is the own address; with it IFA_ADDRESS is the other end, or the same.
        let mut local = None;
        let mut address = None;
        let mut of_vrrp = false;
        let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
        for attribute in &message.attributes {
            match attribute {
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                AddressAttribute::Protocol(protocol) => {
                    of_vrrp = *protocol == AddressProtocol::Other(PROTOCOL_VRRP);
                }
                _ => {}
            }
        }
        let ip = local.or(address)?;
        let peer = address.filter(|address| *address != ip);
        Some(OwnAddress { ip, prefix: message.header.prefix_len, peer, flags, of_vrrp })
    }
}

/// The message that deletes an address.
pub(super) fn message(index: u32, ip: IpAddr, prefix: u8, peer: Option<IpAddr>) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = prefix;
    message.header.family = match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(peer.unwrap_or(ip))];
    message
}

/// The message that deletes an address without another end.
pub(in crate::router) fn removal(index: u32, ip: IpAddr, prefix: u8) -> AddressMessage {
    message(index, ip, prefix, None)
}

/// The message that adds `address` to the interface of `index`, complete: nothing is added that
/// was not configured (no broadcast address of its own accord).
pub(in crate::router) fn addition(index: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = message(index, address.address, address.prefix, address.peer);
    let attributes = &mut message.attributes;
    if address.address.is_ipv4() {
        message.header.scope = AddressScope::from(address.scope);
        attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
        attributes.extend(address.label.clone().map(AddressAttribute::Label));
    }
    let flags = flags(address);
    if !flags.is_empty() {
        // The header has room for the first eight.
        let [first, ..] = flags.bits().to_le_bytes();
        message.header.flags = AddressHeaderFlags::from_bits_retain(first);
        attributes.push(AddressAttribute::Flags(flags));
    }
    // One of IPv4 has none: keepalived says nothing of it either.
    if let PreferredLifetime::Seconds(seconds) = address.preferred
        && address.address.is_ipv6()
    {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = seconds;
        lifetime.ifa_valid = u32::MAX;
        attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
    attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL_VRRP)));
    message
}

/// `IFA_FLAGS`. An IPv6 address is usable at once, without duplicate address detection, unless that
/// is asked for: its former master has just given it up.
fn flags(address: &VirtualAddress) -> AddressFlags {
    let six = address.address.is_ipv6();
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Nodad, six && !address.detect_duplicates);
    flags.set(AddressFlags::Homeaddress, six && address.home);
    flags.set(AddressFlags::Managetempaddr, six && address.manage_temporary);
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    flags.set(AddressFlags::Mcautojoin, address.auto_join);
    flags
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const INDEX: u32 = 3;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    #[test]
    fn messages_that_add() {
        let four = || VirtualAddress::new(ip("10.0.0.1"), 24);
        let six = |prefix| VirtualAddress::new(ip("fd00::1"), prefix);
        let local =
            |text, other| vec![AddressAttribute::Local(ip(text)), AddressAttribute::Address(ip(other))];
        let lifetime = |preferred| {
            let mut lifetime = CacheInfo::default();
            (lifetime.ifa_preferred, lifetime.ifa_valid) = (preferred, u32::MAX);
            AddressAttribute::CacheInfo(lifetime)
        };
        let flags = |bits| AddressAttribute::Flags(AddressFlags::from_bits_retain(bits));
        for (name, address, scope, first_flags, own, rest) in [
            ("IPv4", four(), 0, 0, local("10.0.0.1", "10.0.0.1"), vec![]),
            (
                "IPv4 with everything",
                VirtualAddress {
                    scope: 253,
                    broadcast: Some(Ipv4Addr::new(10, 0, 0, 255)),
                    label: Some("eth0:1".into()),
                    peer: Some(ip("10.0.1.1")),
                    no_prefix_route: true,
                    auto_join: true,
                    // Of IPv6.
                    preferred: PreferredLifetime::Seconds(30),
                    home: true,
                    manage_temporary: true,
                    detect_duplicates: true,
                    ..four()
                },
                253,
                0,
                local("10.0.0.1", "10.0.1.1"),
                vec![
                    AddressAttribute::Broadcast(Ipv4Addr::new(10, 0, 0, 255)),
                    AddressAttribute::Label("eth0:1".into()),
                    flags(0x600),
                ],
            ),
            (
                "IPv6 alone is deprecated",
                six(128),
                0,
                2,
                local("fd00::1", "fd00::1"),
                vec![flags(2), lifetime(0)],
            ),
            (
                "IPv6 alone, preferred",
                VirtualAddress { preferred: PreferredLifetime::Forever, ..six(128) },
                0,
                2,
                local("fd00::1", "fd00::1"),
                vec![flags(2)],
            ),
            ("IPv6 of a network", six(64), 0, 2, local("fd00::1", "fd00::1"), vec![flags(2)]),
            (
                "IPv6 with duplicate address detection",
                VirtualAddress { detect_duplicates: true, ..six(64) },
                0,
                0,
                local("fd00::1", "fd00::1"),
                vec![],
            ),
            (
                "IPv6 with everything",
                VirtualAddress {
                    // Of IPv4.
                    scope: 253,
                    label: Some("eth0:1".into()),
                    peer: Some(ip("fd00::2")),
                    home: true,
                    manage_temporary: true,
                    no_prefix_route: true,
                    auto_join: true,
                    preferred: PreferredLifetime::Seconds(600),
                    ..six(64)
                },
                0,
                0x12,
                local("fd00::1", "fd00::2"),
                vec![flags(0x712), lifetime(600)],
            ),
        ] {
            let message = addition(INDEX, &address);
            let family = if address.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
            assert_eq!(message.header.family, family, "{name}");
            assert_eq!((message.header.index, message.header.prefix_len), (INDEX, address.prefix), "{name}");
            assert_eq!(message.header.scope, AddressScope::from(scope), "{name}");
            assert_eq!(message.header.flags.bits(), first_flags, "{name}");
            let protocol = AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL_VRRP));
            assert_eq!(message.attributes, [own, rest, vec![protocol]].concat(), "{name}");
        }
    }
}
