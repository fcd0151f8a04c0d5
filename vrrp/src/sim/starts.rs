//! The start-up delay, and pauses of the process: hand-worked times.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn delayed(config: InstanceConfig) -> Setup {
    Setup { startup_delay: ms(5000), ..Setup::of(vec![config]) }
}

fn became_master(sim: &Sim, node: usize) -> Vec<u128> {
    let entered = |(at, action): &(Duration, Action)| {
        matches!(action, Action::Transition { to: State::Master, .. }).then_some(at.as_millis())
    };
    sim.nodes[node].log.iter().filter_map(entered).collect()
}

/// V3-T10.
#[test]
fn the_start_up_delay_comes_before_the_master_down_interval() {
    for (name, priority, want) in [("plain", 100, 8609), ("V3-I1 owner", 255, 5000)] {
        let mut sim = Sim::of(vec![delayed(v3("A", priority))]);
        sim.begin();
        sim.run(ms(10_000));
        assert_eq!(became_master(&sim, 0), [want], "{name}");
    }
}

/// V3-T10.
#[test]
fn nothing_is_heard_during_the_start_up_delay() {
    let mut sim = Sim::of(vec![delayed(v3("A", 100))]);
    sim.begin();
    let other = InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..v3("A", 200) };
    sim.run(ms(4900));
    sim.deliver(0, &first_advert(&other));
    assert_eq!(sim.nodes[0].engine.deadline(), Some(sim.start + Duration::from_micros(8_609_375)));
    let refused = &sim.nodes[0].engine.routers()[0].counters().refused;
    assert_eq!(refused.get(&crate::receive::Refusal::NotRunning), Some(&1));
    sim.run(ms(100));
    sim.deliver(0, &first_advert(&other));
    assert_eq!(sim.nodes[0].engine.routers()[0].counters().received, 1);
}

/// V3-T10. A fault that ended, and a script's first result, cut the start-up delay short.
#[test]
fn the_start_up_delay_outlasts_faults_and_waiting() {
    for (name, priority, want) in [("plain", 100, 8609), ("owner", 255, 5000)] {
        let mut sim = Sim::of(vec![delayed(v3("A", priority))]);
        sim.begin();
        sim.run(ms(500));
        sim.event(0, Event::Interface(Interface { up: false, ..interface(1) }));
        sim.event(0, Event::Interface(interface(1)));
        sim.run(ms(10_000));
        assert_eq!(became_master(&sim, 0), [want], "{name}: fault");

        let mut scripted = v3("A", priority);
        scripted.trackers = vec![(TrackerId::script("check"), Weight { value: 0, reverse: false })];
        let mut sim = Sim::of(vec![delayed(scripted)]);
        sim.begin();
        sim.run(ms(500));
        sim.event(0, Event::Tracker(TrackerId::script("check"), true.into()));
        sim.run(ms(10_000));
        assert_eq!(became_master(&sim, 0), [want], "{name}: script");
    }
}

/// V3-T10. Another interval began the wait anew, without the start-up delay.
#[test]
fn a_reload_does_not_cut_the_start_up_delay_short() {
    let mut sim = Sim::of(vec![delayed(v3("A", 100))]);
    sim.begin();
    sim.run(ms(500));
    let faster = InstanceConfig { advert_interval: ms(100), ..v3("A", 100) };
    sim.event(0, Event::Reload(delayed(faster)));
    sim.run(ms(10_000));
    assert_eq!(became_master(&sim, 0), [5360]);
}

/// A master that went on after an upgrade heard nobody for the start-up delay.
#[test]
fn a_resumed_master_hears_others_at_once() {
    let mut sim = Sim::of(vec![delayed(v3("A", 100))]);
    let router = sim.router(0);
    sim.event(0, Event::Begin { resume: vec![router] });
    let other = InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..v3("A", 200) };
    sim.deliver(0, &first_advert(&other));
    assert_eq!(sim.nodes[0].state(), State::Backup);
}

/// V3-T10. Who goes on as master takes nothing of the delay from others.
#[test]
fn beside_a_resumed_master_others_wait() {
    let other = InstanceConfig { name: "B".into(), vrid: NonZeroU8::new(9).expect("VRID"), ..v3("B", 100) };
    let mut sim = Sim::of(vec![Setup { startup_delay: ms(5000), ..Setup::of(vec![v3("A", 100), other]) }]);
    let router = sim.router(0);
    sim.event(0, Event::Begin { resume: vec![router] });
    sim.run(ms(10_000));
    assert_eq!(became_master(&sim, 0), [0, 8609]);
}

