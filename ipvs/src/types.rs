//! The kernel's IPVS table as values (linux/ip_vs.h).
//!
//! Here: services, destinations, the table and operations on it. Not here: octets (`wire`), the
//! socket (`client`), the difference of two tables (`plan`).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};

use serde::{Deserialize, Serialize};

/// Address family of a service (`AF_INET` 2, `AF_INET6` 10).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4
    Inet,
    /// IPv6
    Inet6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Inet } else { Family::Inet6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::Inet => "inet",
            Family::Inet6 => "inet6",
        })
    }
}

/// Transport protocol of a service by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// 6
    Tcp,
    /// 17
    Udp,
    /// 132
    Sctp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
            Protocol::Sctp => "SCTP",
        })
    }
}

/// What identifies a virtual service to IPVS: an address or a firewall mark, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceId {
    /// By address; port 0 stands for every port (needs persistence).
    Addr {
        /// Transport protocol.
        protocol: Protocol,
        /// Virtual address and port.
        vip: SocketAddr,
    },
    /// By firewall mark.
    FwMark {
        /// The mark, never 0.
        mark: NonZeroU32,
        /// Family of the packets.
        family: Family,
    },
}

impl ServiceId {
    /// Family of the service's packets.
    pub fn family(&self) -> Family {
        match self {
            ServiceId::Addr { vip, .. } => Family::of(vip.ip()),
            ServiceId::FwMark { family, .. } => *family,
        }
    }
}

/// `TCP 10.0.0.1:80` or `FWM 7 inet`, as `lbctl status` prints it.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServiceId::Addr { protocol, vip } => write!(f, "{protocol} {vip}"),
            ServiceId::FwMark { mark, family } => write!(f, "FWM {mark} {family}"),
        }
    }
}

/// Scheduler (module `ip_vs_NAME`), 1 to 15 octets (`IP_VS_SCHEDNAME_MAXLEN`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scheduler(String);

