//! `cargo bench-vrrp failover|crowd|load [OPTION ...]`: how late take-overs are, what an advertisement costs; lbd beside Debian's
//! keepalived, alternately, natively. Exit status 1 when a goal is missed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbd_integration::build::{self, Binaries, Profile};
use lbd_integration::director::Daemon;
use lbd_integration::figures::{judge, machine, median, most, percentile, verdict};
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::packages::{self, Package};
use lbd_integration::skip;
use lbd_integration::vrrp::failover::{self, Cell, Sample};
use lbd_integration::vrrp::load::{self, Punctuality, Stress};

const USAGE: &str = "usage: cargo bench-vrrp failover [--cell INTERVAL:VIPS:END ...] [-n N] [--rt PRIORITY]
       cargo bench-vrrp crowd [--rounds N] [--addresses N] [--rt PRIORITY]
       cargo bench-vrrp load [--rounds N] [--cost SECONDS] [--routers N] [--idle SECONDS] [--busy SECONDS] [--rt PRIORITY]
  failover   take-over by a Backup after a scripted master, milliseconds beyond the protocol's own time
  crowd      how late adverts are while a virtual router at 10 ms becomes master of many addresses
  load       virtual routers at 10 ms on a pair: CPU time per advert; of 250 lateness and needless take-overs, idle and busy
  --cell     INTERVAL 1 (version 2), 0.1, 0.01 (version 3); VIPS 1, 100, 1000; END kill (silence), stop (priority 0);
             any part may be empty or left out; given again for more cells (all)
  -n N       pairs of each cell (20)
  --rounds N rounds of CPU time, at least 5 (5); --cost SECONDS of each (5)
  --routers N    of them for CPU time (100: with more a core is not enough for keepalived)
  --addresses N  of the virtual router (500)
  --idle, --busy SECONDS   of lateness with idle and with busy processors (20, 60)
  --rt N     vrrp_rt_priority of both daemons (failover: none, load: 50); 0 for none";

/// Beyond the protocol's time, at most, with one virtual address.
const LATE_ONE: f64 = 5.0;
/// The same with more.
const LATE_MANY: f64 = 50.0;
/// lbd's time less keepalived's: middle of the pairs, and that of which one in twenty is worse.
const DIFFERENCE: (f64, f64) = (1.0, 5.0);
/// Gratuitous ARP of every virtual address is out, at most.
const ARP: f64 = 100.0;
/// CPU time per advert as a part of keepalived's, at most.
const COST: f64 = 0.5;
/// Virtual routers of which lateness and take-overs are looked at.
const ROUTERS: u8 = 250;
/// Lateness that one advert in a hundred exceeds, idle and busy.
const LATENESS: (f64, f64) = (1.0, 5.0);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-vrrp: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
enum Plan {
    Failover { cells: Vec<Cell>, n: usize, real_time: Option<u8> },
    Load { rounds: usize, cost: Duration, routers: u8, idle: Duration, busy: Duration, real_time: Option<u8> },
    Crowd { rounds: usize, addresses: usize, real_time: Option<u8> },
    Help,
}

