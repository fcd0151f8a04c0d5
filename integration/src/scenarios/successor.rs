//! A director's process is replaced by another one that goes on with what is in the kernel: `lbctl handover` for a new lbd,
//! `--take-over` for one that comes after keepalived.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::pair::{self, KEY, REAL, VIP};
use super::steering;
use super::unnoticed::Witness;
use crate::adverts::Capture;
use crate::director::{Daemon, Director};
use crate::fifo::Fifo;
use crate::netns::Netns;
use crate::wait::{self, pause};
use crate::{ipvsadm, step, table, vip};

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 11);
/// Past the peer's master down interval (3.61 s), had the adverts not gone on.
const WATCHED: Duration = Duration::from_secs(4);
/// Past the first looks at the table; nobody else is there to take over.
const ALONE: Duration = Duration::from_secs(2);
/// An election and the first checks.
const READY: Duration = Duration::from_secs(10);

fn is_master(director: &Director<'_>) -> Result<()> {
    let status = director.peek()?;
    let state = &status["vrrp"]["instances"][0]["state"];
    ensure!(state == "MASTER", "{state}");
    Ok(())
}

/// Starts it, waits until it says that it is master, and gives the time of that.
fn until_master(director: &mut Director<'_>, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    director.start()?;
    wait::until_ok("MASTER again", limit, || is_master(director))?;
    Ok(start.elapsed())
}

pub fn handover(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let dir = tempfile::Builder::new().prefix("lbd-handover-").tempdir()?;
    let fifo = Fifo::new(&dir.path().join("fifo"))?;
    let sync = "lvs_sync_daemon eth0 inst VI_1 id 7";
    let config = format!(
        "global_defs {{\n  vrrp_notify_fifo {}\n  {sync}\n}}\n{}",
        fifo.path().display(),
        pair::config(150, 3)
    );
    let mut a = ctx.director("a", lab.host("a"), &config)?;
    let mut b =
        ctx.director("b", lab.host("b"), &format!("global_defs {{\n  {sync}\n}}\n{}", pair::config(100, 3)))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, READY)?;
    b.start_and_wait()?;
    table::expect_dests(a.ns(), KEY, &REAL, READY)?;
    a.lbctl(&["server", "drain", "10.0.0.100:80", "10.0.0.23"])?;
    table::expect_dests(a.ns(), KEY, &REAL[..2], ctx.slack())?;
    let running = wait::until_ok("the master daemon", READY, || {
        let running = ipvsadm::daemons(a.ns())?;
        ensure!(running.len() == 1 && running[0].starts_with("master sync daemon"), "{running:?}");
        Ok::<_, anyhow::Error>(running)
    })?;

    let adverts = Capture::start(b.ns())?;
    let witness = Witness::start(ctx, lab.host("c"), a.ns(), Some(b.ns()))?;
    let begun = Instant::now();
    let mut lbctl = steering::command(&a, &["handover"])?.stdout(Stdio::null()).spawn()?;
    let status = a.ended(Duration::from_secs(5)).context("lbd after lbctl handover")?;
    let ended = begun.elapsed();
    ensure!(status.success(), "lbd ended with {status}");
    let told = lbctl.wait()?;
    ensure!(told.success(), "lbctl handover: {told}");
    ensure!(ipvsadm::daemons(a.ns())? == running, "the synchronisation daemon did not stay");
    let master = until_master(&mut a, Duration::from_secs(2) + ctx.slack())?;
    let first =
        adverts.last_from(A).filter(|advert| advert.at > begun + ended).map(|advert| advert.at - begun);
    step!(
        "lbd ended after {ended:?}, lbctl after that; the next one master {master:?} after its start; first advert {first:?}"
    );
    wait::throughout("master", WATCHED, || is_master(&a))?;
    let seen = witness.finish("handover")?;

    ensure!(
        !seen.outage.answers.contains_key("r3"),
        "the drained server was given connections: {:?}",
        seen.outage.answers
    );
    for (_, table) in &seen.tables {
        let weight = table[KEY].dests.get(REAL[2]).map(|dest| dest.weight);
        ensure!(weight == Some(0), "the drained server had weight {weight:?}");
    }
    let order = a.status()?["virtual_servers"][0]["real_servers"][2]["order"].clone();
    ensure!(order == "drain", "the order after the handover: {order}");
    ensure!(ipvsadm::daemons(a.ns())? == running, "the synchronisation daemon is another one");
    let (lines, log) = (fifo.lines(), a.log());
    step!("lines of the FIFO: {lines:?}");
    ensure!(
        lines.iter().all(|line| ["STOP", "FAULT"].iter().all(|word| !line.contains(word))),
        "a handover told {lines:?}"
    );
    ensure!(
        log.matches("synchronisation: master started").count() == 1
            && !log.contains("synchronisation: master stopped"),
        "the synchronisation daemon was started again"
    );
    ensure!(
        adverts.seen().iter().all(|advert| advert.source == A && advert.priority == 150),
        "other adverts: {:?}",
        adverts.seen()
    );
    // What an orderly stop tells, and this did not.
    a.stop()?;
    fifo.expect("INSTANCE \"VI_1\" STOP 150", 1, ctx.slack())
}

