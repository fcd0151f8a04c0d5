//! What is wrong around a router is noticed, told once, and over again.

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Of the router 10.0.0.9.
fn other(priority: u8) -> InstanceConfig {
    InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..v3("A", priority) }
}

fn master(priority: u8) -> Sim {
    let mut sim = Sim::new(vec![v3("A", priority)]);
    sim.begin();
    sim.run(ms(4000));
    assert_eq!(sim.masters(), [0]);
    sim
}

/// Conditions that began and ended, with their time in ms.
fn told(sim: &Sim) -> Vec<(u128, &'static str, bool)> {
    let told = |(at, action): &(Duration, Action)| match action {
        Action::Condition { condition, active, .. } => Some((at.as_millis(), condition.as_str(), *active)),
        _ => None,
    };
    sim.nodes[0].log.iter().filter_map(told).collect()
}

fn frames(sim: &Sim) -> Vec<u128> {
    let frame = |(at, action): &(Duration, Action)| {
        matches!(action, Action::SendFrame { .. }).then(|| at.as_millis())
    };
    sim.nodes[0].log.iter().filter_map(frame).collect()
}

#[test]
fn nobody_else_is_there_until_somebody_is_heard() {
    let mut sim = master(200);
    assert_eq!(told(&sim), [(3218, "no_peer", true)]);
    sim.deliver(0, &first_advert(&other(100)));
    assert_eq!(told(&sim)[1..], [(4000, "no_peer", false)]);
    sim.run(ms(100_000));
    assert_eq!(told(&sim).len(), 2, "once");
}

#[test]
fn a_router_that_heard_another_one_has_a_peer() {
    let mut sim = Sim::new(vec![v3("A", 100)]);
    sim.begin();
    sim.deliver(0, &first_advert(&other(200)));
    sim.run(ms(10_000));
    assert_eq!((sim.masters(), told(&sim)), (vec![0], vec![]));
}

#[test]
fn a_split_brain_is_told_at_the_third_advert_and_hosts_are_told_after_it() {
    let mut config = v3("A", 200);
    config.garp.lower_priority_repeat = 0;
    config.garp.delay = Duration::ZERO;
    let mut sim = Sim::new(vec![config]);
    sim.begin();
    sim.run(ms(4000));
    sim.nodes[0].log.clear();
    let packet = first_advert(&other(100));
    for _ in 0..5 {
        sim.deliver(0, &packet);
        sim.run(ms(1000));
    }
    let split = |all: Vec<(u128, &'static str, bool)>| {
        all.into_iter().filter(|(_, name, _)| *name == "split_brain").collect::<Vec<_>>()
    };
    assert_eq!(split(told(&sim)), [(6000, "split_brain", true)]);
    assert_eq!(frames(&sim), []);
    sim.run(ms(10_000));
    // Three intervals after the last one at 8 s.
    assert_eq!(split(told(&sim))[1..], [(11_000, "split_brain", false)]);
    assert_eq!(frames(&sim), [11_000; 5], "the addresses are here");
}

#[test]
fn a_split_brain_is_over_when_the_router_yields() {
    let mut sim = master(200);
    for _ in 0..3 {
        sim.deliver(0, &first_advert(&other(100)));
    }
    sim.nodes[0].log.clear();
    sim.deliver(0, &first_advert(&other(201)));
    assert_eq!(told(&sim), [(4000, "split_brain", false)]);
}

/// V3-R6, V3-R12. Another password, another version: both are master for good.
#[test]
fn refused_adverts_of_another_master_are_a_split_brain_too() {
    let mut sim = master(200);
    sim.nodes[0].log.clear();
    let v2 = InstanceConfig { version: Version::V2, ..other(100) };
    for _ in 0..3 {
        sim.deliver(0, &first_advert(&v2));
    }
    assert_eq!(told(&sim), [(4000, "split_brain", true)]);
}

