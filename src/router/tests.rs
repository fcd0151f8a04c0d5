//! Two routers on a bridge in network namespaces.
//!
//! Need root and iproute2; otherwise a printed `SKIP`.

use std::fs::File;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::num::NonZeroU8;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lbd_vrrp::{Authentication, Delivery, InstanceConfig, Peer, Priority, TrackerId, VirtualAddress, Weight};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::*;
use crate::event::Event;

mod addresses;
mod beside;
mod entries;
mod own;
mod tracking;

const VIP: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
const SKEW_100: Duration = Duration::from_micros(609_375);
const GRACE: Duration = Duration::from_millis(100);

/// Says why a test did nothing.
fn skip(name: &str) -> bool {
    let reason = if !Uid::effective().is_root() {
        "needs root"
    } else if !run("ip", &["netns", "list"]) {
        "needs iproute2 and network namespaces"
    } else {
        return false;
    };
    lbd_integration::skip::report(name, reason);
    true
}

fn run(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn ip(arguments: &str) {
    let words: Vec<&str> = arguments.split_whitespace().collect();
    assert!(run("ip", &words), "ip {arguments}");
}

/// Hosts 1 and 2 with eth0 on one bridge; gone with the value.
struct Net {
    name: String,
}

impl Net {
    fn new(test: &str) -> Self {
        let net = Net { name: format!("lbd{test}{}", std::process::id()) };
        let switch = net.ns(0);
        ip(&format!("netns add {switch}"));
        ip(&format!("-n {switch} link add br0 type bridge forward_delay 0 mcast_snooping 0"));
        ip(&format!("-n {switch} link set br0 up"));
        for host in 1..=2 {
            let ns = net.ns(host);
            ip(&format!("netns add {ns}"));
            ip(&format!("link add eth0 netns {ns} type veth peer name port{host} netns {switch}"));
            ip(&format!("-n {switch} link set port{host} master br0 up"));
            ip(&format!("-n {ns} link set lo up"));
            ip(&format!("-n {ns} addr add 10.77.0.{host}/24 dev eth0"));
            ip(&format!("-n {ns} link set eth0 up"));
        }
        net
    }

    fn ns(&self, host: u8) -> String {
        format!("{}-{host}", self.name)
    }

    /// Does something in the namespace of a host.
    fn inside<R: Send>(&self, host: u8, act: impl FnOnce() -> R + Send) -> R {
        let path = format!("/run/netns/{}", self.ns(host));
        let file = File::open(path).expect("namespace");
        std::thread::scope(|scope| {
            let act = || {
                setns(file, CloneFlags::CLONE_NEWNET).expect("setns");
                act()
            };
            scope.spawn(act).join().expect("thread")
        })
    }

    fn start(&self, host: u8, config: InstanceConfig, saved: Vec<SavedInstance>) -> Running {
        self.start_with(host, config, saved, Network::default())
    }

    fn start_with(
        &self,
        host: u8,
        config: InstanceConfig,
        saved: Vec<SavedInstance>,
        network: Network,
    ) -> Running {
        self.start_on(host, config, saved, network, HostWants::default())
    }

    fn start_on(
        &self,
        host: u8,
        config: InstanceConfig,
        saved: Vec<SavedInstance>,
        network: Network,
        wants: HostWants,
    ) -> Running {
        let (events, received) = EventSender::channel();
        let state = tempfile::tempdir().expect("directory");
        let options = RouterOptions {
            setup: Setup::of(vec![config]),
            network,
            scheduling: Scheduling::default(),
            saved,
            take_over: false,
            host: wants,
            state: state.path().join("state"),
            events,
        };
        let router = self.inside(host, || Router::start(options)).expect("router");
        Running { router, received, _state: state }
    }

    /// Whether the address can be bound, which it can only where it is.
    fn has(&self, host: u8, address: Ipv4Addr) -> bool {
        self.inside(host, || UdpSocket::bind((address, 0)).is_ok())
    }

    /// Until the address is there (or gone); when that was.
    fn wait(&self, host: u8, address: Ipv4Addr, there: bool, limit: Duration) -> Instant {
        let until = Instant::now() + limit;
        self.inside(host, || {
            loop {
                if UdpSocket::bind((address, 0)).is_ok() == there {
                    return Instant::now();
                }
                assert!(Instant::now() < until, "{address} on host {host} within {limit:?}: wanted {there}");
                std::thread::park_timeout(Duration::from_millis(1));
            }
        })
    }

    /// Captures what the hosts send until [`Capture::check`].
    fn capture(&self, directory: &Path) -> Option<Capture> {
        let file = directory.join("vrrp.pcap");
        let path = file.to_str().expect("path");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.ns(0), "tshark", "-q", "-i", "br0", "-w", path]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        Some(Capture { child, file })
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for host in 0..=2 {
            run("ip", &["netns", "del", &self.ns(host)]);
        }
    }
}

