//! Any address, route or rule is read from its text as it was.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use lbd_grammar::config::{
    Config, Encapsulation, Lockable, MarkMatch, Named, NextHop, Prefix, Realms, Route, RouteMetrics,
    RouteMode, RoutePreference, RouteTable, RouteTime, RouteType, Rule, RuleAction, StaticAddress,
};
use lbd_grammar::{Kind, Secrets, dump, load_str};
use lbd_ipvs::Family;
use lbd_vrrp::{PreferredLifetime, VirtualAddress};
use proptest::option::of;
use proptest::prelude::*;

fn four() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from)
}

fn six() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from)
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Inet => four().prop_map(IpAddr::V4).boxed(),
        Family::Inet6 => six().prop_map(IpAddr::V6).boxed(),
    }
}

fn family() -> impl Strategy<Value = Family> {
    prop::sample::select(vec![Family::Inet, Family::Inet6])
}

fn prefix(family: Family, shortest: u8) -> impl Strategy<Value = Prefix> {
    let longest = if family == Family::Inet { 32 } else { 128 };
    (address(family), shortest..=longest).prop_map(|(address, length)| {
        let whole = Prefix { address, length };
        Prefix { address: whole.network(), length }
    })
}

fn interface() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.:_-]{0,14}"
}

/// A name that is no number everywhere.
fn named<T: std::fmt::Debug + Clone>(numbers: impl Strategy<Value = T>) -> impl Strategy<Value = Named<T>> {
    prop_oneof![numbers.prop_map(Named::Number), "q[a-zA-Z0-9._-]{0,20}".prop_map(Named::Name)]
}

fn realms() -> impl Strategy<Value = Realms> {
    (of(named(any::<u8>())), named(any::<u8>()))
        .prop_map(|(source, destination)| Realms { source, destination })
}

fn lockable<T: std::fmt::Debug>(
    value: impl Strategy<Value = T>,
) -> impl Strategy<Value = Option<Lockable<T>>> {
    of((value, any::<bool>()).prop_map(|(value, locked)| Lockable { value, locked }))
}

fn time() -> impl Strategy<Value = RouteTime> {
    prop_oneof![
        any::<u32>().prop_map(RouteTime::Kernel),
        (0..4_294_967_295_000_u64).prop_map(|micros| RouteTime::Time(Duration::from_micros(micros))),
    ]
}

fn metrics() -> impl Strategy<Value = RouteMetrics> {
    let number = || lockable(any::<u32>());
    let sizes = (number(), number(), number(), number(), number());
    let times = (lockable(time()), lockable(time()), lockable(time()), lockable("[a-z][a-z0-9_-]{0,14}"));
    let plain = (of(any::<u8>()), of(any::<u32>()), of(any::<u32>()), of(any::<u32>()));
    let switches = (any::<bool>(), of(any::<bool>()), of(any::<bool>()));
    (sizes, times, plain, switches).prop_map(|(sizes, times, plain, switches)| RouteMetrics {
        mtu: sizes.0,
        advertised_mss: sizes.1,
        reordering: sizes.2,
        congestion_window: sizes.3,
        slow_start_threshold: sizes.4,
        round_trip: times.0,
        round_trip_variance: times.1,
        shortest_timeout: times.2,
        congestion_control: times.3,
        hop_limit: plain.0,
        window: plain.1,
        initial_congestion_window: plain.2,
        initial_receive_window: plain.3,
        ecn: switches.0,
        quick_ack: switches.1,
        fast_open_no_cookie: switches.2,
    })
}

