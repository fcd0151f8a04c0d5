//! Addresses, routes and rules in iproute2's words.
//!
//! Here: what a line means. Not here: the numbers behind names that only the host's own tables know
//! (rt_tables and the like): such names stay names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use lbd_ipvs::Family;
use lbd_vrrp::VirtualAddress;

/// static_ipaddress: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticAddress {
    /// The address. Its device is never `None`.
    pub address: VirtualAddress,
    /// track_group
    pub track_group: Option<Arc<str>>,
}

/// A number of the kernel's, or the name that the host's iproute2 tables have for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Named<T> {
    /// The number; also where the name means the same on every host.
    Number(T),
    /// A name to look up.
    Name(String),
}

impl<T: fmt::Display> fmt::Display for Named<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Named::Number(number) => number.fmt(f),
            Named::Name(name) => f.write_str(name),
        }
    }
}

/// Where the host has the number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NameTable {
    /// Routing tables: rt_tables.
    Tables,
    /// Scopes: rt_scopes.
    Scopes,
    /// Who made a route or rule: rt_protos.
    Protocols,
    /// Realms: rt_realms.
    Realms,
    /// Types of service: rt_dsfield.
    Services,
    /// Groups of interfaces: group.
    Groups,
    /// Protocols of IP: /etc/protocols.
    IpProtocols,
}

impl NameTable {
    /// Name of its file in iproute2's directories; `None` for /etc/protocols.
    pub fn file(self) -> Option<&'static str> {
        match self {
            NameTable::Tables => Some("rt_tables"),
            NameTable::Scopes => Some("rt_scopes"),
            NameTable::Protocols => Some("rt_protos"),
            NameTable::Realms => Some("rt_realms"),
            NameTable::Services => Some("rt_dsfield"),
            NameTable::Groups => Some("group"),
            NameTable::IpProtocols => None,
        }
    }
}

/// Addresses that begin alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    /// The first of them: without host bits.
    pub address: IpAddr,
    /// 0..=32 or 0..=128
    pub length: u8,
}

impl Prefix {
    /// The address without its host bits.
    pub fn network(self) -> IpAddr {
        let length = u32::from(self.length);
        match self.address {
            IpAddr::V4(address) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                Ipv4Addr::from(u32::from(address) & !host).into()
            }
            IpAddr::V6(address) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                Ipv6Addr::from(u128::from(address) & !host).into()
            }
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// static_routes, virtual_routes: one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Where it leads; its family is the route's.
    pub destination: Prefix,
    /// What becomes of packets.
    pub kind: RouteType,
    /// How the kernel is asked to add it.
    pub mode: RouteMode,
    /// from: only packets of these sources (IPv6).
    pub source: Option<Prefix>,
    /// src: source address of the director's own packets.
    pub preferred_source: Option<IpAddr>,
    /// via; a route of IPv4 may have a gateway of IPv6.
    pub gateway: Option<IpAddr>,
    /// dev
    pub device: Option<String>,
    /// table, vrf; the main one by default.
    pub table: Option<RouteTable>,
    /// Who made it; 18 (keepalived) by default.
    pub protocol: Named<u8>,
    /// scope; by default the kernel's choice.
    pub scope: Option<Named<u8>>,
    /// tos: only packets with this type of service.
    pub tos: Option<Named<u8>>,
    /// metric
    pub metric: Option<u32>,
    /// onlink: the gateway is taken to be on the link.
    pub on_link: bool,
    /// encap
    pub encapsulation: Option<Encapsulation>,
    /// expires: seconds after which the kernel drops it (IPv6).
    pub expires: Option<u32>,
    /// What connections over it inherit.
    pub metrics: RouteMetrics,
    /// realms (IPv4)
    pub realms: Option<Realms>,
    /// pref (IPv6)
    pub preference: Option<RoutePreference>,
    /// ttl-propagate, of MPLS.
    pub ttl_propagate: Option<bool>,
    /// nexthop, in order; also what the old `via A or B` says.
    pub next_hops: Vec<NextHop>,
    /// Its loss is no fault.
    pub no_track: bool,
    /// track_group, of static routes only.
    pub track_group: Option<Arc<str>>,
}

