//! Addresses, routes and rules: what lines mean, what is said of mistakes, and the text they become.

mod common;

use common::summaries;
use lbd_grammar::config::{
    Config, Named, Route, RouteMode, RouteTable, RouteTime, RouteType, Rule, RuleAction,
};
use lbd_grammar::{Kind, Secrets, dump, load_str};

/// A configuration of which nothing is said but that parts of it come later.
fn config(text: &str) -> Config {
    let loaded = load_str("c", text);
    let others = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.kind != Kind::Unserved);
    assert_eq!(others.count(), 0, "{text}\n{:#?}", summaries(&loaded));
    loaded.config.expect("no error")
}

fn said(text: &str) -> Vec<String> {
    let loaded = load_str("c", text);
    let others = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.kind != Kind::Unserved);
    others.map(|diagnostic| diagnostic.summary(&loaded.sources)).collect()
}

fn route(line: &str) -> Route {
    let config = config(&format!("static_routes {{\n{line}\n}}\n"));
    config.static_routes.into_iter().next().unwrap_or_else(|| panic!("left out: {line}"))
}

fn rule(line: &str) -> Rule {
    let config = config(&format!("static_rules {{\n{line}\n}}\n"));
    config.static_rules.into_iter().next().unwrap_or_else(|| panic!("left out: {line}"))
}

/// The line that a line becomes.
fn dumped(block: &str, line: &str) -> String {
    let text = dump(&config(&format!("{block} {{\n{line}\n}}\n")), Secrets::Shown);
    let mut lines = text.lines().skip_while(|line| !line.starts_with(block)).skip(1);
    lines.next().unwrap_or_else(|| panic!("left out: {line}")).trim().to_owned()
}

#[test]
fn address_lines() {
    for (line, want) in [
        ("10.0.0.1", "10.0.0.1/32 dev eth0 scope 0 preferred_lft forever"),
        ("10.0.0.1/24 dev eth1 scope link", "10.0.0.1/24 dev eth1 scope 253 preferred_lft forever"),
        ("10.0.0.1/24 scope 0x12", "10.0.0.1/24 dev eth0 scope 18 preferred_lft forever"),
        ("10.0.0.1/24 brd +", "10.0.0.1/24 dev eth0 scope 0 broadcast 10.0.0.255 preferred_lft forever"),
        ("10.0.0.1/24 broadcast -", "10.0.0.1/24 dev eth0 scope 0 broadcast 10.0.0.0 preferred_lft forever"),
        (
            "10.0.0.1 label \"eth0 x\" autojoin",
            "10.0.0.1/32 dev eth0 scope 0 label \"eth0 x\" autojoin preferred_lft forever",
        ),
        ("10.0.0.1 peer 10.0.0.2", "10.0.0.1 peer 10.0.0.2/32 dev eth0 scope 0 preferred_lft forever"),
        ("10.0.0.1 peer 10.0.0.2/30", "10.0.0.1 peer 10.0.0.2/30 dev eth0 scope 0 preferred_lft forever"),
        ("10.0.0.1/30 peer 10.0.0.2/30", "10.0.0.1 peer 10.0.0.2/30 dev eth0 scope 0 preferred_lft forever"),
        ("10.0.0.1 preferred_lft 0 no_track", "10.0.0.1/32 dev eth0 scope 0 preferred_lft 0 no_track"),
        ("10.0.0.1 preferred_lft 4294967295", "10.0.0.1/32 dev eth0 scope 0 preferred_lft forever"),
        ("2001:db8::1", "2001:db8::1/128 dev eth0 preferred_lft 0"),
        ("2001:db8::1 preferred_lft forever", "2001:db8::1/128 dev eth0 preferred_lft forever"),
        (
            "2001:db8::1/64 home -nodad mngtmpaddr noprefixroute",
            "2001:db8::1/64 dev eth0 home -nodad mngtmpaddr noprefixroute preferred_lft forever",
        ),
        ("2001:db8::1/64 -nodad nodad", "2001:db8::1/64 dev eth0 preferred_lft forever"),
        ("2001:db8::1 peer 2001:db8::2/64", "2001:db8::1 peer 2001:db8::2/64 dev eth0 preferred_lft forever"),
    ] {
        assert_eq!(dumped("static_ipaddress", line), want, "{line}");
    }
}

