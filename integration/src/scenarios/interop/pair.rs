//! One row: mastership goes to and fro between the daemons, by stop, crash, return and priority, with an eye on the wire, the
//! addresses, the logs and the counters.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::row::{Row, Side};
use crate::decode::Vrrp;
use crate::director::{Daemon, Director};
use crate::scenarios::Ctx;
use crate::step;
use crate::tap::{self, Frame, Tap};
use crate::topology::{BACK, Lab, host};
use crate::{vip, wait};

/// lbd's priority while it is to be master by priority, and while keepalived is.
const HIGH: u8 = 150;
const LOW: u8 = 50;
/// keepalived's.
const THEIRS: u8 = 100;
/// A daemon's start until it takes part, on a machine that does much else.
const START: Duration = Duration::from_secs(6);
/// What a timer may be early by: the time of the last advert is that of its arrival.
const EARLY: Duration = Duration::from_millis(30);

/// What keepalived 2.2.7 logs of adverts that it does not like.
const COMPLAINTS: &[&str] = &[
    "Received AH header",
    "No AH header",
    "vrrp packet too",
    "invalid TTL/HL",
    "wrong version",
    " auth, expecting",
    "invalid passwd",
    "IPSEC-AH : invalid",
    "already processed",
    "advertisement interval mismatch",
    "Invalid packet type",
    "unexpected ip number",
    "ip_tot_len mismatch",
    "VRRPv2 checksum",
    "VRRPv3 checksum",
    "cast packet but received",
    "VIPs but received",
    "not present in MASTER advert",
    "not a unicast peer",
    "TTL/HL",
    "send advert error",
    "Cant send advert",
    "equal priority advert received",
    "CONFIGURATION ERROR",
    "Discarding bogus packet",
];

/// Runs one row; what was on the wire. `late` is how late this machine wakes up, in microseconds.
pub fn run(ctx: &Ctx, row: &Row, late: &AtomicU64) -> Result<Vec<Frame>> {
    let start = Instant::now();
    let lab = lab(row)?;
    let mut pair = Pair::new(ctx, row, &lab, late)?;
    pair.start(Side::Ours)?;
    pair.start(Side::Theirs)?;
    if row.understood {
        pair.back_and_forth()?;
    } else {
        pair.not_understood()?;
    }
    pair.quiet_logs()?;
    step!("{}: done in {:.1?}", row.name, start.elapsed());
    Ok(pair.tap.frames())
}

fn lab(row: &Row) -> Result<Lab> {
    let [a, b] = [Side::Ours, Side::Theirs].map(|side| {
        let spec = host(side.host(), &format!("10.0.0.{}/24", side.last()));
        if row.group { spec.nic(BACK, "eth1", &format!("10.0.1.{}/24", side.last())) } else { spec }
    });
    let lab = Lab::new(&[a, b])?;
    if row.v6 {
        for side in [Side::Ours, Side::Theirs] {
            let address = row.address(side, 0);
            lab.host(side.host()).ip(&format!("address add {address}/64 dev eth0 nodad\n"))?;
        }
    }
    Ok(lab)
}

struct Pair<'l> {
    row: &'l Row,
    lab: &'l Lab,
    ours: Director<'l>,
    theirs: Director<'l>,
    tap: Tap,
    priority: u8,
    slack: Duration,
    daemon: Daemon,
    late: &'l AtomicU64,
}

impl<'l> Pair<'l> {
    fn new(ctx: &Ctx, row: &'l Row, lab: &'l Lab, late: &'l AtomicU64) -> Result<Self> {
        let ports: Vec<(&str, &str)> = ["a", "b"]
            .into_iter()
            .flat_map(|host| row.cards().iter().map(move |(dev, _)| (host, *dev)))
            .collect();
        let director = |daemon, side: Side, priority| {
            let config = row.config(side, priority);
            let name = format!("{} of {}", side.host(), row.name);
            Director::new(daemon, &name, lab.host(side.host()), &config).map(|one| one.args(&["-P"]))
        };
        Ok(Self {
            row,
            lab,
            ours: director(ctx.daemon, Side::Ours, HIGH)?,
            theirs: director(Daemon::Keepalived, Side::Theirs, THEIRS)?,
            tap: Tap::start(lab, &ports)?,
            priority: HIGH,
            slack: ctx.slack(),
            daemon: ctx.daemon,
            late,
        })
    }

