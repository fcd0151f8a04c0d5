//! What configurations mean: inheritance, defaults and the rules between keywords.

mod common;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::summaries;
use lbd_grammar::config::{Config, VirtualServer};
use lbd_grammar::load_str;
use lbd_health::{Check, CheckKind};
use lbd_ipvs::{Forwarding, Netmask, ServiceFlags, Tunnel};
use lbd_vrrp::{Authentication, Delivery, Peer, Priority, TrackerId, Weight};

fn config(text: &str) -> Config {
    let loaded = load_str("c", text);
    let said = summaries(&loaded);
    loaded.config.unwrap_or_else(|| panic!("{text}\n{said:#?}"))
}

fn server(head: &str, lines: &str) -> Arc<VirtualServer> {
    let text = format!("virtual_server {head} {{\n{lines}\n}}\n");
    config(&text).virtual_servers.into_iter().next().unwrap_or_else(|| panic!("left out: {text}"))
}

fn check(server: &VirtualServer) -> &Check {
    server.real_servers.first().and_then(|real| real.checks.first()).expect("a check")
}

#[test]
fn times_are_inherited_from_the_nearest() {
    let secs = Duration::from_secs;
    for (name, of_server, of_real, kind, of_check, want) in [
        // delay_loop, retry, delay_before_retry, warmup, connect_timeout
        ("built-in TCP", "", "", "TCP_CHECK", "", (60, 1, 1, 60, 5)),
        ("built-in HTTP", "", "", "HTTP_GET", "", (60, 1, 3, 60, 5)),
        ("built-in MISC", "", "", "MISC_CHECK", "", (60, 0, 1, 60, 0)),
        ("the manual's example", "delay_loop 5\nretry 2", "retry 3", "TCP_CHECK", "", (5, 3, 1, 5, 5)),
        (
            "virtual server",
            "delay_before_retry 7\nwarmup 8\nconnect_timeout 9",
            "",
            "HTTP_GET",
            "",
            (60, 1, 7, 8, 9),
        ),
        (
            "checker before real server",
            "",
            "retry 4\ndelay_loop 2",
            "TCP_CHECK",
            "retry 0\ndelay_loop 1",
            (1, 0, 1, 1, 5),
        ),
        (
            "real server before virtual",
            "connect_timeout 2",
            "connect_timeout 3",
            "TCP_CHECK",
            "",
            (60, 1, 1, 60, 3),
        ),
    ] {
        let needs = match kind {
            "HTTP_GET" => "url {\npath /\n}",
            "MISC_CHECK" => "misc_path /bin/true",
            _ => "",
        };
        let text = format!(
            "lb_algo rr\n{of_server}\nreal_server 10.0.0.2 80 {{\n{of_real}\n{kind} {{\n{needs}\n{of_check}\n}}\n}}"
        );
        let server = server("10.0.0.1 80", &text);
        let check = check(&server);
        let schedule = check.schedule;
        let timeout = match &check.kind {
            CheckKind::Tcp(connection) => connection.timeout,
            CheckKind::Http(http) => http.connection.timeout,
            _ => Duration::ZERO,
        };
        let got =
            (schedule.delay_loop, schedule.retry, schedule.delay_before_retry, schedule.warmup, timeout);
        let want = (secs(want.0), want.1, secs(want.2), secs(want.3), secs(want.4));
        assert_eq!(got, want, "{name}");
    }
}

#[test]
fn ports_follow_the_forwarding_method() {
    for (name, head, kind, real, want, target) in [
        ("NAT keeps its own", "10.0.0.1 80", "NAT", "10.0.0.2 8080", "10.0.0.2:8080", "10.0.0.2:8080"),
        ("NAT inherits", "10.0.0.1 80", "NAT", "10.0.0.2", "10.0.0.2:80", "10.0.0.2:80"),
        ("zeros are none", "10.0.0.1 80", "NAT", "10.0.0.2 0", "10.0.0.2:80", "10.0.0.2:80"),
        (
            "DR forces, the check does not",
            "10.0.0.1 80",
            "DR",
            "10.0.0.2 8080",
            "10.0.0.2:80",
            "10.0.0.2:8080",
        ),
        ("TUN forces", "10.0.0.1 80", "TUN", "10.0.0.2 8080", "10.0.0.2:80", "10.0.0.2:8080"),
        ("mark with DR", "fwmark 5", "DR", "10.0.0.2 8080", "10.0.0.2:0", "10.0.0.2:8080"),
        ("mark with NAT", "fwmark 5", "NAT", "10.0.0.2 8080", "10.0.0.2:8080", "10.0.0.2:8080"),
        (
            "tunnel of another family",
            "10.0.0.1 80",
            "TUN",
            "2001:db8::2 80",
            "[2001:db8::2]:80",
            "[2001:db8::2]:80",
        ),
    ] {
        let text =
            format!("lb_algo rr\nlb_kind {kind}\nprotocol TCP\nreal_server {real} {{\nTCP_CHECK {{\n}}\n}}");
        let server = server(head, &text);
        assert_eq!(server.real_servers[0].address.to_string(), want, "{name}");
        let CheckKind::Tcp(connection) = &check(&server).kind else { panic!("{name}: a TCP check") };
        assert_eq!(connection.target.to_string(), target, "{name}");
    }
}

