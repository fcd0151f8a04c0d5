//! virtual_server_group and what drives its services.

use std::sync::Arc;

use lbd_grammar::config::{Config, GroupMember, VirtualServer};
use lbd_grammar::load_str;
use lbd_ipvs::{Family, Netmask, ServiceFlags};

use super::common::summaries;
use super::config;

/// A group `g` of these lines from line 2 on, and a virtual server of it without fault; its own lines
/// begin in the line after `lb_kind`.
fn of_group(lines: &str, kind: &str, rest: &str) -> String {
    format!(
        "virtual_server_group g {{\n{lines}\n}}\nvirtual_server group g {{\nlb_algo rr\nlb_kind {kind}\n{rest}\n}}\n"
    )
}

fn server(config: &Config) -> &Arc<VirtualServer> {
    config.virtual_servers.first().expect("a virtual server of the group")
}

fn members(config: &Config) -> Vec<String> {
    let shown = |member: &GroupMember| match member {
        GroupMember::Addresses { range, port } => {
            format!("{} {} {}", range.first(), range.last(), port.map_or(0, |port| port.get()))
        }
        GroupMember::Mark { mark, family } => {
            format!("{mark} {}", family.map_or(String::from("-"), |family| family.to_string()))
        }
    };
    config.virtual_server_groups.get("g").expect("the group").iter().map(shown).collect()
}

const REAL: &str = "protocol TCP\nreal_server 10.0.0.2 {\n}";

#[test]
fn lines() {
    for (name, lines, want, messages) in [
        ("an address", "10.0.0.1 80", vec!["10.0.0.1 10.0.0.1 80"], vec![]),
        (
            "ranges",
            "10.0.0.1-5 80\n10.0.1.0/30 80\n10.0.2.9-10.0.3.2 80",
            vec!["10.0.0.1 10.0.0.5 80", "10.0.1.0 10.0.1.3 80", "10.0.2.9 10.0.3.2 80"],
            vec![],
        ),
        (
            "marks",
            "10.0.0.1 80\nfwmark 7\nfwmark 8 inet",
            vec!["10.0.0.1 10.0.0.1 80", "7 -", "8 inet"],
            vec![],
        ),
        (
            "bad lines",
            "10.0.0.1-300 80\n10.0.0.1 80\n10.0.0.9 70000\nfwmark x\nfwmark 7 inet5\nfwmark\nweb 80",
            vec!["10.0.0.1 10.0.0.1 80"],
            vec![
                "c:2:1: `virtual_server_group`: `10.0.0.1-300` has no valid end; the last octet of the last address, 0 to 255, or the address",
                "c:4:10: `virtual_server_group`: `70000` is out of range; a number from 0 to 65535",
                "c:5:8: `virtual_server_group`: `x` is not a number; a number from 1 to 4294967295",
                "c:6:10: unknown virtual_server_group `inet5`; did you mean `inet`?",
                "c:7:1: `virtual_server_group`: `fwmark` needs a number; a number from 1 to 4294967295",
                "c:8:1: `virtual_server_group`: `web` is not an address or range; for example 192.0.2.10, 192.0.2.10-20 or 192.0.2.0/28",
            ],
        ),
        (
            "two in a line",
            "10.0.0.1 80 81",
            vec!["10.0.0.1 10.0.0.1 80"],
            vec!["c:2:13: `virtual_server_group`: `81` is ignored; one address or mark per line"],
        ),
    ] {
        let config = config(name, &of_group(lines, "TUN", REAL), &messages);
        assert_eq!(members(&config), want, "{name}");
        assert_eq!(config.virtual_servers.len(), 1, "{name}");
    }
}

