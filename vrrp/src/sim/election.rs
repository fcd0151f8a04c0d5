//! Who is master, and when: hand-worked times.

use super::*;

fn ms(sim: &Sim, node: usize, to: State) -> Vec<u128> {
    let entered = |(at, action): &(Duration, Action)| match action {
        Action::Transition { to: state, .. } if *state == to => Some(at.as_millis()),
        _ => None,
    };
    sim.nodes[node].log.iter().filter_map(entered).collect()
}

fn adverts(sim: &Sim, node: usize) -> Vec<(u128, u8)> {
    let advert = |(at, action): &(Duration, Action)| match action {
        Action::SendAdvert { packet, .. } => Some((at.as_millis(), advert_of(packet).1)),
        _ => None,
    };
    sim.nodes[node].log.iter().filter_map(advert).collect()
}

fn frames(sim: &Sim, node: usize) -> Vec<u128> {
    let frame = |(at, action): &(Duration, Action)| {
        matches!(action, Action::SendFrame { .. }).then(|| at.as_millis())
    };
    sim.nodes[node].log.iter().filter_map(frame).collect()
}

fn seconds(time: u64) -> Duration {
    Duration::from_secs(time)
}

#[test]
fn the_higher_priority_is_first_after_its_master_down_interval() {
    let mut sim = Sim::new(vec![config("A", 51, 150), config("B", 51, 100)]);
    sim.begin();
    sim.run(seconds(10));
    // 3 s + 106/256 s.
    assert_eq!(ms(&sim, 0, State::Master), [3414]);
    assert_eq!(ms(&sim, 1, State::Master), []);
    assert_eq!(sim.nodes[1].transitions(), [(State::Initialize, State::Backup)]);
    assert_eq!(adverts(&sim, 0)[..3], [(3414, 150), (4414, 150), (5414, 150)]);
    let master = (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), Priority(150));
    assert_eq!(sim.nodes[1].engine.routers()[0].master(), Some(master));
}

#[test]
fn a_silent_master_is_replaced_after_the_master_down_interval_and_an_orderly_one_after_skew() {
    for (name, orderly, want) in [("dies", false, 3609), ("stops", true, 609)] {
        let mut sim = Sim::new(vec![config("A", 51, 150), config("B", 51, 100)]);
        sim.begin();
        sim.run(Duration::from_micros(3_414_063));
        assert_eq!(sim.masters(), [0], "{name}");
        if orderly {
            sim.event(0, Event::Stop);
            assert!(sim.nodes[0].held.is_empty());
            assert_eq!(adverts(&sim, 0).last(), Some(&(3414, 0)));
        }
        sim.run(Duration::from_micros(150));
        sim.nodes[0].alive = false;
        sim.run(seconds(5));
        assert_eq!(ms(&sim, 1, State::Master), [3414 + want], "{name}");
    }
}

#[test]
fn a_backup_says_when_it_is_about_to_take_over_and_a_master_does_not() {
    let mut sim = Sim::new(vec![config("A", 51, 150), config("B", 51, 100)]);
    sim.begin();
    sim.run(Duration::from_micros(3_414_100));
    assert_eq!(sim.masters(), [0]);
    sim.nodes[0].alive = false;
    let due = |sim: &Sim, node: usize| {
        let engine = &sim.nodes[node].engine;
        let at = engine.deadline().expect("a timer runs");
        (engine.takeover_due(at - Duration::from_nanos(1)), engine.takeover_due(at))
    };
    assert_eq!(due(&sim, 0), (false, false), "a master's next advert is no takeover");
    assert_eq!(due(&sim, 1), (false, true));
    sim.run(seconds(5));
    assert_eq!(due(&sim, 1), (false, false), "it is master");
}

#[test]
fn leaving_for_a_higher_priority_sends_no_priority_zero() {
    let mut sim = Sim::new(vec![config("A", 51, 150), config("B", 51, 100)]);
    sim.side[0] = 1;
    sim.begin();
    sim.run(seconds(5));
    assert_eq!((sim.masters_on(0), sim.masters_on(1)), (vec![1], vec![0]));
    sim.side[0] = 0;
    sim.run(seconds(2));
    assert_eq!(sim.masters(), [0]);
    assert!(adverts(&sim, 1).iter().all(|(_, priority)| *priority == 100));
    assert!(sim.worst_double <= seconds(1));
}