impl Plan {
    fn parse(words: &[String]) -> Result<Self> {
        let Some((mode, rest)) = words.split_first() else { bail!("{USAGE}") };
        if words.iter().any(|word| word == "--help" || word == "-h") {
            return Ok(Self::Help);
        }
        let mut patterns = Vec::new();
        let (mut n, mut rounds) = (20, 5);
        let mut addresses = 500;
        let (mut cost, mut routers, mut idle, mut busy) = (5, 100, 20, 60);
        let mut real_time = if mode == "load" { 50 } else { 0 };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            let value = rest.next().with_context(|| format!("{word} needs a value\n{USAGE}"))?;
            let number = || value.parse::<u16>().with_context(|| format!("{word} needs a number"));
            match (mode.as_str(), word.as_str()) {
                ("failover", "--cell") => patterns.push(value.clone()),
                ("failover", "-n") => n = usize::from(number()?),
                ("load" | "crowd", "--rounds") => rounds = usize::from(number()?),
                ("load", "--cost") => cost = number()?,
                ("load", "--routers") => routers = u8::try_from(number()?)?,
                ("load", "--idle") => idle = number()?,
                ("load", "--busy") => busy = number()?,
                ("crowd", "--addresses") => addresses = usize::from(number()?),
                ("failover" | "crowd" | "load", "--rt") => real_time = u8::try_from(number()?)?,
                _ => bail!("{USAGE}"),
            }
        }
        let real_time = (real_time > 0).then_some(real_time);
        match mode.as_str() {
            "failover" => {
                let wanted = |cell: &Cell| {
                    patterns.is_empty() || patterns.iter().any(|pattern: &String| cell.matches(pattern))
                };
                let cells: Vec<Cell> = failover::cells().into_iter().filter(wanted).collect();
                ensure!(!cells.is_empty() && n > 0, "no such cell\n{USAGE}");
                Ok(Self::Failover { cells, n, real_time })
            }
            "crowd" => {
                ensure!(
                    rounds >= 5 && (1..=1000).contains(&addresses),
                    "at least 5 rounds, 1 to 1,000 addresses"
                );
                Ok(Self::Crowd { rounds, addresses, real_time })
            }
            "load" => {
                ensure!(rounds >= 5, "at least 5 rounds");
                let seconds = |number: u16| Duration::from_secs(number.into());
                let (cost, idle, busy) = (seconds(cost), seconds(idle), seconds(busy));
                Ok(Self::Load { rounds, cost, routers, idle, busy, real_time })
            }
            _ => bail!("{USAGE}"),
        }
    }
}

fn run(words: &[String]) -> Result<bool> {
    let plan = Plan::parse(words)?;
    if plan == Plan::Help {
        println!("{USAGE}");
        return Ok(true);
    }
    match Kernel::pick(Need::Netns) {
        Ok(Kernel::Host) => {}
        _ => {
            skip::report("bench-vrrp", "needs root for network namespaces of the host's own kernel");
            return Ok(true);
        }
    }
    let named = |package: &&Package| ["keepalived", "iproute2"].contains(&package.name);
    let mut needed: Vec<Package> = packages::ALL.iter().filter(named).copied().collect();
    if matches!(plan, Plan::Load { .. }) {
        needed.push(packages::STRESS_NG);
    }
    packages::ensure(&needed)?;
    let binaries = build::binaries(Profile::Release)?;
    println!("{}", machine());
    let good = match plan {
        Plan::Failover { cells, n, real_time } => failover(binaries, &cells, n, real_time)?,
        Plan::Crowd { rounds, addresses, real_time } => crowd(&binaries, rounds, addresses, real_time)?,
        Plan::Load { rounds, cost, routers, idle, busy, real_time } => {
            let bed = load::Bed { binaries, real_time, routers };
            let cheap = costs(&bed, rounds, cost)?;
            let bed = load::Bed { routers: ROUTERS, ..bed };
            let calm = punctual(&bed, idle, false)?;
            let busy = punctual(&bed, busy, true)?;
            cheap && calm && busy
        }
        Plan::Help => true,
    };
    println!("{}", machine());
    println!("all goals: {}", verdict(good));
    Ok(good)
}

fn failover(binaries: Binaries, cells: &[Cell], n: usize, real_time: Option<u8>) -> Result<bool> {
    println!(
        "take-over after a scripted master, {n} pairs a cell, ms beyond the protocol's time: middle / 95 of 100 / most\n\
         {:<13} {:>9}  {:<23} {:<23} {:<15} {:<23} {:<23} {:<15}",
        "cell",
        "protocol",
        "advert, lbd",
        "keepalived",
        "difference",
        "all ARP out, lbd",
        "keepalived",
        "last address"
    );
    let bed = failover::Bed { binaries, real_time };
    let mut good = true;
    for beside in cells.chunk_by(|one, other| (one.pace, one.vips) == (other.pace, other.vips)) {
        bed.run(beside, n, |cell, pairs| good &= report(cell, &pairs))?;
    }
    Ok(good)
}

