//! Interfaces of virtual routers' own and the packet filter, between two hosts.

use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{LinkAddr, recvfrom};
use socket2::{Domain, Protocol, Socket, Type};

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

    /// Whether the interface has the address, and not the other one.
    fn moved(&self, host: u8, device: &str, other: &str) -> Result<(), String> {
        let shown = self.shows(host, "-oneline -4 addr show");
        let has = |device: &str| {
            shown.lines().any(|line| line.contains(&format!(" {device} ")) && line.contains("10.77.0.100/24"))
        };
        if has(device) && !has(other) { Ok(()) } else { Err(shown) }
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

    /// Whether a ping is answered within a second.
    fn pings(&self, host: u8, address: &str) -> bool {
        let address: IpAddr = address.parse().expect("address");
        self.inside(host, || {
            let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("a raw socket");
            socket.connect(&std::net::SocketAddr::new(address, 0).into()).expect("a way there");
            // Echo request (RFC 792), its checksum, number and sequence.
            socket.send(&[8, 0, 0xb2, 0xb2, 0x45, 0x4c, 0, 1]).expect("sent");
            let until = Instant::now() + seconds(1);
            let mut answer = [0; 128];
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                socket.set_read_timeout(Some(left)).expect("a time limit");
                match (&socket).read(&mut answer) {
                    // Behind the IP header: echo reply, with our number.
                    Ok(28) if answer[20] == 0 && answer[24..28] == [0x45, 0x4c, 0, 1] => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            }
        })
    }

    /// Hardware address that a host has learnt for another.
    fn learnt(&self, host: u8, address: &str) -> String {
        let shown = self.shows(host, &format!("neigh show {address}"));
        let mut words = shown.split_whitespace().skip_while(|word| *word != "lladdr");
        words.nth(1).unwrap_or_default().to_owned()
    }
}

impl Running {
    /// As the daemon does it, on host 1 of `net`.
    fn reload_config(&self, net: &Net, rest: &str) {
        let (config, wants) = load(rest);
        net.inside(1, || self.router.prepare(wants)).expect("prepared");
        let setup = Setup::of(vec![config.vrrp_setup().instances.remove(0)]);
        self.router.reload(setup, Scheduling::default(), Network::default());
    }
}

