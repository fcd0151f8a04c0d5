//! Time from the start of a daemon to the last destination in the kernel, beside keepalived and `ipvsadm -R`.
//!
//! All three are measured in turn in the same boot of the same kernel, each with a namespace and a table of its own. What
//! counts is the ratio of one round: from boot to boot, times in user-mode-linux differ by up to 2.5.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::director::{Daemon, Director};
use crate::netns::Netns;
use crate::process::busy;
use crate::servers::Server;
use crate::wait;

/// How much is configured, and how often it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Virtual servers.
    pub services: usize,
    /// Real servers of each.
    pub real_servers: usize,
    /// Rounds; each measures lbd, keepalived and ipvsadm once.
    pub rounds: usize,
}

/// One round's times.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// lbd, start to last destination.
    pub lbd: Duration,
    /// keepalived, the same.
    pub keepalived: Duration,
    /// `ipvsadm -R`, start to end.
    pub ipvsadm: Duration,
}

impl Round {
    /// lbd's time as a part of keepalived's.
    pub fn of_keepalived(&self) -> f64 {
        self.lbd.as_secs_f64() / self.keepalived.as_secs_f64()
    }

    /// lbd's time as a part of ipvsadm's.
    pub fn of_ipvsadm(&self) -> f64 {
        self.lbd.as_secs_f64() / self.ipvsadm.as_secs_f64()
    }

    /// As a line that [`parse`](Self::parse) reads.
    pub fn line(&self) -> String {
        let [lbd, keepalived, ipvsadm] =
            [self.lbd, self.keepalived, self.ipvsadm].map(|time| time.as_micros());
        format!("ROUND {lbd} {keepalived} {ipvsadm}")
    }

    /// Reads a line of [`line`](Self::line); anything else is none.
    pub fn parse(line: &str) -> Option<Self> {
        let mut times =
            line.strip_prefix("ROUND ")?.split(' ').map(|word| word.parse().ok().map(Duration::from_micros));
        Some(Self { lbd: times.next()??, keepalived: times.next()??, ipvsadm: times.next()?? })
    }
}

/// The middle of the values; of an even number the higher of the two.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Measures in this kernel; `done` is told of each round. The order turns from round to round.
///
/// # Errors
/// When one of the three does not get its table in.
pub fn measure(size: Size, mut done: impl FnMut(&Round)) -> Result<()> {
    let config = config(size);
    for round in 0..size.rounds {
        let mut times = [Duration::ZERO; 3];
        for turn in 0..3 {
            let which = (turn + round) % 3;
            times[which] = match which {
                0 => daemon(Daemon::Lbd, &config, size).context("lbd")?,
                1 => daemon(Daemon::Keepalived, &config, size).context("keepalived")?,
                _ => ipvsadm(size).context("ipvsadm")?,
            };
        }
        let [lbd, keepalived, ipvsadm] = times;
        done(&Round { lbd, keepalived, ipvsadm });
    }
    Ok(())
}

fn service_address(service: usize) -> String {
    format!("10.100.{}.{}", service / 250, service % 250 + 1)
}

fn real_address(service: usize, real: usize) -> String {
    format!("10.8.{}.{}", service / 20, (service % 20) * 12 + real + 1)
}

/// delay_loop 300: next to no check runs while the start is measured, with either daemon.
fn config(size: Size) -> String {
    let mut text = String::new();
    for service in 0..size.services {
        let address = service_address(service);
        let _ = writeln!(
            text,
            "virtual_server {address} 80 {{\n  delay_loop 300\n  lb_algo rr\n  lb_kind DR\n  protocol TCP"
        );
        for real in 0..size.real_servers {
            let address = real_address(service, real);
            let _ = writeln!(
                text,
                "  real_server {address} 80 {{\n    weight 1\n    TCP_CHECK {{\n      connect_timeout 3\n    }}\n  }}"
            );
        }
        text.push_str("}\n");
    }
    text
}

fn daemon(daemon: Daemon, config: &str, size: Size) -> Result<Duration> {
    let ns = Netns::new("bench")?;
    // Every real server's address is local, and answers.
    ns.ip("route add local 10.8.0.0/16 dev lo")?;
    let _server = Server::start(&ns, "all", "0.0.0.0:80")?;
    let mut director = Director::new(daemon, "bench", &ns, config)?.quiet();
    let start = Instant::now();
    director.start()?;
    let took = complete(&ns, &director, size, start)?;
    director.stop()?;
    Ok(took)
}

fn ipvsadm(size: Size) -> Result<Duration> {
    let ns = Netns::new("bench")?;
    let mut rules = String::new();
    for service in 0..size.services {
        let vip = service_address(service);
        let _ = writeln!(rules, "-A -t {vip}:80 -s rr");
        for real in 0..size.real_servers {
            let _ = writeln!(rules, "-a -t {vip}:80 -r {}:80 -g -w 1", real_address(service, real));
        }
    }
    let start = Instant::now();
    let mut child = ns
        .run(|| Command::new("ipvsadm").arg("-R").stdin(Stdio::piped()).spawn())?
        .context("ipvsadm (Debian package ipvsadm)")?;
    child.stdin.take().context("stdin")?.write_all(rules.as_bytes())?;
    let status = child.wait()?;
    let took = start.elapsed();
    ensure!(status.success(), "ipvsadm -R: {status}");
    ensure!(count(&ns)? == (size.services, size.services * size.real_servers), "the table is not complete");
    Ok(took)
}

/// Waits until the table is complete; the time is that of the look which found it so.
///
/// A look at a big table costs time that the daemon then lacks (there may be one processor): it is made only when no thread
/// of the daemon runs or wants to, or when a tenth more time has passed.
fn complete(ns: &Netns, director: &Director<'_>, size: Size, start: Instant) -> Result<Duration> {
    let want = (size.services, size.services * size.real_servers);
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
        if at > Duration::from_secs(120) {
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
        let round = Round {
            lbd: Duration::from_millis(150),
            keepalived: Duration::from_millis(600),
            ipvsadm: Duration::from_secs(1),
        };
        let back = Round::parse(&round.line()).expect("its own line");
        assert_eq!((back.of_keepalived(), back.of_ipvsadm()), (0.25, 0.15));
        assert!(Round::parse("--- start").is_none());
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([3.0, 1.0].into_iter()), Some(3.0));
        assert_eq!(median([].into_iter()), None);
    }

    #[test]
    fn addresses_are_different() {
        let mut all = std::collections::BTreeSet::new();
        for service in 0..1000 {
            assert!(all.insert(service_address(service)));
            for real in 0..10 {
                assert!(all.insert(real_address(service, real)));
            }
        }
    }
}
