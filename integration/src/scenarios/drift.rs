//! Another program changes the table under a running director: what is ours is put right, what is not is never touched.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Ctx;
use super::behind::{self, START};
use super::steering;
use crate::client::expect_split;
use crate::director::Director;
use crate::ipvsadm;
use crate::netns::Netns;
use crate::servers::Server;
use crate::{step, wait};

/// Time in which damage is put right.
const REPAIRED: Duration = Duration::from_secs(2);
/// The same of a synchronisation daemon, which the kernel takes a moment to start.
const SYNC_REPAIRED: Duration = Duration::from_secs(3);
/// So many changes are told one by one in a minute.
const TOLD: usize = 10;
/// Another program's service.
const FOREIGN: &str = "TCP 10.0.0.102:80";

/// Three services, one of them of a mark; weights, thresholds, persistence, timeouts, both synchronisation daemons.
const CONFIG: &str = "\
global_defs {
  lvs_timeouts tcp 600 tcpfin 60 udp 120
  lvs_sync_daemon eth1 id 3
}
virtual_server 10.0.0.100 80 {
  lb_algo wrr
  lb_kind NAT
  protocol TCP
  real_server 10.1.0.21 80 {
    weight 1
  }
  real_server 10.1.0.22 80 {
    weight 2
    uthreshold 100
    lthreshold 50
  }
  real_server 10.1.0.23 80 {
    weight 3
  }
}
virtual_server 10.0.0.101 80 {
  lb_algo sh
  sh-port
  lb_kind NAT
  protocol TCP
  persistence_timeout 300
  real_server 10.1.0.21 80 {
    weight 4
  }
  real_server 10.1.0.22 80 {
    weight 5
  }
}
virtual_server fwmark 7 {
  lb_algo wlc
  lb_kind NAT
  real_server 10.1.0.21 80 {
    weight 6
  }
  real_server 10.1.0.22 80 {
    weight 7
  }
}
";

/// What the other program does, how many operations put it right, and what is said of it.
struct Damage {
    name: &'static str,
    lines: &'static [&'static str],
    operations: u64,
    said: &'static str,
}

const fn damage(
    name: &'static str,
    lines: &'static [&'static str],
    operations: u64,
    said: &'static str,
) -> Damage {
    Damage { name, lines, operations, said }
}

/// The first ten operations are told one by one.
const TOLD_DAMAGES: &[Damage] = &[
    damage(
        "a real server is deleted",
        &["-d -t 10.0.0.100:80 -r 10.1.0.21:80"],
        1,
        "real server 10.1.0.21:80 of TCP 10.0.0.100:80 was removed: added again",
    ),
    damage(
        "a real server is added",
        &["-a -t 10.0.0.100:80 -r 10.1.0.99:80 -m -w 9"],
        1,
        "real server 10.1.0.99:80 was added to TCP 10.0.0.100:80: removed",
    ),
    damage(
        "a weight is changed",
        &["-e -f 7 -r 10.1.0.22:80 -m -w 70"],
        1,
        "was given weight 70: set back to 7",
    ),
    damage(
        "a forwarding method is changed",
        &["-e -t 10.0.0.101:80 -r 10.1.0.21:80 -g -w 4"],
        1,
        "real server 10.1.0.21:80 of TCP 10.0.0.101:80 was changed: set back",
    ),
    damage(
        "thresholds are changed",
        &["-e -t 10.0.0.100:80 -r 10.1.0.22:80 -m -w 2 -x 9 -y 3"],
        1,
        "real server 10.1.0.22:80 of TCP 10.0.0.100:80 was changed: set back",
    ),
    damage(
        "a scheduler is changed",
        &["-E -t 10.0.0.100:80 -s rr"],
        1,
        "TCP 10.0.0.100:80 was given scheduler rr: set back to wrr",
    ),
    damage(
        "persistence is taken away",
        &["-E -t 10.0.0.101:80 -s sh -b sh-port"],
        1,
        "virtual service TCP 10.0.0.101:80 was changed: set back",
    ),
    damage(
        "flags are changed",
        &["-E -t 10.0.0.101:80 -s sh -p 300"],
        1,
        "virtual service TCP 10.0.0.101:80 was changed: set back",
    ),
    damage("timeouts are changed", &["--set 100 10 20"], 1, "the connection timeouts were set to"),
];

