//! Sync groups: hand-worked times.

use super::*;

fn seconds(time: u64) -> Duration {
    Duration::from_secs(time)
}

/// Group G of A0 on eth0 and A1 on eth1.
fn group(priorities: [u8; 2]) -> Setup {
    let mut second = config("A1", 52, priorities[1]);
    second.interface = Some("eth1".into());
    second.addresses = vec![vip(Ipv4Addr::new(10, 0, 1, 100))];
    let members = vec!["A0".into(), "A1".into()];
    let group = GroupConfig { name: "G".into(), members, ..GroupConfig::default() };
    Setup { groups: vec![group], ..Setup::of(vec![config("A0", 51, priorities[0]), second]) }
}

fn waiting(mut setup: Setup) -> Setup {
    let never = Weight { value: 0, reverse: false };
    setup.instances[1].trackers = vec![(TrackerId::script("check"), never)];
    setup
}

/// Notifications of a node since `from` ms, with their time in ms.
fn told(sim: &Sim, node: usize, from: u128) -> Vec<(u128, String)> {
    let told = |(at, action): &(Duration, Action)| {
        let text = match action {
            Action::Transition { instance, from, to, .. } => format!("{instance} {from} {to}"),
            Action::GroupTransition { group, from, to } => format!("{group} {from} {to}"),
            Action::Stopped { instance, .. } => format!("{instance} stopped"),
            Action::GroupStopped { group, .. } => format!("{group} stopped"),
            _ => return None,
        };
        (at.as_millis() >= from).then_some((at.as_millis(), text))
    };
    sim.nodes[node].log.iter().filter_map(told).collect()
}

fn at(ms: u128, texts: [&str; 3]) -> Vec<(u128, String)> {
    texts.into_iter().map(|text| (ms, text.to_owned())).collect()
}

/// Adverts of priority 0 of each member.
fn released(sim: &Sim, node: usize) -> Vec<u64> {
    sim.nodes[node].engine.routers().iter().map(|router| router.counters().priority_zero_sent).collect()
}

fn states(sim: &Sim, node: usize) -> Vec<State> {
    sim.nodes[node].engine.routers().iter().map(|router| router.state()).collect()
}

/// A group that is master since 3.609 s; the log is from 5 s on.
fn master() -> Sim {
    let mut sim = Sim::of(vec![group([100, 100])]);
    sim.begin();
    sim.run(seconds(5));
    assert_eq!(states(&sim, 0), [State::Master; 2]);
    sim.nodes[0].log.clear();
    sim
}

fn eth1(up: bool) -> Event<'static> {
    Event::Interface(Interface { up, ..nic(3, 1) })
}

#[test]
fn members_begin_as_backup_and_the_group_after_them() {
    let mut sim = Sim::of(vec![group([100, 100])]);
    sim.begin();
    assert_eq!(told(&sim, 0, 0), at(0, ["A0 INIT BACKUP", "A1 INIT BACKUP", "G INIT BACKUP"]));
}

#[test]
fn all_become_master_when_the_last_one_would() {
    let mut sim = Sim::of(vec![group([100, 90])]);
    sim.begin();
    sim.run(seconds(5));
    // 3 s + 166/256 s; A0 alone would be master at 3.609 s.
    assert_eq!(told(&sim, 0, 1), at(3648, ["A1 BACKUP MASTER", "A0 BACKUP MASTER", "G BACKUP MASTER"]));
    let first = sim.nodes[0].log.iter().find(|(_, action)| matches!(action, Action::SendAdvert { .. }));
    assert_eq!(first.map(|(at, _)| at.as_millis()), Some(3648), "no advert before");
}

#[test]
fn a_member_that_hears_a_master_keeps_the_group_back() {
    let mut sim = Sim::of(vec![group([100, 100]), Setup::of(vec![config("B0", 51, 150)])]);
    sim.begin();
    sim.run(seconds(30));
    assert_eq!(states(&sim, 0), [State::Backup; 2], "nobody is master on eth1, and eth0 has one");
    sim.nodes[1].alive = false;
    sim.run(seconds(5));
    assert_eq!(states(&sim, 0), [State::Master; 2]);
}

