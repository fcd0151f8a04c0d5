//! Routes, rules and static entries in the kernel: repair, interfaces that come and go.

mod routers;
mod words;

use lbd_grammar::load_str;
use lbd_vrrp::RouterId;

use super::addresses::Netconf;
use super::*;
use crate::router::mailbox::{STATIC, Want};
use crate::router::netconf::Report;
use crate::router::object::Load;

/// What `ip` prints in the namespace of a host.
fn ip_of(net: &Net, host: u8, arguments: &str) -> String {
    let mut command = Command::new("ip");
    command.args(["-n", &net.ns(host)]).args(arguments.split_whitespace());
    let output = command.output().expect("ip");
    String::from_utf8(output.stdout).expect("text")
}

/// Has `ip` carry out these lines in the namespace of a host; the numbers of those that were refused.
fn batch(net: &Net, host: u8, lines: &[String]) -> Vec<usize> {
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("batch");
    std::fs::write(&file, lines.join("\n") + "\n").expect("batch");
    let mut command = Command::new("ip");
    command.args(["-n", &net.ns(host), "-force", "-batch"]).arg(&file);
    let output = command.output().expect("ip");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let refused = errors.lines().filter_map(|line| line.split_once("Command failed ")?.1.rsplit_once(':'));
    refused.map(|(_, number)| number.parse::<usize>().expect("a number") - 1).collect()
}

fn network(text: &str) -> Network {
    let loaded = load_str("network", text);
    Network::of(&loaded.config.unwrap_or_else(|| panic!("{:#?}", loaded.diagnostics)))
}

/// The static entries of a configuration.
fn load(text: &str) -> Load {
    network(text).fixed.clone()
}

fn routes(lines: &[&str]) -> Load {
    load(&format!("static_routes {{\n{}\n}}\n", lines.join("\n")))
}

fn holding(router: u64, hold: Load) -> Want {
    Want { router: RouterId(router), holds: true, hold, purge: Vec::new() }
}

/// Both hosts with the same addresses beside their own.
fn alike(net: &Net) {
    for host in 1..=2 {
        let ns = net.ns(host);
        ip(&format!("-n {ns} addr add 10.50.0.1/24 dev eth0"));
        ip(&format!("-n {ns} addr add fd50::1/64 dev eth0 nodad"));
        ip(&format!("-n {ns} link add eth1 type veth peer name eth2"));
        for name in ["eth1", "eth2"] {
            ip(&format!("-n {ns} link set {name} up"));
        }
    }
}

