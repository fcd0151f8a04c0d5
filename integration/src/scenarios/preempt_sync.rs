//! preempt_sync_time, preempt_sync_share, preempt_sync_limit: a director that returns lets the other one be until it knows its
//! connections.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::Ctx;
use super::pair::{self, VIP};
use super::steering;
use crate::director::Director;
use crate::servers::Server;
use crate::topology::{Lab, host};
use crate::{step, vip, wait};

const READY: Duration = Duration::from_secs(10);
/// What a returning director would wait without any of the keywords: three adverts of the other one, and its skew time.
const WITHOUT: Duration = Duration::from_millis(3420);
/// From the start to the synchronisation daemon, to the look that sees it, and to the one that finds the time over.
const NOTICED: Duration = Duration::from_secs(5);
const SYNC: &str = "lvs_sync_daemon eth0 inst VI_1 id 7";

/// A director's file with a virtual server.
fn config(priority: u32, global: &str, inside: &str) -> String {
    let text =
        pair::config(priority, 1).replacen("  advert_int 1\n", &format!("  advert_int 1\n{inside}"), 1);
    format!("global_defs {{\n  {global}\n}}\n{text}")
}

/// One with the virtual router alone.
fn router(priority: u32, inside: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  advert_int 1\n\
         {inside}  virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    )
}

fn is_held(status: &Value) -> bool {
    let conditions = status["vrrp"]["instances"][0]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|one| one["name"] == "preemption_held"))
}

/// Starts `a`, which lets `b` be for `time`.
fn returns(a: &mut Director<'_>, b: &Director<'_>, time: Duration) -> Result<()> {
    let start = Instant::now();
    a.start_and_wait()?;
    a.expect_status("preemption is held", time, is_held)?;
    wait::throughout("the other one stays master", time.saturating_sub(start.elapsed()), || {
        ensure!(vip::held(b.ns(), VIP)? && !vip::held(a.ns(), VIP)?);
        Ok(())
    })
}

/// `a` takes over, for a reason that it logs.
fn takes_over(ctx: &Ctx, a: &Director<'_>, b: &Director<'_>, reason: &str) -> Result<()> {
    vip::expect(a.ns(), VIP, true, NOTICED + WITHOUT + ctx.slack())?;
    vip::expect(b.ns(), VIP, false, Duration::from_secs(1) + ctx.slack())?;
    let line = format!("(VI_1) may take over from a lower priority: {reason}");
    ensure!(a.log().contains(&line), "no line `{line}`");
    let status = a.peek()?;
    ensure!(!is_held(&status), "it is held still: {}", status["vrrp"]["instances"][0]["conditions"]);
    Ok(())
}

fn ends(ctx: &Ctx, a: &mut Director<'_>, b: &Director<'_>) -> Result<()> {
    ensure!(a.stop()?.success(), "the stop failed");
    vip::expect(b.ns(), VIP, true, Duration::from_secs(1) + ctx.slack())
}

/// The kernel's synchronisation, and the connections of the other one.
pub fn synchronised(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = pair::lab()?;
    let mut b = ctx.director("b", lab.host("b"), &config(100, SYNC, ""))?;
    b.start_and_wait()?;
    vip::expect(b.ns(), VIP, true, READY)?;

    // Longer than without, in a guest too.
    let time = WITHOUT + ctx.slack() + Duration::from_secs(2);
    let seconds = time.as_secs() + 1;
    let time = Duration::from_secs(seconds);
    let inside = format!("  preempt_sync_time {seconds}\n");
    let mut a = ctx.director("a", lab.host("a"), &config(150, SYNC, &inside))?;
    let start = Instant::now();
    returns(&mut a, &b, time)?;
    takes_over(ctx, &a, &b, &format!("connections have been synchronised for {seconds} s"))?;
    step!("{seconds} s of synchronisation: master after {:?}", start.elapsed());
    // A reload holds nothing back that may go on.
    steering::load(&a, &config(150, SYNC, &format!("{inside}  garp_master_delay 2\n")))?;
    ensure!(!is_held(&a.peek()?) && vip::held(a.ns(), VIP)?, "after a reload");
    ends(ctx, &mut a, &b)?;

    let peer = |connections: u32| {
        let status = serde_json::json!({"virtual_servers": [{"real_servers": [
            {"active_connections": connections, "inactive_connections": 0}
        ]}]});
        Server::start(lab.host("b"), &status.to_string(), "10.0.0.12:8080")
    };
    let mut ten = peer(10)?;
    let share = "  preempt_sync_share 50 http://10.0.0.12:8080/status\n  preempt_sync_limit 100\n";
    a.configure(&config(150, SYNC, share))?;
    returns(&mut a, &b, time)?;
    ten.close();
    wait::until("the peer is silent", READY, || {
        a.log().contains("the peer's status cannot be had").then_some(())
    })?;
    ensure!(is_held(&a.peek()?) && !vip::held(a.ns(), VIP)?, "a peer that is silent is waited for");
    let none = peer(0)?;
    takes_over(ctx, &a, &b, "0 connections are known here, the peer has 0")?;
    drop(none);
    ends(ctx, &mut a, &b)
}

/// Synchronisation that never begins.
pub fn limit(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24"), host("b", "10.0.0.12/24")])?;
    let mut b = ctx.director("b", lab.host("b"), &router(100, ""))?;
    b.start_and_wait()?;
    vip::expect(b.ns(), VIP, true, READY)?;
    let mut a =
        ctx.director("a", lab.host("a"), &router(150, "  preempt_sync_time 60\n  preempt_sync_limit 7\n"))?;
    returns(&mut a, &b, Duration::from_secs(7))?;
    takes_over(ctx, &a, &b, "the limit of 7 s is over")?;
    ends(ctx, &mut a, &b)?;

    // Who does not return from a start waits for nobody: the master is gone.
    a.start_and_wait()?;
    a.expect_status("preemption is held", READY, is_held)?;
    b.kill();
    lab.cable("b", "eth0", false)?;
    vip::expect(a.ns(), VIP, true, WITHOUT + ctx.slack())?;
    ensure!(a.stop()?.success(), "the stop failed");
    Ok(())
}
