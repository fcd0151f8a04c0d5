//! Netconf alone on a host's eth0: many addresses, refused ones, and what the kernel does of itself.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv6Addr;
use std::sync::mpsc::RecvTimeoutError;

use lbd_vrrp::{DeviceAddress, Interface, RouterId};

use super::*;
use crate::router::mailbox::{LEFTOVERS, Want};
use crate::router::netconf::{Published, Report, Reports, Shared, View};
use crate::router::object::{Key, Load};

const LIMIT: Duration = Duration::from_secs(5);

/// The thread with its reports; it ends with the value.
pub(super) struct Netconf {
    shared: Arc<Shared>,
    reports: Receiver<Report>,
    view: watch::Receiver<Arc<View>>,
    /// What was wanted, in words.
    texts: HashMap<Key, String>,
    /// eth0 as it was told last.
    eth0: Option<Interface>,
    lost: Vec<String>,
    may_fail: bool,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Netconf {
    pub fn start(net: &Net) -> Self {
        Self::with_queue(net, REPORTS)
    }

    pub fn with_queue(net: &Net, length: usize) -> Self {
        let (queue, reports) = sync_channel(length);
        let shared = Arc::new(Shared::new().expect("eventfd"));
        let sink = Reports { queue, waker: Waker::new().expect("eventfd") };
        let (view_sender, view) = watch::channel(Arc::default());
        let published = Published { interfaces: watch::channel(Arc::default()).0, view: view_sender };
        let spawn = || netconf::spawn(Arc::clone(&shared), sink, published);
        let thread = net.inside(1, spawn).expect("thread");
        let mut netconf = Netconf {
            shared,
            reports,
            view,
            texts: HashMap::new(),
            eth0: None,
            lost: Vec::new(),
            may_fail: false,
            thread: Some(thread),
        };
        assert!(netconf.until(|report| matches!(report, Report::Ready)), "ready");
        netconf
    }

    /// Takes reports until the wanted one came.
    pub fn until(&mut self, wanted: impl Fn(&Report) -> bool) -> bool {
        let until = Instant::now() + LIMIT;
        loop {
            match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(report) if wanted(&report) => {
                    self.take(report);
                    return true;
                }
                Ok(report) => self.take(report),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Interface(interface) if interface.name == "eth0" => self.eth0 = Some(interface),
            Report::AddressLost { what, .. } | Report::Repaired { what, .. } => self.lost.push(what),
            Report::Failed(error) if !self.may_fail => panic!("{error}"),
            _ => {}
        }
    }

    fn say(&self, router: u64, hold: &Arc<[DeviceAddress]>) {
        self.shared.want(wanted(router, hold));
    }

    /// Says what a router wants, and waits until it was tried.
    pub fn want_load(&mut self, want: Want) {
        let router = want.router;
        self.texts.extend(want.hold.objects().map(|object| (object.key(), object.to_string())));
        self.shared.want(want);
        let set =
            |report: &Report| matches!(report, Report::AddressesSet { router: id, .. } if *id == router);
        assert!(self.until(set), "set within {LIMIT:?}");
    }

    /// Takes what has been reported.
    pub fn drain(&mut self) {
        while let Ok(report) = self.reports.try_recv() {
            self.take(report);
        }
    }

    /// What was put back or yielded since this was asked last.
    pub fn take_lost(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lost)
    }

