//! Interfaces that virtual routers have of their own: what use_vmac, use_vmac_addr, use_ipvlan and an address's
//! use_vmac come down to.
//!
//! Here: which there are, their names and hardware addresses, and what of a virtual router goes over which. Not
//! here: making them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lbd_vrrp::{Delivery, ExtraGarp, Family, InstanceConfig, Parent, VirtualAddress, Vrid};

use super::{Config, Ipvlan, IpvlanMode, LinkMode, Vmac, VrrpInstance};

/// Longest name of an interface (`IFNAMSIZ` of linux/if.h less the terminating zero).
const LONGEST_NAME: usize = 15;

/// An interface of a virtual router's own, on another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLink {
    /// Its name.
    pub name: String,
    /// The interface that it is on.
    pub parent: String,
    /// What it is.
    pub kind: OwnLinkKind,
    /// group: number or name in iproute2's table `group`; the parent's by default.
    pub group: Option<String>,
    /// Addresses that it has all the time: the source of adverts.
    pub addresses: Vec<VirtualAddress>,
    /// It needs an IPv6 link-local address, which is not among `addresses`: its parent's, or one made of the
    /// parent's hardware address (EUI-64).
    pub link_local: bool,
    /// IPv6 is spoken on it; otherwise it is switched off there.
    pub ipv6: bool,
}

/// What an own interface is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnLinkKind {
    /// A macvlan in private mode.
    Macvlan {
        /// Its hardware address.
        mac: [u8; 6],
    },
    /// An ipvlan of layer 2, which has its parent's hardware address.
    Ipvlan(IpvlanMode),
}

/// The hardware address of a virtual router (RFC 3768 §7.3, RFC 9568 §7.3).
pub fn virtual_mac(family: Family, vrid: Vrid) -> [u8; 6] {
    let family = match family {
        Family::V4 => 1,
        Family::V6 => 2,
    };
    [0, 0, 0x5e, 0, family, vrid.get()]
}

/// What the virtual routers have of their own, and how they look with it.
pub(super) struct OwnLinks {
    pub links: Vec<OwnLink>,
    /// In the order of the file.
    pub routers: Vec<InstanceConfig>,
}

impl OwnLinks {
    pub fn of(config: &Config) -> Self {
        let mut naming = Naming::of(config);
        let mut all = OwnLinks { links: Vec::new(), routers: Vec::new() };
        for (instance, router) in config.vrrp_instances.iter().zip(config.routers()) {
            let mut one = OfInstance::new(instance, router, &mut naming);
            one.own();
            one.of_addresses();
            one.extra_garp();
            let OfInstance { router, links, .. } = one;
            all.links.extend(links);
            all.routers.push(router);
        }
        all
    }
}

/// One virtual router while it is worked out.
struct OfInstance<'a> {
    instance: &'a VrrpInstance,
    naming: &'a mut Naming,
    router: InstanceConfig,
    links: Vec<OwnLink>,
}

impl<'a> OfInstance<'a> {
    fn new(instance: &'a VrrpInstance, router: InstanceConfig, naming: &'a mut Naming) -> Self {
        let router = InstanceConfig { vrf: instance.vrf.clone(), ..router };
        OfInstance { instance, naming, router, links: Vec::new() }
    }

    /// use_vmac, use_ipvlan
    fn own(&mut self) {
        let Some(parent) = self.instance.router.interface.clone() else { return };
        match &self.instance.link {
            LinkMode::Plain => {}
            LinkMode::Vmac(vmac) => self.vmac(vmac, parent),
            LinkMode::Ipvlan(ipvlan) => self.ipvlan(ipvlan, parent),
        }
    }

    fn vmac(&mut self, vmac: &Vmac, parent: String) {
        let (family, vrid) = (self.router.family, self.router.vrid);
        let name = vmac.name.clone().unwrap_or_else(|| self.naming.generate(Prefix::OfRouter, vrid, family));
        let on_parent = vmac.advert_on_parent || matches!(self.router.delivery, Delivery::Unicast { .. });
        let source = self.router.source.filter(|source| source.is_ipv6() && !on_parent);
        let speaks_six = family == Family::V6 || self.default_addresses().any(|one| one.address.is_ipv6());
        self.links.push(OwnLink {
            name: name.clone(),
            parent: parent.clone(),
            kind: OwnLinkKind::Macvlan { mac: vmac.mac.unwrap_or_else(|| virtual_mac(family, vrid)) },
            group: vmac.group.clone(),
            addresses: source.into_iter().map(permanent).collect(),
            link_local: family == Family::V6 && source.is_none(),
            ipv6: speaks_six,
        });
        if on_parent {
            self.router.address_interface = Some(name);
        } else {
            self.router.interface = Some(name);
            self.router.parent = Some(Parent { name: parent, lends_source: true });
        }
    }

