//! `cargo bench-start [--boots N] [--rounds N]`: start to the last of 1,000 × 10 destinations in the kernel, beside
//! Debian's keepalived and `ipvsadm -R`. Exit status 1 when the worst boot's median misses the goal.

use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbd_integration::bench::{Round, Size, measure, median};
use lbd_integration::build::{self, Profile};
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::packages;

const SERVICES: usize = 1000;
const REAL_SERVERS: usize = 10;
/// lbd's time as a part of keepalived's, at most.
const OF_KEEPALIVED: f64 = 0.5;
/// lbd's time as a part of ipvsadm's, at most.
const OF_IPVSADM: f64 = 0.25;

fn main() -> ExitCode {
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (mut boots, mut rounds, mut here) = (3, 5, false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || -> Result<usize> { Ok(words.next().context("a number is missing")?.parse()?) };
        match word.as_str() {
            "--boots" => boots = number()?,
            "--rounds" => rounds = number()?,
            "--here" => here = true,
            _ => bail!("unknown argument {word}; usage: cargo bench-start [--boots N] [--rounds N]"),
        }
    }
    let size = Size { services: SERVICES, real_servers: REAL_SERVERS, rounds };
    if here {
        measure(size, |round| println!("{}", round.line()))?;
        return Ok(true);
    }
    packages::ensure(packages::ALL)?;
    let binaries = build::binaries(Profile::Release)?;
    let kernel = Kernel::pick(Need::Ipvs).map_err(anyhow::Error::msg)?;
    println!(
        "start to the last of {SERVICES} x {REAL_SERVERS} destinations, {rounds} rounds, {boots} boots, {}",
        name(&kernel)
    );
    let mut worst = (0.0_f64, 0.0_f64);
    for boot in 1..=boots {
        let rounds = one_boot(&kernel, &binaries, size)?;
        let of_keepalived = median(rounds.iter().map(Round::of_keepalived)).context("no round")?;
        let of_ipvsadm = median(rounds.iter().map(Round::of_ipvsadm)).context("no round")?;
        println!(
            "boot {boot}: {of_keepalived:.3} of keepalived's time, {of_ipvsadm:.3} of ipvsadm's (medians)"
        );
        worst = (worst.0.max(of_keepalived), worst.1.max(of_ipvsadm));
    }
    let good = worst.0 <= OF_KEEPALIVED && worst.1 <= OF_IPVSADM;
    println!(
        "worst boot: {:.3} of keepalived's time (goal {OF_KEEPALIVED}), {:.3} of ipvsadm's (goal {OF_IPVSADM}): {}",
        worst.0,
        worst.1,
        if good { "met" } else { "MISSED" }
    );
    Ok(good)
}

fn name(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::Host => "the host's kernel",
        Kernel::Uml(_) => "user-mode-linux",
    }
}

/// One boot's rounds; on the host's own kernel a process takes the place of a boot.
fn one_boot(kernel: &Kernel, binaries: &build::Binaries, size: Size) -> Result<Vec<Round>> {
    let bench = std::env::current_exe()?;
    let rounds = size.rounds.to_string();
    let command = [bench.as_os_str(), OsStr::new("--here"), OsStr::new("--rounds"), OsStr::new(&rounds)];
    let env = [("LBD_BED_LBD", binaries.lbd.as_os_str()), ("LBD_BED_LBCTL", binaries.lbctl.as_os_str())];
    let (good, output) = match kernel {
        Kernel::Host => {
            let output = std::process::Command::new(&bench).args(&command[1..]).envs(env).output()?;
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Kernel::Uml(uml) => {
            let limit = Duration::from_secs(60) + Duration::from_secs(60) * u32::try_from(size.rounds)?;
            let outcome = uml.run(&command, &env, 0, limit)?;
            (outcome.status == Some(0), outcome.output)
        }
    };
    ensure!(good, "the measurement failed: {output}");
    let rounds: Vec<Round> = output.lines().filter_map(Round::parse).collect();
    for round in &rounds {
        println!(
            "  lbd {:>8.1?}  keepalived {:>8.1?}  ipvsadm {:>8.1?}",
            round.lbd, round.keepalived, round.ipvsadm
        );
    }
    ensure!(rounds.len() == size.rounds, "{} rounds of {}: {output}", rounds.len(), size.rounds);
    Ok(rounds)
}