#[test]
fn mistakes_in_address_lines() {
    for (line, want) in [
        ("dev eth1", "this line begins with the option `dev`; begin it with the address"),
        ("10.0.0.300", "`10.0.0.300` is not an address; for example 192.0.2.1/24"),
        (
            "10.0.0.1/24 dev a dev b",
            "`dev` is given twice in one line; remove one of them: an address has one interface",
        ),
        ("10.0.0.1/24 dev a/b", "`a/b` cannot be an interface name; 1 to 15 characters without `/`"),
        ("10.0.0.1 scope lnik", "`lnik` is not a scope; did you mean `link`?"),
        ("2001:db8::1 scope link", "the scope of an IPv6 address follows from it; remove it"),
        (
            "10.0.0.1 peer 2001:db8::1",
            "the peer 2001:db8::1 is of another family than 10.0.0.1; an address of the same family",
        ),
        ("10.0.0.1 peer x", "`x` is not an address; `peer` takes an address, for example 192.0.2.2"),
        (
            "10.0.0.1 peer 10.0.0.2 peer 10.0.0.3",
            "the peer 10.0.0.3 is a second one; remove it: 10.0.0.2 counts",
        ),
        ("10.0.0.1 preferred_lft 5s", "`5s` is not a number; a number from 0 to 4294967295"),
        ("10.0.0.1 preferred_lft", "`preferred_lft` needs a value; add it, or remove the option"),
        ("10.0.0.1 use_vmac", "`use_vmac` is for addresses of an instance; remove it"),
        (
            "10.0.0.1 track_group g",
            "no track_group `g` is defined before this line; add a block `track_group g { … }` before it",
        ),
    ] {
        let text = format!("static_ipaddress {{\n{line}\n}}\n");
        let got = said(&text);
        assert_eq!(got.len(), 1, "{line}: {got:#?}");
        let message = got[0].split_once(": `static_ipaddress`: ").map(|(_, message)| message);
        assert_eq!(message, Some(want), "{line}: {got:#?}");
    }
    for (line, want) in [
        ("10.0.0.1 autojion", "c:2:10: unknown option `autojion` of an address; did you mean `autojoin`?"),
        (
            "10.0.0.1 10.0.0.2",
            "c:2:10: unknown option `10.0.0.2` of an address; one address per line: begin a new line before it",
        ),
        ("10.0.0.1/33", "c:2:1: `10.0.0.1/33` has no valid prefix length: 32 is used; a number from 0 to 32"),
        ("10.0.0.1 -nodad", "c:2:10: `-nodad` has no meaning for an IPv4 address; remove it"),
        (
            "10.0.0.1 label a label b",
            "c:2:18: `label` is given twice in one line: the last one counts (first here: c:2:10); remove one of them",
        ),
        (
            "10.0.0.1/24 peer 10.0.0.2",
            "c:2:1: the prefix length 24 of 10.0.0.1 gives way to the peer's, 32; write `10.0.0.1 peer 10.0.0.2/24` if 24 is meant",
        ),
    ] {
        assert_eq!(said(&format!("static_ipaddress {{\n{line}\n}}\n")), [want], "{line}");
    }
}

#[test]
fn options_of_addresses_without_a_meaning_say_so() {
    let text = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n  10.0.0.1 noprefixroute autojoin preferred_lft forever\n  10.0.0.2 peer 10.0.0.3 use_vmac no_track preferred_lft 5 -nodad\n  10.0.0.4 track_group g\n }\n}\n";
    let loaded = load_str("c", text);
    assert_eq!(
        summaries(&loaded),
        [
            "c:6:60: `-nodad` has no meaning for an IPv4 address; remove it",
            "c:7:12: `virtual_ipaddress`: `track_group` is for static addresses; remove it",
        ]
    );
}

