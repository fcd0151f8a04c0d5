//! What a large table costs: reloads, status, memory, the table's audit and verdicts, natively, on the stand-in for the
//! kernel's IPVS ([`crate::fakeipvs`]), whose log tells each write and its time.
//!
//! Here: a daemon on the stand-in. In the files of this folder: what is measured. Not here: how long a start takes in a
//! kernel ([`crate::bench`]), what checking costs ([`crate::checks`]).

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Pid;

use crate::build::Binaries;
use crate::checks::responder::Responder;
use crate::checks::{self, Kind, usage};
use crate::director::{Daemon, Director};
use crate::fakeipvs::{self, Entry, Log, Request, StandIn};
use crate::netns::Netns;
use crate::process::busy;
use crate::shape::Shape;
use crate::wait;

pub mod audit;
pub mod memory;
pub mod reload;
pub mod status;
pub mod verdict;

/// The largest table that is known of.
pub const LARGE: Shape = Shape::unchecked(2284, 37_298);
/// The same with checks, beside which some figures are shown. No goal is set for them.
pub const LARGE_CHECKED: Shape = LARGE.checked(Duration::from_secs(60));

/// Time for the first table to be written; keepalived takes long with very many checkers.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Time for a reload; keepalived takes long with very many checkers.
const RELOAD_LIMIT: Duration = Duration::from_secs(120);
/// A log without a new line for so long is complete.
const STILL: Duration = Duration::from_millis(300);
/// Checks per second beside which a daemon is seen at rest now and then.
const CALM: f64 = 100.0;
/// Time after which a daemon that still works is taken as it is.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// What daemons are started with.
#[derive(Debug)]
pub struct Bed {
    stand_in: StandIn,
    binaries: Binaries,
}

impl Bed {
    /// Builds the stand-in; `None` when its source is not there.
    ///
    /// # Errors
    /// When it does not compile.
    pub fn new(binaries: Binaries) -> Result<Option<Self>> {
        let Some(stand_in) = StandIn::build()? else { return Ok(None) };
        checks::raise_descriptors()?;
        Ok(Some(Self { stand_in, binaries }))
    }

    /// Starts a daemon and waits until its table is complete and it has nothing more to do.
    ///
    /// # Errors
    /// When its table does not become complete.
    pub fn start<'bed>(
        &'bed self,
        daemon: Daemon,
        ns: &'bed Netns,
        shape: &Shape,
        config: &str,
    ) -> Result<Native<'bed>> {
        let mut director = Director::of(daemon, Some(self.binaries.clone()), "large", ns, config)?.quiet();
        let folder = director.path("");
        for (name, value) in self.stand_in.env_with_log(&folder) {
            director = director.env(name, value);
        }
        director.start()?;
        let restless =
            shape.checked.is_some_and(|period| shape.real_servers as f64 > period.as_secs_f64() * CALM);
        let mut native = Native { director, log: Log::of(&folder), stand_in: &self.stand_in, restless };
        native.complete(shape).with_context(|| format!("the start of {}", daemon.word()))?;
        native.settle()?;
        Ok(native)
    }

    /// lbd with this table, all weights 1.
    ///
    /// # Errors
    /// When its table does not become complete.
    pub fn lbd<'bed>(&'bed self, ns: &'bed Netns, shape: &Shape) -> Result<Native<'bed>> {
        self.start(Daemon::Lbd, ns, shape, &shape.config(None))
    }

    /// A daemon with checks, and what answers them. A daemon spreads its first ones over the first period.
    ///
    /// # Errors
    /// When its table does not become complete.
    pub fn checked<'bed>(
        &'bed self,
        daemon: Daemon,
        ns: &'bed Netns,
        shape: &Shape,
    ) -> Result<(Native<'bed>, Responder)> {
        let responder = Responder::start(ns, Kind::Tcp, shape.real_servers)?;
        Ok((self.start(daemon, ns, shape, &shape.config(None))?, responder))
    }
}

/// A daemon on the stand-in. Dropping it ends it at once, and its table stays as it is.
#[derive(Debug)]
pub struct Native<'bed> {
    director: Director<'bed>,
    log: Log,
    stand_in: &'bed StandIn,
    /// Its checks leave it no rest.
    restless: bool,
}

/// What a reload wrote.
#[derive(Clone, Debug)]
pub struct Reload {
    /// When it was asked for, on the log's clock.
    pub asked: Duration,
    /// All that was written, or refused.
    pub entries: Vec<Entry>,
}

