//! Faults and priorities.

use super::*;

fn faults(sim: &Sim) -> Vec<String> {
    sim.nodes[0].engine.routers()[0].faults().iter().map(ToString::to_string).collect()
}

fn script(value: i16) -> Vec<(TrackerId, Weight)> {
    vec![(TrackerId::script("check"), Weight { value, reverse: false })]
}

#[test]
fn fault_reasons() {
    let plain = config("A", 51, 100);
    let mut missing = plain.clone();
    missing.interface = Some("eth9".into());
    let mut source = plain.clone();
    source.source = Some(Ipv4Addr::new(10, 0, 0, 77).into());
    source.track_source = true;
    let mut tracked = plain.clone();
    tracked.track_interfaces = vec![("eth5".into(), Weight { value: 0, reverse: false })];
    let mut scripted = plain.clone();
    scripted.trackers = script(0);
    let mut elsewhere = plain.clone();
    elsewhere.addresses[0].device = Some("eth7".into());
    let mut untracked = elsewhere.clone();
    untracked.addresses[0].no_track = true;
    let down = Interface { up: false, ..interface(1) };
    let mut above = plain.clone();
    above.parent = Some(Parent { name: "eth8".into(), lends_source: false });
    let mut unicast = plain.clone();
    unicast.delivery = Delivery::Unicast {
        peers: vec![Peer::new(Ipv4Addr::new(10, 0, 0, 2))],
        ttl: Some(255),
        check_source: false,
    };
    let alone = Interface { multicast: false, ..interface(1) };
    let bare = Interface { addresses: vec![], ..interface(1) };
    let only_vip = Interface { addresses: vec![VIP.into()], ..interface(1) };
    for (name, config, eth0, verdict, want) in [
        ("none", &plain, interface(1), None, ""),
        ("missing", &missing, interface(1), None, "interface eth9 does not exist"),
        ("down", &plain, down, None, "interface eth0 is down"),
        ("its parent", &above, interface(1), None, "interface eth8 does not exist"),
        (
            "no multicast",
            &plain,
            alone.clone(),
            None,
            "interface eth0 carries no multicast: name the other routers in unicast_peer",
        ),
        ("no multicast, for unicast", &unicast, alone, None, ""),
        ("no address", &plain, bare, None, "interface eth0 has no IPv4 address"),
        ("only the virtual one", &plain, only_vip, None, "interface eth0 has no IPv4 address"),
        ("source", &source, interface(1), None, "source address 10.0.0.77 is not on eth0"),
        ("tracked", &tracked, interface(1), None, "tracked interface eth5 does not exist"),
        ("script", &scripted, interface(1), Some(false), "script check failed"),
        ("address elsewhere", &elsewhere, interface(1), None, "interface eth7 does not exist"),
        ("address elsewhere without track", &untracked, interface(1), None, ""),
    ] {
        let mut sim = Sim::new(vec![config.clone()]);
        sim.event(0, Event::Interface(eth0));
        if let Some(good) = verdict {
            sim.event(0, Event::Tracker(TrackerId::script("check"), good.into()));
        }
        sim.begin();
        assert_eq!(faults(&sim).join("; "), want, "{name}");
        let state = if want.is_empty() { State::Backup } else { State::Fault };
        assert_eq!(sim.nodes[0].transitions(), [(State::Initialize, state)], "{name}");
    }
}

#[test]
fn a_master_leaves_with_priority_zero_and_returns_through_backup() {
    let mut sim = Sim::new(vec![config("A", 51, 100)]);
    sim.begin();
    sim.run(Duration::from_secs(4));
    sim.event(0, Event::Interface(Interface { up: false, ..interface(1) }));
    let counters = sim.nodes[0].engine.routers()[0].counters().clone();
    assert_eq!((counters.priority_zero_sent, counters.released_master), (1, 1));
    assert!(sim.nodes[0].held.is_empty());
    assert_eq!(sim.nodes[0].engine.deadline(), None);
    sim.event(0, Event::InterfaceGone("eth0".into()));
    assert_eq!(faults(&sim), ["interface eth0 does not exist"]);
    sim.event(0, Event::Interface(interface(1)));
    sim.run(Duration::from_secs(4));
    use State::{Backup, Fault, Initialize, Master};
    let want = [(Initialize, Backup), (Backup, Master), (Master, Fault), (Fault, Backup), (Backup, Master)];
    assert_eq!(sim.nodes[0].transitions(), want);
}

