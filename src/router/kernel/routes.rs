//! Routes: the messages that add and delete them, and which ones the kernel has.
//!
//! Here: values. Not here: when they are read (`netconf`).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lbd_grammar::config::{
    Encapsulation, Lockable, Named, NextHop, Realms, Route, RouteMetrics, RoutePreference, RouteTable,
    RouteTime, RouteType,
};
use netlink_packet_core::{DefaultNla, Nla, NlasIterator};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{
    MplsLabel, RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteIp6Tunnel, RouteIp6TunnelFlags,
    RouteIpTunnel, RouteIpTunnelFlags, RouteLwEnCapType, RouteLwTunnelEncap, RouteMessage, RouteMetric,
    RouteMplsIpTunnel, RouteMplsTtlPropagation, RouteNextHop, RouteNextHopFlags, RouteProtocol, RouteRealm,
    RouteScope, RouteType as KernelType, RouteVia,
};

/// `RT_TABLE_COMPAT`: the table is in an attribute.
const TABLE_COMPAT: u8 = 252;
/// `IP6_RT_PRIO_USER`: what IPv6 makes of no metric.
const METRIC_SIX: u32 = 1024;
/// `RTAX_FEATURE_ECN`
const FEATURE_ECN: u32 = 1;
/// `ILA_ATTR_LOCATOR` (linux/ila.h)
const ILA_ATTR_LOCATOR: u16 = 1;
/// `struct rtmsg` and where in it the protocol stands.
const HEADER: usize = 12;
const PROTOCOL: usize = 5;
/// `struct rtnexthop`
const HOP_HEADER: usize = 8;
/// `RTM_F_CLONED`: a path that was found, not a route that was made.
const CLONED: u32 = 0x200;
/// `RTA_…` (linux/rtnetlink.h)
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;

/// What is to be known of links.
pub(in crate::router) trait Links {
    /// Index of an interface.
    fn index_of(&self, name: &str) -> Option<u32>;
    /// Routing table of a VRF interface.
    fn table_of(&self, name: &str) -> Option<u32>;
}

/// Why a route cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::router) enum Unready {
    #[error("interface {0} does not exist")]
    Interface(String),
    #[error("interface {0} is no VRF")]
    Vrf(String),
}

/// The protocol of a route, as its message begins: before anything else of it is read.
pub(in crate::router) fn protocol_of(payload: &[u8]) -> Option<u8> {
    payload.get(PROTOCOL).copied()
}

/// Number of a name, which is resolved when the configuration is read.
pub(super) fn number<T: Copy + Default>(named: &Named<T>) -> T {
    match named {
        Named::Number(number) => *number,
        Named::Name(_) => T::default(),
    }
}

/// The protocol that a route is made with.
pub(in crate::router) fn protocol(route: &Route) -> u8 {
    number(&route.protocol)
}

