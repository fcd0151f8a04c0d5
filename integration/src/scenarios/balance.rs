//! One director and three real servers behind DR, NAT and TUN.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Ctx;
use crate::client::expect_split;
use crate::servers::Server;
use crate::step;
use crate::table;
use crate::topology::{BACK, FRONT, Forwarding, HostSpec, Lab, host, host_on};

const VIP: &str = "10.0.0.100";
const SERVICE: &str = "10.0.0.100:80";
const KEY: &str = "TCP 10.0.0.100:80";
/// Seconds between checks and before a retry: what the expected times are made of.
const DELAY_LOOP: u64 = 1;
const RETRY_DELAY: u64 = 1;

pub fn dr(ctx: &Ctx) -> Result<()> {
    balance(ctx, Forwarding::Dr)
}

pub fn nat(ctx: &Ctx) -> Result<()> {
    balance(ctx, Forwarding::Nat)
}

pub fn tun(ctx: &Ctx) -> Result<()> {
    balance(ctx, Forwarding::Tun)
}

/// Hosts `c`, `a`, `r1`..`r3` and the sorry server `s`, with the VIP on `a` and, where it belongs, on the servers.
fn lab(forwarding: Forwarding) -> Result<Lab> {
    let servers = ["r1", "r2", "r3", "s"];
    let mut specs: Vec<HostSpec> = vec![host("c", "10.0.0.2/24")];
    let director = host("a", "10.0.0.11/24");
    match forwarding {
        Forwarding::Nat => {
            specs.push(director.nic(BACK, "eth1", "10.1.0.1/24"));
            specs.extend(
                (21..).zip(servers).map(|(last, name)| host_on(name, BACK, &format!("10.1.0.{last}/24"))),
            );
        }
        Forwarding::Dr | Forwarding::Tun => {
            specs.push(director);
            specs.extend(
                (21..).zip(servers).map(|(last, name)| host_on(name, FRONT, &format!("10.0.0.{last}/24"))),
            );
        }
    }
    let lab = Lab::new(&specs)?;
    lab.host("a").ip(&format!("address add {VIP}/32 dev eth0"))?;
    for server in servers {
        lab.accept_vip(server, VIP, forwarding)?;
        if forwarding == Forwarding::Nat {
            lab.default_route(server, "10.1.0.1")?;
        }
    }
    Ok(lab)
}

fn config(forwarding: Forwarding, net: &str, port: u16) -> Result<String> {
    let mut text = format!(
        "virtual_server {VIP} 80 {{\n  delay_loop {DELAY_LOOP}\n  lb_algo rr\n  lb_kind {}\n  protocol TCP\n  \
         sorry_server {net}.24 {port}\n",
        forwarding.keyword()
    );
    for last in 21..=23 {
        write!(
            text,
            "  real_server {net}.{last} {port} {{\n    weight 1\n    TCP_CHECK {{\n      connect_timeout 1\n      retry 1\n      \
             delay_before_retry {RETRY_DELAY}\n    }}\n  }}\n"
        )?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn balance(ctx: &Ctx, forwarding: Forwarding) -> Result<()> {
    let lab = lab(forwarding)?;
    let (net, port) = match forwarding {
        Forwarding::Nat => ("10.1.0", 8080),
        Forwarding::Dr | Forwarding::Tun => ("10.0.0", 80),
    };
    let listen = |name: &str| Server::start(lab.host(name), name, &format!("0.0.0.0:{port}"));
    let mut r1 = listen("r1")?;
    let mut r2 = listen("r2")?;
    let mut r3 = listen("r3")?;
    let _sorry = listen("s")?;
    let [one, two, three, sorry] = [21, 22, 23, 24].map(|last| format!("{net}.{last}:{port}"));
    let (client, director_ns) = (lab.host("c"), lab.host("a"));
    let out_limit = Duration::from_secs(DELAY_LOOP + RETRY_DELAY) + ctx.slack();
    let in_limit = Duration::from_secs(DELAY_LOOP) + ctx.slack();

    let mut director = ctx.director("a", director_ns, &config(forwarding, net, port)?)?;
    director.start_and_wait()?;
    let took = table::expect_dests(director_ns, KEY, &[&one, &two, &three], Duration::from_secs(10))?;
    step!("three real servers in after {took:?}");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;
    if forwarding == Forwarding::Tun {
        tunnelled(&lab).context("the tunnel was not used")?;
    }

    // The first check after a start may be made without retries: a good one has to be over. Two loops are.
    crate::wait::pause(Duration::from_secs(2 * DELAY_LOOP));
    r2.close();
    let took = table::expect_dests(director_ns, KEY, &[&one, &three], out_limit)?;
    step!("r2 out {took:?} after its port closed");
    expect_split(client, SERVICE, 30, &[("r1", 15), ("r3", 15)])?;

    r2.open()?;
    let took = table::expect_dests(director_ns, KEY, &[&one, &two, &three], in_limit)?;
    step!("r2 back {took:?} after its port opened");
    expect_split(client, SERVICE, 30, &[("r1", 10), ("r2", 10), ("r3", 10)])?;

    for server in [&mut r1, &mut r2, &mut r3] {
        server.close();
    }
    let took = table::expect_dests(director_ns, KEY, &[&sorry], out_limit)?;
    step!("sorry server in {took:?} after the last port closed");
    expect_split(client, SERVICE, 5, &[("s", 5)])?;

    r3.open()?;
    let took = table::expect_dests(director_ns, KEY, &[&three], in_limit)?;
    step!("sorry server out {took:?} after a port opened");
    expect_split(client, SERVICE, 5, &[("r3", 5)])?;

    director.stop()?;
    let left = table::read(director_ns)?;
    if !left.is_empty() {
        bail!("after an orderly stop the table still has {left:?}");
    }
    Ok(())
}

/// Packets came in through `tunl0` of a real server.
pub(super) fn tunnelled(lab: &Lab) -> Result<()> {
    let devices = lab.host("r1").proc_net("dev")?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("tunl0:")).context("no tunl0")?;
    let packets: u64 = line.split_whitespace().nth(1).context("no counter")?.parse()?;
    if packets == 0 {
        bail!("tunl0 received nothing");
    }
    Ok(())
}
