//! Two directors, three real servers and client traffic, while the master dies, and returns.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use crate::client::{Probe, expect_split};
use crate::step;
use crate::table;
use crate::vip;
use crate::wait::pause;

/// Advert interval 1 s, priority of the peer 100: 3 s and its skew time.
const MASTER_DOWN: Duration = Duration::from_millis(3610);
/// Of the peer.
const SKEW: Duration = Duration::from_millis(610);
/// What the issue allows in user-mode-linux on top.
const ALLOWED: Duration = Duration::from_millis(2100);

/// Longest time both may hold the address while the link is whole: an advert interval, and 2 s more in user-mode-linux.
fn both_allowed(ctx: &Ctx) -> Duration {
    Duration::from_secs(if ctx.guest { 3 } else { 1 })
}

pub fn failover(ctx: &Ctx) -> Result<()> {
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let client = lab.host("c");
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, 3))?;
    let mut b = ctx.director("b", lab.host("b"), &pair::config(100, 3))?;
    a.start_and_wait()?;
    b.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    // Never an address without its table.
    table::expect_dests(a.ns(), KEY, &REAL, Duration::ZERO).context("at the moment the address came")?;
    for ns in [a.ns(), b.ns()] {
        table::expect_dests(ns, KEY, &REAL, Duration::from_secs(8))?;
    }
    ensure!(!vip::held(b.ns(), VIP)?, "both hold the address");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    let probe = Probe::start(client, SERVICE)?;
    pause(Duration::from_millis(500));
    a.kill();
    lab.cable("a", "eth0", false)?;
    vip::expect(b.ns(), VIP, true, MASTER_DOWN + ALLOWED)?;
    // The client goes on for a moment, so that the end of the outage is seen.
    pause(Duration::from_millis(500));
    let outage = probe.finish()?;
    step!(
        "master dead, cable pulled: longest gap {:?}, {:?}, {:?}",
        outage.longest,
        outage.answers,
        outage.failures
    );
    ensure!(outage.longest <= MASTER_DOWN + ALLOWED, "outage of {:?}", outage.longest);
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    // The machine returns as one that was rebooted: without address and table.
    a.ns().ip(&format!("address del {VIP}/32 dev eth0"))?;
    lab.cable("a", "eth0", true)?;
    // Until now both held it: the cable was pulled.
    let masters = vip::Masters::start(a.ns(), b.ns(), VIP, ctx.poll())?;
    let probe = Probe::start(client, SERVICE)?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    vip::expect(b.ns(), VIP, false, Duration::from_secs(3))?;
    pause(Duration::from_millis(500));
    let outage = probe.finish()?;
    one_master("master returned", masters.finish()?, both_allowed(ctx))?;
    step!("master returned: longest gap {:?}, {:?}, {:?}", outage.longest, outage.answers, outage.failures);
    ensure!(
        outage.longest <= Duration::from_secs(1) + ctx.slack(),
        "outage of {:?} at the return",
        outage.longest
    );

    let masters = vip::Masters::start(a.ns(), b.ns(), VIP, ctx.poll())?;
    let probe = Probe::start(client, SERVICE)?;
    pause(Duration::from_millis(300));
    a.stop()?;
    vip::expect(b.ns(), VIP, true, SKEW + ALLOWED)?;
    pause(Duration::from_millis(500));
    let outage = probe.finish()?;
    step!("orderly stop: longest gap {:?}, {:?}, {:?}", outage.longest, outage.answers, outage.failures);
    ensure!(outage.longest <= SKEW + ALLOWED, "outage of {:?}", outage.longest);
    one_master("orderly stop", masters.finish()?, both_allowed(ctx))
}

/// Each held the address once, and both at once for no longer than `allowed`.
fn one_master(when: &str, held: vip::Held, allowed: Duration) -> Result<()> {
    step!("{when}: both held the address for {:?} at most", held.both);
    ensure!(held.a.len() == 1 && held.b.len() == 1, "{when}: the address went to and fro: {held:?}");
    ensure!(held.both <= allowed, "{when}: both held the address for {:?}, allowed {allowed:?}", held.both);
    Ok(())
}
