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
    let check = TrackerId("check".into());
    scripted.trackers = vec![(check.clone(), Weight { value: 0, reverse: false })];
    sim.event(0, Event::Reload(Setup::of(vec![scripted])));
    assert_eq!(sim.masters(), [0]);
    sim.event(0, Event::Tracker(check, false));
    assert_eq!(sim.nodes[0].state(), State::Fault);
}
