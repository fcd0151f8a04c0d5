//! Tunnels between the families: a service of IPv4 by real servers of IPv6, and the other way round.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Ctx;
use super::behind;
use super::lan::{self, REALS, VIP, VIP6};
use crate::client::expect_split;
use crate::{step, table, wait};

pub fn mixed_family(ctx: &Ctx) -> Result<()> {
    let lab = lan::lab(&[])?;
    let (mut reals6, mut reals4) = (String::new(), String::new());
    for (name, last) in REALS.into_iter().zip(21..) {
        lab.host(name).ip(&format!(
            "link add name in6 type ip6tnl mode ipip6 local fd00::{last} remote fd00::11\nlink set in6 up\n\
             address add {VIP}/32 dev in6\n\
             link add name in4 type sit local 10.0.0.{last} remote 10.0.0.11\nlink set in4 up\n\
             address add {VIP6}/128 dev in4"
        ))?;
        for (reals, address) in
            [(&mut reals6, format!("fd00::{last}")), (&mut reals4, format!("10.0.0.{last}"))]
        {
            write!(reals, "  real_server {address} 80 {{\n    weight 1\n    TCP_CHECK {{\n    }}\n  }}\n")?;
        }
    }
    let mut servers = lan::servers(&lab, 80)?;
    let config = [(VIP, reals6), (VIP6, reals4)]
        .map(|(vip, reals)| behind::virtual_server(&format!("{vip} 80"), "TCP", &reals))
        .concat()
        .replace("lb_kind NAT", "lb_kind TUN");
    let (client, ns) = (lab.host("c"), lab.host("a"));
    let limit = behind::found_out(ctx, Duration::ZERO);
    // Of each service: itself, its key, its real servers, the device that takes their packets.
    let services = [
        ("10.0.0.100:80", ["[fd00::21]:80", "[fd00::22]:80", "[fd00::23]:80"], "in6"),
        ("[fd00::100]:80", ["10.0.0.21:80", "10.0.0.22:80", "10.0.0.23:80"], "in4"),
    ];
    let expect = |dests: &[usize], limit: Duration, split: &[(&str, u32)]| -> Result<()> {
        for (service, all, _) in &services {
            let dests: Vec<&str> = dests.iter().map(|number| all[*number]).collect();
            table::expect_dests(ns, &format!("TCP {service}"), &dests, limit)?;
            expect_split(client, service, 30, split).with_context(|| format!("service {service}"))?;
        }
        Ok(())
    };
    let all = [("r1", 10), ("r2", 10), ("r3", 10)];
    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    expect(&[0, 1, 2], lan::START, &all)?;
    for (service, _, device) in &services {
        for name in REALS {
            let packets = lan::received(lab.host(name), device)?;
            step!("{service}: {name} took {packets} packets from {device}");
            ensure!(packets >= 30, "the tunnel {device} to {name} was not used");
        }
    }

    // The first check after a start may be made without retries: a good one has to be over.
    wait::pause(2 * behind::DELAY_LOOP);
    servers[1].close();
    expect(&[0, 2], limit, &[("r1", 15), ("r3", 15)]).context("r2 down")?;
    servers[1].open()?;
    expect(&[0, 1, 2], limit, &all).context("r2 up again")?;
    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}
