//! Version 3: intervals that are learnt, skew that scales, the rhythm of adverts.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn with(priority: u8, interval: Duration) -> InstanceConfig {
    InstanceConfig { advert_interval: interval, ..v3("A", priority) }
}

/// Of the router 10.0.0.9.
fn other(priority: u8, interval: Duration) -> InstanceConfig {
    InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..with(priority, interval) }
}

fn begun(config: InstanceConfig) -> Sim {
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim
}

/// Time until its deadline, in ns.
fn left(sim: &Sim) -> u128 {
    (sim.nodes[0].engine.deadline().expect("waits") - sim.now).as_nanos()
}

fn sent(sim: &Sim) -> Vec<u128> {
    let sent = |(at, action): &(Duration, Action)| {
        matches!(action, Action::SendAdvert { .. }).then_some(at.as_micros())
    };
    sim.nodes[0].log.iter().filter_map(sent).collect()
}

/// V3-T2, V3-B10, V3-B12.
#[test]
fn the_masters_interval_is_learnt_and_the_own_one_is_sent() {
    let mut sim = begun(with(100, ms(1000)));
    sim.run(ms(500));
    sim.deliver(0, &first_advert(&other(150, ms(300))));
    // 0.9 s and 156/256 of 0.3 s.
    assert_eq!(left(&sim), 1_082_812_500, "V3-B12: in the very next timeout");
    sim.run(ms(3000));
    assert_eq!(sent(&sim), [1_582_812, 2_582_812], "V3-B10: 1 s between the own ones");
    sim.event(0, Event::Interface(Interface { up: false, ..interface(1) }));
    sim.event(0, Event::Interface(interface(1)));
    assert_eq!(left(&sim), 3_609_375_000, "V3-T2: the own one again");
}

/// V3-T2, V3-A12.
#[test]
fn a_master_that_yields_learns_and_one_that_takes_over_forgets() {
    let mut sim = begun(with(100, ms(1000)));
    sim.run(ms(4000));
    sim.deliver(0, &first_advert(&other(101, ms(2000))));
    assert_eq!(sim.nodes[0].state(), State::Backup);
    // 6 s and 156/256 of 2 s.
    assert_eq!(left(&sim), 7_218_750_000);
    sim.run(ms(8000));
    assert_eq!(sim.nodes[0].state(), State::Master);
    let router = sim.router(0);
    sim.event(0, Event::AddressLost { router, what: "10.0.0.100".into() });
    assert_eq!(left(&sim), 609_375_000, "skew of the own interval");
}

/// V3-B11, V2-B6.
#[test]
fn priority_zero_leaves_the_skew_time() {
    let v2 = |interval, priority| InstanceConfig { version: Version::V2, ..other(priority, interval) };
    for (name, own, heard, want) in [
        ("V3-B11", with(100, ms(1000)), other(150, ms(1000)), 609_375_000),
        ("V3-B11 of the learnt interval", with(100, ms(1000)), other(150, ms(300)), 182_812_500),
        (
            "V3-B11 nopreempt",
            InstanceConfig { preempt: false, ..with(100, ms(1000)) },
            other(150, ms(1000)),
            609_375_000,
        ),
        ("V3-B11 from a lower one", with(100, ms(1000)), other(50, ms(1000)), 609_375_000),
        (
            "V2-B6 not scaled",
            InstanceConfig { version: Version::V2, ..with(100, ms(3000)) },
            v2(ms(3000), 150),
            609_375_000,
        ),
    ] {
        let mut sim = begun(own);
        sim.deliver(0, &first_advert(&heard));
        sim.deliver(0, &release(&heard));
        assert_eq!(left(&sim), want, "{name}");
    }
    let mut sim = begun(with(100, ms(1000)));
    sim.run(ms(3600));
    assert_eq!(left(&sim), 9_375_000);
    sim.deliver(0, &release(&other(150, ms(1000))));
    assert_eq!(left(&sim), 609_375_000, "V3-B11: even if less was left");
}

/// V3-T9.
#[test]
fn deadlines_of_the_other_state_do_nothing() {
    let mut sim = begun(with(100, ms(1000)));
    for _ in 0..3 {
        sim.run(ms(1000));
        sim.event(0, Event::Deadline);
    }
    assert_eq!(sent(&sim), [], "a Backup has no adverts to send");
    sim.run(ms(1000));
    assert_eq!(sent(&sim).len(), 1);
    sim.run(ms(500));
    sim.deliver(0, &first_advert(&other(150, ms(1000))));
    sim.nodes[0].log.clear();
    // The next advert would have been due at 4.609 s.
    for _ in 0..3 {
        sim.run(ms(500));
        sim.event(0, Event::Deadline);
    }
    assert_eq!((sent(&sim), sim.nodes[0].transitions()), (vec![], vec![]), "a master no more");
}

