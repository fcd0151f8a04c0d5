//! Keywords of global_defs about how files are read, how long a stop may take, and how large buffers of netlink are.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::named::Named;
use super::{Ctx, Skip};
use crate::fifo::executable;
use crate::netns::Netns;
use crate::process::pid_of;
use crate::sockets::{CONNECTOR, NETLINK, receive_buffers};
use crate::topology::{Lab, host};
use crate::{step, vip, wait};

const LIMIT: Duration = Duration::from_secs(10);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
/// After which lbd ends an nft that hangs.
const NFT_LIMIT: Duration = Duration::from_secs(5);

/// Master within a fifth of a second; with a packet filter.
fn config(globals: &str) -> String {
    format!(
        "global_defs {{\n  vrrp_version 3\n  {globals}\n}}\n\
         vrrp_instance VI_1 {{\n  interface eth0\n  virtual_router_id 51\n  priority 100\n  advert_int 0.05\n  no_accept\n  \
         virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n"
    )
}

pub fn rest(ctx: &Ctx) -> Result<()> {
    let lab = Lab::new(&[host("a", "10.0.0.11/24")])?;
    let (ns, dir) = (lab.host("a"), tempfile::Builder::new().prefix("lbd-rest-").tempdir()?);
    random_seed(ctx, ns)?;
    include_check(ctx, ns, dir.path())?;
    child_wait_time(ctx, ns, dir.path())?;
    buffers(ctx, ns)
}

fn random_seed(ctx: &Ctx, ns: &Netns) -> Result<()> {
    let router_id = |globals: &str| -> Result<String> {
        let text = config(&format!("{globals}\n  router_id R${{_RANDOM 1 1000000000}}"));
        let mut director = ctx.director("a", ns, &text)?;
        director.start_and_wait()?;
        let shown = director.lbctl(&["config"])?;
        ensure!(director.stop()?.success(), "the stop failed");
        let line = shown.lines().find_map(|line| line.trim().strip_prefix("router_id "));
        Ok(line.with_context(|| format!("no router_id: {shown}"))?.to_owned())
    };
    let seven = router_id("random_seed 7")?;
    step!("random_seed 7: {seven}");
    ensure!(router_id("random_seed 7")? == seven, "random_seed: another number");
    ensure!(router_id("random_seed 8")? != seven, "random_seed: the same number by another seed");
    ensure!(router_id("")? != router_id("")?, "the same number without random_seed");
    Ok(())
}

fn include_check(ctx: &Ctx, ns: &Netns, dir: &Path) -> Result<()> {
    let missing = format!("include {}/none-*.conf\n", dir.display());
    let mut director = ctx.director("a", ns, &(config("") + &missing))?;
    director.start_and_wait()?;
    for (words, refused) in [("include_check wildcard_match", true), ("include_check read", false)] {
        director.configure(&(config(words) + &missing))?;
        match director.lbctl(&["reload"]) {
            Ok(_) => ensure!(!refused, "{words}: taken"),
            Err(error) => {
                let said = error.to_string();
                ensure!(
                    refused && said.contains("none-*.conf") && said.contains("lbd.conf:15:"),
                    "{words}: {said}"
                );
            }
        }
    }
    ensure!(director.stop()?.success(), "the stop failed");
    director.configure(&(config("include_check") + &missing))?;
    let (status, log) = director.run_to_end(LIMIT)?;
    ensure!(!status.success() && log.contains("none-*.conf"), "{status}: {log}");
    Ok(())
}