    fn ipvlan(&mut self, ipvlan: &Ipvlan, parent: String) {
        let (family, vrid) = (self.router.family, self.router.vrid);
        let name =
            ipvlan.name.clone().unwrap_or_else(|| self.naming.generate(Prefix::OfRouter, vrid, family));
        let address = ipvlan.address.map(|(address, prefix)| VirtualAddress::new(address, prefix));
        let speaks_six = family == Family::V6 || self.default_addresses().any(|one| one.address.is_ipv6());
        self.router.source = self.router.source.or(address.as_ref().map(|address| address.address));
        self.links.push(OwnLink {
            name: name.clone(),
            parent: parent.clone(),
            kind: OwnLinkKind::Ipvlan(ipvlan.mode),
            group: ipvlan.group.clone(),
            link_local: family == Family::V6 && address.is_none(),
            addresses: address.into_iter().collect(),
            ipv6: speaks_six,
        });
        self.router.interface = Some(name);
        self.router.parent = Some(Parent { name: parent, lends_source: false });
    }

    fn default_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        let router = &self.instance.router;
        router.addresses.iter().chain(&router.excluded_addresses).filter(|address| address.device.is_none())
    }

    /// use_vmac_addr, and an address's use_vmac: one interface for all addresses of a family on another.
    fn of_addresses(&mut self) {
        let own = !matches!(self.instance.link, LinkMode::Plain);
        let mut made: BTreeMap<(String, Family), usize> = BTreeMap::new();
        let mut addresses = std::mem::take(&mut self.router.addresses);
        let mut excluded = std::mem::take(&mut self.router.excluded_addresses);
        for address in addresses.iter_mut().chain(&mut excluded) {
            let family = Family::of(address.address);
            let elsewhere = address.device.is_some() || family != self.router.family;
            if !(address.use_vmac || self.instance.vmac_addresses && elsewhere) {
                continue;
            }
            let parent = address.device.clone().or_else(|| self.instance.router.interface.clone());
            let Some(parent) = parent else { continue };
            // The router's own interface is the one.
            if own && !elsewhere {
                continue;
            }
            let at = *made.entry((parent.clone(), family)).or_insert_with(|| {
                let vrid = self.router.vrid;
                self.links.push(OwnLink {
                    name: self.naming.generate(Prefix::OfAddress, vrid, family),
                    parent,
                    kind: OwnLinkKind::Macvlan { mac: virtual_mac(family, vrid) },
                    group: None,
                    addresses: Vec::new(),
                    link_local: false,
                    ipv6: family == Family::V6,
                });
                self.links.len() - 1
            });
            address.device = self.links.get(at).map(|link| link.name.clone());
        }
        (self.router.addresses, self.router.excluded_addresses) = (addresses, excluded);
    }

    /// garp_extra_if: interfaces that have addresses and send no adverts.
    fn extra_garp(&mut self) {
        let Some(extra) = self.instance.garp_extra else { return };
        let own: BTreeSet<&str> = self.links.iter().map(|link| link.name.as_str()).collect();
        let router = &self.router;
        let devices: BTreeSet<String> = router
            .addresses
            .iter()
            .chain(&router.excluded_addresses)
            .map(|address| router.device_of(address))
            .filter(|device| *device != router.interface_name() && (extra.all || own.contains(device)))
            .map(str::to_owned)
            .collect();
        if !(devices.is_empty() || extra.interval.is_zero()) {
            self.router.garp_extra = Some(ExtraGarp { interval: extra.interval, devices });
        }
    }
}

/// An address that an own interface has all the time.
fn permanent(address: IpAddr) -> VirtualAddress {
    let length = match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(six) if six.is_unicast_link_local() => 64,
        IpAddr::V6(_) => 128,
    };
    VirtualAddress::new(address, length)
}

/// Which keyword has the first part of a name.
#[derive(Clone, Copy)]
enum Prefix {
    /// vmac_prefix
    OfRouter,
    /// vmac_addr_prefix
    OfAddress,
}

/// Gives names that nobody else has.
struct Naming {
    of_router: String,
    of_address: String,
    taken: BTreeSet<String>,
}

impl Naming {
    /// Names that the file says are taken, wherever they stand.
    fn of(config: &Config) -> Self {
        let vrrp = &config.global.vrrp;
        let given = config.vrrp_instances.iter().filter_map(|instance| match &instance.link {
            LinkMode::Plain => None,
            LinkMode::Vmac(vmac) => vmac.name.clone(),
            LinkMode::Ipvlan(ipvlan) => ipvlan.name.clone(),
        });
        let named = config.interfaces().into_iter().map(str::to_owned);
        Naming {
            of_router: vrrp.vmac_prefix.clone(),
            of_address: vrrp.vmac_addr_prefix.clone(),
            taken: given.chain(named).collect(),
        }
    }