#[test]
fn a_group_without_sense_is_left_out() {
    for (name, text, want) in [
        (
            "empty",
            of_group("", "NAT", REAL),
            "c:1:22: virtual_server_group `g` has no usable line; add a line `ADDR PORT` or `fwmark N`",
        ),
        (
            "a bad line alone",
            of_group("10.0.0.5-5", "NAT", REAL),
            "c:2:1: `virtual_server_group`: `10.0.0.5-5` does not end after it begins; the smaller address first (this line is left out, and with it the group, which has no other, and its virtual servers)",
        ),
        (
            "a mark of which family",
            of_group("10.0.0.1 80\n2001:db8::1 80\nfwmark 7", "TUN", REAL),
            "c:1:22: virtual_server_group `g` has IPv4, IPv6 and a firewall mark without family; write `fwmark N inet` or `fwmark N inet6`",
        ),
        (
            "unknown",
            of_group("10.0.0.1 80", "NAT", REAL).replace("virtual_server group g", "virtual_server group gg"),
            "c:4:22: no virtual_server_group `gg` is defined; did you mean `g`?",
        ),
    ] {
        assert_eq!(config(name, &text, &[want]).virtual_servers.len(), 0, "{name}");
    }
    let twice = "virtual_server_group g {\n10.0.0.1\n}\nvirtual_server_group g {\n10.0.0.2\n}\n";
    let want = "c:4:22: virtual_server_group `g` is given twice (first here: c:1:1); put all its lines into one block";
    assert_eq!(members(&config("twice", twice, &[want])), ["10.0.0.1 10.0.0.1 0"]);
}

/// Wherever they stand, and however many virtual servers there are of one.
#[test]
fn groups_and_their_servers() {
    let group = "virtual_server_group g {\n10.0.0.1 80\n}\n";
    let of = |lines: &str| {
        format!(
            "virtual_server group g {{\nlb_algo rr\nlb_kind NAT\n{lines}\nreal_server 10.0.0.2 80 {{\n}}\n}}\n"
        )
    };
    let (tcp, udp) = (of("protocol TCP"), of("protocol UDP"));
    let two = config("before and after", &format!("{tcp}{group}{udp}"), &[]);
    let protocols: Vec<_> =
        two.virtual_servers.iter().map(|server| server.id.protocol().map(|one| one.to_string())).collect();
    assert_eq!(protocols, [Some("TCP".to_owned()), Some("UDP".to_owned())]);
    let again = "c:11:1: virtual_server GROUP g is defined twice (first here: c:4:1); put all its real servers into one block";
    assert_eq!(config("twice", &format!("{group}{tcp}{tcp}"), &[again]).virtual_servers.len(), 1);
    let loaded = load_str("c", &format!("{group}{tcp}"));
    assert_eq!(summaries(&loaded), [""; 0], "groups are served");
}