fn report(cell: Cell, pairs: &[failover::Pair]) -> bool {
    let of = |value: fn(&Sample) -> f64| {
        let values =
            move |pick: fn(&failover::Pair) -> &Sample| pairs.iter().map(move |pair| value(pick(pair)));
        (Figures::of(values(|pair| &pair.lbd)), Figures::of(values(|pair| &pair.keepalived)))
    };
    let (advert, their_advert) = of(|sample| sample.advert);
    let (arp, their_arp) = of(|sample| sample.last_arp);
    let (address, their_address) = of(|sample| sample.last_address);
    let difference = Figures::of(pairs.iter().map(|pair| pair.lbd.advert - pair.keepalived.advert));
    let limit = if cell.vips == 1 { LATE_ONE } else { LATE_MANY };
    let mut missed = Vec::new();
    for (name, met) in [
        ("lateness", advert.most <= limit),
        ("difference", difference.p50 <= DIFFERENCE.0 && difference.p95 <= DIFFERENCE.1),
        ("gratuitous ARP", arp.most <= ARP),
    ] {
        if !met {
            missed.push(name);
        }
    }
    println!(
        "{:<13} {:>9.3}  {:<23} {:<23} {:<15} {:<23} {:<23} {:<15} {}{}",
        cell.to_string(),
        cell.formula().as_secs_f64() * 1e3,
        advert.words(),
        their_advert.words(),
        format!("{:.2} / {:.2}", difference.p50, difference.p95),
        arp.words(),
        their_arp.words(),
        format!("{:.1} / {:.1}", address.p50, their_address.p50),
        verdict(missed.is_empty()),
        if missed.is_empty() { String::new() } else { format!(": {}", missed.join(", ")) }
    );
    missed.is_empty()
}

/// Of some values the middle, that of which one in twenty is worse, and the worst.
#[derive(Clone, Copy, Debug)]
struct Figures {
    p50: f64,
    p95: f64,
    most: f64,
}

impl Figures {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.collect();
        let all = || values.iter().copied();
        Self {
            p50: median(all()).unwrap_or(f64::NAN),
            p95: percentile(all(), 95).unwrap_or(f64::NAN),
            most: most(all()).unwrap_or(f64::NAN),
        }
    }

    fn words(self) -> String {
        format!("{:.2} / {:.2} / {:.2}", self.p50, self.p95, self.most)
    }
}

/// Both daemons one after the other; who begins changes from round to round.
fn order(round: usize) -> [Daemon; 2] {
    if round.is_multiple_of(2) {
        [Daemon::Lbd, Daemon::Keepalived]
    } else {
        [Daemon::Keepalived, Daemon::Lbd]
    }
}

fn crowd(binaries: &Binaries, rounds: usize, addresses: usize, real_time: Option<u8>) -> Result<bool> {
    println!("becoming master of {addresses} addresses, adverts every 10 ms, vrrp_rt_priority {real_time:?}");
    let mut worst: f64 = 0.0;
    for round in 1..=rounds {
        let (latest, took) = lbd_integration::vrrp::crowd::latest(binaries, addresses, real_time)?;
        println!("  round {round}: latest advert {latest:.2} ms, all addresses {took:?} after the start");
        worst = worst.max(latest);
    }
    Ok(judge("latest advert", &format!("{worst:.2} ms"), &format!("{LATE_ONE} ms"), worst <= LATE_ONE))
}

