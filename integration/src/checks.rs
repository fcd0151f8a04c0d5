//! What checking costs: a daemon that checks very many real servers, natively, beside keepalived.
//!
//! No IPVS in the kernel is needed: a library that is loaded before the daemon stands in for it. One process answers for
//! all real servers ([`responder`]), in the daemon's network namespace but with a CPU account of its own; it is also what
//! counts the checks and sees how late they are, so that no daemon reports about itself.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};

use crate::director::Daemon;
use crate::fakeipvs::{StandIn, TABLE};
use crate::netns::Netns;
use crate::process::{self, pid_of};
use crate::wait;

pub mod responder;
pub mod usage;

use responder::{Responder, Seen};
use usage::Memory;

/// Descriptors that a daemon may have open.
const DESCRIPTORS: u64 = 262_144;
/// Real servers of one virtual server.
const POOL: usize = 50;
/// Time for a daemon to end; keepalived takes long to take tens of thousands of real servers out.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What kind of check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP_CHECK
    Tcp,
    /// HTTP_GET of one url with a status code.
    Http,
}

impl Kind {
    /// The configuration's keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            Kind::Tcp => "TCP_CHECK",
            Kind::Http => "HTTP_GET",
        }
    }
}

/// What is asked of a daemon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// What kind of check.
    pub kind: Kind,
    /// Real servers, each with one checker.
    pub servers: usize,
    /// delay_loop.
    pub period: Duration,
}

impl Load {
    /// Checks per second that are asked.
    pub fn rate(&self) -> f64 {
        self.servers as f64 / self.period.as_secs_f64()
    }

    /// The configuration, the same for both daemons.
    pub fn config(&self) -> String {
        let mut text = String::new();
        let check = match self.kind {
            Kind::Tcp => "TCP_CHECK {\n      connect_timeout 3\n    }",
            Kind::Http => {
                "HTTP_GET {\n      url {\n        path /health\n        status_code 200\n      }\n      connect_timeout 3\n    }"
            }
        };
        for (service, first) in (0..self.servers).step_by(POOL).enumerate() {
            let _ = writeln!(
                text,
                "virtual_server 10.100.{}.{} 80 {{\n  delay_loop {:.6}\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP",
                service / 250,
                service % 250 + 1,
                self.period.as_secs_f64()
            );
            for server in first..(first + POOL).min(self.servers) {
                let _ = writeln!(
                    text,
                    "  real_server {} {} {{\n    weight 1\n    {check}\n  }}",
                    responder::address(server),
                    responder::PORT
                );
            }
            text.push_str("}\n");
        }
        text
    }
}

/// The programs that are measured, and what they need.
#[derive(Debug)]
pub struct Bench {
    lbd: PathBuf,
    stand_in: StandIn,
}

