//! The typed configuration: what a whole file means, with nothing left to inherit or to check.
//!
//! Here: blocks that join the leaves' types. Not here: where in the files a value stood (`spans`),
//! keywords (`keyword`), and what a leaf crate can say alone (`lbd_ipvs`, `lbd_vrrp`, `lbd_health`).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use lbd_health::{Check, ScriptId};
use lbd_ipvs::{Destination, Forwarding, Service, ServiceId};
use lbd_vrrp::InstanceConfig;

/// A whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// global_defs
    pub global: Global,
    /// Every program that the configuration names, by the id under which the rest refers to it.
    pub scripts: IndexMap<ScriptId, Script>,
    /// vrrp_script by name. Only tracked ones run.
    pub vrrp_scripts: IndexMap<Arc<str>, VrrpScript>,
    /// vrrp_instance, in file order.
    pub vrrp_instances: Vec<VrrpInstance>,
    /// virtual_server, in file order; ids are unique. Shared, not copied, with who runs them.
    pub virtual_servers: Vec<Arc<VirtualServer>>,
}

/// global_defs: what is not folded into the objects it is a default for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Global {
    /// router_id
    pub router_id: Option<String>,
    /// enable_script_security
    pub script_security: bool,
    /// script_user
    pub script_user: Option<ScriptUser>,
}

/// A user, and maybe a group, by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ScriptUser {
    /// User name.
    pub user: String,
    /// Group name; the user's own group by default.
    pub group: Option<String>,
}

/// A program to run.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Script {
    /// Program and arguments as written, never empty.
    pub argv: Vec<String>,
    /// Its user: its own, else script_user at that place of the file; `None` asks for
    /// `keepalived_script` if that user exists, else root.
    pub user: Option<ScriptUser>,
}

impl Script {
    /// The id of this program: equal programs have equal ids.
    pub fn id(&self) -> ScriptId {
        let mut text = self.argv.join("\0");
        if let Some(user) = &self.user {
            text.push_str("\0\0");
            text.push_str(&user.user);
            text.push('\0');
            text.push_str(user.group.as_deref().unwrap_or_default());
        }
        ScriptId(text.into())
    }
}

/// vrrp_script
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpScript {
    /// The program.
    pub script: ScriptId,
    /// Time between two starts, > 0.
    pub interval: Duration,
    /// Limit of one run, > 0; the interval by default.
    pub timeout: Duration,
    /// Failures in a row that make it bad, ≥ 1.
    pub fall: u32,
    /// Successes in a row that make it good again, ≥ 1.
    pub rise: u32,
}

/// vrrp_instance
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VrrpInstance {
    /// The virtual router.
    pub router: InstanceConfig,
    /// What is run on its transitions.
    pub notify: VrrpNotify,
}

/// Scripts of a vrrp_instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VrrpNotify {
    /// notify_master
    pub master: Option<ScriptId>,
    /// notify_backup
    pub backup: Option<ScriptId>,
    /// notify_fault
    pub fault: Option<ScriptId>,
    /// notify_stop
    pub stop: Option<ScriptId>,
    /// notify: gets `INSTANCE NAME STATE PRIORITY` appended.
    pub any: Option<ScriptId>,
    /// notify_master_rx_lower_pri
    pub master_rx_lower_priority: Option<ScriptId>,
}

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

impl Config {
    /// Interfaces that the configuration names, each once, in order of appearance.
    pub fn interfaces(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for instance in &self.vrrp_instances {
            let router = &instance.router;
            let devices = router
                .addresses
                .iter()
                .chain(&router.excluded_addresses)
                .filter_map(|vip| vip.device.as_deref());
            let tracked = router.track_interfaces.iter().map(|(name, _)| name.as_str());
            for name in std::iter::once(router.interface.as_str()).chain(devices).chain(tracked) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        names
    }

    /// Every virtual IP address of the configuration.
    pub fn virtual_addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.vrrp_instances
            .iter()
            .flat_map(|instance| instance.router.addresses.iter().chain(&instance.router.excluded_addresses))
            .map(|vip| vip.address)
    }
}