/// keepalived is stopped with -I -V and lbd goes on, alone and beside a peer.
pub fn take_over(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm", "keepalived"])?;
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let (a, b, client) = (lab.host("a"), lab.host("b"), lab.host("c"));
    after_keepalived(ctx, client, a, None)?;
    let mut peer = Director::new(Daemon::Keepalived, "b", b, &pair::config(100, 3))?;
    peer.start_and_wait()?;
    after_keepalived(ctx, client, a, Some(b))
}

fn after_keepalived(ctx: &Ctx, client: &Netns, ns: &Netns, peer: Option<&Netns>) -> Result<()> {
    let what = if peer.is_some() { "beside a peer" } else { "alone" };
    let config = pair::config(150, 3);
    let mut keepalived = Director::new(Daemon::Keepalived, "a", ns, &config)?.args(&["-I", "-V"]);
    let mut lbd = Director::new(Daemon::Lbd, "a", ns, &config)?.args(&["--take-over"]);
    keepalived.start_and_wait()?;
    vip::expect(ns, VIP, true, READY)?;
    if let Some(peer) = peer {
        vip::expect(peer, VIP, false, READY)?;
    }
    table::expect_dests(ns, KEY, &REAL, READY)?;
    let witness = Witness::start(ctx, client, ns, peer)?;
    // The kernel sums its counters every 2 s.
    pause(Duration::from_millis(2100));
    let counted = ipvsadm::connections(ns)?;

    let begun = Instant::now();
    keepalived.stop()?;
    let ended = begun.elapsed();
    let master = until_master(&mut lbd, Duration::from_secs(1) + ctx.slack()).context(what)?;
    step!("{what}: keepalived ended after {ended:?}, lbd master {master:?} after its start");
    wait::throughout("master", if peer.is_some() { WATCHED } else { ALONE }, || is_master(&lbd))?;
    let seen = witness.finish(what)?;
    for (_, table) in &seen.tables {
        table::same_servers(table, KEY, &REAL).with_context(|| format!("{what}: at some moment"))?;
    }
    let now = ipvsadm::connections(ns)?;
    for (key, before) in &counted {
        let after = now.get(key).copied().unwrap_or_default();
        ensure!(
            *before > 0 && after > *before,
            "{what}: {key} had counted {before} connections, now {after}"
        );
    }
    let writes = lbd.status()?["ipvs"]["writes"].as_u64().context("no ipvs.writes")?;
    step!("{what}: {writes} IPVS writes");
    ensure!(writes <= 1, "{what}: lbd wrote {writes} times to take over the same table");
    lbd.stop()?;
    ensure!(table::read(ns)?.is_empty() && !vip::held(ns, VIP)?, "{what}: something is left after the stop");
    Ok(())
}
