//! Effective priority, faults and state: what everything tracked does, alone and together, as an instance's and as
//! its group's.

use super::*;

fn weight(value: i16) -> Weight {
    Weight { value, reverse: false }
}

fn reverse(value: i16) -> Weight {
    Weight { value, reverse: true }
}

fn faults(sim: &Sim) -> Vec<String> {
    sim.nodes[0].engine.routers()[0].faults().iter().map(ToString::to_string).collect()
}

/// What is tracked, as of an instance or of a group.
#[derive(Clone, Default)]
struct Tracks {
    trackers: Vec<(TrackerId, Weight)>,
    interfaces: Vec<(String, Weight)>,
}

impl Tracks {
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

/// How something tracked is.
#[derive(Clone, Copy, PartialEq)]
enum Now {
    /// Without a result.
    Unknown,
    Good,
    Bad,
    /// Of a file.
    Holds(i64),
    /// Of processes: how many run, of 2 to 3 wanted.
    Run(u32),
    /// Of an interface.
    Missing,
}

/// One thing tracked: its points, or why it is a fault.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    kind: &'static str,
    weight: Weight,
    now: Now,
    points: i32,
    fault: &'static str,
}

impl Row {
    fn id(&self) -> Option<TrackerId> {
        match self.kind {
            "script" => Some(TrackerId::script("s")),
            "file" => Some(TrackerId::file("f")),
            "process" => Some(TrackerId::process("p")),
            _ => None,
        }
    }

    fn add_to(&self, tracks: &mut Tracks) {
        match self.id() {
            Some(id) => tracks.trackers.push((id, self.weight)),
            None => tracks.interfaces.push(("eth1".into(), self.weight)),
        }
    }

    fn happens(&self, sim: &mut Sim) {
        let result = match self.now {
            Now::Unknown => return,
            Now::Good => TrackerResult::Good,
            Now::Bad => TrackerResult::Bad,
            Now::Holds(number) => TrackerResult::Number(number),
            Now::Run(running) => TrackerResult::Processes { running, fewest: 2, most: Some(3) },
            Now::Missing => return sim.event(0, Event::InterfaceGone("eth1".into())),
        };
        match self.id() {
            Some(id) => sim.event(0, Event::Tracker(id, result)),
            None => {
                sim.event(0, Event::Interface(Interface { up: self.now == Now::Good, ..nic(3, 1) }));
            }
        }
    }
}

