//! Interfaces of virtual routers' own and the packet filter, between two hosts.

use std::net::TcpStream;

use lbd_grammar::config::Config;

use super::*;

/// A configuration, and what it needs of the host.
fn load(rest: &str) -> (Config, HostWants) {
    let text = format!(
        "vrrp_instance VI_1 {{\n interface eth0\n virtual_router_id 77\n version 3\n advert_int 0.1\n{rest}\n}}\n"
    );
    let config = lbd_grammar::load_str("test.conf", &text).config.expect("a configuration");
    let wants = crate::daemon::host::wants(&config);
    (config, wants)
}

impl Net {
    fn start_config(&self, host: u8, rest: &str) -> Running {
        let (config, wants) = load(rest);
        let router = config.vrrp_setup().instances.remove(0);
        self.start_on(host, router, vec![], Network::default(), wants)
    }

    fn shows(&self, host: u8, arguments: &str) -> String {
        let mut command = Command::new("ip");
        command.args(["-n", &self.ns(host)]).args(arguments.split_whitespace());
        String::from_utf8_lossy(&command.output().expect("ip").stdout).into_owned()
    }

    /// Whether a port where nobody listens says so.
    fn answers(&self, host: u8, address: &str) -> bool {
        let address: IpAddr = address.parse().expect("address");
        let connect = || TcpStream::connect_timeout(&(address, 9).into(), seconds(1));
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        self.inside(host, || connect().err().is_some_and(refused))
    }

    /// Hardware address that a host has learnt for another.
    fn learnt(&self, host: u8, address: &str) -> String {
        let shown = self.shows(host, &format!("neigh show {address}"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).unwrap_or_default().to_owned()
    }
}

const ADDRESS: &str = "virtual_ipaddress {\n 10.77.0.100/24\n }";

#[test]
fn two_routers_with_interfaces_of_their_own() {
    if skip("two_routers_with_interfaces_of_their_own") {
        return;
    }
    let net = Net::new("own");
    for (name, mode) in [("adverts on it", "use_vmac"), ("adverts below it", "use_vmac\n vmac_xmit_base")] {
        let mut first = net.start_config(1, &format!("priority 150\n{mode}\n{ADDRESS}"));
        let second = net.start_config(2, &format!("priority 100\n{mode}\n{ADDRESS}"));
        first.router.begin();
        second.router.begin();
        net.wait(1, VIP, true, seconds(5));
        assert!(net.shows(1, "addr show dev vrrp.77").contains("10.77.0.100/24"), "{name}");
        second.wait_state("BACKUP", seconds(2));
        assert!(net.answers(2, "10.77.0.100"), "{name}: it answers");
        assert_eq!(net.learnt(2, "10.77.0.100"), "00:00:5e:00:01:4d", "{name}");
        first.told(&["BACKUP", "MASTER"]);
        let heard = second.instance().status.clone();
        assert_eq!(heard.master.as_deref(), Some("10.77.0.1"), "{name}: the parent's address is the source");
        // What comes in on the parent too is no foreign router.
        assert_eq!(second.router.snapshot().borrow().foreign, [], "{name}");
        // Without its parent it can do nothing.
        ip(&format!("-n {} link set eth0 down", net.ns(1)));
        let fault = first.wait_state("FAULT", seconds(5));
        assert!(fault.status.fault_reasons.join(" ").contains("eth0 is down"), "{name}: {fault:?}");
        net.wait(2, VIP, true, seconds(5));
        ip(&format!("-n {} link set eth0 up", net.ns(1)));
        net.wait(1, VIP, true, seconds(10));
        net.wait(2, VIP, false, seconds(5));
        first.router.stop(true, seconds(5));
        net.wait(2, VIP, true, seconds(5));
        assert!(!net.shows(1, "link").contains("vrrp.77"), "{name}: its interface goes with it");
        second.router.stop(true, seconds(5));
    }
}

#[test]
fn who_does_not_accept_is_silent_but_found() {
    if skip("who_does_not_accept_is_silent_but_found") {
        return;
    }
    let net = Net::new("acc");
    for (name, rest, answers) in [("accept", "", true), ("no_accept", "no_accept", false)] {
        let router = net.start_config(1, &format!("priority 150\n{rest}\n{ADDRESS}"));
        router.router.begin();
        net.wait(1, VIP, true, seconds(5));
        assert_eq!(net.answers(2, "10.77.0.100"), answers, "{name}");
        assert_ne!(net.learnt(2, "10.77.0.100"), "", "{name}: ARP is answered");
        assert!(net.answers(2, "10.77.0.1"), "{name}: its own address answers");
        router.router.stop(true, seconds(5));
        let rules =
            net.inside(1, || Command::new("nft").args(["list", "ruleset"]).output().expect("nft").stdout);
        assert_eq!(String::from_utf8_lossy(&rules), "", "{name}: no rules are left");
    }
}

#[test]
fn an_interface_of_its_own_over_ipv6() {
    if skip("an_interface_of_its_own_over_ipv6") {
        return;
    }
    let net = Net::new("six");
    let rest = "priority 150\nuse_vmac\nvirtual_ipaddress {\n fe80::100/64\n fd77::100/64\n }";
    let first = net.start_config(1, rest);
    let second = net.start_config(2, &rest.replace("150", "100"));
    ip(&format!("-n {} addr add fd77::2/64 dev eth0 nodad", net.ns(2)));
    first.router.begin();
    second.router.begin();
    first.wait_state("MASTER", seconds(10));
    second.wait_state("BACKUP", seconds(10));
    let until = Instant::now() + seconds(5);
    while !net.shows(1, "-6 addr show dev vrrp6.77").contains("fd77::100/64") {
        assert!(Instant::now() < until, "{}", net.shows(1, "addr"));
    }
    while !net.answers(2, "fd77::100") {
        assert!(Instant::now() < until, "it answers");
    }
    assert_eq!(net.learnt(2, "fd77::100"), "00:00:5e:00:02:4d");
    first.router.stop(true, seconds(5));
    second.wait_state("MASTER", seconds(5));
    second.router.stop(true, seconds(5));
}
