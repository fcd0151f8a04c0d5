//! What the virtual routers of a configuration need of the host.

use std::collections::BTreeSet;
use std::net::IpAddr;

use lbd_grammar::config::{Config, LinkMode, OwnLinkKind};
use lbd_vrrp::{DeviceAddress, Priority};

use crate::router::{Firewall, HostWants, host_wants};

/// Table of the packet filter where no keyword names one.
const TABLE: &str = "keepalived";

/// Interfaces of their own, settings, the packet filter.
pub(crate) fn wants(config: &Config) -> HostWants {
    let promote = |instance: &&lbd_grammar::config::VrrpInstance| {
        instance.promote_secondaries && matches!(instance.link, LinkMode::Plain)
    };
    let promoted = config.vrrp_instances.iter().filter(promote);
    let promote = promoted.filter_map(|instance| instance.router.interface.clone()).collect();
    let quiet_igmp = config.global.disable_local_igmp && !config.vrrp_instances.is_empty();
    host_wants(config.own_links(), promote, quiet_igmp, firewall(config))
}

fn firewall(config: &Config) -> Firewall {
    let nftables = &config.global.nftables;
    let own: BTreeSet<String> = config
        .own_links()
        .into_iter()
        .filter(|link| matches!(link.kind, OwnLinkKind::Macvlan { .. }))
        .map(|link| link.name)
        .collect();
    let mut firewall = Firewall {
        table: nftables.table.clone().unwrap_or_else(|| TABLE.to_owned()),
        priority: nftables.priority,
        counters: nftables.counters,
        own,
        ..Firewall::default()
    };
    for router in config.vrrp_setup().instances {
        let closed = !router.accept && router.priority != Priority::OWNER;
        for DeviceAddress { device, address } in DeviceAddress::all_of(&router) {
            match address.address {
                IpAddr::V6(six) if six.is_unicast_link_local() && firewall.own.contains(&device) => {
                    firewall.own_link_local.insert(six);
                }
                _ => {}
            }
            if closed {
                firewall.closed.insert((address.address, device));
            }
        }
    }
    firewall
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_accept_is_filtered() {
        let instance = |vrid: u8, priority: u8, rest: &str| {
            format!(
                "vrrp_instance V{vrid} {{\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n{rest}\n}}\n"
            )
        };
        let vip = "virtual_ipaddress {\n 10.0.0.1\n }\n virtual_ipaddress_excluded {\n 10.0.1.1 dev eth1\n }";
        for (name, text, closed, own) in [
            ("accepts", instance(1, 100, vip), vec![], vec![]),
            (
                "no_accept",
                instance(1, 100, &format!("no_accept\n{vip}")),
                vec!["10.0.0.1 eth0", "10.0.1.1 eth1"],
                vec![],
            ),
            ("an owner accepts", instance(1, 255, &format!("no_accept\n{vip}")), vec![], vec![]),
            (
                "an interface of its own",
                instance(1, 100, &format!("no_accept\nuse_vmac\n{vip}")),
                vec!["10.0.0.1 vrrp.1", "10.0.1.1 eth1"],
                vec!["vrrp.1"],
            ),
        ] {
            let config = lbd_grammar::load_str("test.conf", &text).config.expect(name);
            let firewall = firewall(&config);
            let got: Vec<String> =
                firewall.closed.iter().map(|(ip, device)| format!("{ip} {device}")).collect();
            assert_eq!(got, closed, "{name}");
            assert_eq!(firewall.own.iter().collect::<Vec<_>>(), own, "{name}");
            assert_eq!((firewall.table.as_str(), firewall.priority), ("keepalived", -1), "{name}");
        }
    }
}
