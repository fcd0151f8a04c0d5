//! Virtual routers as values.
//!
//! Here: configuration types, already resolved (nothing is inherited any more). Not here: states
//! and timers (`router`, `engine`), octets (`wire`), sockets (`net`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

pub use crate::secret::{AntiReplay, Authentication, Hmac, HmacKey, HmacMode};
pub use crate::tracker::{Counted, TrackerId, TrackerKind, TrackerResult, Weight, united};

/// Virtual router identifier 1..=255 (RFC 3768 §5.3.3).
pub type Vrid = NonZeroU8;

/// Priority (RFC 3768 §5.3.4): 0 releases, 255 is the address owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);

impl Priority {
    /// The master stops taking part.
    pub const RELEASE: Self = Self(0);
    /// keepalived's and the RFC's default.
    pub const DEFAULT: Self = Self(100);
    /// The router that owns the addresses.
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 3768 (with RFC 2338's authentication).
    V2,
    /// RFC 9568.
    V3,
}

impl Version {
    /// 2 or 3.
    pub fn number(self) -> u8 {
        match self {
            Version::V2 => 2,
            Version::V3 => 3,
        }
    }
}

/// Address family of a virtual router: of its adverts and of the addresses that they list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }

    /// Octets of an address.
    pub fn width(self) -> usize {
        match self {
            Family::V4 => 4,
            Family::V6 => 16,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        })
    }
}

/// Where adverts go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To a group on the interface's link.
    Multicast {
        /// mcast_dst_ip, vrrp_mcast_group4 or vrrp_mcast_group6; 224.0.0.18 or ff02::12 by default.
        group: IpAddr,
    },
    /// To each peer.
    Unicast {
        /// unicast_peer, in file order. None: unicast_fault_no_peer, the router stays in FAULT.
        peers: Vec<Peer>,
        /// unicast_ttl, 255 with IPv4 by default; `None` with IPv6: the kernel's hop limit.
        ttl: Option<u8>,
        /// check_unicast_src: refuse adverts of others than the peers, and outside their TTL ranges.
        check_source: bool,
    },
}

/// A unicast_peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Lowest TTL or hop limit of its adverts, 0 by default.
    pub min_ttl: u8,
    /// Highest, 255 by default.
    pub max_ttl: u8,
}

impl Peer {
    /// A peer whose adverts may have any TTL.
    pub fn new(address: impl Into<IpAddr>) -> Self {
        Peer { address: address.into(), min_ttl: 0, max_ttl: u8::MAX }
    }
}

/// The pseudo header of version 3 checksums over IPv4 with unicast.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum UnicastChecksum {
    /// The RFC's; a peer that is heard to use the old one gets it.
    #[default]
    Detect,
    /// old_unicast_checksum: the multicast group as destination, as peers before 1.3.6 want it.
    Old,
    /// old_unicast_checksum never: the RFC's, whatever peers use.
    New,
}

/// A virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length, 32 or 128 by default; with a peer it is the peer's.
    pub prefix: u8,
    /// Interface; the instance's by default.
    pub device: Option<String>,
    /// Scope as the kernel numbers it (0 global, 253 link, 254 host).
    pub scope: u8,
    /// Broadcast address.
    pub broadcast: Option<Ipv4Addr>,
    /// Label, at most 15 octets.
    pub label: Option<String>,
    /// Address of the other end, of the same family.
    pub peer: Option<IpAddr>,
    /// home: an IPv6 home address (RFC 6275).
    pub home: bool,
    /// -nodad: the kernel looks for duplicates of an IPv6 address before it uses it.
    pub detect_duplicates: bool,
    /// mngtmpaddr: template of IPv6 privacy addresses.
    pub manage_temporary: bool,
    /// noprefixroute: the kernel makes no route to the prefix.
    pub no_prefix_route: bool,
    /// autojoin: the kernel joins a multicast group.
    pub auto_join: bool,
    /// How long the kernel prefers it as a source.
    pub preferred: PreferredLifetime,
    /// no_track: its loss or that of its interface is no fault.
    pub no_track: bool,
    /// use_vmac: it is put on a virtual MAC interface on its interface.
    pub use_vmac: bool,
}

