//! Two directors with virtual routers of ten milliseconds each: what an advertisement costs, how late it is, whether the
//! Backup takes over without need while the processors are busy.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;
use serde_json::Value;

use super::capture::{Capture, Seen};
use super::frame::Frame;
use super::{milliseconds, vip};
use crate::build::Binaries;
use crate::checks::usage;
use crate::director::{Daemon, Director};
use crate::figures::{median, most, percentile};
use crate::netns::Netns;
use crate::process::{self, pid_of};
use crate::topology::{Lab, host};
use crate::wait;

/// Time between two advertisements of one of them.
const INTERVAL: Duration = Duration::from_millis(10);
const MASTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const BACKUP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// The second round of gratuitous ARP is over, and what else comes after a start.
const SETTLE: Duration = Duration::from_secs(3);
const LIMIT: Duration = Duration::from_secs(30);

/// What both daemons are given.
#[derive(Clone, Debug)]
pub struct Bed {
    /// lbd's programs.
    pub binaries: Binaries,
    /// `vrrp_rt_priority`.
    pub real_time: Option<u8>,
    /// Virtual routers of a pair, with VRIDs from 1.
    pub routers: u8,
}

/// CPU time of an advertisement, in microseconds: all of a daemon's, and what the kernel does in its name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// The Master's for one that it sends.
    pub sent: f64,
    /// The Backup's for one that it receives.
    pub received: f64,
    /// Advertisements a second that the Master sent.
    pub rate: f64,
}

/// How punctual a stretch was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Punctuality {
    /// Advertisements of the Master.
    pub adverts: usize,
    /// How much longer than ten milliseconds ago the one before was, in milliseconds: middle.
    pub p50: f64,
    /// The same, of which one in a hundred is worse.
    pub p99: f64,
    /// The worst.
    pub most: f64,
    /// Times that the Backup took over a virtual router.
    pub takeovers: usize,
    /// Since its start, by its own timers, as the Master itself tells it (lbd): middle, one in a hundred, worst.
    pub told: Option<[f64; 3]>,
}

/// Two directors that run.
pub struct Pair<'lab> {
    daemon: Daemon,
    routers: u8,
    /// One was Master of all and the other of none before anything was measured.
    pub settled: bool,
    lab: &'lab Lab,
    master: Director<'lab>,
    backup: Director<'lab>,
}

/// The hosts of a pair.
///
/// # Errors
/// Without root.
pub fn lab() -> Result<Lab> {
    Lab::new(&[host("a", &format!("{MASTER}/16")), host("b", &format!("{BACKUP}/16"))])
}

impl Bed {
    /// Starts both directors and waits until one is Master of all, the other of none. A keepalived for which that is too
    /// much is measured as it is.
    ///
    /// # Errors
    /// When that does not come to be with lbd within 30 s.
    pub fn start<'lab>(&self, daemon: Daemon, lab: &'lab Lab) -> Result<Pair<'lab>> {
        let director = |name: &'lab str, priority: u8| -> Result<Director<'lab>> {
            let config = self.config(priority)?;
            Ok(Director::of(daemon, Some(self.binaries.clone()), name, lab.host(name), &config)?.quiet())
        };
        let (master, backup) = (director("a", 200)?, director("b", 100)?);
        let mut pair = Pair { daemon, routers: self.routers, settled: false, lab, master, backup };
        pair.master.start()?;
        pair.backup.start()?;
        pair.settled = match pair.settle() {
            Ok(()) => true,
            Err(error) if daemon == Daemon::Keepalived => {
                println!("  {error:#}");
                false
            }
            Err(error) => {
                return Err(error.context(format!("{}\n{}", pair.master.log(), pair.backup.log())));
            }
        };
        Ok(pair)
    }

    fn config(&self, priority: u8) -> Result<String> {
        let mut text = String::from("global_defs {\n  router_id bench\n  vrrp_garp_master_delay 1\n");
        if let Some(priority) = self.real_time {
            // keepalived is killed when it has worked for 10 ms without a wait, as it does at the start.
            writeln!(text, "  vrrp_rt_priority {priority}\n  vrrp_rlimit_rttime 1000000")?;
        }
        text.push_str("}\n");
        for vrid in 1..=self.routers {
            writeln!(
                text,
                "vrrp_instance V{vrid} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {vrid}\n  priority {priority}\n  \
                 version 3\n  advert_int 0.01\n  virtual_ipaddress {{\n    {}/32 dev eth0\n  }}\n}}",
                vip(usize::from(vrid))
            )?;
        }
        Ok(text)
    }
}

