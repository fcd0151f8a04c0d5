//! What the kernel says about links and addresses, mirrored, and the messages that change addresses.
//!
//! Here: values. Not here: the netlink socket, queues and time limits (`netconf`).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use lbd_vrrp::{DeviceAddress, Interface};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};

use super::snapshot::{HostInterface, Interfaces};

/// `IFAPROT_KEEPALIVED`: what VRRP put there can be told from the rest (kernels from 5.18 on).
const PROTOCOL_VRRP: u8 = 18;

/// Interface index, address, prefix length.
pub(super) type AddressKey = (u32, IpAddr, u8);

#[derive(Clone, Debug)]
struct Link {
    name: String,
    up: bool,
    mac: Option<[u8; 6]>,
    addresses: Vec<(IpAddr, u8)>,
}

/// Links and addresses as the last messages told.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    links: BTreeMap<u32, Link>,
}

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Link,
    AddressGone(AddressKey),
}

impl Mirror {
    pub fn clear(&mut self) {
        self.links.clear();
    }

    pub fn new_link(&mut self, message: &LinkMessage) -> Change {
        // Bridges tell about their ports in messages of their own family.
        if message.header.interface_family == AddressFamily::Bridge {
            return Change::Nothing;
        }
        let mut name = None;
        let mut mac = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text.clone()),
                LinkAttribute::Address(octets) => mac = <[u8; 6]>::try_from(octets.as_slice()).ok(),
                _ => {}
            }
        }
        let Some(name) = name else { return Change::Nothing };
        let flags = message.header.flags;
        let no_arp = flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback);
        let link = self.links.entry(message.header.index).or_insert_with(|| Link {
            name: String::new(),
            up: false,
            mac: None,
            addresses: Vec::new(),
        });
        link.name = name;
        link.up = flags.contains(LinkFlags::Up | LinkFlags::Running);
        link.mac = mac.filter(|_| !no_arp);
        Change::Link
    }

    pub fn del_link(&mut self, message: &LinkMessage) -> Change {
        if message.header.interface_family == AddressFamily::Bridge {
            return Change::Nothing;
        }
        self.links.remove(&message.header.index);
        Change::Link
    }

    pub fn new_address(&mut self, message: &AddressMessage) -> Change {
        let Some((index, address, prefix)) = key(message) else { return Change::Nothing };
        let Some(link) = self.links.get_mut(&index) else { return Change::Nothing };
        if link.addresses.contains(&(address, prefix)) {
            return Change::Nothing;
        }
        link.addresses.push((address, prefix));
        Change::Link
    }

    pub fn del_address(&mut self, message: &AddressMessage) -> Change {
        let Some(key) = key(message) else { return Change::Nothing };
        let (index, address, prefix) = key;
        if let Some(link) = self.links.get_mut(&index) {
            link.addresses.retain(|one| *one != (address, prefix));
        }
        Change::AddressGone(key)
    }

    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.links.iter().find(|(_, link)| link.name == name).map(|(index, _)| *index)
    }

    pub fn name_of(&self, index: u32) -> Option<&str> {
        self.links.get(&index).map(|link| link.name.as_str())
    }

    pub fn has(&self, address: &DeviceAddress) -> bool {
        let wanted = (address.address.address, address.address.prefix);
        self.index_of(&address.device)
            .and_then(|index| self.links.get(&index))
            .is_some_and(|link| link.addresses.contains(&wanted))
    }

    /// For the engine: IPv4 addresses only.
    pub fn for_engine(&self) -> BTreeMap<String, Interface> {
        let interface = |(index, link): (&u32, &Link)| {
            let v4 = link.addresses.iter().filter_map(|(address, _)| match address {
                IpAddr::V4(address) => Some(*address),
                IpAddr::V6(_) => None,
            });
            let interface = Interface {
                name: link.name.clone(),
                index: NonZeroU32::new(*index)?,
                up: link.up,
                mac: link.mac,
                addresses: v4.collect(),
            };
            Some((link.name.clone(), interface))
        };
        self.links.iter().filter_map(interface).collect()
    }

    /// For readers.
    pub fn for_readers(&self) -> Interfaces {
        let interface = |(index, link): (&u32, &Link)| {
            let index = NonZeroU32::new(*index)?;
            Some((link.name.clone(), HostInterface { index, up: link.up, addresses: link.addresses.clone() }))
        };
        Interfaces { by_name: self.links.iter().filter_map(interface).collect() }
    }
}

fn key(message: &AddressMessage) -> Option<AddressKey> {
    // IFA_LOCAL is the own address; on point-to-point links IFA_ADDRESS is the other end.
    let mut local = None;
    let mut address = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            _ => {}
        }
    }
    local.or(address).map(|ip| (message.header.index, ip, message.header.prefix_len))
}

/// The message that deletes `address` from the interface of `index`.
pub(super) fn deletion(index: u32, address: &DeviceAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.address.address;
    message.header.index = index;
    message.header.prefix_len = address.address.prefix;
    message.header.family = match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    };
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    message
}

/// The message that adds `address` to the interface of `index`, complete: nothing is added that
/// was not configured (no broadcast address of its own accord).
pub(super) fn addition(index: u32, address: &DeviceAddress) -> AddressMessage {
    let mut message = deletion(index, address);
    let virtual_address = &address.address;
    message.header.scope = AddressScope::from(virtual_address.scope);
    if let Some(broadcast) = virtual_address.broadcast {
        message.attributes.push(AddressAttribute::Broadcast(broadcast));
    }
    if let Some(label) = &virtual_address.label {
        message.attributes.push(AddressAttribute::Label(label.clone()));
    }
    if let IpAddr::V6(ip) = virtual_address.address {
        ipv6(&mut message, ip, virtual_address.prefix);
    }
    message.attributes.push(AddressAttribute::Protocol(AddressProtocol::Other(PROTOCOL_VRRP)));
    message
}

/// Usable at once (no duplicate address detection) and never chosen as a source.
fn ipv6(message: &mut AddressMessage, _ip: Ipv6Addr, prefix: u8) {
    message.header.flags = AddressHeaderFlags::Nodad;
    message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    if prefix == 128 {
        let mut lifetime = CacheInfo::default();
        lifetime.ifa_preferred = 0;
        lifetime.ifa_valid = u32::MAX;
        message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    }
}
