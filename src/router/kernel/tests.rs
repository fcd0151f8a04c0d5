use lbd_vrrp::VirtualAddress;
use netlink_packet_route::address::AddressAttribute;

use super::addresses::message;
use super::*;

const INDEX: u32 = 3;

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn link(name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = INDEX;
    message.header.flags = LinkFlags::Up | LinkFlags::Running;
    message.attributes = vec![LinkAttribute::IfName(name.into())];
    message.attributes.extend(attributes);
    message
}

fn mirror() -> Mirror {
    let mut mirror = Mirror::default();
    mirror.new_link(&link("eth0", vec![LinkAttribute::Address(vec![2, 0, 0, 0, 0, 1])]));
    mirror.take_changes();
    mirror
}

/// As the kernel tells an address.
fn told(address: &str, prefix: u8, scope: u8, flags: AddressFlags) -> AddressMessage {
    let mut message = message(INDEX, ip(address), prefix, None);
    message.header.scope = scope.into();
    message.attributes.push(AddressAttribute::Flags(flags));
    message
}

fn usable(mirror: &Mirror) -> Vec<String> {
    let interface = mirror.for_engine(INDEX).expect("interface");
    interface.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn messages_that_delete() {
    let mut mirror = mirror();
    let vip = |device: &str, text| DeviceAddress {
        device: device.into(),
        address: VirtualAddress::new(ip(text), 24),
    };
    mirror.new_address(Told::Event, &told("10.0.0.1", 24, 0, AddressFlags::empty()));
    mirror.new_address(Told::Event, &message(INDEX, ip("10.0.0.2"), 24, Some(ip("10.9.0.1"))));
    let local =
        |text, other| Some(vec![AddressAttribute::Local(ip(text)), AddressAttribute::Address(ip(other))]);
    for (name, address, want) in [
        ("plain", vip("eth0", "10.0.0.1"), local("10.0.0.1", "10.0.0.1")),
        ("the kernel's peer", vip("eth0", "10.0.0.2"), local("10.0.0.2", "10.9.0.1")),
        ("not there", vip("eth0", "10.0.0.3"), None),
        ("no such interface", vip("eth1", "10.0.0.1"), None),
    ] {
        let attributes = mirror.deletion(&Object::Address(address)).map(|request| match request.message {
            RouteNetlinkMessage::DelAddress(message) => message.attributes,
            other => panic!("{name}: {other:?}"),
        });
        assert_eq!(attributes, want, "{name}");
    }
}

/// As `ip address` shows what was added in this order.
#[test]
fn the_kernels_order() {
    let plain = AddressFlags::Permanent;
    let second = AddressFlags::Permanent | AddressFlags::Secondary;
    let mut mirror = mirror();
    for (address, prefix, scope, flags) in [
        ("fe80::1", 64, 253, plain),
        ("10.0.0.1", 24, 0, plain),
        ("10.0.0.2", 24, 0, second),
        ("10.1.0.1", 24, 0, plain),
        ("fd00::1", 64, 0, plain),
        ("10.2.0.1", 24, 253, plain),
        ("fd00::2", 64, 0, plain),
        ("fe80::2", 64, 253, plain),
    ] {
        let change = mirror.new_address(Told::Event, &told(address, prefix, scope, flags));
        assert_eq!(change, Change::Link, "{address}");
    }
    let order = ["10.2.0.1", "10.0.0.1", "10.1.0.1", "10.0.0.2", "fd00::2", "fd00::1", "fe80::2", "fe80::1"];
    assert_eq!(usable(&mirror), order);
    // A list has it already.
    let mut listed = self::mirror();
    for address in order {
        let flags = if address == "10.0.0.2" { second } else { plain };
        let scope = if address.starts_with("fe80") || address == "10.2.0.1" { 253 } else { 0 };
        let prefix = if address.contains(':') { 64 } else { 24 };
        listed.new_address(Told::List, &told(address, prefix, scope, flags));
    }
    assert_eq!(usable(&listed), order);
    listed.new_address(Told::Event, &told("fd00::3", 64, 0, plain));
    assert_eq!(usable(&listed)[4], "fd00::3");
    // Its primary went, and it took its place.
    mirror.del_address(&told("10.0.0.1", 24, 0, plain));
    mirror.new_address(Told::Event, &told("10.0.0.2", 24, 0, plain));
    assert_eq!(usable(&mirror)[..3], ["10.2.0.1", "10.1.0.1", "10.0.0.2"]);
}

#[test]
fn addresses_that_cannot_be_used_yet() {
    use AddressFlags as F;
    let key = (INDEX, ip("fd00::1"), 64);
    for (name, flags, first, shown) in [
        ("usable", F::Permanent, Change::Link, true),
        ("tentative", F::Tentative | F::Permanent, Change::Link, false),
        ("optimistic", F::Tentative | F::Optimistic, Change::Link, true),
        ("duplicate", F::Tentative | F::Dadfailed, Change::Duplicate(key), false),
        ("deprecated", F::Deprecated | F::Nodad, Change::Link, true),
    ] {
        let mut mirror = mirror();
        let address = told("fd00::1", 64, 0, flags);
        assert_eq!(mirror.new_address(Told::Event, &address), first, "{name}");
        assert_eq!(mirror.new_address(Told::Event, &address), Change::Nothing, "{name}: again");
        assert_eq!(usable(&mirror).len(), usize::from(shown), "{name}");
        assert_eq!(mirror.for_readers(INDEX).expect("link").addresses.len(), 1, "{name}");
        // Other flags: it can be used now.
        mirror.take_changes();
        let change = mirror.new_address(Told::Event, &told("fd00::1", 64, 0, F::Permanent));
        assert_eq!(change, if shown { Change::Nothing } else { Change::Link }, "{name}");
        assert_eq!(mirror.take_changes().links.len(), usize::from(!shown), "{name}");
        assert_eq!(usable(&mirror), ["fd00::1"], "{name}");
        assert_eq!(mirror.del_address(&address), Change::AddressGone(key), "{name}");
        assert!(usable(&mirror).is_empty() && mirror.links[&INDEX].order.is_empty(), "{name}");
    }
}

#[test]
fn acknowledged_before_it_is_told() {
    let vip =
        |text, detect_duplicates| VirtualAddress { detect_duplicates, ..VirtualAddress::new(ip(text), 64) };
    for (name, vip, there, shown) in [
        ("IPv6", vip("fd00::1", false), true, true),
        ("IPv6 that the kernel looks for first", vip("fd00::1", true), true, false),
        ("IPv4 is told before", vip("10.0.0.1", false), false, false),
    ] {
        let mut mirror = mirror();
        mirror.acknowledged(INDEX, &vip);
        let address = DeviceAddress { device: "eth0".into(), address: vip };
        assert_eq!(mirror.has(&Object::Address(address)), there, "{name}");
        assert_eq!(!usable(&mirror).is_empty(), shown, "{name}");
    }
    let mut mirror = mirror();
    mirror.acknowledged(INDEX, &vip("fd00::1", false));
    mirror.take_changes();
    let told = told("fd00::1", 64, 0, AddressFlags::Nodad | AddressFlags::Permanent);
    assert_eq!(mirror.new_address(Told::Event, &told), Change::Nothing);
    assert!(mirror.take_changes().links.is_empty());
}

#[test]
fn names_that_change() {
    let mut mirror = mirror();
    mirror.new_link(&link("lan0", vec![]));
    let changes = mirror.take_changes();
    assert_eq!(changes.names.into_iter().collect::<Vec<_>>(), ["eth0"]);
    assert_eq!((mirror.index_of("eth0"), mirror.index_of("lan0")), (None, Some(INDEX)));
    let interface = mirror.for_engine(INDEX).expect("link");
    assert_eq!(interface.mac, Some([2, 0, 0, 0, 0, 1]), "a message without it says nothing about it");
    mirror.del_link(&link("lan0", vec![]));
    assert_eq!(mirror.take_changes().names.into_iter().collect::<Vec<_>>(), ["lan0"]);
    assert_eq!((mirror.index_of("lan0"), mirror.for_engine(INDEX)), (None, None));
}

#[test]
fn forwarding_of_ipv6() {
    let message = |family: u8, index: i32, kind: u16, value: i32| {
        let mut octets = vec![family, 0, 0, 0, 8, 0, 1, 0];
        octets.extend(index.to_ne_bytes());
        octets.extend(8_u16.to_ne_bytes());
        octets.extend(kind.to_ne_bytes());
        octets.extend(value.to_ne_bytes());
        octets
    };
    let mut mirror = mirror();
    for (name, octets, change, forwards) in [
        ("on", message(10, 3, NETCONFA_FORWARDING, 1), Change::Link, true),
        ("still on", message(10, 3, NETCONFA_FORWARDING, 1), Change::Nothing, true),
        ("IPv4", message(2, 3, NETCONFA_FORWARDING, 0), Change::Nothing, true),
        ("of all", message(10, -1, NETCONFA_FORWARDING, 0), Change::Nothing, true),
        ("another interface", message(10, 4, NETCONFA_FORWARDING, 0), Change::Nothing, true),
        ("something else", message(10, 3, 3, 0), Change::Nothing, true),
        ("cut off", vec![10, 0], Change::Nothing, true),
        ("empty", vec![], Change::Nothing, true),
        ("off", message(10, 3, NETCONFA_FORWARDING, 0), Change::Link, false),
    ] {
        assert_eq!(mirror.netconf(&octets), change, "{name}");
        assert_eq!(mirror.is_forwarding_different(), change == Change::Link, "{name}");
        mirror.take_changes();
        assert_eq!(mirror.for_engine(INDEX).expect("link").forwarding, forwards, "{name}");
    }
}