#[test]
fn services() {
    let real = "\nreal_server 10.0.0.2 80 { }";
    let real6 = "\nreal_server 2001:db8::2 80 { }";
    let flags = |bits: &[ServiceFlags]| bits.iter().fold(ServiceFlags::default(), |all, bit| all.with(*bit));
    let (persistent, one, two) = (ServiceFlags::PERSISTENT, ServiceFlags::SCHED_1, ServiceFlags::SCHED_2);
    for (name, head, lines, id, scheduler, want_flags, timeout) in [
        ("defaults", "10.0.0.1 80", real.to_owned(), "UDP 10.0.0.1:80", "wlc", flags(&[]), 0),
        ("any case", "10.0.0.1 80", format!("protocol tcp{real}"), "TCP 10.0.0.1:80", "wlc", flags(&[]), 0),
        ("every port", "10.0.0.1", format!("protocol TCP{real}"), "TCP 10.0.0.1:0", "wlc", persistent, 360),
        (
            "bare persistence",
            "10.0.0.1 80",
            format!("persistence_timeout{real}"),
            "UDP 10.0.0.1:80",
            "wlc",
            persistent,
            360,
        ),
        (
            "granularity",
            "10.0.0.1 80",
            format!("persistence_granularity 255.255.255.0{real}"),
            "UDP 10.0.0.1:80",
            "wlc",
            persistent,
            360,
        ),
        (
            "one packet",
            "10.0.0.1 53",
            format!("ops{real}"),
            "UDP 10.0.0.1:53",
            "wlc",
            ServiceFlags::ONE_PACKET,
            0,
        ),
        (
            "sh",
            "10.0.0.1 80",
            format!("lb_algo sh\nsh-port\nsh-fallback{real}"),
            "UDP 10.0.0.1:80",
            "sh",
            flags(&[one, two]),
            0,
        ),
        ("mh", "10.0.0.1 80", format!("lvs_sched mh\nmh-port{real}"), "UDP 10.0.0.1:80", "mh", two, 0),
        ("mark", "fwmark 7", real.to_owned(), "FWM 7 inet", "wlc", flags(&[]), 0),
        ("mark of IPv6 servers", "fwmark 7", real6.to_owned(), "FWM 7 inet6", "wlc", flags(&[]), 0),
        (
            "mark with a family",
            "fwmark 7",
            format!("ip_family inet6\nlb_kind TUN{real}"),
            "FWM 7 inet6",
            "wlc",
            flags(&[]),
            0,
        ),
        (
            "one packet of a mark",
            "fwmark 7",
            format!("ops{real}"),
            "FWM 7 inet",
            "wlc",
            ServiceFlags::ONE_PACKET,
            0,
        ),
        ("suffix of an address", "10.0.0.1/24 80", real.to_owned(), "UDP 10.0.0.1:80", "wlc", flags(&[]), 0),
    ] {
        let server = server(head, &lines);
        assert_eq!(server.id.to_string(), id, "{name}");
        assert_eq!(server.service.scheduler.as_str(), scheduler, "{name}");
        assert_eq!(server.service.flags, want_flags, "{name}");
        assert_eq!(server.service.persistence_timeout, timeout, "{name}");
    }
    let coarse = server("2001:db8::1 80", &format!("persistence_granularity 64{real6}"));
    assert_eq!(coarse.service.netmask, Netmask::V6(64));
}