impl VirtualAddress {
    /// An address with everything else as it is by default.
    pub fn new(address: IpAddr, prefix: u8) -> Self {
        Self {
            address,
            prefix,
            device: None,
            scope: 0,
            broadcast: None,
            label: None,
            peer: None,
            home: false,
            detect_duplicates: false,
            manage_temporary: false,
            no_prefix_route: false,
            auto_join: false,
            preferred: PreferredLifetime::default_of(address, prefix),
            no_track: false,
            use_vmac: false,
        }
    }
}

/// preferred_lft of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PreferredLifetime {
    /// Without end.
    Forever,
    /// 0..=4294967294 s; 0: deprecated from the start, so never chosen as a source.
    Seconds(u32),
}

impl PreferredLifetime {
    /// 0 s for a single IPv6 address, so that it does not become the source of the director's own
    /// connections; else forever.
    pub fn default_of(address: IpAddr, prefix: u8) -> Self {
        if address.is_ipv6() && prefix == 128 { Self::Seconds(0) } else { Self::Forever }
    }
}

/// Gratuitous ARP of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GratuitousArp {
    /// garp_master_delay: second burst after becoming master; zero for none. Default 5 s.
    pub delay: Duration,
    /// garp_master_repeat: requests per address in a burst. Default 5.
    pub repeat: u32,
    /// garp_master_refresh: period while master; zero for none. Default 0.
    pub refresh: Duration,
    /// garp_master_refresh_repeat. Default 1.
    pub refresh_repeat: u32,
    /// garp_lower_prio_delay. Default: `delay`.
    pub lower_priority_delay: Duration,
    /// garp_lower_prio_repeat; 0 for none. Default: `repeat`.
    pub lower_priority_repeat: u32,
}

/// The interface below a virtual router's own one; both must be up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Parent {
    /// Its name.
    pub name: String,
    /// Its IPv4 address is the source of adverts where the own interface has none.
    pub lends_source: bool,
}

/// garp_extra_if: gratuitous ARP where no adverts are sent, so that switches go on knowing the way to a hardware
/// address of the router's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraGarp {
    /// Time between two, > 0.
    pub interval: Duration,
    /// The interfaces.
    pub devices: BTreeSet<String>,
}

impl Default for GratuitousArp {
    fn default() -> Self {
        let delay = Duration::from_secs(5);
        GratuitousArp {
            delay,
            repeat: 5,
            refresh: Duration::ZERO,
            refresh_repeat: 1,
            lower_priority_delay: delay,
            lower_priority_repeat: 5,
        }
    }
}

impl GratuitousArp {
    /// Most requests for an address in one burst, whatever the configuration says: all of a burst is
    /// in memory at once.
    pub const MOST_REPEATS: u32 = 100;
}

