//! The kernel's IPVS goes away under a running director: it comes back with all that is wanted, and where it cannot the status
//! says what to do.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::behind;
use super::steering::{self, expect};
use super::{Ctx, Skip};
use crate::client::expect_split;
use crate::director::Director;
use crate::netns::Netns;
use crate::servers::Server;
use crate::{ipvsadm, step, table, wait};

const SERVICE: &str = "10.0.0.100:80";
const KEY: &str = "TCP 10.0.0.100:80";
const REAL: [&str; 2] = ["10.1.0.21:80", "10.1.0.22:80"];
/// A look every second; what fails is tried again after 1, 2, 4 s.
const BACK: Duration = Duration::from_secs(5);
/// What the kernel runs to load a module.
const LOADER: &str = "/proc/sys/kernel/modprobe";

fn remove(modules: &[&str]) -> Result<bool> {
    let status = Command::new("rmmod").args(modules).stdout(Stdio::null()).stderr(Stdio::null()).status();
    Ok(status.context("rmmod (Debian package kmod)")?.success())
}

/// Empties the table and removes the module, again and again: lbd fills the one and loads the other.
fn unload(ns: &Netns) -> Result<()> {
    wait::until_ok("the module gone", Duration::from_secs(10), || {
        ipvsadm::line(ns, "-C")?;
        ensure!(remove(&["ip_vs_rr", "ip_vs"])?, "in use");
        Ok::<_, anyhow::Error>(())
    })
}

/// A module that is loaded has the kernel's own.
fn timeouts(ns: &Netns) -> Result<()> {
    wait::until_ok("our timeouts", BACK, || {
        let have = ipvsadm::timeouts(ns)?;
        ensure!(have == [600, 60, 77], "{have:?}");
        Ok::<_, anyhow::Error>(())
    })
}

fn traffic(client: &Netns) -> Result<()> {
    expect_split(client, SERVICE, 4, &[("r1", 2), ("r2", 2)])
}

pub fn unloaded(ctx: &Ctx) -> Result<()> {
    if !ctx.guest {
        bail!(Skip("it unloads ip_vs: not on a kernel that others use".to_owned()));
    }
    steering::needs(ctx, &["ipvsadm", "kmod"])?;
    let lab = behind::lab(2)?;
    let _servers = ["r1", "r2"]
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:80"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    // Those that nobody uses, so that only two are to go at the moment.
    let loaded = fs::read_to_string("/proc/modules")?;
    let modules = loaded.lines().filter_map(|line| line.split_whitespace().next());
    let others: Vec<&str> =
        modules.filter(|name| name.starts_with("ip_vs_") && *name != "ip_vs_rr").collect();
    ensure!(others.is_empty() || remove(&others)?, "cannot remove {others:?}");

    let reals: String = REAL.iter().map(|real| behind::real_server(real, "")).collect();
    let mut director = ctx.director(
        "a",
        ns,
        &format!(
            "global_defs {{\n  lvs_timeouts tcp 600 tcpfin 60 udp 77\n}}\n{}",
            behind::virtual_server(&SERVICE.replace(':', " "), "TCP", &reals)
        ),
    )?;
    director.start_and_wait()?;
    table::expect_dests(ns, KEY, &REAL, behind::START)?;
    traffic(client)?;

    comes_back(ctx, client, &director)?;
    cannot_come_back(ctx, client, &mut director)?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}

fn comes_back(ctx: &Ctx, client: &Netns, director: &Director<'_>) -> Result<()> {
    unload(director.ns())?;
    let start = Instant::now();
    table::expect_dests(director.ns(), KEY, &REAL, BACK + ctx.slack())?;
    step!("unloaded: the table is complete again after {:?}", start.elapsed());
    traffic(client)?;
    timeouts(director.ns())?;
    let log = director.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    step!("said: {said:#?}");
    ensure!(said.iter().any(|line| line.contains("unloaded")), "that it was unloaded is not said: {said:#?}");
    ensure!(!log.contains("timeouts were set"), "another program is blamed for the kernel's own: {said:#?}");
    expect(director, "nothing is amiss", BACK, |status| {
        status["ipvs"]["last_error"].is_null() && status["ipvs"]["refused"].is_null()
    })
    .map(drop)
}

fn cannot_come_back(ctx: &Ctx, client: &Netns, director: &mut Director<'_>) -> Result<()> {
    let loader = fs::read_to_string(LOADER)?;
    fs::write(LOADER, "/bin/false")?;
    unload(director.ns())?;
    let status = expect(director, "the remedy", BACK + ctx.slack(), |status| {
        status["ipvs"]["last_error"].as_str().is_some_and(|error| error.contains("modprobe ip_vs"))
    })?;
    step!("it cannot be loaded: {}", status["ipvs"]["last_error"]);
    ensure!(director.running(), "lbd has ended");
    let shown = director.lbctl(&["status"])?;
    ensure!(shown.contains("modprobe ip_vs"), "lbctl status does not say the remedy: {shown}");
    ensure!(director.log().contains("modprobe ip_vs"), "the log does not say the remedy");

    fs::write(LOADER, loader.trim())?;
    let start = Instant::now();
    table::expect_dests(director.ns(), KEY, &REAL, 2 * BACK + ctx.slack())?;
    step!("it can be loaded: the table is complete again after {:?}", start.elapsed());
    traffic(client)?;
    timeouts(director.ns())?;
    expect(director, "nothing is amiss", BACK, |status| status["ipvs"]["last_error"].is_null()).map(drop)
}
