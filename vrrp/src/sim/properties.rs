//! Invariants over random operations.

use proptest::prelude::*;

use super::*;
use crate::timers;

#[derive(Clone, Debug)]
enum Op {
    Run(u16),
    Die(usize),
    Return(usize),
    Stop(usize),
    Part(usize),
    Heal,
    Link(usize, bool),
    Script(usize, bool),
    Lose(u32),
    TakeAddress(usize),
    Late(usize, u16),
}

fn op() -> impl Strategy<Value = Op> {
    let node = 0usize..4;
    prop_oneof![
        6 => (0u16..6000).prop_map(Op::Run),
        1 => node.clone().prop_map(Op::Die),
        2 => node.clone().prop_map(Op::Return),
        1 => node.clone().prop_map(Op::Stop),
        1 => node.clone().prop_map(Op::Part),
        2 => Just(Op::Heal),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, up)| Op::Link(node, up)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, good)| Op::Script(node, good)),
        1 => (0u32..60).prop_map(Op::Lose),
        1 => node.clone().prop_map(Op::TakeAddress),
        1 => (node, 0u16..3000).prop_map(|(node, ms)| Op::Late(node, ms)),
    ]
}

fn tracker() -> TrackerId {
    TrackerId::script("check")
}

fn new_node(sim: &mut Sim, node: usize, config: &InstanceConfig) {
    sim.nodes[node].engine = Engine::new(Setup::of(vec![config.clone()]));
    sim.nodes[node].alive = true;
    sim.nodes[node].held.clear();
    let interface = interface(sim.nodes[node].host);
    sim.event(node, Event::Interface(interface));
    sim.event(node, Event::Tracker(tracker(), true.into()));
    sim.event(node, Event::Begin { resume: vec![] });
}

