use super::*;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;

use crate::Ipvs;
use crate::fake::FakeIpvs;
use crate::types::{Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, Tunnel};
use proptest::prelude::*;

fn service(scheduler: &str) -> Service {
    Service {
        scheduler: Scheduler::new(scheduler).expect("name"),
        flags: ServiceFlags::default(),
        persistence_timeout: 0,
        netmask: Netmask::full(Family::Inet),
        persistence_engine: None,
    }
}

fn weight(weight: u32) -> Destination {
    Destination { forwarding: Forwarding::Direct, weight, upper_threshold: 0, lower_threshold: 0 }
}

fn id() -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: "10.0.0.1:80".parse().expect("address") }
}

fn real(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 1, last], 80))
}

fn entry(scheduler: &str, dests: &[(u8, u32)]) -> Option<Entry> {
    Some(Entry {
        service: service(scheduler),
        destinations: dests.iter().map(|(last, to)| (real(*last), weight(*to))).collect(),
    })
}

#[test]
fn one_service() {
    let new = |last, to| Op::NewDest(id(), real(last), weight(to));
    let set = |last, to| Op::SetDest(id(), real(last), weight(to));
    let del = |last| Op::DelDest(id(), real(last));
    for (name, have, want, ops) in [
        ("nothing", None, None, vec![]),
        ("agree", entry("rr", &[(1, 1)]), entry("rr", &[(1, 1)]), vec![]),
        (
            "new",
            None,
            entry("rr", &[(1, 1), (2, 2)]),
            vec![Op::NewService(id(), service("rr")), new(1, 1), new(2, 2)],
        ),
        ("gone: its destinations go with it", entry("rr", &[(1, 1)]), None, vec![Op::DelService(id())]),
        (
            "scheduler in place",
            entry("rr", &[(1, 1)]),
            entry("wlc", &[(1, 1)]),
            vec![Op::SetService(id(), service("wlc"))],
        ),
        ("one more", entry("rr", &[(1, 1)]), entry("rr", &[(1, 1), (2, 1)]), vec![new(2, 1)]),
        (
            "the only one replaced: added first",
            entry("rr", &[(1, 1)]),
            entry("rr", &[(2, 1)]),
            vec![new(2, 1), del(1)],
        ),
        (
            "weights swap: the one that takes over first",
            entry("rr", &[(1, 5), (2, 0)]),
            entry("rr", &[(1, 0), (2, 5)]),
            vec![set(2, 5), set(1, 0)],
        ),
        (
            "those that go, the last first: the kernel finds them again in this order",
            entry("rr", &[(1, 1), (2, 1), (3, 1)]),
            entry("rr", &[(2, 1)]),
            vec![del(3), del(1)],
        ),
        ("the last one out", entry("rr", &[(1, 1)]), entry("rr", &[]), vec![del(1)]),
    ] {
        let mut got = Vec::new();
        plan_service(id(), have.as_ref(), want.as_ref(), &mut got);
        assert_eq!(got, ops, "{name}");
    }
}

#[test]
fn new_services_are_complete_before_old_ones_go() {
    let other = ServiceId::FwMark { mark: NonZeroU32::new(7).expect("mark"), family: Family::Inet };
    let table =
        |id, entry: Option<Entry>| Table { services: entry.map(|entry| (id, entry)).into_iter().collect() };
    let ops = plan(&table(id(), entry("rr", &[(1, 1)])), &table(other, entry("rr", &[(1, 1)])));
    assert_eq!(
        ops,
        [Op::NewService(other, service("rr")), Op::NewDest(other, real(1), weight(1)), Op::DelService(id())]
    );
}

#[test]
fn services_go_in_the_opposite_order() {
    let mark = |mark| ServiceId::FwMark { mark: NonZeroU32::new(mark).expect("mark"), family: Family::Inet };
    let have = Table {
        services: (1..=3).filter_map(|number| Some((mark(number), entry("rr", &[(1, 1)])?))).collect(),
    };
    let gone = [3, 2, 1].map(|number| Op::DelService(mark(number)));
    assert_eq!(plan(&have, &Table::default()), gone);
}