/// Each kind with each sign and direction, in each condition: points and faults worked out by hand from what
/// keepalived does (weights, reverse, weight 0, the limits of a file).
fn rows() -> Vec<Row> {
    use Now::{Bad, Good, Holds, Missing, Run, Unknown};
    let row = |kind| move |(name, weight, now, points, fault)| Row { name, kind, weight, now, points, fault };
    let waits_for_script = "waiting for the first result of script s";
    let scripts = [
        ("positive, good", weight(10), Good, 10, ""),
        ("positive, bad", weight(10), Bad, 0, ""),
        ("positive, unknown", weight(10), Unknown, 0, ""),
        ("positive reversed, good", reverse(10), Good, -10, ""),
        ("positive reversed, bad", reverse(10), Bad, 0, ""),
        ("positive reversed, unknown", reverse(10), Unknown, 0, ""),
        ("negative, good", weight(-10), Good, 0, ""),
        ("negative, bad", weight(-10), Bad, -10, ""),
        ("negative, unknown", weight(-10), Unknown, 0, ""),
        ("negative reversed, good", reverse(-10), Good, 0, ""),
        ("negative reversed, bad", reverse(-10), Bad, 10, ""),
        ("negative reversed, unknown", reverse(-10), Unknown, 0, ""),
        ("the largest, good", weight(253), Good, 253, ""),
        ("the least, bad", weight(-253), Bad, -253, ""),
        ("0, good", weight(0), Good, 0, ""),
        ("0, bad", weight(0), Bad, 0, "script s failed"),
        ("0, unknown", weight(0), Unknown, 0, waits_for_script),
        ("0 reversed, good", reverse(0), Good, 0, "script s succeeded (reverse)"),
        ("0 reversed, bad", reverse(0), Bad, 0, ""),
        ("0 reversed, unknown", reverse(0), Unknown, 0, waits_for_script),
    ];
    let waits_for_process = "waiting for the first result of process p";
    let processes = [
        ("positive, enough", weight(20), Good, 20, ""),
        ("positive, too few", weight(20), Run(1), 0, ""),
        ("positive, too many", weight(20), Run(4), 0, ""),
        ("positive, not for long enough", weight(20), Run(2), 0, ""),
        ("positive, unknown", weight(20), Unknown, 0, ""),
        ("positive reversed, enough", reverse(20), Good, -20, ""),
        ("positive reversed, too few", reverse(20), Run(1), 0, ""),
        ("negative, enough", weight(-20), Good, 0, ""),
        ("negative, too few", weight(-20), Run(1), -20, ""),
        ("negative, too many", weight(-20), Run(4), -20, ""),
        ("negative reversed, enough", reverse(-20), Good, 0, ""),
        ("negative reversed, too few", reverse(-20), Run(0), 20, ""),
        ("0, enough", weight(0), Good, 0, ""),
        ("0, too few", weight(0), Run(1), 0, "process p: 1 of 2 running"),
        ("0, too many", weight(0), Run(4), 0, "process p: 4 running, at most 3"),
        ("0, not for long enough", weight(0), Run(2), 0, "process p: 2 running, not for long enough"),
        ("0, unknown", weight(0), Unknown, 0, waits_for_process),
        ("0 reversed, enough", reverse(0), Good, 0, "process p runs (reverse)"),
        ("0 reversed, too few", reverse(0), Run(0), 0, ""),
        ("0 reversed, unknown", reverse(0), Unknown, 0, waits_for_process),
    ];
    let waits_for_file = "waiting for the first result of file f";
    let files = [
        ("1", weight(1), Holds(7), 7, ""),
        ("1, below 0", weight(1), Holds(-7), -7, ""),
        ("1, 0", weight(1), Holds(0), 0, ""),
        ("1, unknown", weight(1), Unknown, 0, ""),
        ("1, the most", weight(1), Holds(253), 253, ""),
        ("1, more than the most", weight(1), Holds(254), 253, ""),
        ("1, far more than the most", weight(1), Holds(i64::MAX), 253, ""),
        ("1, the least", weight(1), Holds(-253), -253, ""),
        ("1, less than the least", weight(1), Holds(-254), 0, "file f: value -254 times weight 1"),
        ("1 reversed", reverse(1), Holds(7), -7, ""),
        ("3", weight(3), Holds(7), 21, ""),
        ("3 reversed", reverse(3), Holds(7), -21, ""),
        ("-3", weight(-3), Holds(7), -21, ""),
        ("-3, below 0", weight(-3), Holds(-7), 21, ""),
        ("-3 reversed", reverse(-3), Holds(7), 21, ""),
        ("254, less than the least", weight(254), Holds(-1), 0, "file f: value -1 times weight 254"),
        (
            "2 reversed, less than the least",
            reverse(2),
            Holds(127),
            0,
            "file f: value 127 times weight 2 (reverse)",
        ),
        ("2 reversed, the least that counts", reverse(2), Holds(126), -252, ""),
        ("0, 0", weight(0), Holds(0), 0, ""),
        ("0, not 0", weight(0), Holds(3), 0, "file f: value 3"),
        ("0, below 0", weight(0), Holds(-1), 0, "file f: value -1"),
        ("0, unknown", weight(0), Unknown, 0, waits_for_file),
        ("0 reversed, 0", reverse(0), Holds(0), 0, "file f: value 0 (reverse)"),
        ("0 reversed, not 0", reverse(0), Holds(3), 0, ""),
        ("0 reversed, unknown", reverse(0), Unknown, 0, waits_for_file),
    ];
    let interfaces = [
        ("positive, up", weight(30), Good, 30, ""),
        ("positive, down", weight(30), Bad, 0, ""),
        ("positive, missing", weight(30), Missing, 0, ""),
        ("positive reversed, up", reverse(30), Good, -30, ""),
        ("positive reversed, down", reverse(30), Bad, 0, ""),
        ("negative, up", weight(-30), Good, 0, ""),
        ("negative, down", weight(-30), Bad, -30, ""),
        ("negative, missing", weight(-30), Missing, -30, ""),
        ("negative reversed, up", reverse(-30), Good, 0, ""),
        ("negative reversed, down", reverse(-30), Bad, 30, ""),
        ("0, up", weight(0), Good, 0, ""),
        ("0, down", weight(0), Bad, 0, "tracked interface eth1 is down"),
        ("0, missing", weight(0), Missing, 0, "tracked interface eth1 does not exist"),
        ("0 reversed, up", reverse(0), Good, 0, "tracked interface eth1 is up (reverse)"),
        ("0 reversed, down", reverse(0), Bad, 0, ""),
        ("0 reversed, missing", reverse(0), Missing, 0, ""),
    ];
    let scripts = scripts.into_iter().map(row("script"));
    let processes = processes.into_iter().map(row("process"));
    let files = files.into_iter().map(row("file"));
    scripts.chain(processes).chain(files).chain(interfaces.into_iter().map(row("interface"))).collect()
}

