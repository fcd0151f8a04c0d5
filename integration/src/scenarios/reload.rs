//! Reload: what did not change is not touched, and a file with an error changes nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use crate::client::{Held, expect_split};
use crate::director::Director;
use crate::step;
use crate::table;
use crate::vip;
use crate::wait::pause;

const LOADED: Duration = Duration::from_secs(5);

fn writes(status: &Value) -> Result<u64> {
    status["ipvs"]["writes"].as_u64().context("no ipvs.writes in the status")
}

/// Reloads, waits for generation `generation`, and gives how many IPVS writes it took.
fn reload(director: &Director<'_>, generation: u64) -> Result<u64> {
    let before = writes(&director.status()?)?;
    director.reload()?;
    director.expect_status("reloaded", LOADED, |status| status["config"]["generation"] == generation)?;
    // A write too many could come a moment later: past the next checks it would have.
    pause(Duration::from_secs(2));
    Ok(writes(&director.status()?)? - before)
}

pub fn reload_writes(ctx: &Ctx) -> Result<()> {
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let client = lab.host("c");
    let mut a = ctx.director("a", lab.host("a"), &pair::config(150, 2))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, Duration::from_secs(8))?;
    table::expect_dests(a.ns(), KEY, &REAL[..2], Duration::from_secs(8))?;
    pause(Duration::from_secs(2));
    let held = Held::open(client, SERVICE)?;
    let watch = vip::Watch::start(a.ns(), VIP, ctx.poll())?;
    let tables = table::Watch::start(a.ns(), ctx.poll())?;

    let unchanged = reload(&a, 2)?;
    step!("unchanged reload: {unchanged} IPVS writes");
    ensure!(unchanged == 0, "a reload of the same file wrote {unchanged} times");

    a.configure(&pair::config(150, 3))?;
    let start = Instant::now();
    let added = reload(&a, 3)?;
    step!("reload with one real server more: {added} IPVS writes ({:?} with the wait)", start.elapsed());
    ensure!(added == 1, "adding one real server took {added} IPVS writes");
    table::expect_dests(a.ns(), KEY, &REAL, Duration::from_secs(1))?;
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    let broken = pair::config(150, 3)
        .replace("lb_algo rr", "lb_algo rr }}}")
        .replace("virtual_server", "virtual_server {");
    a.configure(&broken)?;
    let before = writes(&a.status()?)?;
    a.reload()?;
    let status =
        a.expect_status("config.last_error", LOADED, |status| status["config"]["last_error"].is_string())?;
    step!("last_error: {}", status["config"]["last_error"]);
    ensure!(status["config"]["generation"] == 3, "a broken file counts as loaded: {}", status["config"]);
    pause(Duration::from_secs(2));
    ensure!(writes(&a.status()?)? == before, "a broken file changed the table");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    a.configure(&pair::config(150, 3))?;
    let mended = reload(&a, 4)?;
    ensure!(mended == 0, "the mended file wrote {mended} times");
    ensure!(a.status()?["config"]["last_error"].is_null(), "last_error stays after a good reload");

    // One less: out, one write, the others untouched.
    a.configure(&pair::config(150, 2))?;
    let removed = reload(&a, 5)?;
    ensure!(removed == 1, "removing one real server took {removed} IPVS writes");
    table::expect_dests(a.ns(), KEY, &REAL[..2], Duration::from_secs(1))?;

    let holding = watch.finish()?;
    ensure!(holding.len() == 1 && holding[0].1.is_none(), "the address left during a reload: {holding:?}");
    let emptied = tables.finish()?.into_iter().any(|(_, table)| {
        table
            .get(KEY)
            .is_none_or(|service| REAL[..2].iter().any(|server| !service.dests.contains_key(*server)))
    });
    ensure!(!emptied, "a kept real server was out of the table during a reload");
    let slowest = held.finish().context("the established connection did not survive the reloads")?;
    step!("established connection: slowest echo {slowest:?}");
    Ok(())
}
