//! Routes, rules and static entries in the kernel: what words become, repair, interfaces that come and go.

use std::collections::BTreeMap;

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

/// An object of a list in JSON by what tells it from others, without what is never the same.
fn listed(
    text: &str,
    key: impl Fn(&serde_json::Value) -> Option<String>,
) -> BTreeMap<String, serde_json::Value> {
    let list: Vec<serde_json::Value> = serde_json::from_str(text).expect("JSON");
    let plain = |mut one: serde_json::Value| {
        let name = key(&one)?;
        let fields = one.as_object_mut()?;
        for field in ["expires", "valid_life_time", "cacheinfo"] {
            fields.remove(field);
        }
        Some((name, one))
    };
    list.into_iter().filter_map(plain).collect()
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

/// Every word of a route, once as lbd has it added and once as `ip` adds it; where the words differ, those of `ip`
/// come second. Every line has a destination of its own.
const ROUTES: &[(&str, &str)] = &[
    ("unicast @ dev eth0", ""),
    ("to @ via 10.50.0.9 dev eth0", ""),
    ("@ via 10.50.0.9", ""),
    ("@ gw 10.50.0.9 oif eth0", "@ via 10.50.0.9 dev eth0"),
    ("@ via inet 10.50.0.9 dev eth0", ""),
    ("@ via inet6 fe80::9 dev eth0", ""),
    ("inet @ dev eth0", "@ dev eth0"),
    ("blackhole @", ""),
    ("unreachable @", ""),
    ("prohibit @", ""),
    ("throw @", ""),
    ("local @ dev eth0 table local", "local @ dev eth0 table local scope host"),
    ("broadcast @ dev eth0 table local", "broadcast @ dev eth0 table local scope link"),
    ("brd @ dev eth0 table 300", "broadcast @ dev eth0 table 300 scope link"),
    ("anycast @ dev eth0", "anycast @ dev eth0 table main scope link"),
    ("multicast @ dev eth0", ""),
    ("nat @ dev eth0", "nat @ dev eth0"),
    ("xresolve @ dev eth0", "xresolve @ dev eth0"),
    ("@ dev eth0 src 10.50.0.1", ""),
    ("@ dev eth0 table 100", ""),
    ("@ dev eth0 table 4294967294", ""),
    ("@ dev eth0 vrf nothing", "@ dev eth0 vrf nothing"),
    ("@ dev eth0 scope link", ""),
    ("@ dev eth0 scope host", ""),
    ("@ dev eth0 tos 0x10", ""),
    ("@ dev eth0 dsfield 0x20", ""),
    ("@ dev eth0 metric 7", ""),
    ("@ dev eth0 priority 8", ""),
    ("@ dev eth0 preference 9", ""),
    ("@ via 10.99.0.9 dev eth0 onlink", ""),
    (
        "@ dev eth0 encap ip id 5 dst 10.50.0.8 src 10.50.0.1 tos 16 ttl 9",
        "@ dev eth0 encap ip id 5 dst 10.50.0.8 src 10.50.0.1 tos 0x10 ttl 9",
    ),
    ("@ dev eth0 encap ip id 5 dst 10.50.0.8 flags 5", "@ dev eth0 encap ip id 5 dst 10.50.0.8 key csum"),
    (
        "@ dev eth0 encap ip6 id 5 dst fd50::8 src fd50::1 tc 16 hoplimit 9",
        "@ dev eth0 encap ip6 id 5 dst fd50::8 src fd50::1 tc 0x10 hoplimit 9",
    ),
    ("@ via 10.50.0.9 dev eth0 encap mpls 100/200", ""),
    (
        "@ via 10.50.0.9 dev eth0 ttl-propagate enabled encap mpls 100",
        "@ via 10.50.0.9 dev eth0 encap mpls 100",
    ),
    ("@ dev eth0 mtu 1400", ""),
    ("@ dev eth0 mtu lock 1400 advmss lock 1300 reordering 4 cwnd lock 20 ssthresh 30", ""),
    ("@ dev eth0 mtu 4000000 advmss 4000000", ""),
    ("@ dev eth0 hoplimit 9 window 5000 initcwnd 11 initrwnd 12", ""),
    // `ip` locks rto_min in any case, keepalived if that is written.
    (
        "@ dev eth0 rtt 500ms rttvar 250ms rto_min lock 300ms",
        "@ dev eth0 rtt 500ms rttvar 250ms rto_min 300ms",
    ),
    (
        "@ dev eth0 rtt lock 2.5s rttvar lock 1s rto_min lock 1s",
        "@ dev eth0 rtt lock 2.5s rttvar lock 1s rto_min 1s",
    ),
    ("@ dev eth0 rtt 4000 rttvar 2000 rto_min lock 300", "@ dev eth0 rtt 4000 rttvar 2000 rto_min 300"),
    ("@ dev eth0 features ecn quickack 1 fastopen_no_cookie 1", ""),
    ("@ dev eth0 quickack 0 fastopen_no_cookie 0", ""),
    ("@ dev eth0 congctl cubic", ""),
    ("@ dev eth0 congctl lock reno", ""),
    ("@ dev eth0 realms 3/4", ""),
    ("@ dev eth0 realms 5", ""),
    ("append @ dev eth0", "@ dev eth0"),
    ("prepend @ dev eth0", "@ dev eth0"),
    ("add @ dev eth0", "@ dev eth0"),
    ("@ via 10.50.0.9 or 10.50.0.8", "@ nexthop via 10.50.0.9 nexthop via 10.50.0.8"),
    ("@ nexthop via 10.50.0.9 dev eth0 weight 2 nexthop via 10.50.0.8 dev eth0 weight 256", ""),
    ("@ nexthop via 10.99.0.9 dev eth0 onlink nexthop via inet6 fe80::8 dev eth1 weight 3", ""),
    ("@ nexthop via 10.50.0.9 realms 1/2 nexthop dev eth1", ""),
    ("@ nexthop via 10.50.0.9 encap ip id 7 dst 10.50.0.7 nexthop dev eth1 weight 2", ""),
    ("& dev eth0", ""),
    ("& via fd50::9 dev eth0", ""),
    ("& via fe80::9 dev eth0 metric 50", ""),
    ("inet6 & dev eth0", "& dev eth0"),
    ("blackhole &", ""),
    ("unreachable &", ""),
    ("prohibit &", ""),
    ("throw &", ""),
    ("local & dev eth0 table local", ""),
    ("anycast & dev eth0", "anycast & dev eth0 table main"),
    ("& dev eth0 src fd50::1 table 400", ""),
    ("& from 2001:db8:ff::/48 dev eth0", ""),
    ("& dev eth0 expires 600", ""),
    ("& dev eth0 pref low", ""),
    ("& dev eth0 pref high mtu lock 1400 hoplimit 7", ""),
    ("& via fd99::9 dev eth0 onlink", ""),
    ("& dev eth0 encap ip6 id 9 dst fd50::8", ""),
    ("& dev eth0 encap ila 2001:db8:0:1", ""),
    ("& nexthop via fd50::9 dev eth0 weight 2 nexthop via fd50::8 dev eth0", ""),
    ("& dev eth0 features ecn congctl cubic", ""),
];

#[test]
fn routes_are_those_that_ip_makes_of_the_same_words() {
    if skip("routes_are_those_that_ip_makes_of_the_same_words") {
        return;
    }
    let net = Net::new("ra");
    alike(&net);
    let destination = |number: usize, six: bool| {
        if six { format!("2001:db8:{number:x}::/48") } else { format!("198.18.{number}.0/24") }
    };
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for (number, (words, other)) in ROUTES.iter().enumerate() {
        let six = words.contains('&');
        let place = |words: &str| words.replace(['@', '&'], &destination(number, six));
        ours.push(place(words));
        let other = if other.is_empty() { words } else { other };
        let scope = if other.contains("scope") || six { "" } else { " scope global" };
        // What describes ways stands last, but for labels and locators, which `ip` does not take there.
        let encap = other.find(" encap ip");
        let at = other.find(" nexthop").or(encap).unwrap_or(other.len());
        let (head, ways) = other.split_at(at);
        let family = if six { "-6 " } else { "" };
        let to = head.strip_prefix("to ").unwrap_or(head);
        theirs.push(format!("{family}route add {} proto 18{scope}{ways}", place(to)));
    }
    let mut netconf = Netconf::start(&net);
    let lines: Vec<&str> = ours.iter().map(String::as_str).collect();
    netconf.want_load(holding(1, routes(&lines)));
    // In `-batch` a family is an option of the whole.
    let of_family = |six: bool| -> Vec<String> {
        // A name that is unknown ends the whole.
        let one = |line: &&String| line.starts_with("-6 ") == six && !line.contains(" vrf ");
        theirs.iter().filter(one).map(|line| line.replacen("-6 ", "", 1)).collect()
    };
    batch(&net, 2, &of_family(false));
    batch(&net, 2, &of_family(true));
    // In JSON the destination of a tunnel takes the place of the route's.
    let all = |host: u8, family: &str| -> BTreeMap<String, String> {
        let text = ip_of(&net, host, &format!("-details {family} route show table all proto 18"));
        let text = text.replace("\n\t", " ");
        let one = |line: &str| {
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if let Some(at) = words.iter().position(|word| *word == "expires") {
                words.drain(at..at + 2);
            }
            ((*words.get(1).expect("type and destination")).to_owned(), words.join(" "))
        };
        text.lines().map(one).collect()
    };
    let both = ["-4", "-6"].map(|family| (all(1, family), all(2, family)));
    let (mut refused, mut wrong) = (Vec::new(), Vec::new());
    for (number, (words, _)) in ROUTES.iter().enumerate() {
        let six = words.contains('&');
        let place = destination(number, six);
        let (ours, theirs) = &both[usize::from(six)];
        match (ours.get(&place), theirs.get(&place)) {
            (None, None) => refused.push(*words),
            (ours, theirs) if ours == theirs => {}
            (ours, theirs) => wrong.push(format!("{words}: {ours:?} {theirs:?}")),
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // What no kernel takes, and what this one was built without.
    let never = ["nat @", "xresolve @", "@ dev eth0 vrf nothing"];
    for words in &refused {
        let built = words.contains("mpls") || words.contains("ila");
        assert!(built || never.iter().any(|one| words.starts_with(one)), "refused: {words}");
    }
    assert!(never.iter().all(|one| refused.iter().any(|words| words.starts_with(one))), "{refused:?}");
    // All of them are found again: nothing is added a second time, and all go.
    let shown = netconf.missing(|missing| missing.len() == refused.len() - 2);
    assert_eq!(shown.len(), refused.len() - 2, "{shown:#?}");
    netconf.want_load(holding(1, Load::default()));
    assert_eq!((all(1, "-4").len(), all(1, "-6").len()), (0, 0));
}

/// The same of rules; every line has a preference of its own.
const RULES: &[(&str, &str)] = &[
    ("from 192.0.2.0/24 table 100", ""),
    ("to 192.0.2.0/24 lookup 101", ""),
    ("from all to 192.0.2.1 table 102", ""),
    ("not from 192.0.2.0/24 table 100", ""),
    ("from 2001:db8::/32 table 100", ""),
    ("to 2001:db8::/32 table 100000", ""),
    ("inet6 iif eth0 table 100", "-6 iif eth0 table 100"),
    ("inet iif eth0 table 100", "iif eth0 table 100"),
    ("tos 0x10 table 100", ""),
    ("dsfield 0x08 table 100", ""),
    ("fwmark 5 table 100", ""),
    ("fwmark 0x5/0xff table 100", ""),
    ("fwmark 0/0xff table 100", ""),
    ("realms 1/2 table 100", ""),
    ("realms 7 table 100", ""),
    ("suppress_prefixlength 0 table main", ""),
    ("sup_pl 8 table main", ""),
    ("suppress_ifgroup 5 table main", ""),
    ("sup_group default table main", ""),
    ("dev eth0 nop", ""),
    ("iif nothing nop", ""),
    ("oif eth0 nop", ""),
    ("tunnel-id 7 nop", "tun_id 7 nop"),
    ("uidrange 1000-1999 nop", ""),
    ("l3mdev", ""),
    ("ipproto tcp sport 80-80 nop", "ipproto tcp sport 80 nop"),
    ("ipproto udp dport 80-443 nop", ""),
    ("ipproto 99 nop", ""),
    ("goto 30000", ""),
    ("nop", ""),
    ("blackhole", ""),
    ("unreachable", ""),
    ("prohibit", ""),
];

#[test]
fn rules_are_those_that_ip_makes_of_the_same_words() {
    if skip("rules_are_those_that_ip_makes_of_the_same_words") {
        return;
    }
    let net = Net::new("rb");
    let (mut ours, mut four, mut six) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (words, other)) in RULES.iter().enumerate() {
        let preference = 1000 + number;
        ours.push(format!("{words} preference {preference}"));
        let other = if other.is_empty() { words } else { other };
        let is_six = other.contains("2001:") || other.starts_with("-6");
        let line = other.strip_prefix("-6 ").unwrap_or(other);
        let line = format!("rule add {line} preference {preference} protocol 18");
        if is_six { &mut six } else { &mut four }.push(line);
    }
    let text = format!("static_rules {{\n{}\n}}\n", ours.join("\n"));
    let mut netconf = Netconf::start(&net);
    netconf.want_load(holding(1, load(&text)));
    let refused = batch(&net, 2, &four);
    assert_eq!(refused, Vec::<usize>::new(), "of IPv4");
    let six: Vec<String> = six.iter().map(|line| format!("-6 {line}")).collect();
    for line in &six {
        ip(&format!("-n {} {line}", net.ns(2)));
    }
    let all = |host: u8, family: &str| {
        let text = ip_of(&net, host, &format!("-details -json {family} rule show"));
        listed(&text, |one| {
            let preference = one["priority"].as_u64()?;
            (1000..2000).contains(&preference).then(|| preference.to_string())
        })
    };
    for family in ["-4", "-6"] {
        let (ours, theirs) = (all(1, family), all(2, family));
        for (preference, rule) in &theirs {
            let words = RULES[preference.parse::<usize>().expect("a number") - 1000].0;
            assert_eq!(ours.get(preference), Some(rule), "{words}");
        }
        assert_eq!(ours.len(), theirs.len(), "{family}");
    }
    assert_eq!(all(1, "-4").len() + all(1, "-6").len(), RULES.len());
    assert_eq!(netconf.missing(<[String]>::is_empty), Vec::<String>::new());
    netconf.want_load(holding(1, Load::default()));
    assert_eq!((all(1, "-4").len(), all(1, "-6").len()), (0, 0));
}

/// The same of addresses; every line has an address of its own.
const ADDRESSES: &[(&str, &str)] = &[
    ("@/24 dev eth0", ""),
    ("@ dev eth0", ""),
    ("@/24 dev eth0 scope link", ""),
    ("@/24 dev eth0 brd +", ""),
    ("@/24 dev eth0 broadcast -", ""),
    ("@/24 dev eth0 brd 10.255.255.255", ""),
    ("@/24 dev eth0 label eth0:x", ""),
    ("@ peer 10.60.0.1/30 dev eth0", ""),
    ("@/24 dev eth0 noprefixroute", ""),
    ("@/24 dev eth0 preferred_lft 500", ""),
    ("&/64 dev eth0", "&/64 dev eth0 nodad"),
    ("& dev eth0", "& dev eth0 nodad preferred_lft 0"),
    ("& dev eth0 preferred_lft forever", "& dev eth0 nodad"),
    ("&/64 dev eth0 home", "&/64 dev eth0 nodad home"),
    ("&/64 dev eth0 mngtmpaddr", "&/64 dev eth0 nodad mngtmpaddr"),
    ("&/64 dev eth0 noprefixroute", "&/64 dev eth0 nodad noprefixroute"),
    ("& peer fd60::1/64 dev eth0", "& peer fd60::1/64 dev eth0 nodad"),
];

#[test]
fn addresses_are_those_that_ip_makes_of_the_same_words() {
    if skip("addresses_are_those_that_ip_makes_of_the_same_words") {
        return;
    }
    let net = Net::new("rc");
    let place = |number: usize, words: &str| {
        let number = number + 1;
        words.replace('@', &format!("10.{number}.0.7")).replace('&', &format!("fd00:{number}::7"))
    };
    let lines: Vec<String> =
        ADDRESSES.iter().enumerate().map(|(number, (words, _))| place(number, words)).collect();
    let mut netconf = Netconf::start(&net);
    netconf.want_load(holding(1, load(&format!("static_ipaddress {{\n{}\n}}\n", lines.join("\n")))));
    for (number, (words, other)) in ADDRESSES.iter().enumerate() {
        let other = if other.is_empty() { words } else { other };
        ip(&format!("-n {} addr add {}", net.ns(2), place(number, other)));
    }
    let all = |host: u8| -> BTreeMap<String, serde_json::Value> {
        let text = ip_of(&net, host, "-details -json addr show dev eth0");
        let links: Vec<serde_json::Value> = serde_json::from_str(&text).expect("JSON");
        listed(&links[0]["addr_info"].to_string(), |one| {
            let local = one["local"].as_str()?.to_owned();
            (local.ends_with(".7") || local.ends_with("::7")).then_some(local)
        })
    };
    let (ours, theirs) = (all(1), all(2));
    assert_eq!((ours.len(), theirs.len()), (ADDRESSES.len(), ADDRESSES.len()));
    for (address, theirs) in &theirs {
        let without = |one: &serde_json::Value| {
            let mut one = one.clone();
            // Seconds that went by.
            if one["preferred_life_time"]
                .as_u64()
                .is_some_and(|time| (1..u64::from(u32::MAX)).contains(&time))
            {
                one["preferred_life_time"] = 500.into();
            }
            one
        };
        assert_eq!(ours.get(address).map(without), Some(without(theirs)), "{address}");
    }
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
        lines.extend((0..8).flat_map(|_| {
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

/// What `ip monitor` prints while something is done.
struct Monitor(Child);

impl Monitor {
    fn start(net: &Net) -> Self {
        let mut command = Command::new("ip");
        command.args(["-n", &net.ns(1), "monitor", "route", "rule", "address"]);
        let child = command.stdout(Stdio::piped()).spawn().expect("ip monitor");
        let monitor = Monitor(child);
        // Until it listens: two sockets of netlink are there then, ours and its.
        until("ip monitor", seconds(2), || {
            let path = "/proc/thread-self/net/netlink";
            let table = net.inside(1, || std::fs::read_to_string(path)).expect("table");
            let pid = monitor.0.id().to_string();
            let listens = |line: &&str| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(2) == Some(&pid.as_str())
                    && words.get(3).is_some_and(|groups| *groups != "00000000")
            };
            if table.lines().any(|line| listens(&line)) { Ok(()) } else { Err(table) }
        });
        monitor
    }

    fn stop(mut self) -> String {
        self.0.kill().expect("its end");
        let output = self.0.wait_with_output().expect("output");
        String::from_utf8(output.stdout).expect("text")
    }
}

fn static_and_virtual(net: &Net, text: &str, saved: Vec<SavedInstance>) -> Running {
    let mut instance = config(254);
    instance.addresses = vec![vip(VIP)];
    net.start_with(1, instance, saved, network(text))
}

const TEXT: &str = "static_routes {\n 198.18.1.0/24 dev eth0\n}\nstatic_rules {\n nop preference 50\n}\n\
                    vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 77\n virtual_ipaddress {\n 10.77.0.100/24\n }\n \
                    virtual_routes {\n 198.18.2.0/24 via 10.77.0.99 dev eth0 src 10.77.0.100\n 198.18.3.0/24 dev eth0\n }\n \
                    virtual_rules {\n from 10.77.0.100 table 100 preference 60\n }\n}\n";

/// In which order lines stand that have these words.
fn order(text: &str, words: &[&str]) -> Vec<usize> {
    let at = |word: &&str| {
        text.lines().position(|line| line.contains(*word)).unwrap_or_else(|| panic!("{word}: {text}"))
    };
    words.iter().map(at).collect()
}

#[test]
fn masters_have_routes_and_rules_in_their_order() {
    if skip("masters_have_routes_and_rules_in_their_order") {
        return;
    }
    let net = Net::new("rh");
    let ns = net.ns(1);
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, TEXT, vec![]);
    one.router.begin();
    until_route(&net, "198.18.1.0/24", true, seconds(1));
    one.wait_state("BACKUP", seconds(1));
    assert!(!ip_of(&net, 1, "route").contains("198.18.2.0"), "only masters have them");
    let status = one.router.status();
    assert!(!status.instances[0].routes[0].present, "{status:?}");
    net.wait(1, VIP, true, seconds(5));
    until_route(&net, "198.18.3.0/24", true, seconds(1));
    let told = monitor.stop();
    let places = order(&told, &["198.18.1.0", "50:", "10.77.0.100/24", "198.18.2.0", "198.18.3.0", "60:"]);
    assert!(places.is_sorted(), "{told}");
    until("status", seconds(1), || {
        let status = one.router.status();
        let instance = &status.instances[0];
        let all = instance.routes.iter().chain(&instance.rules).chain(&status.static_entries.routes);
        let mut all = all.chain(&status.static_entries.rules);
        if all.all(|entry| entry.present) && instance.missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });

    // Reload with a route more and one less: the others are not touched.
    let monitor = Monitor::start(&net);
    let mut instance = config(254);
    instance.addresses = vec![vip(VIP)];
    let text = TEXT
        .replace("198.18.3.0/24 dev eth0", "198.18.4.0/24 dev eth0")
        .replace("nop preference 50", "nop preference 51");
    one.router.reload(Setup::of(vec![instance]), Scheduling::default(), network(&text));
    until_route(&net, "198.18.4.0/24", true, seconds(1));
    until_route(&net, "198.18.3.0/24", false, seconds(1));
    let told = monitor.stop();
    assert!(
        !["198.18.1.0", "198.18.2.0", "10.77.0.100", "60:"].iter().any(|one| told.contains(one)),
        "{told}"
    );
    assert!(order(&told, &["198.18.4.0", "198.18.3.0"]).is_sorted(), "{told}");
    assert_eq!(one.instance().status.state, "MASTER");

    // A route that someone removes again and again makes the master step back.
    for _ in 0..repair::REPAIRS {
        ip(&format!("-n {ns} route del 198.18.4.0/24 proto 18"));
        until_route(&net, "198.18.4.0/24", true, seconds(2));
    }
    assert_eq!(one.instance().status.state, "MASTER");
    ip(&format!("-n {ns} route del 198.18.4.0/24 proto 18"));
    one.wait_state("BACKUP", seconds(1));
    one.wait_state("MASTER", seconds(2));
    until_route(&net, "198.18.4.0/24", true, seconds(1));
    assert_eq!(one.router.status().instances[0].repaired, 5);

    let monitor = Monitor::start(&net);
    one.router.stop(true, seconds(5));
    let told = monitor.stop();
    let places = order(&told, &["60:", "198.18.4.0", "198.18.2.0", "10.77.0.100/24", "51:", "198.18.1.0"]);
    assert!(places.is_sorted(), "{told}");
    assert_eq!(ip_of(&net, 1, "route show table all proto 18"), "", "all is gone");
    assert_eq!(rules(&net).lines().count(), 3, "all is gone");
}

#[test]
fn the_next_process_takes_over_what_was_left() {
    if skip("the_next_process_takes_over_what_was_left") {
        return;
    }
    let net = Net::new("ri");
    let one = static_and_virtual(&net, TEXT, vec![]);
    one.router.begin();
    net.wait(1, VIP, true, seconds(5));
    until_route(&net, "198.18.3.0/24", true, seconds(1));
    one.wait_state("MASTER", seconds(1));
    let saved = one.router.snapshot().borrow().saved();
    assert_eq!(saved.len(), 2, "the virtual router, and what is static");
    one.router.stop(false, seconds(5));
    assert_eq!(ip_of(&net, 1, "route show table all proto 18").lines().count(), 3, "left as it was");

    // The same again: nothing is touched.
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, TEXT, saved.clone());
    one.router.begin();
    one.wait_state("MASTER", seconds(1));
    until("adopted", seconds(1), || {
        let status = one.router.status();
        if status.instances[0].rules[0].present { Ok(()) } else { Err(format!("{status:?}")) }
    });
    assert_eq!(monitor.stop(), "");
    // What is static goes with every orderly stop, what virtual routers hold stays where that is asked for.
    one.router.end(Leave::Instances, seconds(5));
    let routes = ip_of(&net, 1, "route show table all proto 18");
    assert!(
        routes.contains("198.18.2.0") && routes.contains("198.18.3.0") && !routes.contains("198.18.1.0"),
        "{routes}"
    );
    let rules = ip_of(&net, 1, "rule show");
    assert!(rules.contains("60:\t") && !rules.contains("50:\t"), "{rules}");

    // Another configuration: what it does not want is removed, what it wants stays.
    let text = "static_routes {\n 198.18.3.0/24 dev eth0\n}\n";
    let mut old = saved;
    old[0].last_advert_ms = 0;
    let monitor = Monitor::start(&net);
    let one = static_and_virtual(&net, text, old);
    one.router.begin();
    until_route(&net, "198.18.2.0/24", false, seconds(1));
    let rule = || ip_of(&net, 1, "rule show");
    until("rule", seconds(1), || if rule().contains("60:\t") { Err(rule()) } else { Ok(()) });
    let told = monitor.stop();
    assert!(!told.contains("198.18.3.0"), "{told}");
    assert!(ip_of(&net, 1, "route").contains("198.18.3.0"));
    one.router.stop(true, seconds(5));
}

#[test]
fn static_entries_need_no_virtual_router() {
    if skip("static_entries_need_no_virtual_router") {
        return;
    }
    let net = Net::new("rj");
    let ns = net.ns(1);
    let text = "static_ipaddress {\n 10.70.0.1/24 dev eth9\n fd70::1/64 dev eth9\n}\nstatic_routes {\n \
                198.18.1.0/24 via 10.70.0.9 dev eth9\n 2001:db8:1::/48 dev eth9\n}\nstatic_rules {\n nop preference 50\n}\n";
    let (events, _received) = EventSender::channel();
    let options = RouterOptions {
        setup: Setup::default(),
        network: network(text),
        scheduling: Scheduling::default(),
        saved: Vec::new(),
        take_over: false,
        host: HostWants::default(),
        state: "/nonexistent/state".into(),
        events,
    };
    let router = net.inside(1, || Router::start(options)).expect("router");
    assert_eq!(rules(&net).lines().count(), 3, "not before the beginning");
    router.begin();
    let missing = |count: usize| {
        move |fixed: &crate::control::status::StaticStatus| {
            let all = fixed.addresses.iter().chain(&fixed.routes).chain(&fixed.rules);
            all.filter(|entry| !entry.present).count() == count
        }
    };
    let wait = |what: &str, wanted: &dyn Fn(&crate::control::status::StaticStatus) -> bool| {
        until(what, seconds(4), || {
            let fixed = router.status().static_entries;
            if wanted(&fixed) { Ok(()) } else { Err(format!("{fixed:?}")) }
        });
    };
    wait("the rule alone", &missing(4));
    let fixed = router.status().static_entries;
    assert_eq!(fixed.addresses[0].error.as_deref(), Some("interface eth9 does not exist"));
    for _ in 0..2 {
        ip(&format!("-n {ns} link add eth9 type veth peer name eth8"));
        ip(&format!("-n {ns} link set eth8 up"));
        ip(&format!("-n {ns} link set eth9 up"));
        wait("all", &missing(0));
        let routes = ip_of(&net, 1, "route") + &ip_of(&net, 1, "-6 route");
        assert!(
            routes.contains("198.18.1.0/24 via 10.70.0.9") && routes.contains("2001:db8:1::/48"),
            "{routes}"
        );
        ip(&format!("-n {ns} link del eth9"));
        wait("gone with the interface", &missing(4));
    }
    router.reload(
        Setup::default(),
        Scheduling::default(),
        network("static_rules {\n nop preference 51\n}\n"),
    );
    until("another", seconds(1), || {
        let rules = ip_of(&net, 1, "rule show");
        if rules.contains("51:\t") && !rules.contains("50:\t") { Ok(()) } else { Err(rules) }
    });
    router.stop(true, seconds(5));
    assert_eq!(rules(&net).lines().count(), 3);
}

/// Instances that have nothing to hold, or routes only.
#[test]
fn instances_without_addresses() {
    if skip("instances_without_addresses") {
        return;
    }
    let net = Net::new("rk");
    for (name, text) in [
        ("nothing", ""),
        (
            "a route",
            "vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 77\n no_virtual_ipaddress\n virtual_routes {\n \
             198.18.2.0/24 dev eth0\n }\n}\n",
        ),
    ] {
        let mut instance = config(255);
        instance.addresses = Vec::new();
        let one = net.start_with(1, instance, vec![], network(text));
        one.router.begin();
        one.wait_state("MASTER", seconds(2));
        if !text.is_empty() {
            until_route(&net, "198.18.2.0/24", true, seconds(1));
            one.router.reload(
                Setup::of(vec![InstanceConfig { addresses: vec![], ..config(255) }]),
                Scheduling::default(),
                Network::default(),
            );
            until_route(&net, "198.18.2.0/24", false, seconds(1));
        }
        assert_eq!(one.instance().status.state, "MASTER", "{name}");
        one.router.stop(true, seconds(5));
    }
}