/// What removes the packet filter hangs at the stop, so that it takes what it may take.
fn child_wait_time(ctx: &Ctx, ns: &Netns, dir: &Path) -> Result<()> {
    let hangs = dir.join("hangs");
    let bin = dir.join("bin");
    fs::create_dir(&bin)?;
    executable(
        &bin,
        "nft",
        &format!("[ -e {} ] && exec sleep 20\nexec /usr/sbin/nft \"$@\"", hangs.display()),
    )?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let took = |keyword: &str, said: &str| -> Result<Duration> {
        let mut director = ctx.director("a", ns, &format!("{keyword}\n{}", config("")))?.env("PATH", &path);
        director.start_and_wait()?;
        vip::expect(ns, VIP, true, LIMIT)?;
        fs::write(&hangs, "")?;
        let stopping = Instant::now();
        director.stop()?;
        let took = stopping.elapsed();
        fs::remove_file(&hangs)?;
        step!("{keyword}: stopped after {took:?}");
        ensure!(!vip::held(ns, VIP)?, "{keyword}: the address is left");
        ensure!(director.log().contains(said), "{keyword}: nothing of {said:?}");
        // The next one finds out what is left.
        director.start_and_wait()?;
        ensure!(director.stop()?.success(), "the stop failed");
        let left = ns.run(|| Command::new("nft").args(["list", "ruleset"]).output())??;
        ensure!(left.stdout.is_empty(), "{keyword}: left: {}", String::from_utf8_lossy(&left.stdout));
        Ok(took)
    };
    let short = took("child_wait_time 2", "may be left until the next start")?;
    ensure!(short >= Duration::from_secs(2) && short < NFT_LIMIT, "child_wait_time 2: {short:?}");
    let long = took("child_wait_time 60", "the packet filter could not be removed")?;
    ensure!(long >= NFT_LIMIT && long < NFT_LIMIT * 2, "child_wait_time 60: {long:?}");
    Ok(())
}

fn buffers(ctx: &Ctx, ns: &Netns) -> Result<()> {
    const OCTETS: usize = 5_000_000;
    let largest = |globals: &str| -> Result<usize> {
        let mut director = ctx.director("a", ns, &config(globals))?;
        director.start_and_wait()?;
        vip::expect(ns, VIP, true, LIMIT)?;
        let found = receive_buffers(director.pid()?, NETLINK, 0)?;
        step!("{globals}: {found:?}");
        ensure!(director.stop()?.success(), "the stop failed");
        Ok(found.into_iter().max().unwrap_or_default())
    };
    ensure!(largest("")? < 2 * OCTETS, "so large without a keyword");
    for keyword in [
        "vrrp_netlink_cmd_rcv_bufs",
        "vrrp_netlink_monitor_rcv_bufs",
        "lvs_netlink_cmd_rcv_bufs",
        "lvs_netlink_monitor_rcv_bufs",
    ] {
        // More than the host's limit for others (net.core.rmem_max).
        let found = largest(&format!("{keyword} {OCTETS}\n  {keyword}_force true"))?;
        ensure!(found == 2 * OCTETS, "{keyword}: {found}");
    }
    Ok(())
}

/// The kernel tells them in its first network namespace only.
pub fn process_events(_: &Ctx) -> Result<()> {
    let name = format!("events-{}", std::process::id());
    let largest = fs::read_to_string("/proc/sys/net/core/rmem_max")?.trim().parse::<usize>()?;
    let more = largest * 4;
    for (keywords, want) in [
        ("process_monitor_rcv_bufs 70000".to_owned(), 70_000),
        (format!("process_monitor_rcv_bufs {more}"), largest),
        (format!("process_monitor_rcv_bufs {more}\n  process_monitor_rcv_bufs_force true"), more),
    ] {
        let text = format!(
            "instance {name}\nglobal_defs {{\n  {keywords}\n}}\nvrrp_track_process bed {{\n  process nothing-of-this-name\n}}\n\
             vrrp_instance VI_1 {{\n  interface none0\n  virtual_router_id 51\n  priority 100\n  track_process {{\n    bed\n  }}\n  \
             virtual_ipaddress {{\n    10.0.0.99/32\n  }}\n}}\n"
        );
        let mut lbd = Named::start(&text, &[], &[("--instance", &name)])?;
        lbd.answers()?;
        let told = wait::until_ok("the kernel is asked for events", LIMIT, || {
            if lbd.log().contains("the kernel tells no process events here") {
                return Ok(false);
            }
            let found = receive_buffers(pid_of(&lbd.child), NETLINK, CONNECTOR)?;
            ensure!(found == [2 * want], "{keywords}: {found:?}");
            Ok::<_, anyhow::Error>(true)
        })?;
        if !told {
            bail!(Skip("needs the kernel's events about processes".to_owned()));
        }
        lbd.stop()?;
    }
    Ok(())
}