#[test]
fn routes_as_they_are_understood() {
    let all = "unicast 10.0.0.0/8 prepend";
    for (line, want) in [
        ("10.0.0.0/8 dev eth0", format!("{all} dev eth0 protocol 18")),
        ("10.0.0.0/8 oif eth0", format!("{all} dev eth0 protocol 18")),
        ("to 10.0.0.0/8 dev eth0", format!("{all} dev eth0 protocol 18")),
        ("dev eth0 10.0.0.0/8", format!("{all} dev eth0 protocol 18")),
        ("inet 10.0.0.0/8 dev eth0", format!("{all} dev eth0 protocol 18")),
        ("10.0.0.1 dev eth0", "unicast 10.0.0.1/32 prepend dev eth0 protocol 18".into()),
        (
            "default via 10.0.0.1 dev eth0",
            "unicast 0.0.0.0/0 prepend via 10.0.0.1 dev eth0 protocol 18".into(),
        ),
        ("any dev eth0", "unicast 0.0.0.0/0 prepend dev eth0 protocol 18".into()),
        ("default via fe80::1 dev eth0", "unicast ::/0 prepend via fe80::1 dev eth0 protocol 18".into()),
        ("via fe80::1 dev eth0 default", "unicast ::/0 prepend via fe80::1 dev eth0 protocol 18".into()),
        ("default6 dev eth0", "unicast ::/0 prepend dev eth0 protocol 18".into()),
        ("inet6 default dev eth0", "unicast ::/0 prepend dev eth0 protocol 18".into()),
        (
            "default no_track nexthop via inet6 fe80::1 dev a",
            "unicast ::/0 prepend protocol 18 no_track nexthop via fe80::1 dev a".into(),
        ),
        ("10.0.0.0/8 via inet6 fe80::1 dev eth0", format!("{all} via inet6 fe80::1 dev eth0 protocol 18")),
        ("10.0.0.0/8 via inet 10.0.0.1 no_track", format!("{all} via 10.0.0.1 protocol 18 no_track")),
        ("blackhole 10.0.0.0/8", "blackhole 10.0.0.0/8 add protocol 18".into()),
        ("to unreachable 10.0.0.0/8", "unreachable 10.0.0.0/8 add protocol 18".into()),
        ("10.0.0.0/8 via 10.0.0.1 protocol static", format!("{all} via 10.0.0.1 protocol 4")),
        ("unicast 10.0.0.0/8 dev eth0", "unicast 10.0.0.0/8 add dev eth0 protocol 18".into()),
        ("brd 10.0.0.255 append dev eth0", "broadcast 10.0.0.255/32 append dev eth0 protocol 18".into()),
        ("10.0.0.0/8 dev a protocol static no_track", format!("{all} dev a protocol 4 no_track")),
        ("10.0.0.0/8 dev a protocol keepalived", format!("{all} dev a protocol 18")),
        (
            "10.0.0.0/8 dev a table 010 scope host tos 0x10",
            format!("{all} dev a table 8 protocol 18 scope 254 tos 16"),
        ),
        (
            "10.0.0.0/8 dev a table blue scope near dsfield AF11",
            format!("{all} dev a table blue protocol 18 scope near tos AF11"),
        ),
        ("10.0.0.0/8 dev a vrf red", format!("{all} dev a vrf red protocol 18")),
        ("10.0.0.0/8 dev a src 10.0.0.9 onlink", format!("{all} src 10.0.0.9 dev a protocol 18 onlink")),
        ("10.0.0.0/8 dev a preference 5", format!("{all} dev a protocol 18 metric 5")),
        ("10.0.0.0/8 dev a priority 5", format!("{all} dev a protocol 18 metric 5")),
        (
            "2001:db8::/32 from 2001:db8::/48 dev a expires 5 pref high",
            "unicast 2001:db8::/32 prepend from 2001:db8::/48 dev a protocol 18 expires 5 pref high".into(),
        ),
        (
            "10.0.0.0/8 dev a mtu lock 1400 advmss 1 reordering 2 cwnd lock 3 ssthresh 4 hoplimit 5 window 6 initcwnd 7 initrwnd 8",
            format!(
                "{all} dev a protocol 18 mtu lock 1400 advmss 1 reordering 2 cwnd lock 3 ssthresh 4 hoplimit 5 window 6 initcwnd 7 initrwnd 8"
            ),
        ),
        (
            "10.0.0.0/8 dev a rtt 10ms rttvar lock 2.5s rto_min 200 features ecn quickack 1 fastopen_no_cookie 0 congctl lock bbr",
            format!(
                "{all} dev a protocol 18 rtt 0.01s rttvar lock 2.5s rto_min 200 congctl lock bbr features ecn quickack 1 fastopen_no_cookie 0"
            ),
        ),
        ("10.0.0.0/8 dev a realms 1/0x10", format!("{all} dev a protocol 18 realms 1/16")),
        (
            "10.0.0.0/8 dev a realms cosmos ttl-propagate disabled",
            format!("{all} dev a protocol 18 realms 0 ttl-propagate disabled"),
        ),
        (
            "10.0.0.0/8 encap ip id 5 dst 10.0.0.9 src 10.0.0.8 tos 1 ttl 2 flags 0x10 dev a tos 3",
            format!(
                "{all} dev a protocol 18 tos 3 encap ip id 5 dst 10.0.0.9 src 10.0.0.8 tos 1 ttl 2 flags 16"
            ),
        ),
        (
            "10.0.0.0/8 hoplimit 9 dev a encap ip6 dst 2001:db8::1 tc 1 hoplimit 2",
            format!("{all} dev a protocol 18 hoplimit 9 encap ip6 dst 2001:db8::1 tc 1 hoplimit 2"),
        ),
        ("10.0.0.0/8 dev a encap mpls 100/200", format!("{all} dev a protocol 18 encap mpls 100/200")),
        (
            "10.0.0.0/8 dev a metric \" 5\" table \" 6\" encap ila \"  2001:db8:0:1\"",
            format!("{all} dev a table 6 protocol 18 metric 5 encap ila 2001:db8:0:1"),
        ),
        (
            "10.0.0.0/8 dev a encap ila 2001:db8:0:1",
            format!("{all} dev a protocol 18 encap ila 2001:db8:0:1"),
        ),
        (
            "10.0.0.0/8 no_track nexthop via 10.0.0.1 dev a weight 2 onlink nexthop via inet6 fe80::1 dev b realms 3 encap mpls 5",
            format!(
                "{all} protocol 18 no_track nexthop via 10.0.0.1 dev a weight 2 onlink nexthop via inet6 fe80::1 dev b realms 3 encap mpls 5"
            ),
        ),
    ] {
        assert_eq!(dumped("static_routes", line), want, "{line}");
    }
}