impl Pair<'_> {
    /// Waits until the Backup has been quiet for [`SETTLE`] while the Master sends.
    fn settle(&self) -> Result<()> {
        let (a, b) = (self.lab.host("a"), self.lab.host("b"));
        let start = Instant::now();
        loop {
            let (before, other) = (counters(a)?, counters(b)?);
            wait::pause(SETTLE);
            let sent = counters(a)?.sent - before.sent;
            let answered = counters(b)?.sent - other.sent;
            let wanted = f64::from(self.routers) * SETTLE.as_secs_f64() / INTERVAL.as_secs_f64();
            if sent as f64 > 0.8 * wanted && answered < 10 {
                return Ok(());
            }
            ensure!(
                start.elapsed() < LIMIT,
                "{} does not settle: in {SETTLE:?} the Master sent {sent} of {wanted} packets, the Backup {answered}",
                self.daemon.word()
            );
        }
    }

    /// Measures CPU time for a while, without a capture beside it. The packets of a link whose hosts have nothing else to say
    /// are the advertisements.
    ///
    /// # Errors
    /// When a director has ended.
    pub fn cost(&self, time: Duration) -> Result<Cost> {
        let look = || -> Result<_> {
            Ok((
                (cpu(self.master.pid()?)?, counters(self.lab.host("a"))?.sent),
                (cpu(self.backup.pid()?)?, counters(self.lab.host("b"))?.received),
            ))
        };
        let (start, before) = (Instant::now(), look()?);
        wait::pause(time);
        let (time, after) = (start.elapsed(), look()?);
        let each = |before: (Duration, u64), after: (Duration, u64)| {
            (after.0 - before.0).as_secs_f64() * 1e6 / (after.1 - before.1).max(1) as f64
        };
        Ok(Cost {
            sent: each(before.0, after.0),
            received: each(before.1, after.1),
            rate: (after.0.1 - before.0.1) as f64 / time.as_secs_f64(),
        })
    }

    /// Watches the link for a while.
    ///
    /// # Errors
    /// When the capture could not keep up, or a director has ended.
    pub fn punctuality(&self, time: Duration) -> Result<Punctuality> {
        let capture = Capture::start(self.lab.host("a"), Duration::from_millis(5))?;
        wait::pause(time);
        let seen = capture.take()?;
        drop(capture);
        let told = match self.daemon {
            Daemon::Lbd => told(&self.master.peek()?),
            Daemon::Keepalived => None,
        };
        let mut result = read(&seen);
        result.told = told;
        Ok(result)
    }
}

/// Lateness of adverts as a director's status tells it: middle, one in a hundred, worst, in milliseconds.
pub fn told(status: &Value) -> Option<[f64; 3]> {
    let lateness = status.pointer("/vrrp/advert_lateness")?;
    let of = |name| lateness.get(name)?.as_f64();
    Some([of("p50_ms")?, of("p99_ms")?, of("max_ms")?])
}

