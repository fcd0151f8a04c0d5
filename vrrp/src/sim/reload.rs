//! Reload by identity.

use super::*;

fn running(config: InstanceConfig) -> Sim {
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim.run(Duration::from_secs(4));
    assert_eq!(sim.masters(), [0]);
    sim.nodes[0].log.clear();
    sim
}

fn actions(sim: &Sim) -> Vec<&Action> {
    sim.nodes[0].log.iter().map(|(_, action)| action).collect()
}

#[test]
fn an_unchanged_file_does_nothing() {
    let mut sim = running(config("A", 51, 100));
    sim.event(0, Event::Reload(Setup::of(vec![config("A", 51, 100)])));
    assert_eq!(actions(&sim), Vec::<&Action>::new());
}

#[test]
fn a_kept_master_stays_master_and_advertises() {
    let mut sim = running(config("A", 51, 100));
    let id = sim.router(0);
    let mut changed = config("renamed", 51, 120);
    changed.addresses.push(vip(Ipv4Addr::new(10, 0, 0, 101)));
    sim.event(0, Event::Reload(Setup::of(vec![changed.clone()])));
    sim.run(Duration::from_millis(1));
    assert_eq!((sim.masters(), sim.router(0)), (vec![0], id));
    assert_eq!(sim.nodes[0].transitions(), []);
    let log = actions(&sim);
    let advert = log.iter().find_map(|action| match action {
        Action::SendAdvert { packet, .. } => Some((advert_of(packet).1, advert_of(packet).2)),
        _ => None,
    });
    assert_eq!(advert, Some((120, 2)));
    let hold = DeviceAddress::all_of(&changed);
    assert!(log.iter().any(|action| matches!(action, Action::SetAddresses { hold: h, .. } if **h == *hold)));
    let frames = log.iter().filter(|action| matches!(action, Action::SendFrame { .. })).count();
    assert_eq!(frames, 10, "a burst, since an address was added");
}

#[test]
fn a_removed_instance_releases_and_another_identity_is_a_new_one() {
    for (name, new) in [
        ("gone", vec![]),
        ("another VRID", vec![config("A", 52, 100)]),
        ("unicast", {
            let mut unicast = config("A", 51, 100);
            let peers = vec![Peer::new(Ipv4Addr::new(10, 0, 0, 2))];
            unicast.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: false };
            vec![unicast]
        }),
    ] {
        let mut sim = running(config("A", 51, 100));
        sim.event(0, Event::Reload(Setup::of(new)));
        let log = actions(&sim);
        let release = log
            .iter()
            .any(|action| matches!(action, Action::SendAdvert { packet, .. } if advert_of(packet).1 == 0));
        assert!(release, "{name}: priority 0");
        assert!(sim.nodes[0].held.is_empty(), "{name}");
        assert!(log.iter().any(|action| matches!(action, Action::Stopped { deleted: true, .. })), "{name}");
    }
}