#[test]
fn typed_routes() {
    let route = route("blackhole 10.0.0.0/8 append table blue protocol bird no_track rtt lock 8");
    assert_eq!((route.kind, route.mode), (RouteType::Blackhole, RouteMode::Append));
    assert_eq!(route.table, Some(RouteTable::Table(Named::Name("blue".into()))));
    assert_eq!(route.protocol, Named::Number(12));
    let round_trip = route.metrics.round_trip.expect("rtt");
    assert_eq!((round_trip.value, round_trip.locked), (RouteTime::Kernel(8), true));
}

#[test]
fn mistakes_in_routes() {
    for (line, want) in [
        (
            "dev eth0",
            "2:1: `static_routes`: this line names no destination: it begins with `dev`; begin it with one, for example 192.0.2.0/24 or default",
        ),
        ("10.0.0.0/8 dev", "2:12: `static_routes`: `dev` needs a value; add it, or remove the option"),
        ("10.0.0.0/8 dve eth0", "2:12: unknown option `dve` of a route; did you mean `dev`?"),
        (
            "10.0.0.300/8 dev eth0",
            "2:1: `static_routes`: `10.0.0.300/8` is not an address; for example 192.0.2.0/24",
        ),
        (
            "10.0.0.0/8 10.1.0.0/16 dev eth0",
            "2:12: `10.0.0.0/8` gives way to `10.1.0.0/16`; one route per line: begin a new line before it",
        ),
        (
            "10.0.0.0/40 dev eth0",
            "2:1: `10.0.0.0/40` has no valid prefix length: 32 is used; a number from 0 to 32",
        ),
        (
            "10.0.0.1/8 dev eth0",
            "2:1: `10.0.0.1/8` has host bits: 10.0.0.0/8 is used; write 10.0.0.0/8, or 10.0.0.1 if this one address is meant",
        ),
        (
            "xresolve 10.0.0.0/8 dev a",
            "2:1: `static_routes`: no kernel has routes of the type `xresolve`; remove the line",
        ),
        (
            "nat 10.0.0.0/8 dev a",
            "2:1: `static_routes`: no kernel has routes of the type `nat`; remove the line",
        ),
        (
            "10.0.0.0/8 dev a protocol static",
            "2:18: `protocol` needs `no_track`: 18 (keepalived) is used; add `no_track`, or remove `protocol`",
        ),
        (
            "10.0.0.0/8 via fe80::1 dev a",
            "2:16: `static_routes`: the gateway fe80::1 is of IPv6, the route of IPv4; an IPv4 address, or `via inet6 fe80::1` if that is meant",
        ),
        (
            "2001:db8::/32 via 10.0.0.1 dev a",
            "2:19: `static_routes`: the gateway 10.0.0.1 is of IPv4, the route of IPv6; an IPv6 address",
        ),
        (
            "2001:db8::/32 via inet 10.0.0.1 dev a",
            "2:24: `static_routes`: the gateway 10.0.0.1 is of IPv4, the route of IPv6; an IPv6 address",
        ),
        (
            "10.0.0.0/8 via inet6 10.0.0.1 dev a",
            "2:22: `static_routes`: 10.0.0.1 is no address of `inet6`; remove `inet6`, or write such an address",
        ),
        (
            "10.0.0.0/8 via 10.0.0.1/24 dev a",
            "2:16: `static_routes`: `10.0.0.1/24` is not an address; `via` takes an address without prefix length: 10.0.0.1",
        ),
        (
            "10.0.0.0/8 src 2001:db8::1 dev a",
            "2:16: `static_routes`: `2001:db8::1` is of IPv6, the route of IPv4; a route has addresses of one family",
        ),
        (
            "10.0.0.0/8 from 10.0.0.0/8 dev a",
            "2:17: `static_routes`: `from` is for IPv6 routes only; make a rule for IPv4",
        ),
        ("10.0.0.0/8 dev a pref low", "2:18: `static_routes`: `pref` is for IPv6 routes only; remove it"),
        ("10.0.0.0/8 dev a expires 5", "2:18: `static_routes`: `expires` is for IPv6 routes only; remove it"),
        (
            "2001:db8::/32 dev a realms 5",
            "2:21: `static_routes`: `realms` is for IPv4 routes only; remove it",
        ),
        (
            "10.0.0.0/8 dev a realms 256/5",
            "2:25: `static_routes`: `256/5` is neither a realm nor two; write [SOURCE/]DESTINATION, each a number to 255 or a name",
        ),
        (
            "10.0.0.0/8 dev a metric 0x10",
            "2:25: `static_routes`: `0x10` is not a number; `metric` is a number from 0 to 4294967295",
        ),
        (
            "10.0.0.0/8 dev a metric 5 metric 6",
            "2:27: `metric` is given twice in one line: the last one counts (first here: c:2:18); remove one of them",
        ),
        (
            "10.0.0.0/8 dev a metric 5 preference 6",
            "2:27: `metric` is given twice in one line: the last one counts (first here: c:2:18); remove one of them",
        ),
        (
            "10.0.0.0/8 dev a dev b",
            "2:18: `dev` is given twice in one line: the last one counts (first here: c:2:12); remove one of them",
        ),
        (
            "10.0.0.0/8 dev a table blue vrf red",
            "2:29: `table` is given twice in one line: the last one counts (first here: c:2:18); remove one of them",
        ),
        (
            "10.0.0.0/8 dev a hoplimit 300",
            "2:27: `static_routes`: `300` is out of range; `hoplimit` is a number from 0 to 255",
        ),
        (
            "10.0.0.0/8 dev a scope 300",
            "2:24: `static_routes`: `300` is neither a number nor a name; `scope` is a number from 0 to 255, or a name",
        ),
        (
            "10.0.0.0/8 dev a mtu lock",
            "2:18: `static_routes`: `mtu` needs a value; add it, or remove the option",
        ),
        (
            "10.0.0.0/8 dev a rtt 3h",
            "2:22: `static_routes`: `3h` is not a time; `rtt` is a number with ms or s, or one as the kernel counts",
        ),
        ("10.0.0.0/8 dev a features sack", "2:27: `static_routes`: there is no feature `sack`; only ecn"),
        (
            "10.0.0.0/8 dev a quickack 2",
            "2:27: `static_routes`: `2` is out of range; `quickack` is a number from 0 to 1",
        ),
        (
            "10.0.0.0/8 dev a ttl-propagate on",
            "2:32: `static_routes`: `on` is no value of `ttl-propagate`; one of: enabled, disabled",
        ),
        (
            "2001:db8::/32 dev a pref hihg",
            "2:26: `static_routes`: `hihg` is no value of `pref`; did you mean `high`?",
        ),
        (
            "10.0.0.0/8 dev a congctl \"a b\"",
            "2:26: `static_routes`: `a b` cannot be a congestion control; for example cubic, reno or bbr",
        ),
        (
            "blackhole unreachable 10.0.0.0/8",
            "2:11: `static_routes`: `blackhole` and `unreachable` cannot both be; a route has one type: remove one of them",
        ),
        ("10.0.0.0/8 gw 10.0.0.1 dev a", "2:12: `gw` is an old name of `via`; write `via`"),
        (
            "10.0.0.0/8 dev a as to 10.0.0.1",
            "2:18: `static_routes`: `as` is for MPLS routes, which do not exist here; remove it",
        ),
        (
            "10.0.0.0/8 dev a or 10.0.0.1",
            "2:18: `static_routes`: `or` has no `via` before it; write `nexthop via A nexthop via B`",
        ),
        (
            "10.0.0.0/8 via 10.0.0.1 or 10.0.0.2 dev a",
            "2:25: `or` is the old form of `nexthop`; write `nexthop via 10.0.0.1 nexthop via 10.0.0.2`",
        ),
        (
            "10.0.0.0/8 dev a encap ip",
            "2:18: `static_routes`: the encapsulation leads nowhere; add `dst ADDR` or `id N` after it",
        ),
        (
            "10.0.0.0/8 dev a encap gre",
            "2:24: `static_routes`: `gre` is no value of `encap`; one of: ip, ip6, mpls, ila",
        ),
        (
            "10.0.0.0/8 dev a encap ip dst 2001:db8::1",
            "2:31: `static_routes`: `encap ip` has IPv4 addresses; write `encap ip6` for IPv6",
        ),
        (
            "10.0.0.0/8 dev a encap ip6 id 1 flags 65536",
            "2:39: `static_routes`: `65536` is not a number to 65535; a number from 0 to 65535",
        ),
        (
            "10.0.0.0/8 dev a encap mpls 5/1048576",
            "2:29: `static_routes`: `5/1048576` is no MPLS label; labels from 0 to 1048575, joined by `/`",
        ),
        (
            "10.0.0.0/8 dev a encap ila 1:2:3",
            "2:28: `static_routes`: `1:2:3` is no ILA locator; four hexadecimal groups, for example 2001:db8:0:1",
        ),
        (
            "10.0.0.0/8 no_track nexthop weight 2",
            "2:21: `static_routes`: this nexthop has neither gateway nor interface; write `nexthop via ADDR` or `nexthop dev IF`",
        ),
        (
            "10.0.0.0/8 no_track nexthop dev a weight 257",
            "2:42: `static_routes`: `257` is out of range; `weight` is a number from 1 to 256",
        ),
        (
            "10.0.0.0/8 no_track nexthop dev a metric 5",
            "2:35: `static_routes`: `metric` cannot stand after `nexthop`; options of the whole route stand before the first `nexthop`",
        ),
        (
            "10.0.0.0/8 dev a track_group g",
            "2:30: `static_routes`: no track_group `g` is defined before this line; add a block `track_group g { … }` before it",
        ),
    ] {
        let want = format!("c:{want}");
        assert_eq!(said(&format!("static_routes {{\n{line}\n}}\n")), [want], "{line}");
    }
}