    fn director(&mut self, side: Side) -> &mut Director<'l> {
        match side {
            Side::Ours => &mut self.ours,
            Side::Theirs => &mut self.theirs,
        }
    }

    fn priority(&self, side: Side) -> u8 {
        match side {
            Side::Ours => self.priority,
            Side::Theirs => THEIRS,
        }
    }

    /// Starts a daemon and waits until it listens: a resignation that it does not hear says nothing about it.
    fn start(&mut self, side: Side) -> Result<()> {
        let routers = self.row.vrids().len();
        let begun = |log: &str| log.matches("Entering BACKUP STATE (init)").count();
        let before = begun(&self.theirs.log());
        self.director(side).start_and_wait()?;
        if side == Side::Ours && self.daemon == Daemon::Lbd {
            return self
                .ours
                .expect_status("takes part", START, |status| {
                    let instances = status["vrrp"]["instances"].as_array();
                    instances.is_some_and(|all| {
                        all.len() == routers && all.iter().all(|one| one["state"] != "INIT")
                    })
                })
                .map(drop);
        }
        let theirs = &self.theirs;
        wait::until("keepalived takes part", START, || {
            (side == Side::Ours || begun(&theirs.log()) >= before + routers).then_some(())
        })
    }

    /// Mastership by priority, stop and crash of each side while it is master, and its return; the failure of one of two links.
    fn back_and_forth(&mut self) -> Result<()> {
        self.only(Side::Ours, START + self.row.master_down(HIGH)).context("lbd has the higher priority")?;
        self.trade(Side::Ours).context("lbd is master by priority")?;
        if self.row.group {
            self.link(Side::Ours).context("a link of lbd, which is master")?;
        }

        self.priority = LOW;
        self.ours.configure(&self.row.config(Side::Ours, LOW))?;
        self.ours.reload()?;
        self.only(Side::Theirs, START + self.row.master_down(THEIRS))
            .context("keepalived has the higher priority since lbd's reload")?;
        self.trade(Side::Theirs).context("keepalived is master by priority")?;
        if self.row.group {
            self.link(Side::Theirs).context("a link of keepalived, which is master")?;
        }

        self.quiet_counters()?;
        let since = tap::now();
        self.stop(Side::Ours)?;
        self.stop(Side::Theirs)?;
        let sent = self.tap.since(since, |frame| frame.vrrp().filter(|one| self.side(one) == Side::Ours));
        ensure!(
            sent.is_empty(),
            "lbd, a Backup, sent {} packets when it stopped: {:?}",
            sent.len(),
            sent.first()
        );
        self.resigned(Side::Theirs)?;
        self.held(Side::Ours, 0)?;
        self.held(Side::Theirs, 0)
    }

    /// The master stops and returns, is killed and returns.
    fn trade(&mut self, master: Side) -> Result<()> {
        let (peer, row) = (master.other(), self.row);
        if master == Side::Ours {
            self.quiet_counters()?;
        }
        self.stop(master)?;
        let due = row.skew(self.priority(peer));
        self.taken(master, due).context("it stops")?;
        self.resigned(master)?;
        self.held(master, 0).context("after its stop")?;
        let back = START + row.master_down(self.priority(master));
        self.start(master)?;
        self.only(master, back).context("back from a stop")?;

        self.quiet_counters()?;
        self.director(master).kill();
        let due = row.master_down(self.priority(peer));
        self.taken(master, due).context("it is killed")?;
        self.start(master)?;
        self.only(master, back).context("back from a crash")
    }

    /// One of the two links of the master fails: both virtual routers move; it returns, they do.
    fn link(&mut self, master: Side) -> Result<()> {
        self.lab.cable(master.host(), "eth1", false)?;
        let peer = master.other();
        self.only(peer, self.row.master_down(self.priority(peer)) + self.slack).context("it fails")?;
        self.lab.cable(master.host(), "eth1", true)?;
        self.only(master, START + self.row.master_down(self.priority(master))).context("it is back")
    }

    /// Both are master: keepalived does not hear lbd.
    fn not_understood(&mut self) -> Result<()> {
        let limit = START + self.row.master_down(THEIRS);
        let vips = self.row.vips();
        for side in [Side::Ours, Side::Theirs] {
            let ns = self.lab.host(side.host());
            wait::until("both are master", limit, || {
                (vip::count(ns, &vips).ok()? == vips.len()).then_some(())
            })?;
        }
        let said = self.row.says;
        wait::until("keepalived's complaint", limit, || self.theirs.log().contains(said).then_some(()))
    }

    fn stop(&mut self, side: Side) -> Result<()> {
        let director = self.director(side);
        director.signal(Signal::SIGTERM)?;
        let status = director.ended(Duration::from_secs(15))?;
        ensure!(status.success(), "{}'s orderly stop ended with {status}", side.host());
        Ok(())
    }

    /// Waits until `side` has all addresses and its peer none.
    fn only(&self, side: Side, limit: Duration) -> Result<()> {
        let vips = self.row.vips();
        let count = |side: Side| vip::count(self.lab.host(side.host()), &vips);
        wait::until_ok(
            &format!("all addresses on {} alone", side.host()),
            limit + self.slack + 2 * self.late(),
            || {
                let (has, peer) = (count(side)?, count(side.other())?);
                if has == vips.len() && peer == 0 { Ok(()) } else { bail!("{has} there, {peer} on the peer") }
            },
        )
    }

    fn held(&self, side: Side, number: usize) -> Result<()> {
        let held = vip::count(self.lab.host(side.host()), &self.row.vips())?;
        ensure!(held == number, "{} has {held} of the addresses, not {number}", side.host());
        Ok(())
    }

    /// The peer of `gone` has taken all virtual routers over, each so long after the last advert of `gone` as is due.
    fn taken(&self, gone: Side, due: Duration) -> Result<()> {
        let (ns, vips) = (self.lab.host(gone.other().host()), self.row.vips());
        let limit = due + 2 * self.slack + 2 * self.late() + Duration::from_secs(1);
        wait::until_ok("the peer takes over", limit, || match vip::count(ns, &vips)? {
            has if has == vips.len() => Ok(()),
            has => bail!("it has {has} of {}", vips.len()),
        })?;
        let times = wait::until_ok("its first adverts", self.slack, || self.gaps(gone))?;
        let (least, most) = (times.iter().min().copied(), times.iter().max().copied());
        let (least, most) = (least.unwrap_or_default(), most.unwrap_or_default());
        step!(
            "{}: {} took over after {least:?} to {most:?}, due {due:?}",
            self.row.name,
            gone.other().host()
        );
        let late = self.late();
        ensure!(
            least + EARLY + late >= due && most <= due + self.slack + late,
            "after {least:?} to {most:?}, due after {due:?}; the machine is up to {late:?} late"
        );
        Ok(())
    }

    /// How late this machine has been by itself so far.
    fn late(&self) -> Duration {
        Duration::from_micros(self.late.load(Ordering::Relaxed))
    }

    /// Of each virtual router, the time from the last advert of `gone` to its peer's first one after it.
    fn gaps(&self, gone: Side) -> Result<Vec<Duration>> {
        let (last, mut first) = (self.last(gone), BTreeMap::new());
        for advert in self.tap.since(Duration::ZERO, Frame::vrrp) {
            let after = last.get(&advert.vrid).is_some_and(|last| advert.at > last.at);
            if after && self.side(&advert) != gone {
                first.entry(advert.vrid).or_insert(advert.at);
            }
        }
        let gap = |(vrid, _): (u8, usize)| {
            let (last, first) = (last.get(&vrid)?, first.get(&vrid)?);
            Some(first.saturating_sub(last.at))
        };
        let gaps: Option<Vec<Duration>> = self.row.vrids().into_iter().map(gap).collect();
        gaps.with_context(|| format!("{} of {} virtual routers", first.len(), self.row.vrids().len()))
    }

    /// The last packet of each virtual router of `side` has priority 0.
    fn resigned(&self, side: Side) -> Result<()> {
        let last = self.last(side);
        for (vrid, _) in self.row.vrids() {
            let last = last.get(&vrid).with_context(|| format!("no advert of VRID {vrid}"))?;
            ensure!(last.priority == 0, "{} did not resign: its last is {last:?}", side.host());
        }
        Ok(())
    }

    fn side(&self, advert: &Vrrp) -> Side {
        self.row.side(advert.port)
    }

    /// The last advert of `side` of each virtual router.
    fn last(&self, side: Side) -> BTreeMap<u8, Vrrp> {
        let adverts = self.tap.since(Duration::ZERO, Frame::vrrp);
        adverts.into_iter().filter(|one| self.side(one) == side).map(|one| (one.vrid, one)).collect()
    }

    /// lbd refused no advert since its start.
    fn quiet_counters(&self) -> Result<()> {
        if self.daemon != Daemon::Lbd {
            return Ok(());
        }
        let status = self.ours.peek()?;
        let instances = status["vrrp"]["instances"].as_array().context("instances of the status")?;
        ensure!(instances.len() == self.row.vrids().len(), "{} instances in the status", instances.len());
        for instance in instances {
            let dropped = instance["adverts_dropped"].as_object().into_iter().flatten();
            // What came before it took part.
            let dropped: Vec<(&String, &Value)> =
                dropped.filter(|(cause, _)| *cause != "not_running").collect();
            ensure!(dropped.is_empty(), "lbd refused adverts: {} {dropped:?}", instance["name"]);
        }
        Ok(())
    }

    /// Nobody has complained of adverts but for what the row says.
    fn quiet_logs(&self) -> Result<()> {
        let log = self.theirs.log();
        let complaint = log.lines().find(|line| {
            COMPLAINTS.iter().any(|words| line.contains(words))
                && (self.row.says.is_empty() || !line.contains(self.row.says))
        });
        ensure!(complaint.is_none(), "keepalived complains: {complaint:?}");
        let log = self.ours.log();
        let complaint =
            log.lines().find(|line| line.contains("advertisement: ") || line.contains("panicked"));
        ensure!(complaint.is_none(), "lbd complains: {complaint:?}");
        Ok(())
    }
}
