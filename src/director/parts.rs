//! What a virtual server wants of the kernel: the services that it drives, and its pool in each.
//!
//! Pure. Here: the services of an address, a mark or a group, and how a pool's destinations look in
//! each of them. Not here: what the pool wants (`pool`), who else wants the same (`owner`).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use lbd_grammar::config::{AddressRange, Config, GroupKey, GroupMember, VirtualServerId};
use lbd_ipvs::{Entry as Wanted, Family, Netmask, Protocol, Service, ServiceId};

use super::owner::Part;

/// The services that a virtual server drives, in order, none twice.
pub type Services = Arc<[ServiceId]>;

/// Services of a virtual server that one before it in the file drives too, as that one wants them: scheduler,
/// flags and persistence are those of the first.
pub type Shared = BTreeMap<ServiceId, Service>;

/// What each virtual server, in the order of the file, shares with one before it.
pub fn shared(config: &Config, services: &[Services]) -> Vec<Shared> {
    let mut shared = vec![Shared::new(); services.len()];
    // Without a group no two virtual servers drive the same.
    if services.iter().all(|services| services.len() == 1)
        && !config.virtual_servers.iter().any(|one| matches!(one.id, VirtualServerId::Group(_)))
    {
        return shared;
    }
    let mut first: BTreeMap<ServiceId, &Service> = BTreeMap::new();
    for ((server, services), shared) in config.virtual_servers.iter().zip(services).zip(&mut shared) {
        for id in services.iter() {
            match first.entry(*id) {
                Entry::Occupied(known) => {
                    shared.insert(*id, (*known.get()).clone());
                }
                Entry::Vacant(place) => {
                    place.insert(&server.service);
                }
            }
        }
    }
    shared
}

/// The services of `id`: its own, or one for each address and mark of its group.
pub fn services(id: &VirtualServerId, config: &Config) -> Services {
    match id {
        VirtualServerId::Service(service) => Arc::new([*service]),
        VirtualServerId::Group(key) => {
            let members = config.virtual_server_groups.get(&key.group).map(Vec::as_slice);
            let all: BTreeSet<ServiceId> =
                members.unwrap_or_default().iter().flat_map(|member| of_member(key, member)).collect();
            all.into_iter().collect()
        }
    }
}

/// `wanted` in each of `services`. A destination without port has that of the service (NAT without a port
/// of its own, DR and TUN); a mark's have none. The netmask is for the family that it is of.
pub fn part(services: &[ServiceId], shared: &Shared, mut wanted: Wanted) -> Part {
    if let ([service], true) = (services, shared.is_empty()) {
        adapt(*service, &mut wanted);
        return BTreeMap::from([(*service, wanted)]);
    }
    let adapted = |service: &ServiceId| {
        let mut entry = wanted.clone();
        if let Some(first) = shared.get(service) {
            entry.service.clone_from(first);
        }
        adapt(*service, &mut entry);
        (*service, entry)
    };
    services.iter().map(adapted).collect()
}

/// Address and port of a real server in the table, in this service.
pub fn destination(service: ServiceId, address: SocketAddr) -> SocketAddr {
    match service {
        ServiceId::Addr { vip, .. } if address.port() == 0 => SocketAddr::new(address.ip(), vip.port()),
        _ => address,
    }
}

/// A service as a virtual server describes it, or the one before it that drives it too.
pub fn description(id: ServiceId, own: &Service, shared: &Shared) -> Service {
    let mut service = shared.get(&id).unwrap_or(own).clone();
    adapt_netmask(id.family(), &mut service);
    service
}

fn adapt_netmask(family: Family, service: &mut Service) {
    let same =
        matches!((service.netmask, family), (Netmask::V4(_), Family::Inet) | (Netmask::V6(_), Family::Inet6));
    if !same {
        service.netmask = Netmask::full(family);
    }
}

fn adapt(service: ServiceId, entry: &mut Wanted) {
    adapt_netmask(service.family(), &mut entry.service);
    if entry.destinations.keys().any(|address| destination(service, *address) != *address) {
        let before = std::mem::take(&mut entry.destinations);
        for (address, wanted) in before {
            // Of two that are the same here, the one that takes connections.
            let place = entry.destinations.entry(destination(service, address)).or_insert(wanted);
            if place.weight < wanted.weight {
                *place = wanted;
            }
        }
    }
}

