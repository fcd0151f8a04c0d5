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
    let bare = Interface { addresses: vec![], ..interface(1) };
    let only_vip = Interface { addresses: vec![VIP.into()], ..interface(1) };
    for (name, config, eth0, verdict, want) in [
        ("none", &plain, interface(1), None, ""),
        ("missing", &missing, interface(1), None, "interface eth9 does not exist"),
        ("down", &plain, down, None, "interface eth0 is down"),
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

fn weight(value: i16) -> Weight {
    Weight { value, reverse: false }
}

fn reverse(value: i16) -> Weight {
    Weight { value, reverse: true }
}

/// Too few processes.
fn few() -> TrackerResult {
    TrackerResult::Processes { running: 0, fewest: 1, most: None }
}

/// What is tracked, as of an instance or of a group.
#[derive(Clone, Default)]
struct Tracks {
    trackers: Vec<(TrackerId, Weight)>,
    interfaces: Vec<(String, Weight)>,
}

impl Tracks {
    fn of(trackers: &[(TrackerId, Weight)], interfaces: &[(&str, Weight)]) -> Self {
        let interfaces = interfaces.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect();
        Tracks { trackers: trackers.to_vec(), interfaces }
    }

    fn kind(&self, kind: TrackerKind) -> Vec<(TrackerId, Weight)> {
        self.trackers.iter().filter(|(id, _)| id.kind == kind).cloned().collect()
    }

    fn give(&self, config: &mut InstanceConfig) {
        config.trackers = self.kind(TrackerKind::Script);
        config.track_files = self.kind(TrackerKind::File);
        config.track_processes = self.kind(TrackerKind::Process);
        config.track_interfaces.clone_from(&self.interfaces);
    }

    fn give_group(&self, config: &mut GroupConfig) {
        config.trackers = self.kind(TrackerKind::Script);
        config.track_files = self.kind(TrackerKind::File);
        config.track_processes = self.kind(TrackerKind::Process);
        config.track_interfaces.clone_from(&self.interfaces);
    }
}

/// Each kind, each sign, alone and together: the effective priority, the faults, the state; the same whether the
/// instance tracks it or its group.
#[test]
fn priority_faults_and_state() {
    let [script, file, process] = [TrackerId::script("s"), TrackerId::file("f"), TrackerId::process("p")];
    let s = |weight| Tracks::of(&[(script.clone(), weight)], &[]);
    let f = |weight| Tracks::of(&[(file.clone(), weight)], &[]);
    let p = |weight| Tracks::of(&[(process.clone(), weight)], &[]);
    let i = |weight| Tracks::of(&[], &[("eth1", weight)]);
    let all = |value| {
        let trackers = [&script, &file, &process].map(|id| (id.clone(), weight(value)));
        Tracks::of(&trackers, &[("eth1", weight(value))])
    };
    let said = |script: Option<bool>, number: Option<i64>, enough: Option<bool>| {
        let process = enough.map(|enough| if enough { TrackerResult::Good } else { few() });
        (script.map(TrackerResult::from), number.map(TrackerResult::Number), process)
    };
    let none = || said(None, None, None);
    let (up, down) = (true, false);
    for (name, tracks, results, eth1, priority, why) in [
        ("nothing", Tracks::default(), none(), down, 100, ""),
        ("script, good", s(weight(10)), said(Some(true), None, None), up, 110, ""),
        ("script, bad", s(weight(10)), said(Some(false), None, None), up, 100, ""),
        ("script, none yet", s(weight(10)), none(), up, 100, ""),
        ("script, negative, bad", s(weight(-10)), said(Some(false), None, None), up, 90, ""),
        ("script, reversed, good", s(reverse(10)), said(Some(true), None, None), up, 90, ""),
        ("script, reversed negative, bad", s(reverse(-10)), said(Some(false), None, None), up, 110, ""),
        ("script of 0, good", s(weight(0)), said(Some(true), None, None), up, 100, ""),
        ("script of 0, bad", s(weight(0)), said(Some(false), None, None), up, 100, "script s failed"),
        ("script of 0, none yet", s(weight(0)), none(), up, 100, "waiting for the first result of script s"),
        (
            "script of 0, reversed",
            s(reverse(0)),
            said(Some(true), None, None),
            up,
            100,
            "script s succeeded (reverse)",
        ),
        ("file", f(weight(1)), said(None, Some(7), None), up, 107, ""),
        ("file, weighted", f(weight(-3)), said(None, Some(7), None), up, 79, ""),
        ("file, reversed", f(reverse(3)), said(None, Some(7), None), up, 79, ""),
        ("file, more than can be", f(weight(100)), said(None, Some(7), None), up, 254, ""),
        ("file, less than can be", f(weight(1)), said(None, Some(-253), None), up, 1, ""),
        (
            "file, so little that it is a fault",
            f(weight(2)),
            said(None, Some(-127), None),
            up,
            100,
            "file f: value -127 times weight 2",
        ),
        (
            "file, the same by its reverse",
            f(reverse(2)),
            said(None, Some(127), None),
            up,
            100,
            "file f: value 127 times weight 2 (reverse)",
        ),
        ("file of 0, 0", f(weight(0)), said(None, Some(0), None), up, 100, ""),
        ("file of 0, not 0", f(weight(0)), said(None, Some(3), None), up, 100, "file f: value 3"),
        (
            "file of 0, reversed, 0",
            f(reverse(0)),
            said(None, Some(0), None),
            up,
            100,
            "file f: value 0 (reverse)",
        ),
        ("file of 0, none yet", f(weight(0)), none(), up, 100, "waiting for the first result of file f"),
        ("process, enough", p(weight(20)), said(None, None, Some(true)), up, 120, ""),
        ("process, too few", p(weight(20)), said(None, None, Some(false)), up, 100, ""),
        ("process, negative, too few", p(weight(-20)), said(None, None, Some(false)), up, 80, ""),
        ("process, reversed, enough", p(reverse(20)), said(None, None, Some(true)), up, 80, ""),
        (
            "process of 0, too few",
            p(weight(0)),
            said(None, None, Some(false)),
            up,
            100,
            "process p: 0 of 1 running",
        ),
        ("process of 0, enough", p(weight(0)), said(None, None, Some(true)), up, 100, ""),
        (
            "process of 0, reversed",
            p(reverse(0)),
            said(None, None, Some(true)),
            up,
            100,
            "process p runs (reverse)",
        ),
        ("interface, up", i(weight(30)), none(), up, 130, ""),
        ("interface, down", i(weight(30)), none(), down, 100, ""),
        ("interface, negative, down", i(weight(-30)), none(), down, 70, ""),
        ("interface, reversed, up", i(reverse(30)), none(), up, 70, ""),
        ("interface of 0, down", i(weight(0)), none(), down, 100, "tracked interface eth1 is down"),
        (
            "interface of 0, reversed, up",
            i(reverse(0)),
            none(),
            up,
            100,
            "tracked interface eth1 is up (reverse)",
        ),
        ("all, good", all(10), said(Some(true), Some(1), Some(true)), up, 140, ""),
        ("all, bad", all(-10), said(Some(false), Some(1), Some(false)), down, 60, ""),
        ("all, beyond the limit", all(100), said(Some(true), Some(1), Some(true)), up, 254, ""),
        ("all, below the limit", all(-100), said(Some(false), Some(1), Some(false)), down, 1, ""),
        (
            "all of 0, bad",
            all(0),
            said(Some(false), Some(1), Some(false)),
            down,
            100,
            "tracked interface eth1 is down; script s failed; file f: value 1; process p: 0 of 1 running",
        ),
    ] {
        for by_group in [false, true] {
            let mut one = config("A", 51, 100);
            let mut setup = if by_group {
                let mut group =
                    GroupConfig { name: "G".into(), members: vec!["A".into()], ..GroupConfig::default() };
                tracks.give_group(&mut group);
                Setup { groups: vec![group], ..Setup::of(vec![one.clone()]) }
            } else {
                tracks.give(&mut one);
                Setup::of(vec![one])
            };
            setup.startup_delay = Duration::ZERO;
            let mut sim = Sim::of(vec![setup]);
            sim.event(0, Event::Interface(Interface { up: eth1, ..nic(3, 1) }));
            let (of_script, of_file, of_process) = results;
            for (id, result) in [(&script, of_script), (&file, of_file), (&process, of_process)] {
                if let Some(result) = result {
                    sim.event(0, Event::Tracker(id.clone(), result));
                }
            }
            sim.begin();
            let name = format!("{name}, by group: {by_group}");
            assert_eq!(
                (sim.nodes[0].priority(), faults(&sim).join("; ").as_str()),
                (priority, why),
                "{name}"
            );
            let state = match why {
                "" => State::Backup,
                text if text.starts_with("waiting") => State::Initialize,
                _ => State::Fault,
            };
            assert_eq!(sim.nodes[0].state(), state, "{name}");
            let router = &sim.nodes[0].engine.routers()[0];
            let sum: i32 = router.contributions().iter().map(|one| one.points).sum();
            assert_eq!((100 + sum).clamp(1, 254), i32::from(priority), "{name}: as status adds it up");
            assert_eq!(
                router.contributions().len(),
                tracks.trackers.len() + tracks.interfaces.len(),
                "{name}"
            );
        }
    }
}

/// An owner's priority stays, and what has weight 0 is a fault for it as for others.
#[test]
fn an_owner_tracks_faults_alone() {
    let mut owner = config("A", 51, 255);
    Tracks::of(&[(TrackerId::file("f"), weight(0))], &[("eth1", weight(-30))]).give(&mut owner);
    let mut sim = Sim::new(vec![owner]);
    sim.event(0, Event::Tracker(TrackerId::file("f"), TrackerResult::Number(0)));
    sim.event(0, Event::Interface(Interface { up: false, ..nic(3, 1) }));
    sim.begin();
    assert_eq!((sim.nodes[0].priority(), sim.nodes[0].state()), (255, State::Master));
    sim.event(0, Event::Tracker(TrackerId::file("f"), TrackerResult::Number(1)));
    assert_eq!((sim.nodes[0].priority(), sim.nodes[0].state()), (255, State::Fault));
}

/// What is tracked by an instance and by its group counts once; a member goes along into another's FAULT.
#[test]
fn a_group_and_its_members() {
    let [mut a, mut b] = [config("A", 51, 100), config("B", 52, 100)];
    a.track_files = vec![(TrackerId::file("f"), weight(1))];
    b.track_processes = vec![(TrackerId::process("p"), weight(0))];
    b.addresses = vec![vip(Ipv4Addr::new(10, 0, 0, 101))];
    let group = GroupConfig {
        name: "G".into(),
        members: vec!["A".into(), "B".into()],
        track_files: vec![(TrackerId::file("f"), weight(2))],
        ..GroupConfig::default()
    };
    let mut sim = Sim::of(vec![Setup { groups: vec![group], ..Setup::of(vec![a, b]) }]);
    let both = |sim: &Sim| -> Vec<(u8, State)> {
        let routers = sim.nodes[0].engine.routers().iter();
        routers.map(|router| (router.effective_priority().0, router.state())).collect()
    };
    sim.event(0, Event::Tracker(TrackerId::file("f"), TrackerResult::Number(5)));
    sim.begin();
    assert_eq!(both(&sim), [(110, State::Initialize), (110, State::Initialize)], "B waits, and A with it");
    sim.event(0, Event::Tracker(TrackerId::process("p"), TrackerResult::Good));
    assert_eq!(both(&sim), [(110, State::Backup), (110, State::Backup)]);
    sim.event(0, Event::Tracker(TrackerId::process("p"), few()));
    assert_eq!(both(&sim), [(110, State::Fault), (110, State::Fault)]);
    assert_eq!(faults(&sim), ["sync group: B cannot take part"]);
    sim.event(0, Event::Tracker(TrackerId::process("p"), TrackerResult::Good));
    sim.event(0, Event::Tracker(TrackerId::file("f"), TrackerResult::Number(-1)));
    assert_eq!(both(&sim), [(98, State::Backup), (98, State::Backup)]);
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

/// A reload forgets results that nobody asks for any more, and no others.
#[test]
fn results_over_a_reload() {
    let mut one = config("A", 51, 100);
    one.track_files = vec![(TrackerId::file("x"), weight(1))];
    let mut other = one.clone();
    other.track_files = vec![(TrackerId::file("y"), weight(1))];
    let mut sim = Sim::new(vec![one.clone()]);
    sim.begin();
    // Of the same name, and of another kind.
    sim.event(0, Event::Tracker(TrackerId::process("x"), TrackerResult::Good));
    sim.event(0, Event::Tracker(TrackerId::file("x"), TrackerResult::Number(5)));
    sim.event(0, Event::Tracker(TrackerId::file("y"), TrackerResult::Number(7)));
    assert_eq!(sim.nodes[0].priority(), 105);
    let changes = |sim: &Sim| {
        let is_change = |(_, action): &&(Duration, Action)| matches!(action, Action::PriorityChanged { .. });
        sim.nodes[0].log.iter().filter(is_change).count()
    };
    let before = changes(&sim);
    sim.event(0, Event::Reload(Setup::of(vec![other])));
    assert_eq!((sim.nodes[0].priority(), changes(&sim) - before), (107, 1), "told before it was asked for");
    sim.event(0, Event::Reload(Setup::of(vec![one])));
    assert_eq!(sim.nodes[0].priority(), 100, "forgotten");
}