fn apply(sim: &mut Sim, op: &Op, configs: &[InstanceConfig]) {
    let at = |node: usize| node % configs.len();
    match *op {
        Op::Run(ms) => sim.run(Duration::from_millis(ms.into())),
        Op::Die(node) => sim.nodes[at(node)].alive = false,
        Op::Return(node) if !sim.nodes[at(node)].alive => new_node(sim, at(node), &configs[at(node)]),
        Op::Stop(node) if sim.nodes[at(node)].alive => {
            sim.event(at(node), Event::Stop);
            assert!(sim.nodes[at(node)].held.is_empty(), "a stopped node holds nothing");
            sim.nodes[at(node)].alive = false;
        }
        Op::Part(node) => sim.side[at(node)] = 1,
        Op::Heal => sim.side.fill(0),
        Op::Link(node, up) if sim.nodes[at(node)].alive => {
            let mut interface = interface(sim.nodes[at(node)].host);
            interface.up = up;
            sim.event(at(node), Event::Interface(interface));
        }
        Op::Script(node, good) if sim.nodes[at(node)].alive => {
            sim.event(at(node), Event::Tracker(tracker(), good.into()));
        }
        Op::Lose(loss) => sim.loss = loss,
        Op::TakeAddress(node) if sim.nodes[at(node)].alive => {
            let router = sim.router(at(node));
            sim.event(at(node), Event::AddressLost { router, what: "10.0.0.100/32".into() });
        }
        // A node that sleeps: its deadlines come late.
        Op::Late(node, ms) if sim.nodes[at(node)].alive => {
            sim.nodes[at(node)].alive = false;
            sim.run(Duration::from_millis(ms.into()));
            sim.nodes[at(node)].alive = true;
        }
        _ => {}
    }
    for node in &sim.nodes {
        let master = node.state() == State::Master;
        assert_eq!(node.held.contains(&IpAddr::V4(VIP)), master, "the address is held exactly while MASTER");
        if let Some(deadline) = node.engine.deadline() {
            assert!(deadline < sim.now + Duration::from_secs(20), "no deadline is lost");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_healing_the_best_is_the_only_master(
        priorities in proptest::collection::vec(1u8..=254, 2..=4),
        no_preempt in proptest::collection::vec(any::<bool>(), 4),
        weight in -60i16..=60,
        ops in proptest::collection::vec(op(), 0..40),
        seed: u64,
    ) {
        let configs: Vec<InstanceConfig> = priorities.iter().zip(&no_preempt).map(|(priority, no_preempt)| {
            let mut config = config("VI", 51, *priority);
            config.preempt = !no_preempt;
            config.trackers = vec![(tracker(), Weight { value: weight, reverse: false })];
            config
        }).collect();
        let mut sim = Sim::new(configs.clone());
        sim.random = fastrand::Rng::with_seed(seed);
        for node in 0..configs.len() {
            sim.event(node, Event::Tracker(tracker(), true.into()));
        }
        sim.begin();
        for op in &ops {
            apply(&mut sim, op, &configs);
        }
        // Heal everything.
        sim.loss = 0;
        sim.side.fill(0);
        for node in 0..configs.len() {
            apply(&mut sim, &Op::Return(node), &configs);
            apply(&mut sim, &Op::Link(node, true), &configs);
            apply(&mut sim, &Op::Script(node, true), &configs);
        }
        let lowest = configs.iter().zip(&sim.nodes).map(|(_, node)| node.priority()).min().expect("nodes");
        let down = timers::master_down_interval(Version::V2, Duration::from_secs(1), 3, Priority(lowest));
        // Within one interval everybody has heard those that are master.
        sim.run(Duration::from_millis(1002));
        let before = sim.masters();
        sim.run(down - Duration::from_secs(1));
        let masters = sim.masters();
        prop_assert_eq!(masters.len(), 1, "one master within the master down interval");
        sim.run(down);
        prop_assert_eq!(sim.masters(), masters.clone(), "and it stays");
        let rank = |node: usize| (sim.nodes[node].priority(), sim.nodes[node].host);
        let chosen = masters[0];
        for (other, config) in configs.iter().enumerate() {
            let higher = sim.nodes[other].priority() > sim.nodes[chosen].priority();
            prop_assert!(!(config.preempt && higher), "{other} has a higher priority and preempts");
        }
        // Of several masters after healing the best one stays; equal ones: higher address.
        if let Some(best) = before.iter().copied().max_by_key(|node| rank(*node)) {
            prop_assert!(rank(chosen) >= rank(best));
            let preempted = chosen != best;
            prop_assert!(!preempted || configs[chosen].preempt, "nopreempt is respected");
            prop_assert!(!preempted || sim.nodes[chosen].priority() > sim.nodes[best].priority());
        }
    }

    #[test]
    fn on_a_whole_link_two_masters_last_one_interval_at_most(
        priorities in proptest::collection::vec(1u8..=254, 2..=4),
        ops in proptest::collection::vec(op(), 0..40),
        seed: u64,
    ) {
        let configs: Vec<InstanceConfig> =
            priorities.iter().map(|priority| {
                let mut config = config("VI", 51, *priority);
                config.trackers = vec![(tracker(), Weight { value: -20, reverse: false })];
                config
            }).collect();
        let mut sim = Sim::new(configs.clone());
        sim.random = fastrand::Rng::with_seed(seed);
        sim.begin();
        for op in &ops {
            // Whole: nothing lost, nobody parted or asleep; dying, returning, priorities and links may change.
            if !matches!(op, Op::Part(_) | Op::Lose(_) | Op::Late(..) | Op::Link(..)) {
                apply(&mut sim, op, &configs);
            }
        }
        sim.run(Duration::from_secs(5));
        prop_assert!(sim.worst_double <= Duration::from_millis(1001), "{:?}", sim.worst_double);
    }

    #[test]
    fn deadlines_early_late_and_repeated_do_no_harm(times in proptest::collection::vec(0u64..5000, 1..200)) {
        let mut sim = Sim::new(vec![config("VI", 51, 100)]);
        sim.begin();
        let mut times = times;
        times.sort_unstable();
        for time in times {
            sim.now = sim.start + Duration::from_millis(time);
            sim.event(0, Event::Deadline);
            sim.event(0, Event::Deadline);
        }
        let adverts = sim.nodes[0].engine.routers()[0].counters().sent;
        prop_assert!(adverts <= 2, "at 3.61 s and 4.61 s");
    }

    #[test]
    fn any_datagram_is_taken(octets in proptest::collection::vec(any::<u8>(), 0..120), unicast: bool) {
        let mut config = config("VI", 51, 100);
        if unicast {
            let peers = vec![Peer::new(Ipv4Addr::new(10, 0, 0, 2))];
            config.delivery = Delivery::Unicast { peers, ttl: Some(255), check_source: true };
        }
        crate::receive::exercise_any(&octets);
        let mut sim = Sim::new(vec![config]);
        sim.begin();
        sim.deliver(0, &octets);
    }

    #[test]
    fn almost_valid_datagrams_are_taken(place in 0usize..40, octet: u8, cut in 0usize..=40) {
        let mut octets = crate::wire::hex("45c0002800020000ff701890c0000201e00000122138ff010101986d0a00000b7365637265740000");
        octets[place] = octet;
        octets.truncate(cut);
        let config = config("VI", 56, 100);
        crate::receive::exercise_any(&octets);
        let mut sim = Sim::new(vec![config]);
        sim.begin();
        sim.deliver(0, &octets);
    }
}