#[test]
fn all_yield_without_priority_zero_when_one_hears_a_better_master() {
    let mut sim = master();
    let mut better = config("B0", 51, 200);
    better.source = Some(Ipv4Addr::new(10, 0, 0, 9).into());
    let packet = first_advert(&better);
    sim.deliver(0, &packet);
    assert_eq!(told(&sim, 0, 0), at(5000, ["A0 MASTER BACKUP", "A1 MASTER BACKUP", "G MASTER BACKUP"]));
    assert_eq!(released(&sim, 0), [0, 0]);
    assert!(sim.nodes[0].held.is_empty());
}

#[test]
fn all_are_in_fault_with_one_priority_zero_each_and_recover_together() {
    let mut sim = master();
    sim.event(0, eth1(false));
    assert_eq!(told(&sim, 0, 0), at(5000, ["A1 MASTER FAULT", "A0 MASTER FAULT", "G MASTER FAULT"]));
    assert_eq!(released(&sim, 0), [1, 1]);
    let faults = sim.nodes[0].engine.routers()[0].faults().iter().map(ToString::to_string);
    assert_eq!(faults.collect::<Vec<_>>(), ["sync group: A1 cannot take part"]);
    sim.run(seconds(5));
    assert_eq!(told(&sim, 0, 5001), []);
    sim.event(0, eth1(true));
    assert_eq!(told(&sim, 0, 5001), at(10_000, ["A1 FAULT BACKUP", "A0 FAULT BACKUP", "G FAULT BACKUP"]));
    sim.run(seconds(4));
    assert_eq!(
        told(&sim, 0, 10_001),
        at(13_609, ["A1 BACKUP MASTER", "A0 BACKUP MASTER", "G BACKUP MASTER"])
    );
    assert_eq!(released(&sim, 0), [1, 1]);
}

/// Of several members with the same fault the first one goes into it first, and the last one out of it.
#[test]
fn whose_fault_it_is_goes_first() {
    let mut setup = group([100, 100]);
    let mut third = config("A2", 53, 100);
    third.track_interfaces = vec![("eth1".into(), Weight { value: 0, reverse: false })];
    setup.instances.push(third);
    // Of no group, and told where the configuration has it.
    setup.instances.insert(0, InstanceConfig { interface: Some("eth1".into()), ..config("B0", 54, 100) });
    setup.groups[0].members.push("A2".into());
    let mut sim = Sim::of(vec![setup]);
    sim.begin();
    sim.run(seconds(5));
    let told = |sim: &Sim, from: u128| -> Vec<String> {
        told(sim, 0, from).into_iter().map(|(_, text)| text.replace(" MASTER FAULT", "")).collect()
    };
    sim.event(0, eth1(false));
    assert_eq!(told(&sim, 5000), ["B0", "A1", "A0", "A2", "G"]);
    sim.run(seconds(1));
    sim.event(0, eth1(true));
    let want = ["B0", "A2", "A0", "A1", "G"].map(|one| format!("{one} FAULT BACKUP"));
    assert_eq!(told(&sim, 6000), want);
}

/// V3-I1, V2-I1: of a group that owns all of its addresses.
#[test]
fn a_group_of_owners_begins_as_master() {
    let mut sim = Sim::of(vec![group([255, 255])]);
    sim.begin();
    assert_eq!(told(&sim, 0, 0), at(0, ["A0 INIT MASTER", "A1 INIT MASTER", "G INIT MASTER"]));
}

#[test]
fn an_owner_waits_for_members_that_are_none() {
    let mut sim = Sim::of(vec![group([255, 100])]);
    sim.begin();
    sim.run(seconds(5));
    assert_eq!(told(&sim, 0, 0)[..3], at(0, ["A0 INIT BACKUP", "A1 INIT BACKUP", "G INIT BACKUP"]));
    assert_eq!(told(&sim, 0, 1), at(3609, ["A1 BACKUP MASTER", "A0 BACKUP MASTER", "G BACKUP MASTER"]));
}

#[test]
fn a_members_script_without_result_is_waited_for_by_all() {
    for (name, good, to) in [("good", true, "BACKUP"), ("bad", false, "FAULT")] {
        let mut sim = Sim::of(vec![waiting(group([100, 100]))]);
        sim.begin();
        sim.run(seconds(10));
        assert_eq!(told(&sim, 0, 0), [], "{name}: in silence");
        sim.event(0, Event::Tracker(TrackerId::script("check"), good.into()));
        let want = ["A1", "A0", "G"].map(|one| (10_000, format!("{one} INIT {to}")));
        assert_eq!(told(&sim, 0, 0), want, "{name}");
    }
}

