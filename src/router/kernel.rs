//! What the kernel says about links and addresses, mirrored, and the messages that change addresses.
//!
//! Here: values. Not here: the netlink socket (`route`), queues and time limits (`netconf`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;

use lbd_vrrp::{DeviceAddress, Interface, PreferredLifetime, VirtualAddress};
use netlink_packet_core::NlasIterator;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol, AddressScope,
    CacheInfo,
};
use netlink_packet_route::link::{AfSpecInet6, AfSpecUnspec, LinkAttribute, LinkFlags, LinkMessage};

use super::snapshot::HostInterface;

/// `IFAPROT_KEEPALIVED`: what VRRP put there can be told from the rest (kernels from 5.18 on).
const PROTOCOL_VRRP: u8 = 18;
/// `NETCONFA_IFINDEX`, `NETCONFA_FORWARDING` (linux/netconf.h)
const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
/// `struct netconfmsg`, padded.
const NETCONF_HEADER: usize = 4;

/// Interface index, address, prefix length.
pub(super) type AddressKey = (u32, IpAddr, u8);

#[derive(Clone, Debug, Default)]
struct Link {
    name: String,
    up: bool,
    mac: Option<[u8; 6]>,
    forwarding: bool,
    addresses: HashMap<(IpAddr, u8), Entry>,
    order: BTreeMap<Place, (IpAddr, u8)>,
}

impl Link {
    fn in_order(&self) -> impl Iterator<Item = (IpAddr, u8, Use)> {
        let known = |at: &(IpAddr, u8)| self.addresses.get(at).map(|entry| (at.0, at.1, entry.usable));
        self.order.values().filter_map(known)
    }

    fn remove(&mut self, at: (IpAddr, u8)) -> bool {
        let Some(entry) = self.addresses.remove(&at) else { return false };
        self.order.remove(&entry.place);
        true
    }
}

/// An address of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    place: Place,
    usable: Use,
    /// Address of the other end, without which IPv4 addresses are not deleted.
    peer: Option<IpAddr>,
    /// VRRP put it there (kernels from 5.18 on tell).
    of_vrrp: bool,
}

/// Whether an address can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Now,
    /// Duplicate address detection goes on.
    NotYet,
    /// Another host has it.
    Duplicate,
}

/// Where an address stands in the kernel's list: primary IPv4 addresses by scope, the narrowest
/// first, then secondary ones, each in the order of their arrival; IPv6 addresses by scope, the
/// widest first, the latest of each first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    class: Class,
    scope: i16,
    serial: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Primary,
    Secondary,
    Six,
}

impl Place {
    fn new(told: Told, ip: IpAddr, flags: AddressFlags, scope: u8, serial: i64) -> Self {
        let scope = i16::from(scope);
        match ip {
            IpAddr::V4(_) if flags.contains(AddressFlags::Secondary) => {
                Place { class: Class::Secondary, scope: 0, serial }
            }
            IpAddr::V4(_) => Place { class: Class::Primary, scope: -scope, serial },
            // A list begins with the latest.
            IpAddr::V6(_) if told == Told::List => Place { class: Class::Six, scope, serial },
            IpAddr::V6(_) => Place { class: Class::Six, scope, serial: -serial },
        }
    }

    /// It stays where it is unless it became primary or secondary.
    fn stays(self, now: Self) -> bool {
        self.class == now.class && self.scope == now.scope
    }
}

/// How an address was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// As an entry of a list.
    List,
    /// As it came or changed.
    Event,
}

/// Links and addresses as the last messages told.
#[derive(Clone, Debug, Default)]
pub(super) struct Mirror {
    links: BTreeMap<u32, Link>,
    by_name: HashMap<String, u32>,
    serial: i64,
    changes: Changes,
}

/// What may be different since it was asked last.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub links: BTreeSet<u32>,
    /// Names that were given up.
    pub names: BTreeSet<String>,
    /// Some link forwards, or does so no more.
    pub forwarding: bool,
}

