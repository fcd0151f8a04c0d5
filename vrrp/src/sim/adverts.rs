//! What adverts say, and what waits for what.

use std::collections::BTreeMap;

use super::*;

fn adverts(sim: &Sim) -> Vec<Vec<u8>> {
    let advert = |(_, action): &(Duration, Action)| match action {
        Action::SendAdvert { packet, .. } => Some(packet.clone()),
        _ => None,
    };
    sim.nodes[0].log.iter().filter_map(advert).collect()
}

/// V3-F10, V3-F11, V3-S1, V3-S2, V2-F10, V2-S1: each advert is of the configuration and state of its moment.
#[test]
fn adverts_list_the_addresses_of_the_moment_in_the_order_of_the_file() {
    let address = |last: u8| Ipv4Addr::new(10, 0, 0, last);
    for version in [Version::V2, Version::V3] {
        let with = |lasts: &[u8], priority| InstanceConfig {
            version,
            authentication: Authentication::None,
            addresses: lasts.iter().map(|last| vip(address(*last))).collect(),
            excluded_addresses: vec![vip(address(200))],
            ..config("A", 51, priority)
        };
        let mut sim = Sim::new(vec![with(&[103, 101], 100)]);
        sim.begin();
        sim.run(Duration::from_secs(4));
        sim.event(0, Event::Reload(Setup::of(vec![with(&[102, 103, 101], 120)])));
        let adverts = adverts(&sim);
        let listed = |packet: &[u8]| {
            let message = datagram(packet).expect("datagram").payload;
            let checksum = match version {
                Version::V2 => crate::wire::checksum(message),
                Version::V3 => 0,
            };
            assert_eq!(checksum, 0, "computed for each");
            let addresses = message[8..].chunks(4).take(message[3].into()).map(|octets| octets[3]);
            (message[2], addresses.collect::<Vec<u8>>())
        };
        assert_eq!(listed(adverts.first().expect("an advert")), (100, vec![103, 101]), "{version:?}");
        assert_eq!(listed(adverts.last().expect("an advert")), (120, vec![102, 103, 101]), "{version:?}");
    }
}

/// V3-ARP6, V3-ND7: nothing is announced before the addresses are there.
#[test]
fn announcements_wait_for_the_addresses() {
    let mut engine = Engine::new(Setup::of(vec![config("A", 51, 255)]));
    let (now, mut out) = (Instant::now(), Vec::new());
    engine.on_event(now, Event::Interface(interface(1)), &mut out);
    engine.on_event(now, Event::Begin { resume: vec![] }, &mut out);
    engine.on_event(now, Event::Deadline, &mut out);
    let kinds: Vec<&str> = out
        .iter()
        .map(|action| match action {
            Action::SendAdvert { .. } => "advert",
            Action::SetAddresses { .. } => "addresses",
            Action::SendFrame { .. } => "frame",
            _ => "told",
        })
        .collect();
    assert_eq!(kinds, ["advert", "addresses", "told", "told"]);
    let id = engine.routers()[0].id();
    out.clear();
    engine.on_event(now, Event::AddressesSet(id), &mut out);
    engine.on_event(now, Event::Deadline, &mut out);
    assert_eq!(out.len(), 5);
    assert!(out.iter().all(|action| matches!(action, Action::SendFrame { .. })));
}

/// Hosts may have learnt that it is nowhere.
#[test]
fn an_address_that_was_put_back_is_announced_anew() {
    let two = InstanceConfig {
        addresses: vec![vip(VIP), vip(Ipv4Addr::new(10, 0, 0, 101))],
        ..config("A", 51, 255)
    };
    let mut engine = Engine::new(Setup::of(vec![two]));
    let (now, mut out) = (Instant::now(), Vec::new());
    let id = engine.routers()[0].id();
    let restored = || Event::AddressRestored { router: id, device: "eth0".into(), address: VIP.into() };
    engine.on_event(now, Event::Interface(interface(1)), &mut out);
    for (name, frames) in [("no master yet", 0), ("master", 5)] {
        engine.on_event(now, Event::AddressesSet(id), &mut out);
        engine.on_event(now, Event::Deadline, &mut out);
        out.clear();
        engine.on_event(now, restored(), &mut out);
        engine.on_event(now, Event::Deadline, &mut out);
        let sent = out.iter().filter(|action| matches!(action, Action::SendFrame { .. })).count();
        assert_eq!((sent, out.len()), (frames, frames), "{name}: of this address only");
        engine.on_event(now, Event::Begin { resume: vec![] }, &mut out);
    }
}