impl Scheduler {
    /// Schedulers of the mainline kernel.
    pub const KNOWN: [&'static str; 14] =
        ["rr", "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos"];

    /// A scheduler by name; `None` when the name is empty, too long, or holds a NUL.
    pub fn new(name: &str) -> Option<Self> {
        ((1..=15).contains(&name.len()) && !name.contains('\0')).then(|| Scheduler(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Flags of a service (`IP_VS_SVC_F_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServiceFlags(pub u32);

impl ServiceFlags {
    /// Persistent service (`IP_VS_SVC_F_PERSISTENT`).
    pub const PERSISTENT: Self = Self(0x1);
    /// Set by the kernel on every service it holds (`IP_VS_SVC_F_HASHED`); never part of a wish.
    pub const HASHED: Self = Self(0x2);
    /// One-packet scheduling (`IP_VS_SVC_F_ONEPACKET`).
    pub const ONE_PACKET: Self = Self(0x4);
    /// Scheduler flag 1 (`sh`/`mh`: fallback).
    pub const SCHED_1: Self = Self(0x8);
    /// Scheduler flag 2 (`sh`/`mh`: port).
    pub const SCHED_2: Self = Self(0x10);
    /// Scheduler flag 3.
    pub const SCHED_3: Self = Self(0x20);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// With the bits of `other` cleared.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

/// Persistence granularity: which client addresses count as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Netmask {
    /// IPv4 mask; default 255.255.255.255.
    V4(Ipv4Addr),
    /// IPv6 prefix length 1..=128; default 128.
    V6(u8),
}

impl Netmask {
    /// The whole address.
    pub fn full(family: Family) -> Self {
        match family {
            Family::Inet => Netmask::V4(Ipv4Addr::BROADCAST),
            Family::Inet6 => Netmask::V6(128),
        }
    }
}

impl fmt::Display for Netmask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Netmask::V4(mask) => mask.fmt(f),
            Netmask::V6(length) => length.fmt(f),
        }
    }
}

/// What a virtual service is, apart from its key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Service {
    /// Scheduler.
    pub scheduler: Scheduler,
    /// Flags without [`ServiceFlags::HASHED`].
    pub flags: ServiceFlags,
    /// Persistence timeout in seconds, 0 without [`ServiceFlags::PERSISTENT`].
    pub persistence_timeout: u32,
    /// Persistence granularity.
    pub netmask: Netmask,
    /// Persistence engine (`sip`).
    pub persistence_engine: Option<String>,
}

/// Encapsulation of [`Forwarding::Tunnel`] (`IP_VS_CONN_F_TUNNEL_TYPE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tunnel {
    /// IP in IP (the default).
    Ipip,
    /// Generic UDP encapsulation to this port.
    Gue {
        /// Destination UDP port.
        port: NonZeroU16,
        /// Checksum of the outer header.
        checksum: TunnelChecksum,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Checksum of the outer header; `Remote` does not exist for GRE.
        checksum: TunnelChecksum,
    },
    /// A type this version does not know, as the kernel reported it.
    Other {
        /// `IPVS_DEST_ATTR_TUN_TYPE`
        kind: u8,
        /// `IPVS_DEST_ATTR_TUN_PORT`
        port: u16,
        /// `IPVS_DEST_ATTR_TUN_FLAGS`
        flags: u16,
    },
}

/// Checksum of a tunnel's outer header (`IP_VS_TUNNEL_ENCAP_FLAG_*`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TunnelChecksum {
    /// None.
    #[default]
    None,
    /// Checksum (1).
    Checksum,
    /// Remote checksum offload (2).
    Remote,
}

/// As lb_kind's options say it: `gue port 6080 csum`.
impl fmt::Display for Tunnel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (checksum, port) = match self {
            Tunnel::Ipip => return f.write_str("ipip"),
            Tunnel::Other { kind, port, flags } => return write!(f, "type {kind} port {port} flags {flags}"),
            Tunnel::Gue { port, checksum } => (checksum, format!("gue port {port}")),
            Tunnel::Gre { checksum } => (checksum, "gre".to_owned()),
        };
        match checksum {
            TunnelChecksum::None => write!(f, "{port}"),
            TunnelChecksum::Checksum => write!(f, "{port} csum"),
            TunnelChecksum::Remote => write!(f, "{port} remcsum"),
        }
    }
}

/// How packets reach a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Forwarding {
    /// Masquerading (0).
    Nat,
    /// Local delivery (1): the kernel sets it for the director's own addresses when it forwards.
    Local,
    /// Tunnelling (2).
    Tunnel(Tunnel),
    /// Direct routing (3).
    Direct,
    /// A method this version does not know.
    Other(u32),
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Forwarding::Nat => f.write_str("NAT"),
            Forwarding::Local => f.write_str("LOCAL"),
            Forwarding::Tunnel(_) => f.write_str("TUN"),
            Forwarding::Direct => f.write_str("DR"),
            Forwarding::Other(code) => write!(f, "method {code}"),
        }
    }
}

/// A destination (real server) of a service, apart from its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Destination {
    /// Forwarding method.
    pub forwarding: Forwarding,
    /// Weight 0..=2^31-1; 0 takes no new connections (quiescent).
    pub weight: u32,
    /// Upper connection threshold, 0 for none.
    pub upper_threshold: u32,
    /// Lower connection threshold, at most the upper one; 0 for none.
    pub lower_threshold: u32,
}

/// A service and its destinations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The service.
    pub service: Service,
    /// Its destinations by address and port.
    pub destinations: BTreeMap<SocketAddr, Destination>,
}

/// An IPVS table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Services by key.
    pub services: BTreeMap<ServiceId, Entry>,
}

/// One change to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Adds a service (`IPVS_CMD_NEW_SERVICE`).
    NewService(ServiceId, Service),
    /// Changes a service in place (`IPVS_CMD_SET_SERVICE`).
    SetService(ServiceId, Service),
    /// Removes a service and its destinations (`IPVS_CMD_DEL_SERVICE`).
    DelService(ServiceId),
    /// Adds a destination (`IPVS_CMD_NEW_DEST`).
    NewDest(ServiceId, SocketAddr, Destination),
    /// Changes a destination in place (`IPVS_CMD_SET_DEST`).
    SetDest(ServiceId, SocketAddr, Destination),
    /// Removes a destination (`IPVS_CMD_DEL_DEST`).
    DelDest(ServiceId, SocketAddr),
}