#[test]
fn rules() {
    let tun = "lvs_method TUN";
    for (name, lines, kind, rest, real, messages) in [
        ("NAT without port", "10.0.0.1 80", "NAT", REAL.to_owned(), "10.0.0.2:0", vec![]),
        (
            "NAT with a port",
            "10.0.0.1 80",
            "NAT",
            "protocol TCP\nreal_server 10.0.0.2 8080 {\n}".into(),
            "10.0.0.2:8080",
            vec![],
        ),
        (
            "DR with the group's port",
            "10.0.0.1-3 80",
            "DR",
            "protocol TCP\nreal_server 10.0.0.2 80 {\n}".into(),
            "10.0.0.2:0",
            vec![],
        ),
        (
            "DR with another",
            "10.0.0.1 80\n10.0.0.1 443",
            "DR",
            "protocol TCP\nreal_server 10.0.0.2 80 {\n}".into(),
            "10.0.0.2:0",
            vec![
                "c:9:1: DR does not change ports: real_server 10.0.0.2 gets the port of each service of the group; remove the port, or use `lb_kind NAT`",
            ],
        ),
        (
            "every port",
            "10.0.0.1",
            "DR",
            REAL.into(),
            "10.0.0.2:0",
            vec![
                "c:4:1: a service for every port is persistent: 360 s is used; add `persistence_timeout SECS`, or a port",
            ],
        ),
        (
            "marks need no protocol",
            "fwmark 7",
            "DR",
            "real_server 10.0.0.2 {\n}".into(),
            "10.0.0.2:0",
            vec![],
        ),
        (
            "marks have none",
            "fwmark 7",
            "DR",
            "protocol TCP\nreal_server 10.0.0.2 80 {\n}".into(),
            "10.0.0.2:0",
            vec![
                "c:7:10: `protocol` has no effect with a group of firewall marks; remove it; the rule that sets the mark decides",
                "c:8:1: DR does not change ports: the port of real_server 10.0.0.2 is not used; remove the port, or use `lb_kind NAT`",
            ],
        ),
        (
            "no protocol",
            "10.0.0.1 80",
            "NAT",
            "real_server 10.0.0.2 {\n}".into(),
            "10.0.0.2:0",
            vec![
                "c:4:1: no usable `protocol`: UDP is used; add `protocol TCP`, or `protocol UDP` if that is meant",
            ],
        ),
        (
            "both families",
            "10.0.0.1 80\n2001:db8::1 80",
            "DR",
            format!("protocol TCP\nreal_server 10.0.0.3 {{\n}}\nreal_server 10.0.0.2 {{\n{tun}\n}}"),
            "10.0.0.2:0",
            vec![
                "c:9:1: real_server 10.0.0.3 is inet, the virtual server inet and inet6: DR cannot join them; use `lvs_method TUN`, or a group of one family",
            ],
        ),
        (
            "a family that it has not",
            "10.0.0.1 80",
            "NAT",
            format!("ip_family inet6\n{REAL}"),
            "10.0.0.2:0",
            vec!["c:7:1: `ip_family inet6` contradicts virtual_server_group `g`; remove it"],
        ),
        (
            "ha_suspend",
            "10.0.0.1 80",
            "NAT",
            format!("ha_suspend\n{REAL}"),
            "10.0.0.2:0",
            vec!["c:7:1: `ha_suspend` finds no address of a group on this host, ever; remove it"],
        ),
    ] {
        let config = config(name, &of_group(lines, kind, &rest), &messages);
        let server = server(&config);
        let addresses: Vec<_> = server.real_servers.iter().map(|real| real.address.to_string()).collect();
        assert_eq!(addresses, [real], "{name}");
    }
    let any =
        config("every port", &of_group("10.0.0.1", "DR", &format!("persistence_timeout 7\n{REAL}")), &[]);
    assert!(server(&any).service.flags.contains(ServiceFlags::PERSISTENT));
    // A check of a group with one port needs none of its own.
    let check = "protocol TCP\nreal_server 10.0.0.2 {\nTCP_CHECK {\n}\n}";
    let one = config("one port", &of_group("10.0.0.1-9 80", "DR", check), &[]);
    let target = server(&one).real_servers[0].checks[0].kind.connection().map(|one| one.target.to_string());
    assert_eq!(target.as_deref(), Some("10.0.0.2:80"));
    let none =
        "c:10:1: this check has no port to connect to, so it is left out; add `connect_port PORT` to it";
    config("two ports", &of_group("10.0.0.1 80\n10.0.0.1 81", "DR", check), &[none]);
}

#[test]
fn families() {
    for (name, lines, rest, family, netmask) in [
        (
            "of its addresses",
            "2001:db8::1 80",
            "protocol TCP\nreal_server 2001:db8::2 {\n}",
            Family::Inet6,
            Netmask::V6(128),
        ),
        ("of its marks", "fwmark 7 inet6", "real_server 2001:db8::2 {\n}", Family::Inet6, Netmask::V6(128)),
        (
            "of ip_family",
            "fwmark 7",
            "ip_family inet6\nreal_server 2001:db8::2 {\n}",
            Family::Inet6,
            Netmask::V6(128),
        ),
        (
            "of the granularity",
            "fwmark 7",
            "persistence_granularity 64\nreal_server 2001:db8::2 {\n}",
            Family::Inet6,
            Netmask::V6(64),
        ),
        ("of the real server", "fwmark 7", "real_server 2001:db8::2 {\n}", Family::Inet6, Netmask::V6(128)),
        (
            "of both",
            "10.0.0.1 80\n2001:db8::1 80",
            "ip_family inet\npersistence_granularity 255.255.0.0\nprotocol TCP\nreal_server 2001:db8::2 {\nlvs_method TUN\n}",
            Family::Inet,
            Netmask::V4([255, 255, 0, 0].into()),
        ),
    ] {
        let config = config(name, &of_group(lines, "NAT", rest), &[]);
        let server = server(&config);
        assert_eq!((server.id.family(), server.service.netmask), (family, netmask), "{name}");
    }
}
