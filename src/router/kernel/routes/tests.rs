use netlink_packet_core::Emitable;

use super::*;

/// eth0 and eth1, and a VRF blue with table 10.
struct Two;

impl Links for Two {
    fn index_of(&self, name: &str) -> Option<u32> {
        match name {
            "eth0" => Some(2),
            "eth1" => Some(3),
            "blue" => Some(4),
            _ => None,
        }
    }

    fn table_of(&self, name: &str) -> Option<u32> {
        (name == "blue").then_some(10)
    }
}

fn route(line: &str) -> Route {
    let route = lbd_grammar::read_route(line).unwrap_or_else(|| panic!("{line}"));
    let entry = crate::router::object::RouteEntry::of(&route);
    (*entry.route).clone()
}

fn octets(route: &Route) -> Vec<u8> {
    let message = message(route, &Two).expect("its interfaces are there");
    let mut octets = vec![0; message.buffer_len()];
    message.emit(&mut octets);
    octets
}

/// `struct rtmsg` as linux/rtnetlink.h has it, and what of attributes has no other test.
#[test]
fn messages_as_the_kernel_reads_them() {
    for (line, want) in [
        ("10.0.0.0/8 dev eth0", [2, 8, 0, 0, 254, 18, 0, 1, 0, 0, 0, 0]),
        ("blackhole 10.0.0.0/8 table 300 tos 0x10", [2, 8, 0, 16, 252, 18, 0, 6, 0, 0, 0, 0]),
        ("local 10.0.0.1 dev eth0 table local", [2, 32, 0, 0, 255, 18, 254, 2, 0, 0, 0, 0]),
        ("10.0.0.0/8 via 10.9.9.9 dev eth0 onlink scope link", [2, 8, 0, 0, 254, 18, 253, 1, 4, 0, 0, 0]),
        (
            "fd01::/64 from fd02::/48 dev eth0 vrf blue protocol static no_track",
            [10, 64, 48, 0, 10, 4, 0, 1, 0, 0, 0, 0],
        ),
    ] {
        assert_eq!(octets(&route(line)).get(..HEADER), Some(&want[..]), "{line}");
    }
    let metrics = |line: &str| metrics(&route(line).metrics);
    assert_eq!(
        metrics("10.0.0.0/8 dev eth0 rtt lock 50ms rttvar 20ms rto_min 0.3s congctl lock cubic mtu 70000"),
        [
            RouteMetric::Lock(1 << 4 | 1 << 16),
            RouteMetric::Mtu(65_520),
            RouteMetric::Rtt(400),
            RouteMetric::RttVar(80),
            RouteMetric::RtoMin(300),
            RouteMetric::CcAlgo("cubic".into()),
        ]
    );
    assert_eq!(
        metrics("10.0.0.0/8 dev eth0 rtt 7 quickack 0"),
        [RouteMetric::Rtt(7), RouteMetric::QuickAck(0)]
    );
    // An ILA locator and a stack of labels: attributes of their own.
    let find = |line: &str, what: &[u8]| octets(&route(line)).windows(what.len()).any(|one| one == what);
    assert!(find(
        "fd01::/64 dev eth0 encap ila 2001:db8:0:1",
        &[12, 0, 1, 0, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1]
    ));
    assert!(find("10.0.0.0/8 dev eth0 encap mpls 100/200", &[12, 0, 1, 0, 0, 6, 64, 0, 0, 12, 129, 0]));
}

#[test]
fn what_is_not_there() {
    for (line, want) in [
        ("10.0.0.0/8 dev eth9", "interface eth9 does not exist"),
        (
            "10.0.0.0/8 nexthop via 10.0.0.1 dev eth0 nexthop via 10.0.0.2 dev eth8",
            "interface eth8 does not exist",
        ),
        ("10.0.0.0/8 dev eth0 vrf eth1", "interface eth1 is no VRF"),
        ("10.0.0.0/8 dev eth0 vrf red", "interface red does not exist"),
    ] {
        let route = route(line);
        assert_eq!(message(&route, &Two).expect_err("not ready").to_string(), want, "{line}");
        assert!(!Routes::default().has(&route, &Two), "{line}");
    }
}