/// What a message changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Link,
    AddressGone(AddressKey),
    /// Another host has this address.
    Duplicate(AddressKey),
}

impl Mirror {
    /// Forgets everything, to be read anew.
    pub fn clear(&mut self) {
        self.links.clear();
        self.changes.names.extend(self.by_name.drain().map(|(name, _)| name));
    }

    pub fn new_link(&mut self, message: &LinkMessage) -> Change {
        // Bridges tell about their ports in messages of their own family.
        if message.header.interface_family == AddressFamily::Bridge {
            return Change::Nothing;
        }
        let mut name = None;
        let mut mac = None;
        let mut forwarding = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Address(octets) => mac = Some(<[u8; 6]>::try_from(octets.as_slice()).ok()),
                LinkAttribute::AfSpecUnspec(families) => forwarding = forwards(families),
                _ => {}
            }
        }
        let Some(name) = name else { return Change::Nothing };
        let flags = message.header.flags;
        let no_arp = flags.intersects(LinkFlags::Noarp | LinkFlags::Loopback);
        let index = message.header.index;
        let link = self.links.entry(index).or_default();
        if link.name != *name {
            let before = std::mem::replace(&mut link.name, name.clone());
            if self.by_name.get(&before) == Some(&index) {
                self.by_name.remove(&before);
                self.changes.names.insert(before);
            }
            self.by_name.insert(name.clone(), index);
        }
        link.up = flags.contains(LinkFlags::Up | LinkFlags::Running);
        // Messages of wireless drivers say neither.
        link.mac = mac.unwrap_or(link.mac).filter(|_| !no_arp);
        if let Some(forwarding) = forwarding {
            self.changes.forwarding |= link.forwarding != forwarding;
            link.forwarding = forwarding;
        }
        self.changes.links.insert(index);
        Change::Link
    }

    pub fn del_link(&mut self, message: &LinkMessage) -> Change {
        if message.header.interface_family == AddressFamily::Bridge {
            return Change::Nothing;
        }
        let index = message.header.index;
        if let Some(link) = self.links.remove(&index)
            && self.by_name.get(&link.name) == Some(&index)
        {
            self.by_name.remove(&link.name);
            self.changes.names.insert(link.name);
        }
        Change::Link
    }

    /// `RTM_NEWNETCONF` (what follows the netlink header): an interface begins or ends to forward IPv6.
    pub fn netconf(&mut self, payload: &[u8]) -> Change {
        if payload.first().map(|family| AddressFamily::from(*family)) != Some(AddressFamily::Inet6) {
            return Change::Nothing;
        }
        let attributes = NlasIterator::new(payload.get(NETCONF_HEADER..).unwrap_or_default());
        let (mut index, mut forwarding) = (None, None);
        for attribute in attributes.map_while(Result::ok) {
            let value = attribute.value().first_chunk().map(|octets| i32::from_ne_bytes(*octets));
            match attribute.kind() {
                NETCONFA_IFINDEX => index = value.and_then(|value| u32::try_from(value).ok()),
                NETCONFA_FORWARDING => forwarding = value.map(|value| value != 0),
                _ => {}
            }
        }
        let (Some(index), Some(forwarding)) = (index, forwarding) else { return Change::Nothing };
        match self.links.get_mut(&index) {
            Some(link) if link.forwarding != forwarding => {
                link.forwarding = forwarding;
                self.changes.links.insert(index);
                self.changes.forwarding = true;
                Change::Link
            }
            _ => Change::Nothing,
        }
    }

    pub fn new_address(&mut self, told: Told, message: &AddressMessage) -> Change {
        let Some(own) = OwnAddress::of(message) else { return Change::Nothing };
        let usable = match own.ip {
            IpAddr::V6(_) if own.flags.contains(AddressFlags::Dadfailed) => Use::Duplicate,
            IpAddr::V6(_)
                if own.flags.contains(AddressFlags::Tentative)
                    && !own.flags.contains(AddressFlags::Optimistic) =>
            {
                Use::NotYet
            }
            _ => Use::Now,
        };
        let index = message.header.index;
        let place = self.place(told, own.ip, own.flags, message.header.scope.into());
        self.put(index, (own.ip, own.prefix), Entry { place, usable, peer: own.peer, of_vrrp: own.of_vrrp })
    }

    /// The kernel acknowledged that it added this. It tells an IPv6 address only when it begins to
    /// use it, from a thread of its own.
    pub fn acknowledged(&mut self, index: u32, address: &VirtualAddress) {
        let at = (address.address, address.prefix);
        let there = self.links.get(&index).is_none_or(|link| link.addresses.contains_key(&at));
        let IpAddr::V6(ip) = address.address else { return };
        if there {
            return;
        }
        let scope = if ip.is_unicast_link_local() { AddressScope::Link } else { AddressScope::Universe };
        let place = self.place(Told::Event, at.0, AddressFlags::empty(), scope.into());
        let usable = if address.detect_duplicates { Use::NotYet } else { Use::Now };
        self.put(index, at, Entry { place, usable, peer: address.peer, of_vrrp: true });
    }

    fn place(&mut self, told: Told, ip: IpAddr, flags: AddressFlags, scope: u8) -> Place {
        self.serial += 1;
        Place::new(told, ip, flags, scope, self.serial)
    }

    fn put(&mut self, index: u32, at: (IpAddr, u8), mut entry: Entry) -> Change {
        let Some(link) = self.links.get_mut(&index) else { return Change::Nothing };
        let before = link.addresses.get(&at).copied();
        if let Some(before) = before {
            // Older kernels do not tell; what was put there stays ours until it goes.
            entry.of_vrrp |= before.of_vrrp;
            if before.place.stays(entry.place) {
                entry.place = before.place;
            }
            if before == entry {
                return Change::Nothing;
            }
            link.order.remove(&before.place);
        }
        link.order.insert(entry.place, at);
        link.addresses.insert(at, entry);
        self.changes.links.insert(index);
        let duplicate = entry.usable == Use::Duplicate;
        if duplicate && before.is_none_or(|before| before.usable != Use::Duplicate) {
            return Change::Duplicate((index, at.0, at.1));
        }
        Change::Link
    }

    pub fn del_address(&mut self, message: &AddressMessage) -> Change {
        let Some(own) = OwnAddress::of(message) else { return Change::Nothing };
        let index = message.header.index;
        if self.links.get_mut(&index).is_some_and(|link| link.remove((own.ip, own.prefix))) {
            self.changes.links.insert(index);
        }
        Change::AddressGone((index, own.ip, own.prefix))
    }

    /// Something outside of the kernel changed about an interface.
    pub fn touch(&mut self, name: &str) {
        self.changes.links.extend(self.by_name.get(name));
    }

    pub fn index_of(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    pub fn name_of(&self, index: u32) -> Option<&str> {
        self.links.get(&index).map(|link| link.name.as_str())
    }

    /// Whether it is there, usable or not.
    pub fn has(&self, address: &DeviceAddress) -> bool {
        self.entry(address).is_some()
    }

    /// Whether it is there and VRRP put it there.
    pub fn has_of_vrrp(&self, address: &DeviceAddress) -> bool {
        self.entry(address).is_some_and(|(_, entry)| entry.of_vrrp)
    }

    fn entry(&self, address: &DeviceAddress) -> Option<(u32, &Entry)> {
        let at = (address.address.address, address.address.prefix);
        let index = self.index_of(&address.device)?;
        Some((index, self.links.get(&index)?.addresses.get(&at)?))
    }

    /// The message that deletes `address`, if it is there.
    pub fn deletion(&self, address: &DeviceAddress) -> Option<AddressMessage> {
        let (index, entry) = self.entry(address)?;
        Some(message(index, address.address.address, address.address.prefix, entry.peer))
    }

    /// Some link forwards, or does so no more, since [`Mirror::take_changes`].
    pub fn is_forwarding_different(&self) -> bool {
        self.changes.forwarding
    }

    /// What may be different since this was called last.
    pub fn take_changes(&mut self) -> Changes {
        std::mem::take(&mut self.changes)
    }

    /// For the engine: addresses that can be used.
    pub fn for_engine(&self, index: u32) -> Option<Interface> {
        let link = self.links.get(&index)?;
        let usable = |(ip, _, usable): (IpAddr, u8, Use)| (usable == Use::Now).then_some(ip);
        Some(Interface {
            name: link.name.clone(),
            index: NonZeroU32::new(index)?,
            up: link.up,
            mac: link.mac,
            addresses: link.in_order().filter_map(usable).collect(),
            forwarding: link.forwarding,
        })
    }

    /// For readers: all addresses.
    pub fn for_readers(&self, index: u32) -> Option<HostInterface> {
        let link = self.links.get(&index)?;
        let addresses = link.in_order().map(|(ip, prefix, _)| (ip, prefix)).collect();
        Some(HostInterface { index: NonZeroU32::new(index)?, up: link.up, addresses })
    }
}

