//! How much a real server gets: by its weight, and until it is full; changed in place.

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::behind::{self, VIP};
use crate::client::expect_split;
use crate::director::Daemon;
use crate::servers::Server;
use crate::{step, table};

const REALS: [&str; 3] = ["r1", "r2", "r3"];

pub fn thresholds(ctx: &Ctx) -> Result<()> {
    let lab = behind::lab(3)?;
    let _servers = REALS
        .iter()
        .map(|name| Server::start(lab.host(name), name, "0.0.0.0:80"))
        .collect::<Result<Vec<_>>>()?;
    let config = |scheduler: &str, lines: [&str; 3]| {
        let reals: String = (21..=23)
            .zip(lines)
            .map(|(last, lines)| format!("  real_server 10.1.0.{last} 80 {{\n    {lines}\n  }}\n"))
            .collect();
        behind::virtual_server(&format!("{VIP} 80"), "TCP", &reals)
            .replace("lb_algo rr", &format!("lb_algo {scheduler}"))
    };
    let (ns, client, service) = (lab.host("a"), lab.host("c"), format!("{VIP}:80"));
    let key = format!("TCP {service}");
    let mut director = ctx.director("a", ns, &config("wrr", ["weight 3", "weight 2", "uthreshold 2"]))?;
    director.start_and_wait()?;
    table::expect_dests(ns, &key, &["10.1.0.21:80", "10.1.0.22:80", "10.1.0.23:80"], behind::START)?;
    expect_split(client, &service, 12, &[("r1", 6), ("r2", 4), ("r3", 2)])?;
    // A connection counts for minutes after its end: two of them have made r3 full.
    expect_split(client, &service, 10, &[("r1", 6), ("r2", 4)]).context("r3 is full")?;
    step!("wrr 3:2:1 is 6/4/2; a server with two connections and uthreshold 2 gets no more");
    // keepalived 2.2.7 leaves thresholds as they were at a reload.
    if ctx.daemon == Daemon::Lbd {
        director.configure(&config("rr", ["uthreshold 14", "uthreshold 9", "weight 1"]))?;
        director.reload()?;
        let status = director
            .expect_status("reloaded", behind::START, |status| status["config"]["generation"] == 2)?;
        ensure!(status["ipvs"]["last_error"].is_null(), "{}", status["ipvs"]);
        // r1 had 12 connections and gets two more, r2 8 and gets one.
        expect_split(client, &service, 12, &[("r1", 2), ("r2", 1), ("r3", 9)]).context("other thresholds")?;
        step!("changed by a reload: two of 14, one of 9, the rest to whom has none");
    }
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}