/// Every route is found again in a list that has it, and in none that has another.
#[test]
fn routes_are_told_apart() {
    let lines = [
        "10.0.0.0/8 dev eth0",
        "10.0.0.0/8 dev eth1",
        "10.0.0.0/9 dev eth0",
        "10.0.0.0/8 via 10.9.0.1 dev eth0",
        "10.0.0.0/8 via inet6 fe80::1 dev eth0",
        "10.0.0.0/8 dev eth0 table 100",
        "10.0.0.0/8 dev eth0 vrf blue",
        "10.0.0.0/8 dev eth0 metric 5",
        "10.0.0.0/8 dev eth0 tos 0x10",
        "10.0.0.0/8 dev eth0 protocol static no_track",
        "blackhole 10.0.0.0/8",
        "unreachable 10.0.0.0/8",
        "10.0.0.0/8 nexthop via 10.9.0.3 dev eth0 nexthop via 10.9.0.4 dev eth1",
        "default via 10.9.0.1 dev eth0",
        "fd01::/64 dev eth0",
        "fd01::/64 dev eth0 metric 5",
        "fd01::/64 from fd02::/48 dev eth0",
        "fd01::/64 via fe80::1 dev eth0",
        "default via fe80::1 dev eth0",
        "fd01::/64 nexthop via fe80::3 dev eth0 nexthop via fe80::4 dev eth1",
    ];
    for there in lines {
        let mut listed = Routes::default();
        assert!(listed.listed(&octets(&route(there))), "{there}");
        let mut made = Routes::default();
        made.added(&route(there), &Two);
        for wanted in lines {
            assert_eq!(listed.has(&route(wanted), &Two), there == wanted, "{wanted} in {there}");
            assert_eq!(made.has(&route(wanted), &Two), there == wanted, "{wanted} after {there}");
        }
        listed.deleted(&route(there), &Two);
        assert!(listed.by_slot.is_empty(), "{there}");
    }
    // Without an interface any will do; of several ways all have to be there.
    let mut routes = Routes::default();
    let both = "10.0.0.0/8 nexthop via 10.9.0.3 dev eth0 nexthop via 10.9.0.4 dev eth1";
    routes.listed(&octets(&route(both)));
    for (line, want) in [
        (both, true),
        ("10.0.0.0/8 via 10.9.0.4", true),
        ("10.0.0.0/8 via 10.9.0.4 dev eth0", false),
        ("10.0.0.0/8 nexthop via 10.9.0.4 dev eth1 nexthop via 10.9.0.3 dev eth0", true),
        ("10.0.0.0/8 nexthop via 10.9.0.3 dev eth0 nexthop via 10.9.0.5 dev eth1", false),
    ] {
        assert_eq!(routes.has(&route(line), &Two), want, "{line}");
    }
    routes.deleted(&route("10.0.0.0/8 via 10.9.0.4 dev eth1"), &Two);
    assert!(!routes.has(&route(both), &Two) && routes.has(&route("10.0.0.0/8 via 10.9.0.3"), &Two));
}

#[test]
fn lists_of_any_octets() {
    let whole = octets(&route("10.0.0.0/8 nexthop via 10.9.0.3 dev eth0 nexthop via 10.9.0.4 dev eth1"));
    for length in 0..whole.len() {
        let _some_or_none = Routes::default().listed(&whole[..length]);
        for value in [0, 1, 0xff] {
            let mut changed = whole.clone();
            changed[length] = value;
            let _some_or_none = Routes::default().listed(&changed);
        }
    }
    let mut cloned = octets(&route("10.0.0.0/8 dev eth0"));
    cloned[9] = 2;
    assert!(!Routes::default().listed(&cloned), "a path that was found");
}
