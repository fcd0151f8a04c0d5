//! Whole objects of a configuration, of which the tests look at the scripts only.

use std::net::SocketAddr;
use std::num::NonZeroU8;

use lbd_grammar::config::{RealServer, VirtualServer, VirtualServerId, VrrpInstance, VrrpNotify};
use lbd_ipvs::{Destination, Family, Forwarding, Netmask, Scheduler, Service, ServiceFlags};
use lbd_vrrp::InstanceConfig;

pub fn instance(name: &str, notify: VrrpNotify) -> VrrpInstance {
    VrrpInstance { notify, ..VrrpInstance::new(InstanceConfig::new(name, "eth0", NonZeroU8::MIN)) }
}

/// With one real server and the scripts `up`, `down`, `qup`, `qdown`.
pub fn virtual_server(id: impl Into<VirtualServerId>, address: SocketAddr) -> VirtualServer {
    let script = |name: &str| Some(lbd_health::ScriptId(name.into()));
    let destination =
        Destination { forwarding: Forwarding::Direct, weight: 1, upper_threshold: 0, lower_threshold: 0 };
    let real_server = RealServer {
        address,
        destination,
        inhibit_on_failure: false,
        notify_up: script("up"),
        notify_down: script("down"),
        smtp_alert: true,
        snmp_name: None,
        slow_start: std::time::Duration::ZERO,
        flap_damping: None,
        checks: Vec::new(),
    };
    VirtualServer {
        id: id.into(),
        service: Service {
            scheduler: Scheduler::new("rr").expect("a scheduler"),
            flags: ServiceFlags::default(),
            persistence_timeout: 0,
            netmask: Netmask::full(Family::Inet),
            persistence_engine: None,
        },
        forwarding: Forwarding::Direct,
        quorum: 1,
        hysteresis: 0,
        keep_at_least: 0,
        drain_timeout: std::time::Duration::ZERO,
        delay_loop: std::time::Duration::from_secs(60),
        ha_suspend: false,
        smtp_alert: false,
        snmp_name: None,
        omega: false,
        quorum_up: script("qup"),
        quorum_down: script("qdown"),
        sorry_server: None,
        real_servers: vec![real_server],
    }
}