impl Bench {
    /// Builds the stand-in for IPVS; `None` when its source is not there.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn new(lbd: PathBuf) -> Result<Option<Self>> {
        let Some(stand_in) = StandIn::build()? else { return Ok(None) };
        raise_descriptors()?;
        Ok(Some(Self { lbd, stand_in }))
    }

    /// Starts a daemon with this load and waits until every real server was checked.
    ///
    /// # Errors
    /// When it does not come so far in time.
    pub fn start(&self, daemon: Daemon, load: Load) -> Result<Running> {
        let ns = network()?;
        let responder = Responder::start(&ns, load.kind, load.servers)?;
        let dir = tempfile::Builder::new().prefix("run-").tempdir_in(self.stand_in.dir())?;
        let path = |name: &str| dir.path().join(name);
        fs::write(path("lbd.conf"), load.config())?;
        let mut command = match daemon {
            Daemon::Lbd => {
                let mut command = Command::new(&self.lbd);
                command
                    .arg("-l")
                    .arg("--control-socket")
                    .arg(path("control.sock"))
                    .arg("--state-file")
                    .arg(path("state"));
                command
            }
            Daemon::Keepalived => {
                let mut command = Command::new("keepalived");
                // It writes lines for each real server at its start, so slowly that checking waits for them: to nowhere.
                command.arg("-G").arg("-c").arg(path("checkers.pid")).arg("-r").arg(path("vrrp.pid"));
                command
            }
        };
        let log = fs::File::create(path("log"))?;
        command
            .args(["-n", "-f"])
            .arg(path("lbd.conf"))
            .arg("-p")
            .arg(path("daemon.pid"))
            .envs(self.stand_in.env(dir.path()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = ns.run(|| command.spawn())?.with_context(|| format!("starting {}", daemon.word()))?;
        let mut running = Running { child, responder, load, daemon, dir, _ns: ns };
        running.settle()?;
        Ok(running)
    }
}

/// As many descriptors as very many checks at one time need, for this process and all that it starts; without the right to
/// raise the limit, what there is must do.
///
/// # Errors
/// When there is no limit to read.
pub fn raise_descriptors() -> Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let _refused = setrlimit(Resource::RLIMIT_NOFILE, DESCRIPTORS, hard.max(DESCRIPTORS))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    Ok(())
}

/// A namespace in which every real server's address is local and very many connections can be made.
///
/// # Errors
/// Without the rights of root.
pub fn network() -> Result<Netns> {
    let ns = Netns::new("checks")?;
    ns.ip(&format!("route add local {} dev lo", responder::NETWORK))?;
    ns.sysctl(&[
        ("core/somaxconn", "65535"),
        ("ipv4/tcp_max_syn_backlog", "65535"),
        ("ipv4/tcp_syncookies", "0"),
        // Connections that are over are forgotten at once from here on: they are no part of what is measured.
        ("ipv4/tcp_max_tw_buckets", "4096"),
        ("ipv4/ip_local_port_range", "2000 65000"),
    ])?;
    Ok(ns)
}

/// A daemon that checks.
#[derive(Debug)]
pub struct Running {
    // Before the namespace, whose end ends everything in it.
    child: Child,
    responder: Responder,
    load: Load,
    daemon: Daemon,
    dir: tempfile::TempDir,
    _ns: Netns,
}

/// What was seen in one stretch of time.
#[derive(Clone, Copy, Debug)]
pub struct Stretch {
    /// How long it was.
    pub time: Duration,
    /// What the responder saw.
    pub seen: Seen,
    /// CPU time of all the daemon's processes.
    pub cpu: Duration,
    /// CPU time of the responder.
    pub responder: Duration,
    /// Checks that were asked in this time.
    pub asked: f64,
}

/// Part of the asked checks that must be done.
const DONE: f64 = 0.99;
/// Lateness of the 99th percentile, at most.
const LATE: Duration = Duration::from_millis(100);

impl Stretch {
    /// CPU time of the daemon per check, in microseconds.
    pub fn cpu_per_check(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.seen.done.max(1) as f64
    }

    /// At least 99 % of the asked checks were done, 99 % of them less than 100 ms late.
    pub fn is_sustained(&self) -> bool {
        self.seen.done as f64 >= DONE * self.asked && self.seen.p99 < LATE
    }

    /// In words, for one line.
    pub fn words(&self) -> String {
        format!(
            "{:.0} checks/s of {:.0} asked, late p50 {:.1} ms p99 {:.1} ms, CPU {:.0} % ({:.1} µs a check), responder {:.0} %",
            self.seen.done as f64 / self.time.as_secs_f64(),
            self.asked / self.time.as_secs_f64(),
            self.seen.p50.as_secs_f64() * 1e3,
            self.seen.p99.as_secs_f64() * 1e3,
            100.0 * self.cpu.as_secs_f64() / self.time.as_secs_f64(),
            self.cpu_per_check(),
            100.0 * self.responder.as_secs_f64() / self.time.as_secs_f64(),
        )
    }
}