#[test]
fn the_old_form_of_nexthops() {
    let loaded = load_str("c", "static_routes {\n default via 10.0.0.1 or 10.0.0.2 dev a\n}\n");
    let route = &loaded.config.expect("no error").static_routes[0];
    let gateways: Vec<_> =
        route.next_hops.iter().filter_map(|hop| hop.gateway).map(|a| a.to_string()).collect();
    assert_eq!((gateways, route.gateway), (vec!["10.0.0.1".into(), "10.0.0.2".into()], None));
}

#[test]
fn rules_as_they_are_understood() {
    let head = "from all to all preference 5";
    for (line, want) in [
        ("table 5 preference 5", format!("{head} protocol 18 table 5")),
        ("from all to all lookup main order 5", format!("{head} protocol 18 table 254")),
        ("from any to default lookup blue priority 5", format!("{head} protocol 18 table blue")),
        ("inet6 table 5 priority 5", "from ::/0 to all preference 5 protocol 18 table 5".into()),
        ("from ::/0 table 5 priority 5", "from ::/0 to all preference 5 protocol 18 table 5".into()),
        (
            "not from 10.0.0.0/8 to 10.1.0.0/16 table 5 priority 5",
            "not from 10.0.0.0/8 to 10.1.0.0/16 preference 5 protocol 18 table 5".into(),
        ),
        (
            "type blackhole to 10.1.0.0/16 priority 5",
            "from all to 10.1.0.0/16 preference 5 protocol 18 blackhole".into(),
        ),
        ("to 2001:db8::/32 nop priority 5", "from ::/0 to 2001:db8::/32 preference 5 protocol 18 nop".into()),
        (
            "fwmark 5 dsfield 16 table 5 priority 5",
            format!("{head} tos 16 fwmark 0x5/0xffffffff protocol 18 table 5"),
        ),
        (
            "fwmark 0x5/255 realms 1/2 table 5 priority 5",
            format!("{head} fwmark 0x5/0xff realms 1/2 protocol 18 table 5"),
        ),
        (
            "sup_pl 0 sup_group 5 table 5 priority 5",
            format!("{head} suppress_prefixlength 0 suppress_ifgroup 5 protocol 18 table 5"),
        ),
        (
            "suppress_prefixlength 0 l3mdev priority 5",
            format!("{head} suppress_prefixlength 0 protocol 18 l3mdev"),
        ),
        (
            "suppress_ifgroup default l3mdev priority 5",
            format!("{head} suppress_ifgroup 0 protocol 18 l3mdev"),
        ),
        (
            "dev a oif b tunnel-id 7 goto 6 priority 5",
            format!("{head} iif a oif b tunnel-id 7 protocol 18 goto 6"),
        ),
        (
            "iif a uidrange 5-5 blackhole priority 5",
            format!("{head} iif a uidrange 5-5 protocol 18 blackhole"),
        ),
        ("protocol 4 no_track unreachable priority 5", format!("{head} protocol 4 unreachable no_track")),
        (
            "ipproto TCP sport 5-6 dport 80-80 prohibit priority 5",
            format!("{head} protocol 18 ipproto 6 sport 5-6 dport 80-80 prohibit"),
        ),
        (
            "ipproto l2tp table 5 priority 0",
            "from all to all preference 0 protocol 18 ipproto l2tp table 5".into(),
        ),
    ] {
        assert_eq!(dumped("static_rules", line), want, "{line}");
    }
    assert_eq!(rule("goto 4294967295 priority 1").action, RuleAction::Goto(u32::MAX));
}