/// Of these nothing is told any more.
const OTHER_DAMAGES: &[Damage] = &[
    damage("a service is deleted", &["-D -t 10.0.0.100:80"], 4, ""),
    damage("a service of a mark is deleted", &["-D -f 7"], 3, ""),
    damage(
        "several at once",
        &[
            "-E -t 10.0.0.101:80 -s rr",
            "-d -t 10.0.0.101:80 -r 10.1.0.21:80",
            "-e -f 7 -r 10.1.0.21:80 -m -w 0",
        ],
        3,
        "",
    ),
];

/// Everything of the namespace that is ours, or is not.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    rules: BTreeSet<String>,
    timeouts: Vec<u32>,
}

fn look(ns: &Netns) -> Result<Seen> {
    Ok(Seen { rules: ipvsadm::rules(ns)?, timeouts: ipvsadm::timeouts(ns)? })
}

fn repaired(director: &Director<'_>) -> Result<u64> {
    director.peek()?["ipvs"]["drift_repaired"].as_u64().context("no ipvs.drift_repaired in the status")
}

/// So many operations, and no more, have put right what was done since `before`.
fn expect_repaired(ctx: &Ctx, director: &Director<'_>, before: u64, want: u64) -> Result<()> {
    wait::until_ok("ipvs.drift_repaired", ctx.slack(), || {
        let count = repaired(director)? - before;
        ensure!(count == want, "rose by {count}, want {want}");
        Ok::<_, anyhow::Error>(())
    })
}

fn told(director: &Director<'_>) -> Vec<String> {
    let log = director.log();
    log.lines()
        .filter(|line| line.contains("Another program changed the IPVS table"))
        .map(str::to_owned)
        .collect()
}

fn expect_same(ns: &Netns, want: &Seen, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    wait::until_ok("the table as it was", limit, || {
        let have = look(ns)?;
        if have != *want {
            bail!(
                "missing {:?}, too many {:?}, timeouts {:?}",
                want.rules.difference(&have.rules).collect::<Vec<_>>(),
                have.rules.difference(&want.rules).collect::<Vec<_>>(),
                have.timeouts
            );
        }
        Ok(())
    })?;
    Ok(start.elapsed())
}

fn all(ctx: &Ctx, director: &Director<'_>, want: &Seen, damages: &[Damage]) -> Result<()> {
    for damage in damages {
        let before = repaired(director)?;
        for line in damage.lines {
            ipvsadm::line(director.ns(), line)?;
        }
        let took = expect_same(director.ns(), want, REPAIRED + ctx.slack()).context(damage.name)?;
        step!("{}: put right after {took:?}", damage.name);
        expect_repaired(ctx, director, before, damage.operations).context(damage.name)?;
        if !damage.said.is_empty() {
            wait::until_ok("the log's last line of it", ctx.slack(), || {
                let said = told(director);
                match said.last() {
                    Some(line) if line.contains(damage.said) => Ok(()),
                    _ => Err(format!("{:?} was not said last of {said:#?}", damage.said)),
                }
            })
            .context(damage.name)?;
        }
    }
    Ok(())
}