#[test]
fn an_address_lost_by_one_releases_all_and_they_return_after_skew() {
    let mut sim = master();
    let router = sim.nodes[0].engine.routers()[1].id();
    sim.event(0, Event::AddressLost { router, what: "10.0.1.100/32 on eth1".into() });
    assert_eq!(released(&sim, 0), [1, 1]);
    assert_eq!(states(&sim, 0), [State::Backup; 2]);
    sim.run(seconds(1));
    assert_eq!(told(&sim, 0, 5001), at(5609, ["A1 BACKUP MASTER", "A0 BACKUP MASTER", "G BACKUP MASTER"]));
}

#[test]
fn all_step_back_after_a_pause_and_return_after_an_interval_and_skew() {
    let mut sim = master();
    sim.nodes[0].alive = false;
    sim.run(seconds(5));
    sim.nodes[0].alive = true;
    sim.run(seconds(2));
    let want = [
        at(10_000, ["A0 MASTER BACKUP", "A1 MASTER BACKUP", "G MASTER BACKUP"]),
        at(11_609, ["A1 BACKUP MASTER", "A0 BACKUP MASTER", "G BACKUP MASTER"]),
    ];
    assert_eq!(told(&sim, 0, 0), want.concat());
    assert_eq!(released(&sim, 0), [0, 0]);
}

#[test]
fn a_group_stops_after_its_members() {
    let mut sim = master();
    sim.event(0, Event::Stop);
    assert_eq!(told(&sim, 0, 0), at(5000, ["A0 stopped", "A1 stopped", "G stopped"]));
    assert_eq!(released(&sim, 0), [1, 1]);
}

#[test]
fn a_group_resumes_as_a_whole_or_not_at_all() {
    for (name, named, want) in [("all", 2, State::Master), ("one of two", 1, State::Backup)] {
        let mut sim = Sim::of(vec![group([100, 100])]);
        let ids = sim.nodes[0].engine.routers().iter().map(|router| router.id());
        let resume = ids.take(named).collect();
        sim.event(0, Event::Begin { resume });
        assert_eq!(states(&sim, 0), [want; 2], "{name}");
    }
}

/// A lower priority at one member: who is the other's master there may be on the other's link too.
#[test]
fn all_members_announce_their_addresses_when_one_hears_a_lower_priority() {
    let mut sim = master();
    // Both second bursts of becoming master are over then.
    sim.run(seconds(5));
    sim.nodes[0].log.clear();
    let lower = InstanceConfig { source: Some(Ipv4Addr::new(10, 0, 0, 9).into()), ..config("B0", 51, 50) };
    sim.deliver(0, &first_advert(&lower));
    sim.run(seconds(6));
    let frames = |index: u32| -> Vec<u128> {
        let frame = |(at, action): &(Duration, Action)| match action {
            Action::SendFrame { interface, .. } if interface.get() == index => Some(at.as_secs().into()),
            _ => None,
        };
        sim.nodes[0].log.iter().filter_map(frame).collect()
    };
    let want = [[10; 5], [15; 5]].concat();
    assert_eq!((frames(2), frames(3)), (want.clone(), want));
}

/// After a pause a member that is master was made to step back by the election of another, and alone.
#[test]
fn an_election_after_a_pause_parts_no_group() {
    let Setup { instances, groups, .. } = group([100, 100]);
    let mut rival = config("B1", 52, 200);
    rival.interface = Some("eth1".into());
    let mut sim = Sim::of(vec![Setup::of(instances.clone()), Setup::of(vec![rival])]);
    sim.begin();
    sim.run(Duration::from_millis(10_300));
    assert_eq!(states(&sim, 0), [State::Master, State::Backup]);
    // A1 would be master 3.609 s after 10.218 s, A0 advertises at 13.609 s and 14.609 s.
    sim.nodes[1].alive = false;
    sim.event(0, Event::Reload(Setup { groups, ..Setup::of(instances) }));
    sim.run(Duration::from_millis(3400));
    assert_eq!(states(&sim, 0), [State::Master, State::Backup]);
    sim.nodes[0].alive = false;
    sim.run(seconds(5));
    sim.nodes[0].alive = true;
    sim.run(Duration::ZERO);
    assert_eq!(states(&sim, 0), [State::Backup; 2]);
    sim.run(seconds(4));
    assert_eq!(states(&sim, 0), [State::Master; 2]);
}
