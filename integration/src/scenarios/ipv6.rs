//! IPv6 by DR, NAT and TUN: an even split, a dead server leaves and returns.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::Ctx;
use super::behind;
use super::lan::{self, REALS, VIP6};
use crate::client::expect_split;
use crate::servers::Server;
use crate::topology::{BACK, Forwarding, Lab, host, host_on};
use crate::{step, table, wait};

const SERVICE: &str = "[fd00::100]:80";
const KEY: &str = "TCP [fd00::100]:80";

pub fn dr(ctx: &Ctx) -> Result<()> {
    let lab = lan::lab(&[])?;
    for name in REALS {
        lab.host(name).ip(&format!("address add {VIP6}/128 dev lo"))?;
    }
    balance(ctx, &lab, Forwarding::Dr, "fd00", 80)
}

pub fn nat(ctx: &Ctx) -> Result<()> {
    let mut specs = vec![host("c", "fd00::2/64"), host("a", "fd00::11/64").nic(BACK, "eth1", "fd01::1/64")];
    specs.extend((21..).zip(REALS).map(|(last, name)| host_on(name, BACK, &format!("fd01::{last}/64"))));
    let lab = Lab::new(&specs)?;
    lab.host("a").ip(&lan::vip6(VIP6))?;
    for name in REALS {
        lab.default_route(name, "fd01::1")?;
    }
    balance(ctx, &lab, Forwarding::Nat, "fd01", 8080)
}

pub fn tun(ctx: &Ctx) -> Result<()> {
    let lab = lan::lab(&[])?;
    for (name, last) in REALS.into_iter().zip(21..) {
        lab.host(name).ip(&format!(
            "link add name tun type ip6tnl mode ip6ip6 local fd00::{last} remote fd00::11\nlink set tun up\n\
             address add {VIP6}/128 dev tun"
        ))?;
    }
    balance(ctx, &lab, Forwarding::Tun, "fd00", 80)?;
    for name in REALS {
        let packets = lan::received(lab.host(name), "tun")?;
        step!("{name} took {packets} packets from the tunnel");
        ensure!(packets > 0, "the tunnel to {name} was not used");
    }
    Ok(())
}

fn balance(ctx: &Ctx, lab: &Lab, forwarding: Forwarding, net: &str, port: u16) -> Result<()> {
    let mut servers = Vec::new();
    let mut reals = String::new();
    let mut dests = Vec::new();
    for (name, last) in REALS.into_iter().zip(21..) {
        servers.push(Server::start(lab.host(name), name, &format!("[::]:{port}"))?);
        write!(
            reals,
            "  real_server {net}::{last} {port} {{\n    weight 1\n    TCP_CHECK {{\n    }}\n  }}\n"
        )?;
        dests.push(format!("[{net}::{last}]:{port}"));
    }
    let [one, two, three] = [&dests[0], &dests[1], &dests[2]];
    let config = behind::virtual_server(&format!("{VIP6} 80"), "TCP", &reals)
        .replace("lb_kind NAT", &format!("lb_kind {}", forwarding.keyword()));
    let (client, ns) = (lab.host("c"), lab.host("a"));
    let limit = behind::found_out(ctx, Duration::ZERO);
    let all = [("r1", 10), ("r2", 10), ("r3", 10)];

    let mut director = ctx.director("a", ns, &config)?;
    director.start_and_wait()?;
    table::expect_dests(ns, KEY, &[one, two, three], lan::START)?;
    expect_split(client, SERVICE, 30, &all)?;
    let method = match forwarding {
        Forwarding::Dr => "Route",
        Forwarding::Nat => "Masq",
        Forwarding::Tun => "Tunnel",
    };
    let table = table::read(ns)?;
    ensure!(table[KEY].dests.values().all(|dest| dest.forwarding == method), "not {method}: {table:?}");

    // The first check after a start may be made without retries: a good one has to be over.
    wait::pause(2 * behind::DELAY_LOOP);
    servers[1].close();
    let took = table::expect_dests(ns, KEY, &[one, three], limit)?;
    step!("r2 out {took:?} after its port closed");
    expect_split(client, SERVICE, 30, &[("r1", 15), ("r3", 15)])?;
    servers[1].open()?;
    let took = table::expect_dests(ns, KEY, &[one, two, three], limit)?;
    step!("r2 back {took:?} after its port opened");
    expect_split(client, SERVICE, 30, &all)?;

    director.stop()?;
    ensure!(table::read(ns)?.is_empty(), "services are left after the stop");
    Ok(())
}