impl Route {
    /// Interfaces that it needs.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        let vrf = match &self.table {
            Some(RouteTable::Vrf(vrf)) => Some(vrf),
            _ => None,
        };
        let of_hops = self.next_hops.iter().filter_map(|hop| hop.device.as_ref());
        self.device.iter().chain(vrf).chain(of_hops).map(String::as_str)
    }
}

/// TYPE of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteType {
    /// Packets are forwarded.
    Unicast,
    /// Packets are for this host.
    Local,
    /// Packets are for this host, and came as link broadcasts.
    Broadcast,
    /// Packets are for this host among others.
    Anycast,
    /// A multicast group.
    Multicast,
    /// As if there was no route in this table.
    Throw,
    /// Packets are refused: host unreachable.
    Unreachable,
    /// Packets are refused: administratively prohibited.
    Prohibit,
    /// Packets vanish.
    Blackhole,
}

impl RouteType {
    /// As lines write them; of two words for one the first is the usual one.
    pub(crate) const WORDS: &[(&str, Self)] = &[
        ("unicast", Self::Unicast),
        ("local", Self::Local),
        ("broadcast", Self::Broadcast),
        ("brd", Self::Broadcast),
        ("anycast", Self::Anycast),
        ("multicast", Self::Multicast),
        ("throw", Self::Throw),
        ("unreachable", Self::Unreachable),
        ("prohibit", Self::Prohibit),
        ("blackhole", Self::Blackhole),
    ];
}

/// How the kernel is asked to add a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteMode {
    /// Not if there is one.
    Add,
    /// Before equal ones.
    Prepend,
    /// After equal ones.
    Append,
}

impl RouteMode {
    /// As lines write them.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("add", Self::Add), ("prepend", Self::Prepend), ("append", Self::Append)];
}

/// Where a route goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RouteTable {
    /// table
    Table(Named<u32>),
    /// vrf: the table of this interface.
    Vrf(String),
}

/// What connections over a route inherit; by default what the kernel has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteMetrics {
    /// mtu in octets; locked: no path MTU discovery.
    pub mtu: Option<Lockable<u32>>,
    /// advmss in octets.
    pub advertised_mss: Option<Lockable<u32>>,
    /// reordering
    pub reordering: Option<Lockable<u32>>,
    /// cwnd in segments: an upper limit, if locked.
    pub congestion_window: Option<Lockable<u32>>,
    /// ssthresh in segments.
    pub slow_start_threshold: Option<Lockable<u32>>,
    /// rtt
    pub round_trip: Option<Lockable<RouteTime>>,
    /// rttvar
    pub round_trip_variance: Option<Lockable<RouteTime>>,
    /// rto_min
    pub shortest_timeout: Option<Lockable<RouteTime>>,
    /// congctl: name of the congestion control.
    pub congestion_control: Option<Lockable<String>>,
    /// hoplimit
    pub hop_limit: Option<u8>,
    /// window: largest window that peers are offered, in octets.
    pub window: Option<u32>,
    /// initcwnd in segments.
    pub initial_congestion_window: Option<u32>,
    /// initrwnd in segments.
    pub initial_receive_window: Option<u32>,
    /// features ecn
    pub ecn: bool,
    /// quickack
    pub quick_ack: Option<bool>,
    /// fastopen_no_cookie
    pub fast_open_no_cookie: Option<bool>,
}

/// A value that the kernel may be forbidden to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lockable<T> {
    /// The value.
    pub value: T,
    /// lock
    pub locked: bool,
}

/// rtt, rttvar or rto_min of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteTime {
    /// With `s` or `ms`.
    Time(Duration),
    /// Without unit: as the kernel counts it (rtt in 1/8 ms, rttvar in 1/4 ms, rto_min in ms).
    Kernel(u32),
}

/// realms: `[SOURCE/]DESTINATION`, each 0..=255.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Realms {
    /// Realm of the source.
    pub source: Option<Named<u8>>,
    /// Realm of the destination.
    pub destination: Named<u8>,
}

impl fmt::Display for Realms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(source) = &self.source {
            write!(f, "{source}/")?;
        }
        self.destination.fmt(f)
    }
}

