//! A director that is killed and started again within a second, under traffic: nobody must notice.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use crate::adverts::Capture;
use crate::client::{Held, Probe};
use crate::director::Director;
use crate::netns::Netns;
use crate::step;
use crate::table;
use crate::vip;
use crate::wait::{self, pause};

/// The director that is killed.
const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// Longest time a client may be without an answer.
const LONGEST_GAP: Duration = Duration::from_millis(200);
/// Past the peer's master down interval (3.61 s), had the adverts not gone on, and past several checks.
const WATCHED: Duration = Duration::from_secs(4);

/// When the daemon is killed, and for how long it is gone.
struct Phase {
    name: &'static str,
    /// Age of its last advert (advert_int 1).
    age: Duration,
    /// From the kill to the next start.
    down: Duration,
}

/// A restart resumes while the last advert is young, so the phases are fixed: the best one and the worst.
const PHASES: [Phase; 2] = [
    Phase { name: "right after an advert", age: Duration::ZERO, down: Duration::from_millis(700) },
    Phase {
        name: "right before the next advert",
        age: Duration::from_millis(900),
        down: Duration::from_millis(900),
    },
];

pub fn restart(ctx: &Ctx) -> Result<()> {
    let lab = pair::lab()?;
    let [_r1, _r2, mut r3] = pair::servers(&lab)?;
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
    for phase in &PHASES {
        unnoticed(ctx, lab.host("c"), &mut a, b.ns(), &adverts, phase).context(phase.name)?;
    }

    r3.open()?;
    table::expect_dests(a.ns(), KEY, &REAL, Duration::from_secs(1) + ctx.slack())
        .context("the dead server did not return after the restarts")?;
    Ok(())
}

/// Kills `a` and starts it again; neither the client nor the peer may notice.
fn unnoticed(
    ctx: &Ctx,
    client: &Netns,
    a: &mut Director<'_>,
    peer: &Netns,
    adverts: &Capture,
    phase: &Phase,
) -> Result<()> {
    let on_a = vip::Watch::start(a.ns(), VIP, ctx.poll())?;
    let on_peer = vip::Watch::start(peer, VIP, ctx.poll())?;
    let tables = table::Watch::start(a.ns(), ctx.poll())?;
    let stop = Arc::new(AtomicBool::new(false));
    let machine = {
        let stop = stop.clone();
        std::thread::spawn(move || wait::oversleep(&stop))
    };
    let held = Held::open(client, SERVICE)?;
    let probe = Probe::start(client, SERVICE)?;
    pause(Duration::from_millis(500));

    let advert = in_phase(adverts, phase.age)?;
    let dead = Instant::now();
    a.kill();
    pause(phase.down);
    a.start()?;
    let down = dead.elapsed();
    step!("{}: killed {:?} after an advert, down for {down:?}", phase.name, dead.duration_since(advert));
    a.expect_status("MASTER again", Duration::from_secs(8), |status| {
        status["vrrp"]["instances"][0]["state"] == "MASTER"
    })?;
    let resumed = adverts.last_from(A).filter(|advert| advert.at > dead).map(|advert| advert.at - dead);
    wait::throughout("a holds the address", WATCHED, || {
        ensure!(vip::held(a.ns(), VIP)?, "the address left");
        Ok(())
    })?;

    let server = held.server.clone();
    let (slowest, outage) = (held.finish(), probe.finish()?);
    stop.store(true, Ordering::Relaxed);
    let machine = machine.join().map_err(|_| anyhow!("the sleeper panicked"))?;
    let (on_a, on_peer, tables) = (on_a.finish()?, on_peer.finish()?, tables.finish()?);
    step!("first advert {resumed:?} after the kill; connection to {server}: slowest echo {slowest:?}");
    step!(
        "answers {:?}, failures {:?}; longest gap {:?}, over {:?} after the kill",
        outage.answers,
        outage.failures,
        outage.longest,
        outage.answered_again.map(|at| at.saturating_duration_since(dead))
    );
    ensure!(on_peer.is_empty(), "the peer took over: {on_peer:?}");
    ensure!(on_a.len() == 1 && on_a[0].1.is_none(), "the address left a: {on_a:?}");
    for (at, table) in &tables {
        let at = at.saturating_duration_since(dead);
        let service =
            table.get(KEY).with_context(|| format!("{at:?} after the kill the service was gone"))?;
        ensure!(!service.dests.is_empty(), "{at:?} after the kill the service had no destination");
        ensure!(
            !service.dests.contains_key(REAL[2]),
            "{at:?} after the kill the dead server was back: {service:?}"
        );
    }
    slowest.context("the established connection did not go on")?;
    // A machine that stands still for a moment is no gap of the service.
    ensure!(
        outage.longest < LONGEST_GAP + machine,
        "the client was without an answer for {:?}; the machine was late by {machine:?}",
        outage.longest
    );
    Ok(())
}

/// Waits until an advert of `a`, which it gives the time of, is `age` old and no other came since.
fn in_phase(adverts: &Capture, age: Duration) -> Result<Instant> {
    let mut before = Instant::now();
    wait::until("the phase of the adverts", Duration::from_secs(8), || {
        let last = adverts.last_from(A).filter(|advert| advert.at > before)?.at;
        pause(age.saturating_sub(last.elapsed()));
        before = adverts.last_from(A)?.at;
        (before == last).then_some(last)
    })
}