#[test]
fn a_master_that_was_paused_longer_than_peers_wait_steps_back() {
    // Peers take over after 3 s and a skew: of priority 254, 7.8 ms, or of timer_expired_backup.
    for (name, late_backup, pause, steps_back) in [
        ("shorter", None, 3007, false),
        ("longer", None, 3008, true),
        ("timer_expired_backup 1, shorter", Some(Priority(1)), 3996, false),
        ("timer_expired_backup 1, longer", Some(Priority(1)), 3997, true),
    ] {
        let mut sim = Sim::new(vec![InstanceConfig { late_backup, ..v3("A", 100) }]);
        sim.begin();
        // The advert on becoming master is at 3.609375 s.
        sim.run(Duration::from_micros(3_609_375));
        sim.nodes[0].log.clear();
        sim.nodes[0].alive = false;
        sim.run(ms(pause));
        sim.nodes[0].alive = true;
        let woken = (sim.now - sim.start).as_millis();
        sim.run(Duration::ZERO);
        let (state, sent) = (sim.nodes[0].state(), sim.nodes[0].engine.routers()[0].counters().sent);
        let want = if steps_back { (State::Backup, 1) } else { (State::Master, 2) };
        assert_eq!((state, sent), want, "{name}");
        sim.run(ms(2000));
        // An interval and 156/256 s.
        let again = if steps_back { vec![(woken * 1000 + 375 + 1_609_375) / 1000] } else { vec![] };
        assert_eq!(became_master(&sim, 0), again, "{name}: nobody else was there");
    }
}

/// With down_timer_adverts 1 one advert that is late is no pause.
#[test]
fn one_missed_interval_is_no_pause() {
    for (pause, steps_back) in [(2007, false), (2008, true)] {
        let mut sim = Sim::new(vec![InstanceConfig { down_timer_adverts: 1, ..v3("A", 100) }]);
        sim.begin();
        // The advert on becoming master.
        sim.run(Duration::from_micros(1_609_375));
        assert_eq!(sim.masters(), [0]);
        sim.nodes[0].alive = false;
        sim.run(ms(pause));
        sim.nodes[0].alive = true;
        sim.run(Duration::ZERO);
        assert_eq!(sim.masters().is_empty(), steps_back, "{pause} ms");
    }
}

#[test]
fn a_master_that_was_paused_hears_its_successor_first() {
    let mut sim = Sim::new(vec![v3("A", 200), v3("B", 100)]);
    sim.begin();
    sim.run(ms(5000));
    assert_eq!(sim.masters(), [0]);
    sim.nodes[0].alive = false;
    sim.run(ms(6000));
    assert_eq!(sim.masters(), [1]);
    let packet =
        first_advert(&InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 2).into()), ..v3("B", 100) });
    sim.nodes[0].alive = true;
    let before = sim.nodes[0].engine.routers()[0].counters().sent;
    sim.deliver(0, &packet);
    let counters = sim.nodes[0].engine.routers()[0].counters();
    assert_eq!((counters.sent, counters.pauses), (before, 1), "not answered as a lower one");
    assert_eq!(sim.nodes[0].state(), State::Backup);
    sim.run(ms(3000));
    assert_eq!(sim.masters(), [0], "and then it preempts");
}

#[test]
fn preemption_waits_while_it_is_held() {
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<BTreeSet<_>>();
    let mut sim = Sim::new(vec![v3("A", 200), v3("B", 100)]);
    sim.event(0, Event::HoldPreemption(names(&["A"])));
    let of_low = sim.router(1);
    sim.event(1, Event::Begin { resume: vec![of_low] });
    let nobody = Event::Begin { resume: vec![] };
    sim.event(0, nobody);
    sim.run(Duration::from_secs(30));
    assert_eq!(sim.masters(), [1], "the lower one is let be");
    let told = |sim: &Sim| {
        let condition = |(_, action): &(Duration, Action)| match action {
            Action::Condition { condition, active, .. } => Some((condition.as_str(), *active)),
            _ => None,
        };
        sim.nodes[0].log.iter().filter_map(condition).collect::<Vec<_>>()
    };
    assert_eq!(told(&sim), [("preemption_held", true)]);
    sim.event(0, Event::HoldPreemption(names(&[])));
    sim.run(Duration::from_secs(5));
    assert_eq!(sim.masters(), [0], "and no longer");
    assert_eq!(told(&sim), [("preemption_held", true), ("preemption_held", false)]);
}

#[test]
fn held_preemption_is_no_reason_to_leave_nobody_master() {
    let mut sim = Sim::new(vec![v3("A", 200)]);
    sim.event(0, Event::HoldPreemption(["A".into()].into()));
    sim.begin();
    sim.run(Duration::from_secs(4));
    assert_eq!(sim.masters(), [0]);
}
