//! `cargo bench-checks [MODE ...] [--rounds N] [--quick]`: what checking costs, lbd beside Debian's keepalived, alternately,
//! natively. Exit status 1 when a goal is missed. Modes: `cost`, `rate`, `fifty`, `memory`; all of them without one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbd_integration::build::{self, Profile};
use lbd_integration::checks::{self, Bench, Kind, Load, Stretch, responder};
use lbd_integration::director::Daemon;
use lbd_integration::fakeipvs::StandIn;
use lbd_integration::figures::{median, verdict};
use lbd_integration::{packages, skip};

/// lbd's CPU time per check as a part of keepalived's, at most.
const COST: f64 = 0.9;
/// What is aimed at.
const COST_AIM: f64 = 0.6;
/// lbd's sustained rate as a multiple of keepalived's, at least.
const RATE: f64 = 1.5;
/// Real servers of the large configuration, checked every five seconds.
const MANY: usize = 50_000;
const MANY_PERIOD: Duration = Duration::from_secs(5);
/// Memory per real server with TCP_CHECK, in octets, at most.
const PER_SERVER: f64 = 3000.0;
/// Memory of a daemon with one real server, in octets, at most.
const AT_START: u64 = 20_000_000;

const USAGE: &str = "usage: cargo bench-checks [cost] [rate] [fifty] [memory] [--rounds N] [--quick]
  cost    CPU time per check at one rate for both, TCP_CHECK and HTTP_GET, in rounds: medians of paired ratios
  rate    the highest rate that each sustains: 99 % of the asked checks done for 30 s, 99 % of them less than 100 ms late
  fifty   50,000 TCP_CHECKs every 5 s, sustained by lbd
  memory  lbd's memory at start, and what each of 50,000 real servers adds
  --rounds N   rounds of cost, at least 5 (7)
  --quick      short stretches and 3 rounds, for development: the figures are rough";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((word, rest)) if word == responder::WORD => checks::respond(rest).map(|()| true),
        _ => bench(&words),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-checks: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done.
struct Plan {
    modes: Vec<String>,
    rounds: usize,
    /// One stretch of `cost`.
    cost: Duration,
    /// One step of the search for the highest rate.
    step: Duration,
    /// For this long a rate must be sustained.
    sustain: Duration,
}

impl Plan {
    fn parse(words: &[String]) -> Result<Self> {
        let second = Duration::from_secs(1);
        let mut plan =
            Plan { modes: Vec::new(), rounds: 7, cost: second * 8, step: second * 6, sustain: second * 30 };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "cost" | "rate" | "fifty" | "memory" => plan.modes.push(word.clone()),
                "--rounds" => {
                    plan.rounds =
                        words.next().and_then(|word| word.parse().ok()).context("--rounds needs a number")?;
                    ensure!(plan.rounds >= 5, "at least 5 rounds");
                }
                "--quick" => {
                    (plan.rounds, plan.cost, plan.step, plan.sustain) =
                        (3, second * 3, second * 3, second * 6);
                }
                _ => bail!("{USAGE}"),
            }
        }
        Ok(plan)
    }

    fn wants(&self, mode: &str) -> bool {
        self.modes.is_empty() || self.modes.iter().any(|one| one == mode)
    }
}

fn bench(words: &[String]) -> Result<bool> {
    let plan = Plan::parse(words)?;
    let needed = packages::ALL.iter().filter(|package| ["keepalived", "iproute2"].contains(&package.name));
    packages::ensure(&needed.copied().collect::<Vec<_>>())?;
    let binaries = build::binaries(Profile::Release)?;
    let Some(bench) = Bench::new(binaries.lbd)? else {
        skip::report("bench-checks", &StandIn::missing());
        return Ok(true);
    };
    let mut good = true;
    for kind in [Kind::Tcp, Kind::Http] {
        if plan.wants("cost") {
            good &= cost(&bench, &plan, kind)?;
        }
    }
    for kind in [Kind::Tcp, Kind::Http] {
        if plan.wants("rate") {
            good &= rate(&bench, &plan, kind)?;
        }
    }
    if plan.wants("fifty") || plan.wants("memory") {
        good &= many(&bench, &plan)?;
    }
    println!("all goals: {}", verdict(good));
    Ok(good)
}

fn measure(bench: &Bench, daemon: Daemon, load: Load, time: Duration) -> Result<Stretch> {
    let mut running = bench.start(daemon, load)?;
    // The rush of the first checks is over, and so is what both do once after their start.
    running.watch(SETTLE.max(load.period))?;
    let stretch = running.watch(time)?;
    running.stop()?;
    Ok(stretch)
}

const SETTLE: Duration = Duration::from_secs(2);

