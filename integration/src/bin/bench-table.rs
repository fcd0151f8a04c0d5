//! `cargo bench-table [MODE ...] [--rounds N] [--boots N] [--quick]`: what a large table costs. Exit status 1 when a goal
//! is missed. Modes: `start`, `reload`, `status`, `memory`, `audit`, `verdict`; all of them without one.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbd_integration::bench::{self, Round, Size};
use lbd_integration::build::{self, Binaries, Profile};
use lbd_integration::checks::{self, responder};
use lbd_integration::fakeipvs::StandIn;
use lbd_integration::figures::{judge, median, verdict};
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::large::{self, Bed, LARGE};
use lbd_integration::{packages, skip};

/// lbd's time to the last destination as a part of keepalived's, at most.
const OF_KEEPALIVED: f64 = 0.5;
/// Memory of a guest whose kernel and daemon have the large table, in MiB.
const GUEST_MEMORY: u32 = 1024;
/// Time of one round of starts, at most.
const ROUND: Duration = Duration::from_secs(240);

const USAGE: &str = "usage: cargo bench-table [MODE ...] [--rounds N] [--boots N] [--quick]
  start    2,284 virtual servers with 37,298 real servers: start to the last destination in the kernel, beside keepalived
  reload   one changed weight of that table; beside keepalived; of growing tables; checks that go on meanwhile
  status   time of the status of that table
  memory   what the daemon has in memory then
  audit    CPU time while nothing happens, and how soon a change by another program is put right
  verdict  from a verdict to the kernel's weight
  --rounds N   pairs of starts in all, reloads of each kind, at least 5 (7)
  --boots N    boots in which the starts are measured (3)
  --quick      few rounds and short stretches, for development: the figures are rough";

const MODES: [&str; 6] = ["start", "reload", "status", "memory", "audit", "verdict"];
/// First argument of the program when it is to measure starts where it is.
const HERE: &str = "--here";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let done = match words.split_first() {
        Some((word, rest)) if word == responder::WORD => checks::respond(rest).map(|()| true),
        Some((word, [rounds])) if word == HERE => here(rounds),
        _ => run(&words),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-table: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done.
struct Plan {
    modes: Vec<String>,
    rounds: usize,
    boots: usize,
    /// For so long nothing happens.
    idle: Duration,
    /// Changes by another program.
    drifts: usize,
    /// Verdicts.
    changes: usize,
}

impl Plan {
    fn parse(words: &[String]) -> Result<Self> {
        let mut plan = Plan {
            modes: Vec::new(),
            rounds: 7,
            boots: 3,
            idle: Duration::from_secs(30),
            drifts: 10,
            changes: 50,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || -> Result<usize> {
                words
                    .next()
                    .and_then(|word| word.parse().ok())
                    .with_context(|| format!("{word} needs a number"))
            };
            match word.as_str() {
                mode if MODES.contains(&mode) => plan.modes.push(word.clone()),
                "--rounds" => {
                    plan.rounds = number()?;
                    ensure!(plan.rounds >= 5, "at least 5 rounds");
                }
                "--boots" => {
                    plan.boots = number()?;
                    ensure!(plan.boots >= 1, "at least one boot");
                }
                "--quick" => {
                    plan = Plan {
                        modes: plan.modes,
                        rounds: 3,
                        boots: 1,
                        idle: Duration::from_secs(10),
                        drifts: 3,
                        changes: 20,
                    };
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

fn size(rounds: usize) -> Size {
    Size { shape: LARGE, rounds, ipvsadm: false, limit: ROUND }
}

fn here(rounds: &str) -> Result<bool> {
    bench::measure(size(rounds.parse()?), |round| println!("{}", round.line()))?;
    Ok(true)
}

fn run(words: &[String]) -> Result<bool> {
    let plan = Plan::parse(words)?;
    packages::ensure(packages::ALL)?;
    let binaries = build::binaries(Profile::Release)?;
    let mut good = true;
    if plan.wants("start") {
        good &= start(&plan, &binaries)?;
    }
    if MODES.iter().any(|mode| *mode != "start" && plan.wants(mode)) {
        match Bed::new(binaries)? {
            Some(bed) => good &= natively(&plan, &bed)?,
            None => {
                skip::report("bench-table", &StandIn::missing());
                return Ok(good);
            }
        }
    }
    println!("all goals: {}", verdict(good));
    Ok(good)
}

fn natively(plan: &Plan, bed: &Bed) -> Result<bool> {
    let mut good = true;
    for mode in MODES.iter().filter(|mode| plan.wants(mode)) {
        let measured = match *mode {
            "reload" => large::reload::run(bed, plan.rounds),
            "status" => large::status::run(bed),
            "memory" => large::memory::run(bed),
            "audit" => large::audit::run(bed, plan.idle, plan.drifts),
            "verdict" => large::verdict::run(bed, plan.changes),
            _ => continue,
        };
        good &= measured.with_context(|| mode.to_string())?;
        println!("{mode}: {} now", large::load());
    }
    Ok(good)
}

fn start(plan: &Plan, binaries: &Binaries) -> Result<bool> {
    let kernel = match Kernel::pick(Need::Ipvs).map_err(anyhow::Error::msg)? {
        Kernel::Uml(uml) => Kernel::Uml(uml.with_memory(GUEST_MEMORY)),
        host => host,
    };
    let size = size(plan.rounds.div_ceil(plan.boots));
    println!(
        "start to the last of {}, {} rounds, {} boots, {}",
        LARGE.words(),
        size.rounds,
        plan.boots,
        bench::place(&kernel)
    );
    let mut worst = 0.0_f64;
    for boot in 1..=plan.boots {
        let rounds = bench::boot(&kernel, binaries, &size, &[HERE, &size.rounds.to_string()])?;
        let ratio = median(rounds.iter().map(Round::of_keepalived)).context("no round")?;
        println!("boot {boot}: median {ratio:.3} of keepalived's time, {}", large::load());
        worst = worst.max(ratio);
    }
    Ok(judge(
        "start beside keepalived",
        &format!("worst boot's median {worst:.3} of its time"),
        &OF_KEEPALIVED.to_string(),
        worst <= OF_KEEPALIVED,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Result<Plan> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Plan::parse(&words)
    }

    #[test]
    fn modes_and_numbers() {
        let all = plan(&[]).expect("all modes");
        assert!(MODES.iter().all(|mode| all.wants(mode)));
        let some = plan(&["reload", "--rounds", "9", "audit", "--boots", "2"]).expect("two modes");
        assert_eq!((some.rounds, some.boots), (9, 2));
        assert!(some.wants("reload") && some.wants("audit") && !some.wants("start"));
        assert_eq!(plan(&["start", "--quick"]).expect("quick").modes, ["start"]);
        for wrong in [&["what"][..], &["--rounds"], &["--rounds", "4"], &["--boots", "0"], &["--boots", "x"]]
        {
            assert!(plan(wrong).is_err(), "{wrong:?}");
        }
    }
}