/// The message that adds a route; it deletes it too.
pub(in crate::router) fn message(route: &Route, links: &impl Links) -> Result<RouteMessage, Unready> {
    let four = route.destination.address.is_ipv4();
    let index = |name: &String| links.index_of(name).ok_or_else(|| Unready::Interface(name.clone()));
    let table = table(route, links)?;
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: if four { AddressFamily::Inet } else { AddressFamily::Inet6 },
        destination_prefix_length: route.destination.length,
        source_prefix_length: route.source.map_or(0, |source| source.length),
        tos: route.tos.as_ref().map_or(0, number),
        table: u8::try_from(table).unwrap_or(TABLE_COMPAT),
        protocol: RouteProtocol::from(protocol(route)),
        scope: RouteScope::from(route.scope.as_ref().map_or(0, number)),
        kind: kind(route.kind).into(),
        flags: if route.on_link { RouteFlags::Onlink } else { RouteFlags::empty() },
    };
    let attributes = &mut message.attributes;
    if route.destination.length > 0 {
        attributes.push(RouteAttribute::Destination(route.destination.address.into()));
    }
    attributes.extend(route.source.map(|source| RouteAttribute::Source(source.address.into())));
    attributes.push(RouteAttribute::Table(table));
    attributes.extend(route.preferred_source.map(|source| RouteAttribute::PrefSource(source.into())));
    attributes.extend(route.gateway.map(|gateway| via(gateway, four)));
    attributes.extend(route.device.as_ref().map(index).transpose()?.map(RouteAttribute::Oif));
    attributes.extend(metric(route).map(RouteAttribute::Priority));
    let metrics = metrics(&route.metrics);
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    attributes.extend(route.realms.as_ref().map(|realms| RouteAttribute::Realm(realm(realms))));
    attributes.extend(route.preference.map(|preference| {
        RouteAttribute::Preference(match preference {
            RoutePreference::Low => netlink_packet_route::route::RoutePreference::Low,
            RoutePreference::Medium => netlink_packet_route::route::RoutePreference::Medium,
            RoutePreference::High => netlink_packet_route::route::RoutePreference::High,
        })
    }));
    attributes.extend(route.expires.map(RouteAttribute::Expires));
    attributes.extend(route.ttl_propagate.map(|on| {
        RouteAttribute::TtlPropagate(if on {
            RouteMplsTtlPropagation::Enabled
        } else {
            RouteMplsTtlPropagation::Disabled
        })
    }));
    attributes.extend(route.encapsulation.iter().flat_map(encapsulation));
    if !route.next_hops.is_empty() {
        let hop = |hop: &NextHop| {
            let mut one = RouteNextHop::default();
            one.interface_index = hop.device.as_ref().map(index).transpose()?.unwrap_or(0);
            one.hops = u8::try_from(hop.weight.unwrap_or(1).saturating_sub(1)).unwrap_or(u8::MAX);
            if hop.on_link {
                one.flags = RouteNextHopFlags::Onlink;
            }
            one.attributes.extend(hop.gateway.map(|gateway| via(gateway, four)));
            one.attributes.extend(hop.realms.as_ref().map(|realms| RouteAttribute::Realm(realm(realms))));
            one.attributes.extend(hop.encapsulation.iter().flat_map(encapsulation));
            Ok(one)
        };
        let hops: Result<Vec<_>, Unready> = route.next_hops.iter().map(hop).collect();
        attributes.push(RouteAttribute::MultiPath(hops?));
    }
    Ok(message)
}

fn table(route: &Route, links: &impl Links) -> Result<u32, Unready> {
    match &route.table {
        None => Ok(0),
        Some(RouteTable::Table(table)) => Ok(number(table)),
        Some(RouteTable::Vrf(name)) => match links.table_of(name) {
            Some(table) => Ok(table),
            None if links.index_of(name).is_some() => Err(Unready::Vrf(name.clone())),
            None => Err(Unready::Interface(name.clone())),
        },
    }
}

fn metric(route: &Route) -> Option<u32> {
    let six = route.destination.address.is_ipv6();
    route.metric.or(six.then_some(METRIC_SIX))
}

/// `RTN_…`
fn kind(kind: RouteType) -> u8 {
    u8::from(match kind {
        RouteType::Unicast => KernelType::Unicast,
        RouteType::Local => KernelType::Local,
        RouteType::Broadcast => KernelType::Broadcast,
        RouteType::Anycast => KernelType::Anycast,
        RouteType::Multicast => KernelType::Multicast,
        RouteType::Throw => KernelType::Throw,
        RouteType::Unreachable => KernelType::Unreachable,
        RouteType::Prohibit => KernelType::Prohibit,
        RouteType::Blackhole => KernelType::BlackHole,
    })
}

fn via(gateway: IpAddr, four: bool) -> RouteAttribute {
    match gateway {
        IpAddr::V6(gateway) if four => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        gateway => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    }
}

pub(super) fn realm(realms: &Realms) -> RouteRealm {
    let one = |realm: &Named<u8>| u16::from(number(realm));
    RouteRealm { source: realms.source.as_ref().map_or(0, one), destination: one(&realms.destination) }
}