pub fn drift(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = behind::lab(3)?;
    let _servers = ["r1", "r2", "r3"]
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:80"))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let (ns, client) = (lab.host("a"), lab.host("c"));
    let timeouts_before = ipvsadm::timeouts(ns)?;
    ipvsadm::restore(
        ns,
        "-A -t 10.0.0.102:80 -s rr\n-a -t 10.0.0.102:80 -r 10.1.0.21:80 -m -w 8\n\
         -a -t 10.0.0.102:80 -r 10.1.0.22:80 -m -w 9\n-A -t 10.0.0.102:81 -s rr\n",
    )?;
    let theirs = ipvsadm::rules(ns)?;
    expect_split(client, "10.0.0.102:80", 6, &[("r1", 3), ("r2", 3)])?;

    let mut director = ctx.director("a", ns, CONFIG)?;
    director.start_and_wait()?;
    behind::expect_weight(ns, "FWM 00000007", "10.1.0.22:80", Some(7), START)?;
    director.expect_status("both daemons run", START, |status| {
        status["ipvs"]["sync_daemons"].as_array().is_some_and(|list| list.len() == 2)
    })?;
    let want = look(ns)?;
    ensure!(want.rules.is_superset(&theirs) && want.timeouts == [600, 60, 120], "{want:#?}");
    step!("rules: {:#?}", want.rules);
    expect_split(client, "10.0.0.100:80", 6, &[("r1", 1), ("r2", 2), ("r3", 3)])?;

    all(ctx, &director, &want, TOLD_DAMAGES)?;
    all(ctx, &director, &want, OTHER_DAMAGES)?;
    expect_split(client, "10.0.0.100:80", 6, &[("r1", 1), ("r2", 2), ("r3", 3)])?;

    // 30 in a row, some of which meet within one look.
    let before = repaired(&director)?;
    for number in 1..=15 {
        ipvsadm::line(ns, &format!("-e -t 10.0.0.100:80 -r 10.1.0.21:80 -m -w {}", 100 + number))?;
        ipvsadm::line(ns, &format!("-e -f 7 -r 10.1.0.21:80 -m -w {}", 200 + number))?;
    }
    let took = expect_same(ns, &want, REPAIRED + ctx.slack()).context("30 changes in a row")?;
    let count = repaired(&director)? - before;
    step!("30 changes in a row: as it was {took:?} after the last, {count} operations");
    ensure!((2..=30).contains(&count), "30 changes in a row: drift_repaired rose by {count}");

    let daemons = ipvsadm::daemons(ns)?;
    for role in ["master", "backup"] {
        ipvsadm::run(ns, ["--stop-daemon", role])?;
        let start = Instant::now();
        wait::until_ok("both synchronisation daemons", SYNC_REPAIRED + ctx.slack(), || {
            let have = ipvsadm::daemons(ns)?;
            if have != daemons {
                bail!("{have:?}");
            }
            Ok(())
        })?;
        step!("{role} daemon stopped: runs again after {:?}", start.elapsed());
    }
    ensure!(ipvsadm::rules(ns)?.is_superset(&theirs), "the foreign services were touched");
    foreign_counted(ns, [3, 3]).context("before the whole table is cleared")?;

    // The other program's own services go with the rest.
    let before = repaired(&director)?;
    ipvsadm::line(ns, "-C")?;
    ipvsadm::restore(ns, &theirs.iter().map(|rule| format!("{rule}\n")).collect::<String>())?;
    let took = expect_same(ns, &want, REPAIRED + ctx.slack()).context("the whole table is cleared")?;
    step!("the whole table is cleared: put right after {took:?}");
    expect_repaired(ctx, &director, before, 3 + 7).context("the whole table is cleared")?;
    expect_split(client, "10.0.0.100:80", 6, &[("r1", 1), ("r2", 2), ("r3", 3)])?;

    let said = told(&director);
    ensure!(said.len() == TOLD, "{} of all that were told one by one: {said:#?}", said.len());
    let counted = foreign(ns)?;
    expect_split(client, "10.0.0.102:80", 2, &[("r1", 1), ("r2", 1)])?;
    director.stop()?;
    ensure!(ipvsadm::rules(ns)? == theirs, "after the stop there is {:#?}", ipvsadm::rules(ns)?);
    foreign_counted(ns, counted.map(|count| count + 1)).context("after the stop")?;
    expect_split(client, "10.0.0.102:80", 2, &[("r1", 1), ("r2", 1)])?;
    ensure!(
        ipvsadm::timeouts(ns)? == timeouts_before,
        "timeouts after the stop: {:?}",
        ipvsadm::timeouts(ns)?
    );
    ensure!(ipvsadm::daemons(ns)?.is_empty(), "after the stop a daemon runs: {:?}", ipvsadm::daemons(ns)?);
    Ok(())
}

/// Connections that the other program's two real servers have had.
fn foreign(ns: &Netns) -> Result<[u64; 2]> {
    let counted = ipvsadm::connections(ns)?;
    let of = |server: &str| {
        counted
            .get(&format!("{FOREIGN} -> {server}"))
            .copied()
            .with_context(|| format!("no {server} in {counted:?}"))
    };
    Ok([of("10.1.0.21:80")?, of("10.1.0.22:80")?])
}

fn foreign_counted(ns: &Netns, want: [u64; 2]) -> Result<()> {
    // The kernel sums its counters every 2 s.
    wait::until_ok("connections of the foreign service", Duration::from_secs(5), || {
        let have = foreign(ns)?;
        if have != want {
            bail!("{have:?}, want {want:?}");
        }
        Ok(())
    })
}