#[test]
fn forwarding_methods() {
    for (text, want) in [
        ("NAT", Forwarding::Nat),
        ("DR", Forwarding::Direct),
        ("TUN", Forwarding::Tunnel(Tunnel::Ipip)),
        (
            "TUN type gre csum",
            Forwarding::Tunnel(Tunnel::Gre { checksum: lbd_ipvs::TunnelChecksum::Checksum }),
        ),
        (
            "TUN type gue port 6080 remcsum",
            Forwarding::Tunnel(Tunnel::Gue {
                port: 6080.try_into().expect("not zero"),
                checksum: lbd_ipvs::TunnelChecksum::Remote,
            }),
        ),
    ] {
        let server = server("10.0.0.1 80", &format!("lb_kind {text}\nreal_server 10.0.0.2 80 {{ }}"));
        assert_eq!(server.real_servers[0].destination.forwarding, want, "{text}");
    }
}

#[test]
fn hosts_are_inherited_url_checker_real_virtual() {
    for (name, of_server, of_real, of_check, of_url, want) in [
        ("none", "", "", "", "", None),
        ("virtual server", "v", "", "", "", Some("v")),
        ("real server", "v", "r", "", "", Some("r")),
        ("checker", "v", "r", "c", "", Some("c")),
        ("url", "v", "r", "c", "u", Some("u")),
    ] {
        let line = |host: &str| if host.is_empty() { String::new() } else { format!("virtualhost {host}") };
        let text = format!(
            "{}\nreal_server 10.0.0.2 80 {{\n{}\nHTTP_GET {{\n{}\nurl {{\npath /x\n{}\nstatus_code 200-201 301\n}}\n}}\n}}",
            line(of_server),
            line(of_real),
            line(of_check),
            line(of_url)
        );
        let server = server("10.0.0.1 80", &text);
        let CheckKind::Http(http) = &check(&server).kind else { panic!("an HTTP check") };
        assert_eq!(http.urls[0].host.as_deref(), want, "{name}");
        let status = http.urls[0].status.as_ref().expect("codes");
        assert_eq!(status.0.iter().copied().collect::<Vec<_>>(), [200, 201, 301]);
    }
}

#[test]
fn programs_and_their_users() {
    let text = "virtual_server 10.0.0.1 80 {\n delay_loop 7\n real_server 10.0.0.2 80 {\n\
        notify_up \"/bin/up 'a b' c\\ d\" nobody\n notify_down /bin/down\n\
        MISC_CHECK {\n misc_path '/bin/m x' nobody nogroup\n delay_loop 3\n misc_dynamic\n }\n\
        MISC_CHECK {\n misc_path /bin/m\n user root\n misc_timeout 2\n }\n }\n}\n\
        global_defs {\n script_user daemon\n enable_script_security\n}\n";
    let config = config(text);
    let real = &config.virtual_servers[0].real_servers[0];
    let shown = |id: &lbd_health::ScriptId| {
        let script = &config.scripts[id];
        let user = script.user.as_ref().map(|user| (user.user.as_str(), user.group.as_deref()));
        (script.argv.iter().map(String::as_str).collect::<Vec<_>>(), user)
    };
    let id = real.notify_up.as_ref().expect("notify_up");
    assert_eq!(shown(id), (vec!["/bin/up", "a b", "c d"], Some(("nobody", None))));
    let id = real.notify_down.as_ref().expect("notify_down");
    // global_defs holds for the whole configuration, wherever it stands.
    assert_eq!(shown(id), (vec!["/bin/down"], Some(("daemon", None))));
    let misc: Vec<_> = real
        .checks
        .iter()
        .map(|check| match &check.kind {
            CheckKind::Misc(misc) => (shown(&misc.script), misc.timeout.as_secs(), misc.dynamic),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(misc[0], ((vec!["/bin/m", "x"], Some(("nobody", Some("nogroup")))), 7, true));
    assert_eq!(misc[1], ((vec!["/bin/m"], Some(("root", None))), 2, false));
    assert!(config.global.script_security);
    assert_eq!(config.scripts.len(), 4);
}

/// What keepalived keeps of an address line, and which lines it leaves out as a whole.
#[test]
fn address_lines_with_bad_options() {
    /// Address with prefix, scope, broadcast address, label.
    type Kept = Option<(&'static str, u8, Option<&'static str>, Option<&'static str>)>;
    let rows: [(&str, Kept); 17] = [
        ("10.0.0.1/24 label eth0:0123456789a", None),
        ("10.0.0.1/24 label", None),
        ("10.0.0.1/24 brd x", None),
        ("10.0.0.1/24 broadcast 10.0.0.256", None),
        ("10.0.0.1/24 brd fe80::1", None),
        ("10.0.0.1/24 brd", None),
        ("10.0.0.1/24 scope", None),
        ("10.0.0.1/24 dev", None),
        ("10.0.0.1/24 preferred_lft", None),
        ("10.0.0.1/24 bogus label", None),
        ("10.0.0.1/24 scope 256 label a", Some(("10.0.0.1/24", 0, None, Some("a")))),
        ("10.0.0.1/24 scope link scope foo", Some(("10.0.0.1/24", 253, None, None))),
        ("10.0.0.1/24 label \"\" brd -", Some(("10.0.0.1/24", 0, Some("10.0.0.0"), None))),
        ("10.0.0.1/30 brd +", Some(("10.0.0.1/30", 0, Some("10.0.0.3"), None))),
        ("10.0.0.1/31 brd + label a", Some(("10.0.0.1/31", 0, None, Some("a")))),
        ("10.0.0.1/33 label a", Some(("10.0.0.1/32", 0, None, Some("a")))),
        ("10.0.0.1/x bogus", Some(("10.0.0.1/32", 0, None, None))),
    ];
    for (line, want) in rows {
        let text = format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {{\n 10.0.0.9\n {line}\n }}\n}}"
        );
        let config = config(&text);
        let vip = config.vrrp_instances[0].router.addresses.get(1);
        let got = vip.map(|vip| {
            let broadcast = vip.broadcast.map(|address| address.to_string());
            (format!("{}/{}", vip.address, vip.prefix), vip.scope, broadcast, vip.label.clone())
        });
        let want = want.map(|(address, scope, broadcast, label)| {
            (address.to_owned(), scope, broadcast.map(str::to_owned), label.map(str::to_owned))
        });
        assert_eq!(got, want, "{line}");
    }
    let excluded = "vrrp_instance V {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress {\n 10.0.0.9\n }\n virtual_ipaddress_excluded {\n 2001:db8::1/64 brd +\n 2001:db8::2/64 label a\n 2001:db8::3/129\n }\n}";
    let config = config(excluded);
    let kept: Vec<_> = config.vrrp_instances[0]
        .router
        .excluded_addresses
        .iter()
        .map(|vip| (vip.address.to_string(), vip.prefix, vip.label.clone()))
        .collect();
    assert_eq!(kept, [("2001:db8::2".to_owned(), 64, None), ("2001:db8::3".to_owned(), 128, None)]);
}