#[test]
fn mistakes_in_rules() {
    for (line, want) in [
        (
            "from 10.0.0.0/8 priority 5",
            "2:1: `static_rules`: this rule has no action; add one: table T, goto N, nop, blackhole, unreachable, prohibit or l3mdev",
        ),
        (
            "from 10.0.0.1/8 nop priority 5",
            "2:6: `10.0.0.1/8` has host bits: 10.0.0.0/8 is used; write 10.0.0.0/8, or 10.0.0.1 if this one address is meant",
        ),
        (
            "from 10.0.0.0/8 to ::/0 nop priority 5",
            "2:20: `static_rules`: `::/0` is of IPv6, the rule of IPv4; a rule has one family; write one rule for each",
        ),
        (
            "nop blackhole priority 5",
            "2:5: `static_rules`: `nop` and `blackhole` are two actions; a rule has one: remove the other, or write two rules",
        ),
        (
            "type table 5 priority 5",
            "2:6: `static_rules`: `table` is no action that `type` may stand before; nop, blackhole, unreachable or prohibit",
        ),
        (
            "realms 5 nop priority 5",
            "2:1: `static_rules`: `realms` needs a table to look into; remove it, or write `table T` as the action",
        ),
        (
            "sup_pl 5 nop priority 5",
            "2:1: `static_rules`: `sup_pl` needs a table to look into; remove it, or write `table T` as the action",
        ),
        (
            "inet6 realms 5 table 5 priority 5",
            "2:7: `static_rules`: `realms` is for IPv4 rules only; remove it",
        ),
        (
            "goto 5",
            "2:1: `static_rules`: `goto` needs a preference; add a preference that is lower than the target",
        ),
        (
            "goto 5 priority 5",
            "2:1: `static_rules`: `goto` leads back: the preference 5 is not below 5; a rule of higher preference",
        ),
        (
            "table 0 priority 5",
            "2:7: `static_rules`: `0` is neither a number nor a name; `table` is a number from 1 to 4294967295, or a name",
        ),
        (
            "sport 80 table 5 priority 5",
            "2:7: `static_rules`: `sport` takes a range, and `80` is none; write `sport 80-80`",
        ),
        (
            "dport 0-5 table 5 priority 5",
            "2:7: `static_rules`: `0-5` is not a range; write A-B, numbers from 1 to 65535",
        ),
        (
            "dport 5-70000 table 5 priority 5",
            "2:7: `static_rules`: `5-70000` is not a range; write A-B, numbers from 1 to 65535",
        ),
        (
            "dport x table 5 priority 5",
            "2:7: `static_rules`: `dport` takes a range, and `x` is none; write A-B, numbers from 1 to 65535",
        ),
        (
            "uidrange 6-5 table 5 priority 5",
            "2:10: `static_rules`: the range `6-5` ends before it begins; write 5-6",
        ),
        (
            "fwmark 5/ table 5 priority 5",
            "2:8: `static_rules`: `5/` is not a mark; write N or N/MASK, numbers from 0 to 4294967295 (0xffffffff)",
        ),
        (
            "ipproto 300 table 5 priority 5",
            "2:9: `static_rules`: `300` is neither a number nor a name; `ipproto` is a number from 0 to 255, or a name",
        ),
        (
            "protocol 4 table 5 priority 5",
            "2:1: `protocol` needs `no_track`: 18 (keepalived) is used; add `no_track`, or remove `protocol`",
        ),
        ("form 10.0.0.1 table 5 priority 5", "2:1: unknown option `form` of a rule; did you mean `from`?"),
        (
            "10.0.0.1 table 5 priority 5",
            "2:1: unknown option `10.0.0.1` of a rule; one rule per line: begin a new line before it",
        ),
        ("from x table 5 priority 5", "2:6: `static_rules`: `x` is not an address; for example 192.0.2.0/24"),
        (
            "table 5 priority x",
            "2:18: `static_rules`: `x` is not a number; `priority` is a number from 0 to 4294967295",
        ),
        (
            "table 5",
            "2:1: this rule has no preference: 16384 is used; add `preference N`; without it each further rule comes before the ones above it",
        ),
        (
            "table 5 priority 5 order 6",
            "2:20: `preference` is given twice in one line: the last one counts (first here: c:2:9); remove one of them",
        ),
    ] {
        let want = format!("c:{want}");
        assert_eq!(said(&format!("static_rules {{\n{line}\n}}\n")), [want], "{line}");
    }
}