/// Until something holds in the kernel, or a panic after the limit with what is there.
fn until(what: &str, limit: Duration, holds: impl Fn() -> Result<(), String>) {
    let end = Instant::now() + limit;
    while let Err(found) = holds() {
        assert!(Instant::now() < end, "{what}: {found}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Of IPv4; every host has three.
fn rules(net: &Net) -> String {
    ip_of(net, 1, "rule show")
}

fn until_route(net: &Net, route: &str, there: bool, limit: Duration) {
    until(&format!("{route}: {there}"), limit, || {
        let four = ip_of(net, 1, "route show table all proto 18");
        let all = four + &ip_of(net, 1, "-6 route show table all proto 18");
        if all.contains(route) == there { Ok(()) } else { Err(all) }
    });
}

#[test]
fn what_someone_removes_is_put_back_or_yielded() {
    if skip("what_someone_removes_is_put_back_or_yielded") {
        return;
    }
    let net = Net::new("rd");
    alike(&net);
    let ns = net.ns(1);
    let mut netconf = Netconf::start(&net);
    let text = "static_ipaddress {\n 10.70.0.1/24 dev eth0\n}\nstatic_routes {\n 198.18.1.0/24 via 10.50.0.9 dev eth0\n \
                blackhole 198.18.2.0/24\n 2001:db8:1::/48 dev eth0\n 198.18.3.0/24 dev eth0 no_track\n}\n\
                static_rules {\n from 10.70.0.1 table 100 preference 50\n inet6 nop preference 51\n}\n";
    netconf.want_load(holding(7, load(text)));
    let removals = [
        (
            "route del 198.18.1.0/24 proto 18",
            "route unicast 198.18.1.0/24 prepend via 10.50.0.9 dev eth0 protocol 18",
        ),
        ("route del blackhole 198.18.2.0/24 proto 18", "route blackhole 198.18.2.0/24 add protocol 18"),
        (
            "-6 route del 2001:db8:1::/48 proto 18",
            "route unicast 2001:db8:1::/48 prepend dev eth0 protocol 18",
        ),
        ("rule del preference 50", "rule from 10.70.0.1/32 to all preference 50 protocol 18 table 100"),
        ("-6 rule del preference 51", "rule from ::/0 to all preference 51 protocol 18 nop"),
        ("addr del 10.70.0.1/24 dev eth0", "10.70.0.1/24 on eth0"),
    ];
    ip(&format!("-n {ns} route del 198.18.3.0/24 proto 18"));
    for (command, what) in removals {
        ip(&format!("-n {ns} {command}"));
        let started = Instant::now();
        assert!(
            netconf.until(|report| matches!(report, Report::Repaired { router: RouterId(7), .. })),
            "{what}"
        );
        assert!(started.elapsed() < seconds(2), "{what}");
        assert_eq!(netconf.take_lost(), [what]);
        let untracked = ["route unicast 198.18.3.0/24 prepend dev eth0 protocol 18 no_track"];
        assert_eq!(netconf.missing(|missing| missing == untracked), untracked);
    }
    assert!(!ip_of(&net, 1, "route").contains("198.18.3.0"), "what is not tracked stays away");
    // Again and again.
    for _ in 1..repair::REPAIRS {
        ip(&format!("-n {ns} route del 198.18.1.0/24 proto 18"));
        assert!(netconf.until(|report| matches!(report, Report::Repaired { .. })), "put back");
    }
    netconf.take_lost();
    ip(&format!("-n {ns} route del 198.18.1.0/24 proto 18"));
    assert!(
        netconf.until(|report| matches!(report, Report::AddressLost { router: RouterId(7), .. })),
        "yielded"
    );
    let what = "route unicast 198.18.1.0/24 prepend via 10.50.0.9 dev eth0 protocol 18, put back 5 times within 60 s,";
    assert_eq!(netconf.take_lost(), [what]);
    // Static ones for ever, once a second.
    netconf.want_load(holding(7, Load::default()));
    let fixed = Want { router: STATIC, ..holding(0, routes(&["198.18.1.0/24 dev eth0"])) };
    netconf.want_load(fixed);
    let started = Instant::now();
    for _ in 0..3 {
        ip(&format!("-n {ns} route del 198.18.1.0/24 proto 18"));
        until_route(&net, "198.18.1.0/24", true, seconds(2));
    }
    assert!(started.elapsed() > Duration::from_millis(1500), "{:?}", started.elapsed());
    netconf.drain();
    assert_eq!(netconf.take_lost().len(), 1, "told once a minute");
}

#[test]
fn routes_wait_for_what_they_need() {
    if skip("routes_wait_for_what_they_need") {
        return;
    }
    let net = Net::new("re");
    alike(&net);
    let ns = net.ns(1);
    let mut netconf = Netconf::start(&net);
    // Another has made one to the same destination, with another protocol: it counts.
    ip(&format!("-n {ns} route add 198.18.4.0/24 dev eth1 proto static"));
    let lines = [
        "198.18.1.0/24 via 10.60.0.9 dev eth0",
        "198.18.2.0/24 dev eth9",
        "198.18.3.0/24 dev eth0",
        "add 198.18.4.0/24 dev eth0",
        "2001:db8:1::/48 via fd60::9",
    ];
    netconf.want_load(holding(1, routes(&lines)));
    let missing = netconf.missing(|missing| missing.len() == 3);
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(ip_of(&net, 1, "route").contains("198.18.4.0/24 dev eth1 proto static"));
    // The gateway's network comes.
    ip(&format!("-n {ns} addr add 10.60.0.1/24 dev eth0"));
    ip(&format!("-n {ns} addr add fd60::1/64 dev eth0 nodad"));
    until_route(&net, "198.18.1.0/24 via 10.60.0.9", true, seconds(2));
    until_route(&net, "2001:db8:1::/48 via fd60::9", true, seconds(2));
    // The interface comes, goes and returns.
    for _ in 0..2 {
        ip(&format!("-n {ns} link add eth9 type veth peer name eth8"));
        ip(&format!("-n {ns} link set eth8 up"));
        ip(&format!("-n {ns} link set eth9 up"));
        until_route(&net, "198.18.2.0/24 dev eth9", true, seconds(2));
        ip(&format!("-n {ns} link del eth9"));
        until_route(&net, "198.18.2.0/24", false, seconds(1));
    }
    // An interface that goes down takes its routes along, which is nobody's doing.
    ip(&format!("-n {ns} link set eth0 down"));
    until_route(&net, "198.18.3.0/24", false, seconds(1));
    ip(&format!("-n {ns} link set eth0 up"));
    until_route(&net, "198.18.3.0/24", true, seconds(3));
    until_route(&net, "198.18.1.0/24", true, seconds(3));
    netconf.drain();
    assert_eq!(netconf.take_lost(), Vec::<String>::new());
    // The other one goes: ours takes its place.
    ip(&format!("-n {ns} route del 198.18.4.0/24 dev eth1"));
    ip(&format!("-n {ns} addr add 10.61.0.1/24 dev eth0"));
    until_route(&net, "198.18.4.0/24 dev eth0", true, seconds(2));
}

/// Hundreds of changes while nobody takes reports: messages are lost, and what is there in the end is right.
#[test]
fn five_hundred_flaps_end_right() {
    if skip("five_hundred_flaps_end_right") {
        return;
    }
    let net = Net::new("rf");
    alike(&net);
    // It waits when a report was not taken yet.
    let mut netconf = Netconf::with_queue(&net, 1);
    let text = "static_ipaddress {\n 10.70.0.1/24 dev eth1\n fd70::1/64 dev eth1\n}\nstatic_routes {\n \
                198.18.1.0/24 via 10.70.0.9 dev eth1\n 2001:db8:1::/48 via fd70::9 dev eth1\n}\n\
                static_rules {\n nop preference 50\n}\n";
    netconf.want_load(Want { router: STATIC, ..holding(0, load(text)) });
    until_route(&net, "198.18.1.0/24 via 10.70.0.9", true, seconds(1));
    let mut lines = Vec::new();
    for number in 0..500 {
        lines.extend(["link set eth1 down".to_owned(), "link set eth1 up".to_owned()]);
        lines.extend((0..20).flat_map(|_| {
            ["addr add 10.99.0.1/32 dev lo".to_owned(), "addr del 10.99.0.1/32 dev lo".to_owned()]
        }));
        if number == 400 {
            lines.push("rule del preference 50".to_owned());
        }
    }
    batch(&net, 1, &lines);
    assert!(addresses::drops(&net) > 0, "messages were lost");
    let all = || {
        let mut text = ip_of(&net, 1, "addr show dev eth1") + &ip_of(&net, 1, "route show proto 18");
        text += &(ip_of(&net, 1, "-6 route show proto 18") + &ip_of(&net, 1, "rule show"));
        let want = ["10.70.0.1/24", "fd70::1/64", "198.18.1.0/24 via", "2001:db8:1::/48 via", "50:\t"];
        if want.iter().all(|one| text.contains(one)) { Ok(()) } else { Err(text) }
    };
    let end = Instant::now() + seconds(10);
    while let Err(found) = all() {
        assert!(Instant::now() < end, "{found}");
        netconf.drain();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// A host with all routes of the Internet changes thousands a second: they are not even received.
#[test]
fn other_peoples_routes_are_no_burden() {
    if skip("other_peoples_routes_are_no_burden") {
        return;
    }
    let net = Net::new("rg");
    alike(&net);
    let mut netconf = Netconf::with_queue(&net, 1);
    netconf.want_load(holding(1, routes(&["198.18.1.0/24 dev eth0"])));
    // It stands still: two reports wait.
    for number in 1..=3 {
        ip(&format!("-n {} addr add 10.99.0.{number}/32 dev eth1", net.ns(1)));
    }
    let route = |number: usize| {
        format!("route add 10.{}.{}.0/24 dev eth1 proto bgp", 100 + number / 256, number % 256)
    };
    batch(&net, 1, &(0..20_000).map(route).collect::<Vec<_>>());
    assert_eq!(addresses::drops(&net), 0);
    netconf.drain();
    ip(&format!("-n {} route del 198.18.1.0/24", net.ns(1)));
    let end = Instant::now() + seconds(2);
    while !ip_of(&net, 1, "route show proto 18").contains("198.18.1.0/24") {
        assert!(Instant::now() < end, "put back among 20,000 others");
        netconf.drain();
    }
}
