//! Virtual servers, their groups, real servers and what checks share.

use std::net::SocketAddr;
use std::sync::Arc;

use lbd_health::{Check, ScriptId};
use lbd_ipvs::{Destination, Forwarding, Service, ServiceId};

/// virtual_server
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualServer {
    /// The IPVS service it drives.
    pub id: ServiceId,
    /// Scheduler, flags, persistence.
    pub service: Service,
    /// lb_kind: default of its servers, shown in status.
    pub forwarding: Forwarding,
    /// Live weight needed, ≥ 1.
    pub quorum: u32,
    /// Below `quorum`.
    pub hysteresis: u32,
    /// ha_suspend: run checks only while the address is on this host.
    pub ha_suspend: bool,
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
    /// Address and port as IPVS gets them.
    pub address: SocketAddr,
    /// Configured weight, forwarding method and thresholds.
    pub destination: Destination,
    /// inhibit_on_failure: weight 0 instead of removal.
    pub inhibit_on_failure: bool,
    /// notify_up
    pub notify_up: Option<ScriptId>,
    /// notify_down
    pub notify_down: Option<ScriptId>,
    /// Checkers; none means always up. Shared, not copied, with who runs them.
    pub checks: Vec<Arc<Check>>,
}

/// SSL: client certificate of SSL_GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientTls {}

/// virtual_server_group: one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {}

/// virtual_server group
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupServer {}