/// Who tracks the first and the second of what is tracked.
const TRACKED_BY: [(&str, [bool; 2]); 4] = [
    ("the instance both", [false, false]),
    ("the group both", [true, true]),
    ("the group the first", [true, false]),
    ("the group the second", [false, true]),
];

/// One router of priority 100 that tracks these, after it has begun.
fn router_with(tracked: &[Row], by_group: [bool; 2]) -> Sim {
    let [mut own, mut of_group] = [Tracks::default(), Tracks::default()];
    for (row, by_group) in tracked.iter().zip(by_group.into_iter().cycle()) {
        row.add_to(if by_group { &mut of_group } else { &mut own });
    }
    let mut one = config("A", 51, 100);
    own.give(&mut one);
    let mut group = GroupConfig { name: "G".into(), members: vec!["A".into()], ..GroupConfig::default() };
    of_group.give_group(&mut group);
    let mut sim = Sim::of(vec![Setup { groups: vec![group], ..Setup::of(vec![one]) }]);
    tracked.iter().for_each(|row| row.happens(&mut sim));
    sim.begin();
    sim
}

/// That all of them together do what each does alone.
fn adds_up(tracked: &[Row], sim: &Sim, name: &str) {
    let router = &sim.nodes[0].engine.routers()[0];
    let points: i32 = tracked.iter().map(|row| row.points).sum();
    let want: BTreeSet<String> =
        tracked.iter().map(|row| row.fault.to_owned()).filter(|fault| !fault.is_empty()).collect();
    assert_eq!(i32::from(router.effective_priority().0), (100 + points).clamp(1, 254), "{name}");
    assert_eq!(faults(sim).into_iter().collect::<BTreeSet<_>>(), want, "{name}");
    let state = if want.is_empty() {
        State::Backup
    } else if want.iter().all(|fault| fault.starts_with("waiting")) {
        State::Initialize
    } else {
        State::Fault
    };
    assert_eq!(router.state(), state, "{name}");
    let shown: i32 = router.contributions().iter().map(|one| one.points).sum();
    assert_eq!(
        (shown, router.contributions().len()),
        (points, tracked.len()),
        "{name}: as status adds it up"
    );
}

#[test]
fn each_alone() {
    for row in rows() {
        for by_group in [false, true] {
            let name = format!("{} {}, by group: {by_group}", row.kind, row.name);
            adds_up(&[row], &router_with(&[row], [by_group; 2]), &name);
        }
    }
}

/// Priorities add up and are cut off once, at the end; any fault is one; who waits for a result is not in FAULT
/// unless something else is wrong.
#[test]
fn each_with_each_of_another_kind() {
    let rows = rows();
    let mut pairs = 0;
    for (at, first) in rows.iter().enumerate() {
        for second in rows.iter().skip(at + 1).filter(|second| second.kind != first.kind) {
            let (who, by_group) = TRACKED_BY[pairs % TRACKED_BY.len()];
            let name = format!("{} {} and {} {}, {who}", first.kind, first.name, second.kind, second.name);
            adds_up(&[*first, *second], &router_with(&[*first, *second], by_group), &name);
            pairs += 1;
        }
    }
    assert_eq!(pairs, 20 * 20 + 20 * 25 + 20 * 16 + 20 * 25 + 20 * 16 + 25 * 16);
}