/// Lateness and take-overs of what the link saw.
fn read(seen: &[Seen]) -> Punctuality {
    let mut last: BTreeMap<u8, (Ipv4Addr, Duration)> = BTreeMap::new();
    let mut late = Vec::new();
    let mut takeovers = 0;
    for one in seen {
        let Frame::Advert { source, vrid, .. } = one.frame else { continue };
        let before = last.insert(vrid, (source, one.at));
        if source == MASTER {
            if let Some((MASTER, at)) = before {
                late.push(milliseconds(at + INTERVAL, one.at).max(0.0));
            }
        } else if before.is_none_or(|(from, _)| from == MASTER) {
            takeovers += 1;
        }
    }
    let values = || late.iter().copied();
    Punctuality {
        adverts: late.len(),
        p50: median(values()).unwrap_or_default(),
        p99: percentile(values(), 99).unwrap_or_default(),
        most: most(values()).unwrap_or_default(),
        takeovers,
        told: None,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counters {
    received: u64,
    sent: u64,
}

/// Packets of eth0.
fn counters(ns: &Netns) -> Result<Counters> {
    packets(&ns.proc_net("dev")?).context("/proc/net/dev has no eth0")
}

/// Fields 2 and 10 behind the colon (the kernel's `dev_seq_printf_stats`).
fn packets(text: &str) -> Option<Counters> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix("eth0:"))?;
    let field = |at| line.split_whitespace().nth(at)?.parse().ok();
    Some(Counters { received: field(1)?, sent: field(9)? })
}

fn cpu(pid: Pid) -> Result<Duration> {
    process::tree(pid).into_iter().map(usage::exact_cpu).sum()
}

/// Keeps all processors busy until it is dropped.
#[derive(Debug)]
pub struct Stress {
    child: Child,
}

impl Stress {
    /// Starts `stress-ng`, one worker for each processor.
    ///
    /// # Errors
    /// When it is not there.
    pub fn start() -> Result<Self> {
        let workers = available_parallelism()?.to_string();
        let child = Command::new("stress-ng")
            .args(["--quiet", "--cpu", &workers])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("stress-ng (Debian package stress-ng)")?;
        Ok(Self { child })
    }
}

impl Drop for Stress {
    fn drop(&mut self) {
        process::crash(pid_of(&self.child));
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_and_take_overs() {
        let advert = |us, source, vrid| Seen {
            at: Duration::from_micros(us),
            frame: Frame::Advert { source, vrid, priority: 100 },
        };
        let seen = [
            advert(0, MASTER, 1),
            advert(1_000, MASTER, 2),
            advert(10_500, MASTER, 1),
            advert(10_000, MASTER, 2),
            advert(50_000, BACKUP, 1),
            advert(60_000, BACKUP, 1),
            // Back: a gap that nobody was late for.
            advert(61_000, MASTER, 1),
            advert(71_000, MASTER, 1),
        ];
        let got = read(&seen);
        assert_eq!((got.adverts, got.takeovers), (3, 1));
        assert!((got.most - 0.5).abs() < 1e-6, "{got:?}");
        assert_eq!(got.p50, 0.0, "the early one is not late: {got:?}");
    }

    #[test]
    fn packets_of_an_interface() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 2 3\n  eth0: 100 7 0 0 0 0 0 0 900 8 0 0\n";
        assert_eq!(packets(text), Some(Counters { received: 7, sent: 8 }));
        assert_eq!(packets("lo: 1"), None);
    }

    #[test]
    fn lateness_as_the_status_tells_it() {
        let status = serde_json::json!({
            "vrrp": { "advert_lateness": { "count": 3, "max_ms": 2.5, "p50_ms": 0.064, "p99_ms": 1, "buckets": [] } }
        });
        assert_eq!(told(&status), Some([0.064, 1.0, 2.5]));
        assert_eq!(told(&serde_json::json!({})), None);
    }

    #[test]
    fn configuration() {
        let binaries = Binaries { lbd: "lbd".into(), lbctl: "lbctl".into() };
        let bed = Bed { binaries, real_time: Some(50), routers: 250 };
        let text = bed.config(200).expect("text");
        assert_eq!(text.matches("advert_int 0.01").count(), 250);
        assert!(text.contains("vrrp_rt_priority 50") && text.contains("virtual_router_id 250"));
    }
}