fn of_member(key: &GroupKey, member: &GroupMember) -> Vec<ServiceId> {
    match *member {
        GroupMember::Mark { mark, family } => {
            vec![ServiceId::FwMark { mark, family: family.unwrap_or(key.family) }]
        }
        GroupMember::Addresses { range, port } => {
            let port = port.map_or(0, NonZeroU16::get);
            // A group with addresses has a protocol: the grammar sees to it.
            let protocol = key.protocol.unwrap_or(Protocol::Tcp);
            let service = |ip| ServiceId::Addr { protocol, vip: SocketAddr::new(ip, port) };
            addresses(range).map(service).collect()
        }
    }
}

/// Every address of a range; 65,536 at most.
fn addresses(range: AddressRange) -> Box<dyn Iterator<Item = IpAddr>> {
    match (range.first(), range.last()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Box::new((first.to_bits()..=last.to_bits()).map(|bits| Ipv4Addr::from_bits(bits).into()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Box::new((first.to_bits()..=last.to_bits()).map(|bits| Ipv6Addr::from_bits(bits).into()))
        }
        // A range is of one family.
        _ => Box::new(std::iter::empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The services of the group and what the first real server is in each, as text.
    fn found(lines: &str, kind: &str, protocol: &str, real: &str) -> Vec<String> {
        let text = format!(
            "virtual_server_group g {{\n{lines}\n}}\nvirtual_server group g {{\nlb_algo rr\nlb_kind {kind}\n{protocol}\npersistence_timeout 60\nreal_server {real} {{\n}}\n}}\n"
        );
        let config = lbd_grammar::load_str("c", &text).config.expect("a configuration");
        let server = &config.virtual_servers[0];
        let wanted = Wanted {
            service: server.service.clone(),
            destinations: server.real_servers.iter().map(|one| (one.address, one.destination)).collect(),
        };
        let part = part(&services(&server.id, &config), &Shared::new(), wanted);
        part.iter()
            .map(|(id, entry)| {
                let reals: Vec<_> = entry.destinations.keys().map(ToString::to_string).collect();
                format!("{id} -> {}", reals.join(" "))
            })
            .collect()
    }

    /// behaviour: one service per address of a range and per mark; NAT: the server's port, else the
    /// service's; DR and TUN: the service's; of a mark 0.
    #[test]
    fn services_of_groups_and_ports_in_them() {
        const TCP: &str = "protocol TCP";
        for (name, lines, kind, protocol, real, want) in [
            (
                "a range",
                "10.0.0.1-3 80",
                "DR",
                TCP,
                "10.0.1.1",
                vec![
                    "TCP 10.0.0.1:80 -> 10.0.1.1:80",
                    "TCP 10.0.0.2:80 -> 10.0.1.1:80",
                    "TCP 10.0.0.3:80 -> 10.0.1.1:80",
                ],
            ),
            (
                "a network over an octet's end, its first and last address too",
                "10.0.0.254-10.0.1.1 80",
                "DR",
                TCP,
                "10.0.1.9",
                vec![
                    "TCP 10.0.0.254:80 -> 10.0.1.9:80",
                    "TCP 10.0.0.255:80 -> 10.0.1.9:80",
                    "TCP 10.0.1.0:80 -> 10.0.1.9:80",
                    "TCP 10.0.1.1:80 -> 10.0.1.9:80",
                ],
            ),
            (
                "a mask",
                "10.0.0.4/31 80",
                "DR",
                TCP,
                "10.0.1.1",
                vec!["TCP 10.0.0.4:80 -> 10.0.1.1:80", "TCP 10.0.0.5:80 -> 10.0.1.1:80"],
            ),
            (
                "two ports with DR: each service's",
                "10.0.0.1 80\n10.0.0.1 443",
                "DR",
                TCP,
                "10.0.1.1 80",
                vec!["TCP 10.0.0.1:80 -> 10.0.1.1:80", "TCP 10.0.0.1:443 -> 10.0.1.1:443"],
            ),
            (
                "two ports with NAT: the server's",
                "10.0.0.1 80\n10.0.0.1 443",
                "NAT",
                TCP,
                "10.0.1.1 8080",
                vec!["TCP 10.0.0.1:80 -> 10.0.1.1:8080", "TCP 10.0.0.1:443 -> 10.0.1.1:8080"],
            ),
            (
                "NAT without a port: each service's",
                "10.0.0.1 80\n10.0.0.1 443",
                "NAT",
                TCP,
                "10.0.1.1",
                vec!["TCP 10.0.0.1:80 -> 10.0.1.1:80", "TCP 10.0.0.1:443 -> 10.0.1.1:443"],
            ),
            ("every port", "10.0.0.1", "DR", TCP, "10.0.1.1", vec!["TCP 10.0.0.1:0 -> 10.0.1.1:0"]),
            (
                "marks, of the virtual server's family and of their own",
                "fwmark 7\nfwmark 8 inet6",
                "TUN",
                "ip_family inet6",
                "2001:db8::1",
                vec!["FWM 7 inet6 -> [2001:db8::1]:0", "FWM 8 inet6 -> [2001:db8::1]:0"],
            ),
            (
                "a mark beside an address",
                "10.0.0.1 80\nfwmark 7",
                "DR",
                TCP,
                "10.0.1.1",
                vec!["TCP 10.0.0.1:80 -> 10.0.1.1:80", "FWM 7 inet -> 10.0.1.1:0"],
            ),
            (
                "a mark with NAT: the server's port",
                "fwmark 7",
                "NAT",
                "",
                "10.0.1.1 8080",
                vec!["FWM 7 inet -> 10.0.1.1:8080"],
            ),
            (
                "the same address twice is one service",
                "10.0.0.1-2 80\n10.0.0.2 80",
                "DR",
                TCP,
                "10.0.1.1",
                vec!["TCP 10.0.0.1:80 -> 10.0.1.1:80", "TCP 10.0.0.2:80 -> 10.0.1.1:80"],
            ),
            (
                "IPv6: the last 16 bits",
                "2001:db8::fffe-ffff 53",
                "DR",
                "protocol UDP",
                "2001:db8:1::1",
                vec![
                    "UDP [2001:db8::fffe]:53 -> [2001:db8:1::1]:53",
                    "UDP [2001:db8::ffff]:53 -> [2001:db8:1::1]:53",
                ],
            ),
        ] {
            assert_eq!(found(lines, kind, protocol, real), want, "{name}");
        }
    }

    #[test]
    fn a_service_of_the_other_family_has_the_whole_address() {
        let text = "virtual_server_group g {\n10.0.0.1 80\n2001:db8::1 80\n}\nvirtual_server group g {\nip_family inet\nlb_algo rr\nlb_kind TUN\nprotocol TCP\npersistence_granularity 255.255.0.0\nreal_server 10.0.1.1 {\n}\n}\n";
        let config = lbd_grammar::load_str("c", text).config.expect("a configuration");
        let server = &config.virtual_servers[0];
        let wanted = Wanted { service: server.service.clone(), destinations: BTreeMap::new() };
        let part = part(&services(&server.id, &config), &Shared::new(), wanted);
        let masks: Vec<_> = part.values().map(|entry| entry.service.netmask).collect();
        assert_eq!(masks, [Netmask::V4([255, 255, 0, 0].into()), Netmask::full(Family::Inet6)]);
    }

    #[test]
    fn what_two_drive_is_as_the_first_in_the_file_wants_it() {
        let server = |group: &str, algorithm: &str| {
            format!(
                "virtual_server group {group} {{\nlb_algo {algorithm}\nlb_kind DR\nprotocol TCP\nreal_server 10.0.1.1 {{\n}}\n}}\n"
            )
        };
        let groups = "virtual_server_group z {\n10.0.0.1 80\n10.0.0.2 80\n}\nvirtual_server_group a {\n10.0.0.2 80\n10.0.0.3 80\n}\n";
        let text = format!("{groups}{}{}", server("z", "wlc"), server("a", "rr"));
        let config = lbd_grammar::load_str("c", &text).config.expect("a configuration");
        let all: Vec<Services> =
            config.virtual_servers.iter().map(|server| services(&server.id, &config)).collect();
        let shared = shared(&config, &all);
        assert_eq!(shared.iter().map(BTreeMap::len).collect::<Vec<_>>(), [0, 1]);
        let wanted =
            Wanted { service: config.virtual_servers[1].service.clone(), destinations: BTreeMap::new() };
        let part = part(&all[1], &shared[1], wanted);
        let schedulers: Vec<_> = part.values().map(|entry| entry.service.scheduler.as_str()).collect();
        assert_eq!(schedulers, ["wlc", "rr"]);
    }
}