/// `RTAX_…`, with the set of those that the kernel may not change before them.
fn metrics(metrics: &RouteMetrics) -> Vec<RouteMetric> {
    let mut locks = 0;
    let mut all = Vec::new();
    let mut add = |metric: RouteMetric, locked: bool| {
        if locked {
            locks |= 1 << metric.kind();
        }
        all.push(metric);
    };
    let mut lockable = |value: Option<Lockable<u32>>, metric: fn(u32) -> RouteMetric| {
        if let Some(Lockable { value, locked }) = value {
            add(metric(value), locked);
        }
    };
    // The kernel counts the round trip in eighths of a millisecond, its variance in quarters.
    let time = |time: Option<Lockable<RouteTime>>, parts: u128| {
        time.map(|Lockable { value, locked }| {
            let value = match value {
                RouteTime::Kernel(value) => value,
                RouteTime::Time(time) => {
                    u32::try_from((time.as_micros() * parts).div_ceil(1000)).unwrap_or(u32::MAX)
                }
            };
            Lockable { value, locked }
        })
    };
    lockable(metrics.mtu, RouteMetric::Mtu);
    lockable(metrics.advertised_mss, RouteMetric::Advmss);
    lockable(metrics.reordering, RouteMetric::Reordering);
    lockable(metrics.congestion_window, RouteMetric::Cwnd);
    lockable(metrics.slow_start_threshold, RouteMetric::SsThresh);
    lockable(time(metrics.round_trip, 8), RouteMetric::Rtt);
    lockable(time(metrics.round_trip_variance, 4), RouteMetric::RttVar);
    lockable(time(metrics.shortest_timeout, 1), RouteMetric::RtoMin);
    let plain = |value: u32| Some(Lockable { value, locked: false });
    lockable(metrics.hop_limit.and_then(|limit| plain(limit.into())), RouteMetric::Hoplimit);
    lockable(metrics.window.and_then(plain), RouteMetric::Window);
    lockable(metrics.initial_congestion_window.and_then(plain), RouteMetric::InitCwnd);
    lockable(metrics.initial_receive_window.and_then(plain), RouteMetric::InitRwnd);
    lockable(metrics.ecn.then_some(FEATURE_ECN).and_then(plain), RouteMetric::Features);
    lockable(metrics.quick_ack.and_then(|on| plain(on.into())), RouteMetric::QuickAck);
    lockable(metrics.fast_open_no_cookie.and_then(|on| plain(on.into())), RouteMetric::FastopenNoCookie);
    if let Some(Lockable { value, locked }) = &metrics.congestion_control {
        add(RouteMetric::CcAlgo(value.clone()), *locked);
    }
    if locks != 0 {
        all.insert(0, RouteMetric::Lock(locks));
    }
    all
}