/// V3-A10, V2-A6.
#[test]
fn no_drift_over_100_000_adverts_although_each_timer_is_late() {
    let mut sim = begun(with(100, ms(10)));
    let first = sim.nodes[0].engine.deadline().expect("waits");
    let mut random = fastrand::Rng::with_seed(1);
    let engine = &mut sim.nodes[0].engine;
    let mut actions = Vec::new();
    engine.on_event(first, Event::Deadline, &mut actions);
    for tick in 1..=100_000 {
        let due = first + ms(10) * tick;
        actions.clear();
        while actions.is_empty() {
            let at = engine.deadline().expect("a master waits");
            let late = if at == due { random.u64(0..9_000) } else { 0 };
            engine.on_event(at + Duration::from_micros(late), Event::Deadline, &mut actions);
            actions.retain(|action| matches!(action, Action::SendAdvert { .. }));
        }
        let [Action::SendAdvert { due: was, .. }] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(*was, Some(due), "advert {tick}");
    }
}

/// V3-A11, V2-A7.
#[test]
fn a_master_answers_priority_zero_and_begins_its_interval_anew() {
    let mut sim = begun(with(100, ms(1000)));
    sim.run(ms(4000));
    sim.deliver(0, &release(&other(50, ms(1000))));
    sim.run(ms(1500));
    assert_eq!(sent(&sim), [3_609_375, 4_000_000, 5_000_000]);
}

/// V3-R12, V2-R8.
#[test]
fn refused_packets_change_nothing() {
    let good = first_advert(&other(200, ms(1000)));
    let zero = release(&other(200, ms(1000)));
    let changed = |packet: &[u8], at: usize, octet: u8| {
        let mut packet = packet.to_vec();
        packet[at] = octet;
        packet
    };
    for (name, packet) in [
        ("TTL", changed(&good, 8, 254)),
        ("checksum", changed(&good, 27, good[27] ^ 1)),
        ("version", changed(&good, 20, 0x21)),
        ("type", changed(&good, 20, 0x32)),
        ("truncated", good[..28].to_vec()),
        ("TTL of a release", changed(&zero, 8, 254)),
        ("checksum of a release", changed(&zero, 27, zero[27] ^ 1)),
    ] {
        let mut sim = begun(with(100, ms(1000)));
        sim.run(ms(1000));
        sim.deliver(0, &packet);
        assert_eq!(left(&sim), 2_609_375_000, "{name}: a Backup");
        sim.run(ms(3000));
        sim.nodes[0].log.clear();
        sim.deliver(0, &packet);
        let left = (sim.nodes[0].state(), sent(&sim), sim.nodes[0].transitions());
        assert_eq!(left, (State::Master, vec![], vec![]), "{name}: a master");
        let counters = sim.nodes[0].engine.routers()[0].counters();
        assert_eq!(counters.received, 0, "{name}");
    }
}

/// V3-A11, V2-A7. A backup that heard the release after an advert of ours waits for its skew time only: with
/// intervals of centiseconds that is less than the gap between adverts was.
#[test]
fn a_release_just_after_an_advert_is_answered_before_a_backup_takes_over() {
    let v2 = |priority| InstanceConfig { version: Version::V2, ..with(priority, ms(1000)) };
    for (name, config, want_us) in [
        ("1 s", with(100, ms(1000)), 5_000),
        ("version 2, highest that is no owner", v2(254), 3_906),
        ("10 ms", with(100, ms(10)), 3_046),
        ("10 ms, high priority", with(200, ms(10)), 1_093),
        ("10 ms, highest that is no owner", with(254, ms(10)), 500),
    ] {
        let mut sim = Sim::new(vec![config.clone()]);
        let router = sim.router(0);
        sim.event(0, Event::Begin { resume: vec![router] });
        let gone = InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..config };
        for _ in 0..3 {
            sim.deliver(0, &release(&gone));
        }
        sim.run(ms(6));
        assert_eq!(sent(&sim)[..2], [0, want_us], "{name}");
    }
}
