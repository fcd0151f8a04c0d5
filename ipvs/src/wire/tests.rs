//! Octets as linux/ip_vs.h lays them out, on a little-endian machine.
#![cfg(target_endian = "little")]

use super::*;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};

use crate::types::{
    Destination, Family, Forwarding, Netmask, Protocol, Scheduler, Service, ServiceFlags, ServiceId, Stats,
    SyncDaemon, SyncState, Tunnel, TunnelChecksum,
};
use proptest::prelude::*;

fn emit(message: &IpvsMessage) -> Vec<u8> {
    let mut octets = vec![0xAA; message.buffer_len()];
    message.emit(&mut octets);
    octets
}

fn parse(command: Command, octets: &[u8]) -> Result<IpvsMessage, DecodeError> {
    IpvsMessage::parse_with_param(octets, GenlHeader { cmd: command.into(), version: FAMILY_VERSION })
}

/// Attributes one after the other, as they are nested.
fn octets_of<A: Nla>(attributes: &[A]) -> Vec<u8> {
    let mut octets = vec![0xAA; attributes.buffer_len()];
    attributes.emit(&mut octets);
    octets
}

fn id(text: &str) -> ServiceId {
    ServiceId::Addr { protocol: Protocol::Tcp, vip: text.parse().expect("address") }
}

fn mark(mark: u32, family: Family) -> ServiceId {
    ServiceId::FwMark { mark: NonZeroU32::new(mark).expect("mark"), family }
}

const KEY_V4: &[u8] = &[
    0x38, 0, 0x01, 0x80, // IPVS_CMD_ATTR_SERVICE, nested, 56 octets
    6, 0, 1, 0, 2, 0, 0, 0, // AF = AF_INET
    6, 0, 2, 0, 6, 0, 0, 0, // PROTOCOL = TCP
    20, 0, 3, 0, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // ADDR
    6, 0, 4, 0, 0x00, 0x50, 0, 0, // PORT = 80, big endian
    8, 0, 99, 0, 1, 2, 3, 4, // an attribute of tomorrow
];

