//! Whole objects of a configuration, of which the tests look at the scripts only.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU8;
use std::time::Duration;

use lbd_grammar::config::{RealServer, VirtualServer, VrrpInstance, VrrpNotify};
use lbd_ipvs::{Destination, Family, Forwarding, Netmask, Scheduler, Service, ServiceFlags, ServiceId};
use lbd_vrrp::{Authentication, Delivery, GratuitousArp, InstanceConfig, Priority};

pub fn instance(name: &str, notify: VrrpNotify) -> VrrpInstance {
    let garp = GratuitousArp {
        delay: Duration::ZERO,
        repeat: 0,
        refresh: Duration::ZERO,
        refresh_repeat: 0,
        lower_priority_delay: Duration::ZERO,
        lower_priority_repeat: 0,
        interval: Duration::ZERO,
    };
    let router = InstanceConfig {
        name: name.into(),
        interface: "eth0".into(),
        vrid: NonZeroU8::MIN,
        priority: Priority::DEFAULT,
        advert_interval: NonZeroU8::MIN,
        down_timer_adverts: 3,
        delivery: Delivery::Multicast { group: Ipv4Addr::new(224, 0, 0, 18) },
        source: None,
        track_source: false,
        authentication: Authentication::None,
        preempt: true,
        preempt_delay: Duration::ZERO,
        addresses: Vec::new(),
        excluded_addresses: Vec::new(),
        garp,
        lower_priority_no_advert: false,
        higher_priority_send_advert: false,
        skip_address_check: false,
        owner_ignore_adverts: false,
        trackers: Vec::new(),
        track_interfaces: Vec::new(),
        track_primary: true,
    };
    VrrpInstance { router, notify }
}

/// With one real server and the scripts `up`, `down`, `qup`, `qdown`.
pub fn virtual_server(id: ServiceId, address: SocketAddr) -> VirtualServer {
    let script = |name: &str| Some(lbd_health::ScriptId(name.into()));
    let destination =
        Destination { forwarding: Forwarding::Direct, weight: 1, upper_threshold: 0, lower_threshold: 0 };
    let real_server = RealServer {
        address,
        destination,
        inhibit_on_failure: false,
        notify_up: script("up"),
        notify_down: script("down"),
        checks: Vec::new(),
    };
    VirtualServer {
        id,
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
        ha_suspend: false,
        omega: false,
        quorum_up: script("qup"),
        quorum_down: script("qdown"),
        sorry_server: None,
        real_servers: vec![real_server],
    }
}
