//! Time from the start of a daemon to the last destination in the kernel, beside keepalived and `ipvsadm -R`.
//!
//! All three are measured in turn in the same boot of the same kernel, each with a namespace and a table of its own. What
//! counts is the ratio of one round: from boot to boot, times in user-mode-linux differ by up to 2.5.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::Signal;

use crate::build::Binaries;
use crate::checks::responder::{NETWORK, PORT};
use crate::director::{Daemon, Director};
use crate::kernel::Kernel;
use crate::netns::Netns;
use crate::process::busy;
use crate::servers::Server;
use crate::shape::Shape;
use crate::wait;

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// What is configured.
    pub shape: Shape,
    /// Rounds; each measures lbd, keepalived and ipvsadm once.
    pub rounds: usize,
    /// Whether `ipvsadm -R` is measured too.
    pub ipvsadm: bool,
    /// Time of one round, at most.
    pub limit: Duration,
}

/// One round's times.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// lbd, start to last destination.
    pub lbd: Duration,
    /// keepalived, the same.
    pub keepalived: Duration,
    /// `ipvsadm -R`, start to end, if it was measured.
    pub ipvsadm: Option<Duration>,
}

impl Round {
    /// lbd's time as a part of keepalived's.
    pub fn of_keepalived(&self) -> f64 {
        self.lbd.as_secs_f64() / self.keepalived.as_secs_f64()
    }

    /// lbd's time as a part of ipvsadm's.
    pub fn of_ipvsadm(&self) -> Option<f64> {
        Some(self.lbd.as_secs_f64() / self.ipvsadm?.as_secs_f64())
    }

    /// As a line that [`parse`](Self::parse) reads.
    pub fn line(&self) -> String {
        let mut line = format!("ROUND {} {}", self.lbd.as_micros(), self.keepalived.as_micros());
        if let Some(ipvsadm) = self.ipvsadm {
            line += &format!(" {}", ipvsadm.as_micros());
        }
        line
    }

    /// Reads a line of [`line`](Self::line); anything else is none.
    pub fn parse(line: &str) -> Option<Self> {
        let mut times =
            line.strip_prefix("ROUND ")?.split(' ').map(|word| word.parse().ok().map(Duration::from_micros));
        let (lbd, keepalived) = (times.next()??, times.next()??);
        let ipvsadm = match times.next() {
            Some(time) => Some(time?),
            None => None,
        };
        Some(Self { lbd, keepalived, ipvsadm })
    }

    /// For people.
    pub fn words(&self) -> String {
        let mut words = format!("lbd {:>8.1?}  keepalived {:>8.1?}", self.lbd, self.keepalived);
        if let Some(ipvsadm) = self.ipvsadm {
            words += &format!("  ipvsadm {ipvsadm:>8.1?}");
        }
        words
    }
}

/// Where it is measured, for people.
pub fn place(kernel: &Kernel) -> &'static str {
    match kernel {
        Kernel::Host => "the host's kernel",
        Kernel::Uml(_) => "user-mode-linux",
    }
}