fn costs(bed: &load::Bed, rounds: usize, time: Duration) -> Result<bool> {
    println!("CPU time per advert, {} virtual routers at 10 ms, {rounds} rounds of {time:?}", bed.routers);
    let mut ratios = Vec::new();
    for round in 0..rounds {
        let mut costs = [None; 2];
        for daemon in order(round) {
            let lab = load::lab()?;
            let pair = bed.start(daemon, &lab)?;
            let cost = pair.cost(time)?;
            println!(
                "  round {} {:<10} {:.1} µs sent, {:.1} µs received ({:.0} adverts/s)",
                round + 1,
                daemon.word(),
                cost.sent,
                cost.received,
                cost.rate
            );
            // Of one that does not settle each side sends and receives.
            costs[usize::from(daemon == Daemon::Keepalived)] = Some(cost).filter(|_| pair.settled);
        }
        if let [Some(ours), Some(theirs)] = costs {
            ratios.push((ours.sent / theirs.sent, ours.received / theirs.received));
        }
    }
    let sent = median(ratios.iter().map(|ratio| ratio.0)).context("no round")?;
    let received = median(ratios.iter().map(|ratio| ratio.1)).context("no round")?;
    let told = |name, ratio: f64| {
        judge(name, &format!("median {ratio:.2} of keepalived's"), &COST.to_string(), ratio <= COST)
    };
    Ok(told("CPU time per advert sent", sent) & told("CPU time per advert received", received))
}

fn punctual(bed: &load::Bed, time: Duration, busy: bool) -> Result<bool> {
    let (name, goal) = if busy { ("busy", LATENESS.1) } else { ("idle", LATENESS.0) };
    println!("lateness with {name} processors, {time:?} each, vrrp_rt_priority {:?}", bed.real_time);
    let mut good = true;
    for daemon in order(usize::from(busy)) {
        let lab = load::lab()?;
        let pair = bed.start(daemon, &lab)?;
        let stress = busy.then(Stress::start).transpose()?;
        let seen = pair.punctuality(time)?;
        drop(stress);
        println!("  {:<10} {}", daemon.word(), words(&seen));
        if daemon == Daemon::Lbd {
            let late = format!("99 of 100 adverts less than {:.2} ms late", seen.p99);
            good &= judge(&format!("lateness, {name}"), &late, &format!("{goal} ms"), seen.p99 <= goal);
            let takeovers = seen.takeovers.to_string();
            good &= judge(&format!("needless take-overs, {name}"), &takeovers, "0", seen.takeovers == 0);
        }
    }
    Ok(good)
}

fn words(seen: &Punctuality) -> String {
    let told = seen.told.map(|[p50, p99, most]| {
        format!("; by its own timers, since its start: p50 {p50:.3} ms, p99 {p99:.3} ms, most {most:.2} ms")
    });
    format!(
        "{} adverts, late p50 {:.3} ms, p99 {:.3} ms, most {:.2} ms; {} needless take-overs{}",
        seen.adverts,
        seen.p50,
        seen.p99,
        seen.most,
        seen.takeovers,
        told.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(words: &[&str]) -> Result<Plan> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Plan::parse(&words)
    }

    #[test]
    fn modes_and_options() {
        match plan(&["failover"]).expect("all cells") {
            Plan::Failover { cells, n: 20, real_time: None } => assert_eq!(cells.len(), 18),
            other => panic!("{other:?}"),
        }
        match plan(&["failover", "--cell", "0.01:1", "--cell", "1:1000:stop", "-n", "3", "--rt", "9"])
            .expect("three cells")
        {
            Plan::Failover { cells, n: 3, real_time: Some(9) } => assert_eq!(cells.len(), 3),
            other => panic!("{other:?}"),
        }
        match plan(&["load", "--busy", "10", "--rt", "0"]).expect("load") {
            Plan::Load { rounds: 5, busy, real_time: None, .. } => assert_eq!(busy, Duration::from_secs(10)),
            other => panic!("{other:?}"),
        }
        assert_eq!(plan(&["load", "--help"]).expect("help"), Plan::Help);
        for wrong in [
            &[][..],
            &["what"],
            &["failover", "--cell", "7"],
            &["failover", "--rounds", "9"],
            &["failover", "-n"],
            &["load", "--rounds", "4"],
            &["load", "--rt", "300"],
        ] {
            assert!(plan(wrong).is_err(), "{wrong:?}");
        }
    }
}