/// Routes and rules go with it: who listens is told that it is master, and that it is no more.
#[test]
fn a_master_without_addresses_holds_something_too() {
    let none = InstanceConfig { addresses: vec![], ..config("A", 51, 200) };
    let mut sim = Sim::new(vec![none]);
    sim.begin();
    sim.run(Duration::from_secs(4));
    sim.event(0, Event::Stop);
    let holds = sim.nodes[0].log.iter().filter_map(|(_, action)| match action {
        Action::SetAddresses { holds, .. } => Some(*holds),
        _ => None,
    });
    assert_eq!(holds.collect::<Vec<_>>(), [false, true, false]);
}

/// V3-I4, V3-I6, V3-T1, V3-T5: an owner advertises in its own rhythm from the start; before it, what comes in changes
/// nothing.
#[test]
fn nothing_is_heard_before_the_start() {
    let plain = InstanceConfig::new("A", "eth0", Vrid::MIN);
    assert_eq!((plain.advert_interval, plain.preempt), (Duration::from_secs(1), true));
    let peer = first_advert(&config("B", 51, 200));
    let mut sim = Sim::new(vec![config("A", 51, 255)]);
    sim.deliver(0, &peer);
    let router = &sim.nodes[0].engine.routers()[0];
    assert_eq!((router.state(), router.counters().received, router.master()), (State::Initialize, 0, None));
    sim.begin();
    sim.run(Duration::from_millis(2500));
    let sent: Vec<u128> = sim.nodes[0]
        .log
        .iter()
        .filter(|(_, action)| matches!(action, Action::SendAdvert { .. }))
        .map(|(at, _)| at.as_millis())
        .collect();
    assert_eq!(sent, [0, 1000, 2000]);
}

/// 250 that begin together, each of which takes 12 us to send: once they have spread out none is late by more than a few
/// of them, and each goes on at its interval exactly.
#[test]
fn many_adverts_of_one_host_spread_out() {
    let interval = Duration::from_millis(10);
    let config = |vrid: u8| InstanceConfig {
        vrid: NonZeroU8::new(vrid).expect("VRID"),
        name: format!("V{vrid}").into(),
        advert_interval: interval,
        ..v3("A", 100)
    };
    let mut engine = Engine::new(Setup::of((1..=250).map(config).collect()));
    let (start, mut out) = (Instant::now(), Vec::new());
    let mut now = start;
    engine.on_event(now, Event::Interface(interface(1)), &mut out);
    engine.on_event(now, Event::Begin { resume: vec![] }, &mut out);
    let mut sent: BTreeMap<RouterId, Vec<Instant>> = BTreeMap::new();
    let (mut adverts, mut most) = (0, Duration::ZERO);
    while now < start + Duration::from_millis(500) {
        now = now.max(engine.deadline().expect("a deadline"));
        out.clear();
        engine.on_event(now, Event::Deadline, &mut out);
        for action in &out {
            let Action::SendAdvert { router, due, .. } = action else { continue };
            now += Duration::from_micros(12);
            let times = sent.entry(*router).or_default();
            times.push(now);
            if times.len() > 3 {
                adverts += 1;
                most = most.max(now - due.expect("in its rhythm"));
            }
        }
    }
    assert!(adverts > 250 * 40, "{adverts}");
    assert!(most <= Duration::from_micros(8 * 12), "{most:?}");
    for times in sent.values().map(|times| &times[3..]) {
        assert!(times.windows(2).all(|two| two[1] - two[0] == interval), "{times:?}");
    }
}