#[test]
fn instances() {
    let text = "global_defs {\n vrrp_garp_master_delay 1\n vrrp_mcast_group4 224.0.0.99\n vrrp_min_garp\n\
        vrrp_down_timer_adverts 4\n vrrp_skip_check_adv_addr\n}\n\
        vrrp_script a {\n script /bin/a\n weight -7\n interval 0.0009\n}\nvrrp_script b {\n script /bin/b\n interval 0.5009\n rise 2\n}\n\
        vrrp_instance M {\n state MASTER\n interface eth0\n virtual_router_id 1\n garp_master_delay 9\n\
        virtual_ipaddress {\n 10.0.0.1/24 brd + dev eth1 scope link label eth1:x\n 10.0.0.2\n }\n\
        authentication {\n auth_type PASS\n auth_pass 12345678\n }\n }\n\
        vrrp_instance B {\n interface eth0\n virtual_router_id 2\n nopreempt\n advert_int 2\n\
        track_script {\n a\n b weight 5 reverse\n }\n track_interface {\n eth0\n eth7 weight -3\n }\n\
        unicast_peer {\n 10.0.0.8\n 10.0.0.9\n }\n unicast_src_ip 10.0.0.7\n unicast_ttl 64\n no_virtual_ipaddress\n}\n";
    let loaded = load_str("c", text);
    assert_eq!(
        summaries(&loaded),
        [
            "c:11:2: `interval` is below a millisecond: 1 second is used; a time in seconds from 0.001",
            "c:28:2: `auth_type PASS` sends its password in clear text; RFC 3768 took both out of VRRP; sign adverts with `auth_hmac { … }` on all its routers, one after the other with `mode receive-only`, then `permissive` (keepalived has it since 2.4.2); or remove `authentication`",
            "c:35:2: `nopreempt` leaves a living master alone, so weight -7 of script `a` never makes this router take over from one, and no router that has `nopreempt` takes over because of it (the weight: c:38:2); use `weight 0`: a failure is FAULT then and another router takes over; or remove `nopreempt`",
        ]
    );
    let config = loaded.config.expect("a configuration");
    let (m, b) = (&config.vrrp_instances[0].router, &config.vrrp_instances[1].router);

    assert_eq!((m.priority, b.priority), (Priority::OWNER, Priority::DEFAULT));
    assert_eq!((m.preempt, b.preempt), (true, false));
    assert_eq!((m.advert_interval.as_secs(), b.advert_interval.as_secs()), (1, 2));
    assert_eq!(m.delivery, Delivery::Multicast { group: "224.0.0.99".parse().expect("an address") });
    let peers =
        ["10.0.0.8", "10.0.0.9"].map(|peer| Peer::new(peer.parse::<IpAddr>().expect("an address"))).to_vec();
    assert_eq!(b.delivery, Delivery::Unicast { peers, ttl: Some(64), check_source: false });
    assert_eq!(b.source, Some("10.0.0.7".parse().expect("an address")));
    assert_eq!(m.authentication, Authentication::Pass(*b"12345678"));
    assert_eq!(b.authentication, Authentication::None);
    assert_eq!((m.down_timer_adverts, m.skip_address_check), (4, true));
    // vrrp_min_garp leaves what was set before it, the instance's own value is nearest.
    assert_eq!((m.garp.delay.as_secs(), b.garp.delay.as_secs()), (9, 1));
    assert_eq!((m.garp.repeat, m.garp.lower_priority_delay.as_secs()), (1, 9));

    let vip = &m.addresses[0];
    assert_eq!((vip.address.to_string().as_str(), vip.prefix, vip.scope), ("10.0.0.1", 24, 253));
    assert_eq!(vip.broadcast, Some("10.0.0.255".parse().expect("an address")));
    assert_eq!((vip.device.as_deref(), vip.label.as_deref()), (Some("eth1"), Some("eth1:x")));
    assert_eq!((m.addresses[1].prefix, m.addresses[1].device.as_deref()), (32, None));

    let trackers: Vec<_> =
        b.trackers.iter().map(|(id, weight)| (&*id.name, weight.value, weight.reverse)).collect();
    assert_eq!(trackers, [("a", -7, false), ("b", 5, true)]);
    let interfaces: Vec<_> =
        b.track_interfaces.iter().map(|(name, weight)| (name.as_str(), weight.value)).collect();
    assert_eq!(interfaces, [("eth7", -3)]);
    let script = &config.vrrp_scripts["b"];
    assert_eq!((script.interval, script.timeout), (Duration::from_millis(500), Duration::from_millis(500)));
    assert_eq!((script.rise, script.fall), (2, 1));
    assert_eq!(config.vrrp_scripts["a"].interval, Duration::from_secs(1), "less than a millisecond is 0");
}

