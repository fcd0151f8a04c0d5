//! Links that flap, addresses that are not tracked, results over a panic of the engine.

use lbd_grammar::config::{LinkDelay, LinkbeatInterface, LinkbeatMethod};

use super::*;
use crate::control::status::ContributionStatus;

fn milliseconds(time: u64) -> Duration {
    Duration::from_millis(time)
}

/// The state stays for so long.
#[track_caller]
fn stays(one: &Running, state: &str, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        assert_eq!(one.instance().status.state, state);
        std::thread::park_timeout(milliseconds(2));
    }
}

#[test]
fn a_link_that_flaps() {
    if skip("a_link_that_flaps") {
        return;
    }
    let net = Net::new("f");
    let cable = |word: &str| ip(&format!("-n {} link set port1 {word}", net.ns(0)));
    let one = net.start(1, config(100), vec![]);
    let (down, up) = (milliseconds(500), milliseconds(300));
    one.router.watch_links(LinkSettings {
        delays: vec![LinkDelay { interface: "eth0".into(), down, up }],
        ..LinkSettings::default()
    });
    one.router.begin();
    one.wait_state("BACKUP", seconds(2));

    cable("down");
    stays(&one, "BACKUP", milliseconds(150));
    cable("up");
    stays(&one, "BACKUP", down + milliseconds(100));

    let cut = Instant::now();
    cable("down");
    one.wait_state("FAULT", seconds(2));
    assert!(cut.elapsed() >= down, "{:?}", cut.elapsed());
    assert_eq!(one.instance().status.fault_reasons, ["interface eth0 is down"]);

    cable("up");
    stays(&one, "FAULT", milliseconds(100));
    cable("down");
    stays(&one, "FAULT", up + milliseconds(100));
    let plugged = Instant::now();
    cable("up");
    one.wait_state("BACKUP", seconds(2));
    assert!(plugged.elapsed() >= up, "{:?}", plugged.elapsed());

    // What waits counts at once when its delay goes; and the beat is asked for in the router's namespace.
    cable("down");
    stays(&one, "BACKUP", milliseconds(100));
    let polled = vec![LinkbeatInterface { interface: "eth0".into(), method: Some(LinkbeatMethod::Ethtool) }];
    one.router.watch_links(LinkSettings { polled, ..LinkSettings::default() });
    one.wait_state("FAULT", milliseconds(300));
    cable("up");
    one.wait_state("BACKUP", seconds(3));
    one.router.stop(true, seconds(5));
}

#[test]
fn an_address_that_is_not_tracked_is_left_alone() {
    if skip("an_address_that_is_not_tracked_is_left_alone") {
        return;
    }
    let net = Net::new("u");
    let ns = net.ns(1);
    let other = Ipv4Addr::new(10, 77, 0, 101);
    let mut owner = config(255);
    owner.addresses.push(VirtualAddress { no_track: true, ..vip(other) });
    let mut one = net.start(1, owner, vec![]);
    one.router.begin();
    net.wait(1, other, true, seconds(2));
    net.wait(1, VIP, true, seconds(2));
    one.told(&["MASTER"]);
    ip(&format!("-n {ns} addr del {other}/24 dev eth0"));
    net.wait(1, other, false, seconds(1));
    // Longer than what is missing waits to be added.
    stays(&one, "MASTER", milliseconds(1200));
    assert!(!net.has(1, other), "left as it is");
    one.told(&[]);
    // A tracked one is put back, and it alone.
    ip(&format!("-n {ns} addr del {VIP}/24 dev eth0"));
    net.wait(1, VIP, true, seconds(2));
    assert!(!net.has(1, other), "left as it is");
    one.told(&[]);
    one.router.stop(true, seconds(5));
}

/// What was found outside is told once: an engine that starts anew must know it.
#[test]
fn results_outlive_a_panic_of_the_engine() {
    if skip("results_outlive_a_panic_of_the_engine") {
        return;
    }
    let net = Net::new("x");
    let mut tracking = config(100);
    let weight = |value| Weight { value, reverse: false };
    let (file, process) = (TrackerId::file("f"), TrackerId::process("p"));
    tracking.track_files = vec![(file.clone(), weight(2))];
    tracking.track_processes = vec![(process.clone(), weight(0))];
    let mut one = net.start(1, tracking, vec![]);
    one.router.tracker(file, TrackerResult::Number(5));
    one.router.tracker(process, true);
    one.router.begin();
    one.told(&["BACKUP"]);
    one.router.command(|commands| commands.panic = true);
    one.told(&["BACKUP"]);
    let status = one.wait_state("BACKUP", seconds(1)).status.clone();
    assert_eq!(status.effective_priority, 110);
    let shown =
        |one: &ContributionStatus| format!("{} {} {} {}", one.kind, one.name, one.state, one.contribution);
    let contributions: Vec<String> = status.priority_contributions.iter().map(shown).collect();
    assert_eq!(contributions, ["file f 5 10", "process p runs 0"]);
    one.router.stop(true, seconds(5));
}

/// The number of a file that a reload begins to track counts at once.
#[test]
fn a_result_told_with_a_reload_comes_before_it() {
    if skip("a_result_told_with_a_reload_comes_before_it") {
        return;
    }
    let net = Net::new("y");
    let mut one = net.start(1, config(100), vec![]);
    one.router.begin();
    one.told(&["BACKUP"]);
    let mut tracking = config(120);
    let file = TrackerId::file("f");
    tracking.track_files = vec![(file.clone(), Weight { value: 2, reverse: false })];
    let reload = (Setup::of(vec![tracking]), Scheduling::default(), Arc::default());
    one.router.command(|commands| {
        commands.reload = Some(reload);
        commands.trackers.insert(file, TrackerResult::Number(-5));
    });
    let until = Instant::now() + seconds(1);
    let changed = loop {
        if let Ok(Event::VrrpPriority { to, .. }) = one.received.try_recv() {
            break to;
        }
        assert!(Instant::now() < until, "{:?}", one.instance().status);
        std::thread::park_timeout(milliseconds(1));
    };
    assert_eq!(changed, 110);
    one.router.stop(true, seconds(5));
}