#[test]
fn higher_prio_send_advert_sends_one_before_yielding() {
    for (name, keyword, want) in [("off", false, 1), ("on", true, 2)] {
        let mut config = config("A", 51, 100);
        config.higher_priority_send_advert = keyword;
        let mut sim = Sim::new(vec![config, super::config("B", 51, 200)]);
        sim.nodes[1].alive = false;
        sim.event(0, Event::Begin { resume: vec![] });
        sim.run(Duration::from_millis(3700));
        assert_eq!(sim.masters(), [0], "{name}");
        sim.nodes[1].alive = true;
        let router = sim.router(1);
        sim.event(1, Event::Begin { resume: vec![router] });
        sim.run(Duration::from_millis(10));
        assert_eq!(sim.masters(), [1], "{name}");
        assert_eq!(adverts(&sim, 0).len(), want, "{name}");
    }
}

#[test]
fn equal_priorities_the_higher_address_wins_among_masters_only() {
    let mut sim = Sim::new(vec![config("A", 51, 50), config("B", 51, 50)]);
    sim.begin();
    sim.run(seconds(6));
    assert_eq!(sim.masters(), [1], "started together: the higher address");
    let mut sim = Sim::new(vec![config("A", 51, 50), config("B", 51, 50)]);
    sim.event(0, Event::Begin { resume: vec![] });
    sim.run(seconds(6));
    sim.event(1, Event::Begin { resume: vec![] });
    sim.run(seconds(6));
    assert_eq!(sim.masters(), [0], "started one after the other: the first keeps it");
}