    /// What is held and not there, as readers see it when it is as wanted, or after a second.
    pub fn missing(&self, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let until = Instant::now() + seconds(1);
        loop {
            let view = Arc::clone(&self.view.borrow());
            let absent = view.held.iter().filter(|(_, shown)| !shown.present).map(|(key, _)| key);
            let mut missing: Vec<String> = absent.map(|key| self.texts[key].clone()).collect();
            missing.sort();
            if !view.held.is_empty() && wanted(&missing) || Instant::now() >= until {
                return missing;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Says what a router wants, and how long it took.
    fn want(&mut self, router: u64, hold: &Arc<[DeviceAddress]>) -> Duration {
        let started = Instant::now();
        self.say(router, hold);
        let set =
            |report: &Report| matches!(report, Report::AddressesSet { router: id, .. } if id.0 == router);
        assert!(self.until(set), "set within {LIMIT:?}");
        started.elapsed()
    }

    /// Until eth0 was told to be so.
    fn until_eth0(&mut self, wanted: impl Fn(&Interface) -> bool) -> bool {
        self.eth0.as_ref().is_some_and(&wanted)
            || self.until(|report| {
                matches!(report, Report::Interface(interface) if interface.name == "eth0" && wanted(interface))
            })
    }
}

impl Drop for Netconf {
    fn drop(&mut self) {
        self.shared.stop();
        // It may wait for room in the queue.
        while self.reports.recv_timeout(LIMIT).is_ok() {}
        if let Some(thread) = self.thread.take() {
            thread.join().expect("netconf ends");
        }
    }
}

fn wanted(router: u64, hold: &Arc<[DeviceAddress]>) -> Want {
    let holds = !hold.is_empty();
    Want { router: RouterId(router), holds, hold: Load::of_addresses(Arc::clone(hold)), purge: Vec::new() }
}

/// The addresses of a host's eth0 as `ip` shows them, link-local ones of IPv6 left out.
fn shown(net: &Net) -> Vec<String> {
    let mut show = Command::new("ip");
    show.args(["-n", &net.ns(1), "-o", "addr", "show", "dev", "eth0"]);
    let text = String::from_utf8(show.output().expect("ip").stdout).expect("text");
    let address = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
    text.lines().filter_map(address).filter(|one| !one.starts_with("fe80")).collect()
}

fn there(net: &Net) -> BTreeSet<String> {
    shown(net).into_iter().collect()
}

fn eth0(address: VirtualAddress) -> DeviceAddress {
    DeviceAddress { device: "eth0".into(), address }
}

fn four(number: u16, prefix: u8) -> DeviceAddress {
    let [high, low] = number.to_be_bytes();
    eth0(VirtualAddress::new(Ipv4Addr::new(10, 78, high, low).into(), prefix))
}

fn six(number: u16, prefix: u8) -> DeviceAddress {
    eth0(VirtualAddress::new(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number).into(), prefix))
}

#[test]
fn a_thousand_of_each_family() {
    if skip("a_thousand_of_each_family") {
        return;
    }
    let net = Net::new("a");
    let mut netconf = Netconf::start(&net);
    let before = there(&net);
    let none: Arc<[DeviceAddress]> = Arc::default();
    let all_four: Arc<[DeviceAddress]> = (1..=1000).map(|number| four(number, 32)).collect();
    let all_six = (1..=1000).map(|number| six(number, 128)).collect();
    for (family, all) in [("IPv4", all_four), ("IPv6", all_six)] {
        let added = netconf.want(1, &all);
        assert_eq!(shown(&net).len(), before.len() + 1000, "{family}");
        let all_told = |eth0: &Interface| {
            let told: BTreeSet<IpAddr> = eth0.addresses.iter().copied().collect();
            all.iter().all(|one| told.contains(&one.address.address))
        };
        assert!(netconf.until_eth0(all_told), "{family}: told");
        let again = netconf.want(1, &all);
        let gone = netconf.want(1, &none);
        assert_eq!(there(&net), before, "{family}");
        let mut errors = io::stderr();
        writeln!(errors, "1,000 {family}: added in {added:?}, again {again:?}, gone in {gone:?}")
            .expect("stderr");

        // The same with a router for each.
        let started = Instant::now();
        let set = |report: &Report| matches!(report, Report::AddressesSet { router: id, .. } if id.0 == 1000);
        for (router, address) in (1..=1000).zip(all.iter()) {
            netconf.say(router, &Arc::from([address.clone()]));
        }
        assert!(netconf.until(set), "{family}: set");
        let added = started.elapsed();
        assert_eq!(shown(&net).len(), before.len() + 1000, "{family}");
        let started = Instant::now();
        (1..=1000).for_each(|router| netconf.say(router, &none));
        assert!(netconf.until(set), "{family}: set");
        let gone = started.elapsed();
        assert_eq!(there(&net), before, "{family}");
        writeln!(errors, "of 1,000 routers: added in {added:?}, gone in {gone:?}").expect("stderr");
    }
    assert!(netconf.lost.is_empty(), "{:?}", netconf.lost);
}

#[test]
fn a_refused_one_among_others_is_tried_again() {
    if skip("a_refused_one_among_others_is_tried_again") {
        return;
    }
    let net = Net::new("b");
    let mut netconf = Netconf::start(&net);
    // In one network there is one scope.
    ip(&format!("-n {} addr add 10.79.0.1/24 dev eth0 scope link", net.ns(1)));
    let mut refused = four(2, 24);
    refused.address.address = Ipv4Addr::new(10, 79, 0, 2).into();
    let mut nowhere = four(7, 32);
    nowhere.device = "eth9".into();
    let mut all: Vec<DeviceAddress> = (100..=400).map(|number| four(number, 32)).collect();
    all.insert(150, refused);
    all.insert(0, nowhere);
    all.push(six(1, 128));
    let all: Arc<[DeviceAddress]> = all.into();
    netconf.want(1, &all);
    let now = there(&net);
    assert!(!now.contains("10.79.0.2/24"), "refused");
    assert!((100..=400_u16).all(|number| now.contains(&format!(
        "10.78.{}.{}/32",
        number >> 8,
        number & 255
    ))));
    assert!(now.contains("fd00::1/128"));
    ip(&format!("-n {} addr del 10.79.0.1/24 dev eth0", net.ns(1)));
    net.wait(1, Ipv4Addr::new(10, 79, 0, 2), true, seconds(2));
    ip(&format!("-n {} link add eth9 type veth peer name eth8", net.ns(1)));
    net.wait(1, Ipv4Addr::new(10, 78, 0, 7), true, seconds(2));
    assert!(netconf.lost.is_empty(), "{:?}", netconf.lost);
}

#[test]
fn secondaries_outlive_their_primary() {
    if skip("secondaries_outlive_their_primary") {
        return;
    }
    let net = Net::new("c");
    let mut netconf = Netconf::start(&net);
    let list = |from: u16, to: u16| (from..=to).map(|number| four(number, 16)).collect();
    let kept: Arc<[DeviceAddress]> = list(2, 301);
    netconf.want(1, &list(1, 301));
    let all = there(&net);
    assert_eq!(shown(&net).iter().filter(|one| one.starts_with("10.78.")).count(), 301);
    netconf.want(1, &kept);
    let mut want = all;
    assert!(want.remove("10.78.0.1/16"));
    assert_eq!(there(&net), want, "all but the primary");
    // That was our own doing; what someone else removes is told.
    assert!(netconf.lost.is_empty(), "{:?}", netconf.lost);
    ip(&format!("-n {} addr del 10.78.0.9/16 dev eth0", net.ns(1)));
    assert!(netconf.until(|report| matches!(report, Report::Repaired { .. })), "put back");
    assert_eq!(netconf.lost, ["10.78.0.9/16 on eth0"]);
    assert_eq!(there(&net), want);
    // So does what other people have in the network of a primary address of ours.
    let mut primary = four(1, 24);
    primary.address.address = Ipv4Addr::new(10, 80, 0, 1).into();
    netconf.want(2, &Arc::from([primary]));
    ip(&format!(
        "-n {} addr add 10.80.0.2/24 dev eth0 label eth0:own brd + preferred_lft 500 valid_lft 600",
        net.ns(1)
    ));
    netconf.want(2, &Arc::default());
    let mut show = Command::new("ip");
    show.args(["-n", &net.ns(1), "-o", "addr", "show", "to", "10.80.0.0/24"]);
    let text = String::from_utf8(show.output().expect("ip").stdout).expect("text");
    assert!(text.contains("inet 10.80.0.2/24 brd 10.80.0.255 scope global dynamic eth0:own"), "{text}");
    assert!(text.contains("preferred_lft 500sec") || text.contains("preferred_lft 499sec"), "{text}");
    assert!(!text.contains("10.80.0.1"), "{text}");
}

/// The kernel takes no second prefix length of an IPv6 address, and no other options of one that is there.
#[test]
fn addresses_that_change_are_replaced() {
    if skip("addresses_that_change_are_replaced") {
        return;
    }
    let net = Net::new("f");
    let mut netconf = Netconf::start(&net);
    let labelled = |label: &str| {
        let mut address = four(1, 24);
        address.address.label = Some(label.into());
        address
    };
    let with_peer = |peer: u8| {
        let mut address = four(2, 32);
        address.address.peer = Some(Ipv4Addr::new(10, 78, 9, peer).into());
        address
    };
    netconf.want(1, &Arc::from([six(1, 64), labelled("eth0:a"), with_peer(1), four(3, 24)]));
    netconf.want(1, &Arc::from([six(1, 128), labelled("eth0:b"), with_peer(2), four(3, 24)]));
    let mut show = Command::new("ip");
    show.args(["-n", &net.ns(1), "-o", "addr", "show", "dev", "eth0"]);
    let text = String::from_utf8(show.output().expect("ip").stdout).expect("text");
    for want in ["fd00::1/128", "10.78.0.1/24", "eth0:b", "10.78.0.2 peer 10.78.9.2/32", "10.78.0.3/24"] {
        assert_eq!(text.matches(want).count(), 1, "{want} in {text}");
    }
    for gone in ["fd00::1/64", "eth0:a", "10.78.9.1"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    // What the host itself has stays as it is, and so does what another router holds too.
    ip(&format!("-n {} addr add 10.78.0.4/24 dev eth0 label eth0:own", net.ns(1)));
    let labelled = |label: &str| {
        let mut address = four(4, 24);
        address.address.label = Some(label.into());
        address
    };
    for label in ["eth0:c", "eth0:d"] {
        netconf.want(4, &Arc::from([labelled(label)]));
    }
    netconf.want(2, &Arc::from([four(3, 32)]));
    netconf
        .want(3, &Arc::from([eth0(VirtualAddress { label: Some("eth0:e".into()), ..four(3, 32).address })]));
    let text = String::from_utf8(show.output().expect("ip").stdout).expect("text");
    assert!(
        text.contains("eth0:own") && !["eth0:c", "eth0:d", "eth0:e"].iter().any(|one| text.contains(one)),
        "{text}"
    );
    // From one router to another, each in its own time.
    netconf.want(2, &Arc::from([six(1, 48)]));
    netconf.want(1, &Arc::default());
    let until = Instant::now() + seconds(1);
    while !there(&net).contains("fd00::1/48") {
        assert!(Instant::now() < until, "{:?}", there(&net));
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert!(netconf.lost.is_empty(), "{:?}", netconf.lost);
}

#[test]
fn a_failure_loses_no_removal() {
    if skip("a_failure_loses_no_removal") {
        return;
    }
    let net = Net::new("g");
    let mut netconf = Netconf::start(&net);
    netconf.may_fail = true;
    let (kept, all): (Arc<[DeviceAddress]>, Arc<[DeviceAddress]>) = (
        Arc::from([four(1, 32), six(1, 128)]),
        Arc::from([four(1, 32), six(1, 128), four(2, 32), six(2, 128)]),
    );
    netconf.want(1, &all);
    netconf.want(2, &Arc::from([four(3, 32)]));
    ip(&format!("-n {} addr add 10.78.0.9/32 dev eth0", net.ns(1)));
    // What was removed before is nobody's.
    netconf.want(3, &Arc::from([four(4, 32)]));
    netconf.want(3, &Arc::default());
    ip(&format!("-n {} addr add 10.78.0.4/32 dev eth0", net.ns(1)));
    let before = there(&net);
    netconf.shared.want_then_panic(wanted(1, &kept));
    assert!(netconf.until(|report| matches!(report, Report::Ready)), "ready again");
    assert_eq!(there(&net), before, "nothing is touched before it is known what is wanted");
    // The second one was deleted meanwhile.
    netconf.shared.want_all(vec![wanted(1, &kept)]);
    assert!(netconf.until(|report| matches!(report, Report::AddressesSet { router: LEFTOVERS, .. })));
    let want = ["10.77.0.1/24", "10.78.0.1/32", "10.78.0.4/32", "10.78.0.9/32", "fd00::1/128"];
    assert_eq!(there(&net), BTreeSet::from(want.map(str::to_owned)));
}

#[test]
fn ipv6_addresses_are_told_when_they_can_be_used() {
    if skip("ipv6_addresses_are_told_when_they_can_be_used") {
        return;
    }
    let net = Net::new("d");
    let ns = net.ns(1);
    ip(&format!("-n {} addr add fd00::3/64 dev eth0 nodad", net.ns(2)));
    let mut netconf = Netconf::start(&net);
    // Its link-local address first: without it nothing is looked for.
    let local = |eth0: &Interface| {
        eth0.addresses.iter().any(|one| matches!(one, IpAddr::V6(one) if one.is_unicast_link_local()))
    };
    assert!(netconf.until_eth0(local), "link-local address");
    let looked_for = |number| {
        let mut address = six(number, 64);
        address.address.detect_duplicates = true;
        address
    };
    let (once, late, taken) = (six(1, 64), looked_for(2), looked_for(3));
    let has = |eth0: &Interface, one: &DeviceAddress| eth0.addresses.contains(&one.address.address);
    let hold = Arc::from([late.clone(), once.clone(), taken.clone()]);
    netconf.want(1, &hold);
    assert!(netconf.until_eth0(|eth0| has(eth0, &once)), "at once");
    let told = netconf.eth0.clone().expect("eth0");
    assert!(!has(&told, &late) && !has(&told, &taken), "{told:?}");
    assert!(netconf.until_eth0(|eth0| has(eth0, &late)), "when nobody else has it");
    let told = netconf.eth0.clone().expect("eth0");
    assert!(!has(&told, &taken) && has(&told, &once), "{told:?}");
    let shown = shown(&net);
    assert!(shown.contains(&"fd00::3/64".to_owned()), "it is there, but duplicate: {shown:?}");

    // The Router flag.
    assert!(!told.forwarding);
    let set = |value: &str| {
        let path = "/proc/sys/net/ipv6/conf/eth0/forwarding";
        net.inside(1, || std::fs::write(path, value)).expect("sysctl");
    };
    for (value, forwarding) in [("1", true), ("0", false)] {
        set(value);
        assert!(netconf.until_eth0(|eth0| eth0.forwarding == forwarding), "forwarding {value}");
    }
    set("1");
    // An interface that forwards from the start.
    ip(&format!("-n {ns} link set eth0 name eth1"));
    ip(&format!("-n {ns} link set eth1 name eth0"));
    drop(netconf);
    assert!(Netconf::start(&net).until_eth0(|eth0| eth0.forwarding), "as it is found");
}

/// Messages that the kernel could not deliver to netlink sockets of a host.
pub(super) fn drops(net: &Net) -> u64 {
    let table = net.inside(1, || std::fs::read_to_string("/proc/thread-self/net/netlink")).expect("table");
    let drops = |line: &str| line.split_whitespace().nth(8).and_then(|count| count.parse::<u64>().ok());
    table.lines().filter_map(drops).sum()
}

#[test]
fn what_was_lost_with_messages_is_found() {
    if skip("what_was_lost_with_messages_is_found") {
        return;
    }
    let net = Net::new("e");
    // It waits when a report was not taken yet.
    let mut netconf = Netconf::with_queue(&net, 1);
    let hold = Arc::from([four(1, 32), four(2, 32), six(1, 128)]);
    netconf.want(1, &hold);
    let directory = tempfile::tempdir().expect("directory");
    let file = directory.path().join("batch");
    let mut text = String::new();
    for round in 0..10_000 {
        text.push_str("addr add 10.99.0.1/32 dev lo\naddr del 10.99.0.1/32 dev lo\n");
        if round == 9_000 {
            text.push_str("addr del 10.78.0.2/32 dev eth0\naddr del fd00::1/128 dev eth0\n");
            text.push_str("addr add 10.99.0.2/32 dev eth0\n");
        }
    }
    std::fs::write(&file, text).expect("batch");
    ip(&format!("-n {} -batch {}", net.ns(1), file.display()));
    assert!(drops(&net) > 0, "messages were lost");
    for _ in 0..2 {
        assert!(netconf.until(|report| matches!(report, Report::Repaired { .. })), "put back");
    }
    netconf.lost.sort();
    assert_eq!(netconf.lost, ["10.78.0.2/32 on eth0", "fd00::1/128 on eth0"]);
    let come = IpAddr::from([10, 99, 0, 2]);
    assert!(netconf.until_eth0(|eth0| eth0.addresses.contains(&come)), "what came is told too");
    netconf.want(1, &hold);
    let now = there(&net);
    assert!(["10.78.0.1/32", "10.78.0.2/32", "fd00::1/128"].iter().all(|one| now.contains(*one)), "{now:?}");
}
