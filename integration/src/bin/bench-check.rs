//! `cargo bench-check [--rounds N]`: the config test of 5,000 x 10 servers, `lbd -t` beside Debian's
//! `keepalived -t`, and of ten times as many by lbd alone. Exit status 1 when a goal is missed.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lbd_integration::build::{self, Profile};
use lbd_integration::figures::median;
use lbd_integration::packages;
use nix::sys::resource::{UsageWho, getrusage};

const SERVICES: usize = 5000;
const REAL_SERVERS: usize = 10;
/// lbd's wall time as a part of keepalived's, at most.
const TIME: f64 = 0.6;
/// lbd's memory as a part of keepalived's, at most.
const MEMORY: f64 = 1.5;
/// Wall time of ten times the input as a multiple, at most.
const TENFOLD: f64 = 11.0;

fn main() -> ExitCode {
    match bench() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench-check: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench() -> Result<bool> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match words.as_slice() {
        [] => 11,
        [flag, program, file] if flag == ONE => {
            println!("{}", one(program, file)?.line());
            return Ok(true);
        }
        [flag, number] if flag == "--rounds" => number.parse().context("--rounds needs a number")?,
        _ => bail!("usage: cargo bench-check [--rounds N]"),
    };
    ensure!(rounds >= 5, "at least 5 rounds");
    packages::ensure(packages::ALL)?;
    let binaries = build::binaries(Profile::Release)?;
    let folder = tempfile::tempdir()?;
    let (small, large) = (folder.path().join("small.conf"), folder.path().join("large.conf"));
    write(&small, SERVICES)?;
    write(&large, SERVICES * 10)?;
    println!(
        "config test of {SERVICES} x {REAL_SERVERS} servers ({:.1} MB), {rounds} rounds",
        std::fs::metadata(&small)?.len() as f64 / 1e6
    );
    let lbd = binaries.lbd;
    let (mut times, mut memories, mut tenfold) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=rounds {
        // Who begins changes from round to round.
        let (ours, theirs) = if round % 2 == 0 {
            let ours = run(&lbd, &small)?;
            (ours, run(Path::new("keepalived"), &small)?)
        } else {
            let theirs = run(Path::new("keepalived"), &small)?;
            (run(&lbd, &small)?, theirs)
        };
        let more = run(&lbd, &large)?;
        println!(
            "round {round}: lbd {:.3} s {:.0} MiB, keepalived {:.3} s {:.0} MiB, lbd with ten times as much {:.3} s {:.0} MiB",
            ours.time.as_secs_f64(),
            ours.memory,
            theirs.time.as_secs_f64(),
            theirs.memory,
            more.time.as_secs_f64(),
            more.memory
        );
        times.push(ours.time.as_secs_f64() / theirs.time.as_secs_f64());
        memories.push(ours.memory / theirs.memory);
        tenfold.push(more.time.as_secs_f64() / ours.time.as_secs_f64());
    }
    let mut good = true;
    for (what, values, goal) in
        [("time", times, TIME), ("memory", memories, MEMORY), ("ten times as much", tenfold, TENFOLD)]
    {
        let median = median(values.into_iter()).context("no round")?;
        let met = median <= goal;
        good &= met;
        println!("{what}: median {median:.3}, goal {goal}: {}", if met { "met" } else { "missed" });
    }
    Ok(good)
}

/// Virtual servers of real servers with a TCP_CHECK each.
fn write(path: &Path, services: usize) -> Result<()> {
    let mut text = String::new();
    for service in 0..services {
        let (a, b, c) = (service / 62_500, service / 250 % 250, service % 250 + 1);
        writeln!(
            text,
            "virtual_server 10.{a}.{b}.{c} 80 {{\n    delay_loop 6\n    lb_algo wlc\n    lb_kind NAT\n    protocol TCP\n"
        )?;
        for real in 1..=REAL_SERVERS {
            writeln!(
                text,
                "    real_server 192.168.{}.{real} 80 {{\n        weight 1\n        TCP_CHECK {{\n        }}\n    }}",
                service % 250
            )?;
        }
        text.push_str("}\n\n");
    }
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

struct Run {
    time: Duration,
    /// Most that was in memory, MiB.
    memory: f64,
}

impl Run {
    /// As a line that [`parse`](Self::parse) reads.
    fn line(&self) -> String {
        format!("{} {}", self.time.as_micros(), self.memory)
    }

    fn parse(line: &str) -> Option<Self> {
        let (time, memory) = line.trim().split_once(' ')?;
        Some(Run { time: Duration::from_micros(time.parse().ok()?), memory: memory.parse().ok()? })
    }
}

/// Measures one run in a process of its own: the system counts memory over all children together.
fn run(program: &Path, file: &Path) -> Result<Run> {
    let output = Command::new(std::env::current_exe()?)
        .arg(ONE)
        .args([program, file])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "{} -t failed", program.display());
    Run::parse(&String::from_utf8_lossy(&output.stdout)).context("no figures")
}

/// What [`run`] starts.
fn one(program: &str, file: &str) -> Result<Run> {
    let began = Instant::now();
    let status = Command::new(program)
        .args(["-t", "-f", file])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .with_context(|| format!("starting {program}"))?;
    let time = began.elapsed();
    ensure!(status.success(), "{program} -t: {status}");
    let kilobytes = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    Ok(Run { time, memory: kilobytes as f64 / 1024.0 })
}

const ONE: &str = "--one";