/// Tables over few keys, so that two of them overlap.
fn tables() -> impl Strategy<Value = Table> {
    let ids = prop_oneof![
        (0u8..3, 1u8..3).prop_map(|(port, last)| ServiceId::Addr {
            protocol: Protocol::Tcp,
            vip: SocketAddr::from(([10, 0, 0, last], u16::from(port))),
        }),
        (1u32..3).prop_map(|mark| ServiceId::FwMark {
            mark: NonZeroU32::new(mark).expect("mark"),
            family: Family::Inet
        }),
    ];
    let services = prop_oneof![Just("rr"), Just("wlc"), Just("sh")].prop_map(service);
    let destinations =
        (0u32..3, 0u32..2, any::<bool>()).prop_map(|(weight, lower_threshold, direct)| Destination {
            forwarding: if direct { Forwarding::Direct } else { Forwarding::Tunnel(Tunnel::Ipip) },
            weight,
            upper_threshold: 1,
            lower_threshold,
        });
    let dests = prop::collection::btree_map((1u8..5).prop_map(real), destinations, 0..5);
    let entries = (services, dests).prop_map(|(service, destinations)| Entry { service, destinations });
    prop::collection::btree_map(ids, entries, 0..6).prop_map(|services| Table {
        services: services.into_iter().map(|(id, entry)| (id, sound(id, entry))).collect(),
    })
}

/// What DR and TUN can do: the service's port, of a mark none; every port is persistent.
fn sound(id: ServiceId, mut entry: Entry) -> Entry {
    let port = match id {
        ServiceId::Addr { vip, .. } => vip.port(),
        ServiceId::FwMark { .. } => 0,
    };
    if port == 0 {
        entry.service.flags = ServiceFlags::PERSISTENT;
    }
    let of_service = |(address, to): (SocketAddr, _)| (SocketAddr::new(address.ip(), port), to);
    entry.destinations = entry.destinations.into_iter().map(of_service).collect();
    entry
}

/// Whether connections to `id` have somewhere to go.
fn serves(table: &Table, id: &ServiceId) -> bool {
    table.services.get(id).is_some_and(|entry| entry.destinations.values().any(|to| to.weight > 0))
}

proptest! {
    #[test]
    fn applying_the_plan_to_have_gives_want(have in tables(), want in tables()) {
        let ops = plan(&have, &want);
        let mut table = have.clone();
        for op in &ops {
            table.note(op);
        }
        prop_assert_eq!(&table, &want);
        prop_assert_eq!(plan(&want, &want), vec![]);
        prop_assert_eq!(plan(&have, &want), ops, "deterministic");
    }

    #[test]
    fn a_kernel_refuses_no_operation_of_a_plan(have in tables(), want in tables()) {
        let mut kernel = FakeIpvs::new();
        kernel.kernel().table = have.clone();
        for result in kernel.apply(&plan(&have, &want)) {
            prop_assert_eq!(result, Ok(()));
        }
        prop_assert_eq!(kernel.table(), want);
    }

    #[test]
    fn a_plan_for_more_only_adds(have in tables(), more in tables()) {
        let mut want = have.clone();
        for (id, entry) in more.services {
            let into = want.services.entry(id).or_insert_with(|| Entry {
                service: entry.service.clone(),
                destinations: BTreeMap::new(),
            });
            for (address, to) in entry.destinations {
                into.destinations.entry(address).or_insert(to);
            }
        }
        for op in plan(&have, &want) {
            prop_assert!(matches!(op, Op::NewService(..) | Op::NewDest(..)), "{}", op);
        }
    }

    #[test]
    fn a_service_that_serves_before_and_after_serves_throughout(have in tables(), want in tables()) {
        let mut table = have.clone();
        for op in plan(&have, &want) {
            table.note(&op);
            for id in want.services.keys() {
                if serves(&have, id) && serves(&want, id) {
                    prop_assert!(serves(&table, id), "after {}", op);
                }
            }
        }
    }
}
