//! `cargo bench-start [--boots N] [--rounds N]`: start to the last of 1,000 × 10 destinations in the kernel, beside
//! Debian's keepalived and `ipvsadm -R`. Exit status 1 when the worst boot's median misses the goal.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lbd_integration::bench::{self, Round, Size};
use lbd_integration::build::{self, Profile};
use lbd_integration::figures::{median, verdict};
use lbd_integration::kernel::{Kernel, Need};
use lbd_integration::packages;
use lbd_integration::shape::Shape;

/// delay_loop 300: next to no check runs while the start is measured, with either daemon.
const SHAPE: Shape = Shape::unchecked(1000, 10_000).checked(Duration::from_secs(300));
/// lbd's time as a part of keepalived's, at most.
const OF_KEEPALIVED: f64 = 0.5;
/// lbd's time as a part of ipvsadm's, at most.
const OF_IPVSADM: f64 = 0.25;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-start: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
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
    let size = Size { shape: SHAPE, rounds, ipvsadm: true, limit: Duration::from_secs(120) };
    if here {
        bench::measure(size, |round| println!("{}", round.line()))?;
        return Ok(true);
    }
    packages::ensure(packages::ALL)?;
    let binaries = build::binaries(Profile::Release)?;
    let kernel = Kernel::pick(Need::Ipvs).map_err(anyhow::Error::msg)?;
    println!(
        "start to the last of {}, {rounds} rounds, {boots} boots, {}",
        SHAPE.words(),
        bench::place(&kernel)
    );
    let mut worst = (0.0_f64, 0.0_f64);
    for boot in 1..=boots {
        let rounds =
            bench::boot(&kernel, &binaries, &size, &["--here", "--rounds", &size.rounds.to_string()])?;
        let of_keepalived = median(rounds.iter().map(Round::of_keepalived)).context("no round")?;
        let of_ipvsadm = median(rounds.iter().filter_map(Round::of_ipvsadm)).context("no round")?;
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
        verdict(good)
    );
    Ok(good)
}