/// V3-R15, V3-R16, V3-R17, V3-R18, V2-R9.
/// V3-O6.
#[test]
fn what_differs_is_used_and_told() {
    let mut fewer = other(200);
    fewer.addresses.push(vip(Ipv4Addr::new(10, 0, 0, 101)));
    let mut foreign = other(200);
    foreign.addresses = vec![vip(Ipv4Addr::new(10, 0, 0, 77))];
    for (name, heard, want) in [
        ("nothing", other(200), None),
        ("V3-R17 more addresses", fewer, Some("address_list_differs")),
        ("V3-R17 another address", foreign, Some("address_list_differs")),
        (
            "V3-R15 interval",
            InstanceConfig { advert_interval: ms(500), ..other(200) },
            Some("interval_differs"),
        ),
        ("equal priority", other(100), Some("equal_priority")),
    ] {
        let mut sim = Sim::new(vec![v3("A", 100)]);
        sim.begin();
        sim.run(ms(1000));
        for _ in 0..3 {
            sim.deliver(0, &first_advert(&heard));
        }
        let names: Vec<&str> = told(&sim).into_iter().map(|(_, name, _)| name).collect();
        assert_eq!(names, Vec::from_iter(want), "{name}: once");
        assert_eq!(sim.nodes[0].engine.routers()[0].counters().received, 3, "{name}: used");
        // Over when it was not seen for a minute and something else is heard.
        sim.run(Duration::from_micros(500));
        sim.nodes[0].log.clear();
        for _ in 0..20 {
            sim.run(ms(3001));
            sim.deliver(0, &first_advert(&other(200)));
        }
        let over: Vec<(&str, bool)> =
            told(&sim).into_iter().map(|(_, name, active)| (name, active)).collect();
        assert_eq!(over, want.map(|name| (name, false)).into_iter().collect::<Vec<_>>(), "{name}: over");
    }
}

/// V3-A16. Two owners: the addresses decide, and both are told of.
#[test]
fn two_owners_are_noticed() {
    for (name, source, state) in [
        ("greater address", Ipv4Addr::new(10, 0, 0, 9), State::Backup),
        ("lower address", Ipv4Addr::new(9, 0, 0, 9), State::Master),
    ] {
        let mut sim = Sim::new(vec![v3("A", 255)]);
        sim.begin();
        sim.nodes[0].log.clear();
        sim.deliver(0, &first_advert(&InstanceConfig { source: Some(source.into()), ..v3("A", 255) }));
        assert!(told(&sim).contains(&(0, "several_owners", true)), "{name}");
        assert_eq!(sim.nodes[0].state(), state, "{name}");
    }
}

/// V3-R7, V2-R5.
#[test]
fn a_foreign_virtual_router_is_told_once_and_changes_nothing() {
    let mut sim = Sim::new(vec![v3("A", 100)]);
    sim.begin();
    sim.run(ms(1000));
    let foreign = InstanceConfig { vrid: NonZeroU8::new(77).expect("VRID"), ..other(200) };
    for _ in 0..3 {
        sim.deliver(0, &first_advert(&foreign));
    }
    let told = |(_, action): &(Duration, Action)| match action {
        Action::Foreign(foreign) => Some((foreign.vrid, foreign.interface.clone())),
        _ => None,
    };
    let told: Vec<_> = sim.nodes[0].log.iter().filter_map(told).collect();
    assert_eq!(told, [(77, "eth0".to_owned())]);
    assert_eq!(sim.nodes[0].engine.strangers(), 3);
    assert_eq!(sim.nodes[0].engine.deadline(), Some(sim.start + Duration::from_micros(3_609_375)));
}

/// Told while the messages of a clock that drifts away are still accepted.
#[test]
fn a_clock_that_drifts_away_is_told_before_it_matters() {
    use crate::types::{AntiReplay, Hmac, HmacKey, HmacMode};
    let hmac = Hmac {
        keys: vec![(NonZeroU8::MIN, HmacKey::Text(b"0123456789abcdef0123456789abcdef".to_vec()))],
        active: NonZeroU8::MIN,
        anti_replay: AntiReplay::Time { window: ms(5000) },
        mode: HmacMode::Enforce,
    };
    let signed =
        |config| InstanceConfig { authentication: Authentication::Hmac(Box::new(hmac.clone())), ..config };
    for (skew, want) in [(2500, vec![]), (2600, vec![(0, "clock_skew", true)])] {
        let mut sim = Sim::new(vec![signed(v3("A", 100))]);
        sim.begin();
        let now = sim.now;
        sim.nodes[0].engine.set_clock(now, ms(skew));
        sim.deliver(0, &first_advert(&signed(other(200))));
        assert_eq!(sim.nodes[0].engine.routers()[0].counters().received, 1, "{skew} ms");
        assert_eq!(told(&sim), want, "{skew} ms");
    }
}
