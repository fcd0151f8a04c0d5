//! A take-over with hundreds of virtual addresses: how late the adverts are meanwhile, of the virtual router itself and of one
//! beside it, by the director's own timers.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::load::told;
use super::vip;
use crate::build::Binaries;
use crate::director::{Daemon, Director};
use crate::topology::{Lab, host};
use crate::vip as addresses;
use crate::wait;

/// The second round of gratuitous ARP is over then.
const SETTLE: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(20);

/// The latest advert of a start with so many addresses, in milliseconds, and how long after the start all were there.
///
/// # Errors
/// When the director does not become master, or has not all addresses, within 20 s.
pub fn latest(binaries: &Binaries, count: usize, real_time: Option<u8>) -> Result<(f64, Duration)> {
    let lab = Lab::new(&[host("a", "10.0.0.1/16")])?;
    let ns = lab.host("a");
    let mut director =
        Director::of(Daemon::Lbd, Some(binaries.clone()), "a", ns, &config(count, real_time)?)?.quiet();
    let started = std::time::Instant::now();
    director.start()?;
    let all: Vec<_> = (0..count).map(|place| vip(place).into()).collect();
    wait::until("all addresses", LIMIT, || {
        let there = addresses::count(ns, &all).ok()?;
        (there == count).then_some(())
    })?;
    let took = started.elapsed();
    wait::pause(SETTLE);
    let status = director.status()?;
    let masters = status["vrrp"]["instances"].as_array().into_iter().flatten();
    ensure!(masters.filter(|one| one["state"] == "MASTER").count() == 2, "not master of both: {status}");
    let [.., latest] = told(&status).context("no lateness in the status")?;
    director.stop()?;
    Ok((latest, took))
}

fn config(count: usize, real_time: Option<u8>) -> Result<String> {
    let mut text = String::from("global_defs {\n  router_id bench\n  vrrp_garp_master_delay 1\n");
    if let Some(priority) = real_time {
        writeln!(text, "  vrrp_rt_priority {priority}\n  vrrp_rlimit_rttime 1000000")?;
    }
    text.push_str("}\n");
    for (vrid, addresses) in [(1, count), (2, 1)] {
        writeln!(
            text,
            "vrrp_instance V{vrid} {{\n  state BACKUP\n  interface eth0\n  virtual_router_id {vrid}\n  priority 100\n  version 3\n  \
             advert_int 0.01\n  virtual_ipaddress {{"
        )?;
        // The first ones are advertised: as many as fit into a datagram.
        for place in 0..addresses.min(200) {
            let place = if vrid == 1 { place } else { count };
            writeln!(text, "    {}/32", vip(place))?;
        }
        text.push_str("  }\n  virtual_ipaddress_excluded {\n");
        for place in 200..addresses {
            writeln!(text, "    {}/32", vip(place))?;
        }
        text.push_str("  }\n}\n");
    }
    Ok(text)
}
