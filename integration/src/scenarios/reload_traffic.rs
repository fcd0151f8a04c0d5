//! Twenty reloads under traffic: no new connection fails, those to servers that stay go on, counters too.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::pair::{self, KEY, REAL, SERVICE, VIP};
use super::steering::{self, load, writes};
use super::unnoticed::Witness;
use crate::client::{Held, PROBE_INTERVAL};
use crate::wait::pause;
use crate::{ipvsadm, step, table, vip, wait};

const READY: Duration = Duration::from_secs(10);
const RELOADS: u32 = 20;

/// r1 and r2 stay with other weights each time; r3 comes and goes.
fn config(reload: u32) -> String {
    let weights = [1 + reload % 3, 1 + (reload + 1) % 3, 2];
    let servers = if reload.is_multiple_of(2) { 3 } else { 2 };
    let mut text = pair::config(150, 3);
    text.truncate(text.find("virtual_server ").unwrap_or_default());
    text += &format!(
        "virtual_server {VIP} 80 {{\n  delay_loop 1\n  lb_algo wrr\n  lb_kind DR\n  protocol TCP\n  drain_timeout 20\n"
    );
    for (server, weight) in REAL.iter().zip(weights).take(servers) {
        text += &format!(
            "  real_server {} {{\n    weight {weight}\n    TCP_CHECK {{\n      connect_timeout 1\n    }}\n  }}\n",
            server.replace(':', " ")
        );
    }
    text + "}\n"
}

pub fn reload_traffic(ctx: &Ctx) -> Result<()> {
    steering::needs(ctx, &["ipvsadm"])?;
    let lab = pair::lab()?;
    let _servers = pair::servers(&lab)?;
    let client = lab.host("c");
    let mut a = ctx.director("a", lab.host("a"), &config(0))?;
    a.start_and_wait()?;
    vip::expect(a.ns(), VIP, true, READY)?;
    table::expect_dests(a.ns(), KEY, &REAL, READY)?;

    // One for each server that stays, before others' connections take turns of the scheduler: a round of it has five.
    let (mut held, mut opened) = (Vec::<Held>::new(), 0);
    while held.len() < 2 && opened < 10 {
        let one = Held::open(client, SERVICE)?;
        opened += 1;
        if one.server == "r3" || held.iter().any(|other| other.server == one.server) {
            one.finish()?;
        } else {
            held.push(one);
        }
    }
    ensure!(held.len() == 2, "no connections to r1 and r2");
    let witness = Witness::start(ctx, client, a.ns(), None)?;
    opened += 1;
    let (start, before) = (Instant::now(), writes(&a)?);
    for reload in 1..=RELOADS {
        load(&a, &config(reload)).with_context(|| format!("reload {reload}"))?;
        // So that each state has connections of its own.
        pause(5 * PROBE_INTERVAL);
    }
    step!("{RELOADS} reloads in {:?}, {} IPVS writes", start.elapsed(), writes(&a)? - before);
    for one in held {
        let server = one.server.clone();
        one.finish().with_context(|| format!("the connection to {server}, which stayed"))?;
    }
    let seen = witness.finish("reloads")?;
    ensure!(seen.outage.failures.is_empty(), "new connections failed: {:?}", seen.outage.failures);
    for (_, table) in &seen.tables {
        for server in &REAL[..2] {
            let weight = table[KEY].dests.get(*server).map(|dest| dest.weight);
            ensure!(weight.is_some_and(|weight| weight > 0), "{server}, which stayed, had weight {weight:?}");
        }
    }
    // Neither the service nor a server that stayed was ever made anew: the kernel has counted them all.
    let all = u64::from(seen.outage.answers.values().sum::<u32>() + opened);
    wait::until_ok("all connections counted", Duration::from_secs(5), || {
        let counted = ipvsadm::connections(a.ns())?;
        let service = counted.get(KEY).copied();
        ensure!(service == Some(all), "the service has counted {service:?} of {all}");
        for (server, name) in REAL.iter().zip(["r1", "r2"]) {
            let have = counted.get(&format!("{KEY} -> {server}")).copied().unwrap_or_default();
            let answers = u64::from(seen.outage.answers.get(name).copied().unwrap_or_default());
            ensure!(have >= answers, "{server} has counted {have}, {answers} answers came from it");
        }
        Ok::<_, anyhow::Error>(())
    })?;
    a.stop().map(drop)
}