/// One of each kind, in some hundred combinations.
#[test]
fn all_kinds_together() {
    let rows = rows();
    let of = |kind: &str| rows.iter().filter(|row| row.kind == kind).copied().collect::<Vec<_>>();
    let kinds = ["script", "process", "file", "interface"].map(of);
    for turn in 0..400 {
        // Steps without a common divisor with the numbers of rows: each meets many others.
        let pick = |kind: usize, step: usize| kinds[kind][turn * step % kinds[kind].len()];
        let tracked = [pick(0, 3), pick(1, 7), pick(2, 2), pick(3, 5)];
        let name = tracked.map(|row| format!("{} {}", row.kind, row.name)).join(", ");
        adds_up(&tracked, &router_with(&tracked, TRACKED_BY[turn % TRACKED_BY.len()].1), &name);
    }
}

/// The sum may leave the limits on its way.
#[test]
fn the_sum_is_cut_off_once() {
    for (name, values, want) in [
        ("above and back", [253, -100, -100], 153),
        ("below and back", [-253, 253, 0], 100),
        ("above", [253, 253, -253], 254),
        ("below", [-253, -253, 253], 1),
    ] {
        let mut one = config("A", 51, 100);
        let ids = ["a", "b", "c"].map(TrackerId::file);
        one.track_files = ids.iter().map(|id| (id.clone(), weight(1))).collect();
        let mut sim = Sim::new(vec![one]);
        for (id, value) in ids.into_iter().zip(values) {
            sim.event(0, Event::Tracker(id, TrackerResult::Number(value)));
        }
        sim.begin();
        assert_eq!(sim.nodes[0].priority(), want, "{name}");
    }
}

/// Each fault is counted for itself: FAULT lasts until the last one is over.
#[test]
fn a_fault_lasts_as_long_as_any_of_its_reasons() {
    let mut one = config("A", 51, 100);
    one.track_interfaces = vec![("eth1".into(), weight(0)), ("eth5".into(), weight(0))];
    one.trackers = vec![(TrackerId::script("s"), weight(0))];
    let mut sim = Sim::new(vec![one]);
    let eth5 =
        || Interface { name: "eth5".into(), index: NonZeroU32::new(7).expect("index"), ..interface(1) };
    let script = |good: bool| Event::Tracker(TrackerId::script("s"), good.into());
    sim.event(0, Event::Interface(eth5()));
    sim.event(0, script(true));
    sim.begin();
    for (name, event, faults_left, state) in [
        ("a tracked interface", Event::Interface(Interface { up: false, ..nic(3, 1) }), 1, State::Fault),
        ("another one", Event::Interface(Interface { up: false, ..eth5() }), 2, State::Fault),
        ("the own one", Event::Interface(Interface { up: false, ..interface(1) }), 3, State::Fault),
        ("a script", script(false), 4, State::Fault),
        ("the first is back", Event::Interface(nic(3, 1)), 3, State::Fault),
        ("the script is", script(true), 2, State::Fault),
        ("the own one is", Event::Interface(interface(1)), 1, State::Fault),
        ("all are", Event::Interface(eth5()), 0, State::Backup),
    ] {
        sim.event(0, event);
        assert_eq!((faults(&sim).len(), sim.nodes[0].state()), (faults_left, state), "{name}");
    }
    assert_eq!(sim.nodes[0].transitions().len(), 3, "INIT, BACKUP, FAULT, BACKUP");
}

/// An owner's priority stays, and what has weight 0 is a fault for it as for others.
#[test]
fn an_owner_tracks_faults_alone() {
    let mut owner = config("A", 51, 255);
    owner.track_files = vec![(TrackerId::file("f"), weight(0))];
    owner.track_interfaces = vec![("eth1".into(), weight(-30))];
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
    sim.event(0, Event::Tracker(TrackerId::process("p"), TrackerResult::Bad));
    assert_eq!(both(&sim), [(110, State::Fault), (110, State::Fault)]);
    assert_eq!(faults(&sim), ["sync group: B cannot take part"]);
    sim.event(0, Event::Tracker(TrackerId::process("p"), TrackerResult::Good));
    sim.event(0, Event::Tracker(TrackerId::file("f"), TrackerResult::Number(-1)));
    assert_eq!(both(&sim), [(98, State::Backup), (98, State::Backup)]);
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