fn encapsulation() -> impl Strategy<Value = Encapsulation> {
    let rest = || (of(any::<u8>()), of(any::<u8>()), of(any::<u16>()));
    let ip = (any::<u64>(), of(four()), of(four()), any::<bool>(), rest());
    let ip6 = (any::<u64>(), of(six()), of(six()), any::<bool>(), rest());
    prop_oneof![
        ip.prop_map(|(id, destination, source, named, (tos, ttl, flags))| Encapsulation::Ip {
            id: (named || destination.is_none()).then_some(id),
            destination,
            source,
            tos,
            ttl,
            flags,
        }),
        ip6.prop_map(|(id, destination, source, named, (traffic_class, hop_limit, flags))| {
            Encapsulation::Ip6 {
                id: (named || destination.is_none()).then_some(id),
                destination,
                source,
                traffic_class,
                hop_limit,
                flags,
            }
        }),
        prop::collection::vec(0..1_u32 << 20, 1..4).prop_map(Encapsulation::Mpls),
        any::<[u16; 4]>().prop_map(Encapsulation::Ila),
    ]
}

/// Of its own family, or of IPv6 for IPv4.
fn gateway(of_route: Family) -> BoxedStrategy<IpAddr> {
    match of_route {
        Family::Inet => family().prop_flat_map(address).boxed(),
        Family::Inet6 => address(Family::Inet6),
    }
}

fn next_hop(family: Family) -> impl Strategy<Value = NextHop> {
    let realms = if family == Family::Inet { of(realms()).boxed() } else { Just(None).boxed() };
    let where_to = (of(gateway(family)), of(interface()), interface());
    (where_to, of(1..=256_u16), any::<bool>(), of(encapsulation()), realms).prop_map(
        |((gateway, device, other), weight, on_link, encapsulation, realms)| NextHop {
            device: device.or_else(|| gateway.is_none().then_some(other)),
            gateway,
            weight,
            on_link,
            encapsulation,
            realms,
        },
    )
}

const TYPES: [RouteType; 9] = [
    RouteType::Unicast,
    RouteType::Local,
    RouteType::Broadcast,
    RouteType::Anycast,
    RouteType::Multicast,
    RouteType::Throw,
    RouteType::Unreachable,
    RouteType::Prohibit,
    RouteType::Blackhole,
];

fn route() -> impl Strategy<Value = Route> {
    family().prop_flat_map(|family| {
        let six = family == Family::Inet6;
        let for_six =
            |strategy: BoxedStrategy<Prefix>| if six { of(strategy).boxed() } else { Just(None).boxed() };
        let modes = vec![RouteMode::Add, RouteMode::Prepend, RouteMode::Append];
        let preferences = vec![RoutePreference::Low, RoutePreference::Medium, RoutePreference::High];
        let table = prop_oneof![
            named(any::<u32>()).prop_map(RouteTable::Table),
            interface().prop_map(RouteTable::Vrf)
        ];
        let head = (prefix(family, 0), prop::sample::select(TYPES.to_vec()), prop::sample::select(modes));
        let ends = (
            for_six(prefix(Family::Inet6, 0).boxed()),
            of(address(family)),
            of(gateway(family)),
            of(interface()),
        );
        let keys =
            (of(table), named(any::<u8>()), of(named(any::<u8>())), of(named(any::<u8>())), of(any::<u32>()));
        let rest = (any::<bool>(), of(encapsulation()), of(any::<u32>()), metrics(), of(realms()));
        let last = (
            of(prop::sample::select(preferences)),
            of(any::<bool>()),
            prop::collection::vec(next_hop(family), 0..3),
            any::<bool>(),
        );
        (head, ends, keys, rest, last).prop_map(move |(head, ends, keys, rest, last)| {
            // What is tracked has keepalived's protocol, but for a route without an interface.
            let no_track = last.3;
            let any_protocol = no_track || ends.3.is_none();
            Route {
                destination: head.0,
                kind: head.1,
                mode: head.2,
                source: ends.0,
                preferred_source: ends.1,
                gateway: ends.2,
                device: ends.3,
                table: keys.0,
                protocol: if any_protocol { keys.1 } else { Named::Number(18) },
                scope: keys.2,
                tos: keys.3,
                metric: keys.4,
                on_link: rest.0,
                encapsulation: rest.1,
                expires: rest.2.filter(|_| six),
                metrics: rest.3,
                realms: rest.4.filter(|_| !six),
                preference: last.0.filter(|_| six),
                ttl_propagate: last.1,
                next_hops: last.2,
                no_track,
                track_group: None,
            }
        })
    })
}

