//! Virtual servers, their groups, real servers and what checks share.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use lbd_health::{Check, ScriptId};
use lbd_ipvs::{Destination, Family, Forwarding, Protocol, Service, ServiceId};

/// virtual_server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// What it is known by, over reloads too.
    pub id: VirtualServerId,
    /// Scheduler, flags, persistence. The netmask is of the id's family; services of a group that are of
    /// the other one have the whole address.
    pub service: Service,
    /// lb_kind: default of its servers, shown in status.
    pub forwarding: Forwarding,
    /// delay_loop, > 0: each check has its own; this one is the limit of a MISC_CHECK without any.
    pub delay_loop: Duration,
    /// Live weight needed, ≥ 1.
    pub quorum: u32,
    /// Below `quorum`.
    pub hysteresis: u32,
    /// keep_at_least: failures never leave fewer servers than this; 0 is off.
    pub keep_at_least: u32,
    /// drain_timeout: real servers that a reload takes away keep their connections for so long at most; zero is
    /// off.
    pub drain_timeout: Duration,
    /// ha_suspend: run checks only while the address is on this host.
    pub ha_suspend: bool,
    /// smtp_alert: mail on a change of the quorum.
    pub smtp_alert: bool,
    /// snmp_name
    pub snmp_name: Option<String>,
    /// omega: run down-notifications at shutdown.
    pub omega: bool,
    /// quorum_up
    pub quorum_up: Option<ScriptId>,
    /// quorum_down
    pub quorum_down: Option<ScriptId>,
    /// sorry_server
    pub sorry_server: Option<SorryServer>,
    /// real_server, in file order; addresses are unique.
    pub real_servers: Vec<RealServer>,
}

impl VirtualServer {
    /// Takes the checks from `running` that are the same in both.
    pub(super) fn share(&mut self, running: &VirtualServer) {
        let known: HashMap<SocketAddr, &RealServer> =
            running.real_servers.iter().map(|real| (real.address, real)).collect();
        for real in &mut self.real_servers {
            let Some(known) = known.get(&real.address) else { continue };
            for check in &mut real.checks {
                if let Some(same) = known.checks.iter().find(|known| *known == check) {
                    *check = Arc::clone(same);
                }
            }
        }
    }
}

impl VirtualServer {
    /// Every program that it may run.
    pub fn scripts(&self) -> impl Iterator<Item = &ScriptId> {
        let of_reals = self.real_servers.iter().flat_map(|real| {
            let notify = [&real.notify_up, &real.notify_down].into_iter().flatten();
            notify.chain(real.checks.iter().filter_map(|check| check.kind.script()))
        });
        [&self.quorum_up, &self.quorum_down].into_iter().flatten().chain(of_reals)
    }
}

/// What identifies a virtual_server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VirtualServerId {
    /// `ADDR PORT`, `fwmark N`: it drives this IPVS service.
    Service(ServiceId),
    /// `group NAME`: it drives each service of the group in the same way.
    Group(GroupKey),
}

impl VirtualServerId {
    /// Address family of its service, or of its group's addresses.
    pub fn family(&self) -> Family {
        match self {
            VirtualServerId::Service(service) => service.family(),
            VirtualServerId::Group(group) => group.family,
        }
    }

    /// Protocol of its services; `None` if they are of firewall marks alone.
    pub fn protocol(&self) -> Option<Protocol> {
        match self {
            VirtualServerId::Service(ServiceId::Addr { protocol, .. }) => Some(*protocol),
            VirtualServerId::Service(ServiceId::FwMark { .. }) => None,
            VirtualServerId::Group(group) => group.protocol,
        }
    }

    /// Its service, unless it drives those of a group.
    pub fn service(&self) -> Option<ServiceId> {
        match self {
            VirtualServerId::Service(service) => Some(*service),
            VirtualServerId::Group(_) => None,
        }
    }
}

impl From<ServiceId> for VirtualServerId {
    fn from(service: ServiceId) -> Self {
        VirtualServerId::Service(service)
    }
}

/// As `lbctl status` prints it.
impl fmt::Display for VirtualServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VirtualServerId::Service(service) => service.fmt(f),
            VirtualServerId::Group(group) => group.fmt(f),
        }
    }
}

/// What identifies the services of a virtual_server group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// Name of the virtual_server_group.
    pub group: Arc<str>,
    /// Protocol of the services by address; `None` if the group has firewall marks alone.
    pub protocol: Option<Protocol>,
    /// Family of the group's addresses, and of firewall marks without one of their own.
    pub family: Family,
}

/// `GROUP name`, as `lbctl status` prints it.
impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GROUP {}", self.group)
    }
}

/// virtual_server_group: one line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum GroupMember {
    /// One service for each address.
    Addresses {
        /// The addresses.
        range: AddressRange,
        /// `None`: every port.
        port: Option<NonZeroU16>,
    },
    /// One service for a firewall mark.
    Mark {
        /// The mark.
        mark: NonZeroU32,
        /// `None`: the virtual server's.
        family: Option<Family>,
    },
}

/// Addresses of one family, the last not before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Most addresses of a range.
    pub const MOST: u128 = 1 << 16;

    /// `None` if they are of different families, in the wrong order, or more than [`Self::MOST`].
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let count = bits(last).checked_sub(bits(first))?;
        (first.is_ipv4() == last.is_ipv4() && count < Self::MOST).then_some(AddressRange { first, last })
    }

    /// The first address.
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        self.last
    }

    /// Whether an address is one of them.
    pub fn contains(self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4()
            && (bits(self.first)..=bits(self.last)).contains(&bits(address))
    }
}

/// An address as a number.
pub(crate) fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// sorry_server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SorryServer {
    /// Address and port; the port 0 for a firewall-mark service with DR or TUN.
    pub address: SocketAddr,
    /// Weight 1 and its forwarding method.
    pub destination: Destination,
    /// sorry_server_inhibit: stays in the table with weight 0 while it is not used.
    pub inhibit: bool,
}

/// real_server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RealServer {
    /// Address and port as IPVS gets them; in a virtual_server group the port 0 is that of each service.
    pub address: SocketAddr,
    /// Configured weight, forwarding method and thresholds.
    pub destination: Destination,
    /// inhibit_on_failure: weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// notify_up
    pub notify_up: Option<ScriptId>,
    /// notify_down
    pub notify_down: Option<ScriptId>,
    /// smtp_alert: mail on a change of a checker's state.
    pub smtp_alert: bool,
    /// snmp_name
    pub snmp_name: Option<String>,
    /// slow_start: the weight grows for so long after it was down; zero is off.
    pub slow_start: Duration,
    /// flap_damping
    pub flap_damping: Option<FlapDamping>,
    /// Checkers; none means always up. Shared, not copied, with who runs them.
    pub checks: Vec<Arc<Check>>,
}

/// flap_damping: a server that went down too often stays out for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlapDamping {
    /// It went down so often, ≥ 1 …
    pub changes: u32,
    /// … within this time, > 0.
    pub within: Duration,
    /// It has to hold out so long without a failure, > 0.
    pub hold: Duration,
}

/// SSL: client certificate of SSL_GET. Files in PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Pass phrase of the key.
    pub password: Option<String>,
    /// File of certificates of authorities.
    pub ca: Option<String>,
    /// File of the certificate and of those that lead to its authority.
    pub certificate: Option<String>,
    /// File of the key.
    pub key: Option<String>,
}

/// Without the pass phrase.
impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("password", &self.password.as_ref().map(|_| crate::MASK))
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish()
    }
}