impl Reload {
    /// Time until a destination was changed.
    ///
    /// # Errors
    /// When it changed none.
    pub fn took(&self) -> Result<Duration> {
        let change = self.entries.iter().find(|entry| entry.request == Request::SetDest);
        Ok(change.context("no destination was changed")?.at.saturating_sub(self.asked))
    }

    /// One destination was changed, and nothing else.
    pub fn is_one_change(&self) -> bool {
        matches!(*self.entries, [Entry { request: Request::SetDest, refused: None, .. }])
    }
}

impl Native<'_> {
    /// Its process.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self) -> Result<Pid> {
        self.director.pid()
    }

    /// CPU time that it has used.
    ///
    /// # Errors
    /// When it does not run.
    pub fn cpu(&self) -> Result<Duration> {
        usage::exact_cpu(self.pid()?)
    }

    fn complete(&mut self, shape: &Shape) -> Result<()> {
        let began = Instant::now();
        let (mut services, mut destinations) = (0, 0);
        while (services, destinations) != (shape.services, shape.real_servers) {
            for entry in self.log.more()? {
                ensure!(entry.refused.is_none(), "{entry:?}");
                services += usize::from(entry.request == Request::NewService);
                destinations += usize::from(entry.request == Request::NewDest);
            }
            if !self.director.running() {
                bail!("it ended: {}", self.last_words());
            }
            if began.elapsed() > START_LIMIT {
                bail!("{services} services, {destinations} destinations: {}", self.last_words());
            }
            wait::pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until the log is still and the daemon at rest (if it ever is), and gives what was logged meanwhile.
    fn settle(&mut self) -> Result<Vec<Entry>> {
        let pid = self.pid()?;
        let began = Instant::now();
        let mut still = Instant::now();
        let mut seen = Vec::new();
        while still.elapsed() < STILL {
            let more = self.log.more()?;
            if !more.is_empty() || (!self.restless && busy(pid) && began.elapsed() < SETTLE_LIMIT) {
                still = Instant::now();
            }
            seen.extend(more);
            ensure!(began.elapsed() < RELOAD_LIMIT, "it writes on and on: {} lines", seen.len());
            wait::pause(Duration::from_millis(10));
        }
        Ok(seen)
    }

    /// Has it read `config`, which changes destinations, and waits for the end of that.
    ///
    /// # Errors
    /// When it does not change any in time.
    pub fn reload(&mut self, config: &str) -> Result<Reload> {
        self.director.configure(config)?;
        let before = self.log.more()?;
        ensure!(before.is_empty(), "it wrote although nothing had changed: {before:?}");
        let asked = fakeipvs::clock()?;
        self.director.reload()?;
        let changed = |entry: &Entry| entry.request == Request::SetDest;
        let mut entries = self
            .log
            .wait("a changed destination", RELOAD_LIMIT, changed)
            .with_context(|| self.last_words())?;
        entries.extend(self.settle()?);
        Ok(Reload { asked, entries })
    }

    fn last_words(&self) -> String {
        let text = fs::read_to_string(self.director.path("daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }
}

/// How busy the machine is, for people: figures that were measured beside other work are none.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("load {}", text.split(' ').next().unwrap_or("unknown"))
}

/// Waits until every real server was checked once; what a daemon knows of its checks is there then.
fn all_checked(responder: &mut Responder, shape: &Shape) -> Result<()> {
    let period = shape.checked.unwrap_or_default();
    wait::until_ok("the first checks", period * 2 + Duration::from_secs(10), || match responder.seen() {
        Ok(seen) if seen.servers >= shape.real_servers => Ok(()),
        Ok(seen) => Err(format!("{} of {} real servers", seen.servers, shape.real_servers)),
        Err(error) => Err(format!("{error:#}")),
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reload(requests: &[(Request, u64, Option<i32>)]) -> Reload {
        let entries = requests
            .iter()
            .map(|&(request, at, refused)| Entry { request, at: Duration::from_millis(at), refused })
            .collect();
        Reload { asked: Duration::from_millis(100), entries }
    }

    #[test]
    fn one_change_is_one_line() {
        for (name, requests, one) in [
            ("one", vec![(Request::SetDest, 130, None)], true),
            ("refused", vec![(Request::SetDest, 130, Some(2))], false),
            ("two", vec![(Request::SetDest, 130, None), (Request::SetDest, 131, None)], false),
            ("and more", vec![(Request::SetService, 120, None), (Request::SetDest, 130, None)], false),
            ("none", vec![], false),
        ] {
            let reload = reload(&requests);
            assert_eq!(reload.is_one_change(), one, "{name}");
            let took = reload.took().ok();
            assert_eq!(took, (name != "none").then_some(Duration::from_millis(30)), "{name}");
        }
    }
}
