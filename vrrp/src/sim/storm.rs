//! Storms: two to five nodes, loss, delay, duplicates, partitions, pauses, clock steps and restarts, all from
//! one seed, and what must hold all the time.
//!
//! Here: many runs on all processors, and the report of a run that went wrong. Not here: what a run is made
//! of (`plan`), what happens in it (`world`), what must hold of one node (`ledger`) and of several
//! (`segments`).
//!
//! `LBD_SIM_SEED=n` replays one run, `LBD_SIM_RUNS=n` changes their number, `LBD_SIM_EVENTS=n` that of the
//! events that a report shows (40).

mod ledger;
mod plan;
mod segments;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use plan::Plan;
use world::{Numbers, World};

const RUNS: u64 = 100_000;

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rule {
    TwoMasters,
    NoMaster,
    Early,
    Chain,
    GroupChain,
    Addresses,
    Together,
    OneMaster,
    RightMaster,
    Quiet,
    Adverts,
    Releases,
    Bounded,
    StartupDelay,
    Reload,
    Panics,
}

impl Rule {
    fn text(self) -> &'static str {
        match self {
            Rule::TwoMasters => "two masters for at most k + 1 intervals after k lost adverts",
            Rule::NoMaster => "a master within the master down interval",
            Rule::Early => "nobody takes over from a master that it heard within the master down interval",
            Rule::Chain => "notifications in the order of the states, Stopped last",
            Rule::GroupChain => "a group's notifications in the order of its states, after its members'",
            Rule::Addresses => "all addresses are held exactly while MASTER",
            Rule::Together => "members of a group are MASTER together, and in FAULT together",
            Rule::OneMaster => "one master on each segment after everything is healed",
            Rule::RightMaster => "the router that preempts is master in the end",
            Rule::Quiet => "nothing changes while nothing happens",
            Rule::Adverts => "nobody but a master sends, with its priority, and priority 0 when it leaves",
            Rule::Releases => "a master that stops or is in FAULT says so with priority 0",
            Rule::Bounded => "few actions for one event",
            Rule::StartupDelay => "nobody takes over before the start-up delay is over",
            Rule::Panics => "no panic",
            Rule::Reload => "a reload of the same file does nothing",
        }
    }

    fn broken(self, detail: impl FnOnce() -> String) -> Violation {
        Violation { rule: self, detail: detail() }
    }
}

#[derive(Clone, Debug)]
struct Violation {
    rule: Rule,
    detail: String,
}

impl Violation {
    fn of_node(self, node: usize) -> Self {
        Violation { detail: format!("node {node}, {}", self.detail), ..self }
    }
}

fn run(seed: u64, start: Instant) -> Result<Numbers, Violation> {
    outcome(&mut World::new(&Plan::of(seed), start, None))
}

fn outcome(world: &mut World<'_>) -> Result<Numbers, Violation> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.run()));
    outcome.unwrap_or_else(|_| Err(Rule::Panics.broken(|| "see above".into())))
}

/// The same run again, with everything in words.
fn report(seed: u64, start: Instant) -> String {
    let plan = Plan::of(seed);
    let shown = number("LBD_SIM_EVENTS").and_then(|events| usize::try_from(events).ok()).unwrap_or(40);
    let mut world = World::new(&plan, start, Some(shown));
    let outcome = match outcome(&mut world) {
        Ok(numbers) => format!("all is well: {numbers:?}"),
        Err(Violation { rule, detail }) => format!("broken: {} ({rule:?})\n{detail}", rule.text()),
    };
    format!(
        "seed {seed} (LBD_SIM_SEED={seed} replays it), at {:?}\n{outcome}\n{}{}",
        world.at(),
        plan.describe(),
        world.story(),
    )
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn sum(all: Numbers, one: Numbers) -> Numbers {
    Numbers {
        events: all.events + one.events,
        adverts: all.adverts + one.adverts,
        lost: all.lost + one.lost,
        masters: all.masters + one.masters,
        doubles: all.doubles + one.doubles,
        orphans: all.orphans + one.orphans,
        simulated: all.simulated + one.simulated,
    }
}

/// By rule: how many runs broke it, and the lowest of their seeds.
type Failures = BTreeMap<Rule, (u64, u64)>;

/// Seeds below `runs` on all processors.
fn run_all(runs: u64, start: Instant) -> (Numbers, Failures) {
    let next = AtomicU64::new(0);
    let total: Mutex<(Numbers, Failures)> = Mutex::default();
    let work = || {
        let (mut numbers, mut failures) = (Numbers::default(), Failures::new());
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= runs {
                break;
            }
            match run(seed, start) {
                Ok(one) => numbers = sum(numbers, one),
                Err(violation) => failures.entry(violation.rule).or_insert((0, seed)).0 += 1,
            }
        }
        let mut total = total.lock().expect("no panic");
        total.0 = sum(total.0, numbers);
        for (rule, (count, seed)) in failures {
            let all = total.1.entry(rule).or_insert((0, seed));
            *all = (all.0 + count, all.1.min(seed));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    total.into_inner().expect("no panic")
}

/// V3-F6, V2-F6, V3-O8.
#[test]
#[expect(clippy::print_stdout, reason = "the size of what was simulated is part of the result")]
fn storms_of_two_to_five_nodes() {
    let start = Instant::now();
    if let Some(seed) = number("LBD_SIM_SEED") {
        let text = report(seed, start);
        println!("{text}");
        assert!(run(seed, start).is_ok(), "{text}");
        return;
    }
    let runs = number("LBD_SIM_RUNS").unwrap_or(RUNS);
    let (numbers, failures) = run_all(runs, start);
    if !failures.is_empty() {
        for (rule, (count, seed)) in &failures {
            println!("{count} of {runs} runs broke {rule:?}, the first with {}", report(*seed, start));
        }
        panic!("rules were broken: {:?}", failures.keys());
    }
    let hours = numbers.simulated.as_secs() / 3600;
    println!(
        "{runs} runs, seeds 0..{runs}, {hours} simulated hours in {:?}: {numbers:?}",
        start.elapsed().max(Duration::from_millis(1))
    );
    assert!(runs < 1000 || numbers.doubles > runs / 100 && numbers.orphans > runs, "storms, not calm");
}