#[test]
fn preferences_go_down_for_each_family_over_all_blocks() {
    let text = "static_rules {\n table 1\n inet6 table 2\n table 3 preference 7\n goto 5\n}\nstatic_rules {\n table 4\n inet6 table 5\n}\n";
    let config = load_str("c", text).config.expect("no error");
    let got: Vec<_> = config.static_rules.iter().map(|rule| (rule.preference, &rule.action)).collect();
    let table = |number| RuleAction::Table(Named::Number(number));
    let tables: Vec<_> = [1, 2, 3, 4, 5].map(table).into();
    let want: Vec<_> = [16384, 16384, 7, 16383, 16383].into_iter().zip(&tables).collect();
    assert_eq!(got, want);
}

const INSTANCE: &str = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n no_virtual_ipaddress\n";

#[test]
fn preferences_count_static_and_virtual_rules_together() {
    let text = format!(
        "static_rules {{\n table 1\n}}\n{INSTANCE} virtual_rules {{\n table 2\n inet6 table 3\n }}\n}}\nstatic_rules {{\n table 4\n}}\n"
    );
    let config = load_str("c", &text).config.expect("no error");
    let fixed: Vec<u32> = config.static_rules.iter().map(|rule| rule.preference).collect();
    let virtual_ones: Vec<u32> = config.vrrp_instances[0].rules.iter().map(|rule| rule.preference).collect();
    assert_eq!((fixed, virtual_ones), (vec![16384, 16382], vec![16383, 16384]));
}

