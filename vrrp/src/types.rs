//! Virtual routers as values.
//!
//! Here: configuration types, already resolved (nothing is inherited any more). Not here: states
//! and timers (`router`, `engine`), octets (`wire`), sockets (`net`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

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

/// Where adverts go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// To a group on the interface's link.
    Multicast {
        /// vrrp_mcast_group4 or mcast_dst_ip; 224.0.0.18 by default.
        group: Ipv4Addr,
    },
    /// To each peer.
    Unicast {
        /// unicast_peer, in file order, at least one.
        peers: Vec<Ipv4Addr>,
        /// unicast_ttl, 255 by default.
        ttl: u8,
        /// check_unicast_src: refuse adverts of others than the peers.
        check_source: bool,
    },
}

/// Authentication of version 2 (RFC 2338 §5.3.6; removed by RFC 3768, used by everybody).
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Authentication {
    /// Type 0.
    None,
    /// Type 1: a password in clear text, zero padded.
    Pass([u8; 8]),
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Authentication::None => "None",
            Authentication::Pass(_) => "Pass(********)",
        })
    }
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
    /// vrrp_garp_interval: shortest gap between two requests on an interface; zero for none.
    pub interval: Duration,
}

/// Names something tracked whose result arrives from outside (a script); unique in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerId(pub Arc<str>);

impl GratuitousArp {
    /// Most requests for an address in one burst, whatever the configuration says: all of a burst is
    /// in memory at once.
    pub const MOST_REPEATS: u32 = 100;
}

impl fmt::Display for TrackerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a tracker's result does to the instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Weight {
    /// -253..=253; 0: bad means FAULT. Positive: added while good. Negative: added while bad.
    pub value: i16,
    /// Contribution negated; with weight 0: good means FAULT.
    pub reverse: bool,
}

/// A virtual router (vrrp_instance) of version 2, IPv4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceConfig {
    /// Instance name, unique.
    pub name: Arc<str>,
    /// Interface of the adverts.
    pub interface: String,
    /// Virtual router identifier.
    pub vrid: Vrid,
    /// Configured priority, never 0.
    pub priority: Priority,
    /// Advertisement interval in seconds (RFC 3768 §5.3.7).
    pub advert_interval: NonZeroU8,
    /// down_timer_adverts: adverts missed before the master is down, 1..=100, 3 by default.
    pub down_timer_adverts: u8,
    /// Multicast or unicast.
    pub delivery: Delivery,
    /// mcast_src_ip, unicast_src_ip; the interface's primary address by default.
    pub source: Option<Ipv4Addr>,
    /// track_src_ip: FAULT while the configured source is not on the interface.
    pub track_source: bool,
    /// Authentication.
    pub authentication: Authentication,
    /// `false` with nopreempt.
    pub preempt: bool,
    /// preempt_delay, zero for none.
    pub preempt_delay: Duration,
    /// virtual_ipaddress, in file order (advertised).
    pub addresses: Vec<VirtualAddress>,
    /// virtual_ipaddress_excluded (not advertised).
    pub excluded_addresses: Vec<VirtualAddress>,
    /// Gratuitous ARP.
    pub garp: GratuitousArp,
    /// lower_prio_no_advert
    pub lower_priority_no_advert: bool,
    /// higher_prio_send_advert
    pub higher_priority_send_advert: bool,
    /// skip_check_adv_addr: compare the address list only when the master changes.
    pub skip_address_check: bool,
    /// owner_ignore_adverts
    pub owner_ignore_adverts: bool,
    /// Trackers (scripts) with their weights.
    pub trackers: Vec<(TrackerId, Weight)>,
    /// Tracked interfaces with their weights; the own one is not listed.
    pub track_interfaces: Vec<(String, Weight)>,
    /// `false` with dont_track_primary: the own interface down is no fault.
    pub track_primary: bool,
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