/// A virtual router (vrrp_instance).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Instance name, unique.
    pub name: Arc<str>,
    /// Interface of the adverts; unicast from a configured source needs none.
    pub interface: Option<String>,
    /// The interface below `interface`, where that is one of the router's own (macvlan, ipvlan).
    pub parent: Option<Parent>,
    /// Interface of the addresses that name none; `interface` by default. Another one where adverts go over the
    /// parent of the router's own interface (vmac_xmit_base).
    pub address_interface: Option<String>,
    /// The VRF whose routes unicast without an interface takes.
    pub vrf: Option<String>,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Version of the adverts.
    pub version: Version,
    /// Family of the adverts.
    pub family: Family,
    /// Configured priority, never 0.
    pub priority: Priority,
    /// Advertisement interval: whole seconds, 1 to 255 s, in version 2 (RFC 3768 §5.3.7); whole
    /// centiseconds up to 40.95 s in version 3 (RFC 9568 §5.2.7).
    pub advert_interval: Duration,
    /// down_timer_adverts: adverts missed before the master is down, 1..=100, 3 by default.
    pub down_timer_adverts: u8,
    /// Multicast or unicast.
    pub delivery: Delivery,
    /// mcast_src_ip, unicast_src_ip; the interface's primary address by default.
    pub source: Option<IpAddr>,
    /// track_src_ip: FAULT while the configured source is not on the interface.
    pub track_source: bool,
    /// Authentication.
    pub authentication: Authentication,
    /// `false` with nopreempt.
    pub preempt: bool,
    /// preempt_delay, zero for none.
    pub preempt_delay: Duration,
    /// timer_expired_backup: a master that was late itself by three intervals and the skew time of
    /// this priority becomes Backup.
    pub late_backup: Option<Priority>,
    /// strict_mode: adverts are held to the RFC. What it changes here is changed already.
    pub strict: bool,
    /// `false` with no_accept: traffic to the addresses is dropped unless the router owns them.
    pub accept: bool,
    /// virtual_ipaddress, in file order (advertised).
    pub addresses: Vec<VirtualAddress>,
    /// virtual_ipaddress_excluded (not advertised).
    pub excluded_addresses: Vec<VirtualAddress>,
    /// Gratuitous ARP.
    pub garp: GratuitousArp,
    /// garp_extra_if
    pub garp_extra: Option<ExtraGarp>,
    /// lower_prio_no_advert
    pub lower_priority_no_advert: bool,
    /// higher_prio_send_advert
    pub higher_priority_send_advert: bool,
    /// skip_check_adv_addr: compare the address list only when the master changes.
    pub skip_address_check: bool,
    /// owner_ignore_adverts
    pub owner_ignore_adverts: bool,
    /// v3_checksum_as_v2: no pseudo header in version 3 checksums over IPv4.
    pub checksum_without_pseudo_header: bool,
    /// old_unicast_checksum
    pub unicast_checksum: UnicastChecksum,
    /// kernel_rx_buf_size: its share of the receive buffer in octets.
    pub receive_buffer: Option<u32>,
    /// debug, 0..=4; changes nothing.
    pub debug: u8,
    /// track_script with their weights.
    pub trackers: Vec<(TrackerId, Weight)>,
    /// track_file with their weights.
    pub track_files: Vec<(TrackerId, Weight)>,
    /// track_process with their weights.
    pub track_processes: Vec<(TrackerId, Weight)>,
    /// track_bfd with their weights.
    pub track_bfd: Vec<(TrackerId, Weight)>,
    /// Tracked interfaces with their weights; the own one is tracked besides, see `track_primary`.
    pub track_interfaces: Vec<(String, Weight)>,
    /// `false` with dont_track_primary: the own interface down is no fault, nor is it for the addresses on it.
    pub track_primary: bool,
}

impl InstanceConfig {
    /// An IPv4 router of version 2 as it is without any further keyword.
    pub fn new(name: &str, interface: &str, vrid: Vrid) -> Self {
        InstanceConfig {
            name: name.into(),
            interface: Some(interface.to_owned()),
            parent: None,
            address_interface: None,
            vrf: None,
            vrid,
            version: Version::V2,
            family: Family::V4,
            priority: Priority::DEFAULT,
            advert_interval: Duration::from_secs(1),
            down_timer_adverts: 3,
            delivery: Delivery::Multicast { group: IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18)) },
            source: None,
            track_source: false,
            authentication: Authentication::None,
            preempt: true,
            preempt_delay: Duration::ZERO,
            late_backup: None,
            strict: false,
            accept: true,
            addresses: Vec::new(),
            excluded_addresses: Vec::new(),
            garp: GratuitousArp::default(),
            garp_extra: None,
            lower_priority_no_advert: false,
            higher_priority_send_advert: false,
            skip_address_check: false,
            owner_ignore_adverts: false,
            checksum_without_pseudo_header: false,
            unicast_checksum: UnicastChecksum::Detect,
            receive_buffer: None,
            debug: 0,
            trackers: Vec::new(),
            track_files: Vec::new(),
            track_processes: Vec::new(),
            track_bfd: Vec::new(),
            track_interfaces: Vec::new(),
            track_primary: true,
        }
    }

    /// The name of its interface; empty if it has none.
    pub fn interface_name(&self) -> &str {
        self.interface.as_deref().unwrap_or_default()
    }

    /// The name of the interface of an address; empty if there is none.
    pub fn device_of<'a>(&'a self, address: &'a VirtualAddress) -> &'a str {
        let own = address.device.as_deref().or(self.address_interface.as_deref());
        own.unwrap_or(self.interface_name())
    }

    /// Scripts, files and processes that it tracks. BFD sessions have no results yet.
    pub fn tracked(&self) -> impl Iterator<Item = &(TrackerId, Weight)> {
        self.trackers.iter().chain(&self.track_files).chain(&self.track_processes)
    }
}