/// Who hears of them by name must not take the end of the old one for the new one's.
#[test]
fn of_two_with_the_same_name_the_removed_one_is_told_first() {
    let mut sim = running(config("A", 51, 100));
    sim.event(0, Event::Reload(Setup::of(vec![config("A", 52, 100)])));
    let told: Vec<String> = actions(&sim)
        .into_iter()
        .filter_map(|action| match action {
            Action::Stopped { instance, deleted: true, .. } => Some(format!("{instance} removed")),
            Action::Transition { instance, to, .. } => Some(format!("{instance} {to}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["A removed", "A BACKUP"]);
}

#[test]
fn the_order_of_peers_and_instances_does_not_matter() {
    let unicast = |peers: [u8; 2]| {
        let mut unicast = config("A", 51, 100);
        let peers = peers.map(|host| Peer::new(Ipv4Addr::new(10, 0, 0, host))).to_vec();
        unicast.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: false };
        unicast
    };
    let mut sim = running(unicast([2, 3]));
    let id = sim.router(0);
    sim.event(0, Event::Reload(Setup::of(vec![config("B", 52, 100), unicast([3, 2])])));
    let routers = sim.nodes[0].engine.routers();
    assert_eq!((routers[1].id(), routers[1].state()), (id, State::Master));
    assert_eq!(routers[0].state(), State::Backup);
}

#[test]
fn a_new_script_does_not_hold_back_a_running_instance() {
    let mut sim = running(config("A", 51, 100));
    let mut scripted = config("A", 51, 100);
    let check = TrackerId::script("check");
    scripted.trackers = vec![(check.clone(), Weight { value: 0, reverse: false })];
    sim.event(0, Event::Reload(Setup::of(vec![scripted])));
    assert_eq!(sim.masters(), [0]);
    sim.event(0, Event::Tracker(check, false.into()));
    assert_eq!(sim.nodes[0].state(), State::Fault);
}

/// Adverts since the log was cleared: time in ms and priority.
fn adverts(sim: &Sim) -> Vec<(u128, u8)> {
    let advert = |(at, action): &(Duration, Action)| match action {
        Action::SendAdvert { packet, .. } => Some((at.as_millis(), advert_of(packet).1)),
        _ => None,
    };
    sim.nodes[0].log.iter().filter_map(advert).collect()
}

#[test]
fn a_rename_costs_nothing() {
    let mut sim = running(config("A", 51, 100));
    sim.event(0, Event::Reload(Setup::of(vec![config("B", 51, 100)])));
    assert_eq!(actions(&sim), Vec::<&Action>::new());
    assert_eq!(&*sim.nodes[0].engine.routers()[0].config().name, "B");
    sim.run(Duration::from_secs(2));
    assert_eq!(adverts(&sim), [(4609, 100), (5609, 100)], "the next advert on time");
}

#[test]
fn the_next_advert_of_an_unchanged_instance_is_on_time() {
    let mut sim = running(config("A", 51, 100));
    let other = InstanceConfig { interface: Some("eth1".into()), ..config("B", 52, 100) };
    sim.run(Duration::from_millis(600));
    sim.nodes[0].log.clear();
    sim.event(0, Event::Reload(Setup::of(vec![other, config("A", 51, 100)])));
    sim.run(Duration::from_secs(2));
    assert_eq!(adverts(&sim), [(4609, 100), (5609, 100)]);
}

#[test]
fn a_peer_that_is_added_changes_no_state() {
    let unicast = |peers: &[u8]| {
        let peers = peers.iter().map(|host| Peer::new(Ipv4Addr::new(10, 0, 0, *host))).collect();
        let delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: false };
        InstanceConfig { delivery, ..config("A", 51, 100) }
    };
    let mut sim = running(unicast(&[2]));
    let id = sim.router(0);
    sim.event(0, Event::Reload(Setup::of(vec![unicast(&[2, 3])])));
    assert_eq!((sim.router(0), sim.masters(), sim.nodes[0].transitions()), (id, vec![0], vec![]));
    let to = |(_, action): &(Duration, Action)| match action {
        Action::SendAdvert { destination, .. } => Some(destination.to_string()),
        _ => None,
    };
    let to: Vec<String> = sim.nodes[0].log.iter().filter_map(to).collect();
    assert_eq!(to, ["10.0.0.2", "10.0.0.3"], "the new one hears at once");
    sim.event(0, Event::Reload(Setup::of(vec![unicast(&[3])])));
    assert_eq!((sim.router(0), sim.masters()), (id, vec![0]), "and one removed");
}

#[test]
fn interval_priority_and_addresses_change_in_place() {
    let plain = config("A", 51, 100);
    let mut addresses = plain.clone();
    addresses.addresses = vec![vip(Ipv4Addr::new(10, 0, 0, 101))];
    let interval = InstanceConfig { advert_interval: Duration::from_secs(2), ..plain.clone() };
    for (name, new, want) in [
        ("interval", interval, vec![(4000, 100), (6000, 100), (8000, 100)]),
        (
            "priority",
            config("A", 51, 120),
            vec![(4000, 120), (5000, 120), (6000, 120), (7000, 120), (8000, 120)],
        ),
        ("addresses", addresses, vec![(4000, 100), (5000, 100), (6000, 100), (7000, 100), (8000, 100)]),
    ] {
        let mut sim = running(plain.clone());
        let id = sim.router(0);
        sim.event(0, Event::Reload(Setup::of(vec![new.clone()])));
        sim.run(Duration::from_secs(4));
        assert_eq!((sim.router(0), sim.nodes[0].transitions()), (id, vec![]), "{name}");
        assert_eq!(adverts(&sim), want, "{name}: at once, and from then on");
        let held: Vec<IpAddr> = sim.nodes[0].held.iter().copied().collect();
        let wanted: Vec<IpAddr> = new.addresses.iter().map(|one| one.address).collect();
        assert_eq!(held, wanted, "{name}");
    }
}

/// V2-T2: in Backup another interval is counted from now on, another priority moves the timer only.
#[test]
fn a_backup_waits_as_it_is_configured_anew() {
    let plain = config("A", 51, 100);
    let slow = InstanceConfig { advert_interval: Duration::from_secs(2), ..plain.clone() };
    for (name, new, want_us) in [
        ("interval: 6.609 s from 1 s on", slow, 7_609_375),
        ("priority: 3 s and 56/256 s from the start", config("A", 51, 200), 3_218_750),
        ("name", config("B", 51, 100), 3_609_375),
    ] {
        let mut sim = Sim::new(vec![plain.clone()]);
        sim.begin();
        sim.run(Duration::from_secs(1));
        sim.event(0, Event::Reload(Setup::of(vec![new])));
        assert_eq!(
            sim.nodes[0].engine.deadline(),
            Some(sim.start + Duration::from_micros(want_us)),
            "{name}"
        );
        assert_eq!(sim.nodes[0].transitions().len(), 1, "{name}");
    }
}

/// What preempt_delay was when the lower master was first heard held on.
#[test]
fn another_preempt_delay_counts_at_once() {
    let high = |delay| InstanceConfig { preempt_delay: Duration::from_secs(delay), ..config("A", 51, 200) };
    for (name, delay, want) in [("none", 0, 0), ("one that is over", 5, 0), ("one that is not", 100, 1)] {
        let mut sim = Sim::new(vec![high(1000), config("B", 51, 100)]);
        sim.event(1, Event::Begin { resume: vec![] });
        sim.run(Duration::from_secs(4));
        sim.event(0, Event::Begin { resume: vec![] });
        sim.run(Duration::from_secs(10));
        assert_eq!(sim.masters(), [1], "{name}: 1000 s");
        sim.event(0, Event::Reload(Setup::of(vec![high(delay)])));
        sim.run(Duration::from_secs(4));
        assert_eq!(sim.masters(), [want], "{name}");
    }
}

/// It went on being shown as a stranger.
#[test]
fn a_virtual_router_that_is_configured_is_foreign_no_more() {
    let other =
        |name| InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..config(name, 9, 100) };
    let mut sim = running(config("A", 51, 100));
    sim.deliver(0, &first_advert(&other("X")));
    let foreign = |sim: &Sim| sim.nodes[0].engine.foreign().map(|one| one.vrid).collect::<Vec<_>>();
    assert_eq!(foreign(&sim), [9]);
    sim.event(0, Event::Reload(Setup::of(vec![config("A", 51, 100), config("B", 9, 100)])));
    assert_eq!(foreign(&sim), [0_u8; 0]);
    sim.event(0, Event::Reload(Setup::of(vec![config("A", 51, 100)])));
    sim.deliver(0, &first_advert(&other("X")));
    assert_eq!(foreign(&sim), [9], "and again");
}