impl Op {
    /// The service it concerns.
    pub fn service(&self) -> ServiceId {
        match self {
            Op::NewService(id, _)
            | Op::SetService(id, _)
            | Op::DelService(id)
            | Op::NewDest(id, ..)
            | Op::SetDest(id, ..)
            | Op::DelDest(id, _) => *id,
        }
    }
}

/// What is done, in words that go after "cannot": `add real server 10.0.0.2:80 to TCP 10.0.0.1:80`.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::NewService(id, _) => write!(f, "add virtual service {id}"),
            Op::SetService(id, _) => write!(f, "change virtual service {id}"),
            Op::DelService(id) => write!(f, "remove virtual service {id}"),
            Op::NewDest(id, address, _) => write!(f, "add real server {address} to {id}"),
            Op::SetDest(id, address, _) => write!(f, "change real server {address} of {id}"),
            Op::DelDest(id, address) => write!(f, "remove real server {address} from {id}"),
        }
    }
}

/// Counters of a service or destination (64 bit, `IPVS_SVC_ATTR_STATS64`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets in.
    pub in_packets: u64,
    /// Packets out.
    pub out_packets: u64,
    /// Octets in.
    pub in_bytes: u64,
    /// Octets out.
    pub out_bytes: u64,
    /// Connections per second (the kernel's estimate over 2 s).
    pub connection_rate: u64,
    /// Packets in per second.
    pub in_packet_rate: u64,
    /// Packets out per second.
    pub out_packet_rate: u64,
    /// Octets in per second.
    pub in_byte_rate: u64,
    /// Octets out per second.
    pub out_byte_rate: u64,
}

/// What the kernel counts for a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestinationStats {
    /// Connections in ESTABLISHED.
    pub active_connections: u32,
    /// Other connections.
    pub inactive_connections: u32,
    /// Persistence templates.
    pub persistent_connections: u32,
    /// Traffic.
    pub stats: Stats,
}

/// A destination as the kernel reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DestinationReport {
    /// Its address and port.
    pub address: SocketAddr,
    /// What it is.
    pub destination: Destination,
    /// Its counters.
    pub stats: DestinationStats,
}

/// A service as it was read: what it is, and what it has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What it is.
    pub service: Service,
    /// Its counters.
    pub stats: Stats,
    /// Its destinations, ordered by address.
    pub destinations: Vec<DestinationReport>,
}

impl Reading {
    /// What it is, without what it has counted.
    pub fn entry(&self) -> Entry {
        let destinations = self.destinations.iter().map(|one| (one.address, one.destination)).collect();
        Entry { service: self.service.clone(), destinations }
    }

    /// Whether that is `entry`.
    pub fn is(&self, entry: &Entry) -> bool {
        let found = self.destinations.iter().map(|one| (&one.address, &one.destination));
        self.service == entry.service && found.eq(&entry.destinations)
    }

    /// The counters of a destination; `None` when it is not there.
    pub fn counters(&self, address: &SocketAddr) -> Option<&DestinationStats> {
        let index = self.destinations.binary_search_by(|found| found.address.cmp(address)).ok()?;
        self.destinations.get(index).map(|found| &found.stats)
    }
}

/// Connection timeouts in seconds (`IPVS_CMD_GET_CONFIG`); 0 in a request leaves a value alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeouts {
    /// Established TCP.
    pub tcp: u32,
    /// TCP after FIN.
    pub tcp_fin: u32,
    /// UDP.
    pub udp: u32,
}

impl Timeouts {
    /// These, and where one is 0 that of `others`.
    #[must_use]
    pub fn or(self, others: Timeouts) -> Timeouts {
        let or = |one, other| if one == 0 { other } else { one };
        Timeouts {
            tcp: or(self.tcp, others.tcp),
            tcp_fin: or(self.tcp_fin, others.tcp_fin),
            udp: or(self.udp, others.udp),
        }
    }
}

/// `tcp 900 s, tcpfin 120 s, udp 300 s`
impl fmt::Display for Timeouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tcp {} s, tcpfin {} s, udp {} s", self.tcp, self.tcp_fin, self.udp)
    }
}

/// `IPVS_CMD_GET_INFO`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Version as the kernel encodes it: 0x010201 is 1.2.1.
    pub version: u32,
    /// Size of the connection table.
    pub connection_table_size: u32,
}

/// Role of a connection synchronisation daemon (`IP_VS_STATE_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncState {
    /// Sends (1).
    Master,
    /// Receives (2).
    Backup,
}