impl Running {
    /// Waits until every real server was checked once: then the first checks, which come in a rush, are over.
    fn settle(&mut self) -> Result<()> {
        let limit = Duration::from_secs(60) + self.load.period * 4;
        let began = Instant::now();
        loop {
            let seen = self.responder.seen()?;
            if seen.servers >= self.load.servers {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended: {status}\n{}", self.daemon.word(), self.log());
            }
            if began.elapsed() > limit {
                bail!(
                    "{} checked {} of {} real servers in {limit:?}\n{}",
                    self.daemon.word(),
                    seen.servers,
                    self.load.servers,
                    self.log()
                );
            }
            wait::pause(Duration::from_millis(100));
        }
    }

    /// Watches for this long.
    ///
    /// # Errors
    /// When the daemon or the responder has ended.
    pub fn watch(&mut self, time: Duration) -> Result<Stretch> {
        let pid = pid_of(&self.child);
        let cpu = usage::cpu(pid)?;
        let responder = usage::cpu(self.responder.pid())?;
        self.responder.count(self.load.period)?;
        let began = Instant::now();
        wait::pause(time);
        let seen = self.responder.seen()?;
        let time = began.elapsed();
        Ok(Stretch {
            time,
            seen,
            cpu: usage::cpu(pid)?.saturating_sub(cpu),
            responder: usage::cpu(self.responder.pid())?.saturating_sub(responder),
            asked: self.load.rate() * time.as_secs_f64(),
        })
    }

    /// What all its processes hold in memory now, without the stand-in's table.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> Result<Memory> {
        usage::memory(pid_of(&self.child), TABLE)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn stop(mut self) -> Result<()> {
        // Its table is a file that nobody reads: no time is spent on an orderly end of tens of thousands of real servers.
        process::crash(pid_of(&self.child));
        process::within(&mut self.child, END_LIMIT)?;
        Ok(())
    }

    fn log(&self) -> String {
        let text = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        process::crash(pid_of(&self.child));
        let _ = self.child.wait();
        let _ = kill(self.responder.pid(), Signal::SIGKILL);
    }
}

/// The program that is run in place of the benchmark when its first argument is [`responder::WORD`].
///
/// # Errors
/// When its arguments are wrong or its port is taken.
pub fn respond(words: &[String]) -> Result<()> {
    responder::main(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_as_configuration() {
        let load = Load { kind: Kind::Tcp, servers: 120, period: Duration::from_millis(250) };
        let text = load.config();
        assert_eq!(text.matches("virtual_server").count(), 3);
        assert_eq!(text.matches("real_server 10.").count(), 120);
        assert_eq!(text.matches("TCP_CHECK").count(), 120);
        assert!(text.contains("delay_loop 0.250000\n"), "{text}");
        assert_eq!(load.rate(), 480.0);
        let other = Load { kind: Kind::Http, servers: 1, period: Duration::from_secs(5) }.config();
        assert!(other.contains("HTTP_GET") && other.contains("real_server 10.8.0.1 8000"), "{other}");
    }

    #[test]
    fn sustained_is_most_of_the_asked_and_not_late() {
        let stretch = |done, p99| Stretch {
            time: Duration::from_secs(10),
            seen: Seen {
                servers: 10,
                done,
                p50: Duration::ZERO,
                p99: Duration::from_millis(p99),
                most: Duration::from_secs(1),
            },
            cpu: Duration::from_millis(20),
            responder: Duration::ZERO,
            asked: 1000.0,
        };
        for (name, done, p99, want) in [
            ("all", 1000, 10, true),
            ("just enough", 990, 99, true),
            ("too few", 989, 10, false),
            ("too late", 1000, 100, false),
        ] {
            assert_eq!(stretch(done, p99).is_sustained(), want, "{name}");
        }
        assert_eq!(stretch(1000, 0).cpu_per_check(), 20.0);
    }
}