/// pref: which of several routers is taken (RFC 4191).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RoutePreference {
    /// low
    Low,
    /// medium
    Medium,
    /// high
    High,
}

impl RoutePreference {
    /// As lines write them.
    pub(crate) const WORDS: &[(&str, Self)] =
        &[("low", Self::Low), ("medium", Self::Medium), ("high", Self::High)];
}

/// encap: what packets are wrapped into.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Encapsulation {
    /// ip; it has an id or a destination.
    Ip {
        /// Tunnel key.
        id: Option<u64>,
        /// dst
        destination: Option<Ipv4Addr>,
        /// src
        source: Option<Ipv4Addr>,
        /// tos
        tos: Option<u8>,
        /// ttl
        ttl: Option<u8>,
        /// Flags as the kernel numbers them.
        flags: Option<u16>,
    },
    /// ip6; it has an id or a destination.
    Ip6 {
        /// Tunnel key.
        id: Option<u64>,
        /// dst
        destination: Option<Ipv6Addr>,
        /// src
        source: Option<Ipv6Addr>,
        /// tc
        traffic_class: Option<u8>,
        /// hoplimit
        hop_limit: Option<u8>,
        /// Flags as the kernel numbers them.
        flags: Option<u16>,
    },
    /// mpls: labels below 2^20, outermost first, at least one.
    Mpls(Vec<u32>),
    /// ila: the locator, four groups of 16 bits.
    Ila([u16; 4]),
}

/// One of several ways.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// via
    pub gateway: Option<IpAddr>,
    /// dev
    pub device: Option<String>,
    /// Share of the flows, 1..=256; 1 by default.
    pub weight: Option<u16>,
    /// onlink: the gateway is taken to be on the link.
    pub on_link: bool,
    /// encap
    pub encapsulation: Option<Encapsulation>,
    /// realms (IPv4)
    pub realms: Option<Realms>,
}

/// static_rules, virtual_rules: one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rule {
    /// IPv4 or IPv6.
    pub family: Family,
    /// not: what follows from the other packets.
    pub inverted: bool,
    /// from; `None` is all. Never of length 0.
    pub from: Option<Prefix>,
    /// to; `None` is all. Never of length 0.
    pub to: Option<Prefix>,
    /// Place among all rules: lower ones are asked first.
    pub preference: u32,
    /// tos
    pub tos: Option<Named<u8>>,
    /// fwmark
    pub mark: Option<MarkMatch>,
    /// realms
    pub realms: Option<Realms>,
    /// suppress_prefixlength: routes found with at most this length do not count.
    pub suppress_prefix_length: Option<u32>,
    /// suppress_ifgroup: routes found with a device of this group do not count.
    pub suppress_group: Option<Named<u32>>,
    /// iif
    pub input: Option<String>,
    /// oif
    pub output: Option<String>,
    /// tunnel-id
    pub tunnel_id: Option<u32>,
    /// uidrange
    pub uids: Option<RangeInclusive<u32>>,
    /// Who made it; 18 (keepalived) by default.
    pub protocol: Named<u8>,
    /// ipproto
    pub ip_protocol: Option<Named<u8>>,
    /// sport
    pub source_ports: Option<RangeInclusive<u16>>,
    /// dport
    pub destination_ports: Option<RangeInclusive<u16>>,
    /// What it does.
    pub action: RuleAction,
    /// Its loss is no fault.
    pub no_track: bool,
    /// track_group, of static rules only.
    pub track_group: Option<Arc<str>>,
}

/// fwmark of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MarkMatch {
    /// Value of the bits that count.
    pub value: u32,
    /// Bits that count; all by default.
    pub mask: u32,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RuleAction {
    /// table: look it up there.
    Table(Named<u32>),
    /// l3mdev: look it up in the table of the VRF.
    Vrf,
    /// goto: go on with the rule of this preference, which is a higher one.
    Goto(u32),
    /// nop: go on with the next.
    Nop,
    /// Packets vanish.
    Blackhole,
    /// Packets are refused: network unreachable.
    Unreachable,
    /// Packets are refused: administratively prohibited.
    Prohibit,
}
