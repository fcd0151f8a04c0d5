//! What words become: the same as `ip` makes of them.

use std::collections::BTreeMap;

use super::*;

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