struct Capture {
    child: Child,
    file: PathBuf,
}

impl Capture {
    /// Whether adverts were seen and none of them was malformed; `None` without tshark.
    fn check(mut self) -> Option<(usize, String)> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("pid"));
        kill(pid, Signal::SIGINT).ok()?;
        self.child.wait().ok()?;
        let read = |filter: &str| {
            let mut command = Command::new("tshark");
            command.arg("-r").arg(&self.file).args(["-Y", filter]);
            Some(String::from_utf8_lossy(&command.output().ok()?.stdout).into_owned())
        };
        let bad =
            "_ws.malformed or vrrp.checksum.status == 0 or (vrrp and _ws.expert.severity >= \"warning\")";
        Some((read("vrrp")?.lines().count(), read(bad)?))
    }
}

struct Running {
    _state: tempfile::TempDir,
    router: Router,
    received: tokio::sync::mpsc::Receiver<Event>,
}

impl Running {
    fn instance(&self) -> Arc<InstanceSnapshot> {
        Arc::clone(&self.router.snapshot().borrow().instances[0])
    }

    fn states(&mut self) -> Vec<String> {
        let mut states = Vec::new();
        while let Ok(event) = self.received.try_recv() {
            match event {
                Event::Vrrp { to, .. } => states.push(to.to_string()),
                Event::VrrpStopped { deleted, .. } => {
                    states.push(if deleted { "DELETED" } else { "STOP" }.into());
                }
                _ => {}
            }
        }
        states
    }