#[test]
fn places_of_objects_are_found() {
    let text = "vrrp_script a {\n script /bin/a\n}\nvrrp_instance V {\n interface eth0\n virtual_router_id 1\n\
        virtual_ipaddress {\n 10.0.0.1 dev eth1\n}\ntrack_script {\n a\n}\n}\nvirtual_server 10.0.0.1 80 {\n real_server 10.0.0.2 80 { }\n}\n";
    let loaded = load_str("c", text);
    let config = loaded.config.as_ref().expect("a configuration");
    let (id, spans) = (config.virtual_servers[0].id.clone(), &loaded.spans);
    let script = config.scripts.keys().next().expect("a script");
    for (name, span, want) in [
        ("interface", spans.interface("eth0"), "c:5:12"),
        ("interface of an address", spans.interface("eth1"), "c:8:15"),
        ("instance", spans.instance("V"), "c:4:15"),
        ("vrrp_script", spans.vrrp_script("a"), "c:1:13"),
        ("command", spans.script(script), "c:2:9"),
        ("virtual server", spans.virtual_server(&id), "c:14:1"),
        ("real server", spans.real_server(&id, "10.0.0.2:80".parse().expect("an address")), "c:15:2"),
    ] {
        assert_eq!(span.map(|span| loaded.sources.place(span).to_string()).as_deref(), Some(want), "{name}");
    }
}

/// Else a host whose script fails would stay master.
#[test]
fn a_script_with_a_weight_out_of_range_is_tracked_with_its_own() {
    let text = "vrrp_script s {\n script /bin/s\n weight 7\n}\nvrrp_instance V {\n interface eth0\n virtual_router_id 1\n\
                no_virtual_ipaddress\n track_script {\n s weight 300\n }\n track_interface {\n eth1 weight -300\n }\n}\n";
    let config = config(text);
    let router = &config.vrrp_instances[0].router;
    let own = |value| Weight { value, reverse: false };
    assert_eq!(router.trackers, [(TrackerId::script("s"), own(7))]);
    assert_eq!(router.track_interfaces, [("eth1".to_owned(), own(0))]);
}