#[test]
fn static_entries_follow_a_group_that_stands_before() {
    let group = format!("{INSTANCE}}}\ntrack_group G {{\n group {{\n V\n }}\n}}\n");
    let entries = "static_ipaddress {\n 10.0.0.1 track_group G\n}\n\
        static_routes {\n 10.0.0.0/8 dev a track_group G\n}\n\
        static_rules {\n table 5 order 5 track_group G\n}\n";
    let groups = |config: &Config| {
        let address = config.static_addresses[0].track_group.clone();
        let route = config.static_routes[0].track_group.clone();
        let rule = config.static_rules[0].track_group.clone();
        [address, route, rule].map(|group| group.as_deref().map(str::to_owned))
    };
    let found = config(&format!("{group}{entries}"));
    assert_eq!(groups(&found), ["G"; 3].map(|group| Some(group.to_owned())));
    let text = dump(&found, Secrets::Shown);
    assert_eq!(config(&text), found, "{text}");

    for (name, before, after, want) in [
        (
            "after",
            "",
            group.as_str(),
            &[
                "c:2:23: `static_ipaddress`: no track_group `G` is defined before this line; add a block `track_group G { … }` before it",
                "c:5:31: `static_routes`: no track_group `G` is defined before this line; add a block `track_group G { … }` before it",
                "c:8:30: `static_rules`: no track_group `G` is defined before this line; add a block `track_group G { … }` before it",
            ][..],
        ),
        (
            "a group that is left out takes its name with it",
            "track_group G {\n}\n",
            "",
            &[
                "c:1:13: track_group `G` has no members, so it is left out; name its instances in `group { … }`, or remove it",
            ],
        ),
    ] {
        let text = format!("{before}{entries}{after}");
        assert_eq!(said(&text), want, "{name}");
        assert_eq!(groups(&load_str("c", &text).config.expect("no error")), [None, None, None], "{name}");
    }
}

#[test]
fn a_group_and_no_track_are_one_too_many() {
    let group = format!("{INSTANCE}}}\ntrack_group G {{\n group {{\n V\n }}\n}}\n");
    for (block, line, want) in [
        (
            "static_routes",
            "10.0.0.0/8 dev a no_track track_group G",
            "`track_group` and `no_track` cannot both be; remove one of them",
        ),
        (
            "static_routes",
            "10.0.0.0/8 via 10.0.0.1 track_group G",
            "`track_group` needs an interface; add `dev IF`",
        ),
        (
            "static_rules",
            "table 5 order 5 no_track track_group G",
            "`track_group` and `no_track` cannot both be; remove one of them",
        ),
        (
            "static_ipaddress",
            "10.0.0.1 track_group G track_group G",
            "`track_group` is given twice in one line; remove one of them",
        ),
        (
            "static_ipaddress",
            "10.0.0.1 track_group H",
            "no track_group `H` is defined before this line; add a block `track_group H { … }` before it",
        ),
    ] {
        let got = said(&format!("{group}{block} {{\n{line}\n}}\n"));
        assert_eq!(got.len(), 1, "{line}: {got:#?}");
        assert!(got[0].ends_with(want), "{line}: {got:#?}");
    }
}

#[test]
fn entries_of_an_instance_name_no_group() {
    for (block, line, want) in [
        (
            "virtual_routes",
            "10.0.0.0/8 dev a track_group G",
            "c:6:18: `virtual_routes`: `track_group` is for static routes; remove it: the instance follows its own routes",
        ),
        (
            "virtual_rules",
            "table 5 order 5 track_group G",
            "c:6:17: `virtual_rules`: `track_group` is for static rules; remove it: the instance follows its own rules",
        ),
    ] {
        assert_eq!(said(&format!("{INSTANCE} {block} {{\n{line}\n }}\n}}\n")), [want], "{line}");
    }
}

#[test]
fn the_interface_of_static_addresses() {
    let text = "static_ipaddress {\n 10.0.0.1\n 10.0.0.2 dev b\n}\nglobal_defs {\n default_interface a\n}\n";
    let devices: Vec<_> =
        config(text).static_addresses.into_iter().map(|found| found.address.device).collect();
    assert_eq!(devices, [Some("a".to_owned()), Some("b".to_owned())]);
}
