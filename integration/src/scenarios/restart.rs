//! A director that is killed and started again within a second, under traffic: nobody must notice.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use crate::adverts::Capture;
use crate::client::{Held, Probe};
use crate::step;
use crate::table;
use crate::vip;
use crate::wait::{self, pause};

/// The director that is killed.
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// Longest time a client may be without an answer.
const LONGEST_GAP: Duration = Duration::from_millis(200);

pub fn restart(ctx: &Ctx) -> Result<()> {
    let lab = pair::lab()?;
    let [_r1, _r2, mut r3] = pair::servers(&lab)?;
    let client = lab.host("c");
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, 3))?;
    let mut b = ctx.director("b", lab.host("b"), &pair::config(100, 3))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    b.start_and_wait()?;
    table::expect_dests(a.ns(), KEY, &REAL, Duration::from_secs(8))?;
    // A check that was good first, then a dead server that has to stay out.
    pause(Duration::from_secs(2));
    r3.close();
    table::expect_dests(a.ns(), KEY, &REAL[..2], Duration::from_secs(4) + ctx.slack())?;

    let adverts = Capture::start(b.ns())?;
    let on_a = vip::Watch::start(a.ns(), VIP, ctx.poll())?;
    let on_b = vip::Watch::start(b.ns(), VIP, ctx.poll())?;
    let tables = table::Watch::start(a.ns(), ctx.poll())?;
    let held = Held::open(client, SERVICE)?;
    let probe = Probe::start(client, SERVICE)?;
    pause(Duration::from_millis(500));

    // A restart resumes while the last advert is young, so the phase is fixed: right after one.
    let before = Instant::now();
    wait::until("an advert of a", Duration::from_secs(3), || {
        adverts.last_from(A).filter(|advert| advert.at > before)
    })?;
    let dead = Instant::now();
    a.kill();
    pause(Duration::from_millis(700));
    a.start()?;
    let down = dead.elapsed();
    a.expect_status("MASTER again", Duration::from_secs(8), |status| {
        status["vrrp"]["instances"][0]["state"] == "MASTER"
    })?;
    // Past the peer's master down interval, had the adverts not gone on, and past several checks.
    wait::throughout("a holds the address", Duration::from_secs(5), || {
        ensure!(vip::held(a.ns(), VIP)?, "the address left");
        Ok(())
    })?;

    let server = held.server.clone();
    let (slowest, outage) = (held.finish(), probe.finish()?);
    let (on_a, on_b, tables) = (on_a.finish()?, on_b.finish()?, tables.finish()?);
    step!("down for {down:?}; connection to {server}: slowest echo {slowest:?}");
    step!(
        "answers {:?}, failures {:?}; longest gap {:?}, over {:?} after the kill",
        outage.answers,
        outage.failures,
        outage.longest,
        outage.answered_again.map(|at| at.saturating_duration_since(dead))
    );
    ensure!(on_b.is_empty(), "the peer took over: {on_b:?}");
    ensure!(on_a.len() == 1 && on_a[0].1.is_none(), "the address left a: {on_a:?}");
    for (at, table) in &tables {
        let at = at.duration_since(dead);
        let service =
            table.get(KEY).with_context(|| format!("{at:?} after the kill the service was gone"))?;
        ensure!(!service.dests.is_empty(), "{at:?} after the kill the service had no destination");
        ensure!(
            !service.dests.contains_key(REAL[2]),
            "{at:?} after the kill the dead server was back: {service:?}"
        );
    }
    slowest.context("the established connection did not go on")?;
    ensure!(outage.longest < LONGEST_GAP, "the client was without an answer for {:?}", outage.longest);

    r3.open()?;
    table::expect_dests(a.ns(), KEY, &REAL, Duration::from_secs(1) + ctx.slack())
        .context("the dead server did not return after the restart")?;
    Ok(())
}