#[test]
fn known_octets() {
    let service = Service {
        scheduler: Scheduler::new("wlc").expect("name"),
        flags: ServiceFlags::PERSISTENT,
        persistence_timeout: 600,
        netmask: Netmask::V4("255.255.255.0".parse().expect("mask")),
        persistence_engine: Some("sip".to_owned()),
    };
    let service6 = Service { netmask: Netmask::V6(64), persistence_engine: None, ..service.clone() };
    let real: SocketAddr = "10.0.0.2:8080".parse().expect("address");
    let dest = |forwarding| Destination { forwarding, weight: 100, upper_threshold: 7, lower_threshold: 3 };
    let gue = Forwarding::Tunnel(Tunnel::Gue {
        port: NonZeroU16::new(6080).expect("port"),
        checksum: TunnelChecksum::Remote,
    });
    let daemon = SyncDaemon {
        state: SyncState::Backup,
        interface: "eth0".to_owned(),
        sync_id: 51,
        max_length: Some(1472),
        group: Some("224.0.0.81".parse().expect("address")),
        port: NonZeroU16::new(8848),
        ttl: Some(1),
    };
    let other = Attribute::Service(
        service::key_attributes(&id("10.0.0.1:80"))
            .into_iter()
            .chain([ServiceAttribute::Other(DefaultNla::new(99, vec![1, 2, 3, 4]))])
            .collect(),
    );
    let rows: Vec<(&str, Command, Vec<Attribute>, Vec<u8>)> = vec![
        ("key by address and an unknown attribute", Command::DelService, vec![other], KEY_V4.to_vec()),
        (
            "key by mark",
            Command::DelService,
            vec![Attribute::Service(service::key_attributes(&mark(7, Family::Inet6)))],
            vec![20, 0, 1, 0x80, 6, 0, 1, 0, 10, 0, 0, 0, 8, 0, 5, 0, 7, 0, 0, 0],
        ),
        (
            "whole service",
            Command::NewService,
            vec![Attribute::Service(service::service_attributes(&mark(7, Family::Inet), &service))],
            [
                &[64u8, 0, 1, 0x80, 6, 0, 1, 0, 2, 0, 0, 0, 8, 0, 5, 0, 7, 0, 0, 0][..],
                &[8, 0, 6, 0, b'w', b'l', b'c', 0],
                &[12, 0, 7, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
                &[8, 0, 8, 0, 0x58, 2, 0, 0],
                &[8, 0, 9, 0, 255, 255, 255, 0],
                &[8, 0, 11, 0, b's', b'i', b'p', 0],
            ]
            .concat(),
        ),
        (
            "IPv6 netmask is a prefix length in host order",
            Command::SetService,
            vec![Attribute::Service(service::service_attributes(&mark(7, Family::Inet6), &service6))],
            [
                &[56u8, 0, 1, 0x80, 6, 0, 1, 0, 10, 0, 0, 0, 8, 0, 5, 0, 7, 0, 0, 0][..],
                &[8, 0, 6, 0, b'w', b'l', b'c', 0],
                &[12, 0, 7, 0, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF],
                &[8, 0, 8, 0, 0x58, 2, 0, 0],
                &[8, 0, 9, 0, 64, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            "destination",
            Command::NewDestination,
            vec![Attribute::Destination(destination::destination_attributes(
                real,
                &dest(Forwarding::Direct),
            ))],
            [
                &[72u8, 0, 2, 0x80, 6, 0, 11, 0, 2, 0, 0, 0][..],
                &[20, 0, 1, 0, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[6, 0, 2, 0, 0x1F, 0x90, 0, 0],
                &[8, 0, 3, 0, 3, 0, 0, 0],
                &[8, 0, 4, 0, 100, 0, 0, 0],
                &[8, 0, 5, 0, 7, 0, 0, 0],
                &[8, 0, 6, 0, 3, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            "destination behind GUE, port big endian, flags host order",
            Command::SetDestination,
            vec![Attribute::Destination(destination::destination_attributes(real, &dest(gue)))],
            [
                &[96u8, 0, 2, 0x80, 6, 0, 11, 0, 2, 0, 0, 0][..],
                &[20, 0, 1, 0, 10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                &[6, 0, 2, 0, 0x1F, 0x90, 0, 0],
                &[8, 0, 3, 0, 2, 0, 0, 0],
                &[8, 0, 4, 0, 100, 0, 0, 0],
                &[8, 0, 5, 0, 7, 0, 0, 0],
                &[8, 0, 6, 0, 3, 0, 0, 0],
                &[5, 0, 13, 0, 1, 0, 0, 0],
                &[6, 0, 14, 0, 0x17, 0xC0, 0, 0],
                &[6, 0, 15, 0, 2, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            "sync daemon, port host order",
            Command::NewDaemon,
            vec![Attribute::Daemon(daemon::daemon_attributes(&daemon))],
            [
                &[64u8, 0, 3, 0x80, 8, 0, 1, 0, 2, 0, 0, 0][..],
                &[9, 0, 2, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0],
                &[8, 0, 3, 0, 51, 0, 0, 0],
                &[6, 0, 4, 0, 0xC0, 5, 0, 0],
                &[8, 0, 5, 0, 224, 0, 0, 81],
                &[6, 0, 7, 0, 0x90, 0x22, 0, 0],
                &[5, 0, 8, 0, 1, 0, 0, 0],
            ]
            .concat(),
        ),
        (
            "timeouts",
            Command::SetConfig,
            vec![Attribute::TimeoutTcp(900), Attribute::TimeoutTcpFin(120), Attribute::TimeoutUdp(300)],
            vec![8, 0, 4, 0, 0x84, 3, 0, 0, 8, 0, 5, 0, 120, 0, 0, 0, 8, 0, 6, 0, 0x2C, 1, 0, 0],
        ),
        (
            "the same numbers mean something else in the reply to GET_INFO",
            Command::SetInfo,
            vec![Attribute::InfoVersion(0x01_02_01), Attribute::InfoTableSize(4096)],
            vec![8, 0, 1, 0, 1, 2, 1, 0, 8, 0, 2, 0, 0, 16, 0, 0],
        ),
        (
            "an unknown command and attribute",
            Command::Other(99),
            vec![Attribute::Other(DefaultNla::new(77, vec![1]))],
            vec![5, 0, 77, 0, 1, 0, 0, 0],
        ),
        ("empty", Command::Flush, vec![], vec![]),
    ];
    for (name, command, attributes, octets) in rows {
        let message = IpvsMessage::new(command, attributes);
        assert_eq!(emit(&message), octets, "{name}");
        assert_eq!(parse(command, &octets).expect(name), message, "{name}");
    }
}

#[test]
fn statistics_of_both_widths() {
    let wide: Vec<u8> = [
        &[0x10u8, 0, 12, 0][..], // IPVS_SVC_ATTR_STATS64 without the nested flag, as older kernels send it
        &[12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0],
    ]
    .concat();
    let narrow: Vec<u8> =
        [&[0x18u8, 0, 10, 0x80][..], &[8, 0, 1, 0, 1, 0, 0, 0], &[12, 0, 4, 0, 5, 0, 0, 0, 0, 0, 0, 0]]
            .concat();
    let key = [&[6u8, 0, 1, 0, 2, 0, 0, 0][..], &[8, 0, 5, 0, 7, 0, 0, 0], &[7, 0, 6, 0, b'r', b'r', 0, 0]]
        .concat();
    for (name, nested, want) in [
        (
            "64 bits win",
            [key.clone(), narrow.clone(), wide].concat(),
            Stats { connections: 0x1_0000_0001, ..Stats::default() },
        ),
        ("32 bits alone", [key, narrow].concat(), Stats { connections: 1, in_bytes: 5, ..Stats::default() }),
    ] {
        let length = u16::try_from(nested.len() + 4).expect("short").to_le_bytes();
        let octets = [&length[..], &[1, 0], &nested].concat();
        let message = parse(Command::NewService, &octets).expect(name);
        let report = service::service_report(service_of(&octets).expect(name)).expect(name);
        assert_eq!(report.stats, want, "{name}");
        let again = parse(Command::NewService, &emit(&message)).expect(name);
        assert_eq!(again, message, "{name}");
    }
}

#[test]
fn what_the_types_cannot_express_is_left_out_not_refused() {
    let key = service::key_attributes(&id("10.0.0.1:80"));
    let scheduler = ServiceAttribute::SchedulerName("rr".to_owned());
    let with = |place: usize, attribute: ServiceAttribute| {
        let mut attributes = key.clone();
        attributes.push(scheduler.clone());
        *attributes.get_mut(place).expect("place") = attribute;
        service::service_report(&octets_of(&attributes)).map(|report| report.id)
    };
    for (name, got, want) in [
        ("as it is", with(4, scheduler.clone()), Some(id("10.0.0.1:80"))),
        ("protocol GRE", with(1, ServiceAttribute::Protocol(47)), None),
        ("another family", with(0, ServiceAttribute::AddressFamily(7)), None),
        ("mark 0", with(3, ServiceAttribute::FwMark(0)), None),
        ("no address", with(2, ServiceAttribute::Timeout(0)), None),
        ("no scheduler", with(4, ServiceAttribute::Timeout(0)), None),
    ] {
        assert_eq!(got, want, "{name}");
    }
    let flags = ServiceAttribute::Flags { flags: 0x8000_0003, mask: u32::MAX };
    let attributes: Vec<_> = key.iter().cloned().chain([scheduler, flags]).collect();
    let report = service::service_report(&octets_of(&attributes)).expect("a service");
    assert_eq!(report.service.flags, ServiceFlags(0x8000_0001), "unknown flags are carried, HASHED is not");
}

#[test]
fn tunnels() {
    for (name, kind, port, flags, want) in [
        ("plain", 0, 0, 0, Tunnel::Ipip),
        ("gre", 2, 0, 1, Tunnel::Gre { checksum: TunnelChecksum::Checksum }),
        ("gue without port", 1, 0, 0, Tunnel::Other { kind: 1, port: 0, flags: 0 }),
        ("unknown type", 9, 5, 0, Tunnel::Other { kind: 9, port: 5, flags: 0 }),
        ("unknown flags", 2, 0, 8, Tunnel::Other { kind: 2, port: 0, flags: 8 }),
    ] {
        let real: SocketAddr = "10.0.0.2:80".parse().expect("address");
        let mut attributes = destination::key_attributes(real);
        attributes.extend([
            DestinationAttribute::ForwardingMethod(2),
            DestinationAttribute::TunnelType(kind),
            DestinationAttribute::TunnelPort(port),
            DestinationAttribute::TunnelFlags(flags),
        ]);
        let report = destination::destination_report(&octets_of(&attributes), Family::Inet).expect(name);
        assert_eq!(report.destination.forwarding, Forwarding::Tunnel(want), "{name}");
        let again = destination::destination_attributes(real, &report.destination);
        let again = destination::destination_report(&octets_of(&again), Family::Inet).expect(name);
        assert_eq!(again, report, "{name}");
    }
}

fn services() -> impl Strategy<Value = (ServiceId, Service)> {
    let ids = prop_oneof![
        (any::<std::net::IpAddr>(), any::<u16>(), 0usize..3).prop_map(|(address, port, protocol)| {
            ServiceId::Addr {
                protocol: [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][protocol],
                vip: SocketAddr::new(address, port),
            }
        }),
        (1u32.., any::<bool>())
            .prop_map(|(number, v6)| mark(number, if v6 { Family::Inet6 } else { Family::Inet })),
    ];
    (ids, "[a-z]{1,15}", any::<u32>(), any::<u32>(), any::<u32>(), prop::option::of("[a-z]{1,15}")).prop_map(
        |(id, scheduler, flags, persistence_timeout, mask, persistence_engine)| {
            let netmask = match id.family() {
                Family::Inet => Netmask::V4(mask.into()),
                Family::Inet6 => Netmask::V6(mask.to_le_bytes()[0]),
            };
            let service = Service {
                scheduler: Scheduler::new(&scheduler).expect("name"),
                flags: ServiceFlags(flags).without(ServiceFlags::HASHED),
                persistence_timeout,
                netmask,
                persistence_engine,
            };
            (id, service)
        },
    )
}

fn destinations() -> impl Strategy<Value = (SocketAddr, Destination)> {
    let checksums =
        prop_oneof![Just(TunnelChecksum::None), Just(TunnelChecksum::Checksum), Just(TunnelChecksum::Remote)];
    let forwardings = prop_oneof![
        Just(Forwarding::Nat),
        Just(Forwarding::Local),
        Just(Forwarding::Direct),
        (4u32..8).prop_map(Forwarding::Other),
        Just(Forwarding::Tunnel(Tunnel::Ipip)),
        (1u16.., checksums.clone()).prop_map(|(port, checksum)| {
            Forwarding::Tunnel(Tunnel::Gue { port: NonZeroU16::new(port).expect("port"), checksum })
        }),
        checksums.prop_map(|checksum| Forwarding::Tunnel(Tunnel::Gre { checksum })),
    ];
    (any::<SocketAddr>(), forwardings, any::<(u32, u32, u32)>()).prop_map(|(address, forwarding, numbers)| {
        let (weight, upper_threshold, lower_threshold) = numbers;
        // Flow label and scope are no part of a destination's address.
        let address = SocketAddr::new(address.ip(), address.port());
        (address, Destination { forwarding, weight, upper_threshold, lower_threshold })
    })
}

proptest! {
    #[test]
    fn services_and_destinations_come_back((id, service) in services(), (address, dest) in destinations()) {
        let message = IpvsMessage::new(Command::NewDestination, vec![
            Attribute::Service(service::service_attributes(&id, &service)),
            Attribute::Destination(destination::destination_attributes(address, &dest)),
        ]);
        let octets = emit(&message);
        let again = parse(Command::NewDestination, &octets).expect("what was emitted parses");
        prop_assert_eq!(&again, &message);
        let report = service::service_report(service_of(&octets).expect("service")).expect("service");
        prop_assert_eq!((report.id, report.service), (id, service));
        let report = destination::destination_report(destination_of(&octets).expect("destination"), Family::Inet);
        let report = report.expect("destination");
        prop_assert_eq!((report.address, report.destination), (address, dest));
    }

    #[test]
    fn any_octets_parse_or_are_refused(command in any::<u8>(), octets in prop::collection::vec(any::<u8>(), 0..300)) {
        exercise(command, &octets);
    }

    /// Octets that are more likely to be attributes: lengths and kinds that make sense.
    #[test]
    fn attributes_of_any_content_parse_or_are_refused(
        command in 0u8..20,
        attributes in prop::collection::vec((0u16..20, any::<bool>(), prop::collection::vec(0u8..20, 0..40)), 0..8),
    ) {
        let mut octets = Vec::new();
        for (kind, nested, value) in attributes {
            let kind = kind | if nested { NLA_F_NESTED } else { 0 };
            let nla = DefaultNla::new(kind, value);
            let at = octets.len();
            octets.resize(at + nla.buffer_len(), 0);
            nla.emit(&mut octets[at..]);
        }
        exercise(command, &octets);
    }
}

/// Found by fuzzing: an unknown attribute with both flags set came back without them.
#[test]
fn an_unknown_attribute_with_flags_comes_back() {
    exercise(1, &[0x05, 0x00, 0x02, 0xfb, 0x00, 0x83, 0xfb]);
}