    /// These, and no others by then, within a second: the address may be there before the event.
    #[track_caller]
    fn told(&mut self, want: &[&str]) {
        let until = Instant::now() + seconds(1);
        let mut got = self.states();
        while got.len() < want.len() && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(1));
            got.extend(self.states());
        }
        assert_eq!(got, want);
    }

    fn wait_state(&self, state: &str, limit: Duration) -> Arc<InstanceSnapshot> {
        let until = Instant::now() + limit;
        loop {
            let instance = self.instance();
            if instance.status.state == state {
                return instance;
            }
            assert!(Instant::now() < until, "{state} within {limit:?}; is {:?}", instance.status);
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

fn config(priority: u8) -> InstanceConfig {
    InstanceConfig {
        priority: Priority(priority),
        authentication: Authentication::Pass(*b"secret\0\0"),
        addresses: vec![vip(VIP)],
        ..InstanceConfig::new("VI_1", "eth0", NonZeroU8::new(77).expect("VRID"))
    }
}

fn vip(address: Ipv4Addr) -> VirtualAddress {
    VirtualAddress::new(IpAddr::V4(address), 24)
}

fn unicast(mut config: InstanceConfig, peer: u8) -> InstanceConfig {
    let peers = vec![Peer::new(Ipv4Addr::new(10, 77, 0, peer))];
    config.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: true };
    config
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn the_address_follows_stop_silence_and_return() {
    if skip("the_address_follows_stop_silence_and_return") {
        return;
    }
    for (name, test, configs) in [
        ("multicast", "m", [config(150), config(100)]),
        ("unicast", "u", [unicast(config(150), 2), unicast(config(100), 1)]),
    ] {
        let net = Net::new(test);
        let directory = tempfile::tempdir().expect("directory");
        let capture = net.capture(directory.path());
        let [high, low] = configs;
        let mut first = net.start(1, high.clone(), vec![]);
        let second = net.start(2, low, vec![]);
        first.router.begin();
        second.router.begin();
        net.wait(1, VIP, true, seconds(5));
        assert!(!net.has(2, VIP), "{name}: one master");
        first.told(&["BACKUP", "MASTER"]);

        // Orderly stop: within skew time.
        let stopped = Instant::now();
        first.router.stop(true, seconds(5));
        assert!(!net.has(1, VIP), "{name}: gone when stop returns");
        let taken = net.wait(2, VIP, true, seconds(5)) - stopped;
        assert!(taken <= SKEW_100 + GRACE, "{name}: orderly stop {taken:?}");
        let mut states = Vec::new();
        while let Ok(event) = first.received.try_recv() {
            states.push(event);
        }
        assert!(
            matches!(states.as_slice(), [Event::VrrpStopped { deleted: false, .. }]),
            "{name} {states:?}"
        );

        // Return: preempts, and the lower one leaves.
        let first = net.start(1, high, vec![]);
        first.router.begin();
        net.wait(1, VIP, true, seconds(5));
        net.wait(2, VIP, false, seconds(2));

        // Silence: within the master down interval of the last advert.
        let last = first.wait_state("MASTER", seconds(1)).last_advert_ms;
        first.router.stop(false, seconds(5));
        assert!(net.has(1, VIP), "{name}: left as it was");
        net.wait(2, VIP, true, seconds(5));
        let taken = Duration::from_millis(crate::state_file::boot_clock_ms() - last);
        assert!(taken <= seconds(3) + SKEW_100 + GRACE, "{name}: silence {taken:?}");
        assert!(taken >= seconds(3), "{name}: not before its time: {taken:?}");
        second.router.stop(true, seconds(5));
        match capture.and_then(Capture::check) {
            Some((adverts, bad)) => {
                // The capture starts some time after the first.
                assert!(adverts >= 5, "{name}: {adverts} adverts captured");
                assert_eq!(bad, "", "{name}: malformed");
            }
            None => lbd_integration::skip::report("capture", "needs tshark"),
        }
    }
}

#[test]
fn a_restart_resumes_without_taking_the_address_away() {
    if skip("a_restart_resumes_without_taking_the_address_away") {
        return;
    }
    let net = Net::new("r");
    let mut owner = config(255);
    owner.priority = Priority(200);
    let first = net.start(1, owner.clone(), vec![]);
    let second = net.start(2, config(100), vec![]);
    first.router.begin();
    net.wait(1, VIP, true, seconds(5));
    second.router.begin();
    first.wait_state("MASTER", seconds(1));
    let saved = first.router.snapshot().borrow().saved();
    first.router.stop(false, seconds(5));
    let mut first = net.start(1, owner.clone(), saved);
    assert!(net.has(1, VIP));
    first.router.begin();
    first.wait_state("MASTER", seconds(1));
    assert!(net.has(1, VIP));
    first.told(&["MASTER"]);
    assert_eq!(second.instance().status.state, "BACKUP");

    // Too old: what is left is removed, also what the configuration no longer names.
    let mut saved = first.router.snapshot().borrow().saved();
    first.router.stop(false, seconds(5));
    saved[0].last_advert_ms = 0;
    let mut other = owner;
    other.addresses = vec![vip(Ipv4Addr::new(10, 77, 0, 101))];
    let mut first = net.start(1, other, saved);
    first.router.begin();
    net.wait(1, VIP, false, seconds(1));
    first.wait_state("BACKUP", seconds(1));
    first.told(&["BACKUP"]);
    first.router.stop(true, seconds(5));
    second.router.stop(true, seconds(5));
}

#[test]
fn interfaces_scripts_and_other_peoples_hands() {
    if skip("interfaces_scripts_and_other_peoples_hands") {
        return;
    }
    let net = Net::new("i");
    let ns = net.ns(1);
    let mut late = config(254);
    late.interface = Some("eth9".into());
    let check = TrackerId::script("check");
    late.trackers = vec![(check.clone(), Weight { value: 0, reverse: false })];
    late.addresses[0].label = Some("eth9:v".into());
    late.addresses[0].scope = 253;
    late.addresses[0].broadcast = Some(Ipv4Addr::new(10, 77, 0, 255));
    late.addresses.push(vip(Ipv4Addr::new(10, 78, 0, 1)));
    late.addresses.push(vip(Ipv4Addr::new(10, 78, 0, 2)));
    let mut one = net.start(1, late.clone(), vec![]);
    one.router.begin();
    let instance = one.wait_state("FAULT", seconds(1));
    assert_eq!(
        instance.status.fault_reasons,
        ["interface eth9 does not exist", "waiting for the first result of script check"]
    );
    ip(&format!("-n {ns} link add eth9 type veth peer name eth8"));
    ip(&format!("-n {ns} addr add 10.99.0.1/24 dev eth9"));
    ip(&format!("-n {ns} link set eth8 up"));
    ip(&format!("-n {ns} link set eth9 up"));
    one.router.tracker(check.clone(), true);
    net.wait(1, VIP, true, seconds(5));
    let mut show = Command::new("ip");
    show.args(["-n", &ns, "-4", "addr", "show", "dev", "eth9"]);
    let shown = String::from_utf8(show.output().expect("ip").stdout).expect("text");
    assert!(shown.contains("inet 10.77.0.100/24 brd 10.77.0.255 scope link eth9:v"), "{shown}");
    // No broadcast address of its own accord.
    assert!(shown.contains("inet 10.78.0.1/24 scope global eth9"), "{shown}");

    // Reload without the primary of a network: its secondary stays.
    late.addresses.remove(1);
    one.router.reload(Setup::of(vec![late.clone()]), Scheduling::default(), Network::default());
    net.wait(1, Ipv4Addr::new(10, 78, 0, 1), false, seconds(2));
    net.wait(1, Ipv4Addr::new(10, 78, 0, 2), true, seconds(1));
    one.told(&["FAULT", "BACKUP", "MASTER"]);

    // Removed by someone else: put back at once, five times; then that is a full transition.
    for _ in 0..repair::REPAIRS {
        ip(&format!("-n {ns} addr del 10.77.0.100/24 dev eth9"));
        net.wait(1, VIP, true, seconds(1));
    }
    one.told(&[]);
    let until = Instant::now() + seconds(1);
    while one.router.status().instances[0].repaired < 5 {
        assert!(Instant::now() < until, "{:?}", one.router.status());
        std::thread::park_timeout(Duration::from_millis(5));
    }
    ip(&format!("-n {ns} addr del 10.77.0.100/24 dev eth9"));
    one.told(&["BACKUP", "MASTER"]);
    net.wait(1, VIP, true, seconds(1));

    one.router.tracker(check.clone(), false);
    net.wait(1, VIP, false, seconds(1));
    one.wait_state("FAULT", seconds(1));
    assert_eq!(one.instance().status.fault_reasons, ["script check failed"]);
    one.router.tracker(check, true);
    net.wait(1, VIP, true, seconds(5));
    one.told(&["FAULT", "BACKUP", "MASTER"]);

    ip(&format!("-n {ns} link set eth9 down"));
    let instance = one.wait_state("FAULT", seconds(1));
    assert_eq!(instance.status.fault_reasons, ["interface eth9 is down"]);
    ip(&format!("-n {ns} link set eth9 up"));
    net.wait(1, VIP, true, seconds(5));
    ip(&format!("-n {ns} link del eth9"));
    let until = Instant::now() + seconds(2);
    while one.instance().status.fault_reasons != ["interface eth9 does not exist"] {
        assert!(Instant::now() < until, "{:?}", one.instance().status);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    one.told(&["FAULT", "BACKUP", "MASTER", "FAULT"]);
    one.router.reload(Setup::default(), Scheduling::default(), Network::default());
    one.router.stop(true, seconds(5));
    assert!(
        one.received
            .blocking_recv()
            .is_some_and(|event| matches!(event, Event::VrrpStopped { deleted: true, .. }))
    );
}

#[test]
fn a_panic_of_the_engine_costs_no_mastership() {
    if skip("a_panic_of_the_engine_costs_no_mastership") {
        return;
    }
    let net = Net::new("p");
    let mut first = net.start(1, config(200), vec![]);
    let second = net.start(2, config(100), vec![]);
    first.router.begin();
    second.router.begin();
    net.wait(1, VIP, true, seconds(5));
    first.told(&["BACKUP", "MASTER"]);
    let before = first.wait_state("MASTER", seconds(1)).last_advert_ms;
    // What else is asked for at that moment is not lost.
    let two = InstanceConfig { vrid: NonZeroU8::new(78).expect("VRID"), name: "B".into(), ..config(200) };
    first.router.command(|commands| {
        commands.panic = true;
        let two = InstanceConfig { addresses: Vec::new(), ..two };
        commands.reload = Some((Setup::of(vec![config(200), two]), Scheduling::default(), Arc::default()));
    });
    let until = Instant::now() + seconds(1);
    while first.instance().last_advert_ms <= before {
        assert!(Instant::now() < until, "an advert within one interval");
        assert!(net.has(1, VIP));
        std::thread::park_timeout(Duration::from_millis(1));
    }
    assert_eq!(first.states()[0], "MASTER", "resumed");
    let snapshot = || first.router.snapshot().borrow().clone();
    let until = Instant::now() + seconds(5);
    while snapshot().instances.len() < 2 {
        assert!(Instant::now() < until, "reloaded");
        std::thread::park_timeout(Duration::from_millis(1));
    }
    // Again and again: it gives up, and the other one takes over.
    let until = Instant::now() + seconds(5);
    while net.has(1, VIP) {
        assert!(Instant::now() < until, "addresses are given up");
        first.router.command(|commands| commands.panic = true);
        std::thread::park_timeout(Duration::from_millis(20));
    }
    // It was told, and waits for its skew time only.
    net.wait(2, VIP, true, seconds(2));
    first.router.stop(true, seconds(1));
    second.router.stop(true, seconds(5));
}

#[test]
fn a_stop_before_the_beginning_removes_what_was_left() {
    if skip("a_stop_before_the_beginning_removes_what_was_left") {
        return;
    }
    for release in [false, true] {
        let net = Net::new("q");
        ip(&format!("-n {} addr add {VIP}/32 dev eth0", net.ns(1)));
        let saved =
            SavedInstance { addresses: vec![(format!("{VIP}/32"), "eth0".into())], ..Default::default() };
        let mut one = net.start(1, config(200), vec![saved]);
        one.router.stop(release, seconds(5));
        assert_eq!(net.has(1, VIP), !release, "release: {release}");
        assert!(one.states().is_empty(), "of what did not begin nothing is told");
    }
}

#[test]
fn a_thousand_addresses_come_and_go() {
    if skip("a_thousand_addresses_come_and_go") {
        return;
    }
    let net = Net::new("k");
    let mut many = config(255);
    many.addresses = vec![vip(VIP)];
    let address = |number: u16| {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(10, 78, high, low)
    };
    many.excluded_addresses = (1..=1000).map(|number| vip(address(number))).collect();
    let one = net.start(1, many, vec![]);
    let started = Instant::now();
    one.router.begin();
    net.wait(1, address(1000), true, seconds(5));
    let there = started.elapsed();
    let started = Instant::now();
    one.router.stop(true, seconds(10));
    let gone = started.elapsed();
    assert!(!net.has(1, address(1)) && !net.has(1, address(1000)) && !net.has(1, VIP));
    writeln!(io::stderr(), "1,000 addresses: there after {there:?}, gone after {gone:?}").expect("stderr");
    assert!(there < seconds(2) && gone < seconds(2), "{there:?} {gone:?}");
}
