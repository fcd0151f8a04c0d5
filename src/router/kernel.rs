//! What the kernel says about links, addresses, routes and rules, mirrored, and the messages that change what is held.
//!
//! Here: values, links. Not here: the netlink socket (`route`), queues and time limits (`netconf`).

mod addresses;
mod routes;
mod rules;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::num::NonZeroU32;

use lbd_grammar::config::RouteMode;
use lbd_vrrp::{DeviceAddress, Interface, VirtualAddress};
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_EXCL, NlasIterator};
use netlink_packet_route::address::{AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, InfoData, InfoVrf, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::object::Object;
use super::route::Request;
use super::snapshot::HostInterface;
use addresses::OwnAddress;
use routes::{Links, Unready};

pub(super) use addresses::{PROTOCOL_VRRP, addition, removal};
pub(super) use routes::{Routes, protocol, protocol_of};
pub(super) use rules::Rules;

/// Flags of a request for what is not there yet.
pub(super) const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
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
    multicast: bool,
    mac: Option<[u8; 6]>,
    forwarding: bool,
    /// Of a VRF.
    table: Option<u32>,
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
    /// As they were read last, and what was done here since.
    pub routes: Routes,
    pub rules: Rules,
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
        let mut table = None;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(text) => name = Some(text),
                LinkAttribute::Address(octets) => mac = Some(<[u8; 6]>::try_from(octets.as_slice()).ok()),
                LinkAttribute::AfSpecUnspec(families) => forwarding = forwards(families),
                LinkAttribute::LinkInfo(info) => table = table.or(vrf_table(info)),
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
        link.table = table.or(link.table);
        link.up = flags.contains(LinkFlags::Up | LinkFlags::Running);
        link.multicast = flags.contains(LinkFlags::Multicast);
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
    fn acknowledged(&mut self, index: u32, address: &VirtualAddress) {
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

    /// Whether an interface is there, up and running.
    pub fn is_up(&self, name: &str) -> bool {
        self.index_of(name).and_then(|index| self.links.get(&index)).is_some_and(|link| link.up)
    }

    /// Whether it is there, usable or not.
    pub fn has(&self, object: &Object) -> bool {
        match object {
            Object::Address(address) => self.entry(address).is_some(),
            Object::Route(entry) => self.routes.has(&entry.route, self),
            Object::Rule(entry) => self.rules.has(&entry.rule),
        }
    }

    /// Whether it is there and VRRP put it there.
    pub fn has_of_vrrp(&self, object: &Object) -> bool {
        match object {
            Object::Address(address) => self.entry(address).is_some_and(|(_, entry)| entry.of_vrrp),
            // They are known by their protocol.
            Object::Route(_) | Object::Rule(_) => self.has(object),
        }
    }

    /// Of an address that is there.
    pub fn address_key(&self, object: &Object) -> Option<AddressKey> {
        let Object::Address(DeviceAddress { device, address }) = object else { return None };
        Some((self.index_of(device)?, address.address, address.prefix))
    }

    fn entry(&self, address: &DeviceAddress) -> Option<(u32, &Entry)> {
        let at = (address.address.address, address.address.prefix);
        let index = self.index_of(&address.device)?;
        Some((index, self.links.get(&index)?.addresses.get(&at)?))
    }

    /// The request that adds it.
    pub fn addition(&self, object: &Object) -> Result<Request, Unready> {
        let (message, flags) = match object {
            Object::Address(DeviceAddress { device, address }) => {
                let index = self.index_of(device).ok_or_else(|| Unready::Interface(device.clone()))?;
                let message = addition(index, address);
                (RouteNetlinkMessage::NewAddress(message), NEW)
            }
            Object::Route(entry) => {
                let flags = match entry.mode {
                    RouteMode::Add => NEW,
                    RouteMode::Prepend => NLM_F_CREATE,
                    RouteMode::Append => NLM_F_CREATE | NLM_F_APPEND,
                };
                (RouteNetlinkMessage::NewRoute(routes::message(&entry.route, self)?), flags)
            }
            Object::Rule(entry) => (RouteNetlinkMessage::NewRule(rules::message(&entry.rule)), NEW),
        };
        Ok(Request { message, flags })
    }

    /// The request that deletes it, if it is there.
    pub fn deletion(&self, object: &Object) -> Option<Request> {
        let message = match object {
            Object::Address(address) => {
                let (index, entry) = self.entry(address)?;
                let (ip, prefix) = (address.address.address, address.address.prefix);
                RouteNetlinkMessage::DelAddress(addresses::message(index, ip, prefix, entry.peer))
            }
            Object::Route(entry) if self.has(object) => {
                RouteNetlinkMessage::DelRoute(routes::message(&entry.route, self).ok()?)
            }
            Object::Rule(entry) if self.has(object) => {
                RouteNetlinkMessage::DelRule(rules::message(&entry.rule))
            }
            Object::Route(_) | Object::Rule(_) => return None,
        };
        Some(Request { message, flags: 0 })
    }

    /// The kernel acknowledged that it added this.
    pub fn added(&mut self, object: &Object) {
        match object {
            Object::Address(DeviceAddress { device, address }) => {
                if let Some(index) = self.index_of(device) {
                    self.acknowledged(index, address);
                }
            }
            Object::Route(entry) => {
                let mut routes = std::mem::take(&mut self.routes);
                routes.added(&entry.route, &*self);
                self.routes = routes;
            }
            Object::Rule(entry) => self.rules.added(&entry.rule),
        }
    }

    /// The kernel has it no more: it was deleted here. Of an address it tells that itself.
    pub fn deleted(&mut self, object: &Object) {
        match object {
            Object::Address(_) => {}
            Object::Route(entry) => {
                let mut routes = std::mem::take(&mut self.routes);
                routes.deleted(&entry.route, &*self);
                self.routes = routes;
            }
            Object::Rule(entry) => self.rules.deleted(&entry.rule),
        }
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
            multicast: link.multicast,
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

impl Links for Mirror {
    fn index_of(&self, name: &str) -> Option<u32> {
        Mirror::index_of(self, name)
    }

    fn table_of(&self, name: &str) -> Option<u32> {
        self.index_of(name).and_then(|index| self.links.get(&index)).and_then(|link| link.table)
    }
}

/// Whether the kernel has to be told of the difference between two objects of the same key.
pub(super) fn are_different(old: &Object, new: &Object) -> bool {
    match (old, new) {
        (Object::Address(old), Object::Address(new)) => {
            addition(0, &old.address) != addition(0, &new.address)
        }
        // All that it can be told is in their keys.
        _ => false,
    }
}

/// The name of an interface, as a message about itself tells it.
pub(super) fn name(message: &LinkMessage) -> Option<&str> {
    if message.header.interface_family == AddressFamily::Bridge {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn vrf_table(info: &[LinkInfo]) -> Option<u32> {
    info.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vrf(settings)) => settings.iter().find_map(|setting| match setting {
            InfoVrf::TableId(table) => Some(*table),
            _ => None,
        }),
        _ => None,
    })
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