/// V3-O7.
#[test]
fn preempt_nopreempt_and_preempt_delay() {
    for (name, preempt, delay, want) in [
        ("preempt", true, 0, Some(9)),
        ("nopreempt", false, 0, None),
        // First lower advert at 6.609: held back until 26.609; the last one before that (25.609)
        // restarted the timer of 3.219 s.
        ("preempt_delay", true, 20, Some(28)),
    ] {
        let mut high = config("A", 51, 200);
        high.preempt = preempt;
        high.preempt_delay = seconds(delay);
        let mut sim = Sim::new(vec![high, config("B", 51, 100)]);
        sim.event(1, Event::Begin { resume: vec![] });
        sim.run(seconds(6));
        sim.event(0, Event::Begin { resume: vec![] });
        sim.run(seconds(40));
        let took: Vec<u64> =
            ms(&sim, 0, State::Master).into_iter().map(|at| u64::try_from(at / 1000).expect("ms")).collect();
        assert_eq!(took, want.into_iter().collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn nopreempt_takes_over_from_a_dead_or_released_master() {
    for (name, orderly) in [("dead", false), ("released", true)] {
        let mut high = config("A", 51, 200);
        high.preempt = false;
        let mut sim = Sim::new(vec![high, config("B", 51, 100)]);
        sim.event(1, Event::Begin { resume: vec![] });
        sim.run(seconds(6));
        sim.event(0, Event::Begin { resume: vec![] });
        sim.run(seconds(6));
        assert_eq!(sim.masters(), [1], "{name}");
        if orderly {
            sim.event(1, Event::Stop);
        }
        sim.nodes[1].alive = false;
        sim.run(if orderly { Duration::from_millis(220) } else { Duration::from_millis(3300) });
        assert_eq!(sim.masters(), [0], "{name}");
    }
}

#[test]
fn an_owner_is_master_at_once_without_backup() {
    let mut sim = Sim::new(vec![config("A", 51, 255), config("B", 51, 100)]);
    sim.begin();
    assert_eq!(sim.nodes[0].transitions(), [(State::Initialize, State::Master)]);
    sim.run(seconds(6));
    assert_eq!(sim.masters(), [0]);
}

/// V2-R12.
#[test]
fn a_differing_interval_makes_two_masters_and_is_counted() {
    let mut slow = config("B", 51, 100);
    slow.advert_interval = Duration::from_secs(3);
    let mut sim = Sim::new(vec![config("A", 51, 150), slow]);
    sim.begin();
    sim.run(seconds(20));
    assert_eq!(sim.masters(), [0, 1]);
    let refused = &sim.nodes[1].engine.routers()[0].counters().refused;
    assert!(refused[&crate::receive::Refusal::Interval] > 3, "{refused:?}");
    let logged =
        sim.nodes[1].log.iter().filter(|(_, action)| matches!(action, Action::Refused { .. })).count();
    assert_eq!(logged, 2, "once as backup, once as master");
}

#[test]
fn a_lower_master_is_answered_and_told_about() {
    for (name, no_advert, want) in [("answers", false, 1), ("lower_prio_no_advert", true, 0)] {
        let mut high = config("A", 51, 200);
        high.lower_priority_no_advert = no_advert;
        let mut sim = Sim::new(vec![high, config("B", 51, 100)]);
        sim.begin();
        sim.run(seconds(4));
        let before = (adverts(&sim, 0).len(), frames(&sim, 0).len());
        let router = sim.router(1);
        sim.nodes[1].engine = Engine::new(Setup::of(vec![config("B", 51, 100)]));
        sim.event(1, Event::Interface(interface(2)));
        sim.event(1, Event::Begin { resume: vec![router] });
        sim.run(Duration::from_millis(1));
        assert_eq!(adverts(&sim, 0).len() - before.0, want, "{name}");
        assert_eq!(frames(&sim, 0).len() - before.1, 5, "{name}: garp_lower_prio_repeat");
        let told =
            sim.nodes[0].log.iter().any(|(_, action)| matches!(action, Action::HeardLowerPriority { .. }));
        assert!(told, "{name}");
        sim.run(seconds(1));
        assert_eq!(sim.masters(), [0], "{name}");
    }
}

#[test]
fn gratuitous_arp_in_bursts() {
    let mut config = config("A", 51, 100);
    config.garp.refresh = seconds(10);
    config.garp.refresh_repeat = 2;
    config.excluded_addresses = vec![vip(Ipv4Addr::new(10, 0, 0, 101))];
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim.run(seconds(30));
    let mut want = vec![3609; 10];
    want.extend([8609; 10]);
    want.extend([18609; 4]);
    want.extend([28609; 4]);
    assert_eq!(frames(&sim, 0), want);
}

#[test]
fn an_address_removed_by_someone_else_is_taken_again_after_skew() {
    let mut sim = Sim::new(vec![config("A", 51, 200), config("B", 51, 100)]);
    sim.begin();
    sim.run(seconds(5));
    let at = sim.now - sim.start;
    let router = sim.router(0);
    sim.event(0, Event::AddressLost { router, what: "10.0.0.100/32 on eth0".into() });
    assert_eq!(sim.nodes[0].state(), State::Backup);
    assert_eq!(adverts(&sim, 0).last(), Some(&(5000, 0)));
    sim.run(seconds(3));
    assert_eq!(ms(&sim, 0, State::Master).last(), Some(&(at.as_millis() + 218)));
    assert_eq!(sim.masters(), [0]);
    assert_eq!(ms(&sim, 1, State::Master), [], "B would have needed 609 ms");
}

#[test]
fn a_resumed_master_sends_at_once_and_takes_nothing_away() {
    let mut waiting = config("A", 51, 150);
    waiting.trackers = vec![(TrackerId::script("check"), Weight { value: 0, reverse: false })];
    let mut sim = Sim::new(vec![waiting, config("B", 51, 100)]);
    let router = sim.router(0);
    sim.event(0, Event::Begin { resume: vec![router] });
    assert_eq!(sim.nodes[0].transitions(), [(State::Initialize, State::Master)]);
    assert_eq!(adverts(&sim, 0), [(0, 150)]);
    let sets: Vec<_> = sim.nodes[0]
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::SetAddresses { hold, purge, .. } => Some((hold.len(), purge.is_none())),
            _ => None,
        })
        .collect();
    assert_eq!(sets, [(1, true)]);
}

#[test]
fn unicast_reaches_each_peer_and_multicast_is_refused() {
    let unicast = |priority, peers: &[u8]| {
        let mut config = config("U", 51, priority);
        let peers = peers.iter().map(|host| Peer::new(Ipv4Addr::new(10, 0, 0, *host))).collect();
        config.delivery = Delivery::Unicast { peers, ttl: Some(64), check_source: true };
        config
    };
    let configs = vec![unicast(200, &[2, 3]), unicast(150, &[1, 3]), unicast(100, &[1])];
    let mut sim = Sim::new(configs);
    sim.begin();
    sim.run(seconds(5));
    assert_eq!(sim.masters(), [0]);
    let Some((_, Action::SendAdvert { packet, .. })) =
        sim.nodes[0].log.iter().find(|(_, action)| matches!(action, Action::SendAdvert { .. }))
    else {
        panic!("no advert")
    };
    assert_eq!((packet[1], packet[4..6].to_vec(), packet[8]), (0xc0, vec![0, 2], 64));
    let refusals = |sim: &Sim| sim.nodes[2].engine.routers()[0].counters().refused.clone();
    assert!(refusals(&sim).is_empty());
    // 2 is no peer of 3.
    sim.nodes[0].alive = false;
    sim.run(seconds(5));
    assert_eq!(sim.masters(), [1, 2]);
    assert!(refusals(&sim)[&crate::receive::Refusal::Peer] > 0);
}

#[test]
fn packet_ids_start_at_two_and_are_never_zero() {
    let mut sim = Sim::new(vec![config("A", 51, 255)]);
    sim.begin();
    sim.run(seconds(66_000));
    let ids: Vec<u16> = sim.nodes[0]
        .log
        .iter()
        .filter_map(|(_, action)| match action {
            Action::SendAdvert { packet, .. } => Some(u16::from_be_bytes([packet[4], packet[5]])),
            _ => None,
        })
        .collect();
    assert_eq!(ids[..2], [2, 3]);
    assert!(ids.len() > 65_536 && !ids.contains(&0));
}

#[test]
fn answers_to_lower_priorities_are_limited() {
    let mut sim = Sim::new(vec![config("A", 51, 200), config("B", 51, 100)]);
    sim.begin();
    sim.run(seconds(4));
    let mut forged = config("B", 51, 1);
    forged.source = Some(Ipv4Addr::new(10, 0, 0, 9).into());
    let mut other = Sim::new(vec![forged]);
    let router = other.router(0);
    other.event(0, Event::Begin { resume: vec![router] });
    let Some((_, Action::SendAdvert { packet, .. })) = other.nodes[0].log.first() else {
        panic!("no advert")
    };
    let before = adverts(&sim, 0).len();
    for _ in 0..200 {
        sim.deliver(0, packet);
        sim.run(Duration::from_millis(1));
    }
    // One for each 100 ms, and the regular one may fall into the time.
    assert!(adverts(&sim, 0).len() - before <= 3, "{}", adverts(&sim, 0).len() - before);
}

#[test]
fn routers_of_one_vrid_get_the_adverts_of_their_group_or_peer() {
    let other_group = Ipv4Addr::new(224, 0, 38, 12);
    let mut grouped = config("G", 51, 100);
    grouped.delivery = Delivery::Multicast { group: other_group.into() };
    let unicast = |name, peer| {
        let mut unicast = config(name, 51, 100);
        let peers = vec![Peer::new(Ipv4Addr::new(10, 0, 0, peer))];
        unicast.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: false };
        unicast
    };
    let all = vec![config("A", 51, 100), grouped.clone(), unicast("U3", 3), unicast("U2", 2)];
    let mut sim = Sim::new(vec![config("A", 51, 100), config("A", 51, 200)]);
    sim.nodes[0].engine = Engine::new(Setup::of(all));
    sim.event(0, Event::Interface(interface(1)));
    sim.event(0, Event::Begin { resume: vec![] });
    let received = |sim: &Sim| -> Vec<u64> {
        sim.nodes[0].engine.routers().iter().map(|router| router.counters().received).collect()
    };
    for (name, sender, want) in [
        ("the common group", config("A", 51, 200), [1, 0, 0, 0]),
        ("another group", grouped, [1, 1, 0, 0]),
        ("unicast of the second peer", unicast("U", 1), [1, 1, 0, 1]),
    ] {
        sim.nodes[1].engine = Engine::new(Setup::of(vec![sender]));
        sim.event(1, Event::Interface(interface(2)));
        let router = sim.router(1);
        sim.event(1, Event::Begin { resume: vec![router] });
        sim.run(Duration::from_millis(1));
        assert_eq!(received(&sim), want, "{name}");
    }
}