fn cost(bench: &Bench, plan: &Plan, kind: Kind) -> Result<bool> {
    let load = match kind {
        Kind::Tcp => Load { kind, servers: 5000, period: Duration::from_secs(1) },
        Kind::Http => Load { kind, servers: 3000, period: Duration::from_secs(1) },
    };
    println!(
        "CPU time per check: {}, {:.0} checks/s, {} rounds of {:?}",
        kind.keyword(),
        load.rate(),
        plan.rounds,
        plan.cost
    );
    let mut ratios = Vec::new();
    for round in 1..=plan.rounds {
        // Who begins changes from round to round.
        let order = match round % 2 {
            0 => [Daemon::Lbd, Daemon::Keepalived],
            _ => [Daemon::Keepalived, Daemon::Lbd],
        };
        let mut costs = [0.0; 2];
        for daemon in order {
            let stretch = measure(bench, daemon, load, plan.cost)?;
            println!("  round {round} {:<10} {}", daemon.word(), stretch.words());
            ensure!(
                stretch.seen.done as f64 > 0.9 * stretch.asked,
                "{} did not keep up: is the machine busy with something else?",
                daemon.word()
            );
            costs[usize::from(daemon == Daemon::Keepalived)] = stretch.cpu_per_check();
        }
        ratios.push(costs[0] / costs[1]);
    }
    let ratio = median(ratios.iter().copied()).context("no round")?;
    let (least, most) =
        ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), one| (least.min(*one), most.max(*one)));
    println!(
        "{} CPU time per check: median {ratio:.3} of keepalived's ({least:.3} to {most:.3}), goal {COST}: {}; aim {COST_AIM}: {}",
        kind.keyword(),
        verdict(ratio <= COST),
        if ratio <= COST_AIM { "met" } else { "not yet" }
    );
    Ok(ratio <= COST)
}

/// Real servers while the highest rate is searched; the time between two checks makes the rate.
const SEARCHED: usize = 10_000;
/// One step of the search.
const FACTOR: f64 = 1.08;
/// Steps at most.
const STEPS: usize = 12;

fn rate(bench: &Bench, plan: &Plan, kind: Kind) -> Result<bool> {
    println!("highest sustained rate: {}, {SEARCHED} real servers", kind.keyword());
    let theirs = highest(bench, plan, Daemon::Keepalived, kind)?;
    let ours = highest(bench, plan, Daemon::Lbd, kind)?;
    let ratio = ours / theirs;
    println!(
        "{} sustained rate: lbd {ours:.0}/s, keepalived {theirs:.0}/s: {ratio:.2} times, goal {RATE}: {}",
        kind.keyword(),
        verdict(ratio >= RATE)
    );
    Ok(ratio >= RATE)
}

fn highest(bench: &Bench, plan: &Plan, daemon: Daemon, kind: Kind) -> Result<f64> {
    let try_rate = |rate: f64, time: Duration| -> Result<bool> {
        let load = Load { kind, servers: SEARCHED, period: Duration::from_secs_f64(SEARCHED as f64 / rate) };
        let stretch = match measure(bench, daemon, load, time) {
            Ok(stretch) => stretch,
            Err(error) => {
                println!("  {:<10} {rate:.0}/s: {error:#}", daemon.word());
                return Ok(false);
            }
        };
        let sustained = stretch.is_sustained();
        println!(
            "  {:<10} {rate:.0}/s for {:?}: {}: {}",
            daemon.word(),
            time,
            stretch.words(),
            if sustained { "sustained" } else { "not sustained" }
        );
        Ok(sustained)
    };
    // More than anything can: what is done then is where the search begins.
    let flood = Load { kind, servers: SEARCHED, period: Duration::from_millis(100) };
    let most = measure(bench, daemon, flood, plan.step)?;
    println!("  {:<10} flooded: {}", daemon.word(), most.words());
    let mut rate = most.seen.done as f64 / most.time.as_secs_f64();
    let mut rising = None;
    for _ in 0..STEPS {
        let sustained = try_rate(rate, plan.step)?;
        // Turned round: the last one that was sustained is the highest.
        match (rising, sustained) {
            (None | Some(true), true) => rate *= FACTOR,
            (None | Some(false), false) => rate /= FACTOR,
            (Some(true), false) => {
                rate /= FACTOR;
                break;
            }
            (Some(false), true) => break,
        }
        rising = Some(sustained);
    }
    for _ in 0..STEPS {
        if try_rate(rate, plan.sustain)? {
            return Ok(rate);
        }
        rate /= FACTOR;
    }
    bail!("{} sustained nothing", daemon.word())
}

fn many(bench: &Bench, plan: &Plan) -> Result<bool> {
    let one = bench.start(Daemon::Lbd, Load { kind: Kind::Tcp, servers: 1, period: MANY_PERIOD })?;
    let start = one.memory()?;
    one.stop()?;
    let load = Load { kind: Kind::Tcp, servers: MANY, period: MANY_PERIOD };
    let mut running = bench.start(Daemon::Lbd, load)?;
    running.watch(MANY_PERIOD)?;
    let stretch = running.watch(plan.sustain)?;
    let memory = running.memory()?;
    running.stop()?;
    println!("{MANY} TCP_CHECKs every {MANY_PERIOD:?} for {:?}: {}", plan.sustain, stretch.words());
    let sustained = stretch.is_sustained();
    println!("{MANY} TCP_CHECKs sustained: {}", verdict(sustained));
    let per_server = memory.resident.saturating_sub(start.resident) as f64 / MANY as f64;
    println!(
        "memory at start: {:.1} MB resident ({:.1} MB proportional), goal {} MB: {}",
        start.resident as f64 / 1e6,
        start.proportional as f64 / 1e6,
        AT_START / 1_000_000,
        verdict(start.resident <= AT_START)
    );
    println!(
        "memory per real server: {per_server:.0} octets ({:.1} MB with {MANY}), goal {PER_SERVER}: {}",
        memory.resident as f64 / 1e6,
        verdict(per_server <= PER_SERVER)
    );
    Ok(sustained && start.resident <= AT_START && per_server <= PER_SERVER)
}
