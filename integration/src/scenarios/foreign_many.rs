//! A small configuration beside 100,000 entries of others: it is there quickly, kept, and leaves them alone.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lbd_ipvs::{
    Client, Destination, Entry, Family, Forwarding, Ipvs, Netmask, Op, Protocol, Scheduler, Service,
    ServiceFlags, ServiceId,
};

use super::Ctx;
use super::behind;
use super::steering;
use crate::client::expect_split;
use crate::director::Director;
use crate::netns::Netns;
use crate::servers::Server;
use crate::{ipvsadm, step, vip, wait};

/// Services of others, and destinations of each: 100,000 entries.
const SERVICES: u32 = 2_000;
const DESTINATIONS: u16 = 49;
/// From the start of the process to master with its table.
const STARTED: Duration = Duration::from_secs(5);
/// Time in which damage is put right.
const REPAIRED: Duration = Duration::from_secs(2);
const MEMORY_KB: u64 = 60_000;
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 110);
const SERVICE: &str = "10.0.0.110:80";
const REAL: [&str; 2] = ["10.1.0.21:80", "10.1.0.22:80"];

fn service() -> Result<Service> {
    Ok(Service {
        scheduler: Scheduler::new("rr").context("a scheduler's name")?,
        flags: ServiceFlags::default(),
        persistence_timeout: 0,
        netmask: Netmask::full(Family::Inet),
        persistence_engine: None,
    })
}

/// The whole table, as quickly as the kernel takes it.
fn add_theirs(ns: &Netns) -> Result<()> {
    let (service, forwarding) = (service()?, Forwarding::Nat);
    let mut ops = Vec::new();
    for mark in 1..=SERVICES {
        let id = ServiceId::FwMark { mark: NonZeroU32::new(mark).context("a mark")?, family: Family::Inet };
        ops.push(Op::NewService(id, service.clone()));
        ops.extend((1..=DESTINATIONS).map(|port| {
            let destination = Destination { forwarding, weight: 1, upper_threshold: 0, lower_threshold: 0 };
            Op::NewDest(id, SocketAddr::from(([10, 1, 0, 29], port)), destination)
        }));
    }
    let results = ns.run(|| Client::connect().map(|mut client| client.apply(&ops)))??;
    match results.into_iter().find_map(Result::err) {
        Some(error) => bail!("adding the others' services: {error}"),
        None => Ok(()),
    }
}

/// Services and destinations that are not ours.
fn theirs(ns: &Netns) -> Result<(usize, usize)> {
    let others = |id: &ServiceId| matches!(id, ServiceId::FwMark { .. });
    let table = ns.run(|| Client::connect()?.dump(&others))??;
    let destinations = table.services.values().map(|entry| entry.destinations.len()).sum();
    Ok((table.services.len(), destinations))
}

/// Our service alone: /proc lists all.
fn ours(ns: &Netns) -> Result<Option<Entry>> {
    let id = ServiceId::Addr { protocol: Protocol::Tcp, vip: SERVICE.parse()? };
    let mut found = ns.run(|| Client::connect()?.read(&[id]))??;
    Ok(found.remove(&id).map(|reading| reading.entry()))
}

fn expect_ours(ns: &Netns, want: &[&str], limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_ok(&format!("destinations {want:?}"), limit, || {
        let entry = ours(ns)?.context("no service")?;
        let have: Vec<String> = entry.destinations.keys().map(ToString::to_string).collect();
        ensure!(have == want, "{have:?}");
        Ok::<_, anyhow::Error>(())
    })?;
    Ok(start.elapsed())
}

fn memory_kb(director: &Director<'_>) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", director.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    line.split_whitespace().next().and_then(|number| number.parse().ok()).context("no number")
}

pub fn foreign_many(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = behind::lab(2)?;
    let _one = Server::start(lab.host("r1"), "r1", "0.0.0.0:80")?;
    let mut two = Server::start(lab.host("r2"), "r2", "0.0.0.0:80")?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    let start = Instant::now();
    add_theirs(ns)?;
    step!(
        "{SERVICES} services of others with {DESTINATIONS} destinations each, added in {:?}",
        start.elapsed()
    );
    let all = (SERVICES as usize, SERVICES as usize * usize::from(DESTINATIONS));
    let start = Instant::now();
    ensure!(theirs(ns)? == all, "others have {:?}", theirs(ns)?);
    step!("all of them read in {:?}", start.elapsed());

    let reals: String = REAL.iter().map(|real| behind::real_server(real, "TCP_CHECK {\n    }")).collect();
    // The owner of its address: master at once.
    let config = format!(
        "vrrp_instance VI_1 {{\n  state MASTER\n  interface eth0\n  virtual_router_id 51\n  priority 255\n  \
         virtual_ipaddress {{\n    {VIP}/32\n  }}\n}}\n{}",
        behind::virtual_server(&format!("{VIP} 80"), "TCP", &reals)
    );
    let mut director = ctx.director("a", ns, &config)?;
    let start = Instant::now();
    director.start()?;
    vip::expect(ns, VIP, true, STARTED)?;
    let took = start.elapsed();
    expect_ours(ns, &REAL, Duration::ZERO).context("at the moment the address came")?;
    step!("master with a complete table {took:?} after the start");
    ensure!(took < STARTED, "the start took {took:?}");
    expect_split(client, SERVICE, 4, &[("r1", 2), ("r2", 2)])?;

    let mut slowest = Duration::ZERO;
    for line in ["-d -t 10.0.0.110:80 -r 10.1.0.21:80", "-D -t 10.0.0.110:80"] {
        ipvsadm::line(ns, line)?;
        slowest = slowest.max(expect_ours(ns, &REAL, REPAIRED + ctx.slack()).context(line)?);
    }
    step!("damage put right after {slowest:?} at most");

    two.close();
    let took = expect_ours(ns, &REAL[..1], behind::found_out(ctx, Duration::ZERO))?;
    step!("a dead server out after {took:?}");
    two.open()?;
    let took = expect_ours(ns, &REAL, behind::found_out(ctx, Duration::ZERO))?;
    step!("and in after {took:?}");
    let (memory, dumps) = (memory_kb(&director)?, director.peek()?["ipvs"]["dumps"].clone());
    step!("memory {memory} kB, {dumps} reads of the whole table");
    ensure!(memory < MEMORY_KB, "lbd has {memory} kB");
    let start = Instant::now();
    director.stop()?;
    step!("stopped in {:?}", start.elapsed());
    ensure!(ours(ns)?.is_none(), "our service is left after the stop");
    ensure!(theirs(ns)? == all, "others have {:?} after the stop", theirs(ns)?);
    Ok(())
}