fn until(what: &str, holds: impl Fn() -> Result<(), String>) {
    let end = Instant::now() + seconds(5);
    while let Err(found) = holds() {
        assert!(Instant::now() < end, "{what}: {found}");
        std::thread::park_timeout(Duration::from_millis(5));
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
        assert_eq!(net.pings(2, "10.77.0.100"), answers, "{name}");
        assert_ne!(net.learnt(2, "10.77.0.100"), "", "{name}: ARP is answered");
        assert!(net.answers(2, "10.77.0.1"), "{name}: its own address answers");
        assert!(net.pings(2, "10.77.0.1"), "{name}: its own address answers");
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

/// use_vmac turned on, vmac_xmit_base changed, and both turned off again.
#[test]
fn an_interface_of_its_own_over_reloads() {
    if skip("an_interface_of_its_own_over_reloads") {
        return;
    }
    let net = Net::new("orl");
    let config = |mode: &str| format!("priority 150\n{mode}\n{ADDRESS}");
    let (plain, below, on_it) = (config(""), config("use_vmac\nvmac_xmit_base"), config("use_vmac"));
    let mut first = net.start_config(1, &plain);
    let second = net.start_config(2, &format!("priority 100\n{ADDRESS}"));
    first.router.begin();
    net.wait(1, VIP, true, seconds(5));
    second.router.begin();
    second.wait_state("BACKUP", seconds(2));
    first.told(&["BACKUP", "MASTER"]);
    let releases = || second.instance().status.priority_zero_received;
    let setting = || net.inside(1, || std::fs::read_to_string("/proc/sys/net/ipv4/conf/eth0/arp_ignore"));
    let before = setting().expect("setting");

    assert!(first.router.prepare(load(&below).1).is_err(), "this thread is in another network namespace");
    // The same virtual router, which sends its adverts where it did: it stays master.
    first.reload_config(&net, &below);
    until("it has moved", || net.moved(1, "vrrp.77", "eth0"));
    let index = net.inside(1, || if_nametoindex("vrrp.77")).expect("index");
    first.reload_config(&net, &plain);
    until("it has moved back", || net.moved(1, "eth0", "vrrp.77"));
    let gone = || net.inside(1, || if_nametoindex("vrrp.77")).map_or(Ok(()), |_| Err("still there".into()));
    until("its interface is gone", gone);
    until("the parent is as it was", || {
        let now = setting().expect("setting");
        if now == before { Ok(()) } else { Err(now) }
    });
    assert_eq!(first.states(), Vec::<String>::new(), "it was master all the time");
    assert_eq!(releases(), 0);

    // Adverts from elsewhere are another virtual router's: it releases, and takes over in its turn.
    first.reload_config(&net, &below);
    until("it has moved", || net.moved(1, "vrrp.77", "eth0"));
    assert_ne!(net.inside(1, || if_nametoindex("vrrp.77")).expect("index"), index, "another one");
    let index = net.inside(1, || if_nametoindex("vrrp.77")).expect("index");
    for (name, text, released) in
        [("on it", &on_it, 1), ("below it again", &below, 2), ("on it again", &on_it, 3)]
    {
        first.reload_config(&net, text);
        until(name, || if releases() == released { Ok(()) } else { Err(format!("{}", releases())) });
        first.wait_state("MASTER", seconds(5));
        until(name, || net.moved(1, "vrrp.77", "eth0"));
        assert_eq!(
            net.inside(1, || if_nametoindex("vrrp.77")).expect("index"),
            index,
            "{name}: the same one"
        );
        second.wait_state("BACKUP", seconds(5));
    }
    // The last word of the old one leaves over an interface that nobody wants any more.
    first.reload_config(&net, &plain);
    until("released", || if releases() == 4 { Ok(()) } else { Err(format!("{}", releases())) });
    until("its interface is gone", gone);
    first.wait_state("MASTER", seconds(5));
    until("it is where it began", || net.moved(1, "eth0", "vrrp.77"));
    let told = first.states();
    assert!(!told.iter().any(|state| state == "FAULT"), "{told:?}");
    first.router.stop(true, seconds(5));
    second.router.stop(true, seconds(5));
}

/// Gratuitous ARP that arrives at some interfaces of a host.
struct Arp(Socket);

impl Arp {
    fn listen(net: &Net, host: u8) -> Self {
        let protocol = Protocol::from(i32::from(0x0806_u16.to_be()));
        let socket = net.inside(host, || Socket::new(Domain::PACKET, Type::RAW, Some(protocol)));
        let socket = socket.expect("packet socket");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("time limit");
        Arp(socket)
    }

    /// The next one at `interface` that is about `address`, as sender and as target: who sent it.
    fn next(&self, interface: u32, address: Ipv4Addr, limit: Duration) -> Option<[u8; 6]> {
        let until = Instant::now() + limit;
        let mut frame = [0; 256];
        while Instant::now() < until {
            let Ok((length, Some(from))) = recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut frame) else {
                continue;
            };
            let at = usize::try_from(interface).expect("index");
            let octets = address.octets();
            // RFC 826: 14 octets of Ethernet, then the request with its four addresses.
            let is_it = length >= 42 && from.ifindex() == at && frame[20..22] == [0, 1];
            if is_it && frame[28..32] == octets && frame[38..42] == octets && frame[..6] == [0xff; 6] {
                return frame[22..28].try_into().ok();
            }
        }
        None
    }
}

#[test]
fn addresses_elsewhere_are_announced_again_and_again() {
    if skip("addresses_elsewhere_are_announced_again_and_again") {
        return;
    }
    let elsewhere = Ipv4Addr::new(10, 88, 0, 100);
    for (test, name, rest, virtual_mac) in [
        ("gxa", "every interface", "garp_extra_if all 1", false),
        ("gxv", "an interface of its own", "use_vmac_addr\n garp_extra_if 1", true),
    ] {
        let net = Net::new(test);
        let ns = net.ns(1);
        ip(&format!("-n {ns} link add eth1 address 02:00:00:00:00:11 type veth peer name far1"));
        ip(&format!("-n {ns} link set eth1 up"));
        ip(&format!("-n {ns} link set far1 up"));
        let index = |host: u8, name: &'static str| net.inside(host, || if_nametoindex(name)).expect("index");
        let (far, near) = (index(1, "far1"), index(2, "eth0"));
        let (at_far, at_peer) = (Arp::listen(&net, 1), Arp::listen(&net, 2));
        let one = net.start_config(
            1,
            &format!(
                "priority 255\n garp_master_delay 0\n garp_master_repeat 1\n {rest}\n{ADDRESS}\n virtual_ipaddress_excluded {{\n \
                 {elsewhere}/24 dev eth1\n }}"
            ),
        );
        one.router.begin();
        let sender = if virtual_mac { [0, 0, 0x5e, 0, 1, 77] } else { [2, 0, 0, 0, 0, 0x11] };
        assert_eq!(at_far.next(far, elsewhere, seconds(5)), Some(sender), "{name}: as master");
        assert!(at_peer.next(near, VIP, seconds(1)).is_some(), "{name}: as master");
        let mut last = Instant::now();
        for round in 1..=3 {
            assert_eq!(at_far.next(far, elsewhere, seconds(3)), Some(sender), "{name}: round {round}");
            // The first follows the announcement as master, whose end is not seen.
            let apart = last.elapsed();
            assert!(
                round == 1 || apart > Duration::from_millis(900),
                "{name}: round {round} after {apart:?}"
            );
            last = Instant::now();
        }
        let once_more = at_peer.next(near, VIP, Duration::from_millis(50));
        assert_eq!(once_more, None, "{name}: where adverts are sent they are enough");
        one.router.stop(true, seconds(5));
    }
}

/// The interface gets another name while it is up.
#[test]
fn what_is_held_does_not_stay_on_an_interface_that_is_renamed() {
    if skip("what_is_held_does_not_stay_on_an_interface_that_is_renamed") {
        return;
    }
    let net = Net::new("ren");
    let ns = net.ns(1);
    ip(&format!("-n {ns} link add eth7 type veth peer name eth8"));
    ip(&format!("-n {ns} link set eth7 up"));
    ip(&format!("-n {ns} link set eth8 up"));
    let renamed = ["-n", &ns, "link", "set", "eth7", "name", "probe7"];
    if !run("ip", &renamed) {
        return lbd_integration::skip::report(
            "what_is_held_does_not_stay_on_an_interface_that_is_renamed",
            "needs a kernel that renames interfaces that are up (6.2)",
        );
    }
    ip(&format!("-n {ns} link set probe7 name eth7"));
    let mut config = config(254);
    config.addresses = vec![vip(VIP), vip(Ipv4Addr::new(10, 78, 0, 1)), vip(Ipv4Addr::new(10, 78, 0, 2))];
    config.interface = Some("eth7".into());
    config.trackers = Vec::new();
    ip(&format!("-n {ns} addr add 10.99.0.1/24 dev eth7"));
    let text = "vrrp_instance VI_1 {\n interface eth7\n virtual_router_id 77\n virtual_ipaddress {\n 10.77.0.100/24\n }\n \
                virtual_routes {\n 198.18.2.0/24 dev eth7\n }\n}\n";
    let network = Network::of(&lbd_grammar::load_str("network", text).config.expect("a configuration"));
    let one = net.start_with(1, config, vec![], network);
    one.router.begin();
    net.wait(1, VIP, true, seconds(5));
    let all = || net.shows(1, "addr show") + &net.shows(1, "route show proto 18");
    let holds = |want: bool| {
        let text = all();
        let there =
            ["10.77.0.100/", "10.78.0.1/", "10.78.0.2/", "198.18.2.0/24"].map(|one| text.contains(one));
        if there == [want; 4] { Ok(()) } else { Err(text) }
    };
    until("all is there", || holds(true));
    ip(&format!("-n {ns} link set eth7 name lan7"));
    one.wait_state("FAULT", seconds(2));
    until("nothing of it is left", || holds(false));
    assert!(all().contains("10.99.0.1/24"), "what is not ours stays");
    ip(&format!("-n {ns} link set lan7 name eth7"));
    until("all is there again", || holds(true));
    one.router.stop(true, seconds(5));
    assert!(holds(false).is_ok());
}