fn range<T: Arbitrary + PartialOrd + Copy + 'static>(
    values: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = RangeInclusive<T>> {
    (values.clone(), values).prop_map(|(a, b)| if a <= b { a..=b } else { b..=a })
}

fn action() -> impl Strategy<Value = RuleAction> {
    prop_oneof![
        named(1..=u32::MAX).prop_map(RuleAction::Table),
        Just(RuleAction::Vrf),
        (1..=u32::MAX).prop_map(RuleAction::Goto),
        Just(RuleAction::Nop),
        Just(RuleAction::Blackhole),
        Just(RuleAction::Unreachable),
        Just(RuleAction::Prohibit),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    family().prop_flat_map(|family| {
        let mark = (any::<u32>(), any::<u32>()).prop_map(|(value, mask)| MarkMatch { value, mask });
        let which = (
            any::<bool>(),
            of(prefix(family, 1)),
            of(prefix(family, 1)),
            any::<u32>(),
            of(named(any::<u8>())),
        );
        let marks = (of(mark), of(realms()), of(0..=0x7fff_ffff_u32), of(named(any::<u32>())));
        let ways = (of(interface()), of(interface()), of(any::<u32>()), of(range(any::<u32>())));
        let ports = (of(range(1..=u16::MAX)), of(range(1..=u16::MAX)));
        let protocols = (named(any::<u8>()), of(named(any::<u8>())), any::<bool>());
        (which, marks, ways, ports, protocols, action()).prop_map(
            move |(which, marks, ways, ports, protocols, action)| {
                let of_table = matches!(action, RuleAction::Table(_) | RuleAction::Vrf);
                let preference = match action {
                    RuleAction::Goto(target) => which.3 % target,
                    _ => which.3,
                };
                Rule {
                    family,
                    inverted: which.0,
                    from: which.1,
                    to: which.2,
                    preference,
                    tos: which.4,
                    mark: marks.0,
                    realms: marks.1.filter(|_| of_table && family == Family::Inet),
                    suppress_prefix_length: marks.2.filter(|_| of_table),
                    suppress_group: marks.3.filter(|_| of_table),
                    input: ways.0,
                    output: ways.1,
                    tunnel_id: ways.2,
                    uids: ways.3,
                    protocol: if protocols.2 { protocols.0 } else { Named::Number(18) },
                    ip_protocol: protocols.1,
                    source_ports: ports.0,
                    destination_ports: ports.1,
                    action,
                    no_track: protocols.2,
                    track_group: None,
                }
            },
        )
    })
}

fn static_address() -> impl Strategy<Value = StaticAddress> {
    family().prop_flat_map(|family| {
        let six = family == Family::Inet6;
        let longest: u8 = if six { 128 } else { 32 };
        let lifetime =
            prop_oneof![Just(PreferredLifetime::Forever), (0..u32::MAX).prop_map(PreferredLifetime::Seconds)];
        let of_four = (any::<u8>(), of(four()), of("[a-z0-9:. #!']{1,15}"));
        let flags = any::<[bool; 6]>();
        (address(family), 0..=longest, interface(), of_four, of(address(family)), flags, lifetime).prop_map(
            move |(address, prefix, device, of_four, peer, flags, preferred)| StaticAddress {
                address: VirtualAddress {
                    device: Some(device),
                    scope: if six { 0 } else { of_four.0 },
                    broadcast: of_four.1.filter(|_| !six),
                    label: of_four.2.filter(|_| !six),
                    peer,
                    home: six && flags[0],
                    detect_duplicates: six && flags[1],
                    manage_temporary: six && flags[2],
                    no_prefix_route: flags[3],
                    auto_join: flags[4],
                    preferred,
                    no_track: flags[5],
                    ..VirtualAddress::new(address, prefix)
                },
                track_group: None,
            },
        )
    })
}

/// Lines of words that may mean something where they stand.
fn lines(block: &'static str) -> impl Strategy<Value = String> {
    const VALUES: [&str; 44] = [
        "10.0.0.0/8",
        "10.0.0.1",
        "10.0.0.1/24",
        "2001:db8::/32",
        "fe80::1",
        "::/0",
        "0.0.0.0/0",
        "10.0.0.1/40",
        "default",
        "all",
        "default6",
        "eth0",
        "eth1",
        "0",
        "5",
        "0x10",
        "010",
        "255",
        "300",
        "4294967295",
        "-1",
        "lock",
        "1-5",
        "5/7",
        "main",
        "blue",
        "static",
        "ecn",
        "enabled",
        "low",
        "10ms",
        "2.5s",
        "ip",
        "ip6",
        "mpls",
        "ila",
        "id",
        "dst",
        "1:2:3:4",
        "forever",
        "+",
        "link",
        "tcp",
        "\"a b\"",
    ];
    let options: Vec<&'static str> = lbd_grammar::blocks()
        .filter(|known| known.name == block)
        .flat_map(|known| known.keywords.iter().map(|keyword| keyword.name))
        .collect();
    let word = prop_oneof![
        prop::sample::select(options.clone()).prop_map(str::to_owned),
        prop::sample::select(VALUES.to_vec()).prop_map(str::to_owned),
        (prop::sample::select(options), prop::sample::select(VALUES.to_vec()))
            .prop_map(|(option, value)| format!("{option} {value}")),
    ];
    let start = prop::sample::select(vec![
        "10.0.0.1/24",
        "2001:db8::/64",
        "from 10.0.0.0/8 table 5",
        "to ::1 nop",
        "",
    ]);
    (start, prop::collection::vec(word, 0..5))
        .prop_map(|(start, words)| format!("{start} {}\n", words.join(" ")))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn lines_are_read_as_they_were(
        static_addresses in prop::collection::vec(static_address(), 0..4),
        static_routes in prop::collection::vec(route(), 0..4),
        static_rules in prop::collection::vec(rule(), 0..4),
    ) {
        let empty = load_str("empty", "").config.expect("no error");
        let config = Config { static_addresses, static_routes, static_rules, ..empty };
        let text = dump(&config, Secrets::Shown);
        let loaded = load_str("dump", &text);
        let said: Vec<_> = loaded.diagnostics.iter().filter(|said| said.kind != Kind::Unserved).collect();
        prop_assert!(said.is_empty(), "{text}\n{said:#?}");
        let again = loaded.config.expect("no error");
        prop_assert_eq!(&again, &config, "{}", text);
        prop_assert_eq!(dump(&again, Secrets::Shown), text);
    }

    /// Whatever is kept of lines of any words is written so that it is read again without a word.
    #[test]
    fn what_is_kept_of_any_line_is_read_again(
        addresses in prop::collection::vec(lines("virtual_ipaddress"), 1..4),
        routes in prop::collection::vec(lines("virtual_routes"), 1..4),
        rules in prop::collection::vec(lines("virtual_rules"), 1..4),
    ) {
        let block = |name: &str, lines: &[String]| format!("{name} {{\n{}}}\n", lines.concat());
        let text = format!(
            "{}{}{}vrrp_instance V {{\ninterface eth0\nvirtual_router_id 1\nvirtual_ipaddress {{\n10.9.9.9\n}}\n{}{}{}}}\n",
            block("static_ipaddress", &addresses),
            block("static_routes", &routes),
            block("static_rules", &rules),
            block("virtual_ipaddress_excluded", &addresses),
            block("virtual_routes", &routes),
            block("virtual_rules", &rules),
        );
        let Some(config) = load_str("text", &text).config else { return Ok(()) };
        let written = dump(&config, Secrets::Shown);
        let loaded = load_str("dump", &written);
        let said: Vec<_> = loaded.diagnostics.iter().filter(|said| said.kind != Kind::Unserved).collect();
        prop_assert!(said.is_empty(), "{text}\n{written}\n{said:#?}");
        prop_assert_eq!(loaded.config.as_ref(), Some(&config), "{}", written);
    }
}