/// One boot's rounds: this program with the arguments `here`, which [`measure`]s the same and prints the lines of its
/// rounds. On the host's own kernel a process takes the place of a boot.
///
/// # Errors
/// When a round is missing.
pub fn boot(kernel: &Kernel, binaries: &Binaries, size: &Size, here: &[&str]) -> Result<Vec<Round>> {
    let bench = std::env::current_exe()?;
    let env = [("LBD_BED_LBD", binaries.lbd.as_os_str()), ("LBD_BED_LBCTL", binaries.lbctl.as_os_str())];
    let (good, output) = match kernel {
        Kernel::Host => {
            let output = Command::new(&bench).args(here).envs(env).output()?;
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Kernel::Uml(uml) => {
            let command: Vec<&OsStr> =
                std::iter::once(bench.as_os_str()).chain(here.iter().map(OsStr::new)).collect();
            let limit = Duration::from_secs(60) + size.limit * u32::try_from(size.rounds)?;
            let outcome = uml.run(&command, &env, 0, limit)?;
            (outcome.status == Some(0), outcome.output)
        }
    };
    ensure!(good, "the measurement failed: {output}");
    let rounds: Vec<Round> = output.lines().filter_map(Round::parse).collect();
    for round in &rounds {
        println!("  {}", round.words());
    }
    ensure!(rounds.len() == size.rounds, "{} rounds of {}: {output}", rounds.len(), size.rounds);
    Ok(rounds)
}

/// Measures in this kernel; `done` is told of each round. The order turns from round to round.
///
/// # Errors
/// When one of the three does not get its table in.
pub fn measure(size: Size, mut done: impl FnMut(&Round)) -> Result<()> {
    let config = size.shape.config(None);
    let turns = if size.ipvsadm { 3 } else { 2 };
    for round in 0..size.rounds {
        let (mut lbd, mut keepalived, mut admin) = (Duration::ZERO, Duration::ZERO, None);
        for turn in 0..turns {
            match (turn + round) % turns {
                0 => lbd = daemon(Daemon::Lbd, &config, &size).context("lbd")?,
                1 => keepalived = daemon(Daemon::Keepalived, &config, &size).context("keepalived")?,
                _ => admin = Some(ipvsadm(&size.shape).context("ipvsadm")?),
            }
        }
        done(&Round { lbd, keepalived, ipvsadm: admin });
    }
    Ok(())
}

fn daemon(daemon: Daemon, config: &str, size: &Size) -> Result<Duration> {
    let ns = Netns::new("bench")?;
    // Every real server's address is local, and answers.
    ns.ip(&format!("route add local {NETWORK} dev lo"))?;
    let _server = Server::start(&ns, "all", &format!("0.0.0.0:{PORT}"))?;
    let mut director = Director::new(daemon, "bench", &ns, config)?.quiet();
    let start = Instant::now();
    director.start()?;
    let took = complete(&ns, &director, size, start)?;
    // keepalived takes one real server out after the other.
    director.signal(Signal::SIGTERM)?;
    director.ended(size.limit)?;
    Ok(took)
}

fn ipvsadm(shape: &Shape) -> Result<Duration> {
    let ns = Netns::new("bench")?;
    let rules = shape.rules();
    let start = Instant::now();
    let mut child = ns
        .run(|| Command::new("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn())?
        .context("ipvsadm (Debian package ipvsadm)")?;
    child.stdin.take().context("stdin")?.write_all(rules.as_bytes())?;
    let status = child.wait()?;
    let took = start.elapsed();
    ensure!(status.success(), "ipvsadm -R: {status}");
    ensure!(count(&ns)? == (shape.services, shape.real_servers), "the table is not complete");
    Ok(took)
}

/// Waits until the table is complete; the time is that of the look which found it so.
///
/// A look at a big table costs time that the daemon then lacks (there may be one processor): it is made only when no thread
/// of the daemon runs or wants to, or when a tenth more time has passed.
fn complete(ns: &Netns, director: &Director<'_>, size: &Size, start: Instant) -> Result<Duration> {
    let want = (size.shape.services, size.shape.real_servers);
    let pid = director.pid()?;
    let mut looked = Duration::from_millis(50);
    loop {
        wait::pause(Duration::from_millis(2));
        let at = start.elapsed();
        if busy(pid) && at < looked * 11 / 10 {
            continue;
        }
        let have = count(ns)?;
        if have == want {
            return Ok(at);
        }
        if at > size.limit {
            bail!("after {at:?} the table has {have:?} (services, destinations), want {want:?}");
        }
        looked = at;
    }
}

/// Services and destinations, by their lines.
fn count(ns: &Netns) -> Result<(usize, usize)> {
    let text = ns.proc_net("ip_vs").map_err(|error| anyhow!("no IPVS here: {error:#}"))?;
    let mut counts = (0, 0);
    for line in text.lines().skip(3) {
        if line.starts_with("  ->") {
            counts.1 += 1;
        } else {
            counts.0 += 1;
        }
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_handed_over_as_lines() {
        let mut round = Round {
            lbd: Duration::from_millis(150),
            keepalived: Duration::from_millis(600),
            ipvsadm: Some(Duration::from_secs(1)),
        };
        let back = Round::parse(&round.line()).expect("its own line");
        assert_eq!((back.of_keepalived(), back.of_ipvsadm()), (0.25, Some(0.15)));
        round.ipvsadm = None;
        let back = Round::parse(&round.line()).expect("its own line");
        assert_eq!((back.of_keepalived(), back.of_ipvsadm()), (0.25, None));
        for line in ["--- start", "ROUND 1", "ROUND 1 x", "ROUND 1 2 x"] {
            assert!(Round::parse(line).is_none(), "{line}");
        }
    }
}