#[test]
fn a_script_without_result_is_waited_for_in_silence() {
    let mut config = config("A", 51, 100);
    config.trackers = script(0);
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim.run(Duration::from_secs(10));
    assert_eq!(sim.nodes[0].transitions(), []);
    assert_eq!(faults(&sim), ["waiting for the first result of script check"]);
    sim.event(0, Event::Tracker(TrackerId::script("check"), true.into()));
    assert_eq!(sim.nodes[0].transitions(), [(State::Initialize, State::Backup)]);
}

#[test]
fn weights_move_the_address() {
    let mut high = config("A", 51, 100);
    high.trackers = script(-5);
    let mut sim = Sim::new(vec![high, config("B", 51, 98)]);
    sim.begin();
    let check = || TrackerId::script("check");
    sim.event(0, Event::Tracker(check(), true.into()));
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.masters(), [0]);
    sim.event(0, Event::Tracker(check(), false.into()));
    assert_eq!(sim.nodes[0].priority(), 95);
    sim.run(Duration::from_secs(6));
    assert_eq!(sim.masters(), [1]);
    sim.event(0, Event::Tracker(check(), true.into()));
    sim.run(Duration::from_secs(6));
    assert_eq!(sim.masters(), [0]);
    let changes: Vec<_> = sim.nodes[0]
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::PriorityChanged { from, to, reason, .. } => Some((from.0, to.0, reason.as_str())),
            _ => None,
        })
        .collect();
    assert_eq!(changes, [(100, 95, "script check failed"), (95, 100, "script check succeeded")]);
}

#[test]
fn the_timer_of_a_backup_is_shifted_by_the_difference_of_skew() {
    let mut config = config("A", 51, 100);
    config.trackers = script(100);
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim.run(Duration::from_secs(1));
    sim.event(0, Event::Tracker(TrackerId::script("check"), true.into()));
    // 3 s + 56/256 s from the start, not from now.
    let want = sim.start + Duration::from_micros(3_218_750);
    assert_eq!(sim.nodes[0].engine.deadline(), Some(want));
}

#[test]
fn the_source_follows_the_interface() {
    let mut sim = Sim::new(vec![config("A", 51, 100)]);
    sim.begin();
    sim.run(Duration::from_secs(4));
    let moved = Interface { addresses: vec![VIP.into(), Ipv4Addr::new(10, 0, 0, 9).into()], ..interface(1) };
    sim.event(0, Event::Interface(moved));
    let Some((_, Action::SendAdvert { packet, .. })) = sim.nodes[0].log.last() else { panic!("no advert") };
    assert_eq!(packet[12..16], [10, 0, 0, 9]);
    assert_eq!(sim.masters(), [0]);
}

#[test]
fn a_renamed_interface_is_gone_under_its_old_name() {
    let mut sim = Sim::new(vec![config("A", 51, 100)]);
    sim.begin();
    sim.event(0, Event::Interface(Interface { name: "lan0".into(), ..interface(1) }));
    assert_eq!(faults(&sim), ["interface eth0 does not exist"]);
    sim.event(0, Event::Interface(interface(1)));
    assert_eq!(sim.nodes[0].state(), State::Backup);
}

#[test]
fn an_owner_sends_from_its_own_virtual_address_where_there_is_no_other() {
    let mut sim = Sim::new(vec![config("A", 51, 255)]);
    sim.event(0, Event::Interface(Interface { addresses: vec![VIP.into()], ..interface(1) }));
    sim.begin();
    assert_eq!(sim.nodes[0].engine.routers()[0].source(), Some(VIP.into()));
    assert_eq!(sim.masters(), [0]);
}