    /// `PREFIX.VRID`, for IPv6 `PREFIX6.VRID`; where that is taken with another number.
    fn generate(&mut self, prefix: Prefix, vrid: Vrid, family: Family) -> String {
        let prefix = match prefix {
            Prefix::OfRouter => &self.of_router,
            Prefix::OfAddress => &self.of_address,
        };
        let first = match family {
            Family::V4 => String::new(),
            Family::V6 => "6".to_owned(),
        };
        let others = (1_u32..).filter(|number| *number != 6).map(|number| number.to_string());
        for number in std::iter::once(first).chain(others) {
            let end = format!("{number}.{vrid}");
            let room = LONGEST_NAME.saturating_sub(end.len());
            let short: String = prefix.chars().take(room).collect();
            let name = short + &end;
            if self.taken.insert(name.clone()) {
                return name;
            }
        }
        // There are more numbers than instances.
        String::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn load(text: &str) -> Config {
        crate::load_str("test.conf", text).config.expect("a configuration")
    }

    fn instance(name: &str, vrid: u8, rest: &str) -> String {
        format!("vrrp_instance {name} {{\n interface eth0\n virtual_router_id {vrid}\n{rest}\n}}\n")
    }

    /// What each instance has: names of its links, and of the interface of adverts and addresses.
    #[test]
    fn names_and_places() {
        let four = "virtual_ipaddress {\n 10.0.0.1\n }";
        let six = "virtual_ipaddress {\n fe80::1\n }";
        for (name, text, links, interfaces) in [
            ("plain", instance("A", 5, four), vec![], vec![("eth0", "eth0")]),
            (
                "generated",
                instance("A", 5, &format!("use_vmac\n{four}")),
                vec!["vrrp.5 on eth0"],
                vec![("vrrp.5", "vrrp.5")],
            ),
            (
                "adverts on the parent",
                instance("A", 5, &format!("use_vmac\nvmac_xmit_base\n{four}")),
                vec!["vrrp.5 on eth0"],
                vec![("eth0", "vrrp.5")],
            ),
            (
                "unicast always does",
                instance("A", 5, &format!("use_vmac\nunicast_peer {{\n 10.0.0.9\n }}\n{four}")),
                vec!["vrrp.5 on eth0"],
                vec![("eth0", "vrrp.5")],
            ),
            (
                "both families of a number",
                instance("A", 5, &format!("use_vmac\n{four}"))
                    + &instance("B", 5, &format!("use_vmac\n{six}")),
                vec!["vrrp.5 on eth0", "vrrp6.5 on eth0"],
                vec![("vrrp.5", "vrrp.5"), ("vrrp6.5", "vrrp6.5")],
            ),
            (
                "given, and taken by another",
                instance("A", 5, &format!("use_vmac\n{four}"))
                    + &instance("B", 6, &format!("use_vmac vrrp.5\n{four}")),
                vec!["vrrp1.5 on eth0", "vrrp.5 on eth0"],
                vec![("vrrp1.5", "vrrp1.5"), ("vrrp.5", "vrrp.5")],
            ),
            (
                "a long prefix is cut",
                "global_defs {\n vmac_prefix abcdefghijklmn\n}\n".to_owned()
                    + &instance("A", 255, &format!("use_vmac\n{four}")),
                vec!["abcdefghijk.255 on eth0"],
                vec![("abcdefghijk.255", "abcdefghijk.255")],
            ),
            (
                "an ipvlan",
                instance("A", 5, &format!("use_ipvlan ipv0 10.0.0.7/24\n{four}")),
                vec!["ipv0 on eth0"],
                vec![("ipv0", "ipv0")],
            ),
        ] {
            let config = load(&text);
            let all = OwnLinks::of(&config);
            let got: Vec<_> =
                all.links.iter().map(|link| format!("{} on {}", link.name, link.parent)).collect();
            assert_eq!(got, links, "{name}");
            let places: Vec<_> = all
                .routers
                .iter()
                .map(|router| {
                    let address = router.addresses.first().expect("an address");
                    (router.interface_name(), router.device_of(address))
                })
                .collect();
            assert_eq!(places, interfaces, "{name}");
        }
    }

    #[test]
    fn hardware_addresses_and_sources() {
        let config = load(
            &(instance("A", 5, "use_vmac\nvirtual_ipaddress {\n 10.0.0.1\n }")
                + &instance("B", 6, "use_vmac\nvirtual_ipaddress {\n fe80::1\n }")
                + &instance("C", 7, "use_vmac 02:00:00:00:00:01\nvirtual_ipaddress {\n 10.0.0.2\n }")
                + &instance("D", 8, "use_ipvlan 10.0.0.7/24\nvirtual_ipaddress {\n 10.0.0.3\n }")),
        );
        let all = OwnLinks::of(&config);
        let macs: Vec<_> = all.links.iter().map(|link| link.kind.clone()).collect();
        assert_eq!(
            macs,
            [
                OwnLinkKind::Macvlan { mac: [0, 0, 0x5e, 0, 1, 5] },
                OwnLinkKind::Macvlan { mac: [0, 0, 0x5e, 0, 2, 6] },
                OwnLinkKind::Macvlan { mac: [2, 0, 0, 0, 0, 1] },
                OwnLinkKind::Ipvlan(IpvlanMode::Bridge),
            ]
        );
        let six: Vec<_> = all.links.iter().map(|link| (link.ipv6, link.link_local)).collect();
        assert_eq!(six, [(false, false), (true, true), (false, false), (false, false)]);
        assert_eq!(all.routers[3].source, Some("10.0.0.7".parse().expect("address")));
        assert_eq!(all.links[3].addresses.len(), 1);
    }

    #[test]
    fn addresses_elsewhere_get_interfaces_of_their_own() {
        let addresses = "virtual_ipaddress {\n 10.0.0.1\n 10.1.0.1 dev eth1\n 10.1.0.2 dev eth1\n }\n\
                         virtual_ipaddress_excluded {\n 2001:db8::1\n }";
        for (name, mode, links, devices) in [
            (
                "all of them",
                "use_vmac\nuse_vmac_addr",
                vec!["vrrp.5 on eth0", "vrrp1.5 on eth1", "vrrp6.5 on eth0"],
                vec!["vrrp.5", "vrrp1.5", "vrrp1.5", "vrrp6.5"],
            ),
            (
                "without one for the router",
                "use_vmac_addr",
                vec!["vrrp.5 on eth1", "vrrp6.5 on eth0"],
                vec!["eth0", "vrrp.5", "vrrp.5", "vrrp6.5"],
            ),
            ("none", "use_vmac", vec!["vrrp.5 on eth0"], vec!["vrrp.5", "eth1", "eth1", "vrrp.5"]),
        ] {
            let config = load(&instance("A", 5, &format!("{mode}\n{addresses}")));
            let all = OwnLinks::of(&config);
            let got: Vec<_> =
                all.links.iter().map(|link| format!("{} on {}", link.name, link.parent)).collect();
            assert_eq!(got, links, "{name}");
            let router = &all.routers[0];
            let on: Vec<_> = router
                .addresses
                .iter()
                .chain(&router.excluded_addresses)
                .map(|address| router.device_of(address))
                .collect();
            assert_eq!(on, devices, "{name}");
        }
    }

    #[test]
    fn extra_garp_goes_where_no_adverts_go() {
        let text = |mode: &str, extra: &str| {
            let addresses = "virtual_ipaddress {\n 10.0.0.1\n 10.1.0.1 dev eth1\n }";
            instance("A", 5, &format!("{mode}\ngarp_extra_if {extra}\n{addresses}"))
        };
        for (name, mode, extra, devices) in [
            ("own interfaces", "use_vmac\nvmac_xmit_base", "10", vec!["vrrp.5"]),
            ("all", "use_vmac\nvmac_xmit_base", "all 10", vec!["eth1", "vrrp.5"]),
            ("adverts go there", "use_vmac\nuse_vmac_addr", "10", vec!["vrrp1.5"]),
        ] {
            let all = OwnLinks::of(&load(&text(mode, extra)));
            let extra = all.routers[0].garp_extra.as_ref().expect(name);
            assert_eq!(extra.devices.iter().collect::<Vec<_>>(), devices, "{name}");
            assert_eq!(extra.interval.as_secs(), 10, "{name}");
        }
    }

    #[test]
    fn gaps_are_those_of_the_interface_below() {
        let group = "garp_group {\n garp_interval 0.1\n interfaces {\n eth1\n eth0\n }\n}\n";
        let own = "use_vmac\nvirtual_ipaddress {\n 10.0.0.1\n }";
        let other = instance("B", 6, own).replace("eth0", "eth2");
        let config = load(&[group, &instance("A", 5, own), &other].concat());
        let intervals = config.vrrp_setup().garp_intervals;
        for (interface, lane, arp) in [("vrrp.5", "eth1", 100), ("vrrp.6", "eth2", 0)] {
            let found = intervals.of(interface, IpAddr::V4([10, 0, 0, 1].into()));
            assert_eq!(found, (lane, Duration::from_millis(arp)), "{interface}");
        }
    }
}