fn encapsulation(encapsulation: &Encapsulation) -> [RouteAttribute; 2] {
    let (kind, attributes) = match encapsulation {
        Encapsulation::Ip { id, destination, source, tos, ttl, flags } => {
            let flags = flags.map(|flags| RouteIpTunnel::Flags(RouteIpTunnelFlags::from_bits_retain(flags)));
            let all = [
                id.map(RouteIpTunnel::Id),
                destination.map(RouteIpTunnel::Destination),
                source.map(RouteIpTunnel::Source),
                tos.map(RouteIpTunnel::Tos),
                ttl.map(RouteIpTunnel::Ttl),
                flags,
            ];
            (RouteLwEnCapType::Ip, all.into_iter().flatten().map(RouteLwTunnelEncap::Ip).collect())
        }
        Encapsulation::Ip6 { id, destination, source, traffic_class, hop_limit, flags } => {
            let flags =
                flags.map(|flags| RouteIp6Tunnel::Flags(RouteIp6TunnelFlags::from_bits_retain(flags)));
            let all = [
                id.map(RouteIp6Tunnel::Id),
                destination.map(RouteIp6Tunnel::Destination),
                source.map(RouteIp6Tunnel::Source),
                traffic_class.map(RouteIp6Tunnel::Tc),
                hop_limit.map(RouteIp6Tunnel::Hoplimit),
                flags,
            ];
            (RouteLwEnCapType::Ip6, all.into_iter().flatten().map(RouteLwTunnelEncap::Ip6).collect())
        }
        Encapsulation::Mpls(labels) => {
            let last = labels.len().saturating_sub(1);
            let label = |(at, label): (usize, &u32)| MplsLabel {
                label: *label,
                traffic_class: 0,
                bottom_of_stack: at == last,
                ttl: 0,
            };
            let labels = labels.iter().enumerate().map(label).collect();
            let stack = RouteLwTunnelEncap::Mpls(RouteMplsIpTunnel::Destination(labels));
            (RouteLwEnCapType::Mpls, vec![stack])
        }
        Encapsulation::Ila(locator) => {
            let octets = locator.iter().flat_map(|group| group.to_be_bytes()).collect();
            let locator = RouteLwTunnelEncap::Other(DefaultNla::new(ILA_ATTR_LOCATOR, octets));
            (RouteLwEnCapType::Ila, vec![locator])
        }
    };
    [RouteAttribute::EncapType(kind), RouteAttribute::Encap(attributes)]
}

/// By what the kernel looks a route up, and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Slot {
    destination: (IpAddr, u8),
    source: Option<(IpAddr, u8)>,
    table: u32,
    tos: u8,
    metric: u32,
    protocol: u8,
    /// `RTN_…`; 0 with IPv6, which has one route of a kind and may name it otherwise.
    kind: u8,
}

/// A way: interface, if it matters, and gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    index: Option<u32>,
    gateway: Option<IpAddr>,
}

impl Way {
    fn is_as(&self, wanted: &Way) -> bool {
        self.gateway == wanted.gateway && (wanted.index.is_none() || self.index == wanted.index)
    }
}

/// Routes of the protocols that matter, as the kernel listed them.
#[derive(Clone, Debug, Default)]
pub(in crate::router) struct Routes {
    /// The ways of each of those that stand behind one another.
    by_slot: HashMap<Slot, Vec<Vec<Way>>>,
}

impl Routes {
    /// Takes in an entry of a list (what follows the netlink header); whether it is one that can be read.
    pub fn listed(&mut self, payload: &[u8]) -> bool {
        let Some((slot, ways)) = read(payload) else { return false };
        self.by_slot.entry(slot).or_default().push(ways);
        true
    }

    pub fn has(&self, route: &Route, links: &impl Links) -> bool {
        let Some((slot, wanted)) = wanted(route, links) else { return false };
        let there = self.by_slot.get(&slot).map(Vec::as_slice).unwrap_or_default();
        there.iter().any(|ways| wanted.iter().all(|wanted| ways.iter().any(|way| way.is_as(wanted))))
    }

    /// The kernel acknowledged that it added this.
    pub fn added(&mut self, route: &Route, links: &impl Links) {
        if let Some((slot, ways)) = wanted(route, links) {
            self.by_slot.entry(slot).or_default().push(ways);
        }
    }

    /// The kernel has deleted it.
    pub fn deleted(&mut self, route: &Route, links: &impl Links) {
        let Some((slot, wanted)) = wanted(route, links) else { return };
        let Some(there) = self.by_slot.get_mut(&slot) else { return };
        for ways in there.iter_mut() {
            ways.retain(|way| !wanted.iter().any(|wanted| way.is_as(wanted)));
        }
        there.retain(|ways| !ways.is_empty());
        if there.is_empty() {
            self.by_slot.remove(&slot);
        }
    }
}

