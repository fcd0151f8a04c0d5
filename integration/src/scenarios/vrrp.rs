//! Two directors and VRRP alone: the virtual address seen by bind() to the millisecond, on a native kernel.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;

use super::Ctx;
use crate::adverts::Capture;
use crate::step;
use crate::topology::{Lab, host};
use crate::vip;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const ADVERT_INT: Duration = Duration::from_secs(1);
const PRIORITY_A: u32 = 150;
const PRIORITY_B: u32 = 100;
/// What is allowed on top of the protocol's own time; 2 s more in user-mode-linux.
fn allowed(ctx: &Ctx) -> Duration {
    Duration::from_millis(if ctx.guest { 2100 } else { 100 })
}

/// Skew_Time of version 2 (RFC 3768 §6.1): (256 - priority) / 256 s.
fn skew(priority: u32) -> Duration {
    Duration::from_secs(1) * (256 - priority) / 256
}

fn config(priority: u32) -> String {
    format!(
        "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 1\n  \
         authentication {{\n    auth_type PASS\n    auth_pass secret\n  }}\n  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    )
}

fn lab() -> Result<Lab> {
    Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])
}

/// The master's daemon is killed and its cable pulled: the peer takes over a master down interval after the last advert.
pub fn crash(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let mut a = ctx.director("a", lab.host("a"), &config(PRIORITY_A))?;
    let mut b = ctx.director("b", lab.host("b"), &config(PRIORITY_B))?;
    let adverts = Capture::start(b.ns())?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(6))?;
    b.start_and_wait()?;
    // Two adverts into b's life: it knows its master.
    let since = Instant::now();
    crate::wait::until("two adverts of a", Duration::from_secs(5), || {
        (adverts.seen().iter().filter(|advert| advert.source == A && advert.at > since).count() >= 2)
            .then_some(())
    })?;
    ensure!(!vip::held(b.ns(), VIP)?, "the address is on b while a is master");

    let watch = vip::Watch::start(b.ns(), VIP, ctx.poll())?;
    a.kill();
    lab.cable("a", "eth0", false)?;
    let last = adverts.last_from(A).context("no advert of a was seen")?;
    vip::expect(b.ns(), VIP, true, Duration::from_secs(6))?;
    let taken = watch.finish()?.first().context("address not seen on b")?.0;
    let took = taken.duration_since(last.at);
    let due = 3 * ADVERT_INT + skew(PRIORITY_B);
    step!("address on b {took:?} after the last advert, due at {due:?}");
    ensure!(last.ttl == 255 && last.priority == 150 && last.vrid == 51, "odd advert {last:?}");
    ensure!(took <= due + allowed(ctx), "took {took:?}, allowed {:?}", due + allowed(ctx));
    ensure!(
        took + Duration::from_millis(20) >= due,
        "took {took:?}: before the master down interval {due:?}"
    );
    Ok(())
}

/// An orderly stop resigns: the peer takes over after its skew time.
pub fn stop(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let mut a = ctx.director("a", lab.host("a"), &config(PRIORITY_A))?;
    let mut b = ctx.director("b", lab.host("b"), &config(PRIORITY_B))?;
    let adverts = Capture::start(b.ns())?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(6))?;
    b.start_and_wait()?;
    let since = Instant::now();
    crate::wait::until("an advert of a", Duration::from_secs(5), || {
        adverts.last_from(A).filter(|advert| advert.at > since)
    })?;

    let watch = vip::Watch::start(b.ns(), VIP, ctx.poll())?;
    let start = Instant::now();
    a.signal(Signal::SIGTERM)?;
    vip::expect(b.ns(), VIP, true, Duration::from_secs(6))?;
    let taken = watch.finish()?.first().context("address not seen on b")?.0;
    let last = adverts.last_from(A).context("no advert of a was seen")?;
    let (took, after) = (taken.duration_since(start), taken.duration_since(last.at));
    step!(
        "address on b {took:?} after the signal, {after:?} after the resignation; skew is {:?}",
        skew(PRIORITY_B)
    );
    ensure!(last.priority == 0, "a's last advert did not resign: {last:?}");
    ensure!(
        took <= skew(PRIORITY_B) + allowed(ctx),
        "took {took:?}, allowed {:?}",
        skew(PRIORITY_B) + allowed(ctx)
    );
    let status = a.ended(Duration::from_secs(10))?;
    ensure!(status.success(), "an orderly stop ended with {status}");
    ensure!(!vip::held(a.ns(), VIP)?, "the stopped director kept the address");
    Ok(())
}

/// Through starts, stops, reloads, crashes and returns on a whole link: never two masters for longer than one advert interval.
pub fn one_master(ctx: &Ctx) -> Result<()> {
    let lab = lab()?;
    let mut a = ctx.director("a", lab.host("a"), &config(PRIORITY_A))?;
    let mut b = ctx.director("b", lab.host("b"), &config(PRIORITY_B))?;
    let masters = vip::Masters::start(a.ns(), b.ns(), VIP, ctx.poll())?;
    let takes = Duration::from_secs(6);

    a.start()?;
    b.start()?;
    vip::expect(a.ns(), VIP, true, takes).context("started together")?;
    a.stop()?;
    vip::expect(b.ns(), VIP, true, takes).context("a stopped")?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, takes).context("a returned")?;
    vip::expect(b.ns(), VIP, false, ADVERT_INT).context("a returned")?;
    b.kill();
    b.start_and_wait()?;
    a.reload()?;
    // Longer than b's master down interval of 3.61 s.
    crate::wait::throughout("a stays master while b restarts and a reloads", Duration::from_secs(4), || {
        ensure!(vip::held(a.ns(), VIP)? && !vip::held(b.ns(), VIP)?);
        Ok(())
    })?;

    a.configure(&config(PRIORITY_B - 10))?;
    a.reload()?;
    vip::expect(b.ns(), VIP, true, takes).context("a reloaded with a lower priority than b's")?;
    vip::expect(a.ns(), VIP, false, ADVERT_INT).context("a reloaded with a lower priority than b's")?;
    demand_one("until the crash", masters.finish()?)?;

    // A daemon that is dead leaves its address behind, and the peer cannot know: what counts is from its return on.
    b.kill();
    vip::expect(a.ns(), VIP, true, takes).context("b died")?;
    ensure!(vip::held(b.ns(), VIP)?, "the crash took the address along: nothing is tried here");
    let masters = vip::Masters::start(a.ns(), b.ns(), VIP, ctx.poll())?;
    b.start_and_wait()?;
    crate::wait::until("b is the only master again", takes, || {
        (vip::held(b.ns(), VIP).ok()? && !vip::held(a.ns(), VIP).ok()?).then_some(())
    })?;
    demand_one("when the old master returned", masters.finish()?)
}

fn demand_one(when: &str, held: vip::Held) -> Result<()> {
    step!(
        "{when}: a held it {} times, b {} times, both at once for {:?} at most",
        held.a.len(),
        held.b.len(),
        held.both
    );
    ensure!(held.both <= ADVERT_INT, "{when}: two masters for {:?}", held.both);
    Ok(())
}