/// vrrp_sync_group as the engine needs it: virtual routers that are master together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupConfig {
    /// Its name, unique.
    pub name: Arc<str>,
    /// Names of its instances; each is in one group at most. Names of no instance are ignored.
    pub members: Vec<Arc<str>>,
    /// track_script, for all members.
    pub trackers: Vec<(TrackerId, Weight)>,
    /// track_file, for all members.
    pub track_files: Vec<(TrackerId, Weight)>,
    /// track_process, for all members.
    pub track_processes: Vec<(TrackerId, Weight)>,
    /// track_interface, for all members.
    pub track_interfaces: Vec<(String, Weight)>,
}

impl GroupConfig {
    /// Scripts, files and processes that all members track.
    pub fn tracked(&self) -> impl Iterator<Item = &(TrackerId, Weight)> {
        self.trackers.iter().chain(&self.track_files).chain(&self.track_processes)
    }
}

/// Everything that an [`Engine`](crate::Engine) runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Virtual routers, in the order of the file.
    pub instances: Vec<InstanceConfig>,
    /// Sync groups, in the order of the file.
    pub groups: Vec<GroupConfig>,
    /// garp_group, vrrp_garp_interval, vrrp_gna_interval
    pub garp_intervals: GarpIntervals,
    /// log_unknown_vrids
    pub log_unknown_vrids: bool,
    /// vrrp_startup_delay: for so long after [`Event::Begin`](crate::Event::Begin) nobody takes over and
    /// nothing is listened to.
    pub startup_delay: Duration,
}

impl Setup {
    /// Everything of a kind that instances and groups track, each once.
    pub fn tracked(&self, kind: TrackerKind) -> BTreeSet<Arc<str>> {
        let of_instances = self.instances.iter().flat_map(InstanceConfig::tracked);
        let all = of_instances.chain(self.groups.iter().flat_map(GroupConfig::tracked));
        all.filter(|(id, _)| id.kind == kind).map(|(id, _)| Arc::clone(&id.name)).collect()
    }

    /// Virtual routers without groups.
    pub fn of(instances: Vec<InstanceConfig>) -> Self {
        Setup { instances, ..Setup::default() }
    }
}

/// Shortest gaps between two announcements on interfaces that share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GarpIntervals {
    /// Interfaces that share a gap with others: those of a garp_group, and those of virtual routers' own with the
    /// interface below.
    pub by_interface: BTreeMap<String, SharedGap>,
    /// vrrp_garp_interval and vrrp_gna_interval, of each other interface by itself.
    pub otherwise: Gaps,
}

/// Between gratuitous ARP, and between unsolicited neighbour advertisements; zero for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Between gratuitous ARP.
    pub arp: Duration,
    /// Between unsolicited neighbour advertisements.
    pub neighbour: Duration,
}

/// Gaps, and with whom they are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedGap {
    /// The interface that stands for all that share it.
    pub lane: String,
    /// The gaps.
    pub gaps: Gaps,
}

impl GarpIntervals {
    /// The gap of an address's announcements on an interface, and the interface that stands for all that share it.
    pub fn of<'n>(&'n self, interface: &'n str, address: IpAddr) -> (&'n str, Duration) {
        let (lane, gaps) = match self.by_interface.get(interface) {
            Some(shared) => (shared.lane.as_str(), shared.gaps),
            None => (interface, self.otherwise),
        };
        (lane, if address.is_ipv4() { gaps.arp } else { gaps.neighbour })
    }
}

/// Index of an interface as the kernel numbers it.
pub type IfIndex = NonZeroU32;

/// State of a virtual router (RFC 3768 §6.4, and keepalived's FAULT).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not started.
    Initialize,
    /// Watches the master.
    Backup,
    /// Holds the addresses.
    Master,
    /// Cannot take part; the reasons are in the snapshot.
    Fault,
}

impl State {
    /// As notify scripts and status show it.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Initialize => "INIT",
            State::Backup => "BACKUP",
            State::Master => "MASTER",
            State::Fault => "FAULT",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