/// net.ipv6.conf.IF.forwarding, where the interface speaks IPv6.
fn forwards(families: &[AfSpecUnspec]) -> Option<bool> {
    families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(attributes) => attributes.iter().find_map(|attribute| match attribute {
            AfSpecInet6::DevConf(settings) => Some(settings.forwarding != 0),
            _ => None,
        }),
        _ => None,
    })
}

/// An interface's own address, as a message tells it.
struct OwnAddress {
    ip: IpAddr,
    prefix: u8,
    peer: Option<IpAddr>,
    flags: AddressFlags,
    of_vrrp: bool,
}

impl OwnAddress {
    fn of(message: &AddressMessage) -> Option<Self> {
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

fn message(index: u32, ip: IpAddr, prefix: u8, peer: Option<IpAddr>) -> AddressMessage {
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

/// The message that adds `address` to the interface of `index`, complete: nothing is added that
/// was not configured (no broadcast address of its own accord).
pub(super) fn addition(index: u32, address: &VirtualAddress) -> AddressMessage {
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
    if let PreferredLifetime::Seconds(seconds) = address.preferred {
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

    fn link(name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
        let mut message = LinkMessage::default();
        message.header.index = INDEX;
        message.header.flags = LinkFlags::Up | LinkFlags::Running;
        message.attributes = vec![LinkAttribute::IfName(name.into())];
        message.attributes.extend(attributes);
        message
    }

    fn mirror() -> Mirror {
        let mut mirror = Mirror::default();
        mirror.new_link(&link("eth0", vec![LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])]));
        mirror.take_changes();
        mirror
    }

    /// As the kernel tells an address.
    fn told(address: &str, prefix: u8, scope: u8, flags: AddressFlags) -> AddressMessage {
        let mut message = message(INDEX, ip(address), prefix, None);
        message.header.scope = scope.into();
        message.attributes.push(AddressAttribute::Flags(flags));
        message
    }

    fn usable(mirror: &Mirror) -> Vec<String> {
        let interface = mirror.for_engine(INDEX).expect("interface");
        interface.addresses.iter().map(ToString::to_string).collect()
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
                    preferred: PreferredLifetime::Seconds(30),
                    // Of IPv6.
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
                    lifetime(30),
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

    #[test]
    fn messages_that_delete() {
        let mut mirror = mirror();
        let vip = |device: &str, text| DeviceAddress {
            device: device.into(),
            address: VirtualAddress::new(ip(text), 24),
        };
        mirror.new_address(Told::Event, &told("10.0.0.1", 24, 0, AddressFlags::empty()));
        mirror.new_address(Told::Event, &message(INDEX, ip("10.0.0.2"), 24, Some(ip("10.9.0.1"))));
        let local =
            |text, other| Some(vec![AddressAttribute::Local(ip(text)), AddressAttribute::Address(ip(other))]);
        for (name, address, want) in [
            ("plain", vip("eth0", "10.0.0.1"), local("10.0.0.1", "10.0.0.1")),
            ("the kernel's peer", vip("eth0", "10.0.0.2"), local("10.0.0.2", "10.9.0.1")),
            ("not there", vip("eth0", "10.0.0.3"), None),
            ("no such interface", vip("eth1", "10.0.0.1"), None),
        ] {
            assert_eq!(mirror.deletion(&address).map(|message| message.attributes), want, "{name}");
        }
    }

    /// As `ip address` shows what was added in this order.
    #[test]
    fn the_kernels_order() {
        let plain = AddressFlags::Permanent;
        let second = AddressFlags::Permanent | AddressFlags::Secondary;
        let mut mirror = mirror();
        for (address, prefix, scope, flags) in [
            ("fe80::1", 64, 253, plain),
            ("10.0.0.1", 24, 0, plain),
            ("10.0.0.2", 24, 0, second),
            ("10.1.0.1", 24, 0, plain),
            ("fd00::1", 64, 0, plain),
            ("10.2.0.1", 24, 253, plain),
            ("fd00::2", 64, 0, plain),
            ("fe80::2", 64, 253, plain),
        ] {
            let change = mirror.new_address(Told::Event, &told(address, prefix, scope, flags));
            assert_eq!(change, Change::Link, "{address}");
        }
        let order =
            ["10.2.0.1", "10.0.0.1", "10.1.0.1", "10.0.0.2", "fd00::2", "fd00::1", "fe80::2", "fe80::1"];
        assert_eq!(usable(&mirror), order);
        // A list has it already.
        let mut listed = self::mirror();
        for address in order {
            let flags = if address == "10.0.0.2" { second } else { plain };
            let scope = if address.starts_with("fe80") || address == "10.2.0.1" { 253 } else { 0 };
            let prefix = if address.contains(':') { 64 } else { 24 };
            listed.new_address(Told::List, &told(address, prefix, scope, flags));
        }
        assert_eq!(usable(&listed), order);
        listed.new_address(Told::Event, &told("fd00::3", 64, 0, plain));
        assert_eq!(usable(&listed)[4], "fd00::3");
        // Its primary went, and it took its place.
        mirror.del_address(&told("10.0.0.1", 24, 0, plain));
        mirror.new_address(Told::Event, &told("10.0.0.2", 24, 0, plain));
        assert_eq!(usable(&mirror)[..3], ["10.2.0.1", "10.1.0.1", "10.0.0.2"]);
    }

    #[test]
    fn addresses_that_cannot_be_used_yet() {
        use AddressFlags as F;
        let key = (INDEX, ip("fd00::1"), 64);
        for (name, flags, first, shown) in [
            ("usable", F::Permanent, Change::Link, true),
            ("tentative", F::Tentative | F::Permanent, Change::Link, false),
            ("optimistic", F::Tentative | F::Optimistic, Change::Link, true),
            ("duplicate", F::Tentative | F::Dadfailed, Change::Duplicate(key), false),
            ("deprecated", F::Deprecated | F::Nodad, Change::Link, true),
        ] {
            let mut mirror = mirror();
            let address = told("fd00::1", 64, 0, flags);
            assert_eq!(mirror.new_address(Told::Event, &address), first, "{name}");
            assert_eq!(mirror.new_address(Told::Event, &address), Change::Nothing, "{name}: again");
            assert_eq!(usable(&mirror).len(), usize::from(shown), "{name}");
            assert_eq!(mirror.for_readers(INDEX).expect("link").addresses.len(), 1, "{name}");
            // Other flags: it can be used now.
            mirror.take_changes();
            let change = mirror.new_address(Told::Event, &told("fd00::1", 64, 0, F::Permanent));
            assert_eq!(change, if shown { Change::Nothing } else { Change::Link }, "{name}");
            assert_eq!(mirror.take_changes().links.len(), usize::from(!shown), "{name}");
            assert_eq!(usable(&mirror), ["fd00::1"], "{name}");
            assert_eq!(mirror.del_address(&address), Change::AddressGone(key), "{name}");
            assert!(usable(&mirror).is_empty() && mirror.links[&INDEX].order.is_empty(), "{name}");
        }
    }

    #[test]
    fn acknowledged_before_it_is_told() {
        let vip = |text, detect_duplicates| VirtualAddress {
            detect_duplicates,
            ..VirtualAddress::new(ip(text), 64)
        };
        for (name, vip, there, shown) in [
            ("IPv6", vip("fd00::1", false), true, true),
            ("IPv6 that the kernel looks for first", vip("fd00::1", true), true, false),
            ("IPv4 is told before", vip("10.0.0.1", false), false, false),
        ] {
            let mut mirror = mirror();
            mirror.acknowledged(INDEX, &vip);
            let address = DeviceAddress { device: "eth0".into(), address: vip };
            assert_eq!(mirror.has(&address), there, "{name}");
            assert_eq!(!usable(&mirror).is_empty(), shown, "{name}");
        }
        let mut mirror = mirror();
        mirror.acknowledged(INDEX, &vip("fd00::1", false));
        mirror.take_changes();
        let told = told("fd00::1", 64, 0, AddressFlags::Nodad | AddressFlags::Permanent);
        assert_eq!(mirror.new_address(Told::Event, &told), Change::Nothing);
        assert!(mirror.take_changes().links.is_empty());
    }

    #[test]
    fn names_that_change() {
        let mut mirror = mirror();
        mirror.new_link(&link("lan0", vec![]));
        let changes = mirror.take_changes();
        assert_eq!(changes.names.into_iter().collect::<Vec<_>>(), ["eth0"]);
        assert_eq!((mirror.index_of("eth0"), mirror.index_of("lan0")), (None, Some(INDEX)));
        let interface = mirror.for_engine(INDEX).expect("link");
        assert_eq!(interface.mac, Some([2, 0, 0, 0, 0, 1]), "a message without it says nothing about it");
        mirror.del_link(&link("lan0", vec![]));
        assert_eq!(mirror.take_changes().names.into_iter().collect::<Vec<_>>(), ["lan0"]);
        assert_eq!((mirror.index_of("lan0"), mirror.for_engine(INDEX)), (None, None));
    }

    #[test]
    fn forwarding_of_ipv6() {
        let message = |family: u8, index: i32, kind: u16, value: i32| {
            let mut octets = vec![family, 0, 0, 0, 8, 0, 1, 0];
            octets.extend(index.to_ne_bytes());
            octets.extend(8_u16.to_ne_bytes());
            octets.extend(kind.to_ne_bytes());
            octets.extend(value.to_ne_bytes());
            octets
        };
        let mut mirror = mirror();
        for (name, octets, change, forwards) in [
            ("on", message(10, 3, NETCONFA_FORWARDING, 1), Change::Link, true),
            ("still on", message(10, 3, NETCONFA_FORWARDING, 1), Change::Nothing, true),
            ("IPv4", message(2, 3, NETCONFA_FORWARDING, 0), Change::Nothing, true),
            ("of all", message(10, -1, NETCONFA_FORWARDING, 0), Change::Nothing, true),
            ("another interface", message(10, 4, NETCONFA_FORWARDING, 0), Change::Nothing, true),
            ("something else", message(10, 3, 3, 0), Change::Nothing, true),
            ("cut off", vec![10, 0], Change::Nothing, true),
            ("empty", vec![], Change::Nothing, true),
            ("off", message(10, 3, NETCONFA_FORWARDING, 0), Change::Link, false),
        ] {
            assert_eq!(mirror.netconf(&octets), change, "{name}");
            assert_eq!(mirror.is_forwarding_different(), change == Change::Link, "{name}");
            mirror.take_changes();
            assert_eq!(mirror.for_engine(INDEX).expect("link").forwarding, forwards, "{name}");
        }
    }
}