/// dont_track_primary and no_track: whose interface, down or missing, is a fault.
#[test]
fn interfaces_that_are_not_tracked() {
    let fault = |missing: bool, name: &str| match missing {
        true => format!("interface {name} does not exist"),
        false => format!("interface {name} is down"),
    };
    for (name, track_primary, no_track, device, own, other) in [
        ("as it is", true, false, Some("eth1"), true, true),
        ("the address is on the own one", true, false, None, true, false),
        ("the same, said", true, false, Some("eth0"), true, false),
        ("no_track", true, true, Some("eth1"), true, false),
        ("no_track on the own one", true, true, Some("eth0"), true, false),
        ("dont_track_primary", false, false, Some("eth1"), false, true),
        ("dont_track_primary and an address on the own one", false, false, Some("eth0"), false, false),
        ("neither", false, true, Some("eth1"), false, false),
    ] {
        for excluded in [false, true] {
            let mut one = config("A", 51, 100);
            one.track_primary = track_primary;
            let mut address = vip(Ipv4Addr::new(10, 0, 0, 101));
            (address.device, address.no_track) = (device.map(str::to_owned), no_track);
            if excluded { &mut one.excluded_addresses } else { &mut one.addresses }.push(address);
            let mut sim = Sim::new(vec![one]);
            sim.begin();
            let name = format!("{name}, excluded: {excluded}");
            assert!(faults(&sim).is_empty(), "{name}");
            sim.event(0, Event::Interface(Interface { up: false, ..interface(1) }));
            assert_eq!(
                faults(&sim),
                Vec::from_iter(own.then(|| fault(false, "eth0"))),
                "{name}: own one down"
            );
            sim.event(0, Event::Interface(interface(1)));
            sim.event(0, Event::Interface(Interface { up: false, ..nic(3, 1) }));
            assert_eq!(
                faults(&sim),
                Vec::from_iter(other.then(|| fault(false, "eth1"))),
                "{name}: other one down"
            );
            sim.event(0, Event::InterfaceGone("eth1".into()));
            assert_eq!(
                faults(&sim),
                Vec::from_iter(other.then(|| fault(true, "eth1"))),
                "{name}: other one gone"
            );
            sim.event(0, Event::Interface(nic(3, 1)));
            sim.event(0, Event::InterfaceGone("eth0".into()));
            assert_eq!(
                faults(&sim),
                [fault(true, "eth0")],
                "{name}: without the own one nothing can be sent"
            );
        }
    }
}

/// unicast_fault_no_peer
#[test]
fn unicast_without_any_peer_is_a_fault() {
    let mut alone = config("A", 51, 100);
    alone.delivery = Delivery::Unicast { peers: vec![], ttl: Some(255), check_source: false };
    let mut sim = Sim::new(vec![alone]);
    sim.begin();
    sim.run(Duration::from_secs(10));
    assert_eq!(
        (faults(&sim), sim.nodes[0].state()),
        (vec!["there is no unicast_peer".to_owned()], State::Fault)
    );
}

/// Peers may have learnt that somebody else has it.
#[test]
fn who_sends_unicast_announces_its_own_address_after_a_fault() {
    for (name, priority, unicast, want) in
        [("unicast", 100, true, 1), ("an owner", 255, true, 1), ("multicast", 100, false, 0)]
    {
        let mut one = config("A", 51, priority);
        if unicast {
            let peers = vec![Peer::new(Ipv4Addr::new(10, 0, 0, 2))];
            one.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: false };
        }
        let mut sim = Sim::new(vec![one]);
        sim.begin();
        sim.event(0, Event::Interface(Interface { up: false, ..interface(1) }));
        sim.nodes[0].log.clear();
        sim.event(0, Event::Interface(interface(1)));
        let of_source = |(_, action): &&(Duration, Action)| {
            // The sender's address of an ARP request.
            matches!(action, Action::SendFrame { frame, .. } if frame[28..32] == [10, 0, 0, 1])
        };
        assert_eq!(sim.nodes[0].log.iter().filter(of_source).count(), want, "{name}");
    }
}

#[test]
fn one_that_stopped_tells_of_no_priority() {
    let mut one = config("A", 51, 100);
    one.trackers = script(10);
    let mut sim = Sim::new(vec![one]);
    sim.begin();
    sim.event(0, Event::Stop);
    sim.nodes[0].log.clear();
    sim.event(0, Event::Tracker(TrackerId::script("check"), true.into()));
    assert!(sim.nodes[0].log.is_empty(), "{:?}", sim.nodes[0].log);
}