/// `master` or `backup`, as `ipvsadm` calls them.
impl fmt::Display for SyncState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncState::Master => "master",
            SyncState::Backup => "backup",
        })
    }
}

/// A connection synchronisation daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncDaemon {
    /// Role.
    pub state: SyncState,
    /// Interface, 1 to 15 octets.
    pub interface: String,
    /// 0..=255.
    pub sync_id: u8,
    /// Longest message in octets; kernel default 1472 (from the interface's MTU).
    pub max_length: Option<u16>,
    /// Multicast group; kernel default 224.0.0.81.
    pub group: Option<IpAddr>,
    /// UDP port; kernel default 8848.
    pub port: Option<NonZeroU16>,
    /// TTL; kernel default 1.
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// As the kernel keeps it (net/netfilter/ipvs/ip_vs_sync.c): group 224.0.0.81, port 8848 and TTL 1 where
    /// nothing is given, the longest message within its limits. Where that is not given it stays open: it follows
    /// the interface's MTU.
    #[must_use]
    pub fn as_kept(mut self) -> Self {
        self.group = self.group.or(Some(Ipv4Addr::new(224, 0, 0, 81).into()));
        self.port = self.port.or(NonZeroU16::new(8848));
        self.ttl = self.ttl.or(Some(1));
        let least = if self.state == SyncState::Backup { 1024 } else { 1 };
        let headers = if self.group.is_some_and(|group| group.is_ipv6()) { 48 } else { 28 };
        self.max_length = self.max_length.map(|length| length.clamp(least, u16::MAX - headers));
        self
    }

    /// Whether one that runs does what this one asks for.
    pub fn is_met_by(&self, running: &SyncDaemon) -> bool {
        let mut wanted = self.clone().as_kept();
        wanted.max_length = wanted.max_length.or(running.max_length);
        wanted == *running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_ids_print_as_status_shows_them() {
        for (want, id) in [
            (
                "TCP 10.0.0.1:80",
                ServiceId::Addr { protocol: Protocol::Tcp, vip: "10.0.0.1:80".parse().expect("address") },
            ),
            (
                "UDP [2001:db8::1]:53",
                ServiceId::Addr {
                    protocol: Protocol::Udp,
                    vip: "[2001:db8::1]:53".parse().expect("address"),
                },
            ),
            (
                "FWM 7 inet",
                ServiceId::FwMark { mark: NonZeroU32::new(7).expect("not zero"), family: Family::Inet },
            ),
        ] {
            assert_eq!(id.to_string(), want);
        }
    }

    #[test]
    fn a_sync_daemon_is_compared_as_the_kernel_keeps_it() {
        let daemon = |state, max_length, group: Option<&str>| SyncDaemon {
            state,
            interface: "eth0".into(),
            sync_id: 7,
            max_length,
            group: group.map(|group| group.parse().expect("address")),
            port: None,
            ttl: None,
        };
        let (master, backup) = (SyncState::Master, SyncState::Backup);
        for (name, asked, kept) in [
            ("a master may be short", daemon(master, Some(500), None), Some(500)),
            ("a backup may not", daemon(backup, Some(500), None), Some(1024)),
            ("room for IPv4's headers", daemon(backup, Some(65_535), None), Some(65_507)),
            ("room for IPv6's headers", daemon(master, Some(65_507), Some("ff02::81")), Some(65_487)),
            ("by the interface", daemon(master, None, None), None),
        ] {
            let running = asked.clone().as_kept();
            assert_eq!(running.max_length, kept, "{name}");
            assert!(asked.is_met_by(&running), "{name}");
            assert!(!asked.is_met_by(&SyncDaemon { sync_id: 8, ..running.clone() }), "{name}");
        }
        let by_interface = SyncDaemon { max_length: Some(1472), ..daemon(master, None, None).as_kept() };
        assert!(daemon(master, None, None).is_met_by(&by_interface));
    }

    #[test]
    fn a_scheduler_name_has_1_to_15_octets() {
        for (name, ok) in [("rr", true), ("", false), ("abcdefghijklmno", true), ("abcdefghijklmnop", false)]
        {
            assert_eq!(Scheduler::new(name).is_some(), ok, "{name}");
        }
    }
}