/// Where a route is to be, and over which ways; `None` as long as something that it names is not there.
fn wanted(route: &Route, links: &impl Links) -> Option<(Slot, Vec<Way>)> {
    let way = |device: &Option<String>, gateway| {
        let index = device.as_ref().map(|name| links.index_of(name));
        index.is_none_or(|index| index.is_some()).then(|| Way { index: index.flatten(), gateway })
    };
    let ways = if route.next_hops.is_empty() {
        vec![way(&route.device, route.gateway)?]
    } else {
        route.next_hops.iter().map(|hop| way(&hop.device, hop.gateway)).collect::<Option<_>>()?
    };
    let four = route.destination.address.is_ipv4();
    let source = route.source.filter(|source| source.length > 0);
    let slot = Slot {
        destination: (route.destination.address, route.destination.length),
        source: source.map(|source| (source.address, source.length)),
        table: table(route, links).ok()?,
        tos: if four { route.tos.as_ref().map_or(0, number) } else { 0 },
        metric: metric(route).unwrap_or(0),
        protocol: protocol(route),
        kind: if four { kind(route.kind) } else { 0 },
    };
    Some((slot, ways))
}

/// A route of a list. Only what is needed is read: what its encapsulation is does not matter.
fn read(payload: &[u8]) -> Option<(Slot, Vec<Way>)> {
    let [family, length, source_length, tos, table, protocol, _scope, kind, flags @ ..] =
        *payload.first_chunk::<HEADER>()?;
    let four = match AddressFamily::from(family) {
        AddressFamily::Inet => true,
        AddressFamily::Inet6 => false,
        _ => return None,
    };
    if u32::from_ne_bytes(flags) & CLONED != 0 {
        return None;
    }
    let unspecified: IpAddr = if four { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let mut slot = Slot {
        destination: (unspecified, length),
        source: (source_length > 0).then_some((unspecified, source_length)),
        table: table.into(),
        tos: if four { tos } else { 0 },
        metric: 0,
        protocol,
        kind: if four { kind } else { 0 },
    };
    let (mut own, mut several) = (Way { index: None, gateway: None }, Vec::new());
    for attribute in NlasIterator::new(payload.get(HEADER..)?).map_while(Result::ok) {
        let value = attribute.value();
        match attribute.kind() {
            RTA_DST => slot.destination.0 = address(value)?,
            RTA_SRC => slot.source = Some((address(value)?, source_length)),
            RTA_TABLE => slot.table = word(value)?,
            RTA_PRIORITY => slot.metric = word(value)?,
            RTA_OIF => own.index = word(value),
            RTA_MULTIPATH => several = ways(value),
            kind => own.gateway = gateway(kind, value).or(own.gateway),
        }
    }
    Some((slot, if several.is_empty() { vec![own] } else { several }))
}

/// The ways of a multipath route.
fn ways(mut octets: &[u8]) -> Vec<Way> {
    let mut ways = Vec::new();
    while let Some((header, _)) = octets.split_first_chunk::<HOP_HEADER>() {
        let [low, high, _flags, _weight, index @ ..] = *header;
        let length = usize::from(u16::from_ne_bytes([low, high]));
        let Some(attributes) = octets.get(HOP_HEADER..length) else { break };
        let attributes = NlasIterator::new(attributes).map_while(Result::ok);
        let gateway = attributes.filter_map(|attribute| gateway(attribute.kind(), attribute.value())).next();
        ways.push(Way { index: Some(u32::from_ne_bytes(index)), gateway });
        octets = octets.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    ways
}

fn gateway(kind: u16, value: &[u8]) -> Option<IpAddr> {
    match kind {
        RTA_GATEWAY => address(value),
        // struct rtvia: a family before the address.
        RTA_VIA => address(value.get(2..)?),
        _ => None,
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => octets.first_chunk::<4>().map(|octets| IpAddr::from(*octets)),
        _ => octets.first_chunk::<16>().map(|octets| IpAddr::from(*octets)),
    }
}

fn word(octets: &[u8]) -> Option<u32> {
    octets.first_chunk().map(|octets| u32::from_ne_bytes(*octets))
}

#[cfg(test)]
mod tests;
