//! Who yields to whom: priorities, addresses, preemption, owners.

use super::*;
use std::net::Ipv6Addr;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn from(priority: u8, source: IpAddr) -> InstanceConfig {
    let config = v3("A", priority);
    let config = if source.is_ipv4() { config } else { over_ipv6(config) };
    InstanceConfig { source: Some(source), ..config }
}

fn over_ipv6(config: InstanceConfig) -> InstanceConfig {
    let group: IpAddr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12).into();
    let address: IpAddr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x100).into();
    InstanceConfig {
        family: Family::V6,
        delivery: Delivery::Multicast { group },
        addresses: vec![VirtualAddress::new(address, 64)],
        ..config
    }
}

/// V3-A12, V3-A13, V3-A14, V3-A15, V2-A8.
#[test]
fn a_master_yields_to_higher_priorities_and_at_equal_ones_to_greater_addresses() {
    #[derive(Debug, PartialEq)]
    enum Does {
        Yields,
        Answers,
        Nothing,
    }
    use Does::*;
    for (name, own, other, priority, want) in [
        ("V3-A12 higher, lower source", "10.0.0.2", "10.0.0.1", 101, Yields),
        ("V3-A12 higher, greater source", "10.0.0.2", "10.0.0.3", 101, Yields),
        ("V3-A14 lower, greater source", "10.0.0.2", "10.0.0.3", 99, Answers),
        ("V3-A14 lower, lower source", "10.0.0.2", "10.0.0.1", 99, Answers),
        ("V3-A12 equal, greater source", "10.0.0.2", "10.0.0.3", 100, Yields),
        ("V3-A14 equal, lower source", "10.0.0.2", "10.0.0.1", 100, Answers),
        ("V3-A14 equal source: our own", "10.0.0.2", "10.0.0.2", 100, Nothing),
        ("V3-A13 the first octets count most", "10.0.0.2", "10.0.1.1", 100, Yields),
        ("V3-A13 the other way round", "10.0.1.1", "10.0.0.2", 100, Answers),
        ("V3-A13 no text", "9.0.0.1", "10.0.0.1", 100, Yields),
        ("V3-A13 high bit", "9.0.0.1", "200.0.0.1", 100, Yields),
        ("V3-A13 high bit, the other way round", "200.0.0.1", "9.0.0.1", 100, Answers),
        ("V3-A13 IPv6", "fe80::9", "fe80::a", 100, Yields),
        ("V3-A13 IPv6, the other way round", "fe80::a", "fe80::9", 100, Answers),
        ("V3-A13 IPv6 high bit", "fe80::7fff:0:0:1", "fe80::8000:0:0:1", 100, Yields),
    ] {
        let (own, other): (IpAddr, IpAddr) = (own.parse().expect("own"), other.parse().expect("other"));
        for preempt in [true, false] {
            let mut sim = Sim::new(vec![InstanceConfig { preempt, ..from(100, own) }]);
            sim.begin();
            sim.run(ms(4000));
            sim.nodes[0].log.clear();
            sim.deliver(0, &first_advert(&from(priority, other)));
            let counters = sim.nodes[0].engine.routers()[0].counters();
            let did = match (sim.nodes[0].state(), counters.sent, counters.priority_zero_sent) {
                (State::Backup, 1, 0) => Yields,
                (State::Master, 2, 0) => Answers,
                (State::Master, 1, 0) => Nothing,
                other => panic!("{name}: {other:?}"),
            };
            assert_eq!(did, want, "{name}, preempt {preempt}");
        }
    }
}

/// V3-B12, V3-B13, V2-B7, V2-B8.
#[test]
fn a_backup_waits_anew_unless_it_preempts() {
    for (name, version) in [("V3", Version::V3), ("V2", Version::V2)] {
        for (priority, preempt, anew) in [
            (99, true, false),
            (99, false, true),
            (100, true, true),
            (100, false, true),
            (101, true, true),
            (101, false, true),
        ] {
            let own = InstanceConfig { preempt, version, ..v3("A", 100) };
            let source = Some(Ipv4Addr::new(10, 0, 0, 9).into());
            let interval = if version == Version::V3 { ms(500) } else { ms(1000) };
            let heard = InstanceConfig {
                priority: Priority(priority),
                source,
                advert_interval: interval,
                ..own.clone()
            };
            let mut sim = Sim::new(vec![own]);
            sim.begin();
            sim.run(ms(1000));
            sim.deliver(0, &first_advert(&heard));
            let left = sim.nodes[0].engine.deadline().expect("waits") - sim.now;
            let want = match (anew, version) {
                (false, _) => 2_609_375,
                (true, Version::V2) => 3_609_375,
                // Three of 0.5 s and 156/256 of it.
                (true, Version::V3) => 1_804_687,
            };
            assert_eq!(left.as_micros(), want, "{name} {priority} preempt {preempt}");
            let known = sim.nodes[0].engine.routers()[0].master().is_some();
            assert_eq!(known, anew, "{name} {priority} preempt {preempt}: nothing learnt");
        }
    }
}

/// V3-T6, V2-T3.
#[test]
fn an_owner_that_returns_preempts_in_spite_of_nopreempt() {
    let owner = InstanceConfig { preempt: false, ..config("A", 51, 255) };
    let mut sim = Sim::new(vec![owner, config("B", 51, 200)]);
    sim.event(1, Event::Begin { resume: vec![] });
    sim.run(ms(5000));
    assert_eq!(sim.masters(), [1]);
    sim.event(0, Event::Begin { resume: vec![] });
    sim.run(ms(1));
    assert_eq!(sim.masters(), [0]);
}

/// V3-T6, V2-T3. An owner is Backup after a pause, after the loss of an address, and in a sync group.
#[test]
fn an_owner_that_is_backup_is_not_held_back_by_nopreempt() {
    for (name, preempt, preempt_delay) in
        [("nopreempt", false, 0), ("preempt_delay", true, 60_000), ("plain", true, 0)]
    {
        let owner = InstanceConfig { preempt, preempt_delay: ms(preempt_delay), ..config("A", 51, 255) };
        let mut sim = Sim::new(vec![owner, config("B", 51, 200)]);
        sim.begin();
        sim.run(ms(1000));
        sim.nodes[0].alive = false;
        sim.run(ms(9000));
        assert_eq!(sim.masters(), [1], "{name}");
        sim.nodes[0].alive = true;
        sim.run(ms(1));
        assert_eq!(sim.masters(), [1], "{name}: stepped back");
        // An interval and a skew of 3.9 ms.
        sim.run(ms(1100));
        assert_eq!(sim.masters(), [0], "{name}");
    }
}
