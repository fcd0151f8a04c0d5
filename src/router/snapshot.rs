//! What readers see of the virtual routers and of the host's interfaces.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::SystemTime;

use lbd_vrrp::router::Router;
use lbd_vrrp::{DeviceAddress, State};

use crate::control::status::InstanceStatus;
use crate::state_file::SavedInstance;

/// All virtual routers in configuration order.
#[derive(Clone, Debug, Default)]
pub struct RouterSnapshot {
    /// Virtual routers.
    pub instances: Vec<Arc<InstanceSnapshot>>,
    /// [`super::Router::begin`] was carried out.
    pub begun: bool,
    /// VRRP datagrams that were for no virtual router of ours.
    pub strangers: u64,
    /// Adverts and ARP frames that the kernel did not take.
    pub send_errors: u64,
}

impl RouterSnapshot {
    /// What the state file keeps.
    pub fn saved(&self) -> Vec<SavedInstance> {
        self.instances.iter().map(|instance| instance.saved()).collect()
    }
}

/// One virtual router.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InstanceSnapshot {
    /// As the control API shows it.
    pub status: InstanceStatus,
    /// It is master.
    pub master: bool,
    /// Boot clock of the last advert sent in milliseconds; 0 before the first.
    pub last_advert_ms: u64,
    /// Addresses it holds: `ADDRESS/PREFIX` and interface.
    pub addresses: Vec<(String, String)>,
}

impl InstanceSnapshot {
    pub(super) fn of(router: &Router, since: SystemTime, last_advert_ms: u64) -> Self {
        let config = router.config();
        let counters = router.counters();
        let dropped = counters.refused.iter().map(|(cause, count)| (cause.as_str().to_owned(), *count));
        let status = InstanceStatus {
            name: config.name.to_string(),
            interface: config.interface_name().to_owned(),
            vrid: config.vrid.get(),
            version: config.version.number(),
            family: config.family.to_string().to_lowercase(),
            state: router.state().as_str().into(),
            since: humantime::format_rfc3339_millis(since).to_string(),
            priority: config.priority.0,
            effective_priority: router.effective_priority().0,
            master: router.master().map(|address| address.to_string()),
            addresses: config.addresses.iter().map(|one| format!("{}/{}", one.address, one.prefix)).collect(),
            fault_reasons: router.faults().iter().map(ToString::to_string).collect(),
            adverts_sent: counters.sent,
            adverts_received: counters.received,
            adverts_dropped: dropped.collect::<BTreeMap<_, _>>(),
        };
        let addresses = router.held().iter().map(saved_address).collect();
        InstanceSnapshot { status, master: router.state() == State::Master, last_advert_ms, addresses }
    }

    fn saved(&self) -> SavedInstance {
        SavedInstance {
            interface: self.status.interface.clone(),
            vrid: self.status.vrid,
            master: self.master,
            last_advert_ms: self.last_advert_ms,
            addresses: self.addresses.clone(),
        }
    }
}

/// `ADDRESS/PREFIX` and interface.
pub(super) fn saved_address(address: &DeviceAddress) -> (String, String) {
    (format!("{}/{}", address.address.address, address.address.prefix), address.device.clone())
}

/// The host's interfaces by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Interfaces.
    pub by_name: BTreeMap<String, HostInterface>,
}

impl Interfaces {
    /// Whether `address` is on any interface.
    pub fn has_address(&self, address: IpAddr) -> bool {
        self.by_name.values().any(|one| one.addresses.iter().any(|(own, _)| *own == address))
    }

    /// Whether this is on that interface, as the state file writes it.
    pub(super) fn has_saved(&self, (address, device): &(String, String)) -> bool {
        self.by_name.get(device).is_some_and(|interface| {
            interface.addresses.iter().any(|(own, prefix)| format!("{own}/{prefix}") == *address)
        })
    }
}

/// An interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostInterface {
    /// Index.
    pub index: NonZeroU32,
    /// Up and running.
    pub up: bool,
    /// Addresses with prefix length, in the kernel's order.
    pub addresses: Vec<(IpAddr, u8)>,
}
